/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_TESTS_UNIT_KUBE_BED_H
#define LEASEHOLD_TESTS_UNIT_KUBE_BED_H

/* A loop on the virtual clock, an API server on it, and a client of that. One a test. */
#include "fake_api.h"
#include "leasehold/kube/client.h"

struct bed {
    struct lh_loop *loop;
    struct fake_api *api;
    struct lh_kube *kube;
};
extern struct bed bed;

/* Of a test; in their order. 0, or -1. */
int bed_setup(void);
void bed_teardown(void);
/* Another client, with a name of its own (its User-Agent); NULL on failure. */
struct lh_kube *bed_client(const char *agent);

/* Time passes, slowly enough for answers to come. */
void bed_pass(lh_ms ms);
/* Time passes until cond holds; false after ten minutes of it. */
bool bed_pass_until(bool (*cond)(void *arg), void *arg);

#endif
