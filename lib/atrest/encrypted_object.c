/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Read by hand and not by protobuf-c, because only head and tail of the message are there: the
 * first field is skipped over by its length.
 */
#include <stdint.h>

#include "leasehold/core/mem.h"
#include "value_priv.h"

enum field { DATA = 1, KEY_ID = 2, DEK_SOURCE = 3, ANNOTATION = 4, DEK_TYPE = 5 };
enum wire { VARINT = 0, BYTES = 2 };

enum step { STEP_OK, STEP_CUT, STEP_UNSEEN, STEP_BAD };

struct object {
    const struct lh_atrest_bytes *in;
    struct lh_atrest_value *out;
    size_t pos;
    unsigned seen; /* bit per field */
    size_t annotation_bytes;
    struct lh_str names[LH_ATREST_ANNOTATIONS_MAX];
};

static const char *const cut = "the EncryptedObject is cut off";
static const char *const unseen = "the fields behind the data were not given";

static enum step take_varint(struct object *o, uint64_t *out)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 70; shift += 7) {
        const char *p;

        if (o->pos >= o->in->total)
            return STEP_CUT;
        p = bytes_at(o->in, o->pos, 1);
        if (!p)
            return STEP_UNSEEN;
        o->pos++;
        if (shift == 63 && (unsigned char)*p > 1)
            return STEP_BAD;
        v |= (uint64_t)((unsigned char)*p & 0x7f) << shift;
        if (!((unsigned char)*p & 0x80)) {
            *out = v;
            return STEP_OK;
        }
    }
    return STEP_BAD;
}

static enum step take_length(struct object *o, size_t *n)
{
    uint64_t v = 0;
    enum step s = take_varint(o, &v);

    if (s != STEP_OK)
        return s;
    if (v > o->in->total - o->pos)
        return STEP_CUT;
    *n = (size_t)v;
    return STEP_OK;
}

static enum step take_bytes(struct object *o, struct lh_str *out)
{
    size_t n = 0;
    enum step s = take_length(o, &n);
    const char *p;

    if (s != STEP_OK)
        return s;
    p = bytes_at(o->in, o->pos, n);
    if (!p)
        return STEP_UNSEEN;
    *out = (struct lh_str){p, n};
    o->pos += n;
    return STEP_OK;
}

/* A field that is written once at most. */
static bool is_first(struct object *o, enum field f)
{
    if (o->seen & (1u << f)) {
        value_verdict(o->out, LH_ATREST_MALFORMED, "a field of the EncryptedObject is there twice");
        return false;
    }
    o->seen |= 1u << f;
    return true;
}

static enum step read_bounded(struct object *o, enum field f, struct lh_str *to, size_t max,
                              const char *why)
{
    struct lh_str v = {NULL, 0};
    enum step s = take_bytes(o, &v);

    if (s != STEP_OK)
        return s;
    if (!is_first(o, f))
        return STEP_BAD;
    if (v.n == 0 || v.n > max) {
        value_verdict(o->out, LH_ATREST_MALFORMED, why);
        return STEP_BAD;
    }
    *to = v;
    return STEP_OK;
}

/* A map entry: name 1, value 2, each at most once. Both are within the entry's own bytes. */
static bool entry_split(struct lh_str entry, struct lh_str *name, struct lh_str *value)
{
    const struct lh_atrest_bytes in = {
        .head = entry.p, .head_n = entry.n, .tail = NULL, .tail_n = 0, .total = entry.n};
    struct object o = {.in = &in};
    unsigned seen = 0;

    *name = *value = (struct lh_str){NULL, 0};
    while (o.pos < entry.n) {
        uint64_t tag = 0;
        struct lh_str v;

        if (take_varint(&o, &tag) != STEP_OK || (tag & 7) != BYTES || take_bytes(&o, &v))
            return false;
        if ((tag >> 3 != 1 && tag >> 3 != 2) || (seen & (1u << (tag >> 3))))
            return false;
        seen |= 1u << (tag >> 3);
        *(tag >> 3 == 1 ? name : value) = v;
    }
    return true;
}

/* As the API server checks it: labels with a dot between, one more at the end allowed. */
static bool is_qualified(struct lh_str name)
{
    struct lh_str label, rest;

    if (lh_str_ends(name, LH_STR(".")))
        name.n--;
    return lh_str_is_dns_subdomain(name) && lh_str_cut(name, '.', &label, &rest);
}

