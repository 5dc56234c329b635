/* SPDX-License-Identifier: Apache-2.0 */
#include "uninjected.h"

#include <string.h>

#include "leasehold/api/annotations.h"
#include "leasehold/core/log.h"
#include "leasehold/core/map.h"
#include "leasehold/core/mem.h"
#include "leasehold/kube/watch.h"

enum { TELL_MS = 1000 / UNINJECTED_TOLD_PER_SECOND };
#define OTHER "other"

enum { M_PODS };

const struct lh_metric uninjected_metrics[] = {
    [M_PODS] = {.name = "leasehold_uninjected_pods",
                .help = "Running Pods that ask for secrets by annotation and were not injected, by "
                        "namespace; all beyond the first hundred namespaces are \"other\".",
                .type = LH_METRIC_GAUGE,
                .labels = {"namespace"},
                .max_series = UNINJECTED_NAMESPACES_MAX + 1},
    {.name = NULL},
};

struct lost_ns {
    char *name;
    size_t pods;
    bool own; /* has a series of its own, for as long as it has Pods here */
};

struct lost {
    struct lost *prev, *next; /* of those that are to be told */
    struct lost_ns *ns;
    char *name, *uid, *annotation;
    bool waits; /* to be told */
};

struct uninjected {
    struct uninjected_options o;
    struct lh_watch *watch;
    struct lh_map *pods;   /* key of the watch to struct lost */
    struct lh_map *spaces; /* name to struct lost_ns */
    size_t own;            /* namespaces with a series */
    size_t others;         /* Pods of those without */
    struct lost *first, *last;
    struct lh_timer *timer;
};

bool uninjected_is(const lh_json *meta, struct lh_str *annotation)
{
    const lh_json *annotations = lh_json_get(meta, "annotations"), *value;
    struct lh_str key, suffix, asks = {NULL, 0}, off;
    const char *nearest;
    void *it = NULL;

    while (lh_json_next(annotations, &it, &key, &value)) {
        const struct lh_annotation *a = lh_str_starts(key, LH_STR(LH_ANNOTATION_PREFIX))
                                            ? lh_annotation_find(key, &suffix, &nearest)
                                            : NULL;

        if (!a)
            continue;
        if (a->id == LH_ANN_STATUS ||
            (a->id == LH_ANN_INJECT && lh_json_str(value, &off) && lh_str_eqz(off, "false")))
            return false;
        if (!asks.p && (a->id == LH_ANN_SECRET || a->id == LH_ANN_PROJECTIONS))
            asks = key;
    }
    if (asks.p && annotation)
        *annotation = asks;
    return asks.p != NULL;
}

/* Namespaces. */

static void measure(struct uninjected *u, const struct lost_ns *ns)
{
    if (ns->own)
        lh_metric_set(&uninjected_metrics[M_PODS], (double)ns->pods, LH_LABELS(ns->name));
    else
        lh_metric_set(&uninjected_metrics[M_PODS], (double)u->others, LH_LABELS(OTHER));
}

static void ns_free(void *p)
{
    struct lost_ns *ns = p;

    if (ns)
        lh_free(ns->name);
    lh_free(ns);
}

static struct lost_ns *ns_get(struct uninjected *u, struct lh_str name)
{
    struct lost_ns *ns = lh_map_get(u->spaces, name);

    if (ns)
        return ns;
    ns = lh_calloc(1, sizeof(*ns));
    if (ns)
        ns->name = lh_str_dup(name);
    if (!ns || !ns->name || lh_map_set(u->spaces, name, ns, NULL, NULL) < 0) {
        ns_free(ns);
        return NULL;
    }
    ns->own = u->own < UNINJECTED_NAMESPACES_MAX;
    u->own += ns->own;
    return ns;
}

static void ns_count(struct uninjected *u, struct lost_ns *ns, bool more)
{
    size_t *others = ns->own ? NULL : &u->others;

    ns->pods += more ? 1 : (size_t)-1;
    if (others)
        *others += more ? 1 : (size_t)-1;
    measure(u, ns);
}

/* A namespace without Pods gives its place to another. */
static void ns_put(struct uninjected *u, struct lost_ns *ns)
{
    if (ns->pods > 0)
        return;
    if (ns->own)
        lh_metric_drop(&uninjected_metrics[M_PODS], LH_LABELS(ns->name));
    u->own -= ns->own;
    lh_map_remove(u->spaces, lh_str(ns->name));
    ns_free(ns);
}

/* Pods. */

static void wait_end(struct uninjected *u, struct lost *p)
{
    if (!p->waits)
        return;
    p->waits = false;
    *(p->prev ? &p->prev->next : &u->first) = p->next;
    *(p->next ? &p->next->prev : &u->last) = p->prev;
}

static void wait_begin(struct uninjected *u, struct lost *p)
{
    p->waits = true;
    p->prev = u->last;
    p->next = NULL;
    *(u->last ? &u->last->next : &u->first) = p;
    u->last = p;
    if (!lh_timer_is_armed(u->timer))
        lh_timer_in(u->timer, 0);
}

static void lost_free(void *arg)
{
    struct lost *p = arg;

    if (!p)
        return;
    lh_free(p->name);
    lh_free(p->uid);
    lh_free(p->annotation);
    lh_free(p);
}

