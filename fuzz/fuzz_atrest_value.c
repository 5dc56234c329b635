/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first two bytes say how long head and tail are; the rest is the value. What is found lies in
 * the bytes given, and a part of a value never says other than the whole.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "leasehold/atrest/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void within(struct lh_str s, const struct lh_atrest_bytes *in)
{
    const char *head = in->head, *tail = in->tail;

    if (s.n == 0)
        return;
    if (s.p >= head && s.p + s.n <= head + in->head_n)
        return;
    if (in->tail_n && s.p >= tail && s.p + s.n <= tail + in->tail_n)
        return;
    abort();
}

static void check(const struct lh_atrest_bytes *in, const struct lh_atrest_value *v)
{
    within(v->name, in);
    within(v->key_id, in);
    within(v->dek_source, in);
    if (v->key_id.n > 1024 || v->dek_source.n > 65535 || v->payload_n > in->total ||
        v->annotations > LH_ATREST_ANNOTATIONS_MAX || (v->form == LH_ATREST_WHOLE) != !v->why)
        abort();
    if (v->form == LH_ATREST_WHOLE && v->scheme == LH_ATREST_KMS_V2 &&
        (v->key_id.n == 0 || v->dek_source.n == 0))
        abort();
}

static void *copy_of(const uint8_t *p, size_t n)
{
    void *c = malloc(n ? n : 1); /* of its own, so that a read past its end is seen */

    if (c && n)
        memcpy(c, p, n);
    return c;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lh_atrest_value whole, part;
    struct lh_atrest_bytes in = {.head_n = 0};
    void *head, *tail, *all;

    if (size < 2)
        return 0;
    in.total = size - 2;
    in.head_n = data[0] < in.total ? data[0] : in.total;
    in.tail_n = data[1] < in.total ? data[1] : in.total;
    in.head = head = copy_of(data + 2, in.head_n);
    in.tail = tail = copy_of(data + size - in.tail_n, in.tail_n);
    all = copy_of(data + 2, in.total);
    if (head && tail && all) {
        const struct lh_atrest_bytes every = {.head = all, .head_n = in.total, .total = in.total};

        lh_atrest_value_read(&every, &whole);
        check(&every, &whole);
        lh_atrest_value_read(&in, &part);
        check(&in, &part);
        if (whole.form == LH_ATREST_INCOMPLETE && in.total >= LH_ATREST_HEAD_BYTES)
            abort();
        if (part.form == LH_ATREST_WHOLE && part.scheme != LH_ATREST_IDENTITY &&
            (whole.form != LH_ATREST_WHOLE || !lh_str_eq(whole.key_id, part.key_id) ||
             !lh_str_eq(whole.name, part.name) || whole.scheme != part.scheme))
            abort();
    }
    free(head);
    free(tail);
    free(all);
    return 0;
}
