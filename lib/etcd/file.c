/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store of etcd in a file: bucket "key" holds each revision that was not compacted away, named
 * by its number (server/storage/mvcc/revision.go), so the walk goes from the newest to the oldest
 * and what comes first of a key is what counts.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "leasehold/codec/json.h"
#include "leasehold/core/clock.h"
#include "leasehold/core/fs.h"
#include "pb.h"
#include "priv.h"
#include "revision.h"

enum {
    SLICE_MS = 10,    /* of one turn */
    SLICE_ITEMS = 64, /* between two looks at the clock */
    HASH_BYTES = 65536,
    HASH_TURN = 16, /* of these a turn: about 5 ms */
};

/* Wants strictly falling revisions: else an older value could be taken for the newest. */
static void check_order(struct lh_etcd_scan *scan, const struct lh_revision *rev)
{
    if (rev->main > scan->last_main || (rev->main == scan->last_main && rev->sub >= scan->last_sub))
        lh_bolt_fault(&scan->faults, &scan->faults.entries,
                      "revision %" PRIi64 " stands out of order", rev->main);
    scan->last_main = rev->main;
    scan->last_sub = rev->sub;
}

/* 1: go on, 0: the scan is gone, or an error. */
static int take_item(struct lh_etcd_scan *scan, const struct lh_bolt_item *item, struct lh_err *err)
{
    struct lh_etcd_entry e;
    struct lh_revision rev;
    bool fresh = false;
    int rc;

    if (item->bucket || !lh_revision_parse(item->key, &rev) ||
        !lh_etcd_entry_parse(item->value, &e)) {
        lh_bolt_fault(&scan->faults, &scan->faults.entries, "a record is not a revision of a key");
        return 1;
    }
    check_order(scan, &rev);
    if (rev.main > scan->result.revision)
        scan->result.revision = rev.main;
    if (!lh_str_starts(e.key, (struct lh_str){scan->prefix, scan->prefix_bytes}))
        return 1;
    rc = lh_seen_add(scan->seen, e.key, &fresh, err);
    if (rc < 0)
        return rc;
    if (!fresh || rev.tombstone)
        return 1;
    return lh_etcd_scan_give(scan, &e);
}

static void scan_end_of_file(struct lh_etcd_scan *scan)
{
    scan->result.bad_pages = scan->faults.pages;
    scan->result.bad_entries = scan->faults.entries;
    memcpy(scan->result.first_fault, scan->faults.first, sizeof(scan->result.first_fault));
    lh_etcd_scan_finish(scan, NULL);
}

/* 1: more, 0: the end or gone (*gone), or an error. */
static int scan_some(struct lh_etcd_scan *scan, bool *gone, struct lh_err *err)
{
    struct lh_bolt_item item;
    int rc = 1;

    for (int i = 0; rc > 0 && i < SLICE_ITEMS; i++) {
        rc = lh_bolt_cursor_prev(scan->cursor, &item, err);
        if (rc <= 0)
            return rc;
        rc = take_item(scan, &item, err);
        *gone = rc == 0;
    }
    return rc;
}

static void on_scan_turn(void *arg)
{
    struct lh_etcd_scan *scan = arg;
    lh_ms until = lh_clock_now() + SLICE_MS;
    struct lh_err err = {0};
    bool gone = false;
    int rc;

    do
        rc = scan->cursor ? scan_some(scan, &gone, &err) : 0;
    while (rc > 0 && lh_clock_now() < until);
    if (rc > 0)
        lh_timer_in(scan->timer, 0);
    else if (rc < 0)
        lh_etcd_scan_finish(scan, &err);
    else if (!gone)
        scan_end_of_file(scan);
}

static int scan_begin(struct lh_etcd_scan *scan, struct lh_err *err)
{
    int rc = lh_timer_new(scan->e->loop, on_scan_turn, scan, &scan->timer, err);

    if (rc == 0)
        rc = lh_seen_new(&scan->seen, err);
    if (rc == 0)
        rc = lh_bolt_cursor_new(&scan->e->file.bolt, "key", &scan->faults, &scan->cursor, err);
    if (rc < 0)
        return rc;
    if (!scan->cursor)
        lh_bolt_fault(&scan->faults, &scan->faults.entries, "there is no bucket of keys");
    scan->last_main = INT64_MAX;
    lh_timer_in(scan->timer, 0);
    return 0;
}

static void scan_end(struct lh_etcd_scan *scan)
{
    lh_bolt_cursor_free(scan->cursor);
    lh_seen_free(scan->seen);
}

