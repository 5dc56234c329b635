/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scanner. It reads JSON (RFC 8259) once, left to right, and builds jansson values while it
 * checks depth, count, UTF-8, surrogates and duplicate keys: jansson's own reader rounds numbers,
 * fails a whole answer on a large one, and quotes the input in its errors.
 */
#include <endian.h>
#include <stdio.h>

#include "json_priv.h"
#include "leasehold/core/mem.h"

struct scan {
    const char *p, *begin, *end;
    size_t depth, keys;
    struct lh_json_limits limits;
    struct lh_err *err;
};

static int parse_value(struct scan *s, json_t **out);

/* Line and column are counted only now: errors are rare, texts are long. */
static int fail_at(struct scan *s, const char *at, int code, const char *what)
{
    unsigned long line = 1, column = 1;

    for (const char *q = s->begin; q < at; q++) {
        if (*q == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)*q & 0xc0) != 0x80) {
            column++;
        }
    }
    return lh_err_set(s->err, code, "JSON line %lu, column %lu: %s", line, column, what);
}

static int fail(struct scan *s, int code, const char *what)
{
    return fail_at(s, s->p, code, what);
}

static void skip_space(struct scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
        s->p++;
}

static bool is_at(const struct scan *s, char c)
{
    return s->p < s->end && *s->p == c;
}

