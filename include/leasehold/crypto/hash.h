/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CRYPTO_HASH_H
#define LEASEHOLD_CRYPTO_HASH_H

/* Digests. A keyed hash stands for a secret where "did it change" is all that is asked: no plain
 * hash of a secret is kept. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "leasehold/core/err.h"

#define LH_HASH_LEN 32

/* Gives OpenSSL our allocator, no config file; before anything else, idempotent. */
int lh_crypto_init(struct lh_err *err);

int lh_sha256(const void *p, size_t n, uint8_t out[LH_HASH_LEN], struct lh_err *err);
/* The same over parts: for files that are larger than memory. */
struct lh_sha256;
int lh_sha256_new(struct lh_sha256 **out, struct lh_err *err);
int lh_sha256_update(struct lh_sha256 *h, const void *p, size_t n, struct lh_err *err);
int lh_sha256_finish(struct lh_sha256 *h, uint8_t out[LH_HASH_LEN], struct lh_err *err); /* once */
void lh_sha256_free(struct lh_sha256 *h); /* NULL is a no-op */
int lh_hmac_sha256(const void *key, size_t key_len, const void *p, size_t n,
                   uint8_t out[LH_HASH_LEN], struct lh_err *err);

/* HMAC-SHA-256 under a random key of this process (made at first use, in an lh_secret). */
struct lh_keyed_hash {
    uint8_t b[LH_HASH_LEN];
};
int lh_keyed_hash(const void *p, size_t n, struct lh_keyed_hash *out, struct lh_err *err);
bool lh_keyed_hash_equal(const struct lh_keyed_hash *a,
                         const struct lh_keyed_hash *b); /* constant time */
/* Lower-case hex, out needs 2n + 1 bytes. */
void lh_hex(const void *p, size_t n, char *out);

#endif
