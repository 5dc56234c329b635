/* SPDX-License-Identifier: Apache-2.0 */
/* Messages there and back, what reading refuses, and what the API server would refuse. */
#include "rows.h"

#include <string.h>

#include "leasehold/core/mem.h"
#include "leasehold/kmsv2/messages.h"

static const struct lh_kmsv2_annotation two[] = {
    {LH_STR("v.example.org"), LH_STR("1")},
    {LH_STR("empty.example.org"), {NULL, 0}},
};

static struct lh_kmsv2_sealed sealed(void)
{
    return (struct lh_kmsv2_sealed){.ciphertext = LH_STR("\0\xff\x01"),
                                    .key_id = LH_STR("kid-1"),
                                    .annotations = two,
                                    .n_annotations = LH_ARRAY_LEN(two)};
}

static void assert_str(struct lh_str got, struct lh_str want)
{
    assert_int_equal(got.n, want.n);
    if (want.n > 0)
        assert_memory_equal(got.p, want.p, want.n);
}

static void assert_sealed(const struct lh_kmsv2_sealed *m)
{
    assert_str(m->ciphertext, LH_STR("\0\xff\x01"));
    assert_str(m->key_id, LH_STR("kid-1"));
    assert_int_equal(m->n_annotations, 2);
    assert_str(m->annotations[0].name, two[0].name);
    assert_str(m->annotations[0].value, two[0].value);
    assert_str(m->annotations[1].name, two[1].name);
    assert_str(m->annotations[1].value, (struct lh_str){"", 0});
}

static void encrypt_request_comes_back(void **state)
{
    struct lh_kmsv2_encrypt_request in = {.uid = LH_STR("call-7")}, out = {0};
    struct lh_err err;
    struct lh_buf b;

    (void)state;
    lh_buf_init(&b, 1024);
    assert_int_equal(lh_secret_copy("a\0b", 3, &in.plaintext, &err), 0);
    assert_int_equal(lh_kmsv2_put_encrypt_request(&b, &in, &err), 0);
    assert_int_equal(lh_kmsv2_read_encrypt_request(lh_buf_peek(&b), &out, &err), 0);
    lh_buf_done(&b); /* what was read does not point into it */
    assert_true(lh_secret_equal(in.plaintext, out.plaintext));
    assert_str(out.uid, LH_STR("call-7"));
    lh_kmsv2_encrypt_request_done(&out);
    lh_kmsv2_encrypt_request_done(&out);
    lh_secret_free(in.plaintext);
}

static void encrypt_response_comes_back(void **state)
{
    struct lh_kmsv2_encrypt_response out = {0};
    struct lh_kmsv2_sealed in = sealed();
    struct lh_err err;
    struct lh_buf b;

    (void)state;
    lh_buf_init(&b, 1024);
    assert_int_equal(lh_kmsv2_put_encrypt_response(&b, &in, &err), 0);
    assert_int_equal(lh_kmsv2_read_encrypt_response(lh_buf_peek(&b), &out, &err), 0);
    lh_buf_done(&b);
    assert_sealed(&out.sealed);
    lh_kmsv2_encrypt_response_done(&out);
}

static void decrypt_request_comes_back(void **state)
{
    struct lh_kmsv2_decrypt_request in = {.sealed = sealed(), .uid = LH_STR("call-8")}, out = {0};
    struct lh_err err;
    struct lh_buf b;

    (void)state;
    lh_buf_init(&b, 1024);
    assert_int_equal(lh_kmsv2_put_decrypt_request(&b, &in, &err), 0);
    assert_int_equal(lh_kmsv2_read_decrypt_request(lh_buf_peek(&b), &out, &err), 0);
    lh_buf_done(&b);
    assert_sealed(&out.sealed);
    assert_str(out.uid, LH_STR("call-8"));
    lh_kmsv2_decrypt_request_done(&out);
}

static void status_and_plaintext_come_back(void **state)
{
    struct lh_kmsv2_status in = {LH_STR("v2"), LH_STR("ok"), LH_STR("kid"), NULL}, out = {0};
    struct lh_kmsv2_decrypt_response plain = {0};
    struct lh_secret *s = NULL;
    struct lh_err err;
    struct lh_buf b;

    (void)state;
    lh_buf_init(&b, 1024);
    assert_int_equal(lh_kmsv2_put_status(&b, &in, &err), 0);
    assert_int_equal(lh_kmsv2_read_status(lh_buf_peek(&b), &out, &err), 0);
    lh_buf_reset(&b);
    assert_str(out.version, in.version);
    assert_str(out.healthz, in.healthz);
    assert_str(out.key_id, in.key_id);
    lh_kmsv2_status_done(&out);

    assert_int_equal(lh_secret_copy("seed", 4, &s, &err), 0);
    assert_int_equal(lh_kmsv2_put_decrypt_response(&b, s, &err), 0);
    assert_int_equal(lh_kmsv2_read_decrypt_response(lh_buf_peek(&b), &plain, &err), 0);
    lh_buf_done(&b);
    assert_true(lh_secret_equal(s, plain.plaintext));
    lh_kmsv2_decrypt_response_done(&plain);
    lh_secret_free(s);
}

