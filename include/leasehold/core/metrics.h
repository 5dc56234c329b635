/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CORE_METRICS_H
#define LEASEHOLD_CORE_METRICS_H

/*
 * Counters, gauges and histograms in the Prometheus text format 0.0.4. A metric is declared once as
 * a static table row (docs are checked against these tables); label sets are bounded by max_series,
 * past which values go to one series with every label "other".
 */
#include <stdint.h>

#include "leasehold/core/buf.h"
#include "leasehold/core/err.h"

enum lh_metric_type { LH_METRIC_COUNTER, LH_METRIC_GAUGE, LH_METRIC_HISTOGRAM };

struct lh_metric {
    const char *name, *help;
    enum lh_metric_type type;
    const char *labels[4]; /* names, NULL after the last */
    const double *buckets; /* histogram: upper bounds ascending, +Inf implied */
    unsigned n_buckets, max_series;
};

/* Registers a table (static storage, ended by a row with name NULL); idempotent per table. */
int lh_metrics_register(const struct lh_metric *table, struct lh_err *err);
/* Values are kept by metric pointer and label values (NULL-terminated list in order of labels).
 * Never fail: out of memory drops the sample. */
void lh_metric_add(const struct lh_metric *m, double by, const char *const *label_values);
void lh_metric_set(const struct lh_metric *m, double value, const char *const *label_values);
void lh_metric_observe(const struct lh_metric *m, double value, const char *const *label_values);
/* What the series stood for is gone: it is not written any more. */
void lh_metric_drop(const struct lh_metric *m, const char *const *label_values);
double lh_metric_value(const struct lh_metric *m,
                       const char *const *label_values); /* tests; counter or gauge */
#define LH_LABELS(...) ((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

/* Everything registered, in order of registration; series sorted by label values. */
void lh_metrics_write(struct lh_buf *b);
/* A table's rows as a Markdown table for docs/: name, type, labels, help. */
void lh_metrics_markdown(const struct lh_metric *table, struct lh_buf *b);
/* Drops all values and registrations (tests, exit). */
void lh_metrics_reset(void);

#endif
