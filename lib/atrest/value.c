/* SPDX-License-Identifier: Apache-2.0 */
#include "value_priv.h"

#include <stdint.h>

#include "leasehold/core/mem.h"

static const char *const protections[LH_ATREST_PROTECTIONS] = {
    [LH_ATREST_EXTERNAL] = "external",
    [LH_ATREST_KMS] = "kms",
    [LH_ATREST_LOCAL] = "local",
    [LH_ATREST_NONE] = "none",
};

static const struct scheme {
    const char *name, *prefix; /* prefix up to where the name of key or provider starts */
    enum lh_atrest_protection protection;
    size_t min, multiple; /* of the payload */
} schemes[LH_ATREST_SCHEMES] = {
    [LH_ATREST_FOREIGN] = {"foreign", NULL, LH_ATREST_NONE, 0, 1},
    [LH_ATREST_UNKNOWN] = {"unknown", NULL, LH_ATREST_NONE, 0, 1},
    [LH_ATREST_IDENTITY] = {"identity", NULL, LH_ATREST_NONE, 0, 1},
    [LH_ATREST_AESCBC] = {"aescbc", "k8s:enc:aescbc:v1:", LH_ATREST_LOCAL, 16 + 16, 16},
    [LH_ATREST_AESGCM] = {"aesgcm", "k8s:enc:aesgcm:v1:", LH_ATREST_LOCAL, GCM_MIN, 1},
    [LH_ATREST_SECRETBOX] = {"secretbox", "k8s:enc:secretbox:v1:", LH_ATREST_LOCAL, 24 + 16, 1},
    [LH_ATREST_KMS_V1] = {"kmsv1", "k8s:enc:kms:v1:", LH_ATREST_KMS, 2 + 1 + 16, 1},
    [LH_ATREST_KMS_V2] = {"kmsv2", "k8s:enc:kms:v2:", LH_ATREST_KMS, 1, 1},
};

const char *lh_atrest_protection_name(enum lh_atrest_protection p)
{
    return (unsigned)p < LH_ARRAY_LEN(protections) ? protections[p] : "none";
}

const char *lh_atrest_scheme_name(enum lh_atrest_scheme s)
{
    return (unsigned)s < LH_ARRAY_LEN(schemes) ? schemes[s].name : schemes[LH_ATREST_UNKNOWN].name;
}

enum lh_atrest_protection lh_atrest_scheme_protection(enum lh_atrest_scheme s)
{
    return (unsigned)s < LH_ARRAY_LEN(schemes) ? schemes[s].protection : LH_ATREST_NONE;
}

const char *bytes_at(const struct lh_atrest_bytes *in, size_t offset, size_t n)
{
    if (offset > in->total || n > in->total - offset)
        return NULL;
    if (offset + n <= in->head_n)
        return (const char *)in->head + offset;
    if (in->tail_n && offset >= in->total - in->tail_n)
        return (const char *)in->tail + (offset - (in->total - in->tail_n));
    return NULL;
}

void value_verdict(struct lh_atrest_value *v, enum lh_atrest_form form, const char *why)
{
    if (form <= v->form)
        return;
    v->form = form;
    v->why = why;
}

static bool is_identity(struct lh_str head)
{
    static const struct lh_str forms[] = {
        {"k8s\0", 4}, {"{", 1}, {"\xd9\xd9\xf7", 3}, /* self-described CBOR, RFC 8949 3.4.6 */
    };

    for (size_t i = 0; i < LH_ARRAY_LEN(forms); i++)
        if (lh_str_starts(head, forms[i]))
            return true;
    return false;
}

static enum lh_atrest_scheme scheme_of(struct lh_str head, struct lh_str *rest)
{
    *rest = (struct lh_str){head.p, 0};
    if (is_identity(head))
        return LH_ATREST_IDENTITY;
    for (unsigned i = 0; i < LH_ARRAY_LEN(schemes); i++) {
        struct lh_str prefix = lh_str(schemes[i].prefix);

        if (prefix.n && lh_str_starts(head, prefix)) {
            *rest = (struct lh_str){head.p + prefix.n, head.n - prefix.n};
            return (enum lh_atrest_scheme)i;
        }
    }
    return lh_str_starts(head, LH_STR("k8s:enc:")) ? LH_ATREST_UNKNOWN : LH_ATREST_FOREIGN;
}

/* KMS v1: two bytes of length, that many of wrapped key, then the object under that key. */
static void kms_v1_read(const struct lh_atrest_bytes *in, struct lh_atrest_value *out)
{
    const unsigned char *len = (const unsigned char *)bytes_at(in, out->prefix_n, 2);
    const char *dek;
    size_t n;

    if (!len) {
        value_verdict(out, LH_ATREST_INCOMPLETE, "the length of the wrapped key was not given");
        return;
    }
    n = ((size_t)len[0] << 8) | len[1];
    if (n == 0 || n > out->payload_n - 2 || out->payload_n - 2 - n < 16) {
        value_verdict(out, LH_ATREST_MALFORMED, "the wrapped key leaves no room for the object");
        return;
    }
    dek = bytes_at(in, out->prefix_n + 2, n);
    if (dek)
        out->dek_source = (struct lh_str){dek, n};
    else
        value_verdict(out, LH_ATREST_INCOMPLETE, "the wrapped key was not given whole");
    out->payload_n -= 2 + n;
}

static void payload_read(const struct lh_atrest_bytes *in, struct lh_atrest_value *out)
{
    const struct scheme *s = &schemes[out->scheme];

    if (out->payload_n < s->min)
        value_verdict(out, LH_ATREST_MALFORMED, "shorter than what its writer writes at least");
    else if (out->payload_n % s->multiple)
        value_verdict(out, LH_ATREST_MALFORMED, "not a whole number of cipher blocks");
    else if (out->scheme == LH_ATREST_KMS_V1)
        kms_v1_read(in, out);
    else if (out->scheme == LH_ATREST_KMS_V2)
        encrypted_object_read(in, out);
}

void lh_atrest_value_read(const struct lh_atrest_bytes *in, struct lh_atrest_value *out)
{
    struct lh_str head = {in->head, in->head_n}, rest, name;

    *out = (struct lh_atrest_value){.form = LH_ATREST_WHOLE, .payload_n = in->total};
    out->scheme = scheme_of(head, &rest);
    if (out->scheme == LH_ATREST_IDENTITY)
        return;
    if (out->scheme == LH_ATREST_FOREIGN || out->scheme == LH_ATREST_UNKNOWN) {
        value_verdict(out, LH_ATREST_MALFORMED, "no form that is known here");
        return;
    }
    if (!lh_str_cut(rest, ':', &name, &rest) || name.n == 0 || !lh_str_is_utf8(name)) {
        if (in->head_n < in->total && in->head_n < LH_ATREST_HEAD_BYTES)
            value_verdict(out, LH_ATREST_INCOMPLETE, "the name of its key was not given whole");
        else
            value_verdict(out, LH_ATREST_MALFORMED, "the name of its key does not end");
        return;
    }
    out->name = name;
    out->prefix_n = head.n - rest.n;
    out->payload_n = in->total - out->prefix_n;
    payload_read(in, out);
}
