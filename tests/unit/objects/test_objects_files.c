/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "leasehold/core/buf.h"
#include "leasehold/core/mem.h"
#include "leasehold/objects/objects.h"
#include "support.h"

static struct lh_test_scratch scratch;
static struct lh_loop *loop;
static struct lh_objects *objects;
static struct lh_buf events; /* one line each */

static void on_store(void *arg, struct lh_store *s, bool gone)
{
    (void)arg;
    lh_buf_printf(&events, "%c%s/%s\n", gone ? '-' : '+', lh_store_kind(s), s->name);
}

static void on_projection(void *arg, const struct lh_projection *p, bool gone)
{
    (void)arg;
    lh_buf_printf(&events, "%cprojection/%s\n", gone ? '-' : '+', p->name);
}

static void on_synced(void *arg)
{
    (void)arg;
    lh_buf_put_z(&events, "synced\n");
}

static void on_bad(void *arg, const struct lh_err *err)
{
    const char *slash = strrchr(err->msg, '/');

    (void)arg;
    (void)slash;
    lh_buf_printf(&events, "bad %.20s\n", strstr(err->msg, scratch.path) ? "file" : err->msg);
}

static const struct lh_objects_events handlers = {
    .store = on_store, .projection = on_projection, .synced = on_synced, .bad = on_bad};

static int setup(void **state)
{
    (void)state;
    objects = NULL;
    loop = NULL;
    lh_buf_init(&events, 1 << 16);
    lh_buf_put_z(&events, "");
    return lh_test_scratch_new(&scratch) < 0 || lh_loop_new(&loop, NULL) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    lh_objects_free(objects);
    lh_loop_free(loop);
    lh_buf_done(&events);
    lh_test_scratch_done(&scratch);
    return 0;
}

#define STORE(kind, name, role)                                                                    \
    "apiVersion: leasehold.dev/v1alpha1\nkind: " kind "\nmetadata:\n  name: " name "\nspec:\n"     \
    "  vault:\n    addresses: [\"https://vault.example:8200\"]\n"                                  \
    "    auth:\n      jwt: {mount: jwt, role: " role ", audience: vault}\n"
#define CLUSTER_STORE(name, role)                                                                  \
    STORE("ClusterSecretStore", name, role)                                                        \
    "  allow:\n  - namespaces: [shop]\n    paths: [\"secret/*\"]\n"
#define PROJECTION                                                                                 \
    "apiVersion: leasehold.dev/v1alpha1\nkind: SecretProjection\nmetadata: {name: p, namespace: "  \
    "shop}\n"                                                                                      \
    "spec:\n  storeRef: {kind: ClusterSecretStore, name: b}\n  items:\n  - {name: db, path: "      \
    "secret/db}\n"
#define NAMESPACE "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n  labels: {team: a}\n"
#define SECRET                                                                                     \
    "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: shop}\n"                         \
    "data: {token: dDBrZW4=, bad: '!'}\nstringData: {text: plain}\n"

static void put(const char *name, const char *text)
{
    if (lh_test_write(scratch.fd, name, text) < 0)
        fail_msg("cannot write %s", name);
}

static int read_once(struct lh_err *err)
{
    return lh_objects_from_files(NULL, scratch.path, &handlers, &objects, err);
}

static void reads_a_folder(void **state)
{
    struct lh_store *const *all;
    const struct lh_projection *const *projections;
    struct lh_namespace ns;
    struct lh_err err = {0};
    size_t n;

    (void)state;
    put("2.yaml", STORE("SecretStore", "b", "r") "---\n" CLUSTER_STORE("b", "r"));
    put("1.yml", CLUSTER_STORE("a-b", "r") "---\n---\n" CLUSTER_STORE("a", "r") "---\n" PROJECTION);
    put("3.json",
        "{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[{\"apiVersion\":\"v1\",\"kind\":"
        "\"Namespace\",\"metadata\":{\"name\":\"shop\",\"labels\":{\"team\":\"a\"}}},"
        "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\"}]}");
    put("README.md", "not: [yaml");
    put(".hidden.yaml", "not: [yaml");
    if (read_once(&err) < 0)
        fail_msg("%s", err.msg);
    assert_true(lh_objects_synced(objects));
    all = lh_objects_stores(objects, &n);
    assert_int_equal(n, 4);
    assert_string_equal(all[0]->name, "a");
    assert_string_equal(all[1]->name, "a-b");
    assert_string_equal(all[2]->name, "b");
    assert_true(all[2]->cluster_scoped);
    assert_false(all[3]->cluster_scoped);
    assert_ptr_equal(lh_objects_store(objects, true, "any", "b"), all[2]);
    assert_ptr_equal(lh_objects_store(objects, false, "default", "b"), all[3]);
    assert_null(lh_objects_store(objects, false, "shop", "b"));
    projections = lh_objects_projections(objects, &n);
    assert_int_equal(n, 1);
    assert_string_equal(projections[0]->name, "p");
    assert_true(lh_objects_namespace(objects, "shop", &ns));
    assert_string_equal(lh_json_get_z(ns.labels, "team"), "a");
    assert_true(lh_objects_namespace(objects, "elsewhere", &ns));
    assert_null(ns.labels);
    assert_int_equal(events.n, 0); /* read once: nothing follows */
}

