/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Pod as etcd has it: JSON, or Kubernetes' own envelope around a protobuf (runtime.Unknown of
 * k8s.io/apimachinery, core/v1 of k8s.io/api). Of the latter only what audit_take_pod() looks at is
 * read, into the JSON that the API server would make of it.
 */
#include <string.h>

#include "audit.h"
#include "leasehold/core/mem.h"
#include "leasehold/etcd/pb.h"

enum kind { END, TEXT, TEXTS, FLAG, PAIRS, OBJECT, OBJECTS, INLINE };

struct field {
    uint32_t number;
    enum kind kind;
    const char *name;
    const struct field *of; /* of OBJECT, OBJECTS and INLINE */
};

static const struct field reference[] = {{1, TEXT, "name", NULL}, {0}};
static const struct field local[] = {{1, INLINE, NULL, reference}, {0}};
static const struct field owner[] = {
    {1, TEXT, "kind", NULL}, {3, TEXT, "name", NULL}, {6, FLAG, "controller", NULL}, {0}};
static const struct field meta[] = {{1, TEXT, "name", NULL},
                                    {3, TEXT, "namespace", NULL},
                                    {11, PAIRS, "labels", NULL},
                                    {12, PAIRS, "annotations", NULL},
                                    {13, OBJECTS, "ownerReferences", owner},
                                    {0}};
static const struct field host_path[] = {{1, TEXT, "path", NULL}, {0}};
static const struct field secret_volume[] = {{1, TEXT, "secretName", NULL}, {0}};
static const struct field source[] = {{1, OBJECT, "secret", local}, {0}};
static const struct field projected[] = {{1, OBJECTS, "sources", source}, {0}};
static const struct field csi[] = {
    {1, TEXT, "driver", NULL}, {5, OBJECT, "nodePublishSecretRef", reference}, {0}};
static const struct field volume_source[] = {{1, OBJECT, "hostPath", host_path},
                                             {6, OBJECT, "secret", secret_volume},
                                             {26, OBJECT, "projected", projected},
                                             {28, OBJECT, "csi", csi},
                                             {0}};
static const struct field volume[] = {
    {1, TEXT, "name", NULL}, {2, INLINE, NULL, volume_source}, {0}};
static const struct field value_from[] = {{4, OBJECT, "secretKeyRef", local}, {0}};
static const struct field variable[] = {
    {1, TEXT, "name", NULL}, {2, TEXT, "value", NULL}, {3, OBJECT, "valueFrom", value_from}, {0}};
static const struct field variables_from[] = {{3, OBJECT, "secretRef", local}, {0}};
static const struct field http_get[] = {{1, TEXT, "path", NULL}, {0}};
static const struct field handler[] = {{2, OBJECT, "httpGet", http_get}, {0}};
static const struct field probe[] = {{1, INLINE, NULL, handler}, {0}};
static const struct field container[] = {{1, TEXT, "name", NULL},
                                         {2, TEXT, "image", NULL},
                                         {3, TEXTS, "command", NULL},
                                         {4, TEXTS, "args", NULL},
                                         {7, OBJECTS, "env", variable},
                                         {11, OBJECT, "readinessProbe", probe},
                                         {19, OBJECTS, "envFrom", variables_from},
                                         {22, OBJECT, "startupProbe", probe},
                                         {0}};
static const struct field spec[] = {{1, OBJECTS, "volumes", volume},
                                    {2, OBJECTS, "containers", container},
                                    {15, OBJECTS, "imagePullSecrets", reference},
                                    {20, OBJECTS, "initContainers", container},
                                    {0}};
static const struct field status[] = {{1, TEXT, "phase", NULL}, {0}};
static const struct field pod[] = {
    {1, OBJECT, "metadata", meta}, {2, OBJECT, "spec", spec}, {3, OBJECT, "status", status}, {0}};

static int malformed(struct lh_err *err)
{
    return lh_err_set(err, LH_E_INVALID, "a stored Pod does not parse");
}

/* The last one wins, as in protobuf; NULL: no memory, or no UTF-8. */
static int put(lh_json *to, const char *name, lh_json *value, struct lh_err *err)
{
    return value && lh_json_set(to, name, value) == 0 ? 0 : malformed(err);
}

/* The list of that name, made when it is not there yet. */
static lh_json *list_of(lh_json *to, const char *name)
{
    const lh_json *have = lh_json_get(to, name);
    lh_json *made;

    if (have)
        return lh_json_mut(have);
    made = lh_json_new_array();
    return made && lh_json_set(to, name, made) == 0 ? made : NULL;
}

