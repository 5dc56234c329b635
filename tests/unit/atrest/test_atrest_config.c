/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "leasehold/atrest/config.h"
#include "leasehold/core/mem.h"

#define HEAD                       "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"
#define K32                        "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
#define K16                        "MDEyMzQ1Njc4OTAxMjM0NQ=="
#define BOX                        "{secretbox: {keys: [{name: key1, secret: " K32 "}]}}"
#define KMS                        "{kms: {apiVersion: v2, name: v, endpoint: 'unix:///run/k.sock'}}"
#define RULE(resources, providers) "- resources: [" resources "]\n  providers: [" providers "]\n"
#define CLOSED                     0600
#define OPEN                       0644

static const struct row {
    const char *name, *text;
    const char *id; /* the worst finding; NULL: none at all */
    enum lh_atrest_severity severity;
    bool refused;
    const char *where;
    mode_t mode;
} rows[] = {
    {"a local key alone", HEAD RULE("secrets", BOX), NULL, 0, false, NULL, CLOSED},
    {"kms alone", HEAD RULE("secrets", KMS), NULL, 0, false, NULL, CLOSED},
    {"kms alone, readable by all", HEAD RULE("secrets", KMS), NULL, 0, false, NULL, OPEN},
    {"a local key, readable by all", HEAD RULE("secrets", BOX), "FileMode", LH_ATREST_HIGH, false,
     "", OPEN},
    {"identity last", HEAD RULE("secrets", BOX ", {identity: {}}"), "IdentityLast", LH_ATREST_LOW,
     false, "resources[0].providers[1]", CLOSED},
    {"identity first", HEAD RULE("secrets", "{identity: {}}, " BOX), "IdentityFirst",
     LH_ATREST_CRITICAL, false, "resources[0].providers[0]", CLOSED},
    {"secrets not covered", HEAD RULE("configmaps", BOX), "SecretsNotCovered", LH_ATREST_CRITICAL,
     false, "resources", CLOSED},
    {"secrets covered by the core's wildcard", HEAD RULE("'*.'", BOX), NULL, 0, false, NULL,
     CLOSED},
    {"secrets covered by every wildcard", HEAD RULE("'*.*'", BOX), NULL, 0, false, NULL, CLOSED},
    {"secrets not covered by a group's wildcard", HEAD RULE("'*.apps'", BOX), "SecretsNotCovered",
     LH_ATREST_CRITICAL, false, "resources", CLOSED},
    {"masked by an earlier rule", HEAD RULE("'*.*'", BOX) RULE("configmaps", KMS), "ResourceMasked",
     LH_ATREST_CRITICAL, true, "resources[1].resources[0]", CLOSED},
    {"named by two rules", HEAD RULE("secrets", BOX) RULE("secrets", KMS), "ResourceTwice",
     LH_ATREST_MEDIUM, false, "resources[1].resources[0]", CLOSED},
    {"kms without a version",
     HEAD RULE("secrets", "{kms: {name: v, endpoint: 'unix:///run/k.sock'}}"), "KmsVersionMissing",
     LH_ATREST_HIGH, true, "resources[0].providers[0].kms", CLOSED},
    {"kms v1", HEAD RULE("secrets", "{kms: {apiVersion: v1, name: v, endpoint: 'unix:///r/k'}}"),
     "KmsV1", LH_ATREST_HIGH, true, "resources[0].providers[0].kms", CLOSED},
    {"kms v3", HEAD RULE("secrets", "{kms: {apiVersion: v3, name: v, endpoint: 'unix:///r/k'}}"),
     "KmsVersion", LH_ATREST_CRITICAL, true, "resources[0].providers[0].kms", CLOSED},
    {"kms v2 with cachesize",
     HEAD RULE("secrets",
               "{kms: {apiVersion: v2, name: v, cachesize: 5, endpoint: 'unix:///r/k'}}"),
     "KmsCacheSize", LH_ATREST_CRITICAL, true, "resources[0].providers[0].kms", CLOSED},
    {"kms name with a colon",
     HEAD RULE("secrets", "{kms: {apiVersion: v2, name: 'a:b', endpoint: 'unix:///r/k'}}"),
     "KmsName", LH_ATREST_CRITICAL, true, "resources[0].providers[0].kms", CLOSED},
    {"kms name twice in one rule", HEAD RULE("secrets", KMS "," KMS), "KmsNameTwice",
     LH_ATREST_CRITICAL, true, "resources[0].providers[1].kms.name", CLOSED},
    {"kms name twice over rules", HEAD RULE("secrets", KMS) RULE("configmaps", KMS), "KmsNameTwice",
     LH_ATREST_CRITICAL, true, "resources[1].providers[0].kms.name", CLOSED},
    {"kms over tcp",
     HEAD RULE("secrets", "{kms: {apiVersion: v2, name: v, endpoint: 'tcp://127.0.0.1'}}"),
     "KmsEndpoint", LH_ATREST_CRITICAL, true, "resources[0].providers[0].kms", CLOSED},
    {"kms with two slashes",
     HEAD RULE("secrets", "{kms: {apiVersion: v2, name: v, endpoint: 'unix://run/k'}}"),
     "KmsEndpointHost", LH_ATREST_CRITICAL, false, "resources[0].providers[0].kms", CLOSED},
    {"kms on an abstract socket",
     HEAD RULE("secrets", "{kms: {apiVersion: v2, name: v, endpoint: 'unix:///@k'}}"),
     "KmsAbstractSocket", LH_ATREST_HIGH, false, "resources[0].providers[0]", CLOSED},
    {"kms that waits for a minute",
     HEAD RULE("secrets", "{kms: {apiVersion: v2, name: v, timeout: 1m, endpoint: 'unix:///r/k'}}"),
     "KmsTimeoutLong", LH_ATREST_MEDIUM, false, "resources[0].providers[0]", CLOSED},
    {"kms without patience",
     HEAD RULE("secrets", "{kms: {apiVersion: v2, name: v, timeout: 0s, endpoint: 'unix:///r/k'}}"),
     "KmsTimeout", LH_ATREST_CRITICAL, true, "resources[0].providers[0].kms", CLOSED},
    {"aescbc", HEAD RULE("secrets", "{aescbc: {keys: [{name: k, secret: " K16 "}]}}"),
     "AescbcWrites", LH_ATREST_MEDIUM, false, "resources[0].providers[0]", CLOSED},
    {"aesgcm", HEAD RULE("secrets", "{aesgcm: {keys: [{name: k, secret: " K32 "}]}}"),
     "AesgcmWrites", LH_ATREST_MEDIUM, false, "resources[0].providers[0]", CLOSED},
    {"secretbox with 16 bytes",
     HEAD RULE("secrets", "{secretbox: {keys: [{name: k, secret: " K16 "}]}}"), "KeyLength",
     LH_ATREST_CRITICAL, true, "resources[0].providers[0].secretbox.keys[0].secret", CLOSED},
    {"no base64", HEAD RULE("secrets", "{secretbox: {keys: [{name: k, secret: '!!'}]}}"),
     "KeyEncoding", LH_ATREST_CRITICAL, true, "resources[0].providers[0].secretbox.keys[0].secret",
     CLOSED},
    {"two keys of one name",
     HEAD RULE("secrets",
               "{secretbox: {keys: [{name: k, secret: " K32 "}, {name: k, secret: " K32 "}]}}"),
     "KeyNameTwice", LH_ATREST_MEDIUM, false, "resources[0].providers[0].secretbox.keys[1]",
     CLOSED},
    {"a key without a name", HEAD RULE("secrets", "{secretbox: {keys: [{secret: " K32 "}]}}"),
     "NameMissing", LH_ATREST_CRITICAL, true, "resources[0].providers[0].secretbox.keys[0]",
     CLOSED},
    {"no keys", HEAD RULE("secrets", "{secretbox: {keys: []}}"), "NoKeys", LH_ATREST_CRITICAL, true,
     "resources[0].providers[0].secretbox", CLOSED},
    {"no providers", HEAD RULE("secrets", ""), "NoProviders", LH_ATREST_CRITICAL, true,
     "resources[0]", CLOSED},
    {"two in one provider", HEAD RULE("secrets", "{identity: {}, secretbox: {}}"), "ProviderShape",
     LH_ATREST_CRITICAL, true, "resources[0].providers[0]", CLOSED},
    {"a field that is unknown", HEAD "- resource: [secrets]\n  providers: [" BOX "]\n",
     "UnknownField", LH_ATREST_CRITICAL, true, "resources[0]", CLOSED},
    {"a resource in capitals", HEAD RULE("secrets, Pods", BOX), "ResourceName", LH_ATREST_CRITICAL,
     true, "resources[0].resources[1]", CLOSED},
    {"a bare star", HEAD RULE("secrets, '*'", BOX), "ResourceName", LH_ATREST_CRITICAL, true,
     "resources[0].resources[1]", CLOSED},
    /* The next ones as kube-apiserver 1.36 takes or refuses them. */
    {"a wildcard behind what it covers, in one list", HEAD RULE("secrets, '*.'", BOX),
     "ResourceMasked", LH_ATREST_CRITICAL, true, "resources[0].resources[0]", CLOSED},
    {"a group's wildcard behind what it covers",
     HEAD RULE("secrets, deployments.apps, '*.apps'", BOX), "ResourceMasked", LH_ATREST_CRITICAL,
     true, "resources[0].resources[1]", CLOSED},
    {"everything beside a group, in one list", HEAD RULE("'*.apps', '*.*'", BOX), "ResourceMasked",
     LH_ATREST_CRITICAL, true, "resources[0].resources[0]", CLOSED},
    {"a name twice in one list", HEAD RULE("secrets, secrets", BOX), "ResourceMasked",
     LH_ATREST_CRITICAL, true, "resources[0].resources[1]", CLOSED},
    {"a wildcard twice", HEAD RULE("'*.'", BOX) RULE("'*.'", BOX), "ResourceMasked",
     LH_ATREST_CRITICAL, true, "resources[1].resources[0]", CLOSED},
    {"narrower first", HEAD RULE("secrets", BOX) RULE("'*.'", BOX) RULE("'*.*'", BOX), NULL, 0,
     false, NULL, CLOSED},
    {"a group that is empty", HEAD RULE("secrets.", BOX), NULL, 0, false, NULL, CLOSED},
    {"events by their newer group", HEAD RULE("secrets, events.events.k8s.io", BOX), "ResourceName",
     LH_ATREST_CRITICAL, true, "resources[0].resources[1]", CLOSED},
    {"the group extensions", HEAD RULE("secrets, deployments.extensions", BOX), "ResourceName",
     LH_ATREST_CRITICAL, true, "resources[0].resources[1]", CLOSED},
    {"what has no API", HEAD RULE("secrets, apiserveripinfo", BOX), "ResourceName",
     LH_ATREST_CRITICAL, true, "resources[0].resources[1]", CLOSED},
    {"a custom resource", HEAD RULE("secrets, things.example.org", BOX), NULL, 0, false, NULL,
     CLOSED},
    {"a subresource", HEAD RULE("secrets, pods/status", BOX), "ResourceForm", LH_ATREST_MEDIUM,
     false, "resources[0].resources[1]", CLOSED},
    {"two stars", HEAD RULE("secrets, '*.*.apps'", BOX), "ResourceForm", LH_ATREST_MEDIUM, false,
     "resources[0].resources[1]", CLOSED},
    {"no name", HEAD RULE("secrets, ''", BOX), "ResourceForm", LH_ATREST_MEDIUM, false,
     "resources[0].resources[1]", CLOSED},
    {"a key's name with a colon",
     HEAD RULE("secrets", "{secretbox: {keys: [{name: 'a:b', secret: " K32 "}]}}"), "NameUnclear",
     LH_ATREST_MEDIUM, false, "resources[0].providers[0].secretbox.keys[0]", CLOSED},
    {"a key without bytes", HEAD RULE("secrets", "{secretbox: {keys: [{name: k}]}}"), "KeyMissing",
     LH_ATREST_CRITICAL, true, "resources[0].providers[0].secretbox.keys[0].secret", CLOSED},
    {"aescbc behind the writer",
     HEAD RULE("secrets", BOX ", {aescbc: {keys: [{name: k, secret: " K16 "}]}}"), "AescbcReads",
     LH_ATREST_LOW, false, "resources[0].providers[1]", CLOSED},
    {"aesgcm behind the writer",
     HEAD RULE("secrets", BOX ", {aesgcm: {keys: [{name: k, secret: " K16 "}]}}"), NULL, 0, false,
     NULL, CLOSED},
    {"identity in the middle", HEAD RULE("secrets", BOX ", {identity: {}}, " KMS),
     "IdentityBetween", LH_ATREST_LOW, false, "resources[0].providers[1]", CLOSED},
    {"identity first, not about secrets",
     HEAD RULE("secrets", BOX) RULE("configmaps", "{identity: {}}, " KMS), "IdentityFirst",
     LH_ATREST_HIGH, false, "resources[1].providers[0]", CLOSED},
    {"kms in a folder of everybody's",
     HEAD RULE("secrets", "{kms: {apiVersion: v2, name: v, endpoint: 'unix:///tmp/k'}}"),
     "KmsSocketPlace", LH_ATREST_HIGH, false, "resources[0].providers[0]", CLOSED},
    {"kms without a name", HEAD RULE("secrets", "{kms: {apiVersion: v2, endpoint: 'unix:///r/k'}}"),
     "NameMissing", LH_ATREST_CRITICAL, true, "resources[0].providers[0].kms", CLOSED},
    {"kms without an endpoint", HEAD RULE("secrets", "{kms: {apiVersion: v2, name: v}}"),
     "KmsEndpoint", LH_ATREST_CRITICAL, true, "resources[0].providers[0].kms", CLOSED},
    {"metadata, which this kind has not", "metadata: {name: x}\n" HEAD RULE("secrets", BOX),
     "UnknownField", LH_ATREST_CRITICAL, true, "", CLOSED},
    {"no rule", "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n",
     "NoRules", LH_ATREST_CRITICAL, true, "resources", CLOSED},
    {"no resources", HEAD RULE("", BOX), "NoResources", LH_ATREST_CRITICAL, true, "resources[0]",
     CLOSED},
};

