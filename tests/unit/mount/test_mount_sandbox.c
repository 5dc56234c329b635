/* SPDX-License-Identifier: Apache-2.0 */
/* What a confined process can still do: each call in a child of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "sandbox.h"

enum { FINE = 0, FAILED = 1, NOT_CONFINED = 2 };

static int logs(void)
{
    lh_log_init("test", LH_LOG_INFO, STDERR_FILENO);
    lh_log_info("a line, with the time");
    return FINE;
}

static int makes_a_tmpfs(void)
{
    int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);

    if (fs < 0 || fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return FAILED;
    return fsmount(fs, FSMOUNT_CLOEXEC, 0) < 0 ? FAILED : FINE;
}

static int starts_a_program(void)
{
    return execl("/bin/true", "true", (char *)NULL);
}

static int forks(void)
{
    return fork() < 0 ? FAILED : FINE;
}

static int makes_a_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM, 0) < 0 ? FAILED : FINE;
}

static int maps_memory(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
               ? FAILED
               : FINE;
}

static int opens_by_path(void)
{
    return open("/etc/passwd", O_RDONLY) < 0 ? FAILED : FINE;
}

static int opens_by_handle(void)
{
    return syscall(SYS_open_by_handle_at, AT_FDCWD, NULL, 0) < 0 ? FAILED : FINE;
}

static int enters_a_namespace(void)
{
    return (int)syscall(SYS_setns, 0, 0);
}

static int traces(void)
{
    return (int)syscall(SYS_ptrace, 0, 0, 0, 0);
}

static int of_another_interface(void)
{
#ifdef __x86_64__
    return (int)syscall(0x40000000 | SYS_getpid); /* x32 */
#else
    return (int)syscall(SYS_setns, 0, 0);
#endif
}

static const struct {
    const char *name;
    int (*act)(void);
    bool dies;
} rows[] = {
    {"logs", logs, false},
    {"makes a tmpfs", makes_a_tmpfs, false},
    {"starts a program", starts_a_program, true},
    {"forks", forks, true},
    {"makes a socket", makes_a_socket, true},
    {"maps memory", maps_memory, true},
    {"opens a file by its path", opens_by_path, true},
    {"opens a file by its handle", opens_by_handle, true},
    {"enters a namespace", enters_a_namespace, true},
    {"traces", traces, true},
    {"calls by another interface", of_another_interface, true},
};

static int status_of(int (*act)(void))
{
    pid_t pid = fork();
    int status = 0;

    if (pid == 0) {
        struct lh_err err;

        if (lh_mount_leave_network(&err) < 0 || lh_mount_confine(&err) < 0) {
            fprintf(stderr, "%s\n", err.msg);
            _exit(NOT_CONFINED);
        }
        _exit(act());
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void allows(void **state)
{
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip(); /* no filter there: sanitizers map memory of their own */
#endif
    if (geteuid() != 0)
        skip();
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        int status = status_of(rows[i].act);
        bool died = WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
        bool fine = WIFEXITED(status) && WEXITSTATUS(status) == FINE;

        if (rows[i].dies ? !died : !fine)
            fail_msg("%s: status %x", rows[i].name, (unsigned)status);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(allows)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
