/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "leasehold/core/loop.h"
#include "leasehold/core/mem.h"
#include "support.h"

struct ended {
    bool any, timed_out;
    int exit_code, term_signal, calls;
};

static struct lh_loop *loop;
static struct ended ended;
static struct lh_child *child;
static const char *const env[] = {"PATH=/usr/bin:/bin", "ONLY=this", NULL};

static int setup(void **state)
{
    (void)state;
    ended = (struct ended){0};
    child = NULL;
    return lh_loop_new(&loop, NULL);
}

static int teardown(void **state)
{
    (void)state;
    lh_loop_free(loop);
    lh_clock_real();
    return 0;
}

static void on_end(void *arg, int exit_code, int term_signal, bool timed_out)
{
    struct ended *e = arg;

    *e = (struct ended){true, timed_out, exit_code, term_signal, e->calls + 1};
}

static int start(const char *script, int timeout_ms)
{
    const char *argv[] = {"/bin/sh", "-c", script, NULL};

    return lh_child_start(loop, argv, env, timeout_ms, on_end, &ended, &child, NULL);
}

static void exit_codes_and_signals(void **state)
{
    static const struct {
        const char *script;
        int exit_code, term_signal;
    } rows[] = {{"exit 0", 0, 0}, {"exit 7", 7, 0}, {"kill -TERM $$", 0, SIGTERM}};

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        ended = (struct ended){0};
        assert_int_equal(start(rows[i].script, 0), 0);
        assert_true(lh_test_run_until_set(loop, &ended.any));
        assert_int_equal(ended.exit_code, rows[i].exit_code);
        assert_int_equal(ended.term_signal, rows[i].term_signal);
        assert_false(ended.timed_out);
    }
}

static void environment_is_exact(void **state)
{
    (void)state;
    assert_int_equal(
        start("test \"$(env | grep -cv -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD=)\" = 2 && "
              "test \"$ONLY\" = this",
              0),
        0);
    assert_true(lh_test_run_until_set(loop, &ended.any));
    assert_int_equal(ended.exit_code, 0);
}

/* Also one that somebody forgot to mark close-on-exec. */
static void no_descriptor_is_inherited(void **state)
{
    char script[200];
    int leaky = open("/dev/null", O_RDONLY);

    (void)state;
    assert_true(leaky > 2);
    snprintf(script, sizeof(script),
             "test ! -e /proc/$$/fd/%d && test \"$(readlink /proc/$$/fd/0)\" = /dev/null && "
             "test \"$(readlink /proc/$$/fd/1 2>/dev/null)\" = /dev/null",
             leaky);
    assert_int_equal(start(script, 0), 0);
    assert_true(lh_test_run_until_set(loop, &ended.any));
    close(leaky);
    assert_int_equal(ended.exit_code, 0);
}

static void absent_program_is_told(void **state)
{
    const char *argv[] = {"/no/such/program", NULL};
    struct lh_err err = {0};

    (void)state;
    assert_int_equal(lh_child_start(loop, argv, env, 100, on_end, &ended, &child, &err), -LH_E_OS);
    assert_int_equal(err.os, ENOENT);
    assert_non_null(strstr(err.msg, "/no/such/program"));
    assert_null(child);
    lh_loop_turn(loop, 0);
    assert_int_equal(ended.calls, 0);
}

static void deadline_kills_the_whole_group(void **state)
{
    struct lh_test_scratch dir;
    char script[640], byte;
    int fifo;

    (void)state;
    lh_clock_fake(1000, 0);
    assert_int_equal(lh_test_scratch_new(&dir), 0);
    snprintf(script, sizeof(script), "mkfifo %s/f; (sleep 1000) >%s/f & wait", dir.path, dir.path);
    assert_int_equal(start(script, 5000), 0);
    lh_clock_step(4999);
    lh_loop_turn(loop, 0);
    assert_false(ended.any);
    snprintf(script, sizeof(script), "%s/f", dir.path);
    while ((fifo = open(script, O_RDONLY | O_CLOEXEC)) < 0 && errno == ENOENT)
        lh_loop_turn(loop, 5);
    lh_clock_step(1);
    assert_true(lh_test_run_until_set(loop, &ended.any));
    assert_true(ended.timed_out);
    assert_int_equal(ended.term_signal, SIGKILL);
    /* End of file: the grandchild that held it open is gone too. */
    assert_int_equal(read(fifo, &byte, 1), 0);
    close(fifo);
    lh_test_scratch_done(&dir);
}

static bool is_reaped(void *arg)
{
    (void)arg;
    return waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD;
}

static void cancel_kills_and_is_silent(void **state)
{
    (void)state;
    assert_int_equal(start("sleep 1000", 60000), 0);
    lh_loop_turn(loop, 0);
    lh_child_cancel(child);
    lh_child_cancel(NULL);
    assert_true(lh_test_run_until(loop, is_reaped, NULL));
    assert_int_equal(ended.calls, 0);
}

static void loop_ends_before_a_cancelled_child(void **state)
{
    (void)state;
    assert_int_equal(start("sleep 1000", 0), 0);
    lh_child_cancel(child);
}

static void on_warm(void *arg)
{
    (void)arg;
}

static void torture(void **state)
{
    struct lh_timer *warm = NULL; /* the loop keeps its heap of timers when a start fails */
    size_t live;
    unsigned long nth = 0;
    int rc;

    (void)state;
    assert_int_equal(lh_timer_new(loop, on_warm, NULL, &warm, NULL), 0);
    do {
        lh_loop_turn(loop, 0);
        live = lh_mem_live_blocks();
        lh_mem_fail_at(++nth);
        rc = start("exit 0", 1000);
        lh_mem_fail_at(0);
        if (rc < 0)
            assert_int_equal(lh_mem_live_blocks(), live);
    } while (rc < 0);
    assert_int_equal(nth, 3);
    lh_timer_free(warm);
    assert_true(lh_test_run_until_set(loop, &ended.any));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(exit_codes_and_signals, setup, teardown),
        cmocka_unit_test_setup_teardown(environment_is_exact, setup, teardown),
        cmocka_unit_test_setup_teardown(no_descriptor_is_inherited, setup, teardown),
        cmocka_unit_test_setup_teardown(absent_program_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(deadline_kills_the_whole_group, setup, teardown),
        cmocka_unit_test_setup_teardown(cancel_kills_and_is_silent, setup, teardown),
        cmocka_unit_test_setup_teardown(loop_ends_before_a_cancelled_child, setup, teardown),
        cmocka_unit_test_setup_teardown(torture, setup, teardown),
    };

    return cmocka_run_group_tests_name("core/child", tests, NULL, NULL);
}
