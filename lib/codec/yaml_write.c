/* SPDX-License-Identifier: Apache-2.0 */
/* Block style as kubectl prints it: two columns a level, sequences in line with their key. */
#include "json_priv.h"
#include "leasehold/codec/yaml.h"
#include "leasehold/core/mem.h"
#include "yaml_priv.h"

enum style { PLAIN, SINGLE, DOUBLE, LITERAL };

/* libyaml, as go-yaml, takes a key without '?' only if it ends within 1024 characters. */
enum { MAX_SIMPLE_KEY = 1000 };

static void put_block(struct lh_buf *b, const lh_json *v, int indent, int depth);

static void put_indent(struct lh_buf *b, int n)
{
    for (int i = 0; i < n; i++)
        lh_buf_put_c(b, ' ');
}

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static long code_point(const unsigned char *p, size_t len)
{
    long cp = len == 1 ? p[0] : p[0] & (0xff >> (len + 1));

    for (size_t i = 1; i < len; i++)
        cp = cp << 6 | (p[i] & 0x3f);
    return cp;
}

/* What YAML 1.1 takes for a line break, or does not let stand in a text, must be escaped. */
static bool must_escape(long cp)
{
    return (cp < 0x20 && cp != '\t' && cp != '\n') || (cp >= 0x7f && cp < 0xa0) || cp == 0x2028 ||
           cp == 0x2029 || cp == 0xfeff || cp == 0xfffe || cp == 0xffff;
}

static bool any_must_escape(struct lh_str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t len;

    for (size_t i = 0; i < s.n; i += len) {
        len = lh_json_utf8_len(p + i, s.n - i);
        if (len == 0 || must_escape(code_point(p + i, len)))
            return true;
    }
    return false;
}

/*
 * What starts with a digit stays plain only with a letter that no reader knows in a number of base
 * 2 to 16, with an exponent or base 60, nor in a time: "24Mi" and "5m", but not "1e3", "0x1F",
 * "1:30".
 */
static bool digit_is_safe(struct lh_str s)
{
    bool letter = false;

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == ':' || s.p[i] == '-' || s.p[i] == ' ')
            return false;
        letter |= strchr("ghijklmnpqrsuvwyzGHIJKLMNPQRSUVWY", s.p[i]) != NULL;
    }
    return letter;
}

static bool is_plain(struct lh_str s)
{
    if (s.n == 0 || !(is_alnum(s.p[0]) || s.p[0] == '/' || s.p[0] == '_'))
        return false;
    if (s.p[0] >= '0' && s.p[0] <= '9' && !digit_is_safe(s))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i], after = i + 1 < s.n ? s.p[i + 1] : '\0';

        if (c == ':' || c == ' ') {
            /* ": " ends a key, " #" starts a comment, and neither may stand last. */
            if (after == '\0' || after == ' ' || after == '#')
                return false;
        } else if (!is_alnum(c) && (c == '\0' || !strchr("_./-+@%=()$;<>", c))) {
            return false;
        }
    }
    return lh_yaml_resolve(s, NULL) == YAML_STRING;
}

static enum style choose(struct lh_str s, bool key)
{
    if (is_plain(s))
        return PLAIN;
    if (any_must_escape(s))
        return DOUBLE;
    if (memchr(s.p, '\n', s.n)) {
        /* A block that starts with white space needs an indicator that readers disagree on. */
        return key || s.p[0] == ' ' || s.p[0] == '\t' || s.p[0] == '\n' ? DOUBLE : LITERAL;
    }
    return memchr(s.p, '"', s.n) || memchr(s.p, '\\', s.n) ? SINGLE : DOUBLE;
}

static void put_single(struct lh_buf *b, struct lh_str s)
{
    lh_buf_put_c(b, '\'');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\'')
            lh_buf_put_c(b, '\'');
        lh_buf_put_c(b, s.p[i]);
    }
    lh_buf_put_c(b, '\'');
}

static void put_escape(struct lh_buf *b, long cp)
{
    switch (cp) {
    case '\n':
        lh_buf_put_z(b, "\\n");
        break;
    case '\r':
        lh_buf_put_z(b, "\\r");
        break;
    case '\t':
        lh_buf_put_z(b, "\\t");
        break;
    case '"':
    case '\\':
        lh_buf_put_c(b, '\\');
        lh_buf_put_c(b, (char)cp);
        break;
    default:
        lh_buf_printf(b, cp < 0x100 ? "\\x%02lx" : "\\u%04lx", (unsigned long)cp);
        break;
    }
}

