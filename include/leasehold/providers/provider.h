/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_PROVIDERS_PROVIDER_H
#define LEASEHOLD_PROVIDERS_PROVIDER_H

/*
 * How a secret manager is spoken to: login, read, renew, revoke, lookup, health; each one request
 * (or the few that the manager needs), one callback. No policy here: *when* is lease's business. A
 * provider object is one store seen by one identity: connection pool, mount knowledge,
 * read-after-write index. Nothing here retries what issues.
 *
 * Error classes (err->code, err->reason, err->sent):
 *   LH_E_EXPIRED      token dead (403 without a policy error; confirm with lookup), lease gone (400
 * lease not found) LH_E_DENIED       policy says no (PermissionDenied), login refused
 * (LoginFailed), address or redirect refused LH_E_NOTFOUND     PathNotFound, SecretDeleted (KV v2
 * version deleted or destroyed) LH_E_UNAVAILABLE  Unreachable, Sealed, CertificateInvalid, standby
 * without an active node, 5xx, not JSON, cut body LH_E_BUSY         RateLimited: retry after
 * err->retry_ms LH_E_INVALID      RequestInvalid: the manager will never accept this (bad role, bad
 * params) LH_E_TOOBIG       TooLarge
 */
#include <stdbool.h>
#include <stdint.h>

#include "leasehold/api/store.h"
#include "leasehold/codec/json.h"
#include "leasehold/core/clock.h"
#include "leasehold/core/err.h"
#include "leasehold/core/loop.h"
#include "leasehold/core/secret.h"

/* Where the credential for a login comes from: a projected file, kubelet's map, a token request.
 * Asynchronous; done is called once from the loop, never inside start. secret is borrowed until
 * return. */
struct lh_token_op;
typedef void (*lh_token_done_fn)(void *arg, const struct lh_secret *secret,
                                 const struct lh_err *err);
struct lh_token_source {
    int (*start)(struct lh_token_source *self, const char *audience, lh_token_done_fn done,
                 void *arg, struct lh_token_op **out, struct lh_err *err);
    void (*cancel)(struct lh_token_op *op);
    void (*free)(struct lh_token_source *self);
};
/* Re-read on every login (kubelet rotates it). */
int lh_token_source_file(struct lh_loop *loop, const char *path, struct lh_token_source **out,
                         struct lh_err *err);

/* Who asks, and how it proves it. Everything borrowed until provider free. */
struct lh_identity {
    struct lh_subject subject;
    const lh_json *namespace_labels;    /* for the allow check; NULL: none */
    const char *role;                   /* overrides the store's; NULL */
    struct lh_token_source *credential; /* jwt, kubernetes: ServiceAccount token; appRole: secret
                                           id; token: the token */
    const char *cert_file, *key_file;   /* cert method */
    const char *ca_file;                /* caBundleRef as mounted; NULL: the store's ca_pem */
    const char *const *allow_addresses;
    bool allow_loopback;
    /* Nobody in particular: health alone is asked. No allow list, no placeholder, no credential. */
    bool anonymous;
    void *wrapper; /* operations that stand before a provider's find their own here; NULL */
};

enum lh_secret_kind {
    LH_KIND_KV,          /* no lease: poll at refresh */
    LH_KIND_LEASE,       /* lease_id given */
    LH_KIND_STATIC,      /* last_vault_rotation and a period or ttl */
    LH_KIND_CERTIFICATE, /* has an end of its own */
};

struct lh_prov_token {
    struct lh_secret *token; /* owned by the result */
    const char *accessor;    /* may be NULL (batch) */
    int64_t ttl_ms;          /* 0: never ends */
    bool renewable;
    lh_ms sent_at; /* a life counts from here */
    bool known;    /* it was given to somebody before: nobody asked the manager */
};

struct lh_prov_read {
    enum lh_secret_kind kind;
    const lh_json *data;  /* object of keys; borrowed until return: render at once */
    const char *lease_id; /* LH_KIND_LEASE */
    int64_t lease_ms;     /* LH_KIND_LEASE; other kinds: what the manager hints, or 0 */
    bool renewable;
    const char *version; /* KV v2 version as text, NULL if unknown */
    int64_t last_rotation_wall_ms, rotation_period_ms, ttl_ms; /* LH_KIND_STATIC; 0 unknown */
    int64_t not_after_wall_ms;                                 /* LH_KIND_CERTIFICATE */
    lh_ms sent_at, done_at;
    bool kv2_mismatch; /* the server says other than kv2Mounts: reason KVVersionMismatch */
};

struct lh_prov_life {        /* renew, lookup */
    int64_t ttl_ms;          /* what is left, or what was granted */
    int64_t creation_ttl_ms; /* lookup-self: the token's whole life, 0 unknown */
    int64_t explicit_max_ms;
    bool renewable, capped; /* capped: the server warned that max_ttl cut it */
    lh_ms sent_at;
};

