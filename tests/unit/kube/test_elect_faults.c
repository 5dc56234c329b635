/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "candidates.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/rand.h"
#include "leasehold/http/client.h"

static const struct outage {
    const char *name;
    bool stall;
} outages[] = {
    {"stops at the deadline when connections drop", false},
    {"stops at the deadline when answers stall", true},
};

static void stops_at_its_deadline(void **state)
{
    const struct outage *o = *state;
    lh_ms from;

    lead(&a, "a");
    stand(&b, "b");
    bed_pass(5000);
    cut_off("a", o->stall);
    from = lh_clock_now();
    assert_true(bed_pass_until(leads_not, &a));
    assert_in_range(lh_clock_now() - from, 7000, 10000);
    assert_int_equal(a.lost, 1);
    assert_false(lh_election_is_leader(b.e)); /* 5 s are between them */
    assert_true(await_leader(&b) >= 4900);
    bed_pass(20000);
    fake_api_fault_clear(bed.api);
    bed_pass(20000);
    assert_int_equal(a.won, 1);
    assert_int_equal(a.lost, 1);
    assert_int_equal(b.lost, 0);
    assert_string_equal(lh_election_holder(a.e), "b");
}

/* Also before a late turn of the loop could say so. */
static void leads_no_longer_once_the_time_is_over(void **state)
{
    (void)state;
    lead(&a, "a");
    cut_off("a", true);
    lh_clock_step(10001);
    assert_false(lh_election_is_leader(a.e));
    assert_int_equal(lh_election_term(a.e), 0);
    assert_int_equal(a.lost, 0);
}

static void a_term_that_was_lost_does_not_come_back(void **state)
{
    (void)state;
    lead(&a, "a");
    cut_off("a", false);
    assert_true(bed_pass_until(leads_not, &a));
    fake_api_fault_clear(bed.api);
    await_leader(&a);
    assert_int_equal(a.lost, 1);
    assert_int_equal(a.won, 2);
    assert_int_equal(a.term, 2);
}

static const struct lost_answer {
    const char *name, *method;
    bool first; /* of the request that makes it leader, else of a renewal */
} lost_answers[] = {
    {"the answer to the creation gets lost", "POST", true},
    {"the answer to the first write gets lost", "PUT", true},
    {"the answer to a renewal gets lost", "PUT", false},
};

static void finds_out_what_was_done(void **state)
{
    const struct lost_answer *l = *state;
    const struct fake_api_fault lost = {.method = l->method, .after = true, .times = 1};

    if (strcmp(l->method, "PUT") == 0)
        put_lease("");
    if (l->first)
        fake_api_fault(bed.api, &lost);
    lead(&a, "a");
    if (!l->first)
        fake_api_fault(bed.api, &lost);
    bed_pass(20000);
    assert_true(lh_election_is_leader(a.e));
    assert_int_equal(a.won, 1);
    assert_int_equal(a.lost, 0);
    assert_int_equal(lh_json_get_int(spec(), "leaseTransitions", 0), a.term);
}

static void leads_on_when_the_lease_was_edited(void **state)
{
    (void)state;
    lead(&a, "a");
    fake_api_interfere(bed.api, 2);
    bed_pass(20000);
    assert_true(lh_election_is_leader(a.e));
    assert_int_equal(a.lost, 0);
    assert_int_equal(a.won, 1);
    /* What others wrote there stays. */
    assert_non_null(lh_json_path(fake_api_get(bed.api, LEASES, "ops", "leader"), "metadata",
                                 "annotations", "interfered", NULL));
}

static void loses_to_whoever_wrote_over_it(void **state)
{
    (void)state;
    lead(&a, "a");
    put_lease("{\"holderIdentity\":\"x\",\"leaseDurationSeconds\":15,\"leaseTransitions\":7}");
    bed_pass(4000);
    assert_int_equal(a.lost, 1);
    assert_false(lh_election_is_leader(a.e));
    assert_in_range(await_leader(&a), 10000, 17000);
    assert_int_equal(a.term, 8);
}

static void a_deleted_lease_does_not_make_two_leaders(void **state)
{
    (void)state;
    lead(&a, "a");
    stand(&b, "b");
    bed_pass(10000);
    cut_off("a", false);
    fake_api_delete(bed.api, LEASES, "ops", "leader");
    while (!leads(&b)) {
        bed_pass(100);
        assert_false(leads(&a) && leads(&b));
    }
    assert_int_equal(a.lost, 1);
    assert_int_equal(b.term, 2); /* numbers go on */
}

