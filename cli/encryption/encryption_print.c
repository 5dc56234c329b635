/* SPDX-License-Identifier: Apache-2.0 */
/* status, for people and as JSON. */
#include <string.h>

#include "encryption_status.h"

static const char *const loadings[] = {
    [ENC_LOADED] = "yes",
    [ENC_OTHER] = "no",
    [ENC_OLDER] = "no",
    [ENC_UNKNOWN] = "not-proven",
};

static void put_field(struct lh_buf *b, const char *before, const char *value)
{
    lh_buf_put_z(b, before);
    lh_json_write_str(lh_str(value ? value : ""), b);
}

static void put_json_keys(const struct status *s, const struct enc_server *one, struct lh_buf *b)
{
    size_t rule = 0, at = 0, n = 0;
    const char *provider;
    double when;

    while ((provider = status_provider(&s->f.config, &rule, &at))) {
        const char *hash = audit_metrics_status(&one->metrics, provider, &when);

        put_field(b, n++ ? ", {\"provider\": " : "{\"provider\": ", provider);
        put_field(b, ", \"keyIdHash\": ", hash);
        lh_buf_printf(b, ", \"seen\": %.0f, \"refused\": %.0f}", when,
                      status_metric(one, AUDIT_METRIC_BAD_KEY, provider));
    }
}

static void put_json_server(const struct status *s, const struct enc_server *one, struct lh_buf *b)
{
    const char *phase;
    enum enc_loading loading = enc_server_phase(one, &s->f, &s->phases, &phase);

    put_field(b, "{\"server\": ", one->url);
    lh_buf_printf(b, ", \"phase\": \"%s\", \"loaded\": \"%s\"", phase, loadings[loading]);
    lh_buf_printf(b, ", \"started\": %.0f, \"reloads\": %.0f, \"reloadsFailed\": %.0f",
                  status_metric(one, AUDIT_METRIC_STARTED, NULL),
                  status_metric(one, AUDIT_METRIC_RELOADS, "success"),
                  status_metric(one, AUDIT_METRIC_RELOADS, "failure"));
    lh_buf_printf(b, ", \"lastReloadFailed\": %s, \"keys\": [",
                  status_reload_failed(one) ? "true" : "false");
    put_json_keys(s, one, b);
    put_field(b, "], \"trouble\": ", one->trouble);
    lh_buf_put_c(b, '}');
}

static void put_json_count(const struct status *s, const struct enc_count *c, struct lh_buf *b)
{
    put_field(b, "{\"resource\": ", c->resource);
    lh_buf_printf(b, ", \"protection\": \"%s\", \"scheme\": \"%s\"",
                  lh_atrest_protection_name(lh_atrest_scheme_protection(c->ref.scheme)),
                  lh_atrest_scheme_name(c->ref.scheme));
    put_field(b, ", \"name\": ", c->ref.name);
    put_field(b, ", \"keyId\": ", c->key_id);
    lh_buf_printf(b, ", \"count\": %zu, \"stale\": %s, \"locked\": %s}", c->count,
                  status_is_stale(s, c) ? "true" : "false", c->is_locked ? "true" : "false");
}

void status_put_json(const struct status *s, struct lh_buf *b)
{
    lh_buf_printf(b, "{\"phase\": \"%s\"", enc_phase_name(&s->f.config));
    put_field(b, ", \"from\": ", s->f.config.rotation.from);
    put_field(b, ", \"to\": ", s->f.config.rotation.to);
    lh_buf_printf(b, ", \"proof\": \"%s\", \"revision\": %lld, \"unreadable\": %zu",
                  status_proof(s), (long long)s->scan.revision, s->scan.unreadable);
    lh_buf_put_z(b, ",\n \"servers\": [");
    for (size_t i = 0; i < s->servers.all.n; i++) {
        lh_buf_put_z(b, i ? ",\n  " : "\n  ");
        put_json_server(s, lh_vec_at(&s->servers.all, i), b);
    }
    lh_buf_printf(b, "], \"agree\": %s, \"alive\": %d,\n \"counts\": [",
                  !s->asked          ? "null"
                  : status_agrees(s) ? "true"
                                     : "false",
                  s->servers.alive);
    for (size_t i = 0; i < s->scan.counts.n; i++) {
        lh_buf_put_z(b, i ? ",\n  " : "\n  ");
        put_json_count(s, lh_vec_at(&s->scan.counts, i), b);
    }
    lh_buf_put_z(b, "]}\n");
}

