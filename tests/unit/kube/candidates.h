/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_TESTS_UNIT_KUBE_CANDIDATES_H
#define LEASEHOLD_TESTS_UNIT_KUBE_CANDIDATES_H

/* Two who stand for election, each with a client of its own, so that the network can be lost to
 * one. */
#include "bed.h"
#include "leasehold/kube/elect.h"

#define LEASES "coordination.k8s.io/v1/leases"
#define PATH   "/apis/coordination.k8s.io/v1/namespaces/ops/leases"

struct candidate {
    struct lh_kube *kube;
    struct lh_election *e;
    int won, lost, released, noted;
    int64_t term; /* last won */
    bool free_when_won, free_when_lost;
};
extern struct candidate a, b;
extern bool term_came_back; /* a number that was there before */

int candidates_setup(void **state);
int candidates_teardown(void **state);

void on_released(void *arg);
void stand(struct candidate *c, const char *identity);
/* Stands, and leads. */
void lead(struct candidate *c, const char *identity);
/* How long it takes, of the virtual clock. */
lh_ms await_leader(struct candidate *c);
bool leads(void *arg); /* arg: a candidate */
bool leads_not(void *arg);
bool is_released(void *arg);

void put_lease(const char *spec);
const lh_json *spec(void);
/* The network of a or b is gone, until the fault is cleared. */
void cut_off(const char *agent, bool stall);

#endif
