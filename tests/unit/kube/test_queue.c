/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "leasehold/core/buf.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/rand.h"
#include "leasehold/kube/queue.h"
#include "support.h"

static struct lh_loop *loop;
static struct lh_queue *queue;
static struct lh_buf log_text; /* keys in the order in which they were handed out */

/* What work does by itself; else the test says done. */
static bool done_at_once, free_at_once;
static lh_ms work_ms;

static void work(void *arg, const char *key)
{
    char copy[64];

    (void)arg;
    snprintf(copy, sizeof(copy), "%s", key);
    lh_buf_printf(&log_text, "%s ", key);
    lh_clock_step(work_ms);
    if (done_at_once)
        lh_queue_done(queue, copy, LH_QUEUE_OK, 0);
    if (free_at_once) {
        lh_queue_free(queue);
        queue = NULL;
    }
}

static int setup_parallel(unsigned parallel)
{
    const struct lh_queue_options opts = {
        .name = "test", .parallel = parallel, .work = work, .arg = NULL};
    struct lh_queue_options o = opts;
    int rc;

    done_at_once = free_at_once = false;
    work_ms = 0;
    lh_rand_seed(7);
    lh_clock_fake(1000000, 0);
    lh_buf_init(&log_text, 1 << 20);
    lh_buf_put_z(&log_text, "");
    rc = lh_loop_new(&loop, NULL);
    o.loop = loop;
    if (rc == 0)
        rc = lh_queue_new(&o, &queue, NULL);
    return rc;
}

static int setup(void **state)
{
    (void)state;
    return setup_parallel(1);
}

static int setup_four(void **state)
{
    (void)state;
    return setup_parallel(4);
}

static int teardown(void **state)
{
    (void)state;
    lh_queue_free(queue);
    queue = NULL;
    lh_loop_free(loop);
    lh_buf_done(&log_text);
    lh_metrics_reset();
    lh_clock_real();
    return 0;
}

static void turns(void)
{
    for (int i = 0; i < 3; i++)
        lh_loop_turn(loop, 0);
}

/* What was handed out since the last look. */
static void assert_worked(const char *want)
{
    turns();
    assert_string_equal(lh_buf_peek(&log_text).p, want);
    lh_buf_reset(&log_text);
    lh_buf_put_z(&log_text, "");
}

static void add(const char *key)
{
    assert_int_equal(lh_queue_add(queue, key, LH_LANE_REFRESH, NULL), 0);
}

static void add_first(const char *key)
{
    assert_int_equal(lh_queue_add(queue, key, LH_LANE_FIRST, NULL), 0);
}

static void add_after(const char *key, lh_ms delay)
{
    assert_int_equal(lh_queue_add_after(queue, key, delay, NULL), 0);
}

static void done(const char *key)
{
    lh_queue_done(queue, key, LH_QUEUE_OK, 0);
}

static void step(lh_ms ms)
{
    lh_clock_step(ms);
    turns();
}

static double metric(const char *name)
{
    for (const struct lh_metric *m = lh_queue_metrics; m->name; m++) {
        if (strcmp(m->name, name) == 0)
            return lh_metric_value(m, LH_LABELS("test"));
    }
    return -1;
}

static void nothing_before_the_start(void **state)
{
    (void)state;
    add("a");
    assert_worked("");
    assert_int_equal(lh_queue_depth(queue), 1);
    lh_queue_start(queue);
    assert_string_equal(lh_buf_peek(&log_text).p, ""); /* not from inside */
    assert_worked("a ");
    assert_int_equal(lh_queue_depth(queue), 0);
    assert_int_equal(lh_queue_working(queue), 1);
    lh_queue_stop(queue);
    add("b");
    done("a");
    assert_worked("");
    lh_queue_start(queue);
    assert_worked("b ");
}

static void a_key_that_waits_is_there_once(void **state)
{
    (void)state;
    add("a");
    add("b");
    add("a");
    assert_int_equal(lh_queue_depth(queue), 2);
    done_at_once = true;
    lh_queue_start(queue);
    assert_worked("a b ");
    assert_true(metric("workqueue_adds_total") == 3);
    assert_true(metric("workqueue_depth") == 0);
}

static void a_key_is_never_worked_on_twice_at_once(void **state)
{
    (void)state;
    lh_queue_start(queue);
    add("a");
    assert_worked("a ");
    add("a");
    add("a");
    add("b");
    assert_worked("b ");
    assert_int_equal(lh_queue_depth(queue), 0);
    done("a");
    assert_worked("a ");
    done("a");
    assert_worked("");
}