struct read {
    struct lh_atrest_config c;
    struct lh_vec findings;
    bool ok;
};

static void read_text(struct read *r, const char *text, mode_t mode)
{
    struct stat st = {.st_mode = S_IFREG | mode};
    struct lh_err err;

    lh_vec_init(&r->findings, sizeof(struct lh_atrest_finding));
    r->ok = lh_atrest_config_read(lh_str(text), "f.yaml", &r->c, &r->findings, &err) == 0;
    if (r->ok && lh_atrest_config_lint(&r->c, &st, &r->findings, &err) < 0)
        r->ok = false;
}

static void read_done(struct read *r)
{
    if (r->ok)
        lh_atrest_config_done(&r->c);
    lh_atrest_findings_done(&r->findings);
}

static const struct lh_atrest_finding *by_id(const struct read *r, const char *id)
{
    for (size_t i = 0; i < r->findings.n; i++) {
        const struct lh_atrest_finding *f = lh_vec_at(&r->findings, i);

        if (strcmp(f->id, id) == 0)
            return f;
    }
    return NULL;
}

static void judges(void **state)
{
    const struct row *row = *state;
    const struct lh_atrest_finding *f;
    struct read r;

    read_text(&r, row->text, row->mode);
    assert_true(r.ok);
    if (!row->id) {
        assert_int_equal(r.findings.n, 0);
    } else {
        f = by_id(&r, row->id);
        assert_non_null(f);
        assert_string_equal(f->where, row->where);
        assert_int_equal(f->severity, row->severity);
        assert_int_equal(f->refused, row->refused);
        assert_int_equal(lh_atrest_findings_worst(&r.findings), row->severity);
        assert_null(strstr(f->text, "MDEy"));
    }
    read_done(&r);
}