struct lh_prov_version { /* change probe without the value */
    const char *version; /* text, as lh_prov_read.version */
    bool deleted;
};

struct lh_prov_health {
    bool active, standby, sealed, initialised;
};

/* What the token may do with a path, as the manager says; by KV v2's own path where kv2Mounts lists
 * the mount. */
struct lh_prov_caps {
    const char *path;  /* that was asked for */
    bool read, update; /* update: what a read with params needs */
};

struct lh_transit_result; /* transit.h */

/* Exactly one member is set, by the kind of call; NULL with err. Borrowed until return. */
struct lh_prov_result {
    const struct lh_prov_token *token;
    const struct lh_prov_read *read;
    const struct lh_prov_life *life;
    const struct lh_prov_version *version;
    const struct lh_prov_health *health;
    const struct lh_prov_caps *caps;
    const struct lh_transit_result *transit;
};

struct lh_provider; /* provider's own struct starts with nothing in common: only ops touch it */
struct lh_provider_op;
typedef void (*lh_prov_done_fn)(void *arg, const struct lh_prov_result *res,
                                const struct lh_err *err);

struct lh_read_request {
    const char *path;      /* as the user wrote it; checked once more by allow where it is sent */
    const lh_json *params; /* a write when set */
    int64_t version;
};

/* All start calls: token may be NULL where none is needed; everything copied; done once from the
 * loop, never inside start; a start that fails does not call back. */
struct lh_provider_ops {
    const char *name; /* "vault" */
    int (*open)(struct lh_loop *loop, struct lh_store *store, const struct lh_identity *id,
                struct lh_provider **out, struct lh_err *err);
    void (*close)(struct lh_provider *p); /* cancels its operations */
    int (*login)(struct lh_provider *p, lh_prov_done_fn done, void *arg,
                 struct lh_provider_op **out, struct lh_err *err);
    int (*read)(struct lh_provider *p, const struct lh_secret *token,
                const struct lh_read_request *req, lh_prov_done_fn done, void *arg,
                struct lh_provider_op **out, struct lh_err *err);
    /* KV v2 only: LH_E_INVALID from start where the path is not known to be KV v2; LH_E_DENIED:
     * read from then on. */
    int (*probe)(struct lh_provider *p, const struct lh_secret *token, const char *path,
                 lh_prov_done_fn done, void *arg, struct lh_provider_op **out, struct lh_err *err);
    int (*renew_lease)(struct lh_provider *p, const struct lh_secret *token, const char *lease_id,
                       lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                       struct lh_err *err);
    int (*lookup_lease)(struct lh_provider *p, const struct lh_secret *token, const char *lease_id,
                        lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                        struct lh_err *err);
    int (*revoke_lease)(struct lh_provider *p, const struct lh_secret *token, const char *lease_id,
                        lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                        struct lh_err *err);
    int (*renew_token)(struct lh_provider *p, const struct lh_secret *token, lh_prov_done_fn done,
                       void *arg, struct lh_provider_op **out, struct lh_err *err);
    int (*lookup_token)(struct lh_provider *p, const struct lh_secret *token, lh_prov_done_fn done,
                        void *arg, struct lh_provider_op **out, struct lh_err *err);
    int (*revoke_token)(struct lh_provider *p, const struct lh_secret *token, lh_prov_done_fn done,
                        void *arg, struct lh_provider_op **out, struct lh_err *err);
    /* Ends another token, and the leases under it, by its accessor. One that the manager does not
     * know any more is done. LH_E_DENIED: the right is not in the default policy. */
    int (*revoke_accessor)(struct lh_provider *p, const struct lh_secret *token,
                           const char *accessor, lh_prov_done_fn done, void *arg,
                           struct lh_provider_op **out, struct lh_err *err);
    int (*capabilities)(struct lh_provider *p, const struct lh_secret *token, const char *path,
                        lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                        struct lh_err *err);
    int (*health)(struct lh_provider *p, lh_prov_done_fn done, void *arg,
                  struct lh_provider_op **out, struct lh_err *err);
    void (*cancel)(struct lh_provider_op *op);
    /* Both or neither. Nothing is asked of it for a while, though it stays open: it gives up its
     * share of a token that others keep alive. False: nobody else would. */
    bool (*park)(struct lh_provider *p);
    void (*unpark)(struct lh_provider *p); /* before it is used again */
};

extern const struct lh_provider_ops lh_provider_vault;
/* By the store's provider block; never NULL for a parsed store. Implemented where providers are
 * linked. */
const struct lh_provider_ops *lh_provider_for(const struct lh_store *store);

#endif
