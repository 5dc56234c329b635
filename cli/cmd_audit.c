/* SPDX-License-Identifier: Apache-2.0 */
/* leasehold audit: what protects the secrets of a cluster, and how well that is proven. */
#include "cmd_audit.h"

#include <stdio.h>
#include <string.h>

#include "audit_gather.h"
#include "audit_prove.h"
#include "audit_servers.h"
#include "cli.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/http/client.h"
#include "leasehold/kube/client.h"

#define OUT_MAX ((size_t)256 * 1024 * 1024)

enum { AUDIT_FINE = 0, AUDIT_REACHED = 1, AUDIT_COULD_NOT = 2, NO_THRESHOLD = -1 };

struct options {
    const char *etcd, *cacert, *cert, *key, *snapshot, *prefix;
    const char *config, *kubeconfig, *context, *servers, *metrics, *kms, *backup, *data_dir;
    const char *prove_namespace, *format, *fail_on;
    int64_t timeout_ms;
    bool prove, hash_names, help;
};

#define AT(field) offsetof(struct options, field)

static const struct lh_opt opts[] = {
    {"etcd", 0, LH_OPT_STRING, "URL", NULL,
     "A running etcd, https://HOST:PORT; several with commas, tried in order.", false, AT(etcd)},
    {"cacert", 0, LH_OPT_STRING, "FILE", NULL, "CA of etcd's certificate.", false, AT(cacert)},
    {"cert", 0, LH_OPT_STRING, "FILE", NULL, "Client certificate for etcd.", false, AT(cert)},
    {"key", 0, LH_OPT_STRING, "FILE", NULL, "Its key.", false, AT(key)},
    {"snapshot", 0, LH_OPT_STRING, "FILE", NULL,
     "In place of --etcd: a snapshot, or the database file of a member that does not run.", false,
     AT(snapshot)},
    {"etcd-prefix", 0, LH_OPT_STRING, "PREFIX", "/registry", "As kube-apiserver has it.", false,
     AT(prefix)},
    {"config", 0, LH_OPT_STRING, "FILE", NULL,
     "The EncryptionConfiguration on this machine; its mode and its sockets are looked at too.",
     false, AT(config)},
    {"kubeconfig", 0, LH_OPT_STRING, "FILE", NULL,
     "Asks the API servers for Pods, roles and metrics (the right to list and get them): "
     "workloads, flags of kube-apiserver and etcd, who may read Secrets, what each server writes "
     "with.",
     false, AT(kubeconfig)},
    {"context", 0, LH_OPT_STRING, "NAME", NULL, "Context of the kubeconfig.", false, AT(context)},
    {"servers", 0, LH_OPT_STRING, "URL[,URL]", NULL,
     "The API servers, where the cluster does not tell of them or they are out of reach by those "
     "addresses.",
     false, AT(servers)},
    {"metrics", 0, LH_OPT_STRING, "FILE[,FILE]", NULL,
     "In place of asking: saved /metrics, one file for each API server.", false, AT(metrics)},
    {"kms", 0, LH_OPT_STRING, "URL[,URL]", NULL,
     "leasehold-kms at its own port, http://ADDR:PORT, one beside each API server: what it knows "
     "of "
     "the manager's key.",
     false, AT(kms)},
    {"backup", 0, LH_OPT_STRING, "FILE[,FILE]", NULL,
     "Snapshots that are kept: searched for Secrets in plain text.", false, AT(backup)},
    {"data-dir", 0, LH_OPT_STRING, "DIR[,DIR]", NULL,
     "etcd's data folder on this machine (and its log's, where that is elsewhere), one for each "
     "member: searched for what rewriting has left behind in old revisions, free pages and the "
     "write-ahead log. The member may run.",
     false, AT(data_dir)},
    {"prove", 0, LH_OPT_BOOL, NULL, NULL,
     "Write one Secret through the API server, find it in etcd's bytes, read it back and remove it "
     "(the right to create, get and delete Secrets): --etcd and --kubeconfig.",
     false, AT(prove)},
    {"prove-namespace", 0, LH_OPT_STRING, "NAMESPACE", NULL,
     "Where that Secret is written; left out: the kubeconfig's namespace.", false,
     AT(prove_namespace)},
    {"output", 'o', LH_OPT_STRING, "FORMAT", "text", "text, json or html (one file, no script).",
     false, AT(format)},
    {"fail-on", 0, LH_OPT_STRING, "SEVERITY", NULL,
     "Exit status 1 when a check of this severity or above fails: low, medium, high or critical; "
     "what is not proven never counts as failed. Left out: a failed check leaves the status at 0.",
     false, AT(fail_on)},
    {"hash-names", 0, LH_OPT_BOOL, NULL, NULL,
     "Show namespaces, workloads and Secrets as hashes that are keyed for this run.", false,
     AT(hash_names)},
    {"timeout", 0, LH_OPT_DURATION, "DURATION", "15s", "How long an answer may take.", false,
     AT(timeout_ms)},
    {"help", 'h', LH_OPT_BOOL, NULL, NULL, "Print this help and exit.", false, AT(help)},
    {0},
};

