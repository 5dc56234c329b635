/* SPDX-License-Identifier: Apache-2.0 */
/* leasehold encryption: the API server's EncryptionConfiguration, from the first to the next key.
 */
#include "cmd_encryption.h"

#include <stdio.h>
#include <string.h>

#include "encryption.h"
#include "leasehold/core/mem.h"

#define AT(field) offsetof(struct enc_options, field)

static const struct lh_opt opts[] = {
    {"file", 'f', LH_OPT_STRING, "FILE[,FILE]", NULL,
     "The EncryptionConfiguration; several, where each API server has one of its own.", false,
     AT(file)},
    {"output", 'o', LH_OPT_STRING, "FORMAT", "text", "text or json.", false, AT(output)},
    {"fail-on", 0, LH_OPT_STRING, "LEVEL", "medium",
     "check: exit with 1 at findings from here on: low, medium, high or critical.", false,
     AT(fail_on)},
    {"provider", 0, LH_OPT_STRING, "KIND", "secretbox",
     "init: what writes: kms, secretbox, aesgcm or aescbc.", false, AT(provider)},
    {"resources", 0, LH_OPT_STRING, "LIST", NULL,
     "init: what is encrypted; left out, secrets. rewrite: what is written again; left out, what "
     "the file covers.",
     false, AT(resources)},
    {"name", 0, LH_OPT_STRING, "NAME", NULL,
     "init: of the key (left out: key1) or of the KMS provider (leasehold).", false, AT(name)},
    {"endpoint", 0, LH_OPT_STRING, "unix:///PATH", NULL, "init, rotate: socket of the KMS plugin.",
     false, AT(endpoint)},
    {"fresh", 0, LH_OPT_BOOL, NULL, NULL,
     "init: leave identity out; for a cluster that has nothing stored in clear.", false, AT(fresh)},
    {"to", 0, LH_OPT_STRING, "KEY", NULL,
     "rotate: the new key, as secretbox:NAME or kmsv2:NAME; left out, the next of the same kind.",
     false, AT(to)},
    {"drop", 0, LH_OPT_STRING, "KEY", NULL,
     "rotate: take this key (or identity) out, once it is proven that nothing needs it.", false,
     AT(drop)},
    {"wait", 0, LH_OPT_DURATION, "DURATION", "0s",
     "rotate: how long to wait for all API servers to load the file.", false, AT(wait_ms)},
    {"rate", 0, LH_OPT_INT, "N", "100", "rewrite: objects a second at most.", false, AT(rate)},
    {"method", 0, LH_OPT_STRING, "auto|migration|update", "auto",
     "rewrite: by the cluster's StorageVersionMigration, by updates from here, or by updates where "
     "the cluster does not migrate.",
     false, AT(method)},
    {"after", 0, LH_OPT_STRING, "RESOURCE/NAMESPACE/NAME", NULL,
     "rewrite: go on behind this object, which an interrupted run has told.", false, AT(after)},
    CLI_CLUSTER_OPTIONS(struct enc_options),
    {"servers", 0, LH_OPT_STRING, "URL[,URL]", NULL,
     "Every API server by itself; left out, the kubeconfig's alone. status asks them where this or "
     "a kubeconfig is given.",
     false, AT(servers)},
    {"etcd", 0, LH_OPT_STRING, "URL[,URL]", NULL,
     "etcd, for proof from its own bytes; check: whether what is stored can be read.", false,
     AT(etcd)},
    {"cacert", 0, LH_OPT_STRING, "FILE", NULL, "CA of etcd.", false, AT(cacert)},
    {"cert", 0, LH_OPT_STRING, "FILE", NULL, "Client certificate for etcd.", false, AT(cert)},
    {"key", 0, LH_OPT_STRING, "FILE", NULL, "Key of the client certificate.", false, AT(key)},
    {"snapshot", 0, LH_OPT_STRING, "FILE", NULL, "status: a snapshot of etcd, instead of --etcd.",
     false, AT(snapshot)},
    {"etcd-prefix", 0, LH_OPT_STRING, "PREFIX", "/registry/",
     "Where the API server keeps its objects (its --etcd-prefix).", false, AT(etcd_prefix)},
    {"timeout", 0, LH_OPT_DURATION, "DURATION", "30s", "How long one answer may take.", false,
     AT(timeout_ms)},
    {"help", 'h', LH_OPT_BOOL, NULL, NULL, "Print this help and exit.", false, AT(help)},
    {0},
};

