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
#include "leasehold/http/client.h"
#include "leasehold/kube/client.h"
#include "leasehold/objects/objects.h"
#include "support.h"

#define STORES         "leasehold.dev/v1alpha1/secretstores"
#define CLUSTER_STORES "leasehold.dev/v1alpha1/clustersecretstores"
#define PROJECTIONS    "leasehold.dev/v1alpha1/secretprojections"
#define NAMESPACES     "v1/namespaces"

#define META(name)        "\"metadata\":{\"name\":\"" name "\"}"
#define META_IN(ns, name) "\"metadata\":{\"name\":\"" name "\",\"namespace\":\"" ns "\"}"
#define SPEC(role, more)                                                                           \
    "\"spec\":{\"vault\":{\"addresses\":[\"https://vault.example:8200\"],\"auth\":{\"jwt\":{"      \
    "\"mount\":\"jwt\",\"role\":" role ",\"audience\":\"vault\"}}}" more "}"
#define STORE(role)                                                                                \
    "{\"apiVersion\":\"leasehold.dev/v1alpha1\",\"kind\":\"SecretStore\"," META_IN(                \
        "shop", "a") "," SPEC(role, "") "}"
#define CLUSTER_STORE(role)                                                                        \
    "{\"apiVersion\":\"leasehold.dev/v1alpha1\",\"kind\":\"ClusterSecretStore\"," META(            \
        "vault") "," SPEC(role,                                                                    \
                          ",\"allow\":[{\"namespaces\":[\"shop\"],\"paths\":[\"secret/*\"]}]") "}"
#define PROJECTION                                                                                 \
    "{\"apiVersion\":\"leasehold.dev/v1alpha1\",\"kind\":\"SecretProjection\"," META_IN(           \
        "shop", "p") ","                                                                           \
                     "\"spec\":{\"storeRef\":{\"kind\":\"ClusterSecretStore\",\"name\":\"vault\"}" \
                     ",\"items\":[{\"name\":\"db\","                                               \
                     "\"path\":\"secret/db\"}]}}"
#define NAMESPACE(team)                                                                            \
    "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"shop\",\"labels\":{"   \
    "\"team\":\"" team "\"},\"managedFields\":[{}]},\"spec\":{}}"

static struct lh_loop *loop;
static struct fake_api *api;
static struct lh_kube *kube;
static struct lh_objects *objects;
static struct lh_buf events;
static unsigned long fail_at; /* behind the first object this allocation fails */

static void on_store(void *arg, struct lh_store *s, bool gone)
{
    (void)arg;
    lh_buf_printf(&events, "%c%s/%s=%s\n", gone ? '-' : '+', lh_store_kind(s), s->name,
                  s->vault.auth.role);
    if (fail_at > 0)
        lh_mem_fail_at(fail_at);
    fail_at = 0;
}

static void on_projection(void *arg, const struct lh_projection *p, bool gone)
{
    (void)arg;
    lh_buf_printf(&events, "%cprojection/%s\n", gone ? '-' : '+', p->name);
}

static void on_namespace(void *arg, const char *name)
{
    (void)arg;
    lh_buf_printf(&events, "~namespace/%s\n", name);
}

static void on_synced(void *arg)
{
    (void)arg;
    lh_buf_put_z(&events, "synced\n");
    lh_mem_fail_at(0);
}

static void on_bad(void *arg, const struct lh_err *err)
{
    (void)arg;
    lh_buf_printf(&events, "bad %s\n",
                  strstr(err->msg, "ClusterSecretStore") ? "ClusterSecretStore" : err->msg);
}

static int setup(void **state)
{
    (void)state;
    objects = NULL;
    fail_at = 0;
    lh_buf_init(&events, 1 << 16);
    lh_buf_put_z(&events, "");
    return fake_api_cluster(&loop, &api, &kube);
}

static int teardown(void **state)
{
    (void)state;
    lh_objects_free(objects);
    lh_kube_free(kube);
    kube = NULL;
    fake_api_free(api);
    api = NULL;
    lh_loop_free(loop);
    lh_buf_done(&events);
    lh_clock_real();
    return 0;
}

