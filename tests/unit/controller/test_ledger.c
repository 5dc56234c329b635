/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger_rig.h"

#include <stdio.h>
#include <string.h>

#include "leasehold/api/reasons.h"
#include "leasehold/core/rand.h"
#include "leasehold/crypto/hash.h"

#define PATCH_OF_IT "PATCH /api/v1/namespaces/ops/secrets/ledger"

static bool all_issued(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < RIG_USERS; i++) {
        if (!r.users[i].issued)
            return false;
    }
    return true;
}

static bool nothing_recorded(void *arg)
{
    (void)arg;
    return rig_records() == 0;
}

static void begin(unsigned i)
{
    rig_start();
    rig_loaded();
    rig_login(i);
}

/* Whatever has leases is in the Secret: it can be undone by whoever comes next. */
static void nothing_is_lost(void)
{
    for (unsigned i = 0; i < fake_tokens_made(); i++) {
        struct fake_token_info t = fake_token_at(i);

        if (t.alive && t.leases > 0 && !rig_recorded(t.accessor))
            fail_msg("token %s has leases and no record", t.accessor);
    }
    for (unsigned i = 0; i < RIG_USERS; i++)
        assert_false(r.users[i].unrecorded);
}

static void a_login_counts_once_recorded(void **state)
{
    (void)state;
    begin(0);
    assert_true(rig_until(rig_is_issued, &r.users[0]));
    nothing_is_lost();
    assert_int_equal(rig_records(), 1);
    assert_true(ledger_holds(r.l, "uid-0"));
    rig_revoke(0);
    assert_true(rig_until(nothing_recorded, NULL));
    assert_int_equal(r.settled, 1);
    assert_false(ledger_holds(r.l, "uid-0"));
}

static void many_logins_are_few_writes(void **state)
{
    (void)state;
    rig_start();
    rig_loaded();
    fake_api_forget_requests(r.api);
    for (unsigned i = 0; i < RIG_USERS; i++)
        rig_login(i);
    assert_true(rig_until(all_issued, NULL));
    assert_int_equal(rig_records(), RIG_USERS);
    assert_true(fake_api_count(r.api, PATCH_OF_IT) <= 3);
    /* And nothing more happens by itself. */
    fake_api_forget_requests(r.api);
    rig_run(600 * 1000);
    assert_int_equal(fake_api_requests(r.api), 0);
}

static void a_write_whose_answer_is_lost(void **state)
{
    (void)state;
    rig_start();
    rig_loaded();
    fake_api_fault(r.api, &(struct fake_api_fault){.method = "PATCH", .times = 1, .after = true});
    rig_login(0);
    assert_true(rig_until(rig_is_issued, &r.users[0]));
    assert_int_equal(r.users[0].logins, 1);
    assert_int_equal(rig_records(), 1);
    assert_int_equal(fake_tokens_made(), 1);
}

static void the_api_server_is_away(void **state)
{
    (void)state;
    rig_start();
    rig_loaded();
    fake_api_fault(r.api, &(struct fake_api_fault){.status = 503});
    rig_login(0);
    rig_run(120 * 1000);
    assert_int_equal(r.users[0].logins, 0);
    assert_int_equal(r.users[0].failures, 0); /* its token waits for its record */
    rig_login(1);                             /* and no other is made */
    assert_string_equal(r.users[1].last.reason, LH_REASON_LedgerUnavailable);
    assert_int_equal(fake_tokens_made(), 1);
    assert_int_equal(r.failed, 1);
    fake_api_fault_clear(r.api);
    rig_run(70 * 1000);
    assert_int_equal(r.users[0].issued, 1);
    nothing_is_lost();
}

static void somebody_else_writes(void **state)
{
    (void)state;
    begin(0);
    assert_true(rig_until(rig_is_issued, &r.users[0]));
    fake_api_interfere(r.api, 2);
    rig_login(1);
    assert_true(rig_until(rig_is_issued, &r.users[1]));
    assert_int_equal(rig_records(), 2);
    assert_int_equal(r.fenced, 0);
}

static void somebody_empties_it(void **state)
{
    (void)state;
    begin(0);
    assert_true(rig_until(rig_is_issued, &r.users[0]));
    fake_api_put(r.api, "v1/secrets",
                 "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"ledger\","
                 "\"namespace\":\"ops\"}}");
    rig_login(1);
    assert_true(rig_until(rig_is_issued, &r.users[1]));
    assert_int_equal(rig_records(), 2);
    nothing_is_lost();
}

