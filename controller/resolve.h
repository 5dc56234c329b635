/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_RESOLVE_H
#define LEASEHOLD_CONTROLLER_RESOLVE_H

/* Which store a projection asks, and whether it may: all that can be known before anything is asked
 * for. The provider checks once more what is sent. */
#include "leasehold/objects/objects.h"

/* *store: borrowed until the next turn of the loop. *ns: its name is who->namespace_, its labels
 * are those of objects; borrowed likewise. LH_E_NOTFOUND (StoreNotFound), LH_E_INVALID
 * (StoreAmbiguous, AnnotationInvalid of the namespace, PathInvalid), LH_E_DENIED. */
int controller_resolve(const struct lh_objects *o, const struct lh_projection *p,
                       const struct lh_subject *who, struct lh_store **store,
                       struct lh_namespace *ns, struct lh_err *err);

#endif
