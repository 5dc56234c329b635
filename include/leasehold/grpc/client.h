/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_GRPC_CLIENT_H
#define LEASEHOLD_GRPC_CLIENT_H

/*
 * The other half: unary calls to one server over a UNIX socket, or over TCP with or without TLS.
 * One connection, made at the first call and again at the next call after it was lost; calls share
 * it. Nothing is retried here, and no name is resolved.
 */
#include "leasehold/core/err.h"
#include "leasehold/core/loop.h"
#include "leasehold/core/secret.h"
#include "leasehold/core/str.h"
#include "leasehold/grpc/status.h"

struct lh_grpc_client;
struct lh_grpc_client_call;

/* Once, from the loop. status LH_GRPC_OK: message is the answer, borrowed until return, and text is
 * empty; else text is what the server said (or what went wrong here), for people. */
typedef void (*lh_grpc_answer_fn)(void *arg, enum lh_grpc_status status, struct lh_str message,
                                  const char *text);

/* TLS 1.2 or newer, ALPN h2. The server's certificate must come from ca_pem and name host. */
struct lh_grpc_tls_options {
    struct lh_str ca_pem;   /* required: no other CA is trusted */
    struct lh_str cert_pem; /* of this client, chain behind it; empty: none */
    const struct lh_secret *key_pem;
    const char *host; /* DNS name or IP address, as in the URL */
};

struct lh_grpc_client_options {
    struct lh_loop *loop;
    const char *path;                      /* of a UNIX socket; or: */
    const char *address;                   /* "127.0.0.1:2379", "[::1]:2379": no name */
    const struct lh_grpc_tls_options *tls; /* with address; NULL: plain */
    size_t max_message;                    /* of an answer; 0: 4 MiB */
};

/* opts are copied. LH_E_INVALID: a path or an address, a CA, a certificate or its key is wrong. */
int lh_grpc_client_new(const struct lh_grpc_client_options *opts, struct lh_grpc_client **out,
                       struct lh_err *err);
void lh_grpc_client_free(struct lh_grpc_client *c); /* cancels its calls; they do not call back */

/* method: "/v2.KeyManagementService/Status". message is copied. timeout_ms is sent as grpc-timeout
 * and kept here, connecting included; 0: none. A start that fails does not call back. */
int lh_grpc_client_start(struct lh_grpc_client *c, const char *method, struct lh_str message,
                         unsigned timeout_ms, lh_grpc_answer_fn done, void *arg,
                         struct lh_grpc_client_call **out, struct lh_err *err);
void lh_grpc_client_cancel(struct lh_grpc_client_call *call); /* NULL is a no-op */

#endif
