/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "csi_wire.h"
#include "leasehold/core/mem.h"

#define TOKENS "{\"vault\":{\"token\":\"t0ken\"}}"

enum { ID = 1, TARGET = 4, CAPABILITY = 5, READONLY = 6, SECRETS = 7, CONTEXT = 8 };

static struct lh_buf b;
static struct csi_publish p;
static struct csi_volume v;

static int setup(void **state)
{
    (void)state;
    lh_buf_init(&b, 1 << 20);
    p = (struct csi_publish){0};
    v = (struct csi_volume){0};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lh_buf_done(&b);
    csi_publish_done(&p);
    csi_volume_done(&v);
    return 0;
}

/* ---- messages, as protobuf's encoding page has them; everything here is short ---- */

static void bytes(struct lh_buf *to, int number, const char *from, size_t n)
{
    lh_buf_put_c(to, (char)(number << 3 | 2));
    if (n > 127) {
        lh_buf_put_c(to, (char)((n & 127) | 128));
        lh_buf_put_c(to, (char)(n >> 7));
        lh_buf_put(to, from, n);
        return;
    }
    lh_buf_put_c(to, (char)n);
    lh_buf_put(to, from, n);
}

static void text(struct lh_buf *to, int number, const char *z)
{
    bytes(to, number, z, strlen(z));
}

static void pair(int number, const char *key, const char *value)
{
    lh_auto_buf struct lh_buf entry;

    lh_buf_init(&entry, 1024);
    text(&entry, 1, key);
    text(&entry, 2, value);
    bytes(&b, number, lh_buf_peek(&entry).p, lh_buf_peek(&entry).n);
}

static void mount_capability(const char *group, const char *flag)
{
    lh_auto_buf struct lh_buf m, c;

    lh_buf_init(&m, 1024);
    lh_buf_init(&c, 1024);
    if (flag)
        text(&m, 2, flag);
    if (group)
        text(&m, 3, group);
    bytes(&c, 2, lh_buf_peek(&m).p, lh_buf_peek(&m).n);
    bytes(&b, CAPABILITY, lh_buf_peek(&c).p, lh_buf_peek(&c).n);
}

static bool same(const struct lh_secret *s, const char *z)
{
    return s && lh_secret_len(s) == strlen(z) &&
           memcmp(lh_secret_expose_const(s), z, strlen(z)) == 0;
}

static int decode(struct lh_err *err)
{
    return csi_decode_publish(lh_buf_peek(&b), &p, err);
}

/* ---- publish ---- */

static void takes_what_kubelet_sends(void **state)
{
    struct lh_err err = {0};

    (void)state;
    text(&b, ID, "csi-1");
    text(&b, TARGET, "/t");
    mount_capability("2000", "context=x");
    lh_buf_put_c(&b, READONLY << 3);
    lh_buf_put_c(&b, 1);
    pair(SECRETS, CSI_TOKENS_KEY, TOKENS);
    pair(SECRETS, "tls.crt", "PEM");
    pair(CONTEXT, CSI_RESERVED_PREFIX "pod.name", "shop");
    pair(CONTEXT, "projection", "db");
    assert_int_equal(decode(&err), 0);
    assert_string_equal(p.volume_id, "csi-1");
    assert_string_equal(p.target_path, "/t");
    assert_true(p.readonly && p.has_capability && p.is_mount);
    assert_string_equal(p.mount_group, "2000");
    assert_string_equal(p.mount_flags[0], "context=x");
    assert_null(p.mount_flags[1]);
    assert_true(same(p.tokens, TOKENS));
    assert_int_equal(p.n_secrets, 1);
    assert_string_equal(p.secrets[0].key, "tls.crt");
    assert_true(same(p.secrets[0].value, "PEM"));
    assert_int_equal(p.n_context, 2);
    assert_string_equal(p.context[1].key, "projection");
    assert_string_equal(p.context[1].value, "db");
    assert_false(p.tokens_in_context_ignored);
}

