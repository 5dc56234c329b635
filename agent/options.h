/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_AGENT_OPTIONS_H
#define LEASEHOLD_AGENT_OPTIONS_H

#include "leasehold/codec/conf.h"

/* Strings borrowed from the lh_conf that parsed them. */
struct agent_options {
    const char *config;    /* NULL: the environment */
    const char *state;     /* for `ready` */
    const char *log_level; /* NULL: the configuration's */
    bool once, check_config, help, version, man;
};

extern const struct lh_opt_set agent_option_set;

#endif
