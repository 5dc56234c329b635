/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_MOUNT_VOLUMES_H
#define LEASEHOLD_MOUNT_VOLUMES_H

/*
 * What is mounted below kubelet's folder. Every path is walked from a descriptor, without symlinks;
 * what is there counts as ours by mount id and mountinfo, never by its path. Running anything
 * twice, or after a kill at any point, ends in the same state.
 */
#include <sys/types.h>

#include "leasehold/core/err.h"
#include "mountinfo.h"

#define LH_MOUNT_DRIVER "csi.leasehold.dev"

struct lh_mount_host {
    int root;      /* kubelet's folder */
    int mountinfo; /* of this mount namespace */
    char pods[4096];
    uid_t uid; /* of the peer: owner of every volume's root */
    bool noswap;
    struct lh_mount_table table;
};

/* Opens dir, which must be in a shared mount, and asks the kernel once what it can. */
int lh_mount_host_open(struct lh_mount_host *h, const char *dir, uid_t uid, struct lh_err *err);

/* Below kubelet's folder, through folders alone; O_CLOEXEC added. A descriptor or -1 and errno. */
int lh_mount_beneath(int dirfd, const char *path, int flags);

/* The verbs. *dir: owned, untouched on failure; err->os is what the peer is told. */
int lh_mount_volume(struct lh_mount_host *h, const struct lh_mount_request *r, int *dir,
                    struct lh_err *err);
int lh_mount_open(struct lh_mount_host *h, const struct lh_mount_request *r, int *dir,
                  struct lh_err *err);
int lh_mount_unmount(struct lh_mount_host *h, const struct lh_mount_request *r, struct lh_err *err);
int lh_mount_state(struct lh_mount_host *h, int *dir, struct lh_err *err);
/* For each volume of ours, in the table's order, once; ends early where fn says < 0, with that. */
int lh_mount_list(struct lh_mount_host *h, int (*fn)(void *arg, const struct lh_mount_reply *one),
                  void *arg, struct lh_err *err);
/* Limits as mounted, into a reply. */
int lh_mount_limits(int fd, struct lh_mount_reply *out);

#endif
