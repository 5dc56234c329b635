/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "fake_api.h"
#include "fake_manager.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/rand.h"
#include "leasehold/http/client.h"
#include "leasehold/lease/schedule.h"
#include "store_health.h"
#include "support.h"

#define STORES  "leasehold.dev/v1alpha1/secretstores"
#define CSTORES "leasehold.dev/v1alpha1/clustersecretstores"
#define AUTH    "{\"jwt\":{\"role\":\"app\",\"audience\":\"vault\"}}"
#define WRITES  "PATCH /apis/leasehold.dev"

enum { WAITS = 40 };

static struct {
    struct lh_loop *loop;
    struct fake_api *api;
    struct fake_manager *manager;
    struct lh_kube *kube;
    struct store_health *h;
    struct store_wait *waits[WAITS];
    int order[4 * WAITS]; /* of wake-ups */
    lh_ms woken_at[4 * WAITS];
    unsigned woken, changes;
    char changed[200];
    bool leader;
    bool drop_when_gone; /* the last that waits ends in changed() */
} t;

static void on_wake(void *arg)
{
    t.order[t.woken % LH_ARRAY_LEN(t.order)] = (int)((struct store_wait **)arg - t.waits);
    t.woken_at[t.woken % LH_ARRAY_LEN(t.order)] = lh_clock_now();
    t.woken++;
}

static void on_changed(void *arg, bool cluster_scoped, const char *namespace_, const char *name,
                       bool ready, const char *reason)
{
    (void)arg;
    t.changes++;
    snprintf(t.changed, sizeof(t.changed), "%s %s/%s %s %s", cluster_scoped ? "C" : "N",
             namespace_ ? namespace_ : "", name, ready ? "ready" : "not ready",
             reason ? reason : "gone");
    if (!t.drop_when_gone || reason)
        return;
    store_wait_free(t.waits[0]);
    t.waits[0] = NULL;
}

static bool may_write(void *arg)
{
    (void)arg;
    return t.leader;
}

static int setup(void **state)
{
    struct fake_manager_options o = {0};
    int rc;

    (void)state;
    memset(&t, 0, sizeof(t));
    t.leader = true;
    lh_rand_seed(5);
    rc = fake_api_cluster(&t.loop, &t.api, &t.kube);
    if (rc < 0)
        return rc;
    o.server = fake_api_server(t.api);
    rc = fake_manager_new(t.loop, &o, &t.manager, NULL);
    return rc;
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAITS; i++)
        store_wait_free(t.waits[i]);
    store_health_free(t.h);
    lh_kube_free(t.kube);
    fake_manager_faults_clear(t.manager);
    fake_manager_free(t.manager);
    fake_api_free(t.api);
    lh_loop_free(t.loop);
    lh_metrics_reset();
    lh_clock_real();
    return 0;
}

static const struct store_ref store_ref = {false, "shop", "vault"};
static const struct store_ref cstore_ref = {true, NULL, "vault"};

static void start_with(bool loopback)
{
    const struct store_health_options opts = {.loop = t.loop,
                                              .kube = t.kube,
                                              .allow_loopback = loopback,
                                              .may_write = may_write,
                                              .changed = on_changed};
    struct lh_err err = {0};

    if (store_health_new(&opts, &t.h, &err) < 0)
        fail_msg("%s", err.msg);
}

static void start(void)
{
    start_with(true);
}

static void put(const struct fake_store *store)
{
    lh_auto_free char *json = fake_manager_store_json_with(t.manager, store);
    bool cluster = store->kind && strcmp(store->kind, "ClusterSecretStore") == 0;

    fake_api_put(t.api, cluster ? CSTORES : STORES, json);
}

static void put_store(void)
{
    put(&(struct fake_store){.auth = AUTH});
}

static void wait_for(size_t i, const struct store_ref *ref)
{
    assert_int_equal(store_wait_new(t.h, ref, on_wake, &t.waits[i], &t.waits[i], NULL), 0);
}

/* Ready's status and reason as the API server has them: "True Available"; "" for none. */
static const char *condition(const struct store_ref *ref)
{
    static char text[200];
    const lh_json *o = fake_api_get(t.api, ref->cluster_scoped ? CSTORES : STORES,
                                    ref->cluster_scoped ? NULL : ref->namespace_, ref->name);
    const lh_json *c = lh_json_at(lh_json_path(o, "status", "conditions", NULL), 0);

    if (c)
        snprintf(text, sizeof(text), "%s %s", lh_json_get_z(c, "status"),
                 lh_json_get_z(c, "reason"));
    return c ? text : "";
}

