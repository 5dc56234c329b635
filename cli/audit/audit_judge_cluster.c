/* SPDX-License-Identifier: Apache-2.0 */
/* Checks that API servers' metrics, Pods and connections decide. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "audit_judge.h"

/* Passive agreement after a change of key takes the poll and the reload of three servers. */
enum { SETTLE_SECONDS = 8 * 60, MANY_LISTS = 100000 };

/* When a server last used or was told of a key; 0: never. */
static double seen_at(const struct audit_server *s, const char *provider, const char *hash)
{
    double at = 0;

    for (size_t i = 0; i < s->series.n; i++) {
        const struct audit_series *x = lh_vec_at(&s->series, i);

        if (x->metric == AUDIT_METRIC_STATUS && strcmp(x->a, provider) == 0 &&
            strcmp(x->b, hash) == 0)
            at = fmax(at, x->value);
    }
    return at;
}

/* Two servers that name different keys: since when, at least. Negative: they agree. */
static double apart_for(const struct audit_server *x, const struct audit_server *y,
                        const char *provider)
{
    double at_x, at_y, moved;
    const char *kx = audit_metrics_status(x, provider, &at_x);
    const char *ky = audit_metrics_status(y, provider, &at_y);

    if (!kx || !ky || strcmp(kx, ky) == 0)
        return -1;
    /* Who knew the other's key and left it changed at that time at the earliest. */
    moved = fmax(seen_at(x, provider, ky), seen_at(y, provider, kx));
    return moved > 0 ? fmax(at_x, at_y) - moved : 0;
}

static double longest_apart(const struct audit *a, const char **provider, bool *any)
{
    double longest = -1;

    for (size_t i = 0; i < a->servers.n; i++) {
        const struct audit_server *x = lh_vec_at(&a->servers, i);

        for (size_t k = 0; k < x->series.n; k++) {
            const struct audit_series *s = lh_vec_at(&x->series, k);

            if (s->metric != AUDIT_METRIC_STATUS)
                continue;
            *any = true;
            for (size_t j = i + 1; j < a->servers.n; j++) {
                double d = apart_for(x, lh_vec_at(&a->servers, j), s->a);

                if (d > longest) {
                    longest = d;
                    *provider = s->a;
                }
            }
        }
    }
    return longest;
}

/* API servers whose plugin told them a key. */
static size_t told(const struct audit *a)
{
    size_t n = 0;
    double at;

    for (size_t i = 0; i < a->servers.n; i++)
        n += audit_metrics_status(lh_vec_at(&a->servers, i), NULL, &at) != NULL;
    return n;
}

/* How many there are, by their leases or by their Pods; 0: not known. */
static unsigned count_of(const struct audit *a)
{
    return a->servers_alive > a->pods.apiservers ? a->servers_alive : a->pods.apiservers;
}

/* Whether the metrics at hand are those of every API server. */
static bool are_all_known(const struct audit *a)
{
    return a->servers.n > 0 && a->servers_silent == 0 && count_of(a) > 0 &&
           a->servers.n >= count_of(a);
}

static enum audit_result only_some(const struct audit *a, struct lh_buf *b)
{
    size_t asked = a->servers.n + a->servers_silent, count = count_of(a);

    lh_buf_printf(b, "; %zu API servers were heard", a->servers.n);
    if (count || a->servers_silent)
        lh_buf_printf(b, " of %zu", asked > count ? asked : count);
    else
        lh_buf_put_z(b, ", and whether these are all is not known (--kubeconfig)");
    return AUDIT_NOT_PROVEN;
}

