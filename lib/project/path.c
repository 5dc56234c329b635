/* SPDX-License-Identifier: Apache-2.0 */
#include "project_priv.h"

#include <string.h>

enum { SEGMENT_BYTES = 255, PATH_BYTES = 4096 };

/* What is wrong with the segment, or NULL. */
static const char *segment_problem(struct lh_str s)
{
    if (s.n == 0)
        return "has an empty segment";
    if (s.n == 1 && s.p[0] == '.')
        return "has the segment \".\"";
    /* Also what only begins so: those names are ours. */
    if (lh_str_starts(s, LH_STR("..")))
        return "has a segment that begins with \"..\"";
    if (s.n > SEGMENT_BYTES)
        return "has a segment of more than 255 bytes";
    return NULL;
}

int lh_pub_path_check(const char *path, struct lh_err *err)
{
    struct lh_str rest = lh_str(path), segment;
    bool more = true;

    if (rest.n == 0)
        return lh_err_set(err, LH_E_INVALID, "a file path is empty");
    if (rest.n > PATH_BYTES)
        return lh_err_set(err, LH_E_INVALID, "file path %.64s... has more than %d bytes", path,
                          PATH_BYTES);
    if (path[0] == '/')
        return lh_err_set(err, LH_E_INVALID, "file path %s is not relative", path);
    while (more) {
        const char *problem;

        more = lh_str_cut(rest, '/', &segment, &rest);
        problem = segment_problem(segment);
        if (problem)
            return lh_err_set(err, LH_E_INVALID, "file path %s %s", path, problem);
    }
    return 0;
}
