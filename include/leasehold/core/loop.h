/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CORE_LOOP_H
#define LEASEHOLD_CORE_LOOP_H

/*
 * The one loop of a process: libuv underneath, hidden. One thread, never blocked; no libuv thread
 * pool. Timers run on lh_clock (boot time), so tests step them: with a fake clock lh_loop_turn()
 * runs what is due. A turn over 100 ms is counted (lh_loop_slow_turns).
 * Handles that libuv closes stay allocated until their close callback; _free returns at once.
 */
#include <stdbool.h>
#include <stdint.h>

#include "leasehold/core/clock.h"
#include "leasehold/core/err.h"

struct lh_loop;
struct lh_timer;
struct lh_poll;
struct lh_signal;
struct lh_dirwatch;
struct lh_child;

int lh_loop_new(struct lh_loop **out, struct lh_err *err);
void lh_loop_free(
    struct lh_loop *l); /* runs pending close callbacks; every handle must be freed before */

/* Runs until lh_loop_stop(). */
int lh_loop_run(struct lh_loop *l, struct lh_err *err);
void lh_loop_stop(struct lh_loop *l);
bool lh_loop_is_stopped(const struct lh_loop *l);
/* One turn: waits at most wait_ms (0: not at all, -1: until something happens), runs what is ready.
 */
void lh_loop_turn(struct lh_loop *l, int wait_ms);
/* For an outer loop that hosts this one as a guest (serve): the descriptor to wait on, timers
 * included, and for how long (0: take a turn first, -1: until the descriptor is ready). */
int lh_loop_backend_fd(const struct lh_loop *l);
int lh_loop_backend_timeout(const struct lh_loop *l);
/* The outer loop, if any: each turn calls run(arg, wait_ms) once, which waits in our place at most
 * so long (-1: until something happens) and takes turns of this loop from inside, by
 * lh_loop_turn(l, 0). One host per loop; run NULL takes it away. */
typedef void (*lh_loop_host_fn)(void *arg, int wait_ms);
typedef void (*lh_loop_wake_fn)(void *arg); /* ends the host's wait, callable from any callback */
void lh_loop_set_host(struct lh_loop *l, lh_loop_host_fn run, lh_loop_wake_fn wake, void *arg);
uint64_t lh_loop_slow_turns(const struct lh_loop *l);
uint64_t lh_loop_turns(const struct lh_loop *l);

/* A one-shot timer, stopped after it fired; arm again at will. */
typedef void (*lh_timer_fn)(void *arg);
int lh_timer_new(struct lh_loop *l, lh_timer_fn fn, void *arg, struct lh_timer **out,
                 struct lh_err *err);
void lh_timer_at(struct lh_timer *t, lh_ms when); /* boot time; past means next turn */
void lh_timer_in(struct lh_timer *t, lh_ms delay);
void lh_timer_stop(struct lh_timer *t);
bool lh_timer_is_armed(const struct lh_timer *t);
lh_ms lh_timer_when(const struct lh_timer *t); /* meaningful while armed */
void lh_timer_free(struct lh_timer *t);        /* NULL is a no-op; safe inside its own callback */

/* Readiness of a descriptor that the caller owns. events: LH_POLL_IN | LH_POLL_OUT. */
enum { LH_POLL_IN = 1, LH_POLL_OUT = 2 };
typedef void (*lh_poll_fn)(void *arg, int events, int os /* errno or 0 */);
int lh_poll_new(struct lh_loop *l, int fd, lh_poll_fn fn, void *arg, struct lh_poll **out,
                struct lh_err *err);
int lh_poll_set(struct lh_poll *p, int events, struct lh_err *err); /* 0 pauses */
void lh_poll_free(struct lh_poll *p); /* before the descriptor is closed */

typedef void (*lh_signal_fn)(void *arg, int signo);
int lh_signal_new(struct lh_loop *l, int signo, lh_signal_fn fn, void *arg, struct lh_signal **out,
                  struct lh_err *err);
void lh_signal_free(struct lh_signal *s);

/* Something changed in a folder (inotify): a hint to look again. */
typedef void (*lh_dirwatch_fn)(void *arg);
int lh_dirwatch_new(struct lh_loop *l, const char *path, lh_dirwatch_fn fn, void *arg,
                    struct lh_dirwatch **out, struct lh_err *err);
void lh_dirwatch_free(struct lh_dirwatch *w);

/* A child process: argv NULL-terminated, environment exactly envp, stdin/stdout/stderr on /dev/null
 * or inherited stderr, no other descriptor. done gets the wait status once; after timeout_ms (0:
 * none) it is killed. */
typedef void (*lh_child_fn)(void *arg, int exit_code, int term_signal, bool timed_out);
int lh_child_start(struct lh_loop *l, const char *const *argv, const char *const *envp,
                   int timeout_ms, lh_child_fn done, void *arg, struct lh_child **out,
                   struct lh_err *err);
void lh_child_cancel(struct lh_child *c); /* kills; done is not called */

#endif
