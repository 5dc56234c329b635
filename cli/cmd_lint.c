/* SPDX-License-Identifier: Apache-2.0 */
/* leasehold lint: what is wrong with manifests, as file:line: problem. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "judge.h"
#include "leasehold/codec/yaml.h"
#include "leasehold/core/mem.h"

struct options {
    const char *stores, *policy, *namespace_;
    bool help;
};

#define AT(field) offsetof(struct options, field)

static const struct lh_opt opts[] = {
    {"stores", 0, LH_OPT_STRING, "FILE_OR_DIR", NULL, "Check against these stores too.", false,
     AT(stores)},
    {"policy", 0, LH_OPT_STRING, "FILE", NULL, "The chart's policy values.", false, AT(policy)},
    {"namespace", 'n', LH_OPT_STRING, "NAME", "default", "Namespace of objects that name none.",
     false, AT(namespace_)},
    {"help", 'h', LH_OPT_BOOL, NULL, NULL, "Print this help and exit.", false, AT(help)},
    {0},
};

const struct lh_opt_set cmd_lint_option_set = {
    .program = "leasehold lint",
    .usage = "leasehold lint [--stores FILE_OR_DIR] [--policy FILE] FILE...",
    .summary = "Says what is wrong with manifests: file:line: problem.",
    .opts = opts,
};

static bool is_ours(const lh_json *doc, const char *kind)
{
    const char *api = lh_json_get_z(doc, "apiVersion"), *have = lh_json_get_z(doc, "kind");

    return api && have && strncmp(api, "leasehold.dev/", 14) == 0 && strcmp(have, kind) == 0;
}

/* Our own kinds are judged by their parsers; 1 when one is wrong. */
static int own_kind(const lh_json *doc, const char *file, int line)
{
    struct lh_projection *p = NULL;
    struct lh_store *s = NULL;
    struct lh_err err = {0};
    int rc = 0;

    if (is_ours(doc, "SecretStore") || is_ours(doc, "ClusterSecretStore"))
        rc = lh_store_parse(doc, NULL, &s, &err);
    else if (is_ours(doc, "SecretProjection"))
        rc = lh_projection_parse(doc, NULL, &p, &err);
    lh_store_unref(s);
    lh_projection_free(p);
    if (rc == 0)
        return 0;
    fprintf(stderr, "%s:%d: %s\n", file, line, err.msg);
    return 1;
}

static int one(const struct options *o, const struct judge *j, const char *file, struct lh_str text,
               size_t i, const struct lh_yaml_doc *doc, struct lh_err *err)
{
    lh_auto_json lh_json *patch = NULL;
    struct lh_problems problems = {0};
    unsigned denied;
    int rc;

    if (own_kind(doc->value, file, doc->line))
        return 1;
    rc = lh_inject_object(&j->world, doc->value, o->namespace_, &patch, &problems, err);
    denied = rc < 0 ? 0 : judge_report(&problems, doc->value, file, text, i, o->stores != NULL);
    lh_problems_done(&problems);
    return rc < 0 ? rc : denied > 0;
}

/* The number of documents that are wrong in a file, or an error's code. */
static int lint(const struct options *o, const struct judge *j, const char *path,
                struct lh_err *err)
{
    const char *file = strcmp(path, "-") == 0 ? "stdin" : path;
    lh_auto_free char *text = NULL;
    struct lh_yaml_doc *docs = NULL;
    size_t n = 0, n_docs = 0;
    int rc, wrong = 0;

    rc = command_read(path, &text, &n, err);
    if (rc == 0)
        rc = lh_yaml_parse((struct lh_str){text, n}, file, NULL, &docs, &n_docs, err);
    for (size_t i = 0; i < n_docs && rc >= 0; i++) {
        rc = one(o, j, file, (struct lh_str){text, n}, i, &docs[i], err);
        wrong += rc == 1;
    }
    lh_yaml_free(docs, n_docs);
    return rc < 0 ? rc : wrong;
}

static int lint_all(const struct options *o, const char *const *args)
{
    struct lh_err err = {0};
    struct judge j;
    int wrong = 0;

    if (judge_open(&j, o->stores, o->policy, &err) < 0)
        return command_fail(&cmd_lint_option_set, CLI_FAILED, &err);
    for (; *args; args++) {
        int rc = lint(o, &j, *args, &err);

        if (rc < 0)
            fprintf(stderr, "%s\n", err.msg); /* it names file and line itself */
        wrong += rc != 0;
    }
    judge_close(&j);
    return wrong ? CLI_FAILED : CLI_OK;
}

int cmd_lint(int argc, char **argv)
{
    struct options o = {0};
    struct lh_conf *conf = NULL;
    const char *const *args = NULL;
    struct lh_err err = {0};
    int rc = command_parse(&cmd_lint_option_set, argc, argv, &o, &o.help, &conf, &args);

    if (rc >= 0)
        return rc;
    if (args[0]) {
        rc = lint_all(&o, args);
    } else {
        lh_err_fill(&err, LH_E_INVALID, "name one or more files, or - for standard input");
        rc = command_fail(&cmd_lint_option_set, CLI_USAGE, &err);
    }
    lh_conf_free(conf);
    return rc;
}
