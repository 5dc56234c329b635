/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "leasehold/codec/json.h"
#include "leasehold/core/mem.h"
#include "spec.h"

#define STORE(spec)                                                                                \
    "{\"apiVersion\":\"leasehold.dev/v1alpha1\",\"kind\":\"ClusterSecretStore\",\"metadata\":{"    \
    "\"name\":\"vault\"},\"spec\":{\"vault\":{\"addresses\":[\"https://"                           \
    "vault.example:8200\"]," spec                                                                  \
    "\"auth\":{\"jwt\":{\"mount\":\"jwt\",\"role\":\"r\",\"audience\":\"vault\"}}}}}"
#define SPEC(items, more)                                                                          \
    "{\"storeRef\":{\"kind\":\"ClusterSecretStore\",\"name\":\"vault\"},\"items\":[" items         \
    "]" more "}"
#define DB     "{\"name\":\"db\",\"path\":\"database/creds/shop\"}"
#define KV     "{\"name\":\"kv\",\"path\":\"secret/shop\"}"
#define KV_TWO "{\"name\":\"kv\",\"path\":\"secret/two\"}"

/* Item db is leased, kv is not. */
static struct row {
    const char *name, *before, *after;
    bool other_store;
    enum node_edit want;
} rows[] = {
    {"nothing changed", SPEC(DB "," KV, ""), SPEC(DB "," KV, ""), false, NODE_EDIT_NONE},
    {"words in another order", SPEC(DB, ""),
     SPEC("{\"path\":\"database/creds/shop\",\"name\":\"db\"}", ""), false, NODE_EDIT_NONE},
    {"a value of no lease is another", SPEC(DB "," KV, ""), SPEC(DB "," KV_TWO, ""), false,
     NODE_EDIT_KEEP},
    {"a value of no lease is added", SPEC(DB, ""), SPEC(DB "," KV, ""), false, NODE_EDIT_KEEP},
    {"a value of no lease goes", SPEC(DB "," KV, ""), SPEC(DB, ""), false, NODE_EDIT_KEEP},
    {"the order of items", SPEC(DB "," KV, ""), SPEC(KV "," DB, ""), false, NODE_EDIT_KEEP},
    {"refresh", SPEC(DB, ""), SPEC(DB, ",\"refresh\":{\"interval\":\"1m\"}"), false,
     NODE_EDIT_KEEP},
    {"a lease's files", SPEC(DB, ""),
     SPEC("{\"name\":\"db\",\"path\":\"database/creds/shop\",\"files\":[{\"path\":\"x\","
          "\"format\":\"env\"}]}",
          ""),
     false, NODE_EDIT_REPLACE},
    {"a lease's path", SPEC(DB, ""), SPEC("{\"name\":\"db\",\"path\":\"database/creds/two\"}", ""),
     false, NODE_EDIT_REPLACE},
    {"a lease goes", SPEC(DB "," KV, ""), SPEC(KV, ""), false, NODE_EDIT_REPLACE},
    {"another role", SPEC(KV, ""), SPEC(KV, ",\"role\":\"two\""), false, NODE_EDIT_REPLACE},
    {"the store's spec", SPEC(KV, ""), SPEC(KV, ""), true, NODE_EDIT_REPLACE},
};

static bool leased(void *arg, const char *item)
{
    (void)arg;
    return strcmp(item, "db") == 0;
}

static void store_of(const char *text, struct lh_store **out)
{
    lh_auto_json lh_json *o = NULL;

    assert_int_equal(lh_json_parse(lh_str(text), NULL, &o, NULL), 0);
    assert_int_equal(lh_store_parse(o, NULL, out, NULL), 0);
}

static void projection_of(const char *text, struct lh_projection **out)
{
    lh_auto_json lh_json *o = NULL;

    assert_int_equal(lh_json_parse(lh_str(text), NULL, &o, NULL), 0);
    assert_int_equal(lh_projection_parse_spec(o, "test", "shop", "db", out, NULL), 0);
}

static struct lh_store *old_store;
static struct lh_projection *old;
static struct node_spec now;

static int teardown(void **state)
{
    (void)state;
    lh_store_unref(old_store);
    lh_projection_free(old);
    old_store = NULL;
    old = NULL;
    node_spec_done(&now);
    return 0;
}

static void edit(void **state)
{
    const struct row *r = *state;

    store_of(STORE(""), &old_store);
    store_of(r->other_store ? STORE("\"namespace\":\"team-a\",") : STORE(""), &now.store);
    projection_of(r->before, &old);
    projection_of(r->after, &now.projection);
    assert_int_equal(node_edit_of(old_store, old, &now, leased, NULL), r->want);
}

int main(void)
{
    struct CMUnitTest tests[LH_ARRAY_LEN(rows)];

    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++)
        tests[i] = (struct CMUnitTest){rows[i].name, edit, NULL, teardown, &rows[i]};
    return _cmocka_run_group_tests("node_spec", tests, LH_ARRAY_LEN(rows), NULL, NULL);
}
