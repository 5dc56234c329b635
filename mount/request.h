/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_MOUNT_REQUEST_H
#define LEASEHOLD_MOUNT_REQUEST_H

/* Whether a packet is a request that this program serves: pure, before anything is touched. */
#include <stddef.h>

#include "leasehold/mount/protocol.h"

/* 0 and *out, EPROTO (not our protocol: the connection ends) or EINVAL (a name or number that is
 * not allowed); *why, a static text, with the latter two. */
int lh_mount_request_check(const void *packet, size_t n, struct lh_mount_request *out,
                           const char **why);

#endif
