/* SPDX-License-Identifier: Apache-2.0 */
/* What other agents were measured to do wrong, each as a test that it does not happen here. */
#include "harness.h"

#include "leasehold/core/rand.h"

enum { SEC = 1000, MIN = 60 * SEC, HOUR = 60 * MIN };

#define DB "database/creds/x"

static void database(int64_t ttl_ms, int64_t max_ms)
{
    fake_role(DB, ttl_ms, max_ms, true);
    h_new("appRole", 0);
    h_add(DB, -1, 5 * MIN, false);
    h_start();
    h_run_published(2 * SEC);
}

static void fail_with(enum fake_op op, int code, int status, const char *reason)
{
    fake_rule_add(&(struct fake_rule){.op = op, .code = code, .status = status, .reason = reason});
}

/* Renewal answers this for good: one credential per lease life, no request storm. */
static struct renew_row {
    const char *name;
    int64_t ttl;
    int code, status;
    const char *reason;
} renew_rows[] = {
    {"renewal answers 500, ttl 20 s", 20 * SEC, LH_E_UNAVAILABLE, 500, LH_REASON_ManagerError},
    {"renewal answers 500, ttl 1 h", HOUR, LH_E_UNAVAILABLE, 500, LH_REASON_ManagerError},
    {"renewal answers 403, ttl 20 s", 20 * SEC, LH_E_DENIED, 403, LH_REASON_PermissionDenied},
    {"renewal answers 403, ttl 1 h", HOUR, LH_E_DENIED, 403, LH_REASON_PermissionDenied},
    {"renewal answers 400, ttl 1 h", HOUR, LH_E_INVALID, 400, LH_REASON_RequestInvalid},
    {"renewal answers 404, ttl 1 h", HOUR, LH_E_NOTFOUND, 404, LH_REASON_PathNotFound},
    {"renewal answers 429, ttl 1 h", HOUR, LH_E_BUSY, 429, LH_REASON_RateLimited},
    {"renewal answers 403 as to a dead token, ttl 1 h", HOUR, LH_E_EXPIRED, 403,
     LH_REASON_TokenExpired},
    {"renewal is cut, ttl 1 h", HOUR, LH_E_UNAVAILABLE, 0, LH_REASON_Unreachable},
    {"renewal answers HTML, ttl 1 h", HOUR, LH_E_UNAVAILABLE, 200, LH_REASON_ManagerError},
};

static void failing_renewals(void **state)
{
    const struct renew_row *r = *state;
    unsigned lives = 20;
    unsigned want;

    fail_with(FAKE_RENEW_LEASE, r->code, r->status, r->reason);
    database(r->ttl, 0);
    h.step_ms = r->ttl / 1000; /* coarse is enough, and fast */
    h_run(lives * r->ttl);
    want = (unsigned)(lives / 0.85) + 2;
    assert_in_range(fake_issued(NULL), lives, want);
    assert_int_equal(h.slots[0].dead_ms, 0);
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), 1);
    assert_true(fake_count(FAKE_RENEW_LEASE, NULL) < want * 40);
    assert_true(fake_count(FAKE_LOOKUP_TOKEN, NULL) < want * 45);
}

static void a_token_that_may_nothing_but_read(void **state)
{
    (void)state;
    fail_with(FAKE_RENEW_LEASE, LH_E_DENIED, 403, LH_REASON_PermissionDenied);
    fail_with(FAKE_LOOKUP_LEASE, LH_E_DENIED, 403, LH_REASON_PermissionDenied);
    fail_with(FAKE_REVOKE_LEASE, LH_E_DENIED, 403, LH_REASON_PermissionDenied);
    fail_with(FAKE_RENEW_TOKEN, LH_E_DENIED, 403, LH_REASON_PermissionDenied);
    fail_with(FAKE_LOOKUP_TOKEN, LH_E_DENIED, 403, LH_REASON_PermissionDenied);
    database(HOUR, 0);
    h.step_ms = SEC;
    h_run(10 * HOUR);
    assert_int_equal(h.slots[0].dead_ms, 0);
    /* The token cannot be renewed either: a login each 0.85 h, and with it a credential. */
    assert_in_range(fake_count(FAKE_LOGIN, NULL), 11, 13);
    assert_in_range(fake_issued(NULL), 11, 14);
    assert_int_equal(fake_count(FAKE_LOOKUP_LEASE, NULL), 1);
    assert_true(fake_count(FAKE_RENEW_TOKEN, NULL) < 400);
}

