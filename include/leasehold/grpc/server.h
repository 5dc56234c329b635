/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_GRPC_SERVER_H
#define LEASEHOLD_GRPC_SERVER_H

/*
 * Unary gRPC over UNIX sockets (gRPC over HTTP/2, grpc/grpc doc/PROTOCOL-HTTP2.md; RFC 9113, prior
 * knowledge), bytes in and bytes out: messages are their users' business. Handlers answer at once
 * or later, from the loop. A call whose deadline passed or whose client went away is cancelled: its
 * handler is told once, and a late answer is dropped. The listening sockets may come from another
 * process and outlive this one. Caps: message size, header list, streams and connections.
 */
#include <stdbool.h>
#include <sys/types.h>

#include "leasehold/core/clock.h"
#include "leasehold/core/err.h"
#include "leasehold/core/loop.h"
#include "leasehold/core/str.h"
#include "leasehold/grpc/status.h"

struct lh_grpc_server;
struct lh_grpc_call;

/* request: one message, borrowed until return, in memory that is wiped. The call lives until it is
 * answered (lh_grpc_reply, lh_grpc_fail), which every handler must do exactly once, also after a
 * cancellation. */
typedef void (*lh_grpc_handler_fn)(void *arg, struct lh_grpc_call *call, struct lh_str request);

struct lh_grpc_method {
    const char *path; /* "/csi.v1.Node/NodePublishVolume" */
    lh_grpc_handler_fn handler;
};

struct lh_grpc_server_options {
    struct lh_loop *loop;
    const struct lh_grpc_method *methods; /* borrowed until free; a NULL path ends the table */
    void *arg;                            /* of the handlers */
    const uid_t *peers;                   /* who may connect (SO_PEERCRED); copied */
    size_t n_peers;                       /* 0: nobody */
    size_t max_message;                   /* of a request; 0: 4 MiB */
    unsigned max_streams;                 /* at a time on one connection; 0: 250 */
    unsigned max_connections;             /* 0: 64 */
};

int lh_grpc_server_new(const struct lh_grpc_server_options *opts, struct lh_grpc_server **out,
                       struct lh_err *err);
/* Accepts on a listening SOCK_STREAM socket, owned by the server from success on. Any number of
 * times. */
int lh_grpc_server_listen(struct lh_grpc_server *s, int fd, struct lh_err *err);
/* GOAWAY, no new calls; done once when the last call is answered or limit_ms passed. Sockets that
 * listen are closed here, not unlinked. */
void lh_grpc_server_drain(struct lh_grpc_server *s, unsigned limit_ms, void (*done)(void *arg),
                          void *arg);
/* Open calls are cancelled and forgotten; calls not answered yet stay valid until they are. Not
 * from inside a handler or on_cancel; a drain's done may. */
void lh_grpc_server_free(struct lh_grpc_server *s);

/* Both end the call. message: borrowed until return. text: ASCII or UTF-8, percent-encoded on the
 * wire, cut at 1 KiB; never a secret. */
void lh_grpc_reply(struct lh_grpc_call *call, struct lh_str message);
void lh_grpc_fail(struct lh_grpc_call *call, enum lh_grpc_status status, const char *text);
/* Boot time by which the client wants its answer; INT64_MAX: no grpc-timeout was sent. */
lh_ms lh_grpc_call_deadline(const struct lh_grpc_call *call);
/* fn(arg) once when the client went away or the deadline passed; never after the answer. Of a call
 * that is cancelled already: at once. */
void lh_grpc_call_on_cancel(struct lh_grpc_call *call, void (*fn)(void *arg), void *arg);
bool lh_grpc_call_is_cancelled(const struct lh_grpc_call *call);

struct lh_grpc_server_stats {
    unsigned long connections, refused_peers, calls, failed, cancelled, resets;
};
void lh_grpc_server_stats(const struct lh_grpc_server *s, struct lh_grpc_server_stats *out);

#endif
