/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/rand.h"
#include "leasehold/core/secret.h"
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
    lh_mem_fail_at(0);
    lh_test_scratch_done(&dir);
    return 0;
}

/* Runs fn in a child that has no secrets yet, stderr closed; its exit code, or -1 for a signal. */
static int in_child(int (*fn)(void))
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

        dup2(null, 2);
        _exit(fn());
    }
    if (waitpid(pid, &status, 0) != pid)
        return -2;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int with_memlock(rlim_t bytes, struct lh_secret_stats *st)
{
    struct rlimit rl = {bytes, bytes};

    if (setrlimit(RLIMIT_MEMLOCK, &rl) < 0 || (geteuid() == 0 && setuid(65534) < 0) ||
        lh_secret_init(256 * 1024, NULL) < 0)
        return 1;
    lh_secret_stats(st);
    return 0;
}

static int works(void)
{
    struct lh_secret *s = NULL;

    if (lh_secret_copy("x", 1, &s, NULL) < 0 || *(char *)lh_secret_expose(s) != 'x')
        return 3;
    lh_secret_free(s);
    return 0;
}

static int child_without_memlock(void)
{
    struct lh_secret_stats st;

    if (with_memlock(0, &st))
        return 1;
    return strcmp(st.kind, "unlocked") == 0 && st.region_bytes == 256 * 1024 ? works() : 2;
}

static int child_with_little_memlock(void)
{
    struct lh_secret_stats st;

    if (with_memlock(64 * 1024, &st))
        return 1;
    return strcmp(st.kind, "unlocked") != 0 && st.region_bytes == 64 * 1024 ? works() : 2;
}

static void no_locked_memory_is_no_failure(void **state)
{
    (void)state;
    assert_int_equal(in_child(child_without_memlock), 0);
}

static void a_low_limit_gives_a_smaller_region(void **state)
{
    (void)state;
    assert_int_equal(in_child(child_with_little_memlock), 0);
}

static int child_before(void)
{
    struct lh_secret *s = NULL;
    volatile char *p;

    if (lh_secret_new(1, &s, NULL) < 0)
        return 0;
    p = lh_secret_expose(s);
    p[-1] = 1; /* the first slot is at the region's start */
    return 0;
}

static int child_behind(void)
{
    struct lh_secret_stats st;
    struct lh_secret *s = NULL;
    volatile char *p;

    if (lh_secret_new(1, &s, NULL) < 0)
        return 0;
    lh_secret_stats(&st);
    p = lh_secret_expose(s);
    p[st.region_bytes] = 1;
    return 0;
}

static int child_inside(void)
{
    struct lh_secret_stats st;
    struct lh_secret *s = NULL;
    volatile char *p;

    if (lh_secret_new(1, &s, NULL) < 0)
        return 0;
    lh_secret_stats(&st);
    p = lh_secret_expose(s);
    p[st.region_bytes - 1] = 1;
    return 42;
}

static void guard_pages_at_both_ends(void **state)
{
    int before = in_child(child_before), behind = in_child(child_behind);

    (void)state;
    assert_int_equal(in_child(child_inside), 42);
    assert_true(before != 0 && before != 42);
    assert_true(behind != 0 && behind != 42);
}

/* The VmFlags of the mapping that holds p. */
static bool vm_flags_of(const void *p, char *out, size_t size)
{
    FILE *f = fopen("/proc/self/smaps", "re");
    char line[4352];
    bool inside = false, found = false;

    while (f && !found && fgets(line, sizeof(line), f)) {
        uintptr_t from, to;

        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            inside = (uintptr_t)p >= from && (uintptr_t)p < to;
        else if (inside && strncmp(line, "VmFlags:", 8) == 0)
            found = snprintf(out, size, "%s", line + 8) > 0;
    }
    if (f)
        fclose(f);
    return found;
}

static void region_is_neither_dumped_nor_inherited(void **state)
{
    struct lh_secret_stats st;
    struct lh_secret *s = NULL;
    char flags[256] = "";

    (void)state;
    assert_int_equal(lh_secret_copy("x", 1, &s, NULL), 0);
    lh_secret_stats(&st);
    assert_true(vm_flags_of(lh_secret_expose(s), flags, sizeof(flags)));
    assert_non_null(strstr(flags, " dd"));
    if (strcmp(st.kind, "unlocked") != 0)
        assert_non_null(strstr(flags, " lo"));
    assert_non_null(strstr(flags, strcmp(st.kind, "memfd_secret") == 0 ? " dc" : " wf"));
    lh_secret_free(s);
}

static struct lh_secret *inherited;

