/* SPDX-License-Identifier: Apache-2.0 */
/* Draft, Pod and store to a plan: what the agent is told, and what the Pod has to allow for it. */
#include <string.h>

#include "inject_priv.h"
#include "leasehold/api/fields.h"
#include "leasehold/api/reasons.h"
#include "leasehold/codec/quantity.h"
#include "leasehold/core/mem.h"

struct build {
    const struct lh_inject_world *world;
    const struct lh_pod_at *pod;
    struct lh_problems *problems;
    struct lh_inject_plan *plan;
    struct identity id;
};

void lh_inject_plan_free(struct lh_inject_plan *p)
{
    if (!p)
        return;
    lh_agentcfg_free(p->cfg);
    lh_strv_free(p->containers);
    lh_strv_free(p->projections);
    lh_free(p->mount_path);
    lh_free(p->after);
    lh_free(p->image);
    lh_free(p);
}

/* A field of the Pod as it stands in the object: "spec.template.spec.hostPID". */
static void pod_problem(struct build *b, const char *reason, const char *field, const char *text)
{
    lh_auto_free char *where = lh_asprintf("%s%s", b->pod->field, field);

    if (!where) {
        b->problems->nomem = true;
        return;
    }
    problem_add(b->problems, where, reason, true, "%s", text);
}

static void check_kind(struct build *b)
{
    const char *os = lh_json_get_z(lh_json_path(b->pod->spec, "os", NULL), "name");

    if (os && strcmp(os, "windows") == 0)
        pod_problem(b, LH_REASON_PodUnsupported, "spec.os.name", "the agent runs on Linux only");
    if (index_of(lh_json_get(b->pod->spec, "containers"), LH_CONTAINER) >= 0)
        pod_problem(b, LH_REASON_NameReserved, "spec.containers",
                    "a container is called " LH_CONTAINER ", which is the agent's own name");
}

/* State, token and credential are the agent's alone; isolation is by mount. */
static void check_foreign_mounts(struct build *b)
{
    static const char *const lists[] = {"initContainers", "containers"};
    static const char *const own[] = {LH_VOLUME_STATE, LH_VOLUME_TOKEN, LH_VOLUME_CREDENTIAL};

    for (size_t l = 0; l < LH_ARRAY_LEN(lists); l++) {
        const lh_json *list = lh_json_get(b->pod->spec, lists[l]);

        for (size_t i = 0; i < lh_json_len(list); i++) {
            const lh_json *c = lh_json_at(list, i), *mounts = lh_json_get(c, "volumeMounts");
            const char *name = lh_json_get_z(c, "name");

            if (!name || strcmp(name, LH_CONTAINER) == 0)
                continue;
            for (size_t k = 0; k < LH_ARRAY_LEN(own); k++) {
                if (index_of(mounts, own[k]) >= 0)
                    pod_problem(b, LH_REASON_NameReserved, "spec.volumes",
                                "a container mounts a volume that is the agent's alone "
                                "(leasehold-state, leasehold-token, leasehold-credential)");
            }
        }
    }
}

static bool has_container(const lh_json *spec, const char *list, const char *name)
{
    return index_of(lh_json_get(spec, list), name) >= 0;
}

static const char *nearest_container(const lh_json *spec, const char *name)
{
    static const char *const lists[] = {"containers", "initContainers"};
    const char *names[129] = {NULL};
    size_t n = 0;

    for (size_t l = 0; l < LH_ARRAY_LEN(lists); l++) {
        const lh_json *list = lh_json_get(spec, lists[l]);

        for (size_t i = 0; i < lh_json_len(list) && n < LH_ARRAY_LEN(names) - 1; i++) {
            const char *have = lh_json_get_z(lh_json_at(list, i), "name");

            if (have)
                names[n++] = have;
        }
    }
    return lh_str_nearest(lh_str(name), names);
}

struct seen {
    const char *name;
    bool found;
};

static void look_for(void *arg, const struct target *t)
{
    struct seen *s = arg;

    s->found = s->found || strcmp(s->name, t->name) == 0;
}

