/* SPDX-License-Identifier: Apache-2.0 */
#include "resolve.h"

#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"

static int named_store(const struct lh_objects *o, const struct lh_projection *p,
                       struct lh_store **out, struct lh_err *err)
{
    *out = lh_objects_store(o, p->store_cluster_scoped, p->namespace_, p->store_name);
    if (*out)
        return 0;
    return lh_err_reason(err,
                         lh_err_set(err, LH_E_NOTFOUND,
                                    "SecretProjection \"%s\" names %s \"%s\", which is not there "
                                    "or not valid",
                                    p->name,
                                    p->store_cluster_scoped ? "ClusterSecretStore" : "SecretStore",
                                    p->store_name),
                         LH_REASON_StoreNotFound);
}

static int default_store(const struct lh_objects *o, const struct lh_default_store *def,
                         const struct lh_namespace *ns, struct lh_store **out, struct lh_err *err)
{
    struct lh_store *own = lh_objects_store(o, false, ns->name, def->name);
    struct lh_store *cluster = lh_objects_store(o, true, NULL, def->name);

    if (def->any_kind && own && cluster && lh_allow_namespace(cluster, ns, NULL) == 0)
        return lh_err_reason(err,
                             lh_err_set(err, LH_E_INVALID,
                                        "leasehold.dev/default-store of namespace \"%s\": there "
                                        "are a SecretStore and a ClusterSecretStore \"%s\"; write "
                                        "its kind before it, or name one in spec.storeRef",
                                        ns->name, def->name),
                             LH_REASON_StoreAmbiguous);
    *out = def->cluster_scoped || (def->any_kind && !own) ? cluster : own;
    if (*out)
        return 0;
    return lh_err_reason(err,
                         lh_err_set(err, LH_E_NOTFOUND,
                                    "leasehold.dev/default-store of namespace \"%s\": there is no "
                                    "valid %s \"%s\"",
                                    ns->name,
                                    def->any_kind         ? "SecretStore or ClusterSecretStore"
                                    : def->cluster_scoped ? "ClusterSecretStore"
                                                          : "SecretStore",
                                    def->name),
                         LH_REASON_StoreNotFound);
}

static int only_store(const struct lh_objects *o, const struct lh_projection *p,
                      const struct lh_namespace *ns, struct lh_store **out, struct lh_err *err)
{
    size_t n, found = 0;
    struct lh_store *const *all = lh_objects_stores(o, &n);

    for (size_t i = 0; i < n; i++) {
        if (lh_allow_namespace(all[i], ns, NULL) == 0) {
            *out = all[i];
            found++;
        }
    }
    if (found == 1)
        return 0;
    return lh_err_reason(err,
                         lh_err_set(err, LH_E_INVALID,
                                    "SecretProjection \"%s\" has no storeRef, and %zu stores admit "
                                    "namespace \"%s\": name one",
                                    p->name, found, ns->name),
                         found ? LH_REASON_StoreAmbiguous : LH_REASON_StoreNotFound);
}

/* One that is named, the namespace's default, or the only one that admits the namespace. */
static int choose_store(const struct lh_objects *o, const struct lh_projection *p,
                        const struct lh_namespace *ns, struct lh_store **out, struct lh_err *err)
{
    struct lh_default_store def;
    int rc;

    if (p->has_store)
        return named_store(o, p, out, err);
    rc = lh_default_store(ns, &def, err);
    if (rc < 0)
        return lh_err_wrap(err, rc, "leasehold.dev/default-store");
    return def.name ? default_store(o, &def, ns, out, err) : only_store(o, p, ns, out, err);
}

/* As the provider checks once more on what is sent; here all of it before anything is asked for. */
static int allowed(const struct lh_store *s, const struct lh_projection *p,
                   const struct lh_namespace *ns, const struct lh_subject *who, struct lh_err *err)
{
    int rc = lh_allow_namespace(s, ns, err);

    if (rc == 0)
        rc = lh_allow_role(s, ns, who, p->role, err);
    for (size_t i = 0; i < p->n_items && rc == 0; i++) {
        lh_auto_free char *path = NULL;

        rc = lh_subject_expand(who, p->items[i].path, &path, err);
        if (rc == 0)
            rc = lh_path_check(path, err);
        if (rc == 0)
            rc = lh_allow_path(s, ns, who, path, err);
        if (rc < 0)
            lh_err_wrap(err, rc, "item \"%s\"", p->items[i].name);
    }
    return rc;
}

int controller_resolve(const struct lh_objects *o, const struct lh_projection *p,
                       const struct lh_subject *who, struct lh_store **store,
                       struct lh_namespace *ns, struct lh_err *err)
{
    struct lh_store *found = NULL;
    int rc;

    *ns = (struct lh_namespace){.name = who->namespace_};
    (void)lh_objects_namespace(o, who->namespace_, ns);
    rc = choose_store(o, p, ns, &found, err);
    if (rc == 0)
        rc = allowed(found, p, ns, who, err);
    if (rc == 0)
        *store = found;
    return rc;
}
