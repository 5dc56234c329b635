/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "fake_api.h"
#include "leasehold/core/buf.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/rand.h"
#include "leasehold/http/client.h"
#include "leasehold/kube/watch.h"
#include "support.h"

#define STORES "leasehold.dev/v1alpha1/secretstores"
#define PATH   "/apis/leasehold.dev/v1alpha1/secretstores"

static struct lh_loop *loop;
static struct fake_api *api;
static struct lh_kube *kube;
static struct lh_watch *watch;
static struct lh_buf
    events; /* "+key=value", "-key", "-key!" without the object, "synced", "skipped" */
static const char *stop_at;   /* the event in which the watch is stopped */
static lh_ms work_ms;         /* what each object costs */
static unsigned long fail_at; /* behind the first object this allocation fails */

static void on_event(void *arg, enum lh_watch_event ev, const char *key, const lh_json *obj)
{
    char line[200];
    const char *value = lh_json_get_z(obj, "value");

    (void)arg;
    if (ev == LH_WATCH_UPSERT)
        snprintf(line, sizeof(line), "+%s=%s", key, value ? value : "");
    else if (ev == LH_WATCH_DELETE)
        snprintf(line, sizeof(line), "-%s%s", key, obj ? "" : "!");
    else
        snprintf(line, sizeof(line), "%s", ev == LH_WATCH_SYNCED ? "synced" : "skipped");
    lh_buf_printf(&events, "%s\n", line);
    lh_clock_step(work_ms);
    if (fail_at > 0)
        lh_mem_fail_at(fail_at);
    fail_at = 0;
    if (ev == LH_WATCH_SYNCED)
        lh_mem_fail_at(0);
    if (stop_at && strcmp(stop_at, line) == 0) {
        lh_watch_stop(watch);
        watch = NULL;
    }
}

static int setup(void **state)
{
    struct lh_kube_config cfg = {0};
    int rc;

    (void)state;
    watch = NULL;
    stop_at = NULL;
    work_ms = 0;
    fail_at = 0;
    lh_rand_seed(7);
    lh_clock_fake(1000000, lh_clock_wall_ms()); /* TLS looks at real time */
    lh_buf_init(&events, 1 << 20);
    lh_buf_put_z(&events, "");
    rc = lh_loop_new(&loop, NULL);
    if (rc == 0)
        rc = fake_api_new(loop, &api, NULL);
    if (rc == 0)
        rc = fake_api_config(api, &cfg, NULL);
    if (rc == 0)
        rc = lh_kube_new(loop, &cfg, "test", &kube, NULL);
    lh_kube_config_done(&cfg);
    return rc;
}

static int teardown(void **state)
{
    (void)state;
    lh_watch_stop(watch);
    lh_kube_free(kube);
    kube = NULL;
    fake_api_free(api);
    api = NULL;
    lh_loop_free(loop);
    lh_buf_done(&events);
    lh_clock_real();
    return 0;
}

static void start_with(const struct lh_watch_options *opts)
{
    struct lh_err err = {0};

    if (lh_watch_start(kube, opts, on_event, NULL, &watch, &err) < 0)
        fail_msg("%s", err.msg);
}

static void start(void)
{
    const struct lh_watch_options opts = {
        .res = {.group = "leasehold.dev", .version = "v1alpha1", .resource = "secretstores"}};

    start_with(&opts);
}

static void put(const char *name, const char *value)
{
    char json[600];

    snprintf(json, sizeof(json),
             "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"shop\"},\"value\":\"%s\"}", name,
             value);
    fake_api_put(api, STORES, json);
}

static const char *wanted;

static bool events_are(void *arg)
{
    (void)arg;
    return strcmp(lh_buf_peek(&events).p, wanted) == 0;
}

static void forget_events(void)
{
    lh_buf_reset(&events);
    lh_buf_put_z(&events, "");
}

/* Awaits exactly these events, and forgets them. */
static void await(const char *want)
{
    wanted = want;
    if (!lh_test_run_until(loop, events_are, NULL))
        fail_msg("came:\n%swanted:\n%s", lh_buf_peek(&events).p, want);
    forget_events();
}

