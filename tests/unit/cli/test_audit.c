/* SPDX-License-Identifier: Apache-2.0 */
/* audit: keys to resources, planted faults to verdicts, and no value in any output. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "audit_facts.h"
#include "audit_servers.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"

#define CANARY "c4n4ry-value-that-must-not-be-shown"

static const struct path_row {
    const char *key, *resource, *namespace_, *name; /* resource NULL: no object's key */
} paths[] = {
    {"/registry/secrets/shop/db", "secrets", "shop", "db"},
    {"/registry/deployments/shop/web", "deployments.apps", "shop", "web"},
    {"/registry/namespaces/shop", "namespaces", "", "shop"},
    {"/registry/minions/node-a", "nodes", "", "node-a"},
    {"/registry/services/endpoints/shop/web", "endpoints", "shop", "web"},
    {"/registry/services/specs/shop/web", "services", "shop", "web"},
    {"/registry/example.org/things/shop/x", "things.example.org", "shop", "x"},
    {"/registry/example.org/things/x", "things.example.org", "", "x"},
    {"/registry/secrets/a/b/c", NULL, NULL, NULL},
    {"/registry/secrets//b", NULL, NULL, NULL},
    {"/registry/secrets", NULL, NULL, NULL},
    {"/registryx/secrets/a/b", NULL, NULL, NULL},
    {"compact_rev_key", NULL, NULL, NULL},
};

static void parses_keys(void **state)
{
    struct audit_path p;

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(paths); i++) {
        bool is = audit_path_parse(lh_str(paths[i].key), LH_STR("/registry/"), &p);

        assert_int_equal(is, paths[i].resource != NULL);
        if (!is)
            continue;
        assert_string_equal(p.resource, paths[i].resource);
        assert_true(lh_str_eqz(p.namespace_, paths[i].namespace_));
        assert_true(lh_str_eqz(p.name, paths[i].name));
    }
}

static void add(struct audit *a, const char *key, enum audit_protection protection,
                const char *provider, const char *name, const char *id)
{
    const struct audit_value v = {.protection = protection,
                                  .provider = provider,
                                  .name = lh_str(name),
                                  .key = lh_str(id),
                                  .plain = LH_STR(CANARY)};
    struct audit_path p;

    assert_true(audit_path_parse(lh_str(key), LH_STR("/registry"), &p));
    assert_int_equal(audit_add(a, &p, &v, NULL), 0);
    a->has_bytes = true;
}

static enum audit_result result_of(const struct audit *a, const char *id)
{
    struct lh_vec v;
    enum audit_result r = AUDIT_NOT_PROVEN;

    lh_vec_init(&v, sizeof(struct audit_verdict));
    assert_int_equal(audit_judge(a, &v, NULL), 0);
    for (size_t i = 0; i < v.n; i++) {
        const struct audit_verdict *one = lh_vec_at(&v, i);

        if (strcmp(one->check->id, id) == 0)
            r = one->result;
    }
    audit_verdicts_done(&v);
    return r;
}

static void nothing_seen_never_passes(void **state)
{
    struct audit a;
    struct lh_vec v;

    (void)state;
    assert_int_equal(audit_init(&a, NULL), 0);
    lh_vec_init(&v, sizeof(struct audit_verdict));
    assert_int_equal(audit_judge(&a, &v, NULL), 0);
    assert_true(v.n > 0);
    for (size_t i = 0; i < v.n; i++)
        assert_int_not_equal(((struct audit_verdict *)lh_vec_at(&v, i))->result, AUDIT_PASS);
    audit_verdicts_done(&v);
    audit_done(&a);
}

static void plain_text_fails(void **state)
{
    struct audit a;

    (void)state;
    assert_int_equal(audit_init(&a, NULL), 0);
    add(&a, "/registry/secrets/shop/a", AUDIT_KMS, "kmsv2", "vault", "k1");
    assert_int_equal(result_of(&a, "P01"), AUDIT_PASS);
    assert_int_equal(result_of(&a, "P07"), AUDIT_NOT_PROVEN);
    add(&a, "/registry/secrets/shop/b", AUDIT_KMS, "kmsv2", "vault", "k2");
    assert_int_equal(result_of(&a, "P07"), AUDIT_FAIL);
    add(&a, "/registry/secrets/shop/c", AUDIT_MALFORMED, "unknown", "", "");
    assert_int_equal(result_of(&a, "P01"), AUDIT_NOT_PROVEN);
    add(&a, "/registry/secrets/shop/d", AUDIT_NONE, "identity", "", "");
    assert_int_equal(result_of(&a, "P01"), AUDIT_FAIL);
    audit_done(&a);
}

