/* SPDX-License-Identifier: Apache-2.0 */
/* The tokens of an account: one login, renewal and look-up for all who wait for it. */
#include <string.h>

#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"
#include "shared_priv.h"

enum { WORTH_PER_MILLE = 800 }; /* a token past this part of its life is not handed out any more */

/* ---- operations of a handle ---- */

static bool waits(const struct lh_provider_op *op)
{
    return op->kind != OP_ANSWER && op->kind != OP_THROUGH;
}

static void shared_op_unlink(struct lh_provider_op *op)
{
    struct lh_provider_op **at = &op->p->all;

    while (*at && *at != op)
        at = &(*at)->next;
    if (*at)
        *at = op->next;
    if (!waits(op))
        return;
    for (at = &op->p->g->waiters; *at && *at != op;)
        at = &(*at)->next_waiter;
    if (*at)
        *at = op->next_waiter;
}

static void shared_op_release(struct lh_provider_op *op)
{
    lh_timer_free(op->timer);
    lh_free(op);
}

void shared_op_finish(struct lh_provider_op *op, const struct lh_prov_result *res,
                      const struct lh_err *err)
{
    op->finished = true;
    shared_op_unlink(op);
    op->done(op->arg, err ? NULL : res, err); /* may close the handle */
    shared_op_release(op);
}

void shared_op_cancel(struct lh_provider_op *op)
{
    if (!op || op->finished)
        return;
    if (op->inner)
        op->p->g->ops->cancel(op->inner);
    shared_op_unlink(op);
    shared_op_release(op);
}

int shared_op_new(struct lh_provider *p, enum kind kind, struct shared *t, lh_prov_done_fn done,
                  void *arg, struct lh_provider_op **out, struct lh_err *err)
{
    struct lh_provider_op *op = lh_calloc(1, sizeof(*op));

    if (!op)
        return lh_err_nomem(err);
    *op = (struct lh_provider_op){
        .p = p, .kind = kind, .t = t, .done = done, .arg = arg, .next = p->all};
    p->all = op;
    if (waits(op)) {
        op->next_waiter = p->g->waiters;
        p->g->waiters = op;
    }
    *out = op;
    return 0;
}

int shared_op_started(int rc, struct lh_provider_op *op, struct lh_provider_op **out)
{
    if (rc < 0) {
        shared_op_unlink(op);
        shared_op_release(op);
        return rc;
    }
    *out = op;
    return 0;
}

/* ---- tokens ---- */

void shared_token_free(struct shared *t)
{
    struct group *g = t->g;
    struct shared **at = &g->tokens;

    while (*at && *at != t)
        at = &(*at)->next;
    if (*at)
        *at = t->next;
    if (g->current == t)
        g->current = NULL;
    if (t->renew)
        g->ops->cancel(t->renew);
    if (t->lookup)
        g->ops->cancel(t->lookup);
    if (t->revoke)
        g->ops->cancel(t->revoke);
    lh_timer_free(t->end);
    lh_secret_free(t->value);
    lh_free(t->accessor);
    lh_free(t);
}

static void on_revoked(void *arg, const struct lh_prov_result *res, const struct lh_err *err)
{
    struct shared *t = arg;
    struct group *g = t->g;
    lh_ms now = lh_clock_now();

    (void)res;
    t->revoke = NULL;
    if (err && (err->code == LH_E_UNAVAILABLE || err->code == LH_E_BUSY) &&
        (t->life.ttl_ms == 0 || now < t->life.sent_at + t->life.ttl_ms)) {
        lh_failures_note(&t->failures, now, err->code, err->retry_ms, true, lh_dice());
        lh_timer_at(t->end, t->failures.next);
        return;
    }
    shared_token_free(t);
    shared_group_check(g);
}

static void revoke(struct shared *t)
{
    struct group *g = t->g;

    if (t->users > 0 || t->revoke)
        return;
    if (g->current == t)
        g->current = NULL;
    if (t->dead || g->ops->revoke_token(g->inner, t->value, on_revoked, t, &t->revoke, NULL) < 0) {
        shared_token_free(t);
        shared_group_check(g);
    }
}

