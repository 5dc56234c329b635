/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_CLUSTER_RESTARTS_H
#define LEASEHOLD_CONTROLLER_CLUSTER_RESTARTS_H

/*
 * Workloads are rolled over when the secrets of projections that name them changed. What a
 * workload's Pods were started with is stamped on it and on its Pod template, so that a change that
 * nobody saw is still one (restart_plan.h decides). Level-triggered: told what each projection
 * wants, it reads a workload only when a hash of it is new to this process or something is to wait
 * for; a steady state costs no request. Several changes, and several projections of one workload,
 * are one restart.
 *
 * Only values without a lease count: a workload that is restarted whenever a credential is issued
 * would never rest. Nothing is retried here but by the queue; a write tests uid and resource
 * version.
 */
#include "leasehold/core/loop.h"
#include "leasehold/core/metrics.h"
#include "leasehold/kube/client.h"
#include "restart_plan.h"
#include "status_plan.h"

struct restarts;

#define RESTARTS_CONDITION "WorkloadsCurrent"

struct restarts_options {
    struct lh_loop *loop;
    struct lh_kube *kube;
    lh_ms settle_ms; /* 0: 10 s */
    lh_ms gap_ms;    /* of one workload; 0: 5 min */
    unsigned budget; /* restarts of one namespace within window_ms; 0: 5 */
    lh_ms window_ms; /* 0: 60 s */
    /* Inside these nothing of this module may be called but restarts_condition(). */
    bool (*may_write)(void *arg); /* as leader; NULL: always */
    /* What stands about a projection's workloads, when it changes: True (Fresh; RestartOnLease
     * where leased items do not count), False or Unknown with a reason and a message that names the
     * workload; c NULL: nothing is named any more. Borrowed until return. For its status. */
    void (*condition)(void *arg, const char *namespace_, const char *projection,
                      const struct condition *c);
    /* A workload was restarted; for an Event. note names the projections. May be NULL. */
    void (*restarted)(void *arg, const char *namespace_, const char *kind, const char *name,
                      const char *uid, const char *note);
    void *arg;
};

int restarts_new(const struct restarts_options *opts, struct restarts **out, struct lh_err *err);
/* NULL is a no-op. Not inside a callback. */
void restarts_free(struct restarts *r);

struct restarts_want {
    const char *namespace_, *projection;
    const lh_json *on_change; /* spec.onChange; NULL: names no workload */
    /* RESTART_HASH_LEN hex digits over the values without a lease, under a key that outlives the
     * process; NULL: not known yet, and nothing that it names is restarted. "": there are none. */
    const char *hash;
    bool leased; /* it has items with a lease, which do not count: RestartOnLease */
};
/* Sets or replaces what a projection wants; everything copied. LH_E_INVALID (onChange), LH_E_NOMEM.
 */
int restarts_set(struct restarts *r, const struct restarts_want *want, struct lh_err *err);
/* Gone: what it named is left as it is. */
void restarts_drop(struct restarts *r, const char *namespace_, const char *projection);

/* What condition() said of it last, borrowed until the next turn of the loop. False: nothing, or
 * its workloads were not looked at yet; then what a status says stays. */
bool restarts_condition(const struct restarts *r, const char *namespace_, const char *projection,
                        struct condition *out);

/* Every projection was set once (with a hash or without): nothing is written before, since half of
 * the projections of a workload would be taken for all. */
void restarts_start(struct restarts *r);

/* Registered by restarts_new: leasehold_restarts_total, leasehold_restarts_waiting. */
extern const struct lh_metric restarts_metrics[];

#endif
