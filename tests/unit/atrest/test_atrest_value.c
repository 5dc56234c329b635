/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "leasehold/atrest/value.h"
#include "leasehold/core/buf.h"
#include "leasehold/crypto/hash.h"

/* 60 bytes: info 32, nonce 12, tag 16. */
#define N10    "0123456789"
#define DATA60 N10 N10 N10 N10 N10 N10
#define KMS2   "k8s:enc:kms:v2:p:"
#define F1     "\x0a\x3c" DATA60
#define F2     "\x12\x05kid-1"
#define F3     "\x1a\x04seed"
#define F4                                                                                         \
    "\x22\x0a\x0a\x05"                                                                             \
    "a.org\x12\x01"                                                                                \
    "1"
#define F5  "\x28\x01"
#define OK2 F1 F2 F3 F4 F5

static const struct row {
    const char *name;
    struct lh_str value;
    enum lh_atrest_scheme scheme;
    enum lh_atrest_form form;
    const char *key, *key_id;
} rows[] = {
    {"nothing", LH_STR(""), LH_ATREST_FOREIGN, LH_ATREST_MALFORMED, "", ""},
    {"protobuf", LH_STR("k8s\0hello"), LH_ATREST_IDENTITY, LH_ATREST_WHOLE, "", ""},
    {"json", LH_STR("{\"kind\":\"Secret\"}"), LH_ATREST_IDENTITY, LH_ATREST_WHOLE, "", ""},
    {"cbor", LH_STR("\xd9\xd9\xf7\xa0"), LH_ATREST_IDENTITY, LH_ATREST_WHOLE, "", ""},
    {"text", LH_STR("12"), LH_ATREST_FOREIGN, LH_ATREST_MALFORMED, "", ""},
    {"protobuf without its NUL", LH_STR("k8sX"), LH_ATREST_FOREIGN, LH_ATREST_MALFORMED, "", ""},
    {"a provider that is unknown", LH_STR("k8s:enc:xor:v1:k:abc"), LH_ATREST_UNKNOWN,
     LH_ATREST_MALFORMED, "", ""},
    {"a version that is unknown", LH_STR("k8s:enc:kms:v3:k:abc"), LH_ATREST_UNKNOWN,
     LH_ATREST_MALFORMED, "", ""},
    {"aescbc", LH_STR("k8s:enc:aescbc:v1:key1:" N10 N10 N10 "12"), LH_ATREST_AESCBC,
     LH_ATREST_WHOLE, "key1", ""},
    {"aescbc without a whole block", LH_STR("k8s:enc:aescbc:v1:key1:" N10 N10 N10 "123"),
     LH_ATREST_AESCBC, LH_ATREST_MALFORMED, "key1", ""},
    {"aescbc too short", LH_STR("k8s:enc:aescbc:v1:key1:" N10 "123456"), LH_ATREST_AESCBC,
     LH_ATREST_MALFORMED, "key1", ""},
    {"aesgcm", LH_STR("k8s:enc:aesgcm:v1:k:" N10 N10 "12345678"), LH_ATREST_AESGCM, LH_ATREST_WHOLE,
     "k", ""},
    {"aesgcm too short", LH_STR("k8s:enc:aesgcm:v1:k:" N10 N10 "1234567"), LH_ATREST_AESGCM,
     LH_ATREST_MALFORMED, "k", ""},
    {"secretbox", LH_STR("k8s:enc:secretbox:v1:k:" N10 N10 N10 N10), LH_ATREST_SECRETBOX,
     LH_ATREST_WHOLE, "k", ""},
    {"secretbox too short", LH_STR("k8s:enc:secretbox:v1:k:" N10 N10 N10 "123456789"),
     LH_ATREST_SECRETBOX, LH_ATREST_MALFORMED, "k", ""},
    {"a key without a name", LH_STR("k8s:enc:secretbox:v1::" N10 N10 N10 N10), LH_ATREST_SECRETBOX,
     LH_ATREST_MALFORMED, "", ""},
    {"kms v1", LH_STR("k8s:enc:kms:v1:p:\0\x04wrap" N10 "123456"), LH_ATREST_KMS_V1,
     LH_ATREST_WHOLE, "p", ""},
    {"kms v1, wrapped key past the end", LH_STR("k8s:enc:kms:v1:p:\x10\0wrap" N10 "123456"),
     LH_ATREST_KMS_V1, LH_ATREST_MALFORMED, "p", ""},
    {"kms v1 without a wrapped key", LH_STR("k8s:enc:kms:v1:p:\0\0wrap" N10 "123456"),
     LH_ATREST_KMS_V1, LH_ATREST_MALFORMED, "p", ""},
    {"kms v2", LH_STR(KMS2 OK2), LH_ATREST_KMS_V2, LH_ATREST_WHOLE, "p", "kid-1"},
    {"kms v2 without annotations", LH_STR(KMS2 F1 F2 F3 F5), LH_ATREST_KMS_V2, LH_ATREST_WHOLE, "p",
     "kid-1"},
    {"kms v2, fields in another order", LH_STR(KMS2 F5 F3 F2 F1), LH_ATREST_KMS_V2, LH_ATREST_WHOLE,
     "p", "kid-1"},
    {"kms v2, type 0", LH_STR(KMS2 "\x0a\x1c" N10 N10 "12345678" F2 F3), LH_ATREST_KMS_V2,
     LH_ATREST_WHOLE, "p", "kid-1"},
    {"kms v2, type 1 of the length of type 0", LH_STR(KMS2 "\x0a\x1c" N10 N10 "12345678" F2 F3 F5),
     LH_ATREST_KMS_V2, LH_ATREST_MALFORMED, "p", "kid-1"},
    {"kms v2, empty", LH_STR(KMS2), LH_ATREST_KMS_V2, LH_ATREST_MALFORMED, "p", ""},
    {"kms v2, data alone", LH_STR(KMS2 F1), LH_ATREST_KMS_V2, LH_ATREST_MALFORMED, "p", ""},
    {"kms v2 without a key id", LH_STR(KMS2 F1 F3 F5), LH_ATREST_KMS_V2, LH_ATREST_MALFORMED, "p",
     ""},
    {"kms v2, key id empty", LH_STR(KMS2 F1 "\x12\0" F3 F5), LH_ATREST_KMS_V2, LH_ATREST_MALFORMED,
     "p", ""},
    {"kms v2, key id no text", LH_STR(KMS2 F1 "\x12\x01\xff" F3 F5), LH_ATREST_KMS_V2,
     LH_ATREST_MALFORMED, "p", "\xff"},
    {"kms v2, key id twice", LH_STR(KMS2 OK2 F2), LH_ATREST_KMS_V2, LH_ATREST_MALFORMED, "p",
     "kid-1"},
    {"kms v2, data twice", LH_STR(KMS2 OK2 F1), LH_ATREST_KMS_V2, LH_ATREST_MALFORMED, "p",
     "kid-1"},
    {"kms v2, type twice", LH_STR(KMS2 OK2 F5), LH_ATREST_KMS_V2, LH_ATREST_MALFORMED, "p",
     "kid-1"},
    {"kms v2, annotation twice", LH_STR(KMS2 OK2 F4), LH_ATREST_KMS_V2, LH_ATREST_MALFORMED, "p",
     "kid-1"},
    {"kms v2, annotation without a domain",
     LH_STR(KMS2 F1 F2 F3 "\x22\x03\x0a\x01"
                          "a"),
     LH_ATREST_KMS_V2, LH_ATREST_MALFORMED, "p", "kid-1"},
    {"kms v2, annotation with a third field",
     LH_STR(KMS2 F1 F2 F3 "\x22\x0a\x0a\x05"
                          "a.org\x1a\x01"
                          "1"),
     LH_ATREST_KMS_V2, LH_ATREST_MALFORMED, "p", "kid-1"},
    {"kms v2, a sixth field",
     LH_STR(KMS2 OK2 "\x32\x01"
                     "x"),
     LH_ATREST_KMS_V2, LH_ATREST_MALFORMED, "p", "kid-1"},
    {"kms v2, a field of another wire type",
     LH_STR(KMS2 F1 F2 F3 "\x2a\x01"
                          "x"),
     LH_ATREST_KMS_V2, LH_ATREST_MALFORMED, "p", "kid-1"},
    {"kms v2, a type that is unknown", LH_STR(KMS2 F1 F2 F3 "\x28\x02"), LH_ATREST_KMS_V2,
     LH_ATREST_MALFORMED, "p", "kid-1"},
    {"kms v2, cut in the data", LH_STR(KMS2 "\x0a\x3c" N10), LH_ATREST_KMS_V2, LH_ATREST_MALFORMED,
     "p", ""},
    {"kms v2, cut in a tag", LH_STR(KMS2 F1 F2 F3 "\x80"), LH_ATREST_KMS_V2, LH_ATREST_MALFORMED,
     "p", "kid-1"},
    {"kms v2, a length of 2^64", LH_STR(KMS2 "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" DATA60),
     LH_ATREST_KMS_V2, LH_ATREST_MALFORMED, "p", ""},
    {"kms v2, a length that does not end",
     LH_STR(KMS2 "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" DATA60), LH_ATREST_KMS_V2,
     LH_ATREST_MALFORMED, "p", ""},
};