static int child_reads_parent(void)
{
    char got[7] = "";
    int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);

    if (mem < 0)
        return 1;
    if (pread(mem, got, 6, (off_t)(uintptr_t)lh_secret_expose(inherited)) == 6 &&
        memcmp(got, "parent", 6) == 0)
        return 2;
    return 0;
}

static void a_child_has_no_copy(void **state)
{
    int rc;

    (void)state;
    assert_int_equal(lh_secret_copy("parent", 6, &inherited, NULL), 0);
    rc = in_child(child_reads_parent);
    inherited = lh_secret_free(inherited);
    assert_int_equal(rc, 0);
}

static void holds_bytes_with_nul_behind(void **state)
{
    struct lh_secret *s = NULL;

    (void)state;
    assert_int_equal(lh_secret_copy("a\0b", 3, &s, NULL), 0);
    assert_int_equal(lh_secret_len(s), 3);
    assert_memory_equal(lh_secret_expose_const(s), "a\0b", 4);
    assert_null(lh_secret_free(s));
    assert_null(lh_secret_free(NULL));
    assert_int_equal(lh_secret_new(0, &s, NULL), 0);
    assert_string_equal(lh_secret_expose(s), "");
    lh_secret_free(s);
}

static void new_slots_are_zero_and_freed_ones_wiped(void **state)
{
    static const char zero[200];
    struct lh_secret *s = NULL;
    const char *p;

    (void)state;
    for (int round = 0; round < 20; round++) {
        assert_int_equal(lh_secret_new(199, &s, NULL), 0);
        p = lh_secret_expose(s);
        assert_memory_equal(p, zero, 200);
        memset(lh_secret_expose(s), 'x', 199);
        lh_secret_free(s);
        assert_memory_equal(p, zero, 200); /* the region stays mapped */
    }
}

static void slots_do_not_overlap(void **state)
{
    enum { N = 200 };
    struct lh_secret *s[N] = {NULL};
    struct lh_secret_stats st;

    (void)state;
    lh_rand_seed(1);
    for (int round = 0; round < 5000; round++) {
        size_t i = (size_t)lh_rand_between(0, N - 1);

        if (s[i]) {
            const unsigned char *p = lh_secret_expose(s[i]);

            for (size_t k = 0; k < lh_secret_len(s[i]); k++)
                assert_int_equal(p[k], i);
            assert_int_equal(p[lh_secret_len(s[i])], 0);
            s[i] = lh_secret_free(s[i]);
        } else {
            assert_int_equal(lh_secret_new((size_t)lh_rand_between(0, 4000), &s[i], NULL), 0);
            memset(lh_secret_expose(s[i]), (int)i, lh_secret_len(s[i]));
        }
    }
    lh_secret_stats(&st);
    assert_true(st.overflows > 0); /* so both kinds were tried */
    assert_true(st.used_bytes <= st.region_bytes);
    for (size_t i = 0; i < N; i++)
        lh_secret_free(s[i]);
    lh_secret_stats(&st);
    assert_int_equal(st.used_bytes, 0);
    assert_int_equal(st.overflow_bytes, 0);
}

static void past_the_region_is_counted(void **state)
{
    struct lh_secret_stats before, st;
    struct lh_secret *s = NULL;
    char flags[256] = "";

    (void)state;
    lh_secret_stats(&before);
    assert_int_equal(lh_secret_new(1 << 20, &s, NULL), 0);
    memset(lh_secret_expose(s), 'x', 1 << 20);
    lh_secret_stats(&st);
    assert_int_equal(st.overflows, before.overflows + 1);
    assert_true(st.overflow_bytes > 1 << 20);
    assert_true(vm_flags_of(lh_secret_expose(s), flags, sizeof(flags)));
    assert_non_null(strstr(flags, " dd"));
    lh_secret_free(s);
    assert_int_equal(lh_secret_new(SIZE_MAX - 1, &s, NULL), -LH_E_TOOBIG);
}

static void equality(void **state)
{
    static const struct {
        const char *a, *b;
        bool equal;
    } rows[] = {{"abc", "abc", true}, {"abc", "abd", false}, {"abc", "ab", false}, {"", "", true}};

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        struct lh_secret *a = NULL, *b = NULL;
        bool equal;

        assert_int_equal(lh_secret_copy(rows[i].a, strlen(rows[i].a), &a, NULL), 0);
        assert_int_equal(lh_secret_copy(rows[i].b, strlen(rows[i].b), &b, NULL), 0);
        equal = lh_secret_equal(a, b);
        lh_secret_free(a);
        lh_secret_free(b);
        assert_int_equal(equal, rows[i].equal);
    }
}

