/* SPDX-License-Identifier: Apache-2.0 */
#include "bolt.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "leasehold/core/mem.h"

enum {
    META_BYTES = 64,
    META_CHECKED = 56, /* of them under the checksum */
    ELEMENT_BYTES = 16,
    BUCKET_BYTES = 16,
    MIN_PAGE = 512,
    MAX_PAGE = 65536,
    FLAG_BRANCH = 1,
    FLAG_LEAF = 2,
    FLAG_META = 4,
    LEAF_BUCKET = 1,
    META_VERSION = 2,
};
static const uint32_t magic = 0xed0cdaed;

struct frame {
    unsigned char *page; /* owned */
    size_t bytes;
    uint64_t id;   /* 0: inline */
    uint32_t left; /* elements not visited yet */
    bool leaf;
};

struct lh_bolt_cursor {
    const struct lh_bolt *b;
    struct lh_bolt_faults *faults;
    unsigned char *used; /* a bit a page: one that comes twice makes a cycle */
    struct frame frames[LH_BOLT_MAX_DEPTH];
    unsigned depth;
};

void lh_bolt_fault(struct lh_bolt_faults *f, uint64_t *count, const char *fmt, ...)
{
    va_list ap;

    (*count)++;
    if (f->first[0])
        return;
    va_start(ap, fmt);
    vsnprintf(f->first, sizeof(f->first), fmt, ap);
    va_end(ap);
}

static uint64_t le(const unsigned char *p, unsigned n)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < n; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

int lh_bolt_read_at(int fd, void *p, size_t n, uint64_t at, size_t *got, struct lh_err *err)
{
    size_t have = 0;

    while (have < n) {
        ssize_t r = pread(fd, (char *)p + have, n - have, (off_t)(at + have));

        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return lh_err_os(err, errno, "read the database");
        if (r == 0)
            break;
        have += (size_t)r;
    }
    *got = have;
    return 0;
}

/* FNV-1a, 64 bits, as bbolt's Meta.Sum64. */
static uint64_t fnv64a(const unsigned char *p, size_t n)
{
    uint64_t h = 14695981039346656037u;

    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 1099511628211u;
    return h;
}

static bool meta_is_whole(const unsigned char *page, uint32_t *page_size)
{
    const unsigned char *m = page + LH_BOLT_PAGE_HEADER;
    uint32_t size = (uint32_t)le(m + 8, 4);

    if (!(le(page + 8, 2) & FLAG_META) || le(m, 4) != magic || le(m + 4, 4) != META_VERSION)
        return false;
    if (size < MIN_PAGE || size > MAX_PAGE || (size & (size - 1)))
        return false;
    if (fnv64a(m, META_CHECKED) != le(m + META_CHECKED, 8))
        return false;
    *page_size = size;
    return true;
}

/* Takes the meta page at an offset if it is whole and newer. */
static int try_meta(struct lh_bolt *b, uint64_t at, struct lh_err *err)
{
    unsigned char page[LH_BOLT_PAGE_HEADER + META_BYTES];
    const unsigned char *m = page + LH_BOLT_PAGE_HEADER;
    uint32_t page_size;
    size_t got = 0;
    int rc = lh_bolt_read_at(b->fd, page, sizeof(page), at, &got, err);

    if (rc < 0 || got < sizeof(page) || !meta_is_whole(page, &page_size))
        return rc;
    if (at != 0 && at != page_size)
        return 0;
    if (b->page_size != 0 && le(m + 48, 8) <= b->txid)
        return 0;
    b->page_size = page_size;
    b->root = le(m + 16, 8);
    b->n_pages = le(m + 40, 8);
    b->txid = le(m + 48, 8);
    return 0;
}

int lh_bolt_open(int fd, struct lh_bolt *out, struct lh_err *err)
{
    struct lh_bolt b = {.fd = fd};
    struct stat st;
    int rc;

    if (fstat(fd, &st) < 0)
        return lh_err_os(err, errno, "look at the database");
    rc = try_meta(&b, 0, err);
    /* Where the second one is says the first; when that is broken, every size is tried. */
    for (uint64_t at = MIN_PAGE; rc == 0 && at <= MAX_PAGE; at *= 2)
        rc = try_meta(&b, at, err);
    if (rc < 0)
        return rc;
    if (b.page_size == 0)
        return lh_err_set(err, LH_E_INVALID,
                          "no database of etcd: neither of its two meta pages is whole");
    b.file_bytes = (uint64_t)st.st_size / b.page_size * b.page_size;
    if (b.n_pages > b.file_bytes / b.page_size)
        b.n_pages = b.file_bytes / b.page_size;
    *out = b;
    return 0;
}

