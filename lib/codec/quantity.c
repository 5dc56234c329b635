/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exact decimal arithmetic on a short row of digits: a quantity is digits, a power of ten and a
 * power of 1024, and neither float nor int64 holds all of "0.1Ei" in thousandths without loss on
 * the way.
 */
#include "leasehold/codec/quantity.h"

#include <stdbool.h>

#include "leasehold/core/mem.h"

/* Digits of a number that anybody writes, and room for 1000 * 1024^6 beside them. */
enum { MAX_DIGITS = 64, ROOM = MAX_DIGITS + 24 };

struct number {
    bool negative;
    unsigned char d[ROOM]; /* most significant first, no zeros in front */
    int n;
    long exponent; /* power of ten of the last digit */
};

static const struct suffix {
    const char *name;
    int power10, power1024;
} suffixes[] = {
    {"", 0, 0},   {"n", -9, 0}, {"u", -6, 0}, {"m", -3, 0}, {"k", 3, 0},  {"M", 6, 0},
    {"G", 9, 0},  {"T", 12, 0}, {"P", 15, 0}, {"E", 18, 0}, {"Ki", 0, 1}, {"Mi", 0, 2},
    {"Gi", 0, 3}, {"Ti", 0, 4}, {"Pi", 0, 5}, {"Ei", 0, 6},
};

static bool is_digit(struct lh_str s, size_t i)
{
    return i < s.n && s.p[i] >= '0' && s.p[i] <= '9';
}

static bool add_digit(struct number *x, char c)
{
    if (x->n == 0 && c == '0')
        return true;
    if (x->n == MAX_DIGITS)
        return false;
    x->d[x->n++] = (unsigned char)(c - '0');
    return true;
}

/* Sign and digits at the start of s; how long they are, 0 if there are none or too many. */
static size_t take_digits(struct lh_str s, struct number *x)
{
    size_t i = 0;
    bool any = false;

    if (s.n > 0 && (s.p[0] == '+' || s.p[0] == '-')) {
        x->negative = s.p[0] == '-';
        i++;
    }
    for (; is_digit(s, i); i++, any = true) {
        if (!add_digit(x, s.p[i]))
            return 0;
    }
    if (i < s.n && s.p[i] == '.') {
        for (i++; is_digit(s, i); i++, any = true) {
            if (!add_digit(x, s.p[i]))
                return 0;
            x->exponent--;
        }
    }
    return any ? i : 0;
}

static void multiply_1024(struct number *x)
{
    unsigned char d[ROOM];
    unsigned carry = 0;
    int at = ROOM;

    for (int i = x->n - 1; i >= 0 || carry > 0; i--) {
        unsigned v = (i >= 0 ? x->d[i] * 1024u : 0) + carry;

        d[--at] = (unsigned char)(v % 10);
        carry = v / 10;
    }
    x->n = ROOM - at;
    memcpy(x->d, d + at, (size_t)x->n);
}

static bool apply_suffix(struct lh_str s, struct number *x)
{
    if (s.n > 1 && (s.p[0] == 'e' || s.p[0] == 'E') && s.p[1] != 'i') {
        struct lh_str digits = {s.p + 1, s.n - 1};
        long long exponent;

        if (digits.p[0] == '+') {
            digits.p++;
            digits.n--;
            if (!is_digit(digits, 0))
                return false;
        }
        if (!lh_str_to_i64(digits, -100000, 100000, &exponent))
            return false;
        x->exponent += (long)exponent;
        return true;
    }
    for (size_t i = 0; i < LH_ARRAY_LEN(suffixes); i++) {
        if (!lh_str_eqz(s, suffixes[i].name))
            continue;
        x->exponent += suffixes[i].power10;
        for (int k = 0; k < suffixes[i].power1024; k++)
            multiply_1024(x);
        return true;
    }
    return false;
}

/* Away from zero, as resource.Quantity does: whoever asks for a little gets one unit. */
static int round_up(const struct number *x, int64_t *out, struct lh_err *err)
{
    long whole = (long)x->n + x->exponent; /* digits before the point */
    __int128 v = 0;

    if (x->n > 0 && whole > 19)
        return lh_err_set(err, LH_E_TOOBIG, "quantity does not fit into 64 bits");
    for (long i = 0; i < whole; i++)
        v = v * 10 + (i < x->n ? x->d[i] : 0);
    for (long i = whole > 0 ? whole : 0; i < x->n; i++) {
        if (x->d[i] != 0) {
            v++;
            break;
        }
    }
    if (x->negative)
        v = -v;
    if (v > INT64_MAX || v < INT64_MIN)
        return lh_err_set(err, LH_E_TOOBIG, "quantity does not fit into 64 bits");
    *out = (int64_t)v;
    return 0;
}

static int parse(struct lh_str text, int scale, int64_t *out, struct lh_err *err)
{
    struct number x = {.n = 0};
    size_t used = take_digits(text, &x);

    if (used == 0 || !apply_suffix((struct lh_str){text.p + used, text.n - used}, &x))
        return lh_err_set(err, LH_E_INVALID,
                          "not a quantity: write a number with one of n u m k M G T P E "
                          "Ki Mi Gi Ti Pi Ei, or an exponent, or nothing behind it");
    x.exponent += scale;
    return round_up(&x, out, err);
}

int lh_quantity_milli(struct lh_str text, int64_t *out, struct lh_err *err)
{
    return parse(text, 3, out, err);
}

int lh_quantity_whole(struct lh_str text, int64_t *out, struct lh_err *err)
{
    return parse(text, 0, out, err);
}

void lh_quantity_put_bytes(struct lh_buf *b, int64_t bytes)
{
    static const char *const names[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
    size_t i = 0;

    while (bytes != 0 && bytes % 1024 == 0 && i + 1 < LH_ARRAY_LEN(names)) {
        bytes /= 1024;
        i++;
    }
    lh_buf_put_int(b, bytes);
    lh_buf_put_z(b, names[i]);
}
