/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/etcd/leftovers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bolt.h"
#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"
#include "leftovers_priv.h"
#include "pb.h"
#include "revision.h"
#include "seen.h"

enum {
    MAX_FILES = 10000,
    MAX_DEPTH = 6,
    TRIES = 6, /* at a database that is written to: enough for the pauses of a quiet cluster */
    MAX_BUCKET = 64,
    LOG_HEAD = 8,
};

int lh_leftover_keys_init(struct lh_leftover_keys *k, const char *prefix, struct lh_err *err)
{
    size_t n = strlen(prefix);

    while (n > 0 && prefix[n - 1] == '/')
        n--;
    k->all = lh_asprintf("%.*s/", (int)n, prefix);
    k->secrets = lh_asprintf("%.*s/secrets/", (int)n, prefix);
    return k->all && k->secrets ? 0 : lh_err_nomem(err);
}

void lh_leftover_keys_done(struct lh_leftover_keys *k)
{
    lh_free(k->all);
    lh_free(k->secrets);
}

/* One database, read once. */
struct walk {
    const struct lh_leftover_keys *keys;
    struct lh_bolt bolt;
    struct lh_bolt_faults faults;
    struct lh_leftovers *l;
    struct lh_seen *seen;
    unsigned char *used;
};

/* From the newest revision to the oldest: what comes first of a key is current. 1, or an error. */
static int take_record(struct walk *w, const struct lh_bolt_item *item, struct lh_err *err)
{
    struct lh_atrest_value v;
    struct lh_etcd_entry e;
    struct lh_revision rev;
    bool fresh = false;
    int rc;

    if (item->bucket || !lh_revision_parse(item->key, &rev) ||
        !lh_etcd_entry_parse(item->value, &e)) {
        lh_bolt_fault(&w->faults, &w->faults.entries, "a record is not a revision of a key");
        return 1;
    }
    if (!lh_str_starts(e.key, lh_str(w->keys->secrets)))
        return 1;
    rc = lh_seen_add(w->seen, e.key, &fresh, err);
    if (rc < 0 || rev.tombstone)
        return rc < 0 ? rc : 1;
    lh_atrest_value_read_all(e.value, &v);
    rc = lh_leftovers_count(w->l, fresh ? LH_LEFTOVER_CURRENT : LH_LEFTOVER_OLDER, &v, err);
    return rc < 0 ? rc : 1;
}

static int walk_bucket(struct walk *w, const char *name, struct lh_err *err)
{
    bool records = strcmp(name, "key") == 0;
    struct lh_bolt_cursor *c = NULL;
    struct lh_bolt_item item;
    int rc = lh_bolt_cursor_new(&w->bolt, name, &w->faults, &c, err);

    if (!c)
        return rc;
    do {
        rc = lh_bolt_cursor_prev(c, &item, err);
        if (rc > 0 && records)
            rc = take_record(w, &item, err);
    } while (rc > 0);
    lh_bolt_cursor_add_used(c, w->used);
    lh_bolt_cursor_free(c);
    return rc;
}

/* The root names the buckets; each is walked to its end, so that its pages are known. */
static int walk_all(struct walk *w, struct lh_err *err)
{
    struct lh_bolt_cursor *root = NULL;
    char name[MAX_BUCKET];
    struct lh_bolt_item item;
    int rc = lh_bolt_cursor_new(&w->bolt, NULL, &w->faults, &root, err);

    while (rc == 0 && root) {
        rc = lh_bolt_cursor_prev(root, &item, err);
        if (rc <= 0)
            break;
        rc = 0;
        if (!item.bucket || item.key.n >= sizeof(name) || memchr(item.key.p, 0, item.key.n))
            continue;
        memcpy(name, item.key.p, item.key.n);
        name[item.key.n] = '\0';
        rc = walk_bucket(w, name, err);
    }
    if (root)
        lh_bolt_cursor_add_used(root, w->used);
    lh_bolt_cursor_free(root);
    return rc;
}

static bool is_used(const struct walk *w, uint64_t page)
{
    return page < w->bolt.n_pages && (w->used[page / 8] & (1 << (page % 8)));
}

/* Runs of pages that the walk did not come to, and what follows the last page. */
static int search_free(const struct walk *w, uint64_t file_bytes, struct lh_err *err)
{
    const uint64_t size = w->bolt.page_size, pages = file_bytes / size + (file_bytes % size > 0);
    struct lh_leftover_search *s = NULL;
    int rc = lh_leftover_search_new(w->keys, &s, err);

    for (uint64_t from = 0, to; rc == 0 && from < pages; from = to) {
        bool used = is_used(w, from);
        struct lh_leftover_range range = {w->bolt.fd, from * size, 0, LH_LEFTOVER_FREE};

        for (to = from + 1; to < pages && is_used(w, to) == used;)
            to++;
        range.end = to == pages ? file_bytes : to * size;
        if (!used)
            rc = lh_leftover_search_range(s, &range, w->l, err);
    }
    lh_leftover_search_free(s);
    return rc;
}

