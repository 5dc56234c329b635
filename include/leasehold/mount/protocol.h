/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_MOUNT_PROTOCOL_H
#define LEASEHOLD_MOUNT_PROTOCOL_H

/*
 * What the unprivileged half of the node asks of leasehold-mount, over a SOCK_SEQPACKET UNIX
 * socket: one fixed-size request a packet, answered in order by one reply a packet (LIST: one a
 * volume, more set on all but the last). Descriptors come by SCM_RIGHTS with the reply. Both ends
 * are of one image; another version is refused. Texts are NUL-terminated and zero-filled; anything
 * else, any other size and any unknown verb is EPROTO, and the connection is closed.
 */
#include <stdint.h>

#define LH_MOUNT_VERSION    1u
#define LH_MOUNT_POD_UID    64  /* kubelet's folder of a Pod: a UUID, or a hash for static Pods */
#define LH_MOUNT_VOLUME     256 /* the volume's name in the Pod */
#define LH_MOUNT_CONTEXT    512 /* SELinux context for the whole mount; empty: none */
#define LH_MOUNT_TEXT       256
#define LH_MOUNT_BYTES_MAX  ((uint64_t)1 << 30)
#define LH_MOUNT_INODES_MAX ((uint64_t)1 << 16)
#define LH_MOUNT_NO_GID     ((int64_t)-1)

enum lh_mount_verb {
    /* A tmpfs on POD/volumes/kubernetes.io~csi/VOLUME/mount, and its directory. The target is made
     * where it is missing; a volume that is mounted by us already is answered with its directory
     * and left as it is. */
    LH_MOUNT_MOUNT = 1,
    /* Takes the mount and the target folder away; what is not there any more is fine. */
    LH_MOUNT_UNMOUNT = 2,
    /* Every volume mounted by us below the Pods' folder; where there is none, one reply without
       names. */
    LH_MOUNT_LIST = 3,
    /* The directory of one that is mounted; ENOENT. */
    LH_MOUNT_OPEN = 4,
    /* Two listening sockets: CSI, then kubelet's plugin registration. */
    LH_MOUNT_LISTENERS = 5,
    /* A tmpfs of the driver's own, mode 0700, of the peer's uid, that outlives both containers:
     * made at the first request; its directory. */
    LH_MOUNT_STATE = 6
};

struct lh_mount_request {
    uint32_t version;
    uint32_t verb;
    uint64_t bytes, inodes; /* MOUNT: limits of the tmpfs, 1 to the maximum */
    int64_t gid;            /* MOUNT: group of the root, mode 2750; LH_MOUNT_NO_GID: 2755 */
    char pod_uid[LH_MOUNT_POD_UID];
    char volume[LH_MOUNT_VOLUME];
    char context[LH_MOUNT_CONTEXT];
};

struct lh_mount_reply {
    uint32_t version;
    int32_t os;             /* 0, or the errno that ended it */
    uint32_t more;          /* LIST: another reply follows */
    uint32_t fds;           /* descriptors with this reply: 0, 1 or 2 */
    uint64_t bytes, inodes; /* LIST, MOUNT, OPEN: as mounted */
    char pod_uid[LH_MOUNT_POD_UID];
    char volume[LH_MOUNT_VOLUME];
    char text[LH_MOUNT_TEXT]; /* os: what failed and what would be right, for people */
};

#endif
