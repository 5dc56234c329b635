/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include <fcntl.h>
#include <string.h>

#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"
#include "leasehold/render/render.h"

#define POLICY_MAX ((size_t)1024 * 1024)

static bool find_namespace(void *arg, const char *name, struct lh_namespace *out)
{
    const struct cli_world *w = arg;

    for (size_t i = 0; i < w->namespaces.n; i++) {
        const lh_json *const *slot = lh_vec_at(&w->namespaces, i);
        const lh_json *meta = lh_json_get(*slot, "metadata");
        const char *have = lh_json_get_z(meta, "name");

        if (!have || strcmp(have, name) != 0)
            continue;
        *out = (struct lh_namespace){have, lh_json_get(meta, "labels"),
                                     lh_json_get(meta, "annotations")};
        return true;
    }
    return w->objects && lh_objects_namespace(w->objects, name, out);
}

static int policy_read(const char *path, struct lh_policy **out, struct lh_err *err)
{
    lh_auto_free char *text = NULL;
    size_t n = 0;
    int rc;

    if (!path)
        return lh_policy_default(out, err);
    rc = lh_fs_read_at(AT_FDCWD, path, POLICY_MAX, &text, &n, err);
    return rc < 0 ? rc : lh_policy_parse((struct lh_str){text, n}, path, out, err);
}

static void refresh(struct cli_world *w)
{
    w->w.stores = w->stores.n ? lh_vec_at(&w->stores, 0) : NULL;
    w->w.n_stores = w->stores.n;
}

static bool is_same(const struct lh_store *a, const struct lh_store *b)
{
    return a->cluster_scoped == b->cluster_scoped && strcmp(a->name, b->name) == 0 &&
           (a->cluster_scoped || strcmp(a->namespace_, b->namespace_) == 0);
}

int cli_world_add_store(struct cli_world *w, struct lh_store *s, struct lh_err *err)
{
    for (size_t i = 0; i < w->stores.n; i++) {
        struct lh_store **slot = lh_vec_at(&w->stores, i);

        if (!is_same(*slot, s))
            continue;
        lh_store_unref(*slot);
        *slot = lh_store_ref(s);
        return 0;
    }
    if (!lh_vec_push(&w->stores, &s))
        return lh_err_nomem(err);
    lh_store_ref(s);
    refresh(w);
    return 0;
}

int cli_world_add_namespace(struct cli_world *w, const lh_json *ns, struct lh_err *err)
{
    lh_json *kept = lh_json_ref(lh_json_mut(ns));

    if (lh_vec_push(&w->namespaces, &kept))
        return 0;
    lh_json_unref(kept);
    return lh_err_nomem(err);
}

static int stores_read(struct cli_world *w, const char *path, struct lh_err *err)
{
    const struct lh_objects_events none = {0};
    struct lh_store *const *all;
    size_t n = 0;
    int rc;

    if (!path)
        return 0;
    rc = lh_objects_from_files(NULL, path, &none, &w->objects, err);
    if (rc < 0)
        return rc;
    all = lh_objects_stores(w->objects, &n);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = cli_world_add_store(w, all[i], err);
    return rc;
}

int cli_world_init(struct cli_world *w, const char *stores, const char *policy, struct lh_err *err)
{
    int rc;

    *w = (struct cli_world){0};
    lh_vec_init(&w->stores, sizeof(struct lh_store *));
    lh_vec_init(&w->namespaces, sizeof(lh_json *));
    rc = policy_read(policy, &w->policy, err);
    if (rc == 0)
        rc = stores_read(w, stores, err);
    if (rc < 0) {
        cli_world_done(w);
        return rc;
    }
    w->w.policy = w->policy;
    w->w.find_namespace = find_namespace;
    w->w.check_template = lh_template_check;
    w->w.arg = w;
    return 0;
}

void cli_world_done(struct cli_world *w)
{
    for (size_t i = 0; i < w->stores.n; i++)
        lh_store_unref(*(struct lh_store **)lh_vec_at(&w->stores, i));
    for (size_t i = 0; i < w->namespaces.n; i++)
        lh_json_unref(*(lh_json **)lh_vec_at(&w->namespaces, i));
    lh_vec_done(&w->stores);
    lh_vec_done(&w->namespaces);
    lh_objects_free(w->objects);
    lh_policy_free(w->policy);
}
