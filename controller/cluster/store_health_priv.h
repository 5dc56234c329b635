/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_CLUSTER_STORE_HEALTH_PRIV_H
#define LEASEHOLD_CONTROLLER_CLUSTER_STORE_HEALTH_PRIV_H

/* What store_health.c (stores, and what is asked of them) and store_wait.c (who waits) share. */
#include "leasehold/core/map.h"
#include "leasehold/core/vec.h"
#include "leasehold/kube/queue.h"
#include "leasehold/kube/watch.h"
#include "status_plan.h"
#include "store_health.h"

enum store_state {
    STORE_ABSENT,
    STORE_UNASKED,
    STORE_UP, /* or nothing is known against it */
    STORE_DOWN,
};

struct store_feed {
    struct store_health *h;
    struct lh_watch *watch;
    bool cluster_scoped;
};

struct store_health {
    struct store_health_options o;
    struct store_feed feeds[2];
    struct lh_queue *queue;
    struct lh_map *stores; /* key ("ns/name", "name") to struct health */
};

struct store_wait {
    struct health *s;
    struct store_wait *prev, *next;
    void (*wake)(void *arg);
    void *arg;
    lh_ms expires;
    size_t slot; /* in the round of wake-ups that is under way; SIZE_MAX: not in it */
    bool failed; /* it saw an outage that the store was not asked about yet */
};

struct health {
    struct store_health *h;
    char *key, *namespace_, *name; /* namespace_ NULL: cluster scope */
    enum store_state state;
    /* As the API server has it. */
    char *uid;
    int64_t generation;
    struct lh_store *store; /* NULL: invalid */
    lh_json *status;
    /* What is thought of it. */
    enum condition_status verdict;
    const char *reason; /* NULL: nothing yet */
    char *message;
    unsigned failures;       /* probes in a row */
    int64_t woke_generation; /* dependants know this spec */
    /* What is under way. */
    bool working;           /* the queue waits for us */
    int64_t ask_generation; /* of the spec that is asked */
    struct lh_provider *provider;
    struct lh_provider_op *probe;
    struct lh_kube_op *write;
    lh_ms asked_at;
    /* Who depends on it. */
    struct store_wait *waits;
    size_t n_waits;
    struct lh_vec round; /* struct store_wait *, in the order of waking; NULL: ended */
    size_t round_next;
    lh_ms round_at;
    struct lh_timer *timer;
};

/* store_health.c */
/* That store, made where it is not known; NULL without memory. */
struct health *health_get(struct store_health *h, const struct store_ref *ref);
struct health *health_find(const struct store_health *h, const struct store_ref *ref);
/* It is asked soon, at most once a second. */
void health_hint(struct health *s);
/* Forgets what nobody depends on and does not exist. */
void health_put(struct health *s);

/* store_wait.c */
/* Everybody, or those who saw it fail, now that it is there. */
void store_wake(struct health *s, bool all);
void store_wake_stop(struct health *s);
void store_wake_due(void *arg); /* the timer */

#endif
