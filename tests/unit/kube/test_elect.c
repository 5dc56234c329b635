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

static void takes_a_lease_that_is_empty(void **state)
{
    char now[32];

    (void)state;
    put_lease("");
    lead(&a, "a");
    assert_int_equal(a.won, 1);
    assert_int_equal(a.term, 1);
    assert_int_equal(lh_election_term(a.e), 1);
    assert_string_equal(lh_election_holder(a.e), "a");
    assert_string_equal(lh_election_trouble(a.e), "");
    assert_string_equal(fake_api_request(bed.api, 0), "GET " PATH "/leader");
    assert_string_equal(fake_api_request(bed.api, 1), "PUT " PATH "/leader");
    assert_string_equal(lh_json_get_z(spec(), "holderIdentity"), "a");
    assert_int_equal(lh_json_get_int(spec(), "leaseDurationSeconds", 0), 15);
    assert_int_equal(lh_json_get_int(spec(), "leaseTransitions", 0), 1);
    assert_memory_equal(lh_json_get_z(spec(), "acquireTime"),
                        lh_clock_format(lh_clock_wall_ms(), now), 10);
}

static void makes_a_lease_that_is_absent(void **state)
{
    (void)state;
    lead(&a, "a");
    assert_string_equal(fake_api_request(bed.api, 1), "POST " PATH);
    assert_int_equal(a.term, 1);
}

static void renews_by_one_write_every_two_seconds(void **state)
{
    lh_auto_free char *acquired = NULL, *renewed = NULL;

    (void)state;
    lead(&a, "a");
    acquired = lh_strdup(lh_json_get_z(spec(), "acquireTime"));
    renewed = lh_strdup(lh_json_get_z(spec(), "renewTime"));
    fake_api_forget_requests(bed.api);
    bed_pass(60000);
    assert_in_range(fake_api_requests(bed.api), 24, 31);
    assert_int_equal(fake_api_count(bed.api, "PUT " PATH "/leader"), fake_api_requests(bed.api));
    assert_int_equal(a.won, 1);
    assert_int_equal(a.lost, 0);
    assert_true(lh_election_is_leader(a.e));
    assert_string_equal(lh_json_get_z(spec(), "acquireTime"), acquired);
    assert_string_not_equal(lh_json_get_z(spec(), "renewTime"), renewed);
}

static void follows_when_the_leader_is_killed(void **state)
{
    (void)state;
    lead(&a, "a");
    stand(&b, "b");
    bed_pass(60000);
    assert_int_equal(b.won, 0);
    assert_string_equal(lh_election_holder(b.e), "a");
    lh_election_free(LH_TAKE_PTR(a.e));
    /* Since its last renewal, which was up to 2 s ago and seen up to 4.4 s after. */
    assert_in_range(await_leader(&b), 12000, 21000);
    assert_int_equal(b.term, 2);
}

/* The times in a record are another machine's: they decide nothing. */
static const struct record {
    const char *name, *spec;
    lh_ms least, most;
} records[] = {
    {"a lease that seems long over is waited for",
     "{\"holderIdentity\":\"x\",\"leaseDurationSeconds\":15,\"leaseTransitions\":3,"
     "\"renewTime\":\"2001-01-01T00:00:00.000000Z\"}",
     15000, 18000},
    {"a lease of the future is over in time",
     "{\"holderIdentity\":\"x\",\"leaseDurationSeconds\":15,\"leaseTransitions\":3,"
     "\"renewTime\":\"2099-01-01T00:00:00.000000Z\"}",
     15000, 18000},
    {"its own duration counts",
     "{\"holderIdentity\":\"x\",\"leaseDurationSeconds\":40,\"leaseTransitions\":3}", 40000, 43000},
    {"a duration of a century is none",
     "{\"holderIdentity\":\"x\",\"leaseDurationSeconds\":2000000000,\"leaseTransitions\":3}", 15000,
     18000},
    {"what was given back is free",
     "{\"holderIdentity\":\"\",\"leaseDurationSeconds\":1,\"leaseTransitions\":3}", 0, 2000},
    {"a former self is not waited for",
     "{\"holderIdentity\":\"a\",\"leaseDurationSeconds\":15,\"leaseTransitions\":3}", 0, 2000},
};

