/* SPDX-License-Identifier: Apache-2.0 */
#include "lease_priv.h"

#include "leasehold/core/mem.h"

void session_finish(struct lh_session *s)
{
    void (*done)(void *) = s->ended;

    s->ended = NULL;
    s->state = SESSION_OFF;
    if (s->op)
        s->ops->cancel(s->op);
    s->op = NULL;
    s->doing = TOKEN_IDLE;
    s->owes = s->end_revoke && s->retired;
    retire_free(s);
    lh_timer_stop(s->timer);
    lh_timer_stop(s->end_timer);
    if (done)
        done(s->ended_arg);
}

/* A token that was given to us lives on: what we made with it is ended one by one. */
static void end_leases(struct lh_session *s, lh_ms now)
{
    for (size_t i = 0; i < s->grants.n; i++) {
        struct lh_grant *g = session_grant_at(s, i);

        if (g->lease.id)
            retire_lease(s, &g->lease, now);
        if (g->published.id)
            retire_lease(s, &g->published, now);
    }
}

static void end_everything(struct lh_session *s, lh_ms now)
{
    s->revoke = true;
    for (struct retired *r = s->retired; r; r = r->next)
        r->at = now;
    if (!s->owns_token)
        end_leases(s, now);
    else if (s->token.value)
        retire_token(s, &s->token, now);
}

void end_step(struct lh_session *s)
{
    if (s->state != SESSION_ENDING || s->op || s->retired)
        return;
    lh_timer_in(s->end_timer, 0);
}

void lh_session_end(struct lh_session *s, bool revoke, unsigned limit_ms, void (*done)(void *arg),
                    void *arg)
{
    lh_ms now = lh_clock_now();

    s->ended = done;
    s->ended_arg = arg;
    s->end_revoke = revoke;
    for (size_t i = 0; i < s->grants.n; i++)
        grant_cancel(session_grant_at(s, i));
    outage_cancel(s);
    /* A login under way makes a token that would outlive us: wait for its name. */
    if (s->op && (s->doing != TOKEN_LOGIN || !revoke || !s->owns_token)) {
        s->ops->cancel(s->op);
        s->op = NULL;
        s->doing = TOKEN_IDLE;
    }
    s->state = SESSION_ENDING;
    if (revoke)
        end_everything(s, now);
    else
        retire_free(s);
    lh_timer_at(s->end_timer, now + limit_ms);
    session_step(s);
}

bool lh_session_owes(const struct lh_session *s)
{
    return s->owes;
}
