/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "leasehold/api/reasons.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "leasehold/kube/apply.h"
#include "leasehold/lease/schedule.h"
#include "store_health_priv.h"

enum {
    MAX_KEY = 2 * 254,
    LEAST_MS = 1000, /* between two questions to one store */
    MAX_SERIES = 500,
    /* One lost answer is no outage: a condition that flaps is believed by nobody. */
    FAILURES_TO_FALL = 2,
};

enum { M_READY, M_PROBES };

const struct lh_metric store_health_metrics[] = {
    [M_READY] = {.name = "leasehold_store_ready",
                 .help = "1 while the store's condition Ready is True, 0 while it is not; absent "
                         "until it was asked, and where that cannot be done.",
                 .type = LH_METRIC_GAUGE,
                 .labels = {"kind", "namespace", "store"},
                 .max_series = MAX_SERIES},
    [M_PROBES] = {.name = "leasehold_store_probes_total",
                  .help = "Questions to secret managers for their health, by what they showed.",
                  .type = LH_METRIC_COUNTER,
                  .labels = {"reason"},
                  .max_series = 32},
    {.name = NULL},
};

static const char *kind_of(const struct health *s)
{
    return s->namespace_ ? "SecretStore" : "ClusterSecretStore";
}

static const char *const *labels_of(const struct health *s, const char *labels[4])
{
    labels[0] = kind_of(s);
    labels[1] = s->namespace_ ? s->namespace_ : "";
    labels[2] = s->name;
    labels[3] = NULL;
    return labels;
}

static const struct lh_provider_ops *ops_of(const struct health *s)
{
    return s->h->o.provider ? s->h->o.provider : lh_provider_for(s->store);
}

static void close_provider(struct health *s)
{
    if (s->provider)
        ops_of(s)->close(s->provider);
    s->provider = NULL;
    s->probe = NULL;
}

/* The table. */

static void health_free(void *arg)
{
    struct health *s = arg;

    if (!s)
        return;
    close_provider(s);
    lh_kube_cancel(s->write);
    lh_timer_free(s->timer);
    lh_store_unref(s->store);
    lh_json_unref(s->status);
    lh_vec_done(&s->round);
    lh_free(s->message);
    lh_free(s->uid);
    lh_free(s->key);
    lh_free(s->namespace_);
    lh_free(s->name);
    lh_free(s);
}

static const char *key_of(const struct store_ref *ref, char buf[MAX_KEY])
{
    if (ref->cluster_scoped)
        snprintf(buf, MAX_KEY, "%s", ref->name);
    else
        snprintf(buf, MAX_KEY, "%s/%s", ref->namespace_, ref->name);
    return buf;
}

struct health *health_find(const struct store_health *h, const struct store_ref *ref)
{
    char key[MAX_KEY];

    return lh_map_get(h->stores, lh_str(key_of(ref, key)));
}

static struct health *health_new(struct store_health *h, const struct store_ref *ref)
{
    struct health *s = lh_calloc(1, sizeof(*s));
    char key[MAX_KEY];

    if (!s)
        return NULL;
    s->h = h;
    s->key = lh_strdup(key_of(ref, key));
    s->namespace_ = ref->cluster_scoped ? NULL : lh_strdup(ref->namespace_);
    s->name = lh_strdup(ref->name);
    lh_vec_init(&s->round, sizeof(struct store_wait *));
    if (s->key && s->name && (ref->cluster_scoped || s->namespace_) &&
        lh_timer_new(h->o.loop, store_wake_due, s, &s->timer, NULL) == 0 &&
        lh_map_set(h->stores, lh_str(s->key), s, NULL, NULL) == 0)
        return s;
    health_free(s);
    return NULL;
}

struct health *health_get(struct store_health *h, const struct store_ref *ref)
{
    struct health *s = health_find(h, ref);

    return s ? s : health_new(h, ref);
}

void health_put(struct health *s)
{
    if (s->state != STORE_ABSENT || s->n_waits > 0)
        return;
    lh_map_remove(s->h->stores, lh_str(s->key));
    health_free(s);
}

