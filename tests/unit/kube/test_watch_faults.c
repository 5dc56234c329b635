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

static void gives_up_watch_lists_that_never_end(void **state)
{
    (void)state;
    fake_api_initial_end(bed.api, false);
    put("a", "1");
    start();
    await("+shop/a=1\n");
    fake_api_end_watches(bed.api);
    await_requests(2);
    await("+shop/a=1\n");
    fake_api_end_watches(bed.api);
    await_requests(3);
    await("+shop/a=1\nsynced\n");
    assert_string_equal(fake_api_request(bed.api, 2), "GET " PATH "?resourceVersion=0");
}

static void a_silent_initial_stream_is_dead(void **state)
{
    (void)state;
    fake_api_initial_end(bed.api, false);
    put("a", "1");
    start();
    await("+shop/a=1\n");
    fake_api_initial_end(bed.api, true);
    lh_test_step(bed.loop, 59000, 1000);
    assert_int_equal(fake_api_requests(bed.api), 1);
    await_requests(2);
    await("+shop/a=1\nsynced\n");
}

static void lists_again_after_410(void **state)
{
    (void)state;
    start_synced();
    fake_api_lose_watches(bed.api);
    fake_api_delete(bed.api, STORES, "shop", "a");
    put("b", "2");
    put("c", "1");
    fake_api_compact(bed.api);
    fake_api_error_watches(bed.api, 410);
    await_requests(1);
    await("+shop/b=2\n+shop/c=1\n-shop/a!\nsynced\n");
    assert_non_null(strstr(fake_api_request(bed.api, 0), "sendInitialEvents"));
    assert_null(
        strstr(fake_api_request(bed.api, 0), "&resourceVersion=")); /* the old one is of no use */
}

static void lists_again_after_410_as_a_status(void **state)
{
    (void)state;
    start_synced();
    fake_api_break_watches(bed.api);
    fake_api_delete(bed.api, STORES, "shop", "b");
    fake_api_compact(bed.api);
    await_requests(2);
    await("+shop/a=1\n-shop/b!\nsynced\n");
    assert_non_null(strstr(fake_api_request(bed.api, 0), "&resourceVersion=102"));
}

static void waits_as_429_says_and_resumes(void **state)
{
    const struct fake_api_fault busy = {.status = 429, .headers = "Retry-After: 5\r\n", .times = 1};
    size_t one = 1;

    (void)state;
    start_synced();
    fake_api_fault(bed.api, &busy);
    fake_api_end_watches(bed.api);
    assert_true(lh_test_run_until(bed.loop, has_requests, &one));
    lh_test_step(bed.loop, 4900, 100);
    assert_int_equal(fake_api_requests(bed.api), 1);
    await_requests(2);
    assert_non_null(strstr(fake_api_request(bed.api, 1), "&resourceVersion=102"));
    assert_int_equal(fake_api_count(bed.api, "sendInitialEvents"), 0);
    put("a", "2");
    await("+shop/a=2\n");
}

static void resumes_after_connections_were_lost(void **state)
{
    const struct fake_api_fault drop = {.status = 0, .times = 4};

    (void)state;
    start_synced();
    fake_api_fault(bed.api, &drop);
    fake_api_break_watches(bed.api);
    await_requests(4);
    assert_true(lh_test_run_until(bed.loop, has_trouble, NULL));
    await_requests(5);
    /* Well again before anything happens on the stream. */
    assert_true(lh_test_run_until(bed.loop, has_no_trouble, NULL));
    put("a", "2");
    await("+shop/a=2\n");
    assert_string_equal(lh_watch_trouble(watch), "");
    assert_int_equal(fake_api_count(bed.api, "sendInitialEvents"), 0);
}

static void lists_after_half_a_minute_of_errors(void **state)
{
    const struct fake_api_fault error = {.status = 500};

    (void)state;
    start_synced();
    fake_api_fault(bed.api, &error);
    fake_api_end_watches(bed.api);
    bed_pass(25000);
    assert_in_range(fake_api_requests(bed.api), 2, 30); /* it backs off */
    assert_int_equal(fake_api_count(bed.api, "sendInitialEvents"), 0);
    bed_pass(65000);
    assert_true(fake_api_count(bed.api, "sendInitialEvents") > 0);
    fake_api_fault_clear(bed.api);
    await_requests(fake_api_requests(bed.api) + 1);
    await("+shop/a=1\n+shop/b=1\nsynced\n");
}

