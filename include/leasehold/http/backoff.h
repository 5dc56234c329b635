/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_HTTP_BACKOFF_H
#define LEASEHOLD_HTTP_BACKOFF_H

/* Full-jitter exponential backoff, a pure value: delay uniform in [0, min(cap, base * 2^n)], never
 * below floor_ms. */
#include <stdbool.h>

#include "leasehold/core/clock.h"

struct lh_backoff {
    lh_ms base_ms, cap_ms, floor_ms;
    unsigned n;
};
/* Next delay; counts the failure. at_least: Retry-After, obeyed (0: none). */
lh_ms lh_backoff_next(struct lh_backoff *b, lh_ms at_least);
void lh_backoff_reset(struct lh_backoff *b);

/* Opens after threshold failures in a row; then one probe per open_ms. Pure: the caller passes now.
 */
struct lh_breaker {
    unsigned threshold, failures;
    lh_ms open_ms, open_until;
};
bool lh_breaker_allows(struct lh_breaker *b,
                       lh_ms now); /* true also for the one probe of a half-open breaker */
void lh_breaker_ok(struct lh_breaker *b);
void lh_breaker_failed(struct lh_breaker *b, lh_ms now);

#endif