static const struct wrong {
    const char *name, *text;
} wrongs[] = {
    {"nothing", ""},
    {"another kind", "apiVersion: v1\nkind: Secret\n"},
    {"two documents", HEAD RULE("secrets", BOX) "---\n" HEAD RULE("secrets", BOX)},
    {"no YAML", "{"},
};

static void refuses(void **state)
{
    const struct wrong *w = *state;
    struct lh_atrest_config c;
    struct lh_vec findings;
    struct lh_err err;

    lh_vec_init(&findings, sizeof(struct lh_atrest_finding));
    assert_true(lh_atrest_config_read(lh_str(w->text), "f.yaml", &c, &findings, &err) < 0);
    assert_non_null(strstr(err.msg, "f.yaml"));
    lh_atrest_findings_done(&findings);
}

static struct lh_atrest_ref ref(const char *text)
{
    struct lh_atrest_ref r = {.scheme = LH_ATREST_FOREIGN};

    lh_atrest_ref_parse(text, &r, NULL);
    return r;
}

static void text_is(const struct lh_atrest_config *c, const char *want)
{
    struct lh_buf b;

    lh_buf_init(&b, 65536);
    lh_atrest_config_write(c, &b);
    assert_string_equal(lh_buf_peek(&b).p, want);
    lh_buf_done(&b);
}