/* No field at all is every field empty, as proto3 has it. */
static void empty_messages_are_read(void **state)
{
    struct lh_kmsv2_encrypt_request e = {0};
    struct lh_kmsv2_encrypt_response r = {0};
    struct lh_kmsv2_decrypt_request d = {0};
    struct lh_kmsv2_decrypt_response p = {0};
    struct lh_kmsv2_status s = {0};
    struct lh_str none = {"", 0};

    (void)state;
    assert_int_equal(lh_kmsv2_read_status_request(none, NULL), 0);
    assert_int_equal(lh_kmsv2_read_status(none, &s, NULL), 0);
    assert_int_equal(s.key_id.n, 0);
    lh_kmsv2_status_done(&s);
    assert_int_equal(lh_kmsv2_read_encrypt_request(none, &e, NULL), 0);
    assert_int_equal(lh_secret_len(e.plaintext), 0);
    lh_kmsv2_encrypt_request_done(&e);
    assert_int_equal(lh_kmsv2_read_encrypt_response(none, &r, NULL), 0);
    assert_int_equal(r.sealed.n_annotations, 0);
    lh_kmsv2_encrypt_response_done(&r);
    assert_int_equal(lh_kmsv2_read_decrypt_request(none, &d, NULL), 0);
    lh_kmsv2_decrypt_request_done(&d);
    assert_int_equal(lh_kmsv2_read_decrypt_response(none, &p, NULL), 0);
    assert_int_equal(lh_secret_len(p.plaintext), 0);
    lh_kmsv2_decrypt_response_done(&p);
}

/* A Decrypt request as bytes, since our own writer makes none of these. */
static const struct bad {
    const char *name;
    struct lh_str bytes;
    const char *says; /* NULL: it is read */
} bads[] = {
    {"an unknown field is skipped", LH_STR("\x0a\x01x\x4a\x02yy"), NULL},
    {"the last of a field counts",
     LH_STR("\x1a\x01"
            "a\x1a\x01"
            "b"),
     NULL},
    {"two annotations of other names",
     LH_STR("\x22\x03\x0a\x01"
            "a\x22\x03\x0a\x01"
            "b"),
     NULL},
    {"an annotation's name twice",
     LH_STR("\x22\x03\x0a\x01"
            "a\x22\x03\x0a\x01"
            "a"),
     "twice"},
    {"no name at all twice", LH_STR("\x22\x00\x22\x00"), "twice"},
    {"a key_id with a NUL",
     LH_STR("\x1a\x03"
            "a\0b"),
     "key_id"},
    {"a key_id that is no UTF-8", LH_STR("\x1a\x01\xff"), "key_id"},
    {"a uid that is no UTF-8", LH_STR("\x12\x01\xff"), "uid"},
    {"a name that is no UTF-8", LH_STR("\x22\x03\x0a\x01\xff"), "name"},
    {"a field cut short",
     LH_STR("\x0a\x05"
            "abc"),
     "malformed"},
    {"a varint without end", LH_STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), "malformed"},
    {"a group", LH_STR("\x0b\x0c"), "malformed"},
};

static void reads_or_refuses(void **state)
{
    const struct bad *r = *state;
    struct lh_kmsv2_decrypt_request out = {0};
    struct lh_err err = {0};
    int rc = lh_kmsv2_read_decrypt_request(r->bytes, &out, &err);

    if (!r->says) {
        lh_kmsv2_decrypt_request_done(&out);
        assert_int_equal(rc, 0);
        return;
    }
    assert_int_equal(rc, -LH_E_INVALID);
    assert_null(out.held);
    assert_non_null(strstr(err.msg, r->says));
}

static void too_long_is_not_even_read(void **state)
{
    struct lh_kmsv2_decrypt_response out = {0};
    size_t n = LH_KMSV2_MESSAGE_MAX + 1;
    char *p = lh_calloc(n, 1);

    (void)state;
    assert_non_null(p);
    assert_int_equal(lh_kmsv2_read_decrypt_response((struct lh_str){p, n}, &out, NULL),
                     -LH_E_TOOBIG);
    lh_free(p);
}

static char many[64 * 1024];

