/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/core/str.h"

#include <stdint.h>

#include "leasehold/core/mem.h"

bool lh_str_eq(struct lh_str a, struct lh_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool lh_str_eqz(struct lh_str a, const char *z)
{
    return lh_str_eq(a, lh_str(z));
}

bool lh_str_starts(struct lh_str s, struct lh_str prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

bool lh_str_ends(struct lh_str s, struct lh_str suffix)
{
    return s.n >= suffix.n &&
           (suffix.n == 0 || memcmp(s.p + s.n - suffix.n, suffix.p, suffix.n) == 0);
}

bool lh_str_cut(struct lh_str s, char sep, struct lh_str *head, struct lh_str *rest)
{
    const char *at = s.n > 0 ? memchr(s.p, sep, s.n) : NULL;

    if (!at) {
        *head = s;
        *rest = (struct lh_str){s.n > 0 ? s.p + s.n : s.p, 0};
        return false;
    }
    *head = (struct lh_str){s.p, (size_t)(at - s.p)};
    *rest = (struct lh_str){at + 1, s.n - head->n - 1};
    return true;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct lh_str lh_str_trim(struct lh_str s)
{
    while (s.n > 0 && is_space(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && is_space(s.p[s.n - 1]))
        s.n--;
    return s;
}

char *lh_str_dup(struct lh_str s)
{
    char *copy = lh_malloc(s.n + 1);

    if (!copy)
        return NULL;
    if (s.n > 0)
        memcpy(copy, s.p, s.n);
    copy[s.n] = '\0';
    return copy;
}

bool lh_str_to_i64(struct lh_str s, long long min, long long max, long long *out)
{
    bool negative = s.n > 0 && s.p[0] == '-';
    long long v = 0;
    size_t i = negative ? 1 : 0;

    if (i == s.n)
        return false;
    for (; i < s.n; i++) {
        int digit = s.p[i] - '0';

        if (digit < 0 || digit > 9)
            return false;
        /* Downwards for negative numbers, so that the least one fits. */
        if (__builtin_mul_overflow(v, 10LL, &v) ||
            __builtin_add_overflow(v, negative ? -digit : digit, &v))
            return false;
    }
    if (v < min || v > max)
        return false;
    *out = v;
    return true;
}

static bool is_lower_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_label(struct lh_str s)
{
    if (s.n == 0 || !is_lower_alnum(s.p[0]) || !is_lower_alnum(s.p[s.n - 1]))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (!is_lower_alnum(s.p[i]) && s.p[i] != '-')
            return false;
    }
    return true;
}

bool lh_str_is_dns_label(struct lh_str s)
{
    return s.n <= 63 && is_label(s);
}

/* Kubernetes puts no limit of its own on a label inside a subdomain. */
bool lh_str_is_dns_subdomain(struct lh_str s)
{
    struct lh_str head;
    bool more = true;

    if (s.n > 253)
        return false;
    while (more) {
        more = lh_str_cut(s, '.', &head, &s);
        if (!is_label(head))
            return false;
    }
    return true;
}

enum { NEAREST_MAX = 128 };

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;

    return m < c ? m : c;
}

/* Edit distance where swapping two neighbours counts once (optimal string alignment): the usual
 * slips. */
static size_t distance(struct lh_str a, struct lh_str b)
{
    size_t rows[3][NEAREST_MAX + 1];
    size_t *before = rows[0], *prev = rows[1], *cur = rows[2];

    for (size_t j = 0; j <= b.n; j++)
        prev[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        size_t *spare = before;

        cur[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            size_t cost = a.p[i - 1] != b.p[j - 1];

            cur[j] = min3(prev[j] + 1, cur[j - 1] + 1, prev[j - 1] + cost);
            if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1] &&
                before[j - 2] + 1 < cur[j])
                cur[j] = before[j - 2] + 1;
        }
        before = prev;
        prev = cur;
        cur = spare;
    }
    return prev[b.n];
}

const char *lh_str_nearest(struct lh_str s, const char *const *list)
{
    const char *best = NULL;
    size_t best_distance = SIZE_MAX;

    if (s.n > NEAREST_MAX)
        return NULL;
    for (; *list; list++) {
        struct lh_str c = lh_str(*list);
        size_t longer = s.n > c.n ? s.n : c.n, d;

        if (c.n > NEAREST_MAX)
            continue;
        d = distance(s, c);
        if (d <= longer / 3 && d < best_distance) {
            best = *list;
            best_distance = d;
        }
    }
    return best;
}

size_t lh_str_utf8_len(struct lh_str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    unsigned char least = 0x80, most = 0xbf;
    size_t len;

    if (s.n == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (s.n < len)
        return 0;
    if (p[0] == 0xe0)
        least = 0xa0; /* else overlong */
    else if (p[0] == 0xed)
        most = 0x9f; /* else a surrogate */
    else if (p[0] == 0xf0)
        least = 0x90;
    else if (p[0] == 0xf4)
        most = 0x8f; /* else past U+10FFFF */
    if (p[1] < least || p[1] > most)
        return 0;
    for (size_t i = 2; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    return len;
}

/* How many of the first bytes are ASCII; eight at a time, since nearly all text is. */
static size_t ascii_run(struct lh_str s)
{
    size_t n = 0;
    uint64_t word;

    for (; s.n - n >= sizeof(word); n += sizeof(word)) {
        memcpy(&word, s.p + n, sizeof(word));
        if (word & 0x8080808080808080U)
            break;
    }
    while (n < s.n && (unsigned char)s.p[n] < 0x80)
        n++;
    return n;
}

bool lh_str_is_utf8(struct lh_str s)
{
    size_t len;

    while (s.n > 0) {
        len = ascii_run(s);
        if (len == 0)
            len = lh_str_utf8_len(s);
        if (len == 0)
            return false;
        s.p += len;
        s.n -= len;
    }
    return true;
}