static bool has_watch(void *arg)
{
    (void)arg;
    return fake_api_watches(api) > 0;
}

static bool has_requests(void *arg)
{
    return fake_api_requests(api) >= *(size_t *)arg;
}

/* Time passes until so many requests were made. */
static bool step_and_has_requests(void *arg)
{
    lh_clock_step(200);
    return has_requests(arg);
}

static void await_requests(size_t n)
{
    if (!lh_test_run_until(loop, step_and_has_requests, &n))
        fail_msg("%zu requests of %zu, trouble: %s", fake_api_requests(api), n,
                 lh_watch_trouble(watch));
}

static bool step_and_has_time(void *arg)
{
    lh_clock_step(200);
    return lh_clock_now() >= *(lh_ms *)arg;
}

/* Time passes, slowly enough for answers to come. */
static void pass(lh_ms ms)
{
    lh_ms until = lh_clock_now() + ms;

    assert_true(lh_test_run_until(loop, step_and_has_time, &until));
}

static bool has_trouble(void *arg)
{
    (void)arg;
    return lh_watch_trouble(watch)[0] != '\0';
}

static bool has_no_trouble(void *arg)
{
    return !has_trouble(arg);
}

static void await_watch(void)
{
    if (!lh_test_run_until(loop, has_watch, NULL))
        fail_msg("no watch, trouble: %s", lh_watch_trouble(watch));
}

/* Two objects, known and followed. */
static void start_synced(void)
{
    put("a", "1");
    put("b", "1");
    start();
    await("+shop/a=1\n+shop/b=1\nsynced\n");
    fake_api_forget_requests(api);
}

static void watches_a_list(void **state)
{
    (void)state;
    put("a", "1");
    start();
    assert_int_equal(events.n, 0); /* never before the call returned */
    assert_false(lh_watch_is_synced(watch));
    await("+shop/a=1\nsynced\n");
    assert_true(lh_watch_is_synced(watch));
    put("b", "1");
    put("a", "2");
    fake_api_delete(api, STORES, "shop", "b");
    await("+shop/b=1\n+shop/a=2\n-shop/b\n");
    assert_int_equal(fake_api_requests(api), 1);
    assert_non_null(strstr(fake_api_request(api, 0),
                           "GET " PATH "?watch=1&allowWatchBookmarks=true&timeoutSeconds="));
    assert_non_null(strstr(fake_api_request(api, 0),
                           "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"));
    assert_null(strstr(fake_api_request(api, 0), "resourceVersion="));
    assert_string_equal(lh_watch_trouble(watch), "");
}

static void falls_back_to_lists_for_good(void **state)
{
    (void)state;
    fake_api_watch_list(api, false);
    put("a", "1");
    start();
    await("+shop/a=1\nsynced\n");
    await_watch();
    assert_int_equal(fake_api_requests(api), 3);
    assert_non_null(strstr(fake_api_request(api, 0), "sendInitialEvents"));
    assert_string_equal(fake_api_request(api, 1), "GET " PATH "?resourceVersion=0");
    assert_non_null(strstr(fake_api_request(api, 2), "watch=1"));
    assert_non_null(strstr(fake_api_request(api, 2), "&resourceVersion=101"));
    put("a", "2");
    await("+shop/a=2\n");
    fake_api_compact(api);
    fake_api_error_watches(api, 410);
    await_requests(5);
    await("+shop/a=2\nsynced\n");
    assert_int_equal(fake_api_count(api, "sendInitialEvents"), 1);
}

static void resumes_where_it_was(void **state)
{
    (void)state;
    start_synced();
    put("a", "2");
    await("+shop/a=2\n");
    fake_api_end_watches(api);
    put("a", "3"); /* nobody watches */
    await_requests(1);
    await("+shop/a=3\n");
    assert_non_null(strstr(fake_api_request(api, 0), "&resourceVersion=103"));
    assert_int_equal(fake_api_count(api, "sendInitialEvents"), 0);
}

