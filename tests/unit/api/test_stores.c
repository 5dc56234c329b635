/* SPDX-License-Identifier: Apache-2.0 */
#include "yaml_rows.h"

#include "leasehold/api/reasons.h"
#include "leasehold/api/store.h"

#define HEAD     "apiVersion: leasehold.dev/v1alpha1\n"
#define CLUSTER  HEAD "kind: ClusterSecretStore\nmetadata: {name: vault}\n"
#define OWN      HEAD "kind: SecretStore\nmetadata: {name: own, namespace: shop}\n"
#define ADDRESS  "addresses: [\"https://vault.example:8200\"]"
#define JWT      "auth: {jwt: {role: r, audience: vault}}"
#define SPEC(v)  "spec: {vault: {" ADDRESS ", " JWT "}" v "}\n"
#define VAULT(v) "spec: {vault: {" ADDRESS ", " JWT v "}}\n"
#define AUTH(v)  "spec: {vault: {" ADDRESS ", auth: {" v "}}}\n"
#define AUD(v)   AUTH("jwt: {role: r, audience: \"" v "\"}")
/* "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n" */
#define CA       "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCkFBPT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo="

static const struct bad {
    const char *name;
    const char *text;
    const char *says;
    const char *reason; /* NULL: StoreInvalid */
} bad[] = {
    {"another kind", HEAD "kind: Store\nmetadata: {name: a}\nspec: {}\n",
     "kind: must be SecretStore or ClusterSecretStore", NULL},
    {"another version", "apiVersion: leasehold.dev/v1\nkind: SecretStore\nmetadata: {name: a}\n",
     "apiVersion: must be leasehold.dev/v1alpha1", NULL},
    {"no metadata", HEAD "kind: SecretStore\nspec: {}\n", "metadata: is required", NULL},
    {"no name", HEAD "kind: SecretStore\nmetadata: {}\nspec: {}\n", "metadata.name: is required",
     NULL},
    {"a bad name", HEAD "kind: SecretStore\nmetadata: {name: Vault}\nspec: {}\n",
     "metadata.name: must be lower case", NULL},
    {"no spec", CLUSTER, "ClusterSecretStore \"vault\": spec: is required", NULL},
    {"no provider", CLUSTER "spec: {}\n", "spec.vault: is required", NULL},
    {"an unknown provider", CLUSTER "spec: {vaults: {}}\n",
     "unknown field \"vaults\"; the nearest known is \"vault\"", NULL},
    {"an unknown field deep inside", CLUSTER VAULT(", kvMounts: [a]"),
     "spec.vault: unknown field \"kvMounts\"; the nearest known is \"kv2Mounts\"", NULL},
    {"an unknown field at the top", CLUSTER "data: {}\n" SPEC(""), "unknown field \"data\"", NULL},
    {"no addresses", CLUSTER "spec: {vault: {" JWT "}}\n", "spec.vault.addresses: is required",
     NULL},
    {"addresses of another type", CLUSTER "spec: {vault: {addresses: a, " JWT "}}\n",
     "spec.vault.addresses: must be a list", NULL},
    {"plain http", CLUSTER "spec: {vault: {addresses: [\"https://a\", \"http://b\"], " JWT "}}\n",
     "spec.vault.addresses[1]: is plain http", NULL},
    {"no auth", CLUSTER "spec: {vault: {" ADDRESS "}}\n", "spec.vault.auth: is required", NULL},
    {"two methods", CLUSTER AUTH("jwt: {role: r, audience: v}, kubernetes: {role: r, audience: v}"),
     "spec.vault.auth: give exactly one of jwt and kubernetes", NULL},
    {"no method", OWN AUTH(""), "give exactly one of jwt, kubernetes, appRole, cert and token",
     NULL},
    {"a Secret in cluster scope", CLUSTER AUTH("token: {secretRef: {name: a, key: b}}"),
     "only a SecretStore may", NULL},
    {"no role", CLUSTER AUTH("jwt: {audience: vault}"), "spec.vault.auth.jwt.role: is required",
     NULL},
    {"an unknown placeholder", CLUSTER AUTH("jwt: {role: \"{pod}\", audience: vault}"),
     "spec.vault.auth.jwt.role: braces hold something other", NULL},
    {"dots in the mount", CLUSTER AUTH("jwt: {mount: \"../sys\", role: r, audience: vault}"),
     "spec.vault.auth.jwt.mount: has a segment . or ..", NULL},
    {"a role of two lines", CLUSTER AUTH("jwt: {role: \"a\\nb\", audience: vault}"),
     "spec.vault.auth.jwt.role: must not hold control characters", NULL},
    {"no audience", CLUSTER AUTH("jwt: {role: r}"), "spec.vault.auth.jwt.audience: is required",
     LH_REASON_AudienceInvalid},
    {"an empty audience", CLUSTER AUD(""), "spec.vault.auth.jwt.audience: must not be empty",
     LH_REASON_AudienceInvalid},
    {"the API server's audience", CLUSTER AUD("https://kubernetes.default.svc"), "API server's own",
     LH_REASON_AudienceInvalid},
    {"the API server's long audience", CLUSTER AUD("https://kubernetes.default.svc.cluster.local"),
     "API server's own", LH_REASON_AudienceInvalid},
    {"the API server's short audience", CLUSTER AUD("kubernetes.default.svc"), "API server's own",
     LH_REASON_AudienceInvalid},
    {"audience api", CLUSTER AUD("api"), "API server's own", LH_REASON_AudienceInvalid},
    {"no key of a Secret", OWN AUTH("token: {secretRef: {name: a}}"),
     "spec.vault.auth.token.secretRef.key: is required", NULL},
    {"a path for a key", OWN AUTH("token: {secretRef: {name: a, key: ../b}}"),
     "secretRef.key: must be a key", NULL},
    {"a path for a Secret", OWN AUTH("token: {secretRef: {name: ../a, key: b}}"),
     "secretRef.name: must be an object's name", NULL},
    {"a key for cert", OWN AUTH("cert: {secretRef: {name: a, key: b}}"), "unknown field \"key\"",
     NULL},
    {"no base64", CLUSTER VAULT(", caBundle: \"***\""), "spec.vault.caBundle: must be base64",
     NULL},
    {"no certificate", CLUSTER VAULT(", caBundle: aGVsbG8="), "holds no PEM certificate", NULL},
    {"two CAs", CLUSTER VAULT(", caBundle: " CA ", caBundleRef: {name: a, key: b}"), "not both",
     NULL},
    {"a server name with a port", CLUSTER VAULT(", tlsServerName: \"vault:8200\""),
     "spec.vault.tlsServerName: must be a DNS name", NULL},
    {"a KV mount with dots", CLUSTER VAULT(", kv2Mounts: [\"a/../b\"]"),
     "spec.vault.kv2Mounts[0]: has a segment", NULL},
    {"a word for a duration", CLUSTER SPEC(", refresh: {default: soon}"),
     "spec.refresh.default: must be a duration", NULL},
    {"a number for a duration", CLUSTER SPEC(", verify: 5"), "spec.verify: must be a duration",
     NULL},
    {"min past default", CLUSTER SPEC(", refresh: {default: 1m, min: 5m}"),
     "spec.refresh.min: must not be longer", NULL},
    {"no requests", CLUSTER SPEC(", limits: {requestsPerSecond: 0}"),
     "spec.limits.requestsPerSecond: must be a whole number from 1 to 100000", NULL},
    {"half a request", CLUSTER SPEC(", limits: {maxInFlight: 1.5}"), "must be a whole number",
     NULL},
    {"allow in a namespace", OWN SPEC(", allow: [{namespaces: [a]}]"),
     "spec.allow: belongs to a ClusterSecretStore", NULL},
    {"allow by nothing", CLUSTER SPEC(", allow: [{paths: [a]}]"),
     "spec.allow[0]: give exactly one of namespaces and namespaceSelector", NULL},
    {"allow by both", CLUSTER SPEC(", allow: [{namespaces: [a], namespaceSelector: {}}]"),
     "exactly one", NULL},
    {"a misspelled selector", CLUSTER SPEC(", allow: [{namespaceSelector: {matchlabels: {a: b}}}]"),
     "the nearest known is \"matchLabels\"", NULL},
    {"an unknown operator",
     CLUSTER SPEC(", allow: [{namespaceSelector: {matchExpressions: [{key: a, operator: x}]}}]"),
     "spec.allow[0].namespaceSelector: a selector's operator", NULL},
    {"a star in the middle", CLUSTER SPEC(", allow: [{namespaces: [a], paths: [\"a/*/b\"]}]"),
     "spec.allow[0].paths[0]: has * before its end", NULL},
    {"an unknown placeholder of a path",
     CLUSTER SPEC(", allow: [{namespaces: [a], paths: [x, \"{ns}/*\"]}]"),
     "spec.allow[0].paths[1]: braces", NULL},
    {"a string for the spec", CLUSTER "spec: vault\n", "spec: must be an object", NULL},
};

