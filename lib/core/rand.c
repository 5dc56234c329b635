/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/core/rand.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/random.h>

static uint64_t state;
static bool seeded;

void lh_rand_bytes(void *p, size_t n)
{
    char *at = p;

    while (n > 0) {
        ssize_t got = getrandom(at, n, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            abort();
        at += got;
        n -= (size_t)got;
    }
}

/* splitmix64 (Steele, Lea, Flood 2014): enough for jitter, never for secrets. */
static uint64_t next(void)
{
    uint64_t z;

    if (!seeded) {
        lh_rand_bytes(&state, sizeof(state));
        seeded = true;
    }
    z = state += 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

int64_t lh_rand_between(int64_t lo, int64_t hi)
{
    uint64_t span = (uint64_t)hi - (uint64_t)lo + 1, limit, v;

    assert(lo <= hi);
    if (span == 0)
        return (int64_t)next();
    limit = UINT64_MAX - UINT64_MAX % span; /* above it the low values would come more often */
    do {
        v = next();
    } while (v >= limit);
    return (int64_t)((uint64_t)lo + v % span);
}

void lh_rand_seed(uint64_t seed)
{
    state = seed;
    seeded = true;
}
