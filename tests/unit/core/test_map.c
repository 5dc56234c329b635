/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>

#include "leasehold/core/map.h"
#include "leasehold/core/mem.h"

static struct lh_map *map;

static int setup(void **state)
{
    (void)state;
    return lh_map_new(&map, NULL);
}

static int teardown(void **state)
{
    (void)state;
    lh_map_free(map, NULL);
    map = NULL;
    return 0;
}

static struct lh_str key_of(int i, char buf[16])
{
    return (struct lh_str){buf, (size_t)snprintf(buf, 16, "key-%d", i)};
}

static void *value_of(int i)
{
    return (void *)(intptr_t)(i + 1);
}

static void sets_gets_removes(void **state)
{
    char k[16];
    void *old = (void *)1;

    (void)state;
    assert_null(lh_map_get(map, LH_STR("absent")));
    assert_null(lh_map_remove(map, LH_STR("absent")));
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(lh_map_set(map, key_of(i, k), value_of(i), &old, NULL), 0);
        assert_null(old);
    }
    assert_int_equal(lh_map_len(map), 1000);
    assert_int_equal(lh_map_set(map, key_of(5, k), value_of(77), &old, NULL), 0);
    assert_ptr_equal(old, value_of(5));
    assert_int_equal(lh_map_len(map), 1000);
    for (int i = 0; i < 1000; i += 2)
        assert_ptr_equal(lh_map_remove(map, key_of(i, k)), value_of(i));
    for (int i = 0; i < 1000; i++)
        assert_ptr_equal(lh_map_get(map, key_of(i, k)),
                         i % 2 == 0 ? NULL : value_of(i == 5 ? 77 : i));
    assert_int_equal(lh_map_len(map), 500);
}

static void keys_are_bytes(void **state)
{
    (void)state;
    assert_int_equal(lh_map_set(map, LH_STR("a\0b"), value_of(1), NULL, NULL), 0);
    assert_int_equal(lh_map_set(map, LH_STR(""), value_of(2), NULL, NULL), 0);
    assert_null(lh_map_get(map, LH_STR("a")));
    assert_ptr_equal(lh_map_get(map, LH_STR("a\0b")), value_of(1));
    assert_ptr_equal(lh_map_get(map, (struct lh_str){NULL, 0}), value_of(2));
}

/* A queue adds and removes for ever: tombstones must not make the table grow or the search long. */
static void churn_does_not_grow(void **state)
{
    char k[16];
    unsigned long before;

    (void)state;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(lh_map_set(map, key_of(i, k), value_of(i), NULL, NULL), 0);
        lh_map_remove(map, key_of(i, k));
    }
    before = lh_mem_count();
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(lh_map_set(map, key_of(i, k), value_of(i), NULL, NULL), 0);
        lh_map_remove(map, key_of(i, k));
    }
    assert_true(lh_mem_count() - before < 10000 + 10000 / 4);
}

static void iterates_and_removes_the_current(void **state)
{
    char k[16];
    size_t it = 0, seen = 0;
    struct lh_str key;
    void *value;
    intptr_t sum = 0;

    (void)state;
    for (int i = 0; i < 100; i++)
        assert_int_equal(lh_map_set(map, key_of(i, k), value_of(i), NULL, NULL), 0);
    while (lh_map_next(map, &it, &key, &value)) {
        seen++;
        sum += (intptr_t)value;
        assert_ptr_equal(lh_map_remove(map, key), value);
    }
    assert_int_equal(seen, 100);
    assert_int_equal(sum, 5050);
    assert_int_equal(lh_map_len(map), 0);
}

static int freed;

static void count_free(void *value)
{
    freed += (int)(intptr_t)value;
}

static void frees_values(void **state)
{
    struct lh_map *m = NULL;

    (void)state;
    assert_int_equal(lh_map_new(&m, NULL), 0);
    assert_int_equal(lh_map_set(m, LH_STR("a"), (void *)3, NULL, NULL), 0);
    assert_int_equal(lh_map_set(m, LH_STR("b"), (void *)4, NULL, NULL), 0);
    lh_map_remove(m, LH_STR("a"));
    lh_map_free(m, count_free);
    assert_int_equal(freed, 4);
    lh_map_free(NULL, count_free);
}

static void torture(void **state)
{
    size_t live = lh_mem_live_blocks();
    unsigned long nth = 0;
    bool failed = true;

    (void)state;
    while (failed) {
        struct lh_map *m = NULL;
        char k[16];
        int rc;

        failed = false;
        lh_mem_fail_at(++nth);
        rc = lh_map_new(&m, NULL);
        for (int i = 0; rc == 0 && i < 20; i++) {
            rc = lh_map_set(m, key_of(i, k), value_of(i), NULL, NULL);
            if (rc < 0)
                assert_int_equal(lh_map_len(m), i);
        }
        lh_mem_fail_at(0);
        failed = rc < 0;
        if (failed)
            assert_int_equal(rc, -LH_E_NOMEM);
        lh_map_free(m, NULL);
        assert_int_equal(lh_mem_live_blocks(), live);
    }
    assert_true(nth > 20);
}

struct named {
    int n;
    char name[16];
};

/* Values that hold their keys: replaced, the old one may go. */
static void a_borrowing_map_uses_the_key_of_the_value_that_is_in_it(void **state)
{
    struct named *v[100], *again;
    struct lh_map *m = NULL;
    struct lh_str key;
    size_t it = 0, seen = 0;
    void *old, *p;

    (void)state;
    assert_int_equal(lh_map_new_borrowing(&m, NULL), 0);
    for (int i = 0; i < 100; i++) {
        v[i] = lh_calloc(1, sizeof(*v[i]));
        assert_non_null(v[i]);
        v[i]->n = i;
        key_of(i, v[i]->name);
        assert_int_equal(lh_map_set(m, lh_str(v[i]->name), v[i], NULL, NULL), 0);
    }
    again = lh_memdup(v[7], sizeof(*v[7]));
    assert_int_equal(lh_map_set(m, lh_str(again->name), again, &old, NULL), 0);
    assert_ptr_equal(old, v[7]);
    lh_free(old);
    v[7] = again;
    assert_ptr_equal(lh_map_get(m, LH_STR("key-7")), again);
    assert_ptr_equal(lh_map_remove(m, lh_str(v[3]->name)), v[3]);
    lh_free(v[3]);
    while (lh_map_next(m, &it, &key, &p)) {
        assert_ptr_equal(key.p, ((struct named *)p)->name);
        seen++;
    }
    assert_int_equal(seen, 99);
    lh_map_free(m, lh_free);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sets_gets_removes, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_are_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(churn_does_not_grow, setup, teardown),
        cmocka_unit_test_setup_teardown(iterates_and_removes_the_current, setup, teardown),
        cmocka_unit_test(frees_values),
        cmocka_unit_test(a_borrowing_map_uses_the_key_of_the_value_that_is_in_it),
        cmocka_unit_test(torture),
    };

    return cmocka_run_group_tests_name("core/map", tests, NULL, NULL);
}
