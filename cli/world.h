/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_WORLD_H
#define LEASEHOLD_CLI_WORLD_H

/* What admission would know: the stores and namespaces of --stores and of the manifests themselves,
 * and the platform's policy. */
#include "leasehold/core/vec.h"
#include "leasehold/inject/inject.h"
#include "leasehold/objects/objects.h"

struct cli_world {
    struct lh_inject_world w; /* points into the rest */
    struct lh_policy *policy;
    struct lh_objects *objects; /* NULL: no --stores */
    struct lh_vec stores;       /* struct lh_store *, one reference each */
    struct lh_vec namespaces;   /* lh_json *, one reference each */
};

/* Either path may be NULL. */
int cli_world_init(struct cli_world *w, const char *stores, const char *policy, struct lh_err *err);
/* Adds; a store of the same name is replaced. */
int cli_world_add_store(struct cli_world *w, struct lh_store *s, struct lh_err *err);
int cli_world_add_namespace(struct cli_world *w, const lh_json *ns, struct lh_err *err);
void cli_world_done(struct cli_world *w);

#endif
