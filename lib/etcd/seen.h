/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_ETCD_SEEN_H
#define LH_ETCD_SEEN_H

/* A set of keys that were seen, 16 bytes each and no copy: a keyed hash cut to 128 bits, so that
 * two keys of one file are not taken for one, whoever chose them. */
#include <stdbool.h>
#include <stddef.h>

#include "leasehold/core/err.h"
#include "leasehold/core/str.h"

struct lh_seen;

int lh_seen_new(struct lh_seen **out, struct lh_err *err);
void lh_seen_free(struct lh_seen *s); /* NULL is a no-op */
/* *fresh: it was not there before. */
int lh_seen_add(struct lh_seen *s, struct lh_str key, bool *fresh, struct lh_err *err);

#endif
