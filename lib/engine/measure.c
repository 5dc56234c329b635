/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_priv.h"

#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"

/* Stores are few; reasons and results are closed lists. */
enum { MAX_STORES = 64, MAX_STORE_REASONS = 512 };

enum {
    M_LOGINS,
    M_TOKEN_RENEWALS,
    M_LOOKUPS,
    M_READS,
    M_PROBES,
    M_ISSUES,
    M_UNCONFIRMED,
    M_RENEWALS,
    M_REVOCATIONS,
    M_HEALTH,
    M_FAILURES,
    M_PUBLICATIONS,
    M_NOTIFICATIONS,
    M_READY,
    M_OUTAGE,
    M_TOKEN_EXPIRY,
    M_CREDENTIAL_EXPIRY,
    M_PUBLISH_AGE,
    M_FRESH_AGE,
    M_EXPIRED,
};

#define COUNTER(n, h, ...)                                                                         \
    {                                                                                              \
        .name = (n), .help = (h), .type = LH_METRIC_COUNTER, .labels = {__VA_ARGS__},              \
        .max_series = MAX_STORES                                                                   \
    }
#define GAUGE(n, h, ...)                                                                           \
    {                                                                                              \
        .name = (n), .help = (h), .type = LH_METRIC_GAUGE, .labels = {__VA_ARGS__},                \
        .max_series = MAX_STORES                                                                   \
    }

const struct lh_metric lh_engine_metrics[] = {
    [M_LOGINS] = COUNTER("leasehold_logins_total", "Tokens given by the manager.", "store"),
    [M_TOKEN_RENEWALS] = COUNTER("leasehold_token_renewals_total", "Renewals of tokens.", "store"),
    [M_LOOKUPS] =
        COUNTER("leasehold_lookups_total", "Tokens and leases looked up and found alive.", "store"),
    [M_READS] = COUNTER("leasehold_reads_total", "Answers with values.", "store"),
    [M_PROBES] = COUNTER("leasehold_version_probes_total",
                         "Questions for a version without its value.", "store"),
    [M_ISSUES] =
        COUNTER("leasehold_issues_total",
                "Credentials that the manager made for us: leases and certificates.", "store"),
    [M_UNCONFIRMED] =
        COUNTER("leasehold_issues_unconfirmed_total",
                "Requests that may have made a credential whose answer was lost.", "store"),
    [M_RENEWALS] = COUNTER("leasehold_renewals_total", "Renewals of leases.", "store"),
    [M_REVOCATIONS] =
        COUNTER("leasehold_revocations_total", "Tokens and leases ended by us.", "store"),
    [M_HEALTH] = COUNTER("leasehold_health_probes_total",
                         "Questions for the manager's health while it was away.", "store"),
    [M_FAILURES] = {.name = "leasehold_failures_total",
                    .help = "Failures by reason; each is tried again.",
                    .type = LH_METRIC_COUNTER,
                    .labels = {"store", "reason"},
                    .max_series = MAX_STORE_REASONS},
    [M_PUBLICATIONS] =
        COUNTER("leasehold_publications_total", "Times that files were swapped.", "store"),
    [M_NOTIFICATIONS] = {.name = "leasehold_notifications_total",
                         .help = "Times that the application was told of new files, by result.",
                         .type = LH_METRIC_COUNTER,
                         .labels = {"store", "result"},
                         .max_series = MAX_STORE_REASONS},
    [M_READY] = GAUGE("leasehold_ready", "1 once all files were published.", "store"),
    [M_OUTAGE] = GAUGE("leasehold_store_unavailable",
                       "1 while the manager is unreachable or sealed.", "store"),
    [M_TOKEN_EXPIRY] =
        GAUGE("leasehold_token_expiry_seconds",
              "Seconds until the token ends; -1: it has no end, or there is none.", "store"),
    [M_CREDENTIAL_EXPIRY] = GAUGE("leasehold_credential_expiry_seconds",
                                  "Seconds until the first published credential ends, below 0 "
                                  "since when; absent while none has an end.",
                                  "store"),
    [M_PUBLISH_AGE] =
        GAUGE("leasehold_publish_age_seconds", "Seconds since files were swapped last.", "store"),
    [M_FRESH_AGE] = GAUGE("leasehold_fresh_age_seconds",
                          "Seconds since the manager last confirmed the value that was confirmed "
                          "longest ago.",
                          "store"),
    [M_EXPIRED] = GAUGE("leasehold_expired_credentials",
                        "Published credentials that are dead as far as is known.", "store"),
    {.name = NULL},
};

