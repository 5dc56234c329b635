/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_CLUSTER_COPIES_H
#define LEASEHOLD_CONTROLLER_CLUSTER_COPIES_H

/*
 * All SecretProjections of the cluster and what this controller makes of those that ask for a
 * Kubernetes Secret or for restarts. Caches are kept by whoever stands by, too; engines run and
 * writes go out while it is active only, which is as leader.
 */
#include "breaker.h"
#include "leasehold/api/drain.h"
#include "leasehold/core/map.h"
#include "leasehold/core/secret.h"
#include "leasehold/kube/client.h"
#include "leasehold/kube/elect.h"
#include "leasehold/kube/queue.h"
#include "leasehold/kube/watch.h"
#include "leasehold/objects/objects.h"
#include "options.h"
#include "status_plan.h"

struct ledger;
struct lh_token_source;
struct restarts;
struct store_health;
struct copies;

/* What copies share with the rest of the controller; all borrowed until copies_free(). */
struct copies_parts {
    struct lh_loop *loop;
    struct lh_kube *kube;
    const struct cluster_options *o;
    char *const *namespaces;      /* that are served, NULL-terminated */
    char *const *allow_addresses; /* NULL-terminated */
    struct lh_objects *objects;   /* stores and namespaces */
    bool (*leads)(void *arg);
    void (*synced)(void *arg);                               /* the projections are known */
    void (*held)(void *arg, const char *id, size_t waiting); /* the breaker opened */
    void *arg;
};

/* What is there in one term only. */
struct copies_term {
    const struct lh_secret *hash_key; /* the same in every term */
    struct ledger *ledger;
    struct store_health *health;
    struct restarts *restarts; /* NULL: there are none */
    int64_t number;
    enum lh_drain drain; /* as it is told when the term begins */
};

int copies_new(const struct copies_parts *parts, struct copies **out, struct lh_err *err);
void copies_free(struct copies *s); /* NULL is a no-op; revokes nothing */
/* Projections, Secrets, stores and namespaces are known. */
bool copies_synced(const struct copies *s);

/* From now on, until copies_stop(). LH_E_NOMEM. */
int copies_start(struct copies *s, const struct copies_term *term, struct lh_err *err);
/* Engines are freed; nothing is revoked and nothing written. */
void copies_stop(struct copies *s);

/* Stores or namespaces may have changed: of one store, or all (NULL). */
void copies_store_changed(struct copies *s, const struct lh_store *store);
/* Its labels or annotations: stores may admit it, or not, and its default store may be another. */
void copies_namespace_changed(struct copies *s, const char *name);
/* Nothing is left to be undone for this uid. */
void copies_uid_settled(struct copies *s, const char *uid);
/* Is there one of this uid that is not being deleted? */
bool copies_has_uid(const struct copies *s, const char *uid);
/* While drained, nothing is taken on: what is there is undone, and copies are let go as it says. */
void copies_drain(struct copies *s, enum lh_drain how);
/* Counts and items of what is left. LH_E_NOMEM. Active only. */
int copies_drain_report(const struct copies *s, struct lh_drain_report *r, struct lh_err *err);
/* What is to be said about the workloads of a projection. */
void copies_workloads(struct copies *s, const char *namespace_, const char *projection,
                      const struct condition *c);
void copies_confirm_deletions(struct copies *s, const char *text);

struct copies_count {
    size_t projections, wanted, ready, failed, stale, secrets, queued, bad;
    lh_ms ends_at, oldest;
    struct breaker_info breaker;
    enum lh_drain drain;
};
void copies_count(const struct copies *s, struct copies_count *out);
lh_json *copies_status(const struct copies *s);

/* A source that asks for tokens of an account; owned. */
int copies_token_source(struct lh_kube *kube, const char *namespace_, const char *account,
                        struct lh_token_source **out, struct lh_err *err);

#endif
