/* SPDX-License-Identifier: Apache-2.0 */
/* Secret copies over the fake API server and the fake secret manager: what a real cluster shows
 * only by luck. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "copies.h"
#include "fake_api.h"
#include "fake_provider.h"
#include "leasehold/codec/base64.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/rand.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/http/client.h"
#include "leasehold/lease/schedule.h"
#include "ledger.h"
#include "shared_login.h"
#include "support.h"

#define PROJECTIONS "leasehold.dev/v1alpha1/secretprojections"
#define WRITES      "PATCH /api/v1/namespaces/shop/secrets/"
#define READS       "GET /api/v1/namespaces/shop/secrets/"
#define STATUSES    "/status?"

enum { MANY = 40, PATHS = 20, SEC = 1000, MIN = 60 * SEC };

static struct {
    struct lh_loop *loop;
    struct fake_api *api;
    struct lh_kube *kube;
    struct lh_objects *objects;
    struct ledger *ledger;
    struct lh_secret *key;
    struct copies *s;
    struct cluster_options options;
    int64_t term;
    bool leads, loaded;
    unsigned held;
    char held_id[64];
} t;

static char *const namespaces[] = {(char[]){"shop"}, NULL};
static char *const addresses[] = {NULL};

static const char store_json[] =
    "{\"apiVersion\":\"leasehold.dev/v1alpha1\",\"kind\":\"SecretStore\",\"metadata\":{\"name\":"
    "\"vault\",\"namespace\":\"shop\"},\"spec\":{\"vault\":{\"addresses\":[\"https://"
    "vault.example:8200\"],\"kv2Mounts\":[\"secret\"],\"auth\":{\"jwt\":{\"mount\":\"jwt\","
    "\"role\":\"app\",\"audience\":\"vault\"}}},\"refresh\":{\"default\":\"5m\",\"min\":\"10s\"}}}";

static bool leads(void *arg)
{
    (void)arg;
    return t.leads;
}

static void on_held(void *arg, const char *id, size_t waiting)
{
    (void)arg;
    (void)waiting;
    t.held++;
    snprintf(t.held_id, sizeof(t.held_id), "%s", id);
}

static void on_loaded(void *arg)
{
    (void)arg;
    t.loaded = true;
}

static int access_for(void *arg, const struct ledger_record *rec, struct ledger_access *out,
                      struct lh_err *err)
{
    (void)arg;
    (void)rec;
    (void)out;
    return lh_err_set(err, LH_E_NOTFOUND, "the store is gone");
}

static bool belongs(void *arg, const struct ledger_record *rec)
{
    (void)arg;
    return copies_has_uid(t.s, rec->uid);
}

static void on_settled(void *arg, const char *uid)
{
    (void)arg;
    copies_uid_settled(t.s, uid);
}

static void on_store(void *arg, struct lh_store *store, bool gone)
{
    (void)arg;
    (void)gone;
    if (t.s)
        copies_store_changed(t.s, store);
}

static void run(lh_ms ms)
{
    lh_ms step = ms > 100 * SEC ? ms / 100 : ms > 2 * SEC ? SEC : 20;

    for (lh_ms at = 0; at < ms; at += step) {
        lh_clock_step(step);
        for (int i = 0; i < 16; i++)
            lh_loop_turn(t.loop, 0);
    }
}

static bool until(bool (*cond)(void))
{
    for (unsigned i = 0; i < 20000 && !cond(); i++) {
        lh_clock_step(2);
        lh_loop_turn(t.loop, 0);
    }
    return cond();
}

static int connect_all(void)
{
    const struct ledger_options l = {.loop = t.loop,
                                     .kube = t.kube,
                                     .namespace_ = "ops",
                                     .name = "ledger",
                                     .provider = &fake_provider_ops,
                                     .access = access_for,
                                     .belongs = belongs,
                                     .loaded = on_loaded,
                                     .settled = on_settled};
    const struct lh_objects_events ev = {.store = on_store};
    struct copies_parts parts = {.loop = t.loop,
                                 .kube = t.kube,
                                 .o = &t.options,
                                 .namespaces = namespaces,
                                 .allow_addresses = addresses,
                                 .leads = leads,
                                 .held = on_held};
    int rc = lh_objects_from_cluster(t.kube, LH_WATCH_STORES | LH_WATCH_NAMESPACES, &ev, &t.objects,
                                     NULL);

    parts.objects = t.objects;
    if (rc == 0)
        rc = ledger_new(&l, &t.ledger, NULL);
    return rc < 0 ? rc : copies_new(&parts, &t.s, NULL);
}

static int setup(void **state)
{
    struct lh_kube_config cfg = {0};
    int rc;

    (void)state;
    memset(&t, 0, sizeof(t));
    t.leads = true;
    t.options.cluster_name = "c1";
    lh_clock_fake(1000000, lh_clock_wall_ms()); /* TLS looks at real time */
    lh_rand_seed(13);
    fake_reset();
    rc = lh_loop_new(&t.loop, NULL);
    if (rc == 0)
        rc = fake_api_new(t.loop, &t.api, NULL);
    if (rc == 0)
        rc = fake_api_config(t.api, &cfg, NULL);
    if (rc == 0)
        rc = lh_kube_new(t.loop, &cfg, "test", &t.kube, NULL);
    lh_kube_config_done(&cfg);
    if (rc == 0)
        rc = lh_secret_copy("0123456789abcdef0123456789abcdef", 32, &t.key, NULL);
    if (rc < 0)
        return rc;
    fake_api_put(t.api, "v1/namespaces", "{\"metadata\":{\"name\":\"shop\"}}");
    fake_api_put(t.api, "v1/secrets",
                 "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"ledger\","
                 "\"namespace\":\"ops\"},\"type\":\"Opaque\"}");
    fake_api_put(t.api, "leasehold.dev/v1alpha1/secretstores", store_json);
    return connect_all();
}

