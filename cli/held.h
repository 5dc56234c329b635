/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_HELD_H
#define LEASEHOLD_CLI_HELD_H

/* Credentials that are in memory already, in the shape that providers want. Nothing goes to disk.
 */
#include "leasehold/core/loop.h"
#include "leasehold/providers/provider.h"

/* Gives this secret (consumed, also on failure) for every audience. */
int cli_held_source(struct lh_loop *loop, struct lh_secret *secret, struct lh_token_source **out,
                    struct lh_err *err);
/* A memory file with these bytes; *fd is the caller's to close, path names it for this process. */
int cli_held_file(const struct lh_secret *secret, int *fd, char path[32], struct lh_err *err);

#endif
