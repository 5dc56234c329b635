/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"
#include "leasehold/core/fs.h"
#include "leasehold/core/rand.h"

/* Every call through the table fails once; after it the old or the new set is whole, and a second
 * try leaves nothing behind. */
static void torture(void **state)
{
    int failures = 0, survived = 0;
    bool hit = true;

    (void)state;
    for (unsigned long nth = 1; hit; nth++) {
        bool changed = false;
        int rc;

        assert_int_equal(setup(NULL), 0);
        assert_true(publish(OLD));
        lh_fs_fail_at(nth, EIO);
        rc = lh_publish(pub, NEW, &changed, NULL);
        hit = lh_fs_has_failed();
        lh_fs_fail_at(0, 0);
        assert_int_equal(rc, rc < 0 ? -LH_E_OS : 0);
        assert_true(rc < 0 ? shows(OLD) : shows(NEW));
        failures += rc < 0;
        survived += rc == 0 && hit;
        publish(NEW);
        assert_true(shows(NEW));
        assert_true(is_tidy(NEW));
        assert_int_equal(teardown(NULL), 0);
    }
    assert_true(failures > 20);
    assert_true(survived > 10); /* what fails after the swap is no failure */
    assert_int_equal(setup(NULL), 0);
}

static void torture_memory(void **state)
{
    int rc;

    (void)state;
    for (unsigned long nth = 1;; nth++) {
        bool changed = false;

        publish(OLD);
        lh_mem_fail_at(nth);
        rc = lh_publish(pub, NEW, &changed, NULL);
        lh_mem_fail_at(0);
        assert_true(rc < 0 ? shows(OLD) : shows(NEW));
        publish(NEW);
        assert_true(is_tidy(NEW));
        if (rc == 0 && nth > 100)
            break;
    }
}

/* A table that ends the process at the n-th call, as a kill would. */
static unsigned long die_in;
static struct lh_fs_ops deadly;
static const struct lh_fs_ops *genuine;

static void maybe_die(void)
{
    if (--die_in == 0)
        _exit(42);
}

static int deadly_openat(int d, const char *name, int flags, mode_t mode)
{
    maybe_die();
    return genuine->openat(d, name, flags, mode);
}

static int deadly_mkdirat(int d, const char *name, mode_t mode)
{
    maybe_die();
    return genuine->mkdirat(d, name, mode);
}

static int deadly_renameat(int od, const char *o, int nd, const char *n)
{
    maybe_die();
    return genuine->renameat(od, o, nd, n);
}

static int deadly_unlinkat(int d, const char *name, int flags)
{
    maybe_die();
    return genuine->unlinkat(d, name, flags);
}

static int deadly_symlinkat(const char *target, int d, const char *name)
{
    maybe_die();
    return genuine->symlinkat(target, d, name);
}

static ssize_t deadly_write(int fd, const void *p, size_t n)
{
    maybe_die();
    return genuine->write(fd, p, n > 2 ? 2 : n); /* short, so that files are cut in the middle */
}

static bool dies_at(unsigned long nth)
{
    pid_t pid = fork();
    int status = 0;

    if (pid == 0) {
        bool changed;

        genuine = lh_fs;
        deadly = *lh_fs;
        deadly.openat = deadly_openat;
        deadly.mkdirat = deadly_mkdirat;
        deadly.renameat = deadly_renameat;
        deadly.unlinkat = deadly_unlinkat;
        deadly.symlinkat = deadly_symlinkat;
        deadly.write = deadly_write;
        lh_fs = &deadly;
        die_in = nth;
        _exit(lh_publish(pub, NEW, &changed, NULL) == 0 ? 0 : 1);
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 42;
}

static void a_killed_run_leaves_a_whole_generation(void **state)
{
    int deaths = 0, news = 0;
    bool died = true;

    (void)state;
    for (unsigned long nth = 1; died; nth++) {
        assert_int_equal(setup(NULL), 0);
        assert_true(publish(OLD));
        died = dies_at(nth);
        deaths += died;
        news += died && shows(NEW);
        assert_true(shows(OLD) || shows(NEW));
        /* The next run starts over it. */
        lh_publisher_free(pub);
        assert_int_equal(lh_publisher_new(dir.fd, (gid_t)-1, &pub, NULL), 0);
        publish(NEW);
        assert_true(shows(NEW));
        assert_true(is_tidy(NEW));
        assert_int_equal(teardown(NULL), 0);
    }
    assert_true(deaths > 40);
    assert_true(news > 5);
    assert_int_equal(setup(NULL), 0);
}

/* Random sets one after the other, some calls failing: always the last set that was accepted. */
static void random_histories(void **state)
{
    static const char *const names[] = {"a", "b", "c/x", "c/y", "c/z/w", "d/e"};
    static const char *const texts[] = {"", "1", "22", "a somewhat longer text"};
    struct lh_pub_file last[6], set[6];
    size_t n_last = 0;

    (void)state;
    lh_rand_seed(3);
    for (int round = 0; round < 400; round++) {
        bool changed = false;
        size_t n = 0;

        for (size_t i = 0; i < LH_ARRAY_LEN(names); i++) {
            if (lh_rand_between(0, 2) == 0)
                continue;
            set[n++] = (struct lh_pub_file){names[i], lh_rand_between(0, 1) ? 0440 : 0400,
                                            lh_str(texts[lh_rand_between(0, 3)])};
        }
        lh_fs_fail_at((unsigned long)lh_rand_between(0, 120), EIO);
        if (lh_publish(pub, set, n, &changed, NULL) == 0) {
            memcpy(last, set, sizeof(set));
            n_last = n;
        }
        lh_fs_fail_at(0, 0);
        assert_true(shows(last, n_last));
        if (round % 10 == 0) {
            publish(last, n_last);
            assert_true(is_tidy(last, n_last));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(torture, teardown),
        cmocka_unit_test_setup_teardown(torture_memory, setup, teardown),
        cmocka_unit_test_teardown(a_killed_run_leaves_a_whole_generation, teardown),
        cmocka_unit_test_setup_teardown(random_histories, setup, teardown),
    };

    return cmocka_run_group_tests_name("project/publish torture", tests, NULL, NULL);
}
