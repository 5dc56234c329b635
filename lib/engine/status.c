/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_priv.h"

#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"

static void put_cause(const struct lh_engine *e, const struct lh_err *err, struct lh_buf *out)
{
    lh_buf_printf(out, "%s: %s \"%s\": %s", err->reason ? err->reason : LH_REASON_InternalError,
                  lh_store_kind(e->store), e->store->name, err->msg);
}

void lh_engine_cause(const struct lh_engine *e, struct lh_buf *out)
{
    struct lh_session_info s;

    lh_session_info(e->session, &s);
    /* Without a token nothing else could succeed. */
    if (s.last_err) {
        put_cause(e, s.last_err, out);
        return;
    }
    for (size_t i = 0; i < lh_session_grants(e->session); i++) {
        struct lh_grant_info g;

        lh_session_grant_info(e->session, i, &g);
        if (g.last_err) {
            put_cause(e, g.last_err, out);
            return;
        }
    }
    if (e->publish_err)
        put_cause(e, e->publish_err, out);
    else if (!e->ready)
        lh_buf_printf(out, "%s: %s \"%s\": the first answers are not there yet", LH_REASON_Starting,
                      lh_store_kind(e->store), e->store->name);
}

/* Times in the future of a boot-time clock, as wall time. */
static lh_json *when(lh_ms at)
{
    char text[32];

    if (at == LH_NEVER || at <= 0)
        return lh_json_new_null();
    return lh_json_new_z(lh_clock_format(lh_clock_wall_ms() + (at - lh_clock_now()), text));
}

static const char *kind_name(const struct lh_grant_info *g)
{
    static const char *const names[] = {[LH_KIND_KV] = "kv",
                                        [LH_KIND_LEASE] = "lease",
                                        [LH_KIND_STATIC] = "static",
                                        [LH_KIND_CERTIFICATE] = "certificate"};

    return g->kind_known ? names[g->kind] : "unknown";
}

static lh_json *error_json(const struct lh_err *err)
{
    lh_json *o;

    if (!err)
        return lh_json_new_null();
    o = lh_json_new_object();
    lh_json_set(o, "reason", lh_json_new_z(err->reason ? err->reason : LH_REASON_InternalError));
    lh_json_set(o, "message", lh_json_new_z(err->msg));
    return o;
}

/* Enough of the keyed hash to see that it changed. */
static lh_json *version_json(const struct lh_grant_info *g)
{
    char hex[17];

    if (!g->hash)
        return lh_json_new_null();
    lh_hex(g->hash->b, 8, hex);
    return lh_json_new_z(hex);
}

static lh_json *item_json(const struct item *it)
{
    lh_json *o = lh_json_new_object(), *files = lh_json_new_array();
    struct lh_grant_info g;

    lh_grant_info(it->grant, &g);
    lh_json_set(o, "name", lh_json_new_z(it->spec->name));
    lh_json_set(o, "path", lh_json_new_z(g.path));
    lh_json_set(o, "kind", lh_json_new_z(kind_name(&g)));
    lh_json_set(o, "state", lh_json_new_z(it->removed ? "removed" : g.gone ? "expired" : g.state));
    lh_json_set(o, "version", version_json(&g));
    lh_json_set(o, "fresh", when(g.fresh_at));
    lh_json_set(o, "ends", when(g.ends_at));
    lh_json_set(o, "next", when(g.next_at));
    lh_json_set(o, "failures", lh_json_new_int(g.failures));
    lh_json_set(o, "error", error_json(g.last_err));
    for (size_t i = 0; i < it->shown.n; i++)
        lh_json_push(files, lh_json_new_z(it->shown.v[i].path));
    lh_json_set(o, "files", files);
    return o;
}

lh_json *lh_engine_status(const struct lh_engine *e)
{
    lh_json *o = lh_json_new_object(), *items = lh_json_new_array(), *t = lh_json_new_object();
    lh_auto_buf struct lh_buf cause;
    struct lh_session_info s;
    char text[32];

    lh_buf_init(&cause, 4096);
    lh_engine_cause(e, &cause);
    lh_session_info(e->session, &s);
    lh_json_set(o, "ready", lh_json_new_bool(e->ready));
    lh_json_set(o, "cause", lh_json_new_str(lh_buf_peek(&cause)));
    lh_json_set(o, "store", lh_json_new_z(e->store->name));
    lh_json_set(o, "storeKind", lh_json_new_z(lh_store_kind(e->store)));
    lh_json_set(o, "publications", lh_json_new_int((int64_t)e->publications));
    lh_json_set(o, "published",
                e->published_wall_ms ? lh_json_new_z(lh_clock_format(e->published_wall_ms, text))
                                     : lh_json_new_null());
    lh_json_set(t, "state", lh_json_new_z(s.state));
    lh_json_set(t, "renewable", lh_json_new_bool(s.has_token && s.renewable));
    lh_json_set(t, "ends", s.has_token ? when(s.token_ends_at) : lh_json_new_null());
    lh_json_set(t, "storeUnavailable", lh_json_new_bool(s.in_outage));
    lh_json_set(t, "error", error_json(s.last_err));
    lh_json_set(o, "token", t);
    for (size_t i = 0; i < e->n_items; i++)
        lh_json_push(items, item_json(&e->items[i]));
    lh_json_set(o, "items", items);
    return o;
}