static void reads_secrets(void **state)
{
    lh_auto_secret struct lh_secret *token = NULL, *text = NULL, *none = NULL;
    struct lh_err err = {0};

    (void)state;
    put("s.yaml", SECRET);
    assert_int_equal(read_once(&err), 0);
    assert_int_equal(lh_objects_secret(objects, "shop", "s", "token", &token, &err), 0);
    assert_string_equal(lh_secret_expose(token), "t0ken");
    assert_int_equal(lh_objects_secret(objects, "shop", "s", "text", &text, &err), 0);
    assert_string_equal(lh_secret_expose(text), "plain");
    assert_int_equal(lh_objects_secret(objects, "shop", "s", "other", &none, &err), -LH_E_NOTFOUND);
    assert_non_null(strstr(err.msg, "Secret \"s\" in namespace \"shop\" has no key \"other\""));
    assert_int_equal(lh_objects_secret(objects, "default", "s", "token", &none, &err),
                     -LH_E_NOTFOUND);
    assert_non_null(strstr(err.msg, "there is no Secret \"s\" in namespace \"default\""));
    assert_int_equal(lh_objects_secret(objects, "shop", "s", "bad", &none, &err), -LH_E_INVALID);
    assert_non_null(strstr(err.msg, "s.yaml:1: key \"bad\" of Secret \"s\""));
    assert_null(none);
}

static const struct row {
    const char *name, *a, *b, *msg;
    int code;
} bad[] = {
    {"a store that is wrong", "---\n---\n" STORE("SecretStore", "b", "{x: 1}"), NULL,
     "a.yaml:3: ", LH_E_INVALID},
    {"a file that is no YAML", "a: [", NULL, "a.yaml:2: ", LH_E_INVALID},
    {"one object in two files", CLUSTER_STORE("a", "r"), CLUSTER_STORE("a", "q"),
     "b.yaml:1: the object is in ", LH_E_INVALID},
    {"one object twice in a file", CLUSTER_STORE("a", "r") "---\n" CLUSTER_STORE("a", "r"), NULL,
     "a.yaml:14: the object is in ", LH_E_INVALID},
    {"a Namespace without a name", "apiVersion: v1\nkind: Namespace\n", NULL, "metadata.name",
     LH_E_INVALID},
};

static void the_first_bad_object_is_the_error(void **state)
{
    const struct row *r = *state;
    struct lh_err err = {0};

    put("a.yaml", r->a);
    if (r->b)
        put("b.yaml", r->b);
    assert_int_equal(read_once(&err), -r->code);
    assert_null(objects);
    if (!strstr(err.msg, r->msg))
        fail_msg("\"%s\" does not say \"%s\"", err.msg, r->msg);
}

static void a_missing_path_is_an_error(void **state)
{
    struct lh_err err = {0};

    (void)state;
    assert_int_equal(lh_objects_from_files(NULL, "/nonexistent/x", &handlers, &objects, &err),
                     -LH_E_NOTFOUND);
    assert_non_null(strstr(err.msg, "/nonexistent/x"));
}

static const char *wanted;

static bool events_are(void *arg)
{
    (void)arg;
    return strcmp(lh_buf_peek(&events).p, wanted) == 0;
}

/* Awaits exactly these events, and forgets them. */
static void await(const char *want)
{
    bool came;

    wanted = want;
    came = lh_test_run_until(loop, events_are, NULL);
    if (!came)
        fail_msg("came:\n%swanted:\n%s", lh_buf_peek(&events).p, want);
    lh_buf_reset(&events);
    lh_buf_put_z(&events, "");
}

