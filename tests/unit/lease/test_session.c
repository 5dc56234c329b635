/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

enum { SEC = 1000, MIN = 60 * SEC, HOUR = 60 * MIN };

static void one_login_and_one_read_per_secret(void **state)
{
    (void)state;
    fake_kv("secret/a", "va");
    fake_kv("secret/b", "vb");
    fake_role("database/creds/x", HOUR, 0, true);
    h_new("appRole", 0);
    h_add("secret/a", -1, 0, false);
    h_add("secret/b", -1, 0, false);
    h_add("database/creds/x", -1, 0, false);
    h_start();
    h_run_published(SEC);
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), 1);
    assert_int_equal(fake_count(FAKE_READ, NULL), 3);
    assert_int_equal(fake_count(FAKE_RENEW_LEASE, NULL), 0);
    assert_int_equal(h.publications, 1);
    assert_string_equal(h.slots[1].shown, "vb");
}

static void equal_paths_are_one_credential(void **state)
{
    struct slot *a, *b;

    (void)state;
    fake_role("database/creds/x", HOUR, 0, true);
    h_new("appRole", 0);
    a = h_add("database/creds/x", -1, 0, false);
    b = h_add("database/creds/x", 60000, 0, false);
    h_start();
    h_run_published(SEC);
    assert_ptr_equal(a, b);
    assert_int_equal(lh_session_grants(h.s), 1);
    assert_int_equal(fake_issued("database/creds/x"), 1);
}

static void nothing_is_published_before_the_whole_set_is_there(void **state)
{
    (void)state;
    fake_kv("secret/a", "va");
    h_new("appRole", 0);
    h_add("secret/a", -1, 0, false);
    h_add("secret/late", -1, 0, false);
    h_start();
    h_run(20 * SEC);
    assert_int_equal(h.publications, 0);
    fake_kv("secret/late", "vl");
    h_run_published(5 * SEC); /* somebody waits: the cure is seen within seconds */
    assert_string_equal(h.slots[0].shown, "va");
    assert_string_equal(h.slots[1].shown, "vl");
}

static void an_optional_path_may_be_absent_and_come_later(void **state)
{
    (void)state;
    fake_kv("secret/a", "va");
    h_new("appRole", 0);
    h_add("secret/a", 30 * SEC, 0, false);
    h_add("secret/maybe", 30 * SEC, 0, true);
    h_start();
    h_run_published(SEC);
    assert_string_equal(h.slots[1].shown, "");
    fake_kv("secret/maybe", "vm");
    h_run(35 * SEC);
    assert_string_equal(h.slots[1].shown, "vm");
}

static void a_lease_is_renewed_then_replaced_and_the_old_one_ended(void **state)
{
    (void)state;
    fake_role("database/creds/fast", 20 * SEC, 60 * SEC, true);
    h_new("appRole", 0);
    h_add("database/creds/fast", -1, 5 * SEC, false);
    h_start();
    h_run(600 * SEC);
    assert_int_equal(h.slots[0].dead_ms, 0);
    assert_true(fake_count(FAKE_RENEW_LEASE, NULL) > 20);
    /* Never more than one a life of at least 40 s, and not fewer than the maximum asks for. */
    assert_in_range(fake_issued(NULL), 10, 15);
    assert_in_range(fake_live(NULL), 1, 2);
    assert_true(fake_count(FAKE_REVOKE_LEASE, NULL) >= 8);
}

static void a_right_to_revoke_that_lacks_is_tried_once(void **state)
{
    (void)state;
    fake.no_revoke = true;
    fake_role("database/creds/fast", 20 * SEC, 60 * SEC, true);
    h_new("appRole", 0);
    h_add("database/creds/fast", -1, 5 * SEC, false);
    h_start();
    h_run(600 * SEC);
    assert_int_equal(fake_count(FAKE_REVOKE_LEASE, NULL), 1);
    assert_int_equal(h.slots[0].dead_ms, 0);
}

static void a_lease_that_cannot_be_renewed_is_issued_again_before_its_end(void **state)
{
    (void)state;
    fake_role("database/creds/batch", 60 * SEC, 0, false);
    h_new("appRole", 0);
    h_add("database/creds/batch", -1, 0, false);
    h_start();
    h_run(600 * SEC);
    assert_int_equal(h.slots[0].dead_ms, 0);
    assert_int_equal(fake_count(FAKE_RENEW_LEASE, NULL), 0);
    assert_int_equal(fake_count(FAKE_REVOKE_LEASE, NULL), 0); /* it runs out by itself */
    assert_in_range(fake_issued(NULL), 11, 13);
}

