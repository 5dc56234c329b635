/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CORE_CLOCK_H
#define LEASEHOLD_CORE_CLOCK_H

/*
 * All time that decides anything: CLOCK_BOOTTIME in milliseconds, so that a suspended node does not
 * stretch a lease. Tests replace it by a virtual clock and step it; no test sleeps.
 */
#include <stdint.h>

typedef int64_t lh_ms;

lh_ms lh_clock_now(void); /* boot time */
int64_t
lh_clock_wall_ms(void); /* CLOCK_REALTIME since the epoch, for times in texts and certificates */

/* Tests: from now on both clocks stand still at these values until stepped. */
void lh_clock_fake(lh_ms now, int64_t wall_ms);
void lh_clock_step(lh_ms by);
void lh_clock_real(void);
int lh_clock_is_fake(void);

/* RFC 3339 with milliseconds and Z, for logs; buf needs 32 bytes. */
const char *lh_clock_format(int64_t wall_ms, char buf[32]);
/* RFC 3339 with any number of fraction digits and Z or offset, to milliseconds since the epoch. 0,
 * or -1. */
int lh_clock_parse(const char *text, int64_t *wall_ms);

#endif
