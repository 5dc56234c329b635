/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An item exists while its key waits, is worked on or is delayed. It is linked into one list at
 * most: its lane, or those worked on. Room for its place in the heap of delays is made with the
 * item, so that nothing after lh_queue_add() can fail for want of memory.
 */
#include "leasehold/kube/queue.h"

#include <assert.h>
#include <string.h>

#include "leasehold/core/map.h"
#include "leasehold/core/mem.h"
#include "leasehold/http/backoff.h"

enum {
    BASE_MS = 5,
    CAP_MS = 5 * 60 * 1000,
    TURN_MS = 20,        /* so long keys are handed out before others have their turn */
    UNFINISHED_MS = 5000 /* while there is work its age is measured so often */
};

#define NEVER INT64_MAX

enum place { PLACE_NONE, PLACE_WAITING, PLACE_WORKING };

/* Whose wish a delay is: a later done replaces what an earlier one asked for, and nothing else. */
enum { DELAY_ASKED, DELAY_RESULT, DELAYS };

struct item {
    struct item *prev, *next;
    enum place place;
    enum lh_queue_lane lane; /* where it waits, or waited when it was handed out */
    bool dirty;              /* added while it was worked on */
    enum lh_queue_lane dirty_lane, retry_lane;
    lh_ms since;         /* in this place */
    lh_ms dirty_since;   /* of what was added meanwhile */
    lh_ms delay[DELAYS]; /* boot time, or NEVER */
    size_t heap_at;      /* one more than its index, 0: not there */
    unsigned failures;
    char key[];
};

struct list {
    struct item *first, *last;
    size_t n;
};

struct lh_queue {
    struct lh_queue_options o;
    struct lh_timer *timer;
    struct lh_map *items;
    struct list lanes[LH_LANES], working;
    struct item **heap; /* by due time */
    size_t heap_n, heap_room;
    unsigned passed_over; /* turns in which the later lane waited and got none */
    bool started, handing_out, freed;
};

enum { M_DEPTH, M_ADDS, M_QUEUE, M_WORK, M_RETRIES, M_UNFINISHED, M_LONGEST };

/* controller-runtime's buckets. */
static const double seconds[] = {1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10, 100, 1000};

#define ROW(what, text, t)                                                                         \
    {                                                                                              \
        .name = "workqueue_" what, .help = (text), .type = (t), .labels = {"name"},                \
        .max_series = 16                                                                           \
    }
#define HISTOGRAM(what, text)                                                                      \
    {                                                                                              \
        .name = "workqueue_" what, .help = (text), .type = LH_METRIC_HISTOGRAM,                    \
        .labels = {"name"}, .buckets = seconds, .n_buckets = LH_ARRAY_LEN(seconds),                \
        .max_series = 16                                                                           \
    }

const struct lh_metric lh_queue_metrics[] = {
    [M_DEPTH] = ROW("depth", "Keys that wait.", LH_METRIC_GAUGE),
    [M_ADDS] = ROW("adds_total", "Keys added.", LH_METRIC_COUNTER),
    [M_QUEUE] = HISTOGRAM("queue_duration_seconds", "How long a key waits before it is worked on."),
    [M_WORK] = HISTOGRAM("work_duration_seconds", "How long a key is worked on."),
    [M_RETRIES] =
        ROW("retries_total", "Keys that are tried again after a failure.", LH_METRIC_COUNTER),
    [M_UNFINISHED] = ROW("unfinished_work_seconds",
                         "Age of all work under way, added up; it grows where something is stuck.",
                         LH_METRIC_GAUGE),
    [M_LONGEST] = ROW("longest_running_processor_seconds", "Age of the oldest work under way.",
                      LH_METRIC_GAUGE),
    {0},
};

static void measure(const struct lh_queue *q)
{
    const char *const *labels = LH_LABELS(q->o.name);
    lh_ms now = lh_clock_now();
    double sum = 0;

    for (const struct item *it = q->working.first; it; it = it->next)
        sum += (double)(now - it->since) / 1000;
    lh_metric_set(&lh_queue_metrics[M_DEPTH], (double)lh_queue_depth(q), labels);
    lh_metric_set(&lh_queue_metrics[M_UNFINISHED], sum, labels);
    lh_metric_set(&lh_queue_metrics[M_LONGEST],
                  q->working.first ? (double)(now - q->working.first->since) / 1000 : 0, labels);
}

