/* SPDX-License-Identifier: Apache-2.0 */
#include "secret_plan.h"

#include <string.h>

#include "leasehold/api/drain.h"
#include "leasehold/api/reasons.h"
#include "leasehold/codec/base64.h"
#include "leasehold/core/mem.h"

enum { KEY_MAX = 253 };

/* Tokens of accounts and of joining nodes are made by writing a Secret of their type: not by us. */
static const char *const types[] = {
    "Opaque",
    "kubernetes.io/tls",
    "kubernetes.io/basic-auth",
    "kubernetes.io/ssh-auth",
    "kubernetes.io/dockerconfigjson",
    "kubernetes.io/dockercfg",
};

int secret_spec_read(const lh_json *kubernetes_secret, struct secret_spec *out, struct lh_err *err)
{
    const lh_json *type = lh_json_get(kubernetes_secret, "type");
    struct secret_spec spec = {.name = lh_json_get_z(kubernetes_secret, "name"),
                               .type = type ? lh_json_get_z(kubernetes_secret, "type") : types[0],
                               .adopt = lh_json_get_bool(kubernetes_secret, "adopt", false)};

    if (!spec.name || !lh_str_is_dns_subdomain(lh_str(spec.name)))
        return lh_err_set(err, LH_E_INVALID, "kubernetesSecret.name must be the name of a Secret");
    for (size_t i = 0; spec.type && i < LH_ARRAY_LEN(types); i++) {
        if (strcmp(types[i], spec.type) == 0) {
            *out = spec;
            return 0;
        }
    }
    return lh_err_set(err, LH_E_INVALID,
                      "kubernetesSecret.type must be one of Opaque, kubernetes.io/tls, basic-auth, "
                      "ssh-auth, dockerconfigjson or dockercfg");
}

enum secret_claim secret_claim(const lh_json *meta, const struct secret_owner *owner, bool adopt)
{
    const lh_json *owners = lh_json_get(meta, "ownerReferences");
    const char *label = lh_json_get_z(lh_json_get(meta, "labels"), SECRET_LABEL);
    const char *kept;

    if (!meta)
        return SECRET_ABSENT;
    for (size_t i = 0; i < lh_json_len(owners); i++) {
        const lh_json *o = lh_json_at(owners, i);
        const char *uid = lh_json_get_z(o, "uid");

        if (uid && strcmp(uid, owner->uid) == 0)
            return SECRET_OURS;
        /* Whoever controls it would write it back; two at it would never end. */
        if (lh_json_get_bool(o, "controller", false))
            return SECRET_FOREIGN;
    }
    /* Let go by a drain, and nobody else's since. */
    kept = lh_json_get_z(lh_json_get(meta, "annotations"), LH_KEPT_OF);
    if (!label && kept && strcmp(kept, owner->uid) == 0)
        return SECRET_OURS;
    /* The label alone: the owner reference was taken away, and is put back. */
    if (label && strcmp(label, owner->uid) == 0)
        return SECRET_OURS;
    return adopt ? SECRET_TAKEN_OVER : SECRET_FOREIGN;
}

const char *secret_key(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* As Kubernetes checks the keys of a Secret. */
static bool key_fits(const char *key)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
    size_t n = strlen(key);

    return n > 0 && n <= KEY_MAX && strspn(key, good) == n && strcmp(key, ".") != 0 &&
           strncmp(key, "..", 2) != 0;
}

static int put_file(lh_json *data, const struct lh_rendered *f, size_t *total, struct lh_err *err)
{
    const char *key = secret_key(f->path);
    size_t n = lh_secret_len(f->bytes);
    lh_auto_buf struct lh_buf text;
    int rc = 0;

    lh_buf_init(&text, SECRET_DATA_MAX * 2);
    if (!key_fits(key))
        rc = lh_err_set(err, LH_E_INVALID,
                        "file \"%s\": a key of a Secret has letters, digits, '-', '_' and '.'",
                        f->path);
    else if (lh_json_get(data, key))
        rc = lh_err_set(err, LH_E_INVALID, "file \"%s\": the Secret has a key \"%s\" already",
                        f->path, key);
    if (rc < 0)
        return lh_err_reason(err, rc, LH_REASON_FileConflict);
    *total += n + strlen(key);
    if (*total > SECRET_DATA_MAX) {
        rc = lh_err_set(err, LH_E_TOOBIG, "the files are larger than a Secret may be");
        return lh_err_reason(err, rc, LH_REASON_TooLarge);
    }
    lh_base64_put(&text, lh_secret_expose_const(f->bytes), n);
    rc = lh_buf_check(&text, err);
    if (rc < 0)
        return rc;
    return lh_json_set(data, key, lh_json_new_str(lh_buf_peek(&text))) < 0 ? lh_err_nomem(err) : 0;
}

