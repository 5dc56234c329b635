/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "leasehold/core/err.h"
#include "leasehold/core/str.h"

static void fills_all(void **state)
{
    struct lh_err err = {.sent = true, .retry_ms = 7, .reason = "Old", .http_status = 500, .os = 3};

    (void)state;
    assert_int_equal(lh_err_set(&err, LH_E_DENIED, "store %s", "a"), -LH_E_DENIED);
    assert_int_equal(err.code, LH_E_DENIED);
    assert_string_equal(err.msg, "store a");
    assert_null(err.reason);
    assert_false(err.sent);
    assert_int_equal(err.retry_ms + err.http_status + err.os, 0);
}

static void tolerates_null(void **state)
{
    (void)state;
    assert_int_equal(lh_err_set(NULL, LH_E_BUSY, "x"), -LH_E_BUSY);
    assert_int_equal(lh_err_os(NULL, ENOENT, "x"), -LH_E_OS);
    assert_int_equal(lh_err_nomem(NULL), -LH_E_NOMEM);
    assert_int_equal(lh_err_wrap(NULL, -LH_E_GONE, "x"), -LH_E_GONE);
    assert_int_equal(lh_err_reason(NULL, -LH_E_GONE, "x"), -LH_E_GONE);
}

static void os_keeps_errno(void **state)
{
    struct lh_err err = {0};

    (void)state;
    assert_int_equal(lh_err_os(&err, ENOENT, "open %s", "f"), -LH_E_OS);
    assert_int_equal(err.os, ENOENT);
    assert_string_equal(err.msg, "open f: No such file or directory");
}

static void wrap_keeps_the_rest(void **state)
{
    struct lh_err err = {0};
    int rc = lh_err_set(&err, LH_E_BUSY, "busy");

    (void)state;
    err.retry_ms = 250;
    err.sent = true;
    rc = lh_err_reason(&err, rc, "Throttled");
    assert_int_equal(lh_err_wrap(&err, rc, "store %d", 1), -LH_E_BUSY);
    assert_string_equal(err.msg, "store 1: busy");
    assert_string_equal(err.reason, "Throttled");
    assert_int_equal(err.retry_ms, 250);
    assert_true(err.sent);
}

static void text_may_come_from_itself(void **state)
{
    struct lh_err err = {0};
    int rc = lh_err_set(&err, LH_E_INVALID, "inner");

    (void)state;
    assert_int_equal(rc, -LH_E_INVALID);
    assert_true(lh_err_set(&err, LH_E_INVALID, "outer (%s)", err.msg) < 0);
    assert_string_equal(err.msg, "outer (inner)");
}

static void text_is_one_clean_line(void **state)
{
    static const struct {
        const char *in, *want;
    } rows[] = {
        {"a\nb\tc", "a b c"},     {"a\x1b[31mb", "a?[31mb"},
        {"a\x7f", "a?"},          {"bad \xff utf8 \xc3", "bad ? utf8 ?"},
        {"c1 \xc2\x9b", "c1 ??"}, {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct lh_err err;

        assert_true(lh_err_set(&err, LH_E_INVALID, "%s", rows[i].in) < 0);
        assert_string_equal(err.msg, rows[i].want);
    }
}

static void long_text_is_cut_at_a_character(void **state)
{
    struct lh_err err;
    char text[1024] = "";

    (void)state;
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'x', sizeof(text) - 1);
        text[shift] = '\0';
        while (strlen(text) < 900)
            strcat(text, "\xe2\x82\xac");
        assert_true(lh_err_set(&err, LH_E_INVALID, "%s", text) < 0);
        assert_true(strlen(err.msg) >= sizeof(err.msg) - 4);
        assert_null(strchr(err.msg, '?'));
        assert_true(lh_str_is_utf8(lh_str(err.msg)));
    }
}

static void codes_have_names(void **state)
{
    (void)state;
    for (int code = LH_E_NOMEM; code <= LH_E_EXPIRED; code++)
        assert_string_not_equal(lh_code_name(code), "Unknown");
    assert_string_equal(lh_code_name(LH_E_NOTFOUND), "NotFound");
    assert_string_equal(lh_code_name(LH_E_EXPIRED + 1), "Unknown");
    assert_string_equal(lh_code_name(-3), "Unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fills_all),
        cmocka_unit_test(tolerates_null),
        cmocka_unit_test(os_keeps_errno),
        cmocka_unit_test(wrap_keeps_the_rest),
        cmocka_unit_test(text_may_come_from_itself),
        cmocka_unit_test(text_is_one_clean_line),
        cmocka_unit_test(long_text_is_cut_at_a_character),
        cmocka_unit_test(codes_have_names),
    };

    return cmocka_run_group_tests_name("core/err", tests, NULL, NULL);
}
