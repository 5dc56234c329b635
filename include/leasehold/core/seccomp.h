/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CORE_SECCOMP_H
#define LEASEHOLD_CORE_SECCOMP_H

/*
 * The system calls that a program may make from now on, for good (seccomp(2), mode filter). A call
 * by another interface than the machine's own (x32, 32 bits) ends the process.
 */
#include <stdbool.h>
#include <stddef.h>

#include "leasehold/core/err.h"

enum {
    LH_SECCOMP_CALLS_MAX = 240, /* allowed and deadly together: a jump reaches 255 on */
};

struct lh_seccomp {
    const unsigned *allowed; /* numbers, SYS_... */
    size_t n_allowed;
    /* What no run of the program takes, and who broke in wants: the process ends. */
    const unsigned *deadly;
    size_t n_deadly;
    bool kill_others;    /* all that is not allowed is deadly; else it fails with ENOSYS */
    bool no_exec_memory; /* mmap and mprotect with PROT_EXEC fail with EPERM, if they are allowed */
};

/* Rights can no longer be gained (PR_SET_NO_NEW_PRIVS), and all threads, those to come too, make
 * these calls alone. LH_E_INVALID: too many calls. LH_E_OS, err->os ENOSYS or EINVAL: the kernel
 * has no filters; nothing was limited then. */
int lh_seccomp_limit(const struct lh_seccomp *s, struct lh_err *err);

/* false under a sanitizer, which maps memory and starts threads of its own. */
bool lh_seccomp_suits_build(void);

#endif
