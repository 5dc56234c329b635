/* SPDX-License-Identifier: Apache-2.0 */
#include "mount_client.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/vec.h"

enum { ANSWER_MS = 20 * 1000, RETRY_FIRST_MS = 50, RETRY_LAST_MS = 2000, LIST_MAX = 4096 };

struct mount_op {
    struct mount_client *c;
    struct mount_op *next;
    struct lh_mount_request req;
    mount_done_fn done;
    void *arg;
    lh_ms by;
    bool sent, cancelled;
};

struct mount_client {
    struct lh_loop *loop;
    char *path;
    void (*connected)(void *arg);
    void *arg;
    int fd;
    struct lh_poll *poll;
    struct lh_timer *timer;
    lh_ms retry_at, retry_wait;
    struct mount_op *first, *last;
    struct lh_vec replies; /* of the first, as they come */
    bool up;               /* the peer has answered on this connection */
};

static void turn(struct mount_client *c);

static void disconnect(struct mount_client *c)
{
    if (c->fd < 0)
        return;
    lh_poll_free(c->poll);
    c->poll = NULL;
    close(c->fd);
    c->fd = -1;
    c->up = false;
    lh_vec_clear(&c->replies);
    if (c->first)
        c->first->sent = false;
    c->retry_wait = c->retry_wait ? c->retry_wait * 2 : RETRY_FIRST_MS;
    c->retry_wait = c->retry_wait > RETRY_LAST_MS ? RETRY_LAST_MS : c->retry_wait;
    c->retry_at = lh_clock_now() + c->retry_wait;
}

static struct mount_op *pop(struct mount_client *c)
{
    struct mount_op *op = c->first;

    c->first = op->next;
    if (!c->first)
        c->last = NULL;
    return op;
}

static void finish(struct mount_client *c, struct mount_answer *ans, const struct lh_err *err)
{
    struct mount_op *op = pop(c);

    if (!op->cancelled)
        op->done(op->arg, ans, err);
    lh_free(op);
}

/* What the peer says ended it. */
static int refusal(const struct mount_op *op, const struct lh_mount_reply *r, struct lh_err *err)
{
    int code = r->os == ENOENT ? LH_E_NOTFOUND : r->os == EINVAL ? LH_E_INVALID : LH_E_OS, rc;
    size_t n = strnlen(r->text, sizeof(r->text));

    rc = lh_err_set(err, code, "volume \"%s\": %.*s", op->req.volume, (int)n,
                    n ? r->text : strerror(r->os));
    if (err && code == LH_E_OS)
        err->os = r->os;
    return lh_err_reason(err, rc, LH_REASON_MountFailed);
}

static void take_fds(struct msghdr *m, int fds[2])
{
    size_t n = 0;

    for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
        size_t count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(fd));
            if (n < 2)
                fds[n++] = fd;
            else
                close(fd);
        }
    }
}

static void close_fds(int fds[2])
{
    for (size_t i = 0; i < 2; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
}

static void answered(struct mount_client *c, const struct lh_mount_reply *r, int fds[2])
{
    struct mount_answer ans = {.replies = c->replies.p, .n = c->replies.n, .fds = {fds[0], fds[1]}};
    struct mount_op *op = c->first;
    struct lh_vec replies = c->replies;
    struct lh_err err = {0};

    lh_vec_init(&c->replies, sizeof(struct lh_mount_reply));
    c->retry_wait = 0;
    if (r->os != 0) {
        (void)refusal(op, r, &err);
        finish(c, NULL, &err);
    } else {
        finish(c, &ans, NULL);
    }
    close_fds(ans.fds);
    lh_vec_done(&replies);
}

/* One packet; false: nothing more, or the connection is gone. */
static bool receive(struct mount_client *c)
{
    struct lh_mount_reply r;
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(4 * sizeof(int))];
    } control;
    struct iovec v = {&r, sizeof(r)};
    struct msghdr m = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    int fds[2] = {-1, -1};
    ssize_t n = recvmsg(c->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n > 0)
        take_fds(&m, fds);
    /* Another version, or an answer to nothing: not our peer. */
    if (n != sizeof(r) || r.version != LH_MOUNT_VERSION || !c->first || !c->first->sent ||
        c->replies.n >= LIST_MAX || !lh_vec_push(&c->replies, &r)) {
        close_fds(fds);
        disconnect(c);
        return false;
    }
    r.text[sizeof(r.text) - 1] = '\0';
    if (r.more)
        close_fds(fds);
    else
        answered(c, &r, fds);
    return c->fd >= 0;
}

static void on_poll(void *arg, int events, int os)
{
    struct mount_client *c = arg;

    (void)events;
    if (os != 0)
        disconnect(c);
    while (c->fd >= 0 && receive(c))
        ;
    turn(c);
}

static bool open_socket(struct mount_client *c)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    c->fd = fd;
    if (fd < 0)
        return false;
    memcpy(at.sun_path, c->path, strlen(c->path) + 1);
    return connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0 &&
           lh_poll_new(c->loop, fd, on_poll, c, &c->poll, NULL) == 0 &&
           lh_poll_set(c->poll, LH_POLL_IN, NULL) == 0;
}

