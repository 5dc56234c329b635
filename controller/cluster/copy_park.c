/* SPDX-License-Identifier: Apache-2.0 */
/* A copy of which nothing is to be done for a while costs a record, not an engine. Whatever wakes
 * it makes the engine again, before it is looked at what there is to do. */
#include "copies_priv.h"
#include "copy.h"
#include "leasehold/core/log.h"

/* REST_MS: what is due before is not worth it. LOOK_MS: after a refresh, doubling. */
enum { REST_MS = 10 * 1000, LOOK_MS = 2000, LOOKS_MAX = 7 };

static void on_due(void *arg)
{
    copy_wake(arg);
}

static bool is_settled(const struct copy *c)
{
    const struct copy_slot *s = c->cur;
    bool well = !c->parse_err && !c->spec_err && !c->write_err && !c->retry && !c->tell;
    bool done = !c->edited && !c->forcing && !c->waiting && !c->again && !c->suspect && !c->stale;

    return well && done && s && s->engine && s->ready && !s->ending && !c->old && !c->gone &&
           !c->deleting && c->set->active && c->set->drain == LH_DRAIN_NOT &&
           (c->proven || !copy_secret_name(c));
}

void copy_park(struct copy *c)
{
    lh_ms until = lh_clock_now() + REST_MS, at;
    struct copy_slot *s = c->cur;
    int rc;

    if (!is_settled(c))
        return;
    if (!s->due && lh_timer_new(c->set->p.loop, on_due, c, &s->due, NULL) < 0)
        return;
    rc = lh_engine_park(s->engine, until, &s->parked);
    if (rc == 0) {
        s->engine = NULL;
        s->looks = 0;
        lh_timer_at(s->due, lh_parked_due(s->parked));
        c->at = LH_NEVER; /* what it was to look at by itself is due then, too */
    } else if (rc == -LH_E_BUSY) {
        at = lh_clock_now() + ((lh_ms)LOOK_MS << s->looks);
        if (s->looks < LOOKS_MAX)
            s->looks++;
        c->at = at < c->at ? at : c->at;
    }
}

bool copy_unpark(struct copy *c)
{
    struct copy_slot *s = c->cur;
    struct lh_err err = {0};

    if (!s || !s->parked)
        return true;
    lh_timer_free(s->due);
    s->due = NULL;
    if (copy_slot_open(s, true, &err) == 0) {
        lh_engine_start(s->engine);
        return true;
    }
    lh_log_warn("not looked at", LH_F_STR("namespace", c->namespace_),
                LH_F_STR("projection", c->name), LH_F_ERR(&err));
    c->retry = true;
    return false;
}
