/* SPDX-License-Identifier: Apache-2.0 */
/* Engines that were taken apart and made again: nobody outside can tell. */
#include "bench.h"

#include "leasehold/api/reasons.h"

static struct lh_provider_ops ops; /* the fake one, of which a handle may be parked */
static bool may_park;
static unsigned parks, unparks;

static bool park(struct lh_provider *p)
{
    (void)p;
    parks += may_park;
    return may_park;
}

static void unpark(struct lh_provider *p)
{
    (void)p;
    unparks++;
}

static const char kv[] =
    "{\"items\":[{\"name\":\"kv\",\"path\":\"secret/a\",\"files\":[{\"path\":\"a\",\"key\":"
    "\"password\"}]}],\"refresh\":{\"interval\":\"10m\"}}";

static int setup(void **state)
{
    ops = fake_provider_ops;
    ops.park = park;
    ops.unpark = unpark;
    may_park = true;
    parks = unparks = 0;
    if (bench_setup(state) < 0)
        return -1;
    b.provider = &ops;
    b.no_state = true;
    fake_kv("secret/a", "v1");
    return 0;
}

static void ready_with(const char *spec)
{
    bench_projection(spec);
    bench_engine();
    bench_ready();
    bench_run(2 * SEC); /* old folders are gone */
}

static int try_park(lh_ms least)
{
    int rc = lh_engine_park(b.e, lh_clock_now() + least, &b.parked);

    if (rc == 0)
        b.e = NULL;
    return rc;
}

static void what_is_not_due_is_parked_and_says_when_it_is(void **state)
{
    lh_ms now;

    (void)state;
    ready_with(kv);
    now = lh_clock_now();
    assert_int_equal(try_park(MIN), 0);
    assert_int_equal(parks, 1);
    assert_in_range(lh_parked_due(b.parked) - now, 9 * MIN - 3 * SEC, 11 * MIN);
}

static void made_again_it_goes_on_where_it_was(void **state)
{
    unsigned reads, probes;
    struct lh_engine_item it;
    lh_ms due;

    (void)state;
    ready_with(kv);
    reads = fake_count(FAKE_READ, NULL);
    probes = fake_count(FAKE_PROBE, NULL);
    assert_int_equal(try_park(MIN), 0);
    due = lh_parked_due(b.parked);
    lh_clock_step(5 * MIN);
    bench_engine();
    assert_int_equal(unparks, 1);
    assert_true(lh_engine_is_ready(b.e));
    assert_true(lh_engine_item(b.e, 0, &it));
    assert_int_equal(it.n_files, 1);
    assert_string_equal(it.files[0].path, "a");
    bench_run(due - lh_clock_now() - 2 * SEC);
    assert_int_equal(fake_count(FAKE_PROBE, NULL), probes);
    bench_run(4 * SEC);
    assert_int_equal(fake_count(FAKE_PROBE, NULL), probes + 1);
    assert_int_equal(fake_count(FAKE_READ, NULL), reads); /* the version is as it was */
    assert_int_equal(b.ready, 1);
    assert_int_equal(b.changed, 0);
}

static void a_change_meanwhile_is_published_when_it_is_due(void **state)
{
    char text[256];

    (void)state;
    ready_with(kv);
    assert_int_equal(try_park(MIN), 0);
    fake_kv("secret/a", "v2");
    lh_clock_step(lh_parked_due(b.parked) - lh_clock_now());
    bench_engine();
    bench_run(2 * SEC);
    assert_string_equal(bench_read("a", text), "v2");
    assert_int_equal(b.changed, 1);
}

static void values_without_versions_are_compared_by_hash(void **state)
{
    (void)state;
    fake.no_probe = true;
    ready_with(kv);
    bench_run(11 * MIN + 5 * SEC); /* once, so that it is known that there is no probe */
    assert_int_equal(b.changed, 0);
    assert_int_equal(try_park(MIN), 0);
    lh_clock_step(lh_parked_due(b.parked) - lh_clock_now());
    bench_engine();
    bench_run(2 * SEC);
    assert_int_equal(b.changed, 0);
    assert_int_equal(b.failed, 0);
}