static int teardown(void **state)
{
    (void)state;
    fake_api_fault_clear(t.api);
    copies_free(t.s);
    t.s = NULL;
    ledger_free(t.ledger);
    lh_objects_free(t.objects);
    lh_secret_free(t.key);
    lh_kube_free(t.kube);
    fake_api_free(t.api);
    lh_loop_free(t.loop);
    lh_metrics_reset();
    lh_clock_real();
    return 0;
}

static bool is_known(void)
{
    return copies_synced(t.s) && t.loaded;
}

static void lead(void)
{
    struct copies_term term = {.hash_key = t.key, .ledger = t.ledger};

    t.leads = true;
    t.loaded = false;
    term.number = ++t.term;
    ledger_start(t.ledger, t.term);
    assert_true(until(is_known));
    ledger_synced(t.ledger);
    assert_int_equal(copies_start(t.s, &term, NULL), 0);
}

static void lose(void)
{
    t.leads = false;
    copies_stop(t.s);
    ledger_stop(t.ledger);
}

/* Projection pN with a copy sN of one path. */
static void project_with(int i, const char *path, const char *meta)
{
    char text[512];

    snprintf(text, sizeof(text),
             "{\"apiVersion\":\"leasehold.dev/v1alpha1\",\"kind\":\"SecretProjection\","
             "\"metadata\":{\"name\":\"p%d\",\"namespace\":\"shop\"%s},\"spec\":{\"storeRef\":"
             "{\"kind\":\"SecretStore\",\"name\":\"vault\"},\"serviceAccountName\":\"web\","
             "\"items\":[{\"name\":\"a\",\"path\":\"%s\"}],\"kubernetesSecret\":{\"name\":"
             "\"s%d\"}}}",
             i, meta, path, i);
    fake_api_put(t.api, PROJECTIONS, text);
}

static void project(int i, const char *path)
{
    project_with(i, path, "");
}

