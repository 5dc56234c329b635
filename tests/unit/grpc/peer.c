/* SPDX-License-Identifier: Apache-2.0 */
#include "peer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD_BYTES = 9, QUIET_TURNS = 40, BUFFER_MAX = 16 << 20 };

void peer_init(struct peer *p, struct lh_loop *loop, int fd)
{
    memset(p, 0, sizeof(*p));
    p->fd = fd;
    p->loop = loop;
    nghttp2_hd_inflate_new(&p->inflater);
    lh_buf_init(&p->in, BUFFER_MAX);
    lh_buf_init(&p->out, BUFFER_MAX);
    for (size_t i = 0; i < PEER_STREAMS; i++) {
        p->streams[i].grpc_status = -1;
        p->streams[i].http_status = -1;
    }
}

void peer_done(struct peer *p)
{
    if (!p->inflater)
        return;
    nghttp2_hd_inflate_del(p->inflater);
    p->inflater = NULL;
    lh_buf_done(&p->in);
    lh_buf_done(&p->out);
    if (p->fd >= 0)
        close(p->fd);
}

struct peer_stream *peer_stream(struct peer *p, int32_t id)
{
    return &p->streams[(size_t)id / 2 % PEER_STREAMS];
}

void peer_frame(struct peer *p, uint8_t type, uint8_t flags, int32_t id, const void *payload,
                size_t n)
{
    unsigned char head[HEAD_BYTES] = {(unsigned char)(n >> 16),
                                      (unsigned char)(n >> 8),
                                      (unsigned char)n,
                                      type,
                                      flags,
                                      (unsigned char)(id >> 24),
                                      (unsigned char)(id >> 16),
                                      (unsigned char)(id >> 8),
                                      (unsigned char)id};

    lh_buf_put(&p->out, head, sizeof(head));
    lh_buf_put(&p->out, payload, n);
}

void peer_greet(struct peer *p)
{
    lh_buf_put(&p->out, NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN);
    peer_frame(p, NGHTTP2_SETTINGS, 0, 0, "", 0);
}

static void put_string(struct lh_buf *out, const char *s)
{
    size_t n = strlen(s);

    if (n < 127) {
        lh_buf_put_c(out, (char)n);
    } else {
        lh_buf_put_c(out, 127);
        for (n -= 127; n >= 128; n >>= 7)
            lh_buf_put_c(out, (char)(n % 128 + 128));
        lh_buf_put_c(out, (char)n);
    }
    lh_buf_put_z(out, s);
}

void peer_block(struct lh_buf *out, const struct peer_field *fields)
{
    for (; fields->name; fields++) {
        lh_buf_put_c(out, 0); /* literal, not indexed, new name */
        put_string(out, fields->name);
        put_string(out, fields->value);
    }
}

void peer_head(struct peer *p, int32_t id, const char *path, uint8_t flags)
{
    struct peer_field fields[] = {
        {":method", "POST"},         {":scheme", "http"}, {":path", path},
        {":authority", "localhost"}, {"te", "trailers"},  {"content-type", "application/grpc"},
        {"user-agent", "raw/1.0"},   {NULL, NULL},
    };
    struct lh_buf block;

    lh_buf_init(&block, 4096);
    peer_block(&block, fields);
    peer_frame(p, NGHTTP2_HEADERS, (uint8_t)(flags | NGHTTP2_FLAG_END_HEADERS), id, block.p,
               block.n);
    lh_buf_done(&block);
}

void peer_message(struct peer *p, int32_t id, size_t bytes, uint8_t flags)
{
    size_t n = 5 + bytes, at = 0;
    char *all = calloc(1, n);

    if (!all)
        return;
    all[1] = (char)(bytes >> 24);
    all[2] = (char)(bytes >> 16);
    all[3] = (char)(bytes >> 8);
    all[4] = (char)bytes;
    do {
        size_t part = n - at < 16384 ? n - at : 16384;

        peer_frame(p, NGHTTP2_DATA, at + part == n ? flags : 0, id, all + at, part);
        at += part;
    } while (at < n);
    free(all);
}

void peer_call(struct peer *p, int32_t id, const char *path, size_t bytes)
{
    peer_head(p, id, path, 0);
    peer_message(p, id, bytes, NGHTTP2_FLAG_END_STREAM);
}

