/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "fake_api.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "leasehold/http/client.h"
#include "restarts.h"
#include "support.h"

#define DEPLOYMENTS "apps/v1/deployments"
#define PDBS        "policy/v1/poddisruptionbudgets"
#define H1          "00000000000000a1"
#define H2          "00000000000000a2"
#define H3          "00000000000000a3"
#define WRITES      "PATCH /apis/apps/v1/"
#define READS       "GET /apis/apps/v1/"

enum { SETTLE = 10 * 1000, GAP = 5 * 60 * 1000, WINDOW = 60 * 1000 };

static struct {
    struct lh_loop *loop;
    struct fake_api *api;
    struct lh_kube *kube;
    struct restarts *r;
    unsigned told, restarted;
    char condition[300]; /* "db True Fresh: message" */
    char last[200];
    bool follower;
} t;

static void on_condition(void *arg, const char *namespace_, const char *projection,
                         const struct condition *c)
{
    static const char *const names[] = {"Unknown", "True", "False"};

    (void)arg;
    (void)namespace_;
    t.told++;
    if (c)
        snprintf(t.condition, sizeof(t.condition), "%s %s %s: %s", projection, names[c->status],
                 c->reason, c->message);
    else
        snprintf(t.condition, sizeof(t.condition), "%s nothing", projection);
}

static void on_restarted(void *arg, const char *namespace_, const char *kind, const char *name,
                         const char *uid, const char *note)
{
    (void)arg;
    (void)uid;
    t.restarted++;
    snprintf(t.last, sizeof(t.last), "%s/%s/%s %s", namespace_, kind, name, note);
}

static bool may_write(void *arg)
{
    (void)arg;
    return !t.follower;
}

static int new_restarts(void)
{
    const struct restarts_options opts = {.loop = t.loop,
                                          .kube = t.kube,
                                          .budget = 2,
                                          .may_write = may_write,
                                          .condition = on_condition,
                                          .restarted = on_restarted};

    return restarts_new(&opts, &t.r, NULL);
}

static int setup(void **state)
{
    int rc;

    (void)state;
    memset(&t, 0, sizeof(t));
    rc = fake_api_cluster(&t.loop, &t.api, &t.kube);
    return rc == 0 ? new_restarts() : rc;
}

static int teardown(void **state)
{
    (void)state;
    restarts_free(t.r);
    lh_kube_free(t.kube);
    fake_api_free(t.api);
    lh_loop_free(t.loop);
    lh_metrics_reset();
    lh_clock_real();
    return 0;
}

/* A Deployment at rest. more: members of spec after a comma. */
static void put_deployment(const char *name, const char *annotations, const char *more)
{
    lh_auto_free char *json = lh_asprintf(
        "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"%s\","
        "\"namespace\":\"shop\",\"uid\":\"u-%s\",\"generation\":1,\"annotations\":{%s}},\"spec\":{"
        "\"replicas\":2,\"template\":{\"metadata\":{\"labels\":{\"app\":\"%s\"}}}%s},\"status\":{"
        "\"observedGeneration\":9,\"conditions\":[{\"type\":\"Progressing\",\"reason\":"
        "\"NewReplicaSetAvailable\"}]}}",
        name, name, annotations, name, more);

    fake_api_put(t.api, DEPLOYMENTS, json);
}

static void put_pdb(const char *app, int allowed)
{
    lh_auto_free char *json = lh_asprintf(
        "{\"metadata\":{\"name\":\"guard\",\"namespace\":\"shop\"},\"spec\":{\"selector\":{"
        "\"matchLabels\":{\"app\":\"%s\"}}},\"status\":{\"disruptionsAllowed\":%d}}",
        app, allowed);

    fake_api_put(t.api, PDBS, json);
}

/* kinds and names: "Deployment/web Deployment/api"; hash as in restarts_want. */
static int want(const char *projection, const char *targets, const char *hash, bool leased)
{
    lh_auto_buf struct lh_buf b;
    lh_json *on_change = NULL;
    struct lh_str rest = lh_str(targets), one, kind, name;
    bool more = rest.n > 0;
    int rc;

    lh_buf_init(&b, 4096);
    lh_buf_put_z(&b, "{\"restart\":[");
    for (int i = 0; more; i++) {
        more = lh_str_cut(rest, ' ', &one, &rest);
        lh_str_cut(one, '/', &kind, &name);
        lh_buf_printf(&b, "%s{\"kind\":\"%.*s\",\"name\":\"%.*s\"}", i > 0 ? "," : "", (int)kind.n,
                      kind.p, (int)name.n, name.p);
    }
    lh_buf_put_z(&b, "]}");
    rc = lh_json_parse(lh_buf_peek(&b), NULL, &on_change, NULL);
    if (rc == 0)
        rc = restarts_set(t.r,
                          &(struct restarts_want){.namespace_ = "shop",
                                                  .projection = projection,
                                                  .on_change = on_change,
                                                  .hash = hash,
                                                  .leased = leased},
                          NULL);
    lh_json_unref(on_change);
    return rc;
}