static void project_kv(int i)
{
    char path[32];

    snprintf(path, sizeof(path), "secret/app/%d", i % PATHS);
    fake_kv(path, "v1");
    project(i, path);
}

static void force_first(void)
{
    project_with(0, "secret/app/0", ",\"annotations\":{\"leasehold.dev/force-sync\":\"now\"}");
}

static size_t ready(void)
{
    struct copies_count n;

    copies_count(t.s, &n);
    return n.ready;
}

static bool one_is_ready(void)
{
    return ready() == 1;
}

static bool many_are_ready(void)
{
    return ready() == MANY;
}

/* Is this what the copy sN says? */
static bool says(int i, const char *want)
{
    lh_auto_buf struct lh_buf b;
    struct lh_str text;
    char name[16];

    snprintf(name, sizeof(name), "s%d", i);
    lh_buf_init(&b, 64);
    if (!lh_json_str(
            lh_json_path(fake_api_get(t.api, "v1/secrets", "shop", name), "data", "password", NULL),
            &text))
        return false;
    return lh_base64_decode(text, &b, NULL) == 0 && lh_str_eqz(lh_buf_peek(&b), want);
}

static void lead_many(void)
{
    for (int i = 0; i < MANY; i++)
        project_kv(i);
    lead();
    assert_true(until(many_are_ready));
}

static void hold_a_write(void)
{
    fake_api_fault(t.api, &(struct fake_api_fault){.method = "PATCH",
                                                   .prefix = "/api/v1/namespaces/shop/secrets/",
                                                   .times = 1,
                                                   .hold = true});
}

/* ---- a life ---- */

static void a_copy_costs_two_writes_and_then_nothing(void **state)
{
    (void)state;
    lead_many();
    run(2 * SEC);
    assert_int_equal(fake_api_count(t.api, WRITES), MANY);
    assert_int_equal(fake_api_count(t.api, STATUSES), MANY);
    assert_int_equal(fake_api_count(t.api, READS), 0);
    assert_int_equal(fake_count(FAKE_READ, NULL), MANY);
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), 1);
    assert_true(says(MANY - 1, "v1"));
    fake_api_forget_requests(t.api);
    run(15 * MIN); /* looked at thrice: at versions, not at values */
    assert_int_equal(fake_api_count(t.api, "PATCH"), 0);
    assert_int_equal(fake_count(FAKE_READ, NULL), MANY);
    assert_true(fake_count(FAKE_PROBE, NULL) >= 2 * MANY);
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), 1);
}

static void a_new_version_reaches_a_settled_copy(void **state)
{
    (void)state;
    lead_many();
    run(MIN);
    fake_kv("secret/app/0", "v2");
    run(6 * MIN);
    assert_true(says(0, "v2"));
    assert_int_equal(fake_api_count(t.api, WRITES), MANY + MANY / PATHS);
}

static void an_edit_and_a_wish_reach_a_settled_copy(void **state)
{
    (void)state;
    project_kv(0);
    project_kv(1);
    lead();
    run(MIN);
    assert_int_equal(ready(), 2);
    fake_kv("secret/app/0", "v2");
    fake_kv("secret/other", "v3");
    force_first();
    project(1, "secret/other");
    run(5 * SEC);
    assert_true(says(0, "v2"));
    assert_true(says(1, "v3"));
}

static void what_somebody_changed_in_a_settled_copy_is_put_right(void **state)
{
    const lh_json *was;
    lh_auto_json lh_json *other = NULL;
    lh_auto_buf struct lh_buf b;

    (void)state;
    project_kv(0);
    project_kv(1);
    lead();
    run(MIN);
    was = fake_api_get(t.api, "v1/secrets", "shop", "s0");
    assert_non_null(was);
    other = lh_json_deep_copy(was);
    lh_json_set(lh_json_mut(lh_json_get(other, "data")), "password", lh_json_new_z("eA=="));
    lh_buf_init(&b, 65536);
    lh_json_write(other, LH_JSON_COMPACT, &b);
    lh_buf_put_c(&b, '\0');
    fake_api_put(t.api, "v1/secrets", lh_buf_peek(&b).p);
    run(5 * SEC);
    assert_true(says(0, "v1"));
}