static void store_is_refused(void **state)
{
    const struct bad *r = *state;
    lh_json *obj = yaml(r->text);
    struct lh_store *s = (struct lh_store *)0x1;
    struct lh_err err = {0};
    int rc = lh_store_parse(obj, "stores.yaml:7", &s, &err);

    lh_json_unref(obj);
    assert_int_equal(rc, -LH_E_INVALID);
    assert_ptr_equal(s, (struct lh_store *)0x1);
    assert_string_equal(err.reason, r->reason ? r->reason : LH_REASON_StoreInvalid);
    assert_int_equal(strncmp(err.msg, "stores.yaml:7: ", 15), 0);
    assert_says(err, r->says);
}

static struct lh_store *good(const char *text)
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

static void everything_left_out_has_its_default(void **state)
{
    struct lh_store *s = good(CLUSTER SPEC(""));

    (void)state;
    assert_true(s->cluster_scoped);
    assert_string_equal(lh_store_kind(s), "ClusterSecretStore");
    assert_null(s->namespace_);
    assert_string_equal(s->vault.kv2_mounts[0], "secret");
    assert_null(s->vault.kv2_mounts[1]);
    assert_string_equal(s->vault.auth.mount, "jwt");
    assert_int_equal(s->refresh_default_ms, 300000);
    assert_int_equal(s->refresh_min_ms, 10000);
    assert_int_equal(s->verify_ms, 120000);
    assert_int_equal(s->requests_per_second, 200);
    assert_int_equal(s->max_in_flight, 32);
    assert_int_equal(s->n_allow, 0);
    lh_store_unref(s);
}