static void check_containers(struct build *b)
{
    const lh_json *spec = b->pod->spec;
    char where[128];

    where_of(LH_ANN_CONTAINERS, NULL, where);
    for (size_t i = 0; b->plan->containers && b->plan->containers[i]; i++) {
        struct seen s = {b->plan->containers[i], false};
        const char *near;

        if (b->plan->cfg)
            each_target(spec, b->plan->containers, b->plan->after, look_for, &s);
        else
            each_chosen(spec, b->plan->containers, look_for, &s);
        if (s.found)
            continue;
        if (has_container(spec, "initContainers", s.name)) {
            problem_add(b->problems, where, LH_REASON_AnnotationInvalid, true,
                        "init container \"%s\" comes before the agent, so it cannot have the files",
                        s.name);
            continue;
        }
        near = nearest_container(spec, s.name);
        problem_add(b->problems, where, LH_REASON_AnnotationInvalid, true,
                    "the Pod has no container \"%s\"%s%s%s", s.name,
                    near ? "; the nearest is \"" : "", near ? near : "", near ? "\"" : "");
    }
}

/* Another webhook may still add the container, and ours is called again then: no denial. */
static void check_after(struct build *b)
{
    const lh_json *spec = b->pod->spec;
    const char *after = b->plan->after;
    char where[128];

    if (!after || has_container(spec, "initContainers", after))
        return;
    where_of(LH_ANN_AFTER, NULL, where);
    if (has_container(spec, "containers", after))
        problem_add(b->problems, where, LH_REASON_AnnotationInvalid, true,
                    "\"%s\" is no init container, so it starts after the agent", after);
    else
        problem_add(b->problems, where, NULL, false,
                    "there is no init container \"%s\" yet; until one appears the agent is not "
                    "put after it",
                    after);
}

static void check_mount(void *arg, const struct target *t)
{
    const lh_json *mounts = lh_json_get(t->container, "volumeMounts");
    struct build *b = arg;
    char where[128];

    for (size_t i = 0; i < lh_json_len(mounts); i++) {
        const char *name = lh_json_get_z(lh_json_at(mounts, i), "name");
        const char *path = lh_json_get_z(lh_json_at(mounts, i), "mountPath");

        if (!name || !path || strcmp(path, b->plan->cfg->mount_path) != 0 ||
            strcmp(name, LH_VOLUME_SECRETS) == 0)
            continue;
        problem_add(b->problems, where_of(LH_ANN_MOUNT_PATH, NULL, where),
                    LH_REASON_AnnotationInvalid, true,
                    "container \"%s\" already mounts \"%.63s\" at %s; choose another path", t->name,
                    name, path);
    }
}

static void check_port(struct build *b)
{
    static const char *const lists[] = {"initContainers", "containers"};
    int port = b->plan->cfg->metrics_port;
    char where[128];

    for (size_t l = 0; port && l < LH_ARRAY_LEN(lists); l++) {
        const lh_json *list = lh_json_get(b->pod->spec, lists[l]);

        for (size_t i = 0; i < lh_json_len(list); i++) {
            const lh_json *c = lh_json_at(list, i), *ports = lh_json_get(c, "ports");
            const char *name = lh_json_get_z(c, "name");

            if (!name || strcmp(name, LH_CONTAINER) == 0)
                continue;
            for (size_t k = 0; k < lh_json_len(ports); k++) {
                if (lh_json_get_int(lh_json_at(ports, k), "containerPort", 0) == port)
                    problem_add(b->problems, where_of(LH_ANN_METRICS_PORT, NULL, where),
                                LH_REASON_AnnotationInvalid, true,
                                "container \"%s\" already uses port %d; choose another", name,
                                port);
            }
        }
    }
}

/* A signal reaches another container's process only in one process namespace, and without any
 * capability only under one uid. */
