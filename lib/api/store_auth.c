/* SPDX-License-Identifier: Apache-2.0 */
/* A store's auth block, and the fields that hold paths and references. */
#include <string.h>

#include "leasehold/api/allow.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"
#include "store_priv.h"

static const char *const method_names[] = {
    [LH_AUTH_JWT] = "jwt",   [LH_AUTH_KUBERNETES] = "kubernetes", [LH_AUTH_APPROLE] = "appRole",
    [LH_AUTH_CERT] = "cert", [LH_AUTH_TOKEN] = "token",           NULL,
};

/* A text that may hold placeholders: only those that exist. */
int store_placeholders_check(const struct lh_at *at, const char *text, struct lh_err *err)
{
    static const struct lh_subject any = {"c", "n", "s"};
    lh_auto_free char *expanded = NULL;
    int rc;

    rc = lh_subject_expand(&any, text, &expanded, err);
    return rc < 0 ? lh_at_wrap(at, rc, err) : 0;
}

int store_path_field(const struct lh_at *at, const lh_json *obj, const char *name, bool required,
                     char **out, struct lh_err *err)
{
    const struct lh_at here = LH_AT_NAME(at, name);
    int rc;

    rc = lh_field_str(at, obj, name, required, STORE_TEXT_MAX, out, err);
    if (rc < 0 || !*out)
        return rc;
    rc = lh_path_check(*out, err);
    if (rc < 0) {
        lh_err_reason(err, rc, LH_REASON_StoreInvalid);
        return lh_at_wrap(&here, rc, err);
    }
    return store_placeholders_check(&here, *out, err);
}

static int role_field(const struct lh_at *at, const lh_json *obj, bool required, char **out,
                      struct lh_err *err)
{
    const struct lh_at here = LH_AT_NAME(at, "role");
    int rc;

    rc = lh_field_line(at, obj, "role", required, STORE_TEXT_MAX, out, err);
    return rc < 0 || !*out ? rc : store_placeholders_check(&here, *out, err);
}

static int mount_field(const struct lh_at *at, const lh_json *obj, const char *def, char **out,
                       struct lh_err *err)
{
    *out = lh_strdup(def);
    if (!*out)
        return lh_err_nomem(err);
    return store_path_field(at, obj, "mount", false, out, err);
}

/* Whoever gets a token for the API server's own audience can act as the Pod there. */
static int audience_field(const struct lh_at *at, const lh_json *obj, char **out,
                          struct lh_err *err)
{
    static const char *const own[] = {"https://kubernetes.default", "kubernetes.default"};
    const struct lh_at here = LH_AT_NAME(at, "audience");
    bool refused;
    int rc;

    rc = lh_field_line(at, obj, "audience", true, STORE_TEXT_MAX, out, err);
    if (rc == -LH_E_INVALID)
        return lh_err_negative(lh_err_reason(err, rc, LH_REASON_AudienceInvalid));
    if (rc < 0)
        return rc;
    refused = strcmp(*out, "api") == 0;
    for (size_t i = 0; i < LH_ARRAY_LEN(own); i++)
        refused = refused || strncmp(*out, own[i], strlen(own[i])) == 0;
    if (!refused)
        return 0;
    rc = lh_at_err(&here, err,
                   "is the API server's own audience, with which the manager could act as the "
                   "Pod; use a name of its own, such as \"vault\"");
    return lh_err_negative(lh_err_reason(err, rc, LH_REASON_AudienceInvalid));
}

/* A reference {name, key}; cert needs no key. */
int store_ref_field(const struct lh_at *at, const lh_json *obj, const char *name, bool required,
                    bool with_key, struct lh_secret_ref *out, struct lh_err *err)
{
    static const char *const keyed[] = {"name", "key", NULL}, *const plain[] = {"name", NULL};
    const struct lh_at here = LH_AT_NAME(at, name), at_name = LH_AT_NAME(&here, "name");
    const struct lh_at at_key = LH_AT_NAME(&here, "key");
    const lh_json *ref = NULL;
    int rc;

    rc = lh_field_object(at, obj, name, required, &ref, err);
    if (rc < 0 || !ref)
        return rc;
    rc = lh_field_known(&here, ref, with_key ? keyed : plain, err);
    if (rc == 0)
        rc = lh_field_str(&here, ref, "name", true, 253, &out->name, err);
    if (rc == 0 && !lh_str_is_dns_subdomain(lh_str(out->name)))
        rc = lh_at_err(&at_name, err, "must be an object's name (lower case, digits, - and .)");
    if (rc == 0 && with_key)
        rc = lh_field_str(&here, ref, "key", true, 253, &out->key, err);
    /* The key becomes a file name below the mounted folder. */
    if (rc == 0 && with_key &&
        (strchr(out->key, '/') || strncmp(out->key, "..", 2) == 0 || strcmp(out->key, ".") == 0))
        rc = lh_at_err(&at_key, err, "must be a key as Secrets and ConfigMaps have them");
    return rc;
}

