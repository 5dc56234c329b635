/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "leasehold/core/loop.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/rand.h"
#include "support.h"

static struct lh_loop *loop;

static int setup(void **state)
{
    (void)state;
    return lh_loop_new(&loop, NULL);
}

static int setup_fake(void **state)
{
    lh_clock_fake(1000, 0);
    return setup(state);
}

static int teardown(void **state)
{
    (void)state;
    lh_loop_free(loop);
    loop = NULL;
    lh_clock_real();
    return 0;
}

static char order[64];
static size_t n_order;

static void note(void *arg)
{
    order[n_order++] = *(const char *)arg;
    order[n_order] = '\0';
}

static void timers_fire_in_order(void **state)
{
    struct lh_timer *t[5] = {NULL};
    static char names[] = "abcde";

    (void)state;
    n_order = 0;
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(lh_timer_new(loop, note, &names[i], &t[i], NULL), 0);
    lh_timer_in(t[0], 300);
    lh_timer_in(t[1], 100);
    lh_timer_in(t[2], 100); /* equal: in the order of arming */
    lh_timer_at(t[3], 5);   /* past: the next turn */
    lh_timer_in(t[4], 200);
    assert_true(lh_timer_is_armed(t[3]));
    lh_loop_turn(loop, 0);
    assert_string_equal(order, "d");
    assert_false(lh_timer_is_armed(t[3]));
    lh_clock_step(99);
    lh_loop_turn(loop, 0);
    assert_string_equal(order, "d");
    lh_clock_step(1);
    lh_loop_turn(loop, 0);
    assert_string_equal(order, "dbc");
    lh_timer_stop(t[4]);
    assert_int_equal(lh_timer_when(t[0]), 1300);
    lh_clock_step(1000);
    lh_loop_turn(loop, 0);
    assert_string_equal(order, "dbca");
    for (size_t i = 0; i < 5; i++)
        lh_timer_free(t[i]);
    lh_timer_free(NULL);
}

struct many {
    struct lh_timer *t;
    lh_ms due;
};
static struct many many[300];
static lh_ms last_due;
static int misordered, fired;

static void on_many(void *arg)
{
    const struct many *m = arg;

    if (m->due < last_due || m->due > lh_clock_now())
        misordered++;
    last_due = m->due;
    fired++;
}

static void many_timers_keep_order(void **state)
{
    int armed = 0;

    (void)state;
    lh_rand_seed(7);
    misordered = fired = 0;
    last_due = 0;
    for (size_t i = 0; i < LH_ARRAY_LEN(many); i++)
        assert_int_equal(lh_timer_new(loop, on_many, &many[i], &many[i].t, NULL), 0);
    for (int i = 0; i < 3000; i++) {
        struct many *m = &many[lh_rand_between(0, LH_ARRAY_LEN(many) - 1)];

        if (lh_rand_between(0, 3) == 0) {
            lh_timer_stop(m->t);
        } else {
            m->due = lh_clock_now() + lh_rand_between(0, 5000);
            lh_timer_at(m->t, m->due);
        }
    }
    for (size_t i = 0; i < LH_ARRAY_LEN(many); i++)
        armed += lh_timer_is_armed(many[i].t);
    lh_test_step(loop, 6000, 50);
    assert_int_equal(fired, armed);
    assert_int_equal(misordered, 0);
    for (size_t i = 0; i < LH_ARRAY_LEN(many); i++)
        lh_timer_free(many[i].t);
}

static struct lh_timer *self;
static int rearmed;

static void on_rearm(void *arg)
{
    (void)arg;
    rearmed++;
    lh_timer_in(self, 0);
}

static void rearming_at_once_waits_for_the_next_turn(void **state)
{
    (void)state;
    rearmed = 0;
    assert_int_equal(lh_timer_new(loop, on_rearm, NULL, &self, NULL), 0);
    lh_timer_in(self, 0);
    lh_loop_turn(loop, 0);
    assert_int_equal(rearmed, 1);
    lh_loop_turn(loop, -1); /* due, so it must not wait */
    assert_int_equal(rearmed, 2);
    lh_timer_free(self);
}

static struct lh_timer *victim;

