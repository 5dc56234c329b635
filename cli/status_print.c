/* SPDX-License-Identifier: Apache-2.0 */
/* Rows as a table or as JSON. Columns and members are an interface: they are only ever added to. */
#include <stdio.h>
#include <string.h>

#include "leasehold/api/reasons.h"
#include "leasehold/core/clock.h"
#include "leasehold/core/mem.h"
#include "status.h"

enum { JSON_VERSION = 1, MAX_COLUMNS = 12, TOLD_MAX = 64 };

static const char *dash(const char *z)
{
    return *z ? z : "-";
}

/* As kubectl has it: 42s, 5m, 3h, 12d. */
static void put_age(struct lh_buf *b, int64_t from, int64_t now)
{
    static const struct {
        int64_t seconds;
        char letter;
    } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    int64_t s = (now - from) / 1000;

    if (!from) {
        lh_buf_put_c(b, '-');
        return;
    }
    s = s < 0 ? 0 : s;
    for (size_t i = 0; i < LH_ARRAY_LEN(units); i++) {
        /* Two of a unit before it is used: 90s says more than 1m. */
        if (s >= 2 * units[i].seconds || units[i].letter == 's') {
            lh_buf_printf(b, "%lld%c", (long long)(s / units[i].seconds), units[i].letter);
            return;
        }
    }
}

struct column {
    const char *title;
    bool wide, live;
    void (*put)(struct lh_buf *b, const struct status_row *r, int64_t now);
};

static void put_kind(struct lh_buf *b, const struct status_row *r, int64_t now)
{
    (void)now;
    lh_buf_put_z(b, status_kind_name(r->kind));
}

#define TEXT_COLUMN(field)                                                                         \
    static void put_##field(struct lh_buf *b, const struct status_row *r, int64_t now)             \
    {                                                                                              \
        (void)now;                                                                                 \
        lh_buf_put_z(b, dash(r->field));                                                           \
    }
TEXT_COLUMN(namespace_)
TEXT_COLUMN(name)
TEXT_COLUMN(ready)
TEXT_COLUMN(reason)
TEXT_COLUMN(store)
TEXT_COLUMN(delivery)
TEXT_COLUMN(node)
TEXT_COLUMN(message)

static void put_created(struct lh_buf *b, const struct status_row *r, int64_t now)
{
    put_age(b, r->created_ms, now);
}

static void put_since(struct lh_buf *b, const struct status_row *r, int64_t now)
{
    put_age(b, r->since_ms, now);
}

static void put_expires(struct lh_buf *b, const struct status_row *r, int64_t now)
{
    int64_t ends = 0;

    if (!*r->expires || lh_clock_parse(r->expires, &ends) < 0)
        lh_buf_put_c(b, '-');
    else if (ends <= now)
        lh_buf_put_z(b, "ended");
    else
        put_age(b, now, ends);
}

static const struct column columns[] = {
    {"KIND", false, false, put_kind},     {"NAMESPACE", false, false, put_namespace_},
    {"NAME", false, false, put_name},     {"READY", false, false, put_ready},
    {"REASON", false, false, put_reason}, {"STORE", false, false, put_store},
    {"AGE", false, false, put_created},   {"EXPIRES", false, true, put_expires},
    {"SINCE", true, false, put_since},    {"DELIVERY", true, false, put_delivery},
    {"NODE", true, false, put_node},      {"MESSAGE", true, false, put_message},
};
_Static_assert(LH_ARRAY_LEN(columns) <= MAX_COLUMNS, "widths have room");

static bool is_shown(const struct column *c, enum status_format format, bool live)
{
    return (!c->wide || format == STATUS_WIDE) && (!c->live || live);
}

/* One cell, filled up to width and two spaces; the last of a line is not. */
static void put_cell(struct lh_buf *b, const struct column *c, const struct status_row *r,
                     int64_t now, size_t width, bool last)
{
    lh_auto_buf struct lh_buf cell;
    struct lh_str s;

    lh_buf_init(&cell, (size_t)64 * 1024);
    if (r)
        c->put(&cell, r, now);
    else
        lh_buf_put_z(&cell, c->title);
    s = lh_buf_peek(&cell);
    lh_buf_put_str(b, s);
    /* Rows that are followed have fixed widths: what is longer keeps its distance all the same. */
    for (size_t i = s.n < width ? s.n : width; !last && i < width + 2; i++)
        lh_buf_put_c(b, ' ');
}

static size_t width_of(const struct column *c, const struct lh_vec *rows, int64_t now)
{
    size_t width = strlen(c->title);
    lh_auto_buf struct lh_buf cell;

    lh_buf_init(&cell, (size_t)64 * 1024);
    for (size_t i = 0; i < rows->n; i++) {
        lh_buf_reset(&cell);
        c->put(&cell, *(struct status_row **)lh_vec_at(rows, i), now);
        if (lh_buf_peek(&cell).n > width)
            width = lh_buf_peek(&cell).n;
    }
    return width;
}

static void put_line(struct lh_buf *b, const struct status_row *r, enum status_format format,
                     bool live, int64_t now, const size_t *widths)
{
    size_t last = 0;

    for (size_t i = 0; i < LH_ARRAY_LEN(columns); i++) {
        if (is_shown(&columns[i], format, live))
            last = i;
    }
    for (size_t i = 0; i <= last; i++) {
        if (is_shown(&columns[i], format, live))
            put_cell(b, &columns[i], r, now, widths ? widths[i] : strlen(columns[i].title),
                     i == last);
    }
    lh_buf_put_c(b, '\n');
}