static void a_value_is_polled_by_version_and_read_when_it_moved(void **state)
{
    (void)state;
    fake_kv("secret/a", "v1");
    h_new("appRole", 0);
    h_add("secret/a", 60 * SEC, 0, false);
    h_start();
    h_run(300 * SEC);
    assert_int_equal(fake_count(FAKE_READ, NULL), 1);
    assert_in_range(fake_count(FAKE_PROBE, NULL), 4, 6);
    fake_kv("secret/a", "v2");
    h_run(67 * SEC);
    assert_string_equal(h.slots[0].shown, "v2");
    assert_int_equal(fake_count(FAKE_READ, NULL), 2);
    assert_int_equal(h.publications, 2);
}

/* A copy whose Secret was damaged while a look at the version was under way was never mended: the
 * look's answer, the same version, undid the wish to read. */
static void what_is_lost_during_a_look_at_the_version_is_read_again(void **state)
{
    (void)state;
    fake_kv("secret/a", "v1");
    h_new("appRole", 0);
    h_add("secret/a", 60 * SEC, 0, false);
    h_start();
    h_run_published(SEC);
    fake.latency_ms = 2000;
    for (int i = 0; i < 100 && fake_count(FAKE_PROBE, NULL) == 0; i++)
        h_run(SEC);
    assert_int_equal(fake_count(FAKE_PROBE, NULL), 1);
    assert_int_equal(fake_count(FAKE_READ, NULL), 1);
    lh_session_refetch(h.s, h.slots[0].g);
    h_run(5 * SEC);
    assert_int_equal(fake_count(FAKE_READ, NULL), 2);
    assert_int_equal(h.publications, 2);
}

static void without_a_right_to_metadata_it_is_polled_by_reading(void **state)
{
    (void)state;
    fake.no_probe = true;
    fake_kv("secret/a", "v1");
    h_new("appRole", 0);
    h_add("secret/a", 60 * SEC, 0, false);
    h_start();
    h_run(300 * SEC);
    assert_int_equal(fake_count(FAKE_PROBE, NULL), 1);
    assert_in_range(fake_count(FAKE_READ, NULL), 5, 7);
    assert_int_equal(h.publications, 1); /* the same values are not published again */
}

static void a_deleted_value_keeps_the_last_good(void **state)
{
    (void)state;
    fake_kv("secret/a", "v1");
    h_new("appRole", 0);
    h_add("secret/a", 60 * SEC, 0, false);
    h_start();
    h_run_published(SEC);
    fake_kv_delete("secret/a");
    h_run(20 * MIN);
    assert_string_equal(h.slots[0].shown, "v1");
    assert_true(h.failures > 2);
    fake_kv("secret/a", "v3");
    h_run(6 * MIN);
    assert_string_equal(h.slots[0].shown, "v3");
}

static void a_static_role_is_read_when_it_rotates(void **state)
{
    (void)state;
    fake_static("database/static-creds/s", 10 * SEC, 10);
    h_new("appRole", 0);
    h_add("database/static-creds/s", 300 * SEC, 0, false);
    h_start();
    h_run(300 * SEC);
    assert_true(h.slots[0].changes >= 29);
    assert_true(h.slots[0].dead_ms <= 30 * 300); /* at most 0.3 s a rotation */
    assert_true(fake_count(FAKE_READ, NULL) <= 62);
}

static void a_static_role_is_found_when_the_clocks_differ(void **state)
{
    (void)state;
    fake.skew_ms = 5 * MIN;
    fake_static("database/static-creds/s", 30 * SEC, 10);
    h_new("appRole", 0);
    h_add("database/static-creds/s", 300 * SEC, 0, false);
    h_start();
    h_run(300 * SEC);
    assert_true(h.slots[0].changes >= 9);
    assert_true(h.slots[0].dead_ms <= 10 * 300);
    assert_true(fake_count(FAKE_READ, NULL) <= 80);
}

static void a_manager_that_rotates_late_is_asked_politely(void **state)
{
    (void)state;
    fake_static("database/static-creds/s", 60 * SEC, 20 * SEC);
    h_new("appRole", 0);
    h_add("database/static-creds/s", 300 * SEC, 0, false);
    h_start();
    h_run(79 * SEC);
    /* 26 in 5 s, then 0.4, 0.8, 1.6, 3.2, 5 s. */
    assert_in_range(fake_count(FAKE_READ, NULL), 20, 36);
}

