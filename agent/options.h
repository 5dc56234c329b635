/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_AGENT_OPTIONS_H
#define LEASEHOLD_AGENT_OPTIONS_H

#include "leasehold/api/agentcfg.h"
#include "leasehold/codec/conf.h"

/* Set by the webhook through the downward API: names that admission does not know yet. */
#define AGENT_ENV_CONFIG  "LEASEHOLD_CONFIG"
#define AGENT_ENV_POD_UID "LEASEHOLD_POD_UID"

/* Strings borrowed from the lh_conf that parsed them. */
struct agent_options {
    const char *config, *log_level, *docs;
    bool once, check_config, help, version;
};

extern const struct lh_opt_set agent_option_set;

extern const char agent_description[]; /* for the man page */
/* --config FILE, else the environment. LH_E_INVALID says which of the two is missing or wrong. */
int agent_config_load(const struct agent_options *o, struct lh_agentcfg **out, struct lh_err *err);

#endif
