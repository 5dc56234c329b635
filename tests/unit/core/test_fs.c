/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "leasehold/core/fs.h"
#include "support.h"

static struct lh_test_scratch dir;

static int setup(void **state)
{
    (void)state;
    return lh_test_scratch_new(&dir);
}

static int teardown(void **state)
{
    (void)state;
    lh_fs_fail_at(0, 0);
    lh_test_scratch_done(&dir);
    return 0;
}

static void reads_whole_files(void **state)
{
    char *p = NULL;
    size_t n = 0;

    (void)state;
    assert_int_equal(lh_test_write(dir.fd, "a", "content"), 0);
    assert_int_equal(lh_fs_read_at(dir.fd, "a", 7, &p, &n, NULL), 0);
    assert_int_equal(n, 7);
    assert_string_equal(p, "content");
    lh_free(p);
    p = NULL;
    assert_int_equal(lh_fs_read_at(AT_FDCWD, "/proc/self/status", 65536, &p, &n, NULL), 0);
    assert_true(n > 100);
    lh_free(p);
}

static void refuses(void **state)
{
    static const struct {
        const char *name;
        size_t cap;
        int code;
    } rows[] = {
        {"absent", 10, LH_E_NOTFOUND}, {"seven", 6, LH_E_TOOBIG}, {"folder", 10, LH_E_INVALID},
        {"pipe", 10, LH_E_INVALID},    {"seven/x", 10, LH_E_OS},
    };
    struct lh_err err;

    (void)state;
    assert_int_equal(lh_test_write(dir.fd, "seven", "content"), 0);
    assert_int_equal(mkdirat(dir.fd, "folder", 0700), 0);
    assert_int_equal(mkfifoat(dir.fd, "pipe", 0600), 0);
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        char *p = NULL;
        size_t n = 99;

        assert_int_equal(lh_fs_read_at(dir.fd, rows[i].name, rows[i].cap, &p, &n, &err),
                         -rows[i].code);
        assert_null(p);
        assert_int_equal(n, 99);
        assert_non_null(strstr(err.msg, rows[i].name));
    }
    assert_int_equal(
        lh_fs_read_at(AT_FDCWD, "/proc/self/status", 20, &(char *){NULL}, &(size_t){0}, NULL),
        -LH_E_TOOBIG);
}

static void replaces_with_mode(void **state)
{
    mode_t old = umask(077);
    struct stat st;

    (void)state;
    assert_int_equal(lh_fs_replace_at(dir.fd, "f", 0644, "one", 3, NULL), 0);
    assert_int_equal(lh_fs_replace_at(dir.fd, "f", 0440, "twoo", 4, NULL), 0);
    umask(old);
    assert_true(lh_test_file_is(dir.fd, "f", "twoo"));
    assert_int_equal(fstatat(dir.fd, "f", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0440);
    assert_int_equal(mkdirat(dir.fd, "sub", 0700), 0);
    assert_int_equal(lh_fs_replace_at(dir.fd, "sub/g", 0600, "x", 1, NULL), 0);
    assert_true(lh_test_file_is(dir.fd, "sub/g", "x"));
}

static void replaces_over_a_crash(void **state)
{
    (void)state;
    assert_int_equal(lh_test_write(dir.fd, ".f.new", "half"), 0);
    assert_int_equal(lh_fs_replace_at(dir.fd, "f", 0600, "whole", 5, NULL), 0);
    assert_true(lh_test_file_is(dir.fd, "f", "whole"));
    assert_int_equal(faccessat(dir.fd, ".f.new", F_OK, 0), -1);
}

/* Whatever call fails: the old content or the new one, and no temporary file. */
static void torture_replace(void **state)
{
    int failures = 0;

    (void)state;
    for (unsigned long nth = 1;; nth++) {
        int rc;

        assert_int_equal(lh_fs_replace_at(dir.fd, "f", 0600, "old", 3, NULL), 0);
        lh_fs_fail_at(nth, EIO);
        rc = lh_fs_replace_at(dir.fd, "f", 0600, "newer", 5, NULL);
        assert_int_equal(lh_fs_has_failed(), rc < 0);
        lh_fs_fail_at(0, 0);
        assert_false(lh_fs_has_failed());
        assert_true(lh_test_file_is(dir.fd, "f", rc < 0 ? "old" : "newer"));
        assert_int_equal(faccessat(dir.fd, ".f.new", F_OK, 0), -1);
        if (rc == 0)
            break;
        assert_int_equal(rc, -LH_E_OS);
        failures++;
    }
    assert_int_equal(failures, 5); /* open, chmod, write, sync, rename */
}

static void full_disk_is_told(void **state)
{
    struct lh_err err = {0};
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC), rc;

    (void)state;
    assert_true(fd >= 0);
    rc = lh_fs_write_all(fd, "x", 1, "the file", &err);
    close(fd);
    assert_int_equal(rc, -LH_E_OS);
    assert_int_equal(err.os, ENOSPC);
    assert_non_null(strstr(err.msg, "the file"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_whole_files, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(replaces_with_mode, setup, teardown),
        cmocka_unit_test_setup_teardown(replaces_over_a_crash, setup, teardown),
        cmocka_unit_test_setup_teardown(torture_replace, setup, teardown),
        cmocka_unit_test(full_disk_is_told),
    };

    return cmocka_run_group_tests_name("core/fs", tests, NULL, NULL);
}