static void try_connect(struct mount_client *c)
{
    if (c->fd >= 0 || lh_clock_now() < c->retry_at)
        return;
    if (!open_socket(c)) {
        if (c->fd < 0)
            c->retry_at = lh_clock_now() + RETRY_LAST_MS;
        disconnect(c);
        return;
    }
    c->up = true;
    if (c->connected)
        c->connected(c->arg);
}

static void send_first(struct mount_client *c)
{
    struct mount_op *op;

    while (c->first && c->first->cancelled && !c->first->sent)
        lh_free(pop(c));
    op = c->first;
    if (c->fd < 0 || !op || op->sent)
        return;
    op->sent = true;
    if (send(c->fd, &op->req, sizeof(op->req), MSG_NOSIGNAL | MSG_DONTWAIT) !=
        (ssize_t)sizeof(op->req))
        disconnect(c);
}

static void expire(struct mount_client *c)
{
    lh_ms now = lh_clock_now();
    struct lh_err err = {0};

    while (c->first && (c->first->by <= now || c->first->cancelled)) {
        if (c->first->sent && c->first->by > now)
            return; /* cancelled, its answer is on the way */
        if (c->first->sent)
            disconnect(c); /* or the answer would be taken for that of another */
        lh_err_fill(&err, LH_E_UNAVAILABLE,
                    "volume \"%s\": leasehold-mount does not answer: see whether its container on "
                    "this node runs",
                    c->first->req.volume);
        err.reason = LH_REASON_MountFailed;
        finish(c, NULL, &err);
    }
}

/* Level-triggered: whatever is to be done now, and when again. */
static void turn(struct mount_client *c)
{
    lh_ms at = INT64_MAX;

    expire(c);
    try_connect(c);
    send_first(c);
    for (const struct mount_op *op = c->first; op; op = op->next)
        at = op->by < at ? op->by : at;
    if (c->fd < 0 && c->retry_at < at)
        at = c->retry_at;
    if (at == INT64_MAX)
        lh_timer_stop(c->timer);
    else
        lh_timer_at(c->timer, at);
}

static void on_timer(void *arg)
{
    turn(arg);
}

int mount_client_new(struct lh_loop *loop, const char *path, void (*connected)(void *arg),
                     void *arg, struct mount_client **out, struct lh_err *err)
{
    struct mount_client *c;
    int rc;

    if (strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
        return lh_err_set(err, LH_E_INVALID, "--mount-socket is too long a path for a socket");
    c = lh_calloc(1, sizeof(*c));
    if (!c)
        return lh_err_nomem(err);
    *c = (struct mount_client){.loop = loop, .connected = connected, .arg = arg, .fd = -1};
    lh_vec_init(&c->replies, sizeof(struct lh_mount_reply));
    c->path = lh_strdup(path);
    rc = c->path ? lh_timer_new(loop, on_timer, c, &c->timer, err) : lh_err_nomem(err);
    if (rc < 0) {
        mount_client_free(c);
        return rc;
    }
    lh_timer_in(c->timer, 0);
    *out = c;
    return 0;
}

void mount_client_free(struct mount_client *c)
{
    if (!c)
        return;
    disconnect(c);
    while (c->first)
        lh_free(pop(c));
    lh_vec_done(&c->replies);
    lh_timer_free(c->timer);
    lh_free(c->path);
    lh_free(c);
}

bool mount_client_is_connected(const struct mount_client *c)
{
    return c->up;
}

int mount_start(struct mount_client *c, const struct lh_mount_request *req, mount_done_fn done,
                void *arg, struct mount_op **out, struct lh_err *err)
{
    struct mount_op *op = lh_calloc(1, sizeof(*op));

    if (!op)
        return lh_err_nomem(err);
    op->c = c;
    op->req = *req;
    op->done = done;
    op->arg = arg;
    op->by = lh_clock_now() + ANSWER_MS;
    if (c->last)
        c->last->next = op;
    else
        c->first = op;
    c->last = op;
    lh_timer_in(c->timer, 0);
    *out = op;
    return 0;
}

void mount_cancel(struct mount_op *op)
{
    if (op)
        op->cancelled = true;
}

bool mount_request_init(struct lh_mount_request *r, enum lh_mount_verb verb, const char *pod_uid,
                        const char *volume, const char *context)
{
    size_t u = strlen(pod_uid), v = strlen(volume), x = strlen(context);

    memset(r, 0, sizeof(*r));
    r->version = LH_MOUNT_VERSION;
    r->verb = verb;
    r->gid = LH_MOUNT_NO_GID;
    if (u >= sizeof(r->pod_uid) || v >= sizeof(r->volume) || x >= sizeof(r->context))
        return false;
    memcpy(r->pod_uid, pod_uid, u);
    memcpy(r->volume, volume, v);
    memcpy(r->context, context, x);
    return true;
}
