/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_GRPC_LINK_H
#define LH_GRPC_LINK_H

/*
 * One HTTP/2 connection: a socket and an nghttp2 session on the loop, the same for both halves. The
 * socket may be connecting still; with tls the bytes between the two go through it.
 * Bytes that the peer does not take stop the reading too, so that no answers (to pings above all)
 * pile up here. Nothing is torn down from inside: after() and gone() come from the loop, with no
 * frame of nghttp2 below them.
 */
#include <nghttp2/nghttp2.h>
#include <stdbool.h>

#include "leasehold/core/buf.h"
#include "leasehold/core/err.h"
#include "leasehold/core/loop.h"

struct lh_grpc_tls;

struct lh_grpc_link {
    int fd; /* owned */
    struct lh_poll *poll;
    nghttp2_session *session;
    struct lh_buf unsent;
    struct lh_grpc_tls *tls; /* owned; NULL: plain. Set before _open */
    const char *peer;        /* borrowed; NULL: `why` stays empty. Set before _open */
    char why[200];           /* it broke, for people; may be empty */
    int events;
    bool broken;
    /* After bytes were read, or there was room to write; may end the link. */
    void (*after)(void *arg);
    /* The other end is gone, or cannot be spoken to; ends the link. */
    void (*gone)(void *arg);
    void *arg;
};

/* callbacks and is_server make the session, whose user_data is arg. fd is owned from success on. */
int lh_grpc_link_open(struct lh_grpc_link *l, struct lh_loop *loop, int fd,
                      const nghttp2_session_callbacks *callbacks, bool is_server,
                      struct lh_err *err);
void lh_grpc_link_close(struct lh_grpc_link *l); /* also after a failed open */
/* Sends what the session has, as far as the socket takes it. A link that turns out broken says so
 * by gone(), later. */
void lh_grpc_link_flush(struct lh_grpc_link *l);
/* For callers to whom nghttp2 failed: gone() follows from the loop. */
void lh_grpc_link_break(struct lh_grpc_link *l);
/* Nothing more will be said on it, by either side. */
bool lh_grpc_link_is_over(const struct lh_grpc_link *l);

/* A header field; both strings live until the submit call returns. */
nghttp2_nv lh_grpc_nv(const char *name, const char *value);

/* What one header list may hold (RFC 9113, 6.5.2): names, values and 32 bytes a field. */
enum { LH_GRPC_MAX_HEADER_LIST = 16384, LH_GRPC_FIELD_OVERHEAD = 32 };

#endif