static void found_again(struct uninjected *u, const char *key)
{
    struct lost *p = lh_map_remove(u->pods, lh_str(key));

    if (!p)
        return;
    wait_end(u, p);
    ns_count(u, p->ns, false);
    ns_put(u, p->ns);
    lost_free(p);
}

static struct lost *lost_new(const lh_json *meta, struct lh_str annotation)
{
    const char *name = lh_json_get_z(meta, "name"), *uid = lh_json_get_z(meta, "uid");
    struct lost *p = lh_calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    p->name = lh_strdup(name ? name : "");
    p->uid = lh_strdup(uid ? uid : "");
    p->annotation = lh_str_dup(annotation);
    if (p->name && p->uid && p->annotation)
        return p;
    lost_free(p);
    return NULL;
}

static void lost_one(struct uninjected *u, const char *key, const lh_json *meta,
                     struct lh_str annotation)
{
    struct lost *p;
    struct lh_str ns;

    if (lh_map_get(u->pods, lh_str(key)) || lh_map_len(u->pods) >= UNINJECTED_KEPT_MAX)
        return;
    lh_str_cut(lh_str(key), '/', &ns, &(struct lh_str){NULL, 0});
    p = lost_new(meta, annotation);
    if (p)
        p->ns = ns_get(u, ns);
    if (!p || !p->ns || lh_map_set(u->pods, lh_str(key), p, NULL, NULL) < 0) {
        if (p && p->ns)
            ns_put(u, p->ns);
        lost_free(p);
        lh_watch_resync(u->watch);
        return;
    }
    ns_count(u, p->ns, true);
    wait_begin(u, p);
}

static void tell(struct uninjected *u, const struct lost *p)
{
    lh_auto_free char *note = lh_asprintf(
        "asks for secrets (%s) and runs without them: leasehold-webhook was away when it was "
        "created, or does not serve its namespace. Delete the Pod once the webhook serves, or "
        "annotate it with " LH_ANNOTATION_PREFIX "inject: \"false\"",
        p->annotation);
    const struct uninjected_pod pod = {
        .namespace_ = p->ns->name, .name = p->name, .uid = p->uid, .note = note};

    lh_log_warn("Pod runs without its secrets", LH_F_STR("namespace", pod.namespace_),
                LH_F_STR("pod", pod.name));
    if (note && u->o.found)
        u->o.found(u->o.arg, &pod);
}

static void on_timer(void *arg)
{
    struct uninjected *u = arg;
    struct lost *p = u->first;

    if (!p)
        return;
    wait_end(u, p);
    tell(u, p);
    if (u->first)
        lh_timer_in(u->timer, TELL_MS);
}

static void on_event(void *arg, enum lh_watch_event ev, const char *key, const lh_json *obj)
{
    const lh_json *meta = lh_json_get(obj, "metadata");
    struct lh_str annotation;
    struct uninjected *u = arg;

    if (ev == LH_WATCH_DELETE)
        found_again(u, key);
    if (ev != LH_WATCH_UPSERT)
        return;
    /* One that is on its way out needs nobody's attention. */
    if (!lh_json_get_z(meta, "deletionTimestamp") && uninjected_is(meta, &annotation))
        lost_one(u, key, meta, annotation);
    else
        found_again(u, key);
}

int uninjected_new(const struct uninjected_options *opts, struct uninjected **out,
                   struct lh_err *err)
{
    /* Of 10,000 Pods only their metadata travels, and of those only where they run. */
    const struct lh_watch_options w = {
        .res = {.group = "", .version = "v1", .resource = "pods"},
        .field_selector = "status.phase=Running",
        .metadata_only = true,
    };
    struct uninjected *u = lh_calloc(1, sizeof(*u));
    int rc;

    if (!u)
        return lh_err_nomem(err);
    u->o = *opts;
    rc = lh_metrics_register(uninjected_metrics, err);
    if (rc == 0)
        rc = lh_map_new(&u->pods, err);
    if (rc == 0)
        rc = lh_map_new(&u->spaces, err);
    if (rc == 0)
        rc = lh_timer_new(opts->loop, on_timer, u, &u->timer, err);
    if (rc == 0)
        rc = lh_watch_start(opts->kube, &w, on_event, u, &u->watch, err);
    if (rc < 0) {
        uninjected_free(u);
        return rc;
    }
    *out = u;
    return 0;
}

void uninjected_free(struct uninjected *u)
{
    struct lh_str name;
    size_t it = 0;
    void *ns;

    if (!u)
        return;
    lh_watch_stop(u->watch);
    lh_timer_free(u->timer);
    /* Another leader counts from now on. */
    while (u->spaces && lh_map_next(u->spaces, &it, &name, &ns))
        lh_metric_drop(&uninjected_metrics[M_PODS], LH_LABELS(((struct lost_ns *)ns)->name));
    lh_metric_drop(&uninjected_metrics[M_PODS], LH_LABELS(OTHER));
    if (u->pods)
        lh_map_free(u->pods, lost_free);
    if (u->spaces)
        lh_map_free(u->spaces, ns_free);
    lh_free(u);
}

size_t uninjected_count(const struct uninjected *u)
{
    return lh_map_len(u->pods);
}

bool uninjected_synced(const struct uninjected *u)
{
    return lh_watch_is_synced(u->watch);
}
