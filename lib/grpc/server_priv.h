/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_GRPC_SERVER_PRIV_H
#define LH_GRPC_SERVER_PRIV_H

/*
 * server.c listens and drains, conn.c is one connection, call.c one stream of it. A call hangs on
 * its connection while the stream lives, and belongs to its handler between hand-over and answer;
 * whoever lets go last frees it. Handlers run when nghttp2 has returned, from conn_settle().
 */
#include "leasehold/grpc/server.h"
#include "link.h"
#include "wire.h"

struct lh_grpc_conn;

enum lh_grpc_call_state {
    LH_GRPC_CALL_HEAD, /* header fields are coming */
    LH_GRPC_CALL_BODY,
    LH_GRPC_CALL_READY,    /* whole; the handler comes next */
    LH_GRPC_CALL_HANDLED,  /* the handler has it */
    LH_GRPC_CALL_ANSWERED, /* our answer is on its way, or refused the call early */
    LH_GRPC_CALL_LOST      /* the handler has it, and nobody waits for the answer */
};

struct lh_grpc_call {
    struct lh_grpc_call *prev, *next; /* in the connection's list of open or lost calls */
    struct lh_grpc_conn *conn;        /* NULL: only the handler knows this call */
    const struct lh_grpc_method *method;
    void (*on_cancel)(void *arg);
    void *cancel_arg;
    char *reply; /* prefix and message */
    size_t reply_bytes, reply_sent;
    lh_ms deadline; /* INT64_MAX: none */
    struct lh_grpc_reader reader;
    size_t head_bytes;
    int32_t stream_id;
    enum lh_grpc_call_state state;
    /* What the head said. */
    bool has_method, has_path, is_post, has_content_type, is_grpc, bad_timeout, bad_head;
    char path[64]; /* of an unknown method: for the text */
};

struct lh_grpc_calls {
    struct lh_grpc_call *first, *last;
};

struct lh_grpc_conn {
    struct lh_grpc_conn *prev, *next;
    struct lh_grpc_server *server;
    struct lh_grpc_link link;
    struct lh_timer *timer;
    struct lh_grpc_calls open, lost;
    size_t n_ready;
    size_t buffered; /* bytes of requests not handed over yet */
    lh_ms used;      /* when the last call came or ended */
    bool busy;       /* inside settle or nghttp2: whoever answers need not flush */
    bool closing;
    bool drain_notice, drain_final;
};

struct lh_grpc_listener {
    struct lh_grpc_listener *next;
    struct lh_grpc_server *server;
    struct lh_poll *poll;
    int fd;
};

struct lh_grpc_server {
    struct lh_loop *loop;
    const struct lh_grpc_method *methods;
    void *arg;
    uid_t *peers;
    size_t n_peers, max_message, max_buffered;
    unsigned max_streams, max_connections, n_connections;
    nghttp2_session_callbacks *callbacks;
    struct lh_grpc_listener *listeners;
    struct lh_grpc_conn *conns;
    struct lh_timer *accept_timer, *drain_timer;
    bool paused, draining, drained;
    lh_ms drain_final, drain_end; /* INT64_MAX: was already */
    void (*drain_done)(void *arg);
    void *drain_arg;
    struct lh_grpc_server_stats stats;
};

/* A connected socket, owned from success on. Closed by us if its peer may not connect: that is no
 * failure. */
int lh_grpc_server_adopt(struct lh_grpc_server *s, int fd, struct lh_err *err);
/* From conn.c: one connection less. */
void lh_grpc_server_lost(struct lh_grpc_server *s);

int lh_grpc_conn_callbacks(nghttp2_session_callbacks **out, struct lh_err *err);
int lh_grpc_conn_open(struct lh_grpc_server *s, int fd, struct lh_err *err);
void lh_grpc_conn_close(struct lh_grpc_conn *c); /* its calls are cancelled */
/* The same for one without calls, whose client is told that a new one of its was not looked at. */
void lh_grpc_conn_evict(struct lh_grpc_conn *c);
void lh_grpc_conn_drain_notice(struct lh_grpc_conn *c);
void lh_grpc_conn_drain_final(struct lh_grpc_conn *c);
/* Runs conn_settle() from the loop, at when at the latest. */
void lh_grpc_conn_wake(struct lh_grpc_conn *c, lh_ms when);

/* call.c. _new: NULL when memory is out. */
struct lh_grpc_call *lh_grpc_call_new(struct lh_grpc_conn *c, int32_t stream_id);
void lh_grpc_call_field(struct lh_grpc_call *call, struct lh_str name, struct lh_str value);
void lh_grpc_call_head_end(struct lh_grpc_call *call);
void lh_grpc_call_data(struct lh_grpc_call *call, const void *p, size_t n);
void lh_grpc_call_body_end(struct lh_grpc_call *call);
/* Hands it to its handler. */
void lh_grpc_call_dispatch(struct lh_grpc_call *call);
/* The stream is gone: freed, or put among the lost ones if a handler has it. */
void lh_grpc_call_stream_gone(struct lh_grpc_call *call);
/* The deadline passed. */
void lh_grpc_call_expire(struct lh_grpc_call *call);
/* Lets go of a lost call, and tells its handler. */
void lh_grpc_call_cancel(struct lh_grpc_call *call);

void lh_grpc_calls_add(struct lh_grpc_calls *list, struct lh_grpc_call *call);
void lh_grpc_calls_remove(struct lh_grpc_calls *list, struct lh_grpc_call *call);

#endif
