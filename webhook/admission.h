/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_WEBHOOK_ADMISSION_H
#define LEASEHOLD_WEBHOOK_ADMISSION_H

/* POST /mutate and /validate: inject's pure functions over what objects knows. */
#include "leasehold/inject/inject.h"
#include "leasehold/objects/objects.h"
#include "leasehold/serve/server.h"

struct admission {
    struct lh_objects *objects;
    const struct lh_policy *policy;
};

/* Handlers' arg is a struct admission. */
void admission_mutate(struct admission *a, const struct lh_request *req, struct lh_call *call);
void admission_validate(struct admission *a, const struct lh_request *req, struct lh_call *call);

#endif
