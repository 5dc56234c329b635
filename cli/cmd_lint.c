/* SPDX-License-Identifier: Apache-2.0 */
/* leasehold lint: what is wrong in manifests, with file and line. */
#include "cmd_lint.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "input.h"
#include "leasehold/api/projection.h"
#include "leasehold/core/mem.h"
#include "world.h"

struct options {
    const char *stores, *policy, *namespace_;
    bool help;
};

#define AT(field) offsetof(struct options, field)

static const struct lh_opt opts[] = {
    {"stores", 0, LH_OPT_STRING, "FILE_OR_DIR", NULL,
     "Stores and Namespaces beside those in the files; without any, what only a store can say is "
     "not judged.",
     false, AT(stores)},
    {"policy", 0, LH_OPT_STRING, "FILE", NULL, "The platform's policy, as the chart renders it.",
     false, AT(policy)},
    {"namespace", 'n', LH_OPT_STRING, "NAME", "default",
     "Namespace of objects that name none themselves.", false, AT(namespace_)},
    {"help", 'h', LH_OPT_BOOL, NULL, NULL, "Print this help and exit.", false, AT(help)},
    {0},
};

const struct lh_opt_set cmd_lint_option_set = {
    .program = "leasehold lint",
    .usage = "leasehold lint FILE...|- [--stores FILE_OR_DIR] [--policy FILE]",
    .summary = "Prints file:line: problem for annotations, stores and projections in manifests; "
               "exit status 1 when there is any.",
    .opts = opts,
};

struct lint {
    const struct options *o;
    struct cli_world world;
    struct lh_vec inputs; /* struct cli_input */
    size_t problems;
};

static void say(struct lint *l, const struct cli_object *o, int line, const char *text, bool warn)
{
    printf("%s:%d: %s%s\n", o->in->name, line, warn ? "warning: " : "", text);
    if (!warn)
        l->problems++;
}

static void say_error(struct lint *l, const struct cli_object *o, const struct lh_err *err)
{
    lh_auto_free char *text = NULL;

    text = err->reason ? lh_asprintf("%s: %s", err->reason, err->msg) : lh_strdup(err->msg);
    say(l, o, cli_error_line(o, err), text ? text : err->msg, false);
}

static bool is_ours(const lh_json *v, const char *kind)
{
    const char *version = lh_json_get_z(v, "apiVersion"), *have = lh_json_get_z(v, "kind");

    return version && have && strncmp(version, "leasehold.dev/", 14) == 0 &&
           strcmp(have, kind) == 0;
}

/* First round: stores and namespaces, so that their order in the files means nothing. */
static int collect(void *arg, const struct cli_object *o, struct lh_err *err)
{
    const char *version = lh_json_get_z(o->value, "apiVersion");
    const char *kind = lh_json_get_z(o->value, "kind");
    struct lh_store *s = NULL;
    struct lh_err why = {0};
    struct lint *l = arg;
    int rc;

    if (version && kind && strcmp(version, "v1") == 0 && strcmp(kind, "Namespace") == 0)
        return cli_world_add_namespace(&l->world, o->value, err);
    if (!is_ours(o->value, "SecretStore") && !is_ours(o->value, "ClusterSecretStore"))
        return 0;
    rc = lh_store_parse(o->value, NULL, &s, &why);
    if (rc == 0) {
        rc = cli_world_add_store(&l->world, s, err);
        lh_store_unref(s);
        return rc;
    }
    if (rc == -LH_E_NOMEM)
        return lh_err_nomem(err);
    say_error(l, o, &why);
    return 0;
}

static int lint_projection(struct lint *l, const struct cli_object *o, struct lh_err *err)
{
    struct lh_projection *p = NULL;
    struct lh_err why = {0};
    int rc;

    rc = lh_projection_parse(o->value, NULL, &p, &why);
    lh_projection_free(p);
    if (rc == -LH_E_NOMEM)
        return lh_err_nomem(err);
    if (rc < 0)
        say_error(l, o, &why);
    return 0;
}

