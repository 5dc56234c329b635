/* SPDX-License-Identifier: Apache-2.0 */
#include "encryption_bed.h"

int encryption_bed_new(struct encryption_bed *b)
{
    static const struct enc_api_limits limits = {.tries = 2, .timeout_ms = 5000};

    if (lh_test_scratch_new(&b->scratch) < 0 || lh_loop_new(&b->loop, &b->err) < 0 ||
        fake_api_new(b->loop, &b->api, &b->err) < 0 ||
        fake_api_config(b->api, &b->cfg, &b->err) < 0)
        return -1;
    return enc_api_open(b->loop, &b->cfg, NULL, &limits, &b->client, &b->err) < 0 ? -1 : 0;
}

void encryption_bed_done(struct encryption_bed *b)
{
    enc_api_close(b->client);
    lh_kube_config_done(&b->cfg);
    fake_api_free(b->api);
    lh_loop_free(b->loop);
    lh_test_scratch_done(&b->scratch);
}
