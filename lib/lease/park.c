/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions in which nothing happens for a while: thousands of them are records, not machines. */
#include "lease_priv.h"

#include <assert.h>

#include "leasehold/core/mem.h"

struct parked_grant {
    char *version;
    struct lh_keyed_hash hash;
    lh_ms poll_from, fresh_at;
    uint32_t dice;
    bool absent, kind_known, visible, no_probe, has_hash;
};

struct lh_parked_session {
    const struct lh_provider_ops *ops;
    struct lh_provider *provider;
    lh_ms due;
    size_t n;
    struct parked_grant grants[];
};

/* A value without a lease, as it is in the files; nothing failed and nothing is asked. */
static bool grant_rests(const struct lh_grant *g)
{
    bool well = !g->op && !g->last_err && g->reads.n == 0 && g->renewals.n == 0 && g->lost == 0;
    bool done = !g->pending && !g->replace && !g->in_set && !g->changed && !g->verify;

    if (!well || !done || g->state == GRANT_EMPTY)
        return false;
    return g->state == GRANT_ABSENT || g->visible;
}

/* What must be ended some day, or counts down, needs its session. */
static bool grant_may_park(const struct lh_grant *g)
{
    bool plain = !g->kind_known || g->kind == LH_KIND_KV;

    return plain && !g->lease.id && !g->published.id && !g->gone && !g->note && !g->next_note &&
           (g->kind_known || g->state != GRANT_HELD);
}

static bool session_rests(const struct lh_session *s)
{
    return s->state == SESSION_LIVE && !s->op && !s->retired && !s->outage.on && !s->outage.op &&
           !s->start_over && !s->stepping && !s->last_err && s->published_once;
}

static void take_grant(struct parked_grant *to, struct lh_grant *g)
{
    *to = (struct parked_grant){.version = LH_TAKE_PTR(g->version),
                                .hash = g->hash,
                                .poll_from = g->poll_from,
                                .fresh_at = g->fresh_at,
                                .dice = g->dice,
                                .absent = g->state == GRANT_ABSENT,
                                .kind_known = g->kind_known,
                                .visible = g->visible,
                                .no_probe = g->no_probe,
                                .has_hash = g->has_hash};
}

static int check(const struct lh_session *s, lh_ms until, lh_ms *due)
{
    bool rests = session_rests(s);

    *due = LH_NEVER;
    if (!s->ops->park || s->once)
        return -LH_E_INVALID;
    for (size_t i = 0; i < s->grants.n; i++) {
        const struct lh_grant *g = session_grant_at(s, i);
        lh_ms at = grant_due(g);

        if (g->kind_known && !grant_may_park(g))
            return -LH_E_INVALID;
        rests = rests && grant_may_park(g) && grant_rests(g);
        *due = at < *due ? at : *due;
    }
    return rests && *due >= until ? 0 : -LH_E_BUSY;
}

int lh_session_park(struct lh_session *s, lh_ms until, struct lh_parked_session **out)
{
    struct lh_parked_session *p;
    lh_ms due;
    int rc = check(s, until, &due);

    if (rc < 0)
        return rc;
    p = lh_calloc(1, sizeof(*p) + s->grants.n * sizeof(p->grants[0]));
    if (!p)
        return -LH_E_NOMEM;
    if (!s->ops->park(s->provider)) {
        lh_free(p);
        return -LH_E_INVALID;
    }
    p->ops = s->ops;
    p->provider = LH_TAKE_PTR(s->provider);
    p->due = due;
    p->n = s->grants.n;
    for (size_t i = 0; i < p->n; i++)
        take_grant(&p->grants[i], session_grant_at(s, i));
    lh_session_free(s);
    *out = p;
    return 0;
}

lh_ms lh_parked_session_due(const struct lh_parked_session *p)
{
    return p->due;
}

void lh_parked_session_free(struct lh_parked_session *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n; i++)
        lh_free(p->grants[i].version);
    if (p->provider)
        p->ops->close(p->provider);
    lh_free(p);
}

static void give_grant(struct lh_grant *g, struct parked_grant *from)
{
    lh_free(g->version);
    g->version = LH_TAKE_PTR(from->version);
    g->hash = from->hash;
    g->has_hash = from->has_hash;
    g->poll_from = from->poll_from;
    g->fresh_at = from->fresh_at;
    g->dice = from->dice;
    g->state = from->absent ? GRANT_ABSENT : GRANT_HELD;
    g->kind = LH_KIND_KV;
    g->kind_known = from->kind_known;
    g->visible = from->visible;
    g->no_probe = from->no_probe;
}

void lh_session_unpark(struct lh_session *s, struct lh_parked_session *p)
{
    assert(p->n == s->grants.n && p->ops == s->ops && !s->provider);
    s->provider = LH_TAKE_PTR(p->provider);
    s->ops->unpark(s->provider);
    for (size_t i = 0; i < p->n; i++)
        give_grant(session_grant_at(s, i), &p->grants[i]);
    s->published_once = true;
    lh_parked_session_free(p);
}
