/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_KMS_BACKEND_H
#define LEASEHOLD_KMS_BACKEND_H

/*
 * Where the key is. A backend answers each call once, and may do so before the call returns: what
 * needs no network need not wait for a turn of the loop. Errors as in provider.h; a call that takes
 * longer than its timeout fails with LH_E_UNAVAILABLE. Freeing a backend drops its calls.
 */
#include <stdint.h>

#include "key.h"
#include "leasehold/core/loop.h"
#include "leasehold/core/secret.h"

struct kms_backend;

typedef void (*kms_facts_fn)(void *arg, const struct kms_facts *f, const struct lh_err *err);
typedef void (*kms_encrypted_fn)(void *arg, struct lh_str ciphertext, const struct lh_err *err);
typedef void (*kms_decrypted_fn)(void *arg, const struct lh_secret *plain,
                                 const struct lh_err *err);

struct kms_backend_ops {
    void (*look)(struct kms_backend *b, unsigned timeout_ms, kms_facts_fn fn, void *arg);
    void (*encrypt)(struct kms_backend *b, const struct kms_version *v, struct lh_str plain,
                    struct lh_str aad, unsigned timeout_ms, kms_encrypted_fn fn, void *arg);
    void (*decrypt)(struct kms_backend *b, const struct kms_version *v, struct lh_str ciphertext,
                    struct lh_str aad, unsigned timeout_ms, kms_decrypted_fn fn, void *arg);
    /* Ends what it has at the manager, within limit_ms; done once, from the loop. */
    void (*end)(struct kms_backend *b, unsigned limit_ms, void (*done)(void *arg), void *arg);
    void (*free)(struct kms_backend *b);
};

struct kms_backend {
    const struct kms_backend_ops *ops;
    /* Set by its user: the backend can be asked again after it could not. */
    void (*woken)(void *arg);
    void *woken_arg;
};

struct lh_session;
struct lh_identity;
struct lh_store;
struct kms_transit_options {
    struct lh_loop *loop;
    struct lh_store *store;             /* a reference is taken */
    const struct lh_identity *identity; /* borrowed until free */
    const char *mount, *key;            /* borrowed until free */
    const char *const *service_nets; /* the cluster's own Services, CIDR texts; NULL-terminated */
};
int kms_transit_new(const struct kms_transit_options *o, struct kms_backend **out,
                    struct lh_err *err);

/* Keys of a file, for tests and small clusters: one "NAME BASE64" a line, of 32 bytes each; the
 * first encrypts, all decrypt. Read at each look. */
int kms_local_new(struct lh_loop *loop, const char *path, struct kms_backend **out,
                  struct lh_err *err);

#endif
