/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_SERVE_PRIV_H
#define LH_SERVE_PRIV_H

/*
 * The server's inside. libwebsockets carries the connections (TLS, its poll loop, writability) in
 * its raw role, and HTTP is ours (head.c): its own parser in 4.1 refuses methods that it does not
 * know, closes without a word where 431 or 413 is due, and knows no chunked bodies.
 * Listening sockets are ours too, on the guest loop: accepting is where connections are counted.
 */
#include <libwebsockets.h>
#include <openssl/ssl.h>
/* An old name of OpenSSL's hash tables; lws's headers need the old names of other things. */
#undef lh_free

#include "head.h"
#include "leasehold/core/buf.h"
#include "leasehold/serve/server.h"

enum {
    SERVE_BUFFER = 64 * 1024, /* what lws reads at once */
    SERVE_PIECE = 16 * 1024,  /* one TLS record */
    SERVE_FDS = 1152,         /* two full listeners and what lws needs itself */
    SERVE_MAX_CONNECTIONS = LH_SERVER_CONNECTIONS,
    SERVE_HANDSHAKE_MS = 5000,
    SERVE_BODY_MS = 5000,
    SERVE_IDLE_MS = 90000,
    SERVE_LINGER_MS = 2000,
    SERVE_CROWD = 16,     /* connections at once that leave memory to give back, */
    SERVE_TRIM_MS = 2000, /* which is done so long after they came or went */
    SERVE_MAX_ANSWER = 64 * 1024 * 1024,
};

enum conn_state {
    CONN_IDLE,   /* nothing of a request yet; with TLS perhaps still in the handshake */
    CONN_HEAD,   /* a head has begun */
    CONN_BODY,   /* the head is there, the body is not */
    CONN_BUSY,   /* a handler has the call, and has not answered in full */
    CONN_FLUSH,  /* the answer is complete, bytes of it are still to be sent */
    CONN_LINGER, /* our side is shut: the peer may read the answer before the socket goes */
    CONN_DEAD,
};

struct conn {
    struct lh_listener *l;
    struct conn *prev, *next;
    struct lws *wsi;
    struct lh_timer *deadline;
    enum conn_state state;
    lh_ms accepted_at;
    char *in; /* what came and was not used yet: in_n of in_room bytes */
    size_t in_n, in_room, looked_at;
    struct lh_buf out; /* sent up to out_at */
    size_t out_at;
    struct lh_call *call; /* from its head to its answer */
    const struct lh_route *route;
    struct chunked chunks;
    bool adopted, heard, close_after, paused;
    char peer[INET6_ADDRSTRLEN];
};

struct lh_call {
    struct conn *conn; /* NULL: the connection is gone, and an answer goes nowhere */
    char *head_text;
    struct head head;
    struct lh_buf body;
    bool chunked_answer, raw_answer;
};

struct lh_listener {
    struct lh_server *s;
    struct lh_listener *next;
    struct lh_listener_options opts; /* limits, routes and arg; no bytes of certificates */
    struct lws_vhost *vhost;
    SSL_CTX *ssl;                          /* the vhost's; NULL without TLS */
    struct lh_str cert_pem, client_ca_pem; /* only while the vhost is made */
    const struct lh_secret *key_pem;
    int fd;
    struct lh_poll *poll;
    struct lh_timer *pause; /* after accept had no descriptor left */
    unsigned port, connections;
    struct conn *conns;
    char name[32];
};

struct lh_server {
    struct lh_loop *loop;
    struct lws_context *lws;
    struct lh_listener *listeners;
    struct lh_server_stats stats;
    unsigned n_listeners;
    bool draining, retiring;
    struct lh_timer *drain_timer, *trim_timer;
    unsigned crowd; /* most connections at once since the last trim */
    lh_drained_fn drained;
    void *drained_arg;
    lws_sorted_usec_list_t alarm;
    time_t date_at; /* the second of date */
    char date[48];  /* a header line */
    unsigned char piece[LWS_PRE + SERVE_PIECE];
};

/* server.c */
void serve_connection_came(struct lh_server *s);
void serve_connection_gone(struct lh_server *s);

/* listener.c */
void serve_listener_free(struct lh_listener *l);
void serve_listener_close(struct lh_listener *l); /* accepts no more */
/* Those that the kernel has accepted for us: closing would reset them. */
void serve_listener_accept_rest(struct lh_listener *l);

/* tls.c */
int serve_tls_check(const struct lh_listener_options *opts, struct lh_err *err);
int serve_tls_set_up(struct lh_listener *l, SSL_CTX *ctx, struct lh_err *err);
int serve_tls_set_pair(SSL_CTX *ctx, struct lh_str cert_pem, const struct lh_secret *key_pem,
                       struct lh_err *err);

/* conn.c */
int serve_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                   size_t n);
/* Takes fd, also on failure. */
int serve_conn_new(struct lh_listener *l, int fd, const char *peer);
void serve_conn_kill(struct conn *c);
/* Between requests, and nothing of another one has come. */
bool serve_conn_is_quiet(const struct conn *c);
/* There is something in out. */
void serve_conn_send(struct conn *c);

/* call.c */
/* A call from the first n bytes of what came. 0, or the status to refuse with. */
int serve_call_new(struct conn *c, size_t n, struct lh_call **out);
void serve_call_free(struct lh_call *call);
/* Finds the route. 0, or 404, 405, 413. */
int serve_call_route(struct lh_call *call);
void serve_call_run(struct lh_call *call);
/* An answer of the server's own, before any handler; then the connection ends. */
void serve_refuse(struct conn *c, int status);

#endif
