/* SPDX-License-Identifier: Apache-2.0 */
/* AdmissionReview bytes in, bytes out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "leasehold/api/reasons.h"
#include "leasehold/codec/base64.h"
#include "leasehold/core/mem.h"
#include "world.h"

static const char stores[] =
    "apiVersion: leasehold.dev/v1alpha1\n"
    "kind: ClusterSecretStore\n"
    "metadata: {name: vault, generation: 3}\n"
    "spec:\n"
    "  vault: {addresses: [\"https://vault.example\"], auth: {jwt: {role: r, audience: vault}}}\n"
    "  allow: [{namespaces: [shop], paths: [\"database/creds/shop\"]}]\n"
    "---\n"
    "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n";

#define REVIEW(kind, op, object)                                                                   \
    "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\",\"request\":{\"uid\":"   \
    "\"u-1\",\"kind\":{\"group\":\"\",\"version\":\"v1\",\"kind\":\"" kind                         \
    "\"},\"operation\":\"" op "\",\"namespace\":\"shop\",\"object\":" object "}}"
#define POD(path)                                                                                  \
    "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"generateName\":\"web-\","             \
    "\"annotations\":{\"leasehold.dev/secret.db\":\"" path                                         \
    "\"}},\"spec\":{\"containers\":[{\"name\":\"web\"}]}}"
#define DEPLOYMENT(outer, inner)                                                                   \
    "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"web\","          \
    "\"annotations\":{" outer "}},\"spec\":{\"template\":{\"metadata\":{\"annotations\":{" inner   \
    "}},\"spec\":{\"containers\":[{\"name\":\"web\"}]}}}}"
#define DB(path) "\"leasehold.dev/secret.db\":\"" path "\""
#define HEAD     "{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\",\"response\":{"

static const struct row {
    const char *name;
    enum lh_review_kind kind;
    const char *body;
    const char *want; /* the whole answer, or with ... at the end its beginning */
    enum lh_verdict verdict;
    const char *reason;
} rows[] = {
    {"a Pod is patched", LH_REVIEW_MUTATE, REVIEW("Pod", "CREATE", POD("database/creds/shop")),
     HEAD "\"uid\":\"u-1\",\"allowed\":true,\"patchType\":\"JSONPatch\",\"patch\":\"...",
     LH_VERDICT_PATCHED, NULL},
    {"a Pod is denied", LH_REVIEW_MUTATE, REVIEW("Pod", "CREATE", POD("database/creds/bank")),
     HEAD
     "\"uid\":\"u-1\",\"allowed\":false,\"status\":{\"status\":\"Failure\",\"message\":"
     "\"leasehold.dev/secret.db: PathNotAllowed: ClusterSecretStore \\\"vault\\\" does not let "
     "namespace \\\"shop\\\" read \\\"database/creds/bank\\\"; it allows database/creds/shop. "
     "See: kubectl leasehold explain PathNotAllowed\",\"reason\":\"PathNotAllowed\",\"code\":"
     "403}}}",
     LH_VERDICT_DENIED, LH_REASON_PathNotAllowed},
    {"a Pod without annotations", LH_REVIEW_MUTATE,
     REVIEW("Pod", "CREATE", "{\"kind\":\"Pod\",\"spec\":{\"containers\":[]}}"),
     HEAD "\"uid\":\"u-1\",\"allowed\":true}}", LH_VERDICT_UNCHANGED, NULL},
    {"an update of a Pod", LH_REVIEW_MUTATE, REVIEW("Pod", "UPDATE", POD("../x")),
     HEAD "\"uid\":\"u-1\",\"allowed\":true}}", LH_VERDICT_UNCHANGED, NULL},
    {"a deletion", LH_REVIEW_MUTATE, REVIEW("Pod", "DELETE", "null"),
     HEAD "\"uid\":\"u-1\",\"allowed\":true}}", LH_VERDICT_UNCHANGED, NULL},
    {"another kind", LH_REVIEW_MUTATE, REVIEW("Service", "CREATE", "{\"kind\":\"Service\"}"),
     HEAD "\"uid\":\"u-1\",\"allowed\":true}}", LH_VERDICT_UNCHANGED, NULL},
    {"a workload is not patched", LH_REVIEW_MUTATE,
     REVIEW("Deployment", "CREATE", DEPLOYMENT("", DB("database/creds/shop"))),
     HEAD "\"uid\":\"u-1\",\"allowed\":true}}", LH_VERDICT_UNCHANGED, NULL},
    {"a good workload", LH_REVIEW_VALIDATE,
     REVIEW("Deployment", "UPDATE", DEPLOYMENT("", DB("database/creds/shop"))),
     HEAD "\"uid\":\"u-1\",\"allowed\":true}}", LH_VERDICT_UNCHANGED, NULL},
    {"a malformed workload", LH_REVIEW_VALIDATE,
     REVIEW("Deployment", "CREATE", DEPLOYMENT("", DB("/x"))),
     HEAD "\"uid\":\"u-1\",\"allowed\":false,\"status\":{\"status\":\"Failure\",\"message\":"
          "\"leasehold.dev/secret.db: PathInvalid: the path \\\"/x\\\": begins with a slash; write "
          "it without. See: kubectl leasehold explain PathInvalid\",\"reason\":\"PathInvalid\","
          "\"code\":403}}}",
     LH_VERDICT_DENIED, LH_REASON_PathInvalid},
    {"a workload that the store does not allow yet", LH_REVIEW_VALIDATE,
     REVIEW("Deployment", "CREATE", DEPLOYMENT("", DB("database/creds/bank"))),
     HEAD
     "\"uid\":\"u-1\",\"allowed\":true,\"warnings\":[\"leasehold.dev/secret.db: "
     "PathNotAllowed: ClusterSecretStore \\\"vault\\\" does not let namespace \\\"shop\\\" read "
     "\\\"database/creds/bank\\\"; it allows database/creds/shop. See: kubectl leasehold "
     "explain PathNotAllowed\"]}}",
     LH_VERDICT_WARNED, LH_REASON_PathNotAllowed},
    {"annotations in the wrong place", LH_REVIEW_VALIDATE,
     REVIEW("Deployment", "CREATE", DEPLOYMENT(DB("database/creds/shop"), "")),
     HEAD "\"uid\":\"u-1\",\"allowed\":true,\"warnings\":[\"leasehold.dev/secret.db: has no effect "
          "on the Deployment itself; move it to spec.template.metadata.annotations\"]}}",
     LH_VERDICT_WARNED, NULL},
    {"everything wrong is said at once", LH_REVIEW_MUTATE,
     REVIEW("Pod", "CREATE",
            "{\"kind\":\"Pod\",\"metadata\":{\"annotations\":{\"leasehold.dev/secret.a\":\"/x\","
            "\"leasehold.dev/secret.b\":\"y/\"}},\"spec\":{\"containers\":[{\"name\":\"web\"}]}}"),
     HEAD
     "\"uid\":\"u-1\",\"allowed\":false,\"status\":{\"status\":\"Failure\",\"message\":"
     "\"leasehold.dev/secret.a: PathInvalid: the path \\\"/x\\\": begins with a slash; write it "
     "without. See: kubectl leasehold explain PathInvalid\",\"reason\":\"PathInvalid\",\"code\":"
     "403},\"warnings\":[\"leasehold.dev/secret.b: PathInvalid: the path \\\"y/\\\": ends with "
     "a slash; write it without. See: kubectl leasehold explain PathInvalid\"]}}",
     LH_VERDICT_DENIED, LH_REASON_PathInvalid},
    {"an object of another namespace", LH_REVIEW_MUTATE,
     REVIEW("Pod", "CREATE",
            "{\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"bank\",\"annotations\":{" DB(
                "database/creds/shop") "}},\"spec\":{\"containers\":[]}}"),
     HEAD "\"uid\":\"u-1\",\"allowed\":false,...", LH_VERDICT_DENIED, LH_REASON_RequestInvalid},
    {"an object of another kind than the request's", LH_REVIEW_VALIDATE,
     REVIEW("Pod", "CREATE", DEPLOYMENT("", "")), HEAD "\"uid\":\"u-1\",\"allowed\":false,...",
     LH_VERDICT_DENIED, LH_REASON_RequestInvalid},
    {"a Pod without a spec", LH_REVIEW_MUTATE, REVIEW("Pod", "CREATE", "{\"kind\":\"Pod\"}"),
     HEAD "\"uid\":\"u-1\",\"allowed\":true}}", LH_VERDICT_UNCHANGED, NULL},
    {"lists that are no lists", LH_REVIEW_MUTATE,
     REVIEW("Pod", "CREATE",
            "{\"kind\":\"Pod\",\"metadata\":{\"annotations\":{" DB(
                "database/creds/shop") "}},\"spec\":{\"containers\":7,\"initContainers\":\"x\","
                                       "\"volumes\":{},\"securityContext\":[]}}"),
     HEAD "\"uid\":\"u-1\",\"allowed\":true,\"patchType\":\"JSONPatch\",...", LH_VERDICT_PATCHED,
     NULL},
    {"containers that are no objects", LH_REVIEW_MUTATE,
     REVIEW("Pod", "CREATE",
            "{\"kind\":\"Pod\",\"metadata\":{\"annotations\":{" DB(
                "database/creds/shop") "}},\"spec\":{\"containers\":[null,7,{},{\"name\":null}]}}"),
     HEAD "\"uid\":\"u-1\",\"allowed\":true,\"patchType\":\"JSONPatch\",...", LH_VERDICT_PATCHED,
     NULL},
};

