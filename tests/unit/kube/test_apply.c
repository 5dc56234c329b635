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
#include "leasehold/http/client.h"
#include "leasehold/kube/apply.h"

#define COPIES "leasehold.dev/v1alpha1/secretprojections"
#define PATH   "/apis/leasehold.dev/v1alpha1/namespaces/shop/secretprojections/db"
#define WHO    "\"apiVersion\":\"leasehold.dev/v1alpha1\",\"kind\":\"SecretProjection\","
#define META   "\"metadata\":{\"name\":\"db\",\"namespace\":\"shop\"}"
#define FIN    "leasehold.dev/undo"

static const struct lh_kube_resource db = {"leasehold.dev", "v1alpha1", "secretprojections",
                                           "shop",          "db",       NULL};
static const struct lh_kube_resource db_status = {"leasehold.dev", "v1alpha1", "secretprojections",
                                                  "shop",          "db",       "status"};

static struct result {
    int calls;
    lh_json *obj; /* NULL: none came */
    struct lh_err err;
} result;

static lh_json *read_before; /* an object before trouble came */

static void forget_result(void)
{
    lh_json_unref(result.obj);
    result = (struct result){0};
}

static int setup(void **state)
{
    (void)state;
    result = (struct result){0};
    return bed_setup();
}

static int teardown(void **state)
{
    (void)state;
    forget_result();
    lh_json_unref(read_before);
    read_before = NULL;
    bed_teardown();
    return 0;
}

static void on_done(void *arg, const lh_json *obj, const struct lh_err *err)
{
    (void)arg;
    result.calls++;
    if (err)
        result.err = *err;
    result.obj = obj ? lh_json_deep_copy(obj) : NULL;
}

static bool is_done(void *arg)
{
    (void)arg;
    return result.calls > 0;
}

/* Its end, started or not. Returns the code. */
static int end(int rc)
{
    if (rc < 0)
        return -rc;
    assert_int_equal(result.calls, 0); /* from the loop, never at once */
    assert_true(bed_pass_until(is_done, NULL));
    bed_pass(200);
    assert_int_equal(result.calls, 1);
    return result.err.code;
}

static lh_json *parsed(const char *text)
{
    lh_json *v = NULL;

    if (lh_json_parse(lh_str(text), NULL, &v, NULL) < 0)
        fail_msg("no JSON: %s", text);
    return v;
}

static int apply_to(const struct lh_kube_resource *res, const char *manager, bool force,
                    const char *text)
{
    lh_auto_json lh_json *obj = parsed(text);

    forget_result();
    return end(lh_kube_apply(bed.kube, res, manager, force, obj, on_done, NULL, NULL, &result.err));
}

static int patch(const char *text)
{
    lh_auto_json lh_json *ops = parsed(text);

    forget_result();
    return end(lh_kube_json_patch(bed.kube, &db, ops, on_done, NULL, NULL, &result.err));
}

static int delete (const char *uid, const char *version)
{
    forget_result();
    return end(lh_kube_delete(bed.kube, &db, uid, version, on_done, NULL, NULL, &result.err));
}

static const lh_json *stored(void)
{
    return fake_api_get(bed.api, COPIES, "shop", "db");
}

static const char *stored_z(const char *object, const char *key)
{
    return lh_json_get_z(lh_json_get(stored(), object), key);
}

/* The object as somebody read it now; to be freed. */
static lh_json *read_now(void)
{
    return lh_json_deep_copy(stored());
}

static int finalizer(const lh_json *obj, const char *which, bool present)
{
    forget_result();
    return end(
        lh_kube_finalizer(bed.kube, &db, obj, which, present, on_done, NULL, NULL, &result.err));
}

static bool finalizers_are(const char *want)
{
    lh_auto_buf struct lh_buf b = {0};
    const lh_json *list = lh_json_path(stored(), "metadata", "finalizers", NULL);

    lh_buf_init(&b, 1000);
    for (size_t i = 0; i < lh_json_len(list); i++) {
        struct lh_str s = {NULL, 0};

        lh_json_str(lh_json_at(list, i), &s);
        lh_buf_put_str(&b, s);
        lh_buf_put_c(&b, ' ');
    }
    return lh_str_eqz(lh_buf_peek(&b), want);
}

static void put(const char *more)
{
    lh_auto_free char *json = lh_asprintf("{" META "%s}", more);

    fake_api_put(bed.api, COPIES, json);
}

/* Server-side apply. */

