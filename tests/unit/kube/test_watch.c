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
    fake_api_delete(bed.api, STORES, "shop", "b");
    await("+shop/b=1\n+shop/a=2\n-shop/b\n");
    assert_int_equal(fake_api_requests(bed.api), 1);
    assert_non_null(strstr(fake_api_request(bed.api, 0),
                           "GET " PATH "?watch=1&allowWatchBookmarks=true&timeoutSeconds="));
    assert_non_null(strstr(fake_api_request(bed.api, 0),
                           "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"));
    assert_null(strstr(fake_api_request(bed.api, 0), "resourceVersion="));
    assert_string_equal(lh_watch_trouble(watch), "");
}

static void says_how_far_it_came(void **state)
{
    (void)state;
    put("a", "1"); /* version 101 */
    start();
    assert_false(lh_watch_has_seen(watch, "1"));
    await("+shop/a=1\nsynced\n");
    assert_true(lh_watch_has_seen(watch, "101"));
    assert_true(lh_watch_has_seen(watch, "99"));
    assert_false(lh_watch_has_seen(watch, "102"));
    assert_false(lh_watch_has_seen(watch, "1000"));
    put("b", "1");
    await("+shop/b=1\n");
    assert_true(lh_watch_has_seen(watch, "102"));
    assert_false(lh_watch_has_seen(watch, "103"));
}

static void falls_back_to_lists_for_good(void **state)
{
    (void)state;
    fake_api_watch_list(bed.api, false);
    put("a", "1");
    start();
    await("+shop/a=1\nsynced\n");
    await_watch();
    assert_int_equal(fake_api_requests(bed.api), 3);
    assert_non_null(strstr(fake_api_request(bed.api, 0), "sendInitialEvents"));
    assert_string_equal(fake_api_request(bed.api, 1), "GET " PATH "?resourceVersion=0");
    assert_non_null(strstr(fake_api_request(bed.api, 2), "watch=1"));
    assert_non_null(strstr(fake_api_request(bed.api, 2), "&resourceVersion=101"));
    put("a", "2");
    await("+shop/a=2\n");
    fake_api_compact(bed.api);
    fake_api_error_watches(bed.api, 410);
    await_requests(5);
    await("+shop/a=2\nsynced\n");
    assert_int_equal(fake_api_count(bed.api, "sendInitialEvents"), 1);
}

static void resumes_where_it_was(void **state)
{
    (void)state;
    start_synced();
    put("a", "2");
    await("+shop/a=2\n");
    fake_api_end_watches(bed.api);
    put("a", "3"); /* nobody watches */
    await_requests(1);
    await("+shop/a=3\n");
    assert_non_null(strstr(fake_api_request(bed.api, 0), "&resourceVersion=103"));
    assert_int_equal(fake_api_count(bed.api, "sendInitialEvents"), 0);
}

static void a_bookmark_is_a_place_to_resume(void **state)
{
    size_t one = 1;

    (void)state;
    start_synced();
    fake_api_put(bed.api, "v1/namespaces", "{\"metadata\":{\"name\":\"x\"}}");
    fake_api_bookmark(bed.api);
    put("a", "2");
    await("+shop/a=2\n");
    fake_api_put(bed.api, "v1/namespaces", "{\"metadata\":{\"name\":\"x\"}}");
    fake_api_bookmark(bed.api);
    fake_api_end_watches(bed.api);
    fake_api_compact(bed.api);
    assert_true(lh_test_run_until(bed.loop, has_requests, &one));
    assert_non_null(strstr(fake_api_request(bed.api, 0), "&resourceVersion=105"));
    put("a", "3");
    await("+shop/a=3\n");
}

/* Events of a state that never became whole must not be resumed from. */
static void initial_events_are_no_place_to_resume(void **state)
{
    (void)state;
    fake_api_initial_end(bed.api, false);
    put("a", "1");
    start();
    await("+shop/a=1\n");
    assert_false(lh_watch_is_synced(watch));
    fake_api_initial_end(bed.api, true);
    fake_api_break_watches(bed.api);
    await_requests(2);
    await("+shop/a=1\nsynced\n");
    assert_non_null(strstr(fake_api_request(bed.api, 1), "sendInitialEvents"));
    assert_null(strstr(fake_api_request(bed.api, 1), "resourceVersion="));
}

static void a_new_uid_is_another_object(void **state)
{
    (void)state;
    start_synced();
    fake_api_lose_watches(bed.api);
    fake_api_delete(bed.api, STORES, "shop", "a");
    put("a", "new");
    fake_api_compact(bed.api);
    fake_api_error_watches(bed.api, 410);
    await_requests(1);
    await("+shop/b=1\n-shop/a!\n+shop/a=new\nsynced\n");
}

