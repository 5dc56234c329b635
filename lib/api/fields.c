/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "leasehold/api/fields.h"
#include "leasehold/codec/duration.h"
#include "leasehold/core/mem.h"

static const struct lh_at *root_of(const struct lh_at *at)
{
    while (at->up)
        at = at->up;
    return at;
}

static void put_path(const struct lh_at *at, struct lh_buf *b)
{
    if (!at->up)
        return;
    put_path(at->up, b);
    if (!at->name) {
        lh_buf_printf(b, "[%zu]", at->index);
        return;
    }
    if (lh_buf_peek(b).n)
        lh_buf_put_c(b, '.');
    lh_buf_put_z(b, at->name);
}

/* "object: path", either part left out when empty. */
static void put_place(const struct lh_at *at, struct lh_buf *b)
{
    const char *object = root_of(at)->object;
    lh_auto_buf struct lh_buf path;

    lh_buf_init(&path, 512);
    put_path(at, &path);
    if (object)
        lh_buf_put_z(b, object);
    if (object && lh_buf_peek(&path).n)
        lh_buf_put_z(b, ": ");
    lh_buf_put_str(b, lh_buf_peek(&path));
}

int lh_at_err(const struct lh_at *at, struct lh_err *err, const char *fmt, ...)
{
    const char *reason = root_of(at)->reason;
    lh_auto_buf struct lh_buf place;
    char text[400];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    lh_buf_init(&place, 1024);
    put_place(at, &place);
    if (lh_buf_peek(&place).n)
        lh_err_fill(err, LH_E_INVALID, "%s: %s", lh_buf_peek(&place).p, text);
    else
        lh_err_fill(err, LH_E_INVALID, "%s", text);
    return lh_err_negative(lh_err_reason(err, -LH_E_INVALID, reason));
}

int lh_at_wrap(const struct lh_at *at, int rc, struct lh_err *err)
{
    lh_auto_buf struct lh_buf place;

    lh_buf_init(&place, 1024);
    if (rc == -LH_E_NOMEM)
        return rc;
    put_place(at, &place);
    if (err && !err->reason)
        lh_err_reason(err, rc, root_of(at)->reason);
    if (lh_buf_peek(&place).n)
        lh_err_wrap(err, rc, "%s", lh_buf_peek(&place).p);
    return lh_err_negative(rc);
}

int lh_field_known(const struct lh_at *at, const lh_json *obj, const char *const *names,
                   struct lh_err *err)
{
    const lh_json *value;
    struct lh_str key;
    void *it = NULL;

    if (lh_json_type(obj) != LH_JSON_OBJECT)
        return lh_at_err(at, err, "must be an object");
    while (lh_json_next(obj, &it, &key, &value)) {
        const char *nearest;
        size_t i = 0;

        while (names[i] && !lh_str_eqz(key, names[i]))
            i++;
        if (names[i])
            continue;
        nearest = lh_str_nearest(key, names);
        if (nearest)
            return lh_at_err(at, err, "unknown field \"%.*s\"; the nearest known is \"%s\"",
                             (int)(key.n < 64 ? key.n : 64), key.p, nearest);
        return lh_at_err(at, err, "unknown field \"%.*s\"", (int)(key.n < 64 ? key.n : 64), key.p);
    }
    return 0;
}

/* The member, NULL when absent or null. */
static const lh_json *member(const lh_json *obj, const char *name)
{
    const lh_json *v = lh_json_get(obj, name);

    return lh_json_type(v) == LH_JSON_NULL ? NULL : v;
}

int lh_field_object(const struct lh_at *at, const lh_json *obj, const char *name, bool required,
                    const lh_json **out, struct lh_err *err)
{
    const struct lh_at here = LH_AT_NAME(at, name);
    const lh_json *v = member(obj, name);

    if (!v && required)
        return lh_at_err(&here, err, "is required");
    if (v && lh_json_type(v) != LH_JSON_OBJECT)
        return lh_at_err(&here, err, "must be an object");
    *out = v;
    return 0;
}