/* Lists. */

static void append(struct list *l, struct item *it)
{
    it->prev = l->last;
    it->next = NULL;
    if (l->last)
        l->last->next = it;
    else
        l->first = it;
    l->last = it;
    l->n++;
}

static void detach(struct list *l, struct item *it)
{
    if (it->prev)
        it->prev->next = it->next;
    else
        l->first = it->next;
    if (it->next)
        it->next->prev = it->prev;
    else
        l->last = it->prev;
    it->prev = it->next = NULL;
    l->n--;
}

/* The heap of delays. */

static lh_ms due(const struct item *it)
{
    return it->delay[DELAY_ASKED] < it->delay[DELAY_RESULT] ? it->delay[DELAY_ASKED]
                                                            : it->delay[DELAY_RESULT];
}

static void heap_set(struct lh_queue *q, size_t i, struct item *it)
{
    q->heap[i] = it;
    it->heap_at = i + 1;
}

static void heap_up(struct lh_queue *q, size_t i)
{
    struct item *it = q->heap[i];

    for (; i > 0 && due(q->heap[(i - 1) / 2]) > due(it); i = (i - 1) / 2)
        heap_set(q, i, q->heap[(i - 1) / 2]);
    heap_set(q, i, it);
}

static void heap_down(struct lh_queue *q, size_t i)
{
    struct item *it = q->heap[i];

    for (;;) {
        size_t child = 2 * i + 1;

        if (child + 1 < q->heap_n && due(q->heap[child + 1]) < due(q->heap[child]))
            child++;
        if (child >= q->heap_n || due(q->heap[child]) >= due(it))
            break;
        heap_set(q, i, q->heap[child]);
        i = child;
    }
    heap_set(q, i, it);
}

/* Puts an item where its delays want it, or out of the heap. */
static void heap_fix(struct lh_queue *q, struct item *it)
{
    size_t i = it->heap_at;

    if (due(it) == NEVER) {
        if (i == 0)
            return;
        it->heap_at = 0;
        q->heap_n--;
        if (i - 1 == q->heap_n)
            return;
        heap_set(q, i - 1, q->heap[q->heap_n]);
        heap_down(q, i - 1);
        heap_up(q, i - 1);
        return;
    }
    if (i == 0) {
        assert(q->heap_n < q->heap_room);
        heap_set(q, q->heap_n, it);
        i = ++q->heap_n;
    }
    heap_up(q, i - 1);
    heap_down(q, it->heap_at - 1);
}

static int heap_reserve(struct lh_queue *q, size_t n, struct lh_err *err)
{
    size_t room = q->heap_room ? q->heap_room * 2 : 16;
    struct item **heap;

    if (n <= q->heap_room)
        return 0;
    heap = lh_realloc(q->heap, room * sizeof(struct item *));
    if (!heap)
        return lh_err_nomem(err);
    q->heap = heap;
    q->heap_room = room;
    return 0;
}

/* Items. */

static int item_get(struct lh_queue *q, const char *key, struct item **out, struct lh_err *err)
{
    struct item *it = lh_map_get(q->items, lh_str(key));
    size_t n = strlen(key) + 1;
    int rc;

    if (it) {
        *out = it;
        return 0;
    }
    rc = heap_reserve(q, lh_map_len(q->items) + 1, err);
    if (rc < 0)
        return rc;
    it = lh_calloc(1, sizeof(*it) + n);
    if (!it)
        return lh_err_nomem(err);
    memcpy(it->key, key, n);
    it->delay[DELAY_ASKED] = it->delay[DELAY_RESULT] = NEVER;
    rc = lh_map_set(q->items, lh_str(key), it, NULL, err);
    if (rc < 0) {
        lh_free(it);
        return rc;
    }
    *out = it;
    return 0;
}

static void item_free_if_idle(struct lh_queue *q, struct item *it)
{
    if (it->place != PLACE_NONE || it->heap_at > 0)
        return;
    lh_map_remove(q->items, lh_str(it->key));
    lh_free(it);
}

