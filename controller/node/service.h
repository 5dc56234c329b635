/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_NODE_SERVICE_H
#define LEASEHOLD_CONTROLLER_NODE_SERVICE_H

/* CSI's Identity and Node and kubelet's Registration, over the volumes of a set. */
#include "leasehold/grpc/server.h"
#include "set.h"

struct node_service {
    struct node_set *set;
    bool ready;
    void (*refused)(void *arg, const char *text); /* kubelet does not take us */
    void *arg;
};

/* Handlers' arg: struct node_service. */
extern const struct lh_grpc_method node_csi_methods[];
extern const struct lh_grpc_method node_registration_methods[];

#endif