static void reads(void **state)
{
    const struct row *r = *state;
    struct lh_atrest_value v;

    lh_atrest_value_read_all(r->value, &v);
    assert_string_equal(lh_atrest_scheme_name(v.scheme), lh_atrest_scheme_name(r->scheme));
    assert_int_equal(v.form, r->form);
    assert_true(lh_str_eqz(v.name, r->key));
    assert_true(lh_str_eqz(v.key_id, r->key_id));
    assert_int_equal(v.why != NULL, r->form != LH_ATREST_WHOLE);
}

/* Every beginning of a value that is whole is no whole one, and is never taken for another key. */
static void cut_anywhere(void **state)
{
    const struct lh_str whole = LH_STR(KMS2 OK2);

    (void)state;
    for (size_t n = 0; n < whole.n; n++) {
        struct lh_atrest_value v;
        struct lh_str part = {whole.p, n};

        /* Cut between fields, the optional ones are not missed. */
        if (n == sizeof(KMS2 F1 F2 F3) - 1 || n == sizeof(KMS2 F1 F2 F3 F4) - 1)
            continue;
        lh_atrest_value_read_all(part, &v);
        assert_int_not_equal(v.form, LH_ATREST_WHOLE);
        assert_true(v.key_id.n == 0 || lh_str_eqz(v.key_id, "kid-1"));
    }
}

