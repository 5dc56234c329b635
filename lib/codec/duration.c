/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/codec/duration.h"

#include <stdbool.h>

struct unit {
    const char *name;
    int64_t ns;
};

/* Longer names first where one is the start of another. U+00B5 and U+03BC are both written for
 * micro. */
static const struct unit units[] = {
    {"ns", 1},
    {"us", 1000},
    {"\xc2\xb5s", 1000},
    {"\xce\xbcs", 1000},
    {"ms", 1000000},
    {"s", 1000000000},
    {"m", INT64_C(60) * 1000000000},
    {"h", INT64_C(3600) * 1000000000},
};

static const struct unit *unit_at(struct lh_str s)
{
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (lh_str_starts(s, lh_str(units[i].name)))
            return &units[i];
    }
    return NULL;
}

static bool is_digit(struct lh_str s)
{
    return s.n > 0 && s.p[0] >= '0' && s.p[0] <= '9';
}

static void advance(struct lh_str *s, size_t n)
{
    s->p += n;
    s->n -= n;
}

enum part { PART_OK, PART_BAD, PART_RANGE };

/* "1.5h" at the start of s to *ns. Go cuts what is finer than a nanosecond; so do we. */
static enum part take_part(struct lh_str *s, int64_t *ns)
{
    int64_t whole = 0, fraction = 0, scale = 1, sum;
    const struct unit *u;
    bool any = false;

    for (; is_digit(*s); advance(s, 1), any = true) {
        if (__builtin_mul_overflow(whole, 10, &whole) ||
            __builtin_add_overflow(whole, s->p[0] - '0', &whole))
            return PART_RANGE;
    }
    if (s->n > 0 && s->p[0] == '.') {
        for (advance(s, 1); is_digit(*s); advance(s, 1), any = true) {
            /* 15 digits of an hour are finer than a nanosecond. */
            if (scale < INT64_C(1000000000000000)) {
                fraction = fraction * 10 + (s->p[0] - '0');
                scale *= 10;
            }
        }
    }
    u = unit_at(*s);
    if (!any || !u)
        return PART_BAD;
    advance(s, strlen(u->name));
    if (__builtin_mul_overflow(whole, u->ns, &sum) ||
        __builtin_add_overflow(sum, (int64_t)((__int128)fraction * u->ns / scale), &sum))
        return PART_RANGE;
    *ns = sum;
    return PART_OK;
}

int lh_duration_ms(struct lh_str text, int64_t *out, struct lh_err *err)
{
    struct lh_str rest = text;
    int64_t total = 0;

    if (lh_str_eq(text, LH_STR("0"))) {
        *out = 0;
        return 0;
    }
    if (text.n == 0)
        return lh_err_set(err, LH_E_INVALID, "duration is empty: write it as 30s, 5m or 1h30m");
    while (rest.n > 0) {
        int64_t ns = 0;
        enum part part = take_part(&rest, &ns);

        if (part == PART_OK && __builtin_add_overflow(total, ns, &total))
            part = PART_RANGE;
        if (part == PART_BAD)
            return lh_err_set(err, LH_E_INVALID,
                              "not a duration: write it as 30s, 5m or 1h30m, without a sign");
        if (part == PART_RANGE)
            return lh_err_set(err, LH_E_INVALID, "duration is longer than 292 years");
    }
    /* Up, so that what is not nothing stays so. */
    *out = total / 1000000 + (total % 1000000 != 0);
    return 0;
}

/* "1.5" without zeros at the end. */
static void put_seconds(struct lh_buf *b, int64_t ms)
{
    int64_t fraction = ms % 1000;
    int width = 3;

    lh_buf_printf(b, "%lld", (long long)(ms / 1000));
    if (fraction == 0)
        return;
    while (fraction % 10 == 0) {
        fraction /= 10;
        width--;
    }
    lh_buf_printf(b, ".%0*lld", width, (long long)fraction);
}

void lh_duration_put(struct lh_buf *b, int64_t ms)
{
    uint64_t left = ms < 0 ? 0 - (uint64_t)ms : (uint64_t)ms;

    if (ms < 0)
        lh_buf_put_c(b, '-');
    if (left == 0) {
        lh_buf_put_z(b, "0s");
        return;
    }
    if (left < 1000) {
        lh_buf_printf(b, "%llums", (unsigned long long)left);
        return;
    }
    if (left >= 3600000)
        lh_buf_printf(b, "%lluh", (unsigned long long)(left / 3600000));
    if (left >= 60000)
        lh_buf_printf(b, "%llum", (unsigned long long)(left / 60000 % 60));
    put_seconds(b, (int64_t)(left % 60000));
    lh_buf_put_c(b, 's');
}
