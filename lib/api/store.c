/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <string.h>

#include "leasehold/api/allow.h"
#include "leasehold/api/reasons.h"
#include "leasehold/api/store.h"
#include "leasehold/codec/base64.h"
#include "leasehold/core/mem.h"
#include "store_priv.h"

#define PATTERN_MAX  1024
#define CA_MAX       ((size_t)128 * 1024)
#define DAY_MS       INT64_C(86400000)
#define LEAST_MS     100
#define MAX_ADDR     8
#define MAX_MOUNTS   64
#define MAX_ALLOW    256
#define MAX_PATTERNS 256

const char *lh_store_kind(const struct lh_store *s)
{
    return s->cluster_scoped ? "ClusterSecretStore" : "SecretStore";
}

struct lh_store *lh_store_ref(struct lh_store *s)
{
    s->refs++;
    return s;
}

static void allow_done(struct lh_store_allow *a)
{
    lh_json_unref(a->namespace_selector);
    lh_strv_free(a->namespaces);
    lh_strv_free(a->roles);
    lh_strv_free(a->paths);
}

void lh_store_unref(struct lh_store *s)
{
    if (!s)
        return;
    assert(s->refs > 0);
    if (--s->refs > 0)
        return;
    lh_free(s->name);
    lh_free(s->namespace_);
    lh_free(s->uid);
    lh_strv_free(s->vault.addresses);
    lh_free(s->vault.namespace_);
    lh_free(s->vault.ca_pem);
    lh_free(s->vault.ca_ref.name);
    lh_free(s->vault.ca_ref.key);
    lh_free(s->vault.tls_server_name);
    lh_strv_free(s->vault.kv2_mounts);
    lh_free(s->vault.auth.mount);
    lh_free(s->vault.auth.role);
    lh_free(s->vault.auth.audience);
    lh_free(s->vault.auth.role_id);
    lh_free(s->vault.auth.secret.name);
    lh_free(s->vault.auth.secret.key);
    for (size_t i = 0; i < s->n_allow; i++)
        allow_done(&s->allow[i]);
    lh_free(s->allow);
    lh_json_unref(s->spec);
    lh_free(s);
}

/* As Go decodes []byte: line ends in between are skipped. */
static int ca_parse(const struct lh_at *at, const char *text, char **out, struct lh_err *err)
{
    lh_auto_buf struct lh_buf plain, pem;
    char *bytes = NULL;
    size_t n = 0;
    int rc;

    lh_buf_init(&plain, 2 * CA_MAX);
    lh_buf_init(&pem, CA_MAX);
    for (; *text; text++) {
        if (*text != '\n' && *text != '\r')
            lh_buf_put_c(&plain, *text);
    }
    rc = lh_buf_check(&plain, err);
    if (rc < 0)
        return lh_at_wrap(at, rc, err);
    rc = lh_base64_decode(lh_buf_peek(&plain), &pem, err);
    if (rc == 0)
        rc = lh_buf_finish(&pem, &bytes, &n, err);
    if (rc == -LH_E_NOMEM)
        return rc;
    if (rc < 0)
        return lh_at_err(at, err, "must be base64 of PEM certificates, at most 128 KiB");
    if (!bytes || strlen(bytes) != n || !strstr(bytes, "-----BEGIN CERTIFICATE-----")) {
        lh_free(bytes);
        return lh_at_err(at, err, "holds no PEM certificate (-----BEGIN CERTIFICATE-----)");
    }
    *out = bytes;
    return 0;
}

static int tls_parse(const struct lh_at *at, const lh_json *obj, struct lh_store_vault *v,
                     struct lh_err *err)
{
    const struct lh_at at_ca = LH_AT_NAME(at, "caBundle");
    const struct lh_at at_name = LH_AT_NAME(at, "tlsServerName");
    lh_auto_free char *ca = NULL;
    int rc;