static void apply_creates_and_changes_its_own(void **state)
{
    lh_auto_free char *version = NULL;

    (void)state;
    assert_int_equal(
        apply_to(&db, "leasehold", false, "{" WHO META ",\"spec\":{\"a\":\"1\",\"b\":\"1\"}}"), 0);
    assert_string_equal(fake_api_request(bed.api, 0), "PATCH " PATH "?fieldManager=leasehold");
    assert_string_equal(lh_json_get_z(lh_json_get(result.obj, "spec"), "a"), "1");
    version = lh_strdup(stored_z("metadata", "resourceVersion"));
    /* The same once more writes nothing. */
    assert_int_equal(
        apply_to(&db, "leasehold", false, "{" WHO META ",\"spec\":{\"a\":\"1\",\"b\":\"1\"}}"), 0);
    assert_string_equal(stored_z("metadata", "resourceVersion"), version);
    /* What is applied no longer goes. */
    assert_int_equal(apply_to(&db, "leasehold", false, "{" WHO META ",\"spec\":{\"a\":\"2\"}}"), 0);
    assert_string_equal(stored_z("spec", "a"), "2");
    assert_null(stored_z("spec", "b"));
}

static void apply_leaves_others_fields_alone(void **state)
{
    (void)state;
    assert_int_equal(apply_to(&db, "user", false, "{" WHO META ",\"spec\":{\"a\":\"1\"}}"), 0);
    assert_int_equal(apply_to(&db, "leasehold", false, "{" WHO META ",\"spec\":{\"b\":\"1\"}}"), 0);
    assert_int_equal(apply_to(&db, "leasehold", false, "{" WHO META "}"), 0);
    assert_string_equal(stored_z("spec", "a"), "1");
    assert_null(stored_z("spec", "b"));
}

static void apply_conflicts_unless_forced(void **state)
{
    (void)state;
    assert_int_equal(apply_to(&db, "user", false, "{" WHO META ",\"spec\":{\"a\":\"1\"}}"), 0);
    assert_int_equal(apply_to(&db, "leasehold", false, "{" WHO META ",\"spec\":{\"a\":\"2\"}}"),
                     LH_E_CONFLICT);
    assert_null(result.obj);
    assert_non_null(strstr(result.err.msg, "secretprojections/db"));
    assert_string_equal(stored_z("spec", "a"), "1");
    assert_int_equal(apply_to(&db, "leasehold", true, "{" WHO META ",\"spec\":{\"a\":\"2\"}}"), 0);
    assert_string_equal(fake_api_request(bed.api, 2),
                        "PATCH " PATH "?fieldManager=leasehold&force=true");
    assert_string_equal(stored_z("spec", "a"), "2");
}

static void apply_of_status_is_of_status_alone(void **state)
{
    (void)state;
    assert_int_equal(
        apply_to(&db_status, "leasehold-status", false, "{" WHO META ",\"status\":{\"x\":\"1\"}}"),
        LH_E_NOTFOUND);
    assert_int_equal(apply_to(&db, "user", false,
                              "{" WHO META ",\"spec\":{\"a\":\"1\"},\"status\":{\"x\":\"0\"}}"),
                     0);
    assert_null(stored_z("status", "x"));
    assert_int_equal(apply_to(&db_status, "leasehold-status", false,
                              "{" WHO META ",\"spec\":{\"a\":\"2\"},\"status\":{\"x\":\"1\"}}"),
                     0);
    assert_string_equal(fake_api_request(bed.api, 2),
                        "PATCH " PATH "/status?fieldManager=leasehold-status");
    assert_string_equal(stored_z("status", "x"), "1");
    assert_string_equal(stored_z("spec", "a"), "1");
    assert_int_equal(lh_json_get_int(lh_json_get(stored(), "metadata"), "generation", 0), 1);
}

/* An object of the same name that came after a deletion is not what was meant. */
static void apply_with_a_uid_makes_no_other_object(void **state)
{
    (void)state;
    put("");
    assert_int_equal(apply_to(&db, "leasehold", false,
                              "{" WHO "\"metadata\":{\"name\":\"db\",\"uid\":\"other\"}}"),
                     LH_E_CONFLICT);
    fake_api_delete(bed.api, COPIES, "shop", "db");
    assert_int_equal(apply_to(&db, "leasehold", false,
                              "{" WHO "\"metadata\":{\"name\":\"db\",\"uid\":\"other\"}}"),
                     LH_E_CONFLICT);
    assert_null(stored());
}

