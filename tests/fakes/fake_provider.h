/* SPDX-License-Identifier: Apache-2.0 */
/* A fake, because policy is tested over hours of virtual time with every answer under control. */
#ifndef LEASEHOLD_TESTS_FAKE_PROVIDER_H
#define LEASEHOLD_TESTS_FAKE_PROVIDER_H

/*
 * A secret manager behind provider.h, without a network: tokens, leases, database users, static
 * roles, certificates and versions on lh_clock. One world per process, shared by all providers
 * opened from fake_provider_ops, so that a second session finds what the first left.
 */
#include "leasehold/providers/provider.h"

extern const struct lh_provider_ops fake_provider_ops;

enum fake_op {
    FAKE_LOGIN,
    FAKE_READ,
    FAKE_PROBE,
    FAKE_RENEW_LEASE,
    FAKE_LOOKUP_LEASE,
    FAKE_REVOKE_LEASE,
    FAKE_RENEW_TOKEN,
    FAKE_LOOKUP_TOKEN,
    FAKE_REVOKE_TOKEN,
    FAKE_REVOKE_ACCESSOR,
    FAKE_HEALTH,
    FAKE_N_OPS,
};

/* What the next answers are instead of the right ones. */
struct fake_rule {
    enum fake_op op;
    const char *path; /* reads: prefix; NULL: all */
    int code, status, retry_ms;
    const char *reason;
    bool sent;            /* err->sent */
    bool act;             /* the manager does what was asked; only its answer is lost */
    unsigned skip, times; /* times 0: until fake_heal() */
};

/* Settings that hold from now on. */
struct fake_settings {
    int64_t token_ttl_ms, token_max_ms; /* 0: never ends; no maximum */
    bool token_renewable;
    int latency_ms;    /* of every answer */
    bool down, sealed; /* Unreachable, not sent; Sealed */
    bool lie_gone;     /* every lease is "not found" when renewed or looked up */
    bool lie_dead;     /* every token is dead when renewed or looked up */
    int64_t skew_ms;   /* of the manager's wall clock against ours */
    bool no_probe;     /* metadata is not ours to read */
    bool kv2_mismatch; /* kv2Mounts is wrong about every mount */
    bool no_revoke;    /* sys/leases/revoke and auth/token/revoke-accessor are not ours */
};
extern struct fake_settings fake;

void fake_reset(void); /* an empty world; latency 1 ms, renewable tokens of one hour */
void fake_role(const char *path, int64_t ttl_ms, int64_t max_ttl_ms, bool renewable);
void fake_cert(const char *path, int64_t ttl_ms);
/* late_ms: rotates so long after it was due. */
void fake_static(const char *path, int64_t period_ms, int64_t late_ms);
void fake_static_rotate(const char *path);         /* by hand */
void fake_kv(const char *path, const char *value); /* a new version */
void fake_kv_delete(const char *path);

void fake_rule_add(const struct fake_rule *r);
void fake_heal(void);

void fake_revoke_tokens(void); /* and the leases under them */
void fake_revoke_leases(void);

unsigned fake_count(enum fake_op op, const char *path); /* requests, refused ones included */
unsigned fake_issued(const char *path);                 /* credentials made; NULL: all */
unsigned fake_live(const char *path);                   /* of which live now */
unsigned fake_tokens(void);                             /* live tokens */
/* The i-th token ever made, from 0. */
struct fake_token_info {
    const char *accessor;
    bool alive;
    unsigned leases; /* live ones under it */
};
unsigned fake_tokens_made(void);
struct fake_token_info fake_token_at(unsigned i);
/* Would the database take it now? For values as read: user of a role, password of a static role. */
bool fake_works(const char *value);
lh_ms fake_first(enum fake_op op); /* when the first such request came, 0 never */

#endif