/* What stands in a page's head, against where it is. NULL: fine. */
static const char *judge_head(const struct lh_bolt *b, const unsigned char *page, uint64_t id,
                              bool *leaf, uint64_t *bytes)
{
    uint64_t flags = le(page + 8, 2), overflow = le(page + 12, 4);

    if (le(page, 8) != id)
        return "it has another number";
    if (flags != FLAG_BRANCH && flags != FLAG_LEAF)
        return "it is neither branch nor leaf";
    *leaf = flags == FLAG_LEAF;
    if (id != 0 && overflow >= b->n_pages - id)
        return "it goes on past the end";
    *bytes = (overflow + 1) * b->page_size;
    if (*bytes > (uint64_t)(*leaf ? LH_BOLT_MAX_LEAF : LH_BOLT_MAX_BRANCH))
        return "it is larger than is read";
    if (LH_BOLT_PAGE_HEADER + le(page + 10, 2) * ELEMENT_BYTES > *bytes)
        return "it counts more elements than fit";
    return NULL;
}

static bool mark_used(struct lh_bolt_cursor *c, uint64_t first, uint64_t n)
{
    for (uint64_t id = first; id < first + n; id++) {
        if (c->used[id / 8] & (1 << (id % 8)))
            return false;
        c->used[id / 8] |= (unsigned char)(1 << (id % 8));
    }
    return true;
}

static const char *load_head(struct lh_bolt_cursor *c, uint64_t id, struct frame *f)
{
    unsigned char head[LH_BOLT_PAGE_HEADER];
    const char *why;
    uint64_t bytes;
    size_t got = 0;

    if (id < 2 || id >= c->b->n_pages)
        return "it is not in the file";
    if (c->depth == LH_BOLT_MAX_DEPTH)
        return "the tree is too deep";
    if (lh_bolt_read_at(c->b->fd, head, sizeof(head), id * c->b->page_size, &got, NULL) < 0 ||
        got < sizeof(head))
        return "it cannot be read";
    why = judge_head(c->b, head, id, &f->leaf, &bytes);
    if (why)
        return why;
    if (!mark_used(c, id, bytes / c->b->page_size))
        return "it is used twice";
    f->id = id;
    f->bytes = (size_t)bytes;
    f->left = (uint32_t)le(head + 10, 2);
    return NULL;
}

/* Goes down into a page, or counts it as bad. */
static int push(struct lh_bolt_cursor *c, uint64_t id, struct lh_err *err)
{
    struct frame f = {0};
    size_t got = 0;
    const char *why = load_head(c, id, &f);

    if (!why) {
        f.page = lh_malloc(f.bytes);
        if (!f.page)
            return lh_err_nomem(err);
        if (lh_bolt_read_at(c->b->fd, f.page, f.bytes, id * c->b->page_size, &got, NULL) < 0 ||
            got < f.bytes)
            why = "it cannot be read";
    }
    if (why) {
        lh_free(f.page);
        lh_bolt_fault(c->faults, &c->faults->pages, "page %" PRIu64 ": %s", id, why);
        return 0;
    }
    c->frames[c->depth++] = f;
    return 0;
}

/* A small bucket's only page stands in its parent's value, with number 0 and without end. */
static int push_inline(struct lh_bolt_cursor *c, struct lh_str page, struct lh_err *err)
{
    const unsigned char *p = (const unsigned char *)page.p;
    struct frame f = {.bytes = page.n, .leaf = true};

    if (page.n < LH_BOLT_PAGE_HEADER || le(p + 8, 2) != FLAG_LEAF ||
        LH_BOLT_PAGE_HEADER + le(p + 10, 2) * ELEMENT_BYTES > page.n) {
        lh_bolt_fault(c->faults, &c->faults->pages, "a bucket's own page is malformed");
        return 0;
    }
    f.left = (uint32_t)le(p + 10, 2);
    f.page = lh_memdup(page.p, page.n);
    if (!f.page)
        return lh_err_nomem(err);
    c->frames[c->depth++] = f;
    return 0;
}

