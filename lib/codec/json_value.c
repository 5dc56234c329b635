/* SPDX-License-Identifier: Apache-2.0 */
/* Values: getters and builders over jansson's tree. */
#include <stdarg.h>
#include <stdlib.h>

#include "json_priv.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/rand.h"

void lh_json_init(void)
{
    static bool done;
    size_t seed = 0;

    if (done)
        return;
    done = true;
    json_set_alloc_funcs(lh_malloc, lh_free);
    /* jansson would read /dev/urandom by itself; 0 means "choose one". */
    while (seed == 0)
        lh_rand_bytes(&seed, sizeof(seed));
    json_object_seed(seed);
}

lh_json *lh_json_ref(lh_json *v)
{
    return json_incref(v);
}

void lh_json_unref(lh_json *v)
{
    json_decref(v);
}

bool lh_json_literal(const lh_json *v, struct lh_str *out)
{
    const char *p;

    if (!json_is_string(v))
        return false;
    p = json_string_value(v);
    if ((unsigned char)p[0] != JSON_NUMBER_TAG)
        return false;
    *out = (struct lh_str){p + 1, json_string_length(v) - 1};
    return true;
}

enum lh_json_type lh_json_type(const lh_json *v)
{
    struct lh_str literal;

    if (!v)
        return LH_JSON_NULL;
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return LH_JSON_OBJECT;
    case JSON_ARRAY:
        return LH_JSON_ARRAY;
    case JSON_STRING:
        return lh_json_literal(v, &literal) ? LH_JSON_NUMBER : LH_JSON_STRING;
    case JSON_INTEGER:
    case JSON_REAL:
        return LH_JSON_NUMBER;
    case JSON_TRUE:
    case JSON_FALSE:
        return LH_JSON_BOOL;
    case JSON_NULL:
        break;
    }
    return LH_JSON_NULL;
}

const lh_json *lh_json_get(const lh_json *obj, const char *key)
{
    return json_object_get(obj, key);
}

const lh_json *lh_json_getn(const lh_json *obj, struct lh_str key)
{
    return json_object_getn(obj, key.p, key.n);
}

const lh_json *lh_json_path(const lh_json *obj, ...)
{
    const char *key;
    va_list ap;

    va_start(ap, obj);
    for (key = va_arg(ap, const char *); key; key = va_arg(ap, const char *))
        obj = json_object_get(obj, key);
    va_end(ap);
    return obj;
}

bool lh_json_str(const lh_json *v, struct lh_str *out)
{
    if (lh_json_type(v) != LH_JSON_STRING)
        return false;
    *out = (struct lh_str){json_string_value(v), json_string_length(v)};
    return true;
}

const char *lh_json_get_z(const lh_json *obj, const char *key)
{
    struct lh_str s;

    if (!lh_json_str(lh_json_get(obj, key), &s) || memchr(s.p, '\0', s.n))
        return NULL;
    return s.p;
}

bool lh_json_int(const lh_json *v, int64_t *out)
{
    if (!json_is_integer(v))
        return false;
    *out = json_integer_value(v);
    return true;
}

int64_t lh_json_get_int(const lh_json *obj, const char *key, int64_t def)
{
    int64_t i = def;

    lh_json_int(lh_json_get(obj, key), &i);
    return i;
}

bool lh_json_bool(const lh_json *v, bool *out)
{
    if (!json_is_boolean(v))
        return false;
    *out = json_is_true(v);
    return true;
}

bool lh_json_get_bool(const lh_json *obj, const char *key, bool def)
{
    bool b = def;

    lh_json_bool(lh_json_get(obj, key), &b);
    return b;
}

size_t lh_json_len(const lh_json *v)
{
    return json_is_array(v) ? json_array_size(v) : json_object_size(v);
}

const lh_json *lh_json_at(const lh_json *arr, size_t i)
{
    return json_array_get(arr, i);
}

bool lh_json_next(const lh_json *obj, void **it, struct lh_str *key, const lh_json **value)
{
    lh_json *o = lh_json_mut(obj);

    *it = *it ? json_object_iter_next(o, *it) : json_object_iter(o);
    if (!*it)
        return false;
    *key = (struct lh_str){json_object_iter_key(*it), json_object_iter_key_len(*it)};
    *value = json_object_iter_value(*it);
    return true;
}

/* Sign, digits without zeros at either end, and the power of ten of the last digit. */
struct decimal {
    bool negative;
    const char *first, *last; /* a '.' may stand between them */
    long long exponent;
};

static struct decimal decimal_of(struct lh_str s)
{
    struct decimal d = {.negative = s.p[0] == '-'};
    const char *p = s.p + d.negative, *end = s.p + s.n, *dot = NULL;

    for (; p < end && *p != 'e' && *p != 'E'; p++) {
        if (*p == '.')
            dot = p;
        else if (*p != '0') {
            if (!d.first)
                d.first = p;
            d.last = p;
        }
    }
    if (!d.first)
        return (struct decimal){0}; /* any zero */
    if (p < end) {
        /* Past 18 digits of exponent two equal numbers are equal in text, or nobody cares. */
        char text[20] = {0};
        size_t n = (size_t)(end - p - 1);

        memcpy(text, p + 1, n < sizeof(text) - 1 ? n : sizeof(text) - 1);
        d.exponent = strtoll(text, NULL, 10) % 1000000000000000LL;
    }
    if (dot && d.last > dot)
        d.exponent -= d.last - dot;
    else
        d.exponent += (dot ? dot : p) - d.last - 1;
    return d;
}

