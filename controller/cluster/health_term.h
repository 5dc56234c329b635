/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_CLUSTER_HEALTH_TERM_H
#define LEASEHOLD_CONTROLLER_CLUSTER_HEALTH_TERM_H

/*
 * What a leader looks after beside copies, for one term: health of stores, restarts, Pods that run
 * without their secrets, and the Events that tell of them. To be made when a term begins, before
 * the copies of it start, and freed after they stopped.
 */
#include "leasehold/kube/event.h"
#include "restarts.h"
#include "store_health.h"

struct health_term;

struct health_term_options {
    struct lh_loop *loop;
    struct lh_kube *kube;
    const char *instance;               /* of Events: this process' Pod name */
    const char *const *allow_addresses; /* as store_health_options */
    bool allow_loopback;
    bool restarts;                /* false: no namespace may have any */
    bool (*may_write)(void *arg); /* NULL: always */
    /* As restarts_options; may be NULL without restarts. */
    void (*condition)(void *arg, const char *namespace_, const char *projection,
                      const struct condition *c);
    void *arg;
};

int health_term_new(const struct health_term_options *opts, struct health_term **out,
                    struct lh_err *err);
void health_term_free(struct health_term *t); /* NULL is a no-op. Not inside a callback */

struct store_health *health_term_stores(const struct health_term *t);
struct restarts *health_term_restarts(const struct health_term *t); /* NULL without restarts */
struct lh_events *health_term_events(const struct health_term *t);
/* Deletions are held, by the breaker: an Event about the controller's Lease, where a person
 * confirms them, and a line in the log. */
void health_term_held(struct health_term *t, const char *namespace_, const char *lease,
                      const char *id, size_t waiting);

#endif
