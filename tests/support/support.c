/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "leasehold/core/clock.h"
#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/rand.h"

enum { PATIENCE_MS = 10000, TURN_MS = 20 };

int lh_test_scratch_new(struct lh_test_scratch *s)
{
    const char *tmp = getenv("TMPDIR");

    s->fd = -1;
    snprintf(s->path, sizeof(s->path), "%s/leasehold-test.XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(s->path))
        return -1;
    s->fd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return s->fd < 0 ? -1 : 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    remove(path);
    return 0;
}

void lh_test_scratch_done(struct lh_test_scratch *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    if (s->path[0])
        nftw(s->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    s->path[0] = '\0';
}

int lh_test_write(int dirfd, const char *path, const char *text)
{
    char part[4096];
    size_t n = strlen(text);
    ssize_t w;
    int fd;

    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
        if (part[0] && mkdirat(dirfd, part, 0755) < 0 && errno != EEXIST)
            return -1;
    }
    fd = openat(dirfd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return -1;
    w = write(fd, text, n);
    close(fd);
    return w == (ssize_t)n ? 0 : -1;
}

bool lh_test_file_is(int dirfd, const char *path, const char *text)
{
    lh_auto_free char *got = NULL;
    size_t n;

    return lh_fs_read_at(dirfd, path, 16U << 20, &got, &n, NULL) == 0 && n == strlen(text) &&
           memcmp(got, text, n) == 0;
}

static int64_t real_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

bool lh_test_run_until(struct lh_loop *l, bool (*cond)(void *arg), void *arg)
{
    int64_t end = real_ms() + PATIENCE_MS;

    while (!cond(arg)) {
        if (real_ms() > end)
            return false;
        lh_loop_turn(l, TURN_MS);
    }
    return true;
}

static bool is_set(void *arg)
{
    return *(const bool *)arg;
}

bool lh_test_run_until_set(struct lh_loop *l, const bool *flag)
{
    void *arg;

    memcpy(&arg, &flag, sizeof(arg));
    return lh_test_run_until(l, is_set, arg);
}

void lh_test_step(struct lh_loop *l, lh_ms ms, lh_ms step_ms)
{
    while (ms > 0) {
        lh_ms step = ms < step_ms ? ms : step_ms;

        lh_clock_step(step);
        lh_loop_turn(l, 0);
        ms -= step;
    }
}

void lh_test_canary(unsigned char *masked, size_t n)
{
    for (size_t i = 0; i < n; i++)
        masked[i] = (unsigned char)(lh_rand_between('a', 'z') ^ LH_TEST_MASK);
}

void lh_test_canary_reveal(const unsigned char *masked, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (char)(masked[i] ^ LH_TEST_MASK);
}

static bool is_canary(const unsigned char *p, const unsigned char *masked, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if ((p[i] ^ LH_TEST_MASK) != masked[i])
            return false;
    }
    return true;
}

/* Read through a window of our own, which is not searched; it overlaps by n - 1 bytes. */
static unsigned char window[1 << 20];

static int count_in_window(size_t got, const unsigned char *masked, size_t n)
{
    const unsigned char *at = window, *end = window + got;
    int found = 0;

    /* One byte in the clear gives nothing away. */
    while ((size_t)(end - at) >= n &&
           (at = memchr(at, masked[0] ^ LH_TEST_MASK, (size_t)(end - at)))) {
        if ((size_t)(end - at) < n)
            break;
        found += is_canary(at, masked, n);
        at++;
    }
    return found;
}

static int search_range(int mem, uintptr_t from, uintptr_t to, const unsigned char *masked,
                        size_t n)
{
    int found = 0;

    while (to - from >= n) {
        size_t want = to - from < sizeof(window) ? to - from : sizeof(window);
        ssize_t got = pread(mem, window, want, (off_t)from);

        if (got < (ssize_t)n)
            break;
        found += count_in_window((size_t)got, masked, n);
        from += (size_t)got - (n - 1);
    }
    lh_wipe(window, sizeof(window));
    return found;
}

/* What was never writable holds no secret. Sanitizers reserve terabytes of shadow, which hold no
 * bytes of ours. */
static bool is_searched(const char *line, uintptr_t from, uintptr_t to)
{
    const uintptr_t huge = (uintptr_t)1 << 30;

    return to - from < huge && line[1] == 'r' && line[2] == 'w';
}

int lh_test_residue(const unsigned char *masked, size_t n)
{
    const uintptr_t own = (uintptr_t)window, own_end = own + sizeof(window);
    int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC), found = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[4352];

    while (mem >= 0 && maps && fgets(line, sizeof(line), maps)) {
        uintptr_t from, to;

        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &from, &to) != 2 ||
            !is_searched(strchr(line, ' '), from, to))
            continue;
        if (own >= from && own < to) {
            found += search_range(mem, from, own, masked, n);
            from = own_end < to ? own_end : to;
        }
        found += search_range(mem, from, to, masked, n);
    }
    if (mem < 0 || !maps)
        found = -1;
    if (maps)
        fclose(maps);
    if (mem >= 0)
        close(mem);
    return found;
}