/* What to do about each reason of what is not well, once. */
static void put_actions(struct lh_buf *b, const struct lh_vec *rows)
{
    const struct lh_reason *told[TOLD_MAX];
    size_t n = 0;

    for (size_t i = 0; i < rows->n && n < TOLD_MAX; i++) {
        const struct status_row *r = *(struct status_row **)lh_vec_at(rows, i);
        const struct lh_reason *known = lh_reason_find(r->reason);
        bool again = false;

        for (size_t k = 0; k < n; k++)
            again |= told[k] == known;
        if (!known || again || strcmp(r->ready, "True") == 0)
            continue;
        lh_buf_printf(b, "%s\n%s: %s\n", n ? "" : "\nWhat to do:", known->word, known->action);
        told[n++] = known;
    }
}

static void put_table(const struct lh_vec *rows, struct lh_str trouble, enum status_format format,
                      bool live, int64_t now, struct lh_buf *b)
{
    size_t widths[MAX_COLUMNS] = {0};

    if (rows->n == 0)
        lh_buf_put_z(b, "There are no stores and projections, and no Pods that use them.\n");
    for (size_t i = 0; i < LH_ARRAY_LEN(columns); i++)
        widths[i] = width_of(&columns[i], rows, now);
    if (rows->n)
        put_line(b, NULL, format, live, now, widths);
    for (size_t i = 0; i < rows->n; i++)
        put_line(b, *(struct status_row **)lh_vec_at(rows, i), format, live, now, widths);
    put_actions(b, rows);
    if (trouble.n) {
        lh_buf_put_z(b, "\nNot known:\n");
        lh_buf_put_str(b, trouble);
    }
}

static void set_text(lh_json *o, const char *key, const char *z)
{
    lh_json_set(o, key, *z ? lh_json_new_z(z) : lh_json_new_null());
}

static void set_time(lh_json *o, const char *key, int64_t ms)
{
    char text[32];

    lh_json_set(o, key, ms ? lh_json_new_z(lh_clock_format(ms, text)) : lh_json_new_null());
}

static lh_json *row_json(const struct status_row *r)
{
    const struct lh_reason *known = lh_reason_find(r->reason);
    lh_json *o = lh_json_new_object();

    lh_json_set(o, "kind", lh_json_new_z(status_kind_name(r->kind)));
    set_text(o, "namespace", r->namespace_);
    set_text(o, "name", r->name);
    set_text(o, "ready", r->ready);
    set_text(o, "reason", r->reason);
    set_text(o, "message", r->message);
    set_text(o, "action", known && strcmp(r->ready, "True") != 0 ? known->action : "");
    set_text(o, "store", r->store);
    set_time(o, "created", r->created_ms);
    set_time(o, "since", r->since_ms);
    if (r->kind == STATUS_POD) {
        set_text(o, "delivery", r->delivery);
        set_text(o, "node", r->node);
        set_text(o, "expires", r->expires);
        lh_json_set(o, "live", r->live ? lh_json_ref(r->live) : lh_json_new_null());
    }
    return o;
}

static void put_json(const struct lh_vec *rows, struct lh_str trouble, struct lh_buf *b)
{
    lh_auto_json lh_json *doc = lh_json_new_object();
    lh_json *items = lh_json_new_array(), *lines = lh_json_new_array();
    struct lh_str line;
    bool bad = trouble.n > 0;

    for (size_t i = 0; i < rows->n; i++) {
        const struct status_row *r = *(struct status_row **)lh_vec_at(rows, i);

        bad |= status_is_bad(r);
        lh_json_push(items, row_json(r));
    }
    while (trouble.n) {
        lh_str_cut(trouble, '\n', &line, &trouble);
        lh_json_push(lines, lh_json_new_str(line));
    }
    lh_json_set(doc, "version", lh_json_new_int(JSON_VERSION));
    lh_json_set(doc, "ok", lh_json_new_bool(!bad));
    lh_json_set(doc, "items", items);
    lh_json_set(doc, "unknown", lines);
    lh_json_write(doc, LH_JSON_PRETTY, b);
    lh_buf_put_c(b, '\n');
}

void status_print(const struct lh_vec *rows, struct lh_str trouble, enum status_format format,
                  bool live, int64_t wall_ms, struct lh_buf *b)
{
    if (format == STATUS_JSON)
        put_json(rows, trouble, b);
    else
        put_table(rows, trouble, format, live, wall_ms, b);
}

void status_print_row(const struct status_row *r, enum status_format format, int64_t wall_ms,
                      struct lh_buf *b)
{
    static const size_t widths[MAX_COLUMNS] = {18, 16, 24, 7, 16, 12, 5, 7, 5, 11, 12, 0};
    lh_auto_json lh_json *o = NULL;

    if (format != STATUS_JSON) {
        put_line(b, r, format, false, wall_ms, widths);
        return;
    }
    o = row_json(r);
    lh_json_write(o, LH_JSON_COMPACT, b);
    lh_buf_put_c(b, '\n');
}