static void a_bookmark_is_a_place_to_resume(void **state)
{
    size_t one = 1;

    (void)state;
    start_synced();
    fake_api_put(api, "v1/namespaces", "{\"metadata\":{\"name\":\"x\"}}");
    fake_api_bookmark(api);
    put("a", "2");
    await("+shop/a=2\n");
    fake_api_put(api, "v1/namespaces", "{\"metadata\":{\"name\":\"x\"}}");
    fake_api_bookmark(api);
    fake_api_end_watches(api);
    fake_api_compact(api);
    assert_true(lh_test_run_until(loop, has_requests, &one));
    assert_non_null(strstr(fake_api_request(api, 0), "&resourceVersion=105"));
    put("a", "3");
    await("+shop/a=3\n");
}

/* Events of a state that never became whole must not be resumed from. */
static void initial_events_are_no_place_to_resume(void **state)
{
    (void)state;
    fake_api_initial_end(api, false);
    put("a", "1");
    start();
    await("+shop/a=1\n");
    assert_false(lh_watch_is_synced(watch));
    fake_api_initial_end(api, true);
    fake_api_break_watches(api);
    await_requests(2);
    await("+shop/a=1\nsynced\n");
    assert_non_null(strstr(fake_api_request(api, 1), "sendInitialEvents"));
    assert_null(strstr(fake_api_request(api, 1), "resourceVersion="));
}

static void gives_up_watch_lists_that_never_end(void **state)
{
    (void)state;
    fake_api_initial_end(api, false);
    put("a", "1");
    start();
    await("+shop/a=1\n");
    fake_api_end_watches(api);
    await_requests(2);
    await("+shop/a=1\n");
    fake_api_end_watches(api);
    await_requests(3);
    await("+shop/a=1\nsynced\n");
    assert_string_equal(fake_api_request(api, 2), "GET " PATH "?resourceVersion=0");
}

static void a_silent_initial_stream_is_dead(void **state)
{
    (void)state;
    fake_api_initial_end(api, false);
    put("a", "1");
    start();
    await("+shop/a=1\n");
    fake_api_initial_end(api, true);
    lh_test_step(loop, 59000, 1000);
    assert_int_equal(fake_api_requests(api), 1);
    await_requests(2);
    await("+shop/a=1\nsynced\n");
}

static void lists_again_after_410(void **state)
{
    (void)state;
    start_synced();
    fake_api_lose_watches(api);
    fake_api_delete(api, STORES, "shop", "a");
    put("b", "2");
    put("c", "1");
    fake_api_compact(api);
    fake_api_error_watches(api, 410);
    await_requests(1);
    await("+shop/b=2\n+shop/c=1\n-shop/a!\nsynced\n");
    assert_non_null(strstr(fake_api_request(api, 0), "sendInitialEvents"));
    assert_null(
        strstr(fake_api_request(api, 0), "&resourceVersion=")); /* the old one is of no use */
}

static void lists_again_after_410_as_a_status(void **state)
{
    (void)state;
    start_synced();
    fake_api_break_watches(api);
    fake_api_delete(api, STORES, "shop", "b");
    fake_api_compact(api);
    await_requests(2);
    await("+shop/a=1\n-shop/b!\nsynced\n");
    assert_non_null(strstr(fake_api_request(api, 0), "&resourceVersion=102"));
}

static void a_new_uid_is_another_object(void **state)
{
    (void)state;
    start_synced();
    fake_api_lose_watches(api);
    fake_api_delete(api, STORES, "shop", "a");
    put("a", "new");
    fake_api_compact(api);
    fake_api_error_watches(api, 410);
    await_requests(1);
    await("+shop/b=1\n-shop/a!\n+shop/a=new\nsynced\n");
}

static void waits_as_429_says_and_resumes(void **state)
{
    const struct fake_api_fault busy = {.status = 429, .headers = "Retry-After: 5\r\n", .times = 1};
    size_t one = 1;

    (void)state;
    start_synced();
    fake_api_fault(api, &busy);
    fake_api_end_watches(api);
    assert_true(lh_test_run_until(loop, has_requests, &one));
    lh_test_step(loop, 4900, 100);
    assert_int_equal(fake_api_requests(api), 1);
    await_requests(2);
    assert_non_null(strstr(fake_api_request(api, 1), "&resourceVersion=102"));
    assert_int_equal(fake_api_count(api, "sendInitialEvents"), 0);
    put("a", "2");
    await("+shop/a=2\n");
}

