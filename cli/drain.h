/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_DRAIN_H
#define LEASEHOLD_CLI_DRAIN_H

/*
 * Asks the cluster controller, by an annotation of its Lease, to undo what it made outside and to
 * take on nothing new, or to go on; waits for its answer there, and looks for itself what still has
 * its finalizer. Rights: get and patch of that one Lease, list of secretprojections.
 */
#include "leasehold/api/drain.h"
#include "leasehold/core/loop.h"
#include "leasehold/kube/client.h"

struct drain_options {
    struct lh_loop *loop;
    struct lh_kube *kube;
    const char *namespace_, *lease; /* of the controller */
    enum lh_drain copies;           /* NOT: the drain is taken back */
    int64_t timeout_ms;             /* of the whole wait */
    unsigned poll_ms;               /* how often the Lease is looked at; 0: 500 */
    /* A line for people whenever there is another; NULL: none. */
    void (*progress)(void *arg, const char *line);
    void *arg;
};

struct drain_result {
    bool lease;    /* there is one */
    bool answered; /* a leader took note */
    bool away;     /* nobody leads */
    bool done;     /* drained, or taken back */
    char holder[256];
    lh_json *status;    /* of the leader; owned, NULL: none */
    lh_json *items;     /* what is left, with `action`: what a person can do; owned */
    char unlisted[512]; /* why projections could not be looked at; "" */
};

/* LH_E_DENIED without the right to the Lease; a controller that does not answer is no error.
 * out is to be given back in any case. */
int drain_run(const struct drain_options *o, struct drain_result *out, struct lh_err *err);
void drain_result_done(struct drain_result *r);
/* Everything is as it was asked for, and nothing is left. */
bool drain_is_well(const struct drain_result *r);
void drain_print(const struct drain_options *o, const struct drain_result *r, bool json,
                 struct lh_buf *b);

#endif
