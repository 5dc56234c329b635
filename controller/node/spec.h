/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_NODE_SPEC_H
#define LEASEHOLD_CONTROLLER_NODE_SPEC_H

/* What a volume's projection asks for now: the objects behind it, and whether an edit may go on
 * with the same login and leases. */
#include "leasehold/objects/objects.h"

struct node_spec {
    struct lh_store *store; /* a reference */
    struct lh_projection *projection;
    lh_json *namespace_labels; /* NULL: none */
};

/* Owned. LH_E_UNAVAILABLE (Starting) before the first sync, LH_E_NOTFOUND (ProjectionNotFound,
 * StoreNotFound), LH_E_INVALID, LH_E_DENIED. */
int node_spec_resolve(const struct lh_objects *o, const char *namespace_, const char *name,
                      const struct lh_subject *who, struct node_spec *out, struct lh_err *err);
void node_spec_done(struct node_spec *s);

enum node_edit {
    NODE_EDIT_NONE,
    NODE_EDIT_KEEP,   /* same login; every leased item is there as before */
    NODE_EDIT_REPLACE /* a login of its own beside the old one */
};
/* leased: is this item of old a lease or a certificate? */
enum node_edit node_edit_of(const struct lh_store *old_store, const struct lh_projection *old,
                            const struct node_spec *now,
                            bool (*leased)(void *arg, const char *item), void *arg);

#endif
