/* SPDX-License-Identifier: Apache-2.0 */
/* What a limited process can still do: each call in a child of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "leasehold/core/mem.h"
#include "leasehold/core/seccomp.h"

/* Bare calls: a sanitizer's own would be limited, too. A child ends with the errno, or by a signal.
 */
static int calls(long number, long a, long b, long c, long d)
{
    return syscall(number, a, b, c, d, -1, 0) < 0 ? errno : 0;
}

static int asks_who(void)
{
    return calls(SYS_getppid, 0, 0, 0, 0);
}

static int writes_nothing(void)
{
    return calls(SYS_write, STDERR_FILENO, 0, 0, 0);
}

static int maps_data(void)
{
    return calls(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
}

static int maps_code(void)
{
    return calls(SYS_mmap, 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS);
}

static int makes_data_code(void)
{
    long p = syscall(SYS_mmap, 0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return p == -1 ? -1 : calls(SYS_mprotect, p, 4096, PROT_READ | PROT_EXEC, 0);
}

static int starts_a_program(void)
{
    return calls(SYS_execve, (long)"/bin/true", 0, 0, 0);
}

static int of_another_interface(void)
{
#ifdef __x86_64__
    return calls(0x40000000 | SYS_write, STDERR_FILENO, 0, 0, 0); /* x32 */
#else
    return ENOSYS;
#endif
}

static const unsigned allowed[] = {SYS_write, SYS_exit_group, SYS_mmap, SYS_mprotect};
static const unsigned deadly[] = {SYS_execve, SYS_ptrace};

static const struct lh_seccomp refusing = {.allowed = allowed,
                                           .n_allowed = LH_ARRAY_LEN(allowed),
                                           .deadly = deadly,
                                           .n_deadly = LH_ARRAY_LEN(deadly),
                                           .no_exec_memory = true};
static const struct lh_seccomp killing = {
    .allowed = allowed, .n_allowed = LH_ARRAY_LEN(allowed), .kill_others = true};

enum { DIES = -1 };

static const struct {
    const char *name;
    const struct lh_seccomp *limits;
    int (*act)(void);
    int want; /* errno, or DIES */
} rows[] = {
    {"a call that is allowed", &refusing, writes_nothing, 0},
    {"one in no table is not there", &refusing, asks_who, ENOSYS},
    {"one in no table kills where that is asked for", &killing, asks_who, DIES},
    {"what is allowed beside it does not", &killing, writes_nothing, 0},
    {"a deadly one", &refusing, starts_a_program, DIES},
    {"memory for data", &refusing, maps_data, 0},
    {"memory for code", &refusing, maps_code, EPERM},
    {"memory for code out of data", &refusing, makes_data_code, EPERM},
    {"memory for code where nobody asked", &killing, maps_code, 0},
    {"another interface", &refusing, of_another_interface, ENOSYS},
};

static int status_of(const struct lh_seccomp *limits, int (*act)(void))
{
    pid_t pid = fork();
    int status = 0;

    if (pid == 0) {
        int rc = lh_seccomp_limit(limits, NULL);

        syscall(SYS_exit_group, rc < 0 ? 255 : act());
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void limits(void **state)
{
    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        int status = status_of(rows[i].limits, rows[i].act);
        bool died = WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
        bool same = WIFEXITED(status) && WEXITSTATUS(status) == rows[i].want;

        if (rows[i].want == DIES ? !died : !same)
            fail_msg("%s: status %x", rows[i].name, (unsigned)status);
    }
}

static int go[2], there[2];

static void *other_thread(void *arg)
{
    char c;

    (void)arg;
    (void)!write(there[1], "x", 1);
    (void)!read(go[0], &c, 1);
    syscall(SYS_exit_group, calls(SYS_getppid, 0, 0, 0, 0));
    return NULL;
}

/* A thread is past what the C library and a sanitizer do at its start before it is limited. */
static void limits_threads_that_run_already(void **state)
{
    static const unsigned few[] = {SYS_write, SYS_exit_group, SYS_read, SYS_ppoll,
                                   SYS_restart_syscall};
    static const struct lh_seccomp s = {.allowed = few, .n_allowed = LH_ARRAY_LEN(few)};
    pid_t pid = fork();
    int status = 0;

    (void)state;
    if (pid == 0) {
        pthread_t t;
        char c;

        if (pipe(go) < 0 || pipe(there) < 0 || pthread_create(&t, NULL, other_thread, NULL) != 0 ||
            read(there[0], &c, 1) != 1 || lh_seccomp_limit(&s, NULL) < 0 ||
            write(go[1], "x", 1) != 1)
            syscall(SYS_exit_group, 255);
        for (;;)
            syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), ENOSYS);
}

static void refuses_too_many_calls(void **state)
{
    static unsigned many[LH_SECCOMP_CALLS_MAX + 1];
    const struct lh_seccomp s = {.allowed = many, .n_allowed = LH_ARRAY_LEN(many)};
    struct lh_err err = {0};

    (void)state;
    assert_int_equal(lh_seccomp_limit(&s, &err), -LH_E_INVALID);
    assert_int_equal(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0); /* nothing was changed */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits),
        cmocka_unit_test(limits_threads_that_run_already),
        cmocka_unit_test(refuses_too_many_calls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
