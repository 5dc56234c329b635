/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "fake_api.h"
#include "leasehold/core/mem.h"
#include "leasehold/http/client.h"
#include "support.h"
#include "uninjected.h"

#define ASKS     "\"leasehold.dev/secret.db\":\"database/creds/shop\""
#define INJECTED "\"leasehold.dev/status\":\"injected\""

static struct row {
    const char *name, *annotations;
    bool lost;
} rows[] = {
    {"a secret by annotation asks", ASKS, true},
    {"a projection by annotation asks", "\"leasehold.dev/projections\":\"db\"", true},
    {"what was injected is not lost", ASKS "," INJECTED, false},
    {"the order of annotations tells nothing", INJECTED "," ASKS, false},
    {"the off switch is a wish", ASKS ",\"leasehold.dev/inject\":\"false\"", false},
    {"an off switch that says true is none", ASKS ",\"leasehold.dev/inject\":\"true\"", true},
    {"an off switch of another type is none", ASKS ",\"leasehold.dev/inject\":false", true},
    {"a store alone asks for nothing", "\"leasehold.dev/store\":\"vault\"", false},
    {"secrets of others are no business of ours", "\"vault.hashicorp.com/secret.db\":\"x\"", false},
    {"a name that only starts alike asks for nothing", "\"leasehold.dev/secrets\":\"x\"", false},
    {"a secret without a name asks for nothing", "\"leasehold.dev/secret.\":\"x\"", false},
    {"no annotations", "", false},
};

static void tells_by_annotations(void **state)
{
    const struct row *r = *state;
    lh_auto_free char *text = lh_asprintf("{\"annotations\":{%s}}", r->annotations);
    struct lh_str which = {NULL, 0};
    lh_json *meta = NULL;
    bool lost;

    assert_int_equal(lh_json_parse(lh_str(text), NULL, &meta, NULL), 0);
    lost = uninjected_is(meta, &which);
    assert_int_equal(uninjected_is(meta, NULL), lost);
    assert_int_equal(which.p != NULL, lost);
    lh_json_unref(meta);
    assert_int_equal(lost, r->lost);
}

static void nothing_is_no_pod(void **state)
{
    (void)state;
    assert_false(uninjected_is(NULL, NULL));
}

/* On a watch. */

static struct lh_loop *loop;
static struct fake_api *api;
static struct lh_kube *kube;
static struct uninjected *u;
static unsigned told;
static lh_ms told_at[64];
static char last[200];

static void on_found(void *arg, const struct uninjected_pod *pod)
{
    (void)arg;
    told_at[told % LH_ARRAY_LEN(told_at)] = lh_clock_now();
    told++;
    snprintf(last, sizeof(last), "%s/%s %s %.40s", pod->namespace_, pod->name, pod->uid, pod->note);
}

static int setup(void **state)
{
    (void)state;
    told = 0;
    return fake_api_cluster(&loop, &api, &kube);
}

static int teardown(void **state)
{
    (void)state;
    uninjected_free(u);
    u = NULL;
    lh_kube_free(kube);
    kube = NULL;
    fake_api_free(api);
    api = NULL;
    lh_loop_free(loop);
    lh_metrics_reset();
    lh_clock_real();
    return 0;
}

static void put(const char *ns, const char *name, const char *annotations, const char *more)
{
    lh_auto_free char *json = lh_asprintf("{\"metadata\":{\"name\":\"%s\",\"namespace\":\"%s\","
                                          "\"uid\":\"u-%s\",\"annotations\":{%s}%s}}",
                                          name, ns, name, annotations, more);

    fake_api_put(api, "v1/pods", json);
}

static bool synced(void *arg)
{
    (void)arg;
    return uninjected_synced(u) && fake_api_watches(api) == 1;
}

static void start(void)
{
    const struct uninjected_options opts = {.loop = loop, .kube = kube, .found = on_found};
    struct lh_err err = {0};

    if (uninjected_new(&opts, &u, &err) < 0)
        fail_msg("%s", err.msg);
    assert_true(lh_test_run_until(loop, synced, NULL));
}