static void on_free_all(void *arg)
{
    (void)arg;
    lh_timer_free(victim);
    lh_timer_free(self);
    victim = self = NULL;
}

static void freeing_inside_a_callback(void **state)
{
    static char name = 'v';

    (void)state;
    n_order = 0;
    order[0] = '\0';
    assert_int_equal(lh_timer_new(loop, on_free_all, NULL, &self, NULL), 0);
    assert_int_equal(lh_timer_new(loop, note, &name, &victim, NULL), 0);
    lh_timer_in(self, 1);
    lh_timer_in(victim, 1);
    lh_clock_step(1);
    lh_loop_turn(loop, 0);
    assert_null(self);
    assert_string_equal(order, "");
}

static void on_flag(void *arg)
{
    *(bool *)arg = true;
}

static void on_stop(void *arg)
{
    (void)arg;
    lh_loop_stop(loop);
}

static int threads(void)
{
    DIR *d = opendir("/proc/self/task");
    const struct dirent *e;
    int n = 0;

    while (d && (e = readdir(d)))
        n += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return n;
}

static void on_poll_nothing(void *arg, int events, int os)
{
    (void)events;
    (void)os;
    ++*(int *)arg;
}

static void on_signal_count(void *arg, int signo)
{
    *(int *)arg += signo;
}

/* An idle loop sleeps until its timer: a turn for registering, one for the timer. */
static void idle_loop_does_not_wake(void **state)
{
    struct lh_timer *t = NULL, *later = NULL;
    struct lh_poll *p = NULL;
    struct lh_signal *s = NULL;
    struct lh_dirwatch *w = NULL;
    bool never = false;
    int pair[2], calls = 0;
    lh_ms start;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(lh_timer_new(loop, on_stop, NULL, &t, NULL), 0);
    assert_int_equal(lh_timer_new(loop, on_flag, &never, &later, NULL), 0);
    assert_int_equal(lh_poll_new(loop, pair[0], on_poll_nothing, &calls, &p, NULL), 0);
    assert_int_equal(lh_poll_set(p, LH_POLL_IN, NULL), 0);
    assert_int_equal(lh_signal_new(loop, SIGUSR1, on_signal_count, &calls, &s, NULL), 0);
    assert_int_equal(lh_dirwatch_new(loop, "/proc/self/fd", on_flag, &never, &w, NULL), 0);
    start = lh_clock_now();
    lh_timer_in(later, 3600000);
    lh_timer_in(t, 150);
    assert_int_equal(lh_loop_run(loop, NULL), 0);
    assert_true(lh_loop_is_stopped(loop));
    assert_true(lh_clock_now() - start >= 150);
    assert_true(lh_loop_turns(loop) <= 3);
    assert_int_equal(calls, 0);
    assert_false(never);
    assert_int_equal(threads(), 1);
    lh_timer_free(t);
    lh_timer_free(later);
    lh_poll_free(p);
    lh_signal_free(s);
    lh_dirwatch_free(w);
    close(pair[0]);
    close(pair[1]);
}

static void on_poll_read(void *arg, int events, int os)
{
    int *fd = arg;
    char c;

    (void)events;
    (void)os;
    if (read(fd[0], &c, 1) == 1)
        fd[1] = 1;
}

/* What was ready while a handle waited to be closed ran before the wait, and the turn waited on. */
static void a_turn_that_did_something_does_not_wait(void **state)
{
    struct lh_poll *p = NULL, *gone = NULL;
    int pair[2], seen[2], calls = 0;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    seen[0] = pair[0];
    seen[1] = 0;
    assert_int_equal(lh_poll_new(loop, pair[0], on_poll_read, seen, &p, NULL), 0);
    assert_int_equal(lh_poll_new(loop, pair[1], on_poll_nothing, &calls, &gone, NULL), 0);
    assert_int_equal(lh_poll_set(p, LH_POLL_IN, NULL), 0);
    lh_loop_turn(loop, 0);
    assert_int_equal(write(pair[1], "x", 1), 1);
    lh_poll_free(gone);
    alarm(10); /* a turn that waits for ever fails here */
    while (!seen[1])
        lh_loop_turn(loop, -1);
    alarm(0);
    lh_poll_free(p);
    close(pair[0]);
    close(pair[1]);
}

