/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_LEASE_STATE_H
#define LEASEHOLD_LEASE_STATE_H

/*
 * What survives a restart of the process: tokens, accessors, lease ids and when they end; never a
 * value. The bytes are for a memory-backed file of mode 0600. A checksum finds damage, the key
 * binds them to one Pod, store and boot; bytes that do not fit are refused whole and cost a login.
 */
#include "leasehold/core/buf.h"
#include "leasehold/core/secret.h"
#include "leasehold/lease/schedule.h"

#define LH_STATE_MAX (1024 * 1024)

struct lh_state_token {
    struct lh_secret *value; /* owned */
    char *accessor;          /* owned, NULL if it has none */
    struct lh_life life;
    int64_t id;      /* leases name the token they hang on */
    lh_ms revoke_at; /* replaced: when it is to be ended; 0: the current one */
};

struct lh_state_lease {
    char *grant;    /* hex identity of the grant; owned */
    char *lease_id; /* owned; NULL for what has none */
    char *version;  /* owned; NULL */
    char *note;     /* owned; NULL */
    int kind;       /* enum lh_secret_kind */
    int64_t token_id;
    struct lh_life life;
    struct lh_rotation rotation;
    lh_ms fresh_at;
    lh_ms early_until;
    bool published;  /* its values are in the files, if the note is right */
    lh_ms revoke_at; /* replaced, to be ended then; 0: current */
};

struct lh_state {
    struct lh_state_token *tokens;
    struct lh_state_lease *leases;
    size_t n_tokens, n_leases;
};

void lh_state_done(struct lh_state *st); /* wipes and frees what it owns */
/* Appends; b holds tokens afterwards: a wiping buffer, never shown. */
int lh_state_write(const struct lh_state *st, const char *key, struct lh_buf *b,
                   struct lh_err *err);
/* LH_E_INVALID: damaged, of another key or version. *out untouched then. */
int lh_state_parse(struct lh_str bytes, const char *key, struct lh_state *out, struct lh_err *err);

/* Zeroed new entries, borrowed until the next one; NULL when memory is out. */
struct lh_state_token *lh_state_add_token(struct lh_state *st);
struct lh_state_lease *lh_state_add_lease(struct lh_state *st);

#endif
