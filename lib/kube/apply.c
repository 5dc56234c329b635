/* SPDX-License-Identifier: Apache-2.0 */
/* A controller's writes. What fails is told, and tried again by whoever knows the object anew. */
#include "leasehold/kube/apply.h"

#include <stdio.h>
#include <string.h>

#include "kube_priv.h"
#include "leasehold/codec/jsonpatch.h"
#include "leasehold/core/mem.h"

/* Of what is to be applied the server needs to know what it is, and we under which name. */
static int check_identity(const lh_json *obj, struct lh_kube_resource *res, struct lh_err *err)
{
    const char *name = lh_json_get_z(lh_json_get(obj, "metadata"), "name");

    if (!lh_json_get_z(obj, "apiVersion") || !lh_json_get_z(obj, "kind") || !name)
        return lh_err_set(err, LH_E_INVALID, "apply of %s: apiVersion, kind or name is missing",
                          res->resource);
    if (!res->name)
        res->name = name;
    if (strcmp(res->name, name) != 0)
        return lh_err_set(err, LH_E_INVALID, "apply of %s %s: the object has another name",
                          res->resource, res->name);
    return 0;
}

int lh_kube_apply(struct lh_kube *k, const struct lh_kube_resource *res, const char *manager,
                  bool force, const lh_json *obj, lh_kube_done_fn done, void *arg,
                  struct lh_kube_op **out, struct lh_err *err)
{
    struct lh_kube_resource named = *res;
    struct kube_request r = {.method = "PATCH",
                             .res = &named,
                             .content_type = "application/apply-patch+yaml",
                             .body = obj,
                             .done = done,
                             .arg = arg};
    lh_auto_buf struct lh_buf query = {0};
    int rc = check_identity(obj, &named, err);

    if (rc < 0)
        return rc;
    lh_buf_init(&query, KUBE_MAX_URL);
    kube_put_query(&query, "fieldManager", manager);
    if (force)
        kube_put_query(&query, "force", "true");
    rc = lh_buf_check(&query, err);
    if (rc < 0)
        return rc;
    r.query = lh_buf_peek(&query).p;
    return kube_request_start(k, &r, out, err);
}

int lh_kube_json_patch(struct lh_kube *k, const struct lh_kube_resource *res, const lh_json *patch,
                       lh_kube_done_fn done, void *arg, struct lh_kube_op **out, struct lh_err *err)
{
    struct kube_request r = {.method = "PATCH",
                             .res = res,
                             .content_type = "application/json-patch+json",
                             .body = patch,
                             .done = done,
                             .arg = arg};

    for (size_t i = 0; i < lh_json_len(patch); i++) {
        const char *op = lh_json_get_z(lh_json_at(patch, i), "op");

        r.tests |= op && strcmp(op, "test") == 0;
    }
    return kube_request_start(k, &r, out, err);
}

static int set_z(lh_json *obj, const char *key, const char *z)
{
    return z ? lh_json_set(obj, key, lh_json_new_z(z)) : 0;
}

static lh_json *delete_options(const char *uid, const char *resource_version)
{
    lh_auto_json lh_json *body = lh_json_new_object();
    lh_json *preconditions = lh_json_new_object();

    if (!body || !preconditions || set_z(body, "apiVersion", "v1") < 0 ||
        set_z(body, "kind", "DeleteOptions") < 0 || set_z(preconditions, "uid", uid) < 0 ||
        set_z(preconditions, "resourceVersion", resource_version) < 0) {
        lh_json_unref(preconditions);
        return NULL;
    }
    return lh_json_set(body, "preconditions", preconditions) < 0 ? NULL : LH_TAKE_PTR(body);
}

int lh_kube_delete(struct lh_kube *k, const struct lh_kube_resource *res, const char *uid,
                   const char *resource_version, lh_kube_done_fn done, void *arg,
                   struct lh_kube_op **out, struct lh_err *err)
{
    lh_auto_json lh_json *body = delete_options(uid, resource_version);
    const struct kube_request r = {.method = "DELETE",
                                   .res = res,
                                   .body = body,
                                   .gone_is_done = true,
                                   .done = done,
                                   .arg = arg};

    if (!body)
        return lh_err_nomem(err);
    if (!res->name)
        return lh_err_set(err, LH_E_INVALID, "delete of %s: no name", res->resource);
    return kube_request_start(k, &r, out, err);
}

/* Index of a finalizer, or the length. */
static size_t find(const lh_json *finalizers, const char *finalizer)
{
    size_t n = lh_json_len(finalizers), i;
    struct lh_str s;

    for (i = 0; i < n; i++) {
        if (lh_json_str(lh_json_at(finalizers, i), &s) && lh_str_eqz(s, finalizer))
            break;
    }
    return i;
}

static int put_test(lh_json *patch, const lh_json *meta, const char *path, const char *key)
{
    const lh_json *v = lh_json_get(meta, key);

    return v ? lh_jsonpatch_op(patch, "test", path, lh_json_ref(lh_json_mut(v))) : 0;
}

static int put_change(lh_json *patch, const lh_json *finalizers, size_t at, const char *finalizer)
{
    lh_json *list;
    char path[64];

    if (at < lh_json_len(finalizers)) {
        snprintf(path, sizeof(path), "/metadata/finalizers/%zu", at);
        return lh_jsonpatch_op(patch, "remove", path, NULL);
    }
    if (finalizers)
        return lh_jsonpatch_op(patch, "add", "/metadata/finalizers/-", lh_json_new_z(finalizer));
    list = lh_json_new_array();
    if (!list || lh_json_push(list, lh_json_new_z(finalizer)) < 0) {
        lh_json_unref(list);
        return -1;
    }
    return lh_jsonpatch_op(patch, "add", "/metadata/finalizers", list);
}

int lh_kube_finalizer(struct lh_kube *k, const struct lh_kube_resource *res, const lh_json *obj,
                      const char *finalizer, bool present, lh_kube_done_fn done, void *arg,
                      struct lh_kube_op **out, struct lh_err *err)
{
    const lh_json *meta = lh_json_get(obj, "metadata");
    const lh_json *finalizers = lh_json_get(meta, "finalizers");
    size_t at = find(finalizers, finalizer);
    struct kube_request ready = {.ready = obj, .done = done, .arg = arg};
    lh_auto_json lh_json *patch = NULL;

    if (!lh_json_get(meta, "uid") || !lh_json_get(meta, "resourceVersion"))
        return lh_err_set(err, LH_E_INVALID, "finalizer of %s: the object was not read from there",
                          res->resource);
    if ((at < lh_json_len(finalizers)) == present)
        return kube_request_start(k, &ready, out, err);
    patch = lh_json_new_array();
    if (!patch || put_test(patch, meta, "/metadata/uid", "uid") < 0 ||
        put_test(patch, meta, "/metadata/resourceVersion", "resourceVersion") < 0 ||
        put_change(patch, finalizers, at, finalizer) < 0)
        return lh_err_nomem(err);
    return lh_kube_json_patch(k, res, patch, done, arg, out, err);
}