const struct lh_opt_set cmd_encryption_option_set = {
    .program = "leasehold encryption",
    .usage = "leasehold encryption init|check|rotate|rewrite|status -f FILE [-o json]",
    .summary = "Writes, judges and rotates the EncryptionConfiguration of API servers, writes "
               "objects again with the newest key, and takes an old key away only once etcd's own "
               "bytes prove that nothing needs it. Exit status 1: a threshold was reached or a "
               "proof is missing; 2: could not run.",
    .opts = opts,
};

static const struct verb {
    const char *name;
    int (*run)(const struct enc_options *o);
} verbs[] = {
    {"init", enc_init},       {"check", enc_check},   {"rotate", enc_rotate},
    {"rewrite", enc_rewrite}, {"status", enc_status},
};

int enc_fail(const struct lh_err *err)
{
    return cli_fail(&cmd_encryption_option_set, CLI_USAGE, err);
}

void enc_list_done(struct lh_vec *list)
{
    for (size_t i = 0; i < list->n; i++)
        lh_free(*(char **)lh_vec_at(list, i));
    lh_vec_done(list);
}

int enc_split(const char *list, struct lh_vec *out, struct lh_err *err)
{
    struct lh_str rest = lh_str(list), item;
    bool more = list && *list;

    lh_vec_init(out, sizeof(char *));
    while (more) {
        char *copy;

        more = lh_str_cut(rest, ',', &item, &rest);
        copy = lh_str_dup(item);
        if (!copy || !lh_vec_push(out, &copy)) {
            lh_free(copy);
            enc_list_done(out);
            return lh_err_nomem(err);
        }
    }
    return 0;
}

static const struct verb *verb_of(const char *const *args)
{
    if (!args || !args[0] || args[1])
        return NULL;
    for (size_t i = 0; i < LH_ARRAY_LEN(verbs); i++)
        if (strcmp(args[0], verbs[i].name) == 0)
            return &verbs[i];
    return NULL;
}

static const char *wrong_options(struct enc_options *o)
{
    if (!o->file)
        return "-f names the EncryptionConfiguration";
    if (strcmp(o->output, "json") != 0 && strcmp(o->output, "text") != 0)
        return "-o must be text or json";
    if (o->etcd && o->snapshot)
        return "--etcd and --snapshot exclude each other";
    if (strcmp(o->method, "auto") != 0 && strcmp(o->method, "migration") != 0 &&
        strcmp(o->method, "update") != 0)
        return "--method must be auto, migration or update";
    if (o->after && strcmp(o->method, "migration") == 0)
        return "--after goes with updates, not with --method migration";
    if (o->rate < 1 || o->rate > 10000)
        return "--rate must be from 1 to 10000";
    o->json = strcmp(o->output, "json") == 0;
    return NULL;
}

int cmd_encryption(int argc, char **argv)
{
    struct enc_options o = {0};
    struct lh_conf *conf = NULL;
    const char *const *args = NULL;
    const struct verb *verb;
    struct lh_err err = {0};
    const char *wrong;
    int status;

    if (cli_parse(&cmd_encryption_option_set, argc, argv, &o, &o.help, &conf, &args, &status)) {
        verb = verb_of(args);
        wrong = verb ? wrong_options(&o) : "name one of init, check, rotate, rewrite, status";
        if (wrong) {
            lh_err_fill(&err, LH_E_INVALID, "%s", wrong);
            status = enc_fail(&err);
        } else {
            status = verb->run(&o);
        }
    }
    lh_conf_free(conf);
    return status;
}