void health_hint(struct health *s)
{
    lh_ms at = s->asked_at + LEAST_MS, now = lh_clock_now();

    if (s->state == STORE_ABSENT || s->state == STORE_UNASKED)
        return;
    if (s->asked_at > 0 && at > now)
        lh_queue_add_after(s->h->queue, s->key, at - now, NULL);
    else
        lh_queue_add(s->h->queue, s->key, LH_LANE_REFRESH, NULL);
}

/* What is thought of it. */

static void told(struct health *s, bool was_up)
{
    bool up = s->state == STORE_UP;
    const char *labels[4];

    if (s->verdict == CONDITION_UNKNOWN)
        lh_metric_drop(&store_health_metrics[M_READY], labels_of(s, labels));
    else
        lh_metric_set(&store_health_metrics[M_READY], s->verdict == CONDITION_TRUE,
                      labels_of(s, labels));
    if (up == was_up)
        return;
    if (up)
        lh_log_info("store is ready", LH_F_STR("kind", kind_of(s)),
                    LH_F_STR("namespace", s->namespace_), LH_F_STR("store", s->name));
    else
        lh_log_warn("store is not ready", LH_F_STR("kind", kind_of(s)),
                    LH_F_STR("namespace", s->namespace_), LH_F_STR("store", s->name),
                    LH_F_STR("reason", s->reason), LH_F_STR("cause", s->message));
    if (s->h->o.changed)
        s->h->o.changed(s->h->o.arg, !s->namespace_, s->namespace_, s->name, up, s->reason);
}

static void judge(struct health *s, enum condition_status verdict, const char *reason,
                  const char *message)
{
    enum store_state was = s->state;
    char *text = lh_strdup(message);
    bool other_spec = s->woke_generation != s->generation;

    if (text) {
        lh_free(s->message);
        s->message = text;
    }
    s->verdict = verdict;
    s->reason = reason;
    s->failures = verdict == CONDITION_FALSE ? s->failures : 0;
    /* Unknown is no reason to hold anything back. */
    s->state = verdict == CONDITION_FALSE ? STORE_DOWN : STORE_UP;
    told(s, was == STORE_UP || was == STORE_UNASKED);
    if (s->state != STORE_UP)
        return;
    store_wake(s, was == STORE_DOWN || (other_spec && s->woke_generation != 0));
    s->woke_generation = s->generation;
}

static void judge_err(struct health *s, const struct lh_err *err)
{
    const char *reason = err->reason                     ? err->reason
                         : err->code == LH_E_UNAVAILABLE ? LH_REASON_Unreachable
                                                         : LH_REASON_InternalError;

    lh_metric_add(&store_health_metrics[M_PROBES], 1, LH_LABELS(reason));
    /* Neither a quota nor our own memory says anything of the store. */
    if (err->code == LH_E_BUSY || err->code == LH_E_NOMEM)
        return;
    s->failures++;
    if (s->state == STORE_UP && s->failures < FAILURES_TO_FALL && reason == LH_REASON_Unreachable &&
        s->woke_generation == s->generation)
        return;
    judge(s, CONDITION_FALSE, reason, err->msg);
}

static void judge_health(struct health *s, const struct lh_prov_health *is)
{
    const char *wrong = is->sealed ? "is sealed" : !is->initialised ? "is not initialised" : NULL;
    const char *reason = wrong ? LH_REASON_Sealed : LH_REASON_Available;
    lh_auto_free char *text =
        lh_asprintf("%s \"%s\": the manager %s", kind_of(s), s->name, wrong ? wrong : "answers");

    lh_metric_add(&store_health_metrics[M_PROBES], 1, LH_LABELS(reason));
    judge(s, wrong ? CONDITION_FALSE : CONDITION_TRUE, reason, text ? text : "");
}

/* Its status. */

