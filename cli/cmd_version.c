/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd_version.h"

#include <stdio.h>

#include "cli.h"
#include "leasehold/api/agentcfg.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/secret.h"

struct options {
    bool verbose, help;
};

#define AT(field) offsetof(struct options, field)

static const struct lh_opt opts[] = {
    {"verbose", 'v', LH_OPT_BOOL, NULL, NULL, "Libraries, formats and what this kernel offers.",
     false, AT(verbose)},
    {"help", 'h', LH_OPT_BOOL, NULL, NULL, "Print this help and exit.", false, AT(help)},
    {0},
};

const struct lh_opt_set cmd_version_option_set = {
    .program = "leasehold version",
    .usage = "leasehold version [--verbose]",
    .summary = "Prints the version.",
    .opts = opts,
};

static void put_details(struct lh_buf *b)
{
    struct lh_secret_stats stats = {0};

    if (lh_secret_init(4096, NULL) == 0)
        lh_secret_stats(&stats);
    lh_buf_put_z(b, "api: leasehold.dev/v1alpha1\n");
    lh_buf_printf(b, "agent configuration: writes %d, reads up to %d\n", LH_AGENTCFG_VERSION,
                  LH_AGENTCFG_VERSION);
    lh_buf_put_z(b, "compiler: " __VERSION__ "\n");
    lh_buf_put_z(b, "libraries: " LH_DEP_VERSIONS "\n");
    lh_buf_printf(b, "memory of secrets here: %s\n", stats.kind ? stats.kind : "none");
}

int cmd_version(int argc, char **argv)
{
    struct options o = {0};
    struct lh_conf *conf = NULL;
    const char *const *args = NULL;
    lh_auto_buf struct lh_buf b;
    int status;

    lh_buf_init(&b, 4096);
    if (cli_parse(&cmd_version_option_set, argc, argv, &o, &o.help, &conf, &args, &status)) {
        lh_buf_put_z(&b, "leasehold " LH_VERSION "\n");
        if (o.verbose)
            put_details(&b);
        status = cli_print(&b);
    }
    lh_conf_free(conf);
    return status;
}
