/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "leasehold/core/mem.h"
#include "leasehold/core/proc.h"

static int child_hardened(void)
{
    static const char *const hostile[] = {
        "SSLKEYLOGFILE",    "OPENSSL_CONF", "OPENSSL_MODULES", "GLIBC_TUNABLES",
        "MALLOC_ARENA_MAX", "LD_PRELOAD",   "http_proxy",      "HTTPS_PROXY",
        "no_proxy",         "NETRC",        "CURL_HOME",
    };
    struct rlimit rl;

    setenv("KEPT", "1", 1);
    for (size_t i = 0; i < LH_ARRAY_LEN(hostile); i++)
        setenv(hostile[i], "/x", 1);
    setenv("LDX", "1", 1);
    if (lh_proc_harden(NULL) < 0)
        return 1;
    for (size_t i = 0; i < LH_ARRAY_LEN(hostile); i++) {
        if (getenv(hostile[i]))
            return 2;
    }
    if (!getenv("KEPT") || !getenv("LDX"))
        return 3;
    if (getrlimit(RLIMIT_CORE, &rl) < 0 || rl.rlim_max != 0 || prctl(PR_GET_DUMPABLE) != 0)
        return 4;
    if (umask(0) != 077 || signal(SIGPIPE, SIG_DFL) != SIG_IGN)
        return 5;
    return 0;
}

static void hardens(void **state)
{
    pid_t pid = fork();
    int status = 0;

    (void)state;
    if (pid == 0)
        _exit(child_hardened());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void knows_signals(void **state)
{
    static const struct {
        const char *name;
        int number;
    } rows[] = {
        {"HUP", SIGHUP},     {"SIGHUP", SIGHUP}, {"1", 1},  {"USR2", SIGUSR2},
        {"WINCH", SIGWINCH}, {"hup", 0},         {"", 0},   {"65", 0},
        {"SIG", 0},          {"0", 0},           {"-1", 0}, {"SIGSIGHUP", 0},
    };

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++)
        assert_int_equal(lh_proc_signal_number(rows[i].name), rows[i].number);
}

/* A child that runs /bin/sleep as argv0; it writes nothing. */
static pid_t start(const char *argv0)
{
    int ready[2];
    pid_t pid;
    char byte;

    if (pipe2(ready, O_CLOEXEC) < 0)
        return -1;
    pid = fork();
    if (pid == 0) {
        execl("/bin/sleep", argv0, "100", (char *)NULL);
        _exit(127);
    }
    close(ready[1]);
    /* Its end closes by exec: then the arguments are the new ones. */
    if (read(ready[0], &byte, 1) != 0)
        pid = -1;
    close(ready[0]);
    return pid;
}

static void signals_by_name(void **state)
{
    char name[64], path[80];
    unsigned count = 0;
    struct lh_err err;
    int status = 0;
    pid_t a, b;

    (void)state;
    snprintf(name, sizeof(name), "lh-test-%d-daemon", (int)getpid());
    snprintf(path, sizeof(path), "/usr/sbin/%s", name);
    assert_int_equal(lh_proc_signal_by_name(name, SIGTERM, &count, &err), -LH_E_NOTFOUND);
    assert_non_null(strstr(err.msg, name));
    a = start(name);
    b = start(path);
    assert_true(a > 0 && b > 0);
    assert_int_equal(lh_proc_signal_by_name(name, SIGTERM, &count, &err), 0);
    assert_int_equal(count, 2);
    assert_int_equal(waitpid(a, &status, 0), a);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    assert_int_equal(waitpid(b, &status, 0), b);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

static void signals_by_short_name(void **state)
{
    char name[16], line[64];
    unsigned count = 0;
    int status = 0, ready[2];
    pid_t pid;

    (void)state;
    snprintf(name, sizeof(name), "lht%d", (int)getpid());
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_NAME, name);
        if (write(ready[1], "r", 1) == 1)
            pause();
        _exit(0);
    }
    assert_int_equal(read(ready[0], line, 1), 1);
    assert_int_equal(lh_proc_signal_by_name(name, SIGKILL, &count, NULL), 0);
    assert_int_equal(count, 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    close(ready[0]);
    close(ready[1]);
}

static int child_denied(const char *name)
{
    unsigned count;

    if (setuid(65534) < 0)
        return 1;
    return lh_proc_signal_by_name(name, SIGTERM, &count, NULL) == -LH_E_DENIED ? 0 : 2;
}

static void another_users_process_is_denied(void **state)
{
    char name[64];
    int status = 0;
    pid_t target, pid;

    (void)state;
    if (geteuid() != 0)
        skip();
    snprintf(name, sizeof(name), "lh-test-%d-root", (int)getpid());
    target = start(name);
    pid = fork();
    if (pid == 0)
        _exit(child_denied(name));
    waitpid(pid, &status, 0);
    kill(target, SIGKILL);
    waitpid(target, NULL, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void measures_memory(void **state)
{
    size_t anonymous = 0, resident = 0;

    (void)state;
    lh_proc_memory(&anonymous, &resident);
    assert_true(anonymous > 4096);
    assert_true(resident >= anonymous);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hardens),
        cmocka_unit_test(knows_signals),
        cmocka_unit_test(signals_by_name),
        cmocka_unit_test(signals_by_short_name),
        cmocka_unit_test(another_users_process_is_denied),
        cmocka_unit_test(measures_memory),
    };

    return cmocka_run_group_tests_name("core/proc", tests, NULL, NULL);
}