#define W_HEAD   HEAD "- resources:\n  - \"secrets\"\n  providers:\n"
#define W_KEY(n) "      - name: \"" n "\"\n        secret: " K32 "\n"

static void a_local_key_goes_its_way(void **state)
{
    const struct lh_atrest_ref old = ref("secretbox:key1"), new = ref("secretbox:key2");
    lh_auto_secret struct lh_secret *key = NULL;
    struct read r;

    (void)state;
    read_text(&r, HEAD RULE("secrets", BOX), CLOSED);
    assert_true(r.ok);
    assert_int_equal(lh_secret_copy("01234567890123456789012345678901", 32, &key, NULL), 0);
    assert_int_equal(lh_atrest_config_add(&r.c, &old, &new, key, NULL, NULL), 0);
    text_is(&r.c, W_HEAD "  - secretbox:\n      keys:\n" W_KEY("key1") W_KEY("key2"));
    assert_int_equal(lh_atrest_config_add(&r.c, &old, &new, key, NULL, NULL), -LH_E_CONFLICT);
    assert_int_equal(lh_atrest_config_remove(&r.c, &old, NULL), -LH_E_CONFLICT);
    assert_int_equal(lh_atrest_config_promote(&r.c, &new, NULL), 0);
    text_is(&r.c, W_HEAD "  - secretbox:\n      keys:\n" W_KEY("key2") W_KEY("key1"));
    assert_int_equal(lh_atrest_config_remove(&r.c, &old, NULL), 0);
    assert_int_equal(lh_atrest_config_remove(&r.c, &old, NULL), -LH_E_NOTFOUND);
    text_is(&r.c, W_HEAD "  - secretbox:\n      keys:\n" W_KEY("key2"));
    read_done(&r);
}

