/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "leasehold/core/rand.h"

static void bytes_differ(void **state)
{
    unsigned char a[64] = {0}, b[64] = {0};

    (void)state;
    lh_rand_bytes(a, sizeof(a));
    lh_rand_bytes(b, sizeof(b));
    assert_memory_not_equal(a, b, sizeof(a));
    lh_rand_bytes(a, 0);
}

static void between_covers_the_range(void **state)
{
    int seen[5] = {0};

    (void)state;
    for (int i = 0; i < 2000; i++) {
        int64_t v = lh_rand_between(-2, 2);

        assert_in_range((uint64_t)(v + 2), 0, 4);
        seen[v + 2]++;
    }
    for (size_t i = 0; i < 5; i++)
        assert_true(seen[i] > 200);
    assert_int_equal(lh_rand_between(7, 7), 7);
    lh_rand_between(INT64_MIN, INT64_MAX);
}

static void seed_repeats(void **state)
{
    int64_t first[8], second[8];

    (void)state;
    lh_rand_seed(42);
    for (size_t i = 0; i < 8; i++)
        first[i] = lh_rand_between(0, 1000000);
    lh_rand_seed(42);
    for (size_t i = 0; i < 8; i++)
        second[i] = lh_rand_between(0, 1000000);
    assert_memory_equal(first, second, sizeof(first));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_differ),
        cmocka_unit_test(between_covers_the_range),
        cmocka_unit_test(seed_repeats),
    };

    return cmocka_run_group_tests_name("core/rand", tests, NULL, NULL);
}