static void every_field_is_read(void **state)
{
    struct lh_store *s =
        good(HEAD "kind: ClusterSecretStore\n"
                  "metadata: {name: vault, uid: u-1, generation: 7}\n"
                  "spec:\n"
                  "  vault:\n"
                  "    addresses: [\"https://a\", \"https://b:8200\"]\n"
                  "    namespace: \"team/{namespace}\"\n"
                  "    caBundle: " CA "\n"
                  "    tlsServerName: vault.example\n"
                  "    kv2Mounts: [kv, team/kv]\n"
                  "    auth: {kubernetes: {mount: \"k8s-{cluster}\", role: \"{serviceAccount}\", "
                  "audience: vault}}\n"
                  "  refresh: {default: 1m, min: 5s}\n"
                  "  verify: 30s\n"
                  "  limits: {requestsPerSecond: 5, maxInFlight: 2}\n"
                  "  allow:\n"
                  "  - {namespaces: [a, b], roles: [x*], paths: [\"secret/*\"]}\n"
                  "  - {namespaceSelector: {}}\n"
                  "status: {anything: true}\n");

    (void)state;
    assert_string_equal(s->uid, "u-1");
    assert_int_equal(s->generation, 7);
    assert_string_equal(s->vault.addresses[1], "https://b:8200");
    assert_null(s->vault.addresses[2]);
    assert_string_equal(s->vault.namespace_, "team/{namespace}");
    assert_non_null(strstr(s->vault.ca_pem, "BEGIN CERTIFICATE"));
    assert_string_equal(s->vault.tls_server_name, "vault.example");
    assert_string_equal(s->vault.kv2_mounts[1], "team/kv");
    assert_int_equal(s->vault.auth.method, LH_AUTH_KUBERNETES);
    assert_string_equal(s->vault.auth.role, "{serviceAccount}");
    assert_string_equal(s->vault.auth.audience, "vault");
    assert_int_equal(s->refresh_min_ms, 5000);
    assert_int_equal(s->verify_ms, 30000);
    assert_int_equal(s->max_in_flight, 2);
    assert_int_equal(s->n_allow, 2);
    assert_string_equal(s->allow[0].namespaces[1], "b");
    assert_string_equal(s->allow[0].paths[0], "secret/*");
    assert_non_null(s->allow[1].namespace_selector);
    assert_non_null(lh_json_get(s->spec, "vault"));
    lh_store_unref(s);
}

static const struct method {
    const char *name;
    const char *auth;
    enum lh_auth_method method;
    const char *mount, *role, *secret, *key;
} methods[] = {
    {"jwt", "jwt: {role: r, audience: v}", LH_AUTH_JWT, "jwt", "r", NULL, NULL},
    {"kubernetes", "kubernetes: {role: r, audience: v}", LH_AUTH_KUBERNETES, "kubernetes", "r",
     NULL, NULL},
    {"appRole", "appRole: {roleId: id, secretIdRef: {name: s, key: k}}", LH_AUTH_APPROLE, "approle",
     NULL, "s", "k"},
    {"cert", "cert: {role: r, secretRef: {name: s}}", LH_AUTH_CERT, "cert", "r", "s", NULL},
    {"cert without a role", "cert: {mount: tls/own, secretRef: {name: s}}", LH_AUTH_CERT, "tls/own",
     NULL, "s", NULL},
    {"token", "token: {secretRef: {name: s, key: k}}", LH_AUTH_TOKEN, NULL, NULL, "s", "k"},
};

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static void method_is_read(void **state)
{
    const struct method *r = *state;
    char text[1024];
    struct lh_store *s;
    bool equal;

    snprintf(text, sizeof(text), OWN "spec: {vault: {" ADDRESS ", auth: {%s}}}\n", r->auth);
    s = good(text);
    equal = s->vault.auth.method == r->method && same(s->vault.auth.mount, r->mount) &&
            same(s->vault.auth.role, r->role) && same(s->vault.auth.secret.name, r->secret) &&
            same(s->vault.auth.secret.key, r->key);
    lh_store_unref(s);
    assert_true(equal);
}

