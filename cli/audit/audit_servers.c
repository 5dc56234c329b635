/* SPDX-License-Identifier: Apache-2.0 */
#include "audit_servers.h"

#include <stdio.h>
#include <string.h>

#include "encryption.h"
#include "leasehold/core/mem.h"

#define SLICES                                                                                     \
    "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"                                  \
    "?labelSelector=kubernetes.io%2Fservice-name%3Dkubernetes"

enum { LEASE_FRESH_MS = 60 * 1000, MAX_SERVERS = 64 };

/* host:port, IPv6 in brackets; each once. */
static int add(struct lh_vec *urls, const char *authority, struct lh_err *err)
{
    char *url = lh_asprintf("https://%s", authority);

    for (size_t i = 0; url && i < urls->n; i++) {
        if (strcmp(*(char **)lh_vec_at(urls, i), url) == 0) {
            lh_free(url);
            return 0;
        }
    }
    if (url && urls->n < MAX_SERVERS && lh_vec_push(urls, &url))
        return 0;
    lh_free(url);
    return url && urls->n >= MAX_SERVERS ? 0 : lh_err_nomem(err);
}

static bool is_authority(const char *at)
{
    const char *colon = strrchr(at, ':');

    return colon && colon != at && (at[0] == '[' || strchr(at, ':') == colon);
}

int audit_servers_by_leases(const lh_json *list, int64_t now_ms, unsigned *alive,
                            struct lh_vec *urls, struct lh_err *err)
{
    const lh_json *items = lh_json_get(list, "items");
    int rc = 0;

    *alive = 0;
    for (size_t i = 0; i < lh_json_len(items) && rc == 0; i++) {
        const lh_json *one = lh_json_at(items, i);
        const char *renewed = lh_json_get_z(lh_json_get(one, "spec"), "renewTime");
        const char *at = lh_json_get_z(lh_json_path(one, "metadata", "annotations", NULL),
                                       "kubernetes.io/peer-advertise-address");
        int64_t when = 0;

        if (!renewed || lh_clock_parse(renewed, &when) < 0 || now_ms - when >= LEASE_FRESH_MS)
            continue;
        (*alive)++;
        if (urls && at && is_authority(at))
            rc = add(urls, at, err);
    }
    return rc;
}

static const char *https_port(const lh_json *slice, char room[16])
{
    const lh_json *ports = lh_json_get(slice, "ports");
    int64_t n = 443;

    for (size_t i = 0; i < lh_json_len(ports); i++) {
        const char *name = lh_json_get_z(lh_json_at(ports, i), "name");

        if (!name || strcmp(name, "https") == 0)
            n = lh_json_get_int(lh_json_at(ports, i), "port", 443);
    }
    snprintf(room, 16, "%u", (unsigned)(n > 0 && n < 65536 ? n : 443));
    return room;
}

static int add_endpoint(struct lh_vec *urls, struct lh_str host, const char *port,
                        struct lh_err *err)
{
    bool is_v6 = memchr(host.p, ':', host.n) != NULL;
    char room[160];

    if (host.n == 0 || host.n > 100)
        return 0;
    snprintf(room, sizeof(room), "%s%.*s%s:%s", is_v6 ? "[" : "", (int)host.n, host.p,
             is_v6 ? "]" : "", port);
    return add(urls, room, err);
}

static int take_slice(const lh_json *slice, struct lh_vec *urls, struct lh_err *err)
{
    const lh_json *all = lh_json_get(slice, "endpoints");
    char room[16];
    const char *port = https_port(slice, room);
    struct lh_str host;
    int rc = 0;

    for (size_t k = 0; k < lh_json_len(all); k++) {
        const lh_json *addresses = lh_json_get(lh_json_at(all, k), "addresses");

        for (size_t j = 0; j < lh_json_len(addresses) && rc == 0; j++) {
            if (lh_json_str(lh_json_at(addresses, j), &host))
                rc = add_endpoint(urls, host, port, err);
        }
    }
    return rc;
}

int audit_servers_by_slices(const lh_json *list, struct lh_vec *urls, struct lh_err *err)
{
    const lh_json *items = lh_json_get(list, "items");
    int rc = 0;

    for (size_t i = 0; i < lh_json_len(items) && rc == 0; i++)
        rc = take_slice(lh_json_at(items, i), urls, err);
    return rc;
}

