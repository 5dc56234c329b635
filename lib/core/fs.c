/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/core/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int real_openat(int dirfd, const char *name, int flags, mode_t mode)
{
    return openat(dirfd, name, flags, mode);
}

static const struct lh_fs_ops real = {
    .openat = real_openat,
    .mkdirat = mkdirat,
    .renameat = renameat,
    .unlinkat = unlinkat,
    .symlinkat = symlinkat,
    .fchmod = fchmod,
    .fchown = fchown,
    .fstatat = fstatat,
    .write = write,
    .read = read,
    .readlinkat = readlinkat,
    .fsync = fsync,
};

static unsigned long fail_in;
static int fail_os;

static bool must_fail(void)
{
    if (fail_in == 0 || --fail_in > 0)
        return false;
    errno = fail_os;
    return true;
}

static int torn_openat(int dirfd, const char *name, int flags, mode_t mode)
{
    return must_fail() ? -1 : real.openat(dirfd, name, flags, mode);
}

static int torn_mkdirat(int dirfd, const char *name, mode_t mode)
{
    return must_fail() ? -1 : real.mkdirat(dirfd, name, mode);
}

static int torn_renameat(int olddir, const char *oldname, int newdir, const char *newname)
{
    return must_fail() ? -1 : real.renameat(olddir, oldname, newdir, newname);
}

static int torn_unlinkat(int dirfd, const char *name, int flags)
{
    return must_fail() ? -1 : real.unlinkat(dirfd, name, flags);
}

static int torn_symlinkat(const char *target, int dirfd, const char *name)
{
    return must_fail() ? -1 : real.symlinkat(target, dirfd, name);
}

static int torn_fchmod(int fd, mode_t mode)
{
    return must_fail() ? -1 : real.fchmod(fd, mode);
}

static int torn_fchown(int fd, uid_t uid, gid_t gid)
{
    return must_fail() ? -1 : real.fchown(fd, uid, gid);
}

static int torn_fstatat(int dirfd, const char *name, struct stat *st, int flags)
{
    return must_fail() ? -1 : real.fstatat(dirfd, name, st, flags);
}

static ssize_t torn_write(int fd, const void *p, size_t n)
{
    return must_fail() ? -1 : real.write(fd, p, n);
}

static ssize_t torn_read(int fd, void *p, size_t n)
{
    return must_fail() ? -1 : real.read(fd, p, n);
}

static ssize_t torn_readlinkat(int dirfd, const char *name, char *buf, size_t n)
{
    return must_fail() ? -1 : real.readlinkat(dirfd, name, buf, n);
}

static int torn_fsync(int fd)
{
    return must_fail() ? -1 : real.fsync(fd);
}

static const struct lh_fs_ops torn = {
    .openat = torn_openat,
    .mkdirat = torn_mkdirat,
    .renameat = torn_renameat,
    .unlinkat = torn_unlinkat,
    .symlinkat = torn_symlinkat,
    .fchmod = torn_fchmod,
    .fchown = torn_fchown,
    .fstatat = torn_fstatat,
    .write = torn_write,
    .read = torn_read,
    .readlinkat = torn_readlinkat,
    .fsync = torn_fsync,
};

const struct lh_fs_ops *lh_fs = &real;

void lh_fs_fail_at(unsigned long n, int os)
{
    fail_in = n;
    fail_os = os;
    lh_fs = n > 0 ? &torn : &real;
}

bool lh_fs_has_failed(void)
{
    return lh_fs == &torn && fail_in == 0;
}

void lh_fd_close_ptr_(int *fd)
{
    int saved = errno;

    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    errno = saved;
}

static int check_regular(int fd, const char *name, size_t cap, struct stat *st, struct lh_err *err)
{
    if (lh_fs->fstatat(fd, "", st, AT_EMPTY_PATH) < 0)
        return lh_err_os(err, errno, "stat %s", name);
    if (!S_ISREG(st->st_mode))
        return lh_err_set(err, LH_E_INVALID, "%s is not a regular file", name);
    if ((size_t)st->st_size > cap)
        return lh_err_set(err, LH_E_TOOBIG, "%s is larger than %zu bytes", name, cap);
    return 0;
}