static void default_below_the_usual_minimum_lowers_it(void **state)
{
    struct lh_store *s = good(CLUSTER SPEC(", refresh: {default: 2s}"));

    (void)state;
    assert_int_equal(s->refresh_min_ms, 2000);
    lh_store_unref(s);
}

static void namespace_left_out_is_default(void **state)
{
    struct lh_store *s = good(HEAD "kind: SecretStore\nmetadata: {name: a}\n" SPEC(""));

    (void)state;
    assert_string_equal(s->namespace_, "default");
    lh_store_unref(s);
}

static void bundle_may_be_wrapped(void **state)
{
    struct lh_store *s =
        good(CLUSTER "spec:\n  vault:\n    " ADDRESS "\n    " JWT "\n    caBundle: |\n"
                     "      LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCkFBPT0K\n"
                     "      LS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=\n");

    (void)state;
    assert_string_equal(s->vault.ca_pem,
                        "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n");
    lh_store_unref(s);
}

static const struct expand {
    const char *name;
    const char *text, *want;
    const char *says;
} expands[] = {
    {"nothing to fill in", "secret/shop", "secret/shop", NULL},
    {"nothing at all", "", "", NULL},
    {"all of them", "{cluster}/{namespace}/{serviceAccount}", "prod/shop/web", NULL},
    {"twice", "{namespace}-{namespace}", "shop-shop", NULL},
    {"beside text", "a{namespace}b", "ashopb", NULL},
    {"an unknown one", "{pod}", NULL, "braces"},
    {"one that never ends", "a{namespace", NULL, "braces"},
    {"a closing brace", "a}b", NULL, "braces"},
    {"another case", "{Namespace}", NULL, "braces"},
};

static void placeholders_are_filled_in(void **state)
{
    const struct expand *r = *state;
    struct lh_subject who = {"prod", "shop", "web"};
    struct lh_err err = {0};
    char *got = NULL;
    int rc = lh_subject_expand(&who, r->text, &got, &err);

    if (r->want) {
        assert_int_equal(rc, 0);
        assert_string_equal(got, r->want);
        lh_free(got);
        return;
    }
    assert_int_equal(rc, -LH_E_INVALID);
    assert_null(got);
    assert_says(err, r->says);
}

static void placeholder_without_a_value_says_so(void **state)
{
    struct lh_subject who = {NULL, "shop", "web"};
    struct lh_err err = {0};
    char *got = NULL;

    (void)state;
    assert_int_equal(lh_subject_expand(&who, "k8s-{cluster}", &got, &err), -LH_E_INVALID);
    assert_says(err, "{cluster} is used and has no value here; set clusterName");
}

/* Every allocation fails once: a clean error, nothing lost. */
static void memory_that_runs_out_is_survived(void **state)
{
    lh_json *obj = yaml(CLUSTER SPEC(", allow: [{namespaceSelector: {matchLabels: {a: b}}, "
                                     "roles: [x], paths: [\"secret/*\"]}]"));
    unsigned long n;
    int rc = -1;

    (void)state;
    for (n = 1; rc < 0 && n < 1000; n++) {
        struct lh_store *s = NULL;
        struct lh_err err = {0};
        size_t before = lh_mem_live_blocks();

        lh_mem_fail_at(n);
        rc = lh_store_parse(obj, "a", &s, &err);
        lh_mem_fail_at(0);
        if (rc == 0)
            lh_store_unref(s);
        else
            assert_int_equal(rc, -LH_E_NOMEM);
        assert_int_equal(lh_mem_live_blocks(), before);
    }
    lh_json_unref(obj);
    assert_int_equal(rc, 0);
    assert_true(n > 10);
}

int main(void)
{
    ROWS(store_is_refused, bad);
    ONE(everything_left_out_has_its_default);
    ONE(every_field_is_read);
    ROWS(method_is_read, methods);
    ONE(default_below_the_usual_minimum_lowers_it);
    ONE(namespace_left_out_is_default);
    ONE(bundle_may_be_wrapped);
    ROWS(placeholders_are_filled_in, expands);
    ONE(placeholder_without_a_value_says_so);
    ONE(memory_that_runs_out_is_survived);
    return rows_run("stores");
}
