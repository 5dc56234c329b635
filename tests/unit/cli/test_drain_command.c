/* SPDX-License-Identifier: Apache-2.0 */
/* drain: what is asked for, who answers, what is left, and what is said about it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "drain.h"
#include "fake_api.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/http/client.h"

#define LEASES      "coordination.k8s.io/v1/leases"
#define PROJECTIONS "leasehold.dev/v1alpha1/secretprojections"
/* A lease of one second: whether anybody renews it is known soon. */
#define LEASE(holder, notes)                                                                       \
    "{\"metadata\":{\"name\":\"leasehold-controller\",\"namespace\":\"ops\"," notes "},\"spec\":{" \
    "\"leaseDurationSeconds\":1,\"renewTime\":\"2026-01-01T00:00:00.000000Z\"" holder "}}"
#define HELD ",\"holderIdentity\":\"pod-1\""

static struct {
    struct lh_loop *loop;
    struct fake_api *api;
    struct lh_kube_config cfg;
    struct lh_kube *kube;
    struct drain_options o;
    struct drain_result r;
    const char *status; /* what the leader is to say, once it is asked */
    struct lh_buf out, told;
    struct lh_err err;
} t;

/* The leader: answers when it was asked. */
static void on_progress(void *arg, const char *line)
{
    lh_auto_free char *json = NULL;

    (void)arg;
    lh_buf_printf(&t.told, "%s\n", line);
    if (!t.status)
        return;
    json = lh_asprintf(LEASE(HELD, "\"annotations\":{\"leasehold.dev/drain-status\":\"%s\"}"),
                       t.status);
    fake_api_put(t.api, LEASES, json);
    t.status = NULL;
}

static int setup(void **state)
{
    (void)state;
    memset(&t, 0, sizeof(t));
    lh_buf_init(&t.out, 65536);
    lh_buf_init(&t.told, 65536);
    if (lh_loop_new(&t.loop, &t.err) < 0 || fake_api_new(t.loop, &t.api, &t.err) < 0 ||
        fake_api_config(t.api, &t.cfg, &t.err) < 0 ||
        lh_kube_new(t.loop, &t.cfg, "test", &t.kube, &t.err) < 0)
        return -1;
    t.o = (struct drain_options){.loop = t.loop,
                                 .kube = t.kube,
                                 .namespace_ = "ops",
                                 .lease = "leasehold-controller",
                                 .copies = LH_DRAIN_KEEP,
                                 .timeout_ms = 30000,
                                 .poll_ms = 20,
                                 .progress = on_progress};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    drain_result_done(&t.r);
    lh_buf_done(&t.out);
    lh_buf_done(&t.told);
    lh_kube_free(t.kube);
    lh_kube_config_done(&t.cfg);
    fake_api_free(t.api);
    lh_loop_free(t.loop);
    return 0;
}

static const char *note(const char *key)
{
    return lh_json_get_z(lh_json_path(fake_api_get(t.api, LEASES, "ops", "leasehold-controller"),
                                      "metadata", "annotations", NULL),
                         key);
}

static const char *print(bool json)
{
    lh_buf_reset(&t.out);
    drain_print(&t.o, &t.r, json, &t.out);
    assert_int_equal(lh_buf_check(&t.out, NULL), 0);
    return lh_buf_peek(&t.out).p;
}

static void drained(void **state)
{
    (void)state;
    fake_api_put(t.api, LEASES, LEASE(HELD, "\"annotations\":{}"));
    t.status = "{\\\"copies\\\":\\\"Keep\\\",\\\"phase\\\":\\\"Drained\\\",\\\"total\\\":7}";
    assert_int_equal(drain_run(&t.o, &t.r, &t.err), 0);
    assert_true(drain_is_well(&t.r));
    assert_string_equal(t.r.holder, "pod-1");
    assert_non_null(strstr(print(false), "drained: nothing new"));
    assert_non_null(strstr(print(true), "\"done\": true"));
    assert_non_null(strstr(lh_buf_peek(&t.told).p, "waiting for the controller pod-1\n"));
}

/* What was said of another drain is not taken for the answer, and goes. */
static void an_old_answer_is_none(void **state)
{
    (void)state;
    fake_api_put(t.api, LEASES,
                 LEASE(HELD, "\"annotations\":{\"leasehold.dev/drain-status\":\"{\\\"copies\\\":"
                             "\\\"Delete\\\",\\\"phase\\\":\\\"Drained\\\"}\"}"));
    t.o.timeout_ms = 600;
    assert_int_equal(drain_run(&t.o, &t.r, &t.err), 0);
    assert_false(t.r.answered);
    assert_false(drain_is_well(&t.r));
    assert_string_equal(note(LH_DRAIN_REQUEST), "Keep");
    assert_null(note(LH_DRAIN_STATUS));
    assert_non_null(strstr(print(false), "did not take note in time"));
}