int lh_field_array(const struct lh_at *at, const lh_json *obj, const char *name, size_t max,
                   const lh_json **out, struct lh_err *err)
{
    const struct lh_at here = LH_AT_NAME(at, name);
    const lh_json *v = member(obj, name);

    if (v && lh_json_type(v) != LH_JSON_ARRAY)
        return lh_at_err(&here, err, "must be a list");
    if (lh_json_len(v) > max)
        return lh_at_err(&here, err, "has %zu entries; at most %zu are allowed", lh_json_len(v),
                         max);
    *out = v;
    return 0;
}

static int text_of(const struct lh_at *here, const lh_json *v, size_t max, char **out,
                   struct lh_err *err)
{
    struct lh_str s;
    char *copy;

    if (!lh_json_str(v, &s))
        return lh_at_err(here, err, "must be a string");
    if (!s.n)
        return lh_at_err(here, err, "must not be empty");
    if (s.n > max)
        return lh_at_err(here, err, "has %zu bytes; at most %zu are allowed", s.n, max);
    if (memchr(s.p, 0, s.n))
        return lh_at_err(here, err, "must not hold a NUL character");
    copy = lh_str_dup(s);
    if (!copy)
        return lh_err_nomem(err);
    lh_free(*out);
    *out = copy;
    return 0;
}

int lh_field_str(const struct lh_at *at, const lh_json *obj, const char *name, bool required,
                 size_t max, char **out, struct lh_err *err)
{
    const struct lh_at here = LH_AT_NAME(at, name);
    const lh_json *v = member(obj, name);

    if (!v)
        return required ? lh_at_err(&here, err, "is required") : 0;
    return text_of(&here, v, max, out, err);
}

int lh_field_line(const struct lh_at *at, const lh_json *obj, const char *name, bool required,
                  size_t max, char **out, struct lh_err *err)
{
    const struct lh_at here = LH_AT_NAME(at, name);
    int rc;

    rc = lh_field_str(at, obj, name, required, max, out, err);
    for (const char *p = *out; rc == 0 && p && *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            rc = lh_at_err(&here, err, "must not hold control characters");
    }
    return rc;
}

int lh_field_strs(const struct lh_at *at, const lh_json *obj, const char *name, size_t max_items,
                  size_t max, char ***out, struct lh_err *err)
{
    const struct lh_at here = LH_AT_NAME(at, name);
    const lh_json *arr = NULL;
    char **v;
    int rc;

    rc = lh_field_array(at, obj, name, max_items, &arr, err);
    if (rc < 0 || !arr)
        return rc;
    v = lh_calloc(lh_json_len(arr) + 1, sizeof(*v));
    if (!v)
        return lh_err_nomem(err);
    for (size_t i = 0; i < lh_json_len(arr); i++) {
        const struct lh_at at_i = LH_AT_INDEX(&here, i);

        rc = text_of(&at_i, lh_json_at(arr, i), max, &v[i], err);
        if (rc < 0) {
            lh_strv_free(v);
            return rc;
        }
    }
    lh_strv_free(*out);
    *out = v;
    return 0;
}

int lh_field_bool(const struct lh_at *at, const lh_json *obj, const char *name, bool *out,
                  struct lh_err *err)
{
    const struct lh_at here = LH_AT_NAME(at, name);
    const lh_json *v = member(obj, name);

    if (v && !lh_json_bool(v, out))
        return lh_at_err(&here, err, "must be true or false");
    return 0;
}

int lh_field_int(const struct lh_at *at, const lh_json *obj, const char *name, int64_t min,
                 int64_t max, int64_t *out, struct lh_err *err)
{
    const struct lh_at here = LH_AT_NAME(at, name);
    const lh_json *v = member(obj, name);
    int64_t i;

    if (!v)
        return 0;
    if (!lh_json_int(v, &i) || i < min || i > max)
        return lh_at_err(&here, err, "must be a whole number from %lld to %lld", (long long)min,
                         (long long)max);
    *out = i;
    return 0;
}

