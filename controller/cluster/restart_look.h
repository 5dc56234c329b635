/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_CLUSTER_RESTART_LOOK_H
#define LEASEHOLD_CONTROLLER_CLUSTER_RESTART_LOOK_H

/*
 * What a workload (apps/v1) says of itself, and the patch that restarts it. A rollout that ended,
 * well or not, is over: Pods that crash because their secret is old must not keep themselves from
 * the restart that mends them. Pure.
 */
#include "leasehold/codec/json.h"

enum restart_kind { RESTART_DEPLOYMENT, RESTART_STATEFULSET, RESTART_DAEMONSET, RESTART_KINDS };

extern const char *const restart_kind_names[RESTART_KINDS]; /* "Deployment" */
extern const char *const restart_resources[RESTART_KINDS];  /* "deployments" */
/* -1: none of them. */
int restart_kind_of(const char *name);

struct restart_look {
    bool paused, rolling;
    bool on_delete;            /* a new template reaches Pods only as somebody deletes them */
    bool empty;                /* no Pod is wanted */
    const char *stamp;         /* RESTART_STAMP of the workload, else of its template; NULL */
    int64_t restarted_wall_ms; /* RESTART_AT of the template; 0: none */
    const lh_json *labels;     /* of its Pods */
};
/* Strings are borrowed from obj. */
void restart_look(enum restart_kind kind, const lh_json *obj, struct restart_look *out);

/* The name of a PodDisruptionBudget (of a policy/v1 list) that covers the labels and allows nobody
 * to go, borrowed; NULL: none does. */
const char *restart_blocked_by(const lh_json *pdbs, const lh_json *labels);

/* JSON patch that tests uid and resource version; at: RFC 3339, NULL: the stamp is noted, without a
 * restart. *out owned. LH_E_NOMEM, LH_E_INVALID (obj was not read from there). */
int restart_patch(const lh_json *obj, const char *stamp, const char *at, lh_json **out,
                  struct lh_err *err);

#endif