static void note_field(struct peer_stream *s, const nghttp2_nv *nv)
{
    char value[16];

    snprintf(value, sizeof(value), "%.*s", (int)nv->valuelen, (const char *)nv->value);
    if (nv->namelen == 11 && memcmp(nv->name, "grpc-status", 11) == 0)
        s->grpc_status = atoi(value);
    if (nv->namelen == 7 && memcmp(nv->name, ":status", 7) == 0)
        s->http_status = atoi(value);
    if (s->n_head + nv->namelen + nv->valuelen + 4 < sizeof(s->head))
        s->n_head += (size_t)snprintf(s->head + s->n_head, sizeof(s->head) - s->n_head,
                                      "%.*s: %.*s\n", (int)nv->namelen, (const char *)nv->name,
                                      (int)nv->valuelen, (const char *)nv->value);
}

static void note_block(struct peer *p, struct peer_stream *s, const uint8_t *block, size_t n)
{
    s->heads++;
    for (;;) {
        nghttp2_nv nv;
        int flags = 0;
        ssize_t used = nghttp2_hd_inflate_hd2(p->inflater, &nv, &flags, block, n, 1);

        if (used < 0)
            return;
        block += used;
        n -= (size_t)used;
        if (flags & NGHTTP2_HD_INFLATE_EMIT)
            note_field(s, &nv);
        if (flags & NGHTTP2_HD_INFLATE_FINAL) {
            nghttp2_hd_inflate_end_headers(p->inflater);
            return;
        }
        if (n == 0 && !(flags & NGHTTP2_HD_INFLATE_EMIT))
            return;
    }
}

static uint32_t number(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void note_frame(struct peer *p, const uint8_t *f, size_t n)
{
    struct peer_stream *s = peer_stream(p, (int32_t)number(f + 5));
    const uint8_t *payload = f + HEAD_BYTES;

    if (p->frames++ == 0)
        p->first_type = f[3];
    switch (f[3]) {
    case NGHTTP2_HEADERS:
        note_block(p, s, payload, n);
        break;
    case NGHTTP2_DATA:
        s->data_bytes += n;
        break;
    case NGHTTP2_RST_STREAM:
        p->resets++;
        s->reset = true;
        s->reset_code = number(payload);
        break;
    case NGHTTP2_SETTINGS:
        p->settings += !(f[4] & NGHTTP2_FLAG_ACK);
        break;
    case NGHTTP2_PING:
        p->ping_acks += f[4] & NGHTTP2_FLAG_ACK;
        break;
    case NGHTTP2_GOAWAY:
        p->goaways++;
        p->goaway_code = number(payload + 4);
        break;
    default:
        break;
    }
    if (f[3] <= NGHTTP2_HEADERS && (f[4] & NGHTTP2_FLAG_END_STREAM))
        s->ended = true;
}

static bool read_frames(struct peer *p)
{
    char bytes[16384];
    ssize_t n = p->deaf ? 0 : recv(p->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    size_t at = 0;

    if (p->deaf)
        return false;
    if (n == 0 || (n < 0 && errno != EAGAIN))
        p->closed = true;
    if (n <= 0)
        return false;
    lh_buf_put(&p->in, bytes, (size_t)n);
    while (p->in.n - at >= HEAD_BYTES) {
        const uint8_t *f = (const uint8_t *)p->in.p + at;
        size_t payload = (size_t)f[0] << 16 | (size_t)f[1] << 8 | f[2];

        if (p->in.n - at < HEAD_BYTES + payload)
            break;
        note_frame(p, f, payload);
        at += HEAD_BYTES + payload;
    }
    memmove(p->in.p, p->in.p + at, p->in.n - at);
    p->in.n -= at;
    return true;
}

static bool write_some(struct peer *p, size_t step)
{
    size_t want = step && step < p->out.n ? step : p->out.n;
    ssize_t n;

    if (want == 0)
        return false;
    n = send(p->fd, p->out.p, want, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
        p->closed = true;
        lh_buf_reset(&p->out);
    }
    if (n <= 0)
        return false;
    memmove(p->out.p, p->out.p + n, p->out.n - (size_t)n);
    p->out.n -= (size_t)n;
    return true;
}

void peer_pump(struct peer *p, size_t step)
{
    for (int quiet = 0; quiet < QUIET_TURNS;) {
        bool moved = write_some(p, step);

        lh_loop_turn(p->loop, 0);
        while (read_frames(p))
            moved = true;
        quiet = moved ? 0 : quiet + 1;
    }
}