static void start(unsigned what)
{
    static const struct lh_objects_events handlers = {.store = on_store,
                                                      .projection = on_projection,
                                                      .namespace_ = on_namespace,
                                                      .synced = on_synced,
                                                      .bad = on_bad};
    struct lh_err err = {0};

    if (lh_objects_from_cluster(kube, what, &handlers, &objects, &err) < 0)
        fail_msg("%s", err.msg);
}

static const char *wanted;

static bool events_are(void *arg)
{
    (void)arg;
    lh_clock_step(50);
    return strcmp(lh_buf_peek(&events).p, wanted) == 0;
}

static void await(const char *want)
{
    wanted = want;
    if (!lh_test_run_until(loop, events_are, NULL))
        fail_msg("came:\n%swanted:\n%s", lh_buf_peek(&events).p, want);
    lh_buf_reset(&events);
    lh_buf_put_z(&events, "");
}

static bool is_synced(void *arg)
{
    (void)arg;
    return lh_objects_synced(objects);
}

static void start_synced(unsigned what)
{
    start(what);
    assert_false(lh_objects_synced(objects));
    assert_true(lh_test_run_until(loop, is_synced, NULL));
    lh_buf_reset(&events);
    lh_buf_put_z(&events, "");
}

static void follows_stores(void **state)
{
    struct lh_store *s;

    (void)state;
    fake_api_put(api, CLUSTER_STORES, CLUSTER_STORE("\"r\""));
    start(LH_WATCH_STORES);
    await("+ClusterSecretStore/vault=r\nsynced\n");
    s = lh_objects_store(objects, true, NULL, "vault");
    assert_non_null(s);
    assert_true(s->uid && s->generation == 1);
    assert_null(lh_objects_store(objects, false, "shop", "a"));
    fake_api_put(api, STORES, STORE("\"q\""));
    await("+SecretStore/a=q\n");
    assert_non_null(lh_objects_store(objects, false, "shop", "a"));
    fake_api_put(api, CLUSTER_STORES, CLUSTER_STORE("\"r2\""));
    await("+ClusterSecretStore/vault=r2\n");
    fake_api_delete(api, CLUSTER_STORES, NULL, "vault");
    await("-ClusterSecretStore/vault=r2\n");
    assert_null(lh_objects_store(objects, true, NULL, "vault"));
}

static void is_synced_only_when_all_are(void **state)
{
    const struct fake_api_fault stall = {.prefix = "/api/v1/namespaces", .stall = true, .times = 1};

    (void)state;
    fake_api_fault(api, &stall);
    fake_api_put(api, STORES, STORE("\"q\""));
    start(LH_WATCH_STORES | LH_WATCH_NAMESPACES);
    await("+SecretStore/a=q\n");
    lh_test_step(loop, 3000, 100);
    assert_false(lh_objects_synced(objects));
    fake_api_fault_clear(api);
    await("synced\n");
}

/* A new list brings everything again; nobody needs to hear of what did not change. */
static void a_new_list_is_no_news(void **state)
{
    (void)state;
    fake_api_put(api, STORES, STORE("\"q\""));
    fake_api_put(api, NAMESPACES, NAMESPACE("a"));
    start_synced(LH_WATCH_STORES | LH_WATCH_NAMESPACES);
    fake_api_forget_requests(api);
    fake_api_put(api, CLUSTER_STORES, CLUSTER_STORE("\"r\""));
    await("+ClusterSecretStore/vault=r\n");
    fake_api_error_watches(api, 410);
    lh_test_step(loop, 20000, 100);
    fake_api_put(api, CLUSTER_STORES, CLUSTER_STORE("\"r2\""));
    await("+ClusterSecretStore/vault=r2\n");
    assert_int_equal(fake_api_count(api, "sendInitialEvents"), 3);
}