static void what_is_left_is_named(void **state)
{
    const char *out;

    (void)state;
    fake_api_put(t.api, LEASES, LEASE(HELD, "\"annotations\":{}"));
    fake_api_put(t.api, PROJECTIONS,
                 "{\"metadata\":{\"name\":\"db\",\"namespace\":\"shop\",\"finalizers\":[\"x/y\","
                 "\"leasehold.dev/revocation\"]}}");
    fake_api_put(
        t.api, PROJECTIONS,
        "{\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\",\"finalizers\":[\"x/y\"]}}");
    t.status = "{\\\"copies\\\":\\\"Keep\\\",\\\"phase\\\":\\\"Drained\\\",\\\"items\\\":[{"
               "\\\"kind\\\":\\\"Token\\\",\\\"namespace\\\":\\\"shop\\\",\\\"name\\\":\\\"db\\\","
               "\\\"store\\\":\\\"vault\\\",\\\"accessor\\\":\\\"a1\\\",\\\"reason\\\":"
               "\\\"RevocationGivenUp\\\",\\\"message\\\":\\\"m\\\"}]}";
    assert_int_equal(drain_run(&t.o, &t.r, &t.err), 0);
    assert_true(t.r.done);
    assert_false(drain_is_well(&t.r));
    assert_int_equal(lh_json_len(t.r.items), 2);
    out = print(false);
    assert_non_null(strstr(out, "Token shop/db: RevocationGivenUp: m\n  at the manager of store "
                                "vault: bao token revoke -accessor a1"));
    assert_non_null(strstr(out, "SecretProjection shop/db: it still has the finalizer"));
    assert_null(strstr(out, "shop/web"));
}

static void nobody_leads(void **state)
{
    (void)state;
    fake_api_put(t.api, LEASES, LEASE(HELD, "\"annotations\":{}"));
    assert_int_equal(drain_run(&t.o, &t.r, &t.err), 0);
    assert_true(t.r.away);
    assert_false(drain_is_well(&t.r));
    assert_string_equal(note(LH_DRAIN_REQUEST), "Keep"); /* obeyed when somebody is there again */
    assert_non_null(strstr(print(false), "nobody leads"));
    assert_non_null(strstr(print(true), "\"leads\": false"));
}

static void no_lease(void **state)
{
    (void)state;
    assert_int_equal(drain_run(&t.o, &t.r, &t.err), 0);
    assert_false(t.r.lease);
    assert_false(drain_is_well(&t.r));
    assert_non_null(strstr(print(false), "there is no such Lease"));
}

static void no_right(void **state)
{
    (void)state;
    fake_api_deny(t.api, LEASES);
    assert_int_equal(drain_run(&t.o, &t.r, &t.err), -LH_E_DENIED);
    assert_non_null(strstr(t.err.msg, "Lease ops/leasehold-controller"));
}

static void no_right_to_look(void **state)
{
    (void)state;
    fake_api_put(t.api, LEASES, LEASE(HELD, "\"annotations\":{}"));
    fake_api_deny(t.api, PROJECTIONS);
    t.status = "{\\\"copies\\\":\\\"Keep\\\",\\\"phase\\\":\\\"Drained\\\"}";
    assert_int_equal(drain_run(&t.o, &t.r, &t.err), 0);
    assert_true(t.r.done);
    assert_false(drain_is_well(&t.r));
    assert_non_null(strstr(print(false), "SecretProjections were not looked at"));
}

static void taken_back(void **state)
{
    (void)state;
    t.o.copies = LH_DRAIN_NOT;
    fake_api_put(t.api, LEASES, LEASE(HELD, "\"annotations\":{\"leasehold.dev/drain\":\"Keep\"}"));
    assert_int_equal(drain_run(&t.o, &t.r, &t.err), 0);
    assert_true(drain_is_well(&t.r));
    assert_null(note(LH_DRAIN_REQUEST));
    assert_non_null(strstr(print(false), "taken back"));
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(drained),
        CASE(an_old_answer_is_none),
        CASE(what_is_left_is_named),
        CASE(nobody_leads),
        CASE(no_lease),
        CASE(no_right),
        CASE(no_right_to_look),
        CASE(taken_back),
    };

    if (lh_crypto_init(NULL) < 0 || lh_http_global_init(NULL) < 0)
        return 1;
    return cmocka_run_group_tests_name("drain", tests, NULL, NULL);
}
