/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_API_STORE_H
#define LEASEHOLD_API_STORE_H

/*
 * SecretStore and ClusterSecretStore (leasehold.dev/v1alpha1) as typed objects. Parsing validates:
 * unknown fields, wrong types and values are LH_E_INVALID with the object, the field path and what
 * would be right (reason StoreInvalid). All strings are owned by the struct. Shared by reference
 * count.
 */
#include <stdbool.h>
#include <stdint.h>

#include "leasehold/codec/json.h"
#include "leasehold/core/err.h"

enum lh_auth_method {
    LH_AUTH_JWT,
    LH_AUTH_KUBERNETES,
    LH_AUTH_APPROLE,
    LH_AUTH_CERT,
    LH_AUTH_TOKEN
};

struct lh_secret_ref { /* of a Secret in the store's own namespace */
    char *name, *key;
};

struct lh_store_auth {
    enum lh_auth_method method;
    char *mount, *role,
        *audience; /* mount and role may hold {cluster} {namespace} {serviceAccount} */
    char *role_id; /* appRole */
    struct lh_secret_ref secret; /* appRole secret id; token; cert (name only: tls.crt, tls.key) */
};

struct lh_store_vault {
    char **addresses;            /* NULL-terminated, https://host[:port], no path */
    char *namespace_;            /* manager's namespace, may hold placeholders; NULL */
    char *ca_pem;                /* decoded caBundle; NULL */
    struct lh_secret_ref ca_ref; /* ConfigMap in the Pod's namespace; name NULL if unused */
    char *tls_server_name;       /* NULL */
    char **kv2_mounts;           /* NULL-terminated; default {"secret", NULL} */
    struct lh_store_auth auth;
};

struct lh_store_allow {
    lh_json *namespace_selector;         /* LabelSelector, NULL if namespaces is given */
    char **namespaces, **roles, **paths; /* NULL-terminated or NULL */
};

struct lh_store {
    unsigned refs;
    bool cluster_scoped;
    char *name, *namespace_; /* namespace_ NULL for cluster scope */
    char *uid;               /* NULL from files */
    int64_t generation;
    struct lh_store_vault vault;
    int64_t refresh_default_ms, refresh_min_ms, verify_ms;
    unsigned requests_per_second, max_in_flight;
    struct lh_store_allow *allow;
    size_t n_allow;
    lh_json *spec; /* the spec as given, for the agent's config and hashing */
};

/* obj: a whole Kubernetes object. what: source for errors ("stores.yaml:12") or NULL. *out has one
 * reference. */
int lh_store_parse(const lh_json *obj, const char *what, struct lh_store **out, struct lh_err *err);
struct lh_store *lh_store_ref(struct lh_store *s);
void lh_store_unref(struct lh_store *s);
const char *lh_store_kind(const struct lh_store *s); /* "SecretStore" | "ClusterSecretStore" */

/* Values for the placeholders; a NULL one that is used is LH_E_INVALID. */
struct lh_subject {
    const char *cluster, *namespace_, *service_account;
};
/* text with {cluster} {namespace} {serviceAccount} filled in; owned. */
int lh_subject_expand(const struct lh_subject *who, const char *text, char **out,
                      struct lh_err *err);

#endif