static const struct store_ref *looked_at;
static const char *wanted;

static bool is_condition(void *arg)
{
    (void)arg;
    return strcmp(condition(looked_at), wanted) == 0;
}

/* The same, while time passes. */
static bool step_and_is_condition(void *arg)
{
    lh_clock_step(50);
    return is_condition(arg);
}

static void await(const struct store_ref *ref, const char *want)
{
    looked_at = ref;
    wanted = want;
    if (!lh_test_run_until(t.loop, is_condition, NULL))
        fail_msg("condition is \"%s\", not \"%s\"", condition(ref), want);
}

static void await_in_time(const struct store_ref *ref, const char *want)
{
    looked_at = ref;
    wanted = want;
    if (!lh_test_run_until(t.loop, step_and_is_condition, NULL))
        fail_msg("condition is \"%s\", not \"%s\"", condition(ref), want);
}

/* Time passes; after each step there are turns enough for a question and its answer. */
static void pass(lh_ms ms)
{
    lh_ms step = ms > 20 * 1000 ? 1000 : 50;

    for (lh_ms at = 0; at < ms; at += step) {
        lh_clock_step(step);
        for (int i = 0; i < 20; i++)
            lh_loop_turn(t.loop, 0);
    }
}

static unsigned probes(void)
{
    return fake_manager_requests(t.manager, NULL, "sys/health");
}

static bool synced(void *arg)
{
    (void)arg;
    return store_health_synced(t.h);
}

static void a_store_that_answers_is_ready(void **state)
{
    struct store_health_info info;
    const lh_json *o, *c;

    (void)state;
    put_store();
    start();
    await(&store_ref, "True Available");
    o = fake_api_get(t.api, STORES, "shop", "vault");
    c = lh_json_at(lh_json_path(o, "status", "conditions", NULL), 0);
    assert_string_equal(lh_json_get_z(c, "type"), "Ready");
    assert_int_equal(lh_json_get_int(c, "observedGeneration", 0), 1);
    assert_int_equal(lh_json_get_int(lh_json_get(o, "status"), "observedGeneration", 0), 1);
    assert_null(lh_json_path(o, "status", "items", NULL));
    assert_int_equal(fake_api_count(t.api, "fieldManager=" STORE_HEALTH_MANAGER), 1);
    store_health_info(t.h, &store_ref, &info);
    assert_true(info.known && info.ready);
    assert_string_equal(info.reason, "Available");
    assert_int_equal(
        lh_metric_value(&store_health_metrics[0], LH_LABELS("SecretStore", "shop", "vault")), 1);
    store_health_info(t.h, &cstore_ref, &info);
    assert_false(info.known || info.ready);
    assert_int_equal(t.changes, 0);
}

/* Whom it allows, and what it fills in, is nothing to its health. */
static void a_store_that_admits_nobody_is_ready_too(void **state)
{
    (void)state;
    put(&(struct fake_store){.kind = "ClusterSecretStore",
                             .auth = "{\"jwt\":{\"role\":\"{namespace}\",\"mount\":\"k8s-{cluster}"
                                     "\",\"audience\":\"vault\"}}",
                             .vault = "\"namespace\":\"{namespace}\"",
                             .spec = "\"allow\":[]"});
    start();
    await(&cstore_ref, "True Available");
}

static void a_steady_state_asks_little_and_writes_nothing(void **state)
{
    unsigned asked;

    (void)state;
    put_store();
    start();
    await(&store_ref, "True Available");
    pass(10 * 60 * 1000); /* nobody depends on it */
    assert_int_equal(probes(), 1);
    pass(8 * 60 * 1000);
    assert_int_equal(probes(), 2);
    wait_for(0, &store_ref);
    pass(20 * 60 * 1000); /* verify is 2m */
    asked = probes() - 2;
    assert_in_range(asked, 9, 12);
    assert_int_equal(fake_api_count(t.api, WRITES), 1);
    assert_int_equal(t.woken, 0);
}

