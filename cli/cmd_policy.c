/* SPDX-License-Identifier: Apache-2.0 */
/* leasehold policy: the least policy and role that manifests need at the manager. */
#include "cmd_policy.h"

#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "input.h"
#include "leasehold/core/mem.h"
#include "needs.h"
#include "world.h"

#define OUTPUT_MAX ((size_t)16 * 1024 * 1024)

struct options {
    const char *file, *stores, *policy, *manager, *namespace_;
    bool help;
};

#define AT(field) offsetof(struct options, field)

static const struct lh_opt opts[] = {
    {"file", 'f', LH_OPT_STRING, "FILE", "-",
     "Pods, workloads and SecretProjections, YAML or JSON; - reads stdin.", false, AT(file)},
    {"stores", 0, LH_OPT_STRING, "FILE_OR_DIR", NULL,
     "SecretStores, ClusterSecretStores and Namespaces that admission would know.", false,
     AT(stores)},
    {"policy", 0, LH_OPT_STRING, "FILE", NULL, "The platform's policy, as the chart renders it.",
     false, AT(policy)},
    {"for", 0, LH_OPT_STRING, "MANAGER", "bao", "vault or bao: whose commands are shown.", false,
     AT(manager)},
    {"namespace", 'n', LH_OPT_STRING, "NAME", "default",
     "Namespace of objects that name none themselves.", false, AT(namespace_)},
    {"help", 'h', LH_OPT_BOOL, NULL, NULL, "Print this help and exit.", false, AT(help)},
    {0},
};

const struct lh_opt_set cmd_policy_option_set = {
    .program = "leasehold policy",
    .usage = "leasehold policy -f FILE|- --stores FILE_OR_DIR [--policy FILE] [--for vault|bao]",
    .summary = "Prints the least policy and role that these manifests need at the manager.",
    .opts = opts,
};

struct run {
    const struct options *o;
    struct cli_world world;
    struct needs needs;
    bool denied;
};

static char *user_of(const struct cli_object *o, const struct lh_subject *who)
{
    const char *kind = lh_json_get_z(o->value, "kind");
    const lh_json *meta = lh_json_get(o->value, "metadata");
    const char *name = lh_json_get_z(meta, "name");

    if (!name)
        name = lh_json_get_z(meta, "generateName");
    return lh_asprintf("%s:%d: %s %s, as ServiceAccount %s of %s", o->in->name, cli_line(o, ""),
                       kind, name ? name : "without a name", who->service_account, who->namespace_);
}

static int add(struct run *r, const struct cli_object *o, struct lh_store *s,
               const struct lh_projection *p, const struct lh_subject *who, struct lh_err *err)
{
    lh_auto_free char *user = user_of(o, who);

    return user ? needs_add(&r->needs, s, p, who, user, err) : lh_err_nomem(err);
}

static void say(struct run *r, const struct cli_object *o, const struct lh_pod_at *pod,
                const struct lh_problems *ps)
{
    for (size_t i = 0; i < ps->n; i++) {
        lh_auto_free char *text = lh_problem_text(&ps->v[i]);

        fprintf(stderr, "%s:%d: %s%s\n", o->in->name, cli_problem_line(o, pod, &ps->v[i]),
                ps->v[i].deny ? "" : "warning: ", text ? text : "out of memory");
        r->denied = r->denied || ps->v[i].deny;
    }
}

static int each_pod(struct run *r, const struct cli_object *o, const struct lh_pod_at *pod,
                    struct lh_err *err)
{
    struct lh_inject_plan *plan = NULL;
    struct lh_problems ps = {0};
    int rc;

    rc = lh_inject_plan(&r->world.w, pod, r->o->namespace_, &plan, &ps, err);
    say(r, o, pod, &ps);
    /* Volumes of SecretProjections are asked for by those, not by the Pod. */
    if (rc == 0 && plan && plan->cfg) {
        const struct lh_agentcfg *c = plan->cfg;
        const struct lh_subject who = {c->cluster, c->namespace_, c->service_account};

        rc = add(r, o, c->store, c->projection, &who, err);
    }
    lh_inject_plan_free(plan);
    lh_problems_done(&ps);
    return rc;
}