static void a_token_renewal_that_answers_500_does_not_spin(void **state)
{
    (void)state;
    fake.token_ttl_ms = 60 * SEC;
    fail_with(FAKE_RENEW_TOKEN, LH_E_UNAVAILABLE, 500, LH_REASON_ManagerError);
    database(HOUR, 0);
    h_run(10 * MIN);
    assert_int_equal(h.slots[0].dead_ms, 0);
    assert_in_range(fake_count(FAKE_LOGIN, NULL), 11, 13);
    assert_in_range(fake_issued(NULL), 11, 13);
    assert_true(fake_count(FAKE_RENEW_TOKEN, NULL) < 150);
}

static struct steady_row {
    const char *name;
    int64_t ttl, max;
} steady_rows[] = {
    {"steady, ttl 20 s, max 60 s", 20 * SEC, 60 * SEC},
    {"steady, ttl 20 s, max 25 s", 20 * SEC, 25 * SEC},
    {"steady, ttl 20 s, max 20 s", 20 * SEC, 20 * SEC},
    {"steady, ttl 5 s, max 10 s", 5 * SEC, 10 * SEC},
    {"steady, ttl 6 s, max 15 s", 6 * SEC, 15 * SEC},
};

static void steady(void **state)
{
    const struct steady_row *r = *state;
    int64_t least;

    database(r->ttl, r->max);
    h_run(HOUR);
    assert_int_equal(h.slots[0].dead_ms, 0);
    /* The sign of the end cannot be seen before 0.6 of the first life, nor while a whole one fits.
     */
    least = r->max - r->ttl > r->ttl * 6 / 10 ? r->max - r->ttl : r->ttl * 6 / 10;
    assert_true(fake_issued(NULL) <= HOUR / least + 1);
}

static void a_lease_revoked_by_an_administrator_is_noticed_within_verify(void **state)
{
    (void)state;
    database(HOUR, 0);
    h_run(20 * SEC);
    fake_revoke_leases();
    h_run(2 * HOUR);
    assert_int_equal(fake_issued(NULL), 2);
    assert_true(h.slots[0].dead_ms <= 133 * SEC);
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), 1);
}

static void a_token_revoked_by_an_administrator_is_noticed_within_verify(void **state)
{
    (void)state;
    database(HOUR, 0);
    h_run(22 * SEC);
    fake_revoke_tokens();
    h_run(2 * HOUR);
    assert_int_equal(fake_issued(NULL), 2);
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), 2);
    assert_true(h.slots[0].dead_ms <= 133 * SEC);
}

static void twice_revoked_is_twice_replaced(void **state)
{
    (void)state;
    database(HOUR, 0);
    for (int i = 0; i < 3; i++) {
        h_run(5 * MIN); /* long enough for the manager to call the new one alive */
        fake_revoke_leases();
    }
    h_run(5 * MIN);
    assert_int_equal(fake_issued(NULL), 4);
    assert_true(h.slots[0].dead_ms <= 3 * 133 * SEC);
}

static void a_manager_that_calls_every_lease_gone_costs_one_a_life(void **state)
{
    (void)state;
    fake.lie_gone = true;
    database(HOUR, 0);
    h.step_ms = SEC;
    h_run(10 * HOUR);
    assert_in_range(fake_issued(NULL), 10, 14);
}

static void a_manager_that_calls_every_token_dead_costs_one_a_life(void **state)
{
    (void)state;
    fake.lie_dead = true;
    database(HOUR, 0);
    h.step_ms = SEC;
    h_run(10 * HOUR);
    assert_in_range(fake_issued(NULL), 10, 14);
    assert_true(fake_count(FAKE_LOGIN, NULL) < 10 * 34);
}

