/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_KMS_FRAMES_H
#define LEASEHOLD_CLI_KMS_FRAMES_H

/*
 * A connection made of frames (RFC 9113), for what a polite client would never send. It knows of
 * what comes back what the frame heads say and no more: header blocks stay closed.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "leasehold/core/buf.h"

enum {
    FRAME_DATA = 0,
    FRAME_HEADERS = 1,
    FRAME_RST_STREAM = 3,
    FRAME_SETTINGS = 4,
    FRAME_PING = 6,
    FRAME_GOAWAY = 7,
    FRAME_WINDOW_UPDATE = 8,
    FRAME_CONTINUATION = 9
};
enum { SETTING_INITIAL_WINDOW = 4 };
enum { FLAG_END_STREAM = 1, FLAG_ACK = 1, FLAG_END_HEADERS = 4, FLAG_PADDED = 8 };

struct frames {
    int fd;
    unsigned timeout_ms;
    struct lh_buf in, out;
    uint8_t first, first_flags; /* of the first frame that came; valid with any */
    bool any, closed;
    unsigned ping_acks;
    size_t data_bytes;          /* of stream 1 */
    bool headers, ended, reset; /* stream 1 */
    unsigned ends;              /* streams that ended or were reset */
    unsigned awaited;           /* the caller's, for its cond */
    bool goaway;
};

/* Connects; 0 or -1 with errno. */
int frames_open(struct frames *f, const char *path, unsigned timeout_ms);
void frames_close(struct frames *f);

/* Into the out buffer. */
void frames_preface(struct frames *f);
/* The same with one setting other than its default. */
void frames_preface_with(struct frames *f, uint16_t id, uint32_t value);
void frames_settings(struct frames *f, uint16_t id, uint32_t value);
/* n bytes more of DATA are welcome. */
void frames_window(struct frames *f, uint32_t stream, uint32_t n);
void frames_put(struct frames *f, uint8_t type, uint8_t flags, uint32_t stream, const void *p,
                size_t n);
/* The header block of a call of Status, as grpc-go writes it. */
void frames_status_block(struct lh_buf *out);
void frames_status_block_of(struct lh_buf *out, const char *content_type);
/* Sends what is buffered and reads until cond or the timeout or the end. */
bool frames_until(struct frames *f, bool (*cond)(const struct frames *f));

#endif