static void follows_a_folder(void **state)
{
    struct lh_err err = {0};
    struct lh_store *kept;

    (void)state;
    put("a.yaml", CLUSTER_STORE("a", "r"));
    assert_int_equal(lh_objects_from_files(loop, scratch.path, &handlers, &objects, &err), 0);
    assert_non_null(lh_objects_store(objects, true, NULL, "a"));
    assert_false(lh_objects_synced(objects));
    await("+ClusterSecretStore/a\nsynced\n");
    assert_true(lh_objects_synced(objects));

    put("b.yaml", CLUSTER_STORE("b", "r"));
    await("+ClusterSecretStore/b\n");
    put("p.yaml", PROJECTION);
    await("+projection/p\n");
    kept = lh_store_ref(lh_objects_store(objects, true, NULL, "b"));
    put("b.yaml", CLUSTER_STORE("b", "q"));
    await("+ClusterSecretStore/b\n");
    assert_string_equal(kept->vault.auth.role, "r");
    lh_store_unref(kept);
    assert_string_equal(lh_objects_store(objects, true, NULL, "b")->vault.auth.role, "q");

    /* A broken object is told once, and goes; the others stay. */
    put("b.yaml", STORE("ClusterSecretStore", "b", "{x: 1}"));
    await("bad file\n-ClusterSecretStore/b\n");
    put("a.yaml", CLUSTER_STORE("a", "s"));
    await("+ClusterSecretStore/a\n");
    /* A file that is no YAML takes nothing away. */
    put("a.yaml", "a: [");
    await("bad file\n");
    assert_non_null(lh_objects_store(objects, true, NULL, "a"));

    put("a.yaml", CLUSTER_STORE("a", "s"));
    put("b.yaml", CLUSTER_STORE("b", "q"));
    await("+ClusterSecretStore/b\n");
    assert_int_equal(unlinkat(scratch.fd, "b.yaml", 0), 0);
    await("-ClusterSecretStore/b\n");
}

static void follows_a_single_file(void **state)
{
    char path[300];

    (void)state;
    snprintf(path, sizeof(path), "%s/a.yaml", scratch.path);
    put("a.yaml", CLUSTER_STORE("a", "r"));
    put("b.yaml", "a: [");
    assert_int_equal(lh_objects_from_files(loop, path, &handlers, &objects, NULL), 0);
    await("+ClusterSecretStore/a\nsynced\n");
    put("a.yaml", CLUSTER_STORE("a", "s"));
    await("+ClusterSecretStore/a\n");
}

struct found {
    int calls;
    struct lh_store *s;
};

static void on_found(void *arg, struct lh_store *s)
{
    struct found *f = arg;

    f->calls++;
    f->s = s;
}

static bool was_found(void *arg)
{
    return ((struct found *)arg)->calls > 0;
}

static void looks_up_what_is_there(void **state)
{
    struct found f = {0}, none = {0}, cancelled = {0};
    struct lh_store_lookup *l = NULL;

    (void)state;
    put("a.yaml", CLUSTER_STORE("a", "r"));
    assert_int_equal(lh_objects_from_files(loop, scratch.path, &handlers, &objects, NULL), 0);
    assert_int_equal(
        lh_objects_lookup_store(objects, true, NULL, "a", 300, on_found, &f, NULL, NULL), 0);
    assert_int_equal(
        lh_objects_lookup_store(objects, true, NULL, "b", 300, on_found, &none, NULL, NULL), 0);
    assert_int_equal(
        lh_objects_lookup_store(objects, true, NULL, "a", 300, on_found, &cancelled, &l, NULL), 0);
    assert_int_equal(f.calls, 0); /* never before the call returned */
    lh_store_lookup_cancel(l);
    assert_true(lh_test_run_until(loop, was_found, &f));
    assert_true(lh_test_run_until(loop, was_found, &none));
    assert_ptr_equal(f.s, lh_objects_store(objects, true, NULL, "a"));
    assert_null(none.s);
    assert_int_equal(cancelled.calls, 0);
}

static void survives_want_of_memory(void **state)
{
    size_t live;
    unsigned long n = 0;
    int rc;

    (void)state;
    put("a.yaml", CLUSTER_STORE("a", "r") "---\n" PROJECTION "---\n" SECRET "---\n" NAMESPACE);
    assert_int_equal(read_once(NULL), 0); /* whatever is made once is made now */
    lh_objects_free(objects);
    objects = NULL;
    live = lh_mem_live_blocks();
    do {
        lh_mem_fail_at(++n);
        rc = read_once(NULL);
        lh_mem_fail_at(0);
        assert_true(rc == 0 || rc == -LH_E_NOMEM);
        assert_true((rc == 0) == (objects != NULL));
        lh_objects_free(objects);
        objects = NULL;
        assert_int_equal(lh_mem_live_blocks(), live);
    } while (rc < 0);
    assert_in_range(n, 50, 5000);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(reads_a_folder),
        CASE(reads_secrets),
        CASE(a_missing_path_is_an_error),
        CASE(follows_a_folder),
        CASE(follows_a_single_file),
        CASE(looks_up_what_is_there),
        CASE(survives_want_of_memory),
    };
    struct CMUnitTest rows[LH_ARRAY_LEN(bad)];
    int failures;

    for (size_t i = 0; i < LH_ARRAY_LEN(bad); i++)
        rows[i] = (struct CMUnitTest){bad[i].name, the_first_bad_object_is_the_error, setup,
                                      teardown, (void *)(uintptr_t)&bad[i]};
    failures = cmocka_run_group_tests_name("files", tests, NULL, NULL);
    return failures + cmocka_run_group_tests_name("bad files", rows, NULL, NULL);
}
