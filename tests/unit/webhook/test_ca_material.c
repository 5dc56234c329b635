/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "../../../webhook/ca_material.h"
#include "leasehold/core/clock.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/crypto/x509.h"

#define SERVICE "leasehold-webhook.leasehold-system"

static lh_json *empty_secret(void)
{
    lh_json *s = NULL;

    assert_int_equal(
        lh_json_parse(
            LH_STR(
                "{\"kind\":\"Secret\",\"metadata\":{\"name\":\"ca\",\"resourceVersion\":\"7\"}}"),
            NULL, &s, NULL),
        0);
    return s;
}

/* What is written is what is read; the Secret's own fields stay. */
static void round_trip(void **state)
{
    lh_auto_json lh_json *secret = empty_secret(), *written = NULL;
    struct ca_material m = {0}, again = {0};
    struct ca_facts f;

    (void)state;
    assert_int_equal(ca_material_read(secret, &m, NULL), 0);
    ca_material_facts(&m, &f);
    assert_false(f.has_ca);
    assert_int_equal(ca_material_new_ca(&m, SERVICE, lh_clock_wall_ms(), NULL), 0);
    assert_int_equal(ca_material_new_leaf(&m, SERVICE, NULL), 0);
    assert_int_equal(ca_material_write(&m, secret, &written, NULL), 0);
    assert_string_equal(lh_json_get_z(lh_json_get(written, "metadata"), "resourceVersion"), "7");
    assert_int_equal(ca_material_read(written, &again, NULL), 0);
    ca_material_facts(&again, &f);
    assert_true(f.has_ca && f.has_ca_key && f.has_leaf && f.leaf_by_newest);
    assert_string_equal(again.bundle, m.bundle);
    assert_string_equal(again.leaf, m.leaf);
    ca_material_done(&m);
    ca_material_done(&again);
}

/* Overlap: the old CA stays behind the new one, and the old leaf is still good, though not of the
 * newest. */
static void new_ca_overlaps(void **state)
{
    lh_auto_json lh_json *secret = empty_secret();
    struct ca_material m = {0};
    struct ca_facts f;
    unsigned n = 0;

    (void)state;
    assert_int_equal(ca_material_read(secret, &m, NULL), 0);
    assert_int_equal(ca_material_new_ca(&m, SERVICE, lh_clock_wall_ms(), NULL), 0);
    assert_int_equal(ca_material_new_leaf(&m, SERVICE, NULL), 0);
    assert_int_equal(ca_material_new_ca(&m, SERVICE, lh_clock_wall_ms(), NULL), 0);
    assert_int_equal(lh_x509_bundle_count(lh_str(m.bundle), &n, NULL), 0);
    assert_int_equal(n, 2);
    assert_int_equal(lh_x509_verify(lh_str(m.leaf), lh_str(m.bundle), NULL), 0);
    ca_material_facts(&m, &f);
    assert_true(f.has_ca_key && f.has_leaf);
    assert_false(f.leaf_by_newest);
    assert_int_equal(ca_material_new_leaf(&m, SERVICE, NULL), 0);
    ca_material_facts(&m, &f);
    assert_true(f.leaf_by_newest);
    ca_material_done(&m);
}

/* A damaged Secret is not an error: what is broken is made anew. */
static void damage_is_seen(void **state)
{
    lh_auto_json lh_json *secret = NULL;
    struct ca_material m = {0};
    struct ca_facts f;

    (void)state;
    assert_int_equal(
        lh_json_parse(
            LH_STR("{\"data\":{\"ca.crt\":\"Z2FyYmFnZQ==\",\"ca.key\":\"!\",\"tls.crt\":\"\"}}"),
            NULL, &secret, NULL),
        0);
    assert_int_equal(ca_material_read(secret, &m, NULL), 0);
    ca_material_facts(&m, &f);
    assert_false(f.has_ca || f.has_ca_key || f.has_leaf);
    ca_material_done(&m);
}

static int setup(void **state)
{
    (void)state;
    lh_json_init();
    return lh_crypto_init(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(new_ca_overlaps),
        cmocka_unit_test(damage_is_seen),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
