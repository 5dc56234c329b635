/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "bed.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/metrics.h"
#include "leasehold/http/client.h"
#include "leasehold/kube/event.h"

#define PATH "/apis/events.k8s.io/v1/namespaces/shop/events"

static struct lh_events *events;
static size_t wanted_requests;

static int start(void)
{
    return lh_events_new(bed.kube, "leasehold.dev/controller", "pod-1", &events, NULL);
}

static int setup(void **state)
{
    (void)state;
    events = NULL;
    lh_metrics_reset();
    return bed_setup() < 0 ? -1 : start();
}

static int teardown(void **state)
{
    (void)state;
    lh_events_free(events);
    bed_teardown();
    return 0;
}

static void emit_about(const char *object, const char *note)
{
    const struct lh_event ev = {.api_version = "leasehold.dev/v1alpha1",
                                .kind = "SecretProjection",
                                .namespace_ = "shop",
                                .name = object,
                                .uid = "u-1",
                                .warning = true,
                                .reason = "StoreNotReady",
                                .action = "Sync",
                                .note = note};

    lh_events_emit(events, &ev);
}

static bool all_written(void *arg)
{
    (void)arg;
    return lh_events_waiting(events) == 0;
}

static bool has_requests(void *arg)
{
    (void)arg;
    return fake_api_requests(bed.api) >= wanted_requests;
}

static void await_written(void)
{
    assert_true(bed_pass_until(all_written, NULL));
}

static void await_requests(size_t n)
{
    wanted_requests = n;
    assert_true(bed_pass_until(has_requests, NULL));
}

static double lost(const char *why)
{
    return lh_metric_value(&lh_events_metrics[1], LH_LABELS(why));
}

/* The last body, decoded; to be freed. */
static lh_json *last_body(void)
{
    lh_json *v = NULL;

    assert_int_equal(lh_json_parse(fake_api_last_body(bed.api), NULL, &v, NULL), 0);
    return v;
}

static void says_what_happened(void **state)
{
    lh_auto_json lh_json *v = NULL;
    const lh_json *about;

    (void)state;
    emit_about("db", "store \"vault\" is sealed");
    assert_int_equal(fake_api_requests(bed.api), 0); /* from the loop */
    await_written();
    assert_int_equal(fake_api_requests(bed.api), 1);
    assert_string_equal(fake_api_request(bed.api, 0), "POST " PATH);
    v = last_body();
    about = lh_json_get(v, "regarding");
    assert_string_equal(lh_json_get_z(about, "apiVersion"), "leasehold.dev/v1alpha1");
    assert_string_equal(lh_json_get_z(about, "kind"), "SecretProjection");
    assert_string_equal(lh_json_get_z(about, "namespace"), "shop");
    assert_string_equal(lh_json_get_z(about, "name"), "db");
    assert_string_equal(lh_json_get_z(about, "uid"), "u-1");
    assert_string_equal(lh_json_get_z(v, "type"), "Warning");
    assert_string_equal(lh_json_get_z(v, "reason"), "StoreNotReady");
    assert_string_equal(lh_json_get_z(v, "action"), "Sync");
    assert_string_equal(lh_json_get_z(v, "note"), "store \"vault\" is sealed");
    assert_string_equal(lh_json_get_z(v, "reportingController"), "leasehold.dev/controller");
    assert_string_equal(lh_json_get_z(v, "reportingInstance"), "pod-1");
    assert_memory_equal(lh_json_get_z(lh_json_get(v, "metadata"), "name"), "db.", 3);
    assert_null(lh_json_get(v, "series"));
    assert_true(lh_metric_value(&lh_events_metrics[0], NULL) == 1);
}