static void another_leader_takes_over(void **state)
{
    struct ledger *first;

    (void)state;
    begin(0);
    assert_true(rig_until(rig_is_issued, &r.users[0]));
    first = r.l;
    r.alive = RIG_USERS;
    rig_start(); /* users belong to the second from here on, but for the first two's providers */
    rig_loaded();
    r.users[1].owner.ledger = first;
    rig_login(1);
    rig_run(2000);
    assert_int_equal(r.fenced, 1);
    assert_int_equal(r.users[1].logins, 0);
    assert_int_equal(r.users[1].failures, 1);
    assert_false(fake_token_at(1).alive); /* never used, and ended */
    assert_int_equal(rig_records(), 1);
    ledger_provider_ops.close(r.users[0].p);
    ledger_provider_ops.close(r.users[1].p);
    r.users[0].p = r.users[1].p = NULL;
    ledger_free(first);
}

static bool no_leases(void *arg)
{
    (void)arg;
    return fake_live(NULL) == 0 && rig_records() == 0;
}

/* The leader is killed after so many turns of the loop: the next one finds whatever was made. */
static void killed_at_each_step(void **state)
{
    (void)state;
    for (unsigned after = 0; after < 48; after++) {
        rig_start();
        for (unsigned t = 0; t < after; t++) {
            if (r.loaded && !r.users[after % RIG_USERS].p)
                rig_login(after % RIG_USERS);
            lh_clock_step(1);
            lh_loop_turn(r.loop, 0);
            nothing_is_lost();
        }
        rig_kill();
    }
    rig_start();
    rig_loaded();
    assert_true(rig_until(no_leases, NULL) || (rig_run(60 * 1000), no_leases(NULL)));
    assert_true(fake_issued(NULL) > 0);
    assert_int_equal(r.gave_up, 0);
}

/* The write that takes it over lasts longer than the wait for the first look. */
static void what_was_left_is_revoked_after_a_slow_takeover(void **state)
{
    (void)state;
    begin(0);
    assert_true(rig_until(rig_is_issued, &r.users[0]));
    rig_kill();
    fake_api_fault(r.api, &(struct fake_api_fault){.method = "PATCH", .times = 1, .hold = true});
    rig_start();
    rig_run(5000);
    assert_int_equal(fake_live(NULL), 1);
    fake_api_let_go(r.api);
    rig_loaded();
    rig_run(60 * 1000);
    assert_int_equal(fake_live(NULL), 0);
    assert_int_equal(rig_records(), 0);
}

static void what_is_in_the_copies_stays_until_replaced(void **state)
{
    (void)state;
    r.alive = 1;
    begin(0);
    assert_true(rig_until(rig_is_issued, &r.users[0]));
    rig_kill();
    rig_start();
    rig_loaded();
    rig_run(60 * 1000);
    assert_int_equal(fake_live(NULL), 1);
    rig_login(0);
    rig_run(1000);
    assert_int_equal(r.users[0].issued, 2);
    ledger_release(r.l, "uid-0", 300 * 1000);
    rig_run(290 * 1000);
    assert_int_equal(fake_live(NULL), 2);
    rig_run(30 * 1000);
    assert_int_equal(fake_live(NULL), 1); /* the one that this process holds */
    rig_run(30 * 1000);
    assert_int_equal(rig_records(), 1);
    assert_true(ledger_holds(r.l, "uid-0"));
}

static void what_may_not_be_revoked_is_given_up_in_the_open(void **state)
{
    struct ledger_info info;

    (void)state;
    begin(0);
    assert_true(rig_until(rig_is_issued, &r.users[0]));
    rig_kill();
    fake.no_revoke = true;
    rig_start();
    rig_loaded();
    rig_run(5000);
    assert_int_equal(r.gave_up, 1);
    assert_false(ledger_holds(r.l, "uid-0"));
    ledger_info(r.l, &info);
    assert_int_equal(info.given_up, 1);
    rig_run(30 * 1000);
    assert_int_equal(fake_tokens(), 1); /* the login that tried is ended */
    assert_int_equal(rig_records(), 1);
    fake.no_revoke = false; /* the right is given: within an hour it is used */
    rig_run(3700 * 1000);
    assert_int_equal(fake_live(NULL), 0);
}

