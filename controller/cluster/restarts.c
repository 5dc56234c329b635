/* SPDX-License-Identifier: Apache-2.0 */
/* Which projection wants what of which workload, and what is said of it. */
#include "restarts.h"

#include <stdio.h>
#include <string.h>

#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"
#include "restarts_priv.h"

enum {
    SETTLE_MS = 10 * 1000,
    GAP_MS = 5 * 60 * 1000,
    BUDGET = 5,
    WINDOW_MS = 60 * 1000,
    PARALLEL = 4,
    MAX_KEY = 2 * 254,
    LOADS_MAX = 16, /* that one projection may name, as its CRD says */
};

enum { M_RESTARTS, M_WAITING };

const struct lh_metric restarts_metrics[] = {
    [M_RESTARTS] = {.name = "leasehold_restarts_total",
                    .help = "Workloads restarted because secrets changed, by kind.",
                    .type = LH_METRIC_COUNTER,
                    .labels = {"kind"},
                    .max_series = RESTART_KINDS},
    [M_WAITING] = {.name = "leasehold_restarts_waiting",
                   .help = "Workloads that run with older secrets and are not restarted yet, by "
                           "what they wait for.",
                   .type = LH_METRIC_GAUGE,
                   .labels = {"why"},
                   .max_series = RESTART_WAITS},
    {.name = NULL},
};

static const char *const wait_names[RESTART_WAITS] = {
    [RESTART_WAIT_SETTLE] = "settle",   [RESTART_WAIT_PAUSED] = "paused",
    [RESTART_WAIT_ROLLING] = "rolling", [RESTART_WAIT_DISRUPTION] = "disruption",
    [RESTART_WAIT_GAP] = "gap",         [RESTART_WAIT_BUDGET] = "budget",
};

void restarts_count(enum restart_kind kind)
{
    lh_metric_add(&restarts_metrics[M_RESTARTS], 1, LH_LABELS(restart_kind_names[kind]));
}

static void count_wait(struct restarts *r, enum restart_wait from, enum restart_wait to)
{
    const enum restart_wait both[] = {from, to};

    if (from == to)
        return;
    r->waiting[from]--;
    r->waiting[to]++;
    for (size_t i = 0; i < LH_ARRAY_LEN(both); i++) {
        if (wait_names[both[i]])
            lh_metric_set(&restarts_metrics[M_WAITING], (double)r->waiting[both[i]],
                          LH_LABELS(wait_names[both[i]]));
    }
}

/* The budget of a namespace. */

static void room_free(void *arg)
{
    struct room *room = arg;

    if (room)
        lh_vec_done(&room->at);
    lh_free(room);
}

/* NULL: no memory. */
static struct room *room_get(struct restarts *r, const char *namespace_)
{
    struct room *room = lh_map_get(r->rooms, lh_str(namespace_));

    if (room)
        return room;
    room = lh_calloc(1, sizeof(*room));
    if (!room)
        return NULL;
    lh_vec_init(&room->at, sizeof(lh_ms));
    if (lh_map_set(r->rooms, lh_str(namespace_), room, NULL, NULL) == 0)
        return room;
    room_free(room);
    return NULL;
}

static lh_ms *room_at(const struct room *room, size_t i)
{
    return lh_vec_at(&room->at, i);
}

lh_ms room_free_at(const struct restarts *r, const struct room *room, lh_ms now)
{
    lh_ms at;

    if (room->at.n < r->o.budget)
        return now;
    at = *room_at(room, room->at.n - r->o.budget) + r->o.window_ms;
    return at > now ? at : now;
}

int room_note(struct restarts *r, struct room *room, lh_ms at)
{
    if (!lh_vec_push(&room->at, &at))
        return -LH_E_NOMEM;
    for (size_t i = room->at.n - 1; i > 0 && *room_at(room, i - 1) > at; i--) {
        *room_at(room, i) = *room_at(room, i - 1);
        *room_at(room, i - 1) = at;
    }
    /* Only as many as the budget counts are of interest. */
    while (room->at.n > r->o.budget)
        lh_vec_remove(&room->at, 0);
    return 0;
}

void room_take_back(struct room *room, lh_ms at)
{
    for (size_t i = room->at.n; i > 0; i--) {
        if (*room_at(room, i - 1) == at) {
            lh_vec_remove(&room->at, i - 1);
            return;
        }
    }
}

/* Pairs of wish and workload. */