static void apply_says_what_is_missing(void **state)
{
    const struct lh_kube_resource unnamed = {"leasehold.dev", "v1alpha1", "secretprojections",
                                             "shop",          NULL,       NULL};

    (void)state;
    assert_int_equal(apply_to(&db, "m", false, "{\"kind\":\"A\"," META "}"), LH_E_INVALID);
    assert_int_equal(apply_to(&db, "m", false, "{\"apiVersion\":\"v1\"," META "}"), LH_E_INVALID);
    assert_int_equal(apply_to(&db, "m", false, "{" WHO "\"metadata\":{}}"), LH_E_INVALID);
    assert_int_equal(apply_to(&db, "m", false, "{" WHO "\"metadata\":{\"name\":\"x\"}}"),
                     LH_E_INVALID);
    assert_int_equal(fake_api_requests(bed.api), 0);
    assert_int_equal(apply_to(&unnamed, "a&b", false, "{" WHO META "}"), 0);
    assert_string_equal(fake_api_request(bed.api, 0), "PATCH " PATH "?fieldManager=a%26b");
}

/* JSON patch. */

static const struct patched {
    const char *name, *patch;
    int want;
    const char *value; /* of spec.a afterwards */
} patches[] = {
    {"a test that holds lets a patch pass",
     "[{\"op\":\"test\",\"path\":\"/spec/a\",\"value\":\"1\"},"
     "{\"op\":\"replace\",\"path\":\"/spec/a\",\"value\":\"2\"}]",
     0, "2"},
    {"a test that fails is a conflict, and nothing is done",
     "[{\"op\":\"replace\",\"path\":\"/spec/a\",\"value\":\"2\"},"
     "{\"op\":\"test\",\"path\":\"/spec/b\",\"value\":\"1\"}]",
     LH_E_CONFLICT, "1"},
    {"a test on another resource version is a conflict",
     "[{\"op\":\"test\",\"path\":\"/metadata/resourceVersion\",\"value\":\"1\"},"
     "{\"op\":\"replace\",\"path\":\"/spec/a\",\"value\":\"2\"}]",
     LH_E_CONFLICT, "1"},
    {"a patch without tests that does not fit is wrong",
     "[{\"op\":\"remove\",\"path\":\"/spec/none\"}]", LH_E_INVALID, "1"},
};

static void patches_with_tests(void **state)
{
    const struct patched *p = *state;

    put(",\"spec\":{\"a\":\"1\"}");
    assert_int_equal(patch(p->patch), p->want);
    assert_string_equal(fake_api_request(bed.api, 0), "PATCH " PATH);
    assert_string_equal(stored_z("spec", "a"), p->value);
    if (p->want == LH_E_CONFLICT)
        assert_non_null(strstr(result.err.msg, "changed since it was read"));
}

/* The object that comes out is wrong: no conflict, and trying again is no use. */
static void a_patch_to_something_invalid_is_invalid(void **state)
{
    const struct fake_api_fault invalid = {
        .status = 422,
        .body = "{\"kind\":\"Status\",\"code\":422,\"reason\":\"Invalid\",\"details\":{\"causes\":"
                "[{\"reason\":\"FieldValueInvalid\",\"field\":\"spec.a\"}]}}"};

    (void)state;
    put(",\"spec\":{\"a\":\"1\"}");
    fake_api_fault(bed.api, &invalid);
    assert_int_equal(patch("[{\"op\":\"test\",\"path\":\"/spec/a\",\"value\":\"1\"},"
                           "{\"op\":\"replace\",\"path\":\"/spec/a\",\"value\":\"2\"}]"),
                     LH_E_INVALID);
}

/* Delete. */

static const struct deletion {
    const char *name;
    const char *uid, *version; /* "ok": what it has; NULL: not asked */
    bool there, finalizer;
    int want;
    bool stays;
} deletions[] = {
    {"deletes without a condition", NULL, NULL, true, false, 0, false},
    {"deletes what it means", "ok", "ok", true, false, 0, false},
    {"another uid stays", "other", NULL, true, false, LH_E_CONFLICT, true},
    {"another version stays", NULL, "1", true, false, LH_E_CONFLICT, true},
    {"what is not there is deleted", "ok", NULL, false, false, 0, false},
    {"what has a finalizer waits for it", "ok", NULL, true, true, 0, true},
};

