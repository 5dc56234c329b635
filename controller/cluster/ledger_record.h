/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_CLUSTER_LEDGER_RECORD_H
#define LEASEHOLD_CONTROLLER_CLUSTER_LEDGER_RECORD_H

/*
 * What is to be revoked once its user ends: a line of the ledger, which outlives process and node.
 * It names a token by its accessor, never by its value, and is written before anything is issued
 * under that token: so whatever exists outside is in the ledger. What is done with a record is
 * decided from it and from what was answered last. Pure.
 */
#include "leasehold/codec/json.h"

enum { LEDGER_VERSION = 1, LEDGER_TRIES_MAX = 20 };

struct ledger_record { /* strings owned */
    char *namespace_, *projection, *uid;
    bool store_cluster_scoped;
    char *store;
    char *service_account, *role; /* who logged in; role NULL: the store's */
    char *accessor;
    int64_t term;        /* of the leader that logged in */
    int64_t end_wall_ms; /* it ends by itself then, unless somebody renews it */
    unsigned tries;      /* to revoke it, in vain */
    bool refused;        /* the manager does not let us */
};
void ledger_record_done(struct ledger_record *r);

/* One record as JSON; never a value. LH_E_NOMEM. */
int ledger_record_write(const struct ledger_record *r, struct lh_buf *b, struct lh_err *err);
/* LH_E_INVALID: damaged, or of a newer version: then nothing may be concluded from it. *out is
 * untouched. */
int ledger_record_parse(struct lh_str text, struct ledger_record *out, struct lh_err *err);

enum ledger_act {
    LEDGER_KEEP,    /* in use */
    LEDGER_REVOKE,  /* by its accessor, now */
    LEDGER_GIVE_UP, /* shown until it ends by itself; nothing waits for it any more */
    LEDGER_DROP,    /* it is gone */
};
struct ledger_facts {
    int64_t term;    /* ours */
    bool live;       /* this process holds the token */
    bool overlapped; /* what replaced its credentials is published, and the overlap is over; also
                        when there is nothing that needs them any more */
    bool revoked;    /* the manager said so, or that it knows no such token */
    int64_t wall_ms;
};
enum ledger_act ledger_decide(const struct ledger_record *r, const struct ledger_facts *f);
/* May the projection go, finalizer and all? */
bool ledger_releases(enum ledger_act act);

#endif
