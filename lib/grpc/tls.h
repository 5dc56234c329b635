/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_GRPC_TLS_H
#define LH_GRPC_TLS_H

/*
 * TLS between bytes and bytes: no socket here, the link owns it. A context is what all connections
 * to one server share, a session one of them. TLS 1.2 or newer, ALPN h2, the server's certificate
 * checked against the given CA alone and the host's name or address.
 */
#include <stdbool.h>
#include <sys/types.h>

#include "leasehold/core/buf.h"
#include "leasehold/core/err.h"
#include "leasehold/grpc/client.h"

struct lh_grpc_tls_context;
struct lh_grpc_tls;

int lh_grpc_tls_context_new(const struct lh_grpc_tls_options *o, struct lh_grpc_tls_context **out,
                            struct lh_err *err);
void lh_grpc_tls_context_free(struct lh_grpc_tls_context *c); /* NULL is a no-op */

/* The context must outlive it. */
int lh_grpc_tls_new(struct lh_grpc_tls_context *c, struct lh_grpc_tls **out, struct lh_err *err);
void lh_grpc_tls_free(struct lh_grpc_tls *t);

/* All of these: what the peer must get goes to `out`. 0, or -1: it is over, and _why says why. */
int lh_grpc_tls_begin(struct lh_grpc_tls *t, struct lh_buf *out);
int lh_grpc_tls_feed(struct lh_grpc_tls *t, const void *wire, size_t n, struct lh_buf *out);
int lh_grpc_tls_write(struct lh_grpc_tls *t, const void *plain, size_t n, struct lh_buf *out);
/* What came out of what was fed: bytes, 0: no more now, -1: it is over. */
ssize_t lh_grpc_tls_read(struct lh_grpc_tls *t, void *plain, size_t n, struct lh_buf *out);

bool lh_grpc_tls_is_ready(const struct lh_grpc_tls *t); /* to write */
const char *
lh_grpc_tls_why(const struct lh_grpc_tls *t); /* static storage; NULL: the peer closed */

#endif
