/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_KUBE_QUEUE_H
#define LEASEHOLD_KUBE_QUEUE_H

/*
 * A work queue (client-go's word) of keys: a key that is waiting is there once; a key that is being
 * worked on is never handed out a second time, what is added meanwhile comes after its done. Keys
 * wait in lanes: first syncs and forced ones go ahead of refreshes, yet a waiting lane gets one of
 * every LH_QUEUE_AGING turns, so that none starves. Delays keep the earliest time per key; failures
 * back off per key. Metrics carry controller-runtime's names (workqueue_*).
 */
#include <stdbool.h>
#include <stddef.h>

#include "leasehold/core/clock.h"
#include "leasehold/core/loop.h"
#include "leasehold/core/metrics.h"

#define LH_QUEUE_AGING 8

enum lh_queue_lane { LH_LANE_FIRST, LH_LANE_REFRESH, LH_LANES };

struct lh_queue;

/* Work on key, borrowed until return; lh_queue_done(q, key, ...) ends it, now or later, in either
 * case exactly once. */
typedef void (*lh_queue_work_fn)(void *arg, const char *key);

struct lh_queue_options {
    struct lh_loop *loop;
    const char *name;  /* label of its metrics; static */
    unsigned parallel; /* keys worked on at a time */
    lh_queue_work_fn work;
    void *arg;
};

enum lh_queue_result {
    LH_QUEUE_OK,    /* forget the failures; again after after_ms, if that is over 0, in place of the
                       time that an earlier done set */
    LH_QUEUE_RETRY, /* again after backoff (5 ms doubling to 5 min, full jitter), not before
                       after_ms */
    LH_QUEUE_GONE   /* forget the key, delays included, unless it was added meanwhile */
};

int lh_queue_new(const struct lh_queue_options *opts, struct lh_queue **out, struct lh_err *err);
void lh_queue_free(struct lh_queue *q); /* NULL is a no-op; safe inside work */
/* Nothing is handed out before (caches must have synced). Stop: what is worked on goes on. */
void lh_queue_start(struct lh_queue *q);
void lh_queue_stop(struct lh_queue *q);

/* LH_E_NOMEM only, and only for a key that the queue does not hold. A key that waits already keeps
 * the better lane. */
int lh_queue_add(struct lh_queue *q, const char *key, enum lh_queue_lane lane, struct lh_err *err);
/* At the latest then; a done does not take it back. */
int lh_queue_add_after(struct lh_queue *q, const char *key, lh_ms delay, struct lh_err *err);
/* Never fails. */
void lh_queue_done(struct lh_queue *q, const char *key, enum lh_queue_result result,
                   lh_ms after_ms);
size_t lh_queue_depth(const struct lh_queue *q);   /* waiting, delays not included */
size_t lh_queue_working(const struct lh_queue *q); /* handed out */
/* Boot time since when the oldest key that is due waits; -1: none. For a watchdog. */
lh_ms lh_queue_oldest(const struct lh_queue *q);

extern const struct lh_metric lh_queue_metrics[];

#endif