static void resumes_after_connections_were_lost(void **state)
{
    const struct fake_api_fault drop = {.status = 0, .times = 4};

    (void)state;
    start_synced();
    fake_api_fault(api, &drop);
    fake_api_break_watches(api);
    await_requests(4);
    assert_true(lh_test_run_until(loop, has_trouble, NULL));
    await_requests(5);
    /* Well again before anything happens on the stream. */
    assert_true(lh_test_run_until(loop, has_no_trouble, NULL));
    put("a", "2");
    await("+shop/a=2\n");
    assert_string_equal(lh_watch_trouble(watch), "");
    assert_int_equal(fake_api_count(api, "sendInitialEvents"), 0);
}

static void lists_after_half_a_minute_of_errors(void **state)
{
    const struct fake_api_fault error = {.status = 500};

    (void)state;
    start_synced();
    fake_api_fault(api, &error);
    fake_api_end_watches(api);
    pass(25000);
    assert_in_range(fake_api_requests(api), 2, 30); /* it backs off */
    assert_int_equal(fake_api_count(api, "sendInitialEvents"), 0);
    pass(65000);
    assert_true(fake_api_count(api, "sendInitialEvents") > 0);
    fake_api_fault_clear(api);
    await_requests(fake_api_requests(api) + 1);
    await("+shop/a=1\n+shop/b=1\nsynced\n");
}

static void a_silent_stream_is_dead(void **state)
{
    (void)state;
    start_synced();
    lh_test_step(loop, 60000, 1000);
    fake_api_bookmark(api);
    put("a", "2");
    await("+shop/a=2\n");
    fake_api_lose_watches(api);
    put("a", "3");
    lh_test_step(loop, 140000, 1000);
    assert_int_equal(fake_api_requests(api), 0);
    await_requests(1);
    await("+shop/a=3\n");
    assert_non_null(strstr(fake_api_request(api, 0), "&resourceVersion=103"));
    assert_int_equal(fake_api_count(api, "sendInitialEvents"), 0);
}

static void a_stream_without_bookmarks_ends_in_time(void **state)
{
    (void)state;
    fake_api_watch_list(api, false);
    put("a", "1");
    start();
    await("+shop/a=1\nsynced\n");
    await_watch();
    fake_api_forget_requests(api);
    lh_test_step(loop, 290000, 1000);
    assert_int_equal(fake_api_requests(api), 0);
    lh_test_step(loop, 30000, 1000);
    lh_clock_step(300000); /* past the longest that the server may take, and some grace */
    await_requests(1);
    assert_non_null(strstr(fake_api_request(api, 0), "&resourceVersion=101"));
}

static void a_stream_that_ends_at_once_is_a_failure(void **state)
{
    (void)state;
    start_synced();
    fake_api_end_watches(api); /* it had events: the next comes at once */
    await_watch();
    assert_int_equal(fake_api_requests(api), 1);
    fake_api_end_watches(api); /* that one had none: now it waits */
    assert_true(lh_test_run_until(loop, has_trouble, NULL));
    assert_non_null(strstr(lh_watch_trouble(watch), "ended as soon as it began"));
    lh_test_step(loop, 300, 100);
    assert_int_equal(fake_api_requests(api), 1);
    await_requests(2);
}

static void reads_pages(void **state)
{
    char name[16];

    (void)state;
    fake_api_watch_list(api, false);
    for (int i = 0; i < 1001; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        put(name, "1");
    }
    start();
    await_watch();
    assert_true(lh_watch_is_synced(watch));
    forget_events();
    fake_api_forget_requests(api);
    fake_api_delete(api, STORES, "shop", "n1000");
    await("-shop/n1000\n");
    fake_api_lose_watches(api);
    fake_api_delete(api, STORES, "shop", "n0");
    fake_api_compact(api);
    fake_api_error_watches(api, 410);
    await_requests(3);
    await_watch();
    assert_string_equal(fake_api_request(api, 0), "GET " PATH "?limit=500");
    assert_string_equal(fake_api_request(api, 1), "GET " PATH "?limit=500&continue=500");
    assert_non_null(strstr(lh_buf_peek(&events).p, "\n-shop/n0!\nsynced\n"));
    assert_null(strstr(lh_buf_peek(&events).p, "-shop/n1!"));
}

