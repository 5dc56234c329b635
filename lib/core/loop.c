/* SPDX-License-Identifier: Apache-2.0 */
#include "loop_priv.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "leasehold/core/mem.h"

enum { SLOW_TURN_MS = 100 };

struct lh_poll {
    uv_poll_t uv;
    lh_poll_fn fn;
    void *arg;
    int events;
};

struct lh_signal {
    uv_signal_t uv;
    lh_signal_fn fn;
    void *arg;
};

struct lh_dirwatch {
    uv_fs_event_t uv;
    lh_dirwatch_fn fn;
    void *arg;
};

/* libuv still holds a closed handle until this comes. */
static void on_closed(uv_handle_t *h)
{
    lh_free(h->data);
}

static void close_handle(uv_handle_t *h)
{
    uv_close(h, on_closed);
}

int lh_loop_new(struct lh_loop **out, struct lh_err *err)
{
    struct lh_loop *l = lh_calloc(1, sizeof(*l));
    int rc;

    if (!l)
        return lh_err_nomem(err);
    rc = uv_loop_init(&l->uv);
    if (rc < 0) {
        lh_free(l);
        return lh_err_os(err, -rc, "create the event loop");
    }
    l->uv.data = l;
    rc = lh_loop_timers_init(l, err);
    if (rc < 0) {
        uv_run(&l->uv, UV_RUN_NOWAIT);
        uv_loop_close(&l->uv);
        lh_free(l);
        return rc;
    }
    *out = l;
    return 0;
}

