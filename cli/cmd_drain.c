/* SPDX-License-Identifier: Apache-2.0 */
/* leasehold drain: before the cluster controller leaves, what it made outside is undone. */
#include "cmd_drain.h"

#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "cluster.h"
#include "drain.h"
#include "leasehold/core/mem.h"

#define OUT_MAX ((size_t)16 * 1024 * 1024)

struct options {
    const char *copies, *format, *operator_namespace, *lease, *kubeconfig, *context;
    int64_t timeout_ms;
    bool undo, help;
};

#define AT(field) offsetof(struct options, field)

static const struct lh_opt opts[] = {
    {"copies", 0, LH_OPT_STRING, "keep|delete", "keep",
     "What becomes of Secret copies: kept with the values they have, without our label and owner, "
     "or deleted.",
     false, AT(copies)},
    {"undo", 0, LH_OPT_BOOL, NULL, NULL, "Take the drain back: the controller goes on.", false,
     AT(undo)},
    {"output", 'o', LH_OPT_STRING, "FORMAT", NULL, "json.", false, AT(format)},
    {"operator-namespace", 0, LH_OPT_STRING, "NAME", "leasehold-system",
     "Where the cluster controller is.", false, AT(operator_namespace)},
    {"lease", 0, LH_OPT_STRING, "NAME", "leasehold-controller",
     "The controller's Lease: the release's name and -controller.", false, AT(lease)},
    CLI_CLUSTER_OPTIONS(struct options),
    {"timeout", 0, LH_OPT_DURATION, "DURATION", "5m",
     "How long to wait; the controller goes on after it.", false, AT(timeout_ms)},
    {"help", 'h', LH_OPT_BOOL, NULL, NULL, "Print this help and exit.", false, AT(help)},
    {0},
};

const struct lh_opt_set cmd_drain_option_set = {
    .program = "leasehold drain",
    .usage = "leasehold drain [--copies keep|delete] [--timeout DURATION] [-o json] | --undo",
    .summary =
        "Has the cluster controller revoke what it issued, let its Secret copies go and take "
        "off its finalizers; from then on it takes on nothing new, after a restart too, "
        "until --undo. To be done before an uninstallation. Says for each object what could "
        "not be undone and what to do. Needs the rights to get and patch the controller's "
        "Lease, and to list secretprojections. Exit status 1: something is left, or nobody "
        "answered.",
    .opts = opts,
};

static void on_progress(void *arg, const char *line)
{
    (void)arg;
    fprintf(stderr, "leasehold drain: %s\n", line);
}

static int run(const struct drain_options *o, bool json)
{
    struct drain_result r;
    lh_auto_buf struct lh_buf out;
    struct lh_err err = {0};
    int status;

    lh_buf_init(&out, OUT_MAX);
    if (drain_run(o, &r, &err) < 0) {
        status = cli_fail(&cmd_drain_option_set, CLI_FAILED, &err);
    } else {
        drain_print(o, &r, json, &out);
        status = cli_print(&out);
        if (!drain_is_well(&r))
            status = CLI_FAILED;
    }
    drain_result_done(&r);
    return status;
}

static int with_cluster(const struct options *o, enum lh_drain copies)
{
    struct drain_options d = {.namespace_ = o->operator_namespace,
                              .lease = o->lease,
                              .copies = copies,
                              .timeout_ms = o->timeout_ms,
                              .progress = on_progress};
    struct cli_cluster c;
    struct lh_err err = {0};
    int rc = cli_cluster_open(o->kubeconfig, o->context, &c, &err), status;

    if (rc == 0)
        rc = cli_cluster_client(&c, &err);
    d.loop = c.loop;
    d.kube = c.kube;
    status = rc < 0 ? cli_fail(&cmd_drain_option_set, CLI_FAILED, &err) : run(&d, o->format);
    cli_cluster_close(&c);
    return status;
}

/* What is wrong with the options; NULL: nothing. */
static const char *check(const struct options *o, bool has_args, enum lh_drain *copies)
{
    if (has_args)
        return "unexpected argument; it takes options only";
    if (o->format && strcmp(o->format, "json") != 0)
        return "-o must be json";
    if (strcmp(o->copies, "keep") == 0)
        *copies = LH_DRAIN_KEEP;
    else if (strcmp(o->copies, "delete") == 0)
        *copies = LH_DRAIN_DELETE;
    else
        return "--copies must be keep or delete";
    if (o->undo && *copies == LH_DRAIN_DELETE)
        return "--undo and --copies exclude each other";
    if (o->undo)
        *copies = LH_DRAIN_NOT;
    return NULL;
}

int cmd_drain(int argc, char **argv)
{
    struct options o = {0};
    struct lh_conf *conf = NULL;
    const char *const *args = NULL;
    enum lh_drain copies;
    struct lh_err err = {0};
    const char *wrong;
    int status;

    if (cli_parse(&cmd_drain_option_set, argc, argv, &o, &o.help, &conf, &args, &status)) {
        wrong = check(&o, args && args[0], &copies);
        if (wrong) {
            lh_err_fill(&err, LH_E_INVALID, "%s", wrong);
            status = cli_fail(&cmd_drain_option_set, CLI_USAGE, &err);
        } else {
            status = with_cluster(&o, copies);
        }
    }
    lh_conf_free(conf);
    return status;
}
