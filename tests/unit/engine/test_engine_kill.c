/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process is killed before each file call that it makes, from the first answer to the files
 * that everybody sees, and started again. From the moment that files appear their credential is
 * the one that lives on; what nobody has seen is ended, and made once more.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "leasehold/core/fs.h"

static const char spec[] = "{\"items\":[{\"name\":\"db\",\"path\":\"database/creds/x\"},"
                           "{\"name\":\"kv\",\"path\":\"secret/a\",\"files\":[{\"path\":\"a\","
                           "\"key\":\"username\"}]}],\"refresh\":{\"interval\":\"60s\"},"
                           "\"overlap\":\"8s\"}";

/* From the call on that it counts down to nothing reaches a disk or the manager any more. */
static const struct lh_fs_ops *real;
static unsigned long calls, die_at; /* 0: lives on */

static bool dead(void)
{
    calls++;
    if (die_at == 0 || calls < die_at)
        return false;
    fake.down = true;
    errno = EIO;
    return true;
}

static int d_openat(int d, const char *n, int flags, mode_t m)
{
    return dead() ? -1 : real->openat(d, n, flags, m);
}

static int d_mkdirat(int d, const char *n, mode_t m)
{
    return dead() ? -1 : real->mkdirat(d, n, m);
}

static int d_renameat(int d, const char *n, int d2, const char *n2)
{
    return dead() ? -1 : real->renameat(d, n, d2, n2);
}

static int d_unlinkat(int d, const char *n, int flags)
{
    return dead() ? -1 : real->unlinkat(d, n, flags);
}

static int d_symlinkat(const char *t, int d, const char *n)
{
    return dead() ? -1 : real->symlinkat(t, d, n);
}

static int d_fchmod(int fd, mode_t m)
{
    return dead() ? -1 : real->fchmod(fd, m);
}

static int d_fchown(int fd, uid_t u, gid_t g)
{
    return dead() ? -1 : real->fchown(fd, u, g);
}

static int d_fstatat(int d, const char *n, struct stat *st, int flags)
{
    return dead() ? -1 : real->fstatat(d, n, st, flags);
}

static ssize_t d_write(int fd, const void *p, size_t n)
{
    return dead() ? -1 : real->write(fd, p, n);
}

static ssize_t d_read(int fd, void *p, size_t n)
{
    return dead() ? -1 : real->read(fd, p, n);
}

static ssize_t d_readlinkat(int d, const char *n, char *b_, size_t size)
{
    return dead() ? -1 : real->readlinkat(d, n, b_, size);
}

static int d_fsync(int fd)
{
    return dead() ? -1 : real->fsync(fd);
}

static const struct lh_fs_ops deadly = {
    .openat = d_openat,
    .mkdirat = d_mkdirat,
    .renameat = d_renameat,
    .unlinkat = d_unlinkat,
    .symlinkat = d_symlinkat,
    .fchmod = d_fchmod,
    .fchown = d_fchown,
    .fstatat = d_fstatat,
    .write = d_write,
    .read = d_read,
    .readlinkat = d_readlinkat,
    .fsync = d_fsync,
};

static bool has_died(void)
{
    return die_at != 0 && calls >= die_at;
}

static void mortal(unsigned long at)
{
    calls = 0;
    die_at = at;
    real = lh_fs;
    lh_fs = &deadly;
}

static void immortal(void)
{
    lh_fs = real;
    die_at = 0;
}

static void run_until_dead(int64_t ms)
{
    for (int64_t t = 0; t < ms && !has_died(); t += 50)
        bench_run(50);
}

/* The user in the file; "" if there is no file. */
static void user_now(char out[256])
{
    bench_read("db/username", out);
}

static void restart(void)
{
    immortal();
    bench_kill();
    fake.down = false;
    lh_clock_step(SEC);
    bench_engine();
    bench_ready();
    bench_run(5 * SEC);
}

