/* SPDX-License-Identifier: Apache-2.0 */
#include "server.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "leasehold/core/log.h"
#include "request.h"

#define SEND_SECONDS 1 /* how long a peer that does not read may hold us up */

union packet {
    struct lh_mount_request request;
    char bytes[sizeof(struct lh_mount_request) + 1]; /* one more: a longer one shows */
};

static int send_reply(int fd, struct lh_mount_reply *r, const int *fds, unsigned count)
{
    union {
        struct cmsghdr h;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control;
    struct iovec iov = {.iov_base = r, .iov_len = sizeof(*r)};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

    r->version = LH_MOUNT_VERSION;
    r->fds = count;
    if (count > 0) {
        memset(&control, 0, sizeof(control));
        control.h.cmsg_level = SOL_SOCKET;
        control.h.cmsg_type = SCM_RIGHTS;
        control.h.cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(&control.h), fds, count * sizeof(int));
        m.msg_control = control.bytes;
        m.msg_controllen = CMSG_SPACE(count * sizeof(int));
    }
    return sendmsg(fd, &m, MSG_NOSIGNAL) == (ssize_t)sizeof(*r) ? 0 : -1;
}

static int refuse(int fd, int os, const char *text)
{
    struct lh_mount_reply r = {.os = os ? os : EIO};
    size_t n = strnlen(text, sizeof(r.text) - 1);

    memcpy(r.text, text, n);
    return send_reply(fd, &r, NULL, 0);
}

static void put_names(struct lh_mount_reply *r, const struct lh_mount_request *q)
{
    memcpy(r->pod_uid, q->pod_uid, sizeof(r->pod_uid));
    memcpy(r->volume, q->volume, sizeof(r->volume));
}

/* One with a folder's descriptor, which is ours only until it is sent. */
static int reply_folder(int fd, const struct lh_mount_request *q, int dir)
{
    struct lh_mount_reply r = {0};
    int rc = lh_mount_limits(dir, &r);

    put_names(&r, q);
    rc = rc < 0 ? refuse(fd, -rc, "ask for a volume's limits") : send_reply(fd, &r, &dir, 1);
    close(dir);
    return rc;
}

/* Each is held back until it is known whether another follows. */
struct listing {
    int fd;
    bool has_last;
    struct lh_mount_reply last;
};

static int list_one(void *arg, const struct lh_mount_reply *one)
{
    struct listing *l = arg;

    l->last.more = 1;
    if (l->has_last && send_reply(l->fd, &l->last, NULL, 0) < 0)
        return -(int)LH_E_UNAVAILABLE;
    l->last = *one;
    l->has_last = true;
    return 0;
}

static int list(struct lh_mount_server *s, int fd)
{
    struct listing l = {.fd = fd};
    struct lh_err err = {0};
    int rc = lh_mount_list(s->host, list_one, &l, &err);

    if (rc == -(int)LH_E_UNAVAILABLE)
        return -1;
    if (rc < 0)
        return refuse(fd, err.os, err.msg);
    l.last.more = 0;
    return send_reply(fd, &l.last, NULL, 0);
}

static int listeners(struct lh_mount_server *s, int fd)
{
    struct lh_mount_reply r = {0};
    const int fds[] = {s->csi.fd, s->registration.fd};

    return send_reply(fd, &r, fds, 2);
}

static const char *verb_name(uint32_t verb)
{
    static const char *const names[] = {
        [LH_MOUNT_MOUNT] = "mount", [LH_MOUNT_UNMOUNT] = "unmount",     [LH_MOUNT_LIST] = "list",
        [LH_MOUNT_OPEN] = "open",   [LH_MOUNT_LISTENERS] = "listeners", [LH_MOUNT_STATE] = "state"};

    return names[verb];
}