static lh_ms next_in(const struct health *s)
{
    uint32_t dice = lh_dice();
    bool doubted = s->failures > 0 && s->state == STORE_UP;

    if (!s->store)
        return 0;
    if (doubted || (s->state == STORE_DOWN && s->n_waits > 0))
        return lh_plan_health(0, dice);
    if (s->state == STORE_DOWN || s->n_waits > 0)
        return lh_plan_verify(0, s->store->verify_ms, dice);
    return lh_plan_verify(0, STORE_IDLE_MS, dice);
}

static void finish(struct health *s, enum lh_queue_result result)
{
    lh_ms after = next_in(s);

    /* A connection that idles for minutes is closed from over there anyway. */
    if (s->state != STORE_DOWN)
        close_provider(s);
    s->working = false;
    lh_queue_done(s->h->queue, s->key, result, result == LH_QUEUE_OK ? after : 0);
}

static void set_status(struct health *s, const lh_json *obj)
{
    const lh_json *status = lh_json_get(obj, "status");

    lh_json_unref(s->status);
    s->status = status ? lh_json_ref(lh_json_mut(status)) : NULL;
}

static void written(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct health *s = arg;

    s->write = NULL;
    if (!err)
        set_status(s, obj);
    /* Gone, or another of its name: the watch brings what is there now. */
    if (!err || err->code == LH_E_NOTFOUND || err->code == LH_E_CONFLICT) {
        finish(s, LH_QUEUE_OK);
        return;
    }
    lh_log_warn("status of store not written", LH_F_STR("kind", kind_of(s)),
                LH_F_STR("namespace", s->namespace_), LH_F_STR("store", s->name), LH_F_ERR(err));
    finish(s, LH_QUEUE_RETRY);
}

/* Takes status. NULL without memory. */
static lh_json *applied(const struct health *s, lh_json *status)
{
    lh_auto_json lh_json *o = lh_json_new_object();
    lh_json *meta = lh_json_new_object();
    int rc = 0;

    rc |= lh_json_del(status, "items"); /* projections have them */
    rc |= lh_json_set(status, "observedGeneration", lh_json_new_int(s->generation));
    if (!o || !meta) {
        lh_json_unref(meta);
        lh_json_unref(status);
        return NULL;
    }
    rc |= lh_json_set(meta, "name", lh_json_new_z(s->name));
    if (s->namespace_)
        rc |= lh_json_set(meta, "namespace", lh_json_new_z(s->namespace_));
    if (s->uid && s->uid[0])
        rc |= lh_json_set(meta, "uid", lh_json_new_z(s->uid));
    rc |= lh_json_set(o, "apiVersion", lh_json_new_z("leasehold.dev/v1alpha1"));
    rc |= lh_json_set(o, "kind", lh_json_new_z(kind_of(s)));
    rc |= lh_json_set(o, "metadata", meta);
    rc |= lh_json_set(o, "status", status);
    return rc == 0 ? LH_TAKE_PTR(o) : NULL;
}

static int start_write(struct health *s, struct lh_err *err)
{
    const struct lh_kube_resource res = {.group = "leasehold.dev",
                                         .version = "v1alpha1",
                                         .resource =
                                             s->namespace_ ? "secretstores" : "clustersecretstores",
                                         .namespace_ = s->namespace_,
                                         .name = s->name,
                                         .subresource = "status"};
    const struct condition c = {
        .type = "Ready", .status = s->verdict, .reason = s->reason, .message = s->message};
    const struct status_want want = {
        .generation = s->generation, .conditions = &c, .n_conditions = 1};
    lh_auto_json lh_json *obj = NULL;
    lh_json *status = NULL;
    int rc = status_plan(s->status, &want, lh_clock_wall_ms(), &status, err);

    if (rc < 0 || !status)
        return rc;
    obj = applied(s, status);
    if (!obj)
        return lh_err_nomem(err);
    return lh_kube_apply(s->h->o.kube, &res, STORE_HEALTH_MANAGER, true, obj, written, s, &s->write,
                         err);
}