static void review_is_answered(void **state)
{
    const struct row *r = *state;
    struct lh_inject_outcome o = {0};
    const char *dots = strstr(r->want, "...");
    size_t n = dots ? (size_t)(dots - r->want) : strlen(r->want);
    struct lh_err err = {0};
    struct lh_buf out;
    struct world w;

    assert_int_equal(world_init(&w, stores, NULL, &err), 0);
    lh_buf_init(&out, 1 << 20);
    if (lh_inject_review(&w.w, r->kind, lh_str(r->body), &out, &o, &err) < 0)
        fail_msg("%s", err.msg);
    if (strncmp(lh_buf_peek(&out).p, r->want, n) != 0 || (!dots && lh_buf_peek(&out).n != n))
        fail_msg("%s", lh_buf_peek(&out).p);
    assert_int_equal(o.verdict, r->verdict);
    if (r->reason)
        assert_string_equal(o.reason, r->reason);
    else
        assert_null(o.reason);
    lh_buf_done(&out);
    world_done(&w);
}

static const struct bad {
    const char *name;
    const char *body;
    int status;
    const char *says;
} bad[] = {
    {"nothing", "", 400, "no JSON"},
    {"no JSON", "hello", 400, "no JSON"},
    {"a cut body", "{\"kind\":\"AdmissionReview\"", 400, "no JSON"},
    {"something behind", REVIEW("Pod", "CREATE", "{}") "x", 400, "no JSON"},
    {"a key twice", REVIEW("Pod", "CREATE", "{\"a\":1,\"a\":2}"), 400, "no JSON"},
    {"invalid UTF-8", REVIEW("Pod", "CREATE", "{\"a\":\"\xff\"}"), 400, "no JSON"},
    {"another kind", "{\"kind\":\"Pod\",\"apiVersion\":\"v1\"}", 400,
     "kind must be AdmissionReview"},
    {"v1beta1",
     "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1beta1\",\"request\":{}}",
     400, "apiVersion must be admission.k8s.io/v1"},
    {"no request", "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\"}", 400,
     "request must be an object"},
    {"no uid",
     "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\",\"request\":{}}", 400,
     "request.uid"},
    {"no kind of the object",
     "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\",\"request\":{\"uid\":"
     "\"a\"}}",
     400, "request.kind"},
};

