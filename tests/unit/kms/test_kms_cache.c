/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include <stdio.h>

#include "cache.h"
#include "leasehold/core/mem.h"
#include "support.h"

static struct kms_cache_key key_of(unsigned i)
{
    struct kms_cache_key k;
    char text[16];

    snprintf(text, sizeof(text), "ct%u", i);
    assert_int_equal(kms_cache_key(LH_STR("id"), lh_str(text), &k, NULL), 0);
    return k;
}

static void put(struct kms_cache *c, unsigned i, lh_ms now)
{
    lh_auto_secret struct lh_secret *s = NULL;
    struct kms_cache_key k = key_of(i);

    assert_int_equal(lh_secret_copy(&i, sizeof(i), &s, NULL), 0);
    kms_cache_put(c, &k, s, now);
}

static bool has(struct kms_cache *c, unsigned i, lh_ms now)
{
    struct kms_cache_key k = key_of(i);
    const struct lh_secret *s = kms_cache_get(c, &k, now);

    return s && *(const unsigned *)lh_secret_expose_const(s) == i;
}

static void the_one_used_longest_ago_goes_first(void **state)
{
    struct kms_cache *c = NULL;

    (void)state;
    assert_int_equal(kms_cache_new(3, 1000, &c, NULL), 0);
    for (unsigned i = 0; i < 3; i++)
        put(c, i, 0);
    assert_true(has(c, 0, 1));
    put(c, 3, 2);
    assert_int_equal(kms_cache_len(c), 3);
    assert_false(has(c, 1, 3));
    assert_true(has(c, 0, 3) && has(c, 2, 3) && has(c, 3, 3));
    kms_cache_free(c);
}

static void age_counts_from_the_last_proof_not_from_the_last_use(void **state)
{
    struct kms_cache *c = NULL;

    (void)state;
    assert_int_equal(kms_cache_new(9, 1000, &c, NULL), 0);
    put(c, 1, 0);
    put(c, 2, 500);
    assert_true(has(c, 1, 999));
    assert_int_equal(kms_cache_expire(c, 999), 1000);
    assert_int_equal(kms_cache_expire(c, 1000), 1500);
    assert_int_equal(kms_cache_len(c), 1);
    assert_false(has(c, 2, 1500)); /* too old where nobody swept */
    assert_int_equal(kms_cache_expire(c, 1500), KMS_CACHE_NEVER);
    put(c, 3, 2000);
    put(c, 3, 2900); /* seen again */
    assert_true(has(c, 3, 3500));
    kms_cache_free(c);
}

static void none_are_kept_with_no_entries_nor_what_is_large(void **state)
{
    lh_auto_secret struct lh_secret *big = NULL;
    struct kms_cache_key k = key_of(1);
    struct kms_cache *c = NULL;

    (void)state;
    assert_int_equal(kms_cache_new(0, 1000, &c, NULL), 0);
    put(c, 1, 0);
    assert_int_equal(kms_cache_len(c), 0);
    kms_cache_free(c);
    assert_int_equal(kms_cache_new(5, 1000, &c, NULL), 0);
    assert_int_equal(lh_secret_new(KMS_CACHE_BYTES_MAX + 1, &big, NULL), 0);
    kms_cache_put(c, &k, big, 0);
    assert_int_equal(kms_cache_len(c), 0);
    kms_cache_free(c);
}

static void keys_differ_where_the_border_does(void **state)
{
    struct kms_cache_key a, b;

    (void)state;
    assert_int_equal(kms_cache_key(LH_STR("ab"), LH_STR("c"), &a, NULL), 0);
    assert_int_equal(kms_cache_key(LH_STR("a"), LH_STR("bc"), &b, NULL), 0);
    assert_memory_not_equal(a.b, b.b, sizeof(a.b));
}

static void memory_that_runs_out_keeps_nothing_and_leaks_nothing(void **state)
{
    (void)state;
    for (unsigned long n = 1;; n++) {
        struct kms_cache *c = NULL;
        unsigned long before = lh_mem_count();
        bool ended;

        assert_int_equal(kms_cache_new(2, 1000, &c, NULL), 0);
        before = lh_mem_count();
        lh_mem_fail_at(n);
        for (unsigned i = 0; i < 4; i++) {
            lh_auto_secret struct lh_secret *s = NULL;
            struct kms_cache_key k = {{(uint8_t)i}};

            if (lh_secret_copy(&i, sizeof(i), &s, NULL) == 0)
                kms_cache_put(c, &k, s, 0);
        }
        lh_mem_fail_at(0);
        ended = lh_mem_count() - before < n;
        assert_true(kms_cache_len(c) <= 2);
        kms_cache_free(c);
        if (ended)
            break;
    }
}

static size_t used(void)
{
    struct lh_secret_stats s;

    lh_secret_stats(&s);
    return s.used_bytes;
}

static void seeds_are_in_the_locked_region_and_go_from_it(void **state)
{
    struct kms_cache *c = NULL;
    size_t before = used();

    (void)state;
    assert_int_equal(kms_cache_new(500, 1000, &c, NULL), 0);
    for (unsigned i = 0; i < 1000; i++)
        put(c, i, 0);
    assert_int_equal(kms_cache_len(c), 500);
    assert_true(used() >= before + (size_t)500 * sizeof(unsigned));
    kms_cache_free(c);
    assert_int_equal(used(), before);
}

int main(void)
{
    ONE(the_one_used_longest_ago_goes_first);
    ONE(age_counts_from_the_last_proof_not_from_the_last_use);
    ONE(none_are_kept_with_no_entries_nor_what_is_large);
    ONE(keys_differ_where_the_border_does);
    ONE(memory_that_runs_out_keeps_nothing_and_leaks_nothing);
    ONE(seeds_are_in_the_locked_region_and_go_from_it);
    return rows_run("kms_cache");
}