static void a_silent_stream_is_dead(void **state)
{
    (void)state;
    start_synced();
    lh_test_step(bed.loop, 60000, 1000);
    fake_api_bookmark(bed.api);
    put("a", "2");
    await("+shop/a=2\n");
    fake_api_lose_watches(bed.api);
    put("a", "3");
    lh_test_step(bed.loop, 140000, 1000);
    assert_int_equal(fake_api_requests(bed.api), 0);
    await_requests(1);
    await("+shop/a=3\n");
    assert_non_null(strstr(fake_api_request(bed.api, 0), "&resourceVersion=103"));
    assert_int_equal(fake_api_count(bed.api, "sendInitialEvents"), 0);
}

static void a_stream_without_bookmarks_ends_in_time(void **state)
{
    (void)state;
    fake_api_watch_list(bed.api, false);
    put("a", "1");
    start();
    await("+shop/a=1\nsynced\n");
    await_watch();
    fake_api_forget_requests(bed.api);
    lh_test_step(bed.loop, 290000, 1000);
    assert_int_equal(fake_api_requests(bed.api), 0);
    lh_test_step(bed.loop, 30000, 1000);
    lh_clock_step(300000); /* past the longest that the server may take, and some grace */
    await_requests(1);
    assert_non_null(strstr(fake_api_request(bed.api, 0), "&resourceVersion=101"));
}

static void a_stream_that_ends_at_once_is_a_failure(void **state)
{
    (void)state;
    start_synced();
    fake_api_end_watches(bed.api); /* it had events: the next comes at once */
    await_watch();
    assert_int_equal(fake_api_requests(bed.api), 1);
    fake_api_end_watches(bed.api); /* that one had none: now it waits */
    assert_true(lh_test_run_until(bed.loop, has_trouble, NULL));
    assert_non_null(strstr(lh_watch_trouble(watch), "ended as soon as it began"));
    lh_test_step(bed.loop, 300, 100);
    assert_int_equal(fake_api_requests(bed.api), 1);
    await_requests(2);
}

static void reads_in_one_piece_when_pages_expire(void **state)
{
    char name[16];

    (void)state;
    fake_api_watch_list(bed.api, false);
    for (int i = 0; i < 501; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        put(name, "1");
    }
    start();
    await_watch();
    forget_events();
    fake_api_forget_requests(bed.api);
    fake_api_expire_pages(bed.api);
    fake_api_error_watches(bed.api, 410);
    await_requests(3);
    await_watch();
    assert_string_equal(fake_api_request(bed.api, 0), "GET " PATH "?limit=500");
    assert_string_equal(fake_api_request(bed.api, 1), "GET " PATH "?limit=500&continue=500");
    assert_string_equal(fake_api_request(bed.api, 2), "GET " PATH);
    assert_null(strstr(lh_buf_peek(&events).p, "!")); /* half a list takes nothing away */
}

static void a_cache_that_lags_is_asked_without_a_version(void **state)
{
    const struct fake_api_fault invalid = {.status = 400, .times = 1};

    (void)state;
    fake_api_watch_list(bed.api, false);
    put("a", "1");
    start();
    await("+shop/a=1\nsynced\n");
    await_watch();
    fake_api_forget_requests(bed.api);
    fake_api_lag(bed.api, true);
    fake_api_fault(bed.api, &invalid);
    fake_api_end_watches(bed.api);
    await_requests(3);
    await("+shop/a=1\nsynced\n");
    assert_string_equal(fake_api_request(bed.api, 1),
                        "GET " PATH "?resourceVersion=101&resourceVersionMatch=NotOlderThan");
    assert_string_equal(fake_api_request(bed.api, 2), "GET " PATH "?limit=500");
}

static void what_is_known_stays_while_access_is_denied(void **state)
{
    (void)state;
    start_synced();
    fake_api_deny(bed.api, STORES);
    fake_api_end_watches(bed.api);
    await_requests(4);
    lh_test_step(bed.loop, 100, 100);
    assert_int_equal(events.n, 0);
    assert_true(lh_watch_is_synced(watch));
    assert_non_null(strstr(lh_watch_trouble(watch), "403 Forbidden: User cannot list resource"));
    fake_api_deny(bed.api, NULL);
    fake_api_forget_requests(bed.api);
    await_requests(1);
    await("+shop/a=1\n+shop/b=1\nsynced\n");
}

