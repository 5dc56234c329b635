/* SPDX-License-Identifier: Apache-2.0 */
#include "lease_priv.h"

#include "leasehold/core/mem.h"

static void retired_free(struct retired *r)
{
    if (r->op)
        r->s->ops->cancel(r->op);
    token_done(&r->token);
    lease_done(&r->lease);
    lh_free(r);
}

static void retired_remove(struct retired *r)
{
    struct retired **p = &r->s->retired;

    while (*p && *p != r)
        p = &(*p)->next;
    if (*p)
        *p = r->next;
    session_dirty(r->s);
    retired_free(r);
}

void retire_free(struct lh_session *s)
{
    while (s->retired) {
        struct retired *r = s->retired;

        s->retired = r->next;
        retired_free(r);
    }
}

static struct retired *retired_add(struct lh_session *s, lh_ms at, lh_ms end)
{
    struct retired *r = lh_calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    r->s = s;
    r->at = at;
    r->end = end;
    r->next = s->retired;
    s->retired = r;
    session_dirty(s);
    return r;
}

/* What is never to be ended by us, or can no longer be, runs out by itself. */
void retire_token(struct lh_session *s, struct token *t, lh_ms at)
{
    struct retired *r = NULL;

    if (s->revoke && s->owns_token)
        r = retired_add(s, at, lh_life_end(&t->life));
    if (!r) {
        token_done(t);
        return;
    }
    r->token = *t;
    *t = (struct token){0};
}

void retire_lease(struct lh_session *s, struct lease *l, lh_ms at)
{
    struct retired *r = NULL;

    if (s->revoke && !s->revoke_lease_denied && at < lh_life_end(&l->life))
        r = retired_add(s, at, lh_life_end(&l->life));
    if (!r) {
        lease_done(l);
        return;
    }
    r->lease = *l;
    *l = (struct lease){0};
}

static void on_revoked(void *arg, const struct lh_prov_result *res, const struct lh_err *err)
{
    struct retired *r = arg;
    struct lh_session *s = r->s;

    (void)res;
    r->op = NULL;
    if (err && (err->code == LH_E_UNAVAILABLE || err->code == LH_E_BUSY)) {
        lh_failures_note(&r->failures, lh_clock_now(), err->code, err->retry_ms, true, lh_dice());
        r->at = r->failures.next;
        outage_failed(s, err);
    } else {
        if (!err)
            session_count(s, LH_EV_REVOKE, NULL);
        else if (r->lease.id && err->code == LH_E_DENIED)
            s->revoke_lease_denied = true;
        retired_remove(r);
        outage_over(s, false);
    }
    session_step(s);
}

static int revoke(struct retired *r)
{
    struct lh_session *s = r->s;

    if (r->token.value)
        return s->ops->revoke_token(s->provider, r->token.value, on_revoked, r, &r->op, NULL);
    return s->ops->revoke_lease(s->provider, s->token.value, r->lease.id, on_revoked, r, &r->op,
                                NULL);
}

/* Done with: ended by itself, or not ours to end any more. */
static bool is_moot(const struct retired *r, lh_ms now)
{
    const struct lh_session *s = r->s;

    if (now >= r->end)
        return true;
    return r->lease.id && (s->revoke_lease_denied || !s->token.value);
}

void retire_step(struct lh_session *s, lh_ms now)
{
    struct retired *next;

    for (struct retired *r = s->retired; r; r = next) {
        next = r->next;
        if (r->op)
            continue;
        if (is_moot(r, now)) {
            retired_remove(r);
            continue;
        }
        if (r->at > now) {
            session_due(s, r->at < r->end ? r->at : r->end);
            continue;
        }
        /* At the end there is no time for the breaker's patience. */
        if (s->state != SESSION_ENDING && !outage_allows(s, now))
            continue;
        if (revoke(r) < 0)
            retired_remove(r);
    }
}
