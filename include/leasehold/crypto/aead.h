/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CRYPTO_AEAD_H
#define LEASEHOLD_CRYPTO_AEAD_H

/*
 * AES-256-GCM (NIST SP 800-38D) with a random nonce, and the one block of HKDF-Expand (RFC 5869)
 * that Kubernetes' KMS v2 envelope derives its keys with. A random nonce of 96 bits is good for
 * 2^32 messages of one key: callers that may write more change keys before.
 */
#include <stddef.h>
#include <stdint.h>

#include "leasehold/core/buf.h"
#include "leasehold/core/err.h"
#include "leasehold/core/secret.h"
#include "leasehold/core/str.h"

enum { LH_AEAD_KEY_LEN = 32, LH_AEAD_NONCE_LEN = 12, LH_AEAD_TAG_LEN = 16 };
/* What sealing adds to a message: nonce before it, tag behind it. */
#define LH_AEAD_OVERHEAD ((size_t)LH_AEAD_NONCE_LEN + LH_AEAD_TAG_LEN)

/* nonce | ciphertext | tag, appended to out; key of LH_AEAD_KEY_LEN bytes. Failure is sticky in out
 * where memory is out. LH_E_INVALID: wrong key length, or a message over 64 KiB. */
int lh_aead_seal(const struct lh_secret *key, struct lh_str plain, struct lh_str aad,
                 struct lh_buf *out, struct lh_err *err);
/* The same under a nonce that the caller chose, for test vectors. */
int lh_aead_seal_with(const struct lh_secret *key, const uint8_t nonce[LH_AEAD_NONCE_LEN],
                      struct lh_str plain, struct lh_str aad, struct lh_buf *out,
                      struct lh_err *err);
/* *out owned. LH_E_INVALID when it was not sealed with this key and aad, or was changed since. */
int lh_aead_open(const struct lh_secret *key, struct lh_str sealed, struct lh_str aad,
                 struct lh_secret **out, struct lh_err *err);

/* HKDF-Expand-SHA256(prk, info, 32): *out owned, 32 bytes. info at most 1 KiB. */
int lh_hkdf_expand(const struct lh_secret *prk, struct lh_str info, struct lh_secret **out,
                   struct lh_err *err);

#endif