static int read_database(struct walk *w, const char *name, uint64_t file_bytes, struct lh_err *err)
{
    struct lh_bolt after;
    int rc = lh_seen_new(&w->seen, err);

    w->used = lh_calloc(1, (size_t)(w->bolt.n_pages / 8 + 1));
    if (rc == 0 && !w->used)
        rc = lh_err_nomem(err);
    if (rc == 0)
        rc = walk_all(w, err);
    if (rc == 0)
        rc = search_free(w, file_bytes, err);
    if (rc == 0 && w->faults.pages + w->faults.entries > 0) {
        lh_leftovers_fault(w->l, &w->l->damaged, "%s: %s", name, w->faults.first);
        w->l->damaged = w->faults.pages + w->faults.entries;
    }
    if (rc == 0)
        w->l->changed = lh_bolt_open(w->bolt.fd, &after, NULL) < 0 || after.txid != w->bolt.txid;
    lh_seen_free(w->seen);
    lh_free(w->used);
    return rc;
}

/* etcd writes a page only where nothing of the newest two commits stands, so that a reading without
 * a commit meanwhile is of one state. LH_E_INVALID: not a database. */
static int take_database(struct lh_leftovers *l, int fd, const char *name,
                         const struct lh_leftover_keys *keys, struct lh_err *err)
{
    struct lh_leftovers one;
    uint64_t moving = 0;
    struct stat st;
    int rc;

    lh_leftovers_init(&one);
    for (int i = 0; i == 0 || (one.changed && i < TRIES); i++) {
        struct walk w = {.keys = keys, .l = &one};

        lh_leftovers_done(&one);
        rc = fstat(fd, &st) < 0 ? lh_err_os(err, errno, "look at %s", name)
                                : lh_bolt_open(fd, &w.bolt, err);
        if (rc == 0)
            rc = read_database(&w, name, (uint64_t)st.st_size, err);
        if (rc < 0) {
            lh_leftovers_done(&one);
            return rc;
        }
    }
    one.has_database = true;
    if (one.changed)
        lh_leftovers_fault(&one, &moving, "%s: the member writes to it all the time", name);
    return lh_leftovers_merge(l, &one, err);
}

/* A log begins with a record of type crc, 4, whose length stands before it (server/storage/wal). */
static bool is_log(int fd, uint64_t size)
{
    unsigned char head[LOG_HEAD + 2];
    size_t got = 0;

    return size > sizeof(head) && lh_bolt_read_at(fd, head, sizeof(head), 0, &got, NULL) == 0 &&
           got == sizeof(head) && head[0] > 0 && head[1] == 0 && head[LOG_HEAD] == 0x08 &&
           head[LOG_HEAD + 1] == 4;
}

static int search_whole(struct lh_leftovers *l, int fd, uint64_t size,
                        const struct lh_leftover_keys *keys, enum lh_leftover_place place,
                        struct lh_err *err)
{
    const struct lh_leftover_range range = {fd, 0, size, place};
    struct lh_leftover_search *s = NULL;
    int rc = lh_leftover_search_new(keys, &s, err);

    if (rc == 0)
        rc = lh_leftover_search_range(s, &range, l, err);
    lh_leftover_search_free(s);
    return rc;
}

int lh_leftovers_fd(struct lh_leftovers *l, int fd, const char *name,
                    const struct lh_leftover_keys *keys, enum lh_leftover_place place,
                    struct lh_err *err)
{
    struct lh_err why = {0};
    struct stat st;
    int rc;

    if (fstat(fd, &st) < 0)
        return lh_err_os(err, errno, "look at %s", name);
    l->files++;
    l->bytes += (uint64_t)st.st_size;
    if (place == LH_LEFTOVER_LOG) {
        if (is_log(fd, (uint64_t)st.st_size))
            l->has_log = true;
        else
            lh_leftovers_fault(l, &l->damaged, "%s does not begin as a log of etcd does", name);
        return search_whole(l, fd, (uint64_t)st.st_size, keys, place, err);
    }
    rc = take_database(l, fd, name, keys, &why);
    if (rc == 0)
        return 0;
    if (rc != -LH_E_INVALID) {
        if (err)
            *err = why;
        return rc;
    }
    if (place == LH_LEFTOVER_FREE)
        lh_leftovers_fault(l, &l->damaged, "%s: %s", name, why.msg);
    return search_whole(l, fd, (uint64_t)st.st_size, keys, LH_LEFTOVER_ELSEWHERE, err);
}

