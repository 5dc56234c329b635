/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_PROVIDERS_VAULT_CLASSIFY_H
#define LEASEHOLD_PROVIDERS_VAULT_CLASSIFY_H

/*
 * What an answer of Vault or OpenBao means. Status codes alone do not tell: a 404 may hide a
 * deleted version, a 403 a dead token, a 429 a standby that lags, a 503 a proxy. Pure; the table
 * tests run over recorded answers.
 */
#include "leasehold/codec/json.h"
#include "leasehold/core/err.h"
#include "leasehold/core/str.h"

enum lh_vault_class {
    LH_VAULT_OK,            /* 2xx; with JSON, or empty */
    LH_VAULT_TOKEN_DEAD,    /* 403 without a policy error: bad, expired, revoked or no token */
    LH_VAULT_DENIED,        /* 403 by policy */
    LH_VAULT_NOT_FOUND,     /* 404 without a body that says more */
    LH_VAULT_NO_MOUNT,      /* 404: nothing is mounted there */
    LH_VAULT_NO_ROLE,       /* 400: the engine knows no such role */
    LH_VAULT_DELETED,       /* 404 with the metadata of a deleted KV v2 version */
    LH_VAULT_DESTROYED,     /* the same, destroyed */
    LH_VAULT_KV2_PATH,      /* 404: a plain path was sent to a KV v2 mount */
    LH_VAULT_NO_LEASE,      /* 400 lease not found, invalid lease */
    LH_VAULT_BAD_REQUEST,   /* 400: it will never accept this */
    LH_VAULT_BAD_METHOD,    /* 405: this path wants a write, or a read */
    LH_VAULT_LAGS,          /* 412, or 429 of a standby behind our index: nothing was done */
    LH_VAULT_LIMITED,       /* 429 quota: nothing was done */
    LH_VAULT_SEALED,        /* 503 */
    LH_VAULT_UNINITIALISED, /* 501, 503 */
    LH_VAULT_NO_ACTIVE,     /* a standby that has no active node to forward to: nothing was done */
    LH_VAULT_LOCKED,        /* 503 for another reason, in the manager's own words */
    LH_VAULT_SERVER_ERROR,  /* other 5xx of the manager: may have been acted on */
    LH_VAULT_GATEWAY,       /* 502, 503, 504 of a proxy: may have been acted on */
    LH_VAULT_REDIRECT,      /* a redirect that was not followed */
    LH_VAULT_NOT_JSON,      /* not the manager's language: a proxy, a portal, a raw endpoint */
    LH_VAULT_STRANGE,       /* any other status */
};

struct lh_vault_reply {
    int status;
    struct lh_str content_type, body;
    int retry_after_ms;
};

/* *json is set where the body is a JSON object (owned), else NULL. */
enum lh_vault_class lh_vault_classify(const struct lh_vault_reply *r, lh_json **json);
const char *lh_vault_class_name(enum lh_vault_class c); /* for tests and debug logs */

/* The manager's own words: its errors[], printable ASCII, at most 120 bytes; "" if it said none. */
#define LH_VAULT_QUOTE_MAX 120
const char *lh_vault_quote(const lh_json *json, char out[LH_VAULT_QUOTE_MAX + 1]);

/* Fills *err for a class other than OK. what: 'read "database/creds/shop"'. Returns -code. */
int lh_vault_class_error(enum lh_vault_class c, const struct lh_vault_reply *r, const lh_json *json,
                         const char *what, struct lh_err *err);

/* A login that was refused: what to check, by the manager's words. */
struct lh_vault_login_facts {
    const char *method, *mount, *role, *audience; /* role and audience may be NULL */
};
int lh_vault_login_error(enum lh_vault_class c, const struct lh_vault_reply *r, const lh_json *json,
                         const struct lh_vault_login_facts *facts, struct lh_err *err);

#endif
