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
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"
#include "leasehold/core/fs.h"

static void link_of(const char *name, char out[256])
{
    ssize_t n = readlinkat(dir.fd, name, out, 255);

    out[n > 0 ? n : 0] = '\0';
}

static void checks_paths(void **state)
{
    static const struct {
        const char *path;
        bool ok;
    } rows[] = {
        {"a", true},       {"a/b/c", true}, {".hidden", true}, {"a..b", true},  {"a/.b", true},
        {"", false},       {"/a", false},   {"a/", false},     {"a//b", false}, {".", false},
        {"a/.", false},    {"..", false},   {"a/../b", false}, {"..a", false},  {"a/..b", false},
        {"..data", false}, {"./a", false},
    };
    char longest[4200];

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        struct lh_err err = {0};
        int rc = lh_pub_path_check(rows[i].path, &err);

        assert_int_equal(rc, rows[i].ok ? 0 : -LH_E_INVALID);
        if (!rows[i].ok && rows[i].path[0])
            assert_non_null(strstr(err.msg, rows[i].path));
    }
    memset(longest, 'a', sizeof(longest));
    longest[255] = '\0';
    assert_int_equal(lh_pub_path_check(longest, NULL), 0);
    longest[255] = 'a';
    longest[256] = '\0';
    assert_int_equal(lh_pub_path_check(longest, NULL), -LH_E_INVALID);
    longest[256] = 'a';
    for (size_t i = 200; i < sizeof(longest); i += 200)
        longest[i] = '/';
    longest[4096] = '\0';
    assert_int_equal(lh_pub_path_check(longest, NULL), 0);
    longest[4096] = 'a';
    longest[4097] = '\0';
    assert_int_equal(lh_pub_path_check(longest, NULL), -LH_E_INVALID);
}