const struct lh_opt_set cmd_audit_option_set = {
    .program = "leasehold audit",
    .usage = "leasehold audit (--etcd URL --cacert F --cert F --key F | --snapshot F) [--config F] "
             "[--kubeconfig F] [--prove] [-o text|json|html] [--fail-on SEVERITY]",
    .summary = "Tells from etcd's own bytes, the EncryptionConfiguration, metrics and Pods which "
               "protection secrets have, and what is not proven. Exit status 1: a check failed "
               "at or above --fail-on; 2: it could not run. Never prints a value.",
    .opts = opts,
};

static int each(const char *list, int (*fn)(void *arg, const char *one, struct lh_err *err),
                void *arg, struct lh_err *err)
{
    struct lh_str rest = lh_str(list), one;
    int rc = 0;

    while (rest.n && rc == 0) {
        lh_auto_free char *path = NULL;

        lh_str_cut(rest, ',', &one, &rest);
        path = lh_str_dup(one);
        rc = path ? fn(arg, path, err) : lh_err_nomem(err);
    }
    return rc;
}

struct job {
    const struct options *o;
    struct audit *audit;
    struct lh_loop *loop;
    struct lh_kube *kube; /* NULL: no kubeconfig */
    struct lh_etcd *etcd; /* NULL: no bytes */
};

static int take_metrics(void *arg, const char *path, struct lh_err *err)
{
    const struct job *j = arg;

    return audit_gather_metrics(j->audit, path, err);
}

static int take_backup(void *arg, const char *path, struct lh_err *err)
{
    const struct job *j = arg;

    return audit_gather_backup(j->audit, path, j->o->prefix, err);
}

static int take_folder(void *arg, const char *path, struct lh_err *err)
{
    const struct job *j = arg;

    return audit_gather_folder(j->audit, path, j->o->prefix, err);
}

static int take_plugin(void *arg, const char *url, struct lh_err *err)
{
    const struct job *j = arg;

    return audit_gather_plugin(j->audit, j->loop, url, (unsigned)j->o->timeout_ms, err);
}

static int cluster(struct job *j, struct lh_err *err)
{
    struct lh_kube_config cfg = {0};
    unsigned timeout_ms = (unsigned)j->o->timeout_ms;
    int rc = lh_kube_config_load(j->o->kubeconfig, j->o->context, &cfg, err);

    if (rc == 0)
        rc = lh_kube_new(j->loop, &cfg, "leasehold/" LH_VERSION, &j->kube, err);
    if (rc == 0)
        rc = audit_gather_pods(j->audit, j->kube, timeout_ms, err);
    if (rc == 0)
        rc = audit_gather_rights(j->audit, j->kube, timeout_ms, err);
    if (rc == 0)
        rc = audit_gather_servers(j->audit, j->loop, &cfg, j->o->servers, !j->o->metrics,
                                  timeout_ms, err);
    lh_kube_config_done(&cfg);
    return rc;
}

static int bytes(struct job *j, struct lh_err *err)
{
    const struct lh_etcd_live_options live = {.urls = j->o->etcd,
                                              .ca_file = j->o->cacert,
                                              .cert_file = j->o->cert,
                                              .key_file = j->o->key,
                                              .timeout_ms = (unsigned)j->o->timeout_ms,
                                              .patience_ms = (unsigned)j->o->timeout_ms};
    int rc = j->o->etcd ? lh_etcd_open(j->loop, &live, &j->etcd, err)
                        : lh_etcd_open_file(j->loop, j->o->snapshot, &j->etcd, err);

    return rc < 0 ? rc : audit_gather_etcd(j->audit, j->loop, j->etcd, j->o->prefix, err);
}

static int prove(const struct job *j, struct lh_err *err)
{
    const struct audit_proving with = {
        .kube = j->kube,
        .etcd = j->etcd,
        .namespace_ = j->o->prove_namespace ? j->o->prove_namespace : lh_kube_namespace(j->kube),
        .prefix = j->o->prefix,
        .timeout_ms = (unsigned)j->o->timeout_ms};

    return audit_prove(j->audit, j->loop, &with, err);
}

/* The configuration first: it names sockets that Pods are asked about; Pods before bytes: they name
 * the Secrets that are looked for; the canary last: it is not to be counted. */
static int gather(struct job *j, struct lh_err *err)
{
    const struct options *o = j->o;
    int rc = 0;

    if (o->config)
        rc = audit_gather_config(j->audit, o->config, err);
    if (rc == 0 && o->metrics)
        rc = each(o->metrics, take_metrics, j, err);
    if (rc == 0 && o->kms)
        rc = each(o->kms, take_plugin, j, err);
    if (rc == 0 && o->kubeconfig)
        rc = cluster(j, err);
    if (rc == 0 && (o->etcd || o->snapshot))
        rc = bytes(j, err);
    if (rc == 0)
        rc = audit_add_external(j->audit, err);
    if (rc == 0 && o->snapshot)
        rc = audit_gather_database(j->audit, o->snapshot, o->prefix, err);
    if (rc == 0 && o->data_dir)
        rc = each(o->data_dir, take_folder, j, err);
    if (rc == 0 && o->backup)
        rc = each(o->backup, take_backup, j, err);
    if (rc == 0 && o->prove)
        rc = prove(j, err);
    return rc;
}