    rc = lh_field_str(at, obj, "caBundle", false, 2 * CA_MAX, &ca, err);
    if (rc == 0 && ca)
        rc = ca_parse(&at_ca, ca, &v->ca_pem, err);
    if (rc == 0)
        rc = store_ref_field(at, obj, "caBundleRef", false, true, &v->ca_ref, err);
    if (rc == 0 && v->ca_pem && v->ca_ref.name)
        rc = lh_at_err(&at_ca, err, "give caBundle or caBundleRef, not both");
    if (rc == 0)
        rc = lh_field_str(at, obj, "tlsServerName", false, 253, &v->tls_server_name, err);
    if (rc == 0 && v->tls_server_name && !lh_str_is_dns_subdomain(lh_str(v->tls_server_name)))
        rc = lh_at_err(&at_name, err, "must be a DNS name");
    return rc;
}

static int addresses_parse(const struct lh_at *at, const lh_json *obj, char ***out,
                           struct lh_err *err)
{
    const struct lh_at here = LH_AT_NAME(at, "addresses");
    int rc;

    rc = lh_field_strs(at, obj, "addresses", MAX_ADDR, STORE_TEXT_MAX, out, err);
    if (rc < 0)
        return rc;
    if (!*out || !(*out)[0])
        return lh_at_err(&here, err, "is required: at least one https://host[:port]");
    for (size_t i = 0; (*out)[i]; i++) {
        rc = lh_address_check((*out)[i], err);
        if (rc < 0)
            return lh_at_wrap(&LH_AT_INDEX(&here, i), rc, err);
    }
    return 0;
}

static int mounts_parse(const struct lh_at *at, const lh_json *obj, char ***out, struct lh_err *err)
{
    const struct lh_at here = LH_AT_NAME(at, "kv2Mounts");
    int rc;

    rc = lh_strv_push(out, "secret", err);
    if (rc == 0)
        rc = lh_field_strs(at, obj, "kv2Mounts", MAX_MOUNTS, STORE_TEXT_MAX, out, err);
    for (size_t i = 0; rc == 0 && (*out)[i]; i++) {
        rc = lh_path_check((*out)[i], err);
        if (rc < 0) {
            lh_err_reason(err, rc, LH_REASON_StoreInvalid);
            return lh_at_wrap(&LH_AT_INDEX(&here, i), rc, err);
        }
    }
    return rc;
}

static int vault_parse(const struct lh_at *at, const lh_json *obj, bool cluster_scoped,
                       struct lh_store_vault *v, struct lh_err *err)
{
    static const char *const known[] = {"addresses",     "namespace", "caBundle", "caBundleRef",
                                        "tlsServerName", "kv2Mounts", "auth",     NULL};
    const lh_json *auth = NULL;
    int rc;

    rc = lh_field_known(at, obj, known, err);
    if (rc == 0)
        rc = addresses_parse(at, obj, &v->addresses, err);
    if (rc == 0)
        rc = store_path_field(at, obj, "namespace", false, &v->namespace_, err);
    if (rc == 0)
        rc = tls_parse(at, obj, v, err);
    if (rc == 0)
        rc = mounts_parse(at, obj, &v->kv2_mounts, err);
    if (rc == 0)
        rc = lh_field_object(at, obj, "auth", true, &auth, err);
    if (rc == 0)
        rc = store_auth_parse(&LH_AT_NAME(at, "auth"), auth, cluster_scoped, &v->auth, err);
    return rc;
}

static int selector_parse(const struct lh_at *at, const lh_json *obj, lh_json **out,
                          struct lh_err *err)
{
    static const char *const known[] = {"matchLabels", "matchExpressions", NULL};
    const struct lh_at here = LH_AT_NAME(at, "namespaceSelector");
    const lh_json *sel = NULL, *part = NULL;
    bool match;
    int rc;

