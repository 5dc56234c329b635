/* SPDX-License-Identifier: Apache-2.0 */
#include "link.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "leasehold/core/mem.h"
#include "tls.h"

enum {
    READ_BYTES = 16384,
    SEND_AT = 16384,     /* gathered frames go out in one call from here on */
    UNSENT_MAX = 131072, /* never reached: SEND_AT and one chunk of nghttp2 */
    KEEP_ROOM = 4096,
    /* One read full of the smallest frames that are answered. */
    MAX_ACKS = READ_BYTES / 9 + 1,
    /* Deadlines that expire at a stuck backend arrive as resets, hundreds at once: our peers are
     * on this machine and on a list, a burst of them is no attack. */
    RESETS_BURST = 100000,
    RESETS_PER_S = 100000,
};

static void *mem_malloc(size_t n, void *arg)
{
    (void)arg;
    return lh_malloc(n);
}

static void mem_free(void *p, void *arg)
{
    (void)arg;
    lh_free(p);
}

static void *mem_calloc(size_t n, size_t size, void *arg)
{
    (void)arg;
    return lh_calloc(n, size);
}

static void *mem_realloc(void *p, size_t n, void *arg)
{
    (void)arg;
    return lh_realloc(p, n);
}

nghttp2_nv lh_grpc_nv(const char *name, const char *value)
{
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,
                        .value = (uint8_t *)(uintptr_t)value,
                        .namelen = strlen(name),
                        .valuelen = strlen(value),
                        .flags = NGHTTP2_NV_FLAG_NONE};
}

static int open_session(struct lh_grpc_link *l, const nghttp2_session_callbacks *callbacks,
                        bool is_server)
{
    nghttp2_mem mem = {NULL, mem_malloc, mem_free, mem_calloc, mem_realloc};
    nghttp2_option *option = NULL;
    int rc;

    if (nghttp2_option_new(&option) != 0)
        return -1;
    /* Old callers send the path of the socket as :authority, which nghttp2 would refuse. What
     * matters of a head is checked by us. */
    nghttp2_option_set_no_http_messaging(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_stream_reset_rate_limit(option, RESETS_BURST, RESETS_PER_S);
    nghttp2_option_set_max_outbound_ack(option, MAX_ACKS);
    if (is_server)
        rc = nghttp2_session_server_new3(&l->session, callbacks, l->arg, option, &mem);
    else
        rc = nghttp2_session_client_new3(&l->session, callbacks, l->arg, option, &mem);
    nghttp2_option_del(option);
    return rc;
}

static void watch(struct lh_grpc_link *l)
{
    int events = l->unsent.n > 0 && !l->broken ? LH_POLL_OUT : LH_POLL_IN;

    if (events == l->events)
        return;
    if (lh_poll_set(l->poll, events, NULL) == 0)
        l->events = events;
    else
        l->broken = true; /* cannot happen to a descriptor that is watched already */
}

/* The first reason counts: what follows is its consequence. */
static void note(struct lh_grpc_link *l, const char *what)
{
    if (l->peer && !l->why[0])
        snprintf(l->why, sizeof(l->why), "%s: %s", l->peer, what);
}

static void note_tls(struct lh_grpc_link *l)
{
    const char *why = lh_grpc_tls_why(l->tls);

    note(l, why ? why : "the server closed the connection");
}

void lh_grpc_link_break(struct lh_grpc_link *l)
{
    l->broken = true;
    lh_buf_done(&l->unsent);
    shutdown(l->fd, SHUT_RDWR); /* makes it readable */
    watch(l);
}

/* Whether all of unsent is gone. */
static bool send_unsent(struct lh_grpc_link *l)
{
    ssize_t n;

    if (l->unsent.n == 0)
        return true;
    n = send(l->fd, l->unsent.p, l->unsent.n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            note(l, strerror(errno));
            lh_grpc_link_break(l);
        }
        return false;
    }
    if ((size_t)n < l->unsent.n) {
        memmove(l->unsent.p, l->unsent.p + n, l->unsent.n - (size_t)n);
        lh_wipe(l->unsent.p + l->unsent.n - (size_t)n, (size_t)n);
        l->unsent.n -= (size_t)n;
        return false;
    }
    if (l->unsent.room > KEEP_ROOM)
        lh_buf_done(&l->unsent);
    else
        lh_buf_reset(&l->unsent);
    return true;
}