/* Time passes; after each step there are turns enough for three questions and their answers. */
static void pass(lh_ms ms)
{
    for (lh_ms at = 0; at <= ms; at += 500) {
        for (int i = 0; i < 40; i++)
            lh_loop_turn(t.loop, 0);
        lh_clock_step(500);
    }
}

static bool condition_starts(void *arg)
{
    return strncmp(t.condition, arg, strlen(arg)) == 0;
}

static bool step_and_condition_starts(void *arg)
{
    lh_clock_step(100);
    return condition_starts(arg);
}

static void await(const char *condition)
{
    if (!lh_test_run_until(t.loop, step_and_condition_starts, (void *)(uintptr_t)condition))
        fail_msg("\"%s\", not \"%s\"", t.condition, condition);
}

static const char *annotation(const char *name, bool of_template, const char *key)
{
    const lh_json *o = fake_api_get(t.api, DEPLOYMENTS, "shop", name);
    const lh_json *a = of_template
                           ? lh_json_path(o, "spec", "template", "metadata", "annotations", NULL)
                           : lh_json_path(o, "metadata", "annotations", NULL);

    return lh_json_get_z(a, key);
}

static void restarts_once_for_changes_that_come_together(void **state)
{
    const char *stamp;

    (void)state;
    put_deployment("web", "", "");
    assert_int_equal(want("db", "Deployment/web", H1, false), 0);
    assert_int_equal(want("api", "Deployment/web", H1, false), 0);
    pass(1000);
    assert_int_equal(fake_api_requests(t.api), 0); /* not started: somebody may be missing */
    restarts_start(t.r);
    await("api True Fresh");
    /* Noted on the workload, not on its template: no restart. */
    assert_string_equal(annotation("web", false, RESTART_STAMP), "api=" H1 " db=" H1);
    assert_null(annotation("web", true, RESTART_STAMP));
    assert_int_equal(t.restarted, 0);

    want("db", "Deployment/web", H2, false);
    pass(3000);
    assert_int_equal(lh_metric_value(&restarts_metrics[1], LH_LABELS("settle")), 1);
    want("db", "Deployment/web", H3, false);
    want("api", "Deployment/web", H2, false);
    pass(SETTLE - 2000);
    assert_int_equal(t.restarted, 0);
    await("api True Fresh: Deployment \"web\" was restarted");
    assert_int_equal(t.restarted, 1);
    stamp = annotation("web", true, RESTART_STAMP);
    assert_string_equal(stamp, "api=" H2 " db=" H3);
    assert_string_equal(annotation("web", false, RESTART_STAMP), stamp);
    assert_non_null(annotation("web", true, RESTART_AT));
    assert_non_null(strstr(t.last, "shop/Deployment/web restarted"));
    assert_int_equal(lh_metric_value(&restarts_metrics[0], LH_LABELS("Deployment")), 1);
    assert_int_equal(lh_metric_value(&restarts_metrics[1], LH_LABELS("settle")), 0);
    assert_int_equal(fake_api_count(t.api, WRITES), 2);
}

static void a_steady_state_costs_nothing(void **state)
{
    (void)state;
    put_deployment("web", "\"" RESTART_STAMP "\":\"db=" H1 "\"", "");
    want("db", "Deployment/web", H1, false);
    restarts_start(t.r);
    await("db True Fresh");
    assert_int_equal(fake_api_requests(t.api), 1);
    for (int i = 0; i < 10; i++) {
        want("db", "Deployment/web", H1, false);
        pass(5000);
    }
    assert_int_equal(fake_api_requests(t.api), 1);
    assert_int_equal(t.told, 1);
}

