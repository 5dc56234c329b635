/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/http/backoff.h"

#include "leasehold/core/rand.h"

lh_ms lh_backoff_next(struct lh_backoff *b, lh_ms at_least)
{
    lh_ms top = b->base_ms > 0 ? b->base_ms : 1, delay;

    for (unsigned i = 0; i < b->n && top < b->cap_ms; i++)
        top = top > b->cap_ms / 2 ? b->cap_ms : top * 2;
    if (top < b->cap_ms)
        b->n++;
    else
        top = b->cap_ms;
    delay = lh_rand_between(0, top);
    if (delay < b->floor_ms)
        delay = b->floor_ms;
    return delay < at_least ? at_least : delay;
}

void lh_backoff_reset(struct lh_backoff *b)
{
    b->n = 0;
}

bool lh_breaker_allows(struct lh_breaker *b, lh_ms now)
{
    if (b->failures < b->threshold)
        return true;
    if (now < b->open_until)
        return false;
    /* Half open: this one is the probe. Whoever comes while it is under way waits, and a probe that
     * was given up without a result does not keep the breaker shut for good. */
    b->open_until = now + b->open_ms;
    return true;
}

void lh_breaker_ok(struct lh_breaker *b)
{
    b->failures = 0;
    b->open_until = 0;
}

void lh_breaker_failed(struct lh_breaker *b, lh_ms now)
{
    if (b->failures < b->threshold)
        b->failures++;
    if (b->failures >= b->threshold)
        b->open_until = now + b->open_ms;
}
