/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CORE_FS_H
#define LEASEHOLD_CORE_FS_H

/*
 * File calls go through one table, so that torture tests fail the n-th call (lh_fs_fail_at).
 * Nothing here interprets content.
 */
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "leasehold/core/err.h"
#include "leasehold/core/mem.h"

struct lh_fs_ops {
    int (*openat)(int dirfd, const char *name, int flags, mode_t mode);
    int (*mkdirat)(int dirfd, const char *name, mode_t mode);
    int (*renameat)(int olddir, const char *oldname, int newdir, const char *newname);
    int (*unlinkat)(int dirfd, const char *name, int flags);
    int (*symlinkat)(const char *target, int dirfd, const char *name);
    int (*fchmod)(int fd, mode_t mode);
    int (*fchown)(int fd, uid_t uid, gid_t gid);
    int (*fstatat)(int dirfd, const char *name, struct stat *st, int flags);
    ssize_t (*write)(int fd, const void *p, size_t n);
    ssize_t (*read)(int fd, void *p, size_t n);
    ssize_t (*readlinkat)(int dirfd, const char *name, char *buf, size_t n);
    int (*fsync)(int fd);
};
extern const struct lh_fs_ops *lh_fs;

/* Torture: the n-th call through lh_fs from now fails with errno os, once; 0 turns it off. */
void lh_fs_fail_at(unsigned long n, int os);
bool lh_fs_has_failed(void); /* did that call come? */

void lh_fd_close_ptr_(int *fd);
#define lh_auto_fd __attribute__((cleanup(lh_fd_close_ptr_)))

/* Moves a descriptor out of a lh_auto_fd local. */
#define LH_TAKE_FD(fd)                                                                             \
    ({                                                                                             \
        int lh_taken_ = (fd);                                                                      \
        (fd) = -1;                                                                                 \
        lh_taken_;                                                                                 \
    })

/* Owned content (NUL-terminated behind *n) of a regular file, at most cap bytes. Errors as
 * lh_secret_read_at. */
int lh_fs_read_at(int dirfd, const char *name, size_t cap, char **out, size_t *n,
                  struct lh_err *err);
int lh_fs_write_all(int fd, const void *p, size_t n, const char *what, struct lh_err *err);
/* name appears whole or not at all: temp file beside it, mode before content, rename. */
int lh_fs_replace_at(int dirfd, const char *name, mode_t mode, const void *p, size_t n,
                     struct lh_err *err);
/* The same; owner: whose user and group it gets, before its content and its name. NULL: ours. */
int lh_fs_replace_owned_at(int dirfd, const char *name, mode_t mode, const struct stat *owner,
                           const void *p, size_t n, struct lh_err *err);

#endif