static void an_optional_one_that_is_absent_is_looked_for_again(void **state)
{
    char text[256];

    (void)state;
    fake_kv_delete("secret/a");
    ready_with("{\"items\":[{\"name\":\"kv\",\"path\":\"secret/a\",\"optional\":true,\"files\":"
               "[{\"path\":\"a\",\"key\":\"password\"}]}],\"refresh\":{\"interval\":\"10m\"}}");
    assert_int_equal(try_park(MIN), 0);
    fake_kv("secret/a", "v2");
    lh_clock_step(lh_parked_due(b.parked) - lh_clock_now());
    bench_engine();
    bench_run(2 * SEC);
    assert_string_equal(bench_read("a", text), "v2");
}

static void max_age_is_kept_in_mind(void **state)
{
    static const char aged[] =
        "{\"items\":[{\"name\":\"kv\",\"path\":\"secret/a\",\"files\":[{\"path\":\"a\",\"key\":"
        "\"password\"}]}],\"refresh\":{\"interval\":\"1h\"},\"staleness\":{\"maxAge\":\"20m\","
        "\"then\":\"Remove\"}}";
    lh_ms due;
    char text[256];

    (void)state;
    ready_with(aged);
    assert_int_equal(try_park(MIN), 0);
    due = lh_parked_due(b.parked) - lh_clock_now();
    assert_in_range(due, 19 * MIN, 20 * MIN);
    fake.down = true;
    lh_clock_step(due);
    bench_engine();
    bench_run(2 * SEC);
    assert_string_equal(bench_read("a", text), "");
}

static void asked_for_again_it_is_read_again(void **state)
{
    unsigned reads;
    char text[256];

    (void)state;
    ready_with(kv);
    reads = fake_count(FAKE_READ, NULL);
    assert_int_equal(try_park(MIN), 0);
    fake_kv("secret/a", "v2");
    bench_engine();
    lh_engine_refetch(b.e);
    bench_run(2 * SEC);
    assert_int_equal(fake_count(FAKE_READ, NULL), reads + 1);
    assert_string_equal(bench_read("a", text), "v2");
}

/* ---- what is not parked ---- */

static void stays(int want)
{
    unsigned was = parks;

    assert_int_equal(try_park(MIN), want);
    assert_null(b.parked);
    assert_int_equal(parks, was);
    bench_run(2 * SEC);
    assert_true(lh_engine_is_ready(b.e));
}

static void a_lease_keeps_its_engine_and_is_issued_once(void **state)
{
    (void)state;
    fake_role("database/creds/x", 20 * MIN, 0, true);
    ready_with("{\"items\":[{\"name\":\"db\",\"path\":\"database/creds/x\"}]}");
    stays(-LH_E_INVALID);
    bench_run(HOUR);
    assert_int_equal(try_park(SEC), -LH_E_INVALID);
    assert_int_equal(fake_issued(NULL), 1);
}

static void a_lease_among_plain_values_does_too(void **state)
{
    (void)state;
    fake_role("database/creds/x", 20 * MIN, 0, true);
    ready_with("{\"items\":[{\"name\":\"a\",\"path\":\"secret/a\"},{\"name\":\"db\",\"path\":"
               "\"database/creds/x\"}]}");
    stays(-LH_E_INVALID);
    assert_int_equal(fake_issued(NULL), 1);
}

static void a_static_role_and_a_certificate_do_too(void **state)
{
    (void)state;
    fake_static("database/static-creds/s", 10 * MIN, 0);
    ready_with("{\"items\":[{\"name\":\"s\",\"path\":\"database/static-creds/s\"}]}");
    stays(-LH_E_INVALID);
    bench_kill();
    fake_cert("pki/issue/web", HOUR);
    ready_with("{\"items\":[{\"name\":\"c\",\"path\":\"pki/issue/web\"}]}");
    stays(-LH_E_INVALID);
    assert_int_equal(fake_issued(NULL), 1);
}