/* 0, or -1: the connection is of no use any more. */
static int answer(struct lh_mount_server *s, int fd, const struct lh_mount_request *q)
{
    struct lh_mount_reply done = {0};
    struct lh_err err = {0};
    int rc = 0, dir = -1;

    switch ((enum lh_mount_verb)q->verb) {
    case LH_MOUNT_LIST:
        return list(s, fd);
    case LH_MOUNT_LISTENERS:
        return listeners(s, fd);
    case LH_MOUNT_MOUNT:
        rc = lh_mount_volume(s->host, q, &dir, &err);
        break;
    case LH_MOUNT_OPEN:
        rc = lh_mount_open(s->host, q, &dir, &err);
        break;
    case LH_MOUNT_STATE:
        rc = lh_mount_state(s->host, &dir, &err);
        break;
    case LH_MOUNT_UNMOUNT:
        rc = lh_mount_unmount(s->host, q, &err);
        break;
    }
    if (rc < 0) {
        lh_log_warn("refused", LH_F_STR("verb", verb_name(q->verb)), LH_F_STR("pod", q->pod_uid),
                    LH_F_STR("volume", q->volume), LH_F_ERR(&err));
        return refuse(fd, err.os, err.msg);
    }
    lh_log_info("done", LH_F_STR("verb", verb_name(q->verb)), LH_F_STR("pod", q->pod_uid),
                LH_F_STR("volume", q->volume));
    if (dir >= 0)
        return reply_folder(fd, q, dir);
    put_names(&done, q);
    return send_reply(fd, &done, NULL, 0);
}

/* 0, or -1: the connection ends. Descriptors that a peer sends are dropped by the kernel, since no
 * room is offered for them. */
static int serve_one(struct lh_mount_server *s, int fd)
{
    union packet p;
    struct lh_mount_request q;
    const char *why = NULL;
    ssize_t n = recv(fd, &p, sizeof(p), MSG_DONTWAIT);
    int os;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0)
        return -1;
    os = lh_mount_request_check(&p, (size_t)n, &q, &why);
    if (os == 0)
        return answer(s, fd, &q);
    lh_log_warn("not served", LH_F_STR("error", why));
    return refuse(fd, os, why) < 0 || os == EPROTO ? -1 : 0;
}

static void drop(struct lh_mount_server *s, unsigned at)
{
    close(s->peers[at]);
    s->count--;
    memmove(&s->peers[at], &s->peers[at + 1], (s->count - at) * sizeof(s->peers[0]));
}

/* The newest connection always gets in: what a peer leaves open cannot lock out its successor. */
static void accept_one(struct lh_mount_server *s)
{
    const struct timeval limit = {.tv_sec = SEND_SECONDS};
    struct ucred who;
    socklen_t n = sizeof(who);
    int fd = accept4(s->control.fd, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0)
        return;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) < 0 || who.uid != s->host->uid) {
        lh_log_warn("connection refused", LH_F_INT("uid", who.uid));
        close(fd);
        return;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0) {
        close(fd);
        return;
    }
    if (s->count == LH_MOUNT_PEERS_MAX)
        drop(s, 0);
    s->peers[s->count++] = fd;
}

int lh_mount_serve(struct lh_mount_server *s, const volatile sig_atomic_t *stop,
                   const sigset_t *outside, struct lh_err *err)
{
    while (!*stop) {
        struct pollfd fds[LH_MOUNT_PEERS_MAX + 1];
        unsigned count = s->count;

        for (unsigned i = 0; i < count; i++)
            fds[i] = (struct pollfd){.fd = s->peers[i], .events = POLLIN};
        fds[count] = (struct pollfd){.fd = s->control.fd, .events = POLLIN};
        if (ppoll(fds, count + 1, NULL, outside) < 0) {
            if (errno == EINTR)
                continue;
            return lh_err_os(err, errno, "wait for requests");
        }
        for (unsigned i = count; i-- > 0;) {
            if (fds[i].revents && serve_one(s, fds[i].fd) < 0)
                drop(s, i);
        }
        if (fds[count].revents)
            accept_one(s);
    }
    return 0;
}