static void put_double(struct lh_buf *b, struct lh_str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t len;

    lh_buf_put_c(b, '"');
    for (size_t i = 0; i < s.n; i += len) {
        long cp;

        len = lh_json_utf8_len(p + i, s.n - i);
        if (len == 0) {
            lh_buf_put_z(b, "\\ufffd");
            len = 1;
            continue;
        }
        cp = code_point(p + i, len);
        if (cp == '"' || cp == '\\' || cp == '\n' || cp == '\t' || must_escape(cp))
            put_escape(b, cp);
        else
            lh_buf_put(b, p + i, len);
    }
    lh_buf_put_c(b, '"');
}

/* s holds a line break; the caller ends the last line. */
static void put_literal(struct lh_buf *b, struct lh_str s, int indent)
{
    size_t breaks = 0;
    struct lh_str line;

    while (breaks < s.n && s.p[s.n - 1 - breaks] == '\n')
        breaks++;
    lh_buf_put_z(b, breaks == 0 ? "|-" : breaks == 1 ? "|" : "|+");
    if (breaks > 0)
        s.n--;
    for (bool more = true; more;) {
        more = lh_str_cut(s, '\n', &line, &s);
        lh_buf_put_c(b, '\n');
        if (line.n > 0) {
            put_indent(b, indent);
            lh_buf_put_str(b, line);
        }
    }
}

/* indent: where the lines of a block scalar start. */
static void put_string(struct lh_buf *b, struct lh_str s, int indent)
{
    switch (choose(s, false)) {
    case PLAIN:
        lh_buf_put_str(b, s);
        break;
    case SINGLE:
        put_single(b, s);
        break;
    case DOUBLE:
        put_double(b, s);
        break;
    case LITERAL:
        put_literal(b, s, indent);
        break;
    }
}

static void put_scalar(struct lh_buf *b, const lh_json *v, int indent)
{
    struct lh_str s;

    if (lh_json_str(v, &s))
        put_string(b, s, indent);
    else
        lh_json_write(v, LH_JSON_COMPACT, b); /* also {} and [] */
    lh_buf_put_c(b, '\n');
}

static bool is_block(const lh_json *v)
{
    return lh_json_len(v) > 0;
}

static void put_key(struct lh_buf *b, struct lh_str key, int indent)
{
    enum style style = choose(key, true);
    size_t longest = style == DOUBLE ? 4 * key.n : style == SINGLE ? 2 * key.n : key.n;
    bool marked = longest > MAX_SIMPLE_KEY;

    if (marked)
        lh_buf_put_z(b, "? ");
    if (style == PLAIN)
        lh_buf_put_str(b, key);
    else if (style == SINGLE)
        put_single(b, key);
    else
        put_double(b, key);
    if (marked) {
        lh_buf_put_c(b, '\n');
        put_indent(b, indent);
    }
    lh_buf_put_c(b, ':');
}

static void put_member(struct lh_buf *b, struct lh_str key, const lh_json *v, int indent, int depth)
{
    int inner = lh_json_type(v) == LH_JSON_ARRAY ? indent : indent + 2;

    put_key(b, key, indent);
    if (!is_block(v)) {
        lh_buf_put_c(b, ' ');
        put_scalar(b, v, indent + 2);
        return;
    }
    lh_buf_put_c(b, '\n');
    put_indent(b, inner);
    put_block(b, v, inner, depth);
}

/* v is not empty; the first line's indentation is there already. */
static void put_block(struct lh_buf *b, const lh_json *v, int indent, int depth)
{
    const lh_json *member;
    struct lh_str key;
    void *it = NULL;

    if (depth > JSON_WALK_DEPTH) {
        if (!b->failed)
            b->failed = LH_E_TOOBIG;
        return;
    }
    if (lh_json_type(v) == LH_JSON_OBJECT) {
        for (bool first = true; lh_json_next(v, &it, &key, &member); first = false) {
            if (!first)
                put_indent(b, indent);
            put_member(b, key, member, indent, depth + 1);
        }
        return;
    }
    for (size_t i = 0; i < lh_json_len(v); i++) {
        if (i > 0)
            put_indent(b, indent);
        member = lh_json_at(v, i);
        lh_buf_put_z(b, "- ");
        if (is_block(member))
            put_block(b, member, indent + 2, depth + 1);
        else
            put_scalar(b, member, indent + 2);
    }
}

void lh_yaml_write(const lh_json *v, struct lh_buf *b)
{
    if (is_block(v))
        put_block(b, v, 0, 0);
    else
        put_scalar(b, v, 2);
}
