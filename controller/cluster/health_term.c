/* SPDX-License-Identifier: Apache-2.0 */
#include "health_term.h"

#include "breaker.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "uninjected.h"

struct health_term {
    struct health_term_options o;
    struct lh_events *events;
    struct store_health *stores;
    struct restarts *restarts;
    struct uninjected *uninjected;
};

static bool may_write(void *arg)
{
    const struct health_term *t = arg;

    return !t->o.may_write || t->o.may_write(t->o.arg);
}

static void on_found(void *arg, const struct uninjected_pod *pod)
{
    const struct health_term *t = arg;
    const struct lh_event ev = {.api_version = "v1",
                                .kind = "Pod",
                                .namespace_ = pod->namespace_,
                                .name = pod->name,
                                .uid = pod->uid,
                                .warning = true,
                                .reason = LH_REASON_NotInjected,
                                .action = "Watch",
                                .note = pod->note};

    if (may_write(arg))
        lh_events_emit(t->events, &ev);
}

static void on_restarted(void *arg, const char *namespace_, const char *kind, const char *name,
                         const char *uid, const char *note)
{
    const struct health_term *t = arg;
    const struct lh_event ev = {.api_version = "apps/v1",
                                .kind = kind,
                                .namespace_ = namespace_,
                                .name = name,
                                .uid = uid,
                                .reason = LH_REASON_Fresh,
                                .action = "Restart",
                                .note = note};

    lh_events_emit(t->events, &ev);
}

static void on_condition(void *arg, const char *namespace_, const char *projection,
                         const struct condition *c)
{
    const struct health_term *t = arg;

    if (t->o.condition)
        t->o.condition(t->o.arg, namespace_, projection, c);
}

void health_term_held(struct health_term *t, const char *namespace_, const char *lease,
                      const char *id, size_t waiting)
{
    lh_auto_free char *note =
        lh_asprintf("%zu deletions came at once and are held. If they are wanted, annotate this "
                    "Lease with " BREAKER_CONFIRM "=%s",
                    waiting, id);
    const struct lh_event ev = {.api_version = "coordination.k8s.io/v1",
                                .kind = "Lease",
                                .namespace_ = namespace_,
                                .name = lease,
                                .warning = true,
                                .reason = LH_REASON_DeletionsHeld,
                                .action = "Delete",
                                .note = note};

    lh_log_error("many deletions at once: held until somebody confirms them",
                 LH_F_STR("reason", LH_REASON_DeletionsHeld), LH_F_STR("lease", lease),
                 LH_F_STR("confirm", id), LH_F_INT("waiting", waiting));
    if (note && may_write(t))
        lh_events_emit(t->events, &ev);
}

static int open_all(struct health_term *t, struct lh_err *err)
{
    const struct health_term_options *o = &t->o;
    const struct store_health_options stores = {.loop = o->loop,
                                                .kube = o->kube,
                                                .allow_addresses = o->allow_addresses,
                                                .allow_loopback = o->allow_loopback,
                                                .may_write = may_write,
                                                .arg = t};
    const struct restarts_options restarts = {.loop = o->loop,
                                              .kube = o->kube,
                                              .may_write = may_write,
                                              .condition = on_condition,
                                              .restarted = on_restarted,
                                              .arg = t};
    const struct uninjected_options uninjected = {
        .loop = o->loop, .kube = o->kube, .found = on_found, .arg = t};
    int rc = lh_events_new(o->kube, "leasehold.dev/controller", o->instance, &t->events, err);

    if (rc == 0)
        rc = store_health_new(&stores, &t->stores, err);
    if (rc == 0 && o->restarts)
        rc = restarts_new(&restarts, &t->restarts, err);
    if (rc == 0)
        rc = uninjected_new(&uninjected, &t->uninjected, err);
    return rc;
}

int health_term_new(const struct health_term_options *opts, struct health_term **out,
                    struct lh_err *err)
{
    struct health_term *t = lh_calloc(1, sizeof(*t));
    int rc;

    if (!t)
        return lh_err_nomem(err);
    t->o = *opts;
    rc = open_all(t, err);
    if (rc < 0) {
        health_term_free(t);
        return rc;
    }
    *out = t;
    return 0;
}

void health_term_free(struct health_term *t)
{
    if (!t)
        return;
    uninjected_free(t->uninjected);
    restarts_free(t->restarts);
    store_health_free(t->stores);
    lh_events_free(t->events);
    lh_free(t);
}

struct store_health *health_term_stores(const struct health_term *t)
{
    return t->stores;
}

struct restarts *health_term_restarts(const struct health_term *t)
{
    return t->restarts;
}

struct lh_events *health_term_events(const struct health_term *t)
{
    return t->events;
}