static void what_is_kept_for_a_restart_is_not_taken_apart(void **state)
{
    (void)state;
    b.no_state = false;
    ready_with(kv);
    stays(-LH_E_INVALID);
}

static void a_provider_that_others_rest_on_says_no(void **state)
{
    (void)state;
    may_park = false;
    ready_with(kv);
    stays(-LH_E_INVALID);
}

static void what_is_due_soon_or_failed_is_left_alone(void **state)
{
    (void)state;
    ready_with(kv);
    assert_int_equal(try_park(HOUR), -LH_E_BUSY);
    fake_rule_add(&(struct fake_rule){.op = FAKE_PROBE,
                                      .code = LH_E_UNAVAILABLE,
                                      .status = 500,
                                      .reason = LH_REASON_ManagerError});
    bench_run(12 * MIN);
    assert_true(b.failed > 0);
    assert_int_equal(try_park(0), -LH_E_BUSY);
    fake_heal();
    bench_run(6 * MIN);
    assert_int_equal(try_park(0), 0);
}

static void held_and_before_it_is_ready_it_is_left_alone(void **state)
{
    (void)state;
    bench_projection(kv);
    bench_engine();
    assert_int_equal(try_park(0), -LH_E_BUSY);
    bench_ready();
    lh_engine_hold(b.e);
    assert_int_equal(try_park(0), -LH_E_INVALID);
}

/* Each allocation on the way fails once: the engine is whole, or what was parked is. */
static void without_memory_nothing_is_lost(void **state)
{
    char text[256];
    int rc = -LH_E_NOMEM;
    unsigned long n;

    (void)state;
    ready_with(kv);
    for (n = 1; rc < 0 && n < 100; n++) {
        lh_mem_fail_at(n);
        rc = lh_engine_park(b.e, lh_clock_now() + MIN, &b.parked);
        lh_mem_fail_at(0);
        assert_true(rc == 0 || rc == -LH_E_NOMEM);
    }
    assert_int_equal(rc, 0);
    assert_int_equal(n, 4); /* two records, then it was parked */
    b.e = NULL;
    rc = -LH_E_NOMEM;
    for (n = 1; rc < 0 && n < 200; n++) {
        const struct lh_engine_options o = {.loop = b.loop,
                                            .provider = b.provider,
                                            .store = b.store,
                                            .identity = &b.identity,
                                            .projection = b.projection,
                                            .default_mode = 0440,
                                            .sink = b.sink,
                                            .parked = b.parked};
        struct lh_err err = {0};

        lh_mem_fail_at(n);
        rc = lh_engine_new(&o, &b.e, &err);
        lh_mem_fail_at(0);
        assert_true(rc == 0 || (rc == -LH_E_NOMEM && err.code == LH_E_NOMEM));
        assert_int_equal(unparks, rc == 0);
    }
    assert_int_equal(rc, 0);
    assert_true(n > 5);
    b.parked = NULL;
    fake_kv("secret/a", "v2");
    lh_engine_start(b.e);
    bench_run(12 * MIN);
    assert_string_equal(bench_read("a", text), "v2");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_is_not_due_is_parked_and_says_when_it_is),
        T(made_again_it_goes_on_where_it_was),
        T(a_change_meanwhile_is_published_when_it_is_due),
        T(values_without_versions_are_compared_by_hash),
        T(an_optional_one_that_is_absent_is_looked_for_again),
        T(max_age_is_kept_in_mind),
        T(asked_for_again_it_is_read_again),
        T(a_lease_keeps_its_engine_and_is_issued_once),
        T(a_lease_among_plain_values_does_too),
        T(a_static_role_and_a_certificate_do_too),
        T(what_is_kept_for_a_restart_is_not_taken_apart),
        T(a_provider_that_others_rest_on_says_no),
        T(what_is_due_soon_or_failed_is_left_alone),
        T(held_and_before_it_is_ready_it_is_left_alone),
        T(without_memory_nothing_is_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
