/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "leasehold/core/clock.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/crypto/x509.h"

static const int64_t WALL_MS = 1795500000000; /* 2026-11-24 */
static const int64_t DAY_MS = 86400000;

static struct lh_cert_pair ca, other_ca, leaf, client;

static int group_setup(void **state)
{
    static const char *const names[] = {"vault.example", "10.0.0.7", "fd00::7", NULL};

    (void)state;
    lh_clock_fake(1000, WALL_MS);
    if (lh_crypto_init(NULL) < 0 || lh_x509_new_ca("test CA", 10, &ca, NULL) < 0 ||
        lh_x509_new_ca("other CA", 10, &other_ca, NULL) < 0 ||
        lh_x509_new_leaf(&ca, names, 48, &leaf, NULL) < 0 ||
        lh_x509_new_client_leaf(&ca, "agent", 48, &client, NULL) < 0)
        return -1;
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    lh_cert_pair_done(&ca);
    lh_cert_pair_done(&other_ca);
    lh_cert_pair_done(&leaf);
    lh_cert_pair_done(&client);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    lh_clock_fake(1000, WALL_MS);
    return 0;
}

static void a_ca_says_that_it_is_one(void **state)
{
    struct lh_cert_info info;

    (void)state;
    assert_int_equal(lh_x509_info(lh_str(ca.cert_pem), &info, NULL), 0);
    assert_int_equal(info.is_ca, 1);
    assert_int_equal(info.not_before_ms, WALL_MS - 60000);
    assert_int_equal(info.not_after_ms, WALL_MS + 10 * DAY_MS);
    assert_int_equal(strlen(info.serial_hex), 32);
    assert_int_equal(strlen(info.fingerprint_hex), 64);
}

static void a_leaf_is_none(void **state)
{
    struct lh_cert_info info, again;

    (void)state;
    assert_int_equal(lh_x509_info(lh_str(leaf.cert_pem), &info, NULL), 0);
    assert_int_equal(info.is_ca, 0);
    assert_int_equal(info.not_after_ms, WALL_MS + 2 * DAY_MS);
    assert_int_equal(lh_x509_info(lh_str(client.cert_pem), &again, NULL), 0);
    assert_string_not_equal(info.serial_hex, again.serial_hex);
}

static void a_chain_is_trusted_by_its_own_ca_only(void **state)
{
    lh_auto_free char *both = lh_asprintf("%s%s", other_ca.cert_pem, ca.cert_pem);
    struct lh_err err = {0};

    (void)state;
    assert_int_equal(lh_x509_verify(lh_str(leaf.cert_pem), lh_str(ca.cert_pem), NULL), 0);
    assert_int_equal(lh_x509_verify(lh_str(leaf.cert_pem), lh_str(both), NULL), 0);
    assert_int_equal(lh_x509_verify(lh_str(leaf.cert_pem), lh_str(other_ca.cert_pem), &err),
                     -LH_E_INVALID);
    assert_non_null(strstr(err.msg, "issuer"));
}

static struct moment {
    const char *name;
    int64_t step_ms;
    int want;
    const char *says;
} moments[] = {
    {"valid at once, also where clocks differ by a minute", -59000, 0, NULL},
    {"not valid before", -120000, LH_E_INVALID, "not yet valid"},
    {"valid near its end", 2 * 86400000LL - 1000, 0, NULL},
    {"not valid after", 2 * 86400000LL + 1000, LH_E_INVALID, "expired"},
};

static void validity_is_judged_by_our_clock(void **state)
{
    const struct moment *m = *state;
    struct lh_err err = {0};

    lh_clock_fake(1000, WALL_MS + m->step_ms);
    assert_int_equal(lh_x509_verify(lh_str(leaf.cert_pem), lh_str(ca.cert_pem), &err), -m->want);
    if (m->says)
        assert_non_null(strstr(err.msg, m->says));
}