static void reads_pages(void **state)
{
    char name[16];

    (void)state;
    fake_api_watch_list(bed.api, false);
    for (int i = 0; i < 1001; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        put(name, "1");
    }
    start();
    await_watch();
    assert_true(lh_watch_is_synced(watch));
    forget_events();
    fake_api_forget_requests(bed.api);
    fake_api_delete(bed.api, STORES, "shop", "n1000");
    await("-shop/n1000\n");
    fake_api_lose_watches(bed.api);
    fake_api_delete(bed.api, STORES, "shop", "n0");
    fake_api_compact(bed.api);
    fake_api_error_watches(bed.api, 410);
    await_requests(3);
    await_watch();
    assert_string_equal(fake_api_request(bed.api, 0), "GET " PATH "?limit=500");
    assert_string_equal(fake_api_request(bed.api, 1), "GET " PATH "?limit=500&continue=500");
    assert_non_null(strstr(lh_buf_peek(&events).p, "\n-shop/n0!\nsynced\n"));
    assert_null(strstr(lh_buf_peek(&events).p, "-shop/n1!"));
}

/* Too large or malformed: that it exists is known, and what is gone is gone. */
static const struct skipped {
    const char *name;
    bool list;
} skips[] = {
    {"a large object of a watch-list is skipped", false},
    {"a large object of a list is skipped", true},
};

static void skips_large_objects(void **state)
{
    const struct skipped *s = *state;
    const struct lh_watch_options opts = {
        .res = {.group = "leasehold.dev", .version = "v1alpha1", .resource = "secretstores"},
        .max_object = 300};
    char big[250];

    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    fake_api_watch_list(bed.api, !s->list);
    put("a", "1");
    put("b", "1");
    put("d", "1");
    start_with(&opts);
    await("+shop/a=1\n+shop/b=1\n+shop/d=1\nsynced\n");
    await_watch();
    put("a", big);
    put("c", "1");
    await("?shop/a\n+shop/c=1\n");
    fake_api_lose_watches(bed.api);
    fake_api_delete(bed.api, STORES, "shop", "b");
    fake_api_delete(bed.api, STORES, "shop", "d");
    put("d", big); /* another object, too large from its start */
    fake_api_compact(bed.api);
    fake_api_forget_requests(bed.api);
    fake_api_error_watches(bed.api, 410);
    await_requests(1);
    await("?shop/a\n+shop/c=1\n-shop/d!\n?shop/d\n-shop/b!\nsynced\n");
    await_watch();
    put("a", "2");
    fake_api_delete(bed.api, STORES, "shop", "d"); /* the event is too large as well */
    await("+shop/a=2\n-shop/d!\n");
}

/* Then any of those that miss may be it. */
static void a_skipped_object_without_a_name_takes_nothing_away(void **state)
{
    const struct fake_api_fault list = {
        .prefix = PATH "?limit",
        .status = 200,
        .body = "{\"kind\":\"List\",\"metadata\":{\"resourceVersion\":\"200\"},\"items\":["
                "{\"metadata\":{\"namespace\":\"shop\",\"name\":\"a\",\"uid\":\"uid-1\"},"
                "\"value\":\"2\"},{\"x\":[[[[,]]]]}]}",
        .times = 1};

    (void)state;
    fake_api_watch_list(bed.api, false);
    put("a", "1");
    put("b", "1");
    start();
    await("+shop/a=1\n+shop/b=1\nsynced\n");
    await_watch();
    fake_api_fault(bed.api, &list);
    fake_api_compact(bed.api);
    fake_api_forget_requests(bed.api);
    fake_api_error_watches(bed.api, 410);
    await_requests(1);
    await("+shop/a=2\n?\nsynced\n");
}