static void publish(struct health *s)
{
    struct store_health *h = s->h;
    struct lh_err err = {0};

    if (s->reason && (!h->o.may_write || h->o.may_write(h->o.arg)) && start_write(s, &err) < 0) {
        lh_log_warn("status of store not written", LH_F_STR("store", s->name), LH_F_ERR(&err));
        finish(s, LH_QUEUE_RETRY);
    } else if (!s->write) {
        finish(s, LH_QUEUE_OK);
    }
}

/* Asking. */

static void answered(void *arg, const struct lh_prov_result *res, const struct lh_err *err)
{
    struct health *s = arg;

    s->probe = NULL;
    if (err)
        judge_err(s, err);
    else
        judge_health(s, res->health);
    publish(s);
}

static int ask(struct health *s, struct lh_err *err)
{
    const struct store_health_options *o = &s->h->o;
    const struct lh_identity nobody = {.allow_addresses = o->allow_addresses,
                                       .allow_loopback = o->allow_loopback,
                                       .anonymous = true};
    int rc = 0;

    s->asked_at = lh_clock_now();
    if (!s->provider)
        rc = ops_of(s)->open(o->loop, s->store, &nobody, &s->provider, err);
    return rc < 0 ? rc : ops_of(s)->health(s->provider, answered, s, &s->probe, err);
}

static void work(void *arg, const char *key)
{
    struct store_health *h = arg;
    struct health *s = lh_map_get(h->stores, lh_str(key));
    struct lh_err err = {0};

    if (!s || s->state == STORE_ABSENT) {
        lh_queue_done(h->queue, key, LH_QUEUE_GONE, 0);
        return;
    }
    s->working = true;
    if (s->store && s->store->vault.ca_ref.name) {
        judge(s, CONDITION_UNKNOWN, LH_REASON_HealthUnknown,
              "the CA is in a ConfigMap of each Pod's namespace (spec.vault.caBundleRef)");
    } else if (s->store) {
        if (ask(s, &err) == 0)
            return;
        judge_err(s, &err);
    }
    publish(s);
}

/* Watches. */

/* Another spec: what was thought of the last one does not count, what was told of it does. */
static void take_spec(struct health *s, const lh_json *obj)
{
    struct lh_store *store = NULL;
    struct lh_err err = {0};

    if (s->working) {
        lh_kube_cancel(s->write);
        s->write = NULL;
        close_provider(s);
        s->working = false;
        lh_queue_done(s->h->queue, s->key, LH_QUEUE_OK, 0);
    }
    close_provider(s);
    if (lh_store_parse(obj, NULL, &store, &err) < 0)
        store = NULL;
    lh_store_unref(s->store);
    s->store = store;
    s->failures = 0;
    if (!store)
        judge(s, CONDITION_FALSE, err.reason ? err.reason : LH_REASON_StoreInvalid, err.msg);
}

static void upsert(struct store_health *h, const struct store_ref *ref, const lh_json *obj,
                   struct lh_watch *watch)
{
    const lh_json *meta = lh_json_get(obj, "metadata");
    int64_t generation = lh_json_get_int(meta, "generation", 0);
    const char *uid = lh_json_get_z(meta, "uid");
    struct health *s = health_get(h, ref);
    bool same = s && s->state != STORE_ABSENT && s->generation == generation && s->uid && uid &&
                strcmp(s->uid, uid) == 0;
    char *copy = s && !same ? lh_strdup(uid ? uid : "") : NULL;

    if (!s || (!same && !copy)) {
        lh_watch_resync(watch);
        return;
    }
    set_status(s, obj);
    if (same)
        return;
    lh_free(s->uid);
    s->uid = copy;
    s->generation = generation;
    if (s->state == STORE_ABSENT)
        s->state = STORE_UNASKED;
    take_spec(s, obj);
    if (lh_queue_add(h->queue, s->key, LH_LANE_FIRST, NULL) < 0)
        lh_watch_resync(watch);
}