static const unsigned char golden_data[] = {
    /* info, nonce */
    0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x2b, 0x2c, 0x2d, 0x2e, 0x2f,
    0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f,
    0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x4b,
    /* ciphertext, tag */
    0x6c, 0x38, 0x58, 0xa1, 0xc7, 0x6e, 0x12, 0x05, 0xc1, 0x2b, 0xb9, 0x54, 0x15, 0xf2, 0x7d, 0x27,
    0x44, 0x3a, 0x24, 0x97, 0xf3, 0x2e, 0x54, 0x88, 0x53};

static void put_field(struct lh_buf *b, unsigned char tag, const void *p, size_t n)
{
    lh_buf_put_c(b, (char)tag);
    if (n >= 0x80)
        lh_buf_put_c(b, (char)(0x80 | (n & 0x7f)));
    if (n >= 0x4000)
        lh_buf_put_c(b, (char)(0x80 | ((n >> 7) & 0x7f)));
    lh_buf_put_c(b, (char)(n >= 0x4000 ? n >> 14 : n >= 0x80 ? n >> 7 : n));
    lh_buf_put(b, p, n);
}

/* The value that another implementation wrote, by its digest. */
static void golden(void **state)
{
    uint8_t digest[LH_HASH_LEN];
    char hex[2 * LH_HASH_LEN + 1];
    struct lh_atrest_value v;
    struct lh_buf b;

    (void)state;
    lh_buf_init(&b, 4096);
    lh_buf_put_z(&b, "k8s:enc:kms:v2:demo:");
    put_field(&b, 0x0a, golden_data, sizeof(golden_data));
    put_field(&b, 0x12, "kid-1", 5);
    put_field(&b, 0x1a, "vault:v1:AAAA", 13);
    put_field(&b, 0x22,
              "\x0a\x0dv.example.org\x12\x01"
              "1",
              18);
    lh_buf_put_z(&b, "\x28\x01");
    assert_int_equal(b.n, 135);
    assert_int_equal(lh_sha256(b.p, b.n, digest, NULL), 0);
    lh_hex(digest, sizeof(digest), hex);
    assert_string_equal(hex, "6b37c022186f13bf5cf490968eae088e0be397704333a73f6d783b92c4d0a4c8");

    lh_atrest_value_read_all(lh_buf_peek(&b), &v);
    assert_int_equal(v.form, LH_ATREST_WHOLE);
    assert_true(lh_str_eqz(v.name, "demo"));
    assert_true(lh_str_eqz(v.key_id, "kid-1"));
    assert_true(lh_str_eqz(v.dek_source, "vault:v1:AAAA"));
    assert_int_equal(v.dek_type, LH_ATREST_DEK_HKDF);
    assert_int_equal(v.annotations, 1);
    assert_int_equal(v.payload_n, sizeof(golden_data));
    lh_buf_done(&b);
}

