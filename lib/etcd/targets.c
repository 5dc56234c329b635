/* SPDX-License-Identifier: Apache-2.0 */
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "leasehold/core/netaddr.h"
#include "priv.h"

enum { MAX_HOST = 253, MAX_ADDRESS = 64, DEFAULT_PORT = 2379 };

struct url {
    struct lh_str whole, host;
    unsigned port;
    bool tls;
};

/* scheme "://" host or "[" IPv6 "]", ":" port, "/" at most. */
static bool split(struct lh_str text, struct url *out)
{
    struct url u = {.whole = text, .port = DEFAULT_PORT};
    struct lh_str rest = text, port = LH_STR("");
    long long n = DEFAULT_PORT;

    u.tls = lh_str_starts(text, LH_STR("https://"));
    if (!u.tls && !lh_str_starts(text, LH_STR("http://")))
        return false;
    rest.p += u.tls ? 8 : 7;
    rest.n -= u.tls ? 8 : 7;
    if (lh_str_ends(rest, LH_STR("/")))
        rest.n--;
    if (lh_str_starts(rest, LH_STR("["))) {
        rest.p++;
        rest.n--;
        if (!lh_str_cut(rest, ']', &u.host, &port) || (port.n > 0 && port.p[0] != ':'))
            return false;
        port.p += port.n > 0;
        port.n -= port.n > 0;
    } else {
        lh_str_cut(rest, ':', &u.host, &port);
    }
    if (port.n > 0 && !lh_str_to_i64(port, 1, 65535, &n))
        return false;
    u.port = (unsigned)n;
    *out = u;
    return u.host.n > 0 && u.host.n <= MAX_HOST && !memchr(u.host.p, '/', u.host.n);
}

static int add(struct lh_etcd_live *l, const struct url *u, const char *ip, bool v4,
               struct lh_err *err)
{
    struct lh_etcd_target *t = &l->targets[l->n_targets];

    if (l->n_targets == LH_ETCD_MAX_URLS)
        return lh_err_set(err, LH_E_TOOBIG, "more than %d addresses of etcd", LH_ETCD_MAX_URLS);
    l->n_targets++;
    t->tls = u->tls;
    t->url = lh_str_dup(u->whole);
    t->host = lh_str_dup(u->host);
    t->address = lh_asprintf(v4 ? "%s:%u" : "[%s]:%u", ip, u->port);
    return t->url && t->host && t->address ? 0 : lh_err_nomem(err);
}

static int resolve(struct lh_etcd_live *l, const struct url *u, const char *host,
                   struct lh_err *err)
{
    const struct addrinfo want = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int why = getaddrinfo(host, NULL, &want, &found), rc = 0;

    if (why != 0)
        return lh_err_set(err, LH_E_UNAVAILABLE, "the name %s does not resolve: %s", host,
                          gai_strerror(why));
    for (const struct addrinfo *a = found; a && rc == 0; a = a->ai_next) {
        char ip[MAX_ADDRESS];

        if (getnameinfo(a->ai_addr, a->ai_addrlen, ip, sizeof(ip), NULL, 0, NI_NUMERICHOST) == 0)
            rc = add(l, u, ip, a->ai_family == AF_INET, err);
    }
    freeaddrinfo(found);
    return rc;
}

static int add_url(struct lh_etcd_live *l, struct lh_str text, struct lh_err *err)
{
    char host[MAX_HOST + 1];
    struct lh_ip ip;
    struct url u;
    bool v4;

    if (!split(text, &u))
        return lh_err_set(err, LH_E_INVALID,
                          "not an address of etcd, as https://127.0.0.1:2379: %.*s",
                          (int)(text.n < MAX_HOST ? text.n : MAX_HOST), text.p);
    snprintf(host, sizeof(host), "%.*s", (int)u.host.n, u.host.p);
    if (lh_ip_parse(host, &ip, &v4))
        return add(l, &u, host, v4, err);
    if (!lh_str_is_dns_subdomain(u.host))
        return lh_err_set(err, LH_E_INVALID, "neither a name nor an address: %s", host);
    return resolve(l, &u, host, err);
}

int lh_etcd_targets_parse(struct lh_etcd_live *l, const char *urls, struct lh_err *err)
{
    struct lh_str rest = lh_str(urls), one;
    int rc = 0;

    do {
        lh_str_cut(rest, ',', &one, &rest);
        rc = add_url(l, lh_str_trim(one), err);
    } while (rc == 0 && rest.n > 0);
    return rc;
}

void lh_etcd_targets_done(struct lh_etcd_live *l)
{
    for (size_t i = 0; i < l->n_targets; i++) {
        lh_grpc_client_free(l->targets[i].client);
        lh_free(l->targets[i].url);
        lh_free(l->targets[i].address);
        lh_free(l->targets[i].host);
    }
}
