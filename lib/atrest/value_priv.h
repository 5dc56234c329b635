/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_ATREST_VALUE_PRIV_H
#define LH_ATREST_VALUE_PRIV_H

#include "leasehold/atrest/value.h"

enum {
    KEY_ID_MAX = 1024,
    DEK_SOURCE_MAX = 1024,
    ANNOTATIONS_MAX_BYTES = 32 * 1024,
    GCM_MIN = 12 + 16,       /* nonce, tag */
    HKDF_MIN = 32 + GCM_MIN, /* info */
};

/* Borrowed n bytes at offset; NULL if they are not all in the head or all in the tail. */
const char *bytes_at(const struct lh_atrest_bytes *in, size_t offset, size_t n);

/* The EncryptedObject from offset out->prefix_n to the end; fills the rest of out. */
void encrypted_object_read(const struct lh_atrest_bytes *in, struct lh_atrest_value *out);

/* One verdict: the first that is given stays, but MALFORMED wins over INCOMPLETE. */
void value_verdict(struct lh_atrest_value *v, enum lh_atrest_form form, const char *why);

#endif
