/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "leasehold/api/allow.h"
#include "leasehold/api/fields.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"

#define LISTED_MAX 1024 /* of what is allowed, in a sentence */
#define NAME_LABEL "kubernetes.io/metadata.name"

/* Labels as the API server has them: the namespace's name is one that it sets itself. */
struct labels {
    const lh_json *object;
    const char *name; /* NULL: not of a namespace */
};

static bool label_of(const struct labels *l, struct lh_str key, struct lh_str *out)
{
    if (l->name && lh_str_eqz(key, NAME_LABEL)) {
        *out = lh_str(l->name);
        return true;
    }
    return lh_json_str(lh_json_getn(l->object, key), out);
}

static bool expression_value_is(const lh_json *values, struct lh_str have)
{
    struct lh_str want;

    for (size_t i = 0; i < lh_json_len(values); i++) {
        if (lh_json_str(lh_json_at(values, i), &want) && lh_str_eq(want, have))
            return true;
    }
    return false;
}

/* NotIn matches where the label is absent, as in Kubernetes. */
static int expression_match(const lh_json *e, const struct labels *labels, bool *out,
                            struct lh_err *err)
{
    const char *op = lh_json_get_z(e, "operator");
    const lh_json *values = lh_json_get(e, "values");
    struct lh_str key, have;
    bool present;

    if (!op || !lh_json_str(lh_json_get(e, "key"), &key))
        return lh_err_set(err, LH_E_INVALID, "a selector's expression needs key and operator");
    present = label_of(labels, key, &have);
    if (strcmp(op, "Exists") == 0)
        *out = present;
    else if (strcmp(op, "DoesNotExist") == 0)
        *out = !present;
    else if (strcmp(op, "In") == 0)
        *out = present && expression_value_is(values, have);
    else if (strcmp(op, "NotIn") == 0)
        *out = !present || !expression_value_is(values, have);
    else
        return lh_err_set(err, LH_E_INVALID,
                          "a selector's operator must be one of In, NotIn, Exists, DoesNotExist");
    return 0;
}

static int selector_match(const lh_json *selector, const struct labels *labels, bool *out,
                          struct lh_err *err)
{
    const lh_json *want = lh_json_get(selector, "matchLabels"), *value;
    const lh_json *exprs = lh_json_get(selector, "matchExpressions");
    struct lh_str key, text, have;
    bool all = true;
    void *it = NULL;

    while (lh_json_next(want, &it, &key, &value)) {
        if (!lh_json_str(value, &text))
            return lh_err_set(err, LH_E_INVALID, "a selector's matchLabels must be strings");
        all = all && label_of(labels, key, &have) && lh_str_eq(have, text);
    }
    for (size_t i = 0; i < lh_json_len(exprs); i++) {
        bool one = false;
        int rc = expression_match(lh_json_at(exprs, i), labels, &one, err);

        if (rc < 0)
            return rc;
        all = all && one;
    }
    *out = all;
    return 0;
}

int lh_selector_match(const lh_json *selector, const lh_json *labels, bool *out, struct lh_err *err)
{
    const struct labels l = {labels, NULL};

    return selector_match(selector, &l, out, err);
}

int lh_allow_entry_admits(const struct lh_store_allow *a, const struct lh_namespace *ns, bool *out,
                          struct lh_err *err)
{
    const struct labels l = {ns->labels, ns->name};

    if (a->namespace_selector)
        return selector_match(a->namespace_selector, &l, out, err);
    *out = lh_strv_has(a->namespaces, ns->name);
    return 0;
}

static int denied(struct lh_err *err, const char *reason)
{
    return lh_err_negative(lh_err_reason(err, -LH_E_DENIED, reason));
}

int lh_allow_namespace(const struct lh_store *s, const struct lh_namespace *ns, struct lh_err *err)
{
    bool admits = false;
    int rc;

    if (!s->cluster_scoped) {
        if (strcmp(s->namespace_, ns->name) == 0)
            return 0;
        lh_err_fill(err, LH_E_DENIED,
                    "SecretStore \"%s\" of namespace \"%s\" serves its own namespace only, not "
                    "\"%s\"",
                    s->name, s->namespace_, ns->name);
        return denied(err, LH_REASON_StoreNotAllowed);
    }
    for (size_t i = 0; i < s->n_allow; i++) {
        rc = lh_allow_entry_admits(&s->allow[i], ns, &admits, err);
        if (rc < 0)
            return rc;
        if (admits)
            return 0;
    }
    if (s->n_allow)
        lh_err_fill(err, LH_E_DENIED,
                    "ClusterSecretStore \"%s\" does not admit namespace \"%s\"; no entry of its "
                    "spec.allow names it or selects its labels",
                    s->name, ns->name);
    else
        lh_err_fill(err, LH_E_DENIED,
                    "ClusterSecretStore \"%s\" does not admit namespace \"%s\"; its spec.allow is "
                    "empty, which admits nobody",
                    s->name, ns->name);
    return denied(err, LH_REASON_StoreNotAllowed);
}