static void a_token_refused_everywhere_is_one_login_and_then_backoff(void **state)
{
    (void)state;
    fake_role(DB, HOUR, 0, true);
    fake.lie_dead = true;
    fail_with(FAKE_READ, LH_E_EXPIRED, 403, LH_REASON_TokenExpired);
    h_new("appRole", 0);
    h_add(DB, -1, 0, false);
    h_start();
    h_run(5 * MIN);
    assert_in_range(fake_count(FAKE_LOGIN, NULL), 5, 130);
    assert_int_equal(fake_issued(NULL), 0);
}

static void a_refusal_by_policy_is_no_reason_to_log_in(void **state)
{
    (void)state;
    fake_role(DB, HOUR, 0, true);
    fail_with(FAKE_READ, LH_E_DENIED, 403, LH_REASON_PermissionDenied);
    h_new("appRole", 0);
    h_add(DB, -1, 0, false);
    h_start();
    h.step_ms = 250;
    h_run(50 * MIN);
    h.step_ms = 50;
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), 1);
    assert_int_equal(fake_count(FAKE_LOOKUP_TOKEN, NULL), 0); /* the refusals prove it alive */
    fake_heal();
    h_run_published(6 * SEC);
}

static struct outage_row {
    const char *name;
    bool sealed;
    int64_t ttl, max, down;
} outage_rows[] = {
    {"server away for a minute, ttl 20 s", false, 20 * SEC, 60 * SEC, 60 * SEC},
    {"server away for a minute, ttl 60 s", false, 60 * SEC, 10 * MIN, 60 * SEC},
    {"server away for an hour, ttl 60 s", false, 60 * SEC, 10 * MIN, HOUR},
    {"server sealed for a minute, ttl 20 s", true, 20 * SEC, 60 * SEC, 60 * SEC},
    {"server sealed for a minute, ttl 60 s", true, 60 * SEC, 10 * MIN, 60 * SEC},
};

static void outage(void **state)
{
    const struct outage_row *r = *state;
    unsigned issued;
    int64_t dead;

    database(r->ttl, r->max);
    h_run(17 * SEC);
    issued = fake_issued(NULL);
    fake.down = !r->sealed;
    fake.sealed = r->sealed;
    h_run(r->down);
    assert_int_equal(fake_issued(NULL), issued);
    assert_true(h.slots[0].shown[0] != '\0'); /* last good stays */
    /* About one health a second, and little else. */
    assert_true(fake_count(FAKE_HEALTH, NULL) <= r->down / 800 + 1);
    fake.down = fake.sealed = false;
    dead = h.slots[0].dead_ms;
    h_run(60 * SEC);
    assert_true(h.slots[0].dead_ms - dead <= 1500);
    assert_true(fake_works(h.slots[0].shown));
    assert_true(fake_issued(NULL) <= issued + 4);
}

static void health_is_not_asked_while_all_is_well(void **state)
{
    (void)state;
    database(20 * SEC, 60 * SEC);
    h_run(10 * MIN);
    assert_int_equal(fake_count(FAKE_HEALTH, NULL), 0);
}

static void an_outage_is_short_for_ten_leases_too(void **state)
{
    static const char *const paths[] = {"database/creds/0", "database/creds/1", "database/creds/2",
                                        "database/creds/3", "database/creds/4", "database/creds/5",
                                        "database/creds/6", "database/creds/7", "database/creds/8",
                                        "database/creds/9"};

    (void)state;
    h_new("appRole", 0);
    for (size_t i = 0; i < LH_ARRAY_LEN(paths); i++) {
        fake_role(paths[i], 20 * SEC, 0, true);
        h_add(paths[i], -1, 0, false);
    }
    h_start();
    h_run(10 * SEC);
    fake.down = true;
    h_run(60 * SEC);
    fake.down = false;
    for (size_t i = 0; i < h.n; i++)
        h.slots[i].dead_ms = 0;
    h_run(60 * SEC);
    for (size_t i = 0; i < h.n; i++) {
        assert_true(h.slots[i].dead_ms <= 2500);
        assert_true(fake_issued(paths[i]) <= 3);
    }
}