static void check_signal(struct build *b)
{
    const lh_json *spec = b->pod->spec;
    char where[128];
    bool share;

    if (b->plan->cfg->notify.kind != LH_NOTIFY_SIGNAL)
        return;
    where_of(LH_ANN_ON_CHANGE, NULL, where);
    if (lh_json_bool(lh_json_get(spec, "shareProcessNamespace"), &share) && !share)
        problem_add(b->problems, where, LH_REASON_AnnotationInvalid, true,
                    "a signal needs shareProcessNamespace, and the Pod sets it to false; use a "
                    "loopback URL, or leave the field out");
    else if (lh_json_get_bool(spec, "hostPID", false))
        problem_add(b->problems, where, LH_REASON_AnnotationInvalid, true,
                    "a signal needs shareProcessNamespace, which a Pod with hostPID cannot have; "
                    "use a loopback URL");
    else if (!b->id.shared_uid)
        problem_add(b->problems, where, LH_REASON_AnnotationInvalid, true,
                    "a signal needs agent and application under one uid: set runAsUser, other than "
                    "0 and equal in the chosen containers, or use a loopback URL");
    else
        b->plan->share_processes = true;
}

static void check_memory(struct build *b)
{
    struct lh_inject_plan *p = b->plan;
    lh_auto_buf struct lh_buf least;
    char where[128];

    lh_buf_init(&least, 64);
    if (!p->memory_given || p->memory_bytes >= p->size_bytes + MEMORY_LEAST)
        return;
    lh_quantity_put_bytes(&least, p->size_bytes + MEMORY_LEAST);
    problem_add(b->problems, where_of(LH_ANN_MEMORY, NULL, where), LH_REASON_AnnotationInvalid,
                true, "must be at least %s, since the files count as the agent's memory",
                problem_buf(b->problems, &least));
}

/* Traffic is redirected before the proxy runs, when the proxy is an ordinary container and no init
 * container sets the redirection up later than the agent. */
static void check_mesh(struct build *b)
{
    const lh_json *spec = b->pod->spec;
    bool validated = has_container(spec, "initContainers", "istio-validation") ||
                     has_container(spec, "initContainers", "linkerd-network-validator");

    if (validated && (has_container(spec, "containers", "istio-proxy") ||
                      has_container(spec, "containers", "linkerd-proxy")))
        problem_add(b->problems, "metadata.annotations", NULL, false,
                    "the mesh's proxy starts after all init containers, so the agent may have no "
                    "network; run the proxy as a native sidecar, or exclude the manager's port "
                    "from it");
}

static void check_pod(struct build *b)
{
    check_kind(b);
    check_foreign_mounts(b);
    check_containers(b);
    check_after(b);
    each_target(b->pod->spec, b->plan->containers, b->plan->after, check_mount, b);
    check_port(b);
    check_signal(b);
    hook_check(b->plan, b->pod->spec, b->problems);
    check_memory(b);
    check_mesh(b);
}

static bool dup_into(char **out, const char *text)
{
    *out = text ? lh_strdup(text) : NULL;
    return !text || *out;
}

/* Only the labels that the store's selectors ask for: the agent judges allow once more with them,
 * and everything else of a namespace may change without a new configuration. */
static int labels_for(const struct lh_store *s, const struct lh_namespace *ns, lh_json **out,
                      struct lh_err *err)
{
    lh_auto_json lh_json *kept = lh_json_new_object();
    const lh_json *value;
    struct lh_str key;

    if (!kept)
        return lh_err_nomem(err);
    for (size_t i = 0; i < s->n_allow; i++) {
        const lh_json *want = lh_json_get(s->allow[i].namespace_selector, "matchLabels");
        const lh_json *exprs = lh_json_get(s->allow[i].namespace_selector, "matchExpressions");
        void *it = NULL;

        while (lh_json_next(want, &it, &key, &value)) {
            const lh_json *have = lh_json_getn(ns->labels, key);

            if (have && lh_json_setn(kept, key, lh_json_deep_copy(have)) < 0)
                return lh_err_nomem(err);
        }
        for (size_t k = 0; k < lh_json_len(exprs); k++) {
            const lh_json *have = NULL;

            if (lh_json_str(lh_json_get(lh_json_at(exprs, k), "key"), &key))
                have = lh_json_getn(ns->labels, key);
            if (have && lh_json_setn(kept, key, lh_json_deep_copy(have)) < 0)
                return lh_err_nomem(err);
        }
    }
    if (lh_json_len(kept))
        *out = LH_TAKE_PTR(kept);
    return 0;
}

