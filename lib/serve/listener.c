/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "leasehold/core/mem.h"
#include "serve_priv.h"

enum { ACCEPTS_PER_TURN = 32, PAUSE_MS = 100 };

/* rx_buffer_size also caps what lws writes at once. */
static const struct lws_protocols protocols[] = {
    {.name = "http", .callback = serve_callback, .rx_buffer_size = SERVE_BUFFER}, {0}};

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static int bad_address(const char *text, struct lh_err *err)
{
    return lh_err_set(err, LH_E_INVALID,
                      "\"%.80s\" is no address to listen on; write ADDRESS:PORT, :PORT or "
                      "[ADDRESS]:PORT",
                      text);
}

static int parse_port(const char *text, const char *port, uint16_t *out, struct lh_err *err)
{
    long long n;

    if (!lh_str_to_i64(lh_str(port), 0, 65535, &n))
        return bad_address(text, err);
    *out = htons((uint16_t)n);
    return 0;
}

/* An empty host is every address of both families. */
static int parse_address(const char *text, union address *out, struct lh_err *err)
{
    const char *colon = strrchr(text, ':');
    char host[INET6_ADDRSTRLEN + 2];
    uint16_t port = 0;
    size_t n;
    int rc;

    if (!colon || (size_t)(colon - text) >= sizeof(host))
        return bad_address(text, err);
    rc = parse_port(text, colon + 1, &port, err);
    if (rc < 0)
        return rc;
    n = (size_t)(colon - text);
    memcpy(host, text, n);
    host[n] = '\0';
    memset(out, 0, sizeof(*out));
    if (n == 0 || (host[0] == '[' && host[n - 1] == ']')) {
        host[n ? n - 1 : 0] = '\0';
        out->v6.sin6_family = AF_INET6;
        out->v6.sin6_port = port;
        out->v6.sin6_addr = in6addr_any;
        return n == 0 || inet_pton(AF_INET6, host + 1, &out->v6.sin6_addr) == 1
                   ? 0
                   : bad_address(text, err);
    }
    out->v4.sin_family = AF_INET;
    out->v4.sin_port = port;
    return inet_pton(AF_INET, host, &out->v4.sin_addr) == 1 ? 0 : bad_address(text, err);
}

static int open_socket(const union address *a, bool both_families, int *out)
{
    int on = 1, v6only = both_families ? 0 : 1, fd;
    socklen_t len = a->any.sa_family == AF_INET6 ? sizeof(a->v6) : sizeof(a->v4);

    fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (a->any.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only));
    if (bind(fd, &a->any, len) < 0 || listen(fd, SOMAXCONN) < 0) {
        int os = errno;

        close(fd);
        return os;
    }
    *out = fd;
    return 0;
}

static int bind_address(const char *text, int *fd, unsigned *port, struct lh_err *err)
{
    union address a, bound;
    socklen_t len = sizeof(bound);
    bool both = text[0] == ':';
    int rc, os;

    rc = parse_address(text, &a, err);
    if (rc < 0)
        return rc;
    os = open_socket(&a, both, fd);
    if (os && both) { /* a node without IPv6 */
        uint16_t p = a.v6.sin6_port;

        a.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = p};
        os = open_socket(&a, false, fd);
    }
    if (os)
        return lh_err_os(err, os, "listen on %s", text);
    memset(&bound, 0, sizeof(bound));
    getsockname(*fd, &bound.any, &len);
    *port = ntohs(bound.any.sa_family == AF_INET6 ? bound.v6.sin6_port : bound.v4.sin_port);
    return 0;
}

static void peer_text(const union address *a, char out[INET6_ADDRSTRLEN])
{
    char text[INET6_ADDRSTRLEN] = "";

    if (a->any.sa_family == AF_INET)
        inet_ntop(AF_INET, &a->v4.sin_addr, text, sizeof(text));
    else
        inet_ntop(AF_INET6, &a->v6.sin6_addr, text, sizeof(text));
    /* IPv4 through a socket for both families. */
    snprintf(out, INET6_ADDRSTRLEN, "%s", strncmp(text, "::ffff:", 7) == 0 ? text + 7 : text);
}

static void admit(struct lh_listener *l, int fd, const union address *from)
{
    char peer[INET6_ADDRSTRLEN];
    int on = 1;

    if (l->connections >= l->opts.max_connections) {
        l->s->stats.refused++;
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    peer_text(from, peer);
    if (serve_conn_new(l, fd, peer) < 0)
        l->s->stats.refused++;
    else
        l->s->stats.accepted++;
}

/* False when nobody is waiting, or nobody more can be taken. */
static bool accept_one(struct lh_listener *l)
{
    union address from = {0};
    socklen_t len = sizeof(from);
    int fd = accept4(l->fd, &from.any, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd >= 0) {
        admit(l, fd, &from);
        return true;
    }
    /* The connection stays in the queue, so the socket stays readable: no busy waiting. */
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        lh_poll_set(l->poll, 0, NULL);
        lh_timer_in(l->pause, PAUSE_MS);
    }
    return errno == ECONNABORTED || errno == EINTR;
}