static int auth_token_review(const struct lh_at *at, const lh_json *obj, const char *mount,
                             struct lh_store_auth *a, struct lh_err *err)
{
    static const char *const known[] = {"mount", "role", "audience", NULL};
    int rc;

    rc = lh_field_known(at, obj, known, err);
    if (rc == 0)
        rc = mount_field(at, obj, mount, &a->mount, err);
    if (rc == 0)
        rc = role_field(at, obj, true, &a->role, err);
    if (rc == 0)
        rc = audience_field(at, obj, &a->audience, err);
    return rc;
}

static int auth_approle(const struct lh_at *at, const lh_json *obj, struct lh_store_auth *a,
                        struct lh_err *err)
{
    static const char *const known[] = {"mount", "roleId", "secretIdRef", NULL};
    int rc;

    rc = lh_field_known(at, obj, known, err);
    if (rc == 0)
        rc = mount_field(at, obj, "approle", &a->mount, err);
    if (rc == 0)
        rc = lh_field_line(at, obj, "roleId", true, STORE_TEXT_MAX, &a->role_id, err);
    if (rc == 0)
        rc = store_ref_field(at, obj, "secretIdRef", true, true, &a->secret, err);
    return rc;
}

static int auth_cert(const struct lh_at *at, const lh_json *obj, struct lh_store_auth *a,
                     struct lh_err *err)
{
    static const char *const known[] = {"mount", "role", "secretRef", NULL};
    int rc;

    rc = lh_field_known(at, obj, known, err);
    if (rc == 0)
        rc = mount_field(at, obj, "cert", &a->mount, err);
    if (rc == 0)
        rc = role_field(at, obj, false, &a->role, err);
    if (rc == 0)
        rc = store_ref_field(at, obj, "secretRef", true, false, &a->secret, err);
    return rc;
}

static int auth_token(const struct lh_at *at, const lh_json *obj, struct lh_store_auth *a,
                      struct lh_err *err)
{
    static const char *const known[] = {"secretRef", NULL};
    int rc;

    rc = lh_field_known(at, obj, known, err);
    return rc < 0 ? rc : store_ref_field(at, obj, "secretRef", true, true, &a->secret, err);
}

static int method_parse(const struct lh_at *at, const lh_json *obj, struct lh_store_auth *a,
                        struct lh_err *err)
{
    switch (a->method) {
    case LH_AUTH_JWT:
        return auth_token_review(at, obj, "jwt", a, err);
    case LH_AUTH_KUBERNETES:
        return auth_token_review(at, obj, "kubernetes", a, err);
    case LH_AUTH_APPROLE:
        return auth_approle(at, obj, a, err);
    case LH_AUTH_CERT:
        return auth_cert(at, obj, a, err);
    case LH_AUTH_TOKEN:
        return auth_token(at, obj, a, err);
    }
    return lh_at_err(at, err, "unknown method");
}

int store_auth_parse(const struct lh_at *at, const lh_json *obj, bool cluster_scoped,
                     struct lh_store_auth *a, struct lh_err *err)
{
    const lh_json *method = NULL;
    size_t n = 0;
    int rc;

    rc = lh_field_known(at, obj, method_names, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; method_names[i]; i++) {
        const lh_json *one = NULL;

        rc = lh_field_object(at, obj, method_names[i], false, &one, err);
        if (rc < 0)
            return rc;
        if (!one)
            continue;
        a->method = (enum lh_auth_method)i;
        method = one;
        n++;
    }
    if (n != 1)
        return lh_at_err(at, err, "give exactly one of %s",
                         cluster_scoped ? "jwt and kubernetes"
                                        : "jwt, kubernetes, appRole, cert and token");
    if (cluster_scoped && a->method != LH_AUTH_JWT && a->method != LH_AUTH_KUBERNETES)
        return lh_at_err(at, err,
                         "%s refers to a Secret, which only a SecretStore may; a "
                         "ClusterSecretStore takes jwt or kubernetes",
                         method_names[a->method]);
    return method_parse(&LH_AT_NAME(at, method_names[a->method]), method, a, err);
}