/* Paths of what the agent finds mounted, by the store's method. */
static bool set_paths(struct lh_agentcfg *c, const struct lh_store *s)
{
    enum lh_auth_method m = s->vault.auth.method;
    bool token = m == LH_AUTH_JWT || m == LH_AUTH_KUBERNETES;

    return dup_into(&c->state_path, c->mode == LH_AGENT_SIDECAR ? LH_AGENT_STATE_PATH : NULL) &&
           dup_into(&c->token_file, token ? LH_AGENT_TOKEN_PATH "/token" : NULL) &&
           dup_into(&c->credential_path, token ? NULL : LH_AGENT_CRED_PATH) &&
           dup_into(&c->ca_path, s->vault.ca_ref.name ? LH_AGENT_CA_PATH : NULL);
}

static int cfg_fill(struct lh_agentcfg *c, struct draft *d, struct lh_store *s,
                    const struct lh_namespace *ns, const struct lh_subject *who, struct lh_err *err)
{
    const struct lh_policy *policy = d->world->policy;
    int rc;

    c->version = LH_AGENTCFG_VERSION;
    c->mode = d->mode;
    c->store = lh_store_ref(s);
    c->projection = LH_TAKE_PTR(d->projection);
    c->notify = d->notify;
    d->notify = (struct lh_notify_spec){.kind = LH_NOTIFY_NONE};
    c->projection->name = lh_strdup("annotations");
    c->projection->role = LH_TAKE_PTR(d->role);
    c->mount_path = lh_strdup(d->mount_path ? d->mount_path : LH_MOUNT_PATH);
    c->metrics_port = d->metrics_port >= 0 ? d->metrics_port : policy->agent_metrics_port;
    if (c->mode == LH_AGENT_INIT)
        c->metrics_port = 0;
    if (!c->projection->name || !c->mount_path || !dup_into(&c->cluster, who->cluster) ||
        !dup_into(&c->namespace_, who->namespace_) ||
        !dup_into(&c->projection->namespace_, who->namespace_) ||
        !dup_into(&c->service_account, who->service_account) ||
        !dup_into(&c->log_level, policy->agent_log_level) || !set_paths(c, s))
        return lh_err_nomem(err);
    rc = labels_for(s, ns, &c->namespace_labels, err);
    if (rc == 0 && policy->addresses && policy->addresses[0])
        rc = lh_strv_copy(policy->addresses, &c->allow_addresses, err);
    return rc;
}

static int plan_fill(struct lh_inject_plan *p, struct draft *d, struct lh_err *err)
{
    const struct lh_policy *policy = d->world->policy;

    p->policy = policy;
    p->containers = LH_TAKE_PTR(d->containers);
    p->projections = LH_TAKE_PTR(d->projections);
    p->mount_path = lh_strdup(d->mount_path ? d->mount_path : LH_MOUNT_PATH);
    p->after = LH_TAKE_PTR(d->after);
    p->image = d->image ? LH_TAKE_PTR(d->image) : lh_strdup(policy->agent_image);
    p->cpu_milli = d->cpu_milli ? d->cpu_milli : policy->agent_cpu_milli;
    p->size_bytes = d->size_bytes ? d->size_bytes : SIZE_DEFAULT;
    p->memory_given = d->memory_bytes != 0;
    p->memory_bytes = p->memory_given ? d->memory_bytes : p->size_bytes + MEMORY_ABOVE;
    p->start_timeout_ms = d->start_timeout_ms;
    return p->image && p->mount_path ? 0 : lh_err_nomem(err);
}

/* Volumes alone: no agent, no store, no files of ours. */
static int build_volumes(struct build *b, struct draft *d, struct lh_err *err)
{
    int rc;

    b->plan = lh_calloc(1, sizeof(*b->plan));
    if (!b->plan)
        return lh_err_nomem(err);
    rc = plan_fill(b->plan, d, err);
    if (rc < 0)
        return rc;
    check_containers(b);
    volumes_check(b->plan, b->pod, b->problems);
    return 0;
}

