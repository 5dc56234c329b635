/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/lease/schedule.h"

#include "leasehold/core/err.h"
#include "leasehold/core/rand.h"

enum {
    GIVE_UP_PER_MILLE = 850, /* of a life: from here on a new one is asked for */
    BACKOFF_MAX_SHIFT = 20,
    ROTATION_FIRST_MS = 20,
    ROTATION_SPREAD_MS = 80,
    ROTATION_EARLY_MS = 1500, /* ttl counts whole seconds, rounded down */
    ROTATION_LATE_MS = 2500,
    ROTATION_AGAIN_MS = 200,
    ROTATION_FAST_FOR_MS = 5000,
    ROTATION_SLOWEST_MS = 5000,
    HEALTH_EVERY_MS = 1000,
    WAKE_WITHIN_MS = 1000,
    LOST_PACE_MS = 5 * 60 * 1000,
};

uint32_t lh_dice(void)
{
    return (uint32_t)lh_rand_between(0, LH_DICE_MAX);
}

/* Lives come from the manager: nothing it can say may overflow. */
static lh_ms plus(lh_ms a, int64_t b)
{
    lh_ms sum;

    if (__builtin_add_overflow(a, b, &sum))
        return LH_NEVER;
    return sum;
}

static int64_t scale(int64_t v, int64_t num, int64_t den)
{
    return (int64_t)((__int128)v * num / den);
}

/* v +-percent by dice. */
static int64_t spread(int64_t v, unsigned percent, uint32_t dice)
{
    int64_t half = scale(v, percent, 100);

    return v - half + scale(half, 2 * (int64_t)dice, LH_DICE_MAX);
}

lh_ms lh_life_end(const struct lh_life *l)
{
    return l->ms == 0 ? LH_NEVER : plus(l->start, l->ms);
}

lh_ms lh_life_at(const struct lh_life *l, int64_t per_mille)
{
    return l->ms == 0 ? LH_NEVER : plus(l->start, scale(l->ms, per_mille, 1000));
}

bool lh_life_is_over(const struct lh_life *l, lh_ms now)
{
    return now >= lh_life_end(l);
}

void lh_life_renewed(struct lh_life *l, lh_ms sent_at, int64_t ms, bool renewable, bool capped,
                     uint32_t dice)
{
    l->start = sent_at;
    l->ms = ms;
    l->renewable = renewable;
    l->ending = ms != 0 && (capped || ms < l->asked_ms);
    l->dice = dice;
}

static bool is_refusal(int code)
{
    switch (code) {
    case LH_E_DENIED:
    case LH_E_NOTFOUND:
    case LH_E_INVALID:
    case LH_E_TOOBIG:
    case LH_E_EXPIRED:
        return true;
    default:
        return false;
    }
}

void lh_failures_note(struct lh_failures *f, lh_ms now, int code, int retry_ms, bool published,
                      uint32_t dice)
{
    int64_t cap = is_refusal(code) ? LH_BACKOFF_REFUSED_CAP_MS : LH_BACKOFF_CAP_MS;
    int64_t window;
    unsigned shift = f->n < BACKOFF_MAX_SHIFT ? f->n + 1 : BACKOFF_MAX_SHIFT;

    if (!published)
        cap = LH_BACKOFF_WAITED_FOR_CAP_MS;
    window = (int64_t)LH_BACKOFF_BASE_MS << shift;
    if (window > cap)
        window = cap;
    f->n++;
    f->next = plus(now, LH_BACKOFF_BASE_MS + scale(window - LH_BACKOFF_BASE_MS, dice, LH_DICE_MAX));
    f->asked_until = 0;
    if (retry_ms > 0) {
        f->asked_until =
            plus(now, retry_ms < LH_RETRY_AFTER_CAP_MS ? retry_ms : LH_RETRY_AFTER_CAP_MS);
        if (f->next < f->asked_until)
            f->next = f->asked_until;
    }
}

void lh_failures_reset(struct lh_failures *f)
{
    *f = (struct lh_failures){0};
}

void lh_failures_wake(struct lh_failures *f, lh_ms at)
{
    if (f->n == 0)
        return;
    if (at < f->asked_until)
        at = f->asked_until;
    if (at < f->next)
        f->next = at;
}

static struct lh_plan replace_late(const struct lh_life *l)
{
    int64_t at = spread(scale(l->ms, GIVE_UP_PER_MILLE, 1000), 5, l->dice);

