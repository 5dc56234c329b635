/* SPDX-License-Identifier: Apache-2.0 */
#include "lease_priv.h"

#include "leasehold/core/mem.h"

void token_done(struct token *t)
{
    lh_secret_free(t->value);
    lh_free(t->accessor);
    *t = (struct token){0};
}

void token_proved(struct lh_session *s, int64_t id)
{
    if (!s->token.value || id != s->token.id)
        return;
    s->token.proved = true;
    s->token.checked_at = lh_clock_now();
    lh_failures_reset(&s->logins);
}

void token_doubted(struct lh_session *s, int64_t id)
{
    if (s->state != SESSION_LIVE || id != s->token.id)
        return;
    s->state = SESSION_DOUBT;
    lh_failures_reset(&s->doubts);
    if (s->doing == TOKEN_RENEW || s->doing == TOKEN_LOOKUP) {
        s->ops->cancel(s->op);
        s->op = NULL;
        s->doing = TOKEN_IDLE;
    }
}

/* Its leases died with it. One login follows at once; one after a token that never worked waits. */
static void token_dead(struct lh_session *s, lh_ms now)
{
    for (size_t i = 0; i < s->grants.n; i++) {
        struct lh_grant *g = session_grant_at(s, i);

        if (g->lease.id && g->lease.token_id == s->token.id) {
            grant_gone(g);
            g->in_set = true;
        }
        lh_failures_wake(&g->reads, now);
        lh_failures_wake(&g->renewals, now);
    }
    s->set_deadline = 0;
    if (!s->token.proved && !lh_life_is_over(&s->token.life, now))
        lh_failures_note(&s->logins, now, LH_E_EXPIRED, 0, s->published_once, lh_dice());
    token_done(&s->token);
    if (s->state != SESSION_ENDING)
        s->state = SESSION_LOGIN;
    session_dirty(s);
}

/* The leases of the old token are issued again before it ends, and published together. */
static void replace_leases(struct lh_session *s, const struct token *old)
{
    for (size_t i = 0; i < s->grants.n; i++) {
        struct lh_grant *g = session_grant_at(s, i);

        if (g->lease.id && g->lease.token_id == old->id) {
            g->replace = g->in_set = true;
            s->set_deadline = lh_life_at(&old->life, 950);
        }
    }
}

static void token_replaced(struct lh_session *s)
{
    bool used = false;

    replace_leases(s, &s->token);
    for (size_t i = 0; i < s->grants.n; i++)
        used = used || session_grant_at(s, i)->in_set;
    retire_token(s, &s->token, used ? LH_NEVER : lh_clock_now());
}

static int token_take(struct lh_session *s, const struct lh_prov_token *t, struct lh_err *err)
{
    struct token fresh = {.id = s->last_token_id + 1};
    int rc = lh_secret_copy(lh_secret_expose_const(t->token), lh_secret_len(t->token), &fresh.value,
                            err);

    if (rc < 0)
        return rc;
    if (t->accessor) {
        fresh.accessor = lh_strdup(t->accessor);
        if (!fresh.accessor) {
            token_done(&fresh);
            return lh_err_nomem(err);
        }
    }
    fresh.checked_at = t->sent_at;
    fresh.life = (struct lh_life){.start = t->sent_at,
                                  .ms = t->ttl_ms,
                                  .asked_ms = t->ttl_ms,
                                  .renewable = t->renewable,
                                  .dice = lh_dice()};
    if (s->token.value)
        token_replaced(s);
    s->last_token_id = fresh.id;
    s->token = fresh;
    return 0;
}

/* Any answer shows that the store is there; none shows that it is not. */
static void token_op_failed(struct lh_session *s, struct lh_failures *f, const struct lh_err *err)
{
    lh_failures_note(f, lh_clock_now(), err->code, err->retry_ms, s->published_once, lh_dice());
    session_failed(s, NULL, err);
    outage_failed(s, err);
}

