/* SPDX-License-Identifier: Apache-2.0 */
/* Paths and patterns of the manager: what may be written, and what matches what. */
#include <string.h>

#include "leasehold/api/allow.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"

static int bad(struct lh_err *err, const char *why)
{
    lh_err_fill(err, LH_E_INVALID, "%s", why);
    return lh_err_negative(lh_err_reason(err, -LH_E_INVALID, LH_REASON_PathInvalid));
}

/* What could change the request on its way: the URL's own characters and what proxies fold. */
static const char *bad_character(const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p < 0x20 || *p == 0x7f)
            return "holds a control character";
        if (*p == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f)
            return "holds a control character";
        if (*p == '%')
            return "holds %; write the characters themselves, they are encoded where needed";
        if (*p == '?' || *p == '#')
            return "holds ? or #, which end a path";
        if (*p == '\\')
            return "holds a backslash";
    }
    return NULL;
}

static const char *bad_segment(const char *p, size_t n)
{
    if (!n)
        return "has an empty segment (//)";
    if ((n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
        return "has a segment . or ..";
    if (p[0] == ' ' || p[n - 1] == ' ')
        return "has a segment that begins or ends with a space";
    return NULL;
}

static const char *problem_of(const char *path)
{
    size_t len = strlen(path);
    const char *why = NULL;

    if (!len)
        return "is empty";
    if (len > LH_PATH_MAX)
        return "is longer than 1024 bytes";
    if (!lh_str_is_utf8(lh_str(path)))
        return "is not valid UTF-8";
    why = bad_character(path);
    if (why)
        return why;
    if (path[0] == '/')
        return "begins with a slash; write it without";
    if (path[len - 1] == '/')
        return "ends with a slash; write it without";
    for (const char *p = path; p && !why;) {
        const char *slash = strchr(p, '/');

        why = bad_segment(p, slash ? (size_t)(slash - p) : strlen(p));
        p = slash ? slash + 1 : NULL;
    }
    return why;
}

int lh_path_check(const char *path, struct lh_err *err)
{
    const char *why = problem_of(path);

    return why ? bad(err, why) : 0;
}

int lh_pattern_check(const char *pattern, struct lh_err *err)
{
    size_t len = strlen(pattern);
    const char *star = strchr(pattern, '*');
    lh_auto_free char *rest = NULL;
    const char *why;

    if (star && star[1])
        return bad(err, "has * before its end; * stands at the end only, + for one whole segment");
    for (const char *p = strchr(pattern, '+'); p; p = strchr(p + 1, '+')) {
        if ((p > pattern && p[-1] != '/') || (p[1] && p[1] != '/'))
            return bad(err, "has + inside a segment; + stands for one whole segment");
    }
    if (strcmp(pattern, "*") == 0)
        return 0;
    /* "secret/" before the star is a whole prefix. */
    rest = lh_strndup(pattern, star ? len - 1 : len);
    if (!rest)
        return lh_err_nomem(err);
    if (star && len >= 2 && pattern[len - 2] == '/')
        rest[len - 2] = 0;
    why = problem_of(rest);
    return why ? bad(err, why) : 0;
}

bool lh_pattern_match(const char *pattern, const char *path)
{
    bool start = true; /* of a segment */

    while (*pattern) {
        if (pattern[0] == '*' && !pattern[1])
            return true;
        if (start && pattern[0] == '+' && (!pattern[1] || pattern[1] == '/')) {
            if (!*path || *path == '/')
                return false;
            path += strcspn(path, "/");
            pattern++;
            start = false;
            continue;
        }
        if (*pattern != *path)
            return false;
        start = *pattern == '/';
        pattern++;
        path++;
    }
    return !*path;
}

/* Length of "mount/" if path lies below it, else 0. Mounts are written with or without a slash at
 * the end. */
static size_t below(const char *path, const char *mount)
{
    size_t n = strlen(mount);

    while (n && mount[n - 1] == '/')
        n--;
    return n && strncmp(path, mount, n) == 0 && path[n] == '/' ? n + 1 : 0;
}

int lh_path_normalise(const char *path, char *const *kv2_mounts, char **out, struct lh_err *err)
{
    static const char *const parts[] = {"data/", "metadata/"};
    char *copy = lh_strdup(path);

    if (!copy)
        return lh_err_nomem(err);
    for (size_t i = 0; kv2_mounts && kv2_mounts[i]; i++) {
        size_t at = below(copy, kv2_mounts[i]);

        for (size_t k = 0; at && k < LH_ARRAY_LEN(parts); k++) {
            size_t n = strlen(parts[k]);

            if (strncmp(copy + at, parts[k], n) == 0 && copy[at + n]) {
                memmove(copy + at, copy + at + n, strlen(copy + at + n) + 1);
                *out = copy;
                return 0;
            }
        }
    }
    *out = copy;
    return 0;
}