static void a_stopped_process_catches_up_at_once(void **state)
{
    (void)state;
    database(20 * SEC, 60 * SEC);
    h_run(5 * SEC);
    lh_clock_step(30 * SEC);
    h_run(30 * SEC);
    assert_true(h.slots[0].dead_ms <= 300);
    assert_int_equal(fake_issued(NULL), 2);
}

static void one_path_that_fails_does_not_stop_the_others(void **state)
{
    (void)state;
    fail_with(FAKE_READ, LH_E_UNAVAILABLE, 500, LH_REASON_ManagerError);
    fake.token_ttl_ms = HOUR;
    h_new("appRole", 0);
    fake_role(DB, 20 * SEC, 60 * SEC, true);
    fake_kv("secret/a", "v1");
    fake_heal();
    fake_rule_add(&(struct fake_rule){.op = FAKE_READ,
                                      .path = "secret/a",
                                      .code = LH_E_UNAVAILABLE,
                                      .status = 500,
                                      .reason = LH_REASON_ManagerError,
                                      .skip = 1});
    fake.no_probe = true;
    h_add(DB, -1, 5 * SEC, false);
    h_add("secret/a", 10 * SEC, 0, false);
    h_start();
    h_run(10 * MIN);
    assert_int_equal(h.slots[0].dead_ms, 0);
    assert_true(h.slots[0].changes > 8);
    assert_string_equal(h.slots[1].shown, "v1");
    assert_int_equal(fake_count(FAKE_HEALTH, NULL), 0);
}

static void a_lost_answer_is_tried_once_more(void **state)
{
    (void)state;
    database(HOUR, 0);
    fake_rule_add(&(struct fake_rule){.op = FAKE_READ,
                                      .code = LH_E_UNAVAILABLE,
                                      .reason = LH_REASON_Unreachable,
                                      .sent = true,
                                      .act = true,
                                      .times = 1});
    h_run(21 * SEC);
    fake_revoke_leases();
    h_run(10 * MIN);
    assert_int_equal(h.unconfirmed, 1);
    assert_int_equal(fake_issued(NULL), 3);
    assert_int_equal(h.slots[0].changes, 2);
}

static void answers_that_are_always_lost_are_paced(void **state)
{
    (void)state;
    database(HOUR, 0);
    h_run(21 * SEC);
    fake_rule_add(&(struct fake_rule){.op = FAKE_READ,
                                      .code = LH_E_UNAVAILABLE,
                                      .reason = LH_REASON_Unreachable,
                                      .sent = true,
                                      .act = true});
    fake_revoke_leases();
    h.step_ms = SEC;
    h_run(10 * HOUR);
    /* Two at once, then one a life. */
    assert_in_range(fake_issued(NULL), 10, 14);
    assert_int_equal(h.unconfirmed, fake_issued(NULL) - 1);
}

static void before_the_first_publication_lost_answers_leave_nothing_behind(void **state)
{
    (void)state;
    fake_role(DB, HOUR, 0, true);
    fake_rule_add(&(struct fake_rule){.op = FAKE_READ,
                                      .code = LH_E_UNAVAILABLE,
                                      .reason = LH_REASON_Unreachable,
                                      .sent = true,
                                      .act = true});
    h_new("appRole", 0);
    h_add(DB, -1, 0, false);
    h_start();
    for (int i = 0; i < 60; i++) {
        h_run(5 * SEC);
        assert_true(fake_live(NULL) <= 2);
    }
    assert_true(fake_count(FAKE_READ, NULL) >= 4);
    fake_heal();
    h_run_published(65 * SEC);
    assert_true(fake_live(NULL) <= 2);
}

static void a_cut_answer_to_a_read_that_issues_nothing_is_just_tried_again(void **state)
{
    (void)state;
    fake_kv("secret/a", "v1");
    fake_rule_add(&(struct fake_rule){.op = FAKE_READ,
                                      .code = LH_E_UNAVAILABLE,
                                      .reason = LH_REASON_Unreachable,
                                      .sent = true,
                                      .times = 6});
    h_new("appRole", 0);
    h_add("secret/a", -1, 0, false);
    h_start();
    h_run_published(60 * SEC);
    assert_int_equal(h.unconfirmed, 0);
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), 1);
}

