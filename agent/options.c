/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>

#include "options.h"

#define AT(field) offsetof(struct agent_options, field)

static const struct lh_opt opts[] = {
    {"config", 0, LH_OPT_STRING, "FILE", NULL,
     "Configuration; left out, it is taken from the environment variable LEASEHOLD_CONFIG.", false,
     AT(config)},
    {"once", 0, LH_OPT_BOOL, NULL, NULL,
     "Fetch, publish and exit; nothing is renewed and nothing revoked.", false, AT(once)},
    {"check-config", 0, LH_OPT_BOOL, NULL, NULL, "Check the configuration, then exit.", false,
     AT(check_config)},
    {"state", 0, LH_OPT_STRING, "DIR", "/run/leasehold/state",
     "State folder of the running agent that `leasehold-agent ready` asks.", false, AT(state)},
    {"log-level", 0, LH_OPT_STRING, "LEVEL", NULL,
     "debug, info, warn, error or off; wins over the configuration.", true, AT(log_level)},
    {"version", 0, LH_OPT_BOOL, NULL, NULL, "Print the version and exit.", false, AT(version)},
    {"man", 0, LH_OPT_BOOL, NULL, NULL, "Print the manual page and exit.", false, AT(man)},
    {"help", 'h', LH_OPT_BOOL, NULL, NULL, "Print this help and exit.", false, AT(help)},
    {0},
};

const struct lh_opt_set agent_option_set = {
    .program = "leasehold-agent",
    .usage = "leasehold-agent [--config FILE] [--once] [--check-config]\n       leasehold-agent "
             "ready [--state DIR]",
    .summary =
        "Keeps a Pod's secret files fresh; as `ready`, the startup probe that prints why it waits.",
    .opts = opts,
};
