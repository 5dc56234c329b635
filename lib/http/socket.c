/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "http_priv.h"
#include "leasehold/core/mem.h"

/* A peer that vanished is noticed within about 30 s, also where nothing is being sent: a watch may
 * be silent for minutes, and a node behind a cut cable looks just like that. */
enum { KEEP_IDLE_S = 15, KEEP_INTERVAL_S = 5, KEEP_COUNT = 3, USER_TIMEOUT_MS = 30000 };

int http_policy_init(struct lh_http *h, const char *const *cidrs, struct lh_err *err)
{
    size_t n = 0;

    while (cidrs && cidrs[n])
        n++;
    if (!n)
        return 0;
    h->allow = lh_calloc(n, sizeof(*h->allow));
    if (!h->allow)
        return lh_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        if (!lh_net_parse(cidrs[i], &h->allow[i]))
            return lh_err_set(err, LH_E_INVALID,
                              "an allowed address must be a network such as 10.0.0.0/8");
    }
    h->n_allow = n;
    return 0;
}

static bool is_listed(const struct lh_http *h, const struct lh_ip *ip)
{
    struct lh_ip end = *ip;

    lh_ip_unwrap(&end);
    for (size_t i = 0; i < h->n_allow; i++) {
        if (lh_net_has(&h->allow[i], &end))
            return true;
    }
    return false;
}

static bool ip_of(const struct curl_sockaddr *addr, struct lh_ip *ip)
{
    if (addr->family == AF_INET) {
        struct sockaddr_in in;

        memcpy(&in, &addr->addr, sizeof(in));
        lh_ip_from_v4(&in.sin_addr, ip);
        return true;
    }
    if (addr->family == AF_INET6) {
        /* curl_sockaddr ends in a struct sockaddr; curl keeps room for the larger families. */
        const unsigned char *raw = (const unsigned char *)&addr->addr;

        memcpy(ip->b, raw + offsetof(struct sockaddr_in6, sin6_addr), sizeof(ip->b));
        return true;
    }
    return false;
}

static bool allowed(struct lh_http_op *op, const struct lh_ip *ip)
{
    const struct lh_http *h = op->h;
    char text[INET6_ADDRSTRLEN] = "";
    bool loopback = false;
    const char *what = lh_ip_special(ip, &loopback);

    if (!what || (loopback && h->allow_loopback) || is_listed(h, ip))
        return true;
    inet_ntop(AF_INET6, ip->b, text, sizeof(text));
    snprintf(op->denied, sizeof(op->denied), "%s is %s",
             strncmp(text, "::ffff:", 7) == 0 ? text + 7 : text, what);
    return false;
}

curl_socket_t http_on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *addr)
{
    static const struct {
        int level, name, value;
    } settings[] = {
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_S},
        {IPPROTO_TCP, TCP_KEEPINTVL, KEEP_INTERVAL_S},
        {IPPROTO_TCP, TCP_KEEPCNT, KEEP_COUNT},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS},
    };
    struct lh_http_op *op = arg;
    struct lh_ip ip;
    int fd;

    (void)purpose;
    if (!ip_of(addr, &ip) || !allowed(op, &ip))
        return CURL_SOCKET_BAD;
    fd = socket(addr->family, addr->socktype | SOCK_CLOEXEC, addr->protocol);
    if (fd < 0)
        return CURL_SOCKET_BAD;
    op->sockets++;
    for (size_t i = 0; i < LH_ARRAY_LEN(settings); i++)
        setsockopt(fd, settings[i].level, settings[i].name, &settings[i].value, sizeof(int));
    return fd;
}