    return (struct lh_plan){LH_ACT_REPLACE, plus(l->start, at)};
}

static struct lh_plan renew(const struct lh_life *l, const struct lh_failures *renewals)
{
    lh_ms at = plus(l->start, spread(scale(l->ms, 2, 3), 10, l->dice));
    lh_ms give_up = lh_life_at(l, GIVE_UP_PER_MILLE);

    if (renewals->n > 0 && renewals->next > at)
        at = renewals->next;
    if (at >= give_up)
        return (struct lh_plan){LH_ACT_REPLACE, give_up};
    return (struct lh_plan){LH_ACT_RENEW, at};
}

struct lh_plan lh_plan_life(const struct lh_life *l, const struct lh_failures *renewals)
{
    if (l->ms == 0)
        return (struct lh_plan){LH_ACT_NONE, LH_NEVER};
    if (l->ending)
        return (struct lh_plan){LH_ACT_REPLACE, l->start};
    if (!l->renewable)
        return replace_late(l);
    return renew(l, renewals);
}

lh_ms lh_plan_certificate(const struct lh_life *l)
{
    return l->ms == 0 ? LH_NEVER : plus(l->start, spread(scale(l->ms, 2, 3), 5, l->dice));
}

lh_ms lh_plan_poll(lh_ms from, int64_t refresh_ms, uint32_t dice)
{
    return plus(from, spread(refresh_ms, 10, dice));
}

lh_ms lh_plan_rotation(const struct lh_rotation *r, lh_ms now, int64_t wall_now, uint32_t dice)
{
    bool by_clock = r->last_wall_ms > 0 && r->period_ms > 0;
    lh_ms late = ROTATION_FIRST_MS + scale(ROTATION_SPREAD_MS, dice, LH_DICE_MAX);
    lh_ms by_ttl = plus(r->sent_at, r->ttl_ms);
    lh_ms due = by_ttl;

    if (!by_clock && r->ttl_ms <= 0)
        return LH_NEVER;
    if (by_clock) {
        due = plus(now, plus(r->last_wall_ms, r->period_ms) - wall_now);
        if (due < by_ttl - ROTATION_EARLY_MS ||
            due > plus(r->done_at, r->ttl_ms) + ROTATION_LATE_MS)
            due = by_ttl;
    }
    return plus(due, late);
}

lh_ms lh_rotation_again(lh_ms due, lh_ms now, lh_ms last)
{
    lh_ms wait = ROTATION_AGAIN_MS;

    if (now - due >= ROTATION_FAST_FOR_MS)
        wait = last * 2;
    if (wait < ROTATION_AGAIN_MS)
        wait = ROTATION_AGAIN_MS;
    return wait < ROTATION_SLOWEST_MS ? wait : ROTATION_SLOWEST_MS;
}

lh_ms lh_plan_verify(lh_ms proved_at, int64_t verify_ms, uint32_t dice)
{
    return plus(proved_at, spread(verify_ms, 10, dice));
}

lh_ms lh_plan_health(lh_ms from, uint32_t dice)
{
    return plus(from, spread(HEALTH_EVERY_MS, 20, dice));
}

lh_ms lh_plan_wake(unsigned k, unsigned n, unsigned requests_per_second)
{
    int64_t within = WAKE_WITHIN_MS;

    if (n == 0)
        return 0;
    if (requests_per_second > 0 && (int64_t)n * 1000 / requests_per_second > within)
        within = (int64_t)n * 1000 / requests_per_second;
    return within * k / n;
}

lh_ms lh_plan_overlap(const struct lh_life *old, lh_ms published_at, int64_t overlap_ms)
{
    lh_ms at = plus(published_at, overlap_ms);

    return at < lh_life_end(old) ? at : LH_NEVER;
}

bool lh_early_allowed(const struct lh_early *e, lh_ms now)
{
    return e->proved || now >= e->until;
}

void lh_early_issued(struct lh_early *e, const struct lh_life *life)
{
    e->until = lh_life_at(life, GIVE_UP_PER_MILLE);
    e->proved = false;
}

lh_ms lh_plan_lost(unsigned lost, lh_ms now, int64_t known_life_ms)
{
    if (lost < 2)
        return now;
    return plus(now, known_life_ms > LOST_PACE_MS ? known_life_ms : LOST_PACE_MS);
}