static void a_static_role_rotated_by_hand_is_found_by_polling(void **state)
{
    (void)state;
    fake_static("database/static-creds/s", 24 * HOUR, 10);
    h_new("appRole", 0);
    h_add("database/static-creds/s", 60 * SEC, 0, false);
    h_start();
    h_run(10 * SEC);
    fake_static_rotate("database/static-creds/s");
    h_run(67 * SEC);
    assert_int_equal(h.slots[0].changes, 2);
}

static void a_certificate_is_issued_again_at_two_thirds(void **state)
{
    (void)state;
    fake_cert("pki/issue/web", 90 * MIN);
    h_new("appRole", 0);
    h_add("pki/issue/web", -1, 0, false);
    h_start();
    h_run(56 * MIN);
    assert_int_equal(fake_issued(NULL), 1);
    h_run(8 * MIN);
    assert_int_equal(fake_issued(NULL), 2);
}

static void a_token_is_renewed(void **state)
{
    (void)state;
    fake.token_ttl_ms = 60 * SEC;
    fake_kv("secret/a", "v1");
    h_new("appRole", 0);
    h_add("secret/a", 300 * SEC, 0, false);
    h_start();
    h_run(600 * SEC);
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), 1);
    assert_in_range(fake_count(FAKE_RENEW_TOKEN, NULL), 13, 17);
    /* Renewals prove it alive well within verify: no look-up on top. */
    assert_int_equal(fake_count(FAKE_LOOKUP_TOKEN, NULL), 0);
}

static void a_token_near_its_maximum_is_replaced_with_its_leases(void **state)
{
    (void)state;
    fake.token_ttl_ms = 60 * SEC;
    fake.token_max_ms = 150 * SEC;
    fake_role("database/creds/a", HOUR, 0, true);
    fake_role("database/creds/b", HOUR, 0, true);
    h_new("appRole", 0);
    h_add("database/creds/a", -1, 30 * SEC, false);
    h_add("database/creds/b", -1, 30 * SEC, false);
    h_start();
    h_run(600 * SEC);
    assert_int_equal(h.slots[0].dead_ms + h.slots[1].dead_ms, 0);
    assert_in_range(fake_count(FAKE_LOGIN, NULL), 4, 6);
    assert_int_equal(fake_issued("database/creds/a"), fake_count(FAKE_LOGIN, NULL));
    assert_int_equal(fake_issued("database/creds/b"), fake_count(FAKE_LOGIN, NULL));
    /* Both change in one publication. */
    assert_int_equal(h.publications, fake_count(FAKE_LOGIN, NULL));
}

static void a_batch_token_is_replaced_before_it_ends(void **state)
{
    (void)state;
    fake.token_ttl_ms = 60 * SEC;
    fake.token_renewable = false;
    fake_role("database/creds/a", HOUR, 0, true);
    h_new("appRole", 0);
    h_add("database/creds/a", -1, 5 * MIN, false);
    h_start();
    h_run(600 * SEC);
    assert_int_equal(h.slots[0].dead_ms, 0);
    assert_in_range(fake_count(FAKE_LOGIN, NULL), 11, 13);
    assert_int_equal(fake_count(FAKE_RENEW_TOKEN, NULL), 0);
}

static void a_replaced_token_without_leases_is_ended_at_once(void **state)
{
    (void)state;
    fake.token_ttl_ms = 60 * SEC;
    fake.token_renewable = false;
    fake_kv("secret/a", "v1");
    h_new("appRole", 0);
    h_add("secret/a", 300 * SEC, 0, false);
    h_start();
    h_run(54 * SEC);
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), 2);
    assert_int_equal(fake_tokens(), 1);
}

static void the_end_revokes_the_token_and_its_leases_in_one_request(void **state)
{
    (void)state;
    fake_role("database/creds/a", HOUR, 0, true);
    h_new("appRole", 0);
    h_add("database/creds/a", -1, 0, false);
    h_start();
    h_run_published(SEC);
    assert_int_equal(fake_live(NULL), 1);
    h_end(true);
    assert_int_equal(fake_live(NULL), 0);
    assert_int_equal(fake_tokens(), 0);
    assert_int_equal(fake_count(FAKE_REVOKE_TOKEN, NULL), 1);
    assert_int_equal(fake_count(FAKE_REVOKE_LEASE, NULL), 0);
}

