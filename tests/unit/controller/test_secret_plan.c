/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "leasehold/api/drain.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"
#include "secret_plan.h"

static const struct secret_owner owner = {"shop", "db", "u1"};

static lh_json *parse(const char *text)
{
    lh_json *v = NULL;

    return lh_json_parse(lh_str(text), NULL, &v, NULL) < 0 ? NULL : v;
}

static struct spec_row {
    const char *name, *json, *type; /* type NULL: refused, naming field */
    const char *field;
    bool adopt;
} spec_rows[] = {
    {"a type left out is Opaque", "{\"name\":\"db\"}", "Opaque", NULL, false},
    {"takes over when it is told to", "{\"name\":\"db\",\"adopt\":true}", "Opaque", NULL, true},
    {"takes a type of the list", "{\"name\":\"db\",\"type\":\"kubernetes.io/tls\"}",
     "kubernetes.io/tls", NULL, false},
    {"refuses an account's token",
     "{\"name\":\"db\",\"type\":\"kubernetes.io/service-account-token\"}", NULL, "type", false},
    {"refuses a token that joins nodes",
     "{\"name\":\"db\",\"type\":\"bootstrap.kubernetes.io/token\"}", NULL, "type", false},
    {"refuses a type nobody knows", "{\"name\":\"db\",\"type\":\"example.com/x\"}", NULL, "type",
     false},
    {"refuses a type that is no text", "{\"name\":\"db\",\"type\":1}", NULL, "type", false},
    {"wants a name", "{}", NULL, "name", false},
    {"wants a name that Kubernetes takes", "{\"name\":\"Db/x\"}", NULL, "name", false},
};

static void reads_spec(void **state)
{
    const struct spec_row *r = *state;
    lh_auto_json lh_json *v = parse(r->json);
    struct secret_spec s = {0};
    struct lh_err err = {0};
    int rc = secret_spec_read(v, &s, &err);

    assert_int_equal(rc, r->type ? 0 : -LH_E_INVALID);
    if (!r->type) {
        assert_non_null(strstr(err.msg, r->field));
        assert_null(s.name);
        return;
    }
    assert_string_equal(s.type, r->type);
    assert_int_equal(s.adopt, r->adopt);
}

#define OWNED(uid, ctl) "{\"ownerReferences\":[{\"uid\":\"" uid "\",\"controller\":" ctl "}]}"
#define LABELED(uid)    "{\"labels\":{\"" SECRET_LABEL "\":\"" uid "\"}}"

static struct claim_row {
    const char *name, *meta;
    bool adopt;
    enum secret_claim want;
} claim_rows[] = {
    {"nothing is there", NULL, false, SECRET_ABSENT},
    {"the projection owns it", OWNED("u1", "true"), false, SECRET_OURS},
    {"the label tells, too", LABELED("u1"), false, SECRET_OURS},
    {"a label of another projection does not", LABELED("u2"), false, SECRET_FOREIGN},
    {"a Secret of nobody is not ours", "{}", false, SECRET_FOREIGN},
    {"a Secret of nobody is taken over", "{}", true, SECRET_TAKEN_OVER},
    {"what somebody controls is never taken over", OWNED("u2", "true"), true, SECRET_FOREIGN},
    {"what somebody merely owns is", OWNED("u2", "false"), true, SECRET_TAKEN_OVER},
    {"our label does not help against a controller",
     "{\"labels\":{\"" SECRET_LABEL "\":\"u1\"},\"ownerReferences\":[{\"uid\":\"u2\","
     "\"controller\":true}]}",
     false, SECRET_FOREIGN},
    {"what a drain let go may come back", "{\"annotations\":{\"" LH_KEPT_OF "\":\"u1\"}}", false,
     SECRET_OURS},
    {"but not to another", "{\"annotations\":{\"" LH_KEPT_OF "\":\"u2\"}}", false, SECRET_FOREIGN},
    {"nor once it is another's",
     "{\"labels\":{\"" SECRET_LABEL "\":\"u2\"},\"annotations\":{\"" LH_KEPT_OF "\":\"u1\"}}",
     false, SECRET_FOREIGN},
};

static void claims(void **state)
{
    const struct claim_row *r = *state;
    lh_auto_json lh_json *meta = r->meta ? parse(r->meta) : NULL;

    assert_int_equal(secret_claim(meta, &owner, r->adopt), r->want);
}

/* Released in the teardown, since a failed assert jumps over cleanup. */
static struct lh_rendered_set set;
static lh_json *planned;

static void add(const char *path, const char *bytes, size_t n)
{
    struct lh_rendered *v = lh_realloc(set.v, (set.n + 1) * sizeof(*v));

    set.v = v;
    v[set.n] = (struct lh_rendered){.path = lh_strdup(path), .mode = 0440};
    if (lh_secret_copy(bytes, n, &v[set.n].bytes, NULL) == 0)
        set.n++;
}

static int teardown(void **state)
{
    (void)state;
    lh_rendered_set_done(&set);
    set = (struct lh_rendered_set){0};
    lh_json_unref(planned);
    planned = NULL;
    return 0;
}