static void a_proxys_page_is_no_list(void **state)
{
    const struct fake_api_fault page = {.status = 200, .body = "<html>", .times = 3};

    (void)state;
    put("a", "1");
    fake_api_fault(bed.api, &page);
    start();
    await_requests(4);
    await("+shop/a=1\nsynced\n");
}

static void broken_events_make_it_list(void **state)
{
    (void)state;
    start_synced();
    fake_api_write_watches(bed.api, "{\"type\":\"ADDED\",]");
    await_requests(1);
    await("+shop/a=1\n+shop/b=1\nsynced\n");
    assert_non_null(strstr(fake_api_request(bed.api, 0), "sendInitialEvents"));
}

static void unknown_events_are_ignored(void **state)
{
    (void)state;
    start_synced();
    fake_api_write_watches(bed.api,
                           "{\"type\":\"NEW\",\"object\":{}}{\"type\":\"ADDED\",\"object\":{}}");
    put("a", "2");
    await("+shop/a=2\n");
}

/* What a server may do to a stream that is followed. The objects are a=1 (version 101) and b=1
 * (102).
 */

#define EVENT(type, name, version, value)                                                          \
    "{\"type\":\"" type "\",\"object\":{\"metadata\":{\"namespace\":\"shop\",\"name\":\"" name     \
    "\",\"uid\":\"" name "\",\"resourceVersion\":\"" version "\"},\"value\":\"" value "\"}}\n"
#define BOOKMARK(version)                                                                          \
    "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"" version "\"}}}\n"

enum ending { STAYS, ENDS, BREAKS };

static const struct mischief {
    const char *name;
    const char *bytes;
    enum ending ending;
    const char *want;   /* events of it */
    const char *resume; /* the version that the next watch begins with; NULL: there is none */
} mischiefs[] = {
    {"an event that comes twice is told once",
     EVENT("ADDED", "x", "110", "1") EVENT("ADDED", "x", "110", "1"), ENDS, "+shop/x=1\n", "110"},
    {"an old event does not undo a new one",
     EVENT("ADDED", "x", "110", "2") EVENT("MODIFIED", "x", "105", "1"), ENDS, "+shop/x=2\n",
     "110"},
    {"an old deletion does not take a new object away",
     EVENT("ADDED", "x", "110", "2") EVENT("DELETED", "x", "105", "1"), ENDS, "+shop/x=2\n", "110"},
    {"versions are numbers", EVENT("ADDED", "x", "1000", "1") EVENT("ADDED", "y", "999", "1"), ENDS,
     "+shop/x=1\n", "1000"},
    {"versions that are no numbers are taken as they come",
     EVENT("ADDED", "x", "b", "1") EVENT("ADDED", "y", "a", "1"), STAYS, "+shop/x=1\n+shop/y=1\n",
     NULL},
    {"bookmarks out of order do not go back", BOOKMARK("120") BOOKMARK("110"), ENDS, "", "120"},
    {"a bookmark behind its events is old", EVENT("ADDED", "x", "110", "1") BOOKMARK("105"), ENDS,
     "+shop/x=1\n", "110"},
    {"a bookmark without a version is none", "{\"type\":\"BOOKMARK\",\"object\":{}}\n", ENDS, "",
     "102"},
    {"an event cut off by the end is no event",
     EVENT("ADDED", "x", "110", "1") "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"na", ENDS,
     "+shop/x=1\n", "110"},
    {"an event cut off by a lost connection is no event",
     EVENT("ADDED", "x", "110", "1") "{\"type\":\"DELETED\",\"object\":{\"metadata\":{\"name\":\"x",
     BREAKS, "+shop/x=1\n", "110"},
    {"a deletion of what nobody knew is nothing", EVENT("DELETED", "x", "110", "1"), ENDS, "",
     "110"},
    {"white space between events is nothing", "\n \r\n\t" EVENT("ADDED", "x", "110", "1") "\n\n",
     STAYS, "+shop/x=1\n", NULL},
};

