/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "leasehold/core/mem.h"
#include "objects_priv.h"

char *object_key(const char *kind, const char *namespace_, const char *name)
{
    /* A separator below every character of a name, so that order of keys is order of parts. */
    return lh_asprintf("%s\t%s\t%s", kind, namespace_ ? namespace_ : "", name);
}

static const struct kind_row {
    const char *group, *kind; /* group: what apiVersion starts with */
    enum object_kind is;
} kinds[] = {
    {"leasehold.dev/", "SecretStore", OBJECT_STORE},
    {"leasehold.dev/", "ClusterSecretStore", OBJECT_STORE},
    {"leasehold.dev/", "SecretProjection", OBJECT_PROJECTION},
    {"v1", "Namespace", OBJECT_NAMESPACE},
    {"v1", "Secret", OBJECT_SECRET},
};

enum object_kind object_kind_of(const lh_json *obj)
{
    const char *version = lh_json_get_z(obj, "apiVersion"), *kind = lh_json_get_z(obj, "kind");

    for (size_t i = 0; version && kind && i < LH_ARRAY_LEN(kinds); i++) {
        bool group = strchr(kinds[i].group, '/')
                         ? lh_str_starts(lh_str(version), lh_str(kinds[i].group))
                         : strcmp(version, kinds[i].group) == 0;

        if (group && strcmp(kind, kinds[i].kind) == 0)
            return kinds[i].is;
    }
    return OBJECT_OTHER;
}

void object_free(struct object *o)
{
    if (!o)
        return;
    lh_free(o->key);
    lh_free(o->where);
    lh_free(o->uid);
    lh_json_unref(o->raw);
    lh_store_unref(o->store);
    lh_projection_free(o->projection);
    lh_free(o);
}

static void free_value(void *p)
{
    object_free(p);
}

/* Namespaces and Secrets have no type of their own: a name is all that is asked of them. */
static int check_plain(struct object *o, const lh_json *obj, const char *where, struct lh_err *err)
{
    const char *kind = o->kind == OBJECT_SECRET ? "Secret" : "Namespace";
    const lh_json *meta = lh_json_get(obj, "metadata");
    const char *name = lh_json_get_z(meta, "name"), *ns = lh_json_get_z(meta, "namespace");

    if (!name || !lh_str_is_dns_subdomain(lh_str(name)))
        return lh_err_set(err, LH_E_INVALID, "%s%s%s: metadata.name is not a name",
                          where ? where : "", where ? ": " : "", kind);
    if (o->kind == OBJECT_SECRET && !ns)
        ns = "default";
    o->key = object_key(kind, o->kind == OBJECT_SECRET ? ns : NULL, name);
    return 0;
}

static int parse_typed(struct object *o, const lh_json *obj, const char *where, struct lh_err *err)
{
    int rc;

    if (o->kind == OBJECT_STORE) {
        rc = lh_store_parse(obj, where, &o->store, err);
        if (rc == 0)
            o->key = object_key(lh_store_kind(o->store), o->store->namespace_, o->store->name);
    } else if (o->kind == OBJECT_PROJECTION) {
        rc = lh_projection_parse(obj, where, &o->projection, err);
        if (rc == 0)
            o->key = object_key("SecretProjection", o->projection->namespace_, o->projection->name);
    } else {
        rc = check_plain(o, obj, where, err);
    }
    if (rc < 0)
        return rc;
    return o->key ? 0 : lh_err_nomem(err);
}

int object_new(const lh_json *obj, enum object_kind kind, const char *where, struct object **out,
               struct lh_err *err)
{
    const lh_json *meta = lh_json_get(obj, "metadata");
    const char *uid = lh_json_get_z(meta, "uid");
    struct object *o = lh_calloc(1, sizeof(*o));
    int rc;

    if (!o)
        return lh_err_nomem(err);
    o->kind = kind;
    o->generation = lh_json_get_int(meta, "generation", 0);
    o->where = where ? lh_strdup(where) : NULL;
    o->uid = uid ? lh_strdup(uid) : NULL;
    rc = parse_typed(o, obj, where, err);
    if (rc == 0 && ((where && !o->where) || (uid && !o->uid)))
        rc = lh_err_nomem(err);
    if (rc < 0) {
        object_free(o);
        return rc;
    }
    *out = o;
    return 0;
}

int object_set_init(struct object_set *s, struct lh_err *err)
{
    *s = (struct object_set){0};
    lh_vec_init(&s->stores, sizeof(struct lh_store *));
    lh_vec_init(&s->projections, sizeof(const struct lh_projection *));
    return lh_map_new(&s->map, err);
}

void object_set_done(struct object_set *s)
{
    lh_map_free(s->map, free_value);
    lh_vec_done(&s->stores);
    lh_vec_done(&s->projections);
    *s = (struct object_set){0};
}

struct object *object_set_get(const struct object_set *s, const char *key)
{
    return lh_map_get(s->map, lh_str(key));
}

int object_set_put(struct object_set *s, struct object *o, struct object **old, struct lh_err *err)
{
    void *replaced = NULL;
    int rc = lh_map_set(s->map, lh_str(o->key), o, &replaced, err);

    if (rc < 0)
        return rc;
    s->sorted = false;
    *old = replaced;
    return 0;
}

struct object *object_set_remove(struct object_set *s, const char *key)
{
    s->sorted = false;
    return lh_map_remove(s->map, lh_str(key));
}
