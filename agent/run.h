/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_AGENT_RUN_H
#define LEASEHOLD_AGENT_RUN_H

/* The agent's life, from its configuration to its end. */
#include "leasehold/api/agentcfg.h"

struct lh_provider_ops;

struct agent_run_options {
    const struct lh_agentcfg *cfg;
    const struct lh_provider_ops *provider; /* NULL: by the store */
    bool once;                              /* as init mode: publish, then end without revoking */
    bool allow_loopback;                    /* the configuration is the caller's own file */
    const char *pod_uid;                    /* binds the state; NULL: the Pod's name does */
};

/* Runs until SIGTERM or SIGINT, or until done in init mode. */
int agent_run(const struct agent_run_options *o, struct lh_err *err);

#endif
