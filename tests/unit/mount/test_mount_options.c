/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "leasehold/core/mem.h"
#include "options.h"

static int parse(const char *const *args, struct lh_mount_options *o, struct lh_err *err)
{
    static char program[] = "leasehold-mount";
    char *argv[8] = {program};
    int argc = 1;

    for (; args[argc - 1]; argc++)
        argv[argc] = (char *)args[argc - 1];
    return lh_mount_options_parse(argc, argv, o, err);
}

static void takes(void **state)
{
    struct lh_mount_options o;
    struct lh_err err;

    (void)state;
    assert_int_equal(parse((const char *[]){NULL}, &o, &err), 0);
    assert_string_equal(o.kubelet_dir, "/var/lib/kubelet");
    assert_int_equal(o.peer_uid, 65532);
    assert_int_equal(o.log_level, LH_LOG_INFO);
    assert_false(o.help || o.version || o.docs);
    assert_int_equal(parse((const char *[]){"--kubelet-dir", "/k", "--socket=/s", "--peer-uid",
                                            "1000", "--log-level=debug", NULL},
                           &o, &err),
                     0);
    assert_string_equal(o.kubelet_dir, "/k");
    assert_string_equal(o.socket, "/s");
    assert_int_equal(o.peer_uid, 1000);
    assert_int_equal(o.log_level, LH_LOG_DEBUG);
    assert_int_equal(parse((const char *[]){"-h", "--version", "--docs", "man", NULL}, &o, &err),
                     0);
    assert_true(o.help && o.version);
    assert_string_equal(o.docs, "man");
}

static void refuses(void **state)
{
    static const struct {
        const char *args[4], *text;
    } rows[] = {
        {{"--nonsense"}, "--help"},
        {{"-x"}, "--help"},
        {{"--socket"}, "--help"},
        {{"--peer-uid", "0"}, "--peer-uid"},
        {{"--peer-uid", "4294967295"}, "--peer-uid"},
        {{"--peer-uid", "nobody"}, "--peer-uid"},
        {{"--log-level", "loud"}, "--log-level"},
        {{"serve"}, "unexpected"},
    };

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        struct lh_mount_options o = {.peer_uid = 7};
        struct lh_err err;

        assert_int_equal(parse(rows[i].args, &o, &err), -LH_E_INVALID);
        assert_non_null(strstr(err.msg, rows[i].text));
        assert_int_equal(o.peer_uid, 7);
    }
}

static void documents(void **state)
{
    struct lh_err err;
    struct lh_buf b;

    (void)state;
    lh_buf_init(&b, 65536);
    lh_mount_options_help(&b);
    assert_non_null(strstr(lh_buf_peek(&b).p, "-h, --help"));
    lh_buf_reset(&b);
    assert_int_equal(lh_mount_options_docs("flags", &b, &err), 0);
    assert_non_null(strstr(lh_buf_peek(&b).p, "| `--peer-uid N` | `65532` | "));
    lh_buf_reset(&b);
    assert_int_equal(lh_mount_options_docs("man", &b, &err), 0);
    assert_non_null(strstr(lh_buf_peek(&b).p, ".It Fl -kubelet-dir Ar DIR\n"));
    assert_int_equal(lh_mount_options_docs("metrics", &b, &err), -LH_E_INVALID);
    lh_buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes),
        cmocka_unit_test(refuses),
        cmocka_unit_test(documents),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