static void unlink_pair(struct lh_vec *v, const void *one)
{
    for (size_t i = 0; i < v->n; i++) {
        if (*(void **)lh_vec_at(v, i) == one) {
            lh_vec_remove(v, i);
            return;
        }
    }
}

static bool is_linked(const struct lh_vec *v, const void *one)
{
    for (size_t i = 0; i < v->n; i++) {
        if (*(void **)lh_vec_at(v, i) == one)
            return true;
    }
    return false;
}

void load_seen(struct load *l)
{
    if (!l->seen && l->room)
        l->room->unseen--;
    l->seen = true;
}

static void load_free(void *arg)
{
    struct load *l = arg;

    if (!l)
        return;
    load_stop(l);
    load_seen(l);
    count_wait(l->r, l->wait, RESTART_WAIT_NONE);
    lh_vec_done(&l->wishes);
    lh_json_unref(l->obj);
    lh_free(l->stamp);
    lh_free(l->message);
    lh_free(l->key);
    lh_free(l->namespace_);
    lh_free(l->name);
    lh_free(l);
}

/* Nobody names it any more; what is under way ends by itself. */
static void load_put(struct load *l)
{
    if (l->wishes.n > 0 || l->working)
        return;
    lh_map_remove(l->r->loads, lh_str(l->key));
    load_free(l);
}

static struct load *load_get(struct restarts *r, const char *ns, enum restart_kind kind,
                             const char *name)
{
    lh_auto_free char *key = lh_asprintf("%s/%s/%s", ns, restart_kind_names[kind], name);
    struct load *l = key ? lh_map_get(r->loads, lh_str(key)) : NULL;

    if (l || !key)
        return l;
    l = lh_calloc(1, sizeof(*l));
    if (!l)
        return NULL;
    *l = (struct load){.r = r, .kind = kind};
    r->waiting[RESTART_WAIT_NONE]++;
    lh_vec_init(&l->wishes, sizeof(struct wish *));
    l->key = LH_TAKE_PTR(key);
    l->namespace_ = lh_strdup(ns);
    l->name = lh_strdup(name);
    l->room = room_get(r, ns);
    if (l->room)
        l->room->unseen++;
    if (l->room && l->namespace_ && l->name &&
        lh_map_set(r->loads, lh_str(l->key), l, NULL, NULL) == 0)
        return l;
    load_free(l);
    return NULL;
}

void load_done(struct load *l, enum lh_queue_result result, lh_ms after_ms)
{
    l->working = false;
    lh_queue_done(l->r->queue, l->key, l->wishes.n > 0 ? result : LH_QUEUE_GONE, after_ms);
    load_put(l);
}

static void wish_free(void *arg)
{
    struct wish *w = arg;

    if (!w)
        return;
    lh_vec_done(&w->loads);
    lh_free(w->message);
    lh_free(w->key);
    lh_free(w->namespace_);
    lh_free(w->name);
    lh_free(w);
}

static void wish_unlink(struct wish *w)
{
    while (w->loads.n > 0) {
        struct load *l = *(struct load **)lh_vec_at(&w->loads, w->loads.n - 1);

        lh_vec_remove(&w->loads, w->loads.n - 1);
        unlink_pair(&l->wishes, w);
        /* The others may have waited for this one. */
        if (l->wishes.n > 0)
            lh_queue_add(l->r->queue, l->key, LH_LANE_REFRESH, NULL);
        load_put(l);
    }
}

/* Needs no memory: what is gone must not be missed. */
static struct wish *wish_find(const struct restarts *r, const char *ns, const char *name)
{
    char key[MAX_KEY];

    snprintf(key, sizeof(key), "%s/%s", ns, name);
    return lh_map_get(r->wishes, lh_str(key));
}

static struct wish *wish_get(struct restarts *r, const char *ns, const char *name)
{
    lh_auto_free char *key = lh_asprintf("%s/%s", ns, name);
    struct wish *w = key ? lh_map_get(r->wishes, lh_str(key)) : NULL;

    if (w || !key)
        return w;
    w = lh_calloc(1, sizeof(*w));
    if (!w)
        return NULL;
    lh_vec_init(&w->loads, sizeof(struct load *));
    w->key = LH_TAKE_PTR(key);
    w->namespace_ = lh_strdup(ns);
    w->name = lh_strdup(name);
    if (w->namespace_ && w->name && lh_map_set(r->wishes, lh_str(w->key), w, NULL, NULL) == 0)
        return w;
    wish_free(w);
    return NULL;
}

