/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics.h"

#include <stdio.h>
#include <string.h>

#include "key.h"

enum {
    M_CALLS,
    M_SECONDS,
    M_BACKEND,
    M_DECRYPTS,
    M_WARNING,
    M_TOKEN,
    M_CURRENT,
    M_SETTLING,
    M_HASH,
    M_USABLE,
    M_PROBE_AGE,
    M_CACHED
};

static const double buckets[] = {0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 3};

const struct lh_metric kms_metrics[] = {
    [M_CALLS] = {.name = "leasehold_kms_calls_total",
                 .help = "Calls of the API server, by method and status.",
                 .type = LH_METRIC_COUNTER,
                 .labels = {"method", "code"},
                 .max_series = 64},
    [M_SECONDS] = {.name = "leasehold_kms_call_duration_seconds",
                   .help = "From a call to its answer.",
                   .type = LH_METRIC_HISTOGRAM,
                   .labels = {"method"},
                   .buckets = buckets,
                   .n_buckets = sizeof(buckets) / sizeof(buckets[0]),
                   .max_series = 4},
    [M_BACKEND] = {.name = "leasehold_kms_backend_calls_total",
                   .help = "Calls to the backend, by call and outcome.",
                   .type = LH_METRIC_COUNTER,
                   .labels = {"call", "outcome"},
                   .max_series = 64},
    [M_DECRYPTS] = {.name = "leasehold_kms_decrypts_total",
                    .help = "Decrypts answered from the cache, asked of the backend (miss), or "
                            "joined to one that was under way.",
                    .type = LH_METRIC_COUNTER,
                    .labels = {"from"},
                    .max_series = 4},
    [M_WARNING] = {.name = "leasehold_kms_warning",
                   .help = "1: this may cost the cluster its data one day.",
                   .type = LH_METRIC_GAUGE,
                   .labels = {"warning"},
                   .max_series = 16},
    [M_TOKEN] = {.name = "leasehold_kms_token_expiry_seconds",
                 .help = "Seconds until the manager's token ends; 0 without one, +Inf if it does "
                         "not end.",
                 .type = LH_METRIC_GAUGE},
    [M_CURRENT] = {.name = "leasehold_kms_key_version",
                   .help = "The key version that is advertised; 0 if there is none.",
                   .type = LH_METRIC_GAUGE},
    [M_SETTLING] = {.name = "leasehold_kms_key_version_settling",
                    .help = "A newer one that was seen and is not advertised yet; 0: none.",
                    .type = LH_METRIC_GAUGE},
    [M_HASH] = {.name = "leasehold_kms_key_id",
                .help = "1 for the key_id that is advertised (state current), and for one that is "
                        "seen and settles; by its hash, as in the key_id_hash of kube-apiserver's "
                        "metrics.",
                .type = LH_METRIC_GAUGE,
                .labels = {"key_id_hash", "state"},
                .max_series = 4},
    [M_USABLE] = {.name = "leasehold_kms_key_usable",
                  .help =
                      "0: the key was made again, went back, or is deleted; Encrypt is refused.",
                  .type = LH_METRIC_GAUGE},
    [M_PROBE_AGE] = {.name = "leasehold_kms_probe_age_seconds",
                     .help = "Since the backend last confirmed the key and did a round trip; -1: "
                             "never.",
                     .type = LH_METRIC_GAUGE},
    [M_CACHED] = {.name = "leasehold_kms_cached_seeds",
                  .help = "Decrypted seeds in locked memory.",
                  .type = LH_METRIC_GAUGE},
    {.name = NULL},
};

static lh_ms token_ends = 0;

void kms_count_call(const char *method, enum lh_grpc_status status, lh_ms took_ms)
{
    lh_metric_add(&kms_metrics[M_CALLS], 1, LH_LABELS(method, lh_grpc_status_name(status)));
    lh_metric_observe(&kms_metrics[M_SECONDS], (double)took_ms / 1000, LH_LABELS(method));
}

void kms_count_backend(const char *call, const struct lh_err *err)
{
    lh_metric_add(&kms_metrics[M_BACKEND], 1,
                  LH_LABELS(call, err ? lh_code_name(err->code) : "OK"));
}

void kms_count_decrypt(enum kms_cache_event ev)
{
    static const char *const names[] = {
        [KMS_CACHE_HIT] = "cache", [KMS_CACHE_MISS] = "miss", [KMS_CACHE_JOINED] = "joined"};

    lh_metric_add(&kms_metrics[M_DECRYPTS], 1, LH_LABELS(names[ev]));
}

void kms_set_warning(const char *name, bool on)
{
    lh_metric_set(&kms_metrics[M_WARNING], on, LH_LABELS(name));
}

void kms_set_token(bool has, lh_ms ends_at)
{
    token_ends = has ? ends_at : 0;
}

void kms_set_key(int64_t current, int64_t settling, bool usable)
{
    lh_metric_set(&kms_metrics[M_CURRENT], (double)current, NULL);
    lh_metric_set(&kms_metrics[M_SETTLING], (double)settling, NULL);
    lh_metric_set(&kms_metrics[M_USABLE], usable, NULL);
}

static void show_hash(const char *hash, const char *state, char shown[KMS_KEY_HASH_SIZE])
{
    if (strcmp(hash, shown) == 0)
        return;
    if (*shown)
        lh_metric_drop(&kms_metrics[M_HASH], LH_LABELS(shown, state));
    if (*hash)
        lh_metric_set(&kms_metrics[M_HASH], 1, LH_LABELS(hash, state));
    snprintf(shown, KMS_KEY_HASH_SIZE, "%s", hash);
}

void kms_set_key_hashes(const char *current, const char *settling)
{
    static char shown[2][KMS_KEY_HASH_SIZE];

    show_hash(current, "current", shown[0]);
    show_hash(settling, "settling", shown[1]);
}

void kms_set_gauges(lh_ms probe_age_ms, size_t cached)
{
    lh_ms now = lh_clock_now();

    lh_metric_set(&kms_metrics[M_TOKEN],
                  token_ends == INT64_MAX ? __builtin_inf()
                  : token_ends > now      ? (double)(token_ends - now) / 1000
                                          : 0,
                  NULL);
    lh_metric_set(&kms_metrics[M_PROBE_AGE], probe_age_ms < 0 ? -1 : (double)probe_age_ms / 1000,
                  NULL);
    lh_metric_set(&kms_metrics[M_CACHED], (double)cached, NULL);
}
