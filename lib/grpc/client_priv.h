/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_GRPC_CLIENT_PRIV_H
#define LH_GRPC_CLIENT_PRIV_H

/*
 * client.c is the calls and their callbacks, client_conn.c a connection. Every callback comes from
 * the client's timer: calls that ended wait for it in `ended`, so that users may start, cancel and
 * free from inside.
 */
#include <sys/socket.h>

#include "leasehold/grpc/client.h"
#include "link.h"
#include "tls.h"
#include "wire.h"

struct lh_grpc_client_conn;

enum lh_grpc_client_state {
    LH_GRPC_CLIENT_WAITING, /* for the connection */
    LH_GRPC_CLIENT_OPEN,    /* on its stream */
    LH_GRPC_CLIENT_ENDED    /* the callback comes next */
};

struct lh_grpc_client_call {
    struct lh_grpc_client_call *prev, *next; /* in the list of its state */
    struct lh_grpc_client *client;
    struct lh_grpc_client_conn *conn; /* while OPEN */
    lh_grpc_answer_fn done;
    void *arg;
    char *method;
    char *request; /* prefix and message, until sent */
    size_t request_bytes, request_sent;
    lh_ms deadline;
    unsigned timeout_ms;
    enum lh_grpc_client_state state;
    int32_t stream_id;
    struct lh_grpc_reader reader;
    size_t head_bytes;
    unsigned http_status;
    int grpc_status; /* -1: not said yet */
    bool is_grpc;
    enum lh_grpc_status status; /* the outcome, once ENDED */
    char text[LH_GRPC_TEXT_MAX + 1];
};

struct lh_grpc_client_calls {
    struct lh_grpc_client_call *first, *last;
};

struct lh_grpc_client_conn {
    struct lh_grpc_client_conn *prev, *next;
    struct lh_grpc_client *client;
    struct lh_grpc_link link;
    struct lh_grpc_client_calls open;
    bool busy;     /* inside nghttp2 or about to flush */
    bool draining; /* takes no new calls */
};

struct lh_grpc_client {
    struct lh_loop *loop;
    char *name;            /* where to: the path, or the address */
    const char *authority; /* name's, or a constant */
    struct sockaddr_storage to;
    socklen_t to_bytes;
    struct lh_grpc_tls_context *tls; /* NULL: plain */
    size_t max_message;
    nghttp2_session_callbacks *callbacks;
    struct lh_timer *timer;
    struct lh_grpc_client_calls waiting, ended;
    struct lh_grpc_client_conn *conns; /* at most one of them takes new calls */
    lh_ms retry_at;                    /* of connecting while WAITING; INT64_MAX: not */
    lh_ms retry_delay;
    bool calling_back, doomed; /* freed from inside: whoever is calling back does it */
};

/* Connects without waiting, to the client's list. *again: the server's backlog is full. */
int lh_grpc_client_conn_open(struct lh_grpc_client *c, struct lh_grpc_client_conn **out,
                             bool *again, struct lh_err *err);
void lh_grpc_client_conn_close(struct lh_grpc_client_conn *conn, const char *why);
/* Puts a waiting call on a stream; 0, or -1: the call has ended. Nothing is sent before _flush. */
int lh_grpc_client_conn_submit(struct lh_grpc_client_conn *conn, struct lh_grpc_client_call *call);
void lh_grpc_client_conn_flush(struct lh_grpc_client_conn *conn);
/* The stream of an open call is reset and has no more to say to it; the call is the caller's. */
void lh_grpc_client_conn_drop(struct lh_grpc_client_call *call);
int lh_grpc_client_callbacks(nghttp2_session_callbacks **out, struct lh_err *err);

/* Moves it to `ended`, whatever it was; the callback follows. text may be the call's own. */
void lh_grpc_client_end(struct lh_grpc_client_call *call, enum lh_grpc_status status,
                        const char *text);
void lh_grpc_client_wake(struct lh_grpc_client *c, lh_ms when);
void lh_grpc_client_calls_add(struct lh_grpc_client_calls *list, struct lh_grpc_client_call *call);
void lh_grpc_client_calls_remove(struct lh_grpc_client_calls *list,
                                 struct lh_grpc_client_call *call);

#endif