static void objects_of_the_cluster_are_told_of_in_default(void **state)
{
    const struct lh_event ev = {.api_version = "leasehold.dev/v1alpha1",
                                .kind = "ClusterSecretStore",
                                .name = "vault",
                                .reason = "Ready",
                                .action = "Check"};
    lh_auto_json lh_json *v = NULL;

    (void)state;
    lh_events_emit(events, &ev);
    await_written();
    assert_string_equal(fake_api_request(bed.api, 0),
                        "POST /apis/events.k8s.io/v1/namespaces/default/events");
    v = last_body();
    assert_null(lh_json_path(v, "regarding", "namespace", NULL));
    assert_null(lh_json_path(v, "regarding", "uid", NULL));
    assert_string_equal(lh_json_get_z(v, "type"), "Normal");
    assert_true(lost("failed") == 0);
}

static void equal_events_count_up(void **state)
{
    lh_auto_json lh_json *v = NULL;

    (void)state;
    emit_about("db", "sealed");
    await_written();
    for (int i = 0; i < 20; i++) {
        emit_about("db", "sealed");
        bed_pass(1000);
    }
    assert_int_equal(fake_api_requests(bed.api), 1);
    await_written();
    assert_int_equal(fake_api_requests(bed.api), 2);
    assert_memory_equal(fake_api_request(bed.api, 1), "PATCH " PATH "/db.", 9 + strlen(PATH));
    v = last_body();
    assert_int_equal(lh_json_get_int(lh_json_get(v, "series"), "count", 0), 21);
    assert_int_equal(lh_json_len(v), 1); /* whatever else it says stands there already */
    /* A minute after, and so on, but never less than one in five minutes. */
    for (int i = 0; i < 3000; i++) {
        emit_about("db", "sealed");
        bed_pass(1000);
    }
    assert_in_range(fake_api_requests(bed.api), 11, 16);
    assert_int_equal(fake_api_count(bed.api, "POST"), 1);
    assert_true(lost("spam") == 0);
}

static void other_texts_are_other_events(void **state)
{
    (void)state;
    emit_about("db", "sealed");
    emit_about("db", "standby");
    emit_about("db2", "sealed");
    await_written();
    assert_int_equal(fake_api_count(bed.api, "POST"), 3);
}

static void after_ten_minutes_it_is_told_anew(void **state)
{
    (void)state;
    emit_about("db", "sealed");
    await_written();
    bed_pass(9 * 60 * 1000);
    emit_about("db", "sealed");
    await_written();
    assert_int_equal(fake_api_count(bed.api, "POST"), 1);
    bed_pass(10 * 60 * 1000 + 1000);
    emit_about("db", "sealed");
    await_written();
    assert_int_equal(fake_api_count(bed.api, "POST"), 2);
}

static void one_object_cannot_flood(void **state)
{
    char note[32];

    (void)state;
    for (int i = 0; i < 40; i++) {
        snprintf(note, sizeof(note), "note %d", i);
        emit_about("db", note);
    }
    emit_about("other", "sealed");
    await_written();
    assert_int_equal(fake_api_count(bed.api, "POST"), 26);
    assert_true(lost("spam") == 15);
    bed_pass(5 * 60 * 1000);
    emit_about("db", "later");
    emit_about("db", "later still");
    await_written();
    assert_int_equal(fake_api_count(bed.api, "POST"), 27);
}

static void what_is_too_much_is_dropped(void **state)
{
    const struct fake_api_fault stall = {.stall = true};
    char object[32];

    (void)state;
    fake_api_fault(bed.api, &stall);
    for (int i = 0; i < 1200; i++) {
        snprintf(object, sizeof(object), "o%d", i);
        emit_about(object, "sealed");
    }
    assert_int_equal(lh_events_waiting(events), 1000);
    assert_true(lost("full") == 200);
    bed_pass(1000);
    assert_int_equal(fake_api_requests(bed.api), 4); /* so many at a time */
    fake_api_fault_clear(bed.api);
    await_written();
    /* What is written makes room. */
    emit_about("late", "sealed");
    await_written();
    assert_true(lost("full") == 200);
}

