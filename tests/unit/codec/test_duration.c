/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "leasehold/codec/duration.h"

static const struct row {
    const char *name; /* the text */
    int64_t ms;
    const char *printed;
} good[] = {
    {"0", 0, "0s"},
    {"0s", 0, "0s"},
    {"5m", 300000, "5m0s"},
    {"1h30m", 5400000, "1h30m0s"},
    {"1h0m5s", 3605000, "1h0m5s"},
    {"250ms", 250, "250ms"},
    {"1.5s", 1500, "1.5s"},
    {"1.05s", 1050, "1.05s"},
    {"1.005s", 1005, "1.005s"},
    {".5h", 1800000, "30m0s"},
    {"1.h", 3600000, "1h0m0s"},
    {"100h", 360000000, "100h0m0s"},
    {"90m", 5400000, "1h30m0s"},
    {"30m30m", 3600000, "1h0m0s"},
    {"1s1h", 3601000, "1h0m1s"},
    {"1ns", 1, "1ms"},
    {"1us", 1, "1ms"},
    {"1001us", 2, "2ms"},
    {"1\xc2\xb5s", 1, "1ms"},
    {"1\xce\xbcs", 1, "1ms"},
    {"0.000000001s", 1, "1ms"},
    {"0.0000000001s", 0, "0s"},
    {"0.333333333333333333333h", 1200000, "20m0s"},
    {"2562047h47m16.854s", INT64_C(9223372036854), "2562047h47m16.854s"},
};

static void reads_and_prints(void **state)
{
    const struct row *r = *state;
    int64_t ms = -7;
    struct lh_buf b;

    assert_int_equal(lh_duration_ms(lh_str(r->name), &ms, NULL), 0);
    assert_true(ms == r->ms);
    lh_buf_init(&b, 64);
    lh_duration_put(&b, ms);
    assert_string_equal(lh_buf_peek(&b).p, r->printed);
    lh_buf_done(&b);
}

static const struct bad {
    const char *name;
    struct lh_str text;
    const char *msg;
} bad[] = {
    {"nothing", LH_STR(""), "empty"},
    {"no unit", LH_STR("5"), "not a duration"},
    {"no unit at the end", LH_STR("1h5"), "not a duration"},
    {"no number", LH_STR("m"), "not a duration"},
    {"only a point", LH_STR(".s"), "not a duration"},
    {"negative", LH_STR("-5m"), "without a sign"},
    {"plus", LH_STR("+5m"), "without a sign"},
    {"days", LH_STR("1d"), "not a duration"},
    {"wrong case", LH_STR("5M"), "not a duration"},
    {"space", LH_STR("5 m"), "not a duration"},
    {"space behind", LH_STR("5m "), "not a duration"},
    {"NUL behind", LH_STR("5m\0"), "not a duration"},
    {"two points", LH_STR("1.5.5s"), "not a duration"},
    {"half a sign", LH_STR("1\xc2s"), "not a duration"},
    {"past Go's range", LH_STR("2562048h"), "292 years"},
    {"past Go's range by the sum", LH_STR("2562047h48m"), "292 years"},
    {"past int64", LH_STR("99999999999999999999s"), "292 years"},
};

static void refuses(void **state)
{
    const struct bad *r = *state;
    int64_t ms = -7;
    struct lh_err err = {0};

    assert_int_equal(lh_duration_ms(r->text, &ms, &err), -LH_E_INVALID);
    assert_int_equal(ms, -7);
    if (!strstr(err.msg, r->msg))
        fail_msg("\"%s\" does not say \"%s\"", err.msg, r->msg);
}

static void prints_what_is_negative(void **state)
{
    struct lh_buf b;

    (void)state;
    lh_buf_init(&b, 64);
    lh_duration_put(&b, -90500);
    assert_string_equal(lh_buf_peek(&b).p, "-1m30.5s");
    lh_buf_reset(&b);
    lh_duration_put(&b, INT64_MIN);
    assert_string_equal(lh_buf_peek(&b).p, "-2562047788015h12m55.808s");
    lh_buf_done(&b);
}

int main(void)
{
    ROWS(reads_and_prints, good);
    ROWS(refuses, bad);
    ONE(prints_what_is_negative);
    return rows_run("duration");
}
