/* SPDX-License-Identifier: Apache-2.0 */
/* A start with thousands of copies fetches for some at a time: an engine on its way to its first
 * publication costs many times what a settled copy does. Who takes long gives up his turn, so that
 * a store that does not answer holds up nobody else for long. */
#include "copies_priv.h"
#include "copy.h"

enum { TURNS = 128, TURN_MS = 500 };

static void append(struct copy_list *l, struct copy *c)
{
    c->prev_turn = l->last;
    c->next_turn = NULL;
    *(l->last ? &l->last->next_turn : &l->first) = c;
    l->last = c;
    l->n++;
}

static void leave(struct copy *c)
{
    struct copies *s = c->set;
    struct copy_list *l = c->turn == TURN_TAKEN ? &s->starting : &s->waiting;

    *(c->prev_turn ? &c->prev_turn->next_turn : &l->first) = c->next_turn;
    *(c->next_turn ? &c->next_turn->prev_turn : &l->last) = c->prev_turn;
    l->n--;
    c->prev_turn = c->next_turn = NULL;
    c->turn = TURN_NONE;
}

/* As many are woken as there is room for; each asks again. */
static void next(struct copies *s)
{
    struct copy *first = s->starting.first;

    for (size_t room = TURNS - s->starting.n; room > 0 && s->waiting.first; room--) {
        struct copy *c = s->waiting.first;

        leave(c);
        copy_wake(c);
    }
    if (first)
        lh_timer_at(s->turn_timer, first->turn_since + TURN_MS);
    else
        lh_timer_stop(s->turn_timer);
}

void copies_turns_over(void *arg)
{
    struct copies *s = arg;
    lh_ms now = lh_clock_now();

    while (s->starting.first && s->starting.first->turn_since + TURN_MS <= now)
        leave(s->starting.first);
    next(s);
}

bool copies_take_turn(struct copy *c)
{
    struct copies *s = c->set;

    if (c->turn != TURN_NONE)
        leave(c);
    if (s->starting.n >= TURNS) {
        c->turn = TURN_WAITED_FOR;
        append(&s->waiting, c);
        return false;
    }
    c->turn = TURN_TAKEN;
    c->turn_since = lh_clock_now();
    append(&s->starting, c);
    if (s->starting.n == 1)
        lh_timer_at(s->turn_timer, c->turn_since + TURN_MS);
    return true;
}

void copies_end_turn(struct copy *c)
{
    bool had = c->turn == TURN_TAKEN;

    if (c->turn == TURN_NONE)
        return;
    leave(c);
    if (had)
        next(c->set);
}
