/* SPDX-License-Identifier: Apache-2.0 */
/* Our own writer: jansson's knows nothing of numbers kept as text, and does not write into wiping
 * buffers. */
#include <stdlib.h>

#include "json_priv.h"
#include "leasehold/core/mem.h"

struct writer {
    struct lh_buf *b;
    enum lh_json_style style;
};

static void write_at(struct writer *w, const lh_json *v, int depth);

/* What follows the backslash where two characters are enough, else NUL. */
static char short_escape(unsigned char c)
{
    static const char letters[0x20] = {
        ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};

    return c < sizeof(letters) ? letters[c] : c == '"' || c == '\\' ? (char)c : '\0';
}

/* A run that goes out as it is, and the byte behind it, which does not. */
static void write_run(struct lh_buf *b, const char *p, size_t n)
{
    unsigned char c = (unsigned char)p[n];
    char letter = short_escape(c), *at;

    if (letter) { /* one append: a document within a string is mostly quotes */
        at = lh_buf_extend(b, n + 2);
        if (!at)
            return;
        memcpy(at, p, n);
        at[n] = '\\';
        at[n + 1] = letter;
        return;
    }
    lh_buf_put(b, p, n);
    if (c >= 0x80)
        lh_buf_put_z(b, "\\ufffd"); /* no UTF-8: what we write is always JSON */
    else
        lh_buf_printf(b, "\\u%04x", c);
}

void lh_json_write_str(struct lh_str s, struct lh_buf *b)
{
    size_t len = lh_json_plain_run(s.p, s.n);
    char *at;

    if (len == s.n) { /* nearly always */
        at = lh_buf_extend(b, s.n + 2);
        if (!at)
            return;
        at[0] = at[s.n + 1] = '"';
        memcpy(at + 1, s.n ? s.p : "", s.n);
        return;
    }
    lh_buf_put_c(b, '"');
    while (s.n > 0) {
        const char *start = s.p;

        /* As much as goes out as it is. */
        do {
            len = lh_json_plain_run(s.p, s.n);
            if (len == 0 && (unsigned char)s.p[0] >= 0x80)
                len = lh_json_utf8_len((const unsigned char *)s.p, s.n);
            s.p += len;
            s.n -= len;
        } while (len > 0 && s.n > 0);
        if (s.n == 0) {
            lh_buf_put(b, start, (size_t)(s.p - start));
            break;
        }
        write_run(b, start, (size_t)(s.p - start));
        s.p++;
        s.n--;
    }
    lh_buf_put_c(b, '"');
}

static void new_line(struct writer *w, int depth)
{
    if (w->style != LH_JSON_PRETTY)
        return;
    lh_buf_put_c(w->b, '\n');
    for (int i = 0; i < depth; i++)
        lh_buf_put_z(w->b, "  ");
}

static void write_array(struct writer *w, const lh_json *v, int depth)
{
    size_t n = lh_json_len(v);

    lh_buf_put_c(w->b, '[');
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            lh_buf_put_c(w->b, ',');
        new_line(w, depth + 1);
        write_at(w, lh_json_at(v, i), depth + 1);
    }
    if (n > 0)
        new_line(w, depth);
    lh_buf_put_c(w->b, ']');
}

/* As nearly every key is: no white space around it, nothing to escape in it. One append. */
static bool write_plain_key(struct writer *w, bool first, struct lh_str key)
{
    char *at;

    if (w->style == LH_JSON_PRETTY || lh_json_plain_run(key.p, key.n) < key.n)
        return false;
    at = lh_buf_extend(w->b, key.n + (first ? 3 : 4));
    if (!at)
        return true;
    if (!first)
        *at++ = ',';
    *at++ = '"';
    memcpy(at, key.p, key.n);
    at[key.n] = '"';
    at[key.n + 1] = ':';
    return true;
}

static void write_member(struct writer *w, size_t i, struct lh_str key, const lh_json *v, int depth)
{
    if (!write_plain_key(w, i == 0, key)) {
        if (i > 0)
            lh_buf_put_c(w->b, ',');
        new_line(w, depth + 1);
        lh_json_write_str(key, w->b);
        lh_buf_put_c(w->b, ':');
        if (w->style == LH_JSON_PRETTY)
            lh_buf_put_c(w->b, ' ');
    }
    write_at(w, v, depth + 1);
}

struct member {
    struct lh_str key;
    const lh_json *value;
};

static int by_key(const void *pa, const void *pb)
{
    const struct member *a = pa, *b = pb;
    size_t n = a->key.n < b->key.n ? a->key.n : b->key.n;
    int order = memcmp(a->key.p, b->key.p, n);

    return order ? order : (a->key.n > b->key.n) - (a->key.n < b->key.n);
}

static void write_sorted(struct writer *w, const lh_json *v, int depth)
{
    lh_auto_free struct member *all = lh_calloc(lh_json_len(v), sizeof(*all));
    void *it = NULL;
    size_t n = 0;

    if (!all) {
        if (!w->b->failed)
            w->b->failed = LH_E_NOMEM;
        return;
    }
    while (lh_json_next(v, &it, &all[n].key, &all[n].value)) {
        n++;
        if (n == lh_json_len(v))
            break;
    }
    qsort(all, n, sizeof(*all), by_key);
    for (size_t i = 0; i < n; i++)
        write_member(w, i, all[i].key, all[i].value, depth);
}

static void write_object(struct writer *w, const lh_json *v, int depth)
{
    struct lh_str key;
    const lh_json *value;
    void *it = NULL;
    size_t i = 0;

    lh_buf_put_c(w->b, '{');
    if (lh_json_len(v) > 0) {
        if (w->style == LH_JSON_SORTED) {
            write_sorted(w, v, depth);
        } else {
            while (lh_json_next(v, &it, &key, &value))
                write_member(w, i++, key, value, depth);
        }
        new_line(w, depth);
    }
    lh_buf_put_c(w->b, '}');
}

static void write_at(struct writer *w, const lh_json *v, int depth)
{
    struct lh_str s;
    int64_t i;
    bool b;

    if (depth > JSON_WALK_DEPTH) {
        if (!w->b->failed)
            w->b->failed = LH_E_TOOBIG;
        return;
    }
    switch (lh_json_type(v)) {
    case LH_JSON_OBJECT:
        write_object(w, v, depth);
        break;
    case LH_JSON_ARRAY:
        write_array(w, v, depth);
        break;
    case LH_JSON_STRING:
        lh_json_str(v, &s);
        lh_json_write_str(s, w->b);
        break;
    case LH_JSON_NUMBER:
        if (lh_json_literal(v, &s))
            lh_buf_put_str(w->b, s);
        else if (lh_json_int(v, &i))
            lh_buf_put_int(w->b, i);
        break;
    case LH_JSON_BOOL:
        lh_buf_put_z(w->b, lh_json_bool(v, &b) && b ? "true" : "false");
        break;
    case LH_JSON_NULL:
        lh_buf_put_z(w->b, "null");
        break;
    }
}

void lh_json_write(const lh_json *v, enum lh_json_style style, struct lh_buf *b)
{
    struct writer w = {.b = b, .style = style};

    write_at(&w, v, 0);
}