static void gone(struct health *s)
{
    struct store_health *h = s->h;
    const char *labels[4];

    lh_kube_cancel(s->write);
    s->write = NULL;
    close_provider(s);
    if (s->working)
        lh_queue_done(h->queue, s->key, LH_QUEUE_GONE, 0);
    s->working = false;
    s->state = STORE_ABSENT;
    s->reason = NULL;
    s->woke_generation = 0;
    store_wake_stop(s);
    lh_metric_drop(&store_health_metrics[M_READY], labels_of(s, labels));
    /* The last that waits may end inside. */
    s->n_waits++;
    if (h->o.changed)
        h->o.changed(h->o.arg, !s->namespace_, s->namespace_, s->name, false, NULL);
    s->n_waits--;
    health_put(s);
}

static void on_event(void *arg, enum lh_watch_event ev, const char *key, const lh_json *obj)
{
    struct store_feed *f = arg;
    char ns[MAX_KEY];
    struct store_ref ref = {f->cluster_scoped, NULL, key};
    const char *slash = key ? strchr(key, '/') : NULL;
    struct health *s;

    if (ev != LH_WATCH_UPSERT && ev != LH_WATCH_DELETE)
        return;
    if (slash) {
        snprintf(ns, sizeof(ns), "%.*s", (int)(slash - key), key);
        ref.namespace_ = ns;
        ref.name = slash + 1;
    }
    s = health_find(f->h, &ref);
    if (ev == LH_WATCH_UPSERT)
        upsert(f->h, &ref, obj, f->watch);
    else if (s && s->state != STORE_ABSENT)
        gone(s);
}

static int start_watches(struct store_health *h, struct lh_err *err)
{
    static const char *const resources[] = {"secretstores", "clustersecretstores"};
    int rc = 0;

    for (size_t i = 0; i < LH_ARRAY_LEN(h->feeds) && rc == 0; i++) {
        const struct lh_watch_options w = {
            .res = {.group = "leasehold.dev", .version = "v1alpha1", .resource = resources[i]}};

        h->feeds[i] = (struct store_feed){.h = h, .cluster_scoped = i > 0};
        rc = lh_watch_start(h->o.kube, &w, on_event, &h->feeds[i], &h->feeds[i].watch, err);
    }
    return rc;
}

int store_health_new(const struct store_health_options *opts, struct store_health **out,
                     struct lh_err *err)
{
    struct store_health *h = lh_calloc(1, sizeof(*h));
    const struct lh_queue_options q = {
        .loop = opts->loop, .name = "stores", .parallel = STORE_PROBES_MAX, .work = work, .arg = h};
    int rc;

    if (!h)
        return lh_err_nomem(err);
    h->o = *opts;
    rc = lh_metrics_register(store_health_metrics, err);
    if (rc == 0)
        rc = lh_map_new(&h->stores, err);
    if (rc == 0)
        rc = lh_queue_new(&q, &h->queue, err);
    if (rc == 0)
        rc = start_watches(h, err);
    if (rc < 0) {
        store_health_free(h);
        return rc;
    }
    lh_queue_start(h->queue);
    *out = h;
    return 0;
}

void store_health_free(struct store_health *h)
{
    struct lh_str key;
    const char *labels[4];
    size_t it = 0;
    void *s;

    if (!h)
        return;
    for (size_t i = 0; i < LH_ARRAY_LEN(h->feeds); i++)
        lh_watch_stop(h->feeds[i].watch);
    /* Another leader knows better from now on. */
    while (h->stores && lh_map_next(h->stores, &it, &key, &s))
        lh_metric_drop(&store_health_metrics[M_READY], labels_of(s, labels));
    if (h->stores)
        lh_map_free(h->stores, health_free);
    lh_queue_free(h->queue);
    lh_free(h);
}

void store_health_info(const struct store_health *h, const struct store_ref *ref,
                       struct store_health_info *out)
{
    const struct health *s = health_find(h, ref);
    bool known = s && s->state != STORE_ABSENT;

    *out = (struct store_health_info){.known = known};
    if (!known)
        return;
    out->ready = s->state != STORE_DOWN;
    out->reason = s->reason;
    out->message = s->message;
}

bool store_health_synced(const struct store_health *h)
{
    return lh_watch_is_synced(h->feeds[0].watch) && lh_watch_is_synced(h->feeds[1].watch);
}
