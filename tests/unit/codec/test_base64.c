/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "leasehold/codec/base64.h"

static const struct row {
    const char *name;
    struct lh_str plain;
    const char *standard, *url;
} rows[] = {
    {"empty", LH_STR(""), "", ""},
    {"f", LH_STR("f"), "Zg==", "Zg"},
    {"fo", LH_STR("fo"), "Zm8=", "Zm8"},
    {"foo", LH_STR("foo"), "Zm9v", "Zm9v"},
    {"foob", LH_STR("foob"), "Zm9vYg==", "Zm9vYg"},
    {"fooba", LH_STR("fooba"), "Zm9vYmE=", "Zm9vYmE"},
    {"foobar", LH_STR("foobar"), "Zm9vYmFy", "Zm9vYmFy"},
    {"the two last characters", LH_STR("\xfb\xff\xbf"), "+/+/", "-_-_"},
    {"NUL", LH_STR("\0\0"), "AAA=", "AAA"},
};

static void there_and_back(void **state)
{
    const struct row *r = *state;
    struct lh_buf b;

    lh_buf_init(&b, 64);
    lh_base64_put(&b, r->plain.p, r->plain.n);
    assert_true(lh_str_eqz(lh_buf_peek(&b), r->standard));
    lh_buf_reset(&b);
    lh_base64url_put(&b, r->plain.p, r->plain.n);
    assert_true(lh_str_eqz(lh_buf_peek(&b), r->url));
    lh_buf_reset(&b);
    assert_int_equal(lh_base64_decode(lh_str(r->standard), &b, NULL), 0);
    assert_true(lh_str_eq(lh_buf_peek(&b), r->plain));
    lh_buf_reset(&b);
    assert_int_equal(lh_base64url_decode(lh_str(r->url), &b, NULL), 0);
    assert_true(lh_str_eq(lh_buf_peek(&b), r->plain));
    lh_buf_done(&b);
}

static void every_length_and_byte(void **state)
{
    unsigned char plain[256];

    (void)state;
    for (size_t i = 0; i < sizeof(plain); i++)
        plain[i] = (unsigned char)i;
    for (size_t n = 0; n <= sizeof(plain); n++) {
        struct lh_buf text, back;

        lh_buf_init(&text, 1024);
        lh_buf_init(&back, 1024);
        lh_base64_put(&text, plain, n);
        assert_int_equal(lh_base64_decode(lh_buf_peek(&text), &back, NULL), 0);
        assert_true(lh_str_eq(lh_buf_peek(&back), (struct lh_str){(char *)plain, n}));
        lh_buf_done(&text);
        lh_buf_done(&back);
    }
}

static const struct bad {
    const char *name;
    struct lh_str text;
    bool bad, bad_url;
} bad[] = {
    {"no padding", LH_STR("Zg"), true, false},
    {"padding is optional for URLs", LH_STR("Zg=="), false, false},
    {"half a padding", LH_STR("Zg="), true, true},
    {"too much padding", LH_STR("Zm9v===="), true, true},
    {"padding in the middle", LH_STR("Zg==Zg=="), true, true},
    {"only padding", LH_STR("===="), true, true},
    {"one character", LH_STR("Z"), true, true},
    {"five characters", LH_STR("Zm9vZ"), true, true},
    {"line break", LH_STR("Zm9v\n"), true, true},
    {"space", LH_STR("Zm 9v==="), true, true},
    {"bits left over", LH_STR("Zh=="), true, true},
    {"bits left over in three", LH_STR("Zm9="), true, true},
    {"URL alphabet", LH_STR("-_-_"), true, false},
    {"standard alphabet", LH_STR("+/+/"), false, true},
    {"not ASCII", LH_STR("Zm9\xc3"), true, true},
    {"NUL", LH_STR("Zm9\0"), true, true},
};

static void is_strict(void **state)
{
    const struct bad *r = *state;
    struct lh_buf b;
    struct lh_err err;

    lh_buf_init(&b, 64);
    lh_buf_put_z(&b, "before");
    assert_int_equal(lh_base64_decode(r->text, &b, &err), r->bad ? -LH_E_INVALID : 0);
    if (r->bad)
        assert_string_equal(lh_buf_peek(&b).p, "before");
    lh_buf_reset(&b);
    assert_int_equal(lh_base64url_decode(r->text, &b, &err), r->bad_url ? -LH_E_INVALID : 0);
    assert_true(!r->bad_url || b.n == 0);
    lh_buf_done(&b);
}

static void says_too_big_past_the_cap(void **state)
{
    struct lh_buf b;

    (void)state;
    lh_buf_init(&b, 2);
    assert_int_equal(lh_base64_decode(LH_STR("Zm9v"), &b, NULL), -LH_E_TOOBIG);
    lh_buf_done(&b);
}

int main(void)
{
    ROWS(there_and_back, rows);
    ROWS(is_strict, bad);
    ONE(every_length_and_byte);
    ONE(says_too_big_past_the_cap);
    return rows_run("base64");
}
