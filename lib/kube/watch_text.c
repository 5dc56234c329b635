/* SPDX-License-Identifier: Apache-2.0 */
/* An object's metadata, found in its text: for what is not parsed, and so that less is. */
#include <string.h>

#include "watch_priv.h"

struct scan {
    const char *end;
    struct watch_meta *out;
    bool event;
};

static const char *skip_space(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
        p++;
    return p;
}

/* p is behind the opening quote; behind the closing one, or NULL if the text ends before. */
static const char *skip_string(const char *p, const char *end)
{
    for (; p < end; p++) {
        if (*p == '\\')
            p++;
        else if (*p == '"')
            return p + 1;
    }
    return NULL;
}

static const char *skip_nested(const char *p, const char *end)
{
    size_t depth = 0;

    while (p && p < end) {
        char c = *p++;

        if (c == '"')
            p = skip_string(p, end);
        else if (c == '{' || c == '[')
            depth++;
        else if ((c == '}' || c == ']') && --depth == 0)
            return p;
    }
    return NULL;
}

/* Behind the value that begins at p. */
static const char *skip_value(const char *p, const char *end)
{
    if (*p == '"')
        return skip_string(p + 1, end);
    if (*p == '{' || *p == '[')
        return skip_nested(p, end);
    while (p < end && !strchr(",}] \t\r\n", *p))
        p++;
    return p < end ? p : NULL;
}

/* A string without escapes: names have none. */
static void take_string(struct lh_str *out, const char *value, const char *end)
{
    size_t n = (size_t)(end - value);

    if (n >= 2 && value[0] == '"' && !memchr(value, '\\', n))
        *out = (struct lh_str){value + 1, n - 2};
}

/* One member of metadata; comma: the one in front of it, or NULL. */
static void take_member(struct scan *s, struct lh_str key, const char *comma, const char *value,
                        const char *end)
{
    const char *from = key.p - 1, *behind = skip_space(end, s->end);

    if (lh_str_eqz(key, "name"))
        take_string(&s->out->name, value, end);
    else if (lh_str_eqz(key, "namespace"))
        take_string(&s->out->namespace_, value, end);
    else if (lh_str_eqz(key, "uid"))
        take_string(&s->out->uid, value, end);
    if (!lh_str_eqz(key, "managedFields"))
        return;
    if (comma)
        from = comma;
    else if (behind < s->end && *behind == ',')
        end = behind + 1;
    s->out->managed_fields = (struct lh_str){from, (size_t)(end - from)};
}

/* Members of an object, p behind its '{'. path: the keys that lead to metadata from here. Returns
 * behind the '}'; NULL where the text ends, or nothing more is wanted of it. */
static const char *members(struct scan *s, const char *p, const char *const *path)
{
    const char *comma = NULL, *value;
    struct lh_str key;

    for (;;) {
        p = skip_space(p, s->end);
        if (p < s->end && *p == ',') {
            comma = p;
            p = skip_space(p + 1, s->end);
        }
        if (p == s->end || *p != '"')
            return p < s->end && *p == '}' ? p + 1 : NULL;
        key.p = p + 1;
        p = skip_string(key.p, s->end);
        if (!p)
            return NULL;
        key.n = (size_t)(p - 1 - key.p);
        p = skip_space(p, s->end);
        if (p == s->end || *p != ':')
            return NULL;
        value = skip_space(p + 1, s->end);
        if (value == s->end)
            return NULL;
        if (*path && lh_str_eqz(key, *path) && *value == '{')
            p = members(s, value + 1, path + 1);
        else
            p = skip_value(value, s->end);
        if (!p)
            return NULL;
        if (!*path)
            take_member(s, key, comma, value, p);
        else if (s->event && lh_str_eqz(key, "type") && strcmp(*path, "object") == 0)
            take_string(&s->out->type, value, p);
    }
}

void watch_meta_scan(struct lh_str text, bool event, struct watch_meta *out)
{
    static const char *const path[] = {"object", "metadata", NULL};
    struct scan s = {.end = text.p + text.n, .out = out, .event = event};
    const char *p = skip_space(text.p, s.end);

    *out = (struct watch_meta){0};
    if (p < s.end && *p == '{')
        members(&s, p + 1, event ? path : path + 1);
}

void watch_put_plain(struct lh_buf *b, struct lh_str text, struct lh_str managed_fields)
{
    const char *behind = managed_fields.p + managed_fields.n;

    lh_buf_put(b, text.p, (size_t)(managed_fields.p - text.p));
    lh_buf_put(b, behind, (size_t)(text.p + text.n - behind));
}
