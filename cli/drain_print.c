/* SPDX-License-Identifier: Apache-2.0 */
/* What came of a drain, for people and as JSON. Members are an interface: only ever added to. */
#include "drain.h"
#include "leasehold/core/mem.h"

static const char *text_of(const lh_json *item, const char *key)
{
    const char *z = lh_json_get_z(item, key);

    return z ? z : "";
}

static const char *needs(const struct drain_options *o, const struct drain_result *r)
{
    if (!r->lease)
        return "there is no such Lease: the cluster controller is not installed there, or under "
               "another name (--operator-namespace, --lease). With the release installed again, "
               "drain again";
    if (r->away)
        return "nobody leads: the controller obeys as soon as one of its Pods runs. See kubectl "
               "-n NAMESPACE get pods, and its replicas (cluster.replicas)";
    if (!r->answered && o->copies != LH_DRAIN_NOT)
        return "a controller leads and did not take note in time: see its log, and its version";
    if (!r->done)
        return "the time is over and the controller goes on: run the command again to see";
    return NULL;
}

static void put_head(const struct drain_options *o, const struct drain_result *r, struct lh_buf *b)
{
    const char *lacks = needs(o, r);

    if (r->done && o->copies == LH_DRAIN_NOT)
        lh_buf_put_str(b, LH_STR("taken back: the controller takes on what is asked for\n"));
    else if (r->done)
        lh_buf_printf(b,
                      "drained: nothing new is taken on until `leasehold drain --undo`; %lld "
                      "projections, Secret copies %s\n",
                      (long long)lh_json_get_int(r->status, "total", 0),
                      o->copies == LH_DRAIN_KEEP ? "kept as they are" : "deleted");
    else
        lh_buf_printf(b, "not %s: Lease %s/%s: %s\n",
                      o->copies == LH_DRAIN_NOT ? "taken back" : "drained", o->namespace_, o->lease,
                      lacks ? lacks : "");
}

static void put_counts(const struct drain_result *r, struct lh_buf *b)
{
    const lh_json *s = r->status;

    lh_buf_printf(
        b, "left: %lld of %lld projections, %lld Secrets, %lld tokens\n",
        (long long)lh_json_get_int(s, "projections", 0), (long long)lh_json_get_int(s, "total", 0),
        (long long)lh_json_get_int(s, "secrets", 0), (long long)lh_json_get_int(s, "tokens", 0));
}

static void put_text(const struct drain_options *o, const struct drain_result *r, struct lh_buf *b)
{
    int64_t more = lh_json_get_int(r->status, "more", 0);

    put_head(o, r, b);
    if (!r->done && r->status && o->copies != LH_DRAIN_NOT)
        put_counts(r, b);
    for (size_t i = 0; i < lh_json_len(r->items); i++) {
        const lh_json *it = lh_json_at(r->items, i);
        const char *reason = text_of(it, "reason");

        lh_buf_printf(b, "%s %s/%s: %s%s%s\n  %s\n", text_of(it, "kind"), text_of(it, "namespace"),
                      text_of(it, "name"), reason, *reason ? ": " : "", text_of(it, "message"),
                      text_of(it, "action"));
    }
    if (more > 0)
        lh_buf_printf(b, "and %lld more\n", (long long)more);
    if (r->unlisted[0])
        lh_buf_printf(b, "SecretProjections were not looked at: %s\n", r->unlisted);
}

static lh_json *copy_or_null(const lh_json *v)
{
    return v ? lh_json_ref(lh_json_mut(v)) : lh_json_new_null();
}

static void put_json(const struct drain_options *o, const struct drain_result *r, struct lh_buf *b)
{
    lh_auto_json lh_json *all = lh_json_new_object();
    lh_json *controller = lh_json_new_object();
    const char *lacks = needs(o, r);

    lh_json_set(controller, "holder", lh_json_new_z(r->holder));
    lh_json_set(controller, "leads", lh_json_new_bool(r->lease && !r->away));
    lh_json_set(controller, "answered", lh_json_new_bool(r->answered));
    lh_json_set(all, "asked",
                lh_json_new_z(o->copies == LH_DRAIN_NOT ? "Undo" : lh_drain_word(o->copies)));
    lh_json_set(all, "done", lh_json_new_bool(r->done));
    lh_json_set(all, "needs", lh_json_new_z(lacks ? lacks : ""));
    lh_json_set(all, "controller", controller);
    lh_json_set(all, "status", copy_or_null(r->status));
    lh_json_set(all, "items", r->items ? copy_or_null(r->items) : lh_json_new_array());
    lh_json_set(all, "notLookedAt", lh_json_new_z(r->unlisted));
    lh_json_write(all, LH_JSON_PRETTY, b);
    lh_buf_put_c(b, '\n');
}

void drain_print(const struct drain_options *o, const struct drain_result *r, bool json,
                 struct lh_buf *b)
{
    if (json)
        put_json(o, r, b);
    else
        put_text(o, r, b);
}
