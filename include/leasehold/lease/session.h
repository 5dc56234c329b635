/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_LEASE_SESSION_H
#define LEASEHOLD_LEASE_SESSION_H

/*
 * One store seen by one identity: its token from login to revocation, and the grants that hang on
 * it. A grant is one (path, params, version): one lease, one credential. The session decides *when*
 * everything is asked for (schedule.h); values pass through to its owner and are never kept here.
 *
 * Invariants: a refusal by policy never causes a login; a renewal that fails is never a reason to
 * issue before 0.85 of the life; no answer makes one grant issue more than one credential per lease
 * life; the files' old credential is ended only after lh_session_published().
 *
 * Callbacks come from the loop; inside one, everything but lh_session_free() is allowed.
 */
#include "leasehold/core/buf.h"
#include "leasehold/core/loop.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/lease/schedule.h"
#include "leasehold/lease/state.h"
#include "leasehold/providers/provider.h"

struct lh_session;
struct lh_grant;

enum lh_lease_event {
    LH_EV_LOGIN,       /* a token was given */
    LH_EV_TOKEN_RENEW, /* and renewed */
    LH_EV_LOOKUP,      /* token or lease found alive */
    LH_EV_READ,        /* values came */
    LH_EV_PROBE,       /* a version was asked for */
    LH_EV_ISSUE,       /* values came that were made for us: a lease or a certificate */
    LH_EV_UNCONFIRMED, /* the answer to a request that may have issued was lost */
    LH_EV_RENEW,       /* a lease was renewed */
    LH_EV_REVOKE,      /* a token or lease was ended by us */
    LH_EV_HEALTH,      /* the store was asked how it is */
    LH_EV_FAILURE,     /* something failed; reason says why */
};

struct lh_session_events {
    /* New values of g, borrowed until return: render them now. 0: taken, to be published once the
     * set is complete; negative: cannot be used (err), asked for again when a new answer could
     * help. Values that are as before are not handed on. */
    int (*values)(void *arg, struct lh_grant *g, const struct lh_prov_read *r, struct lh_err *err);
    /* Something moved: is the set complete, is the state to be saved? */
    void (*changed)(void *arg);
    void (*count)(void *arg, enum lh_lease_event ev, const char *reason);
    /* g NULL: the session's own login, renewal or look-up. It is tried again. */
    void (*failed)(void *arg, struct lh_grant *g, const struct lh_err *err);
    void *arg;
};

struct lh_session_options {
    struct lh_loop *loop;
    const struct lh_provider_ops *provider;
    struct lh_store *store;             /* a reference is taken */
    const struct lh_identity *identity; /* borrowed until free */
    bool revoke;                        /* end replaced credentials after their overlap */
    bool once;                          /* nothing is renewed, polled or verified */
    unsigned parallel; /* grants asked for at a time, 0: all; what takes over a second makes room */
    struct lh_session_events events;
    bool parked; /* lh_session_unpark() comes before the start, and brings the provider */
};

int lh_session_new(const struct lh_session_options *opts, struct lh_session **out,
                   struct lh_err *err);
/* Cancels what is in flight; revokes nothing. NULL is a no-op. */
void lh_session_free(struct lh_session *s);

struct lh_grant_spec {
    const char *path;      /* copied */
    const lh_json *params; /* a reference is taken; NULL: a read */
    int64_t version;       /* KV v2; 0: newest */
    int64_t refresh_ms;    /* -1: the store's; never below the store's least */
    int64_t overlap_ms;
    bool optional; /* not there is good enough */
    void *user;
};
/* The grant of equal (path, params, version) if there is one: it then takes the shorter refresh,
 * the longer overlap, and is optional only if all are. Before start. */
int lh_session_add(struct lh_session *s, const struct lh_grant_spec *spec, struct lh_grant **out,
                   struct lh_err *err);

void lh_session_start(struct lh_session *s);
/* Every grant has values taken or published, or is optional and absent; none of a set that a new
 * login replaces is still missing while the old token lives. */
bool lh_session_set_complete(const struct lh_session *s);
/* What values() took is in the files now. */
void lh_session_published(struct lh_session *s);
/* The values of g are lost (a published file is gone): get them again. */
void lh_session_refetch(struct lh_session *s, struct lh_grant *g);
/* The values of g were taken out of the files because they are too old: new ones are handed on
 * whatever they are, and nothing waits for them. */
void lh_session_forget(struct lh_session *s, struct lh_grant *g);
/* Stops everything. With revoke: ends the tokens and with them the leases; a token that was given
 * to us (auth.token) is left alone and its leases ended one by one. done once, from the loop, after
 * at most limit_ms. */