    rc = lh_field_object(at, obj, "namespaceSelector", false, &sel, err);
    if (rc < 0 || !sel)
        return rc;
    rc = lh_field_known(&here, sel, known, err);
    if (rc == 0)
        rc = lh_field_object(&here, sel, "matchLabels", false, &part, err);
    if (rc == 0)
        rc = lh_field_array(&here, sel, "matchExpressions", 64, &part, err);
    if (rc < 0)
        return rc;
    rc = lh_selector_match(sel, NULL, &match, err);
    if (rc < 0)
        return lh_at_wrap(&here, rc, err);
    *out = lh_json_ref(lh_json_mut(sel));
    return 0;
}

static int patterns_parse(const struct lh_at *at, const lh_json *obj, const char *name, char ***out,
                          struct lh_err *err)
{
    const struct lh_at here = LH_AT_NAME(at, name);
    int rc;

    rc = lh_field_strs(at, obj, name, MAX_PATTERNS, PATTERN_MAX, out, err);
    for (size_t i = 0; rc == 0 && *out && (*out)[i]; i++) {
        const struct lh_at one = LH_AT_INDEX(&here, i);

        rc = lh_pattern_check((*out)[i], err);
        if (rc < 0) {
            lh_err_reason(err, rc, LH_REASON_StoreInvalid);
            return lh_at_wrap(&one, rc, err);
        }
        rc = store_placeholders_check(&one, (*out)[i], err);
    }
    return rc;
}

static int entry_parse(const struct lh_at *at, const lh_json *obj, struct lh_store_allow *a,
                       struct lh_err *err)
{
    static const char *const known[] = {"namespaceSelector", "namespaces", "roles", "paths", NULL};
    int rc;

    rc = lh_field_known(at, obj, known, err);
    if (rc == 0)
        rc = selector_parse(at, obj, &a->namespace_selector, err);
    if (rc == 0)
        rc = lh_field_strs(at, obj, "namespaces", MAX_ALLOW, 63, &a->namespaces, err);
    if (rc == 0 && !a->namespace_selector == !a->namespaces)
        rc = lh_at_err(at, err, "give exactly one of namespaces and namespaceSelector");
    if (rc == 0)
        rc = patterns_parse(at, obj, "roles", &a->roles, err);
    if (rc == 0)
        rc = patterns_parse(at, obj, "paths", &a->paths, err);
    return rc;
}

static int allow_parse(const struct lh_at *at, const lh_json *obj, struct lh_store *s,
                       struct lh_err *err)
{
    const struct lh_at here = LH_AT_NAME(at, "allow");
    const lh_json *arr = NULL;
    int rc;

