/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CORE_PROCESS_METRICS_H
#define LEASEHOLD_CORE_PROCESS_METRICS_H

/* What every program that serves metrics tells of its own process: memory, the locked region, slow
 * turns of its loop. */
#include "leasehold/core/loop.h"
#include "leasehold/core/metrics.h"

extern const struct lh_metric lh_process_metrics[];
/* Sets them as they are now. */
void lh_process_metrics_sample(const struct lh_loop *loop);

#endif