/* One pattern, placeholders filled in, against text. */
static int pattern_allows(const char *pattern, char *const *mounts, const struct lh_subject *who,
                          const char *text, char **expanded, bool *out, struct lh_err *err)
{
    lh_auto_free char *p = NULL, *np = NULL, *nt = NULL;
    int rc;

    rc = lh_subject_expand(who, pattern, &p, err);
    if (rc < 0)
        return rc;
    rc = lh_path_normalise(p, mounts, &np, err);
    if (rc < 0)
        return rc;
    rc = lh_path_normalise(text, mounts, &nt, err);
    if (rc < 0)
        return rc;
    *out = lh_pattern_match(np, nt);
    if (expanded)
        *expanded = LH_TAKE_PTR(p);
    return 0;
}

int lh_allow_patterns(char *const *patterns, char *const *mounts, const struct lh_subject *who,
                      const char *text, bool *out, struct lh_err *err)
{
    bool ok = !patterns || !patterns[0];

    for (size_t i = 0; patterns && patterns[i] && !ok; i++) {
        int rc = pattern_allows(patterns[i], mounts, who, text, NULL, &ok, err);

        if (rc < 0)
            return rc;
    }
    *out = ok;
    return 0;
}

enum list { LIST_ROLES, LIST_PATHS };

/*
 * Does any entry that admits the namespace list text? *listed gets what they do list, for the
 * sentence. A placeholder without a value makes its pattern allow nothing, not fail the others.
 */
static int entries_allow(const struct lh_store *s, const struct lh_namespace *ns,
                         const struct lh_subject *who, enum list which, const char *text, bool *ok,
                         struct lh_buf *listed, struct lh_err *err)
{
    char *const *mounts = which == LIST_PATHS ? s->vault.kv2_mounts : NULL;

    *ok = false;
    for (size_t i = 0; i < s->n_allow && !*ok; i++) {
        char **v = which == LIST_PATHS ? s->allow[i].paths : s->allow[i].roles;
        bool admits = false;
        int rc = lh_allow_entry_admits(&s->allow[i], ns, &admits, err);

        if (rc < 0)
            return rc;
        for (size_t k = 0; admits && v && v[k] && !*ok; k++) {
            lh_auto_free char *expanded = NULL;

            rc = pattern_allows(v[k], mounts, who, text, &expanded, ok, err);
            if (rc == -LH_E_INVALID)
                continue;
            if (rc < 0)
                return rc;
            if (lh_buf_peek(listed).n > LISTED_MAX)
                continue;
            lh_buf_printf(listed, "%s%s", lh_buf_peek(listed).n ? ", " : "", expanded);
        }
    }
    return lh_buf_check(listed, err);
}

static const char *own_role(const struct lh_store *s)
{
    switch (s->vault.auth.method) {
    case LH_AUTH_JWT:
    case LH_AUTH_KUBERNETES:
    case LH_AUTH_CERT:
        return s->vault.auth.role ? s->vault.auth.role : "";
    case LH_AUTH_APPROLE:
    case LH_AUTH_TOKEN:
        return NULL;
    }
    return NULL;
}

int lh_allow_role(const struct lh_store *s, const struct lh_namespace *ns,
                  const struct lh_subject *who, const char *role, struct lh_err *err)
{
    lh_auto_free char *own = NULL;
    lh_auto_buf struct lh_buf listed;
    bool ok = false;
    int rc;

    lh_buf_init(&listed, 16384);
    if (!role)
        return 0;
    if (!own_role(s)) {
        lh_err_fill(err, LH_E_DENIED,
                    "%s \"%s\" logs in without a role (appRole or token), so none can be chosen",
                    lh_store_kind(s), s->name);
        return denied(err, LH_REASON_RoleNotAllowed);
    }
    rc = lh_subject_expand(who, own_role(s), &own, err);
    if (rc == -LH_E_NOMEM)
        return rc;
    if ((own && strcmp(own, role) == 0) || !s->cluster_scoped)
        return 0;
    rc = entries_allow(s, ns, who, LIST_ROLES, role, &ok, &listed, err);
    if (rc < 0 || ok)
        return rc;
    lh_err_fill(err, LH_E_DENIED,
                "%s \"%s\" does not let namespace \"%s\" choose the role \"%s\"; it allows its own "
                "role%s%.250s",
                lh_store_kind(s), s->name, ns->name, role, lh_buf_peek(&listed).n ? ", " : "",
                lh_buf_peek(&listed).n ? lh_buf_peek(&listed).p : " only");
    return denied(err, LH_REASON_RoleNotAllowed);
}

int lh_allow_path(const struct lh_store *s, const struct lh_namespace *ns,
                  const struct lh_subject *who, const char *path, struct lh_err *err)
{
    lh_auto_buf struct lh_buf listed;
    bool ok = false;
    int rc;

    lh_buf_init(&listed, 16384);
    rc = lh_path_check(path, err);
    if (rc < 0)
        return lh_err_wrap(err, rc, "path \"%.200s\"", path);
    rc = lh_allow_namespace(s, ns, err);
    if (rc < 0 || !s->cluster_scoped)
        return rc;
    rc = entries_allow(s, ns, who, LIST_PATHS, path, &ok, &listed, err);
    if (rc < 0 || ok)
        return rc;
    lh_err_fill(err, LH_E_DENIED,
                "%s \"%s\" does not let namespace \"%s\" read \"%.150s\"; it allows %.250s",
                lh_store_kind(s), s->name, ns->name, path,
                lh_buf_peek(&listed).n ? lh_buf_peek(&listed).p : "no path");
    return denied(err, LH_REASON_PathNotAllowed);
}
