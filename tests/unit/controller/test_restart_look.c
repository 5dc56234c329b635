/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "leasehold/codec/jsonpatch.h"
#include "leasehold/core/mem.h"
#include "restart_look.h"
#include "restart_plan.h"

#define META "\"metadata\":{\"name\":\"a\",\"uid\":\"u\",\"resourceVersion\":\"7\",\"generation\":2"

static struct row {
    const char *name;
    enum restart_kind kind;
    const char *json;
    bool paused, rolling, on_delete, empty;
} rows[] = {
    {"a Deployment whose rollout is over", RESTART_DEPLOYMENT,
     .json =
         "{" META "},\"spec\":{},\"status\":{\"observedGeneration\":2,\"conditions\":[{\"type\":"
         "\"Available\",\"reason\":\"x\"},{\"type\":\"Progressing\",\"reason\":"
         "\"NewReplicaSetAvailable\"}]}}"},
    {"a Deployment that rolls", RESTART_DEPLOYMENT,
     .json =
         "{" META "},\"spec\":{},\"status\":{\"observedGeneration\":2,\"conditions\":[{\"type\":"
         "\"Progressing\",\"reason\":\"ReplicaSetUpdated\"}]}}",
     .rolling = true},
    {"a rollout that gave up is over", RESTART_DEPLOYMENT,
     .json =
         "{" META "},\"spec\":{},\"status\":{\"observedGeneration\":2,\"updatedReplicas\":0,"
         "\"conditions\":[{\"type\":\"Progressing\",\"reason\":\"ProgressDeadlineExceeded\"}]}}"},
    {"Pods that crash are no rollout", RESTART_DEPLOYMENT,
     .json =
         "{" META "},\"spec\":{\"replicas\":3},\"status\":{\"observedGeneration\":2,\"replicas\":3,"
         "\"updatedReplicas\":3,\"availableReplicas\":0,\"conditions\":[{\"type\":\"Progressing\","
         "\"reason\":\"NewReplicaSetAvailable\"}]}}"},
    {"a Deployment whose controller did not look yet", RESTART_DEPLOYMENT,
     .json =
         "{" META "},\"spec\":{},\"status\":{\"observedGeneration\":1,\"conditions\":[{\"type\":"
         "\"Progressing\",\"reason\":\"NewReplicaSetAvailable\"}]}}",
     .rolling = true},
    {"without a deadline replicas tell", RESTART_DEPLOYMENT,
     .json =
         "{" META "},\"spec\":{\"replicas\":3},\"status\":{\"observedGeneration\":2,\"replicas\":4,"
         "\"updatedReplicas\":3}}",
     .rolling = true},
    {"without a deadline replicas tell the end, too", RESTART_DEPLOYMENT,
     .json =
         "{" META "},\"spec\":{\"replicas\":3},\"status\":{\"observedGeneration\":2,\"replicas\":3,"
         "\"updatedReplicas\":3}}"},
    {"a paused Deployment", RESTART_DEPLOYMENT,
     .json = "{" META
             "},\"spec\":{\"paused\":true,\"replicas\":0},\"status\":{\"observedGeneration\":2,"
             "\"conditions\":[{\"type\":\"Progressing\",\"reason\":\"DeploymentPaused\"}]}}",
     .paused = true, .rolling = true, .empty = true},
    {"a StatefulSet at rest", RESTART_STATEFULSET,
     .json =
         "{" META "},\"spec\":{},\"status\":{\"observedGeneration\":2,\"currentRevision\":\"a\","
         "\"updateRevision\":\"a\"}}"},
    {"a StatefulSet that rolls, or stops at its partition", RESTART_STATEFULSET,
     .json =
         "{" META "},\"spec\":{},\"status\":{\"observedGeneration\":2,\"currentRevision\":\"a\","
         "\"updateRevision\":\"b\"}}",
     .rolling = true},
    {"a StatefulSet OnDelete never rolls by itself", RESTART_STATEFULSET,
     .json = "{" META "},\"spec\":{\"updateStrategy\":{\"type\":\"OnDelete\"}},\"status\":"
             "{\"observedGeneration\":2,\"currentRevision\":\"a\",\"updateRevision\":\"b\"}}",
     .on_delete = true},
    {"a DaemonSet that rolls", RESTART_DAEMONSET,
     .json =
         "{" META "},\"spec\":{},\"status\":{\"observedGeneration\":2,\"desiredNumberScheduled\":3,"
         "\"updatedNumberScheduled\":2}}",
     .rolling = true},
    {"a DaemonSet at rest", RESTART_DAEMONSET,
     .json = "{" META "},\"spec\":{\"paused\":true},\"status\":{\"observedGeneration\":2,"
             "\"desiredNumberScheduled\":3,\"updatedNumberScheduled\":3}}"},
    {"a DaemonSet OnDelete", RESTART_DAEMONSET,
     .json = "{" META "},\"spec\":{\"updateStrategy\":{\"type\":\"OnDelete\"}},\"status\":{}}",
     .on_delete = true},
};