static void on_login(void *arg, const struct lh_prov_result *res, const struct lh_err *err)
{
    struct lh_session *s = arg;
    struct lh_err mine = {0};

    s->op = NULL;
    s->doing = TOKEN_IDLE;
    if (!err && token_take(s, res->token, &mine) < 0)
        err = &mine;
    if (err) {
        token_op_failed(s, &s->logins, err);
    } else {
        lh_err_keep(&s->last_err, NULL);
        if (s->state != SESSION_ENDING)
            s->state = SESSION_LIVE;
        else if (s->end_revoke && s->owns_token)
            retire_token(s, &s->token, lh_clock_now());
        if (!res->token->known)
            session_count(s, LH_EV_LOGIN, NULL);
        session_dirty(s);
        outage_over(s, false);
    }
    session_step(s);
}

static void on_renew(void *arg, const struct lh_prov_result *res, const struct lh_err *err)
{
    struct lh_session *s = arg;

    s->op = NULL;
    s->doing = TOKEN_IDLE;
    if (!err) {
        const struct lh_prov_life *l = res->life;

        lh_life_renewed(&s->token.life, l->sent_at, l->ttl_ms, l->renewable, l->capped, lh_dice());
        lh_failures_reset(&s->token.renewals);
        lh_err_keep(&s->last_err, NULL);
        session_count(s, LH_EV_TOKEN_RENEW, NULL);
        session_dirty(s);
        token_proved(s, s->token.id);
        outage_over(s, false);
    } else {
        token_op_failed(s, &s->token.renewals, err);
        if (err->code == LH_E_EXPIRED)
            token_doubted(s, s->token.id);
        else if (err->code == LH_E_INVALID)
            s->token.life.renewable = false; /* a batch token */
    }
    session_step(s);
}

static void on_lookup(void *arg, const struct lh_prov_result *res, const struct lh_err *err)
{
    struct lh_session *s = arg;
    lh_ms now = lh_clock_now();

    (void)res;
    s->op = NULL;
    s->doing = TOKEN_IDLE;
    /* A refusal by policy is an answer to a token that lives. */
    if (!err || err->code == LH_E_DENIED) {
        session_count(s, LH_EV_LOOKUP, NULL);
        lh_err_keep(&s->last_err, NULL);
        token_proved(s, s->token.id);
        s->token.checked_at = now;
        if (s->state == SESSION_DOUBT)
            s->state = SESSION_LIVE;
        outage_over(s, false);
    } else if (err->code == LH_E_EXPIRED) {
        session_failed(s, NULL, err);
        token_dead(s, now);
        outage_over(s, false);
    } else {
        token_op_failed(s, &s->doubts, err);
        s->token.checked_at = now;
    }
    session_step(s);
}

static void token_ask(struct lh_session *s, enum token_op what)
{
    struct lh_err err = {0};
    int rc;

    switch (what) {
    case TOKEN_LOGIN:
        rc = s->ops->login(s->provider, on_login, s, &s->op, &err);
        break;
    case TOKEN_RENEW:
        rc = s->ops->renew_token(s->provider, s->token.value, on_renew, s, &s->op, &err);
        break;
    default:
        rc = s->ops->lookup_token(s->provider, s->token.value, on_lookup, s, &s->op, &err);
        break;
    }
    if (rc == 0) {
        s->doing = what;
        return;
    }
    token_op_failed(s,
                    what == TOKEN_LOGIN   ? &s->logins
                    : what == TOKEN_RENEW ? &s->token.renewals
                                          : &s->doubts,
                    &err);
    s->token.checked_at = lh_clock_now();
    s->again = true;
}

static void ask_when_due(struct lh_session *s, enum token_op what, lh_ms at, lh_ms now)
{
    if (at > now)
        session_due(s, at);
    else if (outage_allows(s, now))
        token_ask(s, what);
}

