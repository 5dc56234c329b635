/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CORE_MEM_H
#define LEASEHOLD_CORE_MEM_H

/*
 * The one allocator. Freeing wipes, growing is new-copy-wipe, so that no freed block keeps a
 * secret. It is handed to OpenSSL, curl, jansson, libuv, libwebsockets, nghttp2 and protobuf-c
 * before any other call to them. Not thread-safe counters: the resolver thread of libcurl only
 * calls through its own allocations, which the counters tolerate.
 */
#include <stddef.h>

void *lh_malloc(size_t n);
void *lh_calloc(size_t n, size_t size); /* NULL on overflow too */
void *lh_realloc(void *p, size_t n);    /* n 0 frees and returns NULL */
void lh_free(void *p);                  /* NULL is a no-op */
char *lh_strdup(const char *s);
char *lh_strndup(const char *s, size_t n);
void *lh_memdup(const void *p, size_t n);
char *lh_asprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A wipe the compiler cannot drop. */
void lh_wipe(void *p, size_t n);

/* First in main, before any library call: gives the allocator to libc-independent users of core
 * (libuv) and sets M_ARENA_MAX 1, small mmap and trim thresholds. */
void lh_mem_init(void);

/* Gives free memory back to the kernel, also from between blocks in use: after a burst. */
void lh_mem_trim(void);

/* Torture tests: the n-th allocation from now (1 = next) fails once; 0 turns it off. */
void lh_mem_fail_at(unsigned long n);
unsigned long lh_mem_count(void); /* allocations made so far */
size_t lh_mem_live_blocks(void);  /* blocks not freed yet */

/* Cleanup attributes for locals. */
static inline void lh_free_ptr_(void *pp)
{
    lh_free(*(void **)pp);
}
#define lh_auto_free __attribute__((cleanup(lh_free_ptr_)))

/* Moves a pointer out of a lh_auto_* local. */
#define LH_TAKE_PTR(p)                                                                             \
    ({                                                                                             \
        __typeof__(p) lh_taken_ = (p);                                                             \
        (p) = NULL;                                                                                \
        lh_taken_;                                                                                 \
    })

#define LH_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