/* Kubelet before 1.35: the tokens are in the context. */
static void takes_tokens_from_the_context(void **state)
{
    struct lh_err err = {0};

    (void)state;
    pair(CONTEXT, CSI_TOKENS_KEY, TOKENS);
    assert_int_equal(decode(&err), 0);
    assert_true(same(p.tokens, TOKENS));
    assert_int_equal(p.n_context, 0);
    assert_false(p.tokens_in_context_ignored);
}

/* Where kubelet brings them as a secret, the context is the Pod author's. */
static void prefers_tokens_of_the_secrets(void **state)
{
    struct lh_err err = {0};

    (void)state;
    pair(CONTEXT, CSI_TOKENS_KEY, "forged");
    pair(SECRETS, CSI_TOKENS_KEY, TOKENS);
    assert_int_equal(decode(&err), 0);
    assert_true(same(p.tokens, TOKENS));
    assert_true(p.tokens_in_context_ignored);
}

static void takes_an_empty_message(void **state)
{
    struct lh_err err = {0};

    (void)state;
    assert_int_equal(decode(&err), 0);
    assert_string_equal(p.volume_id, "");
    assert_string_equal(p.target_path, "");
    assert_false(p.has_capability || p.is_mount || p.readonly);
    assert_null(p.tokens);
    assert_int_equal(p.n_context + p.n_secrets, 0);
}

static void skips_what_it_does_not_know(void **state)
{
    struct lh_err err = {0};

    (void)state;
    text(&b, 3, "/staging");
    text(&b, 15, "of a later version");
    text(&b, ID, "csi-1");
    assert_int_equal(decode(&err), 0);
    assert_string_equal(p.volume_id, "csi-1");
}

static void a_block_is_no_mount(void **state)
{
    struct lh_err err = {0};

    (void)state;
    bytes(&b, CAPABILITY, "\x0a\x00", 2);
    assert_int_equal(decode(&err), 0);
    assert_true(p.has_capability);
    assert_false(p.is_mount);
}

static struct bad_row {
    const char *name;
    const char *raw; /* added as it is */
    size_t n;
    int map; /* a key twice in this map */
    const char *want;
} bad_rows[] = {
    {"is no protobuf", "\xff\xff\xff", 3, 0, "malformed"},
    {"ends in the middle",
     "\x0a\x7f"
     "abc",
     5, 0, "malformed"},
    {"field number 0", "\x02\x00", 2, 0, "malformed"},
    {"an id that is no UTF-8", "\x0a\x02\xc3\x28", 4, 0, "UTF-8"},
    {"a path that is no UTF-8", "\x22\x01\x80", 3, 0, "UTF-8"},
    {"an attribute twice", NULL, 0, CONTEXT, "twice"},
    {"a secret twice", NULL, 0, SECRETS, "twice"},
    {"an attribute that is no UTF-8", "\x42\x06\x0a\x01k\x12\x01\xff", 8, 0, "UTF-8"},
};

static void refuses(void **state)
{
    const struct bad_row *r = *state;
    struct lh_err err = {0};

    if (r->raw)
        lh_buf_put(&b, r->raw, r->n);
    for (int i = 0; r->map && i < 2; i++)
        pair(r->map, "key", i ? "s3cr3t" : "other");
    assert_int_equal(decode(&err), -LH_E_INVALID);
    assert_non_null(strstr(err.msg, r->want));
    assert_null(strstr(err.msg, "s3cr3t"));
    assert_null(p.volume_id); /* untouched */
}

/* ---- the others ---- */

static void unpublish_and_stats(void **state)
{
    struct lh_err err = {0};

    (void)state;
    text(&b, 1, "csi-1");
    text(&b, 2, "/t");
    assert_int_equal(csi_decode_unpublish(lh_buf_peek(&b), &v, &err), 0);
    assert_string_equal(v.volume_id, "csi-1");
    assert_string_equal(v.path, "/t");
    csi_volume_done(&v);
    assert_int_equal(csi_decode_stats(lh_buf_peek(&b), &v, &err), 0);
    assert_string_equal(v.path, "/t");
    csi_volume_done(&v);
    lh_buf_put_c(&b, '\x0a');
    assert_int_equal(csi_decode_unpublish(lh_buf_peek(&b), &v, &err), -LH_E_INVALID);
    assert_int_equal(csi_decode_stats(lh_buf_peek(&b), &v, &err), -LH_E_INVALID);
    assert_null(v.volume_id);
}

