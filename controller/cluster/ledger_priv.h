/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_CLUSTER_LEDGER_PRIV_H
#define LEASEHOLD_CONTROLLER_CLUSTER_LEDGER_PRIV_H

/*
 * The ledger's inside: entries and who owns them (ledger.c), the Secret (ledger_store.c), what is
 * to be revoked and by whom (ledger_revoke.c), the provider that stands before another
 * (ledger_provider.c).
 */
#include "leasehold/api/reasons.h"
#include "leasehold/core/map.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/lease/schedule.h"
#include "ledger.h"

enum {
    KEY_LEN = 26,                       /* LEDGER_KEY_PREFIX and 24 hex digits */
    HORIZON_MS = 24 * 60 * 60 * 1000,   /* how far a recorded end is ahead of the real one */
    SLACK_MS = 60 * 1000,               /* the manager's clock may lag */
    AGE_MAX_MS = 60 * 60 * 1000,        /* a revocation in vain is given up after so long */
    GIVEN_UP_EVERY_MS = 60 * 60 * 1000, /* and tried again so often */
};
/* The Secret holds other things, too. */
#define LEDGER_KEY_PREFIX "t."
/* Projection of the logins that revoke what others left. */
#define LEDGER_REVOCATION "revocation"
/* Of a token that never ends: the last second of the year 9999. */
#define END_NEVER         INT64_C(253402300799000)

struct uid_group;
enum writing { WRITING_NOT, WRITING_ADD, WRITING_REMOVE };

struct entry {
    struct ledger *l;
    struct ledger_record rec;
    char key[KEY_LEN + 1];
    size_t bytes; /* of key and value, as counted in l->bytes */
    struct uid_group *group;
    struct entry *next_of_uid;

    /* The Secret. */
    bool stored;          /* it is there, as far as we know */
    bool changed;         /* what is there is not what is to be */
    enum writing writing; /* its part in the write under way */
    bool doomed;          /* its end is proven: to be removed */
    uint64_t seen;

    /* The token. */
    struct lh_provider *holder; /* who holds it; NULL: nobody any more */
    struct entry *next_held;
    struct lh_keyed_hash token;   /* of its value, while it is held */
    lh_ms ends_at;                /* LH_NEVER: not known, or never */
    struct lh_provider_op *login; /* waits for the record */

    /* Its end. */
    lh_ms release_at; /* LH_NEVER: something may need it */
    lh_ms next_try;
    struct lh_provider_op *revoking;
    struct reach *reach;
    char *why; /* what the last try came to; NULL */
    const char *why_reason;
    bool asked, gave_up; /* belongs() was asked; gave_up() was said */
};

struct uid_group {
    char *uid;
    struct entry *first;
    bool held; /* as ledger_holds() said last */
};

struct ledger {
    struct lh_loop *loop;
    struct lh_kube *kube;
    struct ledger_options opts; /* name and namespace_ owned */
    struct lh_kube_resource secret;

    struct lh_map *by_key, *by_uid; /* struct entry, struct uid_group */
    size_t bytes, reserved, damaged, damaged_bytes;

    bool started, taken, fenced, synced;
    int64_t term; /* of the Lease, then what is in the Secret */
    uint64_t nonce;

    /* The Secret. */
    char *version;
    bool has_data, need_read, urgent, loaded_said;
    uint64_t reads;
    struct lh_kube_op *io;
    struct lh_timer *io_timer;
    lh_ms io_done_at;
    struct lh_failures io_failures;
    struct lh_err io_err;
    struct lh_provider_op *finished; /* logins whose record is there */

    struct lh_timer *sweep_timer;
    lh_ms swept_at;
    struct reach *reaches;
    unsigned n_revoking;

    struct lh_provider *providers;
};

/* ledger.c */
/* Takes the record over, also on failure. *out is borrowed. */
int ledger_entry_new(struct ledger *l, struct ledger_record *rec, struct entry **out,
                     struct lh_err *err);
/* Out of every list, and freed; its login and revocation must be over. */
void ledger_entry_free(struct entry *e);
/* Recorded as it is now with the next write; urgent: somebody waits. */
void ledger_entry_changed(struct entry *e, bool urgent);
/* Its end is proven: the record goes. */
void ledger_entry_gone(struct entry *e);
/* Nobody holds its token any more; at: when it is to be revoked, or LH_NEVER. */
void ledger_entry_orphan(struct entry *e, lh_ms at);
/* Whether what ledger_holds() says has changed: told. */
void ledger_settle(struct ledger *l, struct uid_group *g);
size_t ledger_record_size(const struct ledger_record *r);
/* May a login be made, and is there room for a record of this size? 0: whether there is or not. */
int ledger_gate(struct ledger *l, size_t bytes, struct lh_err *err);
void ledger_measure(struct ledger *l);
void ledger_count(const char *what, const char *result);

/* ledger_store.c */
void ledger_store_step(struct ledger *l);
void ledger_store_stop(struct ledger *l);

/* ledger_revoke.c */
void ledger_sweep_at(struct ledger *l, lh_ms at);
void ledger_sweep(void *arg);
void ledger_revoke_stop(struct ledger *l);
/* The entry goes: nothing of ours may point at it. */
void ledger_revoke_forget(struct entry *e);

/* ledger_provider.c */
/* The record of its login is in the Secret: the login is done with the next finish. */
void ledger_login_recorded(struct entry *e);
/* The records of logins are there: callers get their tokens. */
void ledger_logins_finish(struct ledger *l);
void ledger_logins_fail(struct ledger *l, const struct lh_err *err);
/* The entry's token is let go of by whoever holds it. */
void ledger_unhold(struct entry *e);

#endif