    rc = lh_field_array(at, obj, "allow", MAX_ALLOW, &arr, err);
    if (rc < 0 || !arr)
        return rc;
    if (!s->cluster_scoped)
        return lh_at_err(&here, err,
                         "belongs to a ClusterSecretStore; a SecretStore serves its own namespace");
    s->allow = lh_calloc(lh_json_len(arr) + 1, sizeof(*s->allow));
    if (!s->allow)
        return lh_err_nomem(err);
    for (size_t i = 0; i < lh_json_len(arr); i++) {
        s->n_allow = i + 1;
        rc = entry_parse(&LH_AT_INDEX(&here, i), lh_json_at(arr, i), &s->allow[i], err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int refresh_parse(const struct lh_at *at, const lh_json *obj, struct lh_store *s,
                         struct lh_err *err)
{
    static const char *const known[] = {"default", "min", NULL};
    const struct lh_at here = LH_AT_NAME(at, "refresh"), at_min = LH_AT_NAME(&here, "min");
    const lh_json *r = NULL;
    int64_t min = -1;
    int rc;

    s->refresh_default_ms = 300000;
    s->refresh_min_ms = 10000;
    s->verify_ms = 120000;
    rc = lh_field_ms(at, obj, "verify", LEAST_MS, DAY_MS, &s->verify_ms, err);
    if (rc == 0)
        rc = lh_field_object(at, obj, "refresh", false, &r, err);
    if (rc < 0 || !r)
        return rc;
    rc = lh_field_known(&here, r, known, err);
    if (rc == 0)
        rc = lh_field_ms(&here, r, "default", LEAST_MS, 365 * DAY_MS, &s->refresh_default_ms, err);
    if (rc == 0)
        rc = lh_field_ms(&here, r, "min", LEAST_MS, 365 * DAY_MS, &min, err);
    if (rc < 0)
        return rc;
    if (min > s->refresh_default_ms)
        return lh_at_err(&at_min, err, "must not be longer than refresh.default");
    if (min >= 0)
        s->refresh_min_ms = min;
    else if (s->refresh_min_ms > s->refresh_default_ms)
        s->refresh_min_ms = s->refresh_default_ms;
    return 0;
}

static int limits_parse(const struct lh_at *at, const lh_json *obj, struct lh_store *s,
                        struct lh_err *err)
{
    static const char *const known[] = {"requestsPerSecond", "maxInFlight", NULL};
    const struct lh_at here = LH_AT_NAME(at, "limits");
    int64_t rps = 200, in_flight = 32;
    const lh_json *l = NULL;
    int rc;

    rc = lh_field_object(at, obj, "limits", false, &l, err);
    if (rc == 0 && l)
        rc = lh_field_known(&here, l, known, err);
    if (rc == 0)
        rc = lh_field_int(&here, l, "requestsPerSecond", 1, 100000, &rps, err);
    if (rc == 0)
        rc = lh_field_int(&here, l, "maxInFlight", 1, 10000, &in_flight, err);
    s->requests_per_second = (unsigned)rps;
    s->max_in_flight = (unsigned)in_flight;
    return rc;
}

static int spec_parse(const struct lh_at *at, const lh_json *spec, struct lh_store *s,
                      struct lh_err *err)
{
    static const char *const known[] = {"vault", "refresh", "verify", "limits", "allow", NULL};
    const lh_json *vault = NULL;
    int rc;

    rc = lh_field_known(at, spec, known, err);
    if (rc == 0)
        rc = lh_field_object(at, spec, "vault", true, &vault, err);
    if (rc == 0)
        rc = vault_parse(&LH_AT_NAME(at, "vault"), vault, s->cluster_scoped, &s->vault, err);
    if (rc == 0)
        rc = refresh_parse(at, spec, s, err);
    if (rc == 0)
        rc = limits_parse(at, spec, s, err);
    if (rc == 0)
        rc = allow_parse(at, spec, s, err);
    return rc;
}

static int meta_parse(const struct lh_at *at, const lh_json *meta, struct lh_store *s,
                      struct lh_err *err)
{
    const struct lh_at at_name = LH_AT_NAME(at, "name"), at_ns = LH_AT_NAME(at, "namespace");
    int rc;

    rc = lh_field_str(at, meta, "name", true, 253, &s->name, err);
    if (rc == 0 && !lh_str_is_dns_subdomain(lh_str(s->name)))
        rc = lh_at_err(&at_name, err, "must be lower case letters, digits, - and .");
    if (rc == 0 && !s->cluster_scoped) {
        s->namespace_ = lh_strdup("default");
        rc = s->namespace_ ? lh_field_str(at, meta, "namespace", false, 63, &s->namespace_, err)
                           : lh_err_nomem(err);
    }
    if (rc == 0 && s->namespace_ && !lh_str_is_dns_label(lh_str(s->namespace_)))
        rc = lh_at_err(&at_ns, err, "must be lower case letters, digits and -");
    if (rc == 0)
        rc = lh_field_str(at, meta, "uid", false, 253, &s->uid, err);
    s->generation = lh_json_get_int(meta, "generation", 0);
    return rc;
}

static int object_parse(const lh_json *obj, const char *object, struct lh_store *s,
                        struct lh_err *err)
{
    static const char *const known[] = {"apiVersion", "kind", "metadata", "spec", "status", NULL};
    struct lh_at root = LH_AT_ROOT(object, LH_REASON_StoreInvalid);
    const lh_json *meta = NULL, *spec = NULL;
    int rc;

    rc = lh_field_known(&root, obj, known, err);
    if (rc == 0)
        rc = lh_field_object(&root, obj, "metadata", true, &meta, err);
    if (rc == 0)
        rc = meta_parse(&LH_AT_NAME(&root, "metadata"), meta, s, err);
    if (rc == 0)
        rc = lh_field_object(&root, obj, "spec", true, &spec, err);
    if (rc == 0)
        rc = spec_parse(&LH_AT_NAME(&root, "spec"), spec, s, err);
    if (rc < 0)
        return rc;
    s->spec = lh_json_ref(lh_json_mut(spec));
    return 0;
}

int lh_store_parse(const lh_json *obj, const char *what, struct lh_store **out, struct lh_err *err)
{
    const char *version = lh_json_get_z(obj, "apiVersion"), *kind = lh_json_get_z(obj, "kind");
    const char *name = lh_json_get_z(lh_json_get(obj, "metadata"), "name");
    lh_auto_free char *object = NULL;
    struct lh_at root;
    struct lh_store *s;
    bool cluster;
    int rc;

    cluster = kind && strcmp(kind, "ClusterSecretStore") == 0;
    object = lh_asprintf("%s%s%s \"%.253s\"", what ? what : "", what ? ": " : "",
                         cluster ? "ClusterSecretStore" : "SecretStore", name ? name : "");
    if (!object)
        return lh_err_nomem(err);
    root = LH_AT_ROOT(object, LH_REASON_StoreInvalid);
    if (!kind || (!cluster && strcmp(kind, "SecretStore") != 0))
        return lh_at_err(&LH_AT_NAME(&root, "kind"), err,
                         "must be SecretStore or ClusterSecretStore");
    if (!version || strcmp(version, "leasehold.dev/v1alpha1") != 0)
        return lh_at_err(&LH_AT_NAME(&root, "apiVersion"), err, "must be leasehold.dev/v1alpha1");
    s = lh_calloc(1, sizeof(*s));
    if (!s)
        return lh_err_nomem(err);
    s->refs = 1;
    s->cluster_scoped = cluster;
    rc = object_parse(obj, object, s, err);
    if (rc < 0) {
        lh_store_unref(s);
        return rc;
    }
    *out = s;
    return 0;
}

int lh_subject_expand(const struct lh_subject *who, const char *text, char **out,
                      struct lh_err *err)
{
    const struct {
        struct lh_str name;
        const char *value;
    } known[] = {{LH_STR("{cluster}"), who->cluster},
                 {LH_STR("{namespace}"), who->namespace_},
                 {LH_STR("{serviceAccount}"), who->service_account}};
    lh_auto_buf struct lh_buf b;
    size_t i;

    lh_buf_init(&b, 16384);
    while (*text) {
        if (*text != '{' && *text != '}') {
            lh_buf_put_c(&b, *text++);
            continue;
        }
        for (i = 0; i < LH_ARRAY_LEN(known); i++) {
            if (strncmp(text, known[i].name.p, known[i].name.n) == 0)
                break;
        }
        if (i == LH_ARRAY_LEN(known))
            return lh_err_set(err, LH_E_INVALID,
                              "braces hold something other than {cluster}, {namespace} or "
                              "{serviceAccount}");
        if (!known[i].value)
            return lh_err_set(err, LH_E_INVALID, "%s is used and has no value here%s",
                              known[i].name.p, i ? "" : "; set clusterName of the chart");
        lh_buf_put_z(&b, known[i].value);
        text += known[i].name.n;
    }
    return lh_buf_finish(&b, out, &i, err);
}
