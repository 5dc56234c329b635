/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_LIB_LEASE_PRIV_H
#define LEASEHOLD_LIB_LEASE_PRIV_H

/*
 * Level-triggered: every event changes what is known and then runs session_step(), which looks at
 * everything, starts what is due and arms the one timer for the next thing that will be.
 */
#include "leasehold/core/vec.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/lease/session.h"

#include "leasehold/api/reasons.h"

struct token {
    struct lh_secret *value;
    char *accessor;
    struct lh_life life;
    struct lh_failures renewals;
    int64_t id;
    lh_ms checked_at; /* last time the manager took it, or was asked in vain */
    bool proved;      /* the manager took it at least once since the login that gave it */
};

enum session_state {
    SESSION_OFF,    /* not started, or ended */
    SESSION_LOGIN,  /* no token */
    SESSION_LIVE,   /* a token; it may be renewed or replaced meanwhile */
    SESSION_DOUBT,  /* the token was refused: looked up before anything else */
    SESSION_ENDING, /* revoking */
};

enum token_op { TOKEN_IDLE, TOKEN_LOGIN, TOKEN_RENEW, TOKEN_LOOKUP };

enum grant_state {
    GRANT_EMPTY,  /* nothing yet */
    GRANT_HELD,   /* values were taken, perhaps published */
    GRANT_ABSENT, /* optional and not there */
};

/* A request that takes longer no longer counts: a slow path must not hold up the others. */
enum { SLOT_MS = 1000 };

enum grant_op { GRANT_IDLE, GRANT_READ, GRANT_PROBE, GRANT_RENEW, GRANT_LOOKUP };

/* A lease that was replaced and may still be in the files. */
struct lease {
    char *id;
    int64_t token_id;
    struct lh_life life;
};

struct lh_grant {
    struct lh_session *s;
    char *path, *note, *next_note, *version;
    lh_json *params;
    int64_t item_version, refresh_ms, overlap_ms;
    bool optional;
    void *user;
    char hex[65]; /* identity over a restart */

    enum grant_state state;
    enum lh_secret_kind kind;
    bool kind_known;
    bool pending;  /* taken, not published */
    bool visible;  /* values of it, of some age, are in the files */
    bool replace;  /* wanted now: a new login ends the token of its lease */
    bool gone;     /* the manager says that the credential is dead */
    bool in_set;   /* replaced together with others: published together */
    bool verify;   /* the lease is to be looked up */
    bool changed;  /* another version is there: read it */
    bool no_probe; /* versions cannot be asked for */
    struct lease lease;
    struct lease published;    /* what is in the files while lease is pending; id NULL: nothing */
    struct lh_keyed_hash hash; /* of the values taken last */
    bool has_hash;
    struct lh_rotation rotation;
    lh_ms rotation_due, rotation_next, rotation_wait;
    lh_ms poll_from, fresh_at, lease_checked_at;
    lh_ms not_before; /* spread after an outage */
    uint32_t dice;
    struct lh_early early;
    struct lh_failures reads, renewals;
    unsigned lost;
    lh_ms lost_until;
    lh_ms next_at;
    struct lh_err *last_err; /* NULL: none */

    enum grant_op doing;
    int64_t doing_token; /* id of the token that it was started with */
    lh_ms asked_at;
    struct lh_provider_op *op;
};

/* What is to be ended: a replaced token with its leases, or a single lease. */
struct retired {
    struct lh_session *s;
    struct retired *next;
    struct token token; /* value NULL: a lease */
    struct lease lease;
    lh_ms at, end;
    struct lh_failures failures;
    struct lh_provider_op *op;
};

struct outage {
    bool on;
    bool asked_ok; /* health said all is well: asking again tells nothing new */
    lh_ms open_until, next_health;
    struct lh_failures failures;
    struct lh_provider_op *op;
};

