/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_NODE_MOUNT_CLIENT_H
#define LEASEHOLD_CONTROLLER_NODE_MOUNT_CLIENT_H

/*
 * The asking side of mount/protocol.h: a queue of requests, one at a time on one connection, which
 * is made again by backoff when leasehold-mount restarts. Every request may be made twice, so what
 * was not answered is asked again on the next connection.
 */
#include <stddef.h>

#include "leasehold/core/loop.h"
#include "leasehold/mount/protocol.h"

struct mount_client;
struct mount_op;

struct mount_answer {
    const struct lh_mount_reply *replies; /* LIST: one a volume; else one */
    size_t n;
    int fds[2]; /* closed after return, unless taken: set to -1 then */
};

/* Once, from the loop; ans NULL if and only if err is set; both borrowed until return. */
typedef void (*mount_done_fn)(void *arg, struct mount_answer *ans, const struct lh_err *err);

/* connected: after each connection, the first included: listeners are to be asked for again. */
int mount_client_new(struct lh_loop *loop, const char *path, void (*connected)(void *arg),
                     void *arg, struct mount_client **out, struct lh_err *err);
void mount_client_free(struct mount_client *c); /* cancels */
bool mount_client_is_connected(const struct mount_client *c);

/* An answer within 20 s, or LH_E_UNAVAILABLE. A start that fails does not call back. */
int mount_start(struct mount_client *c, const struct lh_mount_request *req, mount_done_fn done,
                void *arg, struct mount_op **out, struct lh_err *err);
void mount_cancel(struct mount_op *op); /* NULL is a no-op */

/* A request with its texts; false: one is too long. */
bool mount_request_init(struct lh_mount_request *r, enum lh_mount_verb verb, const char *pod_uid,
                        const char *volume, const char *context);

#endif
