/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_NODE_REQUEST_H
#define LEASEHOLD_CONTROLLER_NODE_REQUEST_H

/* What kubelet's call means, and whether it may: pure. */
#include "csi_wire.h"
#include "leasehold/core/clock.h"
#include "leasehold/grpc/status.h"
#include "leasehold/mount/protocol.h"

struct node_target {
    char pod_uid[LH_MOUNT_POD_UID];
    char volume[LH_MOUNT_VOLUME];
};

/* DIR/pods/UID/volumes/kubernetes.io~csi/VOLUME/mount. LH_E_INVALID with a sentence. */
int node_target_parse(const char *path, struct node_target *out, struct lh_err *err);

/* Borrowed from the request. */
struct node_request {
    struct node_target target;
    const char *pod, *namespace_, *pod_uid, *service_account, *projection;
    int64_t gid;         /* LH_MOUNT_NO_GID */
    const char *context; /* SELinux; "" */
};

/* LH_E_INVALID (VolumeInvalid): what is wrong with the volume, or with the CSIDriver object. */
int node_request_read(const struct csi_publish *p, struct node_request *out, struct lh_err *err);

/* What kubelet is told of a failure: whoever can mend it is named by the text. */
enum lh_grpc_status node_status_of(int code);

/* Until when a call waits for its set. The first of an attempt is answered soon, so that the cause
 * shows; later ones wait long, since kubelet asks less and less often. deadline: the client's own.
 */
lh_ms node_answer_by(lh_ms now, lh_ms deadline, int64_t limit_ms, bool first);

/* May n more bytes be mounted? LH_E_TOOBIG (NodeMemoryFull) names the limit. */
int node_memory_check(int64_t more, int64_t all, int64_t all_max, int64_t in_namespace,
                      int64_t namespace_max, const char *namespace_, struct lh_err *err);

#endif