static void reads_in_one_piece_when_pages_expire(void **state)
{
    char name[16];

    (void)state;
    fake_api_watch_list(api, false);
    for (int i = 0; i < 501; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        put(name, "1");
    }
    start();
    await_watch();
    forget_events();
    fake_api_forget_requests(api);
    fake_api_expire_pages(api);
    fake_api_error_watches(api, 410);
    await_requests(3);
    await_watch();
    assert_string_equal(fake_api_request(api, 0), "GET " PATH "?limit=500");
    assert_string_equal(fake_api_request(api, 1), "GET " PATH "?limit=500&continue=500");
    assert_string_equal(fake_api_request(api, 2), "GET " PATH);
    assert_null(strstr(lh_buf_peek(&events).p, "!")); /* half a list takes nothing away */
}

static void a_cache_that_lags_is_asked_without_a_version(void **state)
{
    const struct fake_api_fault invalid = {.status = 400, .times = 1};

    (void)state;
    fake_api_watch_list(api, false);
    put("a", "1");
    start();
    await("+shop/a=1\nsynced\n");
    await_watch();
    fake_api_forget_requests(api);
    fake_api_lag(api, true);
    fake_api_fault(api, &invalid);
    fake_api_end_watches(api);
    await_requests(3);
    await("+shop/a=1\nsynced\n");
    assert_string_equal(fake_api_request(api, 1),
                        "GET " PATH "?resourceVersion=101&resourceVersionMatch=NotOlderThan");
    assert_string_equal(fake_api_request(api, 2), "GET " PATH "?limit=500");
}

static void what_is_known_stays_while_access_is_denied(void **state)
{
    (void)state;
    start_synced();
    fake_api_deny(api, STORES);
    fake_api_end_watches(api);
    await_requests(4);
    lh_test_step(loop, 100, 100);
    assert_int_equal(events.n, 0);
    assert_true(lh_watch_is_synced(watch));
    assert_non_null(strstr(lh_watch_trouble(watch), "403 Forbidden: User cannot list resource"));
    fake_api_deny(api, NULL);
    fake_api_forget_requests(api);
    await_requests(1);
    await("+shop/a=1\n+shop/b=1\nsynced\n");
}

static void a_proxys_page_is_no_list(void **state)
{
    const struct fake_api_fault page = {.status = 200, .body = "<html>", .times = 3};

    (void)state;
    put("a", "1");
    fake_api_fault(api, &page);
    start();
    await_requests(4);
    await("+shop/a=1\nsynced\n");
}

static void large_objects_are_skipped(void **state)
{
    const struct lh_watch_options opts = {
        .res = {.group = "leasehold.dev", .version = "v1alpha1", .resource = "secretstores"},
        .max_object = 300};
    char big[250];

    (void)state;
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    put("a", "1");
    put("b", "1");
    start_with(&opts);
    await("+shop/a=1\n+shop/b=1\nsynced\n");
    put("a", big);
    put("c", "1");
    await("skipped\n+shop/c=1\n");
    /* In a list nobody knows which one was left out: none may be taken for deleted. */
    fake_api_lose_watches(api);
    fake_api_delete(api, STORES, "shop", "b");
    fake_api_compact(api);
    fake_api_error_watches(api, 410);
    await_requests(2);
    await("skipped\n+shop/c=1\nsynced\n");
    put("a", "2");
    await("+shop/a=2\n");
}

static void broken_events_make_it_list(void **state)
{
    (void)state;
    start_synced();
    fake_api_write_watches(api, "{\"type\":\"ADDED\",]");
    await_requests(1);
    await("+shop/a=1\n+shop/b=1\nsynced\n");
    assert_non_null(strstr(fake_api_request(api, 0), "sendInitialEvents"));
}

