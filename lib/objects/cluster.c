/* SPDX-License-Identifier: Apache-2.0 */
/* The API server's watches as a source. */
#include <stdio.h>
#include <string.h>

#include "leasehold/core/mem.h"
#include "leasehold/kube/watch.h"
#include "objects_priv.h"

/* Two names of Kubernetes, a kind, and what stands between them. */
enum { MAX_KEY = 2 * 253 + 64 };

enum { FEED_STORES, FEED_CLUSTER_STORES, FEED_NAMESPACES, FEED_PROJECTIONS, FEEDS };

static const struct feed_row {
    unsigned wanted_by;
    enum object_kind kind;
    const char *name, *group, *version, *resource;
} rows[FEEDS] = {
    [FEED_STORES] = {LH_WATCH_STORES, OBJECT_STORE, "SecretStore", "leasehold.dev", "v1alpha1",
                     "secretstores"},
    [FEED_CLUSTER_STORES] = {LH_WATCH_STORES, OBJECT_STORE, "ClusterSecretStore", "leasehold.dev",
                             "v1alpha1", "clustersecretstores"},
    [FEED_NAMESPACES] = {LH_WATCH_NAMESPACES, OBJECT_NAMESPACE, "Namespace", "", "v1",
                         "namespaces"},
    [FEED_PROJECTIONS] = {LH_WATCH_PROJECTIONS, OBJECT_PROJECTION, "SecretProjection",
                          "leasehold.dev", "v1alpha1", "secretprojections"},
};

struct feed {
    struct object_cluster *c;
    const struct feed_row *row;
    struct lh_watch *watch;
};

struct object_cluster {
    struct lh_objects *o;
    struct lh_kube *kube;
    struct feed feeds[FEEDS];
    struct lh_map *bad; /* key to the text that was reported */
};

struct lh_kube *object_cluster_kube(struct object_cluster *c)
{
    return c->kube;
}

/* Our key of what the watch calls "namespace/name" or "name". Needs no memory: that something is
 * gone is told once, and must not be missed. */
static const char *key_of(const struct feed *f, const char *key, char buf[MAX_KEY])
{
    const char *slash = strchr(key, '/');
    int ns = slash ? (int)(slash - key) : 0;

    snprintf(buf, MAX_KEY, "%s\t%.*s\t%s", f->row->name, ns, key, slash ? slash + 1 : key);
    return buf;
}

static void forget_bad(struct object_cluster *c, const char *key)
{
    lh_free(lh_map_remove(c->bad, lh_str(key)));
}

static void gone(struct feed *f, const char *key)
{
    struct object *old = object_set_remove(&f->c->o->set, key);

    if (!old)
        return;
    objects_tell(f->c->o, old, true);
    object_free(old);
}

/* Once for as long as it stays bad in the same way; a new list brings all objects again. */
static void bad(struct feed *f, const char *key, const struct lh_err *err)
{
    const char *before = lh_map_get(f->c->bad, lh_str(key));
    void *old = NULL;
    char *text;

    gone(f, key);
    if (before && strcmp(before, err->msg) == 0)
        return;
    text = lh_strdup(err->msg);
    if (text && lh_map_set(f->c->bad, lh_str(key), text, &old, NULL) < 0)
        lh_free(text);
    lh_free(old);
    objects_tell_bad(f->c->o, err);
}

/* Of a namespace only what selectors and defaults ask for is kept. */
static lh_json *labels_of(const lh_json *obj)
{
    static const char *const kept[] = {"labels", "annotations"};
    const lh_json *meta = lh_json_get(obj, "metadata");
    lh_auto_json lh_json *out = lh_json_new_object();
    lh_json *m = lh_json_new_object();

    for (size_t i = 0; m && i < LH_ARRAY_LEN(kept); i++) {
        const lh_json *v = lh_json_get(meta, kept[i]);

        if (v && lh_json_set(m, kept[i], lh_json_ref(lh_json_mut(v))) < 0) {
            lh_json_unref(m);
            return NULL;
        }
    }
    if (!out || !m) {
        lh_json_unref(m);
        return NULL;
    }
    return lh_json_set(out, "metadata", m) < 0 ? NULL : LH_TAKE_PTR(out);
}

