/* SPDX-License-Identifier: Apache-2.0 */
/* leasehold inject: Pods and workloads as the webhook would admit them. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "judge.h"
#include "leasehold/codec/jsonpatch.h"
#include "leasehold/codec/yaml.h"
#include "leasehold/core/mem.h"

#define OUTPUT_MAX ((size_t)64 * 1024 * 1024)

struct options {
    const char *file, *stores, *policy, *output, *namespace_;
    bool help;
};

#define AT(field) offsetof(struct options, field)

static const struct lh_opt opts[] = {
    {"file", 'f', LH_OPT_STRING, "FILE", "-",
     "Pods and workloads (YAML or JSON); - is standard input.", false, AT(file)},
    {"stores", 0, LH_OPT_STRING, "FILE_OR_DIR", NULL,
     "Stores, and the Namespaces whose labels they select.", false, AT(stores)},
    {"policy", 0, LH_OPT_STRING, "FILE", NULL, "The chart's policy values.", false, AT(policy)},
    {"output", 'o', LH_OPT_STRING, "FORMAT", "yaml", "yaml, json, or patch (RFC 6902).", false,
     AT(output)},
    {"namespace", 'n', LH_OPT_STRING, "NAME", "default", "Namespace of objects that name none.",
     false, AT(namespace_)},
    {"help", 'h', LH_OPT_BOOL, NULL, NULL, "Print this help and exit.", false, AT(help)},
    {0},
};

const struct lh_opt_set cmd_inject_option_set = {
    .program = "leasehold inject",
    .usage = "leasehold inject [-f FILE] --stores FILE_OR_DIR [--policy FILE] [-o yaml|json|patch]",
    .summary = "Prints Pods and workloads as the webhook would admit them.",
    .opts = opts,
};

static void put(const struct options *o, const lh_json *v, bool first, struct lh_buf *b)
{
    if (strcmp(o->output, "yaml") == 0) {
        if (!first)
            lh_buf_put_z(b, "---\n");
        lh_yaml_write(v, b);
        return;
    }
    lh_json_write(v, strcmp(o->output, "json") == 0 ? LH_JSON_PRETTY : LH_JSON_COMPACT, b);
    lh_buf_put_c(b, '\n');
}

/* One document; 1 when it is denied. */
static int one(const struct options *o, const struct judge *j, struct lh_str text, size_t i,
               const lh_json *doc, struct lh_buf *b, struct lh_err *err)
{
    lh_auto_json lh_json *patch = NULL, *out = NULL;
    struct lh_problems problems = {0};
    unsigned denied;
    int rc;

    rc = lh_inject_object(&j->world, doc, o->namespace_, &patch, &problems, err);
    denied = rc < 0 ? 0 : judge_report(&problems, doc, o->file, text, i, true);
    lh_problems_done(&problems);
    if (rc < 0 || denied)
        return rc < 0 ? rc : 1;
    if (!patch)
        patch = lh_json_new_array();
    if (!patch)
        return lh_err_nomem(err);
    if (strcmp(o->output, "patch") == 0) {
        put(o, patch, i == 0, b);
        return 0;
    }
    rc = lh_jsonpatch_apply(doc, patch, &out, err);
    if (rc == 0)
        put(o, out, i == 0, b);
    return rc;
}

static int all(const struct options *o, const struct judge *j, struct lh_err *err)
{
    lh_auto_free char *text = NULL;
    struct lh_yaml_doc *docs = NULL;
    lh_auto_buf struct lh_buf b;
    size_t n = 0, n_docs = 0;
    bool denied = false;
    int rc;

    lh_buf_init(&b, OUTPUT_MAX);
    rc = command_read(o->file, &text, &n, err);
    if (rc == 0)
        rc = lh_yaml_parse((struct lh_str){text, n}, strcmp(o->file, "-") == 0 ? "stdin" : o->file,
                           NULL, &docs, &n_docs, err);
    for (size_t i = 0; i < n_docs && rc >= 0; i++) {
        rc = one(o, j, (struct lh_str){text, n}, i, docs[i].value, &b, err);
        denied |= rc == 1;
    }
    lh_yaml_free(docs, n_docs);
    if (rc < 0)
        return rc;
    /* All or nothing: half an output would be applied by the next command of a pipe. */
    return denied ? CLI_FAILED : command_print(&b);
}

static int check(const struct options *o, const char *const *args, struct lh_err *err)
{
    static const char *const formats[] = {"yaml", "json", "patch"};

    if (args[0])
        return lh_err_set(err, LH_E_INVALID, "unexpected argument; give the manifest with -f FILE");
    if (!o->stores)
        return lh_err_set(err, LH_E_INVALID, "--stores FILE_OR_DIR is needed");
    for (size_t i = 0; i < LH_ARRAY_LEN(formats); i++)
        if (strcmp(o->output, formats[i]) == 0)
            return 0;
    return lh_err_set(err, LH_E_INVALID, "-o must be yaml, json or patch");
}

int cmd_inject(int argc, char **argv)
{
    struct options o = {0};
    struct lh_conf *conf = NULL;
    const char *const *args = NULL;
    struct lh_err err = {0};
    struct judge j;
    int rc = command_parse(&cmd_inject_option_set, argc, argv, &o, &o.help, &conf, &args);

    if (rc >= 0)
        return rc;
    rc = check(&o, args, &err);
    if (rc < 0) {
        rc = command_fail(&cmd_inject_option_set, CLI_USAGE, &err);
    } else {
        rc = judge_open(&j, o.stores, o.policy, &err);
        if (rc == 0) {
            rc = all(&o, &j, &err);
            judge_close(&j);
        }
        if (rc < 0)
            rc = command_fail(&cmd_inject_option_set, CLI_FAILED, &err);
    }
    lh_conf_free(conf);
    return rc;
}
