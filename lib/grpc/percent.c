/* SPDX-License-Identifier: Apache-2.0 */
#include "wire.h"

static bool is_plain(unsigned char c)
{
    return c >= ' ' && c <= '~' && c != '%';
}

/* Where to cut so that no sequence is torn: a continuation byte belongs to what is before it. */
static size_t cut_at(struct lh_str text, size_t max)
{
    size_t n = max;

    if (text.n <= max)
        return text.n;
    while (n > 0 && max - n < 3 && ((unsigned char)text.p[n] & 0xc0) == 0x80)
        n--;
    return n;
}

void lh_grpc_percent_encode(struct lh_buf *out, struct lh_str text)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t n = cut_at(text, LH_GRPC_TEXT_MAX);

    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text.p[i];

        if (is_plain(c)) {
            lh_buf_put_c(out, (char)c);
        } else {
            lh_buf_put_c(out, '%');
            lh_buf_put_c(out, digits[c >> 4]);
            lh_buf_put_c(out, digits[c & 15]);
        }
    }
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

/* One byte of text; *i moves past what it was made of. */
static char next_byte(struct lh_str wire, size_t *i)
{
    size_t at = *i;
    int high, low;

    if (wire.p[at] == '%' && wire.n - at > 2) {
        high = digit(wire.p[at + 1]);
        low = digit(wire.p[at + 2]);
        if (high >= 0 && low >= 0) {
            *i = at + 3;
            return (char)(high << 4 | low);
        }
    }
    *i = at + 1;
    return wire.p[at];
}

/* In place; never longer. */
static void clean(char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t len = lh_str_utf8_len((struct lh_str){text + i, n - i});

        if (len == 0 || (unsigned char)text[i] < ' ' || text[i] == 0x7f) {
            text[i] = '?';
            len = 1;
        }
        i += len;
    }
}

void lh_grpc_percent_decode(struct lh_str wire, char *out, size_t size)
{
    size_t n = 0;

    for (size_t i = 0; i < wire.n && n + 1 < size;)
        out[n++] = next_byte(wire, &i);
    clean(out, n);
    out[n] = '\0';
}
