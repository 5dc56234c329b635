/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

enum { SEC = 1000, MIN = 60 * SEC, HOUR = 60 * MIN };

#define DB "database/creds/x"

static bool files_are_there;

static bool keep(void *arg, struct lh_grant *g, const char *note)
{
    (void)arg;
    (void)g;
    assert_non_null(note);
    return files_are_there;
}

/* The process dies without a word; its state goes through bytes as it would through the file. */
static void restart(int64_t away_ms)
{
    struct lh_state st = {0};
    struct lh_buf b;
    struct lh_err err;
    char shown[H_VALUE];

    memcpy(shown, h.slots[0].shown, sizeof(shown));
    assert_int_equal(lh_grant_set_note(h.slots[0].g, "db/username", &err), 0);
    assert_int_equal(lh_session_save(h.s, &st, &err), 0);
    lh_buf_init(&b, LH_STATE_MAX);
    assert_int_equal(lh_state_write(&st, "pod", &b, &err), 0);
    lh_state_done(&st);
    lh_session_free(h.s);
    h.s = NULL;
    lh_clock_step(away_ms);
    h_session();
    h_add(DB, -1, 30 * SEC, false);
    memcpy(h.slots[0].shown, shown, sizeof(shown));
    assert_int_equal(lh_state_parse(lh_buf_peek(&b), "pod", &st, &err), 0);
    lh_buf_done(&b);
    lh_session_restore(h.s, &st, keep, NULL);
    h_start();
}

static void first_life(void)
{
    files_are_there = true;
    fake_role(DB, HOUR, 0, true);
    h_new("appRole", 0);
    h_add(DB, -1, 30 * SEC, false);
    h_start();
    h_run_published(SEC);
}

static void a_restart_issues_nothing_and_goes_on_renewing(void **state)
{
    (void)state;
    first_life();
    h_run(10 * SEC);
    restart(3 * SEC);
    assert_true(lh_session_set_complete(h.s));
    h_run(4 * HOUR);
    assert_int_equal(fake_issued(NULL), 1);
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), 1);
    assert_int_equal(h.slots[0].dead_ms, 0);
    assert_true(fake_count(FAKE_RENEW_LEASE, NULL) >= 4);
    h_end(true);
    assert_int_equal(fake_live(NULL), 0);
    assert_int_equal(fake_tokens(), 0);
}

static void files_that_are_gone_are_issued_again_and_the_old_lease_ended(void **state)
{
    (void)state;
    first_life();
    files_are_there = false;
    restart(3 * SEC);
    assert_false(lh_session_set_complete(h.s));
    h_run(10 * SEC);
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), 1);
    assert_int_equal(fake_issued(NULL), 2);
    assert_int_equal(fake_live(NULL), 1);
}

static void a_token_that_died_meanwhile_is_found_at_once(void **state)
{
    (void)state;
    first_life();
    fake_revoke_tokens();
    restart(3 * SEC);
    h_run(SEC);
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), 2);
    assert_int_equal(fake_issued(NULL), 2);
    assert_true(fake_works(h.slots[0].shown));
}

static void a_lease_that_was_never_published_is_ended(void **state)
{
    (void)state;
    files_are_there = true;
    fake_role(DB, HOUR, 0, true);
    h.stall = true;
    h_new("appRole", 0);
    h_add(DB, -1, 30 * SEC, false);
    h_start();
    h_run(2 * SEC);
    assert_int_equal(fake_live(NULL), 1);
    h.stall = false;
    restart(SEC);
    h_run(10 * SEC);
    assert_int_equal(fake_issued(NULL), 2);
    assert_int_equal(fake_live(NULL), 1);
    assert_true(fake_works(h.slots[0].shown));
}

static void a_replaced_token_is_still_ended_after_a_restart(void **state)
{
    (void)state;
    fake.token_ttl_ms = 10 * MIN;
    fake.token_renewable = false;
    first_life();
    while (fake_count(FAKE_LOGIN, NULL) < 2)
        h_run(SEC);
    h_run(2 * SEC);
    assert_int_equal(fake_tokens(), 2);
    restart(SEC);
    h_run(40 * SEC); /* past the overlap */
    assert_int_equal(fake_tokens(), 1);
    assert_int_equal(fake_live(NULL), 1);
    assert_true(fake_works(h.slots[0].shown));
}

static void a_state_older_than_its_token_costs_one_login(void **state)
{
    (void)state;
    first_life();
    restart(2 * HOUR);
    h_run(2 * SEC);
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), 2);
    assert_int_equal(fake_issued(NULL), 2);
    assert_true(fake_works(h.slots[0].shown));
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, h_setup, h_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_restart_issues_nothing_and_goes_on_renewing),
        T(files_that_are_gone_are_issued_again_and_the_old_lease_ended),
        T(a_token_that_died_meanwhile_is_found_at_once),
        T(a_lease_that_was_never_published_is_ended),
        T(a_replaced_token_is_still_ended_after_a_restart),
        T(a_state_older_than_its_token_costs_one_login),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
