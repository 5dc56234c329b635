/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <unistd.h>

#include "leasehold/core/mem.h"
#include "server_priv.h"

/* Opaque data of the ping whose answer says that the client has seen our GOAWAY. */
static const uint8_t drain_ping[8] = {'l', 'h', 'd', 'r', 'a', 'i', 'n', '!'};

void lh_grpc_conn_wake(struct lh_grpc_conn *c, lh_ms when)
{
    if (when == INT64_MAX || c->closing)
        return;
    if (!lh_timer_is_armed(c->timer) || when < lh_timer_when(c->timer))
        lh_timer_at(c->timer, when);
}

static struct lh_grpc_call *call_of(nghttp2_session *session, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(session, stream_id);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct lh_grpc_conn *c = arg;
    struct lh_grpc_call *call;

    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    call = lh_grpc_call_new(c, frame->hd.stream_id);
    if (!call)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, call);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_bytes, const uint8_t *value, size_t value_bytes, uint8_t flags,
                     void *arg)
{
    struct lh_grpc_call *call = call_of(session, frame->hd.stream_id);

    (void)flags;
    (void)arg;
    if (call)
        lh_grpc_call_field(call, (struct lh_str){(const char *)name, name_bytes},
                           (struct lh_str){(const char *)value, value_bytes});
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
                   size_t n, void *arg)
{
    struct lh_grpc_call *call = call_of(session, stream_id);

    (void)flags;
    (void)arg;
    if (call)
        lh_grpc_call_data(call, data, n);
    return 0;
}

static void on_headers_frame(struct lh_grpc_conn *c, const nghttp2_frame *frame,
                             struct lh_grpc_call *call)
{
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        lh_grpc_call_head_end(call);
        return;
    }
    /* Trailers of a request mean nothing to us, but they are the end of it (RFC 9113, 8.1). */
    if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) &&
        nghttp2_submit_rst_stream(c->link.session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                  NGHTTP2_PROTOCOL_ERROR) != 0)
        lh_grpc_link_break(&c->link);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct lh_grpc_conn *c = arg;
    struct lh_grpc_call *call;

    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
        call = call_of(session, frame->hd.stream_id);
        if (!call)
            break;
        if (frame->hd.type == NGHTTP2_HEADERS)
            on_headers_frame(c, frame, call);
        if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
            lh_grpc_call_body_end(call);
        break;
    case NGHTTP2_RST_STREAM:
        c->server->stats.resets++;
        break;
    case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) && c->drain_notice &&
            memcmp(frame->ping.opaque_data, drain_ping, sizeof(drain_ping)) == 0)
            lh_grpc_conn_drain_final(c);
        break;
    default:
        break;
    }
    return 0;
}

/* An answer that ends the stream before the request did: tell the client to stop (RFC 9113, 8.1).
 */
static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct lh_grpc_conn *c = arg;

    if (frame->hd.type == NGHTTP2_HEADERS && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) &&
        nghttp2_session_get_stream_remote_close(session, frame->hd.stream_id) == 0 &&
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                  NGHTTP2_NO_ERROR) != 0)
        lh_grpc_link_break(&c->link);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t code, void *arg)
{
    struct lh_grpc_call *call = call_of(session, stream_id);

    (void)code;
    (void)arg;
    if (call)
        lh_grpc_call_stream_gone(call);
    return 0;
}

int lh_grpc_conn_callbacks(nghttp2_session_callbacks **out, struct lh_err *err)
{
    nghttp2_session_callbacks *cb;

    if (nghttp2_session_callbacks_new(&cb) != 0)
        return lh_err_nomem(err);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    *out = cb;
    return 0;
}

static void dispatch_ready(struct lh_grpc_conn *c)
{
    struct lh_grpc_call *call = c->open.first, *next;

    /* Nothing leaves the list meanwhile: streams close in nghttp2 only, lost calls are cancelled
     * later. */
    for (; call && c->n_ready > 0; call = next) {
        next = call->next;
        if (call->state == LH_GRPC_CALL_READY)
            lh_grpc_call_dispatch(call);
    }
}

static void expire(struct lh_grpc_conn *c)
{
    lh_ms now = lh_clock_now(), soonest = INT64_MAX;
    struct lh_grpc_call *call, *next;

    for (call = c->open.first; call; call = next) {
        next = call->next;
        if (call->deadline <= now)
            lh_grpc_call_expire(call);
        else if (call->deadline < soonest)
            soonest = call->deadline;
    }
    lh_grpc_conn_wake(c, soonest);
}