static lh_json *parsed(const char *text)
{
    lh_json *v = NULL;

    if (lh_json_parse(lh_str(text), NULL, &v, NULL) < 0)
        fail_msg("not JSON: %s", text);
    return v;
}

static void looks(void **state)
{
    const struct row *r = *state;
    lh_json *obj = parsed(r->json);
    struct restart_look look;

    restart_look(r->kind, obj, &look);
    lh_json_unref(obj);
    assert_int_equal(look.paused, r->paused);
    assert_int_equal(look.rolling, r->rolling);
    assert_int_equal(look.on_delete, r->on_delete);
    assert_int_equal(look.empty, r->empty);
    assert_null(look.stamp);
}

#define PDB(name, selector, allowed)                                                               \
    "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"selector\":" selector                       \
    "},\"status\":{\"disruptionsAllowed\":" allowed "}}"
#define APP(a) "{\"matchLabels\":{\"app\":\"" a "\"}}"

static struct pdb_row {
    const char *name, *items, *blocks;
} pdbs[] = {
    {"no budget", "", NULL},
    {"one that allows", PDB("x", APP("a"), "1"), NULL},
    {"one that does not", PDB("x", APP("a"), "0"), "x"},
    {"one of others", PDB("x", APP("b"), "0"), NULL},
    {"all must allow", PDB("x", APP("a"), "1") "," PDB("y", APP("a"), "0"), "y"},
    {"an empty selector covers all", PDB("x", "{}", "0"), "x"},
    {"none covers nothing", PDB("x", "null", "0"), NULL},
    {"expressions",
     PDB("x", "{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"Exists\"}]}", "0"), "x"},
    {"one that was not counted yet", "{\"metadata\":{\"name\":\"x\"},\"spec\":{\"selector\":{}}}",
     "x"},
};

static void asks_budgets(void **state)
{
    const struct pdb_row *r = *state;
    lh_auto_free char *text = lh_asprintf("{\"items\":[%s]}", r->items);
    lh_json *list = parsed(text), *labels = parsed("{\"app\":\"a\",\"tier\":\"web\"}");
    const char *by = restart_blocked_by(list, labels);
    char name[8] = "";

    if (by)
        strncpy(name, by, sizeof(name) - 1);
    lh_json_unref(list);
    lh_json_unref(labels);
    assert_int_equal(by != NULL, r->blocks != NULL);
    assert_string_equal(name, r->blocks ? r->blocks : "");
}

/* What a workload looks like with the stamp, and with a restart. */
static struct patch_row {
    const char *name, *meta, *spec;
} patches[] = {
    {"nothing there yet", "}", "{\"template\":{\"spec\":{}}}"},
    {"a template with labels", "}", "{\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}}}}"},
    {"annotations on both", ",\"annotations\":{\"x\":\"y\"}}",
     "{\"template\":{\"metadata\":{\"annotations\":{\"z\":\"w\",\"" RESTART_AT "\":\"old\"}}}}"},
    {"null where a folder should be", ",\"annotations\":null}",
     "{\"template\":{\"metadata\":{\"annotations\":null}}}"},
};

static const lh_json *template_of(const lh_json *obj)
{
    return lh_json_path(obj, "spec", "template", "metadata", "annotations", NULL);
}