static void on_end(void *arg)
{
    revoke(arg);
}

void shared_token_unuse(struct shared *t)
{
    if (!t || --t->users > 0)
        return;
    /* Who is parked comes back for it. */
    if (t == t->g->current && t->g->n_parked > 0 && !t->dead && !t->g->s->hurry)
        return;
    lh_timer_in(t->end,
                t == t->g->current && !t->dead && !t->g->s->hurry ? SHARED_LOGIN_LINGER_MS : 0);
}

/* The token that a handle means; NULL: one that is not its own any more. */
static struct shared *token_of(const struct lh_provider *p, const struct lh_secret *token)
{
    struct shared *of[] = {p->now, p->old};

    for (size_t i = 0; i < LH_ARRAY_LEN(of); i++) {
        if (of[i] && lh_secret_len(of[i]->value) == lh_secret_len(token) &&
            memcmp(lh_secret_expose_const(of[i]->value), lh_secret_expose_const(token),
                   lh_secret_len(token)) == 0)
            return of[i];
    }
    return NULL;
}

static void unknown(struct lh_err *err)
{
    lh_err_fill(err, LH_E_EXPIRED, "the shared token has ended");
    err->reason = LH_REASON_TokenExpired;
}

/* ---- answers ---- */

static void tell_token(struct lh_provider_op *op, struct shared *t, bool known)
{
    struct lh_provider *p = op->p;
    const struct lh_prov_token token = {.token = t->value,
                                        .accessor = t->accessor,
                                        .ttl_ms = t->life.ttl_ms,
                                        .renewable = t->life.renewable,
                                        .sent_at = t->life.sent_at,
                                        .known = known};
    const struct lh_prov_result res = {.token = &token};

    if (p->now != t) {
        t->users++;
        lh_timer_stop(t->end);
        shared_token_unuse(p->old);
        p->old = p->now;
        p->now = t;
    }
    p->known_at = t->life.sent_at;
    shared_op_finish(op, &res, NULL);
}

/* A renewal: all that it gave, as from when it was asked for. */
static void tell_life(struct lh_provider_op *op, struct shared *t)
{
    const struct lh_prov_life life = t->life;
    const struct lh_prov_result res = {.life = &life};

    op->p->known_at = life.sent_at;
    shared_op_finish(op, &res, NULL);
}

/* A look-up: what is left of it. */
static void tell_left(struct lh_provider_op *op, const struct shared *t)
{
    struct lh_prov_life life = t->life;
    const struct lh_prov_result res = {.life = &life};

    life.sent_at = lh_clock_now();
    if (life.ttl_ms > 0)
        life.ttl_ms -= life.sent_at - t->life.sent_at;
    shared_op_finish(op, &res, NULL);
}

static void on_answer(void *arg)
{
    struct lh_provider_op *op = arg;
    const struct lh_prov_result nothing = {0};
    struct lh_err err = {0};

    if (op->about == OP_LOGIN && op->t != op->p->g->current) {
        unknown(&err);
        err.code = LH_E_UNAVAILABLE; /* it went just now: once more */
        shared_op_finish(op, NULL, &err);
    } else if (op->about == OP_LOGIN) {
        tell_token(op, op->t, true);
    } else if (op->about == OP_THROUGH || ((op->about == OP_RENEW || op->about == OP_LOOKUP) &&
                                           op->t != op->p->now && op->t != op->p->old)) {
        unknown(&err);
        shared_op_finish(op, NULL, &err);
    } else if (op->about == OP_RENEW) {
        tell_life(op, op->t);
    } else if (op->about == OP_LOOKUP) {
        tell_left(op, op->t);
    } else if (op->about == OP_HEALTH) {
        const struct group *g = op->p->g;
        const struct lh_prov_result health = {.health = &g->last_health};

        err = g->health_err;
        shared_op_finish(op, &health, err.code ? &err : NULL);
    } else {
        shared_op_finish(op, &nothing, NULL);
    }
}

