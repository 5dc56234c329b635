/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_ETCD_PB_H
#define LH_ETCD_PB_H

/* Protocol Buffers written, and etcd's own messages. */
#include "leasehold/core/buf.h"
#include "leasehold/etcd/pb.h"
#include "leasehold/etcd/source.h"

void lh_pb_put_varint(struct lh_buf *b, uint32_t number, uint64_t n);
void lh_pb_put_bytes(struct lh_buf *b, uint32_t number, struct lh_str bytes);

/* mvccpb.KeyValue (etcd api/mvccpb/kv.proto); false if malformed or without a key. value is whole.
 */
bool lh_etcd_entry_parse(struct lh_str message, struct lh_etcd_entry *out);

#endif
