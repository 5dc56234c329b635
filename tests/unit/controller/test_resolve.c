/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "leasehold/core/mem.h"
#include "resolve.h"

#define VAULT                                                                                      \
    "{vault: {addresses: [\"https://vault.example:8200\"], auth: {jwt: {mount: jwt, role: r, "     \
    "audience: vault}}}"
#define STORE(name)                                                                                \
    "apiVersion: leasehold.dev/v1alpha1\nkind: SecretStore\nmetadata: {name: " name                \
    ", namespace: shop}\nspec: " VAULT "}\n---\n"
#define CLUSTER(name, ns)                                                                          \
    "apiVersion: leasehold.dev/v1alpha1\nkind: ClusterSecretStore\nmetadata: {name: " name         \
    "}\nspec: " VAULT ", allow: [{namespaces: [" ns "], paths: [\"secret/*\"]}]}\n---\n"
#define NAMESPACE(more)  "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop" more "}\n---\n"
#define BY_LABEL(z)      NAMESPACE(", labels: {leasehold.dev/default-store: " z "}")
#define BY_ANNOTATION(z) NAMESPACE(", annotations: {leasehold.dev/default-store: " z "}")
#define BOTH                                                                                       \
    NAMESPACE(", labels: {leasehold.dev/default-store: a}, annotations: "                          \
              "{leasehold.dev/default-store: b}")

static struct row {
    const char *name, *objects, *ref;
    const char *want;   /* the store; NULL: it fails */
    const char *reason; /* and what the message holds */
    const char *text;
} rows[] = {
    {"the only store", STORE("a") NAMESPACE(""), NULL, "SecretStore/a", NULL, NULL},
    {"a store of others does not count", STORE("a") CLUSTER("b", "bank") NAMESPACE(""), NULL,
     "SecretStore/a", NULL, NULL},
    {"two stores", STORE("a") STORE("b") NAMESPACE(""), NULL, NULL, "StoreAmbiguous", "2 stores"},
    {"no store", CLUSTER("a", "bank") NAMESPACE(""), NULL, NULL, "StoreNotFound", "0 stores"},
    {"the default by label", STORE("a") STORE("b") BY_LABEL("b"), NULL, "SecretStore/b", NULL,
     NULL},
    {"the default by annotation",
     STORE("a") CLUSTER("b", "shop") BY_ANNOTATION("ClusterSecretStore/b"), NULL,
     "ClusterSecretStore/b", NULL, NULL},
    {"the annotation comes first", STORE("a") STORE("b") BOTH, NULL, "SecretStore/b", NULL, NULL},
    {"a name alone may be of either kind", STORE("a") CLUSTER("b", "shop") BY_LABEL("b"), NULL,
     "ClusterSecretStore/b", NULL, NULL},
    {"a name of both kinds", STORE("a") CLUSTER("a", "shop") BY_LABEL("a"), NULL, NULL,
     "StoreAmbiguous", "write its kind"},
    {"a kind tells them apart", STORE("a") CLUSTER("a", "shop") BY_ANNOTATION("SecretStore/a"),
     NULL, "SecretStore/a", NULL, NULL},
    {"what admits others is not meant", STORE("a") CLUSTER("a", "bank") BY_LABEL("a"), NULL,
     "SecretStore/a", NULL, NULL},
    {"a default that is not there", STORE("a") BY_LABEL("b"), NULL, NULL, "StoreNotFound",
     "SecretStore or ClusterSecretStore \"b\""},
    {"a default that does not admit", STORE("a") CLUSTER("b", "bank") BY_LABEL("b"), NULL, NULL,
     "StoreNotAllowed", "shop"},
    {"a default that is no name", STORE("a") BY_ANNOTATION("Store/a"), NULL, NULL,
     "AnnotationInvalid", "leasehold.dev/default-store: of namespace \"shop\" must be"},
    {"a storeRef comes before the default", STORE("a") STORE("b") BY_LABEL("b"), "a",
     "SecretStore/a", NULL, NULL},
    {"a storeRef that is not there", STORE("a") BY_LABEL("a"), "b", NULL, "StoreNotFound",
     "names SecretStore \"b\""},
};

static struct lh_projection *projection_with(const char *ref)
{
    struct lh_projection *p = NULL;
    lh_auto_json lh_json *o = NULL;
    char text[300];

    snprintf(text, sizeof(text), "{%s%s%s\"items\":[{\"name\":\"db\",\"path\":\"secret/db\"}]}",
             ref ? "\"storeRef\":{\"kind\":\"SecretStore\",\"name\":\"" : "", ref ? ref : "",
             ref ? "\"}," : "");
    assert_int_equal(lh_json_parse(lh_str(text), NULL, &o, NULL), 0);
    assert_int_equal(lh_projection_parse_spec(o, "test", "shop", "db", &p, NULL), 0);
    return p;
}

static void resolves(void **state)
{
    const struct row *r = *state;
    const struct lh_subject who = {"c", "shop", "app"};
    char path[] = "/tmp/resolve-XXXXXX.yaml", got[100];
    struct lh_objects *o = NULL;
    struct lh_projection *p = projection_with(r->ref);
    struct lh_store *store = NULL;
    struct lh_namespace ns;
    struct lh_err err = {0};
    int fd = mkstemps(path, 5), rc;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, r->objects, strlen(r->objects)), (ssize_t)strlen(r->objects));
    close(fd);
    rc = lh_objects_from_files(NULL, path, NULL, &o, &err);
    unlink(path);
    if (rc < 0)
        fail_msg("%s", err.msg);
    rc = controller_resolve(o, p, &who, &store, &ns, &err);
    if (r->want) {
        if (rc < 0)
            fail_msg("%s", err.msg);
        snprintf(got, sizeof(got), "%s/%s", lh_store_kind(store), store->name);
        assert_string_equal(got, r->want);
    } else {
        assert_true(rc < 0);
        assert_string_equal(err.reason, r->reason);
        if (!strstr(err.msg, r->text))
            fail_msg("\"%s\" does not hold \"%s\"", err.msg, r->text);
    }
    lh_projection_free(p);
    lh_objects_free(o);
}

int main(void)
{
    struct CMUnitTest tests[LH_ARRAY_LEN(rows)];

    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++)
        tests[i] = (struct CMUnitTest){rows[i].name, resolves, NULL, NULL, &rows[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
