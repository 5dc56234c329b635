/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include "leasehold/core/mem.h"
#include "leasehold/core/str.h"

static void compares(void **state)
{
    (void)state;
    assert_true(lh_str_eq(LH_STR("a\0b"), LH_STR("a\0b")));
    assert_false(lh_str_eq(LH_STR("a\0b"), LH_STR("a\0c")));
    assert_true(lh_str_eq((struct lh_str){NULL, 0}, LH_STR("")));
    assert_false(lh_str_eqz(LH_STR("ab"), "a"));
    assert_true(lh_str_starts(LH_STR("abc"), LH_STR("ab")));
    assert_false(lh_str_starts(LH_STR("a"), LH_STR("ab")));
    assert_true(lh_str_ends(LH_STR("abc"), LH_STR("bc")));
    assert_true(lh_str_ends(LH_STR("abc"), LH_STR("")));
    assert_false(lh_str_ends(LH_STR("c"), LH_STR("bc")));
}

static void cuts(void **state)
{
    static const struct {
        const char *in, *head, *rest;
        bool found;
    } rows[] = {
        {"a=b=c", "a", "b=c", true}, {"a", "a", "", false}, {"", "", "", false},
        {"=x", "", "x", true},       {"x=", "x", "", true},
    };

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        struct lh_str head, rest;

        assert_int_equal(lh_str_cut(lh_str(rows[i].in), '=', &head, &rest), rows[i].found);
        assert_true(lh_str_eqz(head, rows[i].head));
        assert_true(lh_str_eqz(rest, rows[i].rest));
    }
}

static void trims(void **state)
{
    (void)state;
    assert_true(lh_str_eqz(lh_str_trim(LH_STR(" \t a b\r\n")), "a b"));
    assert_true(lh_str_eqz(lh_str_trim(LH_STR(" \n ")), ""));
    assert_true(lh_str_eqz(lh_str_trim((struct lh_str){NULL, 0}), ""));
}

static void numbers(void **state)
{
    static const struct {
        const char *in;
        long long min, max, want;
        bool ok;
    } rows[] = {
        {"0", 0, 10, 0, true},
        {"10", 0, 10, 10, true},
        {"11", 0, 10, 0, false},
        {"-5", -5, 5, -5, true},
        {"9223372036854775807", LLONG_MIN, LLONG_MAX, LLONG_MAX, true},
        {"-9223372036854775808", LLONG_MIN, LLONG_MAX, LLONG_MIN, true},
        {"9223372036854775808", LLONG_MIN, LLONG_MAX, 0, false},
        {"99999999999999999999", LLONG_MIN, LLONG_MAX, 0, false},
        {"", LLONG_MIN, LLONG_MAX, 0, false},
        {"-", LLONG_MIN, LLONG_MAX, 0, false},
        {"+1", LLONG_MIN, LLONG_MAX, 0, false},
        {" 1", LLONG_MIN, LLONG_MAX, 0, false},
        {"1x", LLONG_MIN, LLONG_MAX, 0, false},
        {"0x1", LLONG_MIN, LLONG_MAX, 0, false},
    };

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        long long v = 42;

        assert_int_equal(lh_str_to_i64(lh_str(rows[i].in), rows[i].min, rows[i].max, &v),
                         rows[i].ok);
        assert_true(v == (rows[i].ok ? rows[i].want : 42));
    }
}

static void dns_names(void **state)
{
    static const struct {
        const char *in;
        bool label, subdomain;
    } rows[] = {
        {"a", true, true},     {"a-b", true, true},   {"0a", true, true},
        {"a.b", false, true},  {"", false, false},    {"-a", false, false},
        {"a-", false, false},  {"A", false, false},   {"a..b", false, false},
        {".a", false, false},  {"a.", false, false},  {"a.-b", false, false},
        {"a_b", false, false}, {"a/b", false, false}, {"\xc3\xbc", false, false},
    };
    char long_name[260];

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        assert_int_equal(lh_str_is_dns_label(lh_str(rows[i].in)), rows[i].label);
        assert_int_equal(lh_str_is_dns_subdomain(lh_str(rows[i].in)), rows[i].subdomain);
    }
    memset(long_name, 'a', sizeof(long_name));
    assert_true(lh_str_is_dns_label((struct lh_str){long_name, 63}));
    assert_false(lh_str_is_dns_label((struct lh_str){long_name, 64}));
    assert_true(lh_str_is_dns_subdomain((struct lh_str){long_name, 253}));
    assert_false(lh_str_is_dns_subdomain((struct lh_str){long_name, 254}));
}

static void nearest(void **state)
{
    static const char *const list[] = {"template", "format", "store", "on-change", NULL};
    char huge[200];

    (void)state;
    assert_string_equal(lh_str_nearest(LH_STR("tempalte"), list), "template");
    assert_string_equal(lh_str_nearest(LH_STR("formt"), list), "format");
    assert_string_equal(lh_str_nearest(LH_STR("onchange"), list), "on-change");
    assert_string_equal(lh_str_nearest(LH_STR("store"), list), "store");
    assert_null(lh_str_nearest(LH_STR("zzz"), list));
    assert_null(lh_str_nearest(LH_STR(""), list));
    memset(huge, 'x', sizeof(huge));
    assert_null(lh_str_nearest((struct lh_str){huge, sizeof(huge)}, list));
}

static void utf8(void **state)
{
    static const struct {
        const char *in;
        bool ok;
    } rows[] = {
        {"", true},
        {"abc", true},
        {"\xc3\xbc", true},
        {"\xe2\x82\xac", true},
        {"\xf0\x9f\x98\x80", true},
        {"\xf4\x8f\xbf\xbf", true},
        {"\xf4\x90\x80\x80", false}, /* past U+10FFFF */
        {"\xed\xa0\x80", false},     /* surrogate */
        {"\xed\x9f\xbf", true},
        {"\xc0\x80", false}, /* overlong */
        {"\xe0\x9f\xbf", false},
        {"\xf0\x8f\xbf\xbf", false},
        {"\x80", false},
        {"\xc3", false}, /* cut */
        {"\xe2\x82", false},
        {"\xe2\x28\xa1", false},
        {"\xff", false},
    };

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++)
        assert_int_equal(lh_str_is_utf8(lh_str(rows[i].in)), rows[i].ok);
    assert_int_equal(lh_str_utf8_len(LH_STR("\xe2\x82\xac!")), 3);
    assert_true(lh_str_is_utf8(LH_STR("a\0b")));
    for (size_t i = 0; i < 20; i++) {
        char text[] = "abcdefghijklmnopqrstuvwxyz";

        text[i] = '\xc3';
        assert_false(lh_str_is_utf8(lh_str(text)));
        text[i + 1] = '\xa9';
        assert_true(lh_str_is_utf8(lh_str(text)));
    }
}

static void duplicates(void **state)
{
    char *s = lh_str_dup((struct lh_str){"abcdef", 3});

    (void)state;
    assert_string_equal(s, "abc");
    lh_free(s);
    lh_mem_fail_at(1);
    assert_null(lh_str_dup(LH_STR("x")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares), cmocka_unit_test(cuts),       cmocka_unit_test(trims),
        cmocka_unit_test(numbers),  cmocka_unit_test(dns_names),  cmocka_unit_test(nearest),
        cmocka_unit_test(utf8),     cmocka_unit_test(duplicates),
    };

    return cmocka_run_group_tests_name("core/str", tests, NULL, NULL);
}