static void shows_no_value(void **state)
{
    static void (*const writers[])(const struct audit *, const struct lh_vec *, struct lh_buf *) = {
        audit_put_text, audit_put_json, audit_put_html};
    struct audit a;
    struct lh_vec v;

    (void)state;
    assert_int_equal(audit_init(&a, NULL), 0);
    a.hash_names = true;
    add(&a, "/registry/secrets/hiddenns/a", AUDIT_NONE, "identity", "", "");
    add(&a, "/registry/secrets/hiddenns/b", AUDIT_LOCAL, "secretbox", "key1", "");
    lh_vec_init(&v, sizeof(struct audit_verdict));
    assert_int_equal(audit_judge(&a, &v, NULL), 0);
    for (size_t i = 0; i < LH_ARRAY_LEN(writers); i++) {
        struct lh_buf b;
        struct lh_str s;

        lh_buf_init(&b, (size_t)1024 * 1024);
        writers[i](&a, &v, &b);
        s = lh_buf_peek(&b);
        assert_true(s.n > 0);
        assert_null(memmem(s.p, s.n, CANARY, strlen(CANARY)));
        assert_null(memmem(s.p, s.n, "hiddenns", 8));
        lh_buf_done(&b);
    }
    audit_verdicts_done(&v);
    audit_done(&a);
}

static void text_fits_a_terminal(void **state)
{
    static const char *const facts[] = {"rule secrets kmsv2:vault identity",
                                        "socket /run/kms/kms.sock absent",
                                        "config 0644 33 0777 91",
                                        "stored secrets/team-a/x identity",
                                        "stored secrets/team-b/y kmsv2 vault k1",
                                        "stored things.example.org/team-b/y/z identity",
                                        "canary kmsv2 vault k2",
                                        NULL};
    struct lh_str all, line;
    struct audit a;
    struct lh_vec v;
    struct lh_buf b;

    (void)state;
    assert_int_equal(audit_init(&a, NULL), 0);
    audit_facts(&a, facts);
    assert_int_equal(audit_trouble(&a, NULL, "%0200d %s", 0, "and what comes behind it"), 0);
    lh_vec_init(&v, sizeof(struct audit_verdict));
    assert_int_equal(audit_judge(&a, &v, NULL), 0);
    lh_buf_init(&b, (size_t)1024 * 1024);
    audit_put_text(&a, &v, &b);
    assert_int_equal(lh_buf_check(&b, NULL), 0);
    all = lh_buf_peek(&b);
    for (size_t i = 0; i < v.n; i++)
        assert_non_null(memmem(all.p, all.n,
                               ((struct audit_verdict *)lh_vec_at(&v, i))->check->title,
                               strlen(((struct audit_verdict *)lh_vec_at(&v, i))->check->title)));
    while (all.n) {
        lh_str_cut(all, '\n', &line, &all);
        /* What is one word cannot be cut, and stands alone. */
        assert_true(line.n <= 80 || !memchr(line.p + 4, ' ', line.n - 4));
    }
    lh_buf_done(&b);
    audit_verdicts_done(&v);
    audit_done(&a);
}

static void reads_metrics(void **state)
{
    static const char text[] =
        "# HELP x y\n"
        "apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds{key_id_hash="
        "\"sha256:aa\",provider_name=\"v\"} 100\n"
        "apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds{key_id_hash="
        "\"sha256:bb\",provider_name=\"v\"} 1e3\n"
        "apiserver_request_total{code=\"200\",verb=\"LIST\"} 7\n"
        "apiserver_request_total{code=\"500\",verb=\"LIST\"} 5\nbroken{a=\"\n";
    struct audit a;
    struct audit_server s = {0};
    double at;

    (void)state;
    assert_int_equal(audit_init(&a, NULL), 0);
    s.name = lh_strdup("one");
    lh_vec_init(&s.series, sizeof(struct audit_series));
    assert_int_equal(audit_metrics_read(lh_str(text), &s, NULL), 0);
    assert_string_equal(audit_metrics_status(&s, "v", &at), "sha256:bb");
    assert_true(at > 999 && at < 1001);
    assert_true(audit_metrics_sum(&s, AUDIT_METRIC_LISTS, NULL, NULL) > 11);
    assert_non_null(lh_vec_push(&a.servers, &s));
    audit_done(&a);
}