/* A new list brings what we have once more. */
static bool is_news(const struct object *old, const struct object *now)
{
    if (!old)
        return true;
    if (now->kind == OBJECT_NAMESPACE)
        return !lh_json_equal(old->raw, now->raw);
    return !old->uid || !now->uid || strcmp(old->uid, now->uid) != 0 || now->generation == 0 ||
           old->generation != now->generation;
}

static int make(struct feed *f, const lh_json *obj, struct object **out, struct lh_err *err)
{
    int rc = object_new(obj, f->row->kind, NULL, out, err);

    if (rc < 0 || f->row->kind != OBJECT_NAMESPACE)
        return rc;
    (*out)->raw = labels_of(obj);
    if ((*out)->raw)
        return 0;
    object_free(*out);
    *out = NULL;
    return lh_err_nomem(err);
}

static void upsert(struct feed *f, const char *key, const lh_json *obj)
{
    struct lh_objects *o = f->c->o;
    struct object *now = NULL, *old;
    struct lh_err err = {0};
    int rc = make(f, obj, &now, &err);

    if (rc == -LH_E_NOMEM) {
        lh_watch_resync(f->watch);
        return;
    }
    if (rc < 0) {
        bad(f, key, &err);
        return;
    }
    forget_bad(f->c, key);
    old = object_set_get(&o->set, key);
    if (!is_news(old, now)) {
        object_free(now);
        return;
    }
    if (object_set_put(&o->set, now, &old, &err) < 0) {
        object_free(now);
        lh_watch_resync(f->watch);
        return;
    }
    objects_tell(o, now, false);
    object_free(old);
}

static bool all_synced(const struct object_cluster *c)
{
    for (size_t i = 0; i < FEEDS; i++) {
        if (c->feeds[i].watch && !lh_watch_is_synced(c->feeds[i].watch))
            return false;
    }
    return true;
}

static void on_event(void *arg, enum lh_watch_event ev, const char *watch_key, const lh_json *obj)
{
    struct feed *f = arg;
    char buf[MAX_KEY];
    const char *key = watch_key ? key_of(f, watch_key, buf) : NULL;
    struct lh_err err = {0};

    switch (ev) {
    case LH_WATCH_UPSERT:
        upsert(f, key, obj);
        break;
    case LH_WATCH_DELETE:
        forget_bad(f->c, key);
        gone(f, key);
        break;
    case LH_WATCH_SKIPPED:
        lh_err_fill(&err, LH_E_TOOBIG, "%s %s is too large or malformed, and is left out",
                    f->row->name, watch_key ? watch_key : "without a name");
        objects_tell_bad(f->c->o, &err);
        break;
    case LH_WATCH_SYNCED:
        if (all_synced(f->c))
            objects_tell_synced(f->c->o);
        break;
    }
}

void object_cluster_free(struct object_cluster *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < FEEDS; i++)
        lh_watch_stop(c->feeds[i].watch);
    lh_map_free(c->bad, lh_free);
    lh_free(c);
}

static int start_feeds(struct object_cluster *c, unsigned what, struct lh_err *err)
{
    for (size_t i = 0; i < FEEDS; i++) {
        struct feed *f = &c->feeds[i];
        const struct lh_watch_options opts = {
            .res = {.group = rows[i].group,
                    .version = rows[i].version,
                    .resource = rows[i].resource},
            .metadata_only = rows[i].kind == OBJECT_NAMESPACE,
        };
        int rc;

        f->c = c;
        f->row = &rows[i];
        if (!(what & rows[i].wanted_by))
            continue;
        rc = lh_watch_start(c->kube, &opts, on_event, f, &f->watch, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int lh_objects_from_cluster(struct lh_kube *kube, unsigned what, const struct lh_objects_events *ev,
                            struct lh_objects **out, struct lh_err *err)
{
    struct lh_objects *o = lh_calloc(1, sizeof(*o));
    int rc;

    if (!o)
        return lh_err_nomem(err);
    if (ev)
        o->ev = *ev;
    o->loop = lh_kube_loop(kube);
    o->cluster = lh_calloc(1, sizeof(*o->cluster));
    rc = o->cluster ? object_set_init(&o->set, err) : lh_err_nomem(err);
    if (rc == 0) {
        o->cluster->o = o;
        o->cluster->kube = kube;
        rc = lh_map_new(&o->cluster->bad, err);
    }
    if (rc == 0)
        rc = start_feeds(o->cluster, what, err);
    if (rc < 0) {
        lh_objects_free(o);
        return rc;
    }
    *out = o;
    return 0;
}
