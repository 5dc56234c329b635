/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "leasehold/core/mem.h"

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "the system call filter knows x86-64 and arm64"
#endif

/* SYS_ADMIN mounts. DAC_READ_SEARCH opens a volume's root, which belongs to the peer and is closed
 * to others, in order to hand it out. */
static const unsigned kept[] = {CAP_SYS_ADMIN, CAP_DAC_READ_SEARCH};

int lh_mount_leave_network(struct lh_err *err)
{
    if (close_range(STDERR_FILENO + 1, ~0U, 0) < 0)
        return lh_err_os(err, errno, "close inherited descriptors");
    if (unshare(CLONE_NEWNET) < 0)
        return lh_err_os(err, errno, "leave the network (the container must be privileged)");
    return 0;
}

static bool is_kept(unsigned cap)
{
    for (size_t i = 0; i < LH_ARRAY_LEN(kept); i++) {
        if (kept[i] == cap)
            return true;
    }
    return false;
}

static int cut_capabilities(struct lh_err *err)
{
    struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct d[_LINUX_CAPABILITY_U32S_3] = {{0}};

    /* The kernel may know more than our headers: up to the first that it does not. */
    for (unsigned cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
        if (!is_kept(cap) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
            return lh_err_os(err, errno, "drop capability %u", cap);
    }
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return lh_err_os(err, errno, "drop ambient capabilities");
    for (size_t i = 0; i < LH_ARRAY_LEN(kept); i++) {
        d[CAP_TO_INDEX(kept[i])].permitted |= CAP_TO_MASK(kept[i]);
        d[CAP_TO_INDEX(kept[i])].effective |= CAP_TO_MASK(kept[i]);
    }
    if (syscall(SYS_capset, &h, d) < 0)
        return lh_err_os(err, errno, "keep no capabilities but two");
    return 0;
}

/* All that a request and its log line take: no memory is allocated, nothing is connected to. */
static const unsigned allowed[] = {
    SYS_accept4,         SYS_clock_gettime, SYS_close,   SYS_exit,       SYS_exit_group,
    SYS_fchdir,          SYS_fsconfig,      SYS_fsmount, SYS_fsopen,     SYS_fstat,
    SYS_fstatfs,         SYS_getsockopt,    SYS_lseek,   SYS_mkdirat,    SYS_move_mount,
    SYS_newfstatat,      SYS_openat2,       SYS_ppoll,   SYS_read,       SYS_recvfrom,
    SYS_restart_syscall, SYS_rt_sigreturn,  SYS_sendmsg, SYS_setsockopt, SYS_statx,
    SYS_umount2,         SYS_unlinkat,      SYS_write,
};

/* Sanitizers map memory and start threads of their own. */
#if defined(__SANITIZE_ADDRESS__)
#define FILTERED 0
#else
#define FILTERED 1
#endif

static int filter_calls(struct lh_err *err)
{
    enum { HEAD = 4, CALLS = LH_ARRAY_LEN(allowed) };
    struct sock_filter f[HEAD + CALLS + 2] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    };
    const struct sock_fprog program = {.len = LH_ARRAY_LEN(f), .filter = f};

    for (unsigned i = 0; i < CALLS; i++)
        f[HEAD + i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i],
                                                   (unsigned char)(CALLS - i), 0);
    f[HEAD + CALLS] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    f[HEAD + CALLS + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    if (FILTERED && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
        return lh_err_os(err, errno, "limit the system calls");
    return 0;
}

int lh_mount_confine(struct lh_err *err)
{
    int rc;

    /* The C library looks for a time zone at the first log line, and never again. */
    tzset();
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return lh_err_os(err, errno, "give up gaining rights");
    rc = cut_capabilities(err);
    return rc < 0 ? rc : filter_calls(err);
}
