/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CORE_BUF_H
#define LEASEHOLD_CORE_BUF_H

/*
 * A growing byte buffer with a required cap, wiped when it grows or is freed. A failed append is
 * sticky: later ones do nothing, and lh_buf_finish() reports it. That is the only way to the bytes
 * for a caller that keeps them; lh_buf_peek() is for readers in between.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "leasehold/core/err.h"
#include "leasehold/core/str.h"

struct lh_buf {
    char *p;
    size_t n, room, cap;
    int failed; /* enum lh_code or 0 */
};

void lh_buf_init(struct lh_buf *b, size_t cap);
void lh_buf_done(struct lh_buf *b);  /* wipes and frees; the buffer may be used again after init */
void lh_buf_reset(struct lh_buf *b); /* wipes the content, keeps the memory, clears a failure */

/* Room for n more bytes at once, where a caller knows: growing copies and wipes. */
void lh_buf_reserve(struct lh_buf *b, size_t n);
void lh_buf_put(struct lh_buf *b, const void *p, size_t n);
void lh_buf_put_str(struct lh_buf *b, struct lh_str s);
void lh_buf_put_z(struct lh_buf *b, const char *z);
void lh_buf_put_c(struct lh_buf *b, char c);
void lh_buf_put_int(struct lh_buf *b, long long i); /* decimal */
/* Appends n bytes that the caller fills in at once; NULL after a failure. */
char *lh_buf_extend(struct lh_buf *b, size_t n);
/* Room for n more bytes now, where it is known how many come. */
void lh_buf_reserve(struct lh_buf *b, size_t n);
void lh_buf_printf(struct lh_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Borrowed until the next call on b; NUL-terminated behind the content. Empty after a failure. */
struct lh_str lh_buf_peek(const struct lh_buf *b);

/* On success *out (owned, NUL-terminated behind n bytes) and *n (may be NULL); b is empty then.
 * LH_E_TOOBIG, LH_E_NOMEM. */
int lh_buf_finish(struct lh_buf *b, char **out, size_t *n, struct lh_err *err);
/* The failure as an error, or 0. */
int lh_buf_check(const struct lh_buf *b, struct lh_err *err);

#define lh_auto_buf __attribute__((cleanup(lh_buf_done)))

#endif