static int put_data(lh_json *data, const struct lh_rendered_set *set, struct lh_err *err)
{
    size_t total = 0;
    int rc = 0;

    for (size_t i = 0; i < set->n && rc == 0; i++)
        rc = put_file(data, &set->v[i], &total, err);
    return rc;
}

/* An array of one that refers to the projection. */
static lh_json *owners_of(const struct secret_owner *owner)
{
    lh_json *list = lh_json_new_array(), *o = lh_json_new_object();

    if (!list || !o || lh_json_set(o, "apiVersion", lh_json_new_z("leasehold.dev/v1alpha1")) < 0 ||
        lh_json_set(o, "kind", lh_json_new_z("SecretProjection")) < 0 ||
        lh_json_set(o, "name", lh_json_new_z(owner->name)) < 0 ||
        lh_json_set(o, "uid", lh_json_new_z(owner->uid)) < 0 ||
        lh_json_set(o, "controller", lh_json_new_bool(true)) < 0 ||
        lh_json_set(o, "blockOwnerDeletion", lh_json_new_bool(true)) < 0) {
        lh_json_unref(o);
        lh_json_unref(list);
        return NULL;
    }
    if (lh_json_push(list, o) < 0) {
        lh_json_unref(list);
        return NULL;
    }
    return list;
}

static lh_json *meta_of(const struct secret_spec *spec, const struct secret_owner *owner,
                        const char *uid)
{
    lh_auto_json lh_json *meta = lh_json_new_object();
    lh_json *labels = lh_json_new_object();

    if (!meta || !labels || lh_json_set(labels, SECRET_LABEL, lh_json_new_z(owner->uid)) < 0) {
        lh_json_unref(labels);
        return NULL;
    }
    if (lh_json_set(meta, "labels", labels) < 0 ||
        lh_json_set(meta, "name", lh_json_new_z(spec->name)) < 0 ||
        lh_json_set(meta, "namespace", lh_json_new_z(owner->namespace_)) < 0 ||
        lh_json_set(meta, "ownerReferences", owners_of(owner)) < 0 ||
        (uid && lh_json_set(meta, "uid", lh_json_new_z(uid)) < 0))
        return NULL;
    return LH_TAKE_PTR(meta);
}

int secret_plan(const struct secret_spec *spec, const struct secret_owner *owner, const char *uid,
                const struct lh_rendered_set *set, lh_json **out, struct lh_err *err)
{
    lh_auto_json lh_json *obj = lh_json_new_object(), *data = lh_json_new_object();
    int rc = obj && data ? put_data(data, set, err) : lh_err_nomem(err);

    if (rc < 0)
        return lh_err_wrap(err, rc, "Secret \"%s\"", spec->name);
    if (lh_json_set(obj, "apiVersion", lh_json_new_z("v1")) < 0 ||
        lh_json_set(obj, "kind", lh_json_new_z("Secret")) < 0 ||
        lh_json_set(obj, "metadata", meta_of(spec, owner, uid)) < 0 ||
        lh_json_set(obj, "type", lh_json_new_z(spec->type)) < 0 ||
        lh_json_set(obj, "data", LH_TAKE_PTR(data)) < 0)
        return lh_err_nomem(err);
    *out = LH_TAKE_PTR(obj);
    return 0;
}

static lh_json *kept_meta(const lh_json *meta, const char *uid)
{
    static const char *const same[] = {"name", "namespace", "uid", "resourceVersion"};
    lh_auto_json lh_json *m = lh_json_new_object();
    lh_json *notes = lh_json_new_object();

    if (!m || !notes || lh_json_set(notes, LH_KEPT_OF, lh_json_new_z(uid)) < 0) {
        lh_json_unref(notes);
        return NULL;
    }
    if (lh_json_set(m, "annotations", notes) < 0)
        return NULL;
    for (size_t i = 0; i < LH_ARRAY_LEN(same); i++) {
        const char *z = lh_json_get_z(meta, same[i]);

        if (!z || lh_json_set(m, same[i], lh_json_new_z(z)) < 0)
            return NULL;
    }
    return LH_TAKE_PTR(m);
}

int secret_plan_kept(const lh_json *secret, const char *uid, lh_json **out, struct lh_err *err)
{
    lh_auto_json lh_json *obj = lh_json_new_object();
    const lh_json *data = lh_json_get(secret, "data");
    const char *type = lh_json_get_z(secret, "type");

    if (!obj || lh_json_set(obj, "apiVersion", lh_json_new_z("v1")) < 0 ||
        lh_json_set(obj, "kind", lh_json_new_z("Secret")) < 0 ||
        lh_json_set(obj, "metadata", kept_meta(lh_json_get(secret, "metadata"), uid)) < 0 ||
        (type && lh_json_set(obj, "type", lh_json_new_z(type)) < 0) ||
        (data && lh_json_set(obj, "data", lh_json_ref(lh_json_mut(data))) < 0))
        return lh_err_nomem(err);
    *out = LH_TAKE_PTR(obj);
    return 0;
}
