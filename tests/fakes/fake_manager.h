/* SPDX-License-Identifier: Apache-2.0 */
/* A fake, because the real managers run on wall time and cannot be told to fail the n-th request.
 */
#ifndef LEASEHOLD_TESTS_FAKE_MANAGER_H
#define LEASEHOLD_TESTS_FAKE_MANAGER_H

/*
 * A secret manager that answers as OpenBao 2.7 and Vault 1.14 were recorded to answer: logins,
 * tokens, KV v1 and v2, database and static roles, certificates, leases. It listens on loopback
 * with TLS on our own server, and all its time is lh_clock: with a fake clock a lease ends when the
 * test steps past its end. Paths are written without "v1/", KV paths without "data/". Durations are
 * milliseconds; the manager counts whole seconds, as the real ones do.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "leasehold/core/err.h"
#include "leasehold/core/loop.h"
#include "leasehold/core/str.h"
#include "leasehold/serve/server.h"

struct fake_manager;

struct fake_manager_options {
    /* NULL: one of its own, which becomes the loop's host. Else: clear faults, free the server,
     * then the manager. */
    struct lh_server *server;
    struct lh_str client_ca_pem; /* set: client certificates are asked for and verified */
};

/* opts NULL: defaults. A root token "s.root" exists, and mounts "secret" (KV v2), "kv1" (KV v1). */
int fake_manager_new(struct lh_loop *loop, const struct fake_manager_options *opts,
                     struct fake_manager **out, struct lh_err *err);
void fake_manager_free(struct fake_manager *m); /* NULL is a no-op */

/* "https://127.0.0.1:PORT"; the certificate says FAKE_MANAGER_NAME, so clients set that name. */
#define FAKE_MANAGER_NAME "manager.test"
const char *fake_manager_url(const struct fake_manager *m);
/* A second node of the same cluster, a standby. */
const char *fake_manager_standby_url(const struct fake_manager *m);
const char *fake_manager_ca_pem(const struct fake_manager *m);
/* A store document (SecretStore "vault" in namespace "shop") for this manager, owned (lh_free);
 * auth_json is the auth block: {"token":{"secretRef":{"name":"t","key":"token"}}}. */
char *fake_manager_store_json(const struct fake_manager *m, const char *auth_json);
/* The same with choices; NULL: as above. Texts of JSON: an array, members after a comma. */
struct fake_store {
    const char *kind;      /* "ClusterSecretStore": pass allow in spec then */
    const char *addresses; /* ["https://..."] */
    const char *auth;
    const char *vault; /* more members of spec.vault: "kv2Mounts":["kv"] */
    const char *spec;  /* more members of spec: "allow":[...] */
};
char *fake_manager_store_json_with(const struct fake_manager *m, const struct fake_store *store);

/* Identity. A login at auth/MOUNT/login with this role (NULL: any) and credential (jwt or secret
 * id; NULL: any, as for a verified client certificate) gives a token. */
struct fake_login {
    const char *mount, *role, *credential;
    int64_t ttl_ms, max_ttl_ms; /* max 0: none */
    bool not_renewable, batch;
};
void fake_manager_login_add(struct fake_manager *m, const struct fake_login *login);
/* A token outside any login, borrowed until fake_manager_free. ttl_ms 0: never ends. */
const char *fake_manager_token_add(struct fake_manager *m, int64_t ttl_ms, int64_t max_ttl_ms,
                                   bool renewable);
/* The policy denies these paths to everybody but root: exact, or a prefix ending in '*'. From the
 * start it denies sys/leases/revoke and auth/token/revoke-accessor, which the real default policy
 * does not allow either; allow_all lifts everything. */
void fake_manager_deny(struct fake_manager *m, const char *path);
void fake_manager_allow_all(struct fake_manager *m);
/* Only requests with this X-Vault-Namespace are served; others find no mount (NULL: off). */
void fake_manager_namespace(struct fake_manager *m, const char *name);

/* What it serves. json is the text of an object. */
void fake_manager_mount_kv(struct fake_manager *m, const char *mount, int version);
void fake_manager_kv_put(struct fake_manager *m, const char *path, const char *json);
void fake_manager_kv_delete(struct fake_manager *m, const char *path, bool destroy);
struct fake_role {
    const char *path; /* "database/creds/shop", "pki/issue/web" */
    int64_t ttl_ms, max_ttl_ms;
    bool not_renewable;
};
void fake_manager_role_add(struct fake_manager *m, const struct fake_role *role);
/* "database/static-creds/shop": the password changes each period. late_ms: the manager rotates so
 * long after it was due. */
void fake_manager_static_add(struct fake_manager *m, const char *path, int64_t period_ms,
                             int64_t late_ms);
/* POST or PUT PATH gives a certificate field and an expiration ttl_ms ahead; no lease. */
void fake_manager_cert_add(struct fake_manager *m, const char *path, int64_t ttl_ms);

void fake_manager_seal(struct fake_manager *m, bool sealed);
/* The standby lags: 404 for KV, 429 where the request carries X-Vault-Index, an answer where it
 * asks to be forwarded. */
void fake_manager_lag(struct fake_manager *m, bool lagging);
/* Behind the back of clients. NULL: every token but root, every lease. */
void fake_manager_revoke_token(struct fake_manager *m, const char *token);
void fake_manager_revoke_lease(struct fake_manager *m, const char *lease_id);

enum fake_fault_kind {
    FAKE_ANSWER, /* status, body, headers */
    FAKE_DROP,   /* connection closed without an answer */
    FAKE_CUT,    /* the head and half of the body, then closed */
    FAKE_STALL,  /* no answer until faults are cleared, which drops the connection */
    FAKE_DELAY,  /* the right answer, delay_ms later by lh_clock */
};
struct fake_fault {
    const char *method; /* NULL: any */
    const char *path;   /* without v1/; a prefix when it ends in '*' */
    enum fake_fault_kind kind;
    int status;
    const char *body;         /* NULL: {"errors":[]} */
    const char *content_type; /* NULL: application/json */
    const char *headers;      /* "Retry-After: 9\r\n" or NULL */
    int64_t delay_ms;
    unsigned skip, times; /* leave the first skip requests alone; times 0: until cleared */
    bool after;           /* act on the request first: what it issued lives, its answer is lost */
};
/* Strings must outlive the fault. The first fault that fits a request is applied. */
void fake_manager_fault(struct fake_manager *m, const struct fake_fault *fault);
void fake_manager_faults_clear(struct fake_manager *m);

/* Counters. path: exact as sent after v1/, or a prefix ending in '*'; method NULL: any. */
unsigned fake_manager_requests(const struct fake_manager *m, const char *method, const char *path);
unsigned fake_manager_logins(const struct fake_manager *m);
/* Credentials issued by a role in all; those whose lease is alive now. path NULL: all roles. */
unsigned fake_manager_issued(const struct fake_manager *m, const char *path);
unsigned fake_manager_live(const struct fake_manager *m, const char *path);
bool fake_manager_token_alive(const struct fake_manager *m, const char *token);
/* Would a database take this password now? */
bool fake_manager_password_works(const struct fake_manager *m, const char *password);
/* Newest lease of a role and newest token from a login, NULL if none; borrowed until the next
 * request. */
const char *fake_manager_last_lease(const struct fake_manager *m, const char *path);
const char *fake_manager_last_token(const struct fake_manager *m);
/* Header of the newest request (of those that serve keeps), "" if it had none. */
const char *fake_manager_last_header(const struct fake_manager *m, const char *name);
/* Body of the newest request that had one. */
struct lh_str fake_manager_last_body(const struct fake_manager *m);

#endif