static void retry_after_is_obeyed(void **state)
{
    (void)state;
    fake_kv("secret/a", "v1");
    fake_rule_add(&(struct fake_rule){.op = FAKE_READ,
                                      .code = LH_E_BUSY,
                                      .status = 429,
                                      .reason = LH_REASON_RateLimited,
                                      .retry_ms = 9000,
                                      .times = 1});
    h_new("appRole", 0);
    h_add("secret/a", -1, 0, false);
    h_start();
    h_run_published(30 * SEC);
    assert_in_range(h.published_at - fake_first(FAKE_READ), 9000, 9300);
    assert_int_equal(fake_count(FAKE_READ, NULL), 2);
}

static void a_manager_away_at_the_start_is_found_within_a_second(void **state)
{
    (void)state;
    fake_role(DB, HOUR, 0, true);
    fake.down = true;
    h_new("appRole", 0);
    h_add(DB, -1, 0, false);
    h_start();
    h_run(10 * MIN);
    fake.down = false;
    h_run_published(1500);
    assert_int_equal(fake_issued(NULL), 1);
}

static void a_new_login_that_may_not_read_everything_still_publishes_the_rest(void **state)
{
    (void)state;
    fake.token_ttl_ms = 60 * SEC;
    fake.token_renewable = false;
    fake_role(DB, HOUR, 0, true);
    fake_role("database/creds/y", HOUR, 0, true);
    h_new("appRole", 0);
    h_add(DB, -1, 0, false);
    h_add("database/creds/y", -1, 0, false);
    h_start();
    h_run_published(SEC);
    fake_rule_add(&(struct fake_rule){.op = FAKE_READ,
                                      .path = "database/creds/y",
                                      .code = LH_E_DENIED,
                                      .status = 403,
                                      .reason = LH_REASON_PermissionDenied});
    h_run(58 * SEC);
    assert_int_equal(h.slots[0].changes, 2);
    assert_int_equal(h.slots[1].changes, 1); /* last good, though it dies with its token */
    h_run(2 * MIN);
    assert_int_equal(h.slots[0].dead_ms, 0);
}

/* Whatever is answered, in any order: at most one credential per lease life, beside those whose
 * answers were lost. */
static void no_answers_cost_more_than_one_credential_per_life(void **state)
{
    static const struct fake_rule kinds[] = {
        {.op = FAKE_RENEW_LEASE, .code = LH_E_DENIED, .status = 403},
        {.op = FAKE_RENEW_LEASE, .code = LH_E_UNAVAILABLE, .status = 500},
        {.op = FAKE_RENEW_LEASE, .code = LH_E_EXPIRED, .status = 400},
        {.op = FAKE_RENEW_LEASE, .code = LH_E_EXPIRED, .status = 403},
        {.op = FAKE_RENEW_LEASE, .code = LH_E_INVALID, .status = 400},
        {.op = FAKE_LOOKUP_LEASE, .code = LH_E_EXPIRED, .status = 400},
        {.op = FAKE_LOOKUP_LEASE, .code = LH_E_UNAVAILABLE, .status = 0},
        {.op = FAKE_LOOKUP_TOKEN, .code = LH_E_EXPIRED, .status = 403},
        {.op = FAKE_LOOKUP_TOKEN, .code = LH_E_UNAVAILABLE, .status = 503},
        {.op = FAKE_RENEW_TOKEN, .code = LH_E_EXPIRED, .status = 403},
        {.op = FAKE_RENEW_TOKEN, .code = LH_E_DENIED, .status = 403},
        {.op = FAKE_READ, .code = LH_E_UNAVAILABLE, .status = 500},
        {.op = FAKE_READ, .code = LH_E_EXPIRED, .status = 403},
        {.op = FAKE_READ, .code = LH_E_UNAVAILABLE, .status = 0, .sent = true, .act = true},
        {.op = FAKE_LOGIN, .code = LH_E_DENIED, .status = 403},
        {.op = FAKE_REVOKE_LEASE, .code = LH_E_UNAVAILABLE, .status = 0, .sent = true},
    };
    enum { LIFE = 10 * MIN, ROUNDS = 30, MIN_PER_ROUND = 10 };
    uint64_t seed;

    (void)state;
    for (seed = 1; seed <= 40; seed++) {
        lh_rand_seed(seed);
        fake_reset();
        fake.token_ttl_ms = 24 * HOUR;
        h.step_ms = 500;
        database(LIFE, 0);
        for (int round = 0; round < ROUNDS; round++) {
            int faults = (int)lh_rand_between(0, 3);

            fake_heal();
            for (int i = 0; i < faults; i++) {
                struct fake_rule r = kinds[lh_rand_between(0, (int64_t)LH_ARRAY_LEN(kinds) - 1)];

                r.reason = r.code == LH_E_EXPIRED
                               ? r.status == 400 ? LH_REASON_LeaseExpired : LH_REASON_TokenExpired
                           : r.status == 500       ? LH_REASON_ManagerError
                           : r.code == LH_E_DENIED ? LH_REASON_PermissionDenied
                                                   : LH_REASON_Unreachable;
                r.times = (unsigned)lh_rand_between(0, 4);
                fake_rule_add(&r);
            }
            h_run(MIN_PER_ROUND * MIN);
        }
        /* 300 min of lives of 10 min; each is replaced at 0.85 at the earliest, or early once after
         * the manager itself called it alive and then gone. */
        if (fake_issued(NULL) > ROUNDS * 2 + h.unconfirmed)
            fail_msg("seed %d: %u issued, %u lost", (int)seed, fake_issued(NULL), h.unconfirmed);
        lh_session_free(h.s);
        h.s = NULL;
        lh_store_unref(h.store);
        h.store = NULL;
        h.published_at = 0;
        h.unconfirmed = 0;
    }
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, h_setup, h_teardown)
#define ROW(fn, rows, i)                                                                           \
    {                                                                                              \
        rows[i].name, fn, h_setup_row, h_teardown_row, &rows[i]                                    \
    }

