/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_priv.h"

#include "leasehold/core/mem.h"

void engine_failed(struct lh_engine *e, const struct lh_err *err)
{
    if (e->on_failed)
        e->on_failed(e->arg, err);
}

static void on_session_failed(void *arg, struct lh_grant *g, const struct lh_err *err)
{
    (void)g;
    engine_failed(arg, err);
}

static void on_session_changed(void *arg)
{
    struct lh_engine *e = arg;

    state_save(e);
    output_try(e);
}

static int session_open(struct lh_engine *e, const struct lh_engine_options *o, struct lh_err *err)
{
    const struct lh_session_options s = {
        .loop = o->loop,
        .provider = o->provider ? o->provider : lh_provider_for(o->store),
        .store = o->store,
        .identity = &e->identity,
        .revoke = o->projection->revocation == LH_REVOKE,
        .once = o->once,
        .parallel = o->parallel,
        .parked = o->parked != NULL,
        .events = {.values = items_take,
                   .changed = on_session_changed,
                   .count = measure_event,
                   .failed = on_session_failed,
                   .arg = e},
    };

    return lh_session_new(&s, &e->session, err);
}

static int engine_open(struct lh_engine *e, const struct lh_engine_options *o, struct lh_err *err)
{
    int rc = lh_metrics_register(lh_engine_metrics, err);

    if (rc == 0)
        rc = lh_timer_new(o->loop, output_timer, e, &e->timer, err);
    if (rc == 0)
        rc = state_open(e, o, err);
    if (rc == 0)
        rc = notify_new(e, o->notify, err);
    if (rc == 0)
        rc = session_open(e, o, err);
    if (rc == 0)
        rc = items_new(e, err);
    return rc;
}

int lh_engine_new(const struct lh_engine_options *opts, struct lh_engine **out, struct lh_err *err)
{
    struct lh_engine *e = lh_calloc(1, sizeof(*e));
    int rc;

    if (!e)
        return lh_err_nomem(err);
    e->loop = opts->loop;
    e->projection = opts->projection;
    e->store = lh_store_ref(opts->store);
    e->identity = *opts->identity;
    e->default_mode = opts->default_mode;
    e->sink = opts->sink;
    e->once = opts->once;
    e->held = opts->hold;
    e->on_complete = opts->complete;
    e->on_ready = opts->ready;
    e->on_changed = opts->changed;
    e->on_failed = opts->failed;
    e->arg = opts->arg;
    e->state_dir = -1;
    rc = engine_open(e, opts, err);
    if (rc == 0 && opts->parked)
        rc = engine_unpark(e, opts->parked, err);
    if (rc < 0) {
        lh_engine_free(e);
        return rc;
    }
    *out = e;
    return 0;
}

void lh_engine_free(struct lh_engine *e)
{
    if (!e)
        return;
    e->ended = true;
    notify_free(e->notify);
    lh_session_free(e->session);
    items_free(e);
    lh_err_keep(&e->publish_err, NULL);
    state_close(e);
    lh_timer_free(e->timer);
    lh_store_unref(e->store);
    lh_free(e);
}

void lh_engine_start(struct lh_engine *e)
{
    state_restore(e);
    lh_session_start(e->session);
}

static void on_ended(void *arg)
{
    struct lh_engine *e = arg;

    /* What is revoked is of no use to anybody; what is retained, or not revoked yet, is. */
    if (e->end_revoked && !lh_session_owes(e->session))
        state_remove(e);
    if (e->end_done)
        e->end_done(e->end_arg);
}

void lh_engine_end(struct lh_engine *e, bool revoke, unsigned limit_ms, void (*done)(void *arg),
                   void *arg)
{
    e->end_done = done;
    e->end_arg = arg;
    e->end_revoked = revoke && e->projection->revocation == LH_REVOKE;
    if (!e->end_revoked)
        state_save(e);
    e->ended = true;
    notify_free(e->notify);
    e->notify = NULL;
    lh_timer_stop(e->timer);
    lh_session_end(e->session, e->end_revoked, limit_ms, on_ended, e);
}

bool lh_engine_owes(const struct lh_engine *e)
{
    return lh_session_owes(e->session);
}

void lh_engine_hold(struct lh_engine *e)
{
    e->held = true;
    e->complete_said = false;
}

void lh_engine_release(struct lh_engine *e)
{
    e->held = false;
    lh_failures_reset(&e->publish_failures);
    output_try(e);
}

void lh_engine_publish(struct lh_engine *e)
{
    e->dirty = true;
    lh_failures_reset(&e->publish_failures);
    output_try(e);
}

static bool is_leased(const struct lh_grant_info *g)
{
    return g->kind == LH_KIND_LEASE || g->kind == LH_KIND_CERTIFICATE;
}

void lh_engine_refetch(struct lh_engine *e)
{
    for (size_t i = 0; i < lh_session_grants(e->session); i++) {
        struct lh_grant_info g;

        lh_session_grant_info(e->session, i, &g);
        if (g.kind_known && !is_leased(&g))
            lh_session_forget(e->session, lh_session_grant(e->session, i));
    }
}

bool lh_engine_item(const struct lh_engine *e, size_t i, struct lh_engine_item *out)
{
    const struct item *it = i < e->n_items ? &e->items[i] : NULL;
    struct lh_grant_info g;

    if (!it)
        return false;
    lh_grant_info(it->grant, &g);
    *out = (struct lh_engine_item){.name = it->spec->name,
                                   .known = g.kind_known,
                                   .leased = g.kind_known && is_leased(&g),
                                   .expired = g.gone,
                                   .ends_at = g.ends_at,
                                   .files = it->shown.v,
                                   .n_files = it->shown.n};
    return true;
}

bool lh_engine_is_ready(const struct lh_engine *e)
{
    return e->ready;
}

bool lh_engine_is_resumed(const struct lh_engine *e)
{
    return lh_session_set_complete(e->session);
}
