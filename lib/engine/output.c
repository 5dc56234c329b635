/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_priv.h"

#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"

enum { SWEEP_FIRST_MS = 1000, SWEEP_LAST_MS = 5 * 60 * 1000 };

/* Everything that is to be there: what is new, and what stays as it was published. */
static int gather(struct lh_engine *e, struct lh_rendered_set *out, struct lh_err *err)
{
    size_t n = 0;

    for (size_t i = 0; i < e->n_items; i++)
        n += e->items[i].has_pending ? e->items[i].pending.n : e->items[i].shown.n;
    out->v = lh_calloc(n ? n : 1, sizeof(*out->v));
    if (!out->v)
        return lh_err_nomem(err);
    for (size_t i = 0; i < e->n_items; i++) {
        const struct item *it = &e->items[i];
        const struct lh_rendered_set *from = it->has_pending ? &it->pending : &it->shown;

        if (it->removed)
            continue;
        for (size_t k = 0; k < from->n; k++)
            out->v[out->n++] = from->v[k]; /* borrowed */
    }
    return 0;
}

/* From here on nobody but the sink has the content. */
static void settle(struct lh_engine *e)
{
    for (size_t i = 0; i < e->n_items; i++) {
        struct item *it = &e->items[i];

        if (it->removed) {
            lh_rendered_set_done(&it->shown);
            lh_rendered_set_done(&it->pending);
            it->has_pending = false;
        }
        if (!it->has_pending)
            continue;
        lh_rendered_set_done(&it->shown);
        it->shown = it->pending;
        it->pending = (struct lh_rendered_set){0};
        it->has_pending = false;
        for (size_t k = 0; k < it->shown.n; k++)
            it->shown.v[k].bytes = lh_secret_free(it->shown.v[k].bytes);
    }
}

/* Without a note a grant is not resumed after a restart but issued again: said, not fatal. */
static void note_files(struct lh_engine *e, const char *next)
{
    struct lh_err err;

    if (e->state_dir >= 0 && items_note(e, next, &err) < 0)
        engine_failed(e, &err);
}

/* All that a restart needs is on record before anybody sees the files. */
static void before_swap(void *arg, const char *next)
{
    note_files(arg, next);
    state_save(arg);
}

static void published(struct lh_engine *e, bool changed)
{
    bool first = !e->ready;

    lh_failures_reset(&e->publish_failures);
    lh_err_keep(&e->publish_err, NULL);
    e->dirty = false;
    e->ready = true;
    settle(e);
    note_files(e, NULL);
    if (changed || first) {
        e->published_at = lh_clock_now();
        e->published_wall_ms = lh_clock_wall_ms();
        e->publications++;
        measure_publication(e);
        e->sweep_wait = SWEEP_FIRST_MS;
        e->sweep_at = e->sink->sweep ? e->published_at + e->sweep_wait : 0;
    }
    lh_session_published(e->session);
    state_save(e);
    if (changed && !first && e->notify)
        notify_start(e->notify);
    if (first && e->on_ready)
        e->on_ready(e->arg);
    else if (changed && e->on_changed)
        e->on_changed(e->arg);
}

/* Somebody removed what we published: it cannot be had but from the manager. */
static void find_lost(struct lh_engine *e)
{
    for (size_t i = 0; i < e->n_items; i++) {
        struct item *it = &e->items[i];

        for (size_t k = 0; k < it->shown.n && !it->has_pending; k++)
            it->lost = it->lost || !e->sink->has(e->sink, it->shown.v[k].path);
        if (it->lost)
            lh_rendered_set_done(&it->shown);
    }
    for (size_t i = 0; i < e->n_items; i++) {
        if (e->items[i].lost)
            lh_session_refetch(e->session, e->items[i].grant);
    }
}

