/* SPDX-License-Identifier: Apache-2.0 */
/* leasehold check: does this ServiceAccount get this path, and if not, what to mend. */
#include "cmd_check.h"

#include <stdio.h>

#include "check.h"
#include "cli.h"
#include "cluster.h"
#include "leasehold/core/mem.h"

struct options {
    const char *namespace_, *account, *path, *role, *cluster, *kubeconfig, *context;
    int64_t timeout_ms;
    bool help;
};

#define AT(field) offsetof(struct options, field)

static const struct lh_opt opts[] = {
    {"namespace", 'n', LH_OPT_STRING, "NAME", NULL,
     "Namespace of the Pod; left out, the kubeconfig's.", false, AT(namespace_)},
    {"as", 0, LH_OPT_STRING, "ACCOUNT", "default", "ServiceAccount of the Pod.", false,
     AT(account)},
    {"path", 0, LH_OPT_STRING, "PATH#KEY", NULL,
     "What is to be read, with or without a key; a credential that this issues is revoked again.",
     false, AT(path)},
    {"role", 0, LH_OPT_STRING, "NAME", NULL, "Role to log in with, instead of the store's.", false,
     AT(role)},
    {"cluster", 0, LH_OPT_STRING, "NAME", NULL, "What {cluster} in the store stands for.", false,
     AT(cluster)},
    CLI_CLUSTER_OPTIONS(struct options),
    {"timeout", 0, LH_OPT_DURATION, "DURATION", "15s", "How long one step may take.", false,
     AT(timeout_ms)},
    {"help", 'h', LH_OPT_BOOL, NULL, NULL, "Print this help and exit.", false, AT(help)},
    {0},
};

const struct lh_opt_set cmd_check_option_set = {
    .program = "leasehold check",
    .usage = "leasehold check [STORE] -n NAMESPACE --as ACCOUNT [--path PATH#KEY]",
    .summary = "Goes each step that a Pod of this ServiceAccount would go to the manager: ok, or "
               "FAILED with the fix. Never prints a value.",
    .opts = opts,
};

static int check(const struct options *o, const char *store, struct lh_loop *loop,
                 const struct lh_kube_config *kube)
{
    const struct check_options c = {.loop = loop,
                                    .kube = kube,
                                    .store = store,
                                    .namespace_ = o->namespace_ ? o->namespace_ : kube->namespace_,
                                    .service_account = o->account,
                                    .path = o->path,
                                    .role = o->role,
                                    .cluster = o->cluster,
                                    .timeout_ms = (unsigned)o->timeout_ms};
    lh_auto_buf struct lh_buf out;
    struct lh_err err = {0};
    bool ok = false;
    int status;

    lh_buf_init(&out, (size_t)64 * 1024);
    if (check_run(&c, &out, &ok, &err) < 0)
        return cli_fail(&cmd_check_option_set, CLI_FAILED, &err);
    status = cli_print(&out);
    return ok ? status : CLI_FAILED;
}

static int with_cluster(const struct options *o, const char *store)
{
    struct cli_cluster c;
    struct lh_err err = {0};
    int rc = cli_cluster_open(o->kubeconfig, o->context, &c, &err), status;

    status = rc < 0 ? cli_fail(&cmd_check_option_set, CLI_FAILED, &err)
                    : check(o, store, c.loop, &c.cfg);
    cli_cluster_close(&c);
    return status;
}

int cmd_check(int argc, char **argv)
{
    struct options o = {0};
    struct lh_conf *conf = NULL;
    const char *const *args = NULL;
    struct lh_err err = {0};
    int status;

    if (!cli_parse(&cmd_check_option_set, argc, argv, &o, &o.help, &conf, &args, &status)) {
        lh_conf_free(conf);
        return status;
    }
    if (args && args[0] && args[1]) {
        lh_err_fill(&err, LH_E_INVALID, "one store at most can be named");
        status = cli_fail(&cmd_check_option_set, CLI_USAGE, &err);
    } else {
        status = with_cluster(&o, args ? args[0] : NULL);
    }
    lh_conf_free(conf);
    return status;
}
