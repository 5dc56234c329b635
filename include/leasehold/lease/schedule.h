/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_LEASE_SCHEDULE_H
#define LEASEHOLD_LEASE_SCHEDULE_H

/*
 * When a token, lease, certificate or value is asked for again: pure functions of what is known, of
 * now, and of a throw of the dice that is made once per wait, so that a plan made again is the same
 * plan. Percentages are of the point
 * itself: "2/3 +-10 %" is anywhere in 0.6 to 0.733 of a life.
 */
#include <stdbool.h>
#include <stdint.h>

#include "leasehold/core/clock.h"

#define LH_NEVER INT64_MAX

/* 0 .. LH_DICE_MAX, uniform. */
#define LH_DICE_MAX 1048576u
uint32_t lh_dice(void);

/* A token's, lease's or certificate's life. It counts from before its request was sent. */
struct lh_life {
    lh_ms start;
    int64_t ms; /* 0: no end */
    int64_t
        asked_ms; /* what it was first given; a renewal that gives less is the sign of the end */
    bool renewable;
    bool ending; /* the sign of the end was seen */
    uint32_t dice;
};

lh_ms lh_life_end(const struct lh_life *l);                   /* LH_NEVER if it has none */
lh_ms lh_life_at(const struct lh_life *l, int64_t per_mille); /* a point of it */
bool lh_life_is_over(const struct lh_life *l, lh_ms now);
/* A renewal gave ms: takes it over, and sees whether it is less than was asked or was capped. */
void lh_life_renewed(struct lh_life *l, lh_ms sent_at, int64_t ms, bool renewable, bool capped,
                     uint32_t dice);

/* Failures in a row of one thing: full jitter, 250 ms doubling to a cap. */
struct lh_failures {
    unsigned n;
    lh_ms next;        /* not before */
    lh_ms asked_until; /* Retry-After: nothing shortens this */
};
enum {
    LH_BACKOFF_BASE_MS = 250,
    LH_BACKOFF_CAP_MS = 60 * 1000,
    LH_BACKOFF_REFUSED_CAP_MS = 5 * 60 * 1000, /* 403, 404 and other answers that a person mends */
    LH_BACKOFF_WAITED_FOR_CAP_MS = 5 * 1000, /* anything while nothing is published: a Pod waits */
    LH_RETRY_AFTER_CAP_MS = 10 * 60 * 1000,
};
/* code: enum lh_code; retry_ms: Retry-After or 0. */
void lh_failures_note(struct lh_failures *f, lh_ms now, int code, int retry_ms, bool published,
                      uint32_t dice);
void lh_failures_reset(struct lh_failures *f);
/* Somebody else succeeded: wait no longer than until at, unless the manager asked for it. */
void lh_failures_wake(struct lh_failures *f, lh_ms at);

enum lh_act { LH_ACT_NONE, LH_ACT_RENEW, LH_ACT_REPLACE };
struct lh_plan {
    enum lh_act act;
    lh_ms at;
};
/* Token and lease: renew at 2/3 +-10 %; what cannot be renewed is replaced at 0.85 +-5 %, what is
 * at the sign of its end at once: the shorter what is left, the less time there is for trouble. A
 * renewal that fails is tried again until 0.85 of the life, then replaced. */
struct lh_plan lh_plan_life(const struct lh_life *l, const struct lh_failures *renewals);
/* Certificate: issue again at 2/3 +-5 %. */
lh_ms lh_plan_certificate(const struct lh_life *l);

/* No lease: refresh +-10 % after the last look. */
lh_ms lh_plan_poll(lh_ms from, int64_t refresh_ms, uint32_t dice);

struct lh_rotation {                         /* a static role, as read */
    int64_t last_wall_ms, period_ms, ttl_ms; /* 0 unknown */
    lh_ms sent_at, done_at;
};
/* Next rotation by last + period, else ttl, plus 20 to 100 ms. Where the two disagree by more than
 * the rounding of ttl, the clocks differ, and ttl wins. LH_NEVER when nothing is known. */
lh_ms lh_plan_rotation(const struct lh_rotation *r, lh_ms now, int64_t wall_now, uint32_t dice);
/* The old value came back at now: 200 ms for 5 s after due, then doubling to 5 s. last: the wait
 * before. */
lh_ms lh_rotation_again(lh_ms due, lh_ms now, lh_ms last);

/* Nothing proved it alive since: looked up at verify +-10 %. */
lh_ms lh_plan_verify(lh_ms proved_at, int64_t verify_ms, uint32_t dice);
/* Health is asked 1 s +-20 % after the last question. */
lh_ms lh_plan_health(lh_ms from, uint32_t dice);
/* The k-th of n that wait for a store that is back: all within max(1 s, n / rps), first at once. */
lh_ms lh_plan_wake(unsigned k, unsigned n, unsigned requests_per_second);
/* When a replaced credential is ended: overlap after it was replaced in the files; LH_NEVER if its
 * own end comes first. */
lh_ms lh_plan_overlap(const struct lh_life *old, lh_ms published_at, int64_t overlap_ms);

/*
 * What was revoked behind our back is issued again at once, but only once: an answer that says
 * "gone" is believed again only after the life of what replaced it is at 0.85, or after the manager
 * itself has called the replacement alive (renewed or looked up). So a manager that calls
 * everything gone costs one credential per lease life.
 */
struct lh_early {
    lh_ms until;
    bool proved;
};
bool lh_early_allowed(const struct lh_early *e, lh_ms now);
void lh_early_issued(struct lh_early *e, const struct lh_life *life);

/* An answer to an issuing request was lost for the lost-th time in a row: once more after the usual
 * backoff (now), from then on no sooner than a life, or 5 min where none is known. */
lh_ms lh_plan_lost(unsigned lost, lh_ms now, int64_t known_life_ms);

#endif
