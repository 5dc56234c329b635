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
    int rc;

    bed = (struct bed){0};
    lh_rand_seed(7);
    lh_clock_fake(1000000, lh_clock_wall_ms()); /* TLS looks at real time */
    rc = lh_loop_new(&bed.loop, NULL);
    if (rc == 0)
        rc = fake_api_new(bed.loop, &bed.api, NULL);
    if (rc < 0)
        return -1;
    bed.kube = bed_client("test");
    return bed.kube ? 0 : -1;
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
    struct lh_kube_config cfg = {0};
    struct lh_kube *k = NULL;

    if (fake_api_config(bed.api, &cfg, NULL) == 0)
        lh_kube_new(bed.loop, &cfg, agent, &k, NULL);
    lh_kube_config_done(&cfg);
    return k;
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
