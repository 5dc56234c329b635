/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_PROVIDERS_TOKEN_AT_HAND_H
#define LEASEHOLD_PROVIDERS_TOKEN_AT_HAND_H

/* A source of credentials that are had without waiting: read, or kept in memory. They are given on
 * a later turn of the loop all the same, as those that must be asked for. */
#include "leasehold/providers/provider.h"

/* The credential, owned by the caller. audience NULL: the method has none. */
typedef int (*lh_token_get_fn)(void *arg, const char *audience, struct lh_secret **out,
                               struct lh_err *err);
/* arg goes to get, and to free_arg with the source or when this fails. */
int lh_token_source_at_hand(struct lh_loop *loop, lh_token_get_fn get, void (*free_arg)(void *arg),
                            void *arg, struct lh_token_source **out, struct lh_err *err);

#endif
