/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_TEST_INJECT_WORLD_H
#define LH_TEST_INJECT_WORLD_H

/* Stores, namespaces and policy from YAML text, as admission sees them. */
#include "leasehold/codec/yaml.h"
#include "leasehold/inject/inject.h"

struct world {
    struct lh_inject_world w; /* first: handed to what is tested */
    struct lh_policy *policy;
    struct lh_store *stores[16];
    lh_json *namespaces[16];
    size_t n_stores, n_namespaces;
};

/* stores: documents of SecretStore, ClusterSecretStore and Namespace. policy: NULL for the
 * defaults. 0, or -1 with the sentence in err. */
int world_init(struct world *w, const char *stores, const char *policy, struct lh_err *err);
void world_done(struct world *w);
/* All problems, one a line; owned. */
char *world_problems(const struct lh_problems *ps);
/* Is it a Pod that the API server would take, as far as names and references go? NULL, or what is
 * wrong. */
const char *world_pod_problem(const lh_json *metadata, const lh_json *spec);
/* What the API server's defaulting adds to the Pod in place. */
void world_add_defaults(lh_json *spec);

#endif
