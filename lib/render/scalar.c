/* SPDX-License-Identifier: Apache-2.0 */
#include "render_priv.h"

#include <string.h>
#include <strings.h>

#include "leasehold/api/reasons.h"

static bool is_alnum(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

void lh_render_value(const lh_json *v, struct lh_buf *b)
{
    struct lh_str s;

    if (lh_json_str(v, &s))
        lh_buf_put_str(b, s);
    else
        lh_json_write(v, LH_JSON_SORTED, b);
}

static bool is_env_name(struct lh_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!is_alnum((unsigned char)s.p[i]) && s.p[i] != '_')
            return false;
    }
    return s.n > 0 && !(s.p[0] >= '0' && s.p[0] <= '9');
}

static bool is_bare(struct lh_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!is_alnum((unsigned char)s.p[i]) && (s.p[i] == '\0' || !strchr("_./:@%+,=-", s.p[i])))
            return false;
    }
    return s.n > 0;
}

/* Bare where nothing needs quoting, since some readers (docker --env-file) keep quotes; single
 * quotes where all agree that nothing in them is special; double quotes for what holds a single
 * one. */
static void put_env_value(struct lh_str s, struct lh_buf *b)
{
    if (is_bare(s)) {
        lh_buf_put_str(b, s);
        return;
    }
    if (s.n == 0 || !memchr(s.p, '\'', s.n)) {
        lh_buf_put_c(b, '\'');
        lh_buf_put_str(b, s);
        lh_buf_put_c(b, '\'');
        return;
    }
    lh_buf_put_c(b, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (strchr("\"\\$`", s.p[i]))
            lh_buf_put_c(b, '\\');
        lh_buf_put_c(b, s.p[i]);
    }
    lh_buf_put_c(b, '"');
}

static int no_env(struct lh_err *err, struct lh_str key, const char *why)
{
    return lh_err_reason(err,
                         lh_err_set(err, LH_E_INVALID, "key \"%.*s\" %s; use another format",
                                    (int)(key.n < 64 ? key.n : 64), key.p, why),
                         LH_REASON_FileConflict);
}

int lh_render_env(const struct lh_member *m, struct lh_buf *b, struct lh_err *err)
{
    lh_auto_buf struct lh_buf text = {.cap = LH_RENDER_FILE_BYTES};
    struct lh_str s;

    if (!is_env_name(m->key))
        return no_env(err, m->key, "is no name of an environment variable (letters, digits and _)");
    lh_render_value(m->value, &text);
    if (text.failed) {
        b->failed = text.failed; /* the file's limit is the one to name */
        return 0;
    }
    s = lh_buf_peek(&text);
    if (memchr(s.p, '\0', s.n))
        return no_env(err, m->key, "has a value with a NUL byte, which no environment can hold");
    lh_buf_put_str(b, m->key);
    lh_buf_put_c(b, '=');
    put_env_value(s, b);
    return 0;
}

/* The code point at the start of s, which is valid UTF-8 (values are JSON), and its length. */
static unsigned decode(struct lh_str s, size_t *len)
{
    const unsigned char *p = (const unsigned char *)s.p;
    unsigned c = p[0];

    *len = lh_str_utf8_len(s);
    if (*len <= 1) {
        *len = 1;
        return c;
    }
    c &= 0x7fU >> *len;
    for (size_t i = 1; i < *len; i++)
        c = c << 6 | (p[i] & 0x3f);
    return c;
}

static void put_utf16_escape(unsigned c, struct lh_buf *b)
{
    if (c < 0x10000) {
        lh_buf_printf(b, "\\u%04X", c);
        return;
    }
    c -= 0x10000;
    lh_buf_printf(b, "\\u%04X\\u%04X", 0xd800 + (c >> 10), 0xdc00 + (c & 0x3ff));
}

static void put_property_text(struct lh_str s, bool is_key, struct lh_buf *b)
{
    static const char from[] = "\t\n\r\f", to[] = "tnrf";
    size_t len;

    for (bool first = true; s.n > 0; first = false, s.p += len, s.n -= len) {
        unsigned c = decode(s, &len);
        const char *hit = c && c < 0x20 ? strchr(from, (int)c) : NULL;

        if (hit) {
            lh_buf_put_c(b, '\\');
            lh_buf_put_c(b, to[hit - from]);
        } else if (c < 0x20 || c > 0x7e) {
            put_utf16_escape(c, b);
        } else {
            if (strchr("\\=:#!", (int)c) || (c == ' ' && (is_key || first)))
                lh_buf_put_c(b, '\\');
            lh_buf_put_c(b, (char)c);
        }
    }
}

