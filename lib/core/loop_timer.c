/* SPDX-License-Identifier: Apache-2.0 */
#include "loop_priv.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "leasehold/core/mem.h"

/*
 * libuv's timers count CLOCK_MONOTONIC, which stands still while the machine sleeps: a lease would
 * be renewed too late by the length of the sleep. So our heap on lh_clock, and one timerfd on
 * CLOCK_BOOTTIME that wakes the loop for its first entry.
 */

static bool is_before(const struct lh_timer *a, const struct lh_timer *b)
{
    return a->when != b->when ? a->when < b->when : a->seq < b->seq;
}

static void put_at(struct lh_loop *l, size_t i, struct lh_timer *t)
{
    l->heap[i] = t;
    t->at = i;
}

static void sift_up(struct lh_loop *l, size_t i, struct lh_timer *t)
{
    while (i > 0 && is_before(t, l->heap[(i - 1) / 2])) {
        put_at(l, i, l->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    put_at(l, i, t);
}

static void sift_down(struct lh_loop *l, size_t i, struct lh_timer *t)
{
    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= l->n_armed)
            break;
        if (child + 1 < l->n_armed && is_before(l->heap[child + 1], l->heap[child]))
            child++;
        if (!is_before(l->heap[child], t))
            break;
        put_at(l, i, l->heap[child]);
        i = child;
    }
    put_at(l, i, t);
}

static void on_timer_fd(uv_poll_t *poll, int status, int events)
{
    struct lh_loop *l = poll->data;
    uint64_t expirations;

    (void)status;
    (void)events;
    /* The turn that called us runs what is due. EAGAIN: it was set anew since. */
    if (read(l->timer_fd, &expirations, sizeof(expirations)) > 0)
        l->timer_fd_when = -1;
}

int lh_loop_timers_init(struct lh_loop *l, struct lh_err *err)
{
    int rc;

    l->timer_fd_when = -1;
    l->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (l->timer_fd < 0)
        return lh_err_os(err, errno, "create a timer");
    rc = uv_poll_init(&l->uv, &l->timer_poll, l->timer_fd);
    if (rc < 0) {
        close(l->timer_fd);
        return lh_err_os(err, -rc, "watch a timer");
    }
    l->timer_poll.data = l;
    uv_poll_start(&l->timer_poll, UV_READABLE, on_timer_fd);
    return 0;
}

void lh_loop_timers_done(struct lh_loop *l)
{
    uv_close((uv_handle_t *)&l->timer_poll, NULL);
    close(l->timer_fd);
    lh_free(l->heap);
    l->heap = NULL;
}

bool lh_loop_timers_due(const struct lh_loop *l)
{
    return l->n_armed > 0 && l->heap[0]->when <= lh_clock_now();
}

void lh_loop_timers_sync(struct lh_loop *l)
{
    struct itimerspec spec = {0};
    lh_ms when = l->n_armed > 0 && !lh_clock_is_fake() ? l->heap[0]->when : -1;

    if (when == l->timer_fd_when)
        return;
    if (when >= 0) {
        spec.it_value.tv_sec = when / 1000;
        spec.it_value.tv_nsec = when % 1000 * 1000000;
        if (when == 0)
            spec.it_value.tv_nsec = 1; /* all zero would turn it off */
    }
    if (timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL) == 0)
        l->timer_fd_when = when;
}

/* What callbacks arm meanwhile waits for the next turn, so that no timer starves the loop. */
void lh_loop_timers_run(struct lh_loop *l)
{
    lh_ms now = lh_clock_now();
    uint64_t last = l->seq;

    while (l->n_armed > 0 && l->heap[0]->when <= now && l->heap[0]->seq <= last) {
        struct lh_timer *t = l->heap[0];

        lh_timer_stop(t);
        t->fn(t->arg); /* may free t */
    }
}

int lh_timer_new(struct lh_loop *l, lh_timer_fn fn, void *arg, struct lh_timer **out,
                 struct lh_err *err)
{
    struct lh_timer *t;

    if (l->n_timers == l->heap_room) {
        size_t room = l->heap_room ? l->heap_room * 2 : 16;
        struct lh_timer **heap = lh_realloc(l->heap, room * sizeof(struct lh_timer *));

        if (!heap)
            return lh_err_nomem(err);
        l->heap = heap;
        l->heap_room = room;
    }
    t = lh_calloc(1, sizeof(*t));
    if (!t)
        return lh_err_nomem(err);
    t->loop = l;
    t->fn = fn;
    t->arg = arg;
    l->n_timers++;
    *out = t;
    return 0;
}

void lh_timer_at(struct lh_timer *t, lh_ms when)
{
    struct lh_loop *l = t->loop;
    lh_ms now = lh_clock_now();

    lh_timer_stop(t);
    t->when = when < now ? now : when; /* else one that is armed for the past overtakes others */
    t->seq = ++l->seq;
    t->armed = true;
    sift_up(l, l->n_armed++, t);
    /* A host may go to sleep without another turn of ours. */
    if (!l->in_turn && t->at == 0)
        lh_loop_timers_sync(l);
}

void lh_timer_in(struct lh_timer *t, lh_ms delay)
{
    lh_ms now = lh_clock_now();

    if (delay < 0)
        delay = 0;
    lh_timer_at(t, delay > INT64_MAX - now ? INT64_MAX : now + delay);
}

void lh_timer_stop(struct lh_timer *t)
{
    struct lh_loop *l = t->loop;
    struct lh_timer *last;

    if (!t->armed)
        return;
    t->armed = false;
    last = l->heap[--l->n_armed];
    if (last == t)
        return;
    if (t->at > 0 && is_before(last, l->heap[(t->at - 1) / 2]))
        sift_up(l, t->at, last);
    else
        sift_down(l, t->at, last);
}

bool lh_timer_is_armed(const struct lh_timer *t)
{
    return t->armed;
}

lh_ms lh_timer_when(const struct lh_timer *t)
{
    return t->when;
}

void lh_timer_free(struct lh_timer *t)
{
    if (!t)
        return;
    lh_timer_stop(t);
    t->loop->n_timers--;
    lh_free(t);
}
