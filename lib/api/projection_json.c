/* SPDX-License-Identifier: Apache-2.0 */
/* SecretProjection objects from and to JSON. */
#include <stdio.h>
#include <string.h>

#include "leasehold/api/allow.h"
#include "leasehold/api/fields.h"
#include "leasehold/api/reasons.h"
#include "leasehold/codec/duration.h"
#include "leasehold/core/mem.h"
#include "projection_priv.h"

#define SPEC_MAX ((size_t)64 * 1024 * 1024)

static const struct lh_json_limits spec_limits = {
    .max_bytes = SPEC_MAX, .max_depth = 128, .max_keys = 1000000};

static int mode_field(const struct lh_at *at, const lh_json *obj, struct lh_file_spec *f,
                      struct lh_err *err)
{
    lh_auto_free char *text = NULL;
    int rc;

    rc = lh_field_str(at, obj, "mode", false, 8, &text, err);
    if (rc < 0 || !text)
        return rc;
    rc = lh_mode_parse(text, &f->mode, err);
    if (rc < 0)
        return lh_at_wrap(&LH_AT_NAME(at, "mode"), rc, err);
    f->has_mode = true;
    return 0;
}

static int file_parse(const struct lh_at *at, const lh_json *obj, struct lh_file_spec *f,
                      struct lh_err *err)
{
    static const char *const known[] = {"path", "key", "mode", "format", "template", NULL};
    int format = -1;
    int rc;

    rc = lh_field_known(at, obj, known, err);
    if (rc == 0)
        rc = lh_field_str(at, obj, "path", true, PATH_BYTES, &f->path, err);
    if (rc == 0)
        rc = lh_field_str(at, obj, "key", false, 1024, &f->key, err);
    if (rc == 0)
        rc = mode_field(at, obj, f, err);
    if (rc == 0)
        rc = lh_field_str(at, obj, "template", false, SIZE_MAX, &f->template_, err);
    if (rc == 0)
        rc = lh_field_enum(at, obj, "format", projection_format_names, &format, err);
    if (rc < 0)
        return rc;
    if (format < 0)
        format = f->template_ ? LH_FORMAT_TEMPLATE : LH_FORMAT_RAW;
    f->format = (enum lh_format)format;
    f->folder = f->format == LH_FORMAT_RAW && !f->key;
    return 0;
}

static int files_parse(const struct lh_at *at, const lh_json *obj, struct lh_item *it,
                       struct lh_err *err)
{
    const struct lh_at here = LH_AT_NAME(at, "files");
    const lh_json *arr = NULL;
    struct lh_file_spec *f;
    int rc;

    rc = lh_field_array(at, obj, "files", LH_FILES_MAX, &arr, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < lh_json_len(arr); i++) {
        f = lh_item_add_file(it);
        if (!f)
            return lh_err_nomem(err);
        rc = file_parse(&LH_AT_INDEX(&here, i), lh_json_at(arr, i), f, err);
        if (rc < 0)
            return rc;
    }
    if (it->n_files)
        return 0;
    f = lh_item_add_file(it);
    if (f)
        f->path = lh_strdup(it->name);
    if (!f || !f->path)
        return lh_err_nomem(err);
    f->folder = true;
    return 0;
}

static int interval_field(const struct lh_at *at, const lh_json *obj, int64_t *out,
                          struct lh_err *err)
{
    static const char *const known[] = {"interval", NULL};
    const struct lh_at here = LH_AT_NAME(at, "refresh");
    const lh_json *r = NULL;
    int rc;

    rc = lh_field_object(at, obj, "refresh", false, &r, err);
    if (rc < 0 || !r)
        return rc;
    rc = lh_field_known(&here, r, known, err);
    return rc < 0 ? rc : lh_field_ms(&here, r, "interval", LEAST_MS, YEAR_MS, out, err);
}

