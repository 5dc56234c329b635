/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "leasehold/core/err.h"
#include "leasehold/core/mem.h"
#include "leasehold/lease/schedule.h"

enum { T0 = 1000000, HOUR = 3600 * 1000 };

static const struct lh_failures NO_FAILURES;

#define LIFE(...)                                                                                  \
    {                                                                                              \
        .asked_ms = HOUR, __VA_ARGS__                                                              \
    }
#define FAILED(count, until)                                                                       \
    {                                                                                              \
        .n = (count), .next = T0 + (until)                                                         \
    }

/* With the dice at both ends the act falls on both bounds, which are relative to the start. */
static struct life_row {
    const char *name;
    struct lh_life life; /* start and dice are set by the test */
    struct lh_failures failed;
    enum lh_act act;
    lh_ms lo, hi;
} life_rows[] = {
    {"what can be renewed is, at 2/3 +-10 %",
     LIFE(.ms = HOUR, .renewable = true),
     {0},
     LH_ACT_RENEW,
     2160000,
     2640000},
    {"so is a short one", LIFE(.ms = 20000, .renewable = true), {0}, LH_ACT_RENEW, 12000, 14667},
    {"what cannot be renewed is replaced at 0.85 +-5 %",
     LIFE(.ms = HOUR),
     {0},
     LH_ACT_REPLACE,
     2907000,
     3213000},
    {"at the sign of its end it is replaced at once",
     LIFE(.ms = 7000, .renewable = true, .ending = true),
     {0},
     LH_ACT_REPLACE,
     0,
     0},
    {"a renewal that failed waits for its backoff", LIFE(.ms = HOUR, .renewable = true),
     FAILED(3, 2800000), LH_ACT_RENEW, 2800000, 2800000},
    {"a renewal that fails until 0.85 becomes one replacement", LIFE(.ms = HOUR, .renewable = true),
     FAILED(9, 3060001), LH_ACT_REPLACE, 3060000, 3060000},
    {"what has no end is left alone",
     LIFE(.ms = 0, .renewable = true),
     {0},
     LH_ACT_NONE,
     LH_NEVER,
     LH_NEVER},
    {"a life of absurd length does not overflow",
     LIFE(.ms = INT64_MAX, .renewable = true),
     {0},
     LH_ACT_RENEW,
     LH_NEVER,
     LH_NEVER},
};

static void lives(void **state)
{
    const struct life_row *r = *state;
    for (int end = 0; end < 2; end++) {
        struct lh_life l = r->life;
        struct lh_plan p;
        lh_ms want = end ? r->hi : r->lo;

        l.start = T0;
        l.dice = end ? LH_DICE_MAX : 0;
        p = lh_plan_life(&l, &r->failed);
        assert_int_equal(p.act, r->act);
        if (want == LH_NEVER)
            assert_true(p.at > T0 + HOUR);
        else
            assert_in_range(p.at - T0 + 2, want, want + 2); /* thirds are rounded */
    }
}

static void jitter_is_uniform_between_the_bounds(void **state)
{
    struct lh_life l = {.start = 0, .ms = 30000, .renewable = true};
    lh_ms last = -1;

    (void)state;
    for (uint32_t d = 0; d <= LH_DICE_MAX; d += LH_DICE_MAX / 16) {
        l.dice = d;
        assert_true(lh_plan_life(&l, &NO_FAILURES).at > last);
        last = lh_plan_life(&l, &NO_FAILURES).at;
    }
    assert_int_equal(last, 22000);
}

static struct end_row {
    const char *name;
    int64_t asked, given;
    bool capped, ending;
} end_rows[] = {
    {"as much as asked is no sign", 20000, 20000, false, false},
    {"more than asked is no sign", 20000, 30000, false, false},
    {"less than asked is the sign of the end", 20000, 16000, false, true},
    {"a warning that it was capped is the sign of the end", 20000, 20000, true, true},
    {"no end at all is no sign", 20000, 0, false, false},
};

static void signs(void **state)
{
    const struct end_row *r = *state;
    struct lh_life l = {.start = 1, .ms = r->asked, .asked_ms = r->asked, .renewable = true};

    lh_life_renewed(&l, 500, r->given, true, r->capped, 7);
    assert_int_equal(l.ending, r->ending);
    assert_int_equal(l.start, 500);
    assert_int_equal(l.ms, r->given);
    assert_int_equal(l.asked_ms, r->asked); /* the next one is measured by the first, too */
}

