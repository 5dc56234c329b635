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

static atomic_ulong count;
static atomic_size_t live;
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

static void *block_new(size_t n, bool zero)
{
    struct header *h;

    if (n > PTRDIFF_MAX - sizeof(*h) || must_fail())
        return NULL;
    h = zero ? calloc(1, sizeof(*h) + n) : malloc(sizeof(*h) + n);
    if (!h)
        return NULL;
    h->n = n;
    h->mark = HEADER_MARK;
    atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
    return h + 1;
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
    struct header *h;

    if (!p)
        return;
    h = header_of(p);
    explicit_bzero(h, sizeof(*h) + h->n);
    atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
    free(h);
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

void lh_wipe(void *p, size_t n)
{
    if (n > 0)
        explicit_bzero(p, n);
}

void lh_mem_init(void)
{
    /* One arena: libcurl's resolver thread would else get 64 MiB of address space and its own
     * pages. Big blocks go back to the kernel as soon as they are freed. */
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, 64 * 1024);
    mallopt(M_TRIM_THRESHOLD, 64 * 1024);
    mallopt(M_TOP_PAD, 16 * 1024);
    /* Here and not in loop.c: libuv must not have allocated anything before. */
    uv_replace_allocator(lh_malloc, lh_realloc, lh_calloc, lh_free);
}

void lh_mem_fail_at(unsigned long n)
{
    atomic_store(&fail_in, n);
}

unsigned long lh_mem_count(void)
{
    return atomic_load(&count);
}

size_t lh_mem_live_blocks(void)
{
    return atomic_load(&live);
}
