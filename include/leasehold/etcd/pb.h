/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_ETCD_PB_H
#define LEASEHOLD_ETCD_PB_H

/*
 * Protocol Buffers read in place: a page of values is megabytes, and a generated parser would copy
 * all of it to show the first kilobyte of each. Fields are borrowed from the message.
 */
#include <stdbool.h>
#include <stdint.h>

#include "leasehold/core/str.h"

struct lh_pb {
    const unsigned char *p, *end;
    bool bad; /* malformed; no more fields come */
};

struct lh_pb_field {
    uint32_t number;
    enum { LH_PB_VARINT = 0, LH_PB_FIXED64 = 1, LH_PB_BYTES = 2, LH_PB_FIXED32 = 5 } type;
    uint64_t n;          /* VARINT and FIXED */
    struct lh_str bytes; /* BYTES */
};

struct lh_pb lh_pb_of(struct lh_str message);
/* false at the end, or when bad. */
bool lh_pb_next(struct lh_pb *r, struct lh_pb_field *out);
/* A bare number; r is not marked bad where there is none. */
bool lh_pb_take_varint(struct lh_pb *r, uint64_t *out);

#endif