static void registration(void **state)
{
    struct lh_err err = {0};
    char *said = NULL;
    bool ok = true;

    (void)state;
    text(&b, 2, "no");
    assert_int_equal(csi_decode_registered(lh_buf_peek(&b), &ok, &said, &err), 0);
    assert_false(ok);
    assert_string_equal(said, "no");
    lh_free(said);
    said = NULL;
    lh_buf_reset(&b);
    lh_buf_put(&b, "\x0a\x05x", 3);
    ok = true;
    assert_int_equal(csi_decode_registered(lh_buf_peek(&b), &ok, &said, &err), -LH_E_INVALID);
    assert_true(ok && !said);
}

static void assert_bytes(const char *want, size_t n)
{
    assert_int_equal(lh_buf_peek(&b).n, n);
    assert_memory_equal(lh_buf_peek(&b).p, want, n);
    lh_buf_reset(&b);
}

/* Byte for byte as protoc's own encoder writes them. */
static void replies(void **state)
{
    static const char stats[] = "\x0a\x08\x08\x01\x10\x03\x18\x02\x20\x01"
                                "\x0a\x08\x08\x04\x10\x06\x18\x02\x20\x02"
                                "\x12\x05\x08\x01\x12\x01x";
    const struct csi_usage bytes_ = {1, 3, 2}, inodes = {4, 6, 2};

    (void)state;
    csi_put_plugin_info(&b, "d", "1");
    assert_bytes("\x0a\x01"
                 "d\x12\x01"
                 "1",
                 6);
    csi_put_probe(&b, true);
    assert_bytes("\x0a\x02\x08\x01", 4);
    csi_put_probe(&b, false);
    assert_bytes("\x0a\x00", 2);
    csi_put_node_info(&b, "n");
    assert_bytes("\x0a\x01n", 3);
    csi_put_node_capabilities(&b);
    assert_bytes("\x0a\x04\x0a\x02\x08\x02\x0a\x04\x0a\x02\x08\x04\x0a\x04\x0a\x02\x08\x06", 18);
    csi_put_stats(&b, &bytes_, &inodes, true, "x");
    assert_bytes(stats, sizeof(stats) - 1);
    csi_put_registration_info(&b, "d", "/s");
    assert_bytes("\x0a\x09"
                 "CSIPlugin\x12\x01"
                 "d\x1a\x02/s\x22\x05"
                 "1.0.0",
                 25);
}

int main(void)
{
    struct CMUnitTest tests[32] = {
        cmocka_unit_test_setup_teardown(takes_what_kubelet_sends, setup, teardown),
        cmocka_unit_test_setup_teardown(takes_tokens_from_the_context, setup, teardown),
        cmocka_unit_test_setup_teardown(prefers_tokens_of_the_secrets, setup, teardown),
        cmocka_unit_test_setup_teardown(takes_an_empty_message, setup, teardown),
        cmocka_unit_test_setup_teardown(skips_what_it_does_not_know, setup, teardown),
        cmocka_unit_test_setup_teardown(a_block_is_no_mount, setup, teardown),
        cmocka_unit_test_setup_teardown(unpublish_and_stats, setup, teardown),
        cmocka_unit_test_setup_teardown(registration, setup, teardown),
        cmocka_unit_test_setup_teardown(replies, setup, teardown),
    };
    size_t n = 9;

    for (size_t i = 0; i < LH_ARRAY_LEN(bad_rows); i++)
        tests[n++] = (struct CMUnitTest){bad_rows[i].name, refuses, setup, teardown, &bad_rows[i]};
    return _cmocka_run_group_tests("csi_wire", tests, n, NULL, NULL);
}
