/* SPDX-License-Identifier: Apache-2.0 */
/* leasehold version. */
#include <stddef.h>

#include "command.h"
#include "leasehold/api/agentcfg.h"

struct options {
    bool verbose, help;
};

static const struct lh_opt opts[] = {
    {"verbose", 'v', LH_OPT_BOOL, NULL, NULL, "Print what is compatible with this version too.",
     false, offsetof(struct options, verbose)},
    {"help", 'h', LH_OPT_BOOL, NULL, NULL, "Print this help and exit.", false,
     offsetof(struct options, help)},
    {0},
};

const struct lh_opt_set cmd_version_option_set = {
    .program = "leasehold version",
    .usage = "leasehold version [--verbose]",
    .summary = "Prints the version.",
    .opts = opts,
};

int cmd_version(int argc, char **argv)
{
    struct options o = {0};
    struct lh_conf *conf = NULL;
    const char *const *args = NULL;
    lh_auto_buf struct lh_buf b;
    int rc = command_parse(&cmd_version_option_set, argc, argv, &o, &o.help, &conf, &args);

    lh_buf_init(&b, 4096);
    if (rc >= 0)
        return rc;
    lh_buf_put_z(&b, "leasehold " LH_VERSION "\n");
    if (o.verbose)
        lh_buf_printf(&b,
                      "API:                  leasehold.dev/v1alpha1\nagent configuration:  version "
                      "%d\ncompiler:             %s\n",
                      LH_AGENTCFG_VERSION, __VERSION__);
    lh_conf_free(conf);
    return command_print(&b);
}
