/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_WEBHOOK_CA_MATERIAL_H
#define LEASEHOLD_WEBHOOK_CA_MATERIAL_H

/* What the CA Secret holds, as data: read, judged, replaced. No I/O. Keys: ca.crt (bundle, newest
 * first), ca.key, tls.crt, tls.key. */
#include "ca_plan.h"
#include "leasehold/codec/json.h"
#include "leasehold/core/secret.h"

struct ca_material {
    char *bundle;             /* PEM, newest first; NULL: none */
    struct lh_secret *ca_key; /* of the newest; NULL: none, or not its key */
    char *leaf;               /* PEM; NULL: none that the bundle signed */
    struct lh_secret *leaf_key;
};

/* Parts that are missing or broken are left NULL: they are made anew. LH_E_NOMEM only. */
int ca_material_read(const lh_json *secret, struct ca_material *out, struct lh_err *err);
void ca_material_done(struct ca_material *m);
/* All but bundle_seen. */
void ca_material_facts(const struct ca_material *m, struct ca_facts *out);

/* A new CA in front of those that have not ended yet; leaf and its key stay. */
int ca_material_new_ca(struct ca_material *m, const char *name, int64_t now_ms, struct lh_err *err);
/* A new leaf of the newest CA for SERVICE.NAMESPACE.svc and shorter names. */
int ca_material_new_leaf(struct ca_material *m, const char *service, struct lh_err *err);
/* The Secret with this material as its data: what is sent back. Owned. */
int ca_material_write(const struct ca_material *m, const lh_json *secret, lh_json **out,
                      struct lh_err *err);

#endif
