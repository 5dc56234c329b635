/* SPDX-License-Identifier: Apache-2.0 */
/* From what is there to what is to be there, in as few operations as that takes. */
#include <stdio.h>
#include <string.h>

#include "inject_priv.h"
#include "leasehold/api/fields.h"
#include "leasehold/api/reasons.h"
#include "leasehold/codec/jsonpatch.h"
#include "leasehold/core/mem.h"

struct patch {
    const struct lh_inject_plan *plan;
    const struct lh_pod_at *pod;
    lh_json *ops;
    bool nomem;
};

/* op at POINTER + the formatted rest; value is consumed. */
static void op(struct patch *p, const char *name, lh_json *value, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void op(struct patch *p, const char *name, lh_json *value, const char *fmt, ...)
{
    size_t n = strlen(p->pod->pointer);
    char path[384];
    va_list ap;

    memcpy(path, p->pod->pointer, n); /* one of a few of ours, all short */
    va_start(ap, fmt);
    vsnprintf(path + n, sizeof(path) - n, fmt, ap);
    va_end(ap);
    if (!value && strcmp(name, "remove") != 0) {
        p->nomem = true;
        return;
    }
    if (lh_jsonpatch_op(p->ops, name, path, value) < 0)
        p->nomem = true;
}

static lh_json *array_of(lh_json *only)
{
    lh_json *a = lh_json_new_array();

    if (!a || !only || lh_json_push(a, lh_json_ref(only)) < 0) {
        lh_json_unref(a);
        a = NULL;
    }
    lh_json_unref(only);
    return a;
}

/* Is a list there, or absent (null counts as absent, as the API has it)? */
static bool has_list(const lh_json *obj, const char *name)
{
    return lh_json_type(lh_json_get(obj, name)) == LH_JSON_ARRAY;
}

static void annotations(struct patch *p)
{
    const struct lh_store *s = p->plan->cfg ? p->plan->cfg->store : NULL;
    lh_auto_free char *generation =
        s ? lh_asprintf("%s/%s:%lld", lh_store_kind(s), s->name, (long long)s->generation) : NULL;
    const struct {
        const char *name, *value;
    } want[] = {{LH_ANNOTATION_PREFIX "status", "injected"},
                {LH_ANNOTATION_PREFIX "store-generation", generation}};
    const lh_json *have = lh_json_get(p->pod->metadata, "annotations");

    for (size_t i = 0; i < (s ? LH_ARRAY_LEN(want) : 1); i++) {
        const char *now = lh_json_get_z(have, want[i].name);

        if (!want[i].value) {
            p->nomem = true;
            return;
        }
        if (!now || strcmp(now, want[i].value) != 0)
            op(p, "add", lh_json_new_z(want[i].value), "/metadata/annotations/leasehold.dev~1%s",
               want[i].name + strlen(LH_ANNOTATION_PREFIX));
    }
}

static void volumes(struct patch *p)
{
    const lh_json *have = lh_json_get(p->pod->spec, "volumes");
    lh_auto_json lh_json *want = shape_volumes(p->plan);

    if (!want) {
        p->nomem = true;
        return;
    }
    if (!has_list(p->pod->spec, "volumes")) {
        op(p, "add", LH_TAKE_PTR(want), "/spec/volumes");
        return;
    }
    for (size_t i = 0; i < lh_json_len(want); i++) {
        lh_json *v = lh_json_ref(lh_json_mut(lh_json_at(want, i)));
        int at = index_of(have, lh_json_get_z(v, "name"));

        if (at < 0)
            op(p, "add", v, "/spec/volumes/-");
        else if (!shape_holds(lh_json_at(have, (size_t)at), v))
            op(p, "replace", v, "/spec/volumes/%d", at);
        else
            lh_json_unref(v);
    }
}

/* -1: not there. */
static int mount_index(const lh_json *mounts, const char *path)
{
    for (size_t i = 0; i < lh_json_len(mounts); i++) {
        const char *have = lh_json_get_z(lh_json_at(mounts, i), "mountPath");

        if (have && strcmp(have, path) == 0)
            return (int)i;
    }
    return -1;
}

/* What one container lacks of the mounts in want, which is consumed. */
static void mount_all(struct patch *p, const struct target *t, lh_json *want)
{
    const lh_json *have = lh_json_get(t->container, "volumeMounts");
    lh_auto_json lh_json *all = want;

    if (!want) {
        p->nomem = true;
        return;
    }
    if (!has_list(t->container, "volumeMounts")) {
        if (lh_json_len(want))
            op(p, "add", LH_TAKE_PTR(all), "/spec/%s/%zu/volumeMounts", t->list, t->index);
        return;
    }
    for (size_t i = 0; i < lh_json_len(want); i++) {
        lh_json *one = lh_json_ref(lh_json_mut(lh_json_at(want, i)));
        int at = mount_index(have, lh_json_get_z(one, "mountPath"));

        if (at < 0)
            op(p, "add", one, "/spec/%s/%zu/volumeMounts/-", t->list, t->index);
        else if (!shape_holds(lh_json_at(have, (size_t)at), one))
            op(p, "replace", one, "/spec/%s/%zu/volumeMounts/%d", t->list, t->index, at);
        else
            lh_json_unref(one);
    }
}

struct same_target {
    const struct target *t;
    bool found;
};

static void is_same(void *arg, const struct target *t)
{
    struct same_target *s = arg;

    s->found = s->found || t->container == s->t->container;
}

/* The agent's files where the container comes after it; volumes of SecretProjections anyway. */
static void mount_into(void *arg, const struct target *t)
{
    const struct lh_inject_plan *plan = ((struct patch *)arg)->plan;
    lh_auto_json lh_json *want = lh_json_new_array();
    struct same_target s = {.t = t};
    struct patch *p = arg;

    if (plan->cfg)
        each_target(p->pod->spec, plan->containers, plan->after, is_same, &s);
    if (s.found) {
        lh_json *files = shape_mount(plan);

        if (!want || !files || lh_json_push(want, files) < 0)
            p->nomem = true;
        if (!want)
            lh_json_unref(files);
    }
    for (size_t i = 0; want && plan->projections && plan->projections[i]; i++) {
        lh_json *one = volumes_mount(plan, i);

        if (!one || lh_json_push(want, one) < 0)
            p->nomem = true;
    }
    mount_all(p, t, LH_TAKE_PTR(want));
}

/* Last of all, since indexes of init containers move with it. */
static void agent(struct patch *p, const char *config)
{
    const lh_json *list = lh_json_get(p->pod->spec, "initContainers");
    lh_json *want = shape_agent(p->plan, p->pod->spec, config);
    size_t position = agent_position(p->pod->spec, p->plan->after);
    int at = index_of(list, LH_CONTAINER);

    if (!has_list(p->pod->spec, "initContainers")) {
        op(p, "add", array_of(want), "/spec/initContainers");
        return;
    }
    if (at < 0) {
        op(p, "add", want, "/spec/initContainers/%zu", position);
        return;
    }
    if ((size_t)at != position) {
        op(p, "remove", NULL, "/spec/initContainers/%d", at);
        op(p, "add", want, "/spec/initContainers/%zu", position);
        return;
    }
    if (!want || !shape_holds(lh_json_at(list, (size_t)at), want))
        op(p, "replace", want, "/spec/initContainers/%d", at);
    else
        lh_json_unref(want);
}

static void pull_secrets(struct patch *p)
{
    const lh_json *have = lh_json_get(p->pod->spec, "imagePullSecrets");
    char *const *names = p->plan->policy->pull_secrets;
    lh_auto_json lh_json *fresh = NULL;

    if (!names || !names[0])
        return;
    fresh = lh_json_new_array();
    for (size_t i = 0; fresh && names[i]; i++) {
        lh_json *ref;

        if (index_of(have, names[i]) >= 0)
            continue;
        ref = lh_json_new_object();
        if (!ref || put_z(ref, "name", names[i]) < 0) {
            lh_json_unref(ref);
            p->nomem = true;
            return;
        }
        if (has_list(p->pod->spec, "imagePullSecrets"))
            op(p, "add", ref, "/spec/imagePullSecrets/-");
        else if (lh_json_push(fresh, ref) < 0)
            p->nomem = true;
    }
    p->nomem = p->nomem || !fresh;
    if (fresh && lh_json_len(fresh))
        op(p, "add", LH_TAKE_PTR(fresh), "/spec/imagePullSecrets");
}

static void share_processes(struct patch *p)
{
    if (p->plan->share_processes && !lh_json_get_bool(p->pod->spec, "shareProcessNamespace", false))
        op(p, "add", lh_json_new_bool(true), "/spec/shareProcessNamespace");
}

/* The config as text, or a problem when it is too large. */
static int config_of(const struct lh_inject_plan *plan, struct lh_buf *b,
                     struct lh_problems *problems, bool *ok, struct lh_err *err)
{
    struct lh_err why = {0};
    int rc;

    rc = lh_agentcfg_write(plan->cfg, b, &why);
    *ok = rc == 0;
    if (rc == -LH_E_TOOBIG) {
        problem_add_err(problems, "metadata.annotations", LH_REASON_ConfigTooLarge, false, &why);
        return 0;
    }
    if (rc < 0 && err)
        *err = why;
    return rc;
}

int lh_inject_patch(const struct lh_inject_plan *plan, const struct lh_pod_at *pod, lh_json **out,
                    struct lh_problems *problems, struct lh_err *err)
{
    struct patch p = {.plan = plan, .pod = pod};
    lh_auto_json lh_json *ops = lh_json_new_array();
    lh_auto_buf struct lh_buf config;
    bool ok = true;
    int rc = 0;

    lh_buf_init(&config, (size_t)LH_AGENTCFG_MAX + 1);
    if (!ops)
        return lh_err_nomem(err);
    if (plan->cfg)
        lh_buf_reserve(&config, 4096);
    if (plan->cfg)
        rc = config_of(plan, &config, problems, &ok, err);
    if (rc < 0)
        return rc;
    if (!ok) {
        *out = NULL;
        return problems->nomem ? lh_err_nomem(err) : 0;
    }
    p.ops = ops;
    annotations(&p);
    share_processes(&p);
    if (plan->cfg)
        pull_secrets(&p);
    volumes(&p);
    each_chosen(pod->spec, plan->containers, mount_into, &p);
    if (plan->cfg)
        agent(&p, lh_buf_peek(&config).p);
    if (p.nomem)
        return lh_err_nomem(err);
    *out = LH_TAKE_PTR(ops);
    return 0;
}

int lh_inject_object(const struct lh_inject_world *w, const lh_json *object, const char *namespace_,
                     lh_json **patch, struct lh_problems *problems, struct lh_err *err)
{
    struct lh_inject_plan *plan = NULL;
    lh_json *made = NULL;
    struct lh_pod_at pod;
    int rc;

    if (!lh_pod_at(object, &pod)) {
        *patch = NULL;
        return 0;
    }
    rc = lh_inject_check_outer(&pod, problems, err);
    if (rc == 0)
        rc = lh_inject_plan(w, &pod, namespace_, &plan, problems, err);
    if (rc == 0 && plan)
        rc = lh_inject_patch(plan, &pod, &made, problems, err);
    lh_inject_plan_free(plan);
    if (rc == 0)
        *patch = made;
    return rc;
}