static void body_is_refused(void **state)
{
    const struct bad *r = *state;
    struct lh_admission a = {0};
    struct lh_err err = {0};

    assert_int_equal(lh_admission_parse(lh_str(r->body), &a, &err), -LH_E_INVALID);
    assert_null(a.root);
    assert_int_equal(err.http_status, r->status);
    assert_string_equal(err.reason, LH_REASON_RequestInvalid);
    if (!strstr(err.msg, r->says))
        fail_msg("\"%s\" does not say \"%s\"", err.msg, r->says);
}

static void three_mib_and_no_more(void **state)
{
    size_t n = LH_ADMISSION_MAX + 1;
    char *body = lh_malloc(n);
    struct lh_admission a;
    struct lh_err err = {0};

    (void)state;
    memset(body, ' ', n);
    assert_int_equal(lh_admission_parse((struct lh_str){body, n}, &a, &err), -LH_E_TOOBIG);
    assert_int_equal(err.http_status, 413);
    assert_int_equal(lh_admission_parse((struct lh_str){body, n - 1}, &a, &err), -LH_E_INVALID);
    lh_free(body);
}

static void depth(size_t n, enum lh_verdict verdict, const char *reason)
{
    struct lh_inject_outcome o = {0};
    struct lh_err err = {0};
    struct lh_buf body, out;
    struct world w;

    lh_buf_init(&body, 1 << 20);
    lh_buf_init(&out, 1 << 20);
    lh_buf_put_z(&body, "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\","
                        "\"request\":{\"uid\":\"deep\",\"kind\":{\"kind\":\"Pod\"},\"operation\":"
                        "\"CREATE\",\"object\":{\"kind\":\"Pod\",\"spec\":{},\"x\":");
    for (size_t i = 0; i < n; i++)
        lh_buf_put_c(&body, '[');
    for (size_t i = 0; i < n; i++)
        lh_buf_put_c(&body, ']');
    lh_buf_put_z(&body, "}}}");
    assert_int_equal(world_init(&w, stores, NULL, &err), 0);
    if (lh_inject_review(&w.w, LH_REVIEW_MUTATE, lh_buf_peek(&body), &out, &o, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(o.verdict, verdict);
    assert_non_null(strstr(lh_buf_peek(&out).p, "\"uid\":\"deep\""));
    if (reason)
        assert_string_equal(o.reason, reason);
    lh_buf_done(&body);
    lh_buf_done(&out);
    world_done(&w);
}

static void sixty_five_levels_are_denied(void **state)
{
    (void)state;
    depth(61, LH_VERDICT_UNCHANGED, NULL); /* 64 with what is around */
    depth(62, LH_VERDICT_DENIED, LH_REASON_TooLarge);
}

static void same_input_gives_the_same_bytes(void **state)
{
    struct lh_str body = LH_STR(REVIEW("Pod", "CREATE", POD("database/creds/shop")));
    struct lh_inject_outcome o;
    struct lh_buf a, b;
    struct world w, v;

    (void)state;
    lh_buf_init(&a, 1 << 20);
    lh_buf_init(&b, 1 << 20);
    assert_int_equal(world_init(&w, stores, NULL, NULL), 0);
    assert_int_equal(world_init(&v, stores, NULL, NULL), 0);
    assert_int_equal(lh_inject_review(&w.w, LH_REVIEW_MUTATE, body, &a, &o, NULL), 0);
    assert_int_equal(lh_inject_review(&v.w, LH_REVIEW_MUTATE, body, &b, &o, NULL), 0);
    assert_true(lh_str_eq(lh_buf_peek(&a), lh_buf_peek(&b)));
    lh_buf_done(&a);
    lh_buf_done(&b);
    world_done(&w);
    world_done(&v);
}

/* Every allocation fails once: an error, or the answer it would have been. */
static void memory_that_runs_out_is_survived(void **state)
{
    static const char *const bodies[] = {
        REVIEW("Pod", "CREATE", POD("database/creds/shop")),
        REVIEW("Pod", "CREATE", POD("database/creds/bank")),
    };
    struct lh_buf whole, out;
    struct lh_inject_outcome o;
    struct world w;

    (void)state;
    assert_int_equal(world_init(&w, stores, NULL, NULL), 0);
    for (size_t k = 0; k < 2; k++) {
        unsigned long allocations;

        lh_buf_init(&whole, 1 << 20);
        allocations = lh_mem_count();
        assert_int_equal(
            lh_inject_review(&w.w, LH_REVIEW_MUTATE, lh_str(bodies[k]), &whole, &o, NULL), 0);
        allocations = lh_mem_count() - allocations;
        for (unsigned long n = 1; n <= allocations; n++) {
            size_t before = lh_mem_live_blocks();
            struct lh_err err = {0};
            int rc;

            lh_buf_init(&out, 1 << 20);
            lh_mem_fail_at(n);
            rc = lh_inject_review(&w.w, LH_REVIEW_MUTATE, lh_str(bodies[k]), &out, &o, &err);
            lh_mem_fail_at(0);
            if (rc == 0 && !lh_str_eq(lh_buf_peek(&out), lh_buf_peek(&whole)))
                fail_msg("allocation %lu: another answer: %s", n, lh_buf_peek(&out).p);
            if (rc < 0)
                assert_int_equal(rc, -LH_E_NOMEM);
            lh_buf_done(&out);
            assert_int_equal(lh_mem_live_blocks(), before);
        }
        lh_buf_done(&whole);
    }
    world_done(&w);
}

int main(void)
{
    static struct CMUnitTest tests[64];
    size_t n = 0;

    lh_json_init();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        tests[n++] = (struct CMUnitTest){rows[i].name, review_is_answered, NULL, NULL,
                                         (void *)(uintptr_t)&rows[i]};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        tests[n++] = (struct CMUnitTest){bad[i].name, body_is_refused, NULL, NULL,
                                         (void *)(uintptr_t)&bad[i]};
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(three_mib_and_no_more);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(sixty_five_levels_are_denied);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(same_input_gives_the_same_bytes);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(memory_that_runs_out_is_survived);
    return _cmocka_run_group_tests("review", tests, n, NULL, NULL);
}
