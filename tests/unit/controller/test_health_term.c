/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "fake_api.h"
#include "health_term.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "leasehold/http/client.h"
#include "support.h"

#define EVENTS "POST /apis/events.k8s.io/v1/namespaces/"
#define H1     "00000000000000a1"
#define H2     "00000000000000a2"

static struct {
    struct lh_loop *loop;
    struct fake_api *api;
    struct lh_kube *kube;
    struct health_term *t;
    bool follower;
} w;

static bool may_write(void *arg)
{
    (void)arg;
    return !w.follower;
}

static int setup(void **state)
{
    (void)state;
    memset(&w, 0, sizeof(w));
    return fake_api_cluster(&w.loop, &w.api, &w.kube);
}

static int teardown(void **state)
{
    (void)state;
    health_term_free(w.t);
    lh_kube_free(w.kube);
    fake_api_free(w.api);
    lh_loop_free(w.loop);
    lh_metrics_reset();
    lh_clock_real();
    return 0;
}

static void start(bool restarts)
{
    const struct health_term_options opts = {.loop = w.loop,
                                             .kube = w.kube,
                                             .instance = "controller-0",
                                             .restarts = restarts,
                                             .may_write = may_write};
    struct lh_err err = {0};

    if (health_term_new(&opts, &w.t, &err) < 0)
        fail_msg("%s", err.msg);
}

static bool step_and_has(void *arg)
{
    lh_clock_step(100);
    return fake_api_count(w.api, arg) > 0;
}

static void await(const char *request)
{
    if (!lh_test_run_until(w.loop, step_and_has, (void *)(uintptr_t)request))
        fail_msg("no %s", request);
}

static void put_lost_pod(void)
{
    fake_api_put(w.api, "v1/pods",
                 "{\"metadata\":{\"name\":\"p\",\"namespace\":\"shop\",\"annotations\":{"
                 "\"leasehold.dev/secret.db\":\"kv/app\"}}}");
}

static const lh_json *body(void)
{
    static lh_json *last;

    lh_json_unref(last);
    last = NULL;
    lh_json_parse(fake_api_last_body(w.api), NULL, &last, NULL);
    return last;
}

static void a_lost_pod_gets_an_event(void **state)
{
    const lh_json *ev;

    (void)state;
    put_lost_pod();
    start(false);
    await(EVENTS "shop/events");
    ev = body();
    assert_string_equal(lh_json_get_z(ev, "reason"), "NotInjected");
    assert_string_equal(lh_json_get_z(ev, "type"), "Warning");
    assert_string_equal(lh_json_get_z(lh_json_get(ev, "regarding"), "kind"), "Pod");
    assert_string_equal(lh_json_get_z(lh_json_get(ev, "regarding"), "name"), "p");
    assert_string_equal(lh_json_get_z(ev, "reportingInstance"), "controller-0");
    assert_null(health_term_restarts(w.t));
    assert_non_null(health_term_stores(w.t));
}

static void a_restart_gets_an_event(void **state)
{
    lh_json *on_change = NULL;
    struct restarts_want want = {.namespace_ = "shop", .projection = "db", .hash = H2};
    const lh_json *ev;

    (void)state;
    fake_api_put(w.api, "apps/v1/deployments",
                 "{\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\",\"annotations\":{"
                 "\"" RESTART_STAMP "\":\"db=" H1 "\"}},\"spec\":{\"template\":{}},\"status\":{"
                 "\"observedGeneration\":9,\"conditions\":[{\"type\":\"Progressing\",\"reason\":"
                 "\"NewReplicaSetAvailable\"}]}}");
    start(true);
    lh_json_parse(LH_STR("{\"restart\":[{\"kind\":\"Deployment\",\"name\":\"web\"}]}"), NULL,
                  &on_change, NULL);
    want.on_change = on_change;
    assert_int_equal(restarts_set(health_term_restarts(w.t), &want, NULL), 0);
    lh_json_unref(on_change);
    restarts_start(health_term_restarts(w.t));
    await(EVENTS "shop/events");
    ev = body();
    assert_string_equal(lh_json_get_z(ev, "type"), "Normal");
    assert_string_equal(lh_json_get_z(ev, "action"), "Restart");
    assert_string_equal(lh_json_get_z(lh_json_get(ev, "regarding"), "kind"), "Deployment");
    assert_non_null(strstr(lh_json_get_z(ev, "note"), "SecretProjections changed: db"));
}

static void a_hold_gets_an_event_where_it_is_confirmed(void **state)
{
    const lh_json *ev;

    (void)state;
    start(false);
    health_term_held(w.t, "leasehold-system", "leasehold-controller", "7-1", 12);
    await(EVENTS "leasehold-system/events");
    ev = body();
    assert_string_equal(lh_json_get_z(ev, "reason"), "DeletionsHeld");
    assert_string_equal(lh_json_get_z(lh_json_get(ev, "regarding"), "kind"), "Lease");
    assert_non_null(strstr(lh_json_get_z(ev, "note"), "leasehold.dev/confirm-deletions=7-1"));
}

static void without_the_lead_nobody_is_told(void **state)
{
    (void)state;
    w.follower = true;
    put_lost_pod();
    start(false);
    await("GET /api/v1/pods");
    lh_test_step(w.loop, 5000, 100);
    assert_int_equal(fake_api_count(w.api, EVENTS), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_lost_pod_gets_an_event),
        T(a_restart_gets_an_event),
        T(a_hold_gets_an_event_where_it_is_confirmed),
        T(without_the_lead_nobody_is_told),
    };
    int rc;

    if (lh_http_global_init(NULL) < 0)
        return 1;
    lh_log_init("test", LH_LOG_OFF, 2);
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    return rc;
}