static int build(struct build *b, struct draft *d, struct lh_store *s,
                 const struct lh_namespace *ns, const struct lh_subject *who, struct lh_err *err)
{
    int rc;

    b->plan = lh_calloc(1, sizeof(*b->plan));
    if (b->plan)
        b->plan->cfg = lh_calloc(1, sizeof(*b->plan->cfg));
    if (!b->plan || !b->plan->cfg)
        return lh_err_nomem(err);
    rc = plan_fill(b->plan, d, err);
    if (rc == 0)
        rc = cfg_fill(b->plan->cfg, d, s, ns, who, err);
    if (rc < 0)
        return rc;
    identity_of(b->pod->spec, b->plan->containers, b->plan->after, &b->id);
    b->plan->cfg->default_mode = b->id.shared_uid || b->id.fs_group ? 0440 : 0444;
    check_pod(b);
    volumes_check(b->plan, b->pod, b->problems);
    return 0;
}

static void namespace_of(const struct lh_inject_world *w, const char *name,
                         struct lh_problems *problems, struct lh_namespace *out)
{
    *out = (struct lh_namespace){.name = name};
    if (!w->find_namespace || !w->find_namespace(w->arg, name, out))
        problems->namespace_unknown = true;
    out->name = name;
}

/* With a draft that has secrets and may be wrong: collects the rest of what is wrong, and plans
 * when a store was found. */
static int judge(const struct lh_inject_world *w, const struct lh_pod_at *pod,
                 const char *namespace_, struct draft *d, struct build *b, struct lh_err *err)
{
    struct lh_subject who = {w->policy->cluster_name, lh_pod_namespace(pod, namespace_),
                             service_account_of(pod->spec)};
    struct lh_namespace ns;
    struct lh_store *s;

    namespace_of(w, who.namespace_, d->problems, &ns);
    s = store_choose(d, &ns);
    store_judge(d, s, &ns, &who);
    return s && !d->nomem ? build(b, d, s, &ns, &who, err) : 0;
}

int lh_inject_plan(const struct lh_inject_world *w, const struct lh_pod_at *pod,
                   const char *namespace_, struct lh_inject_plan **out,
                   struct lh_problems *problems, struct lh_err *err)
{
    struct draft d = {.world = w, .problems = problems};
    struct build b = {.world = w, .pod = pod, .problems = problems};
    int rc = 0;

    if (lh_json_type(pod->spec) != LH_JSON_OBJECT)
        return lh_err_set(err, LH_E_INVALID, "%s has no %sspec", pod->kind, pod->field);
    draft_read(&d, lh_json_get(pod->metadata, "annotations"));
    if (!d.nomem && !d.off && d.n_secrets)
        rc = judge(w, pod, namespace_, &d, &b, err);
    else if (!d.nomem && !d.off && d.projections)
        rc = build_volumes(&b, &d, err);
    if (rc == 0 && (d.nomem || problems->nomem))
        rc = lh_err_nomem(err);
    draft_done(&d);
    if (rc < 0 || lh_problems_denial(problems)) {
        lh_inject_plan_free(b.plan);
        b.plan = NULL;
    }
    if (rc == 0)
        *out = b.plan;
    return rc;
}

int lh_inject_check_outer(const struct lh_pod_at *pod, struct lh_problems *problems,
                          struct lh_err *err)
{
    const lh_json *annotations = lh_json_get(pod->outer_metadata, "annotations"), *value;
    struct lh_str key, suffix;
    const char *nearest;
    void *it = NULL;

    while (lh_json_next(annotations, &it, &key, &value)) {
        const struct lh_annotation *a = lh_annotation_find(key, &suffix, &nearest);

        if (!lh_str_starts(key, LH_STR(LH_ANNOTATION_PREFIX)) || (a && a->arity == LH_ANN_RESERVED))
            continue;
        problem_add(problems, key.p, NULL, false,
                    "has no effect on the %s itself; move it to %smetadata.annotations", pod->kind,
                    pod->field);
        if (problems->n)
            problems->v[problems->n - 1].outer = true;
    }
    return problems->nomem ? lh_err_nomem(err) : 0;
}
