/* SPDX-License-Identifier: Apache-2.0 */
/* Questions about what there is, and telling of what changed. */
#include <stdlib.h>
#include <string.h>

#include "leasehold/codec/base64.h"
#include "leasehold/core/mem.h"
#include "leasehold/kube/client.h"
#include "objects_priv.h"

enum { MAX_SECRET = 1 << 20 };

struct lh_store_lookup {
    struct lh_objects *o;
    struct lh_store_lookup *prev, *next;
    struct lh_kube_op *op;
    struct lh_timer *timer;
    struct lh_store *found; /* to be told when the timer fires */
    lh_store_found_fn done;
    void *arg;
};

void objects_tell(struct lh_objects *o, const struct object *obj, bool gone)
{
    if (obj->kind == OBJECT_STORE && o->ev.store)
        o->ev.store(o->ev.arg, obj->store, gone);
    if (obj->kind == OBJECT_PROJECTION && o->ev.projection)
        o->ev.projection(o->ev.arg, obj->projection, gone);
    if (obj->kind == OBJECT_NAMESPACE && o->ev.namespace_ && o->synced && !gone)
        o->ev.namespace_(o->ev.arg, strrchr(obj->key, '\t') + 1);
}

void objects_tell_synced(struct lh_objects *o)
{
    if (o->synced)
        return;
    o->synced = true;
    if (o->ev.synced)
        o->ev.synced(o->ev.arg);
}

void objects_tell_bad(struct lh_objects *o, const struct lh_err *err)
{
    if (o->ev.bad)
        o->ev.bad(o->ev.arg, err);
}

void lh_objects_free(struct lh_objects *o)
{
    if (!o)
        return;
    while (o->lookups)
        lh_store_lookup_cancel(o->lookups);
    object_files_free(o->files);
    object_cluster_free(o->cluster);
    object_set_done(&o->set);
    lh_free(o);
}

bool lh_objects_synced(const struct lh_objects *o)
{
    return o->synced;
}

static struct object *find(const struct lh_objects *o, const char *kind, const char *namespace_,
                           const char *name)
{
    lh_auto_free char *key = object_key(kind, namespace_, name);

    return key ? object_set_get(&o->set, key) : NULL;
}

static const char *store_kind(bool cluster_scoped)
{
    return cluster_scoped ? "ClusterSecretStore" : "SecretStore";
}

struct lh_store *lh_objects_store(const struct lh_objects *o, bool cluster_scoped,
                                  const char *namespace_, const char *name)
{
    struct object *obj =
        find(o, store_kind(cluster_scoped), cluster_scoped ? NULL : namespace_, name);

    return obj ? obj->store : NULL;
}

static int by_key(const void *a, const void *b)
{
    const struct object *const *x = a, *const *y = b;

    return strcmp((*x)->key, (*y)->key);
}

static bool push(struct object_set *s, const struct object *obj)
{
    const struct lh_projection *p = obj->projection;

    if (obj->kind == OBJECT_STORE)
        return lh_vec_push(&s->stores, &obj->store);
    return obj->kind != OBJECT_PROJECTION || lh_vec_push(&s->projections, &p);
}

/* Both lists, sorted; without memory they are empty, and made when asked for again. */
static void sort(struct object_set *s)
{
    lh_auto_free struct object **all = lh_calloc(lh_map_len(s->map) + 1, sizeof(*all));
    struct lh_str key;
    size_t it = 0, n = 0;
    void *value;

    lh_vec_clear(&s->stores);
    lh_vec_clear(&s->projections);
    if (!all)
        return;
    while (lh_map_next(s->map, &it, &key, &value))
        all[n++] = value;
    qsort(all, n, sizeof(*all), by_key);
    s->sorted = true;
    for (size_t i = 0; i < n && s->sorted; i++)
        s->sorted = push(s, all[i]);
    if (!s->sorted) {
        lh_vec_clear(&s->stores);
        lh_vec_clear(&s->projections);
    }
}

/* The lists are a cache of what the map says, and so may change behind a const. */
static struct object_set *sorted(const struct lh_objects *o)
{
    union {
        const struct object_set *c;
        struct object_set *m;
    } set = {&o->set};

    if (!set.m->sorted)
        sort(set.m);
    return set.m;
}

struct lh_store *const *lh_objects_stores(const struct lh_objects *o, size_t *n)
{
    const struct object_set *s = sorted(o);

    *n = s->stores.n;
    return s->stores.p;
}

const struct lh_projection *const *lh_objects_projections(const struct lh_objects *o, size_t *n)
{
    const struct object_set *s = sorted(o);

    *n = s->projections.n;
    return s->projections.p;
}