/* ---- a write under way ---- */

static bool is_written(void)
{
    return fake_api_count(t.api, WRITES) > 0;
}

static void while_a_write_is_under_way_there_is_no_other(void **state)
{
    (void)state;
    hold_a_write();
    project_kv(0);
    lead();
    assert_true(until(is_written));
    fake_kv("secret/app/0", "v2");
    force_first();
    run(5 * SEC);
    assert_int_equal(fake_api_count(t.api, WRITES), 1);
    assert_int_equal(fake_api_count(t.api, STATUSES), 0);
    assert_int_equal(ready(), 0);
    fake_api_let_go(t.api);
    assert_true(until(one_is_ready));
    run(5 * SEC);
    assert_true(says(0, "v2"));
    assert_int_equal(fake_api_count(t.api, WRITES), 2);
}

static void a_lease_lost_in_the_middle_stops_after_the_write_that_was_sent(void **state)
{
    (void)state;
    hold_a_write();
    project_kv(0);
    lead();
    assert_true(until(is_written));
    t.leads = false; /* by our own clock; nobody was told yet */
    fake_api_let_go(t.api);
    run(5 * SEC);
    assert_int_equal(fake_api_count(t.api, WRITES), 1);
    assert_int_equal(fake_api_count(t.api, STATUSES), 0);
    lose();
    run(5 * SEC);
    lead();
    assert_true(until(one_is_ready));
    run(2 * SEC);
    /* What was written is found, and said; it is not written twice. */
    assert_int_equal(fake_api_count(t.api, WRITES), 1);
    assert_int_equal(fake_api_count(t.api, STATUSES), 1);
}

static void another_leader_meanwhile_finds_settled_copies(void **state)
{
    (void)state;
    lead_many();
    run(MIN);
    lose();
    assert_int_equal(ready(), 0);
    fake_api_forget_requests(t.api);
    lead();
    assert_true(until(many_are_ready));
    run(2 * SEC);
    assert_int_equal(fake_api_count(t.api, WRITES), 0);
    assert_int_equal(fake_api_count(t.api, STATUSES), 0);
}

/* ---- the API server away ---- */

static void an_api_server_that_is_away_costs_no_read_of_the_manager(void **state)
{
    (void)state;
    fake_api_fault(t.api, &(struct fake_api_fault){.method = "PATCH",
                                                   .prefix = "/api/v1/namespaces/shop/secrets/"});
    project_kv(0);
    lead();
    run(2 * MIN);
    assert_int_equal(ready(), 0);
    assert_true(fake_api_count(t.api, WRITES) >= 3);
    assert_int_equal(fake_count(FAKE_READ, NULL), 1);
    assert_int_equal(fake_api_count(t.api, STATUSES), 0); /* nobody is there to be told */
    fake_api_fault_clear(t.api);
    run(6 * MIN);
    assert_int_equal(ready(), 1);
    assert_true(says(0, "v1"));
    assert_int_equal(fake_count(FAKE_READ, NULL), 1);
}

static void an_answer_that_got_lost_is_found_in_the_secret(void **state)
{
    (void)state;
    fake_api_fault(t.api, &(struct fake_api_fault){.method = "PATCH",
                                                   .prefix = "/api/v1/namespaces/shop/secrets/",
                                                   .times = 1,
                                                   .after = true});
    project_kv(0);
    lead();
    run(MIN);
    assert_int_equal(ready(), 1);
    assert_int_equal(fake_count(FAKE_READ, NULL), 1);
    assert_true(says(0, "v1"));
}

/* ---- a mass of deletions ---- */

