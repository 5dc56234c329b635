/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "breaker.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/rand.h"
#include "leasehold/lease/schedule.h"

enum { NOW = 1000 * 1000, MAX = 3, WINDOW = 60 * 1000, SETTLE = 5 * 1000, TERM = 7 };

static const struct breaker_rules rules = {
    .max = MAX, .percent = 10, .window_ms = WINDOW, .settle_ms = SETTLE};

static struct breaker *b;

static int setup(void **state)
{
    (void)state;
    lh_rand_seed(11);
    return breaker_new(&rules, TERM, &b, NULL);
}

static int teardown(void **state)
{
    (void)state;
    breaker_free(b);
    return 0;
}

/* n deletions of keys from..from+n-1, all at once. */
static void want(int from, int n, size_t total, lh_ms now)
{
    char key[16];

    for (int i = from; i < from + n; i++) {
        snprintf(key, sizeof(key), "ns/%d", i);
        assert_int_equal(breaker_want(b, key, total, now, NULL), 0);
    }
}

static void back(int i)
{
    char key[16];

    snprintf(key, sizeof(key), "ns/%d", i);
    breaker_back(b, key);
}

static size_t drain(lh_ms now)
{
    size_t n = 0;
    char *key;

    while ((key = breaker_next(b, now))) {
        lh_free(key);
        n++;
    }
    return n;
}

static bool is_open(void)
{
    struct breaker_info info;

    breaker_info(b, &info);
    return info.open;
}

static void a_few_go_after_they_settled(void **state)
{
    char *key;

    (void)state;
    want(0, 2, 100, NOW);
    want(0, 1, 100, NOW + 1); /* again: nothing changes */
    assert_int_equal(breaker_at(b, NOW), NOW + SETTLE);
    assert_null(breaker_next(b, NOW + SETTLE - 1));
    key = breaker_next(b, NOW + SETTLE);
    assert_string_equal(key, "ns/0");
    lh_free(key);
    assert_int_equal(drain(NOW + SETTLE), 1);
    assert_int_equal(breaker_at(b, NOW + SETTLE), LH_NEVER);
}

static void of_a_mass_not_one_goes(void **state)
{
    (void)state;
    want(0, MAX + 1, MAX + 1, NOW);
    assert_true(is_open());
    assert_int_equal(drain(NOW + 100 * WINDOW), 0);
    assert_int_equal(breaker_at(b, NOW), LH_NEVER);
}

static void a_trickle_past_the_limit_is_a_mass_too(void **state)
{
    (void)state;
    for (int i = 0; i < MAX; i++) {
        want(i, 1, 20, NOW + i * 10000);
        assert_int_equal(drain(NOW + i * 10000 + SETTLE), 1);
    }
    want(MAX, 1, 20, NOW + MAX * 10000);
    assert_true(is_open());
    assert_int_equal(drain(NOW + 100 * WINDOW), 0);
}

static void the_window_moves(void **state)
{
    (void)state;
    want(0, MAX, 20, NOW);
    assert_int_equal(drain(NOW + SETTLE), MAX);
    want(MAX, MAX, 20, NOW + SETTLE + WINDOW);
    assert_false(is_open());
    assert_int_equal(drain(NOW + 2 * SETTLE + WINDOW), MAX);
}

static void a_big_cluster_may_breathe(void **state)
{
    (void)state;
    want(0, 100, 1000, NOW);
    assert_false(is_open());
    want(100, 1, 1000, NOW);
    assert_true(is_open());
}

static void what_is_back_ends_the_hold(void **state)
{
    (void)state;
    want(0, MAX + 1, MAX + 1, NOW);
    for (int i = 0; i < MAX; i++)
        back(i);
    assert_true(is_open()); /* one is still missing: a person looks at it */
    back(MAX);
    back(MAX); /* twice is once */
    assert_false(is_open());
    want(50, 1, 20, NOW + 1);
    assert_int_equal(drain(NOW + 1 + SETTLE), 1);
}

static void only_the_number_of_this_hold_confirms(void **state)
{
    struct breaker_info info;

    (void)state;
    assert_false(breaker_confirm(b, "7-0"));
    want(0, MAX + 1, MAX + 1, NOW);
    breaker_info(b, &info);
    assert_string_equal(info.id, "7-1");
    assert_int_equal(info.waiting, MAX + 1);
    assert_false(breaker_confirm(b, NULL));
    assert_false(breaker_confirm(b, ""));
    assert_false(breaker_confirm(b, "7-2"));
    assert_false(breaker_confirm(b, "true"));
    assert_true(is_open());
    assert_true(breaker_confirm(b, "7-1"));
    assert_int_equal(drain(NOW), MAX + 1);

    /* The next hold is another. */
    want(100, MAX + 1, MAX + 1, NOW);
    assert_false(breaker_confirm(b, "7-1"));
    assert_true(breaker_confirm(b, "7-2"));
}

