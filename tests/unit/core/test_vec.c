/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "leasehold/core/mem.h"
#include "leasehold/core/vec.h"

static void pushes_and_removes(void **state)
{
    struct lh_vec v;

    (void)state;
    lh_vec_init(&v, sizeof(int));
    for (int i = 0; i < 100; i++)
        assert_int_equal(*(int *)lh_vec_push(&v, &i), i);
    assert_int_equal(v.n, 100);
    lh_vec_remove(&v, 0);
    lh_vec_remove(&v, 98);
    lh_vec_remove(&v, 49);
    assert_int_equal(v.n, 97);
    assert_int_equal(*(int *)lh_vec_at(&v, 0), 1);
    assert_int_equal(*(int *)lh_vec_at(&v, 48), 49);
    assert_int_equal(*(int *)lh_vec_at(&v, 49), 51);
    assert_int_equal(*(int *)lh_vec_at(&v, 96), 98);
    lh_vec_clear(&v);
    assert_int_equal(v.n, 0);
    assert_int_equal(*(int *)lh_vec_push(&v, NULL), 0);
    lh_vec_done(&v);
    lh_vec_done(&v);
}

static void torture(void **state)
{
    struct lh_vec v;
    int failures = 0;

    (void)state;
    for (unsigned long nth = 1; nth <= 6; nth++) {
        lh_vec_init(&v, sizeof(int));
        lh_mem_fail_at(nth);
        for (int i = 0; i < 100; i++) {
            size_t n = v.n;

            if (!lh_vec_push(&v, &i)) {
                failures++;
                assert_int_equal(v.n, n);
                assert_non_null(lh_vec_push(&v, &i));
            }
        }
        lh_mem_fail_at(0);
        assert_int_equal(v.n, 100);
        for (int i = 0; i < 100; i++)
            assert_int_equal(*(int *)lh_vec_at(&v, (size_t)i), i);
        lh_vec_done(&v);
    }
    assert_int_equal(failures, 5);
}

static void overflow_is_refused(void **state)
{
    struct lh_vec v;

    (void)state;
    lh_vec_init(&v, SIZE_MAX / 4);
    assert_null(lh_vec_push(&v, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pushes_and_removes),
        cmocka_unit_test(torture),
        cmocka_unit_test(overflow_is_refused),
    };

    return cmocka_run_group_tests_name("core/vec", tests, NULL, NULL);
}
