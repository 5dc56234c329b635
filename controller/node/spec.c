/* SPDX-License-Identifier: Apache-2.0 */
#include "spec.h"

#include <string.h>

#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"
#include "resolve.h"

void node_spec_done(struct node_spec *s)
{
    lh_store_unref(s->store);
    lh_projection_free(s->projection);
    lh_json_unref(s->namespace_labels);
    *s = (struct node_spec){0};
}

static const struct lh_projection *find(const struct lh_objects *o, const char *namespace_,
                                        const char *name)
{
    size_t n;
    const struct lh_projection *const *all = lh_objects_projections(o, &n);

    for (size_t i = 0; i < n; i++) {
        if (strcmp(all[i]->name, name) == 0 && strcmp(all[i]->namespace_, namespace_) == 0)
            return all[i];
    }
    return NULL;
}

static int copy_projection(const struct lh_projection *p, struct lh_projection **out,
                           struct lh_err *err)
{
    lh_auto_json lh_json *spec = NULL;
    int rc = lh_projection_to_json(p, &spec, err);

    return rc < 0 ? rc
                  : lh_projection_parse_spec(spec, "SecretProjection", p->namespace_, p->name, out,
                                             err);
}

int node_spec_resolve(const struct lh_objects *o, const char *namespace_, const char *name,
                      const struct lh_subject *who, struct node_spec *out, struct lh_err *err)
{
    struct lh_namespace ns = {.name = namespace_};
    struct node_spec s = {0};
    struct lh_store *store = NULL;
    const struct lh_projection *p;
    int rc;

    if (!lh_objects_synced(o))
        return lh_err_reason(err,
                             lh_err_set(err, LH_E_UNAVAILABLE,
                                        "stores and projections are not known yet: the API server "
                                        "has not told all of them"),
                             LH_REASON_Starting);
    p = find(o, namespace_, name);
    if (!p)
        return lh_err_reason(err,
                             lh_err_set(err, LH_E_NOTFOUND,
                                        "there is no valid SecretProjection \"%s\" in namespace "
                                        "\"%s\"",
                                        name, namespace_),
                             LH_REASON_ProjectionNotFound);
    rc = controller_resolve(o, p, who, &store, &ns, err);
    if (rc == 0)
        rc = copy_projection(p, &s.projection, err);
    if (rc == 0 && ns.labels) {
        s.namespace_labels = lh_json_deep_copy(ns.labels);
        rc = s.namespace_labels ? 0 : lh_err_nomem(err);
    }
    if (rc < 0) {
        node_spec_done(&s);
        return rc;
    }
    s.store = lh_store_ref(store);
    *out = s;
    return 0;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static const lh_json *item_named(const lh_json *spec, const char *name)
{
    const lh_json *items = lh_json_get(spec, "items");

    for (size_t i = 0; i < lh_json_len(items); i++) {
        if (same_text(lh_json_get_z(lh_json_at(items, i), "name"), name))
            return lh_json_at(items, i);
    }
    return NULL;
}

enum node_edit node_edit_of(const struct lh_store *old_store, const struct lh_projection *old,
                            const struct node_spec *now,
                            bool (*leased)(void *arg, const char *item), void *arg)
{
    lh_auto_json lh_json *a = NULL, *b = NULL;

    if (old_store->cluster_scoped != now->store->cluster_scoped ||
        !same_text(old_store->name, now->store->name) ||
        !lh_json_equal(old_store->spec, now->store->spec) ||
        !same_text(old->role, now->projection->role) || lh_projection_to_json(old, &a, NULL) < 0 ||
        lh_projection_to_json(now->projection, &b, NULL) < 0)
        return NODE_EDIT_REPLACE;
    if (lh_json_equal(a, b))
        return NODE_EDIT_NONE;
    for (size_t i = 0; i < old->n_items; i++) {
        const char *name = old->items[i].name;
        const lh_json *after = item_named(b, name);

        if (leased(arg, name) && (!after || !lh_json_equal(item_named(a, name), after)))
            return NODE_EDIT_REPLACE;
    }
    return NODE_EDIT_KEEP;
}