/* Whether the session had more than fits one call. */
static bool gather(struct lh_grpc_link *l)
{
    if (l->tls && !lh_grpc_tls_is_ready(l->tls))
        return false;
    while (l->unsent.n < SEND_AT) {
        const uint8_t *p;
        ssize_t n = nghttp2_session_mem_send(l->session, &p);

        if (n == 0)
            return false;
        if (n > 0 && l->tls)
            n = lh_grpc_tls_write(l->tls, p, (size_t)n, &l->unsent) < 0 ? -1 : n;
        else if (n > 0)
            lh_buf_put(&l->unsent, p, (size_t)n);
        if (n < 0 || lh_buf_check(&l->unsent, NULL) < 0) {
            lh_grpc_link_break(l);
            return false;
        }
    }
    return true;
}

void lh_grpc_link_flush(struct lh_grpc_link *l)
{
    bool more = true;

    while (!l->broken && send_unsent(l) && more)
        more = gather(l);
    watch(l);
}

/* What came over TLS, to the session. 0, or -1: the end. */
static int take_sealed(struct lh_grpc_link *l, const void *bytes, size_t n)
{
    uint8_t plain[READ_BYTES];
    ssize_t part = lh_grpc_tls_feed(l->tls, bytes, n, &l->unsent), used = 0;

    if (part == 0) {
        do {
            part = lh_grpc_tls_read(l->tls, plain, sizeof(plain), &l->unsent);
            if (part > 0)
                used = nghttp2_session_mem_recv(l->session, plain, (size_t)part);
        } while (part > 0 && used >= 0);
    }
    lh_wipe(plain, sizeof(plain));
    if (part < 0) {
        note_tls(l);
        send_unsent(l); /* the alert, if it goes at once */
    }
    return part < 0 || used < 0 || lh_buf_check(&l->unsent, NULL) < 0 ? -1 : 0;
}

/* How much was read; 0: nothing there; -1: the end, or unreadable. */
static ssize_t read_some(struct lh_grpc_link *l)
{
    uint8_t bytes[READ_BYTES];
    ssize_t n = recv(l->fd, bytes, sizeof(bytes), MSG_DONTWAIT), used;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0) {
        note(l, n < 0 ? strerror(errno) : "the server closed the connection");
        return -1;
    }
    if (l->tls) {
        used = take_sealed(l, bytes, (size_t)n);
        lh_wipe(bytes, (size_t)n);
        return used < 0 ? -1 : n;
    }
    used = nghttp2_session_mem_recv(l->session, bytes, (size_t)n);
    lh_wipe(bytes, (size_t)n);
    return used < 0 ? -1 : n;
}

static void on_ready(void *arg, int events, int os)
{
    struct lh_grpc_link *l = arg;
    ssize_t n = 0;

    if (!l->broken && (events & LH_POLL_OUT) && !os)
        lh_grpc_link_flush(l);
    /* After an error of the socket what came before it still counts. */
    if (!l->broken && ((events & LH_POLL_IN) || os)) {
        do
            n = read_some(l);
        while (n > 0 && os);
    }
    if (l->broken || n < 0 || os)
        l->gone(l->arg);
    else
        l->after(l->arg);
}

int lh_grpc_link_open(struct lh_grpc_link *l, struct lh_loop *loop, int fd,
                      const nghttp2_session_callbacks *callbacks, bool is_server,
                      struct lh_err *err)
{
    int rc;

    l->fd = -1;
    lh_buf_init(&l->unsent, UNSENT_MAX);
    if (open_session(l, callbacks, is_server) != 0)
        return lh_err_nomem(err);
    rc = lh_poll_new(loop, fd, on_ready, l, &l->poll, err);
    if (rc < 0)
        return rc;
    rc = lh_poll_set(l->poll, LH_POLL_IN, err);
    if (rc < 0)
        return rc;
    if (l->tls && lh_grpc_tls_begin(l->tls, &l->unsent) < 0)
        return lh_err_nomem(err);
    l->events = LH_POLL_IN;
    l->fd = fd;
    return 0;
}

void lh_grpc_link_close(struct lh_grpc_link *l)
{
    lh_poll_free(l->poll);
    l->poll = NULL;
    nghttp2_session_del(l->session);
    l->session = NULL;
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    lh_buf_done(&l->unsent);
    lh_grpc_tls_free(l->tls);
    l->tls = NULL;
}

bool lh_grpc_link_is_over(const struct lh_grpc_link *l)
{
    return l->unsent.n == 0 && !nghttp2_session_want_read(l->session) &&
           !nghttp2_session_want_write(l->session);
}