struct lh_session {
    struct lh_loop *loop;
    const struct lh_provider_ops *ops;
    struct lh_provider *provider;
    struct lh_store *store;
    const struct lh_identity *identity;
    struct lh_session_events ev;
    bool revoke, once, owns_token;
    unsigned parallel, busy; /* busy: grants asked for within the last SLOT_MS, during a step */

    enum session_state state;
    struct token token;
    int64_t last_token_id;
    enum token_op doing;
    struct lh_provider_op *op;
    struct lh_failures logins, doubts;
    bool start_over; /* too many answers were lost: end this token before the next attempt */
    struct lh_err *last_err; /* NULL: none */
    uint32_t verify_dice;
    bool lookup_lease_denied, revoke_lease_denied;

    struct lh_vec grants; /* of struct lh_grant * */
    struct retired *retired;
    lh_ms set_deadline; /* a set that is not whole by then is published as far as it is */
    struct outage outage;
    uint64_t version;
    bool published_once;

    struct lh_timer *timer;
    lh_ms wake_at; /* collected during a step */
    bool stepping, again;

    void (*ended)(void *arg);
    void *ended_arg;
    struct lh_timer *end_timer;
    bool end_revoke, owes;
};

/* session.c */
void session_step(struct lh_session *s);
void session_due(struct lh_session *s, lh_ms at);
void session_count(struct lh_session *s, enum lh_lease_event ev, const char *reason);
void session_failed(struct lh_session *s, struct lh_grant *g, const struct lh_err *err);
static inline void session_dirty(struct lh_session *s)
{
    s->version++;
}
static inline struct lh_grant *session_grant_at(const struct lh_session *s, size_t i)
{
    return *(struct lh_grant **)lh_vec_at(&s->grants, i);
}

/* token.c */
void token_step(struct lh_session *s, lh_ms now);
void token_done(struct token *t);
/* The manager took the token with this id. */
void token_proved(struct lh_session *s, int64_t id);
/* The manager refused it: look it up before anything else. */
void token_doubted(struct lh_session *s, int64_t id);

/* grant.c: what is to be done, and when */
void grant_step(struct lh_grant *g, lh_ms now);
lh_ms grant_due(const struct lh_grant *g); /* when it has something to do; LH_NEVER */
void grant_free(struct lh_grant *g);
void grant_cancel(struct lh_grant *g);
/* Its lease is dead: by the manager's word, or with the token that it hung on. */
void grant_gone(struct lh_grant *g);
void grant_published(struct lh_grant *g, lh_ms now);
/* It waits for a store that is back: no longer than until at. */
bool grant_waits(const struct lh_grant *g, lh_ms now);
void grant_wake(struct lh_grant *g, lh_ms at);
bool grant_blocks_set(const struct lh_grant *g, lh_ms now);
lh_ms grant_expiry(const struct lh_grant *g);
bool grant_may_issue(const struct lh_grant *g); /* a read may make a credential */
void lease_done(struct lease *l);

/* fetch.c: asking, and what the answers mean */
void grant_ask(struct lh_grant *g, enum grant_op what);

/* outage.c */
void outage_step(struct lh_session *s, lh_ms now);
/* An answer other than success: is the store away, or is it there and says no? */
void outage_failed(struct lh_session *s, const struct lh_err *err);
void outage_over(struct lh_session *s, bool by_health);
/* May anything be asked now? While the store is away: one at a time, after its backoff. Otherwise
 * says when to look again. */
bool outage_allows(struct lh_session *s, lh_ms now);
void outage_cancel(struct lh_session *s);

/* retire.c: consumes what it is given */
void retire_token(struct lh_session *s, struct token *t, lh_ms at);
void retire_lease(struct lh_session *s, struct lease *l, lh_ms at);
void retire_step(struct lh_session *s, lh_ms now);
void retire_free(struct lh_session *s);

/* end.c */
void end_step(struct lh_session *s);
void session_finish(struct lh_session *s);

#endif
