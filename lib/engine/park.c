/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_priv.h"

#include <assert.h>
#include <string.h>

#include "leasehold/core/mem.h"

struct lh_parked {
    struct lh_parked_session *session;
    lh_ms due, published_at;
    int64_t published_wall_ms;
    uint64_t publications;
    size_t n_items;
    char files[]; /* per item how many, then of each its mode and its path */
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

static size_t files_size(const struct lh_engine *e)
{
    size_t n = 0;

    for (size_t i = 0; i < e->n_items; i++) {
        const struct lh_rendered_set *set = &e->items[i].shown;

        n += sizeof(set->n);
        for (size_t k = 0; k < set->n; k++)
            n += sizeof(set->v[k].mode) + strlen(set->v[k].path) + 1;
    }
    return n;
}

static char *put(char *to, const void *p, size_t n)
{
    memcpy(to, p, n);
    return to + n;
}

static void put_files(struct lh_parked *p, const struct lh_engine *e)
{
    char *to = p->files;

    for (size_t i = 0; i < e->n_items; i++) {
        const struct lh_rendered_set *set = &e->items[i].shown;

        to = put(to, &set->n, sizeof(set->n));
        for (size_t k = 0; k < set->n; k++) {
            to = put(to, &set->v[k].mode, sizeof(set->v[k].mode));
            to = put(to, set->v[k].path, strlen(set->v[k].path) + 1);
        }
    }
}

static const char *get(const char *from, void *p, size_t n)
{
    memcpy(p, from, n);
    return from + n;
}

/* One item's; NULL: there is no memory. What was read so far is in the set, and its owner's. */
static const char *get_files(const char *from, struct lh_rendered_set *set)
{
    size_t n;

    from = get(from, &n, sizeof(n));
    set->v = lh_calloc(n ? n : 1, sizeof(*set->v));
    for (size_t k = 0; set->v && k < n; k++) {
        struct lh_rendered *f = &set->v[k];

        from = get(from, &f->mode, sizeof(f->mode));
        f->path = lh_strdup(from);
        if (!f->path)
            return NULL;
        set->n++;
        from += strlen(from) + 1;
    }
    return set->v ? from : NULL;
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
    p = lh_calloc(1, sizeof(*p) + files_size(e));
    if (!p)
        return -LH_E_NOMEM;
    rc = lh_session_park(e->session, until, &p->session);
    if (rc < 0) {
        lh_free(p);
        return rc;
    }
    e->session = NULL;
    p->due = lh_parked_session_due(p->session);
    p->due = p->due < f.check_at ? p->due : f.check_at;
    p->published_at = e->published_at;
    p->published_wall_ms = e->published_wall_ms;
    p->publications = e->publications;
    p->n_items = e->n_items;
    put_files(p, e);
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
    lh_free(p);
}

int engine_unpark(struct lh_engine *e, struct lh_parked *p, struct lh_err *err)
{
    const char *from = p->files;

    assert(p->n_items == e->n_items);
    for (size_t i = 0; i < e->n_items; i++) {
        from = get_files(from, &e->items[i].shown);
        if (!from)
            return lh_err_nomem(err);
    }
    lh_session_unpark(e->session, LH_TAKE_PTR(p->session));
    e->ready = true;
    e->published_at = p->published_at;
    e->published_wall_ms = p->published_wall_ms;
    e->publications = p->publications;
    lh_parked_free(p);
    return 0;
}
