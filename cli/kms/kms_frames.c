/* SPDX-License-Identifier: Apache-2.0 */
#include "kms_frames.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "leasehold/core/clock.h"
#include "leasehold/kmsv2/messages.h"

enum { HEAD = 9, BUFFER_MAX = 1 << 20 };

int frames_open(struct frames *f, const char *path, unsigned timeout_ms)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};

    memset(f, 0, sizeof(*f));
    f->timeout_ms = timeout_ms;
    lh_buf_init(&f->in, BUFFER_MAX);
    lh_buf_init(&f->out, BUFFER_MAX);
    f->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (f->fd < 0)
        return -1;
    if (strlen(path) >= sizeof(sa.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
    return connect(f->fd, (const struct sockaddr *)&sa, sizeof(sa));
}

void frames_close(struct frames *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
    lh_buf_done(&f->in);
    lh_buf_done(&f->out);
}

void frames_put(struct frames *f, uint8_t type, uint8_t flags, uint32_t stream, const void *p,
                size_t n)
{
    unsigned char head[HEAD] = {(unsigned char)(n >> 16),
                                (unsigned char)(n >> 8),
                                (unsigned char)n,
                                type,
                                flags,
                                (unsigned char)(stream >> 24),
                                (unsigned char)(stream >> 16),
                                (unsigned char)(stream >> 8),
                                (unsigned char)stream};

    lh_buf_put(&f->out, head, sizeof(head));
    lh_buf_put(&f->out, p, n);
}

static const char magic[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

void frames_preface(struct frames *f)
{
    lh_buf_put_z(&f->out, magic);
    frames_put(f, FRAME_SETTINGS, 0, 0, "", 0);
}

void frames_preface_with(struct frames *f, uint16_t id, uint32_t value)
{
    lh_buf_put_z(&f->out, magic);
    frames_settings(f, id, value);
}

static void big_endian(uint32_t v, unsigned char out[4])
{
    for (unsigned i = 0; i < 4; i++)
        out[i] = (unsigned char)(v >> (24 - 8 * i));
}

void frames_settings(struct frames *f, uint16_t id, uint32_t value)
{
    unsigned char bytes[6] = {(unsigned char)(id >> 8), (unsigned char)id};

    big_endian(value, bytes + 2);
    frames_put(f, FRAME_SETTINGS, 0, 0, bytes, sizeof(bytes));
}

void frames_window(struct frames *f, uint32_t stream, uint32_t n)
{
    unsigned char bytes[4];

    big_endian(n, bytes);
    frames_put(f, FRAME_WINDOW_UPDATE, 0, stream, bytes, sizeof(bytes));
}

/* A literal field, not indexed, not Huffman-coded; both shorter than 127 bytes (RFC 7541, 6.2.2).
 */
static void field(struct lh_buf *out, const char *name, const char *value)
{
    lh_buf_put_c(out, 0);
    lh_buf_put_c(out, (char)strlen(name));
    lh_buf_put_z(out, name);
    lh_buf_put_c(out, (char)strlen(value));
    lh_buf_put_z(out, value);
}

void frames_status_block(struct lh_buf *out)
{
    frames_status_block_of(out, "application/grpc");
}

void frames_status_block_of(struct lh_buf *out, const char *content_type)
{
    field(out, ":method", "POST");
    field(out, ":scheme", "http");
    field(out, ":path", LH_KMSV2_STATUS);
    field(out, ":authority", "localhost");
    field(out, "content-type", content_type);
    field(out, "user-agent", "grpc-go/1.72.2");
    field(out, "te", "trailers");
}

static uint32_t number(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void note(struct frames *f, const uint8_t *head, size_t n)
{
    uint8_t type = head[3], flags = head[4];
    uint32_t stream = number(head + 5);
    bool end = type == FRAME_RST_STREAM ||
               ((type == FRAME_DATA || type == FRAME_HEADERS) && (flags & FLAG_END_STREAM));

    if (!f->any) {
        f->first = type;
        f->first_flags = flags;
    }
    f->any = true;
    if (type == FRAME_PING && (flags & FLAG_ACK))
        f->ping_acks++;
    if (type == FRAME_SETTINGS && !(flags & FLAG_ACK))
        frames_put(f, FRAME_SETTINGS, FLAG_ACK, 0, "", 0);
    f->goaway |= type == FRAME_GOAWAY;
    f->ends += end;
    if (stream != 1)
        return;
    f->data_bytes += type == FRAME_DATA ? n : 0;
    f->headers |= type == FRAME_HEADERS;
    f->reset |= type == FRAME_RST_STREAM;
    f->ended |= end && type != FRAME_RST_STREAM;
}

static void read_some(struct frames *f)
{
    char bytes[16384];
    ssize_t n = recv(f->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    size_t at = 0;

    if (n == 0 || (n < 0 && errno != EAGAIN))
        f->closed = true;
    if (n <= 0)
        return;
    lh_buf_put(&f->in, bytes, (size_t)n);
    while (f->in.n - at >= HEAD) {
        const uint8_t *head = (const uint8_t *)f->in.p + at;
        size_t body = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];

        if (f->in.n - at < HEAD + body)
            break;
        note(f, head, body);
        at += HEAD + body;
    }
    memmove(f->in.p, f->in.p + at, f->in.n - at);
    f->in.n -= at;
}

static void write_some(struct frames *f)
{
    ssize_t n = send(f->fd, f->out.p, f->out.n, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (n < 0 && errno != EAGAIN)
        f->closed = true;
    if (n <= 0)
        return;
    memmove(f->out.p, f->out.p + n, f->out.n - (size_t)n);
    f->out.n -= (size_t)n;
}

bool frames_until(struct frames *f, bool (*cond)(const struct frames *f))
{
    lh_ms until = lh_clock_now() + f->timeout_ms, left;

    while (!cond(f) && !f->closed && (left = until - lh_clock_now()) > 0) {
        struct pollfd p = {.fd = f->fd, .events = POLLIN};

        if (f->out.n > 0)
            p.events |= POLLOUT;
        if (poll(&p, 1, (int)left) <= 0)
            continue;
        if (p.revents & POLLOUT)
            write_some(f);
        if (p.revents & (POLLIN | POLLHUP | POLLERR))
            read_some(f);
    }
    return cond(f);
}