static int say(const struct audit *a, const char *format, int threshold)
{
    struct lh_vec verdicts;
    lh_auto_buf struct lh_buf out;
    struct lh_err err = {0};
    bool reached = false;
    int rc, status;

    lh_buf_init(&out, OUT_MAX);
    lh_vec_init(&verdicts, sizeof(struct audit_verdict));
    rc = audit_judge(a, &verdicts, &err);
    for (size_t i = 0; i < verdicts.n; i++) {
        const struct audit_verdict *v = lh_vec_at(&verdicts, i);

        reached |= threshold != NO_THRESHOLD && v->result == AUDIT_FAIL &&
                   (int)v->check->severity >= threshold;
    }
    if (rc == 0 && strcmp(format, "json") == 0)
        audit_put_json(a, &verdicts, &out);
    else if (rc == 0 && strcmp(format, "html") == 0)
        audit_put_html(a, &verdicts, &out);
    else if (rc == 0)
        audit_put_text(a, &verdicts, &out);
    audit_verdicts_done(&verdicts);
    if (rc < 0)
        return cli_fail(&cmd_audit_option_set, AUDIT_COULD_NOT, &err);
    status = cli_print(&out) == CLI_OK ? AUDIT_FINE : AUDIT_COULD_NOT;
    return status == AUDIT_FINE && reached ? AUDIT_REACHED : status;
}

static int run(const struct options *o, int threshold)
{
    struct audit a = {0};
    struct job j = {.o = o, .audit = &a};
    struct lh_err err = {0};
    int status, rc = lh_crypto_init(&err);

    if (rc == 0)
        rc = lh_http_global_init(&err);
    if (rc == 0)
        rc = lh_loop_new(&j.loop, &err);
    if (rc == 0)
        rc = audit_init(&a, &err);
    a.hash_names = o->hash_names;
    if (rc == 0)
        rc = gather(&j, &err);
    status = rc < 0 ? cli_fail(&cmd_audit_option_set, AUDIT_COULD_NOT, &err)
                    : say(&a, o->format, threshold);
    audit_done(&a);
    lh_etcd_free(j.etcd);
    lh_kube_free(j.kube);
    if (j.loop)
        lh_loop_free(j.loop);
    return status;
}

/* What is wrong with the options; NULL: nothing. */
static const char *check(const struct options *o, bool has_args, int *threshold)
{
    *threshold = NO_THRESHOLD;
    if (has_args)
        return "unexpected argument; it takes options only";
    if (o->etcd && o->snapshot)
        return "--etcd and --snapshot exclude each other";
    if (!o->etcd && !o->snapshot && !o->config && !o->kubeconfig && !o->metrics && !o->data_dir)
        return "name a source: --etcd or --snapshot, without which nothing is proven";
    if (o->prove && o->snapshot)
        return "--prove writes a Secret and looks for it in a running etcd: a snapshot has what "
               "was, --etcd what is";
    if (o->prove && (!o->etcd || !o->kubeconfig))
        return "--prove needs --etcd, where the Secret is looked for, and --kubeconfig, through "
               "which it is written";
    if (o->servers && !o->kubeconfig)
        return "--servers needs --kubeconfig, which says who asks";
    if (!o->cert != !o->key)
        return "--cert and --key go together";
    if (strcmp(o->format, "text") != 0 && strcmp(o->format, "json") != 0 &&
        strcmp(o->format, "html") != 0)
        return "-o must be text, json or html";
    if (!o->fail_on)
        return NULL;
    for (int s = AUDIT_LOW; s <= AUDIT_CRITICAL; s++) {
        if (strcmp(o->fail_on, audit_severity_name((enum audit_severity)s)) == 0)
            *threshold = s;
    }
    return *threshold == NO_THRESHOLD ? "--fail-on must be low, medium, high or critical" : NULL;
}

int cmd_audit(int argc, char **argv)
{
    struct options o = {0};
    struct lh_conf *conf = NULL;
    const char *const *args = NULL;
    struct lh_err err = {0};
    const char *wrong;
    int status, threshold;

    if (cli_parse(&cmd_audit_option_set, argc, argv, &o, &o.help, &conf, &args, &status)) {
        wrong = check(&o, args && args[0], &threshold);
        if (wrong) {
            lh_err_fill(&err, LH_E_INVALID, "%s", wrong);
            status = cli_fail(&cmd_audit_option_set, AUDIT_COULD_NOT, &err);
        } else {
            status = run(&o, threshold);
        }
    }
    lh_conf_free(conf);
    return status;
}