static void a_bad_object_is_told_once_and_dropped(void **state)
{
    (void)state;
    fake_api_put(api, CLUSTER_STORES, CLUSTER_STORE("\"r\""));
    start_synced(LH_WATCH_STORES);
    fake_api_put(api, CLUSTER_STORES, CLUSTER_STORE("7"));
    await("-ClusterSecretStore/vault=r\nbad ClusterSecretStore\n");
    assert_null(lh_objects_store(objects, true, NULL, "vault"));
    fake_api_error_watches(api, 410);
    lh_test_step(loop, 20000, 100);
    fake_api_put(api, STORES, STORE("\"q\""));
    await("+SecretStore/a=q\n");
    fake_api_put(api, CLUSTER_STORES, CLUSTER_STORE("\"r\""));
    await("+ClusterSecretStore/vault=r\n");
    fake_api_put(api, CLUSTER_STORES, CLUSTER_STORE("7"));
    await("-ClusterSecretStore/vault=r\nbad ClusterSecretStore\n");
}

static void follows_namespaces(void **state)
{
    struct lh_namespace ns;

    (void)state;
    fake_api_put(api, NAMESPACES, NAMESPACE("a"));
    start_synced(LH_WATCH_NAMESPACES);
    assert_true(lh_objects_namespace(objects, "shop", &ns));
    assert_string_equal(ns.name, "shop");
    assert_string_equal(lh_json_get_z(ns.labels, "team"), "a");
    assert_null(ns.annotations);
    assert_false(lh_objects_namespace(objects, "elsewhere", &ns));
    fake_api_put(api, NAMESPACES, NAMESPACE("b"));
    await("~namespace/shop\n");
    assert_true(lh_objects_namespace(objects, "shop", &ns));
    assert_string_equal(lh_json_get_z(ns.labels, "team"), "b");
    assert_non_null(strstr(fake_api_last_accept(api), "PartialObjectMetadata"));
    fake_api_delete(api, NAMESPACES, NULL, "shop");
    lh_test_step(loop, 1000, 10);
    for (int i = 0; i < 1000 && lh_objects_namespace(objects, "shop", &ns); i++)
        lh_loop_turn(loop, 10);
    assert_false(lh_objects_namespace(objects, "shop", &ns));
}

static void follows_projections(void **state)
{
    const struct lh_projection *const *all;
    size_t n;

    (void)state;
    fake_api_put(api, PROJECTIONS, PROJECTION);
    start(LH_WATCH_PROJECTIONS);
    await("+projection/p\nsynced\n");
    all = lh_objects_projections(objects, &n);
    assert_int_equal(n, 1);
    assert_string_equal(all[0]->namespace_, "shop");
    fake_api_delete(api, PROJECTIONS, "shop", "p");
    await("-projection/p\n");
    lh_objects_projections(objects, &n);
    assert_int_equal(n, 0);
}

struct found {
    int calls;
    char role[32];
};

static void on_found(void *arg, struct lh_store *s)
{
    struct found *f = arg;

    f->calls++;
    snprintf(f->role, sizeof(f->role), "%s", s ? s->vault.auth.role : "none");
}

static bool was_found(void *arg)
{
    return ((struct found *)arg)->calls > 0;
}

static void look_up(struct found *f, const char *name)
{
    *f = (struct found){0};
    assert_int_equal(
        lh_objects_lookup_store(objects, true, NULL, name, 300, on_found, f, NULL, NULL), 0);
    assert_int_equal(f->calls, 0);
    if (!lh_test_run_until(loop, was_found, f))
        fail_msg("no answer");
    assert_int_equal(f->calls, 1);
}

