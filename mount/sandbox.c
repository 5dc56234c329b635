/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "leasehold/core/mem.h"
#include "leasehold/core/seccomp.h"

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

int lh_mount_confine(struct lh_err *err)
{
    const struct lh_seccomp calls = {
        .allowed = allowed, .n_allowed = LH_ARRAY_LEN(allowed), .kill_others = true};
    int rc;

    /* The C library looks for a time zone at the first log line, and never again. */
    tzset();
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return lh_err_os(err, errno, "give up gaining rights");
    rc = cut_capabilities(err);
    if (rc < 0 || !lh_seccomp_suits_build())
        return rc;
    return lh_seccomp_limit(&calls, err);
}
