/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "leasehold/core/mem.h"
#include "support.h"

static void blocks_are_aligned_and_counted(void **state)
{
    size_t live = lh_mem_live_blocks();
    unsigned long count = lh_mem_count();
    void *p[32];

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(p); i++) {
        p[i] = lh_malloc(i * 7);
        assert_non_null(p[i]);
        assert_int_equal((uintptr_t)p[i] % 16, 0);
    }
    assert_int_equal(lh_mem_live_blocks(), live + LH_ARRAY_LEN(p));
    assert_int_equal(lh_mem_count(), count + LH_ARRAY_LEN(p));
    for (size_t i = 0; i < LH_ARRAY_LEN(p); i++)
        lh_free(p[i]);
    lh_free(NULL);
    assert_int_equal(lh_mem_live_blocks(), live);
}

static void overflow_is_refused(void **state)
{
    (void)state;
    assert_null(lh_calloc(SIZE_MAX / 2, 3));
    assert_null(lh_malloc(SIZE_MAX));
    assert_null(lh_malloc(SIZE_MAX - 8));
}

static void realloc_keeps_content(void **state)
{
    char *p = lh_realloc(NULL, 4);

    (void)state;
    memcpy(p, "abcd", 4);
    p = lh_realloc(p, 1000);
    assert_memory_equal(p, "abcd", 4);
    p = lh_realloc(p, 2);
    assert_memory_equal(p, "ab", 2);
    assert_null(lh_realloc(p, 0));
}

static void realloc_failure_keeps_the_old(void **state)
{
    char *p = lh_strdup("abc");

    (void)state;
    lh_mem_fail_at(1);
    assert_null(lh_realloc(p, 100));
    assert_string_equal(p, "abc");
    lh_free(p);
}

static void nth_allocation_fails_once(void **state)
{
    void *a, *b, *c;

    (void)state;
    lh_mem_fail_at(2);
    a = lh_malloc(1);
    b = lh_malloc(1);
    c = lh_malloc(1);
    assert_non_null(a);
    assert_null(b);
    assert_non_null(c);
    lh_free(a);
    lh_free(c);
    lh_mem_fail_at(1);
    lh_mem_fail_at(0);
    a = lh_malloc(1);
    assert_non_null(a);
    lh_free(a);
}

static void copies(void **state)
{
    char *a = lh_strdup("abc"), *b = lh_strndup("abcdef", 3), *c = lh_memdup("a\0c", 4);
    char *d = lh_asprintf("%d-%s", 7, "x"), *e = lh_strndup("ab", 100);

    (void)state;
    assert_string_equal(a, "abc");
    assert_string_equal(b, "abc");
    assert_memory_equal(c, "a\0c", 4);
    assert_string_equal(d, "7-x");
    assert_string_equal(e, "ab");
    lh_free(a);
    lh_free(b);
    lh_free(c);
    lh_free(d);
    lh_free(e);
}

/* Freed and grown blocks keep nothing; a block that lives is found, so the search works. */
static void freed_memory_is_wiped(void **state)
{
    enum { N = 40 };
    unsigned char masked[N];
    char *p = lh_malloc(N);

    (void)state;
    lh_test_canary(masked, N);
    lh_test_canary_reveal(masked, N, p);
    assert_int_equal(lh_test_residue(masked, N), 1);
    p = lh_realloc(p, 4096);
    assert_int_equal(lh_test_residue(masked, N), 1);
    lh_free(p);
    assert_int_equal(lh_test_residue(masked, N), 0);
}

/* Of every small size and a few beyond: what comes back from the store of spare blocks is zero
 * where zero was asked for, and whole. */
static void blocks_are_used_again_whole(void **state)
{
    enum { SIZES = 600 };
    static unsigned char *p[SIZES];
    size_t live = lh_mem_live_blocks();

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (size_t n = 0; n < SIZES; n++) {
            p[n] = lh_calloc(n, 1);
            assert_non_null(p[n]);
            for (size_t i = 0; i < n; i++)
                assert_int_equal(p[n][i], 0);
            memset(p[n], 0xaa, n);
        }
        for (size_t n = SIZES; n-- > 0;) {
            for (size_t i = 0; i < n; i++)
                assert_int_equal(p[n][i], 0xaa);
            lh_free(p[n]);
        }
    }
    assert_int_equal(lh_mem_live_blocks(), live);
}

static void *free_all(void *arg)
{
    void **p = arg;

    for (int i = 0; i < 100; i++)
        lh_free(p[i]);
    for (int i = 0; i < 100; i++)
        p[i] = lh_calloc(1, 40);
    return NULL;
}

/* As libcurl's resolver thread does. */
static void blocks_belong_to_no_thread(void **state)
{
    size_t live = lh_mem_live_blocks();
    unsigned long count = lh_mem_count();
    void *p[100];
    pthread_t t;

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(p); i++)
        p[i] = lh_malloc(40);
    assert_int_equal(pthread_create(&t, NULL, free_all, p), 0);
    assert_int_equal(pthread_join(t, NULL), 0);
    assert_int_equal(lh_mem_live_blocks(), live + LH_ARRAY_LEN(p));
    assert_int_equal(lh_mem_count(), count + 2 * LH_ARRAY_LEN(p));
    for (size_t i = 0; i < LH_ARRAY_LEN(p); i++)
        lh_free(p[i]);
    assert_int_equal(lh_mem_live_blocks(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_aligned_and_counted),
        cmocka_unit_test(overflow_is_refused),
        cmocka_unit_test(realloc_keeps_content),
        cmocka_unit_test(realloc_failure_keeps_the_old),
        cmocka_unit_test(nth_allocation_fails_once),
        cmocka_unit_test(copies),
        cmocka_unit_test(freed_memory_is_wiped),
        cmocka_unit_test(blocks_are_used_again_whole),
        cmocka_unit_test(blocks_belong_to_no_thread),
    };

    lh_mem_init();
    return cmocka_run_group_tests_name("core/mem", tests, NULL, NULL);
}
