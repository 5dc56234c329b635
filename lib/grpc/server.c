/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "leasehold/core/mem.h"
#include "server_priv.h"

enum {
    DEFAULT_MAX_MESSAGE = 4 << 20,
    DEFAULT_MAX_STREAMS = 250,
    DEFAULT_MAX_CONNECTIONS = 64,
    /* Of all requests of one connection that are still coming: four of the largest, or this. */
    MIN_BUFFERED = 16 << 20,
    ACCEPTS_A_TURN = 16,
    ACCEPT_PAUSE_MS = 100,
    /* How long a client may take to say that it knows, before we stop waiting for new calls that
     * were under way. */
    DRAIN_NOTICE_MS = 1000,
};

static void watch_listeners(struct lh_grpc_server *s)
{
    int events = s->paused ? 0 : LH_POLL_IN;

    for (struct lh_grpc_listener *l = s->listeners; l; l = l->next)
        lh_poll_set(l->poll, events, NULL);
}

static void on_accept_timer(void *arg)
{
    struct lh_grpc_server *s = arg;

    s->paused = false;
    watch_listeners(s);
}

static bool may_connect(struct lh_grpc_server *s, int fd)
{
    struct ucred peer;
    socklen_t n = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0) {
        for (size_t i = 0; i < s->n_peers; i++) {
            if (s->peers[i] == peer.uid)
                return true;
        }
    }
    s->stats.refused_peers++;
    return false;
}

int lh_grpc_server_adopt(struct lh_grpc_server *s, int fd, struct lh_err *err)
{
    if (!may_connect(s, fd)) {
        close(fd);
        return 0;
    }
    return lh_grpc_conn_open(s, fd, err);
}

/* Who sits on a connection without a call makes room for who wants one. */
static struct lh_grpc_conn *longest_idle(struct lh_grpc_server *s)
{
    struct lh_grpc_conn *idle = NULL;

    for (struct lh_grpc_conn *c = s->conns; c; c = c->next) {
        if (!c->open.first && !c->lost.first && (!idle || c->used <= idle->used))
            idle = c;
    }
    return idle;
}

/* Accepted and owned, or refused and closed. false: nobody waits, or nobody can be let in now. */
static bool accept_one(struct lh_grpc_server *s, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0) {
        /* Out of descriptors or memory: whoever waits stays in the backlog. */
        s->paused = errno != EAGAIN && errno != EINTR && errno != ECONNABORTED;
        return errno == EINTR || errno == ECONNABORTED;
    }
    if (lh_grpc_server_adopt(s, fd, NULL) < 0) {
        close(fd);
        s->paused = true;
        return false;
    }
    return true;
}

static bool make_room(struct lh_grpc_server *s)
{
    struct lh_grpc_conn *idle;

    if (s->n_connections < s->max_connections)
        return true;
    idle = longest_idle(s);
    if (idle)
        lh_grpc_conn_evict(idle);
    return idle != NULL;
}

static void on_listener(void *arg, int events, int os)
{
    struct lh_grpc_listener *l = arg;
    struct lh_grpc_server *s = l->server;

    (void)events;
    if (os)
        s->paused = true;
    for (int i = 0; i < ACCEPTS_A_TURN && !s->paused; i++) {
        struct pollfd waiting = {.fd = l->fd, .events = POLLIN};

        if (s->n_connections >= s->max_connections && poll(&waiting, 1, 0) == 1 && !make_room(s))
            s->paused = true;
        else if (!accept_one(s, l->fd))
            break;
    }
    if (s->paused) {
        watch_listeners(s);
        lh_timer_in(s->accept_timer, ACCEPT_PAUSE_MS);
    }
}

int lh_grpc_server_listen(struct lh_grpc_server *s, int fd, struct lh_err *err)
{
    struct lh_grpc_listener *l = lh_calloc(1, sizeof(*l));
    int flags, rc;

    if (!l)
        return lh_err_nomem(err);
    l->server = s;
    l->fd = fd;
    flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
        lh_free(l);
        return lh_err_os(err, errno, "listen on descriptor %d", fd);
    }
    rc = lh_poll_new(s->loop, fd, on_listener, l, &l->poll, err);
    if (rc < 0) {
        lh_free(l);
        return rc;
    }
    rc = lh_poll_set(l->poll, LH_POLL_IN, err);
    if (rc < 0) {
        lh_poll_free(l->poll);
        lh_free(l);
        return rc;
    }
    l->next = s->listeners;
    s->listeners = l;
    return 0;
}