static int h_setup_row(void **state)
{
    void *row = *state;
    int rc = h_setup(state);

    *state = row;
    return rc;
}

static int h_teardown_row(void **state)
{
    return h_teardown(state);
}

int main(void)
{
    struct CMUnitTest tests[64] = {
        T(a_token_that_may_nothing_but_read),
        T(a_token_renewal_that_answers_500_does_not_spin),
        T(a_lease_revoked_by_an_administrator_is_noticed_within_verify),
        T(a_token_revoked_by_an_administrator_is_noticed_within_verify),
        T(twice_revoked_is_twice_replaced),
        T(a_manager_that_calls_every_lease_gone_costs_one_a_life),
        T(a_manager_that_calls_every_token_dead_costs_one_a_life),
        T(a_token_refused_everywhere_is_one_login_and_then_backoff),
        T(a_refusal_by_policy_is_no_reason_to_log_in),
        T(health_is_not_asked_while_all_is_well),
        T(an_outage_is_short_for_ten_leases_too),
        T(a_stopped_process_catches_up_at_once),
        T(one_path_that_fails_does_not_stop_the_others),
        T(a_lost_answer_is_tried_once_more),
        T(answers_that_are_always_lost_are_paced),
        T(before_the_first_publication_lost_answers_leave_nothing_behind),
        T(a_cut_answer_to_a_read_that_issues_nothing_is_just_tried_again),
        T(retry_after_is_obeyed),
        T(a_manager_away_at_the_start_is_found_within_a_second),
        T(a_new_login_that_may_not_read_everything_still_publishes_the_rest),
        T(no_answers_cost_more_than_one_credential_per_life),
    };
    size_t n = 0;

    while (tests[n].name)
        n++;
    for (size_t i = 0; i < LH_ARRAY_LEN(renew_rows); i++)
        tests[n++] = (struct CMUnitTest)ROW(failing_renewals, renew_rows, i);
    for (size_t i = 0; i < LH_ARRAY_LEN(steady_rows); i++)
        tests[n++] = (struct CMUnitTest)ROW(steady, steady_rows, i);
    for (size_t i = 0; i < LH_ARRAY_LEN(outage_rows); i++)
        tests[n++] = (struct CMUnitTest)ROW(outage, outage_rows, i);
    return _cmocka_run_group_tests("lease_faults", tests, n, NULL, NULL);
}
