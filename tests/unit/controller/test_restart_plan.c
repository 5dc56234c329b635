/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "leasehold/core/mem.h"
#include "restart_plan.h"

#define OLD "00000000000000aa"
#define NEW "00000000000000bb"

enum { NOW = 1000 * 1000, SETTLE = 10 * 1000, GAP = 60 * 1000, LOOK = 30 * 1000 };

static const struct restart_want wants[] = {{"db", NEW}, {"api", OLD}};
static const struct restart_rules rules = {.settle_ms = SETTLE, .gap_ms = GAP};

static struct row {
    const char *name;
    const char *stamp;
    bool unknown, paused, rolling, no_budget;
    lh_ms changed_at, last_at, free_at;
    enum restart_act act;
    enum restart_wait why;
    lh_ms at;
} rows[] = {
    {"restarts when a hash is another", "api=" OLD " db=" OLD, .act = RESTART_NOW},
    {"does nothing when all are the same", "api=" OLD " db=" NEW, .act = RESTART_NONE},
    {"notes what is seen for the first time", NULL, .act = RESTART_NOTE},
    {"notes a projection that was added", "api=" OLD, .act = RESTART_NOTE},
    {"restarts for one although another is new", "db=" OLD, .act = RESTART_NOW},
    {"takes no name for a part of another", "xdb=" OLD " api=" OLD, .act = RESTART_NOTE},
    {"takes a damaged stamp for none", "= db api==", .act = RESTART_NOTE},
    {"waits until every value is there", "db=" OLD, .unknown = true, .act = RESTART_LATER,
     .why = RESTART_WAIT_VALUES, .at = NOW + LOOK},
    {"leaves a paused rollout alone", "db=" OLD, .paused = true, .act = RESTART_LATER,
     .why = RESTART_WAIT_PAUSED, .at = NOW + LOOK},
    {"lets a rollout end", "db=" OLD, .rolling = true, .act = RESTART_LATER,
     .why = RESTART_WAIT_ROLLING, .at = NOW + LOOK},
    {"respects a disruption budget", "db=" OLD, .no_budget = true, .act = RESTART_LATER,
     .why = RESTART_WAIT_DISRUPTION, .at = NOW + LOOK},
    {"makes one of changes that come together", "db=" OLD, .changed_at = NOW - SETTLE + 1,
     .act = RESTART_LATER, .why = RESTART_WAIT_SETTLE, .at = NOW + 1},
    {"goes once they are over", "db=" OLD, .changed_at = NOW - SETTLE, .act = RESTART_NOW},
    {"keeps the gap to the last restart", "db=" OLD, .last_at = NOW - GAP + 5, .act = RESTART_LATER,
     .why = RESTART_WAIT_GAP, .at = NOW + 5},
    {"goes once the gap is over", "db=" OLD, .last_at = NOW - GAP, .act = RESTART_NOW},
    {"waits for the namespace's budget", "db=" OLD, .free_at = NOW + 7, .act = RESTART_LATER,
     .why = RESTART_WAIT_BUDGET, .at = NOW + 7},
    {"notes even while a rollout is paused", NULL, .paused = true, .act = RESTART_NOTE},
};

static void decides(void **state)
{
    const struct row *r = *state;
    const struct restart_facts f = {.stamp = r->stamp,
                                    .wants = wants,
                                    .n_wants = 2,
                                    .known = !r->unknown,
                                    .paused = r->paused,
                                    .rolling = r->rolling,
                                    .no_budget = r->no_budget,
                                    .changed_at = r->changed_at,
                                    .last_at = r->last_at,
                                    .free_at = r->free_at};
    struct restart_decision d = restart_decide(&f, &rules, NOW);

    assert_int_equal(d.act, r->act);
    assert_int_equal(d.why, r->why);
    assert_int_equal(d.at, r->at);
}

static void a_stamp_is_sorted_and_says_the_same_of_the_same(void **state)
{
    const struct restart_facts same = {
        .stamp = "api=" OLD " db=" NEW, .wants = wants, .n_wants = 2, .known = true};
    char *text = NULL;
    struct lh_err err;

    (void)state;
    assert_int_equal(restart_stamp(wants, 2, &text, &err), 0);
    assert_string_equal(text, same.stamp);
    assert_int_equal(restart_decide(&same, &rules, NOW).act, RESTART_NONE);
    lh_free(text);
}

static void what_is_no_hash_is_not_stamped(void **state)
{
    const struct restart_want bad[] = {{"db", "s3cr3t"}}, spaced[] = {{"d b", OLD}};
    struct restart_want many[RESTART_PROJECTIONS_MAX + 1];
    char *text = NULL;
    struct lh_err err;

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(many); i++)
        many[i] = wants[0];
    assert_int_equal(restart_stamp(bad, 1, &text, &err), -LH_E_INVALID);
    assert_null(strstr(err.msg, "s3cr3t"));
    assert_int_equal(restart_stamp(spaced, 1, &text, &err), -LH_E_INVALID);
    assert_int_equal(restart_stamp(many, LH_ARRAY_LEN(many), &text, &err), -LH_E_TOOBIG);
    assert_null(text);
}

int main(void)
{
    struct CMUnitTest tests[LH_ARRAY_LEN(rows) + 2];
    size_t n = 0;

    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++)
        tests[n++] = (struct CMUnitTest){rows[i].name, decides, NULL, NULL, &rows[i]};
    tests[n++] =
        (struct CMUnitTest)cmocka_unit_test(a_stamp_is_sorted_and_says_the_same_of_the_same);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(what_is_no_hash_is_not_stamped);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