static void close_listeners(struct lh_grpc_server *s)
{
    while (s->listeners) {
        struct lh_grpc_listener *l = s->listeners;

        s->listeners = l->next;
        lh_poll_free(l->poll);
        close(l->fd);
        lh_free(l);
    }
}

void lh_grpc_server_lost(struct lh_grpc_server *s)
{
    if (s->paused)
        lh_timer_at(s->accept_timer, lh_clock_now());
    if (s->draining && !s->conns)
        lh_timer_at(s->drain_timer, lh_clock_now());
}

static void on_drain_timer(void *arg)
{
    struct lh_grpc_server *s = arg;
    lh_ms now = lh_clock_now();

    if (!s->conns || now >= s->drain_end) {
        void (*done)(void *) = s->drain_done;

        s->drain_done = NULL;
        if (done)
            done(s->drain_arg); /* may free the server */
        return;
    }
    if (now >= s->drain_final) {
        s->drain_final = INT64_MAX;
        for (struct lh_grpc_conn *c = s->conns; c; c = c->next)
            lh_grpc_conn_drain_final(c);
    }
    lh_timer_at(s->drain_timer, s->drain_final < s->drain_end ? s->drain_final : s->drain_end);
}

void lh_grpc_server_drain(struct lh_grpc_server *s, unsigned limit_ms, void (*done)(void *arg),
                          void *arg)
{
    lh_ms now = lh_clock_now();

    if (s->draining)
        return;
    s->draining = true;
    s->drain_done = done;
    s->drain_arg = arg;
    s->drain_end = now + limit_ms;
    s->drain_final = now + DRAIN_NOTICE_MS;
    close_listeners(s);
    for (struct lh_grpc_conn *c = s->conns; c; c = c->next)
        lh_grpc_conn_drain_notice(c);
    lh_timer_at(s->drain_timer, now);
}

static int fill_server(struct lh_grpc_server *s, const struct lh_grpc_server_options *opts,
                       struct lh_err *err)
{
    int rc;

    s->loop = opts->loop;
    s->methods = opts->methods;
    s->arg = opts->arg;
    s->n_peers = opts->n_peers;
    s->max_message = opts->max_message ? opts->max_message : DEFAULT_MAX_MESSAGE;
    s->max_buffered = s->max_message * 4 > MIN_BUFFERED ? s->max_message * 4 : MIN_BUFFERED;
    s->max_streams = opts->max_streams ? opts->max_streams : DEFAULT_MAX_STREAMS;
    s->max_connections = opts->max_connections ? opts->max_connections : DEFAULT_MAX_CONNECTIONS;
    if (s->n_peers > 0) {
        s->peers = lh_memdup(opts->peers, s->n_peers * sizeof(*s->peers));
        if (!s->peers)
            return lh_err_nomem(err);
    }
    rc = lh_grpc_conn_callbacks(&s->callbacks, err);
    if (rc < 0)
        return rc;
    rc = lh_timer_new(s->loop, on_accept_timer, s, &s->accept_timer, err);
    if (rc < 0)
        return rc;
    return lh_timer_new(s->loop, on_drain_timer, s, &s->drain_timer, err);
}

int lh_grpc_server_new(const struct lh_grpc_server_options *opts, struct lh_grpc_server **out,
                       struct lh_err *err)
{
    struct lh_grpc_server *s = lh_calloc(1, sizeof(*s));
    int rc;

    if (!s)
        return lh_err_nomem(err);
    rc = fill_server(s, opts, err);
    if (rc < 0) {
        lh_grpc_server_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

void lh_grpc_server_free(struct lh_grpc_server *s)
{
    if (!s)
        return;
    close_listeners(s);
    while (s->conns)
        lh_grpc_conn_close(s->conns);
    lh_timer_free(s->accept_timer);
    lh_timer_free(s->drain_timer);
    nghttp2_session_callbacks_del(s->callbacks);
    lh_free(s->peers);
    lh_free(s);
}

void lh_grpc_server_stats(const struct lh_grpc_server *s, struct lh_grpc_server_stats *out)
{
    *out = s->stats;
}