/* They are not even parsed: here they would be too much of it. */
static void managed_fields_are_left_out(void **state)
{
    static const char object[] = "{\"metadata\":{\"name\":\"m\",%s\"uid\":\"u\"},\"value\":\"%d\","
                                 "\"spec\":{\"managedFields\":[1]}}";
    lh_auto_buf struct lh_buf fields = {0};
    lh_auto_free char *json = NULL;

    (void)state;
    lh_buf_init(&fields, 1 << 20);
    lh_buf_put_z(&fields, "\"managedFields\":[");
    for (int i = 0; i < 200; i++)
        lh_buf_put_c(&fields, '[');
    for (int i = 0; i < 200; i++)
        lh_buf_put_c(&fields, ']');
    lh_buf_put_z(&fields, "],");
    json = lh_asprintf(object, lh_buf_peek(&fields).p, 1);
    start();
    await("synced\n");
    fake_api_write_watches(bed.api, "{\"type\":\"ADDED\",\"object\":");
    fake_api_write_watches(bed.api, json);
    fake_api_write_watches(bed.api, "}");
    await("+m=1\n");
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
        lh_loop_turn(bed.loop, 10);
    assert_null(strstr(lh_buf_peek(&events).p, "n19"));
    await("+shop/n00=1\n+shop/n01=1\n+shop/n02=1\n+shop/n03=1\n+shop/n04=1\n+shop/n05=1\n+shop/"
          "n06=1\n"
          "+shop/n07=1\n+shop/n08=1\n+shop/n09=1\n+shop/n10=1\n+shop/n11=1\n+shop/n12=1\n+shop/"
          "n13=1\n"
          "+shop/n14=1\n+shop/n15=1\n+shop/n16=1\n+shop/n17=1\n+shop/n18=1\n+shop/n19=1\nsynced\n");
    assert_int_equal(fake_api_requests(bed.api), 1);
    put("n00", "2");
    await("+shop/n00=2\n");
}

/* The answer ends while its last bytes wait for their turn. */
static void an_answer_that_ends_in_a_pause_is_read(void **state)
{
    (void)state;
    work_ms = 30;
    fake_api_watch_list(bed.api, false);
    put("a", "1");
    put("b", "1");
    put("c", "1");
    start();
    await("+shop/a=1\n+shop/b=1\n+shop/c=1\nsynced\n");
    await_watch();
    put("a", "2");
    put("b", "2");
    put("c", "2");
    fake_api_end_watches(bed.api);
    await("+shop/a=2\n+shop/b=2\n+shop/c=2\n");
}

static void asks_for_what_it_is_told(void **state)
{
    const struct lh_watch_options opts = {
        .res = {.group = "", .version = "v1", .resource = "namespaces"},
        .label_selector = "team=a b",
        .metadata_only = true};

    (void)state;
    fake_api_put(bed.api, "v1/namespaces",
                 "{\"metadata\":{\"name\":\"x\",\"labels\":{\"team\":\"a b\"}},\"value\":\"1\"}");
    fake_api_put(bed.api, "v1/namespaces", "{\"metadata\":{\"name\":\"y\"},\"value\":\"1\"}");
    start_with(&opts);
    await("+x=\nsynced\n");
    assert_non_null(strstr(fake_api_request(bed.api, 0),
                           "GET /api/v1/namespaces?labelSelector=team%3Da%20b&watch=1"));
    assert_string_equal(fake_api_last_accept(bed.api),
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
    fake_api_watch_list(bed.api, false);
    put("a", "1");
    put("b", "1");
    start_with(&opts);
    await("+shop/b=1\nsynced\n");
    await_watch();
    assert_string_equal(fake_api_request(bed.api, 1),
                        "GET /apis/leasehold.dev/v1alpha1/namespaces/shop/secretstores"
                        "?fieldSelector=metadata.name%3Db&resourceVersion=0");
    put("a", "2");
    put("b", "2");
    await("+shop/b=2\n");
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, reflect_setup, reflect_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(watches_a_list),
        CASE(says_how_far_it_came),
        CASE(falls_back_to_lists_for_good),
        CASE(resumes_where_it_was),
        CASE(a_bookmark_is_a_place_to_resume),
        CASE(initial_events_are_no_place_to_resume),
        CASE(a_new_uid_is_another_object),
        CASE(reads_pages),
        CASE(a_skipped_object_without_a_name_takes_nothing_away),
        CASE(managed_fields_are_left_out),
        CASE(others_have_their_turn),
        CASE(an_answer_that_ends_in_a_pause_is_read),
        CASE(asks_for_what_it_is_told),
        CASE(follows_one_object),
    };
    struct CMUnitTest rows[LH_ARRAY_LEN(skips)];
    int failures;

    if (lh_http_global_init(NULL) < 0)
        return 1;
    for (size_t i = 0; i < LH_ARRAY_LEN(skips); i++)
        rows[i] = (struct CMUnitTest){skips[i].name, skips_large_objects, reflect_setup,
                                      reflect_teardown, (void *)(uintptr_t)&skips[i]};
    failures = cmocka_run_group_tests_name("watch", tests, NULL, NULL);
    return failures + cmocka_run_group_tests_name("watch of large objects", rows, NULL, NULL);
}
