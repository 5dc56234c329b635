/* SPDX-License-Identifier: Apache-2.0 */
/* The holder: two sockets and nothing else. No key, no network, no memory that grows. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "leasehold/core/fs.h"
#include "leasehold/core/log.h"
#include "listen.h"
#include "sandbox.h"

static volatile sig_atomic_t stop;

static void on_signal(int signo)
{
    stop = signo;
}

/* Taken only while we wait. */
static int catch_signals(sigset_t *outside, struct lh_err *err)
{
    const struct sigaction a = {.sa_handler = on_signal};
    sigset_t both;

    sigemptyset(&both);
    sigaddset(&both, SIGTERM);
    sigaddset(&both, SIGINT);
    if (sigprocmask(SIG_BLOCK, &both, outside) < 0 || sigaction(SIGTERM, &a, NULL) < 0 ||
        sigaction(SIGINT, &a, NULL) < 0)
        return lh_err_os(err, errno, "catch signals");
    return 0;
}

static int hand_over(int to, int fd)
{
    union {
        struct cmsghdr h;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.h = {.cmsg_level = SOL_SOCKET,
                       .cmsg_type = SCM_RIGHTS,
                       .cmsg_len = CMSG_LEN(sizeof(int))}};
    unsigned char version = KMS_HOLD_VERSION;
    struct iovec iov = {.iov_base = &version, .iov_len = 1};
    const struct msghdr m = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};

    memcpy(CMSG_DATA(&control.h), &fd, sizeof(fd));
    return sendmsg(to, &m, MSG_NOSIGNAL | MSG_DONTWAIT) == 1 ? 0 : -1;
}

static void serve_one(const struct kms_listener *control, const struct kms_listener *held)
{
    lh_auto_fd int fd = accept4(control->fd, NULL, NULL, SOCK_CLOEXEC);
    struct ucred who;
    socklen_t n = sizeof(who);

    if (fd < 0)
        return;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) < 0 ||
        (who.uid != geteuid() && who.uid != 0)) {
        lh_log_warn("refused", LH_F_INT("uid", who.uid));
        return;
    }
    if (hand_over(fd, held->fd) < 0)
        lh_log_warn("the socket was not taken", LH_F_INT("pid", who.pid));
    else
        lh_log_info("the socket was handed over", LH_F_INT("pid", who.pid));
}

static int serve(const struct kms_listener *control, const struct kms_listener *held,
                 const sigset_t *outside, struct lh_err *err)
{
    struct pollfd p = {.fd = control->fd, .events = POLLIN};

    while (!stop) {
        if (ppoll(&p, 1, NULL, outside) < 0 && errno != EINTR)
            return lh_err_os(err, errno, "wait for workers");
        if (!stop && p.revents)
            serve_one(control, held);
        p.revents = 0;
    }
    return 0;
}

int kms_hold(const char *path, const char *control_path, uid_t peer_uid, struct lh_err *err)
{
    struct kms_listener held = {.fd = -1}, control = {.fd = -1};
    sigset_t outside;
    int rc = catch_signals(&outside, err);

    if (rc == 0)
        rc = kms_listen(path, SOCK_STREAM, peer_uid, &held, err);
    if (rc == 0)
        rc = kms_listen(control_path, SOCK_SEQPACKET, geteuid(), &control, err);
    if (rc == 0) {
        kms_limit_holder();
        lh_log_info("holding", LH_F_STR("socket", path));
        rc = serve(&control, &held, &outside, err);
    }
    kms_listen_end(&control);
    kms_listen_end(&held);
    return rc;
}