static void what_waits_is_woken_soonest_to_expire_first(void **state)
{
    unsigned asked;

    (void)state;
    put(&(struct fake_store){.auth = AUTH, .spec = "\"limits\":{\"requestsPerSecond\":20}"});
    start();
    await(&store_ref, "True Available");
    for (size_t i = 0; i < WAITS; i++) {
        wait_for(i, &store_ref);
        store_wait_expires(t.waits[i], (lh_ms)(100000 * (WAITS - i)));
    }
    fake_manager_seal(t.manager, true);
    store_wait_report(t.waits[3], &(struct lh_err){.code = LH_E_UNAVAILABLE});
    await_in_time(&store_ref, "False Sealed");
    assert_string_equal(t.changed, "N shop/vault not ready Sealed");
    assert_int_equal(
        lh_metric_value(&store_health_metrics[0], LH_LABELS("SecretStore", "shop", "vault")), 0);
    asked = probes();
    pass(10 * 1000); /* once a second, +-20 % */
    assert_in_range(probes() - asked, 8, 12);
    assert_int_equal(t.woken, 0);
    store_wait_free(t.waits[7]);
    t.waits[7] = NULL;
    fake_manager_seal(t.manager, false);
    await_in_time(&store_ref, "True Available");
    pass(3000);
    assert_int_equal(t.woken, WAITS - 1);
    assert_int_equal(t.order[0], WAITS - 1);
    assert_int_equal(t.order[WAITS - 2], 0);
    assert_in_range(t.woken_at[WAITS - 2] - t.woken_at[0], 1700, 2100); /* 39 at 20 a second */
    pass(60 * 1000);
    assert_int_equal(t.woken, WAITS - 1);
}

static void one_lost_answer_is_no_outage(void **state)
{
    (void)state;
    put_store();
    start();
    await(&store_ref, "True Available");
    wait_for(0, &store_ref);
    pass(5000);
    fake_manager_fault(t.manager,
                       &(struct fake_fault){.path = "sys/health", .kind = FAKE_DROP, .times = 1});
    store_wait_report(t.waits[0], &(struct lh_err){.code = LH_E_UNAVAILABLE});
    pass(5000);
    assert_string_equal(condition(&store_ref), "True Available");
    assert_int_equal(fake_api_count(t.api, WRITES), 1);
    fake_manager_fault(t.manager, &(struct fake_fault){.path = "sys/health", .kind = FAKE_DROP});
    store_wait_report(t.waits[0], &(struct lh_err){.code = LH_E_UNAVAILABLE});
    await_in_time(&store_ref, "False Unreachable");
    assert_int_equal(fake_api_count(t.api, WRITES), 2);
}

static struct broken_row {
    const char *name;
    struct fake_store store;
    bool no_loopback;
    const char *condition;
} broken[] = {
    {"an unknown field", {.auth = AUTH, .spec = "\"limit\":{}"}, .condition = "False StoreInvalid"},
    {"nobody listens",
     {.auth = AUTH, .addresses = "[\"https://127.0.0.1:1\"]"},
     .condition = "False Unreachable"},
    {"an address that the platform does not list",
     {.auth = AUTH},
     .no_loopback = true,
     .condition = "False AddressNotAllowed"},
};

static void names_what_is_wrong(void **state)
{
    const struct broken_row *r = *state;

    put(&r->store);
    start_with(!r->no_loopback);
    await(&store_ref, r->condition);
    assert_int_equal(probes(), 0);
}

static void a_wrong_name_on_the_certificate_is_named(void **state)
{
    lh_auto_free char *json =
        fake_manager_store_json_with(t.manager, &(struct fake_store){.auth = AUTH});
    char *name = strstr(json, FAKE_MANAGER_NAME);

    (void)state;
    name[0] = 'x';
    fake_api_put(t.api, STORES, json);
    start();
    await(&store_ref, "False CertificateInvalid");
    assert_int_equal(probes(), 0);
}

static void a_ca_of_the_pods_cannot_be_judged(void **state)
{
    struct store_health_info info;

    (void)state;
    fake_api_put(t.api, STORES,
                 "{\"apiVersion\":\"leasehold.dev/v1alpha1\",\"kind\":\"SecretStore\",\"metadata\":"
                 "{\"name\":\"vault\",\"namespace\":\"shop\"},\"spec\":{\"vault\":{\"addresses\":["
                 "\"https://127.0.0.1:1\"],\"caBundleRef\":{\"name\":\"a\",\"key\":\"b\"},"
                 "\"auth\":" AUTH "}}}");
    start();
    await(&store_ref, "Unknown HealthUnknown");
    store_health_info(t.h, &store_ref, &info);
    assert_true(info.ready);
}

