/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CORE_SECRET_H
#define LEASEHOLD_CORE_SECRET_H

/*
 * Bytes that must not be swapped, dumped, logged or left in freed memory. Opaque on purpose: no %s
 * takes one. Slots live in one locked region per process: memfd_secret with DONTFORK where the
 * kernel has it, else anonymous memory with mlock, DONTDUMP and WIPEONFORK; guard pages at both
 * ends. Past the region: anonymous DONTDUMP memory and a count, never a failure for want of locked
 * memory.
 */
#include <stdbool.h>
#include <stddef.h>

#include "leasehold/core/err.h"
#include "leasehold/core/str.h"

struct lh_secret;

/* Once, early in main. region_bytes: 256 KiB in the agent, 4 MiB elsewhere. Idempotent; a later
 * lh_secret_new initialises with the default by itself. LH_E_OS only if no memory at all can be
 * had. */
int lh_secret_init(size_t region_bytes, struct lh_err *err);

/* len zero bytes in *out, owned by the caller. *out is untouched on failure. */
int lh_secret_new(size_t len, struct lh_secret **out, struct lh_err *err);
/* A copy of len bytes. */
int lh_secret_copy(const void *p, size_t len, struct lh_secret **out, struct lh_err *err);
/* Wipe and release. NULL is a no-op. Returns NULL, for s = lh_secret_free(s). */
struct lh_secret *lh_secret_free(struct lh_secret *s);

size_t lh_secret_len(const struct lh_secret *s);
/* The single way in, and a review trigger. Borrowed; NUL-terminated behind len bytes. */
void *lh_secret_expose(struct lh_secret *s);
const void *lh_secret_expose_const(const struct lh_secret *s);
/* Constant time in the content (not in the lengths). */
bool lh_secret_equal(const struct lh_secret *a, const struct lh_secret *b);

/* Reads a regular file below dirfd (symlinks followed: kubelet publishes through ..data), at most
 * cap bytes. LH_E_NOTFOUND, LH_E_TOOBIG, LH_E_BUSY (changed while read), LH_E_INVALID (not a
 * regular file), LH_E_OS. */
int lh_secret_read_at(int dirfd, const char *name, size_t cap, struct lh_secret **out,
                      struct lh_err *err);
/* The same with white space at the end (newline) cut off: token files. */
int lh_secret_read_token(const char *path, size_t cap, struct lh_secret **out, struct lh_err *err);

struct lh_secret_stats {
    size_t region_bytes, used_bytes, overflow_bytes;
    unsigned long overflows;
    const char *kind; /* "memfd_secret", "mlock", "unlocked" */
};
void lh_secret_stats(struct lh_secret_stats *out);

static inline void lh_secret_free_ptr_(struct lh_secret **s)
{
    lh_secret_free(*s);
}
#define lh_auto_secret __attribute__((cleanup(lh_secret_free_ptr_)))

#endif