/* In the order of lines, however admission came upon them. */
static void say_problems(struct lint *l, const struct cli_object *o, const struct lh_pod_at *pod,
                         const struct lh_problems *ps)
{
    bool blind = !l->world.w.n_stores && !l->o->stores;
    int last = -1, next;

    do {
        next = INT_MAX;
        for (size_t i = 0; i < ps->n; i++) {
            int line = cli_problem_line(o, pod, &ps->v[i]);
            lh_auto_free char *text = NULL;

            if (line > last && line < next)
                next = line;
            if (line != last || (ps->v[i].of_store && blind))
                continue;
            text = lh_problem_text(&ps->v[i]);
            say(l, o, line, text ? text : "out of memory", !ps->v[i].deny);
        }
        last = next;
    } while (next != INT_MAX);
}

static int lint_pod(struct lint *l, const struct cli_object *o, const struct lh_pod_at *pod,
                    struct lh_err *err)
{
    struct lh_problems ps = {0};
    lh_json *patch = NULL;
    int rc;

    rc = lh_inject_object(&l->world.w, o->value, l->o->namespace_, &patch, &ps, err);
    if (rc == 0)
        say_problems(l, o, pod, &ps);
    lh_json_unref(patch);
    lh_problems_done(&ps);
    return rc;
}

static int judge(void *arg, const struct cli_object *o, struct lh_err *err)
{
    struct lint *l = arg;
    struct lh_pod_at pod;

    if (lh_json_type(o->value) != LH_JSON_OBJECT) {
        say(l, o, cli_line(o, ""), "is no Kubernetes object", false);
        return 0;
    }
    if (is_ours(o->value, "SecretProjection"))
        return lint_projection(l, o, err);
    if (!lh_pod_at(o->value, &pod))
        return 0;
    if (lh_json_type(pod.spec) != LH_JSON_OBJECT) {
        lh_auto_free char *text = lh_asprintf("%s has no %sspec", pod.kind, pod.field);

        say(l, o, cli_line(o, ""), text ? text : "", false);
        return 0;
    }
    return lint_pod(l, o, &pod, err);
}

static int each_input(struct lint *l, cli_object_fn fn, struct lh_err *err)
{
    int rc = 0;

    for (size_t i = 0; i < l->inputs.n && rc == 0; i++)
        rc = cli_input_each(lh_vec_at(&l->inputs, i), fn, l, err);
    return rc;
}

/* A file that is no YAML is a problem like any other; the rest is looked at all the same. */
static int read_all(struct lint *l, const char *const *files, struct lh_err *err)
{
    for (; *files; files++) {
        struct cli_input in = {0};
        int rc = cli_input_read(*files, &in, err);

        if (rc == -LH_E_INVALID || rc == -LH_E_TOOBIG) {
            printf("%s\n", err->msg);
            l->problems++;
            continue;
        }
        if (rc < 0)
            return rc;
        if (!lh_vec_push(&l->inputs, &in)) {
            cli_input_done(&in);
            return lh_err_nomem(err);
        }
    }
    return 0;
}

static int lint(struct lint *l, const char *const *files)
{
    struct lh_err err = {0};
    int rc;

    rc = cli_world_init(&l->world, l->o->stores, l->o->policy, &err);
    if (rc < 0)
        return cli_fail(&cmd_lint_option_set, CLI_FAILED, &err);
    rc = read_all(l, files, &err);
    if (rc == 0)
        rc = each_input(l, collect, &err);
    if (rc == 0)
        rc = each_input(l, judge, &err);
    for (size_t i = 0; i < l->inputs.n; i++)
        cli_input_done(lh_vec_at(&l->inputs, i));
    cli_world_done(&l->world);
    if (rc < 0)
        return cli_fail(&cmd_lint_option_set, CLI_FAILED, &err);
    return l->problems ? CLI_FAILED : CLI_OK;
}

int cmd_lint(int argc, char **argv)
{
    struct options o = {0};
    struct lint l = {.o = &o};
    struct lh_conf *conf = NULL;
    const char *const *args = NULL;
    struct lh_err err = {0};
    int status;

    if (!cli_parse(&cmd_lint_option_set, argc, argv, &o, &o.help, &conf, &args, &status)) {
        lh_conf_free(conf);
        return status;
    }
    lh_vec_init(&l.inputs, sizeof(struct cli_input));
    if (args && args[0]) {
        status = lint(&l, args);
    } else {
        lh_err_fill(&err, LH_E_INVALID, "name the files to look at, or - for standard input");
        status = cli_fail(&cmd_lint_option_set, CLI_USAGE, &err);
    }
    lh_vec_done(&l.inputs);
    lh_conf_free(conf);
    return status;
}
