/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_SERVE_HEAD_H
#define LH_SERVE_HEAD_H

/*
 * The head of an HTTP/1.x request (RFC 9112), and the framing of a chunked body: bytes in, views
 * out, no I/O. Strict where leniency would let two parsers see two requests in the same bytes.
 * Failures are the status to answer with.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "leasehold/core/str.h"

enum { HEAD_MAX_BYTES = 16 * 1024, HEAD_MAX_FIELDS = 96 };

struct head_field {
    struct lh_str name, value;
};

/* Views point into the text that was parsed. */
struct head {
    const char *method;
    struct lh_str path, query; /* path decoded; query as it came */
    struct head_field fields[HEAD_MAX_FIELDS];
    size_t n_fields;
    bool http11, keep_alive, expect_continue, chunked;
    uint64_t length; /* Content-Length, 0 without one */
};

/* Length of the head at the start of p, its empty line included; 0: more is needed. from: how much
 * was looked at before. */
size_t head_length(const char *p, size_t n, size_t from);
/* text[n] is a head as head_length() measured it; it is changed (decoded in place) and must live as
 * long as *out. 0, or 400, 431, 501, 505. */
int head_parse(char *text, size_t n, struct head *out);
/* Last field of that name, ASCII case ignored; {NULL, 0} if there is none. */
struct lh_str head_field(const struct head *h, const char *name);

/* Chunked body, fed in any pieces. */
enum chunk_state {
    CHUNK_SIZE,
    CHUNK_EXT,
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_TRAILER,
    CHUNK_TRAILER_LINE,
    CHUNK_TRAILER_LF,
    CHUNK_LAST_LF,
    CHUNK_DONE
};
struct chunked {
    enum chunk_state state;
    uint64_t left;
    unsigned digits;
    size_t overhead; /* framing bytes so far: extensions and trailers have a limit too */
};
/* Consumes from in up to the next piece of body: *used bytes gone, *body the piece within them
 * (possibly empty). 0, or 400. The end is state CHUNK_DONE. */
int chunked_feed(struct chunked *c, struct lh_str in, size_t *used, struct lh_str *body);

#endif
