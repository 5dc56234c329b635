/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "key.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/rand.h"

enum { SEC = 1000, MIN = 60 * SEC, WALL = 1795538083 };

static const struct kms_scope scope = {
    .cluster = "c1", .backend = "transit", .namespace_ = "", .mount = "transit", .key = "kms"};
static const struct kms_settle settle = {.observations = 3, .delay_ms = 2 * MIN};

static struct kms_version versions[16];
static struct kms_facts facts = {.versions = versions};
static struct kms_keys keys;
static lh_ms now;

/* Versions 1 to n, made an hour apart, the newest long ago. */
static void transit(size_t n)
{
    facts = (struct kms_facts){.versions = versions, .n = n, .latest = n - 1};
    for (size_t i = 0; i < n; i++)
        versions[i] = (struct kms_version){.version = (int64_t)i + 1,
                                           .created_s = WALL - 3600 * (int64_t)(16 - i)};
}

static bool observe(lh_ms after)
{
    bool changed = false;

    now += after;
    assert_int_equal(kms_keys_observe(&keys, &facts, now, WALL + now / SEC, &changed, NULL), 0);
    return changed;
}

static int setup(void **state)
{
    (void)state;
    now = 0;
    kms_keys_init(&keys, &scope, &settle);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    kms_keys_done(&keys);
    return 0;
}

static void a_new_version_is_advertised_when_seen_often_and_long_enough(void **state)
{
    char first[KMS_KEY_ID_SIZE];

    (void)state;
    transit(1);
    assert_true(observe(0));
    assert_int_equal(keys.current->v.version, 1);
    memcpy(first, keys.current->id, sizeof(first));
    transit(2);
    assert_false(observe(MIN)); /* seen once */
    assert_int_equal(keys.candidate->v.version, 2);
    assert_false(observe(30 * SEC));
    assert_false(observe(30 * SEC)); /* often enough, not long enough */
    assert_string_equal(keys.current->id, first);
    assert_true(observe(MIN));
    assert_int_equal(keys.current->v.version, 2);
    assert_null(keys.candidate);
    assert_true(kms_keys_find(&keys, lh_str(first))->there); /* and decrypts */
    assert_false(observe(MIN));
}

static void it_is_known_to_the_others_before_it_is_advertised(void **state)
{
    (void)state;
    transit(1);
    observe(0);
    transit(2);
    observe(MIN);
    assert_int_equal(keys.current->v.version, 1);
    assert_non_null(kms_keys_find(&keys, lh_str(keys.candidate->id)));
}

static void often_is_not_long_and_long_is_not_often(void **state)
{
    (void)state;
    transit(1);
    observe(0);
    transit(2);
    for (int i = 0; i < 100; i++)
        assert_false(observe(SEC));
    kms_keys_done(&keys);
    setup(NULL);
    transit(1);
    observe(0);
    transit(2);
    assert_false(observe(0));
    assert_false(observe(60 * MIN));
    assert_true(observe(SEC));
}

static void a_third_version_starts_the_wait_anew(void **state)
{
    (void)state;
    transit(1);
    observe(0);
    transit(2);
    observe(0);
    observe(MIN);
    transit(3);
    assert_false(observe(MIN + SEC));
    assert_int_equal(keys.current->v.version, 1);
    observe(MIN);
    assert_true(observe(MIN + SEC));
    assert_int_equal(keys.current->v.version, 3);
}

static void who_starts_just_after_a_rotation_waits_as_well(void **state)
{
    (void)state;
    transit(2);
    versions[1].created_s = WALL - 30;
    assert_true(observe(0));
    assert_int_equal(keys.current->v.version, 1);
    assert_int_equal(keys.candidate->v.version, 2);
    kms_keys_done(&keys);
    setup(NULL);
    versions[1].created_s = WALL - 121;
    observe(0);
    assert_int_equal(keys.current->v.version, 2);
    kms_keys_done(&keys);
    setup(NULL);
    versions[1].created_s = WALL - 30;
    facts.min_encryption = 2; /* the older one may not encrypt any more */
    observe(0);
    assert_int_equal(keys.current->v.version, 2);
}

static void a_version_that_may_not_encrypt_is_left_at_once(void **state)
{
    (void)state;
    transit(1);
    observe(0);
    transit(2);
    facts.min_encryption = 2;
    assert_true(observe(SEC));
    assert_int_equal(keys.current->v.version, 2);
    assert_int_equal(keys.lost.code, 0);
}

static void a_key_that_was_made_again_is_not_written_under(void **state)
{
    char first[KMS_KEY_ID_SIZE];

    (void)state;
    transit(1);
    observe(0);
    memcpy(first, keys.current->id, sizeof(first));
    versions[0].created_s++;
    assert_false(observe(MIN));
    assert_int_equal(keys.lost.code, LH_E_CONFLICT);
    assert_string_equal(keys.current->id, first);
    observe(MIN);
    assert_true(
        observe(MIN + SEC)); /* nobody puts it right: the new key takes over, by another id */
    assert_string_not_equal(keys.current->id, first);
    assert_int_equal(keys.lost.code, 0);
}