/* Waiting since then, in this lane or a better one. */
static void enqueue(struct lh_queue *q, struct item *it, enum lh_queue_lane lane, lh_ms since)
{
    switch (it->place) {
    case PLACE_NONE:
        if (it->failures > 0 && it->retry_lane < lane)
            lane = it->retry_lane;
        it->place = PLACE_WAITING;
        it->lane = lane;
        it->since = since;
        append(&q->lanes[lane], it);
        break;
    case PLACE_WAITING:
        if (lane < it->lane) {
            detach(&q->lanes[it->lane], it);
            it->lane = lane;
            append(&q->lanes[lane], it);
        }
        break;
    case PLACE_WORKING:
        if (!it->dirty || lane < it->dirty_lane)
            it->dirty_lane = lane;
        if (!it->dirty)
            it->dirty_since = since;
        it->dirty = true;
        break;
    }
}

static bool may_hand_out(const struct lh_queue *q)
{
    return q->started && q->working.n < q->o.parallel && lh_queue_depth(q) > 0;
}

static void arm(struct lh_queue *q)
{
    lh_ms now = lh_clock_now(), when = NEVER;

    if (q->handing_out)
        return;
    if (q->heap_n > 0)
        when = due(q->heap[0]);
    if (q->working.n > 0 && when > now + UNFINISHED_MS)
        when = now + UNFINISHED_MS;
    if (may_hand_out(q))
        when = now;
    if (when == NEVER)
        lh_timer_stop(q->timer);
    else
        lh_timer_at(q->timer, when);
}

/* Those whose delay is over wait from then on. */
static void take_due(struct lh_queue *q, lh_ms now)
{
    while (q->heap_n > 0 && due(q->heap[0]) <= now) {
        struct item *it = q->heap[0];
        enum lh_queue_lane lane = LH_LANE_REFRESH;
        lh_ms since = due(it);

        if (it->delay[DELAY_RESULT] <= now) {
            lane = it->retry_lane;
            it->delay[DELAY_RESULT] = NEVER;
        }
        if (it->delay[DELAY_ASKED] <= now)
            it->delay[DELAY_ASKED] = NEVER;
        heap_fix(q, it);
        enqueue(q, it, lane, since);
    }
}

static struct item *next_item(struct lh_queue *q)
{
    struct list *first = &q->lanes[LH_LANE_FIRST], *later = &q->lanes[LH_LANE_REFRESH];

    if (!later->first) {
        q->passed_over = 0;
        return first->first;
    }
    if (first->first && q->passed_over < LH_QUEUE_AGING - 1) {
        q->passed_over++;
        return first->first;
    }
    q->passed_over = 0;
    return later->first;
}

static void queue_free(struct lh_queue *q)
{
    lh_timer_free(q->timer);
    lh_map_free(q->items, lh_free);
    lh_free(q->heap);
    lh_free(q);
}

static void hand_out(struct lh_queue *q, struct item *it, lh_ms now)
{
    detach(&q->lanes[it->lane], it);
    lh_metric_observe(&lh_queue_metrics[M_QUEUE], (double)(now - it->since) / 1000,
                      LH_LABELS(q->o.name));
    it->place = PLACE_WORKING;
    it->since = now;
    append(&q->working, it);
    q->o.work(q->o.arg, it->key);
}

static void on_timer(void *arg)
{
    struct lh_queue *q = arg;
    lh_ms began = lh_clock_now();

    q->handing_out = true;
    take_due(q, began);
    while (!q->freed && may_hand_out(q) && lh_clock_now() - began < TURN_MS)
        hand_out(q, next_item(q), lh_clock_now());
    q->handing_out = false;
    if (q->freed) {
        queue_free(q);
        return;
    }
    measure(q);
    arm(q);
}

int lh_queue_new(const struct lh_queue_options *opts, struct lh_queue **out, struct lh_err *err)
{
    struct lh_queue *q;
    int rc = lh_metrics_register(lh_queue_metrics, err);

    if (rc < 0)
        return rc;
    q = lh_calloc(1, sizeof(*q));
    if (!q)
        return lh_err_nomem(err);
    q->o = *opts;
    if (q->o.parallel == 0)
        q->o.parallel = 1;
    rc = lh_map_new(&q->items, err);
    if (rc == 0)
        rc = lh_timer_new(opts->loop, on_timer, q, &q->timer, err);
    if (rc < 0) {
        queue_free(q);
        return rc;
    }
    *out = q;
    return 0;
}

void lh_queue_free(struct lh_queue *q)
{
    if (!q)
        return;
    q->freed = true;
    if (!q->handing_out)
        queue_free(q);
}

void lh_queue_start(struct lh_queue *q)
{
    q->started = true;
    arm(q);
}