static void judges_by_its_own_clock(void **state)
{
    const struct record *r = *state;

    put_lease(r->spec);
    stand(&a, "a");
    assert_in_range(await_leader(&a), r->least, r->most);
    assert_int_equal(a.term, 4); /* also for a former self: what that one wrote is fenced off */
}

static void gives_the_lease_back(void **state)
{
    (void)state;
    lead(&a, "a");
    stand(&b, "b");
    bed_pass(5000);
    lh_election_release(a.e, 3000, on_released, &a);
    assert_false(lh_election_is_leader(a.e));
    assert_int_equal(lh_election_term(a.e), 0);
    assert_int_equal(a.released, 0);
    assert_true(bed_pass_until(is_released, &a));
    if (b.won == 0)
        assert_null(lh_json_get(spec(), "holderIdentity"));
    assert_in_range(await_leader(&b), 0, 5000);
    assert_int_equal(b.term, 2);
    bed_pass(30000);
    assert_int_equal(a.released, 1);
    assert_int_equal(a.won, 1);
    assert_int_equal(a.lost, 0);
}

static void whoever_leads_not_gives_nothing_back(void **state)
{
    (void)state;
    lead(&a, "a");
    stand(&b, "b");
    bed_pass(5000);
    fake_api_forget_requests(bed.api);
    lh_election_release(b.e, 3000, on_released, &b);
    assert_int_equal(b.released, 0);
    assert_true(bed_pass_until(is_released, &b));
    bed_pass(30000);
    assert_true(lh_election_is_leader(a.e));
    assert_int_equal(a.lost, 0);
    assert_string_equal(lh_json_get_z(spec(), "holderIdentity"), "a");
}

static void giving_back_has_a_limit(void **state)
{
    lh_ms from;

    (void)state;
    lead(&a, "a");
    cut_off("a", true);
    from = lh_clock_now();
    lh_election_release(a.e, 1500, on_released, &a);
    assert_true(bed_pass_until(is_released, &a));
    assert_in_range(lh_clock_now() - from, 1500, 1700);
    bed_pass(30000);
    assert_int_equal(a.released, 1);
}

/* By mistake; the second takes over, and then there is peace. */
static void twins_do_not_take_turns(void **state)
{
    (void)state;
    lead(&a, "twin");
    bed_pass(3000);
    lead(&b, "twin");
    bed_pass(60000);
    assert_int_equal(a.won, 1);
    assert_int_equal(a.lost, 1);
    assert_int_equal(b.won, 1);
    assert_int_equal(b.lost, 0);
}

static void says_what_is_wrong(void **state)
{
    (void)state;
    fake_api_deny(bed.api, LEASES);
    stand(&a, "a");
    bed_pass(10000);
    assert_non_null(strstr(lh_election_trouble(a.e), "403"));
    assert_in_range(fake_api_requests(bed.api), 2, 6);
    fake_api_deny(bed.api, NULL);
    await_leader(&a);
    assert_string_equal(lh_election_trouble(a.e), "");
}

static void refuses_times_that_cannot_work(void **state)
{
    static const unsigned bad[][3] = {{10000, 10000, 2000}, {15000, 2000, 2000}, {1, 0, 0}};
    struct lh_election_options opts = {
        .kube = a.kube, .namespace_ = "ops", .name = "leader", .identity = "a"};
    struct lh_err err = {0};

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(bad); i++) {
        opts.lease_ms = bad[i][0];
        opts.renew_ms = bad[i][1];
        opts.retry_ms = bad[i][2];
        assert_int_equal(lh_election_start(&opts, &a.e, &err), -LH_E_INVALID);
        assert_null(a.e);
    }
    assert_non_null(strstr(err.msg, "ops/leader"));
}

static void is_freed_by_those_it_calls(void **state)
{
    (void)state;
    a.free_when_won = true;
    stand(&a, "a");
    bed_pass(3000);
    assert_int_equal(a.won, 1);
    assert_null(a.e);
    b.free_when_lost = true;
    stand(&b, "b");
    await_leader(&b);
    cut_off("b", true);
    bed_pass(11000);
    assert_int_equal(b.lost, 1);
    assert_null(b.e);
    lh_election_free(NULL);
}