/* When the token or a lease was last known alive too long ago. */
static lh_ms verify_at(const struct lh_session *s)
{
    lh_ms at = lh_plan_verify(s->token.checked_at, s->store->verify_ms, s->verify_dice);

    for (size_t i = 0; i < s->grants.n && !s->lookup_lease_denied; i++) {
        const struct lh_grant *g = session_grant_at(s, i);
        lh_ms lease_at;

        if (!g->lease.id || g->gone || g->verify)
            continue;
        lease_at = lh_plan_verify(g->lease_checked_at, s->store->verify_ms, s->verify_dice);
        if (lease_at < at)
            at = lease_at;
    }
    return at;
}

/* One occasion for all whose last proof is not fresh, so that it is one burst and not many. */
static void verify_all(struct lh_session *s, lh_ms now)
{
    lh_ms recent = now - s->store->verify_ms / 2;

    s->verify_dice = lh_dice();
    for (size_t i = 0; i < s->grants.n && !s->lookup_lease_denied; i++) {
        struct lh_grant *g = session_grant_at(s, i);

        if (g->lease.id && !g->gone && g->lease_checked_at <= recent)
            g->verify = true;
    }
    if (s->token.checked_at <= recent)
        token_ask(s, TOKEN_LOOKUP);
}

static void live_step(struct lh_session *s, lh_ms now)
{
    struct lh_plan p = lh_plan_life(&s->token.life, &s->token.renewals);
    lh_ms verify = verify_at(s);

    if (s->once)
        return;
    if (p.act == LH_ACT_REPLACE && p.at < s->logins.next)
        p.at = s->logins.next;
    if (p.at <= now) {
        ask_when_due(s, p.act == LH_ACT_RENEW ? TOKEN_RENEW : TOKEN_LOGIN, p.at, now);
        return;
    }
    session_due(s, p.at);
    if (verify > now)
        session_due(s, verify);
    else if (outage_allows(s, now))
        verify_all(s, now);
}

/* Its last request answered with a lost credential more than once: what it made ends with it. */
static void start_over(struct lh_session *s, lh_ms now)
{
    s->start_over = false;
    retire_token(s, &s->token, now);
    s->state = SESSION_LOGIN;
    session_dirty(s);
}

void token_step(struct lh_session *s, lh_ms now)
{
    if (s->token.value && lh_life_is_over(&s->token.life, now) && s->state != SESSION_ENDING) {
        if (s->doing == TOKEN_RENEW || s->doing == TOKEN_LOOKUP) {
            s->ops->cancel(s->op);
            s->op = NULL;
            s->doing = TOKEN_IDLE;
        }
        token_dead(s, now);
    }
    if (s->op)
        return;
    switch (s->state) {
    case SESSION_LOGIN:
        ask_when_due(s, TOKEN_LOGIN, s->logins.next, now);
        break;
    case SESSION_DOUBT:
        ask_when_due(s, TOKEN_LOOKUP, s->doubts.next, now);
        break;
    case SESSION_LIVE:
        if (s->start_over)
            start_over(s, now);
        if (s->state == SESSION_LIVE)
            live_step(s, now);
        else
            ask_when_due(s, TOKEN_LOGIN, s->logins.next, now);
        break;
    case SESSION_OFF:
    case SESSION_ENDING:
        break;
    }
}

const struct lh_secret *lh_session_token(const struct lh_session *s, int64_t *id)
{
    if (s->state != SESSION_LIVE || lh_life_is_over(&s->token.life, lh_clock_now()))
        return NULL;
    *id = s->token.id;
    return s->token.value;
}

void lh_session_used(struct lh_session *s, int64_t id, const struct lh_err *err)
{
    if (!err || err->code == LH_E_DENIED) {
        token_proved(s, id);
        s->published_once = true; /* nobody waits any more: refusals back off as usual */
        outage_over(s, false);
    } else {
        outage_failed(s, err);
        if (err->code == LH_E_EXPIRED)
            token_doubted(s, id);
    }
    session_step(s);
}
