/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_MOUNT_SERVER_H
#define LEASEHOLD_MOUNT_SERVER_H

/* The socket of include/leasehold/mount/protocol.h: one thread, one request at a time. */
#include <signal.h>

#include "sockets.h"

#define LH_MOUNT_PEERS_MAX 4

struct lh_mount_server {
    struct lh_mount_host *host;
    struct lh_mount_listener control, csi, registration;
    int peers[LH_MOUNT_PEERS_MAX]; /* oldest first */
    unsigned count;
};

/* Until *stop, which a signal handler sets; outside means the signals blocked while a request is
 * served. */
int lh_mount_serve(struct lh_mount_server *s, const volatile sig_atomic_t *stop,
                   const sigset_t *outside, struct lh_err *err);

#endif