static struct lh_str text_of(const struct lh_secret *s)
{
    return (struct lh_str){lh_secret_expose_const(s), lh_secret_len(s)};
}

/* Where they are, as far as the cluster tells; that it does not is a trouble, not an error. */
static int discover(struct audit *a, struct enc_api *api, struct lh_vec *urls, struct lh_err *err)
{
    lh_auto_json lh_json *leases = NULL, *slices = NULL;
    struct lh_err why = {0};
    int rc = enc_api_get_json(api, ENC_LEASES_PATH, ENC_LEASES, &leases, &why);

    if (rc < 0)
        audit_trouble(a, NULL, "how many API servers there are is not known: %s", why.msg);
    rc = rc < 0 ? 0
                : audit_servers_by_leases(leases, lh_clock_wall_ms(), &a->servers_alive, urls, err);
    if (rc < 0 || (urls->n > 0 && urls->n >= a->servers_alive))
        return rc;
    if (enc_api_get_json(api, SLICES, NULL, &slices, &why) < 0)
        return 0;
    return audit_servers_by_slices(slices, urls, err);
}

static int ask_one(struct audit *a, struct lh_loop *loop, const struct lh_kube_config *cfg,
                   const char *url, unsigned timeout_ms, struct lh_err *err)
{
    const struct enc_api_limits limits = {.tries = 1, .timeout_ms = timeout_ms};
    struct audit_server s = {.name = lh_strdup(url)};
    lh_auto_secret struct lh_secret *body = NULL;
    struct enc_api *api = NULL;
    struct lh_err why = {0};
    int rc = s.name ? enc_api_open(loop, cfg, url, &limits, &api, &why) : lh_err_nomem(&why);

    lh_vec_init(&s.series, sizeof(struct audit_series));
    if (rc == 0)
        rc = enc_api_get(api, "/metrics", NULL, "text/plain", &body, &why);
    enc_api_close(api);
    if (rc == 0)
        rc = audit_metrics_read(text_of(body), &s, &why);
    if (rc == 0 && s.cut)
        audit_trouble(a, NULL, "%s has more series than are kept", url);
    if (rc == 0 && lh_vec_push(&a->servers, &s))
        return 0;
    audit_server_done(&s);
    if (rc == 0 || rc == -LH_E_NOMEM)
        return lh_err_nomem(err);
    a->servers_silent++;
    return audit_trouble(a, err, "metrics of an API server: %s", why.msg);
}

/* Addresses inside the cluster's network may be out of reach from here; one server is not. */
static int ask_all(struct audit *a, struct lh_loop *loop, const struct lh_kube_config *cfg,
                   const struct lh_vec *urls, unsigned timeout_ms, struct lh_err *err)
{
    int rc = 0;

    for (size_t i = 0; i < urls->n && rc == 0; i++)
        rc = ask_one(a, loop, cfg, *(char **)lh_vec_at(urls, i), timeout_ms, err);
    if (rc == 0 && a->servers.n == 0)
        rc = ask_one(a, loop, cfg, cfg->server, timeout_ms, err);
    return rc;
}

static int ask_named(struct audit *a, struct lh_loop *loop, const struct lh_kube_config *cfg,
                     const char *urls, unsigned timeout_ms, struct lh_err *err)
{
    struct lh_vec named;
    int rc = enc_split(urls, &named, err);

    if (rc == 0)
        rc = ask_all(a, loop, cfg, &named, timeout_ms, err);
    enc_list_done(&named);
    return rc;
}

int audit_gather_servers(struct audit *a, struct lh_loop *loop, const struct lh_kube_config *cfg,
                         const char *urls, bool asks, unsigned timeout_ms, struct lh_err *err)
{
    const struct enc_api_limits limits = {.tries = 1, .timeout_ms = timeout_ms};
    struct lh_vec found;
    struct enc_api *api = NULL;
    int rc = enc_api_open(loop, cfg, NULL, &limits, &api, err);

    lh_vec_init(&found, sizeof(char *));
    if (rc == 0)
        rc = discover(a, api, &found, err);
    enc_api_close(api);
    if (rc == 0 && asks)
        rc = urls ? ask_named(a, loop, cfg, urls, timeout_ms, err)
                  : ask_all(a, loop, cfg, &found, timeout_ms, err);
    enc_list_done(&found);
    return rc;
}