void lh_queue_stop(struct lh_queue *q)
{
    q->started = false;
    arm(q);
}

int lh_queue_add(struct lh_queue *q, const char *key, enum lh_queue_lane lane, struct lh_err *err)
{
    struct item *it;
    int rc = item_get(q, key, &it, err);

    if (rc < 0)
        return rc;
    lh_metric_add(&lh_queue_metrics[M_ADDS], 1, LH_LABELS(q->o.name));
    enqueue(q, it, lane, lh_clock_now());
    arm(q);
    return 0;
}

static void delay_until(struct lh_queue *q, struct item *it, int whose, lh_ms when)
{
    if (when < it->delay[whose])
        it->delay[whose] = when;
    heap_fix(q, it);
}

/* Never past the end of time. */
static lh_ms later(lh_ms delay)
{
    lh_ms now = lh_clock_now();

    return delay < NEVER - 1 - now ? now + delay : NEVER - 1;
}

int lh_queue_add_after(struct lh_queue *q, const char *key, lh_ms delay, struct lh_err *err)
{
    struct item *it;
    int rc;

    if (delay <= 0)
        return lh_queue_add(q, key, LH_LANE_REFRESH, err);
    rc = item_get(q, key, &it, err);
    if (rc < 0)
        return rc;
    lh_metric_add(&lh_queue_metrics[M_ADDS], 1, LH_LABELS(q->o.name));
    delay_until(q, it, DELAY_ASKED, later(delay));
    arm(q);
    return 0;
}

static lh_ms backoff_of(struct item *it, lh_ms at_least)
{
    struct lh_backoff b = {.base_ms = BASE_MS, .cap_ms = CAP_MS, .n = it->failures};
    lh_ms delay = lh_backoff_next(&b, at_least);

    it->failures = b.n;
    return delay > 0 ? delay : 1;
}

static void conclude(struct lh_queue *q, struct item *it, enum lh_queue_result result,
                     lh_ms after_ms)
{
    it->delay[DELAY_RESULT] = NEVER;
    switch (result) {
    case LH_QUEUE_OK:
        it->failures = 0;
        if (after_ms > 0)
            it->delay[DELAY_RESULT] = later(after_ms);
        it->retry_lane = LH_LANE_REFRESH;
        break;
    case LH_QUEUE_RETRY:
        /* A first sync that failed is one still. */
        it->retry_lane = it->lane;
        it->delay[DELAY_RESULT] = later(backoff_of(it, after_ms));
        lh_metric_add(&lh_queue_metrics[M_RETRIES], 1, LH_LABELS(q->o.name));
        break;
    case LH_QUEUE_GONE:
        it->failures = 0;
        it->delay[DELAY_ASKED] = NEVER;
        break;
    }
    heap_fix(q, it);
}

void lh_queue_done(struct lh_queue *q, const char *key, enum lh_queue_result result, lh_ms after_ms)
{
    struct item *it = lh_map_get(q->items, lh_str(key));
    lh_ms now = lh_clock_now();

    assert(it && it->place == PLACE_WORKING);
    lh_metric_observe(&lh_queue_metrics[M_WORK], (double)(now - it->since) / 1000,
                      LH_LABELS(q->o.name));
    detach(&q->working, it);
    it->place = PLACE_NONE;
    conclude(q, it, result, after_ms);
    if (it->dirty) {
        it->dirty = false;
        enqueue(q, it, it->dirty_lane, it->dirty_since);
    }
    item_free_if_idle(q, it);
    arm(q);
}

size_t lh_queue_depth(const struct lh_queue *q)
{
    return q->lanes[LH_LANE_FIRST].n + q->lanes[LH_LANE_REFRESH].n;
}

size_t lh_queue_working(const struct lh_queue *q)
{
    return q->working.n;
}

lh_ms lh_queue_oldest(const struct lh_queue *q)
{
    lh_ms oldest = q->heap_n > 0 ? due(q->heap[0]) : NEVER;

    if (oldest > lh_clock_now())
        oldest = NEVER;
    /* A key that changed lanes stands behind younger ones. */
    for (int lane = 0; lane < LH_LANES; lane++) {
        for (const struct item *it = q->lanes[lane].first; it; it = it->next)
            oldest = it->since < oldest ? it->since : oldest;
    }
    return oldest == NEVER ? -1 : oldest;
}
