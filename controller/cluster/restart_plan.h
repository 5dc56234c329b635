/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_CLUSTER_RESTART_PLAN_H
#define LEASEHOLD_CONTROLLER_CLUSTER_RESTART_PLAN_H

/*
 * Whether a workload is to be rolled over because secrets changed. Level-triggered: what its Pods
 * were started with is stamped on it, so that a change that nobody saw is still one. Stamps are
 * "PROJECTION=HASH", apart by one space, sorted; the hash is keyed and the same over restarts of
 * the controller. Pure.
 */
#include <stddef.h>

#include "leasehold/core/clock.h"
#include "leasehold/core/err.h"

#define RESTART_STAMP "leasehold.dev/restart-hash"
#define RESTART_AT    "leasehold.dev/restarted-at"

enum { RESTART_HASH_LEN = 16, RESTART_PROJECTIONS_MAX = 64, RESTART_STAMP_MAX = 64 * 1024 };

struct restart_want {
    const char *projection, *hash;
};

struct restart_facts {
    const char *stamp;                /* on the workload; NULL: none */
    const struct restart_want *wants; /* of all projections that name it, in any order */
    size_t n_wants;
    bool known;       /* each of them knows its hash: values of all are there */
    bool paused;      /* a rollout that somebody paused */
    bool rolling;     /* one is under way */
    bool no_budget;   /* a PodDisruptionBudget of its Pods allows none to go */
    lh_ms changed_at; /* when a hash last moved; more changes may follow */
    lh_ms last_at;    /* when we restarted it last; 0: not in this life */
    lh_ms free_at;    /* when the namespace's budget has room; past: now */
};

struct restart_rules {
    lh_ms settle_ms; /* changes that come within it are one restart */
    lh_ms gap_ms;    /* least time between two restarts of one workload */
};

enum restart_act {
    RESTART_NONE,
    RESTART_NOTE, /* write the stamp, but do not restart: seen for the first time */
    RESTART_NOW,
    RESTART_LATER, /* look again at `at` */
};
enum restart_wait {
    RESTART_WAIT_NONE,
    RESTART_WAIT_VALUES,
    RESTART_WAIT_SETTLE,
    RESTART_WAIT_PAUSED,
    RESTART_WAIT_ROLLING,
    RESTART_WAIT_DISRUPTION,
    RESTART_WAIT_GAP,
    RESTART_WAIT_BUDGET,
};

struct restart_decision {
    enum restart_act act;
    enum restart_wait why;
    lh_ms at; /* boot time; LATER only */
};

struct restart_decision restart_decide(const struct restart_facts *f,
                                       const struct restart_rules *rules, lh_ms now);

/* The stamp that says all of wants; owned. LH_E_INVALID, LH_E_TOOBIG. */
int restart_stamp(const struct restart_want *wants, size_t n, char **out, struct lh_err *err);

#endif