size_t lh_json_utf8_len(const unsigned char *p, size_t n)
{
    unsigned char lo = 0x80, hi = 0xbf;
    size_t len;

    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (n < len)
        return 0;
    /* Overlong forms, surrogates and what lies past U+10FFFF differ in the second byte only. */
    if (p[0] == 0xe0)
        lo = 0xa0;
    else if (p[0] == 0xed)
        hi = 0x9f;
    else if (p[0] == 0xf0)
        lo = 0x90;
    else if (p[0] == 0xf4)
        hi = 0x8f;
    if (p[1] < lo || p[1] > hi)
        return 0;
    for (size_t i = 2; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    return len;
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

size_t lh_json_plain_run(const char *p, size_t n)
{
    const uint64_t ones = 0x0101010101010101U;
    size_t i = 0;
    uint64_t w, quote, slash, hits;

    /* Eight at a time: the high bit of the first byte that is none of ours gets set; a borrow may
     * set those of later ones too, which does not matter. */
    for (; n - i >= sizeof(w); i += sizeof(w)) {
        memcpy(&w, p + i, sizeof(w));
        w = le64toh(w);
        quote = w ^ (ones * '"');
        slash = w ^ (ones * '\\');
        hits = (w | (w - ones * 0x20) | (quote - ones) | (slash - ones)) & (ones * 0x80);
        if (hits)
            return i + (size_t)__builtin_ctzll(hits) / 8;
    }
    while (i < n && is_plain((unsigned char)p[i]))
        i++;
    return i;
}

static int hex4(const char *p)
{
    int v = 0;

    for (int i = 0; i < 4; i++) {
        char c = p[i];

        v <<= 4;
        if (c >= '0' && c <= '9')
            v |= c - '0';
        else if (c >= 'a' && c <= 'f')
            v |= c - 'a' + 10;
        else if (c >= 'A' && c <= 'F')
            v |= c - 'A' + 10;
        else
            return -1;
    }
    return v;
}

/* The code point of the \u escape at p, where *used gets its length; -1 if it is none, -2 for half
 * a pair. */
static long unicode_escape(const char *p, const char *end, size_t *used)
{
    int high, low;

    if (end - p < 6)
        return -1;
    high = hex4(p + 2);
    *used = 6;
    if (high < 0xd800 || high > 0xdfff)
        return high;
    if (high > 0xdbff || end - p < 12 || p[6] != '\\' || p[7] != 'u')
        return -2;
    low = hex4(p + 8);
    if (low < 0xdc00 || low > 0xdfff)
        return -2;
    *used = 12;
    return 0x10000 + ((long)(high - 0xd800) << 10) + (low - 0xdc00);
}

static size_t put_utf8(char *q, long cp)
{
    if (cp < 0x80) {
        q[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        q[0] = (char)(0xc0 | (cp >> 6));
        q[1] = (char)(0x80 | (cp & 0x3f));
        return 2;
    }
    if (cp < 0x10000) {
        q[0] = (char)(0xe0 | (cp >> 12));
        q[1] = (char)(0x80 | ((cp >> 6) & 0x3f));
        q[2] = (char)(0x80 | (cp & 0x3f));
        return 3;
    }
    q[0] = (char)(0xf0 | (cp >> 18));
    q[1] = (char)(0x80 | ((cp >> 12) & 0x3f));
    q[2] = (char)(0x80 | ((cp >> 6) & 0x3f));
    q[3] = (char)(0x80 | (cp & 0x3f));
    return 4;
}

static char simple_escape(char c)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *hit = c ? strchr(from, c) : NULL;

    return hit ? to[hit - from] : '\0';
}

static int check_escape(struct scan *s)
{
    size_t used;
    long cp;

    if (s->end - s->p < 2)
        return fail(s, LH_E_INVALID, "the text ends inside a string");
    if (s->p[1] != 'u') {
        if (!simple_escape(s->p[1]))
            return fail(s, LH_E_INVALID, "unknown escape in a string");
        s->p += 2;
        return 0;
    }
    cp = unicode_escape(s->p, s->end, &used);
    if (cp == -2)
        return fail(s, LH_E_INVALID, "half a surrogate pair in a string");
    if (cp < 0)
        return fail(s, LH_E_INVALID, "\\u without four hexadecimal digits");
    s->p += used;
    return 0;
}

/* Checks the string at p (on its first quote) and moves behind it. *raw is what stands between the
 * quotes. */
static int scan_string(struct scan *s, struct lh_str *raw, bool *escaped)
{
    const char *start = ++s->p;

    *escaped = false;
    for (;;) {
        unsigned char c;

        s->p += lh_json_plain_run(s->p, (size_t)(s->end - s->p));
        if (s->p == s->end || *s->p == '"')
            break;
        c = (unsigned char)*s->p;
        if (c == '\\') {
            int rc = check_escape(s);

            if (rc < 0)
                return rc;
            *escaped = true;
        } else if (c < 0x20) {
            return fail(s, LH_E_INVALID, "control character in a string");
        } else {
            size_t len = lh_json_utf8_len((const unsigned char *)s->p, (size_t)(s->end - s->p));

            if (len == 0)
                return fail(s, LH_E_INVALID, "invalid UTF-8");
            s->p += len;
        }
    }
    if (s->p == s->end)
        return fail(s, LH_E_INVALID, "the text ends inside a string");
    *raw = (struct lh_str){start, (size_t)(s->p - start)};
    s->p++;
    return 0;
}

/* raw was checked by scan_string; q has room for raw.n bytes: no escape is shorter than what it
 * stands for. */
static size_t unescape(struct lh_str raw, char *q)
{
    const char *p = raw.p, *end = raw.p + raw.n;
    char *start = q;

    while (p < end) {
        const char *next = memchr(p, '\\', (size_t)(end - p));
        size_t plain = (size_t)((next ? next : end) - p);

        memcpy(q, p, plain);
        q += plain;
        p += plain;
        if (p == end)
            break;
        if (p[1] == 'u') {
            size_t used = 0;
            long cp = unicode_escape(p, end, &used);

            q += put_utf8(q, cp);
            p += used;
        } else {
            *q++ = simple_escape(p[1]);
            p += 2;
        }
    }
    return (size_t)(q - start);
}

static int parse_string(struct scan *s, json_t **out)
{
    lh_auto_free char *plain = NULL;
    struct lh_str raw = {NULL, 0};
    bool escaped = false;
    json_t *v;
    int rc;

    rc = scan_string(s, &raw, &escaped);
    if (rc < 0)
        return rc;
    if (escaped) {
        plain = lh_malloc(raw.n);
        if (!plain)
            return lh_err_nomem(s->err);
        raw = (struct lh_str){plain, unescape(raw, plain)};
    }
    v = json_stringn_nocheck(raw.p, raw.n);
    if (!v)
        return lh_err_nomem(s->err);
    *out = v;
    return 0;
}

static size_t digits(struct lh_str s, size_t from)
{
    size_t i = from;

    while (i < s.n && s.p[i] >= '0' && s.p[i] <= '9')
        i++;
    return i - from;
}

size_t lh_json_scan_number(struct lh_str s)
{
    size_t i = 0, n;

    if (i < s.n && s.p[i] == '-')
        i++;
    n = digits(s, i);
    if (n == 0 || (n > 1 && s.p[i] == '0'))
        return 0;
    i += n;
    if (i < s.n && s.p[i] == '.') {
        n = digits(s, i + 1);
        if (n == 0)
            return 0;
        i += 1 + n;
    }
    if (i < s.n && (s.p[i] == 'e' || s.p[i] == 'E')) {
        i++;
        if (i < s.n && (s.p[i] == '+' || s.p[i] == '-'))
            i++;
        n = digits(s, i);
        if (n == 0)
            return 0;
        i += n;
    }
    return i;
}

static int parse_number(struct scan *s, json_t **out)
{
    size_t n = lh_json_scan_number((struct lh_str){s->p, (size_t)(s->end - s->p)});
    json_t *v;

    if (n == 0)
        return fail(s, LH_E_INVALID, "malformed number");
    v = lh_json_new_number((struct lh_str){s->p, n});
    if (!v)
        return lh_err_nomem(s->err);
    s->p += n;
    *out = v;
    return 0;
}

static int parse_word(struct scan *s, json_t **out)
{
    static const char *const words[] = {"true", "false", "null"};
    size_t left = (size_t)(s->end - s->p);

    for (size_t i = 0; i < LH_ARRAY_LEN(words); i++) {
        size_t n = strlen(words[i]);

        if (left >= n && memcmp(s->p, words[i], n) == 0) {
            s->p += n;
            *out = i == 0 ? json_true() : i == 1 ? json_false() : json_null();
            return 0;
        }
    }
    return fail(s, LH_E_INVALID, "not a JSON value");
}

static int enter(struct scan *s)
{
    if (s->depth == s->limits.max_depth)
        return fail(s, LH_E_TOOBIG, "nested too deep");
    s->depth++;
    s->p++;
    skip_space(s);
    return 0;
}

static int count_member(struct scan *s)
{
    if (s->keys == s->limits.max_keys)
        return fail(s, LH_E_TOOBIG, "too many members");
    s->keys++;
    return 0;
}

/* After a member: 1 if another follows, 0 at the closing bracket (which is taken). */
static int next_member(struct scan *s, char close)
{
    skip_space(s);
    if (is_at(s, close)) {
        s->p++;
        s->depth--;
        return 0;
    }
    if (!is_at(s, ','))
        return fail(s, LH_E_INVALID,
                    s->p == s->end ? "the text ends inside an array or object"
                    : close == ']' ? "expected ',' or ']'"
                                   : "expected ',' or '}'");
    s->p++;
    skip_space(s);
    return 1;
}

static int parse_array(struct scan *s, json_t **out)
{
    lh_auto_json json_t *arr = NULL;
    int rc = enter(s);

    if (rc < 0)
        return rc;
    arr = json_array();
    if (!arr)
        return lh_err_nomem(s->err);
    rc = 1;
    if (is_at(s, ']'))
        rc = next_member(s, ']');
    while (rc == 1) {
        json_t *item = NULL;

        rc = count_member(s);
        if (rc < 0)
            return rc;
        rc = parse_value(s, &item);
        if (rc < 0)
            return rc;
        if (json_array_append_new(arr, item) < 0)
            return lh_err_nomem(s->err);
        rc = next_member(s, ']');
    }
    if (rc < 0)
        return rc;
    *out = LH_TAKE_PTR(arr);
    return 0;
}

struct key {
    const char *at; /* for errors */
    struct lh_str text;
    char *plain; /* owned: the text, where it is not in the input as it is */
};

/* Up to the value, behind the colon. */
static int parse_key(struct scan *s, struct key *out)
{
    bool escaped;
    int rc;

    out->at = s->p;
    if (!is_at(s, '"'))
        return fail(s, LH_E_INVALID, "expected a key in double quotes");
    rc = count_member(s);
    if (rc < 0)
        return rc;
    rc = scan_string(s, &out->text, &escaped);
    if (rc < 0)
        return rc;
    if (escaped) {
        out->plain = lh_malloc(out->text.n);
        if (!out->plain)
            return lh_err_nomem(s->err);
        out->text = (struct lh_str){out->plain, unescape(out->text, out->plain)};
        if (memchr(out->text.p, '\0', out->text.n))
            return fail_at(s, out->at, LH_E_INVALID, "NUL in a key");
    }
    skip_space(s);
    if (!is_at(s, ':'))
        return fail(s, LH_E_INVALID, "expected ':'");
    s->p++;
    skip_space(s);
    return 0;
}

static int parse_member(struct scan *s, json_t *obj)
{
    size_t had = json_object_size(obj);
    struct key key = {0};
    json_t *value = NULL;
    int rc;

    rc = parse_key(s, &key);
    if (rc == 0)
        rc = parse_value(s, &value);
    if (rc == 0 && json_object_setn_new_nocheck(obj, key.text.p, key.text.n, value) < 0)
        rc = lh_err_nomem(s->err);
    /* Looked for only now, since jansson hashes a key once for each call. */
    if (rc == 0 && json_object_size(obj) == had)
        rc = fail_at(s, key.at, LH_E_INVALID, "duplicate key");
    lh_free(key.plain);
    return rc;
}

static int parse_object(struct scan *s, json_t **out)
{
    lh_auto_json json_t *obj = NULL;
    int rc = enter(s);

    if (rc < 0)
        return rc;
    obj = json_object();
    if (!obj)
        return lh_err_nomem(s->err);
    rc = 1;
    if (is_at(s, '}'))
        rc = next_member(s, '}');
    while (rc == 1) {
        rc = parse_member(s, obj);
        if (rc < 0)
            return rc;
        rc = next_member(s, '}');
    }
    if (rc < 0)
        return rc;
    *out = LH_TAKE_PTR(obj);
    return 0;
}

/* On one character; recursion is bounded by max_depth. */
static int parse_value(struct scan *s, json_t **out)
{
    if (s->p == s->end)
        return fail(s, LH_E_INVALID, "the text ends where a value is expected");
    switch (*s->p) {
    case '{':
        return parse_object(s, out);
    case '[':
        return parse_array(s, out);
    case '"':
        return parse_string(s, out);
    case '-':
    case '0' ... '9':
        return parse_number(s, out);
    default:
        return parse_word(s, out);
    }
}

struct lh_json_limits lh_json_limits_fill(const struct lh_json_limits *limits)
{
    struct lh_json_limits l = limits ? *limits : (struct lh_json_limits){0};

    if (l.max_bytes == 0)
        l.max_bytes = JSON_DEFAULT_BYTES;
    if (l.max_depth == 0)
        l.max_depth = JSON_DEFAULT_DEPTH;
    if (l.max_depth > JSON_HARD_DEPTH)
        l.max_depth = JSON_HARD_DEPTH;
    if (l.max_keys == 0)
        l.max_keys = JSON_DEFAULT_KEYS;
    return l;
}

int lh_json_parse(struct lh_str text, const struct lh_json_limits *limits, lh_json **out,
                  struct lh_err *err)
{
    struct scan s = {.p = text.p, .begin = text.p, .end = text.p + text.n, .err = err};
    lh_auto_json json_t *v = NULL;
    int rc;

    lh_json_init();
    s.limits = lh_json_limits_fill(limits);
    if (text.n == 0)
        return lh_err_set(err, LH_E_INVALID, "JSON: the text is empty");
    if (text.n > s.limits.max_bytes)
        return lh_err_set(err, LH_E_TOOBIG, "JSON of %zu bytes is larger than %zu", text.n,
                          s.limits.max_bytes);
    skip_space(&s);
    rc = parse_value(&s, &v);
    if (rc < 0)
        return rc;
    skip_space(&s);
    if (s.p != s.end)
        return fail(&s, LH_E_INVALID, "text after the value");
    *out = LH_TAKE_PTR(v);
    return 0;
}