int lh_field_ms(const struct lh_at *at, const lh_json *obj, const char *name, int64_t min_ms,
                int64_t max_ms, int64_t *out, struct lh_err *err)
{
    const struct lh_at here = LH_AT_NAME(at, name);
    const lh_json *v = member(obj, name);
    struct lh_str s;
    int64_t ms = 0;

    if (!v)
        return 0;
    if (!lh_json_str(v, &s) || lh_duration_ms(s, &ms, NULL) < 0)
        return lh_at_err(&here, err, "must be a duration such as \"90s\", \"5m\" or \"1h30m\"");
    if (ms < min_ms || ms > max_ms) {
        lh_auto_buf struct lh_buf b;

        lh_buf_init(&b, 128);
        lh_duration_put(&b, min_ms);
        lh_buf_put_z(&b, " to ");
        lh_duration_put(&b, max_ms);
        return lh_at_err(&here, err, "must be a duration from %s", lh_buf_peek(&b).p);
    }
    *out = ms;
    return 0;
}

int lh_field_enum(const struct lh_at *at, const lh_json *obj, const char *name,
                  const char *const *words, int *out, struct lh_err *err)
{
    const struct lh_at here = LH_AT_NAME(at, name);
    const lh_json *v = member(obj, name);
    lh_auto_buf struct lh_buf b;
    struct lh_str s;

    lh_buf_init(&b, 256);
    if (!v)
        return 0;
    for (int i = 0; words[i] && lh_json_str(v, &s); i++) {
        if (lh_str_eqz(s, words[i])) {
            *out = i;
            return 0;
        }
    }
    for (int i = 0; words[i]; i++)
        lh_buf_printf(&b, "%s%s", i ? ", " : "", words[i]);
    return lh_at_err(&here, err, "must be one of %s", lh_buf_peek(&b).p);
}

void lh_strv_free(char **v)
{
    if (!v)
        return;
    for (size_t i = 0; v[i]; i++)
        lh_free(v[i]);
    lh_free(v);
}

size_t lh_strv_len(char *const *v)
{
    size_t n = 0;

    while (v && v[n])
        n++;
    return n;
}

bool lh_strv_has(char *const *v, const char *s)
{
    for (size_t i = 0; v && v[i]; i++) {
        if (strcmp(v[i], s) == 0)
            return true;
    }
    return false;
}

int lh_strv_copy(char *const *v, char ***out, struct lh_err *err)
{
    size_t n = lh_strv_len(v);
    char **copy;

    copy = lh_calloc(n + 1, sizeof(*copy));
    if (!copy)
        return lh_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        copy[i] = lh_strdup(v[i]);
        if (!copy[i]) {
            lh_strv_free(copy);
            return lh_err_nomem(err);
        }
    }
    *out = copy;
    return 0;
}

int lh_strv_push(char ***v, const char *s, struct lh_err *err)
{
    size_t n = lh_strv_len(*v);
    char *copy = lh_strdup(s);
    char **grown;

    if (!copy)
        return lh_err_nomem(err);
    grown = lh_realloc(*v, (n + 2) * sizeof(*grown));
    if (!grown) {
        lh_free(copy);
        return lh_err_nomem(err);
    }
    grown[n] = copy;
    grown[n + 1] = NULL;
    *v = grown;
    return 0;
}

lh_json *lh_strv_to_json(char *const *v)
{
    lh_auto_json lh_json *arr = lh_json_new_array();

    for (size_t i = 0; arr && v && v[i]; i++) {
        if (lh_json_push(arr, lh_json_new_z(v[i])) < 0)
            return NULL;
    }
    return LH_TAKE_PTR(arr);
}
