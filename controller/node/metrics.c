/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics.h"

#include "leasehold/core/mem.h"
#include "volume.h"

static const double seconds[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                 1,     2.5,  5,     10,   30,  60,   300};

enum {
    M_CALLS,
    M_PUBLISH_SECONDS,
    M_VOLUMES,
    M_BYTES,
    M_BYTES_MAX,
    M_STALE,
    M_EXPIRED,
    M_EXPIRY,
    M_READY,
    M_MOUNT_UP,
    M_BAD_OBJECTS,
};

#define GAUGE(n, h, ...)                                                                           \
    {                                                                                              \
        .name = (n), .help = (h), .type = LH_METRIC_GAUGE, .labels = {__VA_ARGS__},                \
        .max_series = 8                                                                            \
    }

const struct lh_metric node_metrics[] = {
    [M_CALLS] = {.name = "leasehold_node_calls_total",
                 .help = "Calls of kubelet answered, by method and gRPC status.",
                 .type = LH_METRIC_COUNTER,
                 .labels = {"method", "status"},
                 .max_series = 64},
    [M_PUBLISH_SECONDS] = {.name = "leasehold_node_publish_duration_seconds",
                           .help = "From the first call for a volume to its files in place.",
                           .type = LH_METRIC_HISTOGRAM,
                           .buckets = seconds,
                           .n_buckets = LH_ARRAY_LEN(seconds),
                           .max_series = 1},
    [M_VOLUMES] = GAUGE("leasehold_node_volumes", "Volumes known, by state.", "state"),
    [M_BYTES] = GAUGE("leasehold_node_volume_bytes", "Sizes of all volumes together.", NULL),
    [M_BYTES_MAX] = GAUGE("leasehold_node_volume_bytes_max", "What they may have together.", NULL),
    [M_STALE] = GAUGE("leasehold_node_stale_volumes",
                      "Volumes with a credential that is dead or a value older than maxAge.", NULL),
    [M_EXPIRED] = GAUGE("leasehold_node_expired_credentials",
                        "Published credentials that are dead as far as is known.", NULL),
    [M_EXPIRY] = GAUGE("leasehold_node_credential_expiry_seconds",
                       "Seconds until the first published credential ends, below 0 since when; "
                       "absent while none has an end.",
                       NULL),
    [M_READY] = GAUGE("leasehold_node_ready",
                      "1 when stores and projections are known and kubelet is served.", NULL),
    [M_MOUNT_UP] =
        GAUGE("leasehold_node_mount_connected", "1 while leasehold-mount is connected.", NULL),
    [M_BAD_OBJECTS] = {.name = "leasehold_bad_objects_total",
                       .help = "Stores and projections seen that are invalid and not used.",
                       .type = LH_METRIC_COUNTER,
                       .max_series = 1},
    {.name = NULL},
};

void node_count_call(const char *method, const char *status)
{
    lh_metric_add(&node_metrics[M_CALLS], 1, LH_LABELS(method, status));
}

void node_observe_publish(lh_ms took)
{
    lh_metric_observe(&node_metrics[M_PUBLISH_SECONDS], (double)took / 1000, NULL);
}

void node_count_bad_object(void)
{
    lh_metric_add(&node_metrics[M_BAD_OBJECTS], 1, NULL);
}

static void sample_volumes(const struct node_set *s)
{
    static const char *const states[] = {"waiting",   "fetching", "mounting",
                                         "published", "ending",   "revoking"};
    unsigned count[LH_ARRAY_LEN(states)] = {0}, stale = 0, expired = 0;
    lh_ms ends = INT64_MAX, now = lh_clock_now();
    struct lh_str key;
    size_t it = 0;
    void *p;

    while (lh_map_next(s->by_id, &it, &key, &p)) {
        const struct volume *v = p;
        struct lh_engine_freshness f;

        for (size_t i = 0; i < LH_ARRAY_LEN(states); i++)
            count[i] += lh_str_eqz(lh_str(states[i]), volume_state_name(v));
        if (!v->published || !volume_engine(v))
            continue;
        lh_engine_freshness(volume_engine(v), &f);
        stale += f.stale != NULL;
        expired += f.expired;
        ends = f.ends_at < ends ? f.ends_at : ends;
    }
    for (size_t i = 0; i < LH_ARRAY_LEN(states); i++)
        lh_metric_set(&node_metrics[M_VOLUMES], count[i], LH_LABELS(states[i]));
    lh_metric_set(&node_metrics[M_STALE], stale, NULL);
    lh_metric_set(&node_metrics[M_EXPIRED], expired, NULL);
    if (ends != INT64_MAX)
        lh_metric_set(&node_metrics[M_EXPIRY], (double)(ends - now) / 1000, NULL);
}

void node_metrics_sample(const struct node_set *s, bool ready)
{
    sample_volumes(s);
    lh_metric_set(&node_metrics[M_BYTES], (double)node_set_bytes(s, NULL), NULL);
    lh_metric_set(&node_metrics[M_BYTES_MAX], (double)s->o->max_memory, NULL);
    lh_metric_set(&node_metrics[M_READY], ready, NULL);
    lh_metric_set(&node_metrics[M_MOUNT_UP], mount_client_is_connected(s->mount), NULL);
}
