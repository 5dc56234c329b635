/* SPDX-License-Identifier: Apache-2.0 */
/* leasehold status: stores, projections and the Pods that use them, and what to do about them. */
#include "cmd_status.h"

#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "cluster.h"
#include "leasehold/core/mem.h"
#include "status.h"

#define OUT_MAX ((size_t)256 * 1024 * 1024)

struct options {
    const char *namespace_, *format, *operator_namespace, *kubeconfig, *context;
    int64_t timeout_ms;
    bool all, live, watch, help;
};

#define AT(field) offsetof(struct options, field)

static const struct lh_opt opts[] = {
    {"namespace", 'n', LH_OPT_STRING, "NAME", NULL, "Namespace; left out, the kubeconfig's.", false,
     AT(namespace_)},
    {"all-namespaces", 'A', LH_OPT_BOOL, NULL, NULL, "All namespaces.", false, AT(all)},
    {"live", 0, LH_OPT_BOOL, NULL, NULL,
     "Ask agents and node drivers themselves, through the API server's Pod proxy (the right to get "
     "pods/proxy): what they hold, why they wait, when the first credential ends.",
     false, AT(live)},
    {"output", 'o', LH_OPT_STRING, "FORMAT", NULL, "wide (with messages and nodes) or json.", false,
     AT(format)},
    {"watch", 'w', LH_OPT_BOOL, NULL, NULL, "Go on, with a line for each row that changes.", false,
     AT(watch)},
    {"operator-namespace", 0, LH_OPT_STRING, "NAME", "leasehold-system",
     "Where the node drivers are, for --live.", false, AT(operator_namespace)},
    CLI_CLUSTER_OPTIONS(struct options),
    {"timeout", 0, LH_OPT_DURATION, "DURATION", "15s", "How long an answer may take.", false,
     AT(timeout_ms)},
    {"help", 'h', LH_OPT_BOOL, NULL, NULL, "Print this help and exit.", false, AT(help)},
    {0},
};

const struct lh_opt_set cmd_status_option_set = {
    .program = "leasehold status",
    .usage = "leasehold status [-A | -n NAMESPACE] [--live | --watch] [-o wide|json]",
    .summary = "Says how stores, projections and the Pods that use them are, and what to do about "
               "what is not well. Exit status 1: a row is not ready, or something could not be "
               "asked. Never prints a value.",
    .opts = opts,
};

struct follow {
    enum status_format format;
    bool failed;
};

static void on_change(void *arg, const struct status_row *r)
{
    struct follow *f = arg;
    lh_auto_buf struct lh_buf b;

    if (r->kind == STATUS_DRIVER)
        return;
    lh_buf_init(&b, OUT_MAX);
    status_print_row(r, f->format, lh_clock_wall_ms(), &b);
    f->failed |= cli_print(&b) != CLI_OK;
}

static int show(struct status_view *v, const struct options *o, enum status_format format)
{
    struct lh_vec rows;
    lh_auto_buf struct lh_buf out;
    struct lh_err err = {0};
    bool bad = status_trouble(v).n > 0;
    int rc, status;

    lh_buf_init(&out, OUT_MAX);
    lh_vec_init(&rows, sizeof(struct status_row *));
    rc = status_rows(v, &rows, &err);
    if (rc == 0)
        status_print(&rows, status_trouble(v), format, o->live, lh_clock_wall_ms(), &out);
    for (size_t i = 0; i < rows.n; i++)
        bad |= status_is_bad(*(struct status_row **)lh_vec_at(&rows, i));
    lh_vec_done(&rows);
    if (rc < 0)
        return cli_fail(&cmd_status_option_set, CLI_FAILED, &err);
    status = cli_print(&out);
    return bad ? CLI_FAILED : status;
}

static int run(const struct options *o, enum status_format format, struct lh_loop *loop,
               struct lh_kube *kube)
{
    struct follow f = {.format = format};
    const char *ns = o->namespace_ ? o->namespace_ : lh_kube_namespace(kube);
    const struct status_options so = {.loop = loop,
                                      .kube = kube,
                                      .namespace_ = o->all ? NULL : ns,
                                      .operator_namespace = o->live ? o->operator_namespace : NULL,
                                      .timeout_ms = (unsigned)o->timeout_ms,
                                      .changed = o->watch ? on_change : NULL,
                                      .arg = &f};
    struct status_view *v = NULL;
    struct lh_err err = {0};
    int status, rc = status_open(&so, &v, &err);

    if (rc == 0 && o->live)
        rc = status_ask(v, &err);
    status = rc < 0 ? cli_fail(&cmd_status_option_set, CLI_FAILED, &err) : show(v, o, format);
    while (rc == 0 && o->watch && !f.failed)
        lh_loop_turn(loop, -1);
    status_close(v);
    return status;
}

static int with_cluster(const struct options *o, enum status_format format)
{
    struct cli_cluster c;
    struct lh_err err = {0};
    int rc = cli_cluster_open(o->kubeconfig, o->context, &c, &err), status;

    if (rc == 0)
        rc = cli_cluster_client(&c, &err);
    status = rc < 0 ? cli_fail(&cmd_status_option_set, CLI_FAILED, &err)
                    : run(o, format, c.loop, c.kube);
    cli_cluster_close(&c);
    return status;
}

/* What is wrong with the options; NULL: nothing. */
static const char *check(const struct options *o, bool has_args, enum status_format *format)
{
    *format = STATUS_TABLE;
    if (has_args)
        return "unexpected argument; it takes options only";
    if (o->all && o->namespace_)
        return "-A and -n exclude each other";
    if (o->live && o->watch)
        return "--live and --watch exclude each other: what agents say is asked, not watched";
    if (!o->format)
        return NULL;
    if (strcmp(o->format, "wide") == 0)
        *format = STATUS_WIDE;
    else if (strcmp(o->format, "json") == 0)
        *format = STATUS_JSON;
    else
        return "-o must be wide or json";
    return NULL;
}

int cmd_status(int argc, char **argv)
{
    struct options o = {0};
    struct lh_conf *conf = NULL;
    const char *const *args = NULL;
    enum status_format format;
    struct lh_err err = {0};
    const char *wrong;
    int status;

    if (cli_parse(&cmd_status_option_set, argc, argv, &o, &o.help, &conf, &args, &status)) {
        wrong = check(&o, args && args[0], &format);
        if (wrong) {
            lh_err_fill(&err, LH_E_INVALID, "%s", wrong);
            status = cli_fail(&cmd_status_option_set, CLI_USAGE, &err);
        } else {
            status = with_cluster(&o, format);
        }
    }
    lh_conf_free(conf);
    return status;
}
