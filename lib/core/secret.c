/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/core/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif

enum {
    GRANULE = 64,
    WORD_BITS = 64,
    DEFAULT_REGION = 256 * 1024,
    LEAST_REGION = 16 * 1024,
    MOST_REGION = 64 * 1024 * 1024,
};

struct lh_secret {
    size_t len;
    char *p;       /* len bytes and a NUL */
    size_t mapped; /* 0: in the region; else the size of a mapping of its own */
};

/* The bitmap lies outside: a slot that is written past its end must not corrupt it. */
static struct {
    char *p;
    size_t bytes, used, overflow_bytes;
    unsigned long overflows;
    uint64_t *bitmap;
    size_t words, hint;
    const char *kind;
} region;

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* Not to be mixed: memfd_secret is shared memory, to which mlock, WIPEONFORK and MAP_PRIVATE do
 * not apply; a child simply does not get it. */
static bool fill_memfd(void *at, size_t bytes)
{
    int fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);
    void *p = MAP_FAILED;

    if (fd < 0)
        return false;
    if (ftruncate(fd, (off_t)bytes) == 0)
        p = mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
    close(fd);
    return p != MAP_FAILED && madvise(p, bytes, MADV_DONTFORK) == 0;
}

static bool fill_anonymous(void *at, size_t bytes)
{
    void *p =
        mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

    if (p == MAP_FAILED)
        return false;
    madvise(p, bytes, MADV_DONTDUMP);
    madvise(p, bytes, MADV_WIPEONFORK);
    return true;
}

static bool fill_locked(void *at, size_t bytes)
{
    /* ONFAULT: a region that is mostly empty must not cost its whole size in memory. */
    return fill_anonymous(at, bytes) && mlock2(at, bytes, MLOCK_ONFAULT) == 0;
}

static const struct {
    const char *kind;
    bool (*fill)(void *at, size_t bytes);
    bool smaller; /* worth trying with less: RLIMIT_MEMLOCK may allow only that */
} fillers[] = {
    {"memfd_secret", fill_memfd, true},
    {"mlock", fill_locked, true},
    {"unlocked", fill_anonymous, false},
};