static void a_provider_goes_its_way(void **state)
{
    const struct lh_atrest_ref old = ref("secretbox:key1"), new = ref("kmsv2:v");
    struct lh_atrest_ref writer;
    struct read r;

    (void)state;
    read_text(&r, HEAD RULE("secrets", BOX ", {identity: {}}"), CLOSED);
    assert_true(r.ok);
    assert_int_equal(lh_atrest_config_add(&r.c, &old, &new, NULL, NULL, NULL), -LH_E_INVALID);
    assert_int_equal(lh_atrest_config_add(&r.c, &old, &new, NULL, "unix:///run/k", NULL), 0);
    assert_true(lh_atrest_rule_writer(lh_atrest_config_rule(&r.c, "secrets"), &writer));
    assert_true(lh_atrest_ref_equal(&writer, &old));
    assert_int_equal(lh_atrest_config_promote(&r.c, &new, NULL), 0);
    assert_true(lh_atrest_rule_writer(lh_atrest_config_rule(&r.c, "secrets"), &writer));
    assert_true(lh_atrest_ref_equal(&writer, &new));
    assert_int_equal(lh_atrest_config_remove(&r.c, &old, NULL), 0);
    text_is(&r.c, W_HEAD "  - kms:\n      apiVersion: v2\n      name: \"v\"\n"
                         "      endpoint: \"unix:///run/k\"\n  - identity: {}\n");
    read_done(&r);
}

static void keeps_the_rotation(void **state)
{
    struct read r;

    (void)state;
    read_text(&r, "# leasehold rotation: secretbox:key1 -> kmsv2:v\n" HEAD RULE("secrets", BOX),
              CLOSED);
    assert_true(r.ok);
    assert_string_equal(r.c.rotation.from, "secretbox:key1");
    assert_string_equal(r.c.rotation.to, "kmsv2:v");
    read_done(&r);
    read_text(&r, "# leasehold rotation: secretbox -> v\n" HEAD RULE("secrets", BOX), CLOSED);
    assert_true(r.ok);
    assert_string_equal(r.c.rotation.to, "");
    read_done(&r);
}

int main(void)
{
    ROWS(judges, rows);
    ROWS(refuses, wrongs);
    ONE(a_local_key_goes_its_way);
    ONE(a_provider_goes_its_way);
    ONE(keeps_the_rotation);
    return rows_run("atrest_config");
}