static void so_many_at_a_time(void **state)
{
    (void)state;
    lh_queue_start(queue);
    for (const char *key = "a\0b\0c\0d\0e\0f\0"; *key; key += 2)
        add(key);
    assert_worked("a b c d ");
    done("c");
    assert_worked("e ");
    done("a");
    done("b");
    assert_worked("f ");
}

static void first_syncs_go_ahead_and_none_starves(void **state)
{
    char key[8];

    (void)state;
    for (int i = 0; i < 3; i++) {
        snprintf(key, sizeof(key), "r%d", i);
        add(key);
    }
    for (int i = 0; i < 16; i++) {
        snprintf(key, sizeof(key), "f%d", i);
        add_first(key);
    }
    done_at_once = true;
    lh_queue_start(queue);
    assert_worked("f0 f1 f2 f3 f4 f5 f6 r0 f7 f8 f9 f10 f11 f12 f13 r1 f14 f15 r2 ");
}

static void the_better_lane_wins(void **state)
{
    (void)state;
    add("a");
    add("b");
    step(70);
    add_first("b");
    add("b"); /* does not take it back */
    add("c");
    assert_int_equal(lh_queue_oldest(queue), 1000000);
    lh_queue_start(queue);
    assert_worked("b ");
    add("d");
    add("b");
    add_first("b"); /* while it is worked on */
    done("b");
    assert_worked("b ");
    done("b");
    assert_worked("a ");
}

static void delays_keep_the_earliest_time(void **state)
{
    (void)state;
    done_at_once = true;
    lh_queue_start(queue);
    add_after("a", 500);
    add_after("b", 300);
    add_after("a", 200);
    add_after("a", 900);
    add_after("c", INT64_MAX);
    assert_int_equal(lh_queue_depth(queue), 0);
    assert_int_equal(lh_queue_oldest(queue), -1);
    step(199);
    assert_worked("");
    step(1);
    assert_worked("a ");
    step(100);
    assert_worked("b ");
    step(10000);
    assert_worked("");
    add_after("d", 0);
    assert_worked("d ");
    /* An add does not take a delay back. */
    add_after("e", 50);
    add("e");
    assert_worked("e ");
    step(50);
    assert_worked("e ");
}

static void a_done_replaces_what_an_earlier_one_asked_for(void **state)
{
    (void)state;
    lh_queue_start(queue);
    add("a");
    assert_worked("a ");
    lh_queue_done(queue, "a", LH_QUEUE_OK, 1000);
    add("a");
    assert_worked("a ");
    lh_queue_done(queue, "a", LH_QUEUE_OK, 5000);
    step(1000);
    assert_worked("");
    step(4000);
    assert_worked("a ");
    add_after("a", 300);
    lh_queue_done(queue, "a", LH_QUEUE_OK, 1000);
    step(300);
    assert_worked("a ");
    lh_queue_done(queue, "a", LH_QUEUE_OK, 0);
    step(10000);
    assert_worked("");
}

/* How long until it is handed out again, stepping by ms. */
static lh_ms until_worked(lh_ms ms)
{
    lh_ms began = lh_clock_now();

    while (lh_queue_working(queue) == 0 && lh_clock_now() - began < 3600000)
        step(ms);
    return lh_clock_now() - began;
}

static void failures_back_off(void **state)
{
    lh_ms top = 5, longest = 0;

    (void)state;
    lh_queue_start(queue);
    add("a");
    turns();
    for (int i = 0; i < 40; i++) {
        lh_ms waited;

        lh_queue_done(queue, "a", LH_QUEUE_RETRY, 0);
        waited = until_worked(i < 10 ? 1 : 500);
        assert_in_range(waited, 1, top + (i < 10 ? 0 : 500));
        longest = waited > longest ? waited : longest;
        top = top * 2 > 300000 ? 300000 : top * 2;
    }
    assert_in_range(longest, 150000, 300500);
    assert_true(metric("workqueue_retries_total") == 40);
    /* Not before what was asked for. */
    lh_queue_done(queue, "a", LH_QUEUE_RETRY, 400000);
    assert_int_equal(until_worked(1000), 400000);
    /* A success starts anew. */
    done("a");
    add("a");
    turns();
    lh_queue_done(queue, "a", LH_QUEUE_RETRY, 0);
    assert_in_range(until_worked(1), 1, 5);
}