/* Is the n-th credential on record? What is not cannot be ended by itself, only with its token. */
static bool on_record(unsigned n)
{
    char id[64], bytes[8192];
    int len = snprintf(id, sizeof(id), ":database/creds/x/%u", n);
    int fd = openat(b.state.fd, "state", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? 0 : read(fd, bytes, sizeof(bytes));

    if (fd >= 0)
        close(fd);
    return n == 0 || (got > 0 && memmem(bytes, (size_t)got, id, (size_t)len));
}

static unsigned long seen_kills, unseen_kills;

/* What there was when it died. */
struct scene {
    char shown[256];
    unsigned issued, unknown, revoked;
};

static void look(struct scene *out)
{
    user_now(out->shown);
    out->issued = fake_issued(NULL);
    out->revoked = fake_count(FAKE_REVOKE_LEASE, NULL);
    out->unknown = !on_record(out->issued);
}

static void check(unsigned long at, const struct scene *was, bool seen, unsigned live)
{
    unsigned issued = fake_issued(NULL);
    char now[256];

    user_now(now);
    if (!fake_works(now))
        fail_msg("call %lu: the file holds a dead credential", at);
    if (issued > was->issued + !seen)
        fail_msg("call %lu: %u credentials issued by a restart", at, issued - was->issued);
    if (seen && strcmp(now, was->shown) != 0)
        fail_msg("call %lu: %s was in the files and was replaced by %s", at, was->shown, now);
    if (fake_live(NULL) > live + was->unknown)
        fail_msg("call %lu: %u credentials live", at, fake_live(NULL));
    bench_end(true);
    if (fake_live(NULL) != 0)
        fail_msg("call %lu: %u credentials left behind", at, fake_live(NULL));
    if (seen)
        seen_kills++;
    else
        unseen_kills++;
}

static void world(void)
{
    bench_kill();
    fake_reset();
    fake_role("database/creds/x", HOUR, 0, true);
    fake_kv("secret/a", "v1");
    lh_test_scratch_done(&b.files);
    lh_test_scratch_done(&b.state);
    assert_int_equal(lh_test_scratch_new(&b.files), 0);
    assert_int_equal(lh_test_scratch_new(&b.state), 0);
}

static void before_any_call_of_the_first_publication(void **state)
{
    unsigned long at = 0;
    bool died = true;

    (void)state;
    bench_projection(spec);
    seen_kills = unseen_kills = 0;
    while (died) {
        struct scene was;

        world();
        bench_engine();
        mortal(++at);
        run_until_dead(2 * SEC);
        died = has_died();
        look(&was);
        restart();
        check(at, &was, was.shown[0] != '\0', 1);
    }
    assert_true(unseen_kills > 20);
    assert_true(seen_kills > 10);
}

static void make_second_life(char first[256])
{
    world();
    fake_role("database/creds/x", 20 * SEC, 60 * SEC, true);
    bench_engine();
    bench_ready();
    bench_run(35 * SEC);
    user_now(first);
}

/* A second credential takes the place of the first, which has its overlap. */
static void before_any_call_of_a_later_publication(void **state)
{
    unsigned long at = 0;
    bool died = true;

    (void)state;
    bench_projection(spec);
    seen_kills = unseen_kills = 0;
    while (died) {
        char first[256];
        struct scene was;
        bool seen;

        make_second_life(first);
        mortal(++at);
        run_until_dead(20 * SEC);
        died = has_died();
        look(&was);
        seen = was.issued == 2 && strcmp(first, was.shown) != 0;
        restart();
        if (seen && !was.revoked && !fake_works(first))
            fail_msg("call %lu: the old credential has no overlap", at);
        check(at, &was, seen, 2);
    }
    assert_true(unseen_kills > 20);
    assert_true(seen_kills > 10);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, bench_setup, bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(before_any_call_of_the_first_publication),
        T(before_any_call_of_a_later_publication),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