static void asks_for_a_store_that_is_not_there_yet(void **state)
{
    struct found f;

    (void)state;
    fake_api_deny(api, CLUSTER_STORES);
    start(LH_WATCH_STORES);
    lh_test_step(loop, 10, 10);
    fake_api_put(api, CLUSTER_STORES, CLUSTER_STORE("\"r\""));
    fake_api_deny(api, NULL);
    lh_objects_free(objects);
    objects = NULL;
    start_synced(LH_WATCH_STORES);
    fake_api_lose_watches(api);
    fake_api_forget_requests(api);

    look_up(&f, "vault"); /* known */
    assert_string_equal(f.role, "r");
    assert_int_equal(fake_api_requests(api), 0);
    fake_api_delete(api, CLUSTER_STORES, NULL, "vault");
    look_up(&f, "vault"); /* the watch did not say otherwise */
    assert_string_equal(f.role, "r");
    look_up(&f, "other");
    assert_string_equal(f.role, "none");
    assert_int_equal(fake_api_count(api, "clustersecretstores/other"), 1);
    fake_api_put(api, CLUSTER_STORES,
                 "{\"apiVersion\":\"leasehold.dev/v1alpha1\",\"kind\":\"ClusterSecretStore\"," META(
                     "late") "," SPEC("\"l\"", ",\"allow\":[{\"namespaces\":[\"shop\"],\"paths\":["
                                               "\"secret/*\"]}]") "}");
    look_up(&f, "late");
    assert_string_equal(f.role, "l");
    /* Only the watch knows when it goes: it is not kept. */
    assert_null(lh_objects_store(objects, true, NULL, "late"));
}

static bool step_and_was_found(void *arg)
{
    lh_clock_step(50);
    return was_found(arg);
}

static void does_not_wait_longer_than_it_may(void **state)
{
    const struct fake_api_fault stall = {
        .prefix = "/apis/leasehold.dev/v1alpha1/clustersecretstores/", .stall = true};
    struct found f = {0}, cancelled = {0};
    struct lh_store_lookup *l = NULL;
    lh_ms before;

    (void)state;
    start_synced(LH_WATCH_STORES);
    fake_api_fault(api, &stall);
    before = lh_clock_now();
    assert_int_equal(
        lh_objects_lookup_store(objects, true, NULL, "x", 300, on_found, &f, NULL, NULL), 0);
    assert_int_equal(
        lh_objects_lookup_store(objects, true, NULL, "x", 300, on_found, &cancelled, &l, NULL), 0);
    lh_store_lookup_cancel(l);
    assert_true(lh_test_run_until(loop, step_and_was_found, &f));
    assert_string_equal(f.role, "none");
    assert_in_range(lh_clock_now() - before, 300, 450);
    assert_int_equal(cancelled.calls, 0);
    /* What is under way ends with its owner. */
    f.calls = 0;
    assert_int_equal(
        lh_objects_lookup_store(objects, true, NULL, "x", 300, on_found, &f, NULL, NULL), 0);
    lh_objects_free(objects);
    objects = NULL;
    lh_test_step(loop, 1000, 100);
    assert_int_equal(f.calls, 0);
}

static bool has_three(void *arg)
{
    size_t n;

    (void)arg;
    lh_clock_step(200);
    lh_objects_stores(objects, &n);
    return n == 3;
}

#define STORE_OF(ns)                                                                               \
    "{\"apiVersion\":\"leasehold.dev/v1alpha1\",\"kind\":\"SecretStore\"," META_IN(                \
        ns, "a") "," SPEC("\"q\"", "") "}"

/* What cannot be kept is asked for again. */
static void recovers_from_want_of_memory(void **state)
{
    (void)state;
    fake_api_put(api, STORES, STORE_OF("one"));
    fake_api_put(api, STORES, STORE_OF("two"));
    fake_api_put(api, STORES, STORE_OF("three"));
    for (unsigned long n = 1; n <= 120; n += 2) {
        fail_at = n;
        start(LH_WATCH_STORES);
        if (!lh_test_run_until(loop, has_three, NULL))
            fail_msg("not all there when allocation %lu fails", n);
        lh_objects_free(objects);
        objects = NULL;
        lh_mem_fail_at(0);
    }
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(follows_stores),
        CASE(is_synced_only_when_all_are),
        CASE(a_new_list_is_no_news),
        CASE(a_bad_object_is_told_once_and_dropped),
        CASE(follows_namespaces),
        CASE(follows_projections),
        CASE(asks_for_a_store_that_is_not_there_yet),
        CASE(does_not_wait_longer_than_it_may),
        CASE(recovers_from_want_of_memory),
    };

    if (lh_http_global_init(NULL) < 0)
        return 1;
    return cmocka_run_group_tests_name("objects of a cluster", tests, NULL, NULL);
}