static void what_failed_keeps_its_lane(void **state)
{
    (void)state;
    lh_queue_start(queue);
    add_first("a");
    assert_worked("a ");
    add("b");
    lh_queue_done(queue, "a", LH_QUEUE_RETRY, 10);
    assert_worked("b ");
    add("c");
    step(10);
    done("b");
    assert_worked("a ");
    lh_queue_done(queue, "a", LH_QUEUE_RETRY, 1000);
    assert_worked("c ");
    add("d");
    add("a"); /* changed before its time */
    done("c");
    assert_worked("a ");
    lh_queue_done(queue, "a", LH_QUEUE_OK, 10);
    assert_worked("d ");
    add("e");
    step(10);
    done("d");
    assert_worked("e ");
}

static void what_is_gone_is_forgotten(void **state)
{
    (void)state;
    lh_queue_start(queue);
    add("a");
    assert_worked("a ");
    add_after("a", 100);
    lh_queue_done(queue, "a", LH_QUEUE_GONE, 0);
    step(1000);
    assert_worked("");
    add("a");
    assert_worked("a ");
    add("a"); /* it came back */
    lh_queue_done(queue, "a", LH_QUEUE_GONE, 0);
    assert_worked("a ");
}

static void long_work_lets_others_have_their_turn(void **state)
{
    (void)state;
    done_at_once = true;
    work_ms = 15;
    for (const char *key = "a\0b\0c\0d\0e\0f\0"; *key; key += 2)
        add(key);
    lh_queue_start(queue);
    lh_loop_turn(loop, 0);
    assert_string_equal(lh_buf_peek(&log_text).p, "a b ");
    assert_worked("a b c d e f ");
}

static void says_how_old_its_work_is(void **state)
{
    (void)state;
    assert_int_equal(lh_queue_oldest(queue), -1);
    lh_queue_start(queue);
    add("a");
    assert_worked("a ");
    step(2000);
    add("b");
    assert_int_equal(lh_queue_oldest(queue), 1002000);
    step(5000);
    assert_true(metric("workqueue_unfinished_work_seconds") == 7);
    assert_true(metric("workqueue_longest_running_processor_seconds") == 7);
    assert_true(metric("workqueue_depth") == 1);
    done("a");
    done_at_once = true;
    assert_worked("b ");
    assert_true(metric("workqueue_unfinished_work_seconds") == 0);
}

static void may_be_freed_inside_work(void **state)
{
    (void)state;
    free_at_once = true;
    add("a");
    add("b");
    lh_queue_start(queue);
    assert_worked("a ");
    lh_queue_free(NULL);
}

static void survives_want_of_memory(void **state)
{
    struct lh_err err = {0};
    size_t live;
    char key[8];

    (void)state;
    for (int i = 0; i < 100; i++) {
        unsigned long n = 0;
        int rc;

        snprintf(key, sizeof(key), "%d", i);
        do {
            live = lh_mem_live_blocks();
            lh_mem_fail_at(++n);
            rc = i % 2 ? lh_queue_add(queue, key, LH_LANE_FIRST, &err)
                       : lh_queue_add_after(queue, key, 10, &err);
            lh_mem_fail_at(0);
            assert_true(rc == 0 || rc == -LH_E_NOMEM);
            if (rc < 0)
                assert_in_range(lh_mem_live_blocks(), live, live + 1); /* the heap may have grown */
        } while (rc < 0);
    }
    assert_int_equal(lh_queue_depth(queue), 50);
    /* Nothing of this needs memory, but for the samples of metrics, which may be lost. */
    done_at_once = true;
    lh_queue_start(queue);
    step(20);
    for (int i = 0; i < 200; i++)
        turns();
    assert_int_equal(lh_queue_depth(queue), 0);
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), " %d ", i);
        assert_true(i == 1 || strstr(lh_buf_peek(&log_text).p, key) != NULL);
    }
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(nothing_before_the_start),
        CASE(a_key_that_waits_is_there_once),
        cmocka_unit_test_setup_teardown(a_key_is_never_worked_on_twice_at_once, setup_four,
                                        teardown),
        cmocka_unit_test_setup_teardown(so_many_at_a_time, setup_four, teardown),
        CASE(first_syncs_go_ahead_and_none_starves),
        CASE(the_better_lane_wins),
        CASE(delays_keep_the_earliest_time),
        CASE(a_done_replaces_what_an_earlier_one_asked_for),
        CASE(failures_back_off),
        CASE(what_failed_keeps_its_lane),
        CASE(what_is_gone_is_forgotten),
        CASE(long_work_lets_others_have_their_turn),
        CASE(says_how_old_its_work_is),
        CASE(may_be_freed_inside_work),
        CASE(survives_want_of_memory),
    };

    return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