static void survives_mischief(void **state)
{
    const struct mischief *m = *state;
    char resume[64];

    start_synced();
    fake_api_write_watches(bed.api, m->bytes);
    if (m->ending == ENDS)
        fake_api_end_watches(bed.api);
    else if (m->ending == BREAKS)
        fake_api_break_watches(bed.api);
    await(m->want);
    if (m->resume) {
        await_requests(1);
        snprintf(resume, sizeof(resume), "&resourceVersion=%s", m->resume);
        assert_non_null(strstr(fake_api_request(bed.api, 0), resume));
    }
    assert_int_equal(fake_api_count(bed.api, "sendInitialEvents"), 0);
    await_watch();
    bed_pass(1000);
    assert_int_equal(events.n, 0);
}

/* The API server went back, to a backup of etcd: our version is of a future that was not. */
static void a_version_that_is_too_large_is_given_up(void **state)
{
    (void)state;
    start_synced();
    fake_api_lose_watches(bed.api);
    fake_api_delete(bed.api, STORES, "shop", "a");
    fake_api_write_watches(
        bed.api,
        "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":504,\"reason\":\"Timeout\","
        "\"details\":{\"retryAfterSeconds\":1,\"causes\":[{\"reason\":"
        "\"ResourceVersionTooLarge\"}]}}}\n");
    await_requests(1);
    await("+shop/b=1\n-shop/a!\nsynced\n");
    assert_non_null(strstr(fake_api_request(bed.api, 0), "sendInitialEvents"));
    assert_null(strstr(fake_api_request(bed.api, 0), "&resourceVersion="));
}

static void an_error_that_says_when_is_waited_for(void **state)
{
    size_t one = 1;

    (void)state;
    start_synced();
    fake_api_write_watches(
        bed.api, "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":429,\"reason\":"
                 "\"TooManyRequests\",\"details\":{\"retryAfterSeconds\":7}}}\n");
    assert_true(lh_test_run_until(bed.loop, has_trouble, NULL));
    bed_pass(6500);
    assert_false(has_requests(&one));
    await_requests(1);
    assert_non_null(strstr(fake_api_request(bed.api, 0), "&resourceVersion=102"));
    assert_int_equal(fake_api_count(bed.api, "sendInitialEvents"), 0);
}

/* A slow stream is alive, though no whole event comes for minutes. */
static void a_slow_stream_is_alive(void **state)
{
    static const char text[] = EVENT("ADDED", "x", "110", "1");
    char one[2] = {0};

    (void)state;
    start_synced();
    bed_pass(60000);
    fake_api_bookmark(bed.api);
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        one[0] = text[i];
        fake_api_write_watches(bed.api, one);
        bed_pass(2500);
    }
    await("+shop/x=1\n");
    assert_int_equal(fake_api_requests(bed.api), 0);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, reflect_setup, reflect_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_version_that_is_too_large_is_given_up),
        CASE(an_error_that_says_when_is_waited_for),
        CASE(a_slow_stream_is_alive),
        CASE(gives_up_watch_lists_that_never_end),
        CASE(a_silent_initial_stream_is_dead),
        CASE(lists_again_after_410),
        CASE(lists_again_after_410_as_a_status),
        CASE(waits_as_429_says_and_resumes),
        CASE(resumes_after_connections_were_lost),
        CASE(lists_after_half_a_minute_of_errors),
        CASE(a_silent_stream_is_dead),
        CASE(a_stream_without_bookmarks_ends_in_time),
        CASE(a_stream_that_ends_at_once_is_a_failure),
        CASE(reads_in_one_piece_when_pages_expire),
        CASE(a_cache_that_lags_is_asked_without_a_version),
        CASE(what_is_known_stays_while_access_is_denied),
        CASE(a_proxys_page_is_no_list),
        CASE(broken_events_make_it_list),
        CASE(unknown_events_are_ignored),
    };
    struct CMUnitTest rows[LH_ARRAY_LEN(mischiefs)];
    int failures;

    if (lh_http_global_init(NULL) < 0)
        return 1;
    for (size_t i = 0; i < LH_ARRAY_LEN(mischiefs); i++)
        rows[i] = (struct CMUnitTest){mischiefs[i].name, survives_mischief, reflect_setup,
                                      reflect_teardown, (void *)(uintptr_t)&mischiefs[i]};
    failures = cmocka_run_group_tests_name("watch and trouble", tests, NULL, NULL);
    return failures + cmocka_run_group_tests_name("watch and mischief", rows, NULL, NULL);
}
