/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "bed.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/rand.h"
#include "leasehold/http/client.h"
#include "leasehold/kube/elect.h"
#include "support.h"

#define LEASES "coordination.k8s.io/v1/leases"
#define PATH   "/apis/coordination.k8s.io/v1/namespaces/ops/leases"

/* Who stands for election; each with a client of its own, so that the network can be lost to one.
 */
static struct candidate {
    struct lh_kube *kube;
    struct lh_election *e;
    int won, lost, released;
    int64_t term; /* last won */
    bool free_when_won, free_when_lost;
} a, b;
static int64_t last_term; /* won by anybody */
static bool term_came_back;

static void on_won(void *arg, int64_t term)
{
    struct candidate *c = arg;

    c->won++;
    c->term = term;
    term_came_back |= term <= last_term;
    last_term = term;
    if (c->free_when_won)
        lh_election_free(LH_TAKE_PTR(c->e));
}

static void on_lost(void *arg)
{
    struct candidate *c = arg;

    c->lost++;
    if (c->free_when_lost)
        lh_election_free(LH_TAKE_PTR(c->e));
}

static void on_released(void *arg)
{
    ((struct candidate *)arg)->released++;
}

static int setup(void **state)
{
    (void)state;
    a = b = (struct candidate){0};
    last_term = 0;
    term_came_back = false;
    if (bed_setup() < 0)
        return -1;
    a.kube = bed_client("a");
    b.kube = bed_client("b");
    return a.kube && b.kube ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    lh_election_free(a.e);
    lh_election_free(b.e);
    lh_kube_free(a.kube);
    lh_kube_free(b.kube);
    bed_teardown();
    return 0;
}

static void stand(struct candidate *c, const char *identity)
{
    const struct lh_election_options opts = {.kube = c->kube,
                                             .namespace_ = "ops",
                                             .name = "leader",
                                             .identity = identity,
                                             .won = on_won,
                                             .lost = on_lost,
                                             .arg = c};
    struct lh_err err = {0};

    if (lh_election_start(&opts, &c->e, &err) < 0)
        fail_msg("%s", err.msg);
}

static void put_lease(const char *spec)
{
    lh_auto_free char *json =
        lh_asprintf("{\"metadata\":{\"name\":\"leader\",\"namespace\":\"ops\"}%s%s}",
                    *spec ? ",\"spec\":" : "", spec);

    fake_api_put(bed.api, LEASES, json);
}

static const lh_json *spec(void)
{
    return lh_json_get(fake_api_get(bed.api, LEASES, "ops", "leader"), "spec");
}

static bool leads(void *arg)
{
    return lh_election_is_leader(((struct candidate *)arg)->e);
}

static bool leads_not(void *arg)
{
    return !leads(arg);
}

static bool is_released(void *arg)
{
    return ((struct candidate *)arg)->released > 0;
}

/* How long it takes. */
static lh_ms await_leader(struct candidate *c)
{
    lh_ms from = lh_clock_now();

    if (!bed_pass_until(leads, c))
        fail_msg("leads not; trouble: %s", lh_election_trouble(c->e));
    return lh_clock_now() - from;
}

static void lead(struct candidate *c, const char *identity)
{
    stand(c, identity);
    assert_false(lh_election_is_leader(c->e));
    await_leader(c);
}

/* The network of a or b is gone, until cleared. */
static void cut_off(const char *agent, bool stall)
{
    const struct fake_api_fault gone = {.agent = agent, .stall = stall};

    fake_api_fault(bed.api, &gone);
}

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

#define CASE(fn)    cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define ROWS(table) (table), LH_ARRAY_LEN(table), sizeof(*(table))

/* One test for each row of a table; a row begins with its name. */
static size_t add_rows(struct CMUnitTest *out, CMUnitTestFunction fn, const void *table,
                       size_t count, size_t size)
{
    for (size_t i = 0; i < count; i++) {
        char *row = (char *)(uintptr_t)table + i * size;

        out[i] = (struct CMUnitTest){*(const char **)(void *)row, fn, setup, teardown, row};
    }
    return count;
}

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
        CASE(leads_no_longer_once_the_time_is_over),
        CASE(a_term_that_was_lost_does_not_come_back),
        CASE(leads_on_when_the_lease_was_edited),
        CASE(loses_to_whoever_wrote_over_it),
        CASE(a_deleted_lease_does_not_make_two_leaders),
        CASE(a_deleted_lease_is_made_again),
        CASE(twins_do_not_take_turns),
        CASE(says_what_is_wrong),
        CASE(refuses_times_that_cannot_work),
        CASE(is_freed_by_those_it_calls),
        CASE(survives_want_of_memory),
        CASE(there_are_never_two),
    };
    struct CMUnitTest
        rows[LH_ARRAY_LEN(records) + LH_ARRAY_LEN(outages) + LH_ARRAY_LEN(lost_answers)];
    size_t n = 0;
    int failures;

    if (lh_http_global_init(NULL) < 0)
        return 1;
    n += add_rows(rows + n, judges_by_its_own_clock, ROWS(records));
    n += add_rows(rows + n, stops_at_its_deadline, ROWS(outages));
    add_rows(rows + n, finds_out_what_was_done, ROWS(lost_answers));
    failures = cmocka_run_group_tests_name("election", tests, NULL, NULL);
    return failures + cmocka_run_group_tests_name("election and trouble", rows, NULL, NULL);
}