static void a_mended_spec_is_seen_at_once(void **state)
{
    (void)state;
    put(&(struct fake_store){.auth = AUTH, .spec = "\"limit\":{}"});
    start();
    wait_for(0, &store_ref);
    await(&store_ref, "False StoreInvalid");
    put_store();
    await_in_time(&store_ref, "True Available");
    pass(1000);
    assert_int_equal(t.woken, 1);
    /* And another that is well: what hangs on the store may want something else of it. */
    put(&(struct fake_store){.auth = AUTH, .spec = "\"verify\":\"5m\""});
    pass(3000);
    assert_int_equal(t.woken, 2);
    assert_string_equal(condition(&store_ref), "True Available");
}

static void a_store_that_appears_wakes_and_one_that_goes_tells(void **state)
{
    struct store_health_info info;

    (void)state;
    start();
    assert_true(lh_test_run_until(t.loop, synced, NULL));
    wait_for(0, &store_ref);
    store_health_info(t.h, &store_ref, &info);
    assert_false(info.known);
    put_store();
    await(&store_ref, "True Available");
    pass(1000);
    assert_int_equal(t.woken, 1);
    t.drop_when_gone = true;
    fake_api_delete(t.api, STORES, "shop", "vault");
    pass(1000);
    assert_string_equal(t.changed, "N shop/vault not ready gone");
    store_health_info(t.h, &store_ref, &info);
    assert_false(info.known);
    assert_int_equal(
        lh_metric_value(&store_health_metrics[0], LH_LABELS("SecretStore", "shop", "vault")), 0);
}

static void without_the_lead_nothing_is_written(void **state)
{
    struct store_health_info info;

    (void)state;
    t.leader = false;
    put_store();
    start();
    pass(2000);
    store_health_info(t.h, &store_ref, &info);
    assert_string_equal(info.reason, "Available");
    assert_int_equal(fake_api_count(t.api, WRITES), 0);
}

static void a_write_that_fails_is_tried_again(void **state)
{
    (void)state;
    put_store();
    fake_api_fault(t.api, &(struct fake_api_fault){.method = "PATCH", .status = 500, .times = 2});
    start();
    await_in_time(&store_ref, "True Available");
    assert_int_equal(fake_api_count(t.api, WRITES), 3);
}

/* The spec changes while it is asked and while its status is written: the last one is judged. */
static void a_spec_that_changes_meanwhile_counts(void **state)
{
    (void)state;
    put_store();
    fake_manager_fault(t.manager,
                       &(struct fake_fault){.path = "sys/health", .kind = FAKE_STALL, .times = 1});
    start();
    pass(500);
    put(&(struct fake_store){.auth = AUTH, .spec = "\"limit\":{}"});
    await_in_time(&store_ref, "False StoreInvalid");
    fake_api_fault(t.api, &(struct fake_api_fault){.method = "PATCH", .stall = true});
    put_store();
    pass(1000);
    fake_api_fault_clear(t.api);
    fake_api_delete(t.api, STORES, "shop", "vault");
    pass(1000);
    put_store();
    await_in_time(&store_ref, "True Available");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    static const struct CMUnitTest rest[] = {
        T(a_store_that_answers_is_ready),
        T(a_store_that_admits_nobody_is_ready_too),
        T(a_steady_state_asks_little_and_writes_nothing),
        T(what_waits_is_woken_soonest_to_expire_first),
        T(one_lost_answer_is_no_outage),
        T(a_wrong_name_on_the_certificate_is_named),
        T(a_ca_of_the_pods_cannot_be_judged),
        T(a_mended_spec_is_seen_at_once),
        T(a_store_that_appears_wakes_and_one_that_goes_tells),
        T(without_the_lead_nothing_is_written),
        T(a_write_that_fails_is_tried_again),
        T(a_spec_that_changes_meanwhile_counts),
    };
    struct CMUnitTest tests[LH_ARRAY_LEN(broken) + LH_ARRAY_LEN(rest)];
    size_t n = 0;

    if (lh_http_global_init(NULL) < 0)
        return 1;
    lh_log_init("test", LH_LOG_OFF, 2);
    for (size_t i = 0; i < LH_ARRAY_LEN(broken); i++)
        tests[n++] =
            (struct CMUnitTest){broken[i].name, names_what_is_wrong, setup, teardown, &broken[i]};
    memcpy(tests + n, rest, sizeof(rest));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
