/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_CLUSTER_METRICS_H
#define LEASEHOLD_CONTROLLER_CLUSTER_METRICS_H

#include "copies.h"
#include "leasehold/core/metrics.h"

extern const struct lh_metric cluster_metrics[];

void cluster_count_bad_object(void);
/* result: created, updated, deleted, failed. */
void cluster_count_write(const char *result);
void cluster_metrics_sample(const struct copies *s, bool ready);

#endif