/* An inaccessible page at both ends, whatever is mapped in between. */
static char *reserve(size_t bytes, size_t page)
{
    char *p =
        mmap(NULL, bytes + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return p == MAP_FAILED ? NULL : p + page;
}

static bool fill_region(size_t bytes, size_t page)
{
    for (size_t i = 0; i < LH_ARRAY_LEN(fillers); i++) {
        size_t least = fillers[i].smaller ? LEAST_REGION : bytes;

        for (size_t n = bytes; n >= least && n >= page; n /= 2) {
            char *p = reserve(n, page);

            if (!p)
                continue;
            if (fillers[i].fill(p, n)) {
                region.p = p;
                region.bytes = n;
                region.kind = fillers[i].kind;
                return true;
            }
            munmap(p - page, n + 2 * page);
        }
    }
    return false;
}

static void raise_memlock(void)
{
    struct rlimit rl;

    if (getrlimit(RLIMIT_MEMLOCK, &rl) == 0 && rl.rlim_cur < rl.rlim_max) {
        rl.rlim_cur = rl.rlim_max;
        setrlimit(RLIMIT_MEMLOCK, &rl);
    }
}

int lh_secret_init(size_t region_bytes, struct lh_err *err)
{
    size_t page = page_size(), bytes, bitmap_bytes;
    void *bitmap;

    if (region.p)
        return 0;
    if (region_bytes < LEAST_REGION)
        region_bytes = LEAST_REGION;
    if (region_bytes > MOST_REGION)
        region_bytes = MOST_REGION;
    bytes = page; /* a power of two, so that halves are whole pages */
    while (bytes < region_bytes)
        bytes *= 2;
    bitmap_bytes = round_up(bytes / GRANULE / 8, page);
    bitmap = mmap(NULL, bitmap_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bitmap == MAP_FAILED)
        return lh_err_os(err, errno, "map memory for secrets");
    raise_memlock();
    if (!fill_region(bytes, page)) {
        munmap(bitmap, bitmap_bytes);
        return lh_err_os(err, ENOMEM, "map memory for secrets");
    }
    region.bitmap = bitmap;
    region.words = region.bytes / GRANULE / WORD_BITS;
    return 0;
}

static bool bit_is_set(size_t i)
{
    return region.bitmap[i / WORD_BITS] >> (i % WORD_BITS) & 1;
}

static void set_bits(size_t first, size_t n, bool on)
{
    for (size_t i = first; i < first + n; i++) {
        uint64_t bit = (uint64_t)1 << (i % WORD_BITS);

        if (on)
            region.bitmap[i / WORD_BITS] |= bit;
        else
            region.bitmap[i / WORD_BITS] &= ~bit;
    }
}

/* First run of n free granules in [from, to), or SIZE_MAX. */
static size_t find_run(size_t n, size_t from, size_t to)
{
    size_t run = 0;

    for (size_t i = from; i < to; i++) {
        if (i % WORD_BITS == 0 && region.bitmap[i / WORD_BITS] == UINT64_MAX) {
            run = 0;
            i += WORD_BITS - 1;
        } else if (bit_is_set(i)) {
            run = 0;
        } else if (++run == n) {
            return i + 1 - n;
        }
    }
    return SIZE_MAX;
}

static char *take_slot(size_t granules)
{
    size_t total = region.words * WORD_BITS, at;

    if (granules > total - region.used / GRANULE)
        return NULL;
    at = find_run(granules, region.hint, total);
    if (at == SIZE_MAX)
        at = find_run(granules, 0, total);
    if (at == SIZE_MAX)
        return NULL;
    set_bits(at, granules, true);
    region.hint = at + granules < total ? at + granules : 0;
    region.used += granules * GRANULE;
    return region.p + at * GRANULE;
}

static char *take_mapping(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        return NULL;
    madvise(p, bytes, MADV_DONTDUMP);
    madvise(p, bytes, MADV_WIPEONFORK);
    region.overflow_bytes += bytes;
    region.overflows++;
    return p;
}

int lh_secret_new(size_t len, struct lh_secret **out, struct lh_err *err)
{
    struct lh_secret *s;
    int rc = lh_secret_init(DEFAULT_REGION, err);

    if (rc < 0)
        return rc;
    if (len >= PTRDIFF_MAX - page_size())
        return lh_err_set(err, LH_E_TOOBIG, "a secret of %zu bytes is too large", len);
    s = lh_calloc(1, sizeof(*s));
    if (!s)
        return lh_err_nomem(err);
    s->len = len;
    s->p = take_slot((len + GRANULE) / GRANULE);
    if (!s->p) {
        s->mapped = round_up(len + 1, page_size());
        s->p = take_mapping(s->mapped);
    }
    if (!s->p) {
        lh_free(s);
        return lh_err_nomem(err);
    }
    *out = s;
    return 0;
}

int lh_secret_copy(const void *p, size_t len, struct lh_secret **out, struct lh_err *err)
{
    int rc = lh_secret_new(len, out, err);

    if (rc < 0)
        return rc;
    if (len > 0)
        memcpy((*out)->p, p, len);
    return 0;
}

struct lh_secret *lh_secret_free(struct lh_secret *s)
{
    if (!s)
        return NULL;
    if (s->mapped) {
        lh_wipe(s->p, s->mapped);
        munmap(s->p, s->mapped);
        region.overflow_bytes -= s->mapped;
    } else {
        size_t granules = (s->len + GRANULE) / GRANULE;

        /* The whole slot: the next owner is promised zeroes. */
        lh_wipe(s->p, granules * GRANULE);
        set_bits((size_t)(s->p - region.p) / GRANULE, granules, false);
        region.used -= granules * GRANULE;
    }
    lh_free(s);
    return NULL;
}

size_t lh_secret_len(const struct lh_secret *s)
{
    return s->len;
}

void *lh_secret_expose(struct lh_secret *s)
{
    return s->p;
}

const void *lh_secret_expose_const(const struct lh_secret *s)
{
    return s->p;
}

bool lh_secret_equal(const struct lh_secret *a, const struct lh_secret *b)
{
    const volatile unsigned char *p = (const volatile unsigned char *)a->p;
    const volatile unsigned char *q = (const volatile unsigned char *)b->p;
    unsigned char differ = 0;

    if (a->len != b->len)
        return false;
    for (size_t i = 0; i < a->len; i++)
        differ |= p[i] ^ q[i];
    return differ == 0;
}

/* Fills p, or less at the end of the file. -errno. */
static int read_exact(int fd, char *p, size_t n, size_t *got)
{
    *got = 0;
    while (*got < n) {
        ssize_t r = lh_fs->read(fd, p + *got, n - *got);

        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -errno;
        if (r == 0)
            break;
        *got += (size_t)r;
    }
    return 0;
}

int lh_secret_read_at(int dirfd, const char *name, size_t cap, struct lh_secret **out,
                      struct lh_err *err)
{
    lh_auto_secret struct lh_secret *s = NULL;
    lh_auto_fd int fd = -1;
    struct stat st;
    size_t got = 0, more = 0;
    char past;
    int rc;

    /* No O_NOFOLLOW: kubelet publishes every key as a symlink through ..data. */
    fd = lh_fs->openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    if (fd < 0 && errno == ENOENT)
        return lh_err_set(err, LH_E_NOTFOUND, "%s does not exist", name);
    if (fd < 0)
        return lh_err_os(err, errno, "open %s", name);
    if (lh_fs->fstatat(fd, "", &st, AT_EMPTY_PATH) < 0)
        return lh_err_os(err, errno, "stat %s", name);
    if (!S_ISREG(st.st_mode))
        return lh_err_set(err, LH_E_INVALID, "%s is not a regular file", name);
    if ((size_t)st.st_size > cap)
        return lh_err_set(err, LH_E_TOOBIG, "%s is larger than %zu bytes", name, cap);

    rc = lh_secret_new((size_t)st.st_size, &s, err);
    if (rc < 0)
        return rc;
    rc = read_exact(fd, s->p, s->len, &got);
    if (rc == 0)
        rc = read_exact(fd, &past, 1, &more);
    lh_wipe(&past, 1);
    if (rc < 0)
        return lh_err_os(err, -rc, "read %s", name);
    if (got != s->len || more > 0)
        return lh_err_set(err, LH_E_BUSY, "%s changed while it was read", name);
    *out = LH_TAKE_PTR(s);
    return 0;
}

int lh_secret_read_token(const char *path, size_t cap, struct lh_secret **out, struct lh_err *err)
{
    lh_auto_secret struct lh_secret *s = NULL;
    int rc = lh_secret_read_at(AT_FDCWD, path, cap, &s, err);
    size_t n;

    if (rc < 0)
        return rc;
    for (n = s->len; n > 0 && strchr(" \t\r\n\v\f", s->p[n - 1]) && s->p[n - 1]; n--)
        ;
    if (n == 0)
        return lh_err_set(err, LH_E_INVALID, "%s is empty", path);
    return lh_secret_copy(s->p, n, out, err);
}

void lh_secret_stats(struct lh_secret_stats *out)
{
    *out = (struct lh_secret_stats){
        .region_bytes = region.bytes,
        .used_bytes = region.used,
        .overflow_bytes = region.overflow_bytes,
        .overflows = region.overflows,
        .kind = region.kind ? region.kind : "none",
    };
}