static bool ends(const char *name, const char *how)
{
    return lh_str_ends(lh_str(name), lh_str(how));
}

/* What a name promises; files of the log that are made ahead end with ".tmp" and are all zeroes. */
static enum lh_leftover_place place_of(const char *name)
{
    if (ends(name, ".wal"))
        return LH_LEFTOVER_LOG;
    return strcmp(name, "db") == 0 || ends(name, ".db") ? LH_LEFTOVER_FREE : LH_LEFTOVER_ELSEWHERE;
}

/* What goes away meanwhile was left over, and is not any more. */
static int take_file(struct lh_leftovers *l, int dir, const char *name,
                     const struct lh_leftover_keys *keys, struct lh_err *err)
{
    lh_auto_fd int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct lh_err why = {0};
    int rc;

    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0) {
        lh_leftovers_fault(l, &l->unread, "%s: %s", name, strerror(errno));
        return 0;
    }
    rc = lh_leftovers_fd(l, fd, name, keys, place_of(name), &why);
    if (rc == -LH_E_OS) {
        lh_leftovers_fault(l, &l->unread, "%s: %s", name, why.msg);
        return 0;
    }
    if (rc < 0 && err)
        *err = why;
    return rc;
}

static int take_folder(struct lh_leftovers *l, int at, const char *name,
                       const struct lh_leftover_keys *keys, unsigned depth, struct lh_err *err);

static int take_name(struct lh_leftovers *l, int dir, const char *name,
                     const struct lh_leftover_keys *keys, unsigned depth, struct lh_err *err)
{
    struct stat st;

    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return 0;
    if (l->files + l->unread >= MAX_FILES)
        return lh_err_set(err, LH_E_TOOBIG, "more than %d files in a data folder of etcd",
                          MAX_FILES);
    if (fstatat(dir, name, &st, 0) < 0)
        return 0;
    if (S_ISDIR(st.st_mode))
        return take_folder(l, dir, name, keys, depth + 1, err);
    return S_ISREG(st.st_mode) ? take_file(l, dir, name, keys, err) : 0;
}

static int take_folder(struct lh_leftovers *l, int at, const char *name,
                       const struct lh_leftover_keys *keys, unsigned depth, struct lh_err *err)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;

    if (!d && depth == 0) {
        rc = lh_err_os(err, errno, "open %s", name);
    } else if (!d) {
        lh_leftovers_fault(l, &l->unread, "%s: %s", name, strerror(errno));
    } else if (depth > MAX_DEPTH) {
        lh_leftovers_fault(l, &l->unread, "%s lies too deep", name);
    } else {
        while (rc == 0 && (e = readdir(d)))
            rc = take_name(l, fd, e->d_name, keys, depth, err);
    }
    if (d)
        closedir(d);
    else if (fd >= 0)
        close(fd);
    return rc;
}

int lh_leftovers_dir(const char *path, const char *prefix, struct lh_leftovers *out,
                     struct lh_err *err)
{
    struct lh_leftover_keys keys = {0};
    struct lh_leftovers l;
    int rc = lh_leftover_keys_init(&keys, prefix, err);

    lh_leftovers_init(&l);
    if (rc == 0)
        rc = take_folder(&l, AT_FDCWD, path, &keys, 0, err);
    if (rc == 0 && !l.has_database && !l.has_log && l.damaged + l.unread == 0)
        rc =
            lh_err_set(err, LH_E_INVALID,
                       "%s is no data folder of etcd: neither a database nor a log is in it", path);
    lh_leftover_keys_done(&keys);
    if (rc < 0)
        lh_leftovers_done(&l);
    else
        *out = l;
    return rc;
}

int lh_leftovers_file(const char *path, const char *prefix, struct lh_leftovers *out,
                      struct lh_err *err)
{
    lh_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct lh_leftover_keys keys = {0};
    struct lh_leftovers l;
    struct stat st;
    int rc;

    if (fd < 0)
        return lh_err_os(err, errno, "open %s", path);
    if (fstat(fd, &st) < 0)
        return lh_err_os(err, errno, "stat %s", path);
    if (!S_ISREG(st.st_mode))
        return lh_err_set(err, LH_E_INVALID, "%s is not a regular file", path);
    lh_leftovers_init(&l);
    rc = lh_leftover_keys_init(&keys, prefix, err);
    if (rc == 0)
        rc = lh_leftovers_fd(&l, fd, path, &keys, LH_LEFTOVER_FREE, err);
    lh_leftover_keys_done(&keys);
    if (rc < 0)
        lh_leftovers_done(&l);
    else
        *out = l;
    return rc;
}
