/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "leasehold/core/mem.h"
#include "client_priv.h"

/* Over TCP: pages of megabytes are not to wait for a window of 64 KiB at each turn. */
enum { STREAM_WINDOW = 1 << 20, CONNECTION_WINDOW = 4 << 20 };

static struct lh_grpc_client_call *call_of(nghttp2_session *session, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(session, stream_id);
}

void lh_grpc_client_conn_drop(struct lh_grpc_client_call *call)
{
    struct lh_grpc_link *link = &call->conn->link;

    nghttp2_session_set_stream_user_data(link->session, call->stream_id, NULL);
    if (nghttp2_submit_rst_stream(link->session, NGHTTP2_FLAG_NONE, call->stream_id,
                                  NGHTTP2_CANCEL) != 0)
        lh_grpc_link_break(link);
}

static void end_early(struct lh_grpc_client_call *call, enum lh_grpc_status status,
                      const char *text)
{
    lh_grpc_client_conn_drop(call);
    lh_grpc_client_end(call, status, text);
}

static bool to_number(struct lh_str value, unsigned max, unsigned *out)
{
    long long n;

    if (!lh_str_to_i64(value, 0, max, &n))
        return false;
    *out = (unsigned)n;
    return true;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_bytes, const uint8_t *value, size_t value_bytes, uint8_t flags,
                     void *arg)
{
    struct lh_grpc_client_call *call = call_of(session, frame->hd.stream_id);
    struct lh_str n = {(const char *)name, name_bytes}, v = {(const char *)value, value_bytes};
    unsigned status;

    (void)flags;
    (void)arg;
    if (!call)
        return 0;
    call->head_bytes += n.n + v.n + LH_GRPC_FIELD_OVERHEAD;
    if (call->head_bytes > LH_GRPC_MAX_HEADER_LIST) {
        end_early(call, LH_GRPC_RESOURCE_EXHAUSTED, "the answer's header list is too large");
    } else if (lh_str_eqz(n, ":status")) {
        if (to_number(v, 999, &status))
            call->http_status = status;
    } else if (lh_str_eqz(n, "content-type")) {
        call->is_grpc = lh_str_starts(v, LH_STR("application/grpc"));
    } else if (lh_str_eqz(n, "grpc-status")) {
        call->grpc_status =
            to_number(v, LH_GRPC_UNAUTHENTICATED, &status) ? (int)status : (int)LH_GRPC_UNKNOWN;
    } else if (lh_str_eqz(n, "grpc-message")) {
        lh_grpc_percent_decode(v, call->text, sizeof(call->text));
    }
    return 0;
}

static void refuse_body(struct lh_grpc_client_call *call, enum lh_grpc_body verdict)
{
    char text[96];

    if (verdict == LH_GRPC_BODY_TOO_BIG) {
        snprintf(text, sizeof(text), "answer of %zu bytes, at most %zu are taken",
                 call->reader.want, call->reader.max);
        end_early(call, LH_GRPC_RESOURCE_EXHAUSTED, text);
    } else if (verdict == LH_GRPC_BODY_NOMEM) {
        end_early(call, LH_GRPC_RESOURCE_EXHAUSTED, "out of memory");
    } else {
        end_early(call, LH_GRPC_INTERNAL, "the answer is not one plain message");
    }
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
                   size_t n, void *arg)
{
    struct lh_grpc_client_call *call = call_of(session, stream_id);
    enum lh_grpc_body verdict;

    (void)flags;
    (void)arg;
    if (!call || call->http_status != 200 || !call->is_grpc)
        return 0;
    verdict = lh_grpc_reader_feed(&call->reader, data, n);
    if (verdict != LH_GRPC_BODY_OK)
        refuse_body(call, verdict);
    return 0;
}

/* grpc/grpc doc/http-grpc-status-mapping.md: an answer that is not gRPC's. */
static enum lh_grpc_status status_of_http(unsigned http)
{
    switch (http) {
    case 400:
        return LH_GRPC_INTERNAL;
    case 401:
        return LH_GRPC_UNAUTHENTICATED;
    case 403:
        return LH_GRPC_PERMISSION_DENIED;
    case 404:
        return LH_GRPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return LH_GRPC_UNAVAILABLE;
    default:
        return LH_GRPC_UNKNOWN;
    }
}

