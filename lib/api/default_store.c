/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "leasehold/api/allow.h"
#include "leasehold/api/annotations.h"
#include "leasehold/api/reasons.h"

#define KEY LH_ANNOTATION_PREFIX "default-store"

int lh_default_store(const struct lh_namespace *ns, struct lh_default_store *out,
                     struct lh_err *err)
{
    const char *value = lh_json_get_z(ns->annotations, KEY), *slash, *name;
    struct lh_str kind;

    *out = (struct lh_default_store){0};
    if (!value)
        value = lh_json_get_z(ns->labels, KEY);
    if (!value || !*value)
        return 0;
    slash = strchr(value, '/');
    name = slash ? slash + 1 : value;
    kind = (struct lh_str){value, slash ? (size_t)(slash - value) : 0};
    out->any_kind = !slash;
    out->cluster_scoped = lh_str_eqz(kind, "ClusterSecretStore");
    if ((slash && !out->cluster_scoped && !lh_str_eqz(kind, "SecretStore")) ||
        !lh_str_is_dns_subdomain(lh_str(name)))
        return lh_err_reason(err,
                             lh_err_set(err, LH_E_INVALID,
                                        "of namespace \"%s\" must be NAME, SecretStore/NAME or "
                                        "ClusterSecretStore/NAME",
                                        ns->name),
                             LH_REASON_AnnotationInvalid);
    out->name = name;
    return 0;
}
