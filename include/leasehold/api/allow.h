/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_API_ALLOW_H
#define LEASEHOLD_API_ALLOW_H

/*
 * The guard rail: may this namespace use this store, this role, this path? Checked at admission and
 * once more where the request is made. Patterns as in the manager's policies: '*' only at the end,
 * '+' one segment. KV v2's data/ (and metadata/) after a kv2Mounts mount is ignored on either side.
 * Pure.
 */
#include "leasehold/api/store.h"

#define LH_PATH_MAX 1024 /* bytes of a path */

/* A path as users write it: no empty segment, '.', '..', '//', '%', '?', '#', control characters,
 * no leading or trailing '/', at most 1024 bytes, valid UTF-8. LH_E_INVALID with reason
 * PathInvalid. */
int lh_path_check(const char *path, struct lh_err *err);
/* A pattern: the same, plus '*' at the end and '+' as a whole segment. */
int lh_pattern_check(const char *pattern, struct lh_err *err);
bool lh_pattern_match(const char *pattern, const char *path);
/* Path without data/ or metadata/ after one of the mounts, owned. */
int lh_path_normalise(const char *path, char *const *kv2_mounts, char **out, struct lh_err *err);

/* Kubernetes LabelSelector (matchLabels, matchExpressions In NotIn Exists DoesNotExist) over a
 * labels object (NULL: none). */
int lh_selector_match(const lh_json *selector, const lh_json *labels, bool *out,
                      struct lh_err *err);

struct lh_namespace {
    const char *name;
    const lh_json *labels, *annotations; /* NULL: none */
};

struct lh_default_store {
    const char *name; /* NULL: the namespace says nothing */
    bool any_kind, cluster_scoped;
};
/* The store of those in ns that name none: "[SecretStore/|ClusterSecretStore/]NAME" in the
 * annotation leasehold.dev/default-store, else in the label, which holds a name only. Borrowed from
 * ns. LH_E_INVALID (AnnotationInvalid). */
int lh_default_store(const struct lh_namespace *ns, struct lh_default_store *out,
                     struct lh_err *err);

/* Does this one entry of spec.allow name ns, or select its labels? */
int lh_allow_entry_admits(const struct lh_store_allow *a, const struct lh_namespace *ns, bool *out,
                          struct lh_err *err);
/* May objects of ns use the store at all? LH_E_DENIED (StoreNotAllowed) with the sentence of
 * design 3. A SecretStore serves its own namespace only. */
int lh_allow_namespace(const struct lh_store *s, const struct lh_namespace *ns, struct lh_err *err);
/* role NULL: the store's own. LH_E_DENIED (RoleNotAllowed). */
int lh_allow_role(const struct lh_store *s, const struct lh_namespace *ns,
                  const struct lh_subject *who, const char *role, struct lh_err *err);
/* LH_E_DENIED (PathNotAllowed): 'ClusterSecretStore "vault" does not let namespace "shop" read "x";
 * it allows a, b'. */
int lh_allow_path(const struct lh_store *s, const struct lh_namespace *ns,
                  const struct lh_subject *who, const char *path, struct lh_err *err);

/* The platform's own list: may anything of what pattern list (NULL-terminated; placeholders filled
 * in) names be text? NULL or empty: no limit. mounts NULL: no paths. LH_E_DENIED without a reason.
 */
int lh_allow_patterns(char *const *patterns, char *const *mounts, const struct lh_subject *who,
                      const char *text, bool *out, struct lh_err *err);

/* What the platform lets addresses be: CIDRs beyond the default refusal of loopback, link-local,
 * metadata. Literal addresses and localhost in vault.addresses are checked here; names again after
 * resolving (http/client). */
int lh_allow_address(const char *url, const char *const *allowed_cidrs, bool allow_loopback,
                     struct lh_err *err);
/* "10.0.0.0/8", "fd00::/8" or a single address. */
int lh_cidr_check(const char *text, struct lh_err *err);
/* "https://host[:port]" and nothing behind it. LH_E_INVALID says what is wrong. */
int lh_address_check(const char *url, struct lh_err *err);

#endif
