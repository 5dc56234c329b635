/* SPDX-License-Identifier: Apache-2.0 */
#include "yaml_rows.h"

#include "leasehold/api/allow.h"
#include "leasehold/api/reasons.h"

#define LABELS "{team: shop, tier: front}"

static const struct selector {
    const char *name;
    const char *selector;
    int match; /* -1: malformed */
} selectors[] = {
    {"an empty one selects all", "{}", 1},
    {"a label", "{matchLabels: {team: shop}}", 1},
    {"two labels", "{matchLabels: {team: shop, tier: front}}", 1},
    {"another value", "{matchLabels: {team: bank}}", 0},
    {"one of two differs", "{matchLabels: {team: shop, tier: back}}", 0},
    {"an absent label", "{matchLabels: {zone: a}}", 0},
    {"In", "{matchExpressions: [{key: team, operator: In, values: [bank, shop]}]}", 1},
    {"In, another", "{matchExpressions: [{key: team, operator: In, values: [bank]}]}", 0},
    {"In, absent", "{matchExpressions: [{key: zone, operator: In, values: [a]}]}", 0},
    {"NotIn", "{matchExpressions: [{key: team, operator: NotIn, values: [bank]}]}", 1},
    {"NotIn, listed", "{matchExpressions: [{key: team, operator: NotIn, values: [shop]}]}", 0},
    {"NotIn, absent", "{matchExpressions: [{key: zone, operator: NotIn, values: [a]}]}", 1},
    {"Exists", "{matchExpressions: [{key: team, operator: Exists}]}", 1},
    {"Exists, absent", "{matchExpressions: [{key: zone, operator: Exists}]}", 0},
    {"DoesNotExist", "{matchExpressions: [{key: zone, operator: DoesNotExist}]}", 1},
    {"DoesNotExist, there", "{matchExpressions: [{key: team, operator: DoesNotExist}]}", 0},
    {"labels and expressions",
     "{matchLabels: {team: shop}, matchExpressions: [{key: tier, operator: In, values: [back]}]}",
     0},
    {"an unknown operator", "{matchExpressions: [{key: team, operator: Near}]}", -1},
    {"no key", "{matchExpressions: [{operator: Exists}]}", -1},
    {"a number for a value", "{matchLabels: {team: 1}}", -1},
};

static void selector_selects(void **state)
{
    const struct selector *r = *state;
    lh_json *sel = yaml(r->selector), *labels = yaml(LABELS);
    bool match = false;
    int rc = lh_selector_match(sel, labels, &match, NULL);

    lh_json_unref(sel);
    lh_json_unref(labels);
    assert_int_equal(rc, r->match < 0 ? -LH_E_INVALID : 0);
    if (r->match >= 0)
        assert_int_equal(match, r->match);
}

static const char cluster_store[] =
    "apiVersion: leasehold.dev/v1alpha1\n"
    "kind: ClusterSecretStore\n"
    "metadata: {name: vault}\n"
    "spec:\n"
    "  vault:\n"
    "    addresses: [\"https://vault.example\"]\n"
    "    auth: {jwt: {mount: \"k8s-{cluster}\", role: \"{namespace}-{serviceAccount}\", audience: "
    "vault}}\n"
    "  allow:\n"
    "  - namespaceSelector: {matchLabels: {team: shop}}\n"
    "    roles: [\"{namespace}-*\"]\n"
    "    paths: [\"secret/data/{namespace}/*\", \"database/creds/{serviceAccount}\"]\n"
    "  - namespaces: [bank]\n"
    "  - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: by-name}}\n"
    "    paths: [\"kv/{cluster}/+/public\"]\n";

static const char own_store[] = "apiVersion: leasehold.dev/v1alpha1\n"
                                "kind: SecretStore\n"
                                "metadata: {name: own, namespace: shop}\n"
                                "spec:\n"
                                "  vault:\n"
                                "    addresses: [\"https://vault.example\"]\n"
                                "    auth: {token: {secretRef: {name: creds, key: token}}}\n";

static struct lh_store *store_of(const char *text)
{
    lh_json *obj = yaml(text);
    struct lh_store *s = NULL;
    struct lh_err err = {0};
    int rc = lh_store_parse(obj, NULL, &s, &err);

    lh_json_unref(obj);
    if (rc < 0)
        fail_msg("%s", err.msg);
    return s;
}

