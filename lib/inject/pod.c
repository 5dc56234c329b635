/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "inject_priv.h"
#include "leasehold/api/fields.h"
#include "leasehold/codec/quantity.h"
#include "leasehold/core/mem.h"

static const struct {
    const char *kind, *pointer, *field;
    const char *path[4];
} kinds[] = {
    {"Pod", "", "", {NULL}},
    {"Deployment", "/spec/template", "spec.template.", {"spec", "template"}},
    {"StatefulSet", "/spec/template", "spec.template.", {"spec", "template"}},
    {"DaemonSet", "/spec/template", "spec.template.", {"spec", "template"}},
    {"ReplicaSet", "/spec/template", "spec.template.", {"spec", "template"}},
    {"Job", "/spec/template", "spec.template.", {"spec", "template"}},
    {"CronJob",
     "/spec/jobTemplate/spec/template",
     "spec.jobTemplate.spec.template.",
     {"spec", "jobTemplate", "spec", "template"}},
};

bool lh_pod_at(const lh_json *object, struct lh_pod_at *out)
{
    const char *kind = lh_json_get_z(object, "kind");
    const lh_json *at = object;

    for (size_t i = 0; kind && i < LH_ARRAY_LEN(kinds); i++) {
        if (strcmp(kind, kinds[i].kind) != 0)
            continue;
        for (size_t k = 0; k < LH_ARRAY_LEN(kinds[i].path) && kinds[i].path[k]; k++)
            at = lh_json_get(at, kinds[i].path[k]);
        *out = (struct lh_pod_at){
            .kind = kinds[i].kind,
            .metadata = lh_json_get(at, "metadata"),
            .spec = lh_json_get(at, "spec"),
            .pointer = kinds[i].pointer,
            .field = kinds[i].field,
            .outer_metadata = at == object ? NULL : lh_json_get(object, "metadata"),
        };
        return true;
    }
    return false;
}

const char *lh_pod_namespace(const struct lh_pod_at *pod, const char *namespace_)
{
    /* A template's own namespace means nothing. */
    const lh_json *meta = pod->outer_metadata ? pod->outer_metadata : pod->metadata;
    const char *own =
        *pod->pointer && !pod->outer_metadata ? NULL : lh_json_get_z(meta, "namespace");

    if (own && *own)
        return own;
    return namespace_ && *namespace_ ? namespace_ : "default";
}

/* Containers of the meshes that are known by name. They are no users of secrets, and some of them
 * carry the network that the agent needs. */
static const struct {
    const char *name;
    bool proxy;
} mesh[] = {
    {"istio-proxy", true},       {"istio-init", false},
    {"istio-validation", false}, {"linkerd-proxy", true},
    {"linkerd-init", false},     {"linkerd-network-validator", false},
    {"consul-dataplane", true},  {"consul-connect-inject-init", false},
    {"kuma-sidecar", true},      {"kuma-init", false},
    {"kuma-validation", false},
};

bool is_mesh(const char *name)
{
    for (size_t i = 0; i < LH_ARRAY_LEN(mesh); i++) {
        if (strcmp(name, mesh[i].name) == 0)
            return true;
    }
    return false;
}

bool is_mesh_sidecar(const lh_json *container)
{
    const char *name = lh_json_get_z(container, "name");
    const char *policy = lh_json_get_z(container, "restartPolicy");

    if (!name || !policy || strcmp(policy, "Always") != 0)
        return false;
    for (size_t i = 0; i < LH_ARRAY_LEN(mesh); i++) {
        if (mesh[i].proxy && strcmp(name, mesh[i].name) == 0)
            return true;
    }
    return false;
}

int index_of(const lh_json *list, const char *name)
{
    for (size_t i = 0; i < lh_json_len(list); i++) {
        const char *have = lh_json_get_z(lh_json_at(list, i), "name");

        if (have && strcmp(have, name) == 0)
            return (int)i;
    }
    return -1;
}

static int64_t id_of(const lh_json *spec, const lh_json *container, const char *key)
{
    const lh_json *own = lh_json_path(container, "securityContext", key, NULL);
    const lh_json *pod = lh_json_path(spec, "securityContext", key, NULL);
    int64_t id;

    if (lh_json_int(own, &id) || lh_json_int(pod, &id))
        return id;
    return -1;
}

int64_t uid_of(const lh_json *spec, const lh_json *container)
{
    return id_of(spec, container, "runAsUser");
}

int64_t gid_of(const lh_json *spec, const lh_json *container)
{
    return id_of(spec, container, "runAsGroup");
}

const char *service_account_of(const lh_json *spec)
{
    const char *name = lh_json_get_z(spec, "serviceAccountName");

    if (!name || !*name)
        name = lh_json_get_z(spec, "serviceAccount"); /* the old name, still accepted */
    return name && *name ? name : "default";
}

static bool milli_of(const lh_json *v, int64_t *out)
{
    int64_t whole;
    struct lh_str s;

    if (lh_json_int(v, &whole))
        return !__builtin_mul_overflow(whole, 1000, out);
    return lh_json_str(v, &s) && lh_quantity_milli(s, out, NULL) == 0;
}

