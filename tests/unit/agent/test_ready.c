/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ready.h"
#include "support.h"

static struct lh_test_scratch state_dir, files_dir;
static struct ready_gate gate;
static struct lh_buf out;

static int setup(void **state)
{
    (void)state;
    lh_buf_init(&out, 4096);
    gate.dir = -1;
    return lh_test_scratch_new(&state_dir) | lh_test_scratch_new(&files_dir);
}

static int teardown(void **state)
{
    (void)state;
    lh_buf_done(&out);
    ready_gate_done(&gate);
    lh_test_scratch_done(&state_dir);
    lh_test_scratch_done(&files_dir);
    return 0;
}

static bool probe(bool with_state)
{
    struct lh_agentcfg cfg = {.mount_path = files_dir.path,
                              .state_path = with_state ? state_dir.path : NULL};

    lh_buf_reset(&out);
    return ready_probe(&cfg, &out);
}

static void before_the_agent_began_it_says_so(void **state)
{
    (void)state;
    assert_false(probe(true));
    assert_non_null(strstr(lh_buf_peek(&out).p, "Starting: "));
}

static void it_prints_the_cause_until_the_gate_opens(void **state)
{
    struct lh_err err;

    (void)state;
    assert_int_equal(ready_gate_init(&gate, state_dir.path, &err), 0);
    ready_gate_say(&gate, "PermissionDenied: SecretStore \"vault\": no");
    assert_false(probe(true));
    assert_string_equal(lh_buf_peek(&out).p, "PermissionDenied: SecretStore \"vault\": no");
    ready_gate_say(&gate, "Sealed: SecretStore \"vault\": sealed");
    assert_false(probe(true));
    assert_string_equal(lh_buf_peek(&out).p, "Sealed: SecretStore \"vault\": sealed");
    ready_gate_open(&gate);
    assert_true(probe(true));
}

static void once_open_it_stays_open(void **state)
{
    struct lh_err err;

    (void)state;
    assert_int_equal(ready_gate_init(&gate, state_dir.path, &err), 0);
    ready_gate_open(&gate);
    ready_gate_say(&gate, "Unreachable: away");
    assert_true(probe(true));
}

static void an_equal_cause_is_not_written_again(void **state)
{
    struct stat a, b;
    struct lh_err err;

    (void)state;
    assert_int_equal(ready_gate_init(&gate, state_dir.path, &err), 0);
    ready_gate_say(&gate, "x");
    assert_int_equal(fstatat(state_dir.fd, "ready", &a, 0), 0);
    ready_gate_say(&gate, "x");
    assert_int_equal(fstatat(state_dir.fd, "ready", &b, 0), 0);
    assert_int_equal(a.st_ino, b.st_ino);
    assert_int_equal(a.st_mode & 0777, 0600);
}

static void a_very_long_cause_is_cut_and_still_read(void **state)
{
    char cause[4000];
    struct lh_err err;

    (void)state;
    memset(cause, 'c', sizeof(cause) - 1);
    cause[sizeof(cause) - 1] = '\0';
    assert_int_equal(ready_gate_init(&gate, state_dir.path, &err), 0);
    ready_gate_say(&gate, cause);
    assert_false(probe(true));
    assert_int_equal(lh_buf_peek(&out).n, sizeof(gate.last) - 1);
}

static void without_a_state_volume_the_published_folder_is_looked_at(void **state)
{
    (void)state;
    assert_false(probe(false));
    assert_non_null(strstr(lh_buf_peek(&out).p, files_dir.path));
    assert_int_equal(mkdirat(files_dir.fd, "..1", 0700), 0);
    assert_int_equal(symlinkat("..1", files_dir.fd, "..data"), 0);
    assert_true(probe(false));
}

static void a_state_volume_that_is_missing_is_an_error(void **state)
{
    struct lh_err err;

    (void)state;
    assert_int_equal(ready_gate_init(&gate, "/nonexistent/state", &err), -LH_E_OS);
    assert_non_null(strstr(err.msg, "/nonexistent/state"));
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(before_the_agent_began_it_says_so),
        T(it_prints_the_cause_until_the_gate_opens),
        T(once_open_it_stays_open),
        T(an_equal_cause_is_not_written_again),
        T(a_very_long_cause_is_cut_and_still_read),
        T(without_a_state_volume_the_published_folder_is_looked_at),
        T(a_state_volume_that_is_missing_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
