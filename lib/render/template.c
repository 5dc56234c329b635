/* SPDX-License-Identifier: Apache-2.0 */
#include "render_priv.h"

#include <string.h>

#include "leasehold/api/reasons.h"

/*
 * A strict subset of Go's text/template: whatever is accepted here means the same there. So no trim
 * markers, comments or spellings that nobody needs for this little: they are refused, not ignored.
 */

#define OFFERED "a template may hold text, {{ .key }} and {{ .key | urlquery }}"

struct piece {
    struct lh_str text; /* to copy, before the value */
    struct lh_str key;  /* then the value of this key; p NULL at the end of the template */
    bool urlquery;
};

struct scanner {
    const char *start, *at, *end;
};

/* Line and column count from 1, the column in characters. */
static int fail(const struct scanner *s, const char *at, struct lh_err *err, const char *what,
                struct lh_str found)
{
    int line = 1, column = 1;

    for (const char *p = s->start; p < at; p++) {
        if (*p == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)*p & 0xc0) != 0x80) {
            column++;
        }
    }
    return lh_err_reason(err,
                         lh_err_set(err, LH_E_INVALID, "line %d, column %d: %s%.*s%s", line, column,
                                    what, (int)(found.n < 40 ? found.n : 40), found.p,
                                    found.n ? "\"; " OFFERED : ""),
                         LH_REASON_TemplateInvalid);
}

static void skip_space(struct scanner *s)
{
    while (s->at < s->end && strchr(" \t\r\n", *s->at))
        s->at++;
}

static bool is_name_char(char c, bool first)
{
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (!first && c >= '0' && c <= '9');
}

static struct lh_str scan_name(struct scanner *s)
{
    struct lh_str name = {s->at, 0};

    while (s->at < s->end && is_name_char(*s->at, name.n == 0)) {
        s->at++;
        name.n++;
    }
    return name;
}

/* What stands at the position, up to a space or the end of the action, for the message. */
static struct lh_str word_at(const struct scanner *s)
{
    struct lh_str word = {s->at, 0};

    while (s->at + word.n < s->end && !strchr(" \t\r\n", s->at[word.n]) &&
           !(word.n > 0 && s->at[word.n] == '}'))
        word.n++;
    return word;
}

static int refuse(const struct scanner *s, struct lh_err *err)
{
    struct lh_str word = word_at(s);

    if (word.n == 0 || *s->at == '}')
        return fail(s, s->at, err, "the action does not end; }} must stand here", LH_STR(""));
    return fail(s, s->at, err, "not offered: \"", word);
}

/* After ".key": the end, or "| urlquery" and the end. */
static int scan_pipe(struct scanner *s, struct piece *out, struct lh_err *err)
{
    struct lh_str name;

    out->urlquery = false;
    skip_space(s);
    if (s->at < s->end && *s->at == '|') {
        s->at++;
        skip_space(s);
        name = scan_name(s);
        if (name.n == 0 && s->at < s->end && *s->at == '}')
            return fail(s, s->at, err, "urlquery is missing after |", LH_STR(""));
        if (!lh_str_eqz(name, "urlquery")) {
            s->at = name.p;
            return refuse(s, err);
        }
        out->urlquery = true;
        skip_space(s);
    }
    if (s->end - s->at < 2 || memcmp(s->at, "}}", 2) != 0)
        return refuse(s, err);
    s->at += 2;
    return 0;
}

static int scan_action(struct scanner *s, struct piece *out, struct lh_err *err)
{
    const char *open = s->at;

    s->at += 2;
    if (s->end - s->at >= 2 && s->at[0] == '-' && strchr(" \t\r\n", s->at[1]))
        return refuse(s, err);
    skip_space(s);
    if (s->end - s->at >= 2 && memcmp(s->at, "}}", 2) == 0)
        return fail(s, open, err, "the action is empty; " OFFERED, LH_STR(""));
    if (s->at == s->end)
        return fail(s, open, err, "{{ is never closed; add }}", LH_STR(""));
    if (*s->at != '.')
        return refuse(s, err);
    s->at++;
    out->key = scan_name(s);
    if (out->key.n == 0) {
        s->at--;
        return refuse(s, err);
    }
    /* .a.b, .a-b and the like: shown whole. A keyword may be a field's name in Go, too. */
    if (s->at < s->end && !strchr(" \t\r\n|}", *s->at)) {
        s->at = out->key.p - 1;
        return refuse(s, err);
    }
    return scan_pipe(s, out, err);
}

static int scan(struct scanner *s, struct piece *out, struct lh_err *err)
{
    const char *open = s->at;

    while (s->end - open >= 2 && memcmp(open, "{{", 2) != 0)
        open++;
    if (s->end - open < 2)
        open = s->end;
    *out = (struct piece){.text = {s->at, (size_t)(open - s->at)}};
    s->at = open;
    return open == s->end ? 0 : scan_action(s, out, err);
}

static int start(struct scanner *s, const char *text, struct lh_err *err)
{
    size_t n = strlen(text);

    if (n > LH_RENDER_TEMPLATE_BYTES) {
        lh_err_fill(err, LH_E_TOOBIG, "the template has %zu bytes; at most %d are allowed", n,
                    LH_RENDER_TEMPLATE_BYTES);
        return lh_err_negative(lh_err_reason(err, -LH_E_TOOBIG, LH_REASON_TooLarge));
    }
    *s = (struct scanner){text, text, text + n};
    return 0;
}

int lh_template_check(const char *text, struct lh_err *err)
{
    struct scanner s;
    struct piece piece;
    int rc = start(&s, text, err);

    if (rc < 0)
        return rc;
    do {
        rc = scan(&s, &piece, err);
    } while (rc == 0 && piece.key.p);
    return rc;
}

static int put_value(const struct piece *piece, const lh_json *data, struct lh_buf *b,
                     struct lh_err *err)
{
    lh_auto_buf struct lh_buf value = {.cap = LH_RENDER_FILE_BYTES};
    const lh_json *v = NULL;
    int rc = lh_render_find(data, piece->key, &v, err);

    if (rc < 0)
        return rc;
    lh_render_value(v, &value);
    if (value.failed)
        b->failed = value.failed;
    if (piece->urlquery)
        lh_render_urlquery(lh_buf_peek(&value), b);
    else
        lh_buf_put_str(b, lh_buf_peek(&value));
    return 0;
}

int lh_render_template(const char *text, const lh_json *data, struct lh_buf *b, struct lh_err *err)
{
    struct scanner s;
    struct piece piece;
    int rc = start(&s, text, err);

    if (rc < 0)
        return rc;
    do {
        rc = scan(&s, &piece, err);
        if (rc < 0)
            return rc;
        lh_buf_put_str(b, piece.text);
        if (piece.key.p)
            rc = put_value(&piece, data, b, err);
    } while (rc == 0 && piece.key.p && !b->failed);
    return rc;
}
