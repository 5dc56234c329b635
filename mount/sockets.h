/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_MOUNT_SOCKETS_H
#define LEASEHOLD_MOUNT_SOCKETS_H

/* Listening sockets on the filesystem that appear whole: bound and listening under a hidden name,
 * then renamed over whatever was left of them. Kubelet watches its folder and connects at once. */
#include <sys/stat.h>

#include "volumes.h"

struct lh_mount_listener {
    int fd, dir; /* of the folder that holds it */
    char name[64];
    dev_t dev;
    ino_t ino;
};

/* name below dir (owned from here on), with that mode. type: SOCK_STREAM or SOCK_SEQPACKET. */
int lh_mount_listen(struct lh_mount_listener *l, int dir, const char *name, int type, mode_t mode,
                    struct lh_err *err);

/* A folder below kubelet's, made where it is missing; owned, or -1 and err. */
int lh_mount_folder(struct lh_mount_host *h, const char *const *parts, struct lh_err *err);

/* Takes the name away, unless another has put its own socket there meanwhile. */
void lh_mount_unlink(const struct lh_mount_listener *l);

#endif
