/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_KMS_KEY_H
#define LEASEHOLD_KMS_KEY_H

/*
 * Which key versions there are, what the API server calls them, and which one it is told to use:
 * pure, no clock, no I/O. A key_id is a hash of everything that makes a version what it is
 * (cluster, backend, namespace, mount, name, generation, version, time of creation, mark), so that
 * a key made again, another mount or a restored one never gets the id of the first.
 *
 * A new version is advertised when it was seen often and long enough for the plugins of the other
 * API servers to have seen it, too, and to decrypt what the first of them encrypts. An id that was
 * left is never gone back to.
 */
#include <stdbool.h>

#include "leasehold/core/clock.h"
#include "leasehold/core/err.h"
#include "leasehold/core/str.h"
#include "leasehold/core/vec.h"

enum { KMS_KEY_ID_SIZE = 65, KMS_KEY_HASH_SIZE = 72, KMS_GENERATIONS_MAX = 99 };

struct kms_scope { /* borrowed for as long as the keys live */
    const char *cluster, *backend, *namespace_, *mount, *key;
    unsigned generation; /* raised by hand when a key is returned to */
};

struct kms_version {
    int64_t version;   /* numbers of a backend without versions are its own business */
    int64_t created_s; /* 0: unknown */
    char mark[65];     /* what else tells it from another, hex; "" for none */
};

struct kms_facts { /* what one look at the key told */
    const struct kms_version *versions;
    size_t n;
    size_t latest;          /* index of the one to encrypt with from now on */
    int64_t min_encryption; /* 0: none */
};

struct kms_key { /* one version under its id */
    char id[KMS_KEY_ID_SIZE];
    char hash[KMS_KEY_HASH_SIZE]; /* of the id, as kube-apiserver's metrics write it */
    struct kms_version v;
    unsigned generation;
    bool there;   /* at the last look */
    bool retired; /* was advertised and is not any more */
};

struct kms_settle {
    unsigned observations;
    lh_ms delay_ms;
};

struct kms_keys {
    struct kms_scope scope;
    struct kms_settle settle;
    struct lh_vec all; /* of struct kms_key *, never forgotten */
    struct kms_key *current, *candidate;
    unsigned seen; /* observations of candidate in a row */
    lh_ms seen_from;
    struct lh_err lost; /* code 0: all well; else why nothing may be encrypted now */
};

void kms_keys_init(struct kms_keys *k, const struct kms_scope *scope,
                   const struct kms_settle *settle);
void kms_keys_done(struct kms_keys *k);

int kms_key_id(const struct kms_scope *scope, unsigned generation, const struct kms_version *v,
               char out[KMS_KEY_ID_SIZE], struct lh_err *err);

/* One look at the key. *changed: another version is advertised than before. Failure leaves all as
 * it was; a key that may not be used any more is no failure: lost is set then. now: boot time. */
int kms_keys_observe(struct kms_keys *k, const struct kms_facts *f, lh_ms now, int64_t wall_s,
                     bool *changed, struct lh_err *err);
/* NULL: of another key, cluster or generation, or never seen. */
const struct kms_key *kms_keys_find(const struct kms_keys *k, struct lh_str id);

#endif
