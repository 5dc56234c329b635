/* SPDX-License-Identifier: Apache-2.0 */
#include "yaml_priv.h"

#include <math.h>
#include <stdlib.h>

#include "leasehold/core/mem.h"

/* Longer ones are strings: nobody writes such a number. */
enum { MAX_NUMBER = 1024 };

static const struct word {
    const char *text;
    enum yaml_scalar is;
} words[] = {
    {"", YAML_NULL},         {"~", YAML_NULL},        {"null", YAML_NULL},
    {"Null", YAML_NULL},     {"NULL", YAML_NULL},     {"true", YAML_TRUE},
    {"True", YAML_TRUE},     {"TRUE", YAML_TRUE},     {"y", YAML_TRUE},
    {"Y", YAML_TRUE},        {"yes", YAML_TRUE},      {"Yes", YAML_TRUE},
    {"YES", YAML_TRUE},      {"on", YAML_TRUE},       {"On", YAML_TRUE},
    {"ON", YAML_TRUE},       {"false", YAML_FALSE},   {"False", YAML_FALSE},
    {"FALSE", YAML_FALSE},   {"n", YAML_FALSE},       {"N", YAML_FALSE},
    {"no", YAML_FALSE},      {"No", YAML_FALSE},      {"NO", YAML_FALSE},
    {"off", YAML_FALSE},     {"Off", YAML_FALSE},     {"OFF", YAML_FALSE},
    {"<<", YAML_MERGE},      {".nan", YAML_NO_JSON},  {".NaN", YAML_NO_JSON},
    {".NAN", YAML_NO_JSON},  {".inf", YAML_NO_JSON},  {".Inf", YAML_NO_JSON},
    {".INF", YAML_NO_JSON},  {"+.inf", YAML_NO_JSON}, {"+.Inf", YAML_NO_JSON},
    {"+.INF", YAML_NO_JSON}, {"-.inf", YAML_NO_JSON}, {"-.Inf", YAML_NO_JSON},
    {"-.INF", YAML_NO_JSON},
};

static bool is_digit_of(char c, int base)
{
    int v;

    if (c >= '0' && c <= '9')
        v = c - '0';
    else if (c >= 'a' && c <= 'f')
        v = c - 'a' + 10;
    else if (c >= 'A' && c <= 'F')
        v = c - 'A' + 10;
    else
        return false;
    return v < base;
}

/* 0x, 0o, 0b, and the 0 in front that means octal; *digits is moved behind the prefix. */
static int base_of(const char **digits)
{
    const char *p = *digits;

    if (p[0] != '0' || p[1] == '\0')
        return 10;
    switch (p[1] | 0x20) {
    case 'x':
        *digits = p + 2;
        return 16;
    case 'o':
        *digits = p + 2;
        return 8;
    case 'b':
        *digits = p + 2;
        return 2;
    default:
        *digits = p + 1;
        return 8;
    }
}

static bool all_digits(const char *p, int base)
{
    if (*p == '\0')
        return false;
    for (; *p; p++) {
        if (!is_digit_of(*p, base))
            return false;
    }
    return true;
}

/* An integer in Go's strconv.ParseInt(s, 0, 64) or ParseUint; text has no '_' any more. */
static enum yaml_scalar resolve_integer(const char *text, struct lh_buf *number)
{
    bool negative = text[0] == '-';
    const char *p = text + (negative || text[0] == '+');
    int base = base_of(&p);
    uint64_t v = 0;

    if (!all_digits(p, base))
        return YAML_STRING;
    if (base == 10) {
        /* Of any length: what int64 cannot hold is kept as text. */
        if (number)
            lh_buf_printf(number, "%s%s", negative && strcmp(p, "0") != 0 ? "-" : "", p);
        return YAML_NUMBER;
    }
    for (; *p; p++) {
        int digit = *p <= '9' ? *p - '0' : (*p | 0x20) - 'a' + 10;

        if (__builtin_mul_overflow(v, (uint64_t)base, &v) ||
            __builtin_add_overflow(v, (uint64_t)digit, &v))
            return YAML_STRING;
    }
    if (number)
        lh_buf_printf(number, "%s%llu", negative && v != 0 ? "-" : "", (unsigned long long)v);
    return YAML_NUMBER;
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? */
static enum yaml_scalar resolve_float(const char *text, struct lh_buf *number)
{
    bool negative = text[0] == '-';
    const char *whole = text + (negative || text[0] == '+'), *p = whole, *fraction = NULL;
    size_t n_whole, n_fraction = 0;

    n_whole = strspn(p, "0123456789");
    p += n_whole;
    if (*p == '.') {
        fraction = p + 1;
        n_fraction = strspn(fraction, "0123456789");
        p = fraction + n_fraction;
    }
    if (n_whole + n_fraction == 0)
        return YAML_STRING;
    if (*p == 'e' || *p == 'E') {
        const char *exponent = p + 1 + (p[1] == '+' || p[1] == '-');

        if (!all_digits(exponent, 10))
            return YAML_STRING;
    } else if (*p) {
        return YAML_STRING;
    }
    if (isinf(strtod(text, NULL)))
        return YAML_STRING;
    if (!number)
        return YAML_NUMBER;
    while (n_whole > 1 && *whole == '0') {
        whole++;
        n_whole--;
    }
    lh_buf_printf(number, "%s%.*s%s%.*s%s", negative ? "-" : "", n_whole ? (int)n_whole : 1,
                  n_whole ? whole : "0", n_fraction ? "." : "", (int)n_fraction,
                  n_fraction ? fraction : "", p);
    return YAML_NUMBER;
}

static enum yaml_scalar resolve_number(struct lh_str s, struct lh_buf *number)
{
    char text[MAX_NUMBER];
    enum yaml_scalar is;
    size_t n = 0;

    if (s.n >= sizeof(text) || memchr(s.p, '\0', s.n))
        return YAML_STRING;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '_')
            text[n++] = s.p[i];
    }
    text[n] = '\0';
    is = resolve_integer(text, number);
    return is == YAML_STRING ? resolve_float(text, number) : is;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Go drops every '_' of what starts with a digit or sign, and is strict where a dot stands first.
 */
static bool separates_digits(struct lh_str s)
{
    for (size_t i = 1; i < s.n; i++) {
        if (s.p[i] == '_' && (i + 1 == s.n || !is_digit(s.p[i - 1]) || !is_digit(s.p[i + 1])))
            return false;
    }
    return true;
}

enum yaml_scalar lh_yaml_resolve(struct lh_str s, struct lh_buf *number)
{
    for (size_t i = 0; i < LH_ARRAY_LEN(words); i++) {
        if (lh_str_eqz(s, words[i].text))
            return words[i].is;
    }
    if (is_digit(s.p[0]) || s.p[0] == '+' || s.p[0] == '-' ||
        (s.p[0] == '.' && separates_digits(s)))
        return resolve_number(s, number);
    return YAML_STRING;
}
