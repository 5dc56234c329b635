/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_PROVIDERS_TRANSIT_H
#define LEASEHOLD_PROVIDERS_TRANSIT_H

/*
 * The Transit engine of Vault and OpenBao: a key that never leaves the manager encrypts and
 * decrypts small values. One request, one callback, errors as in provider.h; besides:
 *   LH_E_NOTFOUND  the key is not there (reading it), PathNotFound
 *   LH_E_INVALID   the manager refuses this ciphertext or version for good, RequestInvalid
 * All three may be repeated: none changes the key. (Encrypting under a name that is not there makes
 * a key where the policy has "create" and the mount's disable_upsert is off: read the key first.)
 * HashiCorp: developer.hashicorp.com/vault/api-docs/secret/transit.
 */
#include "leasehold/providers/provider.h"

enum { LH_TRANSIT_VERSIONS_MAX = 1024, LH_TRANSIT_CIPHERTEXT_MAX = 128 * 1024 };

struct lh_transit_version {
    int64_t version;
    int64_t created_s; /* since the epoch; the manager tells no more of a symmetric key */
};

struct lh_transit_key {
    const char *type;
    bool aead; /* associated data is bound to the ciphertext */
    bool encrypts, decrypts;
    bool deletion_allowed, exportable, plaintext_backup, derived, soft_deleted;
    int64_t latest, min_decryption, min_encryption, min_available; /* versions; 0: no minimum */
    const struct lh_transit_version *versions; /* ascending, those that decrypt */
    size_t n_versions;
};

/* lh_prov_result.transit of the calls below; exactly one member is set. Borrowed until return. */
struct lh_transit_result {
    const struct lh_transit_key *key;
    struct lh_str ciphertext; /* "vault:v3:..." */
    const struct lh_secret *plaintext;
    bool upsert_disabled; /* of lh_transit_read_config */
    lh_ms sent_at, done_at;
};

struct lh_transit_name {
    const char *mount, *key; /* "transit", "kms"; checked as paths are; copied */
};

/* p must have been opened by lh_provider_vault. timeout_ms is for the whole call, however many
 * addresses the store has; 0: 30 s. The operation is cancelled by the provider's cancel. */
int lh_transit_read_key(struct lh_provider *p, const struct lh_secret *token,
                        const struct lh_transit_name *name, unsigned timeout_ms,
                        lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                        struct lh_err *err);
/* The mount's config/keys: is a key made by a mistyped name? LH_E_DENIED where the policy does not
 * let us see. */
int lh_transit_read_config(struct lh_provider *p, const struct lh_secret *token, const char *mount,
                           unsigned timeout_ms, lh_prov_done_fn done, void *arg,
                           struct lh_provider_op **out, struct lh_err *err);
/* Under exactly this version. The answer's ciphertext is known to name it. */
int lh_transit_encrypt(struct lh_provider *p, const struct lh_secret *token,
                       const struct lh_transit_name *name, int64_t version, struct lh_str plain,
                       struct lh_str aad, unsigned timeout_ms, lh_prov_done_fn done, void *arg,
                       struct lh_provider_op **out, struct lh_err *err);
int lh_transit_decrypt(struct lh_provider *p, const struct lh_secret *token,
                       const struct lh_transit_name *name, struct lh_str ciphertext,
                       struct lh_str aad, unsigned timeout_ms, lh_prov_done_fn done, void *arg,
                       struct lh_provider_op **out, struct lh_err *err);

/* The version in "vault:v3:..." (any prefix word); 0 if it is none of Transit's. Pure. */
int64_t lh_transit_version_of(struct lh_str ciphertext);

#endif