/* Bytes of an element, position counted from the element itself. */
static bool slice(const struct frame *f, size_t from, uint64_t pos, uint64_t n, struct lh_str *out)
{
    uint64_t start = from + pos;

    if (start > f->bytes || n > f->bytes - start)
        return false;
    *out = (struct lh_str){(const char *)f->page + start, (size_t)n};
    return true;
}

static bool take_leaf(const struct frame *f, struct lh_bolt_item *out)
{
    size_t at = LH_BOLT_PAGE_HEADER + (size_t)f->left * ELEMENT_BYTES;
    const unsigned char *e = f->page + at;
    uint64_t pos = le(e + 4, 4), key = le(e + 8, 4), value = le(e + 12, 4);

    out->bucket = le(e, 4) & LEAF_BUCKET;
    return slice(f, at, pos, key, &out->key) && slice(f, at, pos + key, value, &out->value);
}

static void pop(struct lh_bolt_cursor *c)
{
    lh_free(c->frames[--c->depth].page);
}

int lh_bolt_cursor_prev(struct lh_bolt_cursor *c, struct lh_bolt_item *out, struct lh_err *err)
{
    while (c->depth > 0) {
        struct frame *f = &c->frames[c->depth - 1];
        int rc;

        if (f->left == 0) {
            pop(c);
            continue;
        }
        f->left--;
        if (!f->leaf) {
            const unsigned char *e =
                f->page + LH_BOLT_PAGE_HEADER + (size_t)f->left * ELEMENT_BYTES;

            rc = push(c, le(e + 8, 8), err);
            if (rc < 0)
                return rc;
        } else if (take_leaf(f, out)) {
            return 1;
        } else {
            lh_bolt_fault(c->faults, &c->faults->entries,
                          "page %" PRIu64 ": element %" PRIu32 " reaches past its end", f->id,
                          f->left);
        }
    }
    return 0;
}

/* Finds the bucket, and starts the cursor anew in it. 1, 0: none, or an error. */
static int enter(struct lh_bolt_cursor *c, const char *bucket, struct lh_err *err)
{
    lh_auto_free char *header = NULL;
    struct lh_bolt_item item;
    size_t n;
    int rc;

    do {
        rc = lh_bolt_cursor_prev(c, &item, err);
        if (rc <= 0)
            return rc;
    } while (!item.bucket || !lh_str_eqz(item.key, bucket));
    if (item.value.n < BUCKET_BYTES) {
        lh_bolt_fault(c->faults, &c->faults->entries, "bucket %s has no whole header", bucket);
        return 0;
    }
    n = item.value.n;
    header = lh_memdup(item.value.p, n); /* what it stands in goes away */
    if (!header)
        return lh_err_nomem(err);
    while (c->depth > 0)
        pop(c);
    if (le((const unsigned char *)header, 8) == 0)
        rc = push_inline(c, (struct lh_str){header + BUCKET_BYTES, n - BUCKET_BYTES}, err);
    else
        rc = push(c, le((const unsigned char *)header, 8), err);
    return rc < 0 ? rc : 1;
}

int lh_bolt_cursor_new(const struct lh_bolt *b, const char *bucket, struct lh_bolt_faults *faults,
                       struct lh_bolt_cursor **out, struct lh_err *err)
{
    struct lh_bolt_cursor *c = lh_calloc(1, sizeof(*c));
    int rc;

    if (!c)
        return lh_err_nomem(err);
    c->b = b;
    c->faults = faults;
    c->used = lh_calloc(1, (size_t)(b->n_pages / 8 + 1));
    rc = c->used ? push(c, b->root, err) : lh_err_nomem(err);
    if (rc == 0)
        rc = bucket ? enter(c, bucket, err) : 1;
    if (rc <= 0) {
        lh_bolt_cursor_free(c);
        c = NULL;
    }
    if (rc < 0)
        return rc;
    *out = c;
    return 0;
}

void lh_bolt_cursor_add_used(const struct lh_bolt_cursor *c, unsigned char *used)
{
    for (uint64_t i = 0; i < c->b->n_pages / 8 + 1; i++)
        used[i] |= c->used[i];
}

void lh_bolt_cursor_free(struct lh_bolt_cursor *c)
{
    if (!c)
        return;
    while (c->depth > 0)
        pop(c);
    lh_free(c->used);
    lh_free(c);
}
