/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/core/seccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "leasehold/core/mem.h"

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "the system call filter knows x86-64 and arm64"
#endif

/* Of a 64-bit argument its low half comes first: both machines are little-endian. */
#define ARG_LOW(n) (offsetof(struct seccomp_data, args) + (n) * sizeof(uint64_t))

enum { HEAD = 4, EXEC_CHECK = 6, TAIL = 3 };

struct program {
    struct sock_filter f[HEAD + EXEC_CHECK + LH_SECCOMP_CALLS_MAX + TAIL];
    unsigned n;
};

static void put(struct program *p, struct sock_filter f)
{
    p->f[p->n++] = f;
}

static void put_head(struct program *p)
{
    put(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                        offsetof(struct seccomp_data, arch)));
    put(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0));
    put(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
    put(p,
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
}

/* Goes on with the number loaded, whatever came of the argument. */
static void put_exec_check(struct program *p)
{
    put(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 1, 0));
    put(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 0, 4));
    put(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARG_LOW(2)));
    put(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1));
    put(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
    put(p,
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
}

/* The last three: what is in neither table, what is allowed, what is deadly. */
static void put_calls(struct program *p, const struct lh_seccomp *s)
{
    unsigned left = (unsigned)(s->n_allowed + s->n_deadly);

    for (size_t i = 0; i < s->n_allowed; i++, left--)
        put(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, s->allowed[i],
                                            (unsigned char)left, 0));
    for (size_t i = 0; i < s->n_deadly; i++, left--)
        put(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, s->deadly[i],
                                            (unsigned char)(left + 1), 0));
    put(p,
        (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, s->kill_others ? SECCOMP_RET_KILL_PROCESS
                                                                     : SECCOMP_RET_ERRNO | ENOSYS));
    put(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    put(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
}

int lh_seccomp_limit(const struct lh_seccomp *s, struct lh_err *err)
{
    struct program p = {.n = 0};
    struct sock_fprog program = {.filter = p.f};
    long thread;

    if (s->n_allowed + s->n_deadly > LH_SECCOMP_CALLS_MAX)
        return lh_err_set(err, LH_E_INVALID, "more than %d system calls", LH_SECCOMP_CALLS_MAX);
    put_head(&p);
    if (s->no_exec_memory)
        put_exec_check(&p);
    put_calls(&p, s);
    program.len = (unsigned short)p.n;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return lh_err_os(err, errno, "give up gaining rights");
    thread = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
    if (thread < 0)
        return lh_err_os(err, errno, "limit the system calls");
    if (thread > 0)
        return lh_err_set(err, LH_E_CONFLICT, "thread %ld has limits of its own", thread);
    return 0;
}

bool lh_seccomp_suits_build(void)
{
#if defined(__SANITIZE_ADDRESS__)
    return false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
    return false;
#else
    return true;
#endif
#else
    return true;
#endif
}