static void a_key_belongs_to_one_certificate(void **state)
{
    lh_auto_secret struct lh_secret *junk = NULL, *empty = NULL;

    (void)state;
    assert_int_equal(lh_secret_copy("-----BEGIN PRIVATE KEY-----\nAAAA\n", 33, &junk, NULL), 0);
    assert_int_equal(lh_secret_new(0, &empty, NULL), 0);
    assert_int_equal(lh_x509_pair_check(lh_str(leaf.cert_pem), leaf.key_pem, NULL), 0);
    assert_int_equal(lh_x509_pair_check(lh_str(leaf.cert_pem), ca.key_pem, NULL), -LH_E_INVALID);
    assert_int_equal(lh_x509_pair_check(lh_str(leaf.cert_pem), junk, NULL), -LH_E_INVALID);
    assert_int_equal(lh_x509_pair_check(lh_str(leaf.cert_pem), empty, NULL), -LH_E_INVALID);
}

static void bundles_are_counted(void **state)
{
    lh_auto_free char *two = lh_asprintf("# ours\n%s\n%s", ca.cert_pem, other_ca.cert_pem);
    lh_auto_free char *broken = lh_strdup(two);
    unsigned n = 0;

    (void)state;
    assert_int_equal(lh_x509_bundle_count(lh_str(two), &n, NULL), 0);
    assert_int_equal(n, 2);
    strstr(broken, "-----BEGIN CERTIFICATE-----")[40] = '!';
    assert_int_equal(lh_x509_bundle_count(lh_str(broken), &n, NULL), -LH_E_INVALID);
    assert_int_equal(lh_x509_bundle_count(lh_str("no certificate"), &n, NULL), -LH_E_INVALID);
    assert_int_equal(lh_x509_bundle_count(lh_str(""), &n, NULL), -LH_E_INVALID);
    assert_int_equal(n, 2);
}

/* Text that is no certificate must not come back in an error: it may be a key. */
static void errors_quote_nothing(void **state)
{
    struct lh_cert_info info;
    struct lh_err err = {0};

    (void)state;
    assert_int_equal(lh_x509_info(lh_str("-----BEGIN CERTIFICATE-----\ns3cr3t\n"), &info, &err),
                     -LH_E_INVALID);
    assert_null(strstr(err.msg, "s3cr3t"));
}

static void a_leaf_without_a_name_is_refused(void **state)
{
    static const char *const none[] = {NULL};
    struct lh_cert_pair out = {0};

    (void)state;
    assert_int_equal(lh_x509_new_leaf(&ca, none, 1, &out, NULL), -LH_E_INVALID);
    assert_null(out.cert_pem);
    assert_null(out.key_pem);
}

/* OpenSSL does without some of its allocations, so a success ends nothing. */
static void running_out_of_memory_leaks_nothing(void **state)
{
    static const char *const names[] = {"a.example", NULL};
    unsigned long before = lh_mem_count(), needed = 1;

    (void)state;
    for (unsigned long n = 0; n <= needed; n += n < 50 ? 1 : 11) {
        struct lh_cert_pair out = {0};
        int rc;

        lh_mem_fail_at(n);
        rc = lh_x509_new_leaf(&ca, names, 1, &out, NULL);
        lh_mem_fail_at(0);
        if (n == 0)
            needed = lh_mem_count() - before;
        assert_int_equal(rc < 0, out.cert_pem == NULL);
        assert_int_equal(rc < 0, out.key_pem == NULL);
        lh_cert_pair_done(&out);
    }
    assert_true(needed > 100);
}

int main(void)
{
    struct CMUnitTest tests[LH_ARRAY_LEN(moments) + 8];
    size_t n = 0;

    for (size_t i = 0; i < LH_ARRAY_LEN(moments); i++)
        tests[n++] = (struct CMUnitTest){.name = moments[i].name,
                                         .test_func = validity_is_judged_by_our_clock,
                                         .setup_func = setup,
                                         .initial_state = &moments[i]};
    tests[n++] = (struct CMUnitTest)cmocka_unit_test_setup(a_ca_says_that_it_is_one, setup);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test_setup(a_leaf_is_none, setup);
    tests[n++] =
        (struct CMUnitTest)cmocka_unit_test_setup(a_chain_is_trusted_by_its_own_ca_only, setup);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test_setup(a_key_belongs_to_one_certificate, setup);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test_setup(bundles_are_counted, setup);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test_setup(errors_quote_nothing, setup);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test_setup(a_leaf_without_a_name_is_refused, setup);
    tests[n++] =
        (struct CMUnitTest)cmocka_unit_test_setup(running_out_of_memory_leaks_nothing, setup);
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
