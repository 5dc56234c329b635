/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_KUBE_ELECT_H
#define LEASEHOLD_KUBE_ELECT_H

/*
 * Leader election on a Lease (coordination.k8s.io/v1): 15 s, renewed within 10 s, tried every 2 s
 * with jitter. Whether a record has expired is judged by our own clock since it last changed, never
 * by the times in it. Whoever leads stops writing before its renew deadline; each term has a number
 * (leaseTransitions) that outside writes are fenced with, and that no other term of the same Lease
 * had. Rights: get, update, and create where nobody else makes the Lease.
 */
#include <stdbool.h>
#include <stdint.h>

#include "leasehold/core/metrics.h"
#include "leasehold/kube/client.h"

struct lh_election;

struct lh_election_options {
    struct lh_kube *kube;
    const char *namespace_, *name;         /* of the Lease; copied */
    const char *identity;                  /* Pod name and uid; copied */
    unsigned lease_ms, renew_ms, retry_ms; /* 0: 15 s, 10 s, 2 s */
    /* Both may free the election, and lost may release it. After lost it stands for election anew.
     */
    void (*won)(void *arg, int64_t term);
    void (*lost)(void *arg); /* at the latest at the renew deadline */
    /* While it leads: the Lease's annotations are others than they were. NULL: not asked for. */
    void (*noted)(void *arg);
    void *arg;
};

/* LH_E_INVALID unless lease > renew > retry. Nothing is called before it returned. */
int lh_election_start(const struct lh_election_options *opts, struct lh_election **out,
                      struct lh_err *err);
/* Gives the lease back (empty holder), at most within limit_ms, and stands no more: it leads no
 * longer from this call on, without lost. done comes once, from the loop. Once per election. */
void lh_election_release(struct lh_election *e, unsigned limit_ms, void (*done)(void *arg),
                         void *arg);
void lh_election_free(struct lh_election *e); /* NULL is a no-op; gives nothing back */
/* May a write go out now? False from the renew deadline on, also before `lost` was called. */
bool lh_election_is_leader(const struct lh_election *e);
/* 0 while it does not lead: a write that began in another term is told by comparing. */
int64_t lh_election_term(const struct lh_election *e);
const char *lh_election_holder(const struct lh_election *e); /* as last seen; "" */
/* An annotation of the Lease as last read or written; NULL: none. Borrowed until the next event. */
const char *lh_election_note(const struct lh_election *e, const char *key);
/* From the next renewal on, for as long as it leads, the annotation is this; value NULL: it is
 * taken away. Both copied. Nothing for who does not lead. LH_E_NOMEM. */
int lh_election_set_note(struct lh_election *e, const char *key, const char *value,
                         struct lh_err *err);
/* Why the Lease could not be read or written the last time; empty text when it could. */
const char *lh_election_trouble(const struct lh_election *e);

extern const struct lh_metric lh_election_metrics[];

#endif