static void count(const struct lh_engine *e, int which)
{
    lh_metric_add(&lh_engine_metrics[which], 1, LH_LABELS(e->store->name));
}

void measure_event(void *arg, enum lh_lease_event ev, const char *reason)
{
    static const int of[] = {
        [LH_EV_LOGIN] = M_LOGINS,
        [LH_EV_TOKEN_RENEW] = M_TOKEN_RENEWALS,
        [LH_EV_LOOKUP] = M_LOOKUPS,
        [LH_EV_READ] = M_READS,
        [LH_EV_PROBE] = M_PROBES,
        [LH_EV_ISSUE] = M_ISSUES,
        [LH_EV_UNCONFIRMED] = M_UNCONFIRMED,
        [LH_EV_RENEW] = M_RENEWALS,
        [LH_EV_REVOKE] = M_REVOCATIONS,
        [LH_EV_HEALTH] = M_HEALTH,
    };
    const struct lh_engine *e = arg;

    if (ev == LH_EV_FAILURE)
        lh_metric_add(&lh_engine_metrics[M_FAILURES], 1,
                      LH_LABELS(e->store->name, reason ? reason : LH_REASON_InternalError));
    else
        count(e, of[ev]);
}

void measure_failure(struct lh_engine *e, const struct lh_err *err)
{
    measure_event(e, LH_EV_FAILURE, err->reason);
}

void measure_publication(struct lh_engine *e)
{
    count(e, M_PUBLICATIONS);
}

void measure_notify(struct lh_engine *e, bool ok)
{
    lh_metric_add(&lh_engine_metrics[M_NOTIFICATIONS], 1,
                  LH_LABELS(e->store->name, ok ? "ok" : "failed"));
}

static void gauge(const struct lh_engine *e, int which, double value)
{
    lh_metric_set(&lh_engine_metrics[which], value, LH_LABELS(e->store->name));
}

static double seconds(lh_ms ms)
{
    return (double)ms / 1000;
}

void lh_engine_measure(struct lh_engine *e)
{
    lh_ms now = lh_clock_now(), ends = LH_NEVER, fresh = now;
    struct lh_session_info s;
    unsigned expired = 0;

    lh_session_info(e->session, &s);
    for (size_t i = 0; i < lh_session_grants(e->session); i++) {
        struct lh_grant_info g;

        lh_session_grant_info(e->session, i, &g);
        if (!g.held)
            continue;
        expired += g.gone;
        ends = g.ends_at < ends ? g.ends_at : ends;
        fresh = g.fresh_at < fresh ? g.fresh_at : fresh;
    }
    gauge(e, M_READY, e->ready);
    gauge(e, M_OUTAGE, s.in_outage);
    gauge(e, M_TOKEN_EXPIRY,
          s.has_token && s.token_ends_at != LH_NEVER ? seconds(s.token_ends_at - now) : -1);
    if (ends != LH_NEVER)
        gauge(e, M_CREDENTIAL_EXPIRY, seconds(ends - now));
    if (e->ready) {
        gauge(e, M_PUBLISH_AGE, seconds(now - e->published_at));
        gauge(e, M_FRESH_AGE, seconds(now - fresh));
    }
    gauge(e, M_EXPIRED, expired);
}

static bool is_stale(const struct lh_engine *e, const struct lh_grant_info *g, lh_ms now,
                     struct lh_engine_freshness *out)
{
    lh_ms most = e->projection->max_age_ms, old = most < 0 ? LH_NEVER : g->fresh_at + most;

    out->ends_at = g->ends_at < out->ends_at ? g->ends_at : out->ends_at;
    if (g->ends_at > now && g->ends_at < out->check_at)
        out->check_at = g->ends_at;
    if (old > now && old < out->check_at)
        out->check_at = old;
    if (g->gone || g->ends_at <= now) {
        out->expired++;
        out->reason = LH_REASON_LeaseExpired;
        return true;
    }
    if (old > now)
        return false;
    if (!out->stale)
        out->reason = LH_REASON_SecretStale;
    return true;
}

void lh_engine_freshness(const struct lh_engine *e, struct lh_engine_freshness *out)
{
    lh_ms now = lh_clock_now();

    *out = (struct lh_engine_freshness){.ends_at = LH_NEVER, .check_at = LH_NEVER};
    for (size_t i = 0; i < e->n_items; i++) {
        const struct item *it = &e->items[i];
        struct lh_grant_info g;

        lh_grant_info(it->grant, &g);
        if (g.held && !g.absent && is_stale(e, &g, now, out) && !out->stale)
            out->stale = it->spec->name;
    }
}