bool lh_objects_namespace(const struct lh_objects *o, const char *name, struct lh_namespace *out)
{
    const struct object *obj = find(o, "Namespace", NULL, name);
    const lh_json *meta = obj ? lh_json_get(obj->raw, "metadata") : NULL;

    if (!obj && !o->from_files)
        return false;
    *out =
        (struct lh_namespace){name, lh_json_get(meta, "labels"), lh_json_get(meta, "annotations")};
    return true;
}

int lh_objects_secret(const struct lh_objects *o, const char *namespace_, const char *name,
                      const char *key, struct lh_secret **out, struct lh_err *err)
{
    const struct object *obj = find(o, "Secret", namespace_, name);
    lh_auto_buf struct lh_buf plain = {0};
    struct lh_str text;
    int rc;

    if (!obj)
        return lh_err_set(err, LH_E_NOTFOUND, "there is no Secret \"%s\" in namespace \"%s\"", name,
                          namespace_);
    /* As the API server does: stringData goes before data. */
    if (lh_json_str(lh_json_path(obj->raw, "stringData", key, NULL), &text))
        return lh_secret_copy(text.p, text.n, out, err);
    if (!lh_json_str(lh_json_path(obj->raw, "data", key, NULL), &text))
        return lh_err_set(err, LH_E_NOTFOUND, "Secret \"%s\" in namespace \"%s\" has no key \"%s\"",
                          name, namespace_, key);
    lh_buf_init(&plain, MAX_SECRET);
    rc = lh_base64_decode(text, &plain, err);
    if (rc < 0)
        return lh_err_wrap(err, rc, "%s: key \"%s\" of Secret \"%s\"", obj->where, key, name);
    return lh_secret_copy(lh_buf_peek(&plain).p, plain.n, out, err);
}

static void lookup_free(struct lh_store_lookup *l)
{
    if (l->prev)
        l->prev->next = l->next;
    else if (l->o->lookups == l)
        l->o->lookups = l->next;
    if (l->next)
        l->next->prev = l->prev;
    lh_kube_cancel(l->op);
    lh_timer_free(l->timer);
    lh_store_unref(l->found);
    lh_free(l);
}

void lh_store_lookup_cancel(struct lh_store_lookup *l)
{
    if (l)
        lookup_free(l);
}

static void lookup_tell(struct lh_store_lookup *l, struct lh_store *s)
{
    lh_store_found_fn done = l->done;
    void *arg = l->arg;

    if (s)
        lh_store_ref(s);
    lookup_free(l);
    done(arg, s);
    lh_store_unref(s);
}

static void on_lookup_timer(void *arg)
{
    struct lh_store_lookup *l = arg;

    lookup_tell(l, l->found);
}

/* The answer is not kept: the watch brings the store too, and it alone knows when the store goes.
 */
static void on_lookup_answer(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct lh_store_lookup *l = arg;
    struct lh_store *s = NULL;

    l->op = NULL;
    if (!err)
        lh_store_parse(obj, NULL, &s, NULL);
    lookup_tell(l, s);
    lh_store_unref(s);
}

static int ask(struct lh_store_lookup *l, bool cluster_scoped, const char *namespace_,
               const char *name, unsigned timeout_ms, struct lh_err *err)
{
    const struct lh_kube_resource res = {
        .group = "leasehold.dev",
        .version = "v1alpha1",
        .resource = cluster_scoped ? "clustersecretstores" : "secretstores",
        .namespace_ = cluster_scoped ? NULL : namespace_,
        .name = name,
    };

    return lh_kube_start(object_cluster_kube(l->o->cluster), "GET", &res, NULL, NULL, NULL,
                         timeout_ms, on_lookup_answer, l, &l->op, err);
}

int lh_objects_lookup_store(struct lh_objects *o, bool cluster_scoped, const char *namespace_,
                            const char *name, unsigned timeout_ms, lh_store_found_fn done,
                            void *arg, struct lh_store_lookup **out, struct lh_err *err)
{
    struct lh_store *known = lh_objects_store(o, cluster_scoped, namespace_, name);
    struct lh_store_lookup *l;
    bool ask_server = !known && o->cluster;
    int rc;

    if (!o->loop)
        return lh_err_set(err, LH_E_INVALID,
                          "objects that were read once cannot be looked up later");
    l = lh_calloc(1, sizeof(*l));
    if (!l)
        return lh_err_nomem(err);
    l->o = o;
    l->done = done;
    l->arg = arg;
    l->found = known ? lh_store_ref(known) : NULL;
    l->next = o->lookups;
    if (o->lookups)
        o->lookups->prev = l;
    o->lookups = l;
    rc = lh_timer_new(o->loop, on_lookup_timer, l, &l->timer, err);
    if (rc == 0 && ask_server)
        rc = ask(l, cluster_scoped, namespace_, name, timeout_ms, err);
    if (rc < 0) {
        lookup_free(l);
        return rc;
    }
    lh_timer_in(l->timer, ask_server ? (lh_ms)timeout_ms : 0);
    if (out)
        *out = l;
    return 0;
}
