/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_TEST_GRPC_PEER_H
#define LH_TEST_GRPC_PEER_H

/*
 * A client made of raw frames: it sends what a test says, rules broken or not, and notes what comes
 * back. Nothing here asserts.
 */
#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "leasehold/core/buf.h"
#include "leasehold/core/loop.h"

enum { PEER_STREAMS = 64 };

struct peer_stream {
    char head[2048]; /* "name: value\n", trailers too */
    size_t n_head, data_bytes;
    unsigned heads; /* header lists */
    bool ended, reset;
    uint32_t reset_code;
    int grpc_status, http_status; /* -1: none came */
};

struct peer {
    int fd;
    struct lh_loop *loop;
    nghttp2_hd_inflater *inflater;
    struct lh_buf in, out;
    struct peer_stream streams[PEER_STREAMS]; /* by id / 2, as far as there is room */
    size_t frames, settings, ping_acks, goaways, resets;
    uint8_t first_type;
    uint32_t goaway_code;
    bool closed, deaf; /* deaf: reads nothing */
};

struct peer_field {
    const char *name, *value;
};

void peer_init(struct peer *p, struct lh_loop *loop, int fd);
void peer_done(struct peer *p);

/* Into the out buffer; peer_pump() sends it. */
void peer_greet(struct peer *p); /* magic and empty SETTINGS */
void peer_frame(struct peer *p, uint8_t type, uint8_t flags, int32_t id, const void *payload,
                size_t n);
/* A header block; names and values as they are. A NULL name ends the fields. */
void peer_block(struct lh_buf *out, const struct peer_field *fields);
void peer_head(struct peer *p, int32_t id, const char *path, uint8_t flags);
/* DATA with one message. */
void peer_message(struct peer *p, int32_t id, size_t bytes, uint8_t flags);
void peer_call(struct peer *p, int32_t id, const char *path, size_t bytes);

/* Sends what is buffered, at most step bytes a turn of the loop (0: as the socket takes it), reads
 * what comes; some turns more than needed. */
void peer_pump(struct peer *p, size_t step);
struct peer_stream *peer_stream(struct peer *p, int32_t id);

#endif