/* 2027-01-15T08:00:00Z */
#define NOW_MS INT64_C(1800000000000)

static void free_urls(struct lh_vec *urls)
{
    for (size_t i = 0; i < urls->n; i++)
        lh_free(*(char **)lh_vec_at(urls, i));
    lh_vec_done(urls);
}

static void assert_urls(const struct lh_vec *urls, const char *const *want)
{
    size_t n = 0;

    for (; want[n]; n++) {
        assert_true(n < urls->n);
        assert_string_equal(*(char **)lh_vec_at(urls, n), want[n]);
    }
    assert_int_equal(urls->n, n);
}

static int put_lease(lh_json *items, const char *at, const char *renewed)
{
    lh_json *lease = lh_json_new_object(), *meta = lh_json_new_object();
    lh_json *notes = lh_json_new_object(), *spec = lh_json_new_object();
    int rc = lh_json_set(notes, "kubernetes.io/peer-advertise-address", lh_json_new_z(at));

    rc |= lh_json_set(meta, "annotations", notes);
    rc |= lh_json_set(spec, "renewTime", lh_json_new_z(renewed));
    rc |= lh_json_set(lease, "metadata", meta);
    rc |= lh_json_set(lease, "spec", spec);
    return rc | lh_json_push(items, lease);
}

static void counts_api_servers_by_their_leases(void **state)
{
    static const struct {
        const char *at, *renewed;
    } leases[] = {
        {"10.0.0.1:6443", "2027-01-15T07:59:30.000000Z"},
        {"[fd00::1]:6443", "2027-01-15T07:59:59Z"},
        {"10.0.0.3:6443", "2027-01-15T07:58:00Z"}, /* it is gone */
        {"10.0.0.1:6443", "2027-01-15T07:59:59Z"},
        {"fd00::2", "2027-01-15T07:59:59Z"},
        {"", "2027-01-15T07:59:59Z"},
        {"10.0.0.4:6443", "yesterday"},
    };
    static const char *const want[] = {"https://10.0.0.1:6443", "https://[fd00::1]:6443", NULL};
    lh_auto_json lh_json *list = lh_json_new_object();
    lh_json *items = lh_json_new_array();
    struct lh_vec urls;
    unsigned alive = 0;

    (void)state;
    lh_vec_init(&urls, sizeof(char *));
    for (size_t i = 0; i < LH_ARRAY_LEN(leases); i++)
        assert_int_equal(put_lease(items, leases[i].at, leases[i].renewed), 0);
    assert_int_equal(lh_json_set(list, "items", items), 0);
    assert_int_equal(audit_servers_by_leases(list, NOW_MS, &alive, &urls, NULL), 0);
    assert_int_equal(alive, 5);
    assert_urls(&urls, want);
    free_urls(&urls);
}

static void finds_api_servers_by_their_endpoints(void **state)
{
    static const char text[] =
        "{\"items\":[{\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"https\",\"port\":6443}],"
        "\"endpoints\":[{\"addresses\":[\"10.0.0.1\"]},{\"addresses\":[\"10.0.0.2\",\"10.0.0.1\"]}]"
        "},"
        "{\"endpoints\":[{\"addresses\":[\"fd00::1\",7]},{}]},{\"ports\":[{\"port\":-1}],"
        "\"endpoints\":[{\"addresses\":[\"10.0.0.9\"]}]}]}";
    static const char *const want[] = {"https://10.0.0.1:6443", "https://10.0.0.2:6443",
                                       "https://[fd00::1]:443", "https://10.0.0.9:443", NULL};
    lh_auto_json lh_json *list = NULL;
    struct lh_vec urls;

    (void)state;
    lh_vec_init(&urls, sizeof(char *));
    assert_int_equal(lh_json_parse(lh_str(text), NULL, &list, NULL), 0);
    assert_int_equal(audit_servers_by_slices(list, &urls, NULL), 0);
    assert_urls(&urls, want);
    free_urls(&urls);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_api_servers_by_their_leases),
        cmocka_unit_test(finds_api_servers_by_their_endpoints),
        cmocka_unit_test(parses_keys),
        cmocka_unit_test(nothing_seen_never_passes),
        cmocka_unit_test(plain_text_fails),
        cmocka_unit_test(shows_no_value),
        cmocka_unit_test(reads_metrics),
        cmocka_unit_test(text_fits_a_terminal),
    };

    lh_mem_init();
    lh_json_init();
    if (lh_crypto_init(NULL) < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
