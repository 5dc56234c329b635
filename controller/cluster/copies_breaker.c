/* SPDX-License-Identifier: Apache-2.0 */
/* Deletions outside wait here until it is seen that they are not a mass of them. */
#include "copies_priv.h"
#include "copy.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"

void copies_breaker_turn(void *arg)
{
    struct copies *s = arg;
    char *uid;
    lh_ms at;

    while (s->breaker && (uid = breaker_next(s->breaker, lh_clock_now()))) {
        struct copy *c = lh_map_get(s->by_uid, lh_str(uid));

        if (c) {
            c->may_delete = true;
            copy_wake(c);
        }
        lh_free(uid);
    }
    at = s->breaker ? breaker_at(s->breaker, lh_clock_now()) : LH_NEVER;
    if (at == LH_NEVER)
        lh_timer_stop(s->breaker_timer);
    else
        lh_timer_at(s->breaker_timer, at);
}

void copies_want_delete(struct copies *s, struct copy *c)
{
    struct breaker_info before, info;

    if (c->asked_delete)
        return;
    breaker_info(s->breaker, &before);
    if (breaker_want(s->breaker, c->uid, lh_map_len(s->by_uid), lh_clock_now(), NULL) < 0) {
        c->retry = true;
        return;
    }
    c->asked_delete = true;
    breaker_info(s->breaker, &info);
    if (info.open && !before.open && s->p.held)
        s->p.held(s->p.arg, info.id, info.waiting);
    lh_timer_in(s->breaker_timer, 0);
}

void copies_keep(struct copies *s, struct copy *c)
{
    if (c->asked_delete && s->breaker) {
        breaker_back(s->breaker, c->uid);
        lh_timer_in(s->breaker_timer, 0);
    }
    c->asked_delete = c->may_delete = false;
}

void copies_confirm_deletions(struct copies *s, const char *text)
{
    if (s->breaker && breaker_confirm(s->breaker, text)) {
        lh_log_warn("held deletions confirmed");
        lh_timer_in(s->breaker_timer, 0);
    }
}
