/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/core/process_metrics.h"

#include "leasehold/core/proc.h"
#include "leasehold/core/secret.h"

enum { M_MEMORY, M_LOCKED, M_OVERFLOW, M_SLOW_TURNS };

const struct lh_metric lh_process_metrics[] = {
    [M_MEMORY] = {.name = "process_anonymous_memory_bytes",
                  .help = "Anonymous memory of this process.",
                  .type = LH_METRIC_GAUGE,
                  .max_series = 1},
    [M_LOCKED] = {.name = "leasehold_locked_memory_used_bytes",
                  .help = "Secrets in the locked region.",
                  .type = LH_METRIC_GAUGE,
                  .max_series = 1},
    [M_OVERFLOW] = {.name = "leasehold_locked_memory_overflow_bytes",
                    .help = "Secrets that had no room in the locked region.",
                    .type = LH_METRIC_GAUGE,
                    .max_series = 1},
    [M_SLOW_TURNS] = {.name = "leasehold_loop_slow_turns_total",
                      .help = "Turns of the loop over 100 ms.",
                      .type = LH_METRIC_COUNTER,
                      .max_series = 1},
    {.name = NULL},
};

void lh_process_metrics_sample(const struct lh_loop *loop)
{
    struct lh_secret_stats secrets;
    size_t anonymous, resident;

    lh_proc_memory(&anonymous, &resident);
    lh_secret_stats(&secrets);
    lh_metric_set(&lh_process_metrics[M_MEMORY], (double)anonymous, NULL);
    lh_metric_set(&lh_process_metrics[M_LOCKED], (double)secrets.used_bytes, NULL);
    lh_metric_set(&lh_process_metrics[M_OVERFLOW], (double)secrets.overflow_bytes, NULL);
    lh_metric_set(&lh_process_metrics[M_SLOW_TURNS], (double)lh_loop_slow_turns(loop), NULL);
}
