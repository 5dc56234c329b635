/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_KMS_METRICS_H
#define LEASEHOLD_KMS_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "leasehold/core/clock.h"
#include "leasehold/core/err.h"
#include "leasehold/core/metrics.h"
#include "leasehold/grpc/status.h"

extern const struct lh_metric kms_metrics[];

enum kms_cache_event { KMS_CACHE_HIT, KMS_CACHE_MISS, KMS_CACHE_JOINED };

void kms_count_call(const char *method, enum lh_grpc_status status, lh_ms took_ms);
void kms_count_backend(const char *call, const struct lh_err *err); /* err NULL: it was served */
void kms_count_decrypt(enum kms_cache_event ev);
void kms_set_warning(const char *name, bool on);
void kms_set_token(bool has, lh_ms ends_at);
void kms_set_key(int64_t current, int64_t settling, bool usable);
/* "": none. */
void kms_set_key_hashes(const char *current, const char *settling);
/* What is only known when it is asked for. probe_age_ms -1: never probed. */
void kms_set_gauges(lh_ms probe_age_ms, size_t cached);

#endif
