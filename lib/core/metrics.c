/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/core/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "leasehold/core/mem.h"
#include "leasehold/core/vec.h"

enum { LABELS_MAX = 4, DEFAULT_MAX_SERIES = 100 };

struct series {
    char *labels[LABELS_MAX]; /* owned values */
    double value;             /* a histogram's sum */
    uint64_t count;
    uint64_t buckets[]; /* histogram: not cumulative here, +Inf is count */
};

struct family {
    const struct lh_metric *m;
    unsigned n_labels;
    struct lh_vec series; /* struct series *, sorted by label values */
};

struct table {
    const struct lh_metric *rows;
    size_t n;
    struct family *families; /* owned, as rows */
};

static struct lh_vec tables = {.size = sizeof(struct table)};

int lh_metrics_register(const struct lh_metric *rows, struct lh_err *err)
{
    struct table t = {.rows = rows};

    for (size_t i = 0; i < tables.n; i++) {
        if (((struct table *)lh_vec_at(&tables, i))->rows == rows)
            return 0;
    }
    while (rows[t.n].name)
        t.n++;
    t.families = lh_calloc(t.n, sizeof(*t.families));
    if (!t.families)
        return lh_err_nomem(err);
    for (size_t i = 0; i < t.n; i++) {
        struct family *f = &t.families[i];

        f->m = &rows[i];
        while (f->n_labels < LABELS_MAX && rows[i].labels[f->n_labels])
            f->n_labels++;
        lh_vec_init(&f->series, sizeof(struct series *));
    }
    if (!lh_vec_push(&tables, &t)) {
        lh_free(t.families);
        return lh_err_nomem(err);
    }
    return 0;
}

static struct family *find_family(const struct lh_metric *m)
{
    for (size_t i = 0; i < tables.n; i++) {
        struct table *t = lh_vec_at(&tables, i);

        /* As numbers: pointers into different tables cannot be compared. */
        if ((uintptr_t)m >= (uintptr_t)t->rows && (uintptr_t)m < (uintptr_t)(t->rows + t->n))
            return &t->families[m - t->rows];
    }
    return NULL;
}

static struct series *series_at(const struct family *f, size_t i)
{
    return *(struct series **)lh_vec_at(&f->series, i);
}

/* Lists shorter than the labels count as empty at the end. */
static int compare(const struct family *f, const struct series *s, const char *const *values)
{
    const char *const *v = values;

    for (unsigned i = 0; i < f->n_labels; i++) {
        int c = strcmp(s->labels[i], v && *v ? *v : "");

        if (c)
            return c;
        if (v && *v)
            v++;
    }
    return 0;
}

/* Where the series is (true) or belongs. */
static bool search(const struct family *f, const char *const *values, size_t *at)
{
    size_t lo = 0, hi = f->series.n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = compare(f, series_at(f, mid), values);

        if (c == 0) {
            *at = mid;
            return true;
        }
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *at = lo;
    return false;
}

static void series_free(struct series *s)
{
    for (int i = 0; i < LABELS_MAX; i++)
        lh_free(s->labels[i]);
    lh_free(s);
}

static struct series *series_new(const struct family *f, const char *const *values)
{
    unsigned buckets = f->m->type == LH_METRIC_HISTOGRAM ? f->m->n_buckets : 0;
    struct series *s = lh_calloc(1, sizeof(*s) + buckets * sizeof(s->buckets[0]));

    if (!s)
        return NULL;
    for (unsigned i = 0; i < f->n_labels; i++) {
        s->labels[i] = lh_strdup(values && *values ? *values++ : "");
        if (!s->labels[i]) {
            series_free(s);
            return NULL;
        }
    }
    return s;
}

static struct series *insert(struct family *f, size_t at, const char *const *values)
{
    struct series *s = series_new(f, values), **slots;

    if (!s)
        return NULL;
    if (!lh_vec_push(&f->series, NULL)) {
        series_free(s);
        return NULL;
    }
    slots = f->series.p;
    memmove(slots + at + 1, slots + at, (f->series.n - 1 - at) * sizeof(struct series *));
    slots[at] = s;
    return s;
}

static struct series *find_series(const struct lh_metric *m, const char *const *values)
{
    static const char *const other[] = {"other", "other", "other", "other", NULL};
    struct family *f = find_family(m);
    unsigned most = m->max_series ? m->max_series : DEFAULT_MAX_SERIES;
    size_t at;

    if (!f)
        return NULL;
    if (search(f, values, &at))
        return series_at(f, at);
    if (f->series.n >= most) {
        values = other;
        if (search(f, values, &at))
            return series_at(f, at);
    }
    return insert(f, at, values);
}

void lh_metric_add(const struct lh_metric *m, double by, const char *const *label_values)
{
    struct series *s;

    if (m->type == LH_METRIC_HISTOGRAM || (m->type == LH_METRIC_COUNTER && !(by >= 0)))
        return; /* a counter that falls looks like a restart */
    s = find_series(m, label_values);
    if (s)
        s->value += by;
}

void lh_metric_set(const struct lh_metric *m, double value, const char *const *label_values)
{
    struct series *s = m->type == LH_METRIC_HISTOGRAM ? NULL : find_series(m, label_values);

    if (s)
        s->value = value;
}

void lh_metric_observe(const struct lh_metric *m, double value, const char *const *label_values)
{
    struct series *s = m->type == LH_METRIC_HISTOGRAM ? find_series(m, label_values) : NULL;

    if (!s)
        return;
    s->value += value;
    s->count++;
    for (unsigned i = 0; i < m->n_buckets; i++) {
        if (value <= m->buckets[i]) {
            s->buckets[i]++;
            return;
        }
    }
}