/* Limit given, and request the same or left out (which Kubernetes sets to the limit). */
static bool is_fixed(const lh_json *resources, const char *name)
{
    const lh_json *limit = lh_json_path(resources, "limits", name, NULL);
    const lh_json *request = lh_json_path(resources, "requests", name, NULL);
    int64_t a = 0, b = 0;

    if (!milli_of(limit, &a) || a <= 0)
        return false;
    return !request || (milli_of(request, &b) && a == b);
}

bool is_guaranteed(const lh_json *spec)
{
    static const char *const lists[] = {"initContainers", "containers"};
    size_t n = 0;

    for (size_t l = 0; l < LH_ARRAY_LEN(lists); l++) {
        const lh_json *list = lh_json_get(spec, lists[l]);

        for (size_t i = 0; i < lh_json_len(list); i++) {
            const char *name = lh_json_get_z(lh_json_at(list, i), "name");
            const lh_json *r = lh_json_get(lh_json_at(list, i), "resources");

            if (name && strcmp(name, LH_CONTAINER) == 0)
                continue;
            if (!is_fixed(r, "cpu") || !is_fixed(r, "memory"))
                return false;
            n++;
        }
    }
    return n > 0;
}

size_t agent_position(const lh_json *spec, const char *after)
{
    const lh_json *list = lh_json_get(spec, "initContainers");
    size_t seen = 0, position = 0;

    for (size_t i = 0; i < lh_json_len(list); i++) {
        const lh_json *c = lh_json_at(list, i);
        const char *name = lh_json_get_z(c, "name");

        if (name && strcmp(name, LH_CONTAINER) == 0)
            continue;
        seen++;
        if (is_mesh_sidecar(c) || (after && name && strcmp(name, after) == 0))
            position = seen;
    }
    return position;
}

static bool is_chosen(char *const *chosen, const char *name)
{
    return chosen ? lh_strv_has(chosen, name) : !is_mesh(name);
}

void each_target(const lh_json *spec, char *const *chosen, const char *after, target_fn fn,
                 void *arg)
{
    static const char *const lists[] = {"containers", "initContainers"};
    size_t position = agent_position(spec, after);

    for (size_t l = 0; l < LH_ARRAY_LEN(lists); l++) {
        const lh_json *list = lh_json_get(spec, lists[l]);
        size_t seen = 0;

        for (size_t i = 0; i < lh_json_len(list); i++) {
            const lh_json *c = lh_json_at(list, i);
            const char *name = lh_json_get_z(c, "name");

            if (!name || strcmp(name, LH_CONTAINER) == 0)
                continue;
            if (l == 1 && seen++ < position)
                continue;
            if (is_chosen(chosen, name))
                fn(arg, &(struct target){lists[l], i, c, name});
        }
    }
}

void each_chosen(const lh_json *spec, char *const *chosen, target_fn fn, void *arg)
{
    static const char *const lists[] = {"containers", "initContainers"};

    for (size_t l = 0; l < LH_ARRAY_LEN(lists); l++) {
        const lh_json *list = lh_json_get(spec, lists[l]);

        for (size_t i = 0; i < lh_json_len(list); i++) {
            const lh_json *c = lh_json_at(list, i);
            const char *name = lh_json_get_z(c, "name");

            if (name && strcmp(name, LH_CONTAINER) != 0 && is_chosen(chosen, name))
                fn(arg, &(struct target){lists[l], i, c, name});
        }
    }
}

struct identity_walk {
    const lh_json *spec;
    struct identity *out;
};

static void identity_add(void *arg, const struct target *t)
{
    struct identity_walk *w = arg;
    int64_t uid = uid_of(w->spec, t->container);

    if (!w->out->any) {
        w->out->any = true;
        w->out->uid = uid;
        w->out->gid = gid_of(w->spec, t->container);
        w->out->one_uid = uid >= 0;
        return;
    }
    if (uid != w->out->uid)
        w->out->one_uid = false;
}

void identity_of(const lh_json *spec, char *const *chosen, const char *after, struct identity *out)
{
    struct identity_walk w = {spec, out};
    int64_t pod_uid = uid_of(spec, NULL), pod_gid = gid_of(spec, NULL), group;

    *out = (struct identity){.uid = -1, .gid = -1, .agent_uid = -1, .agent_gid = -1};
    each_target(spec, chosen, after, identity_add, &w);
    out->fs_group = lh_json_int(lh_json_path(spec, "securityContext", "fsGroup", NULL), &group);
    if (out->uid > 0) {
        out->agent_uid = out->uid;
        out->agent_gid = out->gid;
    } else if (pod_uid == 0) {
        /* The Pod runs as root, which the agent never does. */
        out->agent_uid = LH_AGENT_UID;
        out->agent_gid = pod_gid > 0 ? -1 : LH_AGENT_UID;
    }
    out->shared_uid = out->any && out->one_uid && out->uid > 0 && out->agent_uid == out->uid;
}