static enum step read_annotation(struct object *o)
{
    struct lh_str entry = {NULL, 0}, name, value;
    enum step s = take_bytes(o, &entry);
    const char *why = NULL;

    if (s != STEP_OK)
        return s;
    if (!entry_split(entry, &name, &value))
        why = "an annotation cannot be read";
    else if (!is_qualified(name))
        why = "the name of an annotation is no fully qualified name";
    else if (o->out->annotations == LH_ATREST_ANNOTATIONS_MAX ||
             o->annotation_bytes + name.n + value.n > ANNOTATIONS_MAX_BYTES)
        why = "the annotations are larger than an API server accepts";
    for (size_t i = 0; !why && i < o->out->annotations; i++)
        if (lh_str_eq(o->names[i], name))
            why = "an annotation is there twice";
    if (why) {
        value_verdict(o->out, LH_ATREST_MALFORMED, why);
        return STEP_BAD;
    }
    o->annotation_bytes += name.n + value.n;
    o->names[o->out->annotations++] = name;
    return STEP_OK;
}

static enum step read_data(struct object *o)
{
    size_t n = 0;
    enum step s = take_length(o, &n);

    if (s != STEP_OK)
        return s;
    if (!is_first(o, DATA))
        return STEP_BAD;
    o->out->payload_n = n;
    o->pos += n;
    return STEP_OK;
}

static enum step read_type(struct object *o)
{
    uint64_t v = 0;
    enum step s = take_varint(o, &v);

    if (s != STEP_OK)
        return s;
    if (!is_first(o, DEK_TYPE))
        return STEP_BAD;
    if (v > LH_ATREST_DEK_HKDF) {
        value_verdict(o->out, LH_ATREST_MALFORMED, "the type of its data key is not known");
        return STEP_BAD;
    }
    o->out->dek_type = (enum lh_atrest_dek_type)v;
    return STEP_OK;
}

static enum step read_field(struct object *o)
{
    struct lh_atrest_value *out = o->out;
    uint64_t tag = 0;
    enum step s = take_varint(o, &tag);

    if (s != STEP_OK)
        return s;
    switch (tag) {
    case DATA << 3 | BYTES:
        return read_data(o);
    case KEY_ID << 3 | BYTES:
        return read_bounded(o, KEY_ID, &out->key_id, KEY_ID_MAX, "key id empty or over 1024 bytes");
    case DEK_SOURCE << 3 | BYTES:
        return read_bounded(o, DEK_SOURCE, &out->dek_source, DEK_SOURCE_MAX,
                            "wrapped seed empty or over 1024 bytes");
    case ANNOTATION << 3 | BYTES:
        return read_annotation(o);
    case DEK_TYPE << 3 | VARINT:
        return read_type(o);
    default:
        value_verdict(out, LH_ATREST_MALFORMED, "the EncryptedObject has a field that is unknown");
        return STEP_BAD;
    }
}

static void check(struct object *o)
{
    struct lh_atrest_value *out = o->out;
    const unsigned need = 1u << DATA | 1u << KEY_ID | 1u << DEK_SOURCE;

    if ((o->seen & need) != need)
        value_verdict(out, LH_ATREST_MALFORMED, "the EncryptedObject lacks a field");
    else if (out->payload_n < (out->dek_type == LH_ATREST_DEK_HKDF ? HKDF_MIN : GCM_MIN))
        value_verdict(out, LH_ATREST_MALFORMED, "shorter than what its writer writes at least");
    else if (!lh_str_is_utf8(out->key_id))
        value_verdict(out, LH_ATREST_MALFORMED, "the key id is no UTF-8");
}

void encrypted_object_read(const struct lh_atrest_bytes *in, struct lh_atrest_value *out)
{
    struct object o = {.in = in, .out = out, .pos = out->prefix_n};
    enum step s = STEP_OK;

    while (s == STEP_OK && o.pos < in->total)
        s = read_field(&o);
    if (s == STEP_CUT)
        value_verdict(out, LH_ATREST_MALFORMED, cut);
    else if (s == STEP_UNSEEN)
        value_verdict(out, LH_ATREST_INCOMPLETE, unseen);
    else if (s == STEP_BAD)
        value_verdict(out, LH_ATREST_MALFORMED, "the EncryptedObject cannot be read");
    else
        check(&o);
}
