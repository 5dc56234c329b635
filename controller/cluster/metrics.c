/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics.h"

#include "leasehold/core/mem.h"
#include "leasehold/lease/schedule.h"

enum {
    M_COPIES,
    M_SECRETS,
    M_WRITES,
    M_STALE,
    M_EXPIRY,
    M_HELD,
    M_HELD_OPEN,
    M_WAITED,
    M_DRAINING,
    M_READY,
    M_BAD_OBJECTS,
};

#define GAUGE(n, h, ...)                                                                           \
    {                                                                                              \
        .name = (n), .help = (h), .type = LH_METRIC_GAUGE, .labels = {__VA_ARGS__},                \
        .max_series = 8                                                                            \
    }

const struct lh_metric cluster_metrics[] = {
    [M_COPIES] = GAUGE("leasehold_cluster_projections",
                       "Projections known, by state: mounted (nothing is asked of us), waiting, "
                       "ready, failed.",
                       "state"),
    [M_SECRETS] = GAUGE("leasehold_cluster_secrets", "Secrets that carry our label.", NULL),
    [M_WRITES] = {.name = "leasehold_cluster_secret_writes_total",
                  .help = "Writes of Secret copies, by result.",
                  .type = LH_METRIC_COUNTER,
                  .labels = {"result"},
                  .max_series = 8},
    [M_STALE] = GAUGE("leasehold_cluster_stale_copies",
                      "Copies with a credential that is dead or a value older than maxAge.", NULL),
    [M_EXPIRY] = GAUGE("leasehold_cluster_credential_expiry_seconds",
                       "Seconds until the first credential in a copy ends, below 0 since when; "
                       "absent while none has an end.",
                       NULL),
    [M_HELD] = GAUGE("leasehold_cluster_deletions_waiting",
                     "Deletions that settle or are held by the breaker.", NULL),
    [M_HELD_OPEN] = GAUGE("leasehold_cluster_deletions_held",
                          "1 while the breaker holds deletions until a person confirms.", NULL),
    [M_WAITED] = GAUGE("leasehold_cluster_oldest_due_seconds",
                       "For how long the oldest projection that is due has waited.", NULL),
    [M_DRAINING] = GAUGE("leasehold_cluster_draining",
                         "1 while a drain is asked for: nothing new is taken on.", NULL),
    [M_READY] =
        GAUGE("leasehold_cluster_ready", "1 when stores, projections and Secrets are known.", NULL),
    [M_BAD_OBJECTS] = {.name = "leasehold_bad_objects_total",
                       .help = "Stores and projections seen that are invalid and not used.",
                       .type = LH_METRIC_COUNTER,
                       .max_series = 1},
    {.name = NULL},
};

void cluster_count_bad_object(void)
{
    lh_metric_add(&cluster_metrics[M_BAD_OBJECTS], 1, NULL);
}

void cluster_count_write(const char *result)
{
    lh_metric_add(&cluster_metrics[M_WRITES], 1, LH_LABELS(result));
}

static void sample_copies(const struct copies *s)
{
    struct copies_count n;
    lh_ms now = lh_clock_now();

    copies_count(s, &n);
    lh_metric_set(&cluster_metrics[M_COPIES], (double)(n.projections - n.wanted),
                  LH_LABELS("mounted"));
    lh_metric_set(&cluster_metrics[M_COPIES], (double)(n.wanted - n.ready - n.failed),
                  LH_LABELS("waiting"));
    lh_metric_set(&cluster_metrics[M_COPIES], (double)n.ready, LH_LABELS("ready"));
    lh_metric_set(&cluster_metrics[M_COPIES], (double)n.failed, LH_LABELS("failed"));
    lh_metric_set(&cluster_metrics[M_SECRETS], (double)n.secrets, NULL);
    lh_metric_set(&cluster_metrics[M_STALE], (double)n.stale, NULL);
    if (n.ends_at != LH_NEVER)
        lh_metric_set(&cluster_metrics[M_EXPIRY], (double)(n.ends_at - now) / 1000, NULL);
    else
        lh_metric_drop(&cluster_metrics[M_EXPIRY], NULL);
    lh_metric_set(&cluster_metrics[M_HELD], (double)n.breaker.waiting, NULL);
    lh_metric_set(&cluster_metrics[M_HELD_OPEN], n.breaker.open, NULL);
    lh_metric_set(&cluster_metrics[M_DRAINING], n.drain != LH_DRAIN_NOT, NULL);
    lh_metric_set(&cluster_metrics[M_WAITED], n.oldest < 0 ? 0 : (double)(now - n.oldest) / 1000,
                  NULL);
}

void cluster_metrics_sample(const struct copies *s, bool ready)
{
    sample_copies(s);
    lh_metric_set(&cluster_metrics[M_READY], ready, NULL);
}
