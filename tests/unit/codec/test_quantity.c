/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "leasehold/codec/quantity.h"

#define EI INT64_C(1152921504606846976)

static const struct row {
    const char *name;
    int64_t milli, whole; /* of name, which is the text */
} good[] = {
    {"0", 0, 0},
    {"1", 1000, 1},
    {"+1", 1000, 1},
    {"-1", -1000, -1},
    {"100m", 100, 1},
    {"1500m", 1500, 2},
    {"-100m", -100, -1},
    {"1n", 1, 1},
    {"1000000n", 1, 1},
    {"1000001n", 2, 1},
    {"1u", 1, 1},
    {"1500u", 2, 1},
    {"0.1", 100, 1},
    {".5", 500, 1},
    {"5.", 5000, 5},
    {"0.0001", 1, 1},
    {"1.0000000000000000000001", 1001, 2},
    {"1k", 1000000, 1000},
    {"1M", INT64_C(1000000000), 1000000},
    {"1G", INT64_C(1000000000000), INT64_C(1000000000)},
    {"1T", INT64_C(1000000000000000), INT64_C(1000000000000)},
    {"1P", INT64_C(1000000000000000000), INT64_C(1000000000000000)},
    {"1Ki", 1024000, 1024},
    {"24Mi", 25165824000, 25165824},
    {"1.5Gi", INT64_C(1610612736000), 1610612736},
    {"0.1Ki", 102400, 103},
    {"1Ti", INT64_C(1099511627776000), INT64_C(1099511627776)},
    {"1Pi", INT64_C(1125899906842624000), INT64_C(1125899906842624)},
    {"1e3", 1000000, 1000},
    {"1E3", 1000000, 1000},
    {"1e+3", 1000000, 1000},
    {"1e-3", 1, 1},
    {"12.5e-1", 1250, 2},
    {"1e-100000", 1, 1},
    {"0e100000", 0, 0},
    {"0Ei", 0, 0},
    {"000001", 1000, 1},
    {"0.000E", 0, 0},
};

static void reads(void **state)
{
    const struct row *r = *state;
    int64_t milli = -7, whole = -7;

    assert_int_equal(lh_quantity_milli(lh_str(r->name), &milli, NULL), 0);
    assert_int_equal(lh_quantity_whole(lh_str(r->name), &whole, NULL), 0);
    assert_true(milli == r->milli);
    assert_true(whole == r->whole);
}

static const struct big {
    const char *name;
    int code;
    int64_t whole;
} big[] = {
    {"9223372036854775807", 0, INT64_MAX},
    {"-9223372036854775808", 0, INT64_MIN},
    {"9223372036854775808", LH_E_TOOBIG, 0},
    {"9223372036854775806.1", 0, INT64_MAX},
    {"9223372036854775807.1", LH_E_TOOBIG, 0},
    {"7Ei", 0, 7 * EI},
    {"8Ei", LH_E_TOOBIG, 0},
    {"9E", 0, INT64_C(9000000000000000000)},
    {"10E", LH_E_TOOBIG, 0},
    {"1e100", LH_E_TOOBIG, 0},
    {"99999999999999999999", LH_E_TOOBIG, 0},
    {"0.9999999999999999999999Ki", 0, 1024},
};

static void knows_its_bounds(void **state)
{
    const struct big *r = *state;
    int64_t whole = -7;

    assert_int_equal(lh_quantity_whole(lh_str(r->name), &whole, NULL), -r->code);
    assert_true(whole == (r->code ? -7 : r->whole));
}

static const struct bad {
    const char *name;
    struct lh_str text;
} bad[] = {
    {"nothing", LH_STR("")},
    {"only a suffix", LH_STR("Mi")},
    {"only a sign", LH_STR("-")},
    {"only a point", LH_STR(".")},
    {"two points", LH_STR("1.1.1")},
    {"two signs", LH_STR("--1")},
    {"unknown suffix", LH_STR("1KB")},
    {"wrong case", LH_STR("1K")},
    {"wrong case of binary", LH_STR("1mi")},
    {"lower e alone", LH_STR("1e")},
    {"exponent and suffix", LH_STR("1e3k")},
    {"exponent with a point", LH_STR("1e1.5")},
    {"exponent with two signs", LH_STR("1e+-3")},
    {"exponent past 32 bits", LH_STR("1e99999999999")},
    {"space in front", LH_STR(" 1")},
    {"space behind", LH_STR("1 ")},
    {"space before the suffix", LH_STR("1 Mi")},
    {"hexadecimal", LH_STR("0x10")},
    {"NUL behind", LH_STR("1\0")},
    {"comma", LH_STR("1,5")},
    {"65 digits", LH_STR("11111111111111111111111111111111111111111111111111111111111111111")},
};

static void refuses(void **state)
{
    const struct bad *r = *state;
    int64_t out = -7;
    struct lh_err err = {0};

    assert_int_equal(lh_quantity_milli(r->text, &out, &err), -LH_E_INVALID);
    assert_int_equal(lh_quantity_whole(r->text, &out, &err), -LH_E_INVALID);
    assert_int_equal(out, -7);
    assert_non_null(strstr(err.msg, "not a quantity"));
}

static const struct put {
    const char *name;
    int64_t bytes;
} puts_[] = {
    {"0", 0},           {"1", 1},           {"1023", 1023},         {"1Ki", 1024},
    {"1025", 1025},     {"28Mi", 29360128}, {"1536Mi", 1610612736}, {"1000000", 1000000},
    {"-4Mi", -4194304}, {"7Ei", 7 * EI},    {"-8Ei", INT64_MIN},
};

static void prints(void **state)
{
    const struct put *r = *state;
    struct lh_buf b;

    lh_buf_init(&b, 64);
    lh_quantity_put_bytes(&b, r->bytes);
    assert_string_equal(lh_buf_peek(&b).p, r->name);
    lh_buf_done(&b);
}

int main(void)
{
    ROWS(reads, good);
    ROWS(knows_its_bounds, big);
    ROWS(refuses, bad);
    ROWS(prints, puts_);
    return rows_run("quantity");
}
