/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/grpc/status.h"

#include "leasehold/core/mem.h"

static const char *const names[] = {
    [LH_GRPC_OK] = "OK",
    [LH_GRPC_CANCELLED] = "CANCELLED",
    [LH_GRPC_UNKNOWN] = "UNKNOWN",
    [LH_GRPC_INVALID_ARGUMENT] = "INVALID_ARGUMENT",
    [LH_GRPC_DEADLINE_EXCEEDED] = "DEADLINE_EXCEEDED",
    [LH_GRPC_NOT_FOUND] = "NOT_FOUND",
    [LH_GRPC_ALREADY_EXISTS] = "ALREADY_EXISTS",
    [LH_GRPC_PERMISSION_DENIED] = "PERMISSION_DENIED",
    [LH_GRPC_RESOURCE_EXHAUSTED] = "RESOURCE_EXHAUSTED",
    [LH_GRPC_FAILED_PRECONDITION] = "FAILED_PRECONDITION",
    [LH_GRPC_ABORTED] = "ABORTED",
    [LH_GRPC_OUT_OF_RANGE] = "OUT_OF_RANGE",
    [LH_GRPC_UNIMPLEMENTED] = "UNIMPLEMENTED",
    [LH_GRPC_INTERNAL] = "INTERNAL",
    [LH_GRPC_UNAVAILABLE] = "UNAVAILABLE",
    [LH_GRPC_DATA_LOSS] = "DATA_LOSS",
    [LH_GRPC_UNAUTHENTICATED] = "UNAUTHENTICATED",
};

const char *lh_grpc_status_name(enum lh_grpc_status s)
{
    if ((unsigned)s >= LH_ARRAY_LEN(names))
        return "UNKNOWN";
    return names[s];
}