static void out_of_memory_leaves_nothing(void **state)
{
    struct lh_secret *s = NULL;
    struct lh_secret_stats before, after;

    (void)state;
    lh_secret_stats(&before);
    lh_mem_fail_at(1);
    assert_int_equal(lh_secret_copy("x", 1, &s, NULL), -LH_E_NOMEM);
    assert_null(s);
    lh_secret_stats(&after);
    assert_int_equal(after.used_bytes, before.used_bytes);
}

static void reads_files(void **state)
{
    static const struct {
        const char *name;
        size_t cap;
        int code;
    } rows[] = {
        {"absent", 10, LH_E_NOTFOUND}, {"seven", 6, LH_E_TOOBIG},
        {"folder", 10, LH_E_INVALID},  {"pipe", 10, LH_E_INVALID},
        {"seven/x", 10, LH_E_OS},      {"/proc/self/status", 10, LH_E_BUSY},
    };
    struct lh_secret *s = NULL;
    struct lh_err err;

    (void)state;
    assert_int_equal(lh_test_write(dir.fd, "seven", "content"), 0);
    assert_int_equal(symlinkat("seven", dir.fd, "link"), 0);
    assert_int_equal(mkdirat(dir.fd, "folder", 0700), 0);
    assert_int_equal(mkfifoat(dir.fd, "pipe", 0600), 0);
    assert_int_equal(lh_secret_read_at(dir.fd, "link", 7, &s, NULL), 0);
    assert_string_equal(lh_secret_expose(s), "content");
    s = lh_secret_free(s);
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        assert_int_equal(lh_secret_read_at(dir.fd, rows[i].name, rows[i].cap, &s, &err),
                         -rows[i].code);
        assert_null(s);
        assert_non_null(strstr(err.msg, rows[i].name));
    }
}

static void reads_tokens(void **state)
{
    static const struct {
        const char *content, *want;
    } rows[] = {
        {"token", "token"}, {"token\n", "token"}, {" tok en \r\n\t ", " tok en"},
        {"\n", NULL},       {"", NULL},
    };
    char path[300];

    (void)state;
    snprintf(path, sizeof(path), "%s/token", dir.path);
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        struct lh_secret *s = NULL;
        bool ok;
        int rc;

        assert_int_equal(lh_test_write(dir.fd, "token", rows[i].content), 0);
        rc = lh_secret_read_token(path, 100, &s, NULL);
        if (!rows[i].want) {
            assert_int_equal(rc, -LH_E_INVALID);
            assert_null(s);
            continue;
        }
        assert_int_equal(rc, 0);
        ok = strcmp(lh_secret_expose(s), rows[i].want) == 0;
        lh_secret_free(s);
        assert_true(ok);
    }
}

static void torture_read(void **state)
{
    struct lh_secret_stats before, after;
    int failures = 0, rc;

    (void)state;
    assert_int_equal(lh_test_write(dir.fd, "f", "content"), 0);
    lh_secret_stats(&before);
    do {
        struct lh_secret *s = NULL;

        lh_fs_fail_at((unsigned long)failures + 1, EIO);
        rc = lh_secret_read_at(dir.fd, "f", 100, &s, NULL);
        lh_fs_fail_at(0, 0);
        lh_secret_free(s);
        if (rc < 0)
            failures++;
    } while (rc < 0);
    assert_int_equal(failures, 4); /* open, stat, two reads */
    lh_secret_stats(&after);
    assert_int_equal(after.used_bytes, before.used_bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* First, while this process has no region that a child would miss. */
        cmocka_unit_test(no_locked_memory_is_no_failure),
        cmocka_unit_test(a_low_limit_gives_a_smaller_region),
        cmocka_unit_test(guard_pages_at_both_ends),
        cmocka_unit_test(region_is_neither_dumped_nor_inherited),
        cmocka_unit_test(a_child_has_no_copy),
        cmocka_unit_test(holds_bytes_with_nul_behind),
        cmocka_unit_test(new_slots_are_zero_and_freed_ones_wiped),
        cmocka_unit_test(slots_do_not_overlap),
        cmocka_unit_test(past_the_region_is_counted),
        cmocka_unit_test(equality),
        cmocka_unit_test(out_of_memory_leaves_nothing),
        cmocka_unit_test_setup_teardown(reads_files, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_tokens, setup, teardown),
        cmocka_unit_test_setup_teardown(torture_read, setup, teardown),
    };

    return cmocka_run_group_tests_name("core/secret", tests, NULL, NULL);
}