void lh_metric_drop(const struct lh_metric *m, const char *const *label_values)
{
    struct family *f = find_family(m);
    size_t at;

    if (!f || !search(f, label_values, &at))
        return;
    series_free(series_at(f, at));
    lh_vec_remove(&f->series, at);
}

double lh_metric_value(const struct lh_metric *m, const char *const *label_values)
{
    struct family *f = find_family(m);
    size_t at;

    return f && search(f, label_values, &at) ? series_at(f, at)->value : 0;
}

static void put_escaped(struct lh_buf *b, const char *z, bool quoted)
{
    struct lh_str s = lh_str(z);

    while (s.n > 0) {
        size_t len = lh_str_utf8_len(s), step = len ? len : 1;

        if (len == 0)
            lh_buf_put_z(b, "\xef\xbf\xbd");
        else if (s.p[0] == '\n')
            lh_buf_put_z(b, "\\n");
        else if (s.p[0] == '\\' || (quoted && s.p[0] == '"'))
            lh_buf_put(b, s.p[0] == '"' ? "\\\"" : "\\\\", 2);
        else
            lh_buf_put(b, s.p, len);
        s.p += step;
        s.n -= step;
    }
}

/* The shortest decimal that reads back as the same number. */
static void put_number(struct lh_buf *b, double v)
{
    char text[40];

    if (isnan(v)) {
        lh_buf_put_z(b, "NaN");
        return;
    }
    if (isinf(v)) {
        lh_buf_put_z(b, v > 0 ? "+Inf" : "-Inf");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, v);
        if (!(strtod(text, NULL) < v) && !(strtod(text, NULL) > v))
            break;
    }
    lh_buf_put_z(b, text);
}

/* name_suffix{labels,le="..."}; le may be NULL. */
static void put_head(struct lh_buf *b, const struct family *f, const struct series *s,
                     const char *suffix, const double *le)
{
    unsigned n = f->n_labels;

    lh_buf_put_z(b, f->m->name);
    lh_buf_put_z(b, suffix);
    if (n > 0 || le)
        lh_buf_put_c(b, '{');
    for (unsigned i = 0; i < n; i++) {
        lh_buf_printf(b, "%s%s=\"", i ? "," : "", f->m->labels[i]);
        put_escaped(b, s ? s->labels[i] : "", true);
        lh_buf_put_c(b, '"');
    }
    if (le) {
        lh_buf_put_z(b, n > 0 ? ",le=\"" : "le=\"");
        put_number(b, *le);
        lh_buf_put_c(b, '"');
    }
    if (n > 0 || le)
        lh_buf_put_c(b, '}');
    lh_buf_put_c(b, ' ');
}

static void put_histogram(struct lh_buf *b, const struct family *f, const struct series *s)
{
    const double inf = INFINITY;
    uint64_t sum = 0;

    for (unsigned i = 0; i < f->m->n_buckets; i++) {
        sum += s ? s->buckets[i] : 0;
        put_head(b, f, s, "_bucket", &f->m->buckets[i]);
        lh_buf_printf(b, "%" PRIu64 "\n", sum);
    }
    put_head(b, f, s, "_bucket", &inf);
    lh_buf_printf(b, "%" PRIu64 "\n", s ? s->count : 0);
    put_head(b, f, s, "_sum", NULL);
    put_number(b, s ? s->value : 0);
    lh_buf_put_c(b, '\n');
    put_head(b, f, s, "_count", NULL);
    lh_buf_printf(b, "%" PRIu64 "\n", s ? s->count : 0);
}

/* s NULL: a metric without labels that was never touched, which is 0 and not absent. */
static void put_series(struct lh_buf *b, const struct family *f, const struct series *s)
{
    if (f->m->type == LH_METRIC_HISTOGRAM) {
        put_histogram(b, f, s);
        return;
    }
    put_head(b, f, s, "", NULL);
    put_number(b, s ? s->value : 0);
    lh_buf_put_c(b, '\n');
}

static const char *const types[] = {"counter", "gauge", "histogram"};

static void put_family(struct lh_buf *b, const struct family *f)
{
    if (f->series.n == 0 && f->n_labels > 0)
        return;
    lh_buf_printf(b, "# HELP %s ", f->m->name);
    put_escaped(b, f->m->help, false);
    lh_buf_printf(b, "\n# TYPE %s %s\n", f->m->name, types[f->m->type]);
    if (f->series.n == 0)
        put_series(b, f, NULL);
    for (size_t i = 0; i < f->series.n; i++)
        put_series(b, f, series_at(f, i));
}

void lh_metrics_write(struct lh_buf *b)
{
    for (size_t i = 0; i < tables.n; i++) {
        const struct table *t = lh_vec_at(&tables, i);

        for (size_t j = 0; j < t->n; j++)
            put_family(b, &t->families[j]);
    }
}

void lh_metrics_markdown(const struct lh_metric *table, struct lh_buf *b)
{
    lh_buf_put_z(b, "| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for (const struct lh_metric *m = table; m->name; m++) {
        lh_buf_printf(b, "| `%s` | %s |", m->name, types[m->type]);
        for (size_t i = 0; i < LH_ARRAY_LEN(m->labels) && m->labels[i]; i++)
            lh_buf_printf(b, "%s%s", i ? ", " : " ", m->labels[i]);
        lh_buf_printf(b, " | %s |\n", m->help);
    }
}

void lh_metrics_reset(void)
{
    for (size_t i = 0; i < tables.n; i++) {
        struct table *t = lh_vec_at(&tables, i);

        for (size_t j = 0; j < t->n; j++) {
            for (size_t k = 0; k < t->families[j].series.n; k++)
                series_free(series_at(&t->families[j], k));
            lh_vec_done(&t->families[j].series);
        }
        lh_free(t->families);
    }
    lh_vec_done(&tables);
}
