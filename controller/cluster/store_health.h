/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_CLUSTER_STORE_HEALTH_H
#define LEASEHOLD_CONTROLLER_CLUSTER_STORE_HEALTH_H

/*
 * Condition Ready on the status of every SecretStore and ClusterSecretStore, which names what is
 * wrong, and the wake-up of what waits for a store. Judged by the spec and by sys/health, asked
 * without a login: when a store appears or changes, then every spec.verify +-10 % while somebody
 * depends on it (every STORE_IDLE_MS otherwise, so that the condition is no fairy tale), once a
 * second while it is away and somebody waits. Status is written on transitions only, by server-side
 * apply, as leader only.
 *
 * Watches stores by itself, since it needs those that are invalid, too, and their status.
 */
#include "leasehold/core/loop.h"
#include "leasehold/core/metrics.h"
#include "leasehold/kube/client.h"
#include "leasehold/providers/provider.h"

struct store_health;
struct store_wait;

enum { STORE_IDLE_MS = 15 * 60 * 1000, STORE_PROBES_MAX = 16 };
#define STORE_HEALTH_MANAGER "leasehold-store-health" /* field manager */

struct store_health_options {
    struct lh_loop *loop;
    struct lh_kube *kube;
    const struct lh_provider_ops *provider; /* NULL: by the store */
    const char *const *allow_addresses;     /* borrowed until free; policy.addresses of the chart */
    bool allow_loopback;                    /* tests, and managers on a developer's machine */
    /* May a write go out now? NULL: always. */
    bool (*may_write)(void *arg);
    /* A store turned ready or not ready, or was deleted (reason NULL); may be NULL. */
    void (*changed)(void *arg, bool cluster_scoped, const char *namespace_, const char *name,
                    bool ready, const char *reason);
    void *arg;
};

/* Starts its watches; to be made when leadership is won and freed when it is lost. */
int store_health_new(const struct store_health_options *opts, struct store_health **out,
                     struct lh_err *err);
/* Every store_wait must have ended before. NULL is a no-op. Not inside a callback. */
void store_health_free(struct store_health *h);

struct store_ref { /* namespace_ is ignored for cluster scope */
    bool cluster_scoped;
    const char *namespace_, *name;
};

/* One that depends on a store, which need not exist yet. wake is called, from the loop, each time
 * that the store turns ready or its spec changes while it is, the dependants spread over max(1 s,
 * n / requestsPerSecond), soonest to expire first. Inside it everything but store_health_free() is
 * allowed. */
int store_wait_new(struct store_health *h, const struct store_ref *ref, void (*wake)(void *arg),
                   void *arg, struct store_wait **out, struct lh_err *err);
void store_wait_free(struct store_wait *w); /* NULL is a no-op */
/* When what it holds ends (boot time); LH_NEVER, as at first: nothing does. */
void store_wait_expires(struct store_wait *w, lh_ms at);
/* A request to the store failed: if by an outage (unreachable, sealed, bad certificate), the store
 * is asked at once, at most once a second. err NULL: one succeeded, so it is there. */
void store_wait_report(struct store_wait *w, const struct lh_err *err);

struct store_health_info {
    bool known,
        ready; /* known: the store exists; ready also until it was asked for the first time */
    const char *reason;  /* a word of api/reasons.h; NULL while unasked or unknown */
    const char *message; /* borrowed until the next turn of the loop */
};
void store_health_info(const struct store_health *h, const struct store_ref *ref,
                       struct store_health_info *out);
bool store_health_synced(const struct store_health *h);

/* Registered by store_health_new: leasehold_store_ready, leasehold_store_probes_total. */
extern const struct lh_metric store_health_metrics[];

#endif
