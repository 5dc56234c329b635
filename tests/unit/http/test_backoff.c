/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "leasehold/core/mem.h"
#include "leasehold/core/rand.h"
#include "leasehold/http/backoff.h"

static struct range {
    const char *name;
    struct lh_backoff b;
    unsigned failures; /* before the one that is looked at */
    lh_ms at_least, lo, hi;
} ranges[] = {
    {"the first delay is below the base", {250, 60000, 0, 0}, 0, 0, 0, 250},
    {"each failure doubles", {250, 60000, 0, 0}, 3, 0, 0, 2000},
    {"up to the cap", {250, 60000, 0, 0}, 30, 0, 0, 60000},
    {"a cap between two doublings", {1000, 5000, 0, 0}, 9, 0, 0, 5000},
    {"never below the floor", {250, 60000, 200, 0}, 0, 0, 200, 250},
    {"Retry-After is obeyed", {250, 60000, 0, 0}, 0, 7000, 7000, 7000},
    {"Retry-After past the cap", {250, 1000, 0, 0}, 5, 7000, 7000, 7000},
    {"a base of nothing", {0, 60000, 0, 0}, 0, 0, 0, 1},
    {"the largest cap", {250, INT64_MAX, 0, 0}, 200, 0, 0, INT64_MAX},
};

static void delays_fill_their_range(void **state)
{
    const struct range *r = *state;
    lh_ms least = INT64_MAX, most = -1;

    lh_rand_seed(7);
    for (int i = 0; i < 2000; i++) {
        struct lh_backoff b = r->b;
        lh_ms delay;

        for (unsigned n = 0; n < r->failures; n++)
            lh_backoff_next(&b, 0);
        delay = lh_backoff_next(&b, r->at_least);
        least = delay < least ? delay : least;
        most = delay > most ? delay : most;
    }
    assert_true(least >= r->lo && most <= r->hi);
    /* Full jitter: the whole range is used. */
    assert_true(least <= r->lo + (r->hi - r->lo) / 50);
    assert_true(most >= r->hi - (r->hi - r->lo) / 50);
}

static void a_success_starts_anew(void **state)
{
    struct lh_backoff b = {250, 60000, 0, 0};

    (void)state;
    for (int i = 0; i < 20; i++)
        lh_backoff_next(&b, 0);
    lh_backoff_reset(&b);
    for (int i = 0; i < 100; i++) {
        struct lh_backoff once = b;

        assert_true(lh_backoff_next(&once, 0) <= 250);
    }
}

static void a_breaker_opens_probes_and_closes(void **state)
{
    struct lh_breaker b = {.threshold = 3, .open_ms = 1000};

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_true(lh_breaker_allows(&b, 0));
        lh_breaker_failed(&b, 0);
    }
    lh_breaker_ok(&b); /* in a row is what counts */
    for (int i = 0; i < 3; i++) {
        assert_true(lh_breaker_allows(&b, 0));
        lh_breaker_failed(&b, 0);
    }
    assert_false(lh_breaker_allows(&b, 999));
    assert_true(lh_breaker_allows(&b, 1000)); /* the probe */
    assert_false(lh_breaker_allows(&b, 1001));
    lh_breaker_failed(&b, 1500);
    assert_false(lh_breaker_allows(&b, 2499));
    assert_true(lh_breaker_allows(&b, 2500));
    assert_true(lh_breaker_allows(&b, 3500)); /* that probe was given up without a result */
    lh_breaker_ok(&b);
    assert_true(lh_breaker_allows(&b, 3501));
    assert_true(lh_breaker_allows(&b, 3501));
}

int main(void)
{
    struct CMUnitTest tests[LH_ARRAY_LEN(ranges) + 2];
    size_t n = 0;

    for (size_t i = 0; i < LH_ARRAY_LEN(ranges); i++)
        tests[n++] = (struct CMUnitTest){.name = ranges[i].name,
                                         .test_func = delays_fill_their_range,
                                         .initial_state = &ranges[i]};
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(a_success_starts_anew);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(a_breaker_opens_probes_and_closes);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