static void a_key_does_not_go_back(void **state)
{
    (void)state;
    transit(1);
    observe(0);
    transit(2);
    for (int i = 0; i < 5; i++)
        observe(MIN);
    assert_int_equal(keys.current->v.version, 2);
    transit(1); /* a backup from before was restored */
    for (int i = 0; i < 10; i++)
        assert_false(observe(MIN));
    assert_int_equal(keys.current->v.version, 2);
    assert_int_equal(keys.lost.code, LH_E_CONFLICT);
    transit(2);
    versions[1].created_s += 7; /* rotated as the text says */
    for (int i = 0; i < 5; i++)
        observe(MIN);
    assert_int_equal(keys.lost.code, 0);
    assert_int_equal(keys.current->v.created_s, versions[1].created_s);
}

static void a_generation_makes_ids_new_and_knows_the_old(void **state)
{
    struct kms_scope again = scope;
    char first[KMS_KEY_ID_SIZE];

    (void)state;
    transit(1);
    observe(0);
    memcpy(first, keys.current->id, sizeof(first));
    kms_keys_done(&keys);
    again.generation = 2;
    kms_keys_init(&keys, &again, &settle);
    observe(0);
    assert_string_not_equal(keys.current->id, first);
    assert_non_null(kms_keys_find(&keys, lh_str(first)));
    assert_int_equal(keys.all.n, 3);
}

/* Whatever is different, the id is; and it is the same in another process. */
static void an_id_is_of_one_version_alone(void **state)
{
    const struct kms_version v = {.version = 3, .created_s = WALL};
    struct kms_scope s[] = {scope, scope, scope, scope, scope, scope, scope};
    struct kms_version w[] = {v, v, v, {.version = 4, .created_s = WALL}, v, v, v};
    char ids[10][KMS_KEY_ID_SIZE], again[KMS_KEY_ID_SIZE];
    size_t n = LH_ARRAY_LEN(s);

    (void)state;
    s[0].cluster = "c2";
    s[1].mount = "transit2";
    s[2].key = "other";
    w[4].created_s++;
    s[5].namespace_ = "team";
    /* The border between two fields is part of it. */
    s[6].mount = "transi";
    s[6].key = "tkms";
    for (size_t i = 0; i < n; i++)
        assert_int_equal(kms_key_id(&s[i], 0, &w[i], ids[i], NULL), 0);
    assert_int_equal(kms_key_id(&scope, 0, &v, ids[n], NULL), 0);
    assert_int_equal(kms_key_id(&scope, 1, &v, ids[n + 1], NULL), 0);
    for (size_t i = 0; i < n + 2; i++) {
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(ids[i], ids[k]);
    }
    assert_int_equal(kms_key_id(&scope, 0, &v, again, NULL), 0);
    assert_string_equal(again, ids[n]);
    assert_string_equal(again, "2106664aa25394d2e194cd1c678d1fa376bcde122cd1a9280cd06f8145fd7a43");
}

/* A long life of rotations, re-creations, restores and minimums: an id that was left never comes
 * back, none changes hands, and nothing is advertised that may not encrypt. */
static void no_id_is_ever_used_twice(void **state)
{
    static char left[4096][KMS_KEY_ID_SIZE];
    char before[KMS_KEY_ID_SIZE] = "";
    int64_t clock_s = WALL;
    size_t n_left = 0;

    (void)state;
    lh_rand_seed(5);
    transit(1);
    for (int i = 0; i < 20000; i++) {
        int64_t dice = lh_rand_between(0, 99);

        clock_s += 60;
        if (dice < 4 && facts.n < LH_ARRAY_LEN(versions)) {
            versions[facts.n] =
                (struct kms_version){.version = (int64_t)facts.n + 1, .created_s = clock_s};
            facts.n++;
        } else if (dice < 6 && facts.n > 1) {
            facts.n--; /* restored from before the rotation */
        } else if (dice == 6) {
            facts.n = 1; /* deleted and made again */
            versions[0] = (struct kms_version){.version = 1, .created_s = clock_s};
        }
        facts.latest = facts.n - 1;
        observe(lh_rand_between(1, 2 * MIN));
        if (strcmp(before, keys.current->id) == 0)
            continue;
        for (size_t k = 0; k < n_left; k++)
            assert_string_not_equal(left[k], keys.current->id);
        assert_true(n_left < LH_ARRAY_LEN(left));
        memcpy(left[n_left++], before, sizeof(before));
        memcpy(before, keys.current->id, sizeof(before));
    }
    assert_true(n_left > 20);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_new_version_is_advertised_when_seen_often_and_long_enough),
        T(it_is_known_to_the_others_before_it_is_advertised),
        T(often_is_not_long_and_long_is_not_often),
        T(a_third_version_starts_the_wait_anew),
        T(who_starts_just_after_a_rotation_waits_as_well),
        T(a_version_that_may_not_encrypt_is_left_at_once),
        T(a_key_that_was_made_again_is_not_written_under),
        T(a_key_does_not_go_back),
        T(a_generation_makes_ids_new_and_knows_the_old),
        T(an_id_is_of_one_version_alone),
        T(no_id_is_ever_used_twice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
