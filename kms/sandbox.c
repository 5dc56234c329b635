/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox.h"

#include <sys/syscall.h>
#include <time.h>

#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/seccomp.h"

#ifdef __x86_64__
#define OLD_CALLS                                                                                  \
    SYS_epoll_wait, SYS_poll, SYS_select, SYS_open, SYS_stat, SYS_lstat, SYS_access, SYS_readlink, \
        SYS_unlink, SYS_time,
#else
#define OLD_CALLS
#endif

/* The loop, sockets, files (credentials are read again at each login), memory, threads (libcurl's,
 * one for each name that it resolves), what is asked of the kernel. */
static const unsigned worker[] = {
    OLD_CALLS SYS_epoll_pwait,
    SYS_epoll_pwait2,
    SYS_epoll_ctl,
    SYS_epoll_create1,
    SYS_eventfd2,
    SYS_pipe2,
    SYS_timerfd_create,
    SYS_timerfd_settime,
    SYS_timerfd_gettime,
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_clock_nanosleep,
    SYS_nanosleep,
    SYS_gettimeofday,
    SYS_inotify_init1,
    SYS_inotify_add_watch,
    SYS_inotify_rm_watch,
    SYS_ppoll,
    SYS_pselect6,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_restart_syscall,
    SYS_sigaltstack,
    SYS_socket,
    SYS_socketpair,
    SYS_connect,
    SYS_bind,
    SYS_listen,
    SYS_accept4,
    SYS_shutdown,
    SYS_getsockname,
    SYS_getpeername,
    SYS_getsockopt,
    SYS_setsockopt,
    SYS_sendto,
    SYS_sendmsg,
    SYS_sendmmsg,
    SYS_recvfrom,
    SYS_recvmsg,
    SYS_recvmmsg,
    SYS_read,
    SYS_readv,
    SYS_pread64,
    SYS_write,
    SYS_writev,
    SYS_close,
    SYS_fcntl,
    SYS_ioctl,
    SYS_dup,
    SYS_dup3,
    SYS_lseek,
    SYS_openat,
    SYS_fstat,
    SYS_newfstatat,
    SYS_statx,
    SYS_fstatfs,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_readlinkat,
    SYS_getdents64,
    SYS_unlinkat,
    SYS_ftruncate,
    SYS_umask,
    SYS_brk,
    SYS_mmap,
    SYS_mremap,
    SYS_munmap,
    SYS_mprotect,
    SYS_madvise,
    SYS_mlock,
    SYS_mlock2,
    SYS_munlock,
    SYS_memfd_secret,
    SYS_clone,
    SYS_clone3,
    SYS_futex,
    SYS_set_robust_list,
    SYS_rseq,
    SYS_sched_yield,
    SYS_sched_getaffinity,
    SYS_gettid,
    SYS_tgkill,
    SYS_exit,
    SYS_exit_group,
    SYS_getrandom,
    SYS_getpid,
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_uname,
    SYS_sysinfo,
    SYS_prlimit64,
    SYS_getrusage,
};

static const unsigned holder[] = {
    OLD_CALLS SYS_accept4,
    SYS_close,
    SYS_getsockopt,
    SYS_sendmsg,
    SYS_ppoll,
    SYS_write,
    SYS_writev,
    SYS_geteuid,
    SYS_getpid,
    SYS_clock_gettime,
    SYS_newfstatat,
    SYS_unlinkat,
    SYS_rt_sigreturn,
    SYS_restart_syscall,
    SYS_exit_group,
    SYS_exit,
    SYS_brk,
    SYS_munmap,
    SYS_futex,
};

static const unsigned deadly[] = {
    SYS_execve,      SYS_execveat,     SYS_ptrace,     SYS_process_vm_readv,  SYS_process_vm_writev,
    SYS_setns,       SYS_unshare,      SYS_mount,      SYS_open_by_handle_at, SYS_bpf,
    SYS_init_module, SYS_finit_module, SYS_kexec_load,
};

static void limit(const unsigned *allowed, size_t n)
{
    const struct lh_seccomp s = {.allowed = allowed,
                                 .n_allowed = n,
                                 .deadly = deadly,
                                 .n_deadly = LH_ARRAY_LEN(deadly),
                                 .no_exec_memory = true};
    struct lh_err err = {0};

    /* The C library looks for a time zone at the first log line, and never again. */
    tzset();
    if (!lh_seccomp_suits_build())
        lh_log_warn("system calls are not limited: a build with a sanitizer");
    else if (lh_seccomp_limit(&s, &err) < 0)
        lh_log_warn("system calls are not limited", LH_F_ERR(&err));
    else
        lh_log_info("system calls are limited", LH_F_INT("allowed", (int64_t)n));
}

void kms_limit_worker(void)
{
    limit(worker, LH_ARRAY_LEN(worker));
}

void kms_limit_holder(void)
{
    limit(holder, LH_ARRAY_LEN(holder));
}
