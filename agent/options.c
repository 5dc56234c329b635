/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>

#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"

#define AT(field) offsetof(struct agent_options, field)

static const struct lh_opt opts[] = {
    {"config", 0, LH_OPT_STRING, "FILE", NULL,
     "Read the configuration from FILE instead of LEASEHOLD_CONFIG; loopback addresses are "
     "accepted then.",
     false, AT(config)},
    {"once", 0, LH_OPT_BOOL, NULL, NULL, "Publish all secrets once, end without revoking, exit.",
     false, AT(once)},
    {"check-config", 0, LH_OPT_BOOL, NULL, NULL, "Check the configuration, then exit.", false,
     AT(check_config)},
    {"log-level", 0, LH_OPT_STRING, "LEVEL", NULL,
     "debug, info, warn, error or off; the configuration's if left out.", true, AT(log_level)},
    {"version", 0, LH_OPT_BOOL, NULL, NULL, "Print the version and exit.", false, AT(version)},
    {"docs", 0, LH_OPT_STRING, "PAGE", NULL,
     "Print a page of documentation (man, flags, metrics) and exit.", false, AT(docs)},
    {"help", 'h', LH_OPT_BOOL, NULL, NULL, "Print this help and exit.", false, AT(help)},
    {0},
};

const struct lh_opt_set agent_option_set = {
    .program = "leasehold-agent",
    .usage = "leasehold-agent [--config FILE] [--once | --check-config]\n"
             "       leasehold-agent ready [--config FILE]",
    .summary = "Fetches a Pod's secrets into memory files, keeps them fresh, revokes at the end.",
    .opts = opts,
};

const char agent_description[] =
    "Logs in to the secret manager as the Pod's own ServiceAccount, publishes the secrets of its "
    "configuration as files, renews and rotates them, tells the application of changes, and at "
    "SIGTERM revokes its token and with it every lease, within 1.5 s. The configuration is one "
    "JSON document in LEASEHOLD_CONFIG or FILE. \"ready\" is the startup probe: it prints the "
    "one-line cause and exits with 1 until all files were published. Exit status: 0 ended by a "
    "signal, or done (init mode, --once); 1 failed; 2 wrong options or configuration.";

int agent_config_load(const struct agent_options *o, struct lh_agentcfg **out, struct lh_err *err)
{
    lh_auto_free char *text = NULL;
    const char *env = getenv(AGENT_ENV_CONFIG);
    size_t n = 0;
    int rc;

    if (!o->config && !env)
        return lh_err_set(err, LH_E_INVALID,
                          "no configuration: give --config FILE or set " AGENT_ENV_CONFIG);
    if (!o->config)
        return lh_agentcfg_parse(lh_str(env), AGENT_ENV_CONFIG, out, err);
    rc = lh_fs_read_at(AT_FDCWD, o->config, LH_AGENTCFG_MAX, &text, &n, err);
    if (rc < 0)
        return rc;
    return lh_agentcfg_parse((struct lh_str){text, n}, o->config, out, err);
}
