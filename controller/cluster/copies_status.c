/* SPDX-License-Identifier: Apache-2.0 */
/* Copies as a whole, for metrics and /status: no values. */
#include "copies_priv.h"
#include "copy.h"
#include "leasehold/core/mem.h"

static bool has_failed(const struct copy *c)
{
    return c->parse_err || c->spec_err || c->write_err ||
           (!(c->cur && c->cur->ready) && c->fetch_err);
}

static void count_one(const struct copy *c, struct copies_count *n)
{
    struct lh_engine_freshness f;
    bool ready = c->cur && c->cur->ready;

    if (!copy_is_wanted(c))
        return;
    n->wanted++;
    n->failed += has_failed(c);
    n->ready += ready && !has_failed(c);
    if (!ready || !c->cur->engine) /* what is parked is fresh, and has no end */
        return;
    lh_engine_freshness(c->cur->engine, &f);
    n->stale += f.stale != NULL;
    if (f.ends_at < n->ends_at)
        n->ends_at = f.ends_at;
}

void copies_count(const struct copies *s, struct copies_count *out)
{
    struct lh_str key;
    size_t it = 0;
    void *p;

    *out = (struct copies_count){.projections = lh_map_len(s->by_key),
                                 .secrets = lh_map_len(s->secrets),
                                 .queued = lh_queue_depth(s->queue),
                                 .ends_at = LH_NEVER,
                                 .drain = s->drain,
                                 .oldest = s->active ? lh_queue_oldest(s->queue) : -1};
    if (s->breaker)
        breaker_info(s->breaker, &out->breaker);
    while (lh_map_next(s->by_key, &it, &key, &p))
        count_one(p, out);
}

static const struct lh_err *trouble_of(const struct copy *c)
{
    return c->parse_err   ? c->parse_err
           : c->spec_err  ? c->spec_err
           : c->write_err ? c->write_err
                          : c->fetch_err;
}

static lh_json *copy_json(const struct copy *c)
{
    lh_json *o = lh_json_new_object();
    const char *secret = copy_secret_name(c);
    const struct lh_err *err = trouble_of(c);
    lh_auto_buf struct lh_buf cause;

    lh_buf_init(&cause, 1024);
    if (err)
        lh_buf_printf(&cause, "%s: %s", err->reason ? err->reason : "InternalError", err->msg);
    lh_json_set(o, "namespace", lh_json_new_z(c->namespace_));
    lh_json_set(o, "projection", lh_json_new_z(c->name));
    lh_json_set(o, "secret", secret ? lh_json_new_z(secret) : lh_json_new_null());
    lh_json_set(o, "ready", lh_json_new_bool(c->cur && c->cur->ready && !has_failed(c)));
    lh_json_set(o, "cause", lh_json_new_str(lh_buf_peek(&cause)));
    return o;
}

lh_json *copies_status(const struct copies *s)
{
    lh_json *all = lh_json_new_array();
    struct lh_str key;
    size_t it = 0;
    void *p;

    while (lh_map_next(s->by_key, &it, &key, &p)) {
        if (copy_is_wanted(p))
            lh_json_push(all, copy_json(p));
    }
    return all;
}
