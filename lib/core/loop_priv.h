/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_LOOP_PRIV_H
#define LH_LOOP_PRIV_H

/* The loop's inside, shared by its parts. Everything but libuv's own handles hangs on struct
 * lh_loop. */
#include <uv.h>

#include "leasehold/core/loop.h"

struct lh_timer {
    struct lh_loop *loop;
    lh_timer_fn fn;
    void *arg;
    lh_ms when;
    uint64_t seq; /* order of arming, which decides between equal times */
    size_t at;    /* index in the heap */
    bool armed;
};

struct lh_loop {
    uv_loop_t uv;
    struct lh_timer **heap;
    size_t n_armed, n_timers, heap_room; /* room for all timers: arming cannot fail */
    uint64_t seq;
    int timer_fd;
    uv_poll_t timer_poll;
    lh_ms timer_fd_when; /* what timer_fd is set to, -1 if it is off */
    bool in_turn, in_host, stopped;
    struct lh_child *orphans; /* cancelled, not yet reaped */
    lh_loop_host_fn host_run;
    lh_loop_wake_fn host_wake;
    void *host_arg;
    uint64_t turns, slow_turns;
};

int lh_loop_timers_init(struct lh_loop *l, struct lh_err *err);
void lh_loop_timers_done(struct lh_loop *l);
bool lh_loop_timers_due(const struct lh_loop *l);
void lh_loop_timers_run(struct lh_loop *l);
/* Sets the kernel's timer to the next one of ours. */
void lh_loop_timers_sync(struct lh_loop *l);

void lh_loop_children_done(struct lh_loop *l);

#endif