static struct lh_store *store_of(const struct run *r, const struct lh_projection *p)
{
    for (size_t i = 0; i < r->world.w.n_stores; i++) {
        struct lh_store *s = r->world.w.stores[i];

        if (s->cluster_scoped == p->store_cluster_scoped && strcmp(s->name, p->store_name) == 0 &&
            (s->cluster_scoped || strcmp(s->namespace_, p->namespace_) == 0))
            return s;
    }
    return NULL;
}

static int each_projection(struct run *r, const struct cli_object *o, struct lh_err *err)
{
    struct lh_projection *p = NULL;
    struct lh_subject who = {.cluster = r->world.policy->cluster_name};
    struct lh_store *s;
    int rc;

    rc = lh_projection_parse(o->value, NULL, &p, err);
    if (rc < 0)
        return rc;
    s = p->has_store ? store_of(r, p) : NULL;
    who.namespace_ = p->namespace_;
    who.service_account = p->service_account ? p->service_account : "default";
    if (s)
        rc = add(r, o, s, p, &who, err);
    else
        rc = lh_err_set(err, LH_E_NOTFOUND,
                        "SecretProjection \"%s\": spec.storeRef must name a store of --stores",
                        p->name);
    lh_projection_free(p);
    return rc;
}

static int each(void *arg, const struct cli_object *o, struct lh_err *err)
{
    const char *kind = lh_json_get_z(o->value, "kind");
    struct lh_pod_at pod;
    struct run *r = arg;
    int rc = 0;

    if (kind && strcmp(kind, "SecretProjection") == 0)
        rc = each_projection(r, o, err);
    else if (lh_pod_at(o->value, &pod))
        rc = each_pod(r, o, &pod, err);
    if (rc < 0)
        lh_err_wrap(err, rc, "%s:%d", o->in->name, cli_line(o, ""));
    return rc;
}

static int policy(struct run *r, struct lh_buf *b)
{
    struct cli_input in = {0};
    struct lh_err err = {0};
    int rc, status;

    rc = cli_world_init(&r->world, r->o->stores, r->o->policy, &err);
    if (rc < 0)
        return cli_fail(&cmd_policy_option_set, CLI_FAILED, &err);
    rc = cli_input_read(r->o->file, &in, &err);
    if (rc == 0)
        rc = cli_input_each(&in, each, r, &err);
    if (rc < 0) {
        status = cli_fail(&cmd_policy_option_set, CLI_FAILED, &err);
    } else if (r->denied) {
        status = CLI_FAILED;
    } else {
        needs_write(&r->needs, r->o->manager, b);
        status = cli_print(b);
    }
    cli_input_done(&in);
    cli_world_done(&r->world);
    return status;
}

int cmd_policy(int argc, char **argv)
{
    struct options o = {0};
    struct run r = {.o = &o};
    struct lh_conf *conf = NULL;
    const char *const *args = NULL;
    struct lh_err err = {0};
    struct lh_buf b;
    int status;

    if (!cli_parse(&cmd_policy_option_set, argc, argv, &o, &o.help, &conf, &args, &status)) {
        lh_conf_free(conf);
        return status;
    }
    lh_buf_init(&b, OUTPUT_MAX);
    needs_init(&r.needs);
    if (!o.stores || (args && args[0]))
        lh_err_fill(&err, LH_E_INVALID, "-f FILE and --stores FILE_OR_DIR are needed, no others");
    else if (strcmp(o.manager, "vault") != 0 && strcmp(o.manager, "bao") != 0)
        lh_err_fill(&err, LH_E_INVALID, "--for must be vault or bao");
    status = err.code ? cli_fail(&cmd_policy_option_set, CLI_USAGE, &err) : policy(&r, &b);
    needs_done(&r.needs);
    lh_buf_done(&b);
    lh_conf_free(conf);
    return status;
}