static void on_acceptable(void *arg, int events, int os)
{
    struct lh_listener *l = arg;

    (void)events;
    (void)os;
    for (int i = 0; i < ACCEPTS_PER_TURN && l->fd >= 0; i++) {
        if (!accept_one(l))
            return;
    }
}

void serve_listener_accept_rest(struct lh_listener *l)
{
    for (unsigned i = 0; i < l->opts.max_connections && l->fd >= 0; i++) {
        if (!accept_one(l))
            return;
    }
}

static void on_pause_over(void *arg)
{
    struct lh_listener *l = arg;

    if (l->poll && lh_poll_set(l->poll, LH_POLL_IN, NULL) < 0)
        lh_timer_in(l->pause, PAUSE_MS);
}

static int vhost_new(struct lh_listener *l, struct lh_err *err)
{
    struct lws_context_creation_info info = {
        .vhost_name = l->name,
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .protocols = protocols,
        .options = l->cert_pem.n ? LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT |
                                       LWS_SERVER_OPTION_CREATE_VHOST_SSL_CTX
                                 : 0,
        .user = l,
    };

    l->vhost = lws_create_vhost(l->s->lws, &info);
    if (!l->vhost || (l->cert_pem.n && !l->ssl))
        return lh_err_set(err, LH_E_NOMEM, "cannot set up a listener");
    if (!l->ssl)
        return 0;
    /* lws would look the name up among all listeners, and so swap their certificates and their
     * demands for client certificates. */
    SSL_CTX_set_tlsext_servername_callback(l->ssl, NULL);
    return serve_tls_set_up(l, l->ssl, err);
}

static void set_limits(struct lh_listener *l)
{
    struct lh_listener_options *o = &l->opts;

    if (!o->max_connections)
        o->max_connections = SERVE_MAX_CONNECTIONS;
    if (!o->handshake_ms)
        o->handshake_ms = SERVE_HANDSHAKE_MS;
    if (!o->body_ms)
        o->body_ms = SERVE_BODY_MS;
    if (!o->idle_ms)
        o->idle_ms = SERVE_IDLE_MS;
}

static int open_listener(struct lh_listener *l, struct lh_err *err)
{
    int rc;

    /* First: whoever waits for an address that is taken tries often. */
    rc = bind_address(l->opts.address, &l->fd, &l->port, err);
    if (rc == 0)
        rc = vhost_new(l, err);
    if (rc == 0)
        rc = lh_timer_new(l->s->loop, on_pause_over, l, &l->pause, err);
    if (rc == 0)
        rc = lh_poll_new(l->s->loop, l->fd, on_acceptable, l, &l->poll, err);
    if (rc == 0)
        rc = lh_poll_set(l->poll, LH_POLL_IN, err);
    return rc;
}

int lh_server_listen(struct lh_server *s, const struct lh_listener_options *opts,
                     struct lh_listener **out, struct lh_err *err)
{
    struct lh_listener *l;
    int rc;

    if (opts->cert_pem.n && !opts->key_pem)
        return lh_err_set(err, LH_E_INVALID, "a server certificate without its key");
    l = lh_calloc(1, sizeof(*l));
    if (!l)
        return lh_err_nomem(err);
    l->s = s;
    l->fd = -1;
    l->opts = *opts;
    l->cert_pem = opts->cert_pem;
    l->key_pem = opts->key_pem;
    l->client_ca_pem = opts->client_ca_pem;
    set_limits(l);
    snprintf(l->name, sizeof(l->name), "listener%u", s->n_listeners++);
    rc = open_listener(l, err);
    l->opts.cert_pem = l->opts.client_ca_pem = l->cert_pem = l->client_ca_pem =
        (struct lh_str){NULL, 0};
    l->opts.key_pem = l->key_pem = NULL;
    l->opts.address = NULL;
    if (rc < 0) {
        serve_listener_close(l);
        if (l->vhost)
            lws_vhost_destroy(l->vhost);
        serve_listener_free(l);
        return rc;
    }
    l->next = s->listeners;
    s->listeners = l;
    *out = l;
    return 0;
}

void serve_listener_close(struct lh_listener *l)
{
    lh_poll_free(l->poll);
    l->poll = NULL;
    if (l->pause)
        lh_timer_stop(l->pause);
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
}

void serve_listener_free(struct lh_listener *l)
{
    lh_timer_free(l->pause);
    lh_free(l);
}

unsigned lh_listener_port(const struct lh_listener *l)
{
    return l->port;
}

int lh_listener_set_cert(struct lh_listener *l, struct lh_str cert_pem,
                         const struct lh_secret *key_pem, struct lh_err *err)
{
    if (!l->ssl)
        return lh_err_set(err, LH_E_INVALID, "this listener has no TLS");
    return serve_tls_set_pair(l->ssl, cert_pem, key_pem, err);
}