int shared_op_answer(struct lh_provider *p, enum kind about, struct shared *t, lh_prov_done_fn done,
                     void *arg, struct lh_provider_op **out, struct lh_err *err)
{
    struct lh_provider_op *op;
    int rc = shared_op_new(p, OP_ANSWER, t, done, arg, &op, err);

    if (rc < 0)
        return rc;
    op->about = about;
    rc = lh_timer_new(p->g->s->opts.loop, on_answer, op, &op->timer, err);
    if (rc == 0)
        lh_timer_in(op->timer, 0);
    return shared_op_started(rc, op, out);
}

struct lh_provider_op *shared_op_waiting(const struct group *g, enum kind kind,
                                         const struct shared *t)
{
    for (struct lh_provider_op *op = g->waiters; op; op = op->next_waiter) {
        if (op->kind == kind && op->t == t)
            return op;
    }
    return NULL;
}

static void fail_all(const struct group *g, enum kind kind, const struct shared *t,
                     const struct lh_err *err)
{
    struct lh_provider_op *op;

    while ((op = shared_op_waiting(g, kind, t)) != NULL)
        shared_op_finish(op, NULL, err);
}

/* ---- login ---- */

static int take(struct group *g, const struct lh_prov_token *from, struct lh_err *err)
{
    struct shared *t = lh_calloc(1, sizeof(*t));
    int rc;

    if (!t)
        return lh_err_nomem(err);
    t->g = g;
    t->next = g->tokens;
    g->tokens = t;
    t->life = (struct lh_prov_life){
        .ttl_ms = from->ttl_ms, .renewable = from->renewable, .sent_at = from->sent_at};
    t->looked_at = from->sent_at;
    rc = lh_secret_copy(lh_secret_expose_const(from->token), lh_secret_len(from->token), &t->value,
                        err);
    if (rc == 0)
        rc = lh_timer_new(g->s->opts.loop, on_end, t, &t->end, err);
    if (rc == 0 && from->accessor) {
        t->accessor = lh_strdup(from->accessor);
        rc = t->accessor ? 0 : lh_err_nomem(err);
    }
    if (rc < 0) {
        shared_token_free(t);
        return rc;
    }
    if (g->current && g->current->users == 0) /* it was kept for those who are parked */
        lh_timer_in(g->current->end, 0);
    g->current = t;
    return 0;
}

bool shared_park(struct lh_provider *p)
{
    struct group *g = p->g;

    /* One is left that has its token renewed in time. */
    if (p->all || g->s->hurry || g->n_handles - g->n_parked < 2)
        return false;
    g->n_parked++;
    p->parked = true;
    shared_token_unuse(LH_TAKE_PTR(p->now));
    shared_token_unuse(LH_TAKE_PTR(p->old));
    return true;
}

void shared_unpark(struct lh_provider *p)
{
    struct group *g = p->g;

    if (!p->parked)
        return;
    p->parked = false;
    if (--g->n_parked == 0 && g->current && g->current->users == 0)
        lh_timer_in(g->current->end, g->s->hurry ? 0 : SHARED_LOGIN_LINGER_MS);
}

static void on_login(void *arg, const struct lh_prov_result *res, const struct lh_err *err)
{
    struct group *g = arg;
    struct lh_err mine = {0};
    struct lh_provider_op *op;
    struct shared *t;

    g->login = NULL;
    if (!err && take(g, res->token, &mine) < 0)
        err = &mine;
    if (err) {
        fail_all(g, OP_LOGIN, NULL, err);
        shared_group_check(g);
        return;
    }
    t = g->current;
    t->users++; /* while it is told */
    while ((op = shared_op_waiting(g, OP_LOGIN, NULL)) != NULL)
        tell_token(op, t, t->users > 1);
    shared_token_unuse(t);
}

/* Is there a token that a handle does not know yet, and that lives for a while? */
static bool is_worth(const struct lh_provider *p)
{
    const struct shared *t = p->g->current;

    return t && !t->dead && t != p->now && !t->revoke &&
           (t->life.ttl_ms == 0 ||
            lh_clock_now() < t->life.sent_at + t->life.ttl_ms * WORTH_PER_MILLE / 1000);
}

int shared_login(struct lh_provider *p, lh_prov_done_fn done, void *arg,
                 struct lh_provider_op **out, struct lh_err *err)
{
    struct group *g = p->g;
    struct lh_provider_op *op;
    int rc;

