/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "leasehold/core/mem.h"
#include "leftovers_priv.h"

const char *lh_leftover_place_name(enum lh_leftover_place p)
{
    static const char *const names[LH_LEFTOVER_PLACES] = {[LH_LEFTOVER_CURRENT] = "current",
                                                          [LH_LEFTOVER_OLDER] = "older",
                                                          [LH_LEFTOVER_FREE] = "free",
                                                          [LH_LEFTOVER_LOG] = "log",
                                                          [LH_LEFTOVER_ELSEWHERE] = "elsewhere"};

    return names[p];
}

void lh_leftovers_init(struct lh_leftovers *l)
{
    *l = (struct lh_leftovers){0};
    lh_vec_init(&l->groups, sizeof(struct lh_leftover));
}

void lh_leftovers_done(struct lh_leftovers *l)
{
    for (size_t i = 0; i < l->groups.n; i++) {
        struct lh_leftover *g = lh_vec_at(&l->groups, i);

        lh_free(g->name);
        lh_free(g->key_id);
    }
    lh_vec_done(&l->groups);
    lh_leftovers_init(l);
}

void lh_leftovers_fault(struct lh_leftovers *l, uint64_t *count, const char *fmt, ...)
{
    va_list ap;

    (*count)++;
    if (l->first_fault[0])
        return;
    va_start(ap, fmt);
    vsnprintf(l->first_fault, sizeof(l->first_fault), fmt, ap);
    va_end(ap);
}

static char printed(char c)
{
    if (c > ' ' && c <= '~')
        return c;
    return '?';
}

/* As printable() of what was stored would have it. */
static bool is_printed(const char *kept, struct lh_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (kept[i] != printed(s.p[i]))
            return false;
    }
    return kept[s.n] == '\0';
}

static char *printable(struct lh_str s)
{
    char *copy = lh_malloc(s.n + 1);

    if (!copy)
        return NULL;
    for (size_t i = 0; i < s.n; i++)
        copy[i] = printed(s.p[i]);
    copy[s.n] = '\0';
    return copy;
}

static struct lh_leftover *find(const struct lh_leftovers *l, const struct lh_leftover *like,
                                struct lh_str name, struct lh_str key_id)
{
    for (size_t i = l->groups.n; i > 0; i--) { /* what came last comes again */
        struct lh_leftover *g = lh_vec_at(&l->groups, i - 1);

        if (g->place == like->place && g->scheme == like->scheme && is_printed(g->name, name) &&
            is_printed(g->key_id, key_id))
            return g;
    }
    return NULL;
}

static int add(struct lh_leftovers *l, const struct lh_leftover *like, struct lh_str name,
               struct lh_str key_id, struct lh_err *err)
{
    struct lh_leftover *g = find(l, like, name, key_id), made = *like;

    /* The last places are kept for sums, of which there are fewer. */
    if (!g &&
        l->groups.n + (size_t)LH_LEFTOVER_PLACES * LH_ATREST_SCHEMES >= LH_LEFTOVER_MAX_GROUPS) {
        name = key_id = LH_STR("");
        g = find(l, like, name, key_id);
    }
    if (g) {
        g->count += like->count;
        return 0;
    }
    made.name = printable(name);
    made.key_id = printable(key_id);
    if (made.name && made.key_id && lh_vec_push(&l->groups, &made))
        return 0;
    lh_free(made.name);
    lh_free(made.key_id);
    return lh_err_nomem(err);
}

int lh_leftovers_count(struct lh_leftovers *l, enum lh_leftover_place place,
                       const struct lh_atrest_value *v, struct lh_err *err)
{
    const struct lh_leftover one = {.place = place, .scheme = v->scheme, .count = 1};

    l->plain[place] += v->scheme == LH_ATREST_IDENTITY;
    return add(l, &one, v->name, v->key_id, err);
}

static void take_flags(struct lh_leftovers *l, const struct lh_leftovers *from)
{
    for (int p = 0; p < LH_LEFTOVER_PLACES; p++)
        l->plain[p] += from->plain[p];
    l->files += from->files;
    l->bytes += from->bytes;
    l->has_database |= from->has_database;
    l->has_log |= from->has_log;
    l->damaged += from->damaged;
    l->unread += from->unread;
    l->changed |= from->changed;
    if (!l->first_fault[0])
        memcpy(l->first_fault, from->first_fault, sizeof(l->first_fault));
}

int lh_leftovers_merge(struct lh_leftovers *l, struct lh_leftovers *from, struct lh_err *err)
{
    int rc = 0;

    take_flags(l, from);
    for (size_t i = 0; i < from->groups.n && rc == 0; i++) {
        const struct lh_leftover *g = lh_vec_at(&from->groups, i);

        rc = add(l, g, lh_str(g->name), lh_str(g->key_id), err);
    }
    lh_leftovers_done(from);
    return rc;
}
