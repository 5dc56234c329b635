/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_GRPC_WIRE_H
#define LH_GRPC_WIRE_H

/*
 * What gRPC adds to HTTP/2, as pure functions (grpc/grpc doc/PROTOCOL-HTTP2.md): messages in a
 * body, timeouts and status texts in headers. No sockets, no nghttp2.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "leasehold/core/buf.h"
#include "leasehold/core/clock.h"
#include "leasehold/core/str.h"

enum { LH_GRPC_PREFIX_BYTES = 5 };

/* What is wrong with a body; OK so far otherwise. */
enum lh_grpc_body {
    LH_GRPC_BODY_OK,
    LH_GRPC_BODY_COMPRESSED,
    LH_GRPC_BODY_BAD_FLAGS,
    LH_GRPC_BODY_TOO_BIG, /* want says how big; nothing of it is kept */
    LH_GRPC_BODY_SECOND,
    LH_GRPC_BODY_NOMEM,
    LH_GRPC_BODY_NONE,     /* only from _end */
    LH_GRPC_BODY_TRUNCATED /* only from _end */
};

/* The one message of a unary body, cut as it comes. A verdict other than OK is final. */
struct lh_grpc_reader {
    struct lh_buf message; /* wiped with it */
    size_t max, want;
    unsigned char prefix[LH_GRPC_PREFIX_BYTES];
    uint8_t n_prefix;
    enum lh_grpc_body verdict;
};

void lh_grpc_reader_init(struct lh_grpc_reader *r, size_t max);
void lh_grpc_reader_done(struct lh_grpc_reader *r);
enum lh_grpc_body lh_grpc_reader_feed(struct lh_grpc_reader *r, const void *p, size_t n);
/* The body ended: OK only after exactly one whole message, which is in r->message. */
enum lh_grpc_body lh_grpc_reader_end(struct lh_grpc_reader *r);

void lh_grpc_put_prefix(unsigned char out[LH_GRPC_PREFIX_BYTES], size_t message_bytes);

/* The value of grpc-timeout: 1 to 8 digits and one of H M S m u n. Parts of a millisecond count as
 * whole ones. false: malformed, *out untouched. */
bool lh_grpc_timeout_parse(struct lh_str s, lh_ms *out);
/* At least as long as ms, in at most 8 digits and the unit. */
const char *lh_grpc_timeout_format(unsigned ms, char out[16]);

/* A status text on the wire: what is not printable ASCII, and '%', percent-encoded. At most
 * LH_GRPC_TEXT_MAX bytes of text are taken, none cut inside a UTF-8 sequence. */
enum { LH_GRPC_TEXT_MAX = 1024 };
void lh_grpc_percent_encode(struct lh_buf *out, struct lh_str text);
/* The way back, as much as fits: '%' without two digits stays as it is; what is not UTF-8 and what
 * is a control character become '?'. */
void lh_grpc_percent_decode(struct lh_str wire, char *out, size_t size);

#endif
