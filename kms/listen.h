/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_KMS_LISTEN_H
#define LEASEHOLD_KMS_LISTEN_H

/*
 * The listening socket, by one of three ways: made here, handed over by systemd, or by a holder. A
 * socket that a dead process left is replaced; one that somebody serves is not, and neither is
 * anything that is no socket. The last two ways keep it open while the plugin is replaced: an API
 * server that was refused once waits for up to two minutes before it tries again.
 */
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "leasehold/core/err.h"

enum { KMS_PATH_MAX = 104, KMS_HOLD_VERSION = 1 };

struct kms_listener {
    int fd;                  /* -1: none */
    char path[KMS_PATH_MAX]; /* "": not ours to take away */
    dev_t dev;
    ino_t ino;
};

/* type: SOCK_STREAM or SOCK_SEQPACKET. Mode 0600, owner uid where we may say so. LH_E_CONFLICT:
 * somebody serves there. */
int kms_listen(const char *path, int type, uid_t uid, struct kms_listener *out, struct lh_err *err);
/* Descriptor 3 by LISTEN_FDS and LISTEN_PID (sd_listen_fds(3)). */
int kms_listen_inherited(struct kms_listener *out, struct lh_err *err);
/* From the holder at this control socket. LH_E_UNAVAILABLE: nobody answers there (yet). */
int kms_listen_from_holder(const char *control, struct kms_listener *out, struct lh_err *err);
/* Closes and takes the path away, if it still is our socket's. */
void kms_listen_end(struct kms_listener *l);

/* Owns the socket at listen, and hands it to whoever of our own user or root asks at control, until
 * a signal. */
int kms_hold(const char *listen, const char *control, uid_t peer_uid, struct lh_err *err);

#endif
