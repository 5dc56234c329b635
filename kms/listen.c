/* SPDX-License-Identifier: Apache-2.0 */
#include "listen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "leasehold/core/fs.h"
#include "leasehold/core/str.h"

enum { BACKLOG = 1024, FIRST_FD = 3 };

/* Paths were checked to fit. */
static void address_of(const char *path, struct sockaddr_un *a)
{
    size_t n = strnlen(path, sizeof(a->sun_path) - 1);

    *a = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(a->sun_path, path, n);
}

static int check_folder(const char *path, struct lh_err *err)
{
    char folder[KMS_PATH_MAX];
    const char *slash = strrchr(path, '/');
    struct stat st;

    if (path[0] != '/' || !slash[1] || strlen(path) + 8 > KMS_PATH_MAX)
        return lh_err_set(err, LH_E_INVALID, "%.80s: give an absolute path of less than %d bytes",
                          path, KMS_PATH_MAX - 8);
    snprintf(folder, sizeof(folder), "%.*s", slash == path ? 1 : (int)(slash - path), path);
    if (stat(folder, &st) < 0)
        return lh_err_os(err, errno, "the folder of %s", path);
    if ((st.st_mode & S_IWOTH) && !(st.st_mode & S_ISVTX))
        return lh_err_set(err, LH_E_DENIED,
                          "everybody may write to %s, and so put another socket there: chmod o-w",
                          folder);
    return 0;
}

/* Whether whatever lies there may be replaced. */
static int check_stale(const char *path, int type, struct lh_err *err)
{
    lh_auto_fd int fd = -1;
    struct sockaddr_un a;
    struct stat st;

    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : lh_err_os(err, errno, "look at %s", path);
    if (!S_ISSOCK(st.st_mode))
        return lh_err_set(err, LH_E_INVALID, "%s is there and is no socket: remove it", path);
    fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return lh_err_os(err, errno, "make a socket");
    address_of(path, &a);
    if (connect(fd, (const struct sockaddr *)&a, sizeof(a)) == 0 || errno == EAGAIN)
        return lh_err_set(err, LH_E_CONFLICT, "another process serves %s: end it first", path);
    if (errno != ECONNREFUSED && errno != ENOENT)
        return lh_err_os(err, errno, "try whether somebody serves %s", path);
    return 0;
}

/* Under a hidden name until it listens: whoever finds the path is never refused. */
static int bind_hidden(int fd, const char *hidden, uid_t uid, struct stat *st, struct lh_err *err)
{
    struct sockaddr_un a;
    mode_t mask = umask(0177);
    int rc;

    address_of(hidden, &a);
    (void)unlink(hidden);
    rc = bind(fd, (const struct sockaddr *)&a, sizeof(a));
    umask(mask);
    if (rc < 0)
        return lh_err_os(err, errno, "make the socket %s", hidden);
    if (uid != geteuid() && chown(hidden, uid, (gid_t)-1) < 0)
        return lh_err_os(err, errno, "give the socket to uid %u", (unsigned)uid);
    if (listen(fd, BACKLOG) < 0 || lstat(hidden, st) < 0)
        return lh_err_os(err, errno, "listen on %s", hidden);
    return 0;
}

int kms_listen(const char *path, int type, uid_t uid, struct kms_listener *out, struct lh_err *err)
{
    lh_auto_fd int fd = -1;
    char hidden[KMS_PATH_MAX + 8];
    struct stat st;
    int rc = check_folder(path, err);

    if (rc == 0)
        rc = check_stale(path, type, err);
    if (rc < 0)
        return rc;
    fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return lh_err_os(err, errno, "make a socket");
    snprintf(hidden, sizeof(hidden), "%s.new", path);
    rc = bind_hidden(fd, hidden, uid, &st, err);
    if (rc == 0 && rename(hidden, path) < 0)
        rc = lh_err_os(err, errno, "put the socket at %s", path);
    if (rc < 0) {
        (void)unlink(hidden);
        return rc;
    }
    *out = (struct kms_listener){.fd = LH_TAKE_FD(fd), .dev = st.st_dev, .ino = st.st_ino};
    snprintf(out->path, sizeof(out->path), "%s", path);
    return 0;
}

static int check_listening(int fd, const char *from, struct lh_err *err)
{
    int domain = 0, type = 0, listens = 0;
    socklen_t n = sizeof(int);

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &n) < 0)
        return lh_err_os(err, errno, "the descriptor of %s", from);
    if (domain != AF_UNIX || type != SOCK_STREAM || !listens)
        return lh_err_set(err, LH_E_INVALID, "%s must hand over a listening UNIX stream socket",
                          from);
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        return lh_err_os(err, errno, "the descriptor of %s", from);
    return 0;
}

int kms_listen_inherited(struct kms_listener *out, struct lh_err *err)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    long long n = 0;
    int rc;

    if (!pid || !lh_str_to_i64(lh_str(pid), 1, INT32_MAX, &n) || n != getpid() || !fds ||
        !lh_str_to_i64(lh_str(fds), 1, 1, &n))
        return lh_err_set(err, LH_E_INVALID,
                          "--listen fd takes one socket of a systemd socket unit (LISTEN_FDS)");
    rc = check_listening(FIRST_FD, "systemd", err);
    if (rc == 0)
        *out = (struct kms_listener){.fd = FIRST_FD};
    return rc;
}

void kms_listen_end(struct kms_listener *l)
{
    struct stat st;

    /* While we hold the socket, nobody else's can have its inode. */
    if (l->path[0] && lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
        (void)unlink(l->path);
    if (l->fd >= 0)
        close(l->fd);
    *l = (struct kms_listener){.fd = -1};
}

static int receive(int from, int *out, struct lh_err *err)
{
    union {
        struct cmsghdr h;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    unsigned char version = 0;
    struct iovec iov = {.iov_base = &version, .iov_len = 1};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof(control.bytes)};
    ssize_t n = recvmsg(from, &m, MSG_CMSG_CLOEXEC);
    const struct cmsghdr *h;

    if (n < 0)
        return lh_err_set(err, LH_E_UNAVAILABLE, "the holder does not answer");
    h = CMSG_FIRSTHDR(&m);
    if (n != 1 || !h || h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS ||
        h->cmsg_len != CMSG_LEN(sizeof(int)))
        return lh_err_set(err, LH_E_DENIED,
                          "the holder did not hand its socket to us: run both "
                          "as one user");
    memcpy(out, CMSG_DATA(h), sizeof(int));
    if (version == KMS_HOLD_VERSION)
        return 0;
    close(*out);
    return lh_err_set(err, LH_E_INVALID, "the holder speaks version %u, we know %d", version,
                      KMS_HOLD_VERSION);
}

int kms_listen_from_holder(const char *control, struct kms_listener *out, struct lh_err *err)
{
    lh_auto_fd int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    const struct timeval limit = {.tv_sec = 1};
    lh_auto_fd int got = -1;
    struct sockaddr_un a;
    int rc;

    if (fd < 0)
        return lh_err_os(err, errno, "make a socket");
    if (strlen(control) >= sizeof(a.sun_path))
        return lh_err_set(err, LH_E_INVALID, "%.80s...: the path is too long", control);
    address_of(control, &a);
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
        connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0)
        return lh_err_set(err, LH_E_UNAVAILABLE, "no holder at %.80s: %s", control,
                          strerror(errno));
    rc = receive(fd, &got, err);
    if (rc == 0)
        rc = check_listening(got, "the holder", err);
    if (rc == 0)
        *out = (struct kms_listener){.fd = LH_TAKE_FD(got)};
    return rc;
}
