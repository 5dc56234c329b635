/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_KMS_CACHE_H
#define LEASEHOLD_KMS_CACHE_H

/*
 * Decrypted seeds in locked memory, by what they were decrypted from: bounded in number (the one
 * that was used longest ago goes first) and in age, wiped when they go. With them reads survive an
 * outage of the manager, also for an API server that starts meanwhile.
 */
#include <stdint.h>

#include "leasehold/core/clock.h"
#include "leasehold/core/err.h"
#include "leasehold/core/secret.h"
#include "leasehold/core/str.h"
#include "leasehold/crypto/hash.h"

/* Larger plaintexts are not kept: the API server's seeds have 32 bytes. */
enum { KMS_CACHE_BYTES_MAX = 256 };

struct kms_cache;

struct kms_cache_key {
    uint8_t b[LH_HASH_LEN];
};
int kms_cache_key(struct lh_str key_id, struct lh_str ciphertext, struct kms_cache_key *out,
                  struct lh_err *err);

/* entries 0: keeps nothing. */
int kms_cache_new(size_t entries, lh_ms age_ms, struct kms_cache **out, struct lh_err *err);
void kms_cache_free(struct kms_cache *c);
/* Borrowed until the next call; NULL if it is not there or too old. */
const struct lh_secret *kms_cache_get(struct kms_cache *c, const struct kms_cache_key *key,
                                      lh_ms now);
/* A copy is kept; for want of memory it is not. */
void kms_cache_put(struct kms_cache *c, const struct kms_cache_key *key,
                   const struct lh_secret *plain, lh_ms now);
/* Drops what is too old; when the next one will be, KMS_CACHE_NEVER if there is none. */
#define KMS_CACHE_NEVER INT64_MAX
lh_ms kms_cache_expire(struct kms_cache *c, lh_ms now);
size_t kms_cache_len(const struct kms_cache *c);

#endif
