/* SPDX-License-Identifier: Apache-2.0 */
#include "lease_priv.h"

#include <stdlib.h>

#include "leasehold/core/mem.h"

/* How long one trial may take before another may start. */
enum { TRIAL_MS = 5000 };

void outage_cancel(struct lh_session *s)
{
    if (s->outage.op)
        s->ops->cancel(s->outage.op);
    s->outage.op = NULL;
}

/* 5xx of one path is that path's trouble; these are the store's. */
static bool is_outage(const struct lh_err *err)
{
    return err->code == LH_E_UNAVAILABLE && err->reason != LH_REASON_ManagerError;
}

void outage_failed(struct lh_session *s, const struct lh_err *err)
{
    struct outage *o = &s->outage;
    lh_ms now = lh_clock_now();

    if (!is_outage(err)) {
        if (err->http_status != 0)
            outage_over(s, false);
        return;
    }
    if (!o->on)
        o->next_health = lh_plan_health(now, lh_dice());
    o->on = true;
    lh_failures_note(&o->failures, now, err->code, err->retry_ms, s->published_once, lh_dice());
    o->open_until = o->failures.next;
}

static int by_expiry(const void *a, const void *b)
{
    lh_ms x = grant_expiry(*(struct lh_grant *const *)a);
    lh_ms y = grant_expiry(*(struct lh_grant *const *)b);

    return x < y ? -1 : x > y;
}

static void wake_all(struct lh_session *s, lh_ms now)
{
    struct lh_vec waiting;
    unsigned n;

    lh_failures_wake(&s->logins, now);
    lh_failures_wake(&s->doubts, now);
    lh_failures_wake(&s->token.renewals, now);
    lh_vec_init(&waiting, sizeof(struct lh_grant *));
    for (size_t i = 0; i < s->grants.n; i++) {
        struct lh_grant *g = session_grant_at(s, i);

        /* Without memory for the order it wakes at once. */
        if (grant_waits(g, now) && !lh_vec_push(&waiting, &g))
            grant_wake(g, now);
    }
    n = (unsigned)waiting.n;
    if (n > 1)
        qsort(waiting.p, n, sizeof(struct lh_grant *), by_expiry);
    for (unsigned k = 0; k < n; k++)
        grant_wake(*(struct lh_grant **)lh_vec_at(&waiting, k),
                   now + lh_plan_wake(k, n, s->store->requests_per_second));
    lh_vec_done(&waiting);
}

void outage_over(struct lh_session *s, bool by_health)
{
    struct outage *o = &s->outage;

    o->asked_ok = by_health;
    if (!o->on)
        return;
    o->on = false;
    o->open_until = 0;
    if (!by_health)
        lh_failures_reset(&o->failures);
    outage_cancel(s);
    wake_all(s, lh_clock_now());
    s->again = true;
}

static void on_health(void *arg, const struct lh_prov_result *res, const struct lh_err *err)
{
    struct lh_session *s = arg;
    struct outage *o = &s->outage;
    bool well;

    o->op = NULL;
    session_count(s, LH_EV_HEALTH, NULL);
    well = !err && res->health->initialised && !res->health->sealed &&
           (res->health->active || res->health->standby);
    /* It says that all is well, but what was asked for still fails: that is for backoff to find. */
    if (well && !o->asked_ok)
        outage_over(s, true);
    else if (!well)
        o->asked_ok = false;
    session_step(s);
}

bool outage_allows(struct lh_session *s, lh_ms now)
{
    struct outage *o = &s->outage;

    if (!o->on)
        return true;
    if (now < o->open_until) {
        session_due(s, o->open_until);
        return false;
    }
    o->open_until = now + TRIAL_MS;
    return true;
}

void outage_step(struct lh_session *s, lh_ms now)
{
    struct outage *o = &s->outage;

    if (!o->on || o->op || s->state == SESSION_ENDING)
        return;
    if (now < o->next_health) {
        session_due(s, o->next_health);
        return;
    }
    o->next_health = lh_plan_health(now, lh_dice());
    if (s->ops->health(s->provider, on_health, s, &o->op, NULL) < 0)
        session_due(s, o->next_health);
}
