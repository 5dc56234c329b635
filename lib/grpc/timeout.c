/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "wire.h"

enum { MAX_DIGITS = 8, MAX_MS = 99999999 };

/* One millisecond in u and n, so many milliseconds in the others. */
static bool to_ms(char unit, lh_ms n, lh_ms *out)
{
    switch (unit) {
    case 'H':
        *out = n * 3600000;
        return true;
    case 'M':
        *out = n * 60000;
        return true;
    case 'S':
        *out = n * 1000;
        return true;
    case 'm':
        *out = n;
        return true;
    case 'u':
        *out = (n + 999) / 1000;
        return true;
    case 'n':
        *out = (n + 999999) / 1000000;
        return true;
    default:
        return false;
    }
}

bool lh_grpc_timeout_parse(struct lh_str s, lh_ms *out)
{
    lh_ms n = 0;

    if (s.n < 2 || s.n > MAX_DIGITS + 1)
        return false;
    for (size_t i = 0; i < s.n - 1; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        n = n * 10 + (s.p[i] - '0');
    }
    return to_ms(s.p[s.n - 1], n, out);
}

const char *lh_grpc_timeout_format(unsigned ms, char out[16])
{
    if (ms <= MAX_MS)
        snprintf(out, 16, "%um", ms);
    else
        snprintf(out, 16, "%uS", ms / 1000 + (ms % 1000 != 0));
    return out;
}