static void deletes_with_preconditions(void **state)
{
    const struct deletion *d = *state;
    lh_auto_json lh_json *was = NULL;
    const lh_json *meta;
    const char *uid = d->uid, *version = d->version;

    put("");
    if (d->finalizer)
        fake_api_put(bed.api, COPIES,
                     "{\"metadata\":{\"name\":\"db\",\"namespace\":\"shop\",\"finalizers\":[\"" FIN
                     "\"]}}");
    was = read_now();
    meta = lh_json_get(was, "metadata");
    if (uid && strcmp(uid, "ok") == 0)
        uid = lh_json_get_z(meta, "uid");
    if (version && strcmp(version, "ok") == 0)
        version = lh_json_get_z(meta, "resourceVersion");
    if (!d->there)
        fake_api_delete(bed.api, COPIES, "shop", "db");
    assert_int_equal(delete (uid, version), d->want);
    assert_int_equal(stored() != NULL, d->stays);
    assert_string_equal(fake_api_request(bed.api, 0), "DELETE " PATH);
    if (d->finalizer)
        assert_non_null(stored_z("metadata", "deletionTimestamp"));
}

/* Finalizers. */

static void finalizers_come_and_go(void **state)
{
    lh_auto_json lh_json *obj = NULL;

    (void)state;
    put("");
    obj = read_now();
    assert_int_equal(finalizer(obj, FIN, true), 0);
    assert_true(finalizers_are(FIN " "));
    assert_non_null(result.obj);
    /* It is there: nothing is asked. */
    lh_json_unref(obj);
    obj = read_now();
    fake_api_forget_requests(bed.api);
    assert_int_equal(finalizer(obj, FIN, true), 0);
    assert_int_equal(fake_api_requests(bed.api), 0);
    assert_true(lh_json_equal(result.obj, obj));
    assert_int_equal(finalizer(obj, "other/one", false), 0);
    assert_int_equal(fake_api_requests(bed.api), 0);
    /* A second one, and the first goes. */
    assert_int_equal(finalizer(obj, "other/one", true), 0);
    assert_true(finalizers_are(FIN " other/one "));
    lh_json_unref(obj);
    obj = read_now();
    assert_int_equal(finalizer(obj, FIN, false), 0);
    assert_true(finalizers_are("other/one "));
}

/* What was read is old: somebody else may have put their finalizer in its place. */
static void an_old_object_is_no_ground_for_a_finalizer(void **state)
{
    lh_auto_json lh_json *old = NULL, *uidless = parsed("{" META "}");

    (void)state;
    fake_api_put(bed.api, COPIES,
                 "{\"metadata\":{\"name\":\"db\",\"namespace\":\"shop\",\"finalizers\":[\"" FIN
                 "\",\"other/one\"]}}");
    old = read_now();
    fake_api_put(bed.api, COPIES,
                 "{\"metadata\":{\"name\":\"db\",\"namespace\":\"shop\",\"finalizers\":[\""
                 "other/one\",\"" FIN "\"]}}");
    assert_int_equal(finalizer(old, FIN, false), LH_E_CONFLICT);
    assert_true(finalizers_are("other/one " FIN " "));
    fake_api_delete(bed.api, COPIES, "shop", "db");
    assert_int_equal(finalizer(old, FIN, false), LH_E_NOTFOUND);
    put(""); /* another object under the old name */
    assert_int_equal(finalizer(old, FIN, false), LH_E_CONFLICT);
    assert_int_equal(finalizer(uidless, FIN, true), LH_E_INVALID);
}

static void the_last_finalizer_lets_it_go(void **state)
{
    lh_auto_json lh_json *obj = NULL;

    (void)state;
    fake_api_put(bed.api, COPIES,
                 "{\"metadata\":{\"name\":\"db\",\"namespace\":\"shop\",\"finalizers\":[\"" FIN
                 "\"]}}");
    assert_int_equal(delete (NULL, NULL), 0);
    obj = read_now();
    assert_int_equal(finalizer(obj, "late/one", true), LH_E_INVALID); /* too late */
    assert_int_equal(finalizer(obj, FIN, false), 0);
    assert_null(stored());
}

/* Trouble, the same for every kind of write. */

static int write_apply(void)
{
    return apply_to(&db, "leasehold", false, "{" WHO META ",\"spec\":{\"a\":\"2\"}}");
}

static int write_patch(void)
{
    return patch("[{\"op\":\"test\",\"path\":\"/spec/a\",\"value\":\"1\"},"
                 "{\"op\":\"replace\",\"path\":\"/spec/a\",\"value\":\"2\"}]");
}

static int write_delete(void)
{
    return delete (lh_json_get_z(lh_json_get(read_before, "metadata"), "uid"), NULL);
}

static int write_finalizer(void)
{
    return finalizer(read_before, FIN, true);
}

static const struct write {
    const char *name;
    int (*write)(void);
    int again; /* the answer to the same once more, after it was done */
} writes[] = {
    {"apply", write_apply, 0},
    {"JSON patch", write_patch, LH_E_CONFLICT},
    {"delete", write_delete, 0},
    {"finalizer", write_finalizer, LH_E_CONFLICT},
};