static bool is_held(void)
{
    return t.held > 0;
}

static void a_mass_of_deletions_waits_for_a_word(void **state)
{
    unsigned live;

    (void)state;
    fake_role("database/creds/x", 3600 * SEC, 0, true);
    for (int i = 0; i < MANY; i++)
        project(i, "database/creds/x");
    lead();
    assert_true(until(many_are_ready));
    assert_int_equal(fake_issued(NULL), MANY);
    for (int i = 0; i < MANY; i++) {
        char name[16];

        snprintf(name, sizeof(name), "p%d", i);
        fake_api_delete(t.api, PROJECTIONS, "shop", name);
    }
    assert_true(until(is_held));
    run(MIN);
    live = fake_live(NULL);
    assert_true(live >= MANY / 2);
    assert_int_equal(t.held, 1);
    copies_confirm_deletions(t.s, "something else");
    run(10 * SEC);
    assert_int_equal(fake_live(NULL), live);
    copies_confirm_deletions(t.s, t.held_id);
    run(5 * MIN);
    assert_int_equal(fake_live(NULL), 0);
    assert_int_equal(fake_issued(NULL), MANY);
}

static void a_drain_of_settled_copies_logs_in_nowhere(void **state)
{
    struct lh_drain_report r = {0};

    (void)state;
    lead_many();
    run(MIN);
    copies_drain(t.s, LH_DRAIN_DELETE);
    run(MIN);
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), 1);
    assert_int_equal(fake_tokens(), 0);
    assert_null(fake_api_get(t.api, "v1/secrets", "shop", "s0"));
    assert_int_equal(copies_drain_report(t.s, &r, NULL), 0);
    assert_int_equal(r.projections, 0);
    lh_drain_report_done(&r);
    copies_drain(t.s, LH_DRAIN_NOT);
    assert_true(until(many_are_ready));
    assert_true(says(0, "v1"));
}

static void more_than_have_a_turn_all_come_in(void **state)
{
    (void)state;
    fake.latency_ms = 400;
    for (int i = 0; i < 300; i++)
        project_kv(i);
    lead();
    run(20 * SEC);
    assert_int_equal(ready(), 300);
    assert_int_equal(fake_count(FAKE_READ, NULL), 300);
}

static void a_store_that_does_not_answer_holds_up_no_other_for_long(void **state)
{
    (void)state;
    fake_rule_add(&(struct fake_rule){.op = FAKE_READ,
                                      .path = "secret/slow",
                                      .code = LH_E_UNAVAILABLE,
                                      .status = 500,
                                      .reason = "ManagerError"});
    fake_kv("secret/slow", "v1");
    for (int i = 1; i < 300; i++)
        project(i, "secret/slow");
    project_kv(0);
    lead();
    run(10 * SEC);
    assert_int_equal(ready(), 1);
    assert_true(says(0, "v1"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_copy_costs_two_writes_and_then_nothing),
        T(a_new_version_reaches_a_settled_copy),
        T(an_edit_and_a_wish_reach_a_settled_copy),
        T(what_somebody_changed_in_a_settled_copy_is_put_right),
        T(while_a_write_is_under_way_there_is_no_other),
        T(a_lease_lost_in_the_middle_stops_after_the_write_that_was_sent),
        T(another_leader_meanwhile_finds_settled_copies),
        T(an_api_server_that_is_away_costs_no_read_of_the_manager),
        T(an_answer_that_got_lost_is_found_in_the_secret),
        T(a_mass_of_deletions_waits_for_a_word),
        T(a_drain_of_settled_copies_logs_in_nowhere),
        T(more_than_have_a_turn_all_come_in),
        T(a_store_that_does_not_answer_holds_up_no_other_for_long),
    };

    lh_mem_init();
    lh_json_init();
    lh_crypto_init(NULL);
    if (lh_http_global_init(NULL) < 0)
        return 1;
    lh_log_init("test", LH_LOG_OFF, 2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