static void without_its_store_it_is_given_up(void **state)
{
    (void)state;
    begin(0);
    assert_true(rig_until(rig_is_issued, &r.users[0]));
    rig_kill();
    r.no_access = true;
    rig_start();
    rig_loaded();
    rig_run(5000);
    assert_int_equal(r.gave_up, 1);
}

static void a_manager_that_is_away_is_waited_for(void **state)
{
    (void)state;
    begin(0);
    assert_true(rig_until(rig_is_issued, &r.users[0]));
    rig_kill();
    fake.down = true;
    rig_start();
    rig_loaded();
    rig_run(120 * 1000);
    assert_int_equal(r.gave_up, 0);
    assert_true(ledger_holds(r.l, "uid-0"));
    fake.down = false;
    rig_run(600 * 1000);
    assert_int_equal(fake_live(NULL), 0);
    assert_int_equal(rig_records(), 0);
}

static void full_it_takes_no_login(void **state)
{
    static char big[1400 * 1024];
    size_t n;

    (void)state;
    n = (size_t)snprintf(big, sizeof(big),
                         "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":"
                         "\"ledger\",\"namespace\":\"ops\"},\"data\":{");
    for (unsigned i = 0; i < 95; i++) {
        n += (size_t)snprintf(big + n, sizeof(big) - n, "%s\"t.%024u\":\"", i ? "," : "", i);
        memset(big + n, 'A', 14400);
        n += 14400;
        big[n++] = '"';
    }
    snprintf(big + n, sizeof(big) - n, "}}");
    fake_api_put(r.api, "v1/secrets", big);
    begin(0);
    assert_string_equal(r.users[0].last.reason, LH_REASON_LedgerFull);
    assert_int_equal(fake_tokens_made(), 0);
    assert_int_equal(rig_records(), 95); /* nobody knows what they say: they stay */
}

static void random_step(void)
{
    unsigned i = (unsigned)lh_rand_between(0, RIG_USERS - 1);

    switch (lh_rand_between(0, 9)) {
    case 0:
    case 1:
    case 2:
        if (!r.users[i].op && !r.users[i].token)
            rig_login(i);
        break;
    case 3:
        rig_revoke(i);
        break;
    case 4:
        fake_api_fault(r.api, &(struct fake_api_fault){.times = 1, .status = 500});
        break;
    case 5:
        fake_api_fault(r.api,
                       &(struct fake_api_fault){.method = "PATCH", .times = 1, .after = true});
        break;
    case 6:
        fake_api_interfere(r.api, 1);
        break;
    case 7:
        fake.down = lh_rand_between(0, 3) == 0;
        break;
    case 8:
        rig_kill();
        rig_start();
        break;
    default:
        rig_run(lh_rand_between(1, 500));
        break;
    }
}

static void whatever_happens_nothing_is_lost(void **state)
{
    (void)state;
    rig_start();
    for (unsigned i = 0; i < 400; i++) {
        random_step();
        rig_run(20);
        nothing_is_lost();
    }
    fake.down = false;
    fake_api_fault_clear(r.api);
    rig_kill();
    rig_start();
    /* In steps that leave the network its turns before a request is out of time. */
    for (unsigned s = 0; s < 1800 && (fake_live(NULL) > 0 || rig_records() > 0); s++)
        rig_run(1000);
    assert_int_equal(fake_live(NULL), 0);
    assert_int_equal(rig_records(), 0);
    assert_int_equal(r.fenced, 0);
}

#define T(f)                                                                                       \
    {                                                                                              \
#f, f, rig_setup, rig_teardown, NULL                                                       \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_login_counts_once_recorded),
        T(many_logins_are_few_writes),
        T(a_write_whose_answer_is_lost),
        T(the_api_server_is_away),
        T(somebody_else_writes),
        T(somebody_empties_it),
        T(another_leader_takes_over),
        T(killed_at_each_step),
        T(what_was_left_is_revoked_after_a_slow_takeover),
        T(what_is_in_the_copies_stays_until_replaced),
        T(what_may_not_be_revoked_is_given_up_in_the_open),
        T(without_its_store_it_is_given_up),
        T(a_manager_that_is_away_is_waited_for),
        T(full_it_takes_no_login),
        T(whatever_happens_nothing_is_lost),
    };

    lh_mem_init();
    lh_json_init();
    lh_crypto_init(NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