static int item_parse(const struct lh_at *at, const lh_json *obj, struct lh_item *it,
                      struct lh_err *err)
{
    static const char *const known[] = {"name",  "path",    "params",  "version", "optional",
                                        "files", "refresh", "overlap", NULL};
    const lh_json *params = NULL;
    int rc;

    rc = lh_field_known(at, obj, known, err);
    if (rc == 0)
        rc = lh_field_str(at, obj, "name", true, NAME_BYTES, &it->name, err);
    if (rc == 0)
        rc = lh_field_str(at, obj, "path", true, 1024, &it->path, err);
    if (rc < 0)
        return rc;
    rc = lh_path_check(it->path, err);
    if (rc < 0)
        return lh_at_wrap(&LH_AT_NAME(at, "path"), rc, err);
    rc = lh_field_object(at, obj, "params", false, &params, err);
    if (rc == 0 && params)
        it->params = lh_json_ref(lh_json_mut(params));
    if (rc == 0)
        rc = lh_field_int(at, obj, "version", 1, INT64_MAX, &it->version, err);
    if (rc == 0)
        rc = lh_field_bool(at, obj, "optional", &it->optional, err);
    if (rc == 0)
        rc = interval_field(at, obj, &it->refresh_ms, err);
    if (rc == 0)
        rc = lh_field_ms(at, obj, "overlap", 0, YEAR_MS, &it->overlap_ms, err);
    if (rc == 0)
        rc = files_parse(at, obj, it, err);
    return rc;
}

static int items_parse(const struct lh_at *at, const lh_json *spec, struct lh_projection *p,
                       struct lh_err *err)
{
    const struct lh_at here = LH_AT_NAME(at, "items");
    const lh_json *arr = NULL;
    int rc;

