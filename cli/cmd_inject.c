/* SPDX-License-Identifier: Apache-2.0 */
/* leasehold inject: what admission would make of a manifest, without a cluster. */
#include "cmd_inject.h"

#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "input.h"
#include "leasehold/codec/jsonpatch.h"
#include "leasehold/core/mem.h"
#include "world.h"

#define OUTPUT_MAX ((size_t)64 * 1024 * 1024)

struct options {
    const char *file, *stores, *policy, *output, *namespace_;
    bool help;
};

#define AT(field) offsetof(struct options, field)

static const struct lh_opt opts[] = {
    {"file", 'f', LH_OPT_STRING, "FILE", "-", "Pods and workloads, YAML or JSON; - reads stdin.",
     false, AT(file)},
    {"stores", 0, LH_OPT_STRING, "FILE_OR_DIR", NULL,
     "SecretStores, ClusterSecretStores and Namespaces that admission would know.", false,
     AT(stores)},
    {"policy", 0, LH_OPT_STRING, "FILE", NULL, "The platform's policy, as the chart renders it.",
     false, AT(policy)},
    {"output", 'o', LH_OPT_STRING, "FORMAT", "yaml", "yaml, json or patch (RFC 6902).", false,
     AT(output)},
    {"namespace", 'n', LH_OPT_STRING, "NAME", "default",
     "Namespace of objects that name none themselves.", false, AT(namespace_)},
    {"help", 'h', LH_OPT_BOOL, NULL, NULL, "Print this help and exit.", false, AT(help)},
    {0},
};

const struct lh_opt_set cmd_inject_option_set = {
    .program = "leasehold inject",
    .usage = "leasehold inject [-f FILE|-] --stores FILE_OR_DIR [--policy FILE] "
             "[-o yaml|json|patch]",
    .summary = "Prints Pods and workloads as the webhook would admit them; exit status 1 when it "
               "would deny one.",
    .opts = opts,
};

enum format { FORMAT_YAML, FORMAT_JSON, FORMAT_PATCH };

struct run {
    const struct options *o;
    enum format format;
    struct cli_world world;
    struct lh_buf out;
    size_t n; /* written so far */
    bool denied;
    lh_json *list; /* a List's copy with patched items; NULL outside of one */
    size_t list_doc;
};

static void write_one(struct run *r, const lh_json *v)
{
    if (r->format == FORMAT_YAML) {
        if (r->n)
            lh_buf_put_z(&r->out, "---\n");
        lh_yaml_write(v, &r->out);
    } else {
        lh_json_write(v, LH_JSON_PRETTY, &r->out);
        lh_buf_put_c(&r->out, '\n');
    }
    r->n++;
}

static void say(struct run *r, const struct cli_object *o, const struct lh_problems *ps)
{
    struct lh_pod_at pod;

    if (!lh_pod_at(o->value, &pod))
        return;
    for (size_t i = 0; i < ps->n; i++) {
        lh_auto_free char *text = lh_problem_text(&ps->v[i]);

        fprintf(stderr, "%s:%d: %s%s\n", o->in->name, cli_problem_line(o, &pod, &ps->v[i]),
                ps->v[i].deny ? "" : "warning: ", text ? text : "");
        r->denied = r->denied || ps->v[i].deny;
    }
}

static void flush_list(struct run *r)
{
    if (r->list)
        write_one(r, r->list);
    lh_json_unref(r->list);
    r->list = NULL;
}

/* The object with the patch, in its List or alone. */
static int emit(struct run *r, const struct cli_object *o, const lh_json *patch, struct lh_err *err)
{
    lh_auto_json lh_json *none = NULL, *patched = NULL;
    int rc;

    if (r->format == FORMAT_PATCH) {
        none = patch ? NULL : lh_json_new_array();
        if (!patch && !none)
            return lh_err_nomem(err);
        write_one(r, patch ? patch : none);
        return 0;
    }
    if (r->list && (!o->in_list || o->doc != r->list_doc))
        flush_list(r);
    if (patch) {
        rc = lh_jsonpatch_apply(o->value, patch, &patched, err);
        if (rc < 0)
            return rc;
    }
    if (!o->in_list) {
        write_one(r, patched ? patched : o->value);
        return 0;
    }
    if (!r->list) {
        r->list = lh_json_deep_copy(o->in->docs[o->doc].value);
        r->list_doc = o->doc;
    }
    if (!r->list)
        return lh_err_nomem(err);
    if (patched && lh_json_replace_at(lh_json_mut(lh_json_get(r->list, "items")), o->item,
                                      LH_TAKE_PTR(patched)) < 0)
        return lh_err_nomem(err);
    return 0;
}

static int each(void *arg, const struct cli_object *o, struct lh_err *err)
{
    struct run *r = arg;
    struct lh_problems ps = {0};
    lh_json *patch = NULL;
    int rc;

    rc = lh_inject_object(&r->world.w, o->value, r->o->namespace_, &patch, &ps, err);
    if (rc < 0)
        lh_err_wrap(err, rc, "%s:%d", o->in->name, cli_line(o, ""));
    say(r, o, &ps);
    if (rc == 0 && !lh_problems_denial(&ps))
        rc = emit(r, o, patch, err);
    lh_json_unref(patch);
    lh_problems_done(&ps);
    return rc;
}

static int check_options(struct run *r, struct lh_err *err)
{
    static const char *const words[] = {"yaml", "json", "patch"};

    if (!r->o->stores)
        return lh_err_set(err, LH_E_INVALID, "--stores is needed: what admission would know");
    for (size_t i = 0; i < LH_ARRAY_LEN(words); i++) {
        if (strcmp(r->o->output, words[i]) == 0) {
            r->format = (enum format)i;
            return 0;
        }
    }
    return lh_err_set(err, LH_E_INVALID, "-o must be yaml, json or patch");
}

static int inject(struct run *r, const struct options *o)
{
    struct cli_input in = {0};
    struct lh_err err = {0};
    int rc, status;

    if (check_options(r, &err) < 0)
        return cli_fail(&cmd_inject_option_set, CLI_USAGE, &err);
    rc = cli_world_init(&r->world, o->stores, o->policy, &err);
    if (rc < 0)
        return cli_fail(&cmd_inject_option_set, CLI_FAILED, &err);
    rc = cli_input_read(o->file, &in, &err);
    if (rc == 0)
        rc = cli_input_each(&in, each, r, &err);
    flush_list(r);
    if (rc < 0)
        status = cli_fail(&cmd_inject_option_set, CLI_FAILED, &err);
    else
        status = r->denied ? CLI_FAILED : cli_print(&r->out);
    cli_input_done(&in);
    cli_world_done(&r->world);
    return status;
}

int cmd_inject(int argc, char **argv)
{
    struct options o = {0};
    struct run r = {.o = &o};
    struct lh_conf *conf = NULL;
    const char *const *args = NULL;
    struct lh_err err = {0};
    int status;

    if (!cli_parse(&cmd_inject_option_set, argc, argv, &o, &o.help, &conf, &args, &status)) {
        lh_conf_free(conf);
        return status;
    }
    lh_buf_init(&r.out, OUTPUT_MAX);
    if (args && args[0]) {
        lh_err_fill(&err, LH_E_INVALID, "unexpected argument \"%s\"; name the file with -f",
                    args[0]);
        status = cli_fail(&cmd_inject_option_set, CLI_USAGE, &err);
    } else {
        status = inject(&r, &o);
    }
    lh_buf_done(&r.out);
    lh_conf_free(conf);
    return status;
}