static void patches_what_it_must(void **state)
{
    const struct patch_row *r = *state;
    lh_auto_free char *text = lh_asprintf("{" META "%s,\"spec\":%s}", r->meta, r->spec);
    lh_json *obj = parsed(text), *patch = NULL, *noted = NULL, *restarted = NULL;
    struct restart_look look;

    assert_int_equal(restart_patch(obj, "db=aa", NULL, &patch, NULL), 0);
    assert_int_equal(lh_jsonpatch_apply(obj, patch, &noted, NULL), 0);
    lh_json_unref(patch);
    restart_look(RESTART_DEPLOYMENT, noted, &look);
    assert_string_equal(look.stamp, "db=aa");
    /* A note restarts nothing. */
    assert_true(lh_json_equal(lh_json_get(noted, "spec"), lh_json_get(obj, "spec")));

    assert_int_equal(restart_patch(noted, "db=bb", "2026-11-24T12:00:00Z", &patch, NULL), 0);
    assert_int_equal(lh_jsonpatch_apply(noted, patch, &restarted, NULL), 0);
    lh_json_unref(patch);
    restart_look(RESTART_DEPLOYMENT, restarted, &look);
    assert_string_equal(look.stamp, "db=bb");
    assert_true(look.restarted_wall_ms > 0);
    assert_string_equal(lh_json_get_z(template_of(restarted), RESTART_STAMP), "db=bb");
    /* Where somebody took the first off, the other one tells. */
    lh_json_del(lh_json_mut(lh_json_path(restarted, "metadata", "annotations", NULL)),
                RESTART_STAMP);
    restart_look(RESTART_DEPLOYMENT, restarted, &look);
    assert_string_equal(look.stamp, "db=bb");
    lh_json_unref(noted);
    lh_json_unref(restarted);
    lh_json_unref(obj);
}

static void a_patch_is_for_what_was_read_alone(void **state)
{
    lh_json *obj = parsed("{" META "},\"spec\":{\"template\":{}}}"), *patch = NULL, *out = NULL;
    lh_json *other = parsed("{\"metadata\":{\"uid\":\"v\",\"resourceVersion\":\"7\"},\"spec\":{}}");
    lh_json *later = parsed("{\"metadata\":{\"uid\":\"u\",\"resourceVersion\":\"8\"},\"spec\":{}}");
    lh_json *made = parsed("{\"metadata\":{\"name\":\"a\"}}");

    (void)state;
    assert_int_equal(restart_patch(made, "db=aa", NULL, &patch, NULL), -LH_E_INVALID);
    assert_int_equal(restart_patch(obj, "db=aa", NULL, &patch, NULL), 0);
    assert_int_equal(lh_jsonpatch_apply(other, patch, &out, NULL), -LH_E_CONFLICT);
    assert_int_equal(lh_jsonpatch_apply(later, patch, &out, NULL), -LH_E_CONFLICT);
    lh_json_unref(patch);
    lh_json_unref(obj);
    lh_json_unref(other);
    lh_json_unref(later);
    lh_json_unref(made);
}

static void knows_three_kinds(void **state)
{
    (void)state;
    assert_int_equal(restart_kind_of("DaemonSet"), RESTART_DAEMONSET);
    assert_int_equal(restart_kind_of("Job"), -1);
    assert_int_equal(restart_kind_of("deployment"), -1);
    assert_int_equal(restart_kind_of(NULL), -1);
}

int main(void)
{
    struct CMUnitTest tests[LH_ARRAY_LEN(rows) + LH_ARRAY_LEN(pdbs) + LH_ARRAY_LEN(patches) + 2];
    size_t n = 0;

    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++)
        tests[n++] = (struct CMUnitTest){rows[i].name, looks, NULL, NULL, &rows[i]};
    for (size_t i = 0; i < LH_ARRAY_LEN(pdbs); i++)
        tests[n++] = (struct CMUnitTest){pdbs[i].name, asks_budgets, NULL, NULL, &pdbs[i]};
    for (size_t i = 0; i < LH_ARRAY_LEN(patches); i++)
        tests[n++] =
            (struct CMUnitTest){patches[i].name, patches_what_it_must, NULL, NULL, &patches[i]};
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(a_patch_is_for_what_was_read_alone);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(knows_three_kinds);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
