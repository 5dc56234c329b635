/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_SERVE_SERVER_H
#define LEASEHOLD_SERVE_SERVER_H

/*
 * HTTP/1.1 and HTTPS in: a handler table over libwebsockets' own poll loop, with lh_loop as its
 * guest (style 6). One context per process, several listeners. Limits of design 7 with names; past
 * them the connection is closed or answered 413/431/408 and counted. Requests with HEAD find the
 * routes of GET. A call whose peer has gone stays valid until it is answered.
 */
#include <stdbool.h>
#include <stddef.h>

#include "leasehold/core/err.h"
#include "leasehold/core/loop.h"
#include "leasehold/core/secret.h"
#include "leasehold/core/str.h"

/* Connections of one listener, unless it says otherwise. */
enum { LH_SERVER_CONNECTIONS = 512 };

struct lh_server;
struct lh_listener;
struct lh_call; /* one request being answered */

struct lh_request {
    const char *method;
    struct lh_str path, query; /* decoded path; raw query */
    struct lh_str body;        /* borrowed until the call is answered */
    struct lh_str content_type;
    const char *peer; /* address as text */
};

/* Called on the loop with a whole request. Answer now or later, exactly once, by lh_call_answer. */
typedef void (*lh_handler_fn)(void *arg, const struct lh_request *req, struct lh_call *call);

struct lh_route {
    const char *method; /* NULL: any */
    const char *path;   /* exact, or a prefix when it ends in '*' (the first row that fits wins) */
    lh_handler_fn fn;
    size_t max_body; /* 0: no body allowed */
};

struct lh_listener_options {
    const char *address; /* "127.0.0.1:8443", ":8443", "[::1]:0" */
    const struct lh_route
        *routes; /* static storage, ended by path NULL; anything else is 404, wrong method 405 */
    void *arg;   /* to every handler */
    /* TLS if cert_pem is set (TLS 1.2+, ALPN http/1.1); PEM chain and key. */
    struct lh_str cert_pem;
    const struct lh_secret *key_pem;
    /* Client certificates: empty = not asked for; else required and verified against this bundle.
     */
    struct lh_str client_ca_pem;
    unsigned max_connections;                /* 0: 512 */
    unsigned handshake_ms, body_ms, idle_ms; /* 0: 5000, 5000, 90000 */
};

int lh_server_new(struct lh_loop *loop, struct lh_server **out,
                  struct lh_err *err); /* becomes the loop's host */
void lh_server_free(struct lh_server *s);
int lh_server_listen(struct lh_server *s, const struct lh_listener_options *opts,
                     struct lh_listener **out, struct lh_err *err);
unsigned lh_listener_port(const struct lh_listener *l);
/* New pair for new connections, without dropping one. The pair is checked first: LH_E_INVALID
 * leaves the old one. */
int lh_listener_set_cert(struct lh_listener *l, struct lh_str cert_pem,
                         const struct lh_secret *key_pem, struct lh_err *err);
/* Serve on, but with Connection: close, so that clients come back on new connections, maybe to
 * somebody else; before a drain. Closing a connection under a client that is about to write loses
 * its request. */
void lh_server_retire(struct lh_server *s);
/* Stop accepting, answer what is in flight with Connection: close; done once, when idle or after
 * grace_ms. */
typedef void (*lh_drained_fn)(void *arg);
void lh_server_drain(struct lh_server *s, unsigned grace_ms, lh_drained_fn done, void *arg);

/* Answers and ends the call; body is copied. */
void lh_call_answer(struct lh_call *call, int status, const char *content_type, struct lh_str body);
/* A longer answer in pieces (tests' fake servers): head, then pieces, then end. Chunked, unless the
 * extra headers say a Content-Length. */
void lh_call_begin(struct lh_call *call, int status, const char *content_type,
                   const char *extra_headers /* "K: v\r\n" or NULL */);
void lh_call_write(struct lh_call *call, struct lh_str piece);
void lh_call_end(struct lh_call *call);
/* Drops the connection without an answer; what was written of one goes out first. */
void lh_call_abort(struct lh_call *call);
/* A request header, ASCII case ignored, the last one of that name; borrowed until the call is
 * answered; {NULL,0} if absent. */
struct lh_str lh_call_header(const struct lh_call *call, const char *name);

struct lh_server_stats {
    unsigned long accepted, refused, requests, timeouts, too_large;
    unsigned connections;
};
void lh_server_stats(const struct lh_server *s, struct lh_server_stats *out);

#endif
