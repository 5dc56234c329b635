/* SPDX-License-Identifier: Apache-2.0 */
/*
 * However a stream is cut into pieces, and wherever it is paused, the same texts come out, and none
 * is larger than allowed. The first byte chooses mode and pausing, the second the size of the
 * pieces.
 */
#include <stdint.h>
#include <stdlib.h>

#include "leasehold/codec/jsonsplit.h"
#include "leasehold/core/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_OBJECT = 64 };

struct seen {
    struct lh_buf texts;
    int pauses;
};

static int emit(void *arg, enum lh_split_what what, struct lh_str text, struct lh_err *err)
{
    struct seen *s = arg;

    (void)err;
    if (text.n > MAX_OBJECT || (what == LH_SPLIT_SKIPPED && text.n < MAX_OBJECT))
        abort();
    lh_buf_printf(&s->texts, "%d:%zu:", (int)what, text.n);
    lh_buf_put_str(&s->texts, text);
    return s->pauses;
}

static int run(enum lh_split_mode mode, const char *p, size_t n, size_t piece, struct seen *s)
{
    struct lh_jsonsplit *split = NULL;
    int rc = 0;

    if (lh_jsonsplit_new(mode, MAX_OBJECT, emit, s, &split, NULL) < 0)
        abort();
    while (n > 0 && rc == 0) {
        size_t take = piece < n ? piece : n, used = 0;

        rc = lh_jsonsplit_feed(split, (struct lh_str){p, take}, &used, NULL);
        if (rc == 0 && used != take && !(s->pauses && used > 0 && used < take))
            abort();
        p += used;
        n -= used;
    }
    if (rc == 0)
        rc = lh_jsonsplit_end(split, NULL);
    lh_jsonsplit_free(split);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum lh_split_mode mode;
    struct seen whole = {.pauses = 0}, pieces = {.pauses = 0};
    int a, b;

    if (size < 2)
        return 0;
    mode = data[0] & 1 ? LH_SPLIT_STREAM : LH_SPLIT_ITEMS;
    pieces.pauses = (data[0] >> 1) & 1;
    lh_buf_init(&whole.texts, 1 << 28);
    lh_buf_init(&pieces.texts, 1 << 28);
    a = run(mode, (const char *)data + 2, size - 2, size, &whole);
    b = run(mode, (const char *)data + 2, size - 2, (size_t)data[1] % 32 + 1, &pieces);
    /* Which of two errors comes first may differ: too big is seen when a piece is kept. */
    if ((a < 0) != (b < 0) || !lh_str_eq(lh_buf_peek(&whole.texts), lh_buf_peek(&pieces.texts)))
        abort();
    lh_buf_done(&whole.texts);
    lh_buf_done(&pieces.texts);
    return 0;
}
