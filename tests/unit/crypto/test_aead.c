/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "leasehold/core/mem.h"
#include "leasehold/crypto/aead.h"
#include "leasehold/crypto/hash.h"

#define AAD LH_STR("/registry/secrets/default/s1")

static struct lh_secret *counting(unsigned char first, size_t n)
{
    struct lh_secret *s = NULL;
    unsigned char *p;

    assert_int_equal(lh_secret_new(n, &s, NULL), 0);
    p = lh_secret_expose(s);
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)(first + i);
    return s;
}

/* The envelope of KMS v2: seed 00.., info 20.., nonce 40..; computed with Go's x/crypto as well. */
static void kms_v2_vector(void **state)
{
    lh_auto_secret struct lh_secret *seed = counting(0, 32), *info = counting(0x20, 32);
    lh_auto_secret struct lh_secret *nonce = counting(0x40, LH_AEAD_NONCE_LEN), *dek = NULL;
    lh_auto_secret struct lh_secret *back = NULL;
    lh_auto_buf struct lh_buf b;
    char hex[128];

    (void)state;
    assert_int_equal(lh_hkdf_expand(seed, (struct lh_str){lh_secret_expose(info), 32}, &dek, NULL),
                     0);
    lh_hex(lh_secret_expose(dek), 32, hex);
    assert_string_equal(hex, "ccb4f05e673c90bd153935b11d0dabfc00537bc35cf92953deac178dd081ef8d");
    lh_buf_init(&b, 1024);
    assert_int_equal(
        lh_aead_seal_with(dek, lh_secret_expose(nonce), LH_STR("k8s\0hello"), AAD, &b, NULL), 0);
    assert_int_equal(b.n, 9 + LH_AEAD_OVERHEAD);
    lh_hex(b.p + LH_AEAD_NONCE_LEN, b.n - LH_AEAD_NONCE_LEN, hex);
    assert_string_equal(hex, "6c3858a1c76e1205c12bb95415f27d27443a2497f32e548853");
    assert_int_equal(lh_aead_open(dek, lh_buf_peek(&b), AAD, &back, NULL), 0);
    assert_int_equal(lh_secret_len(back), 9);
    assert_memory_equal(lh_secret_expose(back), "k8s\0hello", 9);
}

/* Every bit of what was sealed, its aad and its key counts. */
static void changed_is_refused(void **state)
{
    lh_auto_secret struct lh_secret *key = counting(7, 32), *other = counting(8, 32);
    lh_auto_secret struct lh_secret *out = NULL;
    lh_auto_buf struct lh_buf b;

    (void)state;
    lh_buf_init(&b, 1024);
    assert_int_equal(lh_aead_seal(key, LH_STR("secret"), AAD, &b, NULL), 0);
    for (size_t bit = 0; bit < b.n * 8; bit++) {
        b.p[bit / 8] = (char)(b.p[bit / 8] ^ (1 << bit % 8));
        assert_int_equal(lh_aead_open(key, lh_buf_peek(&b), AAD, &out, NULL), -LH_E_INVALID);
        b.p[bit / 8] = (char)(b.p[bit / 8] ^ (1 << bit % 8));
    }
    for (size_t n = 0; n < b.n; n++)
        assert_int_equal(lh_aead_open(key, (struct lh_str){b.p, n}, AAD, &out, NULL),
                         -LH_E_INVALID);
    assert_int_equal(lh_aead_open(key, lh_buf_peek(&b), LH_STR("x"), &out, NULL), -LH_E_INVALID);
    assert_int_equal(lh_aead_open(other, lh_buf_peek(&b), AAD, &out, NULL), -LH_E_INVALID);
    assert_null(out);
}

static void limits(void **state)
{
    lh_auto_secret struct lh_secret *key = counting(0, 32), *shorter = counting(0, 31);
    lh_auto_secret struct lh_secret *big = counting(0, 64 * 1024), *out = NULL;
    struct lh_str whole = {lh_secret_expose(big), lh_secret_len(big)};
    lh_auto_buf struct lh_buf b;

    (void)state;
    lh_buf_init(&b, (size_t)128 * 1024);
    assert_int_equal(lh_aead_seal(shorter, LH_STR("a"), LH_STR(""), &b, NULL), -LH_E_INVALID);
    assert_int_equal(lh_aead_seal(key, whole, LH_STR(""), &b, NULL), 0);
    assert_int_equal(lh_aead_open(key, lh_buf_peek(&b), LH_STR(""), &out, NULL), 0);
    assert_true(lh_secret_equal(out, big));
    whole.n++;
    assert_int_equal(lh_aead_seal(key, whole, LH_STR(""), &b, NULL), -LH_E_INVALID);
    out = lh_secret_free(out);
    lh_buf_reset(&b);
    assert_int_equal(lh_aead_seal(key, LH_STR(""), LH_STR(""), &b, NULL), 0);
    assert_int_equal(lh_aead_open(key, lh_buf_peek(&b), LH_STR(""), &out, NULL), 0);
    assert_int_equal(lh_secret_len(out), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kms_v2_vector),
        cmocka_unit_test(changed_is_refused),
        cmocka_unit_test(limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