/* What is said. */

/* The worst counts. */
static int weight(const struct load *l)
{
    if (l->status != CONDITION_FALSE)
        return l->status == CONDITION_TRUE ? 0 : 1;
    return l->wait != RESTART_WAIT_NONE ? 2 : 3;
}

/* False: not all of them were looked at yet. */
static bool condition_of(const struct wish *w, struct condition *out)
{
    const struct load *worst = NULL;

    for (size_t i = 0; i < w->loads.n; i++) {
        const struct load *l = *(struct load **)lh_vec_at(&w->loads, i);

        if (!l->reason)
            return false;
        if (!worst || weight(l) > weight(worst))
            worst = l;
    }
    if (!worst)
        return false;
    *out = (struct condition){.type = RESTARTS_CONDITION,
                              .status = worst->status,
                              .reason = worst->reason,
                              .message = worst->message};
    if (!w->leased || worst->status != CONDITION_TRUE)
        return true;
    out->reason = LH_REASON_RestartOnLease;
    out->message = "items with a lease restart nothing";
    /* There is nothing else: it will never restart anything. */
    if (!w->hash[0])
        out->status = CONDITION_FALSE;
    return true;
}

static void wish_tell(struct restarts *r, struct wish *w)
{
    struct condition c = {0};
    char *text;

    if (w->loads.n == 0) {
        if (w->told)
            r->o.condition(r->o.arg, w->namespace_, w->name, NULL);
        w->told = false;
        return;
    }
    if (!condition_of(w, &c))
        return;
    if (w->told && w->status == c.status && w->reason == c.reason && w->message && c.message &&
        strcmp(w->message, c.message) == 0)
        return;
    text = c.message ? lh_strdup(c.message) : NULL;
    lh_free(w->message);
    w->message = text;
    w->status = c.status;
    w->reason = c.reason;
    w->told = true;
    r->o.condition(r->o.arg, w->namespace_, w->name, &c);
}

void load_says(struct load *l, enum condition_status status, const char *reason,
               enum restart_wait wait, char *message)
{
    count_wait(l->r, l->wait, wait);
    l->wait = wait;
    l->status = status;
    l->reason = reason;
    if (message) {
        lh_free(l->message);
        l->message = message;
    }
    for (size_t i = 0; i < l->wishes.n; i++)
        wish_tell(l->r, *(struct wish **)lh_vec_at(&l->wishes, i));
}

/* What is wanted. */

/* Both ways, or not at all. */
static int link_pair(struct wish *w, struct load *l, struct lh_err *err)
{
    if (is_linked(&w->loads, l))
        return 0;
    if (!lh_vec_push(&w->loads, &l))
        return lh_err_nomem(err);
    if (lh_vec_push(&l->wishes, &w))
        return 0;
    unlink_pair(&w->loads, l);
    return lh_err_nomem(err);
}

struct target {
    int kind;
    const char *name;
};

static int targets_of(const struct restarts_want *want, struct target out[LOADS_MAX], size_t *n,
                      struct lh_err *err)
{
    const lh_json *list = lh_json_get(want->on_change, "restart");

    *n = lh_json_len(list);
    if (*n > LOADS_MAX)
        return lh_err_set(err, LH_E_INVALID,
                          "SecretProjection \"%s\": spec.onChange.restart: at most %d workloads",
                          want->projection, LOADS_MAX);
    for (size_t i = 0; i < *n; i++) {
        const lh_json *one = lh_json_at(list, i);

        out[i].kind = restart_kind_of(lh_json_get_z(one, "kind"));
        out[i].name = lh_json_get_z(one, "name");
        if (out[i].kind < 0 || !out[i].name || !lh_str_is_dns_subdomain(lh_str(out[i].name)))
            return lh_err_set(err, LH_E_INVALID,
                              "SecretProjection \"%s\": spec.onChange.restart[%zu]: kind must be "
                              "Deployment, StatefulSet or DaemonSet, name a name of Kubernetes",
                              want->projection, i);
    }
    return 0;
}

static bool same_targets(const struct wish *w, const struct target *t, size_t n)
{
    if (w->loads.n != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        const struct load *l = *(struct load **)lh_vec_at(&w->loads, i);

        if ((int)l->kind != t[i].kind || strcmp(l->name, t[i].name) != 0)
            return false;
    }
    return true;
}

