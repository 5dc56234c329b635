/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_KUBE_ELECT_H
#define LEASEHOLD_KUBE_ELECT_H

/*
 * Leader election on a Lease (coordination.k8s.io/v1): 15 s, renewed within 10 s, tried every 2 s
 * with jitter. Whether a record has expired is judged by our own clock since it last changed, never
 * by the times in it. Whoever leads stops writing before its renew deadline; each term has a number
 * (leaseTransitions) that outside writes are fenced with.
 */
#include <stdbool.h>
#include <stdint.h>

#include "leasehold/kube/client.h"

struct lh_election;

struct lh_election_options {
    struct lh_kube *kube;
    const char *namespace_, *name;         /* of the Lease; copied */
    const char *identity;                  /* Pod name and uid; copied */
    unsigned lease_ms, renew_ms, retry_ms; /* 0: 15 s, 10 s, 2 s */
    void (*won)(void *arg, int64_t term);
    void (*lost)(void *arg); /* at the latest at the renew deadline */
    void *arg;
};

int lh_election_start(const struct lh_election_options *opts, struct lh_election **out,
                      struct lh_err *err);
/* Gives the lease back (empty holder), at most within limit_ms; done once. */
void lh_election_release(struct lh_election *e, unsigned limit_ms, void (*done)(void *arg),
                         void *arg);
void lh_election_free(struct lh_election *e);
/* May a write go out now? False from the renew deadline on, also before `lost` was called. */
bool lh_election_is_leader(const struct lh_election *e);
int64_t lh_election_term(const struct lh_election *e);
const char *lh_election_holder(const struct lh_election *e); /* as last seen; "" */

#endif
