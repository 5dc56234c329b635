/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue against a model of it that is slow and plain: an array of keys, looked through from end
 * to end. Random operations, and after each the same keys in the same order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "leasehold/core/mem.h"
#include "leasehold/core/rand.h"
#include "leasehold/kube/queue.h"

enum { KEYS = 7, PARALLEL = 3, OPERATIONS = 3000, SEEDS = 60 };

struct model_key {
    bool waits, works, dirty;
    enum lh_queue_lane lane, dirty_lane, retry_lane;
    uint64_t place;      /* order of arrival in its lane */
    lh_ms asked, result; /* -1: none */
    unsigned failures;
};

static struct model_key model[KEYS];
static uint64_t arrivals;
static unsigned passed_over;
static bool started;

static struct lh_loop *loop;
static struct lh_queue *queue;
static bool is_working[KEYS], twice;
static char got[4096];

static void work(void *arg, const char *key)
{
    int i = key[0] - '0';

    (void)arg;
    twice |= is_working[i];
    is_working[i] = true;
    snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s ", key);
}

static void model_enqueue(struct model_key *k, enum lh_queue_lane lane)
{
    if (k->works) {
        k->dirty_lane = k->dirty && k->dirty_lane < lane ? k->dirty_lane : lane;
        k->dirty = true;
        return;
    }
    if (!k->waits && k->failures > 0 && k->retry_lane < lane)
        lane = k->retry_lane;
    if (k->waits && lane >= k->lane)
        return;
    k->waits = true;
    k->lane = lane;
    k->place = ++arrivals;
}

static int model_first_of(enum lh_queue_lane lane)
{
    int best = -1;

    for (int i = 0; i < KEYS; i++) {
        if (model[i].waits && model[i].lane == lane &&
            (best < 0 || model[i].place < model[best].place))
            best = i;
    }
    return best;
}

static int model_next(void)
{
    int first = model_first_of(LH_LANE_FIRST), later = model_first_of(LH_LANE_REFRESH);

    if (later < 0) {
        passed_over = 0;
        return first;
    }
    if (first >= 0 && passed_over < LH_QUEUE_AGING - 1) {
        passed_over++;
        return first;
    }
    passed_over = 0;
    return later;
}

static lh_ms model_due(const struct model_key *k)
{
    if (k->asked < 0 || k->result < 0)
        return k->asked > k->result ? k->asked : k->result;
    return k->asked < k->result ? k->asked : k->result;
}

/* Delays that are over, soonest first; times of different keys never are equal here. */
static void model_take_due(lh_ms now)
{
    for (;;) {
        struct model_key *best = NULL;

        for (int i = 0; i < KEYS; i++) {
            lh_ms due = model_due(&model[i]);

            if (due >= 0 && due <= now && (!best || due < model_due(best)))
                best = &model[i];
        }
        if (!best)
            return;
        if (best->result >= 0 && best->result <= now) {
            best->result = -1;
            if (best->asked <= now)
                best->asked = -1;
            model_enqueue(best, best->retry_lane);
        } else {
            best->asked = -1;
            model_enqueue(best, LH_LANE_REFRESH);
        }
    }
}

static unsigned model_working(void)
{
    unsigned n = 0;

    for (int i = 0; i < KEYS; i++)
        n += model[i].works;
    return n;
}

static void model_turn(char *want, size_t size)
{
    want[0] = '\0';
    model_take_due(lh_clock_now());
    while (started && model_working() < PARALLEL) {
        int i = model_next();

        if (i < 0)
            return;
        model[i].waits = false;
        model[i].works = true;
        snprintf(want + strlen(want), size - strlen(want), "%d ", i);
    }
}

/* One key a residue, so that no two delays end at once: order among equals is nobody's business. */
static lh_ms delay_for(int i)
{
    lh_ms at = lh_clock_now() + lh_rand_between(1, 400);

    return at - at % KEYS + KEYS + i - lh_clock_now();
}

static void model_done(int i, enum lh_queue_result result, lh_ms after)
{
    struct model_key *k = &model[i];

    k->works = false;
    k->result = -1;
    if (result == LH_QUEUE_RETRY) {
        k->failures++;
        k->retry_lane = k->lane;
    } else {
        k->failures = 0;
    }
    if (result == LH_QUEUE_OK)
        k->retry_lane = LH_LANE_REFRESH;
    if (result == LH_QUEUE_GONE)
        k->asked = -1;
    else if (after > 0)
        k->result = lh_clock_now() + after;
    if (k->dirty) {
        k->dirty = false;
        model_enqueue(k, k->dirty_lane);
    }
}