static void a_change_that_nobody_saw_is_one(void **state)
{
    (void)state;
    put_deployment("web", "\"" RESTART_STAMP "\":\"db=" H1 "\"", "");
    want("db", "Deployment/web", H2, false);
    restarts_start(t.r);
    await("db True Fresh: Deployment \"web\" was restarted");
    assert_string_equal(annotation("web", true, RESTART_STAMP), "db=" H2);
}

static void what_somebody_took_off_is_put_back(void **state)
{
    (void)state;
    put_deployment("web", "\"" RESTART_STAMP "\":\"db=" H1 "\"", "");
    want("db", "Deployment/web", H1, false);
    restarts_start(t.r);
    await("db True Fresh");
    put_deployment("web", "", "");
    want("db", "Deployment/web", H2, false); /* what it ran with is remembered */
    pass(SETTLE + 2000);
    assert_int_equal(t.restarted, 1);
    put_deployment("web", "", "");
    want("api", "Deployment/web", H1, false);
    pass(2000);
    assert_int_equal(t.restarted, 1);
    assert_string_equal(annotation("web", false, RESTART_STAMP), "api=" H1 " db=" H2);
}

static void waits_for_all_values(void **state)
{
    (void)state;
    put_deployment("web", "\"" RESTART_STAMP "\":\"api=" H1 " db=" H1 "\"", "");
    want("api", "Deployment/web", H2, false);
    want("db", "Deployment/web", NULL, false);
    restarts_start(t.r);
    await("db Unknown Starting");
    pass(SETTLE * 3);
    assert_int_equal(fake_api_requests(t.api), 1); /* what was spent of the budget */
    restarts_drop(t.r, "shop", "db");              /* nobody waits for it any more */
    pass(SETTLE + 1000);
    assert_int_equal(t.restarted, 1);
    assert_string_equal(annotation("web", true, RESTART_STAMP), "api=" H2);
}

static struct held_row {
    const char *name;
    const char *spec; /* while it is held */
    int allowed;      /* by a PodDisruptionBudget; -1: none */
    const char *says;
} held[] = {
    {"a paused rollout is left alone", ",\"paused\":true", -1, "its rollout is paused"},
    {"a disruption budget is respected", "", 0,
     "a PodDisruptionBudget allows no disruption: guard"},
};

static void held_until_it_may(void **state)
{
    const struct held_row *r = *state;

    put_deployment("web", "\"" RESTART_STAMP "\":\"db=" H1 "\"", r->spec);
    if (r->allowed >= 0)
        put_pdb("web", r->allowed);
    want("db", "Deployment/web", H2, false);
    restarts_start(t.r);
    pass(5 * 60 * 1000);
    assert_int_equal(t.restarted, 0);
    assert_true(condition_starts((void *)(uintptr_t) "db False RestartPending"));
    if (!strstr(t.condition, r->says))
        fail_msg("%s", t.condition);
    put_deployment("web", "\"" RESTART_STAMP "\":\"db=" H1 "\"", "");
    if (r->allowed >= 0)
        put_pdb("web", 1);
    pass(40 * 1000);
    assert_int_equal(t.restarted, 1);
}

static void a_rollout_ends_first(void **state)
{
    (void)state;
    put_deployment("web", "\"" RESTART_STAMP "\":\"db=" H1 "\"", "");
    fake_api_put(t.api, DEPLOYMENTS,
                 "{\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\",\"annotations\":{"
                 "\"" RESTART_STAMP "\":\"db=" H1 "\"}},\"spec\":{\"template\":{}},\"status\":{"
                 "\"observedGeneration\":9,\"conditions\":[{\"type\":\"Progressing\",\"reason\":"
                 "\"ReplicaSetUpdated\"}]}}");
    want("db", "Deployment/web", H2, false);
    restarts_start(t.r);
    pass(60 * 1000);
    assert_int_equal(t.restarted, 0);
    assert_non_null(strstr(t.condition, "a rollout is under way"));
    put_deployment("web", "\"" RESTART_STAMP "\":\"db=" H1 "\"", "");
    pass(40 * 1000);
    assert_int_equal(t.restarted, 1);
}

