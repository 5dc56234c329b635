/* SPDX-License-Identifier: Apache-2.0 */
#include "mountinfo.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static bool is_octal(char c)
{
    return c >= '0' && c <= '7';
}

/* \ooo as the kernel writes white space, # and \; anything else stays. In place; the new length. */
static size_t unescape(char *p, size_t n)
{
    size_t out = 0;

    for (size_t i = 0; i < n; i++) {
        if (p[i] == '\\' && n - i > 3 && p[i + 1] <= '3' && is_octal(p[i + 1]) &&
            is_octal(p[i + 2]) && is_octal(p[i + 3])) {
            p[out++] = (char)((p[i + 1] - '0') << 6 | (p[i + 2] - '0') << 3 | (p[i + 3] - '0'));
            i += 3;
        } else {
            p[out++] = p[i];
        }
    }
    return out;
}

bool lh_mount_entry_parse(char *line, size_t n, struct lh_mount_entry *out)
{
    enum { ID, PARENT, DEVICE, ROOT, POINT, OPTIONS, FIRST, TYPE = 0, SOURCE, LAST };
    struct lh_str rest = {line, n}, head[FIRST], tail[LAST], optional;
    struct lh_mount_entry e = {0};
    long long id;

    for (size_t i = 0; i < FIRST; i++) {
        if (!lh_str_cut(rest, ' ', &head[i], &rest))
            return false;
    }
    for (;;) {
        if (!lh_str_cut(rest, ' ', &optional, &rest))
            return false;
        if (lh_str_eqz(optional, "-"))
            break;
        e.is_shared = e.is_shared || lh_str_starts(optional, LH_STR("shared:"));
    }
    for (size_t i = 0; i < LAST; i++) {
        if (!lh_str_cut(rest, ' ', &tail[i], &rest))
            return false;
    }
    if (!lh_str_to_i64(head[ID], 0, INT64_MAX, &id) || head[POINT].n == 0)
        return false;
    e.id = (uint64_t)id;
    e.is_ours = lh_str_eqz(tail[TYPE], "tmpfs") && lh_str_eqz(tail[SOURCE], LH_MOUNT_SOURCE) &&
                lh_str_eqz(head[ROOT], "/");
    e.point.p = head[POINT].p;
    e.point.n = unescape(line + (head[POINT].p - line), head[POINT].n);
    *out = e;
    return true;
}

static bool fits(struct lh_str s, size_t size)
{
    return s.n > 0 && s.n < size && !memchr(s.p, '\0', s.n);
}

static void put_name(struct lh_str s, char *out, size_t size)
{
    memset(out, 0, size);
    memcpy(out, s.p, s.n);
}

bool lh_mount_entry_volume(const struct lh_mount_entry *e, struct lh_str pods,
                           char uid[LH_MOUNT_POD_UID], char volume[LH_MOUNT_VOLUME])
{
    static const char *const between[] = {"volumes", "kubernetes.io~csi"};
    struct lh_str rest = e->point, pod, word, name;

    if (!e->is_ours || !lh_str_starts(rest, pods))
        return false;
    rest = (struct lh_str){rest.p + pods.n, rest.n - pods.n};
    if (!lh_str_cut(rest, '/', &word, &rest) || word.n > 0 || !lh_str_cut(rest, '/', &pod, &rest))
        return false;
    for (size_t i = 0; i < sizeof(between) / sizeof(between[0]); i++) {
        if (!lh_str_cut(rest, '/', &word, &rest) || !lh_str_eqz(word, between[i]))
            return false;
    }
    if (!lh_str_cut(rest, '/', &name, &rest) || !lh_str_eqz(rest, "mount") ||
        !fits(pod, LH_MOUNT_POD_UID) || !fits(name, LH_MOUNT_VOLUME))
        return false;
    put_name(pod, uid, LH_MOUNT_POD_UID);
    put_name(name, volume, LH_MOUNT_VOLUME);
    return true;
}

int lh_mount_table_rewind(struct lh_mount_table *t, int fd)
{
    t->fd = fd;
    t->start = t->end = 0;
    t->skipping = false;
    return lseek(fd, 0, SEEK_SET) < 0 ? -errno : 0;
}

/* 1, 0 at the end of the file, or a negated errno. */
static int fill(struct lh_mount_table *t)
{
    ssize_t n;

    if (t->start == 0 && t->end == sizeof(t->buf)) {
        t->skipping = true;
        t->end = 0;
    } else {
        memmove(t->buf, t->buf + t->start, t->end - t->start);
        t->end -= t->start;
        t->start = 0;
    }
    do {
        n = read(t->fd, t->buf + t->end, sizeof(t->buf) - t->end);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    t->end += (size_t)n;
    return n > 0;
}

int lh_mount_table_next(struct lh_mount_table *t, struct lh_mount_entry *out)
{
    for (;;) {
        char *line = t->buf + t->start, *end = memchr(line, '\n', t->end - t->start);
        bool whole = !t->skipping;

        if (!end) {
            int rc = fill(t);

            if (rc <= 0)
                return rc;
            continue;
        }
        t->start = (size_t)(end - t->buf) + 1;
        t->skipping = false;
        if (whole && lh_mount_entry_parse(line, (size_t)(end - line), out))
            return 1;
    }
}
