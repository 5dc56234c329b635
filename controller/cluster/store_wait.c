/* SPDX-License-Identifier: Apache-2.0 */
/* Who depends on a store, and how they are woken when it is there again. */
#include <stdlib.h>

#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"
#include "leasehold/lease/schedule.h"
#include "store_health_priv.h"

int store_wait_new(struct store_health *h, const struct store_ref *ref, void (*wake)(void *arg),
                   void *arg, struct store_wait **out, struct lh_err *err)
{
    struct store_wait *w = lh_calloc(1, sizeof(*w));
    struct health *s = w ? health_get(h, ref) : NULL;

    if (!s) {
        lh_free(w);
        return lh_err_nomem(err);
    }
    *w = (struct store_wait){
        .s = s, .wake = wake, .arg = arg, .expires = LH_NEVER, .slot = SIZE_MAX};
    w->next = s->waits;
    if (s->waits)
        s->waits->prev = w;
    s->waits = w;
    w->failed = s->state == STORE_ABSENT;
    /* The first makes it worth asking more often. */
    if (s->n_waits++ == 0)
        health_hint(s);
    *out = w;
    return 0;
}

void store_wait_free(struct store_wait *w)
{
    struct health *s;

    if (!w)
        return;
    s = w->s;
    if (w->slot != SIZE_MAX)
        *(struct store_wait **)lh_vec_at(&s->round, w->slot) = NULL;
    *(w->prev ? &w->prev->next : &s->waits) = w->next;
    if (w->next)
        w->next->prev = w->prev;
    s->n_waits--;
    lh_free(w);
    health_put(s);
}

void store_wait_expires(struct store_wait *w, lh_ms at)
{
    w->expires = at;
}

/* 5xx of one path is that path's trouble; these are the store's. */
static bool is_outage(const struct lh_err *err)
{
    return err->code == LH_E_UNAVAILABLE && err->reason != LH_REASON_ManagerError;
}

void store_wait_report(struct store_wait *w, const struct lh_err *err)
{
    bool down = w->s->state == STORE_DOWN;

    if (err && !is_outage(err))
        return;
    w->failed = err != NULL;
    if ((err != NULL) != down)
        health_hint(w->s);
}

static int by_expiry(const void *a, const void *b)
{
    lh_ms x = (*(struct store_wait *const *)a)->expires;
    lh_ms y = (*(struct store_wait *const *)b)->expires;

    return x < y ? -1 : x > y;
}

static lh_ms turn_of(const struct health *s, size_t k)
{
    unsigned rps = s->store ? s->store->requests_per_second : 0;

    return s->round_at + lh_plan_wake((unsigned)k, (unsigned)s->round.n, rps);
}

void store_wake_stop(struct health *s)
{
    for (struct store_wait *w = s->waits; w; w = w->next)
        w->slot = SIZE_MAX;
    lh_vec_clear(&s->round);
    s->round_next = 0;
    lh_timer_stop(s->timer);
}

void store_wake(struct health *s, bool all)
{
    struct store_wait **list;

    /* What an earlier round did not reach is in this one. */
    for (struct store_wait *w = s->waits; w; w = w->next)
        w->failed = w->failed || w->slot != SIZE_MAX;
    store_wake_stop(s);
    for (struct store_wait *w = s->waits; w; w = w->next) {
        /* Without memory for the order its own retry has to find out. */
        if ((all || w->failed) && !lh_vec_push(&s->round, &w))
            break;
    }
    if (s->round.n == 0)
        return;
    list = s->round.p;
    if (s->round.n > 1)
        qsort(list, s->round.n, sizeof(*list), by_expiry);
    for (size_t i = 0; i < s->round.n; i++) {
        list[i]->slot = i;
        list[i]->failed = false;
    }
    s->round_at = lh_clock_now();
    lh_timer_at(s->timer, s->round_at);
}

/* The next whose turn it is; NULL: none now. */
static struct store_wait *next_due(struct health *s)
{
    struct store_wait *w = NULL;

    while (!w && s->round_next < s->round.n && turn_of(s, s->round_next) <= lh_clock_now())
        w = *(struct store_wait **)lh_vec_at(&s->round, s->round_next++);
    if (w)
        w->slot = SIZE_MAX;
    return w;
}

void store_wake_due(void *arg)
{
    struct health *s = arg;
    struct store_wait *w = next_due(s);

    if (s->round_next < s->round.n)
        lh_timer_at(s->timer, turn_of(s, s->round_next));
    else
        store_wake_stop(s);
    /* One a turn: it may end itself, the others, and so this store. */
    if (w)
        w->wake(w->arg);
}