/* A key id is public but may hold anything: what a terminal could take for more is not printed. */
static void put_plain(struct lh_buf *b, const char *text)
{
    for (; *text; text++)
        lh_buf_put_c(b, *text > ' ' && *text < 0x7f ? *text : '?');
}

static void put_text_server(const struct status *s, const struct enc_server *one, struct lh_buf *b)
{
    double bad = status_metric(one, AUDIT_METRIC_BAD_KEY, NULL), when;
    size_t rule = 0, at = 0;
    const char *phase, *provider;

    switch (enc_server_phase(one, &s->f, &s->phases, &phase)) {
    case ENC_LOADED:
        lh_buf_printf(b, "  %s: %s", one->url, phase);
        break;
    case ENC_UNKNOWN:
        lh_buf_printf(b, "  %s: not known: %s\n", one->url, one->trouble);
        return;
    case ENC_OLDER:
        lh_buf_printf(b, "  %s: has not started since the file was written", one->url);
        break;
    case ENC_OTHER:
        lh_buf_printf(b, "  %s: %s: not this file's content", one->url, phase);
        break;
    }
    if (status_reload_failed(one))
        lh_buf_put_z(b, "; its last reload failed");
    if (bad > 0)
        lh_buf_printf(b, "; refused %.0f key ids of a plugin", bad);
    while ((provider = status_provider(&s->f.config, &rule, &at))) {
        const char *hash = audit_metrics_status(&one->metrics, provider, &when);

        lh_buf_printf(b, "; kmsv2:%s ", provider);
        put_plain(b, hash ? hash : "not asked yet");
    }
    lh_buf_put_c(b, '\n');
}

static void put_text_servers(const struct status *s, struct lh_buf *b)
{
    if (!s->asked)
        return;
    lh_buf_put_z(b, "API servers:\n");
    for (size_t i = 0; i < s->servers.all.n; i++)
        put_text_server(s, lh_vec_at(&s->servers.all, i), b);
    if (!status_agrees(s))
        lh_buf_put_z(b, "  They disagree: what one writes another may not read, or writes with an "
                        "older key.\n");
    if (s->servers.alive > 0 && (size_t)s->servers.alive > s->servers.all.n)
        lh_buf_printf(b, "  The cluster has %d API servers; %zu were asked: --servers names all.\n",
                      s->servers.alive, s->servers.all.n);
    else if (s->servers.uncounted)
        lh_buf_printf(b, "  How many there are is not known: %s\n", s->servers.uncounted);
}

static void put_text_count(const struct status *s, const struct enc_count *c, struct lh_buf *b)
{
    char ref[320];

    lh_atrest_ref_print(&c->ref, ref);
    lh_buf_printf(b, "  %-24s %-6s %8zu  ", c->resource,
                  lh_atrest_protection_name(lh_atrest_scheme_protection(c->ref.scheme)), c->count);
    put_plain(b, ref);
    if (c->key_id[0])
        lh_buf_put_c(b, ' ');
    put_plain(b, c->key_id);
    lh_buf_put_z(b, c->is_locked            ? "  cannot be read with this file\n"
                    : status_is_stale(s, c) ? "  stale\n"
                                            : "\n");
}

void status_put_text(const struct status *s, struct lh_buf *b)
{
    const struct lh_atrest_rotation *r = &s->f.config.rotation;
    bool stored = s->o->etcd || s->o->snapshot;

    lh_buf_printf(b, "%s: %s", s->f.path, enc_phase_name(&s->f.config));
    if (r->to[0])
        lh_buf_printf(b, " (%s -> %s)", r->from, r->to);
    lh_buf_printf(b, "; %s", status_proof(s));
    if (stored)
        lh_buf_printf(b, " at revision %lld", (long long)s->scan.revision);
    lh_buf_put_c(b, '\n');
    put_text_servers(s, b);
    lh_buf_put_z(b, stored ? "Stored:\n"
                           : "What is stored was not looked at: --etcd or --snapshot does.\n");
    for (size_t i = 0; i < s->scan.counts.n; i++)
        put_text_count(s, lh_vec_at(&s->scan.counts, i), b);
    if (s->scan.unreadable)
        lh_buf_printf(b, "%zu cannot be told:\n", s->scan.unreadable);
    for (size_t i = 0; i < s->scan.samples.n; i++)
        lh_buf_printf(b, "  %s\n", *(char **)lh_vec_at(&s->scan.samples, i));
}