static void a_namespace_has_a_budget(void **state)
{
    static const char *const names[] = {"a", "b", "c", "d", "e"};
    char targets[200] = "";

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(names); i++) {
        put_deployment(names[i], "\"" RESTART_STAMP "\":\"db=" H1 "\"", "");
        snprintf(targets + strlen(targets), sizeof(targets) - strlen(targets), "%sDeployment/%s",
                 i > 0 ? " " : "", names[i]);
    }
    want("db", targets, H2, false);
    restarts_start(t.r);
    pass(SETTLE + 5000);
    assert_int_equal(t.restarted, 2);
    assert_true(condition_starts((void *)(uintptr_t) "db False RestartPending"));
    assert_int_equal(lh_metric_value(&restarts_metrics[1], LH_LABELS("budget")), 3);
    pass(WINDOW);
    assert_int_equal(t.restarted, 4);
    pass(WINDOW);
    assert_int_equal(t.restarted, 5);
    assert_true(condition_starts((void *)(uintptr_t) "db True Fresh"));
}

/* What is seen of it is a stamp of the time on the template of each workload. */
static void a_new_leader_knows_what_the_last_one_spent(void **state)
{
    static const char *const names[] = {"a", "b"};
    lh_ms ago[] = {20 * 1000, 5 * 1000};
    char at[32];

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(names); i++) {
        lh_auto_free char *json = NULL;

        lh_clock_format(lh_clock_wall_ms() - ago[i], at);
        json = lh_asprintf(
            "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"%s\","
            "\"namespace\":\"shop\",\"uid\":\"u-%s\",\"generation\":1,\"annotations\":{"
            "\"" RESTART_STAMP "\":\"db=" H1
            "\"}},\"spec\":{\"template\":{\"metadata\":{\"annotations\":{\"" RESTART_AT
            "\":\"%s\"}}}},\"status\":{\"observedGeneration\":9,\"conditions\":[{\"type\":"
            "\"Progressing\",\"reason\":\"NewReplicaSetAvailable\"}]}}",
            names[i], names[i], at);
        fake_api_put(t.api, DEPLOYMENTS, json);
    }
    put_deployment("web", "\"" RESTART_STAMP "\":\"db=" H1 "\"", "");
    want("db", "Deployment/web Deployment/a Deployment/b", H2, false);
    restarts_start(t.r);
    pass(SETTLE + 2000);
    /* Both places are taken; the first is free a window after the older one. */
    assert_int_equal(t.restarted, 0);
    assert_int_equal(lh_metric_value(&restarts_metrics[1], LH_LABELS("budget")), 1);
    assert_int_equal(lh_metric_value(&restarts_metrics[1], LH_LABELS("gap")), 2);
    pass(WINDOW - ago[0] - SETTLE - 6000);
    assert_int_equal(t.restarted, 0);
    pass(6000);
    assert_int_equal(t.restarted, 1);
    assert_non_null(strstr(t.last, "shop/Deployment/web"));
    pass(GAP);
    assert_int_equal(t.restarted, 3);
}

/* One that cannot be read yet may have been restarted a moment ago; one that is not there was not.
 */
static void nothing_is_restarted_before_all_were_seen(void **state)
{
    static const struct fake_api_fault away = {
        .method = "GET",
        .prefix = "/apis/apps/v1/namespaces/shop/deployments/slow",
        .status = 503,
    };

    (void)state;
    fake_api_fault(t.api, &away);
    put_deployment("web", "\"" RESTART_STAMP "\":\"db=" H1 "\"", "");
    put_deployment("slow", "\"" RESTART_STAMP "\":\"db=" H1 "\"", "");
    want("db", "Deployment/web Deployment/slow Deployment/absent", H2, false);
    restarts_start(t.r);
    pass(SETTLE * 2);
    assert_int_equal(t.restarted, 0);
    fake_api_fault_clear(t.api);
    pass(WINDOW);
    assert_int_equal(t.restarted, 2);
}

static void one_workload_has_a_gap(void **state)
{
    (void)state;
    put_deployment("web", "\"" RESTART_STAMP "\":\"db=" H1 "\"", "");
    want("db", "Deployment/web", H2, false);
    restarts_start(t.r);
    pass(SETTLE + 2000);
    assert_int_equal(t.restarted, 1);
    want("db", "Deployment/web", H3, false);
    pass(GAP - SETTLE - 10000);
    assert_int_equal(t.restarted, 1);
    /* Another leader keeps it, too. */
    restarts_free(t.r);
    assert_int_equal(new_restarts(), 0);
    want("db", "Deployment/web", H3, false);
    restarts_start(t.r);
    pass(SETTLE + 1000);
    assert_non_null(strstr(t.condition, "it was restarted a short while ago"));
    pass(20000);
    assert_int_equal(t.restarted, 2);
}