static const struct rule {
    const char *name;
    size_t ciphertext, key_id;
    const char *annotation; /* NULL: none */
    size_t value;
    int want;
    const char *says;
} rules[] = {
    {"the least", 1, 1, NULL, 0, 0, NULL},
    {"the most", 1024, 1024, "a.b", 32 * 1024 - 3, 0, NULL},
    {"no ciphertext", 0, 1, NULL, 0, LH_E_INVALID, "ciphertext is empty"},
    {"ciphertext of 1025", 1025, 1, NULL, 0, LH_E_TOOBIG, "ciphertext has 1025"},
    {"no key_id", 1, 0, NULL, 0, LH_E_INVALID, "key_id is empty"},
    {"key_id of 1025", 1, 1025, NULL, 0, LH_E_TOOBIG, "key_id has 1025"},
    {"annotations one over", 1, 1, "a.b", 32 * 1024 - 2, LH_E_TOOBIG, "32769"},
    {"three labels", 1, 1, "version.kms.example", 1, 0, NULL},
    {"a final dot", 1, 1, "kms.example.", 1, 0, NULL},
    {"one label", 1, 1, "version", 1, LH_E_INVALID, "fully qualified"},
    {"one label and a dot", 1, 1, "version.", 1, LH_E_INVALID, "fully qualified"},
    {"upper case", 1, 1, "Version.example", 1, LH_E_INVALID, "fully qualified"},
    {"a slash", 1, 1, "example.org/version", 1, LH_E_INVALID, "fully qualified"},
    {"an empty label", 1, 1, "a..b", 1, LH_E_INVALID, "fully qualified"},
    {"an empty name", 1, 1, "", 1, LH_E_INVALID, "fully qualified"},
    {"a label of 64", 1, 1,
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example", 1, LH_E_INVALID,
     "fully qualified"},
};

static void rule_holds(void **state)
{
    const struct rule *r = *state;
    struct lh_kmsv2_annotation a = {lh_str(r->annotation), {many, r->value}};
    struct lh_kmsv2_sealed m = {.ciphertext = {many, r->ciphertext},
                                .key_id = {many, r->key_id},
                                .annotations = &a,
                                .n_annotations = r->annotation ? 1 : 0};
    struct lh_err err = {0};

    assert_int_equal(lh_kmsv2_sealed_check(&m, &err), -r->want);
    if (r->says)
        assert_non_null(strstr(err.msg, r->says));
}

static void status_rules_hold(void **state)
{
    struct lh_kmsv2_status m = {LH_STR("v2"), LH_STR("sealed"), LH_STR("kid"), NULL};

    (void)state;
    assert_int_equal(lh_kmsv2_status_check(&m, NULL), 0);
    m.version = LH_STR("v2beta1");
    assert_int_equal(lh_kmsv2_status_check(&m, NULL), 0);
    m.version = LH_STR("v1");
    assert_int_equal(lh_kmsv2_status_check(&m, NULL), -LH_E_INVALID);
    m.version = LH_STR("v2");
    m.key_id = (struct lh_str){NULL, 0};
    assert_int_equal(lh_kmsv2_status_check(&m, NULL), -LH_E_INVALID);
}

/* Each allocation on the way fails once: an error, and nothing left behind. */
static void survives_lack_of_memory(void **state)
{
    struct lh_kmsv2_decrypt_request in = {.sealed = sealed(), .uid = LH_STR("u")};
    struct lh_err err;
    int rc = -1;

    (void)state;
    for (unsigned long n = 1; rc != 0; n++) {
        struct lh_kmsv2_decrypt_request out = {0};
        size_t before = lh_mem_live_blocks();
        struct lh_buf b;

        assert_true(n < 100);
        lh_buf_init(&b, 1024);
        lh_mem_fail_at(n);
        rc = lh_kmsv2_put_decrypt_request(&b, &in, &err);
        if (rc == 0)
            rc = lh_kmsv2_read_decrypt_request(lh_buf_peek(&b), &out, &err);
        lh_mem_fail_at(0);
        lh_buf_done(&b);
        lh_kmsv2_decrypt_request_done(&out);
        assert_int_equal(lh_mem_live_blocks(), before);
    }
}

int main(void)
{
    lh_mem_init();
    memset(many, 'k', sizeof(many));
    ONE(encrypt_request_comes_back);
    ONE(encrypt_response_comes_back);
    ONE(decrypt_request_comes_back);
    ONE(status_and_plaintext_come_back);
    ONE(empty_messages_are_read);
    ROWS(reads_or_refuses, bads);
    ONE(too_long_is_not_even_read);
    ROWS(rule_holds, rules);
    ONE(status_rules_hold);
    ONE(survives_lack_of_memory);
    return rows_run("kmsv2_messages");
}
