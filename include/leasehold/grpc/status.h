/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_GRPC_STATUS_H
#define LEASEHOLD_GRPC_STATUS_H

/* Status codes of gRPC (grpc/grpc doc/statuscodes.md), numbers as on the wire. */
enum lh_grpc_status {
    LH_GRPC_OK = 0,
    LH_GRPC_CANCELLED = 1,
    LH_GRPC_UNKNOWN = 2,
    LH_GRPC_INVALID_ARGUMENT = 3,
    LH_GRPC_DEADLINE_EXCEEDED = 4,
    LH_GRPC_NOT_FOUND = 5,
    LH_GRPC_ALREADY_EXISTS = 6,
    LH_GRPC_PERMISSION_DENIED = 7,
    LH_GRPC_RESOURCE_EXHAUSTED = 8,
    LH_GRPC_FAILED_PRECONDITION = 9,
    LH_GRPC_ABORTED = 10,
    LH_GRPC_OUT_OF_RANGE = 11,
    LH_GRPC_UNIMPLEMENTED = 12,
    LH_GRPC_INTERNAL = 13,
    LH_GRPC_UNAVAILABLE = 14,
    LH_GRPC_DATA_LOSS = 15,
    LH_GRPC_UNAUTHENTICATED = 16
};

/* "UNAVAILABLE"; never NULL. */
const char *lh_grpc_status_name(enum lh_grpc_status s);

#endif