static void leases_do_not_count(void **state)
{
    (void)state;
    put_deployment("web", "", "");
    want("db", "Deployment/web", "", true);
    restarts_start(t.r);
    await("db False RestartOnLease");
    pass(2000);
    assert_int_equal(fake_api_requests(t.api), 0);
    want("db", "Deployment/web", H1, true); /* one item without a lease beside */
    await("db True RestartOnLease");
    assert_string_equal(annotation("web", false, RESTART_STAMP), "db=" H1);
}

static void a_missing_workload_is_named_and_looked_for(void **state)
{
    (void)state;
    want("db", "Deployment/web StatefulSet/db", H1, false);
    put_deployment("web", "", "");
    restarts_start(t.r);
    await("db False WorkloadNotFound: StatefulSet \"db\" does not exist");
    fake_api_put(t.api, "apps/v1/statefulsets",
                 "{\"metadata\":{\"name\":\"db\",\"namespace\":\"shop\"},\"spec\":{\"template\":{}"
                 "},\"status\":{\"observedGeneration\":1}}");
    pass(70 * 1000);
    assert_true(condition_starts((void *)(uintptr_t) "db True Fresh"));
}

static void what_was_made_before_a_change_is_restarted(void **state)
{
    (void)state;
    want("db", "Deployment/web", H1, false);
    restarts_start(t.r);
    await("db False WorkloadNotFound");
    put_deployment("web", "", "");
    want("db", "Deployment/web", H2, false); /* before it was looked for again */
    await("db False RestartPending");
    await("db True Fresh: Deployment \"web\" was restarted");
    assert_int_equal(t.restarted, 1);
}

static void what_was_made_after_a_change_is_noted(void **state)
{
    (void)state;
    want("db", "Deployment/web", H1, false);
    restarts_start(t.r);
    await("db False WorkloadNotFound");
    want("db", "Deployment/web", H2, false);
    pass(1000);
    put_deployment("web", "", "");
    pass(70 * 1000);
    assert_true(condition_starts((void *)(uintptr_t) "db True Fresh"));
    assert_string_equal(annotation("web", false, RESTART_STAMP), "db=" H2);
    assert_int_equal(t.restarted, 0);
}

static void missing_rights_are_named(void **state)
{
    (void)state;
    put_deployment("web", "", "");
    fake_api_deny(t.api, DEPLOYMENTS);
    want("db", "Deployment/web", H1, false);
    restarts_start(t.r);
    await("db False RightsMissing");
    assert_non_null(strstr(t.condition, "verbs get, patch on deployments.apps"));
    pass(2 * 60 * 1000);
    assert_int_equal(fake_api_count(t.api, READS), 1); /* a person has to act first */
}

/* It was told as a lack of rights, which nobody could find. */
static void a_webhook_that_refuses_is_named(void **state)
{
    static const struct fake_api_fault refusal = {
        .method = "PATCH",
        .status = 403,
        .body = "{\"reason\":\"Forbidden\",\"message\":\"admission webhook \\\"w.x\\\" denied the "
                "request: not today\"}"};

    (void)state;
    put_deployment("web", "\"" RESTART_STAMP "\":\"db=" H1 "\"", "");
    want("db", "Deployment/web", H2, false);
    fake_api_fault(t.api, &refusal);
    restarts_start(t.r);
    pass(SETTLE);
    await("db False RestartPending");
    assert_non_null(strstr(t.condition, "admission webhook \"w.x\" denied the request"));
    assert_null(strstr(t.condition, "not today"));
    fake_api_fault_clear(t.api);
    await("db True Fresh: Deployment \"web\" was restarted");
}

static void a_write_that_somebody_came_before_is_made_again(void **state)
{
    (void)state;
    put_deployment("web", "\"" RESTART_STAMP "\":\"db=" H1 "\"", "");
    want("db", "Deployment/web", H2, false);
    restarts_start(t.r);
    pass(SETTLE - 2000);
    fake_api_interfere(t.api, 2);
    await("db True Fresh: Deployment \"web\" was restarted");
    assert_int_equal(t.restarted, 1);
    assert_string_equal(annotation("web", true, RESTART_STAMP), "db=" H2);
    assert_int_equal(fake_api_count(t.api, WRITES), 3);
}