static void the_end_takes_no_longer_than_its_limit(void **state)
{
    lh_ms from;

    (void)state;
    fake_role("database/creds/a", HOUR, 0, true);
    h_new("appRole", 0);
    h_add("database/creds/a", -1, 0, false);
    h_start();
    h_run_published(SEC);
    fake.latency_ms = HOUR;
    from = lh_clock_now();
    h_end(true);
    assert_in_range(lh_clock_now() - from, 1500, 1600);
}

static void a_login_under_way_at_the_end_is_waited_for_and_revoked(void **state)
{
    (void)state;
    fake_kv("secret/a", "v1");
    fake.latency_ms = 200;
    h_new("appRole", 0);
    h_add("secret/a", 300 * SEC, 0, false);
    h_start();
    h_run(50);
    h_end(true);
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), 1);
    assert_int_equal(fake_tokens(), 0);
}

static void a_token_that_was_given_is_not_ours_to_end(void **state)
{
    (void)state;
    fake_role("database/creds/a", HOUR, 0, true);
    h_new("token", 0);
    h_add("database/creds/a", -1, 0, false);
    h_start();
    h_run_published(SEC);
    h_end(true);
    assert_int_equal(fake_tokens(), 1);
    assert_int_equal(fake_live(NULL), 0);
    assert_int_equal(fake_count(FAKE_REVOKE_LEASE, NULL), 1);
}

static void retained_credentials_are_not_ended(void **state)
{
    (void)state;
    h.retain = true;
    fake_role("database/creds/fast", 20 * SEC, 60 * SEC, true);
    h_new("appRole", 0);
    h_add("database/creds/fast", -1, SEC, false);
    h_start();
    h_run(200 * SEC);
    h_end(false);
    assert_int_equal(fake_count(FAKE_REVOKE_LEASE, NULL) + fake_count(FAKE_REVOKE_TOKEN, NULL), 0);
    assert_int_equal(fake_tokens(), 1);
}

static void once_asks_for_nothing_after_the_set_is_there(void **state)
{
    unsigned total = 0;

    (void)state;
    h.once = true;
    fake_kv("secret/a", "v1");
    fake_role("database/creds/fast", 20 * SEC, 60 * SEC, true);
    h_new("appRole", 0);
    h_add("secret/a", 30 * SEC, 0, false);
    h_add("database/creds/fast", -1, 0, false);
    h_start();
    h_run(HOUR);
    for (int op = 0; op < FAKE_N_OPS; op++)
        total += fake_count((enum fake_op)op, NULL);
    assert_int_equal(total, 3);
}

static void nothing_wakes_the_loop_between_timers(void **state)
{
    uint64_t before;

    (void)state;
    fake_kv("secret/a", "v1");
    h_new("appRole", 0);
    h_add("secret/a", 300 * SEC, 0, false);
    h_start();
    h_run(10 * SEC);
    before = lh_session_version(h.s);
    h_run(90 * SEC);
    assert_int_equal(lh_session_version(h.s), before);
    assert_int_equal(fake_count(FAKE_LOOKUP_TOKEN, NULL), 0);
    h_run(40 * SEC);
    assert_int_equal(fake_count(FAKE_LOOKUP_TOKEN, NULL), 1);
}

static void no_more_are_asked_for_at_a_time_than_allowed(void **state)
{
    static const char *const paths[] = {"secret/a", "secret/b", "secret/c", "secret/d", "secret/e"};

    (void)state;
    h.parallel = 2;
    h_new("appRole", 0);
    for (size_t i = 0; i < LH_ARRAY_LEN(paths); i++) {
        fake_kv(paths[i], "v");
        h_add(paths[i], -1, 0, false);
    }
    fake.latency_ms = 500;
    h_start();
    h_run(600); /* the login */
    assert_int_equal(fake_count(FAKE_READ, NULL), 2);
    h_run(500);
    assert_int_equal(fake_count(FAKE_READ, NULL), 4);
    h_run_published(2 * SEC);
    assert_int_equal(fake_count(FAKE_READ, NULL), 5);
}

static void slow_ones_do_not_hold_up_the_others(void **state)
{
    (void)state;
    h.parallel = 1;
    fake_kv("secret/a", "v");
    fake_kv("secret/b", "v");
    h_new("appRole", 0);
    h_add("secret/a", -1, 0, false);
    h_add("secret/b", -1, 0, false);
    h_start(); /* the login is fast */
    fake.latency_ms = 20 * SEC;
    h_run(500);
    assert_int_equal(fake_count(FAKE_READ, NULL), 1);
    h_run(700);
    assert_int_equal(fake_count(FAKE_READ, NULL), 2);
}

