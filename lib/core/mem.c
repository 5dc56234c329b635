/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/core/mem.h"

#include <assert.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

/* In front of each block, so that free knows how much to wipe. The mark finds foreign pointers and
 * a second free; both are our own bugs. */
struct header {
    size_t n;
    size_t mark;
};
#define HEADER_MARK ((size_t)0x6c656173656d656dULL)
_Static_assert(sizeof(struct header) == 16, "blocks keep malloc's alignment");

/*
 * Small blocks that were freed wait here, wiped, for the next of their size: a JSON tree is
 * thousands of them, of which malloc itself keeps seven of a size at hand and merges and splits the
 * others. A class holds what rounds up to one size of malloc's, so that a block costs no more than
 * before. Only the thread that called lh_mem_init() has a store; no block belongs to a thread.
 */
#if defined(__SANITIZE_ADDRESS__)
enum { SPARE_MAX_BYTES = 0 }; /* a block that is kept hides its use after free */
#else
enum { SPARE_MAX_BYTES = 96 * 1024 };
#endif
enum { SMALL_CLASSES = 32, SMALL_MAX = 16 * SMALL_CLASSES - 8 };
static struct header *spare[SMALL_CLASSES];
static size_t spare_bytes;
static _Thread_local bool is_main __attribute__((tls_model("initial-exec")));

/* Of the main thread, which needs no locked instructions, and of all others. */
static unsigned long main_count;
static size_t main_live;
static atomic_ulong other_count;
static atomic_size_t other_live;
static atomic_ulong fail_in;

static bool must_fail(void)
{
    unsigned long left = atomic_load_explicit(&fail_in, memory_order_relaxed);

    while (left > 0) {
        if (atomic_compare_exchange_weak(&fail_in, &left, left - 1))
            return left == 1;
    }
    return false;
}

static struct header *header_of(void *p)
{
    struct header *h = (struct header *)p - 1;

    assert(h->mark == HEADER_MARK);
    return h;
}

static size_t class_of(size_t n)
{
    return (n + 7) / 16;
}

static size_t class_bytes(size_t class)
{
    return sizeof(struct header) + 8 + 16 * class;
}

/* What malloc is asked for. */
static size_t block_bytes(size_t n)
{
    return n <= SMALL_MAX ? class_bytes(class_of(n)) : sizeof(struct header) + n;
}

void lh_wipe(void *p, size_t n)
{
    if (n == 0)
        return;
    memset(p, 0, n);
    __asm__ volatile("" : : "r"(p) : "memory"); /* a reader, for all the compiler knows */
}

/* As lh_wipe(), without a call for the many that are a few words. */
static void wipe_block(struct header *h)
{
    typedef uint64_t pair __attribute__((vector_size(16), may_alias));
    volatile pair *at = (volatile pair *)h;
    size_t class = class_of(h->n);

    if (h->n > 8 * 16) {
        lh_wipe(h, block_bytes(h->n));
        return;
    }
    for (size_t i = 0; i <= class; i++)
        at[i] = (pair){0, 0};
    *(volatile uint64_t *)(at + class + 1) = 0;
}

static void count_block(bool born)
{
    if (is_main) {
        main_count += born;
        main_live += born ? 1 : (size_t)-1;
        return;
    }
    if (born)
        atomic_fetch_add_explicit(&other_count, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&other_live, born ? 1 : (size_t)-1, memory_order_relaxed);
}

static void *block_finish(struct header *h, size_t n)
{
    h->n = n;
    h->mark = HEADER_MARK;
    return h + 1;
}

static __attribute__((noinline)) void *block_malloc(size_t n, bool zero)
{
    struct header *h;

    if (n > PTRDIFF_MAX - sizeof(*h) || must_fail())
        return NULL;
    h = zero ? calloc(1, block_bytes(n)) : malloc(block_bytes(n));
    if (!h)
        return NULL;
    count_block(true);
    return block_finish(h, n);
}

static inline void *block_new(size_t n, bool zero)
{
    size_t class = class_of(n);
    struct header *h;

    if (n > SMALL_MAX || !is_main || !spare[class] ||
        atomic_load_explicit(&fail_in, memory_order_relaxed) > 0)
        return block_malloc(n, zero);
    h = spare[class]; /* all zero but for what is set here */
    spare[class] = (struct header *)h->n;
    spare_bytes -= class_bytes(class);
    main_count++;
    main_live++;
    return block_finish(h, n);
}

static inline void block_free(struct header *h)
{
    size_t n = h->n, class = class_of(n);

    wipe_block(h);
    if (n > SMALL_MAX || !is_main || spare_bytes + class_bytes(class) > SPARE_MAX_BYTES) {
        count_block(false);
        free(h);
        return;
    }
    main_live--;
    spare_bytes += class_bytes(class);
    h->n = (size_t)spare[class];
    spare[class] = h;
}

void *lh_malloc(size_t n)
{
    return block_new(n, false);
}

void *lh_calloc(size_t n, size_t size)
{
    size_t total;

    if (__builtin_mul_overflow(n, size, &total))
        return NULL;
    return block_new(total, true);
}

void *lh_realloc(void *p, size_t n)
{
    size_t old;
    void *q;

    if (!p)
        return block_new(n, false);
    if (n == 0) {
        lh_free(p);
        return NULL;
    }
    old = header_of(p)->n;
    if (old == n)
        return p;
    q = block_new(n, false);
    if (!q)
        return NULL;
    memcpy(q, p, old < n ? old : n);
    lh_free(p);
    return q;
}

void lh_free(void *p)
{
    if (p)
        block_free(header_of(p));
}

char *lh_strdup(const char *s)
{
    return lh_strndup(s, strlen(s));
}

char *lh_strndup(const char *s, size_t n)
{
    char *copy;

    n = strnlen(s, n);
    copy = lh_malloc(n + 1);
    if (!copy)
        return NULL;
    memcpy(copy, s, n);
    copy[n] = '\0';
    return copy;
}

void *lh_memdup(const void *p, size_t n)
{
    void *copy = lh_malloc(n);

    if (copy && n > 0)
        memcpy(copy, p, n);
    return copy;
}

char *lh_asprintf(const char *fmt, ...)
{
    va_list ap;
    char *s;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        return NULL;
    s = lh_malloc((size_t)n + 1);
    if (!s)
        return NULL;
    va_start(ap, fmt);
    vsnprintf(s, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return s;
}

void lh_mem_init(void)
{
    /* One arena: libcurl's resolver thread would else get 64 MiB of address space and its own
     * pages. Big blocks go back to the kernel as soon as they are freed. */
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, 64 * 1024);
    mallopt(M_TRIM_THRESHOLD, 64 * 1024);
    mallopt(M_TOP_PAD, 16 * 1024);
    is_main = true;
    /* Here and not in loop.c: libuv must not have allocated anything before. */
    uv_replace_allocator(lh_malloc, lh_realloc, lh_calloc, lh_free);
}

void lh_mem_trim(void)
{
    for (size_t class = 0; is_main && class < SMALL_CLASSES; class ++) {
        while (spare[class]) {
            struct header *h = spare[class];

            spare[class] = (struct header *)h->n;
            spare_bytes -= class_bytes(class);
            free(h);
        }
    }
    malloc_trim(0);
}

void lh_mem_fail_at(unsigned long n)
{
    atomic_store(&fail_in, n);
}

unsigned long lh_mem_count(void)
{
    return main_count + atomic_load(&other_count);
}

size_t lh_mem_live_blocks(void)
{
    return main_live + atomic_load(&other_live);
}
