/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_ETCD_BOLT_H
#define LH_ETCD_BOLT_H

/*
 * A database of bbolt, read only (go.etcd.io/bbolt: page.go, meta.go, bucket.go). The file may be
 * cut off, foreign, or made to hurt: no number in it is believed, each page is read with pread and
 * used once at most by a walk, and what is wrong is counted and passed by.
 */
#include <stdbool.h>
#include <stdint.h>

#include "leasehold/core/err.h"
#include "leasehold/core/str.h"

enum {
    LH_BOLT_MAX_DEPTH = 24,       /* of a tree; 2^24 pages need 4 */
    LH_BOLT_MAX_BRANCH = 1 << 20, /* bytes of a branch page with what overflows */
    LH_BOLT_MAX_LEAF = 64 << 20,  /* and of a leaf */
    LH_BOLT_PAGE_HEADER = 16,
};

struct lh_bolt {
    int fd;              /* borrowed */
    uint64_t file_bytes; /* of the pages: without what follows the last whole one */
    uint64_t n_pages;
    uint64_t root, txid;
    uint32_t page_size;
};

struct lh_bolt_faults {
    uint64_t pages, entries;
    char first[160];
};

/* As much as the file has; *got tells. LH_E_OS. */
int lh_bolt_read_at(int fd, void *p, size_t n, uint64_t at, size_t *got, struct lh_err *err);

/* Counts a fault; the first text is kept. */
void lh_bolt_fault(struct lh_bolt_faults *f, uint64_t *count, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Chooses the newer of the meta pages that are whole. LH_E_INVALID: neither is. */
int lh_bolt_open(int fd, struct lh_bolt *out, struct lh_err *err);

struct lh_bolt_item {
    struct lh_str key, value; /* borrowed until the next step; a bucket's value is its header */
    bool bucket;
};

struct lh_bolt_cursor;

/* Over the root bucket (name NULL) or one below it, from the last key to the first. *out NULL: no
 * such bucket. faults is borrowed until the cursor is freed. */
int lh_bolt_cursor_new(const struct lh_bolt *b, const char *bucket, struct lh_bolt_faults *faults,
                       struct lh_bolt_cursor **out, struct lh_err *err);
/* 1: *out is the item before; 0: there is none; or -LH_E_NOMEM, -LH_E_OS. */
int lh_bolt_cursor_prev(struct lh_bolt_cursor *c, struct lh_bolt_item *out, struct lh_err *err);
/* Adds the pages that it went through to used: a bit a page, n_pages / 8 + 1 bytes. */
void lh_bolt_cursor_add_used(const struct lh_bolt_cursor *c, unsigned char *used);
void lh_bolt_cursor_free(struct lh_bolt_cursor *c); /* NULL is a no-op */

#endif
