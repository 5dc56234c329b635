/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/grpc/protobuf.h"

#include "leasehold/core/mem.h"

void *lh_grpc_pb_alloc(void *arg, size_t n)
{
    (void)arg;
    return lh_malloc(n);
}

void lh_grpc_pb_free(void *arg, void *p)
{
    (void)arg;
    lh_free(p);
}