static struct backoff_row {
    const char *name;
    int code;
    int retry_ms;
    bool published;
    unsigned before; /* failures in a row before this one */
    lh_ms lo, hi;
} backoff_rows[] = {
    {"first failure", LH_E_UNAVAILABLE, 0, true, 0, 250, 500},
    {"second failure", LH_E_UNAVAILABLE, 0, true, 1, 250, 1000},
    {"many failures stop at a minute", LH_E_UNAVAILABLE, 0, true, 40, 250, 60000},
    {"an outage before the first publication: five seconds", LH_E_UNAVAILABLE, 0, false, 40, 250,
     5000},
    {"403 goes to five minutes", LH_E_DENIED, 0, true, 40, 250, 300000},
    {"404 goes to five minutes", LH_E_NOTFOUND, 0, true, 40, 250, 300000},
    {"403 before the first publication: five seconds", LH_E_DENIED, 0, false, 40, 250, 5000},
    {"404 before the first publication: five seconds", LH_E_NOTFOUND, 0, false, 40, 250, 5000},
    {"400 before the first publication: five seconds", LH_E_INVALID, 0, false, 40, 250, 5000},
    {"Retry-After is obeyed", LH_E_BUSY, 9000, true, 0, 9000, 9000},
    {"Retry-After shorter than the backoff does not shorten it", LH_E_BUSY, 1, true, 40, 250,
     60000},
    {"Retry-After of a year is capped", LH_E_BUSY, INT32_MAX, true, 0, 600000, 600000},
};

static void backoff(void **state)
{
    const struct backoff_row *r = *state;

    for (int end = 0; end < 2; end++) {
        struct lh_failures f = {.n = r->before};

        lh_failures_note(&f, T0, r->code, r->retry_ms, r->published, end ? LH_DICE_MAX : 0);
        assert_int_equal(f.next - T0, end ? r->hi : r->lo);
        assert_int_equal(f.n, r->before + 1);
    }
}

static void a_wake_shortens_backoff_but_not_retry_after(void **state)
{
    struct lh_failures f = {.n = 3, .next = T0 + 50000};
    struct lh_failures asked = {.n = 3, .next = T0 + 50000, .asked_until = T0 + 9000};
    struct lh_failures none = {0};

    (void)state;
    lh_failures_wake(&f, T0 + 10);
    lh_failures_wake(&asked, T0 + 10);
    lh_failures_wake(&none, T0 + 10);
    assert_int_equal(f.next, T0 + 10);
    assert_int_equal(asked.next, T0 + 9000);
    assert_int_equal(none.next, 0);
}

struct spread_row {
    const char *name;
    lh_ms (*at)(uint32_t dice);
    lh_ms lo, hi;
};

static lh_ms at_poll(uint32_t d)
{
    return lh_plan_poll(T0, 300000, d) - T0;
}

static lh_ms at_verify(uint32_t d)
{
    return lh_plan_verify(T0, 120000, d) - T0;
}

static lh_ms at_health(uint32_t d)
{
    return lh_plan_health(T0, d) - T0;
}

static lh_ms at_certificate(uint32_t d)
{
    return lh_plan_certificate(&(struct lh_life){.start = T0, .ms = 90000, .dice = d}) - T0;
}

static struct spread_row spread_rows[] = {
    {"values without a lease are polled at refresh +-10 %", at_poll, 270000, 330000},
    {"token is looked up at verify +-10 %", at_verify, 108000, 132000},
    {"health is asked every second +-20 %", at_health, 800, 1200},
    {"certificate is issued again at 2/3 +-5 %", at_certificate, 57000, 63000},
};

static void spreads(void **state)
{
    const struct spread_row *r = *state;

    assert_int_equal(r->at(0), r->lo);
    assert_int_equal(r->at(LH_DICE_MAX), r->hi);
    assert_in_range(r->at(LH_DICE_MAX / 2), r->lo, r->hi);
}

enum { WALL = 1700000000 };
#define WALL_MS (WALL * 1000LL)

static struct rotation_row {
    const char *name;
    struct lh_rotation r; /* sent_at and done_at relative to now */
    lh_ms lo, hi;         /* relative to now */
} rotation_rows[] = {
    {"by last rotation and period", {WALL_MS - 3456, 10000, 6000, -5, 0}, 6564, 6644},
    {"by ttl where the period is unknown", {WALL_MS - 3456, 0, 6000, -5, 0}, 6015, 6095},
    {"by ttl where the last rotation is unknown", {0, 10000, 6000, -5, 0}, 6015, 6095},
    {"by ttl where the clocks differ by a minute",
     {WALL_MS - 3456 + 60000, 10000, 6000, -5, 0},
     6015,
     6095},
    {"by ttl where the clocks differ the other way",
     {WALL_MS - 3456 - 60000, 10000, 6000, -5, 0},
     6015,
     6095},
    {"a second of rounding is no difference", {WALL_MS - 3001, 10000, 6000, -5, 0}, 7019, 7099},
    {"overdue is at once", {WALL_MS - 10500, 10000, 0, -5, 0}, -480, -400},
    {"nothing known", {0, 0, 0, -5, 0}, LH_NEVER, LH_NEVER},
};