static size_t wanted;

static bool counted(void *arg)
{
    (void)arg;
    return uninjected_count(u) == wanted;
}

static void await(size_t n)
{
    wanted = n;
    if (!lh_test_run_until(loop, counted, NULL))
        fail_msg("%zu Pods, not %zu", uninjected_count(u), n);
}

static double series(const char *ns)
{
    return lh_metric_value(&uninjected_metrics[0], LH_LABELS(ns));
}

static void lost_pods_are_counted_and_told_once(void **state)
{
    (void)state;
    put("shop", "a", ASKS, "");
    put("shop", "b", ASKS "," INJECTED, "");
    put("shop", "c", "", "");
    start();
    await(1);
    assert_int_equal(series("shop"), 1);
    assert_int_equal(fake_api_count(api, "fieldSelector=status.phase%3DRunning"), 1);
    assert_non_null(strstr(fake_api_last_accept(api), "PartialObjectMetadata"));
    lh_test_step(loop, 1000, 100);
    assert_int_equal(told, 1);
    assert_string_equal(last, "shop/a u-a asks for secrets (leasehold.dev/secret.d");

    /* An update of it, and a whole new list, tell nothing new. */
    put("shop", "a", ASKS ",\"x\":\"y\"", "");
    put("bank", "d", ASKS, "");
    await(2);
    lh_test_step(loop, 1000, 100);
    assert_int_equal(told, 2);
    assert_int_equal(series("bank"), 1);

    /* Gone, on its way out, or mended. */
    fake_api_delete(api, "v1/pods", "bank", "d");
    await(1);
    assert_int_equal(series("bank"), 0);
    put("shop", "a", ASKS, ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"");
    await(0);
    assert_int_equal(series("shop"), 0);
    assert_int_equal(told, 2);
}

static void a_flood_is_told_slowly(void **state)
{
    char name[16];

    (void)state;
    for (int i = 0; i < 30; i++) {
        snprintf(name, sizeof(name), "p%d", i);
        put("shop", name, ASKS, "");
    }
    start();
    await(30);
    lh_test_step(loop, 1000, 10);
    assert_in_range(told, UNINJECTED_TOLD_PER_SECOND, UNINJECTED_TOLD_PER_SECOND + 1);
    fake_api_delete(api, "v1/pods", "shop", "p29"); /* gone before its turn */
    await(29);
    lh_test_step(loop, 5000, 10);
    assert_int_equal(told, 29);
}

static void many_namespaces_share_a_series(void **state)
{
    char name[16];

    (void)state;
    for (int i = 0; i < UNINJECTED_NAMESPACES_MAX + 20; i++) {
        snprintf(name, sizeof(name), "ns%d", i);
        put(name, "p", ASKS, "");
    }
    start();
    await(UNINJECTED_NAMESPACES_MAX + 20);
    assert_int_equal(series("ns0"), 1);
    assert_int_equal(series("other"), 20);
    fake_api_delete(api, "v1/pods", "ns119", "p");
    fake_api_delete(api, "v1/pods", "ns0", "p");
    await(UNINJECTED_NAMESPACES_MAX + 18);
    assert_int_equal(series("other"), 19);
    put("ns0", "p", ASKS, ""); /* the place is free again */
    await(UNINJECTED_NAMESPACES_MAX + 19);
    assert_int_equal(series("ns0"), 1);
}

int main(void)
{
    struct CMUnitTest tests[LH_ARRAY_LEN(rows) + 4];
    size_t n = 0;

    if (lh_http_global_init(NULL) < 0)
        return 1;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++)
        tests[n++] = (struct CMUnitTest){rows[i].name, tells_by_annotations, NULL, NULL, &rows[i]};
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(nothing_is_no_pod);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test_setup_teardown(
        lost_pods_are_counted_and_told_once, setup, teardown);
    tests[n++] =
        (struct CMUnitTest)cmocka_unit_test_setup_teardown(a_flood_is_told_slowly, setup, teardown);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test_setup_teardown(many_namespaces_share_a_series,
                                                                    setup, teardown);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
