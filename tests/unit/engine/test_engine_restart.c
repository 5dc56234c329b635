/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static const char db_and_kv[] =
    "{\"items\":[{\"name\":\"db\",\"path\":\"database/creds/x\"},"
    "{\"name\":\"kv\",\"path\":\"secret/a\",\"files\":[{\"path\":\"a\",\"key\":\"username\"}]}],"
    "\"refresh\":{\"interval\":\"60s\"}}";

static void first_life(void)
{
    fake_role("database/creds/x", HOUR, 0, true);
    fake_kv("secret/a", "v1");
    bench_projection(db_and_kv);
    bench_engine();
    bench_ready();
    bench_run(5 * SEC);
    b.ready = b.changed = 0;
}

static void a_killed_process_resumes_and_issues_nothing(void **state)
{
    (void)state;
    first_life();
    bench_kill();
    lh_clock_step(2 * SEC);
    bench_engine();
    bench_ready();
    assert_int_equal(b.ready, 1);
    bench_run(3 * HOUR);
    assert_int_equal(fake_issued(NULL), 1);
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), 1);
    assert_true(bench_file_works("db/username"));
    assert_int_equal(b.changed, 0);
    bench_end(true);
    assert_int_equal(fake_live(NULL), 0);
}

static void it_is_ready_at_once_even_while_the_manager_is_away(void **state)
{
    (void)state;
    first_life();
    bench_kill();
    fake.down = true;
    bench_engine();
    bench_run(100);
    assert_true(lh_engine_is_ready(b.e));
    fake.down = false;
    bench_run(5 * SEC);
    assert_int_equal(fake_issued(NULL), 1);
}

static void a_value_that_moved_meanwhile_is_published_and_told(void **state)
{
    char text[256];

    (void)state;
    first_life();
    bench_kill();
    fake_kv("secret/a", "v2");
    bench_engine();
    bench_run(2 * SEC);
    assert_string_equal(bench_read("a", text), "v2");
    assert_int_equal(b.changed, 1);
    assert_int_equal(fake_issued(NULL), 1);
}

static void without_its_files_a_credential_is_issued_again_and_the_old_one_ended(void **state)
{
    (void)state;
    first_life();
    bench_kill();
    assert_int_equal(unlinkat(b.files.fd, "..data", 0), 0);
    bench_engine();
    bench_ready();
    bench_run(5 * SEC);
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), 1);
    assert_int_equal(fake_issued(NULL), 2);
    assert_int_equal(fake_live(NULL), 1);
    assert_true(bench_file_works("db/username"));
}

static void with_other_file_rules_a_credential_is_issued_again(void **state)
{
    (void)state;
    first_life();
    bench_kill();
    bench_projection("{\"items\":[{\"name\":\"db\",\"path\":\"database/creds/x\",\"files\":"
                     "[{\"path\":\"user\",\"key\":\"username\"}]}]}");
    bench_engine();
    bench_ready();
    bench_run(5 * SEC);
    assert_true(bench_file_works("user"));
    assert_int_equal(fake_issued(NULL), 2);
    assert_int_equal(fake_live(NULL), 1);
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), 1);
}

static struct damage {
    const char *name;
    const char *bytes; /* NULL: cut in the middle */
} damages[] = {
    {"a state that is garbage costs one login", "garbage"},
    {"a state that is empty costs one login", ""},
    {"a state that was cut costs one login", NULL},
};

static void damaged(void **state)
{
    const struct damage *d = *state;
    char bytes[8192];
    int fd;
    ssize_t n;

    first_life();
    bench_kill();
    fd = openat(b.state.fd, "state", O_RDONLY | O_CLOEXEC);
    n = read(fd, bytes, sizeof(bytes));
    close(fd);
    assert_true(n > 100);
    fd = openat(b.state.fd, "state", O_WRONLY | O_TRUNC | O_CLOEXEC);
    n = d->bytes ? (ssize_t)strlen(d->bytes) : n / 2;
    assert_int_equal(write(fd, d->bytes ? d->bytes : bytes, (size_t)n), n);
    close(fd);
    bench_engine();
    bench_ready();
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), 2);
    assert_int_equal(fake_issued(NULL), 2);
    assert_true(bench_file_works("db/username"));
    assert_int_equal(b.failed, 1); /* said once */
}

static void another_store_of_the_same_name_is_never_shown_the_token(void **state)
{
    lh_json *spec;

    (void)state;
    first_life();
    bench_kill();
    spec = b.store->spec;
    lh_json_set(spec, "verify", lh_json_new_z("3m"));
    bench_engine();
    bench_ready();
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), 2);
}

static void the_state_holds_no_value(void **state)
{
    char bytes[8192];
    int fd;
    ssize_t n;

    (void)state;
    fake_kv("secret/a", "canary-value");
    fake_role("database/creds/x", HOUR, 0, true);
    bench_projection(db_and_kv);
    bench_engine();
    bench_ready();
    bench_run(5 * SEC);
    fd = openat(b.state.fd, "state", O_RDONLY | O_CLOEXEC);
    n = read(fd, bytes, sizeof(bytes));
    close(fd);
    assert_true(n > 100);
    assert_non_null(memmem(bytes, (size_t)n, "database/creds/x/1", 18)); /* the lease */
    assert_null(memmem(bytes, (size_t)n, "canary", 6));
    assert_null(memmem(bytes, (size_t)n, "u-1", 3));
}

/* What was not confirmed to be revoked can be revoked by whoever comes next. */
static void a_revocation_that_is_owed_is_made_up_for(void **state)
{
    (void)state;
    first_life();
    fake.down = true;
    bench_end(true);
    assert_true(lh_engine_owes(b.e));
    assert_int_equal(fake_live(NULL), 1);
    bench_kill();
    fake.down = false;
    bench_engine();
    bench_end(true);
    assert_false(lh_engine_owes(b.e));
    assert_int_equal(fake_live(NULL), 0);
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), 1);
    assert_int_equal(faccessat(b.state.fd, "state", F_OK, 0), -1);
}

static int setup_row(void **state)
{
    void *row = *state;
    int rc = bench_setup(state);

    *state = row;
    return rc;
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, bench_setup, bench_teardown)

int main(void)
{
    struct CMUnitTest tests[16] = {
        T(a_killed_process_resumes_and_issues_nothing),
        T(it_is_ready_at_once_even_while_the_manager_is_away),
        T(a_value_that_moved_meanwhile_is_published_and_told),
        T(without_its_files_a_credential_is_issued_again_and_the_old_one_ended),
        T(with_other_file_rules_a_credential_is_issued_again),
        T(another_store_of_the_same_name_is_never_shown_the_token),
        T(the_state_holds_no_value),
        T(a_revocation_that_is_owed_is_made_up_for),
    };
    size_t n = 8;

    for (size_t i = 0; i < LH_ARRAY_LEN(damages); i++)
        tests[n++] =
            (struct CMUnitTest){damages[i].name, damaged, setup_row, bench_teardown, &damages[i]};
    return _cmocka_run_group_tests("engine_restart", tests, n, NULL, NULL);
}