static void is_what_the_server_is_to_hold(void **state)
{
    const struct secret_spec spec = {"db-copy", "Opaque", false};
    lh_auto_buf struct lh_buf b;
    struct lh_err err = {0};

    (void)state;
    lh_buf_init(&b, 4096);
    add("db/username", "bob", 3);
    add("raw", "\0\xff", 2);
    assert_int_equal(secret_plan(&spec, &owner, "s9", &set, &planned, &err), 0);
    lh_json_write(planned, LH_JSON_SORTED, &b);
    assert_string_equal(
        lh_buf_peek(&b).p,
        "{\"apiVersion\":\"v1\",\"data\":{\"raw\":\"AP8=\",\"username\":\"Ym9i\"},"
        "\"kind\":\"Secret\",\"metadata\":{\"labels\":{\"" SECRET_LABEL "\":\"u1\"},"
        "\"name\":\"db-copy\",\"namespace\":\"shop\",\"ownerReferences\":[{\"apiVersion\":"
        "\"leasehold.dev/v1alpha1\",\"blockOwnerDeletion\":true,\"controller\":true,"
        "\"kind\":\"SecretProjection\",\"name\":\"db\",\"uid\":\"u1\"}],\"uid\":\"s9\"},"
        "\"type\":\"Opaque\"}");
}

static struct bad_row {
    const char *name, *a, *b, *reason;
    size_t bytes;
    int want;
} bad_rows[] = {
    {"two files of one key", "a/user", "b/user", LH_REASON_FileConflict, 3, LH_E_INVALID},
    {"a key with a blank", "a b", NULL, LH_REASON_FileConflict, 3, LH_E_INVALID},
    {"a key of two dots", "..x", NULL, LH_REASON_FileConflict, 3, LH_E_INVALID},
    {"more than a Secret holds", "a", "b", LH_REASON_TooLarge, SECRET_DATA_MAX / 2, LH_E_TOOBIG},
};

static void refuses(void **state)
{
    const struct bad_row *r = *state;
    const struct secret_spec spec = {"db-copy", "Opaque", false};
    struct lh_err err = {0};
    char *bytes = lh_calloc(1, r->bytes);

    memset(bytes, 'v', r->bytes);
    add(r->a, bytes, r->bytes);
    if (r->b)
        add(r->b, bytes, r->bytes);
    lh_free(bytes);
    assert_int_equal(secret_plan(&spec, &owner, NULL, &set, &planned, &err), -r->want);
    assert_ptr_equal(err.reason, r->reason);
    assert_null(planned);
    assert_non_null(strstr(err.msg, "db-copy"));
    assert_null(strstr(err.msg, "vvv"));
}

/* Only what is named is ours afterwards: what an apply leaves out, it takes away. */
static void stays_without_us(void **state)
{
    lh_auto_json lh_json *secret = parse(
        "{\"metadata\":{\"name\":\"c\",\"namespace\":\"shop\",\"uid\":\"s1\","
        "\"resourceVersion\":\"7\",\"labels\":{\"" SECRET_LABEL "\":\"u1\"},"
        "\"ownerReferences\":[{\"uid\":\"u1\"}]},\"type\":\"Opaque\",\"data\":{\"k\":\"dg==\"}}");
    lh_auto_json lh_json *want =
        parse("{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"c\","
              "\"namespace\":\"shop\",\"uid\":\"s1\",\"resourceVersion\":\"7\",\"annotations\":{"
              "\"" LH_KEPT_OF "\":\"u1\"}},\"type\":\"Opaque\",\"data\":{\"k\":\"dg==\"}}");

    (void)state;
    assert_int_equal(secret_plan_kept(secret, "u1", &planned, NULL), 0);
    assert_true(lh_json_equal(planned, want));
}

int main(void)
{
    struct CMUnitTest
        tests[LH_ARRAY_LEN(spec_rows) + LH_ARRAY_LEN(claim_rows) + LH_ARRAY_LEN(bad_rows) + 2];
    size_t n = 0;

    lh_json_init();
    for (size_t i = 0; i < LH_ARRAY_LEN(spec_rows); i++)
        tests[n++] = (struct CMUnitTest){spec_rows[i].name, reads_spec, NULL, NULL, &spec_rows[i]};
    for (size_t i = 0; i < LH_ARRAY_LEN(claim_rows); i++)
        tests[n++] = (struct CMUnitTest){claim_rows[i].name, claims, NULL, NULL, &claim_rows[i]};
    for (size_t i = 0; i < LH_ARRAY_LEN(bad_rows); i++)
        tests[n++] = (struct CMUnitTest){bad_rows[i].name, refuses, NULL, teardown, &bad_rows[i]};
    tests[n++] = (struct CMUnitTest)cmocka_unit_test_setup_teardown(is_what_the_server_is_to_hold,
                                                                    NULL, teardown);
    tests[n++] =
        (struct CMUnitTest)cmocka_unit_test_setup_teardown(stays_without_us, NULL, teardown);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
