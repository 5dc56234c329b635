/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_NODE_METRICS_H
#define LEASEHOLD_CONTROLLER_NODE_METRICS_H

#include "leasehold/core/clock.h"
#include "leasehold/core/metrics.h"
#include "set.h"

extern const struct lh_metric node_metrics[];

void node_count_call(const char *method, const char *status);
void node_observe_publish(lh_ms took);
void node_count_bad_object(void);
void node_metrics_sample(const struct node_set *s, bool ready);

#endif