/* A yes whose answer was lost is found as done: no second restart. */
static void a_lost_answer_restarts_nothing_twice(void **state)
{
    char at[64];

    (void)state;
    put_deployment("web", "\"" RESTART_STAMP "\":\"db=" H1 "\"", "");
    fake_api_fault(t.api, &(struct fake_api_fault){.method = "PATCH", .times = 1, .after = true});
    want("db", "Deployment/web", H2, false);
    restarts_start(t.r);
    await("db True Fresh");
    snprintf(at, sizeof(at), "%s", annotation("web", true, RESTART_AT));
    pass(10 * 60 * 1000);
    assert_string_equal(annotation("web", true, RESTART_AT), at);
    assert_int_equal(fake_api_count(t.api, WRITES), 1);
}

static void without_the_lead_nothing_is_written(void **state)
{
    (void)state;
    t.follower = true;
    put_deployment("web", "\"" RESTART_STAMP "\":\"db=" H1 "\"", "");
    want("db", "Deployment/web", H2, false);
    restarts_start(t.r);
    pass(SETTLE * 3);
    assert_int_equal(fake_api_count(t.api, WRITES), 0);
}

static void what_is_not_named_any_more_is_left_alone(void **state)
{
    (void)state;
    put_deployment("web", "\"" RESTART_STAMP "\":\"db=" H1 "\"", "");
    put_deployment("api", "\"" RESTART_STAMP "\":\"db=" H1 "\"", "");
    want("db", "Deployment/web", H2, false);
    restarts_start(t.r);
    pass(2000);
    want("db", "Deployment/api", H2, false);
    pass(SETTLE * 2);
    assert_int_equal(t.restarted, 1);
    assert_non_null(strstr(t.last, "shop/Deployment/api"));
    want("db", "", H2, false);
    assert_string_equal(t.condition, "db nothing");
    /* Dropped with a question under way. */
    want("db", "Deployment/web", H3, false);
    lh_loop_turn(t.loop, 0);
    restarts_drop(t.r, "shop", "db");
    restarts_drop(t.r, "shop", "db");
    pass(SETTLE * 2);
    assert_int_equal(t.restarted, 1);
}

static void bad_input_is_refused(void **state)
{
    char many[20 * 16 + 1] = "";

    (void)state;
    assert_int_equal(want("db", "Job/web", H1, false), -LH_E_INVALID);
    assert_int_equal(want("db", "Deployment/Web", H1, false), -LH_E_INVALID);
    assert_int_equal(want("db", "Deployment/web", "abc", false), -LH_E_INVALID);
    for (int i = 0; i < 17; i++)
        snprintf(many + strlen(many), sizeof(many) - strlen(many), "%sDeployment/a%d",
                 i > 0 ? " " : "", i);
    assert_int_equal(want("db", many, H1, false), -LH_E_INVALID);
    assert_int_equal(want("db", "Deployment/web Deployment/web", H1, false), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    static const struct CMUnitTest rest[] = {
        T(restarts_once_for_changes_that_come_together),
        T(a_steady_state_costs_nothing),
        T(a_change_that_nobody_saw_is_one),
        T(what_somebody_took_off_is_put_back),
        T(waits_for_all_values),
        T(a_rollout_ends_first),
        T(a_namespace_has_a_budget),
        T(a_new_leader_knows_what_the_last_one_spent),
        T(nothing_is_restarted_before_all_were_seen),
        T(one_workload_has_a_gap),
        T(leases_do_not_count),
        T(a_missing_workload_is_named_and_looked_for),
        T(what_was_made_before_a_change_is_restarted),
        T(what_was_made_after_a_change_is_noted),
        T(missing_rights_are_named),
        T(a_webhook_that_refuses_is_named),
        T(a_write_that_somebody_came_before_is_made_again),
        T(a_lost_answer_restarts_nothing_twice),
        T(without_the_lead_nothing_is_written),
        T(what_is_not_named_any_more_is_left_alone),
        T(bad_input_is_refused),
    };
    struct CMUnitTest tests[LH_ARRAY_LEN(held) + LH_ARRAY_LEN(rest)];
    size_t n = 0;

    if (lh_http_global_init(NULL) < 0)
        return 1;
    lh_log_init("test", LH_LOG_OFF, 2);
    for (size_t i = 0; i < LH_ARRAY_LEN(held); i++)
        tests[n++] =
            (struct CMUnitTest){held[i].name, held_until_it_may, setup, teardown, &held[i]};
    memcpy(tests + n, rest, sizeof(rest));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