AUDIT_JUDGE(audit_judge_agreement)
{
    const char *provider = "";
    bool any = false;
    double apart = longest_apart(a, &provider, &any);

    if (a->servers.n == 0) {
        lh_buf_put_z(b, "no API server's metrics were read");
        return AUDIT_NOT_PROVEN;
    }
    if (apart >= 0) {
        lh_buf_printf(b, "API servers name different keys of provider %s, for %.0f s or longer",
                      provider, apart);
        return apart > SETTLE_SECONDS ? AUDIT_FAIL : AUDIT_NOT_PROVEN;
    }
    if (any && told(a) < a->servers.n) {
        lh_buf_printf(b, "%zu of %zu API servers name a key", told(a), a->servers.n);
        return AUDIT_NOT_PROVEN;
    }
    lh_buf_put_z(b, any ? "they name the same key" : "they use no KMS v2");
    return are_all_known(a) ? AUDIT_PASS : only_some(a, b);
}

AUDIT_JUDGE(audit_judge_config_hash)
{
    const char *first = NULL;
    size_t known = 0;

    for (size_t i = 0; i < a->servers.n; i++) {
        const struct audit_server *s = lh_vec_at(&a->servers, i);
        const char *mine = NULL;

        for (size_t k = 0; k < s->series.n; k++) {
            const struct audit_series *x = lh_vec_at(&s->series, k);

            if (x->metric == AUDIT_METRIC_CONFIG && x->value > 0)
                mine = x->b;
        }
        known += mine != NULL;
        if (mine && first && strcmp(mine, first) != 0) {
            lh_buf_put_z(b, "API servers run with different configurations");
            return AUDIT_FAIL;
        }
        first = mine ? mine : first;
    }
    if (first && *a->config_hashes[0] && !strstr(first, a->config_hashes[0]) &&
        !strstr(first, a->config_hashes[1])) {
        lh_buf_put_z(b, "API servers run with another configuration than this file has");
        return AUDIT_FAIL;
    }
    if (known < a->servers.n || known == 0) {
        lh_buf_put_z(b, "not every API server publishes its configuration's hash (it does so with "
                        "--encryption-provider-config-automatic-reload)");
        return AUDIT_NOT_PROVEN;
    }
    lh_buf_put_z(b, "they run with one configuration");
    return are_all_known(a) ? AUDIT_PASS : only_some(a, b);
}

AUDIT_JUDGE(audit_judge_placement)
{
    if (!a->has_config || !a->pods.read) {
        lh_buf_put_z(b, "needs the configuration (--config) and Pods (--kubeconfig)");
        return AUDIT_NOT_PROVEN;
    }
    if (a->sockets.n == 0) {
        lh_buf_put_z(b, "no KMS provider is configured");
        return AUDIT_PASS;
    }
    if (a->pods.plugin_pods) {
        lh_buf_printf(b,
                      "%u Pods that this API server starts serve the KMS socket: it needs them "
                      "to start",
                      a->pods.plugin_pods);
        return AUDIT_FAIL;
    }
    if (audit_plugins_warn(a, "in_cluster")) {
        lh_buf_put_z(b, "leasehold-kms reaches its manager inside the cluster whose keys it wraps");
        return AUDIT_FAIL;
    }
    if (a->pods.managers && !audit_plugins_told(a, "in_cluster")) {
        lh_buf_printf(b,
                      "%u containers in this cluster run Vault or OpenBao; whether one of them "
                      "wraps this cluster's keys is known to the plugin alone",
                      a->pods.managers);
        return AUDIT_NOT_PROVEN;
    }
    if (a->workloads_cut) {
        lh_buf_put_z(b, "there are more workloads than are looked at");
        return AUDIT_NOT_PROVEN;
    }
    lh_buf_printf(b, "no Pod of this cluster but static ones serves the socket, and %s",
                  a->pods.managers ? "the plugins' manager is elsewhere" : "none runs a manager");
    return AUDIT_PASS;
}

static int64_t shortest_timeout(const struct audit *a)
{
    int64_t least = 0;

    for (size_t i = 0; i < a->rules.n; i++) {
        const struct audit_rule *r = lh_vec_at(&a->rules, i);

        for (size_t k = 0; k < r->providers.n; k++) {
            const struct audit_provider *p = lh_vec_at(&r->providers, k);

            if (*p->endpoint && (least == 0 || p->timeout_ms < least))
                least = p->timeout_ms;
        }
    }
    return least;
}

