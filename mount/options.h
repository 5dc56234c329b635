/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_MOUNT_OPTIONS_H
#define LEASEHOLD_MOUNT_OPTIONS_H

/* Flags from one table, and the pages made of it. codec/conf is out of reach: this program is core
 * alone. */
#include <stdbool.h>
#include <sys/types.h>

#include "leasehold/core/buf.h"
#include "leasehold/core/log.h"

struct lh_mount_options {
    const char *kubelet_dir, *socket, *docs; /* borrowed from argv or static */
    uid_t peer_uid;
    enum lh_log_level log_level;
    bool version, help;
};

/* LH_E_INVALID with a sentence for the user; *o untouched then. */
int lh_mount_options_parse(int argc, char **argv, struct lh_mount_options *o, struct lh_err *err);
void lh_mount_options_help(struct lh_buf *b);
/* "flags" or "man". */
int lh_mount_options_docs(const char *page, struct lh_buf *b, struct lh_err *err);

#endif