static const struct trouble {
    const char *name;
    struct fake_api_fault fault;
    size_t requests; /* in all */
    bool lost;
} troubles[] = {
    {"a connection that drops is tried again", {.times = 2}, 3, false},
    {"429 waits", {.status = 429, .headers = "Retry-After: 2\r\n", .times = 2}, 3, false},
    {"503 is tried again", {.status = 503, .times = 3}, 4, false},
    {"an answer that got lost is no second event", {.after = true, .times = 1}, 2, false},
    {"403 is final", {.status = 403, .times = 1}, 1, true},
    {"404 of a namespace is final", {.status = 404, .times = 1}, 1, true},
    {"422 is final", {.status = 422, .times = 1}, 1, true},
    {"in the end it gives up", {.status = 500}, 12, true},
};

static void copes_with_trouble(void **state)
{
    const struct trouble *t = *state;

    fake_api_fault(bed.api, &t->fault);
    emit_about("db", "sealed");
    bed_pass(60000);
    bed_pass(12 * 60 * 1000);
    await_written();
    assert_int_equal(fake_api_requests(bed.api), t->requests);
    assert_true(lost("failed") == t->lost);
}

/* The API server forgets events after an hour. */
static void a_series_that_expired_is_told_anew(void **state)
{
    const struct fake_api_fault gone = {.method = "PATCH", .status = 404, .times = 1};
    lh_auto_json lh_json *v = NULL;

    (void)state;
    emit_about("db", "sealed");
    await_written();
    emit_about("db", "sealed");
    fake_api_fault(bed.api, &gone);
    await_written();
    assert_int_equal(fake_api_count(bed.api, "POST"), 2);
    v = last_body();
    assert_int_equal(lh_json_get_int(lh_json_get(v, "series"), "count", 0), 2);
    assert_true(lost("failed") == 0);
}

static void names_and_notes_are_cut(void **state)
{
    lh_auto_json lh_json *v = NULL;
    char object[254], note[2000];
    const char *name;

    (void)state;
    memset(object, 'a', 253);
    object[253] = '\0';
    object[235] = '.';
    note[0] = 'x'; /* two-byte characters that do not end at 1024 */
    for (size_t i = 1; i + 2 < sizeof(note); i += 2)
        memcpy(note + i, "\xc3\xa4", 2);
    note[1999] = '\0';
    emit_about(object, note);
    await_written();
    assert_true(lost("failed") == 0);
    v = last_body();
    name = lh_json_get_z(lh_json_get(v, "metadata"), "name");
    assert_int_equal(strlen(name), 235 + 17);
    assert_true(lh_str_is_dns_subdomain(lh_str(name)));
    assert_int_equal(strlen(lh_json_get_z(v, "note")), 1023);
}

static void is_freed_at_any_time(void **state)
{
    (void)state;
    emit_about("db", "sealed");
    lh_events_free(LH_TAKE_PTR(events)); /* before anything was sent */
    assert_int_equal(start(), 0);
    emit_about("db", "sealed");
    await_requests(1);
    lh_events_free(LH_TAKE_PTR(events)); /* under way */
    bed_pass(1000);
    lh_events_free(NULL);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(says_what_happened),
        CASE(objects_of_the_cluster_are_told_of_in_default),
        CASE(equal_events_count_up),
        CASE(other_texts_are_other_events),
        CASE(after_ten_minutes_it_is_told_anew),
        CASE(one_object_cannot_flood),
        CASE(what_is_too_much_is_dropped),
        CASE(a_series_that_expired_is_told_anew),
        CASE(names_and_notes_are_cut),
        CASE(is_freed_at_any_time),
    };
    struct CMUnitTest rows[LH_ARRAY_LEN(troubles)];
    int failures;

    if (lh_http_global_init(NULL) < 0)
        return 1;
    for (size_t i = 0; i < LH_ARRAY_LEN(troubles); i++)
        rows[i] = (struct CMUnitTest){troubles[i].name, copes_with_trouble, setup, teardown,
                                      (void *)(uintptr_t)&troubles[i]};
    failures = cmocka_run_group_tests_name("events", tests, NULL, NULL);
    return failures + cmocka_run_group_tests_name("events and trouble", rows, NULL, NULL);
}
