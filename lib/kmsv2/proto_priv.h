/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_KMSV2_PROTO_PRIV_H
#define LH_KMSV2_PROTO_PRIV_H

/* The generated code, and its memory. */
#include "kmsv2.pb-c.h"
#include "leasehold/core/str.h"

/* Its free wipes: decoded messages hold plaintext. */
extern ProtobufCAllocator lh_kmsv2_allocator;

/* protobuf-c's members are not const; nothing is written through them. */
ProtobufCBinaryData lh_kmsv2_borrow(struct lh_str s);

static inline struct lh_str lh_kmsv2_view(ProtobufCBinaryData d)
{
    return (struct lh_str){(const char *)d.data, d.len};
}

#endif
