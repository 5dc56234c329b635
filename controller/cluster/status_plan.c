/* SPDX-License-Identifier: Apache-2.0 */
#include "status_plan.h"

#include <string.h>

#include "leasehold/core/clock.h"
#include "leasehold/core/mem.h"

enum { MESSAGE_MAX = 1024 };

static const char *const status_names[] = {
    [CONDITION_UNKNOWN] = "Unknown", [CONDITION_TRUE] = "True", [CONDITION_FALSE] = "False"};

/* The element of a list whose member key is name; NULL. */
static const lh_json *find(const lh_json *list, const char *key, const char *name)
{
    for (size_t i = 0; i < lh_json_len(list); i++) {
        const lh_json *one = lh_json_at(list, i);
        const char *has = lh_json_get_z(one, key);

        if (has && strcmp(has, name) == 0)
            return one;
    }
    return NULL;
}

static bool member_is(const lh_json *obj, const char *key, const char *want)
{
    const char *has = lh_json_get_z(obj, key);

    return has && strcmp(has, want) == 0;
}

static bool same_condition(const lh_json *was, const struct condition *c, int64_t generation)
{
    return was && member_is(was, "status", status_names[c->status]) &&
           member_is(was, "reason", c->reason) &&
           lh_json_get_int(was, "observedGeneration", -1) == generation;
}

static bool is_news(const lh_json *was, const struct status_want *want)
{
    const lh_json *conditions = lh_json_get(was, "conditions"), *items = lh_json_get(was, "items");

    if (lh_json_len(conditions) != want->n_conditions || lh_json_len(items) != want->n_items)
        return true;
    for (size_t i = 0; i < want->n_conditions; i++) {
        const struct condition *c = &want->conditions[i];

        if (!same_condition(find(conditions, "type", c->type), c, want->generation))
            return true;
    }
    for (size_t i = 0; i < want->n_items; i++) {
        const lh_json *item = find(items, "name", want->items[i].name);

        if (!item || !member_is(item, "version", want->items[i].version))
            return true;
    }
    return false;
}

/* The message without half a letter at its end. */
static struct lh_str message_of(const struct condition *c)
{
    struct lh_str s = lh_str(c->message ? c->message : "");

    if (s.n <= MESSAGE_MAX)
        return s;
    s.n = MESSAGE_MAX;
    while (s.n > 0 && !lh_str_is_utf8(s))
        s.n--;
    return s;
}

static lh_json *condition_json(const lh_json *was, const struct condition *c, int64_t generation,
                               const char *now)
{
    lh_auto_json lh_json *o = lh_json_new_object();
    const char *since = lh_json_get_z(was, "lastTransitionTime");

    /* By the API's conventions the time is that of the status, not of the reason. */
    if (!since || !member_is(was, "status", status_names[c->status]))
        since = now;
    if (!o || lh_json_set(o, "type", lh_json_new_z(c->type)) < 0 ||
        lh_json_set(o, "status", lh_json_new_z(status_names[c->status])) < 0 ||
        lh_json_set(o, "reason", lh_json_new_z(c->reason)) < 0 ||
        lh_json_set(o, "message", lh_json_new_str(message_of(c))) < 0 ||
        lh_json_set(o, "observedGeneration", lh_json_new_int(generation)) < 0 ||
        lh_json_set(o, "lastTransitionTime", lh_json_new_z(since)) < 0)
        return NULL;
    return LH_TAKE_PTR(o);
}

static lh_json *item_json(const lh_json *was, const struct status_item *it, const char *now)
{
    lh_auto_json lh_json *o = lh_json_new_object();
    const char *since = lh_json_get_z(was, "publishedTime");

    if (!since || !member_is(was, "version", it->version))
        since = now;
    if (!o || lh_json_set(o, "name", lh_json_new_z(it->name)) < 0 ||
        lh_json_set(o, "version", lh_json_new_z(it->version)) < 0 ||
        lh_json_set(o, "publishedTime", lh_json_new_z(since)) < 0)
        return NULL;
    return LH_TAKE_PTR(o);
}

static int fill(const lh_json *was, const struct status_want *want, const char *now,
                lh_json *conditions, lh_json *items)
{
    const lh_json *had = lh_json_get(was, "conditions"), *held = lh_json_get(was, "items");
    int rc = 0;

    for (size_t i = 0; i < want->n_conditions && rc == 0; i++) {
        const struct condition *c = &want->conditions[i];

        rc = lh_json_push(conditions,
                          condition_json(find(had, "type", c->type), c, want->generation, now));
    }
    for (size_t i = 0; i < want->n_items && rc == 0; i++)
        rc = lh_json_push(items,
                          item_json(find(held, "name", want->items[i].name), &want->items[i], now));
    return rc;
}

int status_plan(const lh_json *was, const struct status_want *want, int64_t wall_ms, lh_json **out,
                struct lh_err *err)
{
    lh_auto_json lh_json *status = NULL, *conditions = NULL, *items = NULL;
    char now[32];

    if (!is_news(was, want)) {
        *out = NULL;
        return 0;
    }
    /* Whole seconds: what the API server keeps of a time. */
    lh_clock_format(wall_ms - wall_ms % 1000, now);
    memcpy(strchr(now, 'T') + sizeof("HH:MM:SS"), "Z", 2);
    status = lh_json_new_object();
    conditions = lh_json_new_array();
    items = lh_json_new_array();
    if (!status || !conditions || !items || fill(was, want, now, conditions, items) < 0 ||
        lh_json_set(status, "conditions", LH_TAKE_PTR(conditions)) < 0 ||
        lh_json_set(status, "items", LH_TAKE_PTR(items)) < 0)
        return lh_err_nomem(err);
    *out = LH_TAKE_PTR(status);
    return 0;
}