    rc = lh_field_array(at, spec, "items", LH_ITEMS_MAX, &arr, err);
    if (rc < 0)
        return rc;
    if (!lh_json_len(arr))
        return lh_at_err(&here, err, "is required: at least one {name, path}");
    for (size_t i = 0; i < lh_json_len(arr); i++) {
        struct lh_item *it = lh_projection_add_item(p);

        if (!it)
            return lh_err_nomem(err);
        rc = item_parse(&LH_AT_INDEX(&here, i), lh_json_at(arr, i), it, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int store_ref_parse(const struct lh_at *at, const lh_json *spec, struct lh_projection *p,
                           struct lh_err *err)
{
    static const char *const known[] = {"kind", "name", NULL};
    static const char *const kinds[] = {"SecretStore", "ClusterSecretStore", NULL};
    const struct lh_at here = LH_AT_NAME(at, "storeRef");
    const lh_json *ref = NULL;
    int kind = 0;
    int rc;

    rc = lh_field_object(at, spec, "storeRef", false, &ref, err);
    if (rc < 0 || !ref)
        return rc;
    rc = lh_field_known(&here, ref, known, err);
    if (rc == 0)
        rc = lh_field_enum(&here, ref, "kind", kinds, &kind, err);
    if (rc == 0)
        rc = lh_field_str(&here, ref, "name", true, 253, &p->store_name, err);
    if (rc == 0 && !lh_str_is_dns_subdomain(lh_str(p->store_name)))
        rc = lh_at_err(&LH_AT_NAME(&here, "name"), err, "must be the name of a store");
    p->store_cluster_scoped = kind == 1;
    p->has_store = true;
    return rc;
}

static int staleness_parse(const struct lh_at *at, const lh_json *spec, struct lh_projection *p,
                           struct lh_err *err)
{
    static const char *const known[] = {"maxAge", "then", NULL};
    const struct lh_at here = LH_AT_NAME(at, "staleness");
    const lh_json *s = NULL;
    int then = LH_STALE_KEEP, revocation = LH_REVOKE;
    int rc;

    rc = lh_field_enum(at, spec, "revocation", projection_revocation_names, &revocation, err);
    if (rc == 0)
        rc = lh_field_object(at, spec, "staleness", false, &s, err);
    if (rc == 0 && s)
        rc = lh_field_known(&here, s, known, err);
    if (rc == 0)
        rc = lh_field_ms(&here, s, "maxAge", 1000, YEAR_MS, &p->max_age_ms, err);
    if (rc == 0)
        rc = lh_field_enum(&here, s, "then", projection_then_names, &then, err);
    p->revocation = (enum lh_revocation)revocation;
    p->then = (enum lh_stale_then)then;
    return rc;
}

static int copy_parse(const struct lh_at *at, const lh_json *spec, struct lh_projection *p,
                      struct lh_err *err)
{
    static const char *const known[] = {"name", "type", "adopt", NULL};
    static const char *const change[] = {"restart", NULL};
    const struct lh_at here = LH_AT_NAME(at, "kubernetesSecret");
    const struct lh_at at_change = LH_AT_NAME(at, "onChange");
    lh_auto_free char *name = NULL, *type = NULL;
    const lh_json *v = NULL, *list = NULL;
    bool adopt;
    int rc;

    rc = lh_field_object(at, spec, "kubernetesSecret", false, &v, err);
    if (rc == 0 && v) {
        rc = lh_field_known(&here, v, known, err);
        if (rc == 0)
            rc = lh_field_str(&here, v, "name", true, 253, &name, err);
        if (rc == 0)
            rc = lh_field_str(&here, v, "type", false, 253, &type, err);
        if (rc == 0)
            rc = lh_field_bool(&here, v, "adopt", &adopt, err);
        p->kubernetes_secret = lh_json_ref(lh_json_mut(v));
    }
    if (rc == 0)
        rc = lh_field_object(at, spec, "onChange", false, &v, err);
    if (rc < 0 || !v)
        return rc;
    rc = lh_field_known(&at_change, v, change, err);
    if (rc == 0)
        rc = lh_field_array(&at_change, v, "restart", 16, &list, err);
    p->on_change = lh_json_ref(lh_json_mut(v));
    return rc;
}

static int spec_parse(const struct lh_at *at, const lh_json *spec, struct lh_projection *p,
                      struct lh_err *err)
{
    static const char *const known[] = {"storeRef",   "role",
                                        "items",      "refresh",
                                        "overlap",    "staleness",
                                        "revocation", "kubernetesSecret",
                                        "onChange",   "serviceAccountName",
                                        NULL};
    int rc;

    rc = lh_field_known(at, spec, known, err);
    if (rc == 0)
        rc = store_ref_parse(at, spec, p, err);
    if (rc == 0)
        rc = lh_field_line(at, spec, "role", false, 512, &p->role, err);
    if (rc == 0)
        rc = items_parse(at, spec, p, err);
    if (rc == 0)
        rc = interval_field(at, spec, &p->refresh_ms, err);
    if (rc == 0)
        rc = lh_field_ms(at, spec, "overlap", 0, YEAR_MS, &p->overlap_ms, err);
    if (rc == 0)
        rc = staleness_parse(at, spec, p, err);
    if (rc == 0)
        rc = copy_parse(at, spec, p, err);
    if (rc == 0)
        rc = lh_field_str(at, spec, "serviceAccountName", false, 253, &p->service_account, err);
    if (rc == 0 && p->service_account && !lh_str_is_dns_subdomain(lh_str(p->service_account)))
        rc = lh_at_err(&LH_AT_NAME(at, "serviceAccountName"), err,
                       "must be the name of a ServiceAccount");
    return rc;
}

int lh_projection_parse_spec(const lh_json *spec, const char *what, const char *namespace_,
                             const char *name, struct lh_projection **out, struct lh_err *err)
{
    const struct lh_at root = LH_AT_ROOT(what, LH_REASON_ConfigInvalid);
    const struct lh_at at = LH_AT_NAME(&root, "spec");
    struct lh_projection *p = lh_projection_new();
    int rc = 0;

    if (p)
        p->name = lh_strdup(name);
    if (p)
        p->namespace_ = lh_strdup(namespace_);
    if (!p || !p->name || !p->namespace_)
        rc = lh_err_nomem(err);
    if (rc == 0)
        rc = spec_parse(&at, spec, p, err);
    if (rc == 0)
        rc = lh_projection_check(p, what, err);
    if (rc < 0) {
        lh_projection_free(p);
        return rc;
    }
    *out = p;
    return 0;
}

int lh_projection_parse(const lh_json *obj, const char *what, struct lh_projection **out,
                        struct lh_err *err)
{
    static const char *const known[] = {"apiVersion", "kind", "metadata", "spec", "status", NULL};
    const char *version = lh_json_get_z(obj, "apiVersion"), *kind = lh_json_get_z(obj, "kind");
    const lh_json *meta = lh_json_get(obj, "metadata"), *spec = NULL;
    const char *name = lh_json_get_z(meta, "name"), *ns = lh_json_get_z(meta, "namespace");
    lh_auto_free char *object = NULL;
    struct lh_at root;
    int rc;

    object = lh_asprintf("%s%sSecretProjection \"%.253s\"", what ? what : "", what ? ": " : "",
                         name ? name : "");
    if (!object)
        return lh_err_nomem(err);
    root = LH_AT_ROOT(object, LH_REASON_ConfigInvalid);
    rc = lh_field_known(&root, obj, known, err);
    if (rc < 0)
        return rc;
    if (!kind || strcmp(kind, "SecretProjection") != 0)
        return lh_at_err(&LH_AT_NAME(&root, "kind"), err, "must be SecretProjection");
    if (!version || strcmp(version, "leasehold.dev/v1alpha1") != 0)
        return lh_at_err(&LH_AT_NAME(&root, "apiVersion"), err, "must be leasehold.dev/v1alpha1");
    if (!name || !lh_str_is_dns_subdomain(lh_str(name)))
        return lh_at_err(&root, err, "metadata.name must be lower case letters, digits, - and .");
    if (ns && !lh_str_is_dns_label(lh_str(ns)))
        return lh_at_err(&root, err, "metadata.namespace must be lower case letters, digits and -");
    rc = lh_field_object(&root, obj, "spec", true, &spec, err);
    return rc < 0 ? rc
                  : lh_projection_parse_spec(spec, object, ns ? ns : "default", name, out, err);
}

/* Members in the order of their bytes, each with its comma; written straight to text, since every
 * admitted Pod needs it once. */
struct members {
    struct lh_buf *b;
    bool any;
};

static void member(struct members *m, const char *key)
{
    lh_buf_put_z(m->b, m->any ? ",\"" : "\"");
    lh_buf_put_z(m->b, key);
    lh_buf_put_z(m->b, "\":");
    m->any = true;
}

static void member_z(struct members *m, const char *key, const char *value)
{
    if (!value)
        return;
    member(m, key);
    lh_json_write_str(lh_str(value), m->b);
}

static void member_ms(struct members *m, const char *key, int64_t ms)
{
    if (ms < 0)
        return;
    member(m, key);
    lh_buf_put_c(m->b, '"');
    lh_duration_put(m->b, ms);
    lh_buf_put_c(m->b, '"');
}

static void member_json(struct members *m, const char *key, const lh_json *value)
{
    if (!value)
        return;
    member(m, key);
    lh_json_write(value, LH_JSON_SORTED, m->b);
}

static void member_interval(struct members *m, int64_t ms)
{
    struct members inner = {.b = m->b};

    if (ms < 0)
        return;
    member(m, "refresh");
    lh_buf_put_c(m->b, '{');
    member_ms(&inner, "interval", ms);
    lh_buf_put_c(m->b, '}');
}

static void write_file(const struct lh_file_spec *f, struct lh_buf *b)
{
    bool said = f->format != LH_FORMAT_RAW && f->format != LH_FORMAT_TEMPLATE;
    struct members m = {.b = b};
    char mode[8] = "";

    snprintf(mode, sizeof(mode), "%04o", (unsigned)(f->mode & 0777));
    lh_buf_put_c(b, '{');
    member_z(&m, "format", said ? lh_format_name(f->format) : NULL);
    member_z(&m, "key", f->key);
    member_z(&m, "mode", f->has_mode ? mode : NULL);
    member_z(&m, "path", f->path);
    member_z(&m, "template", f->template_);
    lh_buf_put_c(b, '}');
}

static void write_item(const struct lh_item *it, struct lh_buf *b)
{
    struct members m = {.b = b};

    lh_buf_put_c(b, '{');
    member(&m, "files");
    for (size_t i = 0; i < it->n_files; i++) {
        lh_buf_put_c(b, i ? ',' : '[');
        write_file(&it->files[i], b);
    }
    lh_buf_put_c(b, ']');
    member_z(&m, "name", it->name);
    if (it->optional) {
        member(&m, "optional");
        lh_buf_put_z(b, "true");
    }
    member_ms(&m, "overlap", it->overlap_ms);
    member_json(&m, "params", it->params);
    member_z(&m, "path", it->path);
    member_interval(&m, it->refresh_ms);
    if (it->version) {
        member(&m, "version");
        lh_buf_printf(b, "%lld", (long long)it->version);
    }
    lh_buf_put_c(b, '}');
}

static void write_staleness(struct members *m, const struct lh_projection *p)
{
    struct members inner = {.b = m->b};

    if (p->max_age_ms < 0 && p->then == LH_STALE_KEEP)
        return;
    member(m, "staleness");
    lh_buf_put_c(m->b, '{');
    member_ms(&inner, "maxAge", p->max_age_ms);
    member_z(&inner, "then", projection_then_names[p->then]);
    lh_buf_put_c(m->b, '}');
}

static void write_store_ref(struct members *m, const struct lh_projection *p)
{
    struct members inner = {.b = m->b};

    if (!p->has_store)
        return;
    member(m, "storeRef");
    lh_buf_put_c(m->b, '{');
    member_z(&inner, "kind", p->store_cluster_scoped ? "ClusterSecretStore" : "SecretStore");
    member_z(&inner, "name", p->store_name);
    lh_buf_put_c(m->b, '}');
}

void lh_projection_write(const struct lh_projection *p, struct lh_buf *b)
{
    struct members m = {.b = b};

    lh_buf_put_c(b, '{');
    member(&m, "items");
    lh_buf_put_c(b, '[');
    for (size_t i = 0; i < p->n_items; i++) {
        if (i)
            lh_buf_put_c(b, ',');
        write_item(&p->items[i], b);
    }
    lh_buf_put_c(b, ']');
    member_json(&m, "kubernetesSecret", p->kubernetes_secret);
    member_json(&m, "onChange", p->on_change);
    member_ms(&m, "overlap", p->overlap_ms);
    member_interval(&m, p->refresh_ms);
    member_z(&m, "revocation", projection_revocation_names[p->revocation]);
    member_z(&m, "role", p->role);
    member_z(&m, "serviceAccountName", p->service_account);
    write_staleness(&m, p);
    write_store_ref(&m, p);
    lh_buf_put_c(b, '}');
}

int lh_projection_to_json(const struct lh_projection *p, lh_json **out, struct lh_err *err)
{
    lh_auto_buf struct lh_buf b;
    int rc;

    lh_buf_init(&b, SPEC_MAX);
    lh_projection_write(p, &b);
    rc = lh_buf_check(&b, err);
    return rc < 0 ? rc : lh_json_parse(lh_buf_peek(&b), &spec_limits, out, err);
}