/* grpc/grpc doc/PROTOCOL-HTTP2.md, "Errors". */
static enum lh_grpc_status status_of_reset(uint32_t code)
{
    switch (code) {
    case NGHTTP2_REFUSED_STREAM:
        return LH_GRPC_UNAVAILABLE;
    case NGHTTP2_CANCEL:
        return LH_GRPC_CANCELLED;
    case NGHTTP2_ENHANCE_YOUR_CALM:
        return LH_GRPC_RESOURCE_EXHAUSTED;
    case NGHTTP2_INADEQUATE_SECURITY:
        return LH_GRPC_PERMISSION_DENIED;
    default:
        return LH_GRPC_INTERNAL;
    }
}

/* The stream is closed: what the answer was. */
static void judge(struct lh_grpc_client_call *call, uint32_t code)
{
    char text[96];

    if (call->grpc_status > 0) {
        lh_grpc_client_end(call, (enum lh_grpc_status)call->grpc_status, call->text);
    } else if (call->http_status != 0 && (call->http_status != 200 || !call->is_grpc)) {
        snprintf(text, sizeof(text), "the answer is not gRPC (HTTP status %u)", call->http_status);
        lh_grpc_client_end(call, status_of_http(call->http_status), text);
    } else if (call->grpc_status < 0) {
        snprintf(text, sizeof(text), "the server ended the call without a status (code %u)",
                 (unsigned)code);
        lh_grpc_client_end(call, status_of_reset(code), text);
    } else if (lh_grpc_reader_end(&call->reader) != LH_GRPC_BODY_OK) {
        lh_grpc_client_end(call, LH_GRPC_INTERNAL, "the answer has no whole message");
    } else {
        lh_grpc_client_end(call, LH_GRPC_OK, "");
    }
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t code, void *arg)
{
    struct lh_grpc_client_call *call = call_of(session, stream_id);

    (void)arg;
    if (call) {
        nghttp2_session_set_stream_user_data(session, stream_id, NULL);
        judge(call, code);
    }
    return 0;
}

/* An answer may be whole before the server has read the request: no need to send the rest. */
static void on_end_of_answer(struct lh_grpc_client_conn *conn, int32_t stream_id)
{
    nghttp2_session *session = conn->link.session;

    if (nghttp2_session_get_stream_local_close(session, stream_id) == 0 &&
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream_id, NGHTTP2_NO_ERROR) != 0)
        lh_grpc_link_break(&conn->link);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct lh_grpc_client_conn *conn = arg;

    (void)session;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        conn->draining = true;
    if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        on_end_of_answer(conn, frame->hd.stream_id);
    return 0;
}

int lh_grpc_client_callbacks(nghttp2_session_callbacks **out, struct lh_err *err)
{
    nghttp2_session_callbacks *cb;

    if (nghttp2_session_callbacks_new(&cb) != 0)
        return lh_err_nomem(err);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    *out = cb;
    return 0;
}

void lh_grpc_client_conn_flush(struct lh_grpc_client_conn *conn)
{
    if (conn->busy)
        return;
    conn->busy = true;
    lh_grpc_link_flush(&conn->link);
    conn->busy = false;
}

static void on_gone(void *arg)
{
    struct lh_grpc_client_conn *conn = arg;

    lh_grpc_client_conn_close(conn, conn->link.why[0] ? conn->link.why : "the connection was lost");
}

static void on_after(void *arg)
{
    struct lh_grpc_client_conn *conn = arg;

    lh_grpc_client_conn_flush(conn);
    if (conn->link.broken || lh_grpc_link_is_over(&conn->link))
        on_gone(conn);
}

/* 0, 1: try again, or -LH_E_*. A UNIX socket connects at once or not at all; over TCP the first
 * bytes that are to be sent wait for it, and the link breaks if it fails. */
static int connect_socket(const struct lh_grpc_client *c, int fd, struct lh_err *err)
{
    const int on = 1;

    if (c->to.ss_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(fd, (const struct sockaddr *)&c->to, c->to_bytes) == 0 || errno == EINPROGRESS)
        return 0;
    if (errno == EAGAIN || errno == EINTR)
        return 1;
    return lh_err_os(err, errno, "connect to %s", c->name);
}

static int greet(struct lh_grpc_client_conn *conn, struct lh_err *err)
{
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, LH_GRPC_MAX_HEADER_LIST},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
    };
    bool tcp = conn->client->to.ss_family != AF_UNIX;

    if (nghttp2_submit_settings(conn->link.session, NGHTTP2_FLAG_NONE, settings,
                                LH_ARRAY_LEN(settings) - !tcp) != 0)
        return lh_err_nomem(err);
    if (tcp && nghttp2_session_set_local_window_size(conn->link.session, NGHTTP2_FLAG_NONE, 0,
                                                     CONNECTION_WINDOW) != 0)
        return lh_err_nomem(err);
    return 0;
}

