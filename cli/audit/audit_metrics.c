/* SPDX-License-Identifier: Apache-2.0 */
/* What an API server's /metrics says of encryption: Prometheus text format 0.0.4. */
#include "audit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "leasehold/core/mem.h"

enum { MAX_SERIES = 2000, MAX_LABEL = 1024 };

#define ENVELOPE "apiserver_envelope_encryption_"
#define RELOAD   "apiserver_encryption_config_controller_"

static const struct source {
    const char *name;
    enum audit_metric metric;
    const char *a, *b;            /* labels that are kept */
    const char *where, *where_is; /* only series with this label */
} sources[] = {
    {ENVELOPE "key_id_hash_status_last_timestamp_seconds", AUDIT_METRIC_STATUS, "provider_name",
     "key_id_hash", NULL, NULL},
    {ENVELOPE "key_id_hash_last_timestamp_seconds", AUDIT_METRIC_KEY_USED, "provider_name",
     "key_id_hash", "transformation_type", "to_storage"},
    {"apiserver_storage_transformation_operations_total", AUDIT_METRIC_WRITES, "resource",
     "transformer_prefix", "transformation_type", "to_storage"},
    {RELOAD "last_config_info", AUDIT_METRIC_CONFIG, NULL, "hash", NULL, NULL},
    {ENVELOPE "dek_source_cache_size", AUDIT_METRIC_CACHE, "provider_name", NULL, NULL, NULL},
    {ENVELOPE "kms_operations_latency_seconds_bucket", AUDIT_METRIC_LATENCY, "method_name", "le",
     NULL, NULL},
    {"apiserver_request_total", AUDIT_METRIC_LISTS, NULL, NULL, "verb", "LIST"},
    {"leasehold_kms_warning", AUDIT_METRIC_WARNING, "warning", NULL, NULL, NULL},
    {RELOAD "automatic_reloads_total", AUDIT_METRIC_RELOADS, "status", NULL, NULL, NULL},
    {RELOAD "automatic_reload_last_timestamp_seconds", AUDIT_METRIC_RELOADED, "status", NULL, NULL,
     NULL},
    {ENVELOPE "invalid_key_id_from_status_total", AUDIT_METRIC_BAD_KEY, "provider_name", NULL, NULL,
     NULL},
    {"process_start_time_seconds", AUDIT_METRIC_STARTED, NULL, NULL, NULL, NULL},
};

struct line {
    struct lh_str name, labels;
    double value;
};

/* The closing brace, past quoted values. */
static const char *labels_end(const char *p, const char *end)
{
    bool quoted = false;

    for (; p < end; p++) {
        if (quoted && *p == '\\' && p + 1 < end)
            p++;
        else if (*p == '"')
            quoted = !quoted;
        else if (*p == '}' && !quoted)
            return p;
    }
    return NULL;
}

static bool to_value(struct lh_str s, double *out)
{
    char room[64], *end;

    s = lh_str_trim(s);
    lh_str_cut(s, ' ', &s, &(struct lh_str){0}); /* a time may follow */
    if (s.n == 0 || s.n >= sizeof(room))
        return false;
    memcpy(room, s.p, s.n);
    room[s.n] = 0;
    *out = strtod(room, &end);
    return *end == 0 && isfinite(*out);
}

static bool split(struct lh_str text, struct line *out)
{
    const char *end = text.p + text.n, *p = text.p, *close;

    while (p < end && *p != '{' && *p != ' ')
        p++;
    *out = (struct line){.name = {text.p, (size_t)(p - text.p)}};
    if (p < end && *p == '{') {
        close = labels_end(p + 1, end);
        if (!close)
            return false;
        out->labels = (struct lh_str){p + 1, (size_t)(close - p - 1)};
        p = close + 1;
    }
    return p < end && to_value((struct lh_str){p, (size_t)(end - p)}, &out->value);
}

/* Length of a quoted value at p (behind its quote), unescaped into room; -1: it does not end. */
static const char *unquote(const char *p, const char *end, char *room, size_t *n)
{
    for (*n = 0; p < end && *p != '"'; p++) {
        if (*p == '\\' && p + 1 < end)
            p++;
        if (*n < MAX_LABEL - 1)
            room[(*n)++] = *p;
    }
    room[*n] = 0;
    return p < end ? p + 1 : NULL;
}

/* An absent label is empty, as Prometheus has it. */
static void label(struct lh_str labels, const char *name, char room[MAX_LABEL])
{
    const char *p = labels.p, *end = labels.n ? labels.p + labels.n : labels.p, *eq;
    struct lh_str key;
    size_t n;

    while (p && p < end) {
        eq = memchr(p, '=', (size_t)(end - p));
        if (!eq || eq + 1 >= end || eq[1] != '"')
            break;
        key = lh_str_trim((struct lh_str){p, (size_t)(eq - p)});
        p = unquote(eq + 2, end, room, &n);
        if (lh_str_eqz(key, name))
            return;
        while (p && p < end && (*p == ',' || *p == ' '))
            p++;
    }
    room[0] = 0;
}

static const struct source *source_of(struct lh_str name)
{
    for (size_t i = 0; i < LH_ARRAY_LEN(sources); i++) {
        if (lh_str_eqz(name, sources[i].name))
            return &sources[i];
    }
    return NULL;
}

