/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_CLUSTER_SERVE_H
#define LEASEHOLD_CONTROLLER_CLUSTER_SERVE_H

/* GET /metrics, /status, /healthz, /readyz: no values, whoever asks. */
#include "copies.h"
#include "leasehold/kube/elect.h"

struct cluster_serve;

struct cluster_serve_options {
    struct lh_loop *loop;
    const char *address;
    const struct copies *copies;
    const struct lh_election *election;
    /* NULL: it is; else what it waits for. */
    const char *(*unready)(void *arg);
    void *arg;
};

int cluster_serve_new(const struct cluster_serve_options *o, struct cluster_serve **out,
                      struct lh_err *err);
void cluster_serve_free(struct cluster_serve *s); /* NULL is a no-op */

#endif
