/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_NODE_NODE_H
#define LEASEHOLD_CONTROLLER_NODE_NODE_H

/* The verb `node`: CSI driver csi.leasehold.dev, the unprivileged half. */
#include "leasehold/codec/conf.h"

int controller_node(int argc, char **argv);
extern const struct lh_opt_set controller_node_option_set;

#endif
