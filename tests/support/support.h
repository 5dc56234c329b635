/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_TEST_SUPPORT_H
#define LH_TEST_SUPPORT_H

/*
 * What several tests need. Link lh_test_support. Nothing here asserts: a failed assert jumps, so
 * helpers report and the test decides.
 */
#include <stdbool.h>
#include <stddef.h>

#include "leasehold/core/loop.h"

/* A folder of its own below $TMPDIR, gone with everything in it after _done. 0, or -1 with errno.
 */
struct lh_test_scratch {
    char path[256];
    int fd; /* on the folder */
};
int lh_test_scratch_new(struct lh_test_scratch *s);
void lh_test_scratch_done(struct lh_test_scratch *s);
/* Writes a file below a folder, folders on the way included. 0, or -1 with errno. */
int lh_test_write(int dirfd, const char *path, const char *text);
/* Whether the file holds exactly this text. */
bool lh_test_file_is(int dirfd, const char *path, const char *text);

/* Turns the loop until cond(arg) holds; false after 10 s of real time. With a fake clock nothing
 * advances it: cond may step it. */
bool lh_test_run_until(struct lh_loop *l, bool (*cond)(void *arg), void *arg);
bool lh_test_run_until_set(struct lh_loop *l, const bool *flag);

/* Steps a fake clock by ms in steps of at most step_ms, with a turn of the loop after each. */
void lh_test_step(struct lh_loop *l, lh_ms ms, lh_ms step_ms);

/* Number of n-byte copies of a canary in this process's readable memory, itself given masked so
 * that it is none. -1 if memory cannot be read. A region of memfd_secret cannot be read, and is not
 * counted. */
enum { LH_TEST_MASK = 0x5a };
void lh_test_canary(unsigned char *masked, size_t n);
void lh_test_canary_reveal(const unsigned char *masked, size_t n, char *out);
int lh_test_residue(const unsigned char *masked, size_t n);

#endif