static void unknown_events_are_ignored(void **state)
{
    (void)state;
    start_synced();
    fake_api_write_watches(api,
                           "{\"type\":\"NEW\",\"object\":{}}{\"type\":\"ADDED\",\"object\":{}}");
    put("a", "2");
    await("+shop/a=2\n");
}

static void others_have_their_turn(void **state)
{
    (void)state;
    work_ms = 30; /* longer than one turn is allowed to last */
    for (int i = 0; i < 20; i++) {
        char name[16];

        snprintf(name, sizeof(name), "n%02d", i);
        put(name, "1");
    }
    start();
    for (int i = 0; i < 10; i++)
        lh_loop_turn(loop, 10);
    assert_null(strstr(lh_buf_peek(&events).p, "n19"));
    await("+shop/n00=1\n+shop/n01=1\n+shop/n02=1\n+shop/n03=1\n+shop/n04=1\n+shop/n05=1\n+shop/"
          "n06=1\n"
          "+shop/n07=1\n+shop/n08=1\n+shop/n09=1\n+shop/n10=1\n+shop/n11=1\n+shop/n12=1\n+shop/"
          "n13=1\n"
          "+shop/n14=1\n+shop/n15=1\n+shop/n16=1\n+shop/n17=1\n+shop/n18=1\n+shop/n19=1\nsynced\n");
    assert_int_equal(fake_api_requests(api), 1);
    put("n00", "2");
    await("+shop/n00=2\n");
}

/* The answer ends while its last bytes wait for their turn. */
static void an_answer_that_ends_in_a_pause_is_read(void **state)
{
    (void)state;
    work_ms = 30;
    fake_api_watch_list(api, false);
    put("a", "1");
    put("b", "1");
    put("c", "1");
    start();
    await("+shop/a=1\n+shop/b=1\n+shop/c=1\nsynced\n");
    await_watch();
    put("a", "2");
    put("b", "2");
    put("c", "2");
    fake_api_end_watches(api);
    await("+shop/a=2\n+shop/b=2\n+shop/c=2\n");
}

static void asks_for_what_it_is_told(void **state)
{
    const struct lh_watch_options opts = {
        .res = {.group = "", .version = "v1", .resource = "namespaces"},
        .label_selector = "team=a b",
        .metadata_only = true};

    (void)state;
    fake_api_put(api, "v1/namespaces",
                 "{\"metadata\":{\"name\":\"x\",\"labels\":{\"team\":\"a b\"}},\"value\":\"1\"}");
    fake_api_put(api, "v1/namespaces", "{\"metadata\":{\"name\":\"y\"},\"value\":\"1\"}");
    start_with(&opts);
    await("+x=\nsynced\n");
    assert_non_null(strstr(fake_api_request(api, 0),
                           "GET /api/v1/namespaces?labelSelector=team%3Da%20b&watch=1"));
    assert_string_equal(fake_api_last_accept(api),
                        "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
}

static void follows_one_object(void **state)
{
    const struct lh_watch_options opts = {.res = {.group = "leasehold.dev",
                                                  .version = "v1alpha1",
                                                  .resource = "secretstores",
                                                  .namespace_ = "shop",
                                                  .name = "b"}};

    (void)state;
    fake_api_watch_list(api, false);
    put("a", "1");
    put("b", "1");
    start_with(&opts);
    await("+shop/b=1\nsynced\n");
    await_watch();
    assert_string_equal(fake_api_request(api, 1),
                        "GET /apis/leasehold.dev/v1alpha1/namespaces/shop/secretstores"
                        "?fieldSelector=metadata.name%3Db&resourceVersion=0");
    put("a", "2");
    put("b", "2");
    await("+shop/b=2\n");
}

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

    fake_api_watch_list(api, !s->list);
    put("a", "1");
    put("b", "1");
    stop_at = s->at;
    start();
    wanted = s->want;
    assert_true(lh_test_run_until(loop, events_are, NULL));
    lh_test_step(loop, 5000, 1000);
    assert_string_equal(lh_buf_peek(&events).p, s->want);
    assert_null(watch);
}

