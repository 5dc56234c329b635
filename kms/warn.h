/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_KMS_WARN_H
#define LEASEHOLD_KMS_WARN_H

/* What may cost a cluster its data one day, found before it does: pure. */
#include "leasehold/api/store.h"
#include "leasehold/providers/transit.h"

enum kms_warning {
    KMS_WARN_DELETION,       /* the key may be deleted */
    KMS_WARN_EXPORTABLE,     /* it may leave the manager */
    KMS_WARN_MIN_DECRYPTION, /* some versions cannot be read any more */
    KMS_WARN_UPSERT,         /* a mistyped name makes a key */
    KMS_WARN_IN_CLUSTER,     /* the manager runs in the cluster whose keys it wraps */
    KMS_N_WARNINGS
};

const char *kms_warning_name(enum kms_warning w); /* label and log field */
const char *kms_warning_text(enum kms_warning w); /* what may happen, and what to do */

/* Bits 1u << KMS_WARN_... of a key. */
unsigned kms_warn_key(const struct lh_transit_key *k);
/* An address (https://host:port) that only this cluster serves: a Service's name, or an IP address
 * within one of nets (CIDR texts, NULL-terminated; NULL: none). */
bool kms_warn_in_cluster(const char *address, const char *const *nets);

#endif
