/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_CLUSTER_CLUSTER_H
#define LEASEHOLD_CONTROLLER_CLUSTER_CLUSTER_H

/* The verb `cluster`: Secret copies, restarts, store health, the ledger; one leads. */
#include "leasehold/codec/conf.h"

int controller_cluster(int argc, char **argv);
extern const struct lh_opt_set controller_cluster_option_set;

#endif
