/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_ETCD_REVISION_H
#define LH_ETCD_REVISION_H

/* The key of bucket "key": main '_' sub, and 't' for a key that was deleted
 * (server/storage/mvcc/revision.go). */
#include <stdbool.h>
#include <stdint.h>

#include "leasehold/core/str.h"

struct lh_revision {
    int64_t main, sub;
    bool tombstone;
};

uint64_t lh_etcd_be64(const char *p); /* 8 bytes */
bool lh_revision_parse(struct lh_str key, struct lh_revision *out);

#endif
