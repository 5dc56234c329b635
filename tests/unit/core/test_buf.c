/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <string.h>

#include "leasehold/core/buf.h"
#include "leasehold/core/mem.h"
#include "support.h"

static void appends(void **state)
{
    struct lh_buf b;
    char *out = NULL;
    size_t n = 0;

    (void)state;
    lh_buf_init(&b, 100);
    assert_int_equal(lh_buf_peek(&b).n, 0);
    lh_buf_put(&b, "a\0b", 3);
    lh_buf_put_str(&b, LH_STR("cd"));
    lh_buf_put_z(&b, "ef");
    lh_buf_put_c(&b, 'g');
    lh_buf_printf(&b, "%03d", 7);
    assert_int_equal(lh_buf_peek(&b).p[lh_buf_peek(&b).n], '\0');
    assert_int_equal(lh_buf_finish(&b, &out, &n, NULL), 0);
    assert_int_equal(n, 11);
    assert_memory_equal(out, "a\0bcdefg007", 12);
    assert_null(b.p);
    lh_free(out);
}

static void empty_is_a_text(void **state)
{
    struct lh_buf b;
    char *out = NULL;
    size_t n = 9;

    (void)state;
    lh_buf_init(&b, 0);
    assert_int_equal(lh_buf_finish(&b, &out, &n, NULL), 0);
    assert_int_equal(n, 0);
    assert_string_equal(out, "");
    lh_free(out);
}

static void cap_is_exact_and_failure_sticky(void **state)
{
    struct lh_buf b;
    struct lh_err err = {0};
    char *out = (char *)0x1;
    size_t n = 9;

    (void)state;
    lh_buf_init(&b, 5);
    lh_buf_put_z(&b, "12345");
    assert_int_equal(lh_buf_check(&b, NULL), 0);
    lh_buf_put_c(&b, '6');
    assert_int_equal(lh_buf_check(&b, &err), -LH_E_TOOBIG);
    lh_buf_put_c(&b, '7');
    assert_int_equal(lh_buf_peek(&b).n, 0);
    assert_int_equal(lh_buf_finish(&b, &out, &n, &err), -LH_E_TOOBIG);
    assert_ptr_equal(out, (char *)0x1);
    assert_int_equal(n, 9);
    lh_buf_reset(&b);
    lh_buf_printf(&b, "%s", "abcde");
    assert_int_equal(lh_buf_check(&b, NULL), 0);
    lh_buf_printf(&b, "%s", "f");
    assert_int_equal(lh_buf_check(&b, NULL), -LH_E_TOOBIG);
    lh_buf_done(&b);
}

static void torture(void **state)
{
    (void)state;
    for (unsigned long i = 1;; i++) {
        size_t live = lh_mem_live_blocks();
        struct lh_buf b;
        char *out = NULL;
        size_t n;
        int rc;

        lh_buf_init(&b, 10000);
        lh_mem_fail_at(i);
        for (int k = 0; k < 500; k++)
            lh_buf_printf(&b, "%d,", k);
        rc = lh_buf_finish(&b, &out, &n, NULL);
        lh_mem_fail_at(0);
        lh_buf_done(&b);
        if (rc == 0) {
            lh_free(out);
            assert_int_equal(lh_mem_live_blocks(), live);
            assert_true(i > 3);
            break;
        }
        assert_int_equal(rc, -LH_E_NOMEM);
        assert_null(out);
        assert_int_equal(lh_mem_live_blocks(), live);
    }
}

static void growing_leaves_no_copy(void **state)
{
    enum { N = 32 };
    unsigned char masked[N];
    struct lh_buf b;

    (void)state;
    lh_test_canary(masked, N);
    lh_buf_init(&b, 100000);
    for (size_t i = 0; i < N; i++)
        lh_buf_put_c(&b, (char)(masked[i] ^ LH_TEST_MASK));
    for (int i = 0; i < 50000; i++)
        lh_buf_put_c(&b, '-');
    assert_int_equal(lh_test_residue(masked, N), 1);
    lh_buf_reset(&b);
    assert_int_equal(lh_test_residue(masked, N), 0);
    lh_buf_done(&b);
}

static void integers_are_written(void **state)
{
    static const struct {
        long long i;
        const char *text;
    } rows[] = {
        {0, "0"},
        {7, "7"},
        {-10, "-10"},
        {1234567890123, "1234567890123"},
        {INT64_MAX, "9223372036854775807"},
        {INT64_MIN, "-9223372036854775808"},
    };
    struct lh_buf b;

    (void)state;
    lh_buf_init(&b, 32);
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        lh_buf_put_int(&b, rows[i].i);
        assert_string_equal(lh_buf_peek(&b).p, rows[i].text);
        lh_buf_reset(&b);
    }
    lh_buf_done(&b);
}

static void room_is_given_within_the_cap(void **state)
{
    struct lh_buf b;
    char *at;

    (void)state;
    lh_buf_init(&b, 300);
    lh_buf_reserve(&b, 300);
    assert_int_equal(lh_buf_peek(&b).n, 0);
    at = lh_buf_extend(&b, 300);
    assert_ptr_equal(at, b.p);
    memset(at, 'x', 300);
    assert_int_equal(lh_buf_peek(&b).n, 300);
    assert_int_equal(lh_buf_peek(&b).p[300], '\0');
    assert_null(lh_buf_extend(&b, 1));
    assert_int_equal(lh_buf_check(&b, NULL), -LH_E_TOOBIG);
    assert_null(lh_buf_extend(&b, 0));
    lh_buf_reserve(&b, 1);
    assert_int_equal(lh_buf_peek(&b).n, 0);
    lh_buf_done(&b);
}

/* Nor does the part of a text that did fit when the whole did not. */
static void formatting_leaves_no_copy(void **state)
{
    enum { N = 48 };
    unsigned char masked[N];
    char text[N + 1] = {0};
    struct lh_buf b;

    (void)state;
    lh_test_canary(masked, N);
    for (size_t i = 0; i < N; i++)
        masked[i] = (unsigned char)(('a' + masked[i] % 26) ^ LH_TEST_MASK);
    lh_test_canary_reveal(masked, N, text);
    lh_buf_init(&b, 64);
    lh_buf_put_c(&b, '-');
    lh_buf_printf(&b, "%s%s", text, text);
    assert_int_equal(lh_buf_check(&b, NULL), -LH_E_TOOBIG);
    lh_wipe(text, N);
    assert_int_equal(lh_test_residue(masked, N), 0);
    lh_buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends),
        cmocka_unit_test(empty_is_a_text),
        cmocka_unit_test(cap_is_exact_and_failure_sticky),
        cmocka_unit_test(torture),
        cmocka_unit_test(growing_leaves_no_copy),
        cmocka_unit_test(integers_are_written),
        cmocka_unit_test(room_is_given_within_the_cap),
        cmocka_unit_test(formatting_leaves_no_copy),
    };

    return cmocka_run_group_tests_name("core/buf", tests, NULL, NULL);
}
