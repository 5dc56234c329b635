/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include <string.h>

#include "leasehold/core/mem.h"
#include "leasehold/render/render.h"

static bool find_namespace(void *arg, const char *name, struct lh_namespace *out)
{
    struct world *w = arg;

    for (size_t i = 0; i < w->n_namespaces; i++) {
        const lh_json *meta = lh_json_get(w->namespaces[i], "metadata");
        const char *have = lh_json_get_z(meta, "name");

        if (!have || strcmp(have, name) != 0)
            continue;
        *out = (struct lh_namespace){have, lh_json_get(meta, "labels"),
                                     lh_json_get(meta, "annotations")};
        return true;
    }
    return false;
}

static int add(struct world *w, const lh_json *doc, struct lh_err *err)
{
    const char *kind = lh_json_get_z(doc, "kind");

    if (kind && strcmp(kind, "Namespace") == 0) {
        w->namespaces[w->n_namespaces++] = lh_json_ref(lh_json_mut(doc));
        return 0;
    }
    if (lh_store_parse(doc, NULL, &w->stores[w->n_stores], err) < 0)
        return -1;
    w->n_stores++;
    return 0;
}

int world_init(struct world *w, const char *stores, const char *policy, struct lh_err *err)
{
    struct lh_yaml_doc *docs = NULL;
    size_t n = 0;
    int rc = 0;

    memset(w, 0, sizeof(*w));
    if (lh_yaml_parse(lh_str(stores), "stores", NULL, &docs, &n, err) < 0)
        return -1;
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = add(w, docs[i].value, err);
    lh_yaml_free(docs, n);
    if (rc == 0 && policy)
        rc = lh_policy_parse(lh_str(policy), "policy", &w->policy, err);
    else if (rc == 0)
        rc = lh_policy_default(&w->policy, err);
    w->w = (struct lh_inject_world){.policy = w->policy,
                                    .stores = w->stores,
                                    .n_stores = w->n_stores,
                                    .find_namespace = find_namespace,
                                    .check_template = lh_template_check,
                                    .arg = w};
    return rc;
}

void world_done(struct world *w)
{
    for (size_t i = 0; i < w->n_stores; i++)
        lh_store_unref(w->stores[i]);
    for (size_t i = 0; i < w->n_namespaces; i++)
        lh_json_unref(w->namespaces[i]);
    lh_policy_free(w->policy);
    memset(w, 0, sizeof(*w));
}

char *world_problems(const struct lh_problems *ps)
{
    struct lh_buf b;
    char *out = NULL;
    size_t n;

    lh_buf_init(&b, 1 << 20);
    for (size_t i = 0; i < ps->n; i++) {
        char *text = lh_problem_text(&ps->v[i]);

        lh_buf_printf(&b, "%s %s\n", ps->v[i].deny ? "deny" : "warn", text ? text : "");
        lh_free(text);
    }
    return lh_buf_finish(&b, &out, &n, NULL) < 0 ? NULL : out;
}

static const char *names_differ(const lh_json *list)
{
    for (size_t i = 0; i < lh_json_len(list); i++) {
        const char *a = lh_json_get_z(lh_json_at(list, i), "name");

        if (!a)
            return "an entry has no name";
        for (size_t k = 0; k < i; k++) {
            const char *b = lh_json_get_z(lh_json_at(list, k), "name");

            if (b && strcmp(a, b) == 0)
                return "two entries have one name";
        }
    }
    return NULL;
}

static bool has_name(const lh_json *list, const char *name)
{
    for (size_t i = 0; i < lh_json_len(list); i++) {
        const char *have = lh_json_get_z(lh_json_at(list, i), "name");

        if (have && strcmp(have, name) == 0)
            return true;
    }
    return false;
}

static const char *mounts_problem(const lh_json *container, const lh_json *volumes)
{
    const lh_json *mounts = lh_json_get(container, "volumeMounts");

    for (size_t i = 0; i < lh_json_len(mounts); i++) {
        const char *name = lh_json_get_z(lh_json_at(mounts, i), "name");
        const char *path = lh_json_get_z(lh_json_at(mounts, i), "mountPath");

        if (!name || !has_name(volumes, name))
            return "a mount names no volume";
        for (size_t k = 0; k < i; k++) {
            const char *other = lh_json_get_z(lh_json_at(mounts, k), "mountPath");

            if (!path || (other && strcmp(path, other) == 0))
                return "two mounts at one path";
        }
    }
    return NULL;
}

const char *world_pod_problem(const lh_json *metadata, const lh_json *spec)
{
    static const char *const lists[] = {"initContainers", "containers"};
    const lh_json *volumes = lh_json_get(spec, "volumes"), *value;
    const char *why = names_differ(volumes);
    struct lh_str key;
    void *it = NULL;

    for (size_t l = 0; l < 2 && !why; l++) {
        const lh_json *list = lh_json_get(spec, lists[l]);

        why = names_differ(list);
        for (size_t i = 0; i < lh_json_len(list) && !why; i++) {
            const lh_json *c = lh_json_at(list, i);

            why = mounts_problem(c, volumes);
            if (!why && l == 0 && lh_json_get(c, "startupProbe") &&
                !lh_json_get(c, "restartPolicy"))
                why = "a plain init container has a probe";
            if (!why && l == 0 &&
                has_name(lh_json_get(spec, "containers"), lh_json_get_z(c, "name")))
                why = "a name is in both lists";
        }
    }
    while (!why && lh_json_next(lh_json_get(metadata, "annotations"), &it, &key, &value)) {
        struct lh_str s;

        if (!lh_json_str(value, &s))
            why = "an annotation is no string";
    }
    return why;
}

static void set(lh_json *obj, const char *key, lh_json *value)
{
    if (lh_json_get(obj, key) || lh_json_set(obj, key, value) < 0)
        lh_json_unref(value);
}

void world_add_defaults(lh_json *spec)
{
    static const char *const lists[] = {"initContainers", "containers"};

    for (size_t l = 0; l < 2; l++) {
        const lh_json *list = lh_json_get(spec, lists[l]);

        for (size_t i = 0; i < lh_json_len(list); i++) {
            lh_json *c = lh_json_mut(lh_json_at(list, i));
            lh_json *probe = lh_json_mut(lh_json_get(c, "startupProbe"));
            lh_json *mount = lh_json_new_object();

            set(c, "terminationMessagePath", lh_json_new_z("/dev/termination-log"));
            set(c, "terminationMessagePolicy", lh_json_new_z("File"));
            set(c, "imagePullPolicy", lh_json_new_z("IfNotPresent"));
            if (probe)
                set(probe, "successThreshold", lh_json_new_int(1));
            /* The ServiceAccount admission adds this to every container. */
            set(mount, "name", lh_json_new_z("kube-api-access"));
            set(mount, "mountPath", lh_json_new_z("/var/run/secrets/kubernetes.io/serviceaccount"));
            if (!lh_json_get(c, "volumeMounts"))
                set(c, "volumeMounts", lh_json_new_array());
            lh_json_push(lh_json_mut(lh_json_get(c, "volumeMounts")), mount);
        }
    }
}
