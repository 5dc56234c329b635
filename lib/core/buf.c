/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/core/buf.h"

#include <stdio.h>
#include <string.h>

#include "leasehold/core/mem.h"

void lh_buf_init(struct lh_buf *b, size_t cap)
{
    *b = (struct lh_buf){.cap = cap};
}

void lh_buf_done(struct lh_buf *b)
{
    lh_free(b->p);
    *b = (struct lh_buf){.cap = b->cap};
}

static void empty(struct lh_buf *b)
{
    if (b->p)
        lh_wipe(b->p, b->n + 1);
    b->n = 0;
}

void lh_buf_reset(struct lh_buf *b)
{
    empty(b);
    b->failed = 0;
}

static void fail(struct lh_buf *b, int code)
{
    empty(b);
    b->failed = code;
}

/* Room for n more bytes and the NUL behind them: as little as that, or twice what there was. */
static bool grow(struct lh_buf *b, size_t n, bool exact)
{
    size_t need, room;
    char *p;

    if (b->failed)
        return false;
    if (n > b->cap - b->n) {
        fail(b, LH_E_TOOBIG);
        return false;
    }
    need = b->n + n + 1;
    room = exact ? need : b->room < 64 ? 64 : b->room;
    while (room < need)
        room = room > SIZE_MAX / 2 ? need : room * 2;
    if (room - 1 > b->cap)
        room = b->cap + 1;
    p = lh_realloc(b->p, room);
    if (!p) {
        fail(b, LH_E_NOMEM);
        return false;
    }
    b->p = p;
    b->room = room;
    return true;
}

static bool has_room(const struct lh_buf *b, size_t n)
{
    return !b->failed && n < b->room - b->n; /* room never exceeds the cap and a NUL */
}

static inline bool make_room(struct lh_buf *b, size_t n)
{
    return has_room(b, n) || grow(b, n, false);
}

void lh_buf_put(struct lh_buf *b, const void *p, size_t n)
{
    if (!make_room(b, n))
        return;
    if (n > 0)
        memcpy(b->p + b->n, p, n);
    b->n += n;
    b->p[b->n] = '\0';
}

void lh_buf_put_str(struct lh_buf *b, struct lh_str s)
{
    lh_buf_put(b, s.p, s.n);
}

void lh_buf_put_z(struct lh_buf *b, const char *z)
{
    lh_buf_put(b, z, strlen(z));
}

void lh_buf_put_c(struct lh_buf *b, char c)
{
    if (!make_room(b, 1))
        return;
    b->p[b->n++] = c;
    b->p[b->n] = '\0';
}

void lh_buf_put_int(struct lh_buf *b, long long i)
{
    unsigned long long left = i < 0 ? 0 - (unsigned long long)i : (unsigned long long)i;
    char digits[24], *p = digits + sizeof(digits);

    do {
        *--p = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (i < 0)
        *--p = '-';
    lh_buf_put(b, p, (size_t)(digits + sizeof(digits) - p));
}

char *lh_buf_extend(struct lh_buf *b, size_t n)
{
    char *at;

    if (!make_room(b, n))
        return NULL;
    at = b->p + b->n;
    b->n += n;
    b->p[b->n] = '\0';
    return at;
}

void lh_buf_reserve(struct lh_buf *b, size_t n)
{
    if (!has_room(b, n))
        grow(b, n, true);
}

void lh_buf_printf(struct lh_buf *b, const char *fmt, ...)
{
    size_t room = b->failed ? 0 : b->room - b->n;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(room ? b->p + b->n : NULL, room, fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < room) {
        b->n += (size_t)n;
        return;
    }
    if (room)
        lh_wipe(b->p + b->n, room); /* the part that did fit */
    if (n < 0) {
        fail(b, LH_E_TOOBIG); /* past INT_MAX: the only way printf fails here */
        return;
    }
    if (!make_room(b, (size_t)n))
        return;
    va_start(ap, fmt);
    vsnprintf(b->p + b->n, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->n += (size_t)n;
}

struct lh_str lh_buf_peek(const struct lh_buf *b)
{
    return b->p ? (struct lh_str){b->p, b->n} : LH_STR("");
}

int lh_buf_check(const struct lh_buf *b, struct lh_err *err)
{
    if (b->failed == LH_E_NOMEM)
        return lh_err_nomem(err);
    if (b->failed)
        return lh_err_set(err, b->failed, "larger than %zu bytes", b->cap);
    return 0;
}

int lh_buf_finish(struct lh_buf *b, char **out, size_t *n, struct lh_err *err)
{
    make_room(b, 0); /* an empty text is a text too */
    if (b->failed)
        return lh_buf_check(b, err);
    b->p[b->n] = '\0';
    *out = b->p;
    if (n)
        *n = b->n;
    *b = (struct lh_buf){.cap = b->cap};
    return 0;
}
