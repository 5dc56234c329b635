/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_KMS_IDENTITY_H
#define LEASEHOLD_KMS_IDENTITY_H

/* The store, and how we prove who we are to it: by files alone, since there may be no API server
 * yet that could give a token. */
#include "leasehold/core/loop.h"
#include "leasehold/providers/provider.h"
#include "options.h"

struct kms_identity {
    struct lh_identity id;
    struct lh_store *store; /* one reference */
    char *cert_file, *key_file;
};

/* Everything in o is borrowed until done. LH_E_INVALID says which option or field to mend. */
int kms_identity_init(struct kms_identity *k, struct lh_loop *loop, const struct kms_options *o,
                      struct lh_err *err);
void kms_identity_done(struct kms_identity *k);

#endif