struct ready {
    int events, os, calls;
    bool any;
};

static void on_ready(void *arg, int events, int os)
{
    struct ready *r = arg;

    r->events |= events;
    r->os = os;
    r->calls++;
    r->any = true;
}

static void polls_descriptors(void **state)
{
    struct ready r = {0};
    struct lh_poll *p = NULL;
    int pair[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(lh_poll_new(loop, pair[0], on_ready, &r, &p, NULL), 0);
    lh_loop_turn(loop, 0);
    assert_int_equal(r.calls, 0);
    assert_int_equal(lh_poll_set(p, LH_POLL_IN | LH_POLL_OUT, NULL), 0);
    assert_true(lh_test_run_until_set(loop, &r.any));
    assert_int_equal(r.events, LH_POLL_OUT);
    r = (struct ready){0};
    assert_int_equal(lh_poll_set(p, LH_POLL_IN, NULL), 0);
    assert_int_equal(write(pair[1], "x", 1), 1);
    assert_true(lh_test_run_until_set(loop, &r.any));
    assert_int_equal(r.events, LH_POLL_IN);
    r = (struct ready){0};
    assert_int_equal(lh_poll_set(p, 0, NULL), 0);
    lh_loop_turn(loop, 0);
    lh_loop_turn(loop, 0);
    assert_int_equal(r.calls, 0);
    lh_poll_free(p);
    close(pair[0]);
    close(pair[1]);
}

static void a_regular_file_is_refused(void **state)
{
    struct lh_poll *p = NULL;
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    struct lh_err err = {0};

    (void)state;
    assert_int_equal(lh_poll_new(loop, fd, on_poll_nothing, NULL, &p, &err), -LH_E_OS);
    assert_null(p);
    assert_true(err.os != 0);
    close(fd);
}

static void catches_signals(void **state)
{
    struct lh_signal *s = NULL;
    int sum = 0;

    (void)state;
    assert_int_equal(lh_signal_new(loop, SIGUSR2, on_signal_count, &sum, &s, NULL), 0);
    raise(SIGUSR2);
    for (int i = 0; i < 100 && sum == 0; i++)
        lh_loop_turn(loop, 100);
    assert_int_equal(sum, SIGUSR2);
    lh_signal_free(s);
    assert_int_equal(lh_signal_new(loop, SIGKILL, on_signal_count, &sum, &s, NULL), -LH_E_OS);
}

static void watches_folders(void **state)
{
    struct lh_test_scratch dir;
    struct lh_dirwatch *w = NULL;
    bool changed = false;
    int rc;

    (void)state;
    assert_int_equal(lh_test_scratch_new(&dir), 0);
    rc = lh_dirwatch_new(loop, dir.path, on_flag, &changed, &w, NULL);
    if (rc == 0) {
        /* As kubelet does: a rename over ..data. */
        rc = symlinkat("a", dir.fd, "..data_tmp");
        lh_loop_turn(loop, 100);
        changed = false;
        rc |= renameat(dir.fd, "..data_tmp", dir.fd, "..data");
        lh_test_run_until_set(loop, &changed);
        lh_dirwatch_free(w);
    }
    lh_test_scratch_done(&dir);
    assert_int_equal(rc, 0);
    assert_true(changed);
    assert_int_equal(lh_dirwatch_new(loop, "/no/such/folder", on_flag, &changed, &w, NULL),
                     -LH_E_OS);
}

static int hosted, hosted_wait_ms, woken;

static void host_run(void *arg, int wait_ms)
{
    (void)arg;
    hosted_wait_ms = wait_ms;
    hosted++;
    lh_loop_turn(loop, 0);
}

static void host_wake(void *arg)
{
    (void)arg;
    woken++;
}

static void a_host_does_the_waiting(void **state)
{
    struct lh_timer *t = NULL;

    (void)state;
    hosted = woken = 0;
    assert_int_equal(lh_timer_new(loop, on_stop, NULL, &t, NULL), 0);
    lh_timer_in(t, 0);
    lh_loop_set_host(loop, host_run, host_wake, NULL);
    assert_int_equal(lh_loop_run(loop, NULL), 0);
    assert_true(hosted > 0);
    assert_int_equal(hosted_wait_ms, -1);
    assert_int_equal(woken, 1);
    lh_loop_turn(loop, 5);
    assert_int_equal(hosted_wait_ms, 5);
    lh_timer_free(t);
}

/* What a host relies on: a timer that is armed outside a turn makes the descriptor ready. */
static void the_backend_descriptor_includes_timers(void **state)
{
    struct lh_timer *t = NULL;
    bool done = false;
    fd_set set;
    struct timeval patience = {10, 0};
    int fd = lh_loop_backend_fd(loop);

    (void)state;
    lh_loop_turn(loop, 0);
    assert_int_equal(lh_timer_new(loop, on_flag, &done, &t, NULL), 0);
    assert_int_equal(lh_loop_backend_timeout(loop), -1);
    lh_timer_in(t, 20);
    FD_ZERO(&set);
    FD_SET(fd, &set);
    assert_int_equal(select(fd + 1, &set, NULL, NULL, &patience), 1);
    assert_int_equal(lh_loop_backend_timeout(loop), 0);
    lh_loop_turn(loop, 0);
    assert_true(done);
    lh_timer_free(t);
}

static void on_slow(void *arg)
{
    struct timespec from, now;

    (void)arg;
    clock_gettime(CLOCK_MONOTONIC, &from);
    do {
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - from.tv_sec) * 1000 + (now.tv_nsec - from.tv_nsec) / 1000000 <= 101);
}