bool lh_json_number_equal(struct lh_str a, struct lh_str b)
{
    struct decimal x = decimal_of(a), y = decimal_of(b);
    const char *p = x.first, *q = y.first;

    if (!p || !q)
        return !p && !q;
    if (x.negative != y.negative || x.exponent != y.exponent)
        return false;
    for (;; p++, q++) {
        if (p <= x.last && *p == '.')
            p++;
        if (q <= y.last && *q == '.')
            q++;
        if (p > x.last || q > y.last)
            return p > x.last && q > y.last;
        if (*p != *q)
            return false;
    }
}

static struct lh_str number_text(const lh_json *v, char buf[24])
{
    struct lh_str s;

    if (lh_json_literal(v, &s))
        return s;
    snprintf(buf, 24, "%lld", (long long)json_integer_value(v));
    return lh_str(buf);
}

static bool equal_at(const lh_json *a, const lh_json *b, int depth)
{
    enum lh_json_type t = lh_json_type(a);
    struct lh_str key;
    const lh_json *v;
    void *it = NULL;
    char x[24], y[24];

    if (t != lh_json_type(b) || depth > JSON_WALK_DEPTH)
        return false;
    switch (t) {
    case LH_JSON_NUMBER:
        return lh_json_number_equal(number_text(a, x), number_text(b, y));
    case LH_JSON_ARRAY:
        if (json_array_size(a) != json_array_size(b))
            return false;
        for (size_t i = 0; i < json_array_size(a); i++) {
            if (!equal_at(json_array_get(a, i), json_array_get(b, i), depth + 1))
                return false;
        }
        return true;
    case LH_JSON_OBJECT:
        if (json_object_size(a) != json_object_size(b))
            return false;
        while (lh_json_next(a, &it, &key, &v)) {
            const lh_json *w = lh_json_getn(b, key);

            if (!w || !equal_at(v, w, depth + 1))
                return false;
        }
        return true;
    default:
        return json_equal(a ? a : json_null(), b ? b : json_null());
    }
}

bool lh_json_equal(const lh_json *a, const lh_json *b)
{
    return equal_at(a, b, 0);
}

lh_json *lh_json_new_object(void)
{
    lh_json_init();
    return json_object();
}

lh_json *lh_json_new_array(void)
{
    lh_json_init();
    return json_array();
}

lh_json *lh_json_new_str(struct lh_str s)
{
    lh_json_init();
    if (!lh_str_is_utf8(s))
        return NULL;
    return json_stringn_nocheck(s.n ? s.p : "", s.n);
}

lh_json *lh_json_new_z(const char *z)
{
    return lh_json_new_str(lh_str(z));
}

lh_json *lh_json_new_int(int64_t i)
{
    lh_json_init();
    return json_integer(i);
}

lh_json *lh_json_new_bool(bool b)
{
    return json_boolean(b);
}

lh_json *lh_json_new_null(void)
{
    return json_null();
}

lh_json *lh_json_new_number(struct lh_str text)
{
    lh_auto_free char *tagged = NULL;
    long long i;

    lh_json_init();
    /* "-0" is no int64; nor is anything with a fraction or exponent, even where its value is. */
    if (!(text.n == 2 && memcmp(text.p, "-0", 2) == 0) &&
        lh_str_to_i64(text, INT64_MIN, INT64_MAX, &i))
        return json_integer(i);
    tagged = lh_malloc(text.n + 1);
    if (!tagged)
        return NULL;
    tagged[0] = (char)JSON_NUMBER_TAG;
    memcpy(tagged + 1, text.p, text.n);
    return json_stringn_nocheck(tagged, text.n + 1);
}

lh_json *lh_json_deep_copy(const lh_json *v)
{
    return v ? json_deep_copy(v) : json_null();
}

int lh_json_set(lh_json *obj, const char *key, lh_json *value)
{
    return lh_json_setn(obj, lh_str(key), value);
}

int lh_json_setn(lh_json *obj, struct lh_str key, lh_json *value)
{
    if (!lh_str_is_utf8(key) || memchr(key.p, '\0', key.n)) {
        json_decref(value);
        return -1;
    }
    return json_object_setn_new_nocheck(obj, key.p, key.n, value) < 0 ? -1 : 0;
}

int lh_json_push(lh_json *arr, lh_json *value)
{
    return json_array_append_new(arr, value) < 0 ? -1 : 0;
}

int lh_json_insert(lh_json *arr, size_t i, lh_json *value)
{
    return json_array_insert_new(arr, i, value) < 0 ? -1 : 0;
}

int lh_json_replace_at(lh_json *arr, size_t i, lh_json *value)
{
    return json_array_set_new(arr, i, value) < 0 ? -1 : 0;
}

int lh_json_del(lh_json *obj, const char *key)
{
    return json_object_del(obj, key) < 0 ? -1 : 0;
}

int lh_json_deln(lh_json *obj, struct lh_str key)
{
    return json_object_deln(obj, key.p, key.n) < 0 ? -1 : 0;
}

int lh_json_del_at(lh_json *arr, size_t i)
{
    return json_array_remove(arr, i) < 0 ? -1 : 0;
}

lh_json *lh_json_mut(const lh_json *v)
{
    union {
        const lh_json *c;
        lh_json *m;
    } either = {v};

    return either.m;
}