static void rotations(void **state)
{
    const struct rotation_row *r = *state;

    for (int end = 0; end < 2; end++) {
        struct lh_rotation rot = r->r;
        lh_ms at;

        rot.sent_at += T0;
        rot.done_at += T0;
        at = lh_plan_rotation(&rot, T0, WALL_MS, end ? LH_DICE_MAX : 0);
        if (r->lo == LH_NEVER)
            assert_true(at == LH_NEVER);
        else
            assert_in_range(at - T0 + 100000, r->lo + 100000, r->hi + 100000);
    }
}

static void an_old_password_is_asked_again_fast_then_slower(void **state)
{
    static const lh_ms want[] = {200, 200, 400, 800, 1600, 3200, 5000, 5000};
    static const lh_ms after[] = {20, 4999, 5000, 5400, 6200, 7800, 11000, 900000};
    lh_ms wait = 0;

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(want); i++) {
        wait = lh_rotation_again(T0, T0 + after[i], wait);
        assert_int_equal(wait, want[i]);
    }
}

static struct wake_row {
    const char *name;
    unsigned k, n, rps;
    lh_ms at;
} wake_rows[] = {
    {"the first goes at once", 0, 10, 200, 0},
    {"ten are spread over a second", 9, 10, 200, 900},
    {"a thousand are spread by the store's limit", 999, 1000, 200, 4995},
    {"no limit is a second", 999, 1000, 0, 999},
    {"nobody waits", 0, 0, 200, 0},
};

static void wakes(void **state)
{
    const struct wake_row *r = *state;

    assert_int_equal(lh_plan_wake(r->k, r->n, r->rps), r->at);
}

static void overlap_ends_the_old_or_leaves_it_to_its_own_end(void **state)
{
    struct lh_life old = {.start = T0, .ms = 60000};

    (void)state;
    assert_int_equal(lh_plan_overlap(&old, T0 + 20000, 30000), T0 + 50000);
    assert_true(lh_plan_overlap(&old, T0 + 20000, 300000) == LH_NEVER);
}

static void gone_is_believed_once_until_proved_otherwise(void **state)
{
    struct lh_early e = {0};
    struct lh_life l = {.start = T0, .ms = 100000};

    (void)state;
    assert_true(lh_early_allowed(&e, T0));
    lh_early_issued(&e, &l);
    assert_false(lh_early_allowed(&e, T0 + 84999));
    assert_true(lh_early_allowed(&e, T0 + 85000));
    e.proved = true;
    assert_true(lh_early_allowed(&e, T0));
}

static void lost_answers_are_tried_once_more_then_paced(void **state)
{
    (void)state;
    assert_int_equal(lh_plan_lost(1, T0, HOUR), T0);
    assert_int_equal(lh_plan_lost(2, T0, HOUR), T0 + HOUR);
    assert_int_equal(lh_plan_lost(2, T0, 0), T0 + 300000);
}

#define ROW(fn, rows, i)                                                                           \
    (struct CMUnitTest)                                                                            \
    {                                                                                              \
        rows[i].name, fn, NULL, NULL, &rows[i]                                                     \
    }

int main(void)
{
    struct CMUnitTest tests[128] = {
        cmocka_unit_test(jitter_is_uniform_between_the_bounds),
        cmocka_unit_test(a_wake_shortens_backoff_but_not_retry_after),
        cmocka_unit_test(an_old_password_is_asked_again_fast_then_slower),
        cmocka_unit_test(overlap_ends_the_old_or_leaves_it_to_its_own_end),
        cmocka_unit_test(gone_is_believed_once_until_proved_otherwise),
        cmocka_unit_test(lost_answers_are_tried_once_more_then_paced),
    };
    size_t n = 6;

    for (size_t i = 0; i < LH_ARRAY_LEN(life_rows); i++)
        tests[n++] = ROW(lives, life_rows, i);
    for (size_t i = 0; i < LH_ARRAY_LEN(end_rows); i++)
        tests[n++] = ROW(signs, end_rows, i);
    for (size_t i = 0; i < LH_ARRAY_LEN(backoff_rows); i++)
        tests[n++] = ROW(backoff, backoff_rows, i);
    for (size_t i = 0; i < LH_ARRAY_LEN(spread_rows); i++)
        tests[n++] = ROW(spreads, spread_rows, i);
    for (size_t i = 0; i < LH_ARRAY_LEN(rotation_rows); i++)
        tests[n++] = ROW(rotations, rotation_rows, i);
    for (size_t i = 0; i < LH_ARRAY_LEN(wake_rows); i++)
        tests[n++] = ROW(wakes, wake_rows, i);
    return _cmocka_run_group_tests("schedule", tests, n, NULL, NULL);
}
