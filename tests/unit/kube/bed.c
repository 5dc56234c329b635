/* SPDX-License-Identifier: Apache-2.0 */
#include "bed.h"

#include "leasehold/core/rand.h"

enum {
    STEP_MS = 100,
    PATIENCE_MS = 10 * 60 * 1000,
    TURNS = 4, /* enough for a request and its answer on an open connection */
};

struct bed bed;

int bed_setup(void)
{
    bed = (struct bed){0};
    lh_rand_seed(7);
    return fake_api_cluster(&bed.loop, &bed.api, &bed.kube);
}

void bed_teardown(void)
{
    lh_kube_free(bed.kube);
    fake_api_free(bed.api);
    lh_loop_free(bed.loop);
    bed = (struct bed){0};
    lh_clock_real();
}

struct lh_kube *bed_client(const char *agent)
{
    return fake_api_client(bed.loop, bed.api, agent);
}

void bed_pass(lh_ms ms)
{
    while (ms > 0) {
        lh_ms step = ms < STEP_MS ? ms : STEP_MS;

        lh_clock_step(step);
        for (int i = 0; i < TURNS; i++)
            lh_loop_turn(bed.loop, 0);
        ms -= step;
    }
}

bool bed_pass_until(bool (*cond)(void *arg), void *arg)
{
    lh_ms end = lh_clock_now() + PATIENCE_MS;

    while (!cond(arg)) {
        if (lh_clock_now() > end)
            return false;
        bed_pass(STEP_MS);
    }
    return true;
}