static void what_cannot_be_rendered_is_not_issued_again_and_again(void **state)
{
    (void)state;
    h.refuse_code = LH_E_NOTFOUND;
    fake_role("database/creds/a", HOUR, 0, true);
    h_new("appRole", 0);
    h_add("database/creds/a", -1, 0, false);
    h_start();
    h_run(50 * MIN);
    assert_int_equal(fake_issued(NULL), 1);
    assert_int_equal(fake_live(NULL), 0); /* ended: it is of no use to anybody */
    h_run(10 * MIN);
    assert_int_equal(fake_issued(NULL), 2);
}

static void a_value_that_cannot_be_rendered_is_looked_at_again(void **state)
{
    (void)state;
    h.refuse_code = LH_E_NOTFOUND;
    fake_kv("secret/a", "v1");
    h_new("appRole", 0);
    h_add("secret/a", -1, 0, false);
    h_start();
    h_run(20 * SEC);
    assert_true(fake_count(FAKE_READ, NULL) > 3);
    h.refuse_code = 0;
    h_run_published(6 * SEC);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, h_setup, h_teardown)

static int64_t token_id(void)
{
    int64_t id = 0;

    return lh_session_token(h.s, &id) ? id : 0;
}

static void other_calls_prove_the_token_or_doubt_it(void **state)
{
    const struct lh_err dead = {.code = LH_E_EXPIRED}, away = {.code = LH_E_UNAVAILABLE};
    int64_t first;

    (void)state;
    h_new("appRole", 0);
    assert_int_equal(token_id(), 0);
    h_start();
    h_run(SEC);
    first = token_id();
    assert_int_not_equal(first, 0);
    assert_non_null(lh_session_provider(h.s));
    for (int i = 0; i < 10; i++) {
        lh_session_used(h.s, first, NULL);
        h_run(MIN);
    }
    assert_int_equal(fake_count(FAKE_LOOKUP_TOKEN, NULL), 0);

    fake_revoke_tokens();
    lh_session_used(h.s, first, &dead);
    assert_int_equal(token_id(), 0); /* in doubt */
    h_run(SEC);
    assert_int_equal(fake_count(FAKE_LOOKUP_TOKEN, NULL), 1);
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), 2);
    assert_int_not_equal(token_id(), first);
    lh_session_used(h.s, first, &dead); /* of a token that is gone: no news */
    h_run(SEC);
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), 2);

    lh_session_used(h.s, token_id(), &away);
    h_run(3 * SEC);
    assert_in_range(fake_count(FAKE_HEALTH, NULL), 1, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(one_login_and_one_read_per_secret),
        T(other_calls_prove_the_token_or_doubt_it),
        T(equal_paths_are_one_credential),
        T(nothing_is_published_before_the_whole_set_is_there),
        T(an_optional_path_may_be_absent_and_come_later),
        T(a_lease_is_renewed_then_replaced_and_the_old_one_ended),
        T(a_right_to_revoke_that_lacks_is_tried_once),
        T(a_lease_that_cannot_be_renewed_is_issued_again_before_its_end),
        T(a_value_is_polled_by_version_and_read_when_it_moved),
        T(what_is_lost_during_a_look_at_the_version_is_read_again),
        T(without_a_right_to_metadata_it_is_polled_by_reading),
        T(a_deleted_value_keeps_the_last_good),
        T(a_static_role_is_read_when_it_rotates),
        T(a_static_role_is_found_when_the_clocks_differ),
        T(a_manager_that_rotates_late_is_asked_politely),
        T(a_static_role_rotated_by_hand_is_found_by_polling),
        T(a_certificate_is_issued_again_at_two_thirds),
        T(a_token_is_renewed),
        T(a_token_near_its_maximum_is_replaced_with_its_leases),
        T(a_batch_token_is_replaced_before_it_ends),
        T(a_replaced_token_without_leases_is_ended_at_once),
        T(the_end_revokes_the_token_and_its_leases_in_one_request),
        T(the_end_takes_no_longer_than_its_limit),
        T(a_login_under_way_at_the_end_is_waited_for_and_revoked),
        T(a_token_that_was_given_is_not_ours_to_end),
        T(retained_credentials_are_not_ended),
        T(once_asks_for_nothing_after_the_set_is_there),
        T(nothing_wakes_the_loop_between_timers),
        T(no_more_are_asked_for_at_a_time_than_allowed),
        T(slow_ones_do_not_hold_up_the_others),
        T(what_cannot_be_rendered_is_not_issued_again_and_again),
        T(a_value_that_cannot_be_rendered_is_looked_at_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