static bool is_time(enum audit_metric m)
{
    return m == AUDIT_METRIC_STATUS || m == AUDIT_METRIC_KEY_USED || m == AUDIT_METRIC_RELOADED ||
           m == AUDIT_METRIC_STARTED;
}

static int keep(struct audit_server *s, enum audit_metric m, const char *a, const char *b,
                double value, struct lh_err *err)
{
    struct audit_series one = {.metric = m, .value = value};

    for (size_t i = 0; i < s->series.n; i++) {
        struct audit_series *had = lh_vec_at(&s->series, i);

        /* LISTs and latencies are one sum over whatever else tells series apart. */
        if (had->metric == m && strcmp(had->a, a) == 0 && strcmp(had->b, b) == 0) {
            had->value = is_time(m) ? fmax(had->value, value) : had->value + value;
            return 0;
        }
    }
    if (s->series.n >= MAX_SERIES) {
        s->cut = true;
        return 0;
    }
    one.a = lh_strdup(a);
    one.b = lh_strdup(b);
    if (!one.a || !one.b || !lh_vec_push(&s->series, &one)) {
        lh_free(one.a);
        lh_free(one.b);
        return lh_err_nomem(err);
    }
    return 0;
}

static int take(struct lh_str text, struct audit_server *out, struct lh_err *err)
{
    char a[MAX_LABEL] = "", b[MAX_LABEL] = "", where[MAX_LABEL];
    const struct source *src;
    struct line l;

    if (text.n == 0 || text.p[0] == '#' || !split(text, &l))
        return 0;
    src = source_of(l.name);
    if (!src)
        return 0;
    if (src->where) {
        label(l.labels, src->where, where);
        if (strcmp(where, src->where_is) != 0)
            return 0;
    }
    if (src->a && src->metric != AUDIT_METRIC_LATENCY)
        label(l.labels, src->a, a);
    if (src->b)
        label(l.labels, src->b, b);
    return keep(out, src->metric, a, b, l.value, err);
}

int audit_metrics_read(struct lh_str text, struct audit_server *out, struct lh_err *err)
{
    struct lh_str one;
    int rc = 0;

    while (text.n && rc == 0) {
        lh_str_cut(text, '\n', &one, &text);
        rc = take(lh_str_trim(one), out, err);
    }
    return rc;
}

double audit_metrics_latency(const struct audit_server *s, double q)
{
    double all = 0, best = INFINITY;

    for (size_t i = 0; i < s->series.n; i++) {
        const struct audit_series *x = lh_vec_at(&s->series, i);

        if (x->metric == AUDIT_METRIC_LATENCY && strcmp(x->b, "+Inf") == 0)
            all = x->value;
    }
    if (all <= 0)
        return -1;
    for (size_t i = 0; i < s->series.n; i++) {
        const struct audit_series *x = lh_vec_at(&s->series, i);

        if (x->metric == AUDIT_METRIC_LATENCY && x->value >= q * all)
            best = fmin(best, strcmp(x->b, "+Inf") == 0 ? INFINITY : strtod(x->b, NULL));
    }
    return best;
}

const char *audit_metrics_status(const struct audit_server *s, const char *provider, double *at)
{
    const char *hash = NULL;

    *at = 0;
    for (size_t i = 0; i < s->series.n; i++) {
        const struct audit_series *x = lh_vec_at(&s->series, i);

        if (x->metric != AUDIT_METRIC_STATUS || (provider && strcmp(x->a, provider) != 0))
            continue;
        if (!hash || x->value > *at) {
            hash = x->b;
            *at = x->value;
        }
    }
    return hash;
}

double audit_metrics_sum(const struct audit_server *s, enum audit_metric m, const char *a,
                         const char *b)
{
    double sum = 0;

    for (size_t i = 0; i < s->series.n; i++) {
        const struct audit_series *x = lh_vec_at(&s->series, i);

        if (x->metric == m && (!a || strcmp(x->a, a) == 0) &&
            (!b || strncmp(x->b, b, strlen(b)) == 0))
            sum += x->value;
    }
    return sum;
}

double audit_metrics_written(const struct audit *a, const char *scheme)
{
    static const struct {
        const char *scheme, *prefix;
    } known[] = {{"kmsv2", "k8s:enc:kms:v2:"},
                 {"kmsv1", "k8s:enc:kms:v1:"},
                 {"secretbox", "k8s:enc:secretbox:"},
                 {"aesgcm", "k8s:enc:aesgcm:"},
                 {"aescbc", "k8s:enc:aescbc:"}};
    double sum = 0;

    for (size_t i = 0; i < a->servers.n; i++) {
        const struct audit_server *s = lh_vec_at(&a->servers, i);

        for (size_t k = 0; k < LH_ARRAY_LEN(known); k++) {
            if (strcmp(known[k].scheme, scheme) == 0)
                sum += audit_metrics_sum(s, AUDIT_METRIC_WRITES, "secrets", known[k].prefix);
        }
        for (size_t k = 0; k < s->series.n && strcmp(scheme, "identity") == 0; k++) {
            const struct audit_series *x = lh_vec_at(&s->series, k);

            /* identity has no prefix */
            if (x->metric == AUDIT_METRIC_WRITES && strcmp(x->a, "secrets") == 0 &&
                (*x->b == 0 || strcmp(x->b, "identity") == 0))
                sum += x->value;
        }
    }
    return sum;
}