static void layout_is_kubelets(void **state)
{
    char target[256];
    struct stat st;

    (void)state;
    umask(077); /* as a hardened program has it */
    assert_true(publish(OLD));
    assert_true(shows(OLD));
    assert_true(is_tidy(OLD));
    link_of("a", target);
    assert_string_equal(target, "..data/a");
    link_of("d", target);
    assert_string_equal(target, "..data/d");
    link_of("..data", target);
    /* ..2026_11_24_08_00_00.1234567890 */
    assert_int_equal(strspn(target, "0123456789_."), strlen(target));
    assert_int_equal(strncmp(target, "..2", 3), 0);
    assert_int_equal(fstatat(dir.fd, target, &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(st.st_mode, S_IFDIR | 0755);
    assert_int_equal(fstatat(dir.fd, "..data/d/sub", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(st.st_mode, S_IFDIR | 0755);
}

static void equal_sets_do_not_swap(void **state)
{
    struct lh_pub_file set[] = {old_set[2], old_set[0], old_set[1]};
    char before[256], after[256];

    (void)state;
    assert_true(publish(OLD));
    link_of("..data", before);
    assert_false(publish(OLD));
    assert_false(publish(set, 3)); /* whatever the order */
    link_of("..data", after);
    assert_string_equal(before, after);
    lh_publisher_free(pub); /* nor does another run */
    assert_int_equal(lh_publisher_new(dir.fd, (gid_t)-1, &pub, NULL), 0);
    assert_false(publish(OLD));
    link_of("..data", after);
    assert_string_equal(before, after);
}

static void any_difference_swaps(void **state)
{
    struct lh_pub_file set[] = {old_set[0], old_set[1], old_set[2]};

    (void)state;
    assert_true(publish(OLD));
    set[0].mode = 0400;
    assert_true(publish(set, 3));
    set[0].bytes = LH_STR("old A");
    assert_true(publish(set, 3));
    set[0].bytes = LH_STR("old");
    assert_true(publish(set, 3));
    set[0].path = "b";
    assert_true(publish(set, 3));
    assert_true(publish(set, 2));
    assert_true(publish(set, 3));
    assert_true(shows(set, 3));
    assert_true(is_tidy(set, 3));
    assert_true(publish(NULL, 0));
    assert_true(is_tidy(NULL, 0));
}

static void group_is_given_and_compared(void **state)
{
    struct stat st;

    (void)state;
    if (geteuid() != 0)
        skip();
    assert_true(publish(OLD));
    lh_publisher_free(pub);
    assert_int_equal(lh_publisher_new(dir.fd, 2000, &pub, NULL), 0);
    assert_true(publish(OLD));
    assert_false(publish(OLD));
    assert_int_equal(fstatat(dir.fd, "d/b", &st, 0), 0);
    assert_int_equal(st.st_gid, 2000);
    assert_int_equal(fstatat(dir.fd, "d", &st, 0), 0);
    assert_int_equal(st.st_gid, 2000);
}

static void names_may_turn_from_file_to_folder(void **state)
{
    static const struct lh_pub_file file[] = {FILE_OF("x", 0400, "1")};
    static const struct lh_pub_file folder[] = {FILE_OF("x/y", 0400, "2")};

    (void)state;
    assert_true(publish(file, 1));
    assert_true(publish(folder, 1));
    assert_true(shows(folder, 1));
    assert_true(publish(file, 1));
    assert_true(shows(file, 1));
    assert_true(is_tidy(file, 1));
}

static void bad_sets_are_refused_whole(void **state)
{
    static const struct lh_pub_file bad[][2] = {
        {FILE_OF("x", 0400, ""), FILE_OF("x", 0400, "")},
        {FILE_OF("x", 0400, ""), FILE_OF("x/y", 0400, "")},
        {FILE_OF("x/y/z", 0400, ""), FILE_OF("x/y", 0400, "")},
        {FILE_OF("x", 0400, ""), FILE_OF("../x", 0400, "")},
    };
    bool changed = true;

    (void)state;
    assert_true(publish(OLD));
    for (size_t i = 0; i < LH_ARRAY_LEN(bad); i++)
        assert_int_equal(lh_publish(pub, bad[i], 2, &changed, NULL), -LH_E_INVALID);
    assert_true(changed); /* untouched */
    assert_true(shows(OLD));
    assert_true(is_tidy(OLD));
}

static void what_is_not_ours_stays(void **state)
{
    struct lh_err err = {0};
    bool changed;

    (void)state;
    assert_int_equal(lh_test_write(dir.fd, "a", "the user's"), 0);
    assert_int_equal(lh_test_write(dir.fd, "other", "the user's"), 0);
    assert_int_equal(symlinkat("other", dir.fd, "their-link"), 0);
    assert_int_equal(lh_publish(pub, OLD, &changed, &err), -LH_E_INVALID);
    assert_non_null(strstr(err.msg, "a is in the way"));
    assert_true(lh_test_file_is(dir.fd, "a", "the user's"));
    assert_int_equal(unlinkat(dir.fd, "a", 0), 0);
    assert_true(publish(OLD));
    assert_true(publish(NEW));
    assert_true(lh_test_file_is(dir.fd, "their-link", "the user's"));
    assert_int_equal(lh_publish_clear(pub, NULL), 0);
    assert_true(lh_test_file_is(dir.fd, "other", "the user's"));
}

static void a_foreign_data_is_told(void **state)
{
    struct lh_err err = {0};
    bool changed;

    (void)state;
    assert_int_equal(mkdirat(dir.fd, "..data", 0700), 0);
    assert_int_equal(lh_publish(pub, OLD, &changed, &err), -LH_E_INVALID);
    assert_non_null(strstr(err.msg, "..data"));
}

static void clear_removes_everything(void **state)
{
    (void)state;
    assert_int_equal(lh_publish_clear(pub, NULL), 0);
    assert_true(publish(OLD));
    assert_int_equal(lh_publish_clear(pub, NULL), 0);
    assert_int_equal(faccessat(dir.fd, "a", F_OK, AT_SYMLINK_NOFOLLOW), -1);
    assert_int_equal(faccessat(dir.fd, "..data", F_OK, AT_SYMLINK_NOFOLLOW), -1);
    assert_int_equal(rmdir(dir.path), 0); /* empty */
    assert_int_equal(mkdir(dir.path, 0700), 0);
}

static void publishes_again_after_clear(void **state)
{
    (void)state;
    assert_true(publish(OLD));
    assert_int_equal(lh_publish_clear(pub, NULL), 0);
    assert_true(publish(OLD));
    assert_true(shows(OLD));
    assert_true(is_tidy(OLD));
}

static void a_data_that_somebody_broke_is_made_again(void **state)
{
    static const char *const targets[] = {NULL, "..2020_01_01_00_00_00.0000000001", "/tmp",
                                          "..x/y"};

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(targets); i++) {
        assert_true(publish(OLD));
        assert_int_equal(unlinkat(dir.fd, "..data", 0), 0);
        if (targets[i])
            assert_int_equal(symlinkat(targets[i], dir.fd, "..data"), 0);
        assert_true(publish(OLD)); /* equal to what was published, but nobody sees that */
        assert_true(shows(OLD));
        assert_true(is_tidy(OLD));
        assert_false(publish(OLD));
        assert_int_equal(lh_publish_clear(pub, NULL), 0);
    }
}

static void a_sweep_takes_nothing_that_data_leads_to(void **state)
{
    char first[256];

    (void)state;
    assert_true(publish(OLD));
    link_of("..data", first);
    assert_int_equal(unlinkat(dir.fd, "..data", 0), 0);
    assert_int_equal(renameat(dir.fd, first, dir.fd, "..2021_01_01_00_00_00.0000000001"), 0);
    assert_int_equal(symlinkat("..2021_01_01_00_00_00.0000000001", dir.fd, "..data"), 0);
    (void)lh_publisher_sweep(pub);
    assert_true(shows(OLD));
    assert_false(publish(OLD));
}

/* A descriptor that may look at the file later, but is no reader. */
static int peek_open(const char *name)
{
    return openat(dir.fd, name, O_PATH | O_CLOEXEC);
}

static void peek_read(int fd, char *out, size_t n)
{
    char path[40];
    int reading;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    reading = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(reading >= 0);
    assert_int_equal(read(reading, out, n), n);
    close(reading);
}

static void an_open_file_never_changes(void **state)
{
    char text[5];
    int reader, peek;

    (void)state;
    assert_true(publish(OLD));
    reader = openat(dir.fd, "a", O_RDONLY | O_CLOEXEC);
    peek = peek_open("a");
    assert_true(reader >= 0 && peek >= 0);
    assert_true(publish(NEW));
    assert_int_equal(read(reader, text, 5), 5);
    assert_memory_equal(text, "old a", 5);
    assert_false(lh_publisher_sweep(pub));
    peek_read(peek, text, 5);
    assert_memory_equal(text, "old a", 5);
    close(reader);
    assert_true(lh_publisher_sweep(pub));
    peek_read(peek, text, 5);
    assert_memory_equal(text, "\0\0\0\0\0", 5);
    close(peek);
}

static void unread_files_are_overwritten_at_once(void **state)
{
    char text[5];
    int peek;

    (void)state;
    assert_true(publish(OLD));
    peek = peek_open("a");
    assert_true(publish(NEW));
    peek_read(peek, text, 5);
    close(peek);
    assert_memory_equal(text, "\0\0\0\0\0", 5);
    assert_true(lh_publisher_sweep(pub));
}

static void freeing_gives_up_on_readers(void **state)
{
    char text[5];
    int reader;

    (void)state;
    assert_true(publish(OLD));
    reader = openat(dir.fd, "a", O_RDONLY | O_CLOEXEC);
    assert_true(publish(NEW));
    lh_publisher_free(pub);
    pub = NULL;
    assert_int_equal(read(reader, text, 5), 5);
    close(reader);
    assert_memory_equal(text, "old a", 5);
}

static void readers_all_the_time_do_not_pile_up(void **state)
{
    struct lh_pub_file set[] = {FILE_OF("a", 0400, "x")};
    int readers[700], limit = 0;
    char text[8];

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(readers); i++) {
        snprintf(text, sizeof(text), "%zu", i);
        set[0].bytes = lh_str(text);
        assert_true(publish(set, 1));
        readers[i] = openat(dir.fd, "a", O_RDONLY | O_CLOEXEC);
        if (readers[i] < 0)
            break;
        limit++;
    }
    for (int i = 0; i < limit; i++)
        close(readers[i]);
    assert_int_equal(limit, LH_ARRAY_LEN(readers));
    assert_true(is_tidy(set, 1));
    assert_true(lh_publisher_sweep(pub));
}

static void a_full_volume_is_too_big(void **state)
{
    struct lh_err err = {0};
    bool changed;
    int told = 0;

    (void)state;
    assert_true(publish(OLD));
    for (unsigned long nth = 1; nth < 60; nth++) {
        int rc;

        lh_fs_fail_at(nth, ENOSPC);
        rc = lh_publish(pub, NEW, &changed, &err);
        lh_fs_fail_at(0, 0);
        if (rc == -LH_E_TOOBIG) {
            told++;
            assert_non_null(strstr(err.msg, "too small"));
            assert_true(shows(OLD));
        }
        publish(OLD);
    }
    assert_true(told > 5);
}

static void needs_a_folder(void **state)
{
    struct lh_publisher *p = NULL;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    (void)state;
    assert_int_equal(lh_publisher_new(fd, (gid_t)-1, &p, NULL), -LH_E_OS);
    close(fd);
    assert_int_equal(lh_publisher_new(-1, (gid_t)-1, &p, NULL), -LH_E_OS);
    assert_null(p);
    lh_publisher_free(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checks_paths),
        TEST(layout_is_kubelets),
        TEST(equal_sets_do_not_swap),
        TEST(any_difference_swaps),
        TEST(group_is_given_and_compared),
        TEST(names_may_turn_from_file_to_folder),
        TEST(bad_sets_are_refused_whole),
        TEST(what_is_not_ours_stays),
        TEST(a_foreign_data_is_told),
        TEST(clear_removes_everything),
        TEST(publishes_again_after_clear),
        TEST(a_data_that_somebody_broke_is_made_again),
        TEST(a_sweep_takes_nothing_that_data_leads_to),
        TEST(an_open_file_never_changes),
        TEST(unread_files_are_overwritten_at_once),
        TEST(freeing_gives_up_on_readers),
        TEST(readers_all_the_time_do_not_pile_up),
        TEST(a_full_volume_is_too_big),
        cmocka_unit_test(needs_a_folder),
    };

    return cmocka_run_group_tests_name("project/publish", tests, NULL, NULL);
}