int lh_fs_read_at(int dirfd, const char *name, size_t cap, char **out, size_t *n,
                  struct lh_err *err)
{
    lh_auto_free char *p = NULL;
    lh_auto_fd int fd = -1;
    size_t room, got = 0;
    struct stat st;
    int rc;

    fd = lh_fs->openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    if (fd < 0 && errno == ENOENT)
        return lh_err_set(err, LH_E_NOTFOUND, "%s does not exist", name);
    if (fd < 0)
        return lh_err_os(err, errno, "open %s", name);
    rc = check_regular(fd, name, cap, &st, err);
    if (rc < 0)
        return rc;
    /* To the end of the file and not st_size: files of /proc say 0. */
    room = (size_t)st.st_size + 1;
    for (;;) {
        ssize_t r;

        if (!p || got == room) {
            char *q;

            room = p ? room * 2 : room;
            q = lh_realloc(p, room + 1);
            if (!q)
                return lh_err_nomem(err);
            p = q;
        }
        r = lh_fs->read(fd, p + got, room - got);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return lh_err_os(err, errno, "read %s", name);
        if (r == 0)
            break;
        got += (size_t)r;
        if (got > cap)
            return lh_err_set(err, LH_E_TOOBIG, "%s is larger than %zu bytes", name, cap);
    }
    p[got] = '\0';
    *out = LH_TAKE_PTR(p);
    *n = got;
    return 0;
}

int lh_fs_write_all(int fd, const void *p, size_t n, const char *what, struct lh_err *err)
{
    const char *at = p;

    while (n > 0) {
        ssize_t w = lh_fs->write(fd, at, n);

        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return lh_err_os(err, w < 0 ? errno : EIO, "write %s", what);
        at += w;
        n -= (size_t)w;
    }
    return 0;
}

/* One writer a file, so a fixed name does: what a crash left is replaced, never heaped up. */
static int open_temp(int dirfd, const char *temp, int *out, struct lh_err *err)
{
    int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
    int fd = lh_fs->openat(dirfd, temp, flags, 0600);

    if (fd < 0 && errno == EEXIST && lh_fs->unlinkat(dirfd, temp, 0) == 0)
        fd = lh_fs->openat(dirfd, temp, flags, 0600);
    if (fd < 0)
        return lh_err_os(err, errno, "create %s", temp);
    *out = fd;
    return 0;
}

static int set_owner(int fd, const struct stat *owner, const char *temp, struct lh_err *err)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return lh_err_os(err, errno, "look at %s", temp);
    if (st.st_uid == owner->st_uid && st.st_gid == owner->st_gid)
        return 0;
    return lh_fs->fchown(fd, owner->st_uid, owner->st_gid) < 0
               ? lh_err_os(err, errno, "set the owner of %s", temp)
               : 0;
}

int lh_fs_replace_at(int dirfd, const char *name, mode_t mode, const void *p, size_t n,
                     struct lh_err *err)
{
    return lh_fs_replace_owned_at(dirfd, name, mode, NULL, p, n, err);
}

int lh_fs_replace_owned_at(int dirfd, const char *name, mode_t mode, const struct stat *owner,
                           const void *p, size_t n, struct lh_err *err)
{
    const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
    lh_auto_free char *temp = lh_asprintf("%.*s.%s.new", (int)(base - name), name, base);
    lh_auto_fd int fd = -1;
    int rc;

    if (!temp)
        return lh_err_nomem(err);
    rc = open_temp(dirfd, temp, &fd, err);
    if (rc < 0)
        return rc;
    /* Mode before content, and not by open: the umask would take its part. */
    if (lh_fs->fchmod(fd, mode) < 0)
        rc = lh_err_os(err, errno, "set the mode of %s", temp);
    if (rc == 0 && owner)
        rc = set_owner(fd, owner, temp, err);
    if (rc == 0)
        rc = lh_fs_write_all(fd, p, n, temp, err);
    if (rc == 0 && lh_fs->fsync(fd) < 0)
        rc = lh_err_os(err, errno, "sync %s", temp);
    if (rc == 0 && lh_fs->renameat(dirfd, temp, dirfd, name) < 0)
        rc = lh_err_os(err, errno, "rename %s to %s", temp, name);
    if (rc < 0)
        lh_fs->unlinkat(dirfd, temp, 0);
    return rc;
}