static int relink(struct restarts *r, struct wish *w, const struct target *t, size_t n,
                  struct lh_err *err)
{
    int rc = 0;

    wish_unlink(w);
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct load *l = load_get(r, w->namespace_, (enum restart_kind)t[i].kind, t[i].name);

        rc = l ? link_pair(w, l, err) : lh_err_nomem(err);
        if (rc < 0 && l)
            load_put(l);
    }
    return rc;
}

static int queue_all(struct restarts *r, const struct wish *w, bool changed, struct lh_err *err)
{
    int rc = 0;

    for (size_t i = 0; i < w->loads.n && rc == 0; i++) {
        struct load *l = *(struct load **)lh_vec_at(&w->loads, i);

        if (changed)
            l->changed_at = lh_clock_now();
        rc = lh_queue_add(r->queue, l->key, LH_LANE_REFRESH, err);
    }
    return rc;
}

int restarts_set(struct restarts *r, const struct restarts_want *want, struct lh_err *err)
{
    const char *hash = want->hash ? want->hash : "";
    struct target targets[LOADS_MAX];
    struct wish *w;
    size_t n;
    bool changed, same;
    int rc = targets_of(want, targets, &n, err);

    if (rc < 0)
        return rc;
    if (strlen(hash) != 0 && strlen(hash) != RESTART_HASH_LEN)
        return lh_err_set(err, LH_E_INVALID, "SecretProjection \"%s\": no hash for restarts",
                          want->projection);
    w = wish_get(r, want->namespace_, want->projection);
    if (!w)
        return lh_err_nomem(err);
    changed = strcmp(w->hash, hash) != 0;
    same = same_targets(w, targets, n);
    if (!changed && same && w->known == (want->hash != NULL) && w->leased == want->leased)
        return 0;
    memcpy(w->hash, hash, strlen(hash) + 1);
    w->known = want->hash != NULL;
    w->leased = want->leased;
    rc = same ? 0 : relink(r, w, targets, n, err);
    if (rc == 0)
        rc = queue_all(r, w, changed, err);
    /* Else the workloads are looked at first. */
    if (w->loads.n == 0)
        wish_tell(r, w);
    return rc;
}

void restarts_drop(struct restarts *r, const char *namespace_, const char *projection)
{
    struct wish *w = wish_find(r, namespace_, projection);

    if (!w)
        return;
    lh_map_remove(r->wishes, lh_str(w->key));
    wish_unlink(w);
    wish_free(w);
}

bool restarts_condition(const struct restarts *r, const char *namespace_, const char *projection,
                        struct condition *out)
{
    const struct wish *w = wish_find(r, namespace_, projection);

    return w && condition_of(w, out);
}

int restarts_new(const struct restarts_options *opts, struct restarts **out, struct lh_err *err)
{
    struct restarts *r = lh_calloc(1, sizeof(*r));
    const struct lh_queue_options q = {
        .loop = opts->loop, .name = "restarts", .parallel = PARALLEL, .work = load_work, .arg = r};
    int rc;

    if (!r)
        return lh_err_nomem(err);
    r->o = *opts;
    r->o.budget = opts->budget ? opts->budget : BUDGET;
    r->o.window_ms = opts->window_ms ? opts->window_ms : WINDOW_MS;
    r->rules = (struct restart_rules){.settle_ms = opts->settle_ms ? opts->settle_ms : SETTLE_MS,
                                      .gap_ms = opts->gap_ms ? opts->gap_ms : GAP_MS};
    rc = lh_metrics_register(restarts_metrics, err);
    if (rc == 0)
        rc = lh_map_new(&r->wishes, err);
    if (rc == 0)
        rc = lh_map_new(&r->loads, err);
    if (rc == 0)
        rc = lh_map_new(&r->rooms, err);
    if (rc == 0)
        rc = lh_queue_new(&q, &r->queue, err);
    if (rc < 0) {
        restarts_free(r);
        return rc;
    }
    *out = r;
    return 0;
}

void restarts_start(struct restarts *r)
{
    lh_queue_start(r->queue);
}

void restarts_free(struct restarts *r)
{
    if (!r)
        return;
    if (r->loads)
        lh_map_free(r->loads, load_free);
    if (r->wishes)
        lh_map_free(r->wishes, wish_free);
    if (r->rooms)
        lh_map_free(r->rooms, room_free);
    lh_queue_free(r->queue);
    lh_free(r);
}
