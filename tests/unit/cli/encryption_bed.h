/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_TEST_ENCRYPTION_BED_H
#define LH_TEST_ENCRYPTION_BED_H

/* A fake API server, a client of it, and a folder. */
#include "encryption.h"
#include "fake_api.h"
#include "support.h"

struct encryption_bed {
    struct lh_test_scratch scratch;
    struct lh_loop *loop;
    struct fake_api *api;
    struct lh_kube_config cfg;
    struct enc_api *client;
    struct lh_err err;
};

/* 0, or -1. */
int encryption_bed_new(struct encryption_bed *b);
void encryption_bed_done(struct encryption_bed *b);

#endif