static int append(lh_json *to, const char *name, lh_json *value, struct lh_err *err)
{
    lh_json *list = value ? list_of(to, name) : NULL;

    if (list)
        return lh_json_push(list, value) == 0 ? 0 : malformed(err);
    lh_json_unref(value);
    return malformed(err);
}

static int put_pair(lh_json *to, const char *name, struct lh_str entry, struct lh_err *err)
{
    struct lh_pb r = lh_pb_of(entry);
    struct lh_str key = LH_STR(""), value = LH_STR(""); /* what is left out is empty */
    struct lh_pb_field f;
    lh_json *all = lh_json_mut(lh_json_get(to, name)), *text;

    while (lh_pb_next(&r, &f)) {
        if (f.type == LH_PB_BYTES && f.number == 1)
            key = f.bytes;
        else if (f.type == LH_PB_BYTES && f.number == 2)
            value = f.bytes;
    }
    if (!all) {
        all = lh_json_new_object();
        if (!all || lh_json_set(to, name, all) < 0)
            return malformed(err);
    }
    text = r.bad ? NULL : lh_json_new_str(value);
    return text && lh_json_setn(all, key, text) == 0 ? 0 : malformed(err);
}

static int read_message(struct lh_str message, const struct field *fields, lh_json *to,
                        struct lh_err *err);

static int put_object(lh_json *to, const struct field *d, struct lh_str message, struct lh_err *err)
{
    lh_json *o = lh_json_new_object();
    int rc = o ? read_message(message, d->of, o, err) : malformed(err);

    if (rc < 0) {
        lh_json_unref(o);
        return rc;
    }
    return d->kind == OBJECT ? put(to, d->name, o, err) : append(to, d->name, o, err);
}

static int take(const struct field *d, const struct lh_pb_field *f, lh_json *to, struct lh_err *err)
{
    if (d->kind == FLAG)
        return f->type == LH_PB_VARINT ? put(to, d->name, lh_json_new_bool(f->n != 0), err)
                                       : malformed(err);
    if (f->type != LH_PB_BYTES)
        return malformed(err);
    switch (d->kind) {
    case TEXT:
        return put(to, d->name, lh_json_new_str(f->bytes), err);
    case TEXTS:
        return append(to, d->name, lh_json_new_str(f->bytes), err);
    case PAIRS:
        return put_pair(to, d->name, f->bytes, err);
    case INLINE:
        return read_message(f->bytes, d->of, to, err);
    default:
        return put_object(to, d, f->bytes, err);
    }
}

/* As deep as the tables are. */
static int read_message(struct lh_str message, const struct field *fields, lh_json *to,
                        struct lh_err *err)
{
    struct lh_pb r = lh_pb_of(message);
    struct lh_pb_field f;
    int rc = 0;

    while (rc == 0 && lh_pb_next(&r, &f)) {
        for (const struct field *d = fields; d->kind != END && rc == 0; d++) {
            if (d->number == f.number)
                rc = take(d, &f, to, err);
        }
    }
    return rc == 0 && r.bad ? malformed(err) : rc;
}

/* The message within runtime.Unknown; empty: it is of another kind or encoded once more. */
static struct lh_str unwrapped(struct lh_str stored)
{
    struct lh_pb r = lh_pb_of((struct lh_str){stored.p + 4, stored.n - 4}), type;
    struct lh_str raw = {0};
    struct lh_pb_field f, t;
    bool is_pod = false;

    while (lh_pb_next(&r, &f)) {
        if (f.type != LH_PB_BYTES)
            continue;
        type = lh_pb_of(f.bytes);
        while (f.number == 1 && lh_pb_next(&type, &t))
            is_pod |= t.number == 2 && t.type == LH_PB_BYTES && lh_str_eqz(t.bytes, "Pod");
        if (f.number == 2)
            raw = f.bytes;
        else if (f.number == 3 && f.bytes.n)
            return (struct lh_str){0};
    }
    return is_pod && !r.bad ? raw : (struct lh_str){0};
}

int audit_stored_pod(struct lh_str stored, lh_json **out, struct lh_err *err)
{
    static const char magic[4] = {'k', '8', 's', 0};
    lh_auto_json lh_json *made = NULL;
    struct lh_str message;
    int rc;

    if (stored.n && stored.p[0] == '{')
        return lh_json_parse(stored, NULL, out, err);
    if (stored.n < sizeof(magic) || memcmp(stored.p, magic, sizeof(magic)) != 0)
        return malformed(err);
    message = unwrapped(stored);
    made = lh_json_new_object();
    if (message.n == 0 || !made)
        return malformed(err);
    rc = read_message(message, pod, made, err);
    if (rc == 0)
        *out = LH_TAKE_PTR(made);
    return rc;
}