static void survives_want_of_memory(void **state)
{
    const struct lh_election_options opts = {
        .kube = a.kube, .namespace_ = "ops", .name = "leader", .identity = "a"};
    size_t live;
    unsigned long n = 0;
    int rc;

    (void)state;
    assert_int_equal(lh_election_start(&opts, &a.e, NULL), 0);
    lh_election_free(LH_TAKE_PTR(a.e)); /* what is made once is made now */
    bed_pass(100);
    live = lh_mem_live_blocks();
    do {
        lh_mem_fail_at(++n);
        rc = lh_election_start(&opts, &a.e, NULL);
        lh_mem_fail_at(0);
        lh_election_free(LH_TAKE_PTR(a.e));
        bed_pass(100);
        assert_int_equal(lh_mem_live_blocks(), live);
    } while (rc < 0);
    assert_in_range(n, 5, 50);
}

/* As another program would. */
static void annotate(const char *notes)
{
    lh_auto_buf struct lh_buf text;
    lh_auto_free char *json = NULL;

    lh_buf_init(&text, 4096);
    lh_json_write(spec(), LH_JSON_COMPACT, &text);
    json =
        lh_asprintf("{\"metadata\":{\"name\":\"leader\",\"namespace\":\"ops\",\"annotations\":%s},"
                    "\"spec\":%.*s}",
                    notes, (int)text.n, lh_buf_peek(&text).p);
    fake_api_put(bed.api, LEASES, json);
}

static const char *note(const char *key)
{
    return lh_json_get_z(lh_json_path(fake_api_get(bed.api, LEASES, "ops", "leader"), "metadata",
                                      "annotations", NULL),
                         key);
}

/* The Lease is annotated: only its leader is told, once, and stays it. */
static void reads_and_writes_annotations(void **state)
{
    (void)state;
    lead(&a, "a");
    stand(&b, "b");
    bed_pass(3000);
    assert_null(lh_election_note(a.e, "ask"));
    annotate("{\"ask\":\"1\"}");
    bed_pass(5000);
    assert_string_equal(lh_election_note(a.e, "ask"), "1");
    assert_int_equal(a.noted, 1);
    assert_int_equal(b.noted, 0);
    assert_int_equal(a.lost, 0);
    assert_int_equal(lh_election_set_note(a.e, "say", "2", NULL), 0);
    assert_int_equal(lh_election_set_note(b.e, "say", "no leader's", NULL), 0);
    bed_pass(3000);
    assert_string_equal(note("say"), "2");
    assert_string_equal(note("ask"), "1");
    assert_int_equal(lh_election_set_note(a.e, "say", NULL, NULL), 0);
    bed_pass(3000);
    assert_null(note("say"));
    assert_string_equal(note("ask"), "1");
}

/* It is known before a new leader does anything. */
static void knows_annotations_when_it_wins(void **state)
{
    (void)state;
    fake_api_put(bed.api, LEASES,
                 "{\"metadata\":{\"name\":\"leader\",\"namespace\":\"ops\",\"annotations\":{"
                 "\"ask\":\"1\"}}}");
    lead(&a, "a");
    assert_string_equal(lh_election_note(a.e, "ask"), "1");
    assert_string_equal(note("ask"), "1");
    assert_int_equal(a.noted, 0);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, candidates_setup, candidates_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(takes_a_lease_that_is_empty),
        CASE(makes_a_lease_that_is_absent),
        CASE(renews_by_one_write_every_two_seconds),
        CASE(follows_when_the_leader_is_killed),
        CASE(gives_the_lease_back),
        CASE(whoever_leads_not_gives_nothing_back),
        CASE(giving_back_has_a_limit),
        CASE(twins_do_not_take_turns),
        CASE(says_what_is_wrong),
        CASE(refuses_times_that_cannot_work),
        CASE(is_freed_by_those_it_calls),
        CASE(survives_want_of_memory),
        CASE(reads_and_writes_annotations),
        CASE(knows_annotations_when_it_wins),
    };
    struct CMUnitTest rows[LH_ARRAY_LEN(records)];
    size_t n = 0;
    int failures;

    if (lh_http_global_init(NULL) < 0)
        return 1;
    for (size_t i = 0; i < LH_ARRAY_LEN(records); i++)
        rows[n++] = (struct CMUnitTest){records[i].name, judges_by_its_own_clock, candidates_setup,
                                        candidates_teardown, (void *)(uintptr_t)&records[i]};
    failures = cmocka_run_group_tests_name("election", tests, NULL, NULL);
    return failures + cmocka_run_group_tests_name("election: rows", rows, NULL, NULL);
}