static void finish_one(int i)
{
    static const enum lh_queue_result results[] = {LH_QUEUE_OK, LH_QUEUE_OK, LH_QUEUE_RETRY,
                                                   LH_QUEUE_GONE};
    enum lh_queue_result result = results[lh_rand_between(0, 3)];
    lh_ms after = result == LH_QUEUE_OK && lh_rand_between(0, 1) ? 0 : delay_for(i);
    char key[2] = {(char)('0' + i), '\0'};

    if (!is_working[i])
        return;
    /* Past the longest backoff that it may have drawn, the delay is what was asked for. */
    if (result == LH_QUEUE_RETRY) {
        lh_ms top = model[i].failures > 5 ? 300000 : 5 << model[i].failures;

        after += top + KEYS - top % KEYS;
    }
    is_working[i] = false;
    lh_queue_done(queue, key, result, after);
    model_done(i, result, after);
}

static void operate(void)
{
    int i = (int)lh_rand_between(0, KEYS - 1);
    char key[2] = {(char)('0' + i), '\0'};
    enum lh_queue_lane lane = lh_rand_between(0, 2) ? LH_LANE_FIRST : LH_LANE_REFRESH;
    lh_ms delay;

    switch (lh_rand_between(0, 9)) {
    case 0:
    case 1:
    case 2:
        lh_queue_add(queue, key, lane, NULL);
        model_enqueue(&model[i], lane);
        break;
    case 3:
        delay = delay_for(i);
        lh_queue_add_after(queue, key, delay, NULL);
        if (model[i].asked < 0 || lh_clock_now() + delay < model[i].asked)
            model[i].asked = lh_clock_now() + delay;
        break;
    case 4:
        lh_clock_step(lh_rand_between(1, 100));
        break;
    case 5:
        started = lh_rand_between(0, 9) > 0;
        started ? lh_queue_start(queue) : lh_queue_stop(queue);
        break;
    default:
        finish_one(i);
        break;
    }
}

static size_t model_waiting(void)
{
    size_t n = 0;

    for (int i = 0; i < KEYS; i++)
        n += model[i].waits;
    return n;
}

static void compare(uint64_t seed, int at)
{
    char want[4096];

    got[0] = '\0';
    lh_loop_turn(loop, 0);
    model_turn(want, sizeof(want));
    if (strcmp(got, want) != 0)
        fail_msg("seed %llu, operation %d: worked on \"%s\", the model on \"%s\"",
                 (unsigned long long)seed, at, got, want);
    if (lh_queue_depth(queue) != model_waiting() || lh_queue_working(queue) != model_working())
        fail_msg("seed %llu, operation %d: %zu wait and %zu are worked on; the model: %zu and %u",
                 (unsigned long long)seed, at, lh_queue_depth(queue), lh_queue_working(queue),
                 model_waiting(), model_working());
    assert_false(twice);
}

static void behaves_like_its_model(void **state)
{
    struct lh_queue_options opts = {.name = "model", .parallel = PARALLEL, .work = work};

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        size_t live = lh_mem_live_blocks();

        lh_rand_seed(seed);
        lh_clock_fake(1000000, 0);
        memset(model, 0, sizeof(model));
        memset(is_working, 0, sizeof(is_working));
        for (int i = 0; i < KEYS; i++)
            model[i].asked = model[i].result = -1;
        passed_over = 0;
        started = false;
        assert_int_equal(lh_loop_new(&loop, NULL), 0);
        opts.loop = loop;
        assert_int_equal(lh_queue_new(&opts, &queue, NULL), 0);
        for (int at = 0; at < OPERATIONS; at++) {
            operate();
            compare(seed, at);
        }
        lh_queue_free(queue);
        lh_loop_free(loop);
        lh_metrics_reset();
        assert_int_equal(lh_mem_live_blocks(), live);
    }
    lh_clock_real();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(behaves_like_its_model)};

    return cmocka_run_group_tests_name("queue and its model", tests, NULL, NULL);
}