static void slow_turns_are_counted(void **state)
{
    struct lh_timer *t = NULL;

    (void)state;
    assert_int_equal(lh_timer_new(loop, on_slow, NULL, &t, NULL), 0);
    lh_loop_turn(loop, 0);
    assert_int_equal(lh_loop_slow_turns(loop), 0);
    lh_timer_in(t, 0);
    lh_loop_turn(loop, 0);
    assert_int_equal(lh_loop_slow_turns(loop), 1);
    lh_timer_free(t);
}

static void torture(void **state)
{
    size_t live = lh_mem_live_blocks();
    unsigned long nth = 0;
    int rc;

    (void)state;
    do {
        struct lh_loop *l = NULL;
        struct lh_timer *t = NULL;
        struct lh_poll *p = NULL;
        int pair[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        lh_mem_fail_at(++nth);
        rc = lh_loop_new(&l, NULL);
        if (rc == 0)
            rc = lh_timer_new(l, on_stop, NULL, &t, NULL);
        if (rc == 0)
            rc = lh_poll_new(l, pair[0], on_poll_nothing, NULL, &p, NULL);
        lh_mem_fail_at(0);
        lh_poll_free(p);
        lh_timer_free(t);
        lh_loop_free(l);
        close(pair[0]);
        close(pair[1]);
        assert_int_equal(lh_mem_live_blocks(), live);
    } while (rc < 0);
    assert_int_equal(nth, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(timers_fire_in_order, setup_fake, teardown),
        cmocka_unit_test_setup_teardown(many_timers_keep_order, setup_fake, teardown),
        cmocka_unit_test_setup_teardown(rearming_at_once_waits_for_the_next_turn, setup_fake,
                                        teardown),
        cmocka_unit_test_setup_teardown(freeing_inside_a_callback, setup_fake, teardown),
        cmocka_unit_test_setup_teardown(idle_loop_does_not_wake, setup, teardown),
        cmocka_unit_test_setup_teardown(polls_descriptors, setup, teardown),
        cmocka_unit_test_setup_teardown(a_regular_file_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(catches_signals, setup, teardown),
        cmocka_unit_test_setup_teardown(watches_folders, setup, teardown),
        cmocka_unit_test_setup_teardown(a_turn_that_did_something_does_not_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(a_host_does_the_waiting, setup, teardown),
        cmocka_unit_test_setup_teardown(the_backend_descriptor_includes_timers, setup, teardown),
        cmocka_unit_test_setup_teardown(slow_turns_are_counted, setup, teardown),
        cmocka_unit_test(torture),
    };

    return cmocka_run_group_tests_name("core/loop", tests, NULL, NULL);
}