static void close_forgotten(uv_handle_t *h, void *arg)
{
    (void)arg;
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

void lh_loop_free(struct lh_loop *l)
{
    if (!l)
        return;
    lh_loop_children_done(l);
    lh_loop_timers_done(l);
    /* A handle that its owner forgot leaks, which the leak checker reports; it must not hang us. */
    uv_run(&l->uv, UV_RUN_NOWAIT);
    uv_walk(&l->uv, close_forgotten, NULL);
    while (uv_loop_close(&l->uv) == UV_EBUSY)
        uv_run(&l->uv, UV_RUN_NOWAIT);
    lh_free(l);
}

static int64_t real_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/*
 * Waiting on libuv's descriptor from outside, as a host does too, tells the wait from the work, so
 * that a slow turn can be counted. Not while libuv has something to register or to close: then
 * uv_run first.
 */
static void wait_ready(struct lh_loop *l, int wait_ms)
{
    struct pollfd fd = {.fd = uv_backend_fd(&l->uv), .events = POLLIN};

    if (lh_loop_timers_due(l))
        return;
    if (uv_backend_timeout(&l->uv) == 0) {
        uv_run(&l->uv, UV_RUN_NOWAIT); /* which may be all that the caller waits for */
        return;
    }
    lh_loop_timers_sync(l);
    poll(&fd, 1, wait_ms);
}

void lh_loop_turn(struct lh_loop *l, int wait_ms)
{
    int64_t start;

    if (l->host_run && !l->in_host) {
        l->in_host = true;
        l->host_run(l->host_arg, wait_ms);
        l->in_host = false;
        return;
    }
    l->in_turn = true;
    if (wait_ms != 0)
        wait_ready(l, wait_ms);
    start = real_ms();
    uv_run(&l->uv, UV_RUN_NOWAIT);
    lh_loop_timers_run(l);
    lh_loop_timers_sync(l);
    l->turns++;
    if (real_ms() - start > SLOW_TURN_MS)
        l->slow_turns++;
    l->in_turn = false;
}

int lh_loop_run(struct lh_loop *l, struct lh_err *err)
{
    (void)err;
    while (!l->stopped)
        lh_loop_turn(l, -1);
    return 0;
}

void lh_loop_stop(struct lh_loop *l)
{
    l->stopped = true;
    if (l->host_wake)
        l->host_wake(l->host_arg);
}

bool lh_loop_is_stopped(const struct lh_loop *l)
{
    return l->stopped;
}

int lh_loop_backend_fd(const struct lh_loop *l)
{
    return uv_backend_fd(&l->uv);
}

int lh_loop_backend_timeout(const struct lh_loop *l)
{
    return lh_loop_timers_due(l) ? 0 : uv_backend_timeout(&l->uv);
}

void lh_loop_set_host(struct lh_loop *l, lh_loop_host_fn run, lh_loop_wake_fn wake, void *arg)
{
    l->host_run = run;
    l->host_wake = wake;
    l->host_arg = arg;
}

uint64_t lh_loop_slow_turns(const struct lh_loop *l)
{
    return l->slow_turns;
}

uint64_t lh_loop_turns(const struct lh_loop *l)
{
    return l->turns;
}

static void on_poll(uv_poll_t *uv, int status, int events)
{
    struct lh_poll *p = uv->data;
    int ready = (events & UV_READABLE ? LH_POLL_IN : 0) | (events & UV_WRITABLE ? LH_POLL_OUT : 0);

    /* libuv stops the handle on an error; the owner finds out what it was by trying. */
    if (status < 0)
        p->fn(p->arg, p->events, -status);
    else
        p->fn(p->arg, ready, 0);
}

int lh_poll_new(struct lh_loop *l, int fd, lh_poll_fn fn, void *arg, struct lh_poll **out,
                struct lh_err *err)
{
    struct lh_poll *p = lh_calloc(1, sizeof(*p));
    int rc;

    if (!p)
        return lh_err_nomem(err);
    rc = uv_poll_init(&l->uv, &p->uv, fd);
    if (rc < 0) {
        lh_free(p);
        return lh_err_os(err, -rc, "watch descriptor %d", fd);
    }
    p->uv.data = p;
    p->fn = fn;
    p->arg = arg;
    *out = p;
    return 0;
}

int lh_poll_set(struct lh_poll *p, int events, struct lh_err *err)
{
    int uv_events =
        (events & LH_POLL_IN ? UV_READABLE : 0) | (events & LH_POLL_OUT ? UV_WRITABLE : 0);
    int rc;

    p->events = events;
    rc = uv_events ? uv_poll_start(&p->uv, uv_events, on_poll) : uv_poll_stop(&p->uv);
    if (rc < 0)
        return lh_err_os(err, -rc, "watch a descriptor");
    return 0;
}

void lh_poll_free(struct lh_poll *p)
{
    if (p)
        close_handle((uv_handle_t *)&p->uv);
}

static void on_signal(uv_signal_t *uv, int signo)
{
    struct lh_signal *s = uv->data;

    s->fn(s->arg, signo);
}

int lh_signal_new(struct lh_loop *l, int signo, lh_signal_fn fn, void *arg, struct lh_signal **out,
                  struct lh_err *err)
{
    struct lh_signal *s = lh_calloc(1, sizeof(*s));
    int rc;

    if (!s)
        return lh_err_nomem(err);
    rc = uv_signal_init(&l->uv, &s->uv);
    if (rc < 0) {
        lh_free(s);
        return lh_err_os(err, -rc, "watch signal %d", signo);
    }
    s->uv.data = s;
    s->fn = fn;
    s->arg = arg;
    rc = uv_signal_start(&s->uv, on_signal, signo);
    if (rc < 0) {
        lh_signal_free(s);
        return lh_err_os(err, -rc, "watch signal %d", signo);
    }
    *out = s;
    return 0;
}

void lh_signal_free(struct lh_signal *s)
{
    if (s)
        close_handle((uv_handle_t *)&s->uv);
}

static void on_dir_event(uv_fs_event_t *uv, const char *name, int events, int status)
{
    struct lh_dirwatch *w = uv->data;

    (void)name;
    (void)events;
    (void)status;
    w->fn(w->arg);
}

int lh_dirwatch_new(struct lh_loop *l, const char *path, lh_dirwatch_fn fn, void *arg,
                    struct lh_dirwatch **out, struct lh_err *err)
{
    struct lh_dirwatch *w = lh_calloc(1, sizeof(*w));
    int rc;

    if (!w)
        return lh_err_nomem(err);
    uv_fs_event_init(&l->uv, &w->uv); /* only sets fields */
    w->uv.data = w;
    w->fn = fn;
    w->arg = arg;
    rc = uv_fs_event_start(&w->uv, on_dir_event, path, 0);
    if (rc < 0) {
        lh_dirwatch_free(w);
        return lh_err_os(err, -rc, "watch folder %s", path);
    }
    *out = w;
    return 0;
}

void lh_dirwatch_free(struct lh_dirwatch *w)
{
    if (w)
        close_handle((uv_handle_t *)&w->uv);
}