/* Everything that came of what nghttp2 read, sent or timed out; may end the connection. */
static void settle(struct lh_grpc_conn *c)
{
    bool over;

    c->busy = true;
    do {
        dispatch_ready(c);
        while (c->lost.first)
            lh_grpc_call_cancel(c->lost.first);
        lh_grpc_link_flush(&c->link);
    } while (c->lost.first);
    c->busy = false;
    over = c->link.broken || lh_grpc_link_is_over(&c->link);
    if (over)
        lh_grpc_conn_close(c);
    else if (!c->open.first)
        lh_timer_stop(c->timer);
}

static void on_after(void *arg)
{
    settle(arg);
}

static void on_gone(void *arg)
{
    lh_grpc_conn_close(arg);
}

static void on_timer(void *arg)
{
    struct lh_grpc_conn *c = arg;

    expire(c);
    settle(c);
}

static int greet(struct lh_grpc_conn *c, struct lh_err *err)
{
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, c->server->max_streams},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, LH_GRPC_MAX_HEADER_LIST},
    };

    if (nghttp2_submit_settings(c->link.session, NGHTTP2_FLAG_NONE, settings,
                                LH_ARRAY_LEN(settings)) != 0)
        return lh_err_nomem(err);
    /* At once: clients say nothing before they have seen it. */
    lh_grpc_link_flush(&c->link);
    return 0;
}

static int open_conn(struct lh_grpc_conn *c, int fd, struct lh_err *err)
{
    int rc = lh_timer_new(c->server->loop, on_timer, c, &c->timer, err);

    if (rc < 0)
        return rc;
    rc = lh_grpc_link_open(&c->link, c->server->loop, fd, c->server->callbacks, true, err);
    if (rc < 0)
        return rc;
    rc = greet(c, err);
    if (rc < 0)
        c->link.fd = -1; /* still the caller's */
    return rc;
}

int lh_grpc_conn_open(struct lh_grpc_server *s, int fd, struct lh_err *err)
{
    struct lh_grpc_conn *c = lh_calloc(1, sizeof(*c));
    int rc;

    if (!c)
        return lh_err_nomem(err);
    c->server = s;
    c->used = lh_clock_now();
    c->link.arg = c;
    c->link.after = on_after;
    c->link.gone = on_gone;
    rc = open_conn(c, fd, err);
    if (rc < 0) {
        lh_grpc_link_close(&c->link);
        lh_timer_free(c->timer);
        lh_free(c);
        return rc;
    }
    c->next = s->conns;
    if (s->conns)
        s->conns->prev = c;
    s->conns = c;
    s->n_connections++;
    s->stats.connections++;
    return 0;
}

void lh_grpc_conn_close(struct lh_grpc_conn *c)
{
    struct lh_grpc_server *s = c->server;

    c->closing = true;
    c->busy = true;
    while (c->open.first)
        lh_grpc_call_stream_gone(c->open.first);
    while (c->lost.first)
        lh_grpc_call_cancel(c->lost.first);
    if (c->prev)
        c->prev->next = c->next;
    else
        s->conns = c->next;
    if (c->next)
        c->next->prev = c->prev;
    s->n_connections--;
    lh_grpc_link_close(&c->link);
    lh_timer_free(c->timer);
    lh_free(c);
    lh_grpc_server_lost(s);
}

void lh_grpc_conn_drain_notice(struct lh_grpc_conn *c)
{
    nghttp2_session *session = c->link.session;

    c->drain_notice = true;
    if (nghttp2_submit_shutdown_notice(session) != 0 ||
        nghttp2_submit_ping(session, NGHTTP2_FLAG_NONE, drain_ping) != 0)
        lh_grpc_link_break(&c->link);
    lh_grpc_conn_wake(c, lh_clock_now());
}

void lh_grpc_conn_drain_final(struct lh_grpc_conn *c)
{
    nghttp2_session *session = c->link.session;

    if (c->drain_final)
        return;
    c->drain_final = true;
    if (nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE,
                              nghttp2_session_get_last_proc_stream_id(session), NGHTTP2_NO_ERROR,
                              NULL, 0) != 0)
        lh_grpc_link_break(&c->link);
    lh_grpc_conn_wake(c, lh_clock_now());
}

void lh_grpc_conn_evict(struct lh_grpc_conn *c)
{
    c->busy = true;
    lh_grpc_conn_drain_final(c);
    lh_grpc_link_flush(&c->link);
    lh_grpc_conn_close(c);
}