static const struct row {
    const char *name;
    const char *store, *ns, *labels, *sa;
    const char *path, *role;
    const char *reason; /* NULL: allowed */
    const char *says;
} rows[] = {
    {"a path of the namespace", cluster_store, "shop", LABELS, "web", "secret/shop/db", NULL, NULL,
     NULL},
    {"the same with data", cluster_store, "shop", LABELS, "web", "secret/data/shop/db", NULL, NULL,
     NULL},
    {"a path of the account", cluster_store, "shop", LABELS, "web", "database/creds/web", NULL,
     NULL, NULL},
    {"a path of another account", cluster_store, "shop", LABELS, "web", "database/creds/bank", NULL,
     LH_REASON_PathNotAllowed,
     "ClusterSecretStore \"vault\" does not let namespace \"shop\" read \"database/creds/bank\"; "
     "it allows secret/data/shop/*, database/creds/web"},
    {"another namespace's path", cluster_store, "shop", LABELS, "web", "secret/bank/db", NULL,
     LH_REASON_PathNotAllowed, "secret/data/shop/*"},
    {"no paths at all", cluster_store, "bank", "{}", "web", "secret/bank/db", NULL,
     LH_REASON_PathNotAllowed, "it allows no path"},
    {"a namespace that is not admitted", cluster_store, "mail", "{team: mail}", "web",
     "secret/mail/db", NULL, LH_REASON_StoreNotAllowed, "does not admit namespace \"mail\""},
    {"selected by its name's label", cluster_store, "by-name", "{}", "web", "kv/prod/x/public",
     NULL, NULL, NULL},
    {"dots in the path", cluster_store, "shop", LABELS, "web", "secret/shop/../bank", NULL,
     LH_REASON_PathInvalid, ". or .."},
    {"the store's own role", cluster_store, "shop", LABELS, "web", NULL, "shop-web", NULL, NULL},
    {"a role of the namespace", cluster_store, "shop", LABELS, "web", NULL, "shop-admin", NULL,
     NULL},
    {"a role of another namespace", cluster_store, "shop", LABELS, "web", NULL, "bank-web",
     LH_REASON_RoleNotAllowed, "it allows its own role, shop-*"},
    {"a role where none are listed", cluster_store, "bank", "{}", "web", NULL, "bank-admin",
     LH_REASON_RoleNotAllowed, "its own role only"},
    {"any path of one's own store", own_store, "shop", "{}", "web", "anything/at/all", NULL, NULL,
     NULL},
    {"another namespace's store", own_store, "bank", "{}", "web", "anything", NULL,
     LH_REASON_StoreNotAllowed, "its own namespace only"},
    {"a role where the login has none", own_store, "shop", "{}", "web", NULL, "x",
     LH_REASON_RoleNotAllowed, "without a role"},
};

static void guard_decides(void **state)
{
    const struct row *r = *state;
    struct lh_subject who = {"prod", r->ns, r->sa};
    struct lh_store *s = store_of(r->store);
    lh_json *labels = yaml(r->labels);
    struct lh_namespace ns = {r->ns, labels, NULL};
    struct lh_err err = {0};
    int rc;

    rc = r->path ? lh_allow_path(s, &ns, &who, r->path, &err)
                 : lh_allow_role(s, &ns, &who, r->role, &err);
    lh_json_unref(labels);
    lh_store_unref(s);
    if (!r->reason) {
        if (rc)
            fail_msg("%s", err.msg);
        return;
    }
    assert_true(rc < 0);
    assert_string_equal(err.reason, r->reason);
    assert_says(err, r->says);
}

static void pattern_without_a_value_allows_nothing(void **state)
{
    struct lh_subject who = {NULL, "by-name", "web"};
    struct lh_store *s = store_of(cluster_store);
    struct lh_namespace ns = {"by-name", NULL, NULL};
    struct lh_err err = {0};
    int rc = lh_allow_path(s, &ns, &who, "kv/prod/x/public", &err);

    (void)state;
    lh_store_unref(s);
    assert_int_equal(rc, -LH_E_DENIED);
    assert_says(err, "it allows no path");
}

static void empty_allow_admits_nobody(void **state)
{
    lh_json *obj = yaml("apiVersion: leasehold.dev/v1alpha1\n"
                        "kind: ClusterSecretStore\n"
                        "metadata: {name: closed}\n"
                        "spec: {vault: {addresses: [\"https://v\"], auth: {jwt: {role: r, "
                        "audience: vault}}}}\n");
    struct lh_namespace ns = {"shop", NULL, NULL};
    struct lh_store *s = NULL;
    struct lh_err err = {0};
    int rc;

    (void)state;
    assert_int_equal(lh_store_parse(obj, NULL, &s, &err), 0);
    lh_json_unref(obj);
    rc = lh_allow_namespace(s, &ns, &err);
    lh_store_unref(s);
    assert_int_equal(rc, -LH_E_DENIED);
    assert_says(err, "admits nobody");
}

static void platform_patterns_limit_when_given(void **state)
{
    char *const list[] = {(char *)"secret/{namespace}/*", NULL}, *const none[] = {NULL};
    char *const mounts[] = {(char *)"secret", NULL};
    struct lh_subject who = {NULL, "shop", "web"};
    bool ok = false;

    (void)state;
    assert_int_equal(lh_allow_patterns(NULL, mounts, &who, "a", &ok, NULL), 0);
    assert_true(ok);
    assert_int_equal(lh_allow_patterns(none, mounts, &who, "a", &ok, NULL), 0);
    assert_true(ok);
    assert_int_equal(lh_allow_patterns(list, mounts, &who, "secret/data/shop/x", &ok, NULL), 0);
    assert_true(ok);
    assert_int_equal(lh_allow_patterns(list, mounts, &who, "secret/bank/x", &ok, NULL), 0);
    assert_false(ok);
}

int main(void)
{
    ROWS(selector_selects, selectors);
    ROWS(guard_decides, rows);
    ONE(pattern_without_a_value_allows_nothing);
    ONE(empty_allow_admits_nobody);
    ONE(platform_patterns_limit_when_given);
    return rows_run("allow");
}
