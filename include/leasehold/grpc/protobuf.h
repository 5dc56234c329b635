/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_GRPC_PROTOBUF_H
#define LEASEHOLD_GRPC_PROTOBUF_H

/* The memory of decoded messages, in the shape of protobuf-c's ProtobufCAllocator: core/mem's, so
 * that freeing wipes what they held. arg is not looked at. */
#include <stddef.h>

void *lh_grpc_pb_alloc(void *arg, size_t n);
void lh_grpc_pb_free(void *arg, void *p);

#endif
