/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_WEBHOOK_METRICS_H
#define LEASEHOLD_WEBHOOK_METRICS_H

#include "leasehold/core/metrics.h"

/* The webhook's own table; docs and alert rules are checked against it. */
enum {
    WEBHOOK_REVIEWS,
    WEBHOOK_SECONDS,
    WEBHOOK_DENIALS,
    WEBHOOK_BAD_REQUESTS,
    WEBHOOK_STORES,
    WEBHOOK_BAD_OBJECTS,
    WEBHOOK_READY,
    WEBHOOK_LEAF_SECONDS,
    WEBHOOK_CERT_FAILURES,
    WEBHOOK_CONNECTIONS,
    WEBHOOK_CLOSED,
    WEBHOOK_METRICS,
};
extern const struct lh_metric webhook_metrics[WEBHOOK_METRICS + 1];

#endif
