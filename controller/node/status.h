/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_NODE_STATUS_H
#define LEASEHOLD_CONTROLLER_NODE_STATUS_H

/* GET /metrics, /status, /healthz, /readyz: no values, whoever asks. */
#include "set.h"

struct node_status;

int node_status_new(struct node_set *s, const char *address, bool (*ready)(void *arg), void *arg,
                    struct node_status **out, struct lh_err *err);
void node_status_free(struct node_status *s);

#endif
