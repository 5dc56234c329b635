/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/codec/base64.h"

#include <stdbool.h>
#include <stdint.h>

#include "leasehold/core/mem.h"

static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void put(struct lh_buf *b, const unsigned char *p, size_t n, const char *alphabet, bool pad)
{
    size_t rest = n % 3, size = n / 3 * 4 + (rest == 0 ? 0 : pad ? 4 : rest + 1);
    char *q = n / 3 < SIZE_MAX / 4 ? lh_buf_extend(b, size) : NULL;

    if (!q)
        return;
    for (; n >= 3; p += 3, n -= 3) {
        uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];

        *q++ = alphabet[v >> 18];
        *q++ = alphabet[(v >> 12) & 63];
        *q++ = alphabet[(v >> 6) & 63];
        *q++ = alphabet[v & 63];
    }
    if (n > 0) {
        uint32_t v = (uint32_t)p[0] << 16 | (n > 1 ? (uint32_t)p[1] << 8 : 0);

        *q++ = alphabet[v >> 18];
        *q++ = alphabet[(v >> 12) & 63];
        if (n > 1)
            *q++ = alphabet[(v >> 6) & 63];
        for (size_t i = n; pad && i < 3; i++)
            *q++ = '=';
    }
}

void lh_base64_put(struct lh_buf *b, const void *p, size_t n)
{
    put(b, p, n, standard, true);
}

void lh_base64url_put(struct lh_buf *b, const void *p, size_t n)
{
    put(b, p, n, url, false);
}

/* No table lookup by the character: what is decoded may be a secret, and indexes show in the cache.
 */
static int value_of(unsigned char c, char c62, char c63)
{
    int v = -1;

    v += (c >= 'A' && c <= 'Z') * (c - 'A' + 1);
    v += (c >= 'a' && c <= 'z') * (c - 'a' + 27);
    v += (c >= '0' && c <= '9') * (c - '0' + 53);
    v += (c == (unsigned char)c62) * 63;
    v += (c == (unsigned char)c63) * 64;
    return v;
}

static int decode(struct lh_str s, char c62, char c63, struct lh_buf *b, struct lh_err *err)
{
    uint32_t acc = 0;

    /* Everything is checked before anything is appended. */
    for (size_t i = 0; i < s.n; i++) {
        if (value_of((unsigned char)s.p[i], c62, c63) < 0)
            return lh_err_set(err, LH_E_INVALID, "not base64: unexpected character at byte %zu", i);
    }
    if (s.n % 4 == 1)
        return lh_err_set(err, LH_E_INVALID, "not base64: it is cut short");
    if (s.n % 4 != 0) {
        int last = value_of((unsigned char)s.p[s.n - 1], c62, c63);

        if (last & (s.n % 4 == 2 ? 15 : 3))
            return lh_err_set(err, LH_E_INVALID, "not base64: bits left over at the end");
    }
    for (size_t i = 0; i < s.n; i++) {
        acc = acc << 6 | (uint32_t)value_of((unsigned char)s.p[i], c62, c63);
        if (i % 4 != 0)
            lh_buf_put_c(b, (char)(acc >> (6 - 2 * (i % 4))));
    }
    return lh_buf_check(b, err);
}

static size_t padding(struct lh_str s)
{
    size_t n = 0;

    while (n < 2 && n < s.n && s.p[s.n - 1 - n] == '=')
        n++;
    return n;
}

int lh_base64_decode(struct lh_str text, struct lh_buf *b, struct lh_err *err)
{
    if (text.n % 4 != 0)
        return lh_err_set(err, LH_E_INVALID, "not base64: the length is no multiple of 4");
    text.n -= padding(text);
    return decode(text, '+', '/', b, err);
}

int lh_base64url_decode(struct lh_str text, struct lh_buf *b, struct lh_err *err)
{
    size_t pad = padding(text);

    if (pad > 0 && text.n % 4 != 0)
        return lh_err_set(err, LH_E_INVALID, "not base64: wrong padding");
    text.n -= pad;
    return decode(text, '-', '_', b, err);
}
