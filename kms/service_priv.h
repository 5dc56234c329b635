/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_KMS_SERVICE_PRIV_H
#define LEASEHOLD_KMS_SERVICE_PRIV_H

/*
 * service.c speaks to the API server, flight.c to the backend on its behalf, probe.c watches the
 * key. A waiter is one call that is not answered yet; it waits for the key to be known, or for a
 * flight, which is one call to the backend that any number of equal Decrypts wait for.
 */
#include "cache.h"
#include "leasehold/core/map.h"
#include "leasehold/http/backoff.h"
#include "leasehold/kmsv2/messages.h"
#include "service.h"

#define KMS_FORMAT_NAME  "format.kms.leasehold.dev"
#define KMS_FORMAT_VALUE "1"

/* Where no grpc-timeout is sent: the API server's default. */
enum { KMS_DEFAULT_MS = 3000, KMS_STALE_MS = 180 * 1000, KMS_AAD_MAX = 128 };

struct kms_flight;

enum kms_method { KMS_STATUS, KMS_ENCRYPT, KMS_DECRYPT };

struct kms_waiter {
    struct kms_service *s;
    struct kms_waiter *prev, *next; /* in the service's list or its flight's */
    struct kms_flight *flight;
    struct lh_grpc_call *call;
    enum kms_method method;
    lh_ms came_at, answer_by;
    struct lh_kmsv2_encrypt_request encrypt;
    struct lh_kmsv2_decrypt_request decrypt;
};

struct kms_waiters {
    struct kms_waiter *first;
};

struct kms_flight {
    struct kms_service *s;
    struct kms_flight *prev, *next;
    struct kms_waiters waiters;
    const struct kms_key *key;
    struct lh_secret *plain; /* of an Encrypt: what the ciphertext will be cached with */
    struct kms_cache_key hash;
    lh_ms answer_by; /* of the waiters that it was sent for, the latest */
    lh_ms ends_at;   /* when the backend was told to give up */
    bool joinable;
};

struct kms_probe {
    struct lh_timer *timer;
    struct lh_backoff backoff;
    bool running, ready;
    lh_ms good_at, canary_at; /* 0: never */
    struct lh_err last_err;   /* code 0: the last one was good */
    struct lh_secret *canary;
    const struct kms_key *canary_key;
};

struct kms_service {
    struct lh_loop *loop;
    struct kms_backend *backend;
    struct kms_keys keys;
    struct kms_cache *cache;
    struct kms_waiters waiting; /* for the key to be known */
    struct kms_flight *flights;
    struct lh_map *joinable; /* Decrypts under way, by hash */
    struct lh_timer *deadline, *aging;
    struct kms_probe probe;
    lh_ms probe_ms;
    void (*ready)(void *arg);
    void *ready_arg;
    bool ended;
    bool told_v1; /* that a client asks for it */
};

/* service.c: one of both ends the call and frees the waiter. */
void kms_reply(struct kms_waiter *w, const struct lh_buf *b);
void kms_fail(struct kms_waiter *w, const struct lh_err *err);
/* The key is known: all that waited for it goes on. */
void kms_go_on(struct kms_service *s);
void kms_waiters_add(struct kms_waiters *list, struct kms_waiter *w);
void kms_waiters_remove(struct kms_waiters *list, struct kms_waiter *w);
/* Answers what is due; the earlier of next and when the next one will be. */
lh_ms kms_expire(struct kms_waiters *list, lh_ms now, lh_ms next);
struct lh_str kms_aad(const struct kms_key *k, char out[KMS_AAD_MAX]);

/* flight.c */
void kms_fly_encrypt(struct kms_waiter *w);
void kms_fly_decrypt(struct kms_waiter *w);
void kms_flights_free(struct kms_service *s);

/* probe.c */
int kms_probe_init(struct kms_service *s, struct lh_err *err);
void kms_probe_done(struct kms_service *s);
void kms_probe_now(struct kms_service *s);
/* Why the API server should not rely on us, or code 0. fatal: not even for writing. */
void kms_probe_verdict(const struct kms_service *s, struct lh_err *why, bool *fatal);

#endif
