/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"

/* FIPS 180-2 and RFC 4231. */
static struct vector {
    const char *name, *key, *text, *want;
} vectors[] = {
    {"sha256 of nothing", NULL, "",
     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"sha256 of abc", NULL, "abc",
     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"hmac, RFC 4231 case 2", "Jefe", "what do ya want for nothing?",
     "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
    {"hmac with an empty key", "", "",
     "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"},
};

static void gives_the_published_digest(void **state)
{
    const struct vector *v = *state;
    uint8_t md[LH_HASH_LEN];
    char hex[2 * LH_HASH_LEN + 1];
    int rc;

    if (v->key)
        rc = lh_hmac_sha256(v->key, strlen(v->key), v->text, strlen(v->text), md, NULL);
    else
        rc = lh_sha256(v->text, strlen(v->text), md, NULL);
    assert_int_equal(rc, 0);
    lh_hex(md, sizeof(md), hex);
    assert_string_equal(hex, v->want);
}

static void keyed_hashes_tell_equal_from_different(void **state)
{
    struct lh_keyed_hash a, b, c;
    uint8_t plain[LH_HASH_LEN];

    (void)state;
    assert_int_equal(lh_keyed_hash("s3cr3t", 6, &a, NULL), 0);
    assert_int_equal(lh_keyed_hash("s3cr3t", 6, &b, NULL), 0);
    assert_int_equal(lh_keyed_hash("s3cr3T", 6, &c, NULL), 0);
    assert_true(lh_keyed_hash_equal(&a, &b));
    assert_false(lh_keyed_hash_equal(&a, &c));
    assert_int_equal(lh_sha256("s3cr3t", 6, plain, NULL), 0);
    assert_memory_not_equal(a.b, plain, sizeof(plain));
}

static void says_out_of_memory_and_leaves_the_output(void **state)
{
    uint8_t md[LH_HASH_LEN];
    struct lh_err err = {0};
    int rc = -LH_E_NOMEM;

    (void)state;
    for (unsigned long n = 1; rc < 0; n++) {
        memset(md, 0xaa, sizeof(md));
        lh_mem_fail_at(n);
        rc = lh_hmac_sha256("k", 1, "t", 1, md, &err);
        lh_mem_fail_at(0);
        if (rc == 0)
            break;
        assert_int_equal(rc, -LH_E_NOMEM);
        assert_int_equal(md[0], 0xaa);
        assert_true(n < 1000);
    }
}

static void init_is_idempotent(void **state)
{
    (void)state;
    assert_int_equal(lh_crypto_init(NULL), 0);
}

int main(void)
{
    struct CMUnitTest tests[LH_ARRAY_LEN(vectors) + 3];
    size_t n = 0;

    if (lh_crypto_init(NULL) < 0)
        return 1;
    for (size_t i = 0; i < LH_ARRAY_LEN(vectors); i++)
        tests[n++] = (struct CMUnitTest){.name = vectors[i].name,
                                         .test_func = gives_the_published_digest,
                                         .initial_state = &vectors[i]};
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(keyed_hashes_tell_equal_from_different);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(says_out_of_memory_and_leaves_the_output);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(init_is_idempotent);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
