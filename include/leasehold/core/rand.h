/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CORE_RAND_H
#define LEASEHOLD_CORE_RAND_H

/* Randomness from the kernel; for jitter a cheap generator that tests seed. */
#include <stddef.h>
#include <stdint.h>

void lh_rand_bytes(
    void *p, size_t n); /* getrandom; aborts if the kernel has none: nothing safe is left to do */
/* Uniform in [lo, hi], from a generator seeded by the kernel, or by the test. */
int64_t lh_rand_between(int64_t lo, int64_t hi);
void lh_rand_seed(uint64_t seed); /* tests */

#endif
