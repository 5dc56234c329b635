/* SPDX-License-Identifier: Apache-2.0 */
#include "breaker.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "leasehold/core/map.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/vec.h"
#include "leasehold/lease/schedule.h"

enum { DEFAULT_WINDOW_MS = 60 * 1000, DEFAULT_SETTLE_MS = 5 * 1000 };

const struct breaker_rules breaker_default_rules = {
    .max = 10, .percent = 10, .window_ms = DEFAULT_WINDOW_MS, .settle_ms = DEFAULT_SETTLE_MS};

struct waiting {
    struct waiting *prev, *next; /* in order of coming: of settling, too */
    lh_ms since;
    bool released; /* confirmed by a person; those stand in front */
    char key[];
};

struct breaker {
    struct breaker_rules rules;
    int64_t term;
    struct lh_map *keys; /* to struct waiting */
    struct waiting *first, *last;
    struct lh_vec made; /* lh_ms: when the deletions of the window were handed out; ascending */
    size_t total;       /* as told last */
    size_t released;    /* of those that wait */
    bool open;
    lh_ms since;
    uint64_t holds;
};

int breaker_new(const struct breaker_rules *rules, int64_t term, struct breaker **out,
                struct lh_err *err)
{
    struct breaker *b = lh_calloc(1, sizeof(*b));
    int rc;

    if (!b)
        return lh_err_nomem(err);
    *b = (struct breaker){.rules = *rules, .term = term};
    lh_vec_init(&b->made, sizeof(lh_ms));
    rc = lh_map_new(&b->keys, err);
    if (rc < 0) {
        lh_free(b);
        return rc;
    }
    *out = b;
    return 0;
}

void breaker_free(struct breaker *b)
{
    if (!b)
        return;
    lh_map_free(b->keys, lh_free);
    lh_vec_done(&b->made);
    lh_free(b);
}

static void forget_old(struct breaker *b, lh_ms now)
{
    size_t n = 0;
    lh_ms *at = b->made.p;

    while (n < b->made.n && at[n] + b->rules.window_ms <= now)
        n++;
    if (n == 0)
        return;
    memmove(at, at + n, (b->made.n - n) * sizeof(*at));
    b->made.n -= n;
}

/* Those that a person let go count no more: not against what comes later, either. */
static bool too_many(struct breaker *b, lh_ms now)
{
    size_t n, share;

    forget_old(b, now);
    n = b->made.n + lh_map_len(b->keys) - b->released;
    share = b->total / 100 * b->rules.percent + b->total % 100 * b->rules.percent / 100;
    return n > b->rules.max && n > share;
}

static void judge(struct breaker *b, lh_ms now)
{
    if (b->open || !too_many(b, now))
        return;
    b->open = true;
    b->since = now;
    b->holds++;
}

int breaker_want(struct breaker *b, const char *key, size_t total, lh_ms now, struct lh_err *err)
{
    size_t n = strlen(key) + 1;
    struct waiting *w;
    int rc;

    b->total = total;
    if (lh_map_get(b->keys, lh_str(key)))
        return 0;
    w = lh_malloc(sizeof(*w) + n);
    if (!w)
        return lh_err_nomem(err);
    memcpy(w->key, key, n);
    rc = lh_map_set(b->keys, lh_str(key), w, NULL, err);
    if (rc < 0) {
        lh_free(w);
        return rc;
    }
    w->since = now;
    w->released = false;
    w->next = NULL;
    w->prev = b->last;
    *(b->last ? &b->last->next : &b->first) = w;
    b->last = w;
    judge(b, now);
    return 0;
}

static void unlink_one(struct breaker *b, struct waiting *w)
{
    b->released -= w->released;
    *(w->prev ? &w->prev->next : &b->first) = w->next;
    *(w->next ? &w->next->prev : &b->last) = w->prev;
    lh_map_remove(b->keys, lh_str(w->key));
}

void breaker_back(struct breaker *b, const char *key)
{
    struct waiting *w = lh_map_get(b->keys, lh_str(key));

    if (!w)
        return;
    unlink_one(b, w);
    lh_free(w);
    if (lh_map_len(b->keys) == 0)
        b->open = false;
}

char *breaker_next(struct breaker *b, lh_ms now)
{
    struct waiting *w = b->first;
    bool released = w && w->released;
    size_t n;

    if (!w || (!released && (b->open || w->since + b->rules.settle_ms > now)))
        return NULL;
    /* What is not counted could let too many go. */
    if (!released && !lh_vec_push(&b->made, &now))
        return NULL;
    unlink_one(b, w);
    n = strlen(w->key) + 1;
    /* In place: what was decided must not fail for want of memory. */
    memmove(w, w->key, n);
    return (char *)w;
}

lh_ms breaker_at(const struct breaker *b, lh_ms now)
{
    lh_ms at;

    if (b->released > 0)
        return now;
    if (!b->first || b->open)
        return LH_NEVER;
    at = b->first->since + b->rules.settle_ms;
    return at > now ? at : now;
}

static void put_id(const struct breaker *b, char *out, size_t size)
{
    snprintf(out, size, "%" PRId64 "-%" PRIu64, b->term, b->holds);
}

bool breaker_confirm(struct breaker *b, const char *text)
{
    char id[sizeof(((struct breaker_info *)0)->id)];

    put_id(b, id, sizeof(id));
    if (!b->open || !text || strcmp(text, id) != 0)
        return false;
    b->open = false;
    for (struct waiting *w = b->first; w; w = w->next)
        w->released = true;
    b->released = lh_map_len(b->keys);
    b->made.n = 0;
    return true;
}

void breaker_info(const struct breaker *b, struct breaker_info *out)
{
    *out = (struct breaker_info){.open = b->open,
                                 .waiting = lh_map_len(b->keys),
                                 .since = b->open ? b->since : 0,
                                 .holds = b->holds};
    if (b->open)
        put_id(b, out->id, sizeof(out->id));
}