static void stops_when_something_is_gone(void **state)
{
    (void)state;
    start_synced();
    stop_at = "-shop/a!";
    fake_api_lose_watches(api);
    fake_api_delete(api, STORES, "shop", "a");
    fake_api_compact(api);
    fake_api_error_watches(api, 410);
    await_requests(1);
    wanted = "+shop/b=1\n-shop/a!\n";
    assert_true(lh_test_run_until(loop, events_are, NULL));
    assert_null(watch);
}

static void stops_at_any_time(void **state)
{
    (void)state;
    start();
    lh_watch_stop(watch); /* before its first request */
    start();
    lh_loop_turn(loop, 10);
    lh_watch_stop(watch); /* in the middle of it */
    watch = NULL;
    lh_test_step(loop, 5000, 1000);
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
    lh_test_step(loop, 100, 100);
    live = lh_mem_live_blocks();
    do {
        lh_mem_fail_at(++n);
        rc = lh_watch_start(kube, &opts, on_event, NULL, &watch, NULL);
        lh_mem_fail_at(0);
        if (rc < 0) {
            assert_int_equal(rc, -LH_E_NOMEM);
            assert_null(watch);
            failed++;
        }
        lh_watch_stop(watch);
        watch = NULL;
        lh_test_step(loop, 10, 10);
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
        fake_api_watch_list(api, list == 0);
        put("a", "1");
        put("b", "1");
        put("c", "1");
        for (unsigned long n = 1; n <= 60; n++) {
            fake_api_forget_requests(api);
            forget_events();
            fail_at = n;
            start();
            if (!lh_test_run_until(loop, step_and_is_synced, NULL))
                fail_msg("not synced when allocation %lu fails", n);
            assert_non_null(strstr(lh_buf_peek(&events).p, "+shop/a=1\n"));
            assert_non_null(strstr(lh_buf_peek(&events).p, "+shop/b=1\n"));
            assert_non_null(strstr(lh_buf_peek(&events).p, "+shop/c=1\nsynced\n"));
            assert_null(strstr(lh_buf_peek(&events).p, "-shop"));
            restarts += fake_api_requests(api) > (list ? 3 : 1);
            lh_watch_stop(watch);
            watch = NULL;
        }
    }
    assert_true(restarts > 40);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(watches_a_list),
        CASE(falls_back_to_lists_for_good),
        CASE(resumes_where_it_was),
        CASE(a_bookmark_is_a_place_to_resume),
        CASE(initial_events_are_no_place_to_resume),
        CASE(gives_up_watch_lists_that_never_end),
        CASE(a_silent_initial_stream_is_dead),
        CASE(lists_again_after_410),
        CASE(lists_again_after_410_as_a_status),
        CASE(a_new_uid_is_another_object),
        CASE(waits_as_429_says_and_resumes),
        CASE(resumes_after_connections_were_lost),
        CASE(lists_after_half_a_minute_of_errors),
        CASE(a_silent_stream_is_dead),
        CASE(a_stream_without_bookmarks_ends_in_time),
        CASE(a_stream_that_ends_at_once_is_a_failure),
        CASE(reads_pages),
        CASE(reads_in_one_piece_when_pages_expire),
        CASE(a_cache_that_lags_is_asked_without_a_version),
        CASE(what_is_known_stays_while_access_is_denied),
        CASE(a_proxys_page_is_no_list),
        CASE(large_objects_are_skipped),
        CASE(broken_events_make_it_list),
        CASE(unknown_events_are_ignored),
        CASE(others_have_their_turn),
        CASE(an_answer_that_ends_in_a_pause_is_read),
        CASE(asks_for_what_it_is_told),
        CASE(follows_one_object),
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
        rows[i] = (struct CMUnitTest){stops[i].name, stops_inside_its_callback, setup, teardown,
                                      (void *)(uintptr_t)&stops[i]};
    failures = cmocka_run_group_tests_name("watch", tests, NULL, NULL);
    return failures + cmocka_run_group_tests_name("watch that is stopped", rows, NULL, NULL);
}