static const struct trouble {
    const char *name;
    struct fake_api_fault fault;
    int want;
    size_t requests;
    bool done; /* nevertheless */
} troubles[] = {
    {"429 once", {.status = 429, .headers = "Retry-After: 2\r\n", .times = 1}, 0, 2, true},
    {"429 for ever", {.status = 429, .headers = "Retry-After: 1\r\n"}, LH_E_BUSY, 11, false},
    {"500", {.status = 500, .times = 1}, LH_E_UNAVAILABLE, 1, false},
    {"503 that says when",
     {.status = 503, .headers = "Retry-After: 1\r\n", .times = 1},
     LH_E_UNAVAILABLE,
     1,
     false},
    {"504", {.status = 504, .times = 1}, LH_E_UNAVAILABLE, 1, false},
    {"403", {.status = 403, .times = 1}, LH_E_DENIED, 1, false},
    {"a connection that drops", {.times = 1}, LH_E_UNAVAILABLE, 1, false},
    {"an answer that gets lost", {.after = true, .times = 1}, LH_E_UNAVAILABLE, 1, true},
    {"no answer", {.stall = true, .times = 1}, LH_E_UNAVAILABLE, 1, false},
};

struct combination {
    char name[80];
    const struct write *w;
    const struct trouble *t;
};

/* One request, one word about its end; nothing of it is sent a second time but after 429. */
static void tells_of_trouble(void **state)
{
    const struct combination *c = *state;
    lh_auto_free char *version = NULL;
    int rc;

    put(",\"spec\":{\"a\":\"1\"}");
    read_before = read_now();
    version = lh_strdup(stored_z("metadata", "resourceVersion"));
    fake_api_fault(bed.api, &c->t->fault);
    rc = c->w->write();
    assert_int_equal(rc, c->t->want);
    assert_int_equal(fake_api_requests(bed.api), c->t->requests);
    assert_int_equal(!stored() || strcmp(stored_z("metadata", "resourceVersion"), version) != 0,
                     c->t->done);
    fake_api_fault_clear(bed.api);
    bed_pass(30000);
    /* Whoever is unsure does the same once more, and it does no harm. */
    assert_int_equal(c->w->write(), c->t->done ? c->w->again : 0);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

static int run_combinations(void)
{
    enum { N = LH_ARRAY_LEN(writes) * LH_ARRAY_LEN(troubles) };
    static struct combination all[N];
    struct CMUnitTest rows[N];

    for (size_t i = 0; i < N; i++) {
        all[i].w = &writes[i / LH_ARRAY_LEN(troubles)];
        all[i].t = &troubles[i % LH_ARRAY_LEN(troubles)];
        snprintf(all[i].name, sizeof(all[i].name), "%s: %s", all[i].w->name, all[i].t->name);
        rows[i] = (struct CMUnitTest){all[i].name, tells_of_trouble, setup, teardown, &all[i]};
    }
    return cmocka_run_group_tests_name("writes and trouble", rows, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(apply_creates_and_changes_its_own),
        CASE(apply_leaves_others_fields_alone),
        CASE(apply_conflicts_unless_forced),
        CASE(apply_of_status_is_of_status_alone),
        CASE(apply_with_a_uid_makes_no_other_object),
        CASE(apply_says_what_is_missing),
        CASE(a_patch_to_something_invalid_is_invalid),
        CASE(finalizers_come_and_go),
        CASE(an_old_object_is_no_ground_for_a_finalizer),
        CASE(the_last_finalizer_lets_it_go),
    };
    struct CMUnitTest rows[LH_ARRAY_LEN(patches) + LH_ARRAY_LEN(deletions)];
    size_t n = 0;
    int failures;

    if (lh_http_global_init(NULL) < 0)
        return 1;
    for (size_t i = 0; i < LH_ARRAY_LEN(patches); i++)
        rows[n++] = (struct CMUnitTest){patches[i].name, patches_with_tests, setup, teardown,
                                        (void *)(uintptr_t)&patches[i]};
    for (size_t i = 0; i < LH_ARRAY_LEN(deletions); i++)
        rows[n++] = (struct CMUnitTest){deletions[i].name, deletes_with_preconditions, setup,
                                        teardown, (void *)(uintptr_t)&deletions[i]};
    failures = cmocka_run_group_tests_name("writes", tests, NULL, NULL);
    failures += cmocka_run_group_tests_name("patches and deletions", rows, NULL, NULL);
    return failures + run_combinations();
}
