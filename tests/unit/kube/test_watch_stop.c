/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "leasehold/core/mem.h"
#include "leasehold/http/client.h"
#include "reflect.h"
#include "support.h"

static const struct stop {
    const char *name, *at, *want;
    bool list;
} stops[] = {
    {"stop at an object of a watch-list", "+shop/a=1", "+shop/a=1\n", false},
    {"stop when it is synced", "synced", "+shop/a=1\n+shop/b=1\nsynced\n", false},
    {"stop at an object of a list", "+shop/a=1", "+shop/a=1\n", true},
    {"stop when a list is synced", "synced", "+shop/a=1\n+shop/b=1\nsynced\n", true},
};

static void stops_inside_its_callback(void **state)
{
    const struct stop *s = *state;

    fake_api_watch_list(bed.api, !s->list);
    put("a", "1");
    put("b", "1");
    stop_at = s->at;
    start();
    wanted = s->want;
    assert_true(lh_test_run_until(bed.loop, events_are, NULL));
    lh_test_step(bed.loop, 5000, 1000);
    assert_string_equal(lh_buf_peek(&events).p, s->want);
    assert_null(watch);
}

static void stops_when_something_is_gone(void **state)
{
    (void)state;
    start_synced();
    stop_at = "-shop/a!";
    fake_api_lose_watches(bed.api);
    fake_api_delete(bed.api, STORES, "shop", "a");
    fake_api_compact(bed.api);
    fake_api_error_watches(bed.api, 410);
    await_requests(1);
    wanted = "+shop/b=1\n-shop/a!\n";
    assert_true(lh_test_run_until(bed.loop, events_are, NULL));
    assert_null(watch);
}

static void stops_at_any_time(void **state)
{
    (void)state;
    start();
    lh_watch_stop(watch); /* before its first request */
    start();
    lh_loop_turn(bed.loop, 10);
    lh_watch_stop(watch); /* in the middle of it */
    watch = NULL;
    lh_test_step(bed.loop, 5000, 1000);
    assert_int_equal(events.n, 0);
    lh_watch_stop(NULL);
}

/* Every allocation of a start fails once. */
static void survives_want_of_memory(void **state)
{
    const struct lh_watch_options opts = {
        .res = {.group = "leasehold.dev", .version = "v1alpha1", .resource = "secretstores"}};
    unsigned long n = 0, failed = 0;
    size_t live;
    int rc;

    (void)state;
    start();
    lh_watch_stop(watch); /* whatever is made once is made now */
    watch = NULL;
    lh_test_step(bed.loop, 100, 100);
    live = lh_mem_live_blocks();
    do {
        lh_mem_fail_at(++n);
        rc = lh_watch_start(bed.kube, &opts, on_event, NULL, &watch, NULL);
        lh_mem_fail_at(0);
        if (rc < 0) {
            assert_int_equal(rc, -LH_E_NOMEM);
            assert_null(watch);
            failed++;
        }
        lh_watch_stop(watch);
        watch = NULL;
        lh_test_step(bed.loop, 10, 10);
        assert_int_equal(lh_mem_live_blocks(), live);
    } while (rc < 0);
    assert_in_range(failed, 5, 100);
}

static bool step_and_is_synced(void *arg)
{
    (void)arg;
    lh_clock_step(200);
    return lh_watch_is_synced(watch);
}

/* In the middle of a first state every allocation of ours fails once; it starts again, and ends
 * with all there is. (All objects come in one piece: the fake's own allocations are not hit.) */
static void recovers_from_want_of_memory(void **state)
{
    size_t restarts = 0;

    (void)state;
    for (int list = 0; list < 2; list++) {
        fake_api_watch_list(bed.api, list == 0);
        put("a", "1");
        put("b", "1");
        put("c", "1");
        for (unsigned long n = 1; n <= 60; n++) {
            fake_api_forget_requests(bed.api);
            forget_events();
            fail_at = n;
            start();
            if (!lh_test_run_until(bed.loop, step_and_is_synced, NULL))
                fail_msg("not synced when allocation %lu fails", n);
            assert_non_null(strstr(lh_buf_peek(&events).p, "+shop/a=1\n"));
            assert_non_null(strstr(lh_buf_peek(&events).p, "+shop/b=1\n"));
            assert_non_null(strstr(lh_buf_peek(&events).p, "+shop/c=1\nsynced\n"));
            assert_null(strstr(lh_buf_peek(&events).p, "-shop"));
            restarts += fake_api_requests(bed.api) > (list ? 3 : 1);
            lh_watch_stop(watch);
            watch = NULL;
        }
    }
    assert_true(restarts > 40);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, reflect_setup, reflect_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(stops_when_something_is_gone),
        CASE(stops_at_any_time),
        CASE(survives_want_of_memory),
        CASE(recovers_from_want_of_memory),
    };
    struct CMUnitTest rows[LH_ARRAY_LEN(stops)];
    int failures;

    if (lh_http_global_init(NULL) < 0)
        return 1;
    for (size_t i = 0; i < LH_ARRAY_LEN(stops); i++)
        rows[i] = (struct CMUnitTest){stops[i].name, stops_inside_its_callback, reflect_setup,
                                      reflect_teardown, (void *)(uintptr_t)&stops[i]};
    failures = cmocka_run_group_tests_name("end of a watch", tests, NULL, NULL);
    return failures + cmocka_run_group_tests_name("watch that is stopped", rows, NULL, NULL);
}