    if (is_worth(p))
        return shared_op_answer(p, OP_LOGIN, g->current, done, arg, out, err);
    rc = shared_op_new(p, OP_LOGIN, NULL, done, arg, &op, err);
    if (rc < 0)
        return rc;
    if (!g->login)
        rc = g->ops->login(g->inner, on_login, g, &g->login, err);
    return shared_op_started(rc, op, out);
}

/* ---- renewal and look-up ---- */

static void lives(struct shared *t, enum kind kind, const struct lh_prov_result *res,
                  const struct lh_err *err)
{
    struct group *g = t->g;
    struct lh_provider_op *op;

    if (err) {
        fail_all(g, kind, t, err);
        return;
    }
    if (kind == OP_RENEW)
        t->life = *res->life;
    while ((op = shared_op_waiting(g, kind, t)) != NULL) {
        if (kind == OP_RENEW)
            tell_life(op, t);
        else
            shared_op_finish(op, res, NULL);
    }
}

static void on_renewed(void *arg, const struct lh_prov_result *res, const struct lh_err *err)
{
    struct shared *t = arg;

    t->renew = NULL;
    if (err && err->code == LH_E_EXPIRED)
        t->doubted_at = lh_clock_now();
    t->users++;
    lives(t, OP_RENEW, res, err);
    shared_token_unuse(t);
}

static void on_looked_up(void *arg, const struct lh_prov_result *res, const struct lh_err *err)
{
    struct shared *t = arg;

    t->lookup = NULL;
    if (!err)
        t->looked_at = lh_clock_now();
    else
        t->dead = err->code == LH_E_EXPIRED;
    t->users++;
    lives(t, OP_LOOKUP, res, err);
    shared_token_unuse(t);
}

int shared_renew_token(struct lh_provider *p, const struct lh_secret *token, lh_prov_done_fn done,
                       void *arg, struct lh_provider_op **out, struct lh_err *err)
{
    struct shared *t = token_of(p, token);
    struct lh_provider_op *op;
    int rc;

    if (!t || t->dead)
        return shared_op_answer(p, OP_THROUGH, NULL, done, arg, out, err);
    if (t->life.sent_at > p->known_at) /* another's renewal was ours, too */
        return shared_op_answer(p, OP_RENEW, t, done, arg, out, err);
    rc = shared_op_new(p, OP_RENEW, t, done, arg, &op, err);
    if (rc < 0)
        return rc;
    if (!t->renew)
        rc = p->g->ops->renew_token(p->g->inner, t->value, on_renewed, t, &t->renew, err);
    return shared_op_started(rc, op, out);
}

int shared_lookup_token(struct lh_provider *p, const struct lh_secret *token, lh_prov_done_fn done,
                        void *arg, struct lh_provider_op **out, struct lh_err *err)
{
    struct shared *t = token_of(p, token);
    struct lh_provider_op *op;
    int rc;

    if (!t || t->dead)
        return shared_op_answer(p, OP_THROUGH, NULL, done, arg, out, err);
    if (t->looked_at > t->doubted_at && lh_clock_now() - t->looked_at < p->g->store->verify_ms / 2)
        return shared_op_answer(p, OP_LOOKUP, t, done, arg, out, err);
    rc = shared_op_new(p, OP_LOOKUP, t, done, arg, &op, err);
    if (rc < 0)
        return rc;
    if (!t->lookup)
        rc = p->g->ops->lookup_token(p->g->inner, t->value, on_looked_up, t, &t->lookup, err);
    return shared_op_started(rc, op, out);
}

int shared_revoke_token(struct lh_provider *p, const struct lh_secret *token, lh_prov_done_fn done,
                        void *arg, struct lh_provider_op **out, struct lh_err *err)
{
    struct shared *t = token_of(p, token);
    int rc = shared_op_answer(p, OP_ANSWER, NULL, done, arg, out, err);

    if (rc < 0 || !t)
        return rc;
    if (p->now == t)
        p->now = NULL;
    else
        p->old = NULL;
    shared_token_unuse(t);
    return 0;
}