/* Nor where the candidate heard nothing for long: the leader may have renewed just before. */
static void a_deleted_lease_binds_whoever_heard_nothing(void **state)
{
    (void)state;
    lead(&a, "a");
    stand(&b, "b");
    bed_pass(5000);
    cut_off("b", false);
    bed_pass(12000);
    assert_true(leads(&a));
    cut_off("a", false);
    fake_api_delete(bed.api, LEASES, "ops", "leader");
    while (!leads(&b)) {
        bed_pass(100);
        assert_false(leads(&a) && leads(&b));
    }
    assert_int_equal(a.lost, 1);
}

/* Others count from when the write was done, and that was before its answer came. */
static void a_slow_answer_is_no_longer_a_lease(void **state)
{
    const struct fake_api_fault hold = {.method = "PUT", .hold = true, .times = 1};
    lh_ms asked;

    (void)state;
    lead(&a, "a");
    fake_api_forget_requests(bed.api);
    fake_api_fault(bed.api, &hold);
    while (fake_api_requests(bed.api) == 0)
        bed_pass(100);
    asked = lh_clock_now();
    bed_pass(4500);
    cut_off("a", false);
    fake_api_let_go(bed.api);
    bed_pass(100);
    assert_true(leads(&a));
    assert_true(bed_pass_until(leads_not, &a));
    assert_in_range(lh_clock_now() - asked, 9500, 10000);
}

static void a_deleted_lease_is_made_again(void **state)
{
    (void)state;
    lead(&a, "a");
    fake_api_delete(bed.api, LEASES, "ops", "leader");
    bed_pass(8000);
    assert_true(lh_election_is_leader(a.e));
    assert_int_equal(a.won, 1);
    assert_int_equal(lh_json_get_int(spec(), "leaseTransitions", 0), 1);
}

/* Whatever the network does to both, there are never two, and no number comes twice. */
static void there_are_never_two(void **state)
{
    static const struct fake_api_fault faults[] = {
        {.agent = "a"},
        {.agent = "b"},
        {.agent = "a", .stall = true},
        {.agent = "b", .stall = true},
        {.agent = "a", .method = "PUT", .after = true},
        {.agent = "b", .method = "PUT", .after = true},
        {.status = 500},
        {.status = 429, .headers = "Retry-After: 3\r\n"},
        {.method = "PUT", .status = 409},
    };
    lh_ms until = lh_clock_now() + 900000;

    (void)state;
    stand(&a, "a");
    stand(&b, "b");
    while (lh_clock_now() < until) {
        lh_ms same_until = lh_clock_now() + lh_rand_between(100, 25000);

        if (lh_rand_between(0, 1))
            fake_api_fault(bed.api, &faults[lh_rand_between(0, LH_ARRAY_LEN(faults) - 1)]);
        if (lh_rand_between(0, 9) == 0 && fake_api_get(bed.api, LEASES, "ops", "leader"))
            fake_api_delete(bed.api, LEASES, "ops", "leader");
        while (lh_clock_now() < same_until) {
            bed_pass(100);
            assert_false(leads(&a) && leads(&b));
        }
        fake_api_fault_clear(bed.api);
    }
    assert_false(term_came_back);
    assert_true(a.won > 2 && b.won > 2);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, candidates_setup, candidates_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(leads_no_longer_once_the_time_is_over),
        CASE(a_term_that_was_lost_does_not_come_back),
        CASE(leads_on_when_the_lease_was_edited),
        CASE(loses_to_whoever_wrote_over_it),
        CASE(a_deleted_lease_does_not_make_two_leaders),
        CASE(a_deleted_lease_binds_whoever_heard_nothing),
        CASE(a_slow_answer_is_no_longer_a_lease),
        CASE(a_deleted_lease_is_made_again),
        CASE(there_are_never_two),
    };
    struct CMUnitTest rows[LH_ARRAY_LEN(outages) + LH_ARRAY_LEN(lost_answers)];
    size_t n = 0;
    int failures;

    if (lh_http_global_init(NULL) < 0)
        return 1;
    for (size_t i = 0; i < LH_ARRAY_LEN(outages); i++)
        rows[n++] = (struct CMUnitTest){outages[i].name, stops_at_its_deadline, candidates_setup,
                                        candidates_teardown, (void *)(uintptr_t)&outages[i]};
    for (size_t i = 0; i < LH_ARRAY_LEN(lost_answers); i++)
        rows[n++] =
            (struct CMUnitTest){lost_answers[i].name, finds_out_what_was_done, candidates_setup,
                                candidates_teardown, (void *)(uintptr_t)&lost_answers[i]};
    failures = cmocka_run_group_tests_name("election and trouble", tests, NULL, NULL);
    return failures + cmocka_run_group_tests_name("election and trouble: rows", rows, NULL, NULL);
}