static void publish_failed(struct lh_engine *e, const struct lh_err *err)
{
    struct lh_err said = *err;

    if (!said.reason)
        said.reason = err->code == LH_E_TOOBIG ? LH_REASON_TooLarge : LH_REASON_PublishFailed;
    lh_err_keep(&e->publish_err, &said);
    lh_failures_note(&e->publish_failures, lh_clock_now(), err->code, 0, e->ready, lh_dice());
    measure_failure(e, &said);
    engine_failed(e, &said);
    if (err->code == LH_E_GONE)
        find_lost(e);
}

static int publish(struct lh_engine *e, bool *changed, struct lh_err *err)
{
    struct lh_rendered_set set = {0};
    int rc = gather(e, &set, err);

    if (rc == 0 && set.n == 0 && e->ready) {
        rc = e->sink->clear(e->sink, err);
        *changed = true;
    } else if (rc == 0) {
        e->sink->before = before_swap;
        e->sink->before_arg = e;
        rc = e->sink->publish(e->sink, &set, changed, err);
        e->sink->before = NULL;
    }
    lh_free(set.v);
    return rc;
}

/* When nobody will have confirmed it for maxAge, where it is then to be taken away. */
static lh_ms stale_at(const struct lh_engine *e, const struct item *it)
{
    struct lh_grant_info g;

    if (e->projection->max_age_ms < 0 || e->projection->then != LH_STALE_REMOVE || !e->ready ||
        it->removed || it->has_pending || it->shown.n == 0)
        return LH_NEVER;
    lh_grant_info(it->grant, &g);
    return g.fresh_at + e->projection->max_age_ms;
}

static void remove_stale(struct lh_engine *e)
{
    lh_ms now = lh_clock_now();

    for (size_t i = 0; i < e->n_items; i++) {
        struct item *it = &e->items[i];

        if (stale_at(e, it) > now)
            continue;
        it->removed = e->dirty = true;
        lh_session_forget(e->session, it->grant);
    }
}

static bool held(struct lh_engine *e)
{
    if (e->held && !e->complete_said) {
        e->complete_said = true;
        if (e->on_complete)
            e->on_complete(e->arg);
    }
    return e->held;
}

void output_try(struct lh_engine *e)
{
    struct lh_err err = {0};
    bool changed = false;
    int rc;

    if (e->publishing || e->ended)
        return;
    e->publishing = true;
    remove_stale(e);
    /* With nothing but optional items that are absent the empty set is the whole set. */
    if ((e->dirty || !e->ready) && lh_clock_now() >= e->publish_failures.next &&
        lh_session_set_complete(e->session) && !held(e)) {
        rc = publish(e, &changed, &err);
        if (rc == 0)
            published(e, changed);
        else if (rc != -LH_E_BUSY)
            publish_failed(e, &err);
    }
    e->publishing = false;
    output_arm(e);
}

static void sweep(struct lh_engine *e, lh_ms now)
{
    if (e->sweep_at == 0 || now < e->sweep_at)
        return;
    if (e->sink->sweep(e->sink)) {
        e->sweep_at = 0;
        return;
    }
    e->sweep_wait = e->sweep_wait * 2 < SWEEP_LAST_MS ? e->sweep_wait * 2 : SWEEP_LAST_MS;
    e->sweep_at = now + e->sweep_wait;
}

void output_arm(struct lh_engine *e)
{
    lh_ms at = LH_NEVER;

    for (size_t i = 0; i < e->n_items; i++) {
        lh_ms stale = stale_at(e, &e->items[i]);

        at = stale < at ? stale : at;
    }
    if (e->dirty && e->publish_failures.n > 0 && e->publish_failures.next < at)
        at = e->publish_failures.next;
    if (e->sweep_at != 0 && e->sweep_at < at)
        at = e->sweep_at;
    if (at == LH_NEVER || e->ended)
        lh_timer_stop(e->timer);
    else
        lh_timer_at(e->timer, at);
}

void output_timer(void *arg)
{
    struct lh_engine *e = arg;

    sweep(e, lh_clock_now());
    output_try(e);
}