/* Each item of a small bucket; without the bucket none. */
static int each(const struct lh_bolt *b, const char *bucket,
                int (*fn)(struct lh_etcd_about *a, const struct lh_bolt_item *item,
                          struct lh_err *err),
                struct lh_etcd_about *a, struct lh_err *err)
{
    struct lh_bolt_faults ignored = {0}; /* a scan counts them */
    struct lh_bolt_cursor *c = NULL;
    struct lh_bolt_item item;
    int rc = lh_bolt_cursor_new(b, bucket, &ignored, &c, err);

    while (rc == 0 && c && lh_bolt_cursor_prev(c, &item, err) > 0)
        rc = fn(a, &item, err);
    lh_bolt_cursor_free(c);
    return rc < 0 ? rc : 0;
}

static int take_meta(struct lh_etcd_about *a, const struct lh_bolt_item *item, struct lh_err *err)
{
    struct lh_revision rev;

    (void)err;
    if (lh_str_eqz(item->key, "consistent_index") && item->value.n == 8)
        a->applied_index = lh_etcd_be64(item->value.p);
    else if (lh_str_eqz(item->key, "term") && item->value.n == 8)
        a->raft_term = lh_etcd_be64(item->value.p);
    else if (lh_str_eqz(item->key, "finishedCompactRev") && lh_revision_parse(item->value, &rev) &&
             rev.main > a->revision)
        a->revision = rev.main;
    return 0;
}

static int take_cluster(struct lh_etcd_about *a, const struct lh_bolt_item *item,
                        struct lh_err *err)
{
    size_t n = item->value.n < sizeof(a->version) ? item->value.n : sizeof(a->version) - 1;

    (void)err;
    if (!lh_str_eqz(item->key, "clusterVersion") || !lh_str_is_dns_subdomain(item->value))
        return 0;
    memcpy(a->version, item->value.p, n);
    a->version[n] = '\0';
    return 0;
}

static void put_urls(struct lh_buf *b, const lh_json *list)
{
    struct lh_str url;

    for (size_t i = 0; i < lh_json_len(list); i++) {
        if (i > 0)
            lh_buf_put_c(b, ',');
        if (lh_json_str(lh_json_at(list, i), &url))
            lh_buf_put_str(b, url);
    }
}

static int take_member(struct lh_etcd_about *a, const struct lh_bolt_item *item, struct lh_err *err)
{
    lh_auto_json lh_json *m = NULL;
    lh_auto_buf struct lh_buf peers, clients;
    const char *name;

    lh_buf_init(&peers, HASH_BYTES);
    lh_buf_init(&clients, HASH_BYTES);
    if (lh_json_parse(item->value, NULL, &m, NULL) < 0)
        return 0; /* a scan's faults tell how whole the file is */
    name = lh_json_get_z(m, "name");
    put_urls(&peers, lh_json_get(m, "peerURLs"));
    put_urls(&clients, lh_json_get(m, "clientURLs"));
    return lh_etcd_add_member(a, lh_str(name ? name : ""), lh_buf_peek(&peers),
                              lh_buf_peek(&clients), err);
}

static int take_newest(struct lh_etcd_about *a, const struct lh_bolt *b, struct lh_err *err)
{
    struct lh_bolt_faults ignored = {0};
    struct lh_bolt_cursor *c = NULL;
    struct lh_bolt_item item;
    struct lh_revision rev;
    int rc = lh_bolt_cursor_new(b, "key", &ignored, &c, err);

    if (rc == 0 && c && lh_bolt_cursor_prev(c, &item, err) > 0 &&
        lh_revision_parse(item.key, &rev) && rev.main > a->revision)
        a->revision = rev.main;
    lh_bolt_cursor_free(c);
    return rc;
}

static int fill_about(struct lh_etcd *e, struct lh_err *err)
{
    struct lh_etcd_about *a = &e->about;
    const struct lh_bolt *b = &e->file.bolt;
    int rc;

    lh_etcd_clear_members(a);
    rc = each(b, "meta", take_meta, a, err);
    if (rc == 0)
        rc = each(b, "cluster", take_cluster, a, err);
    if (rc == 0)
        rc = each(b, "members", take_member, a, err);
    if (rc == 0)
        rc = take_newest(a, b, err);
    return rc;
}

