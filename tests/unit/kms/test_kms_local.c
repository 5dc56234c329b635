/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include <stdio.h>
#include <string.h>

#include "backend.h"
#include "leasehold/core/mem.h"
#include "support.h"

#define A "a AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
#define B "b AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n"

static struct lh_test_scratch scratch;
static struct lh_loop *loop;
static char path[300];

static struct kms_version first;
static size_t n_versions;
static int failed;
static char sealed[256];
static size_t sealed_n;
static char opened[64];

static int setup(void **state)
{
    (void)state;
    if (lh_test_scratch_new(&scratch) < 0)
        return -1;
    snprintf(path, sizeof(path), "%s/keys", scratch.path);
    return lh_loop_new(&loop, NULL);
}

static int teardown(void **state)
{
    (void)state;
    lh_loop_free(loop);
    lh_test_scratch_done(&scratch);
    return 0;
}

static void on_facts(void *arg, const struct kms_facts *f, const struct lh_err *err)
{
    (void)arg;
    failed = err ? err->code : 0;
    if (err)
        return;
    n_versions = f->n;
    first = f->versions[f->latest];
}

static void on_sealed(void *arg, struct lh_str ciphertext, const struct lh_err *err)
{
    (void)arg;
    failed = err ? err->code : 0;
    sealed_n = err ? 0 : ciphertext.n;
    if (sealed_n)
        memcpy(sealed, ciphertext.p, sealed_n);
}

static void on_opened(void *arg, const struct lh_secret *plain, const struct lh_err *err)
{
    (void)arg;
    failed = err ? err->code : 0;
    if (!err)
        snprintf(opened, sizeof(opened), "%.*s", (int)lh_secret_len(plain),
                 (const char *)lh_secret_expose_const(plain));
}

static void the_first_key_encrypts_and_all_decrypt(void **state)
{
    struct kms_backend *b = NULL;
    struct kms_version a;

    (void)state;
    assert_int_equal(lh_test_write(scratch.fd, "keys", "# keys\n" A), 0);
    assert_int_equal(kms_local_new(loop, path, &b, NULL), 0);
    b->ops->look(b, 0, on_facts, NULL);
    assert_int_equal(n_versions, 1);
    a = first;
    b->ops->encrypt(b, &a, LH_STR("seed"), LH_STR("aad"), 0, on_sealed, NULL);
    assert_int_equal(failed, 0);
    assert_null(memmem(sealed, sealed_n, "seed", 4));

    assert_int_equal(lh_test_write(scratch.fd, "keys", B "\n" A), 0);
    b->ops->look(b, 0, on_facts, NULL);
    assert_int_equal(n_versions, 2);
    assert_string_not_equal(first.mark, a.mark);
    b->ops->decrypt(b, &a, (struct lh_str){sealed, sealed_n}, LH_STR("aad"), 0, on_opened, NULL);
    assert_int_equal(failed, 0);
    assert_string_equal(opened, "seed");
    b->ops->decrypt(b, &first, (struct lh_str){sealed, sealed_n}, LH_STR("aad"), 0, on_opened,
                    NULL);
    assert_int_equal(failed, LH_E_INVALID);
    b->ops->decrypt(b, &a, (struct lh_str){sealed, sealed_n}, LH_STR("bad"), 0, on_opened, NULL);
    assert_int_equal(failed, LH_E_INVALID);

    assert_int_equal(lh_test_write(scratch.fd, "keys", B), 0);
    b->ops->look(b, 0, on_facts, NULL);
    b->ops->decrypt(b, &a, (struct lh_str){sealed, sealed_n}, LH_STR("aad"), 0, on_opened, NULL);
    assert_int_equal(failed, LH_E_NOTFOUND);
    b->ops->free(b);
}

static struct bad {
    const char *name, *text;
} bads[] = {
    {"nothing", ""},
    {"a comment alone", "# later\n"},
    {"no name", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"},
    {"31 bytes", "a AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==\n"},
    {"33 bytes", "a AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"},
    {"no base64", "a ????\n"},
    {"one key twice", A "c AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"},
};

static void refuses(void **state)
{
    const struct bad *r = *state;
    struct kms_backend *b = NULL;
    struct lh_err err = {0};

    assert_int_equal(setup(NULL), 0);
    assert_int_equal(lh_test_write(scratch.fd, "keys", r->text), 0);
    assert_int_equal(kms_local_new(loop, path, &b, &err), -LH_E_INVALID);
    assert_null(b);
    assert_null(strstr(err.msg, "AAAA")); /* never the key */

    /* And one that served keeps what it has. */
    assert_int_equal(lh_test_write(scratch.fd, "keys", A), 0);
    assert_int_equal(kms_local_new(loop, path, &b, NULL), 0);
    b->ops->look(b, 0, on_facts, NULL);
    assert_int_equal(lh_test_write(scratch.fd, "keys", r->text), 0);
    b->ops->look(b, 0, on_facts, NULL);
    assert_int_equal(failed, LH_E_INVALID);
    b->ops->encrypt(b, &first, LH_STR("seed"), LH_STR(""), 0, on_sealed, NULL);
    assert_int_equal(failed, 0);
    b->ops->free(b);
    teardown(NULL);
}

int main(void)
{
    rows_tests[rows_n++] = (struct CMUnitTest)cmocka_unit_test_setup_teardown(
        the_first_key_encrypts_and_all_decrypt, setup, teardown);
    ROWS(refuses, bads);
    return rows_run("kms_local");
}
