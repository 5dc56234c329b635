/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_CLUSTER_LEDGER_H
#define LEASEHOLD_CONTROLLER_CLUSTER_LEDGER_H

/*
 * What this controller made outside and has not undone yet, in a Secret of its own namespace, so
 * that it outlives process and node: one record a login, with the token's accessor, never a token.
 *
 * It stands before the provider: an engine that is given ledger_provider_ops gets its token only
 * after the token's record is in the Secret, so that whatever is issued under a token hangs on one
 * that is known. A token whose record could not be written was never used; it is ended at once, or
 * with its ttl where the process died between the two. A record goes when the token's end is
 * proven: revoked, unknown to the manager, or over.
 *
 * Writes are gathered: one at a time, whatever came meanwhile in the next. Each tests the resource
 * version; after anything but a clean success the Secret is read again and merged. A leader writes
 * its term first, one above what is there, so that what an earlier one writes later meets a
 * conflict and finds another's term: its time is over. Nothing fails for good but that: everything
 * else is tried again.
 */
#include "leasehold/core/metrics.h"
#include "leasehold/kube/client.h"
#include "leasehold/providers/provider.h"
#include "ledger_record.h"

/* What the Secret may hold; the API server takes 1 MiB. Past it no new login is made (LedgerFull).
 * About 3,500 records. */
#define LEDGER_DATA_MAX ((size_t)960 * 1024)

struct ledger;

/* Who logs in, by identity.wrapper: the namespace, account and role are the identity's, the store
 * is the one that is opened. Copied at open. */
struct ledger_owner {
    struct ledger *ledger;
    const char *projection, *uid;
};
/* uid of a login without leases that nobody in particular owns: a later leader revokes it at once.
 */
#define LEDGER_SHARED_UID "shared"

/* How to log in in place of whoever a record names. */
struct ledger_access {
    struct lh_store *store; /* one reference, given away */
    struct lh_identity identity;
    void (*done)(void *arg); /* identity is not needed any more; may be NULL */
    void *arg;
};

struct ledger_options {
    struct lh_loop *loop;
    struct lh_kube *kube;
    const char *namespace_, *name;          /* of the Secret, which exists; copied */
    const struct lh_provider_ops *provider; /* what it stands before; NULL: by the store */
    /* May a write go out now? Asked before each; NULL: always. */
    bool (*leads)(void *arg);
    /* Callbacks come from the loop; inside one, everything but ledger_free() is allowed. */
    /* For revoking what no live login of the same identity can. LH_E_NOTFOUND: store or account are
     * gone, so that it cannot be revoked: it is given up at once. */
    int (*access)(void *arg, const struct ledger_record *r, struct ledger_access *out,
                  struct lh_err *err);
    /* Is there a projection of this uid whose credentials may hang on the record? Asked once per
     * record of an earlier leader, at ledger_synced(). */
    bool (*belongs)(void *arg, const struct ledger_record *r);
    void (*loaded)(void *arg);                   /* it is read, and the term is ours: logins work */
    void (*settled)(void *arg, const char *uid); /* ledger_holds(uid) became false; may be NULL */
    /* Nothing waits for this record any more, though it may live until it ends by itself;
     * err->reason says why: once per record. May be NULL. */
    void (*gave_up)(void *arg, const struct ledger_record *r, const struct lh_err *err);
    void (*fenced)(void *arg); /* another leader wrote: stop everything. Nothing is written again */
    void (*failed)(void *arg, const struct lh_err *err); /* said once per change of the cause */
    void *arg;
};

int ledger_new(const struct ledger_options *opts, struct ledger **out, struct lh_err *err);
/* Revokes nothing. Every provider that was opened over it must be closed before. NULL is a no-op.
 */
void ledger_free(struct ledger *l);

/* This process leads, in this term of the Lease. Reads the Secret until it succeeds, writes the
 * term (a higher one, if the Lease was made anew meanwhile), says loaded. Logins before that fail
 * with LedgerUnavailable, and so they do while the Secret cannot be written. */
void ledger_start(struct ledger *l, int64_t term);
/* The caches of projections are whole: what earlier leaders left and belongs to nobody is revoked
 * from now on; the rest when ledger_release() names it. */
void ledger_synced(struct ledger *l);
/* No longer leader: nothing is written and nobody revoked from now on; logins under way fail. May
 * be started again. */
void ledger_stop(struct ledger *l);

/* Nothing needs the tokens recorded for uid any more, but for those that open providers hold: they
 * are revoked delay_ms from now. After new credentials were published: with the overlap. After the
 * projection's engine ended, or it is gone: 0. */
void ledger_release(struct ledger *l, const char *uid, lh_ms delay_ms);
/* Must the projection's finalizer stay? False once all its tokens are proven gone or given up. */
bool ledger_holds(const struct ledger *l, const char *uid);

/* Everything that is recorded, in no order; fn calls nothing of the ledger. reason, why: what the
 * last try to revoke it came to; NULL: none was made, or none failed. */
typedef void (*ledger_each_fn)(void *arg, const struct ledger_record *r, bool gave_up,
                               const char *reason, const char *why);
void ledger_each(const struct ledger *l, ledger_each_fn fn, void *arg);

struct ledger_info {
    bool loaded, fenced;
    size_t records, given_up, damaged; /* damaged: not readable by this version; never touched */
    size_t bytes;
    const struct lh_err *last_err; /* of the Secret; NULL: the last request succeeded */
};
void ledger_info(const struct ledger *l, struct ledger_info *out);

/* Operations that record: identity.wrapper is a struct ledger_owner. */
extern const struct lh_provider_ops ledger_provider_ops;

/* Registered by ledger_new. */
extern const struct lh_metric ledger_metrics[];

#endif