static void big_value(struct lh_buf *b, size_t data, size_t id, size_t seed, size_t annotation)
{
    static const char fill[40000];
    struct lh_buf entry;
    char *text;

    lh_buf_init(&entry, 65536);
    lh_buf_put_z(b, KMS2);
    put_field(b, 0x0a, fill, data);
    lh_buf_put_c(b, 0x12);
    lh_buf_put_c(b, (char)(0x80 | (id & 0x7f)));
    lh_buf_put_c(b, (char)(id >> 7));
    text = lh_buf_extend(b, id);
    if (text)
        memset(text, 'i', id);
    put_field(b, 0x1a, fill, seed);
    if (annotation) {
        put_field(&entry, 0x0a, "a.org", 5);
        put_field(&entry, 0x12, fill, annotation);
        put_field(b, 0x22, entry.p, entry.n);
    }
    lh_buf_put_z(b, "\x28\x01");
    lh_buf_done(&entry);
}

static const struct big {
    const char *name;
    size_t id, seed, annotation, head, tail;
    enum lh_atrest_form form;
} bigs[] = {
    {"the most that is accepted, from head and tail", 1024, 1024, 32 * 1024 - 5,
     LH_ATREST_HEAD_BYTES, LH_ATREST_TAIL_BYTES, LH_ATREST_WHOLE},
    {"a usual one, from head and a short tail", 64, 89, 0, LH_ATREST_HEAD_BYTES, 512,
     LH_ATREST_WHOLE},
    {"the head alone", 64, 89, 0, LH_ATREST_HEAD_BYTES, 0, LH_ATREST_INCOMPLETE},
    {"a tail that starts within the key id", 1024, 1024, 0, LH_ATREST_HEAD_BYTES, 2000,
     LH_ATREST_INCOMPLETE},
    {"a key id of 1025 bytes", 1025, 89, 0, LH_ATREST_HEAD_BYTES, LH_ATREST_TAIL_BYTES,
     LH_ATREST_MALFORMED},
    {"a wrapped seed of 1025 bytes", 64, 1025, 0, LH_ATREST_HEAD_BYTES, LH_ATREST_TAIL_BYTES,
     LH_ATREST_MALFORMED},
    {"annotations over 32 KiB", 64, 89, 32 * 1024 - 4, LH_ATREST_HEAD_BYTES, LH_ATREST_TAIL_BYTES,
     LH_ATREST_MALFORMED},
};

static void in_part(void **state)
{
    const struct big *r = *state;
    struct lh_atrest_bytes in;
    struct lh_atrest_value v;
    struct lh_buf b;

    lh_buf_init(&b, 1 << 20);
    big_value(&b, 40000, r->id, r->seed, r->annotation);
    assert_int_equal(b.failed, 0);
    in = (struct lh_atrest_bytes){.head = b.p,
                                  .head_n = r->head,
                                  .tail = b.p + b.n - r->tail,
                                  .tail_n = r->tail,
                                  .total = b.n};
    lh_atrest_value_read(&in, &v);
    assert_int_equal(v.scheme, LH_ATREST_KMS_V2);
    assert_true(lh_str_eqz(v.name, "p"));
    assert_int_equal(v.form, r->form);
    if (r->form == LH_ATREST_WHOLE) {
        assert_int_equal(v.key_id.n, r->id);
        assert_int_equal(v.dek_source.n, r->seed);
        assert_int_equal(v.payload_n, 40000);
    }
    lh_buf_done(&b);
}

int main(void)
{
    ROWS(reads, rows);
    ONE(cut_anywhere);
    ONE(golden);
    ROWS(in_part, bigs);
    return rows_run("atrest_value");
}
