/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/api/drain.h"

#include <string.h>

static const char *const words[] = {
    [LH_DRAIN_NOT] = "", [LH_DRAIN_KEEP] = "Keep", [LH_DRAIN_DELETE] = "Delete"};

enum lh_drain lh_drain_read(const char *text)
{
    if (!text)
        return LH_DRAIN_NOT;
    return strcmp(text, words[LH_DRAIN_DELETE]) == 0 ? LH_DRAIN_DELETE : LH_DRAIN_KEEP;
}

const char *lh_drain_word(enum lh_drain how)
{
    return words[how];
}

static int put(lh_json *o, const char *key, const char *text)
{
    struct lh_str s = lh_str(text ? text : "");

    if (s.n > LH_DRAIN_TEXT_MAX) {
        s.n = LH_DRAIN_TEXT_MAX;
        while (s.n > 0 && ((unsigned char)s.p[s.n] & 0xc0) == 0x80) /* not within a character */
            s.n--;
    }
    return lh_json_set(o, key, lh_json_new_str(s));
}

static int fill(lh_json *o, const struct lh_drain_item *it)
{
    if (put(o, "kind", it->kind) < 0 || put(o, "namespace", it->namespace_) < 0 ||
        put(o, "name", it->name) < 0 || (it->store && put(o, "store", it->store) < 0) ||
        (it->accessor && put(o, "accessor", it->accessor) < 0) ||
        put(o, "reason", it->reason) < 0 || put(o, "message", it->message) < 0)
        return -1;
    return lh_json_set(o, "givenUp", lh_json_new_bool(it->given_up));
}

int lh_drain_report_add(struct lh_drain_report *r, const struct lh_drain_item *item,
                        struct lh_err *err)
{
    lh_auto_json lh_json *o = NULL;

    if (lh_json_len(r->items) >= LH_DRAIN_ITEMS_MAX) {
        r->more++;
        return 0;
    }
    if (!r->items)
        r->items = lh_json_new_array();
    o = lh_json_new_object();
    if (!o || !r->items || fill(o, item) < 0 || lh_json_push(r->items, lh_json_ref(o)) < 0)
        return lh_err_nomem(err);
    return 0;
}

bool lh_drain_report_is_done(const struct lh_drain_report *r)
{
    return r->idle && r->projections == 0 && r->secrets == 0 && r->tokens == 0;
}

int lh_drain_report_write(const struct lh_drain_report *r, struct lh_buf *b, struct lh_err *err)
{
    lh_auto_json lh_json *o = lh_json_new_object();
    const char *phase = lh_drain_report_is_done(r) ? "Drained" : "Draining";
    lh_json *items = r->items ? lh_json_ref(r->items) : lh_json_new_array();

    if (!o || lh_json_set(o, "items", items) < 0 || put(o, "copies", words[r->copies]) < 0 ||
        put(o, "phase", phase) < 0 ||
        lh_json_set(o, "projections", lh_json_new_int((int64_t)r->projections)) < 0 ||
        lh_json_set(o, "total", lh_json_new_int((int64_t)r->total)) < 0 ||
        lh_json_set(o, "secrets", lh_json_new_int((int64_t)r->secrets)) < 0 ||
        lh_json_set(o, "tokens", lh_json_new_int((int64_t)r->tokens)) < 0 ||
        lh_json_set(o, "more", lh_json_new_int((int64_t)r->more)) < 0)
        return lh_err_nomem(err);
    lh_json_write(o, LH_JSON_COMPACT, b);
    return lh_buf_check(b, err);
}

void lh_drain_report_done(struct lh_drain_report *r)
{
    lh_json_unref(r->items);
    *r = (struct lh_drain_report){0};
}
