/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_priv.h"

#include <assert.h>

#include "leasehold/core/mem.h"

struct lh_parked {
    struct lh_parked_session *session;
    lh_ms due, published_at;
    int64_t published_wall_ms;
    uint64_t publications;
    size_t n;
    struct lh_rendered_set shown[];
};

static bool items_rest(const struct lh_engine *e)
{
    for (size_t i = 0; i < e->n_items; i++) {
        const struct item *it = &e->items[i];

        if (it->has_pending || it->removed || it->lost)
            return false;
    }
    return true;
}

/* Where a restart or an application is looked after, nothing is taken apart. */
static bool may_park(const struct lh_engine *e)
{
    return e->state_dir < 0 && !e->notify && !e->ended && !e->held;
}

static bool rests(const struct lh_engine *e)
{
    return e->ready && !e->dirty && !e->publishing && !e->publish_err &&
           e->publish_failures.n == 0 && e->sweep_at == 0 && items_rest(e);
}

static void fill(struct lh_parked *p, struct lh_engine *e, lh_ms check_at)
{
    lh_ms due = lh_parked_session_due(p->session);

    p->due = due < check_at ? due : check_at;
    p->published_at = e->published_at;
    p->published_wall_ms = e->published_wall_ms;
    p->publications = e->publications;
    for (size_t i = 0; i < p->n; i++) {
        p->shown[i] = e->items[i].shown;
        e->items[i].shown = (struct lh_rendered_set){0};
    }
}

int lh_engine_park(struct lh_engine *e, lh_ms until, struct lh_parked **out)
{
    struct lh_engine_freshness f;
    struct lh_parked *p;
    int rc;

    if (!may_park(e))
        return -LH_E_INVALID;
    if (!rests(e))
        return -LH_E_BUSY;
    lh_engine_freshness(e, &f);
    if (f.stale || f.check_at < until)
        return -LH_E_BUSY;
    p = lh_calloc(1, sizeof(*p) + e->n_items * sizeof(p->shown[0]));
    if (!p)
        return -LH_E_NOMEM;
    p->n = e->n_items;
    rc = lh_session_park(e->session, until, &p->session);
    if (rc < 0) {
        lh_free(p);
        return rc;
    }
    e->session = NULL;
    fill(p, e, f.check_at);
    lh_engine_free(e);
    *out = p;
    return 0;
}

lh_ms lh_parked_due(const struct lh_parked *p)
{
    return p->due;
}

void lh_parked_free(struct lh_parked *p)
{
    if (!p)
        return;
    lh_parked_session_free(p->session);
    for (size_t i = 0; i < p->n; i++)
        lh_rendered_set_done(&p->shown[i]);
    lh_free(p);
}

void engine_unpark(struct lh_engine *e, struct lh_parked *p)
{
    assert(p->n == e->n_items);
    lh_session_unpark(e->session, LH_TAKE_PTR(p->session));
    for (size_t i = 0; i < p->n; i++) {
        e->items[i].shown = p->shown[i];
        p->shown[i] = (struct lh_rendered_set){0};
    }
    e->ready = true;
    e->published_at = p->published_at;
    e->published_wall_ms = p->published_wall_ms;
    e->publications = p->publications;
    lh_parked_free(p);
}
