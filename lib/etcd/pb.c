/* SPDX-License-Identifier: Apache-2.0 */
#include "pb.h"

struct lh_pb lh_pb_of(struct lh_str message)
{
    const unsigned char *p = (const unsigned char *)message.p;

    return (struct lh_pb){p, message.n > 0 ? p + message.n : p, false};
}

bool lh_pb_take_varint(struct lh_pb *r, uint64_t *out)
{
    uint64_t n = 0;

    for (unsigned shift = 0; shift < 64 && r->p < r->end; shift += 7) {
        unsigned char c = *r->p++;

        n |= (uint64_t)(c & 0x7f) << shift;
        if (!(c & 0x80)) {
            *out = n;
            return true;
        }
    }
    return false;
}

static bool take_fixed(struct lh_pb *r, unsigned n_bytes, uint64_t *out)
{
    uint64_t n = 0;

    if ((size_t)(r->end - r->p) < n_bytes)
        return false;
    for (unsigned i = 0; i < n_bytes; i++)
        n |= (uint64_t)*r->p++ << (8 * i);
    *out = n;
    return true;
}

static bool take_value(struct lh_pb *r, struct lh_pb_field *f)
{
    uint64_t n;

    switch (f->type) {
    case LH_PB_VARINT:
        return lh_pb_take_varint(r, &f->n);
    case LH_PB_FIXED64:
        return take_fixed(r, 8, &f->n);
    case LH_PB_FIXED32:
        return take_fixed(r, 4, &f->n);
    case LH_PB_BYTES:
        if (!lh_pb_take_varint(r, &n) || n > (uint64_t)(r->end - r->p))
            return false;
        f->bytes = (struct lh_str){(const char *)r->p, (size_t)n};
        r->p += n;
        return true;
    }
    return false; /* groups are not used any more */
}

bool lh_pb_next(struct lh_pb *r, struct lh_pb_field *out)
{
    struct lh_pb_field f = {0};
    uint64_t tag;

    if (r->bad || r->p == r->end)
        return false;
    if (!lh_pb_take_varint(r, &tag) || tag >> 3 == 0 || tag >> 3 > 0x1fffffff) {
        r->bad = true;
        return false;
    }
    f.number = (uint32_t)(tag >> 3);
    f.type = tag & 7;
    if (!take_value(r, &f)) {
        r->bad = true;
        return false;
    }
    *out = f;
    return true;
}

static void put_raw(struct lh_buf *b, uint64_t n)
{
    while (n >= 0x80) {
        lh_buf_put_c(b, (char)(n | 0x80));
        n >>= 7;
    }
    lh_buf_put_c(b, (char)n);
}

void lh_pb_put_varint(struct lh_buf *b, uint32_t number, uint64_t n)
{
    put_raw(b, (uint64_t)number << 3 | LH_PB_VARINT);
    put_raw(b, n);
}

void lh_pb_put_bytes(struct lh_buf *b, uint32_t number, struct lh_str bytes)
{
    put_raw(b, (uint64_t)number << 3 | LH_PB_BYTES);
    put_raw(b, bytes.n);
    lh_buf_put_str(b, bytes);
}

bool lh_etcd_entry_parse(struct lh_str message, struct lh_etcd_entry *out)
{
    struct lh_etcd_entry e = {.key = LH_STR(""), .value = LH_STR("")};
    struct lh_pb r = lh_pb_of(message);
    struct lh_pb_field f;

    while (lh_pb_next(&r, &f)) {
        if (f.type == LH_PB_BYTES && f.number == 1)
            e.key = f.bytes;
        else if (f.type == LH_PB_BYTES && f.number == 5)
            e.value = f.bytes;
        else if (f.type == LH_PB_VARINT && f.number == 2)
            e.create_revision = (int64_t)f.n;
        else if (f.type == LH_PB_VARINT && f.number == 3)
            e.mod_revision = (int64_t)f.n;
        else if (f.type == LH_PB_VARINT && f.number == 4)
            e.version = (int64_t)f.n;
        else if (f.type == LH_PB_VARINT && f.number == 6)
            e.lease = (int64_t)f.n;
    }
    if (r.bad || e.key.n == 0)
        return false;
    e.value_size = e.value.n;
    *out = e;
    return true;
}