AUDIT_JUDGE(audit_judge_timing)
{
    double p99 = -1, timeout = (double)shortest_timeout(a) / 1000;

    if (a->pods.health_excluded) {
        lh_buf_put_z(b, "a probe of kube-apiserver leaves the KMS check out");
        return AUDIT_FAIL;
    }
    for (size_t i = 0; i < a->servers.n; i++)
        p99 = fmax(p99, audit_metrics_latency(lh_vec_at(&a->servers, i), 0.99));
    if (!a->has_config || (timeout > 0 && p99 < 0)) {
        lh_buf_put_z(b, "needs the configuration (--config) and latencies of the plugin in the API "
                        "servers' metrics");
        return AUDIT_NOT_PROVEN;
    }
    if (timeout <= 0) {
        lh_buf_put_z(b, "no KMS provider is configured");
        return AUDIT_PASS;
    }
    if (isinf(p99))
        lh_buf_printf(b, "p99 of the plugin is past the last bucket, timeout %.1f s", timeout);
    else
        lh_buf_printf(b, "p99 of the plugin is at most %.3g s, timeout %.1f s", p99, timeout);
    if (p99 > timeout / 2)
        return AUDIT_FAIL;
    if (!a->pods.read || a->pods.apiservers == 0) {
        lh_buf_put_z(b, "; kube-apiserver's probes were not seen");
        return AUDIT_NOT_PROVEN;
    }
    return AUDIT_PASS;
}

static bool covers_all(const struct audit *a)
{
    for (size_t i = 0; i < a->rules.n; i++) {
        const struct audit_rule *r = lh_vec_at(&a->rules, i);

        for (size_t k = 0; k < r->resources.n; k++) {
            if (strcmp(*(char **)lh_vec_at(&r->resources, k), "*.*") == 0)
                return true;
        }
    }
    return false;
}

AUDIT_JUDGE(audit_judge_lists)
{
    double lists = 0;

    if (!a->has_config) {
        lh_buf_put_z(b, "the EncryptionConfiguration was not read: --config");
        return AUDIT_NOT_PROVEN;
    }
    if (!covers_all(a)) {
        lh_buf_put_z(b, "no rule encrypts everything");
        return AUDIT_PASS;
    }
    for (size_t i = 0; i < a->servers.n; i++)
        lists += audit_metrics_sum(lh_vec_at(&a->servers, i), AUDIT_METRIC_LISTS, NULL, NULL);
    lh_buf_printf(b, "\"*.*\" is encrypted; %.0f LIST requests since the API servers started",
                  lists);
    if (a->servers.n == 0)
        return AUDIT_NOT_PROVEN;
    return lists > MANY_LISTS ? AUDIT_FAIL : AUDIT_PASS;
}

AUDIT_JUDGE(audit_judge_etcd)
{
    if (a->etcd_plain_http || a->pods.etcd_plain) {
        lh_buf_put_z(b, "etcd is spoken to without TLS");
        return AUDIT_FAIL;
    }
    if (a->etcd_without_cert) {
        lh_buf_put_z(b, "etcd answers whoever has no client certificate");
        return AUDIT_FAIL;
    }
    if (a->pods.etcds == 0) {
        lh_buf_put_z(b, "etcd's own flags were not seen: it runs in no Pod that could be read");
        return AUDIT_NOT_PROVEN;
    }
    if (a->pods.etcd_no_client_auth || a->pods.etcd_no_peer_auth || a->pods.etcd_exposed) {
        lh_buf_printf(b, "a Pod of etcd runs without%s%s%s",
                      a->pods.etcd_no_client_auth ? " --client-cert-auth" : "",
                      a->pods.etcd_no_peer_auth ? " --peer-client-cert-auth" : "",
                      a->pods.etcd_exposed ? " TLS on an address beyond loopback" : "");
        return AUDIT_FAIL;
    }
    lh_buf_put_z(b, "clients and peers show certificates");
    return AUDIT_PASS;
}