void lh_render_property(const struct lh_member *m, struct lh_buf *b)
{
    lh_auto_buf struct lh_buf text = {.cap = LH_RENDER_FILE_BYTES};

    lh_render_value(m->value, &text);
    put_property_text(m->key, true, b);
    lh_buf_put_c(b, '=');
    put_property_text(lh_buf_peek(&text), false, b);
    if (text.failed)
        b->failed = text.failed;
}

/* What YAML calls printable, without its line breaks and the byte order mark. */
static bool is_yaml_plain(unsigned c)
{
    if (c < 0x20 || c == 0x7f || c == '"' || c == '\\')
        return false;
    if (c < 0x80)
        return true;
    return c >= 0xa0 && c != 0x2028 && c != 0x2029 && c != 0xfeff && c != 0xfffe && c != 0xffff;
}

static void put_yaml_escape(unsigned c, struct lh_buf *b)
{
    static const char from[] = "\"\\\t\n\r", to[] = "\"\\tnr";
    const char *hit = c && c < 0x80 ? strchr(from, (int)c) : NULL;

    if (hit) {
        lh_buf_put_c(b, '\\');
        lh_buf_put_c(b, to[hit - from]);
    } else if (c < 0x100) {
        lh_buf_printf(b, "\\x%02X", c);
    } else {
        lh_buf_printf(b, "\\u%04X", c);
    }
}

static void put_yaml_string(struct lh_str s, struct lh_buf *b)
{
    size_t len;

    lh_buf_put_c(b, '"');
    for (; s.n > 0; s.p += len, s.n -= len) {
        unsigned c = decode(s, &len);

        if (is_yaml_plain(c))
            lh_buf_put(b, s.p, len);
        else
            put_yaml_escape(c, b);
    }
    lh_buf_put_c(b, '"');
}

/* A word that some reader takes for a boolean, a null or a merge is quoted. */
static void put_yaml_key(struct lh_str s, struct lh_buf *b)
{
    static const char *const words[] = {"y",   "n",    "yes",   "no",   "on",
                                        "off", "true", "false", "null", NULL};
    bool plain = is_env_name(s);

    for (size_t i = 0; plain && words[i]; i++)
        plain = strlen(words[i]) != s.n || strncasecmp(words[i], s.p, s.n) != 0;
    if (plain)
        lh_buf_put_str(b, s);
    else
        put_yaml_string(s, b);
}

static void put_yaml_value(const lh_json *v, struct lh_buf *b);

static void put_yaml_object(const lh_json *v, struct lh_buf *b)
{
    struct lh_vec members;

    if (lh_render_members(v, &members, NULL) < 0) {
        b->failed = LH_E_NOMEM;
        return;
    }
    lh_buf_put_c(b, '{');
    for (size_t i = 0; i < members.n; i++) {
        const struct lh_member *m = lh_vec_at(&members, i);

        if (i > 0)
            lh_buf_put_z(b, ", ");
        put_yaml_string(m->key, b);
        lh_buf_put_z(b, ": ");
        put_yaml_value(m->value, b);
    }
    lh_buf_put_c(b, '}');
    lh_vec_done(&members);
}

static void put_yaml_value(const lh_json *v, struct lh_buf *b)
{
    struct lh_str s;

    switch (lh_json_type(v)) {
    case LH_JSON_STRING:
        lh_json_str(v, &s);
        put_yaml_string(s, b);
        break;
    case LH_JSON_OBJECT:
        put_yaml_object(v, b);
        break;
    case LH_JSON_ARRAY:
        lh_buf_put_c(b, '[');
        for (size_t i = 0; i < lh_json_len(v); i++) {
            if (i > 0)
                lh_buf_put_z(b, ", ");
            put_yaml_value(lh_json_at(v, i), b);
        }
        lh_buf_put_c(b, ']');
        break;
    case LH_JSON_NULL:
    case LH_JSON_BOOL:
    case LH_JSON_NUMBER:
        lh_json_write(v, LH_JSON_COMPACT, b);
        break;
    }
}

void lh_render_yaml(const struct lh_member *m, struct lh_buf *b)
{
    /* A key of more than 1024 characters is one only when a question mark says so. */
    bool is_long = m->key.n > 160; /* escapes take up to six bytes for one */

    if (is_long)
        lh_buf_put_z(b, "? ");
    put_yaml_key(m->key, b);
    lh_buf_put_z(b, is_long ? "\n: " : ": ");
    put_yaml_value(m->value, b);
}

void lh_render_urlquery(struct lh_str s, struct lh_buf *b)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (is_alnum(c) || (c && strchr("-_.~", c))) {
            lh_buf_put_c(b, (char)c);
        } else if (c == ' ') {
            lh_buf_put_c(b, '+');
        } else {
            lh_buf_put_c(b, '%');
            lh_buf_put_c(b, hex[c >> 4]);
            lh_buf_put_c(b, hex[c & 15]);
        }
    }
}