void lh_session_end(struct lh_session *s, bool revoke, unsigned limit_ms, void (*done)(void *arg),
                    void *arg);
/* From done on: something was to be ended and the manager did not confirm it in time. */
bool lh_session_owes(const struct lh_session *s);

/* State. lh_session_version() moves whenever lh_session_save() would give something else. */
uint64_t lh_session_version(const struct lh_session *s);
int lh_session_save(const struct lh_session *s, struct lh_state *out, struct lh_err *err);
/* Before start, after all grants were added. keep: are the files of this grant (note as saved)
 * still there? Leases of grants that are not kept are ended. The state is consumed. */
void lh_session_restore(struct lh_session *s, struct lh_state *st,
                        bool (*keep)(void *arg, struct lh_grant *g, const char *note), void *arg);
/* Text that is saved with what is published of the grant, and what was restored; copied; NULL:
 * none, and it is not kept over a restart. */
int lh_grant_set_note(struct lh_grant *g, const char *note, struct lh_err *err);
/* The same of what is taken and not published yet. From now on both are saved, and the first whose
 * note is kept counts: after a restart in the middle of a publication nobody else knows which. Ends
 * with lh_session_published(), which forgets the note. */
int lh_grant_set_next_note(struct lh_grant *g, const char *note, struct lh_err *err);

/*
 * A session of which nothing is asked before until (boot time) is worth less than its memory: what
 * is left of it is its provider and a record a grant. Only values without a lease, all of them
 * published, and only where the provider lets go of its token (park). On success s is gone, and
 * *out owned. LH_E_BUSY: something is under way, failed, or due before; perhaps later.
 * LH_E_INVALID: it is none that can be parked. LH_E_NOMEM. Never within a callback of its own.
 */
struct lh_parked_session;
int lh_session_park(struct lh_session *s, lh_ms until, struct lh_parked_session **out);
lh_ms lh_parked_session_due(const struct lh_parked_session *p); /* not later; boot time */
void lh_parked_session_free(struct lh_parked_session *p);       /* NULL is a no-op */
/* Of a new session (opts.parked) to which equal grants were added in the same order: it goes on
 * where the other stopped, but for a token, which it takes from its provider. p is consumed. */
void lh_session_unpark(struct lh_session *s, struct lh_parked_session *p);

/* What is known of a grant, for status, metrics and staleness. */
struct lh_grant_info {
    const char *path;
    void *user;
    const char *state; /* name, for people */
    enum lh_secret_kind kind;
    bool kind_known;
    bool held, absent; /* values are published or taken; optional and not there */
    bool gone;         /* the credential in the files is dead, as far as we know */
    bool pending;      /* taken, not published yet */
    const char *version;
    const struct lh_keyed_hash *hash; /* of the values taken last; NULL: none since the start */
    lh_ms issued_at;                  /* start of the life it has */
    lh_ms ends_at;                    /* LH_NEVER: no end */
    lh_ms fresh_at;                   /* last proof that what is published is current; 0 never */
    lh_ms next_at;                    /* next action; LH_NEVER */
    unsigned failures;                /* in a row */
    const struct lh_err *last_err;    /* NULL: the last attempt succeeded */
};
size_t lh_session_grants(const struct lh_session *s);
void lh_session_grant_info(const struct lh_session *s, size_t i, struct lh_grant_info *out);
struct lh_grant *lh_session_grant(const struct lh_session *s, size_t i);
void *lh_grant_user(const struct lh_grant *g);
void lh_grant_info(const struct lh_grant *g, struct lh_grant_info *out);

struct lh_session_info {
    const char *state;
    bool has_token, renewable, in_outage;
    lh_ms token_ends_at;
    const struct lh_err *last_err; /* of the token's life; NULL: all well */
};
void lh_session_info(const struct lh_session *s, struct lh_session_info *out);

/* For calls besides grants, made with the session's login: the provider as it was opened, and the
 * token of now; NULL: none yet, events.changed comes when there is. Both borrowed: until free, and
 * until the loop runs again (an operation copies what it needs). *id goes back with the result. */
struct lh_provider *lh_session_provider(const struct lh_session *s);
const struct lh_secret *lh_session_token(const struct lh_session *s, int64_t *id);
/* What came of such a call (err NULL: it was served): a token that was taken needs no look-up, one
 * that was refused is looked up and replaced, and a store that is away is asked for its health
 * until it is back. */
void lh_session_used(struct lh_session *s, int64_t id, const struct lh_err *err);

#endif