static void what_comes_after_a_confirmation_is_judged_anew(void **state)
{
    (void)state;
    want(0, MAX + 1, MAX + 1, NOW);
    assert_true(breaker_confirm(b, "7-1"));
    want(100, MAX + 1, MAX + 1, NOW);
    assert_true(is_open());
    assert_int_equal(drain(NOW + WINDOW), MAX + 1); /* those that were confirmed */
    assert_true(is_open());
    back(0);
    for (int i = 100; i <= 100 + MAX; i++)
        back(i);
    assert_false(is_open());
}

/* The same again, written as plainly as can be. */
enum { KEYS = 24, STEPS = 20000 };

static struct {
    bool waits[KEYS], free[KEYS]; /* free: released */
    lh_ms since[KEYS];
    int order[KEYS]; /* of coming */
    lh_ms made[STEPS];
    int n_made, next;
    bool open;
    int holds;
} model;

static int model_counted(lh_ms now)
{
    int n = 0;

    for (int i = 0; i < KEYS; i++)
        n += model.waits[i] && !model.free[i];
    for (int i = 0; i < model.n_made; i++)
        n += model.made[i] + WINDOW > now;
    return n;
}

static int model_waiting(void)
{
    int n = 0;

    for (int i = 0; i < KEYS; i++)
        n += model.waits[i];
    return n;
}

static void model_want(int k, lh_ms now)
{
    if (model.waits[k])
        return;
    model.waits[k] = true;
    model.free[k] = false;
    model.since[k] = now;
    model.order[k] = model.next++;
    if (!model.open && model_counted(now) > MAX) {
        model.open = true;
        model.holds++;
    }
}

static void model_back(int k)
{
    if (!model.waits[k])
        return;
    model.waits[k] = false;
    if (model_waiting() == 0)
        model.open = false;
}

static void model_confirm(void)
{
    for (int i = 0; i < KEYS; i++)
        model.free[i] = model.waits[i];
    model.open = false;
    model.n_made = 0;
}

/* Which may go now, -1: none. */
static int model_pop(lh_ms now)
{
    int k = -1;

    for (int i = 0; i < KEYS; i++) {
        if (model.waits[i] && (k < 0 || model.order[i] < model.order[k]))
            k = i;
    }
    if (k < 0 || (!model.free[k] && (model.open || model.since[k] + SETTLE > now)))
        return -1;
    if (!model.free[k])
        model.made[model.n_made++] = now;
    model.waits[k] = false;
    return k;
}

static void step(int k, uint32_t dice, lh_ms now)
{
    struct breaker_info info;
    char want_key[16], *key;

    snprintf(want_key, sizeof(want_key), "ns/%d", k);
    if (dice < 30) {
        assert_int_equal(breaker_want(b, want_key, 20, now, NULL), 0);
        model_want(k, now);
    } else if (dice < 50) {
        breaker_back(b, want_key);
        model_back(k);
    } else if (dice < 95) {
        key = breaker_next(b, now);
        k = model_pop(now);
        snprintf(want_key, sizeof(want_key), "ns/%d", k);
        if (k < 0)
            assert_null(key);
        else
            assert_string_equal(key, want_key);
        lh_free(key);
    } else if (model.open) {
        breaker_info(b, &info);
        assert_true(breaker_confirm(b, info.id));
        model_confirm();
    }
}

static void does_as_its_model(void **state)
{
    struct breaker_info info;
    lh_ms now = NOW;
    int opened = 0;

    (void)state;
    memset(&model, 0, sizeof(model));
    for (int i = 0; i < STEPS; i++) {
        step((int)(lh_rand_between(0, KEYS - 1)), (uint32_t)lh_rand_between(0, 99), now);
        breaker_info(b, &info);
        assert_int_equal(info.open, model.open);
        assert_int_equal(info.waiting, model_waiting());
        assert_int_equal(info.holds, model.holds);
        opened += info.open;
        now += lh_rand_between(0, 5999);
    }
    assert_true(opened > STEPS / 20 && opened < STEPS);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_few_go_after_they_settled),
        T(of_a_mass_not_one_goes),
        T(a_trickle_past_the_limit_is_a_mass_too),
        T(the_window_moves),
        T(a_big_cluster_may_breathe),
        T(what_is_back_ends_the_hold),
        T(only_the_number_of_this_hold_confirms),
        T(what_comes_after_a_confirmation_is_judged_anew),
        T(does_as_its_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
