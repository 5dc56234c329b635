/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_CLUSTER_CLUSTER_PRIV_H
#define LEASEHOLD_CONTROLLER_CLUSTER_CLUSTER_PRIV_H

/*
 * Who owns what. For the life of the process: loop, API client, caches of objects and copies,
 * election, the ledger (idle unless it leads). For one term as leader (term.c): the hash key's
 * reading, store health, restarts, the search for Pods that run without their secrets; copies are
 * active within it only. A term ends with everything of it freed, nothing revoked, nothing written.
 */
#include "copies.h"
#include "hash_key.h"
#include "health_term.h"
#include "ledger.h"
#include "serve.h"

struct cluster {
    struct cluster_options o;
    char **namespaces, **allow_addresses;
    struct lh_loop *loop;
    struct lh_kube *kube;
    struct lh_objects *objects;
    struct copies *copies;
    struct ledger *ledger;
    struct lh_election *election;
    struct cluster_serve *serve;
    struct lh_signal *sigterm, *sigint;
    bool ending, failed;

    /* The term. */
    int64_t term; /* 0: it does not lead */
    struct lh_secret *hash_key;
    struct hash_key *asking;
    struct health_term *health;
    struct lh_timer *again, *confirm, *drain_timer;
    char *drain_said;            /* the status that is written; NULL: none */
    struct lh_kube_op *lease_op; /* is a hold of deletions confirmed? */
    bool loaded, active, key_said;
};

/* term.c */
int term_open(struct cluster *c, struct lh_err *err);
void term_begin(struct cluster *c, int64_t number);
/* Does what can be done now for the term to be whole. */
void term_step(struct cluster *c);
void term_end(struct cluster *c);
/* The timer's: asks, while deletions are held, whether they may go on. */
void term_confirm(void *cluster);

/* drain.c */
/* As the Lease asks for it now. */
enum lh_drain drain_asked(const struct cluster *c);
/* The Lease may ask for another. */
void drain_look(void *cluster);
/* The timer's: writes how far it is. */
void drain_tell(void *cluster);

#endif