static int open_conn(struct lh_grpc_client_conn *conn, int fd, bool *again, struct lh_err *err)
{
    struct lh_grpc_client *c = conn->client;
    int rc = connect_socket(c, fd, err);

    if (rc > 0) {
        *again = true;
        return lh_err_set(err, LH_E_BUSY, "%s has too many callers", c->name);
    }
    if (rc == 0 && c->tls)
        rc = lh_grpc_tls_new(c->tls, &conn->link.tls, err);
    if (rc < 0)
        return rc;
    if (c->to.ss_family != AF_UNIX)
        conn->link.peer = c->name;
    rc = lh_grpc_link_open(&conn->link, c->loop, fd, c->callbacks, false, err);
    if (rc < 0)
        return rc;
    rc = greet(conn, err);
    if (rc < 0)
        conn->link.fd = -1; /* still the caller's */
    return rc;
}

int lh_grpc_client_conn_open(struct lh_grpc_client *c, struct lh_grpc_client_conn **out,
                             bool *again, struct lh_err *err)
{
    struct lh_grpc_client_conn *conn = lh_calloc(1, sizeof(*conn));
    int fd, rc;

    if (!conn)
        return lh_err_nomem(err);
    conn->client = c;
    conn->link.arg = conn;
    conn->link.after = on_after;
    conn->link.gone = on_gone;
    fd = socket(c->to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        lh_free(conn);
        return lh_err_os(err, errno, "make a socket");
    }
    conn->link.fd = -1;
    rc = open_conn(conn, fd, again, err);
    if (rc < 0) {
        lh_grpc_link_close(&conn->link);
        close(fd);
        lh_free(conn);
        return rc;
    }
    conn->next = c->conns;
    if (c->conns)
        c->conns->prev = conn;
    c->conns = conn;
    *out = conn;
    return 0;
}

void lh_grpc_client_conn_close(struct lh_grpc_client_conn *conn, const char *why)
{
    struct lh_grpc_client *c = conn->client;

    while (conn->open.first)
        lh_grpc_client_end(conn->open.first, LH_GRPC_UNAVAILABLE, why);
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        c->conns = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    lh_grpc_link_close(&conn->link);
    lh_free(conn);
}

static ssize_t read_request(nghttp2_session *session, int32_t stream_id, uint8_t *buf,
                            size_t length, uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct lh_grpc_client_call *call = call_of(session, stream_id);
    size_t n;

    (void)source;
    (void)arg;
    if (!call || !call->request)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    n = call->request_bytes - call->request_sent;
    if (n > length)
        n = length;
    memcpy(buf, call->request + call->request_sent, n);
    call->request_sent += n;
    if (call->request_sent == call->request_bytes) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        lh_free(call->request);
        call->request = NULL;
    }
    return (ssize_t)n;
}

/* What is left of the call's time, as sent. */
static const char *timeout_of(const struct lh_grpc_client_call *call, char out[16])
{
    lh_ms left = call->deadline - lh_clock_now();

    return lh_grpc_timeout_format(left > 1 ? (unsigned)left : 1, out);
}

int lh_grpc_client_conn_submit(struct lh_grpc_client_conn *conn, struct lh_grpc_client_call *call)
{
    nghttp2_data_provider body = {.read_callback = read_request};
    char timeout[16];
    nghttp2_nv nv[8];
    size_t n = 0;
    int32_t id;

    nv[n++] = lh_grpc_nv(":method", "POST");
    nv[n++] = lh_grpc_nv(":scheme", conn->client->tls ? "https" : "http");
    nv[n++] = lh_grpc_nv(":path", call->method);
    nv[n++] = lh_grpc_nv(":authority", conn->client->authority);
    nv[n++] = lh_grpc_nv("content-type", "application/grpc");
    nv[n++] = lh_grpc_nv("te", "trailers");
    nv[n++] = lh_grpc_nv("user-agent", "grpc-c-leasehold/" LH_VERSION);
    if (call->timeout_ms > 0)
        nv[n++] = lh_grpc_nv("grpc-timeout", timeout_of(call, timeout));
    id = nghttp2_submit_request(conn->link.session, NULL, nv, n, &body, call);
    if (id < 0) {
        /* Out of memory, or of stream ids: the next call makes a new connection. */
        conn->draining = true;
        lh_grpc_client_end(call, LH_GRPC_UNAVAILABLE, "the request could not be sent");
        return -1;
    }
    call->stream_id = id;
    call->conn = conn;
    call->state = LH_GRPC_CLIENT_OPEN;
    lh_grpc_client_calls_remove(&conn->client->waiting, call);
    lh_grpc_client_calls_add(&conn->open, call);
    return 0;
}