/* The digest at the end is of all before it. 1: more to read. */
static int hash_some(struct lh_etcd_about_op *op, struct lh_err *err)
{
    struct lh_etcd *e = op->e;
    uint64_t size = e->about.file_bytes - LH_HASH_LEN;
    unsigned char bytes[HASH_BYTES], want[LH_HASH_LEN], got[LH_HASH_LEN];
    int rc = 0;

    for (int i = 0; i < HASH_TURN && op->hashed < size && rc == 0; i++) {
        size_t most =
            size - op->hashed < sizeof(bytes) ? (size_t)(size - op->hashed) : sizeof(bytes);
        ssize_t n = pread(e->file.bolt.fd, bytes, most, (off_t)op->hashed);

        if (n <= 0)
            return lh_err_set(err, LH_E_BUSY, "%s became shorter while it was read", e->file.path);
        rc = lh_sha256_update(op->sha, bytes, (size_t)n, err);
        op->hashed += (uint64_t)n;
    }
    lh_wipe(bytes, sizeof(bytes));
    if (rc < 0 || op->hashed < size)
        return rc < 0 ? rc : 1;
    if (pread(e->file.bolt.fd, want, sizeof(want), (off_t)size) != (ssize_t)sizeof(want))
        return lh_err_set(err, LH_E_BUSY, "%s became shorter while it was read", e->file.path);
    rc = lh_sha256_finish(op->sha, got, err);
    e->about.hash_matches = rc == 0 && memcmp(want, got, sizeof(got)) == 0;
    return rc;
}

static void on_about_turn(void *arg)
{
    struct lh_etcd_about_op *op = arg;
    struct lh_err err = {0};
    int rc = op->sha ? hash_some(op, &err) : 0;

    if (rc > 0) {
        lh_timer_in(op->timer, 0);
        return;
    }
    if (rc == 0)
        rc = fill_about(op->e, &err);
    lh_etcd_about_finish(op, rc < 0 ? &err : NULL);
}

static int about_begin(struct lh_etcd_about_op *op, struct lh_err *err)
{
    int rc = lh_timer_new(op->e->loop, on_about_turn, op, &op->timer, err);

    if (rc == 0 && op->e->about.hash_present)
        rc = lh_sha256_new(&op->sha, err);
    if (rc == 0)
        lh_timer_in(op->timer, 0);
    return rc;
}

static void about_end(struct lh_etcd_about_op *op)
{
    lh_sha256_free(op->sha);
}

static void file_free(struct lh_etcd *e)
{
    if (e->file.bolt.fd >= 0)
        close(e->file.bolt.fd);
    lh_free(e->file.path);
}

const struct lh_etcd_ops lh_etcd_file_ops = {
    .about_begin = about_begin,
    .about_end = about_end,
    .scan_begin = scan_begin,
    .scan_end = scan_end,
    .free = file_free,
};

static int look_at(struct lh_etcd *e, const char *path, struct lh_err *err)
{
    struct lh_etcd_about *a = &e->about;
    struct stat st;
    lh_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int rc;

    if (fd < 0)
        return lh_err_os(err, errno, "open %s", path);
    if (fstat(fd, &st) < 0)
        return lh_err_os(err, errno, "stat %s", path);
    if (!S_ISREG(st.st_mode))
        return lh_err_set(err, LH_E_INVALID, "%s is not a regular file", path);
    rc = lh_bolt_open(fd, &e->file.bolt, err);
    if (rc < 0)
        return lh_err_wrap(err, rc, "%s", path);
    e->file.bolt.fd = LH_TAKE_FD(fd);
    a->file_bytes = (uint64_t)st.st_size;
    /* As etcdutl tells them apart: pages are multiples of 512. */
    a->hash_present = a->file_bytes % 512 == LH_HASH_LEN;
    a->page_size = e->file.bolt.page_size;
    a->modified_ms = st.st_mtim.tv_sec * 1000LL + st.st_mtim.tv_nsec / 1000000;
    snprintf(a->address, sizeof(a->address), "%s", path);
    return 0;
}

int lh_etcd_open_file(struct lh_loop *loop, const char *path, struct lh_etcd **out,
                      struct lh_err *err)
{
    struct lh_etcd *e = lh_calloc(1, sizeof(*e));
    int rc;

    if (!e)
        return lh_err_nomem(err);
    e->ops = &lh_etcd_file_ops;
    e->loop = loop;
    e->file.bolt.fd = -1;
    e->file.path = lh_strdup(path);
    rc = e->file.path ? look_at(e, path, err) : lh_err_nomem(err);
    if (rc < 0) {
        lh_etcd_free(e);
        return rc;
    }
    *out = e;
    return 0;
}
