/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "leasehold/core/mem.h"
#include "server_priv.h"

/* A status text of LH_GRPC_TEXT_MAX bytes, every one encoded. */
enum { ENCODED_MAX = 3 * LH_GRPC_TEXT_MAX };

void lh_grpc_calls_add(struct lh_grpc_calls *list, struct lh_grpc_call *call)
{
    call->prev = list->last;
    call->next = NULL;
    if (list->last)
        list->last->next = call;
    else
        list->first = call;
    list->last = call;
}

void lh_grpc_calls_remove(struct lh_grpc_calls *list, struct lh_grpc_call *call)
{
    if (call->prev)
        call->prev->next = call->next;
    else
        list->first = call->next;
    if (call->next)
        call->next->prev = call->prev;
    else
        list->last = call->prev;
}

struct lh_grpc_call *lh_grpc_call_new(struct lh_grpc_conn *c, int32_t stream_id)
{
    struct lh_grpc_call *call = lh_calloc(1, sizeof(*call));

    if (!call)
        return NULL;
    call->conn = c;
    call->stream_id = stream_id;
    call->deadline = INT64_MAX;
    lh_grpc_reader_init(&call->reader, c->server->max_message);
    lh_grpc_calls_add(&c->open, call);
    c->used = lh_clock_now();
    c->server->stats.calls++;
    return call;
}

static void drop_body(struct lh_grpc_call *call)
{
    call->conn->buffered -= call->reader.message.n;
    lh_grpc_reader_done(&call->reader);
}

static void call_free(struct lh_grpc_call *call)
{
    lh_grpc_reader_done(&call->reader);
    lh_free(call->reply);
    lh_free(call);
}

/* What is left when even the answer fails: the stream, or the connection. */
static void reset_stream(struct lh_grpc_call *call, uint32_t code)
{
    struct lh_grpc_link *link = &call->conn->link;

    if (nghttp2_submit_rst_stream(link->session, NGHTTP2_FLAG_NONE, call->stream_id, code) != 0)
        lh_grpc_link_break(link);
}

/* An end without a message, in one header list. */
static void submit_end(struct lh_grpc_call *call, const char *http, enum lh_grpc_status status,
                       struct lh_str text, bool say_encodings)
{
    struct lh_buf encoded;
    char number[16];
    nghttp2_nv nv[5];
    size_t n = 0;

    lh_buf_init(&encoded, ENCODED_MAX);
    lh_grpc_percent_encode(&encoded, text);
    snprintf(number, sizeof(number), "%d", (int)status);
    nv[n++] = lh_grpc_nv(":status", http);
    nv[n++] = lh_grpc_nv("content-type", "application/grpc");
    nv[n++] = lh_grpc_nv("grpc-status", number);
    if (encoded.n > 0)
        nv[n++] = lh_grpc_nv("grpc-message", lh_buf_peek(&encoded).p);
    if (say_encodings)
        nv[n++] = lh_grpc_nv("grpc-accept-encoding", "identity");
    if (nghttp2_submit_response(call->conn->link.session, call->stream_id, nv, n, NULL) != 0)
        reset_stream(call, NGHTTP2_INTERNAL_ERROR);
    lh_buf_done(&encoded);
}

/* Our own refusal, before a handler has the call. */
static void refuse_as(struct lh_grpc_call *call, const char *http, enum lh_grpc_status status,
                      const char *text)
{
    drop_body(call);
    if (call->state == LH_GRPC_CALL_READY)
        call->conn->n_ready--;
    call->state = LH_GRPC_CALL_ANSWERED;
    call->conn->server->stats.failed++;
    submit_end(call, http, status, lh_str(text), call->reader.verdict == LH_GRPC_BODY_COMPRESSED);
}

static void refuse(struct lh_grpc_call *call, enum lh_grpc_status status, const char *text)
{
    refuse_as(call, "200", status, text);
}

static void find_method(struct lh_grpc_call *call, struct lh_str path)
{
    for (const struct lh_grpc_method *m = call->conn->server->methods; m->path; m++) {
        if (lh_str_eqz(path, m->path)) {
            call->method = m;
            return;
        }
    }
    snprintf(call->path, sizeof(call->path), "%.*s", path.n < 60 ? (int)path.n : 60, path.p);
}

/* application/grpc, and what may follow it: our handlers take bytes of protobuf only. */
static bool is_grpc_type(struct lh_str value)
{
    struct lh_str type, params;

    lh_str_cut(value, ';', &type, &params);
    type = lh_str_trim(type);
    return lh_str_eqz(type, "application/grpc") || lh_str_eqz(type, "application/grpc+proto");
}

static void read_timeout(struct lh_grpc_call *call, struct lh_str value)
{
    lh_ms timeout;

    if (lh_grpc_timeout_parse(value, &timeout))
        call->deadline = lh_clock_now() + timeout;
    else
        call->bad_timeout = true;
}

void lh_grpc_call_field(struct lh_grpc_call *call, struct lh_str name, struct lh_str value)
{
    if (call->state != LH_GRPC_CALL_HEAD)
        return;
    call->head_bytes += name.n + value.n + LH_GRPC_FIELD_OVERHEAD;
    if (call->head_bytes > LH_GRPC_MAX_HEADER_LIST) {
        refuse(call, LH_GRPC_RESOURCE_EXHAUSTED, "the header list is larger than 16384 bytes");
    } else if (lh_str_eqz(name, ":method")) {
        call->bad_head |= call->has_method;
        call->has_method = true;
        call->is_post = lh_str_eqz(value, "POST");
    } else if (lh_str_eqz(name, ":path")) {
        call->bad_head |= call->has_path;
        call->has_path = true;
        find_method(call, value);
    } else if (lh_str_eqz(name, "content-type")) {
        call->bad_head |= call->has_content_type;
        call->has_content_type = true;
        call->is_grpc = is_grpc_type(value);
    } else if (lh_str_eqz(name, "grpc-timeout")) {
        read_timeout(call, value);
    }
}

void lh_grpc_call_head_end(struct lh_grpc_call *call)
{
    char text[128];

    if (call->state != LH_GRPC_CALL_HEAD)
        return;
    call->state = LH_GRPC_CALL_BODY;
    if (call->bad_head || !call->has_method || !call->has_path) {
        call->state = LH_GRPC_CALL_ANSWERED;
        call->conn->server->stats.failed++;
        reset_stream(call, NGHTTP2_PROTOCOL_ERROR);
    } else if (!call->is_post) {
        refuse_as(call, "405", LH_GRPC_INTERNAL, "a call is a POST");
    } else if (!call->is_grpc) {
        refuse_as(call, "415", LH_GRPC_UNKNOWN, "the content-type of a call is application/grpc");
    } else if (!call->method) {
        snprintf(text, sizeof(text), "unknown method %s", call->path);
        refuse(call, LH_GRPC_UNIMPLEMENTED, text);
    } else if (call->bad_timeout) {
        refuse(call, LH_GRPC_INTERNAL, "malformed grpc-timeout");
    } else {
        lh_grpc_conn_wake(call->conn, call->deadline);
    }
}

static void refuse_body(struct lh_grpc_call *call, enum lh_grpc_body verdict)
{
    static const struct {
        enum lh_grpc_status status;
        const char *text;
    } say[] = {
        [LH_GRPC_BODY_COMPRESSED] = {LH_GRPC_UNIMPLEMENTED, "compressed messages are not taken"},
        [LH_GRPC_BODY_BAD_FLAGS] = {LH_GRPC_INTERNAL, "unknown flags of a message"},
        [LH_GRPC_BODY_SECOND] = {LH_GRPC_UNIMPLEMENTED, "the method takes one message, not more"},
        [LH_GRPC_BODY_NOMEM] = {LH_GRPC_RESOURCE_EXHAUSTED, "out of memory"},
        [LH_GRPC_BODY_NONE] = {LH_GRPC_UNIMPLEMENTED, "the method takes a message, none came"},
        [LH_GRPC_BODY_TRUNCATED] = {LH_GRPC_INTERNAL, "the message ends early"},
    };
    char text[96];

    if (verdict == LH_GRPC_BODY_TOO_BIG) {
        snprintf(text, sizeof(text), "message of %zu bytes, at most %zu are taken",
                 call->reader.want, call->reader.max);
        refuse(call, LH_GRPC_RESOURCE_EXHAUSTED, text);
        return;
    }
    refuse(call, say[verdict].status, say[verdict].text);
}

void lh_grpc_call_data(struct lh_grpc_call *call, const void *p, size_t n)
{
    struct lh_grpc_conn *c = call->conn;
    enum lh_grpc_body verdict;
    size_t before = call->reader.message.n;

    if (call->state != LH_GRPC_CALL_BODY)
        return;
    verdict = lh_grpc_reader_feed(&call->reader, p, n);
    c->buffered += call->reader.message.n;
    c->buffered -= before;
    if (verdict != LH_GRPC_BODY_OK)
        refuse_body(call, verdict);
    else if (c->buffered > c->server->max_buffered)
        refuse(call, LH_GRPC_RESOURCE_EXHAUSTED, "too many bytes of requests at a time");
}

void lh_grpc_call_body_end(struct lh_grpc_call *call)
{
    enum lh_grpc_body verdict;

    if (call->state != LH_GRPC_CALL_BODY)
        return;
    verdict = lh_grpc_reader_end(&call->reader);
    if (verdict != LH_GRPC_BODY_OK) {
        refuse_body(call, verdict);
        return;
    }
    call->state = LH_GRPC_CALL_READY;
    call->conn->n_ready++;
}

void lh_grpc_call_dispatch(struct lh_grpc_call *call)
{
    struct lh_grpc_conn *c = call->conn;
    struct lh_buf request;

    if (call->deadline <= lh_clock_now()) {
        lh_grpc_call_expire(call);
        return;
    }
    c->n_ready--;
    c->buffered -= call->reader.message.n;
    request = call->reader.message;
    lh_buf_init(&call->reader.message, 0);
    call->state = LH_GRPC_CALL_HANDLED;
    call->method->handler(c->server->arg, call, lh_buf_peek(&request));
    lh_buf_done(&request);
}

void lh_grpc_call_stream_gone(struct lh_grpc_call *call)
{
    struct lh_grpc_conn *c = call->conn;

    c->used = lh_clock_now();
    lh_grpc_calls_remove(&c->open, call);
    if (call->state == LH_GRPC_CALL_HANDLED) {
        call->state = LH_GRPC_CALL_LOST;
        lh_grpc_calls_add(&c->lost, call);
        lh_grpc_conn_wake(c, lh_clock_now());
        return;
    }
    if (call->state == LH_GRPC_CALL_READY)
        c->n_ready--;
    c->buffered -= call->reader.message.n;
    call_free(call);
}

void lh_grpc_call_expire(struct lh_grpc_call *call)
{
    struct lh_grpc_conn *c = call->conn;
    static const char text[] = "the deadline passed";

    switch (call->state) {
    case LH_GRPC_CALL_HEAD: /* a head that never ends has no deadline yet */
    case LH_GRPC_CALL_LOST:
        return;
    case LH_GRPC_CALL_BODY:
    case LH_GRPC_CALL_READY:
        refuse(call, LH_GRPC_DEADLINE_EXCEEDED, text);
        return;
    case LH_GRPC_CALL_ANSWERED: /* and not read by the client */
        call->deadline = INT64_MAX;
        reset_stream(call, NGHTTP2_CANCEL);
        return;
    case LH_GRPC_CALL_HANDLED:
        submit_end(call, "200", LH_GRPC_DEADLINE_EXCEEDED, lh_str(text), false);
        nghttp2_session_set_stream_user_data(c->link.session, call->stream_id, NULL);
        c->server->stats.failed++;
        lh_grpc_call_stream_gone(call);
        return;
    }
}

void lh_grpc_call_cancel(struct lh_grpc_call *call)
{
    struct lh_grpc_conn *c = call->conn;
    void (*fn)(void *arg) = call->on_cancel;
    void *arg = call->cancel_arg;

    lh_grpc_calls_remove(&c->lost, call);
    call->conn = NULL;
    call->on_cancel = NULL;
    c->server->stats.cancelled++;
    if (fn)
        fn(arg); /* may answer, which frees it */
}

static ssize_t read_reply(nghttp2_session *session, int32_t stream_id, uint8_t *buf, size_t length,
                          uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct lh_grpc_call *call = nghttp2_session_get_stream_user_data(session, stream_id);
    nghttp2_nv trailer = lh_grpc_nv("grpc-status", "0");
    size_t n;

    (void)source;
    (void)arg;
    if (!call || !call->reply)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    n = call->reply_bytes - call->reply_sent;
    if (n > length)
        n = length;
    memcpy(buf, call->reply + call->reply_sent, n);
    call->reply_sent += n;
    if (call->reply_sent == call->reply_bytes) {
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (nghttp2_submit_trailer(session, stream_id, &trailer, 1) != 0)
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    return (ssize_t)n;
}

static void submit_reply(struct lh_grpc_call *call, struct lh_str message)
{
    nghttp2_data_provider body = {.read_callback = read_reply};
    nghttp2_nv nv[] = {
        lh_grpc_nv(":status", "200"),
        lh_grpc_nv("content-type", "application/grpc"),
    };

    if (message.n > UINT32_MAX) {
        submit_end(call, "200", LH_GRPC_INTERNAL, LH_STR("the answer is too large"), false);
        return;
    }
    call->reply_bytes = LH_GRPC_PREFIX_BYTES + message.n;
    call->reply = lh_malloc(call->reply_bytes);
    if (!call->reply) {
        submit_end(call, "200", LH_GRPC_RESOURCE_EXHAUSTED, LH_STR("out of memory"), false);
        return;
    }
    lh_grpc_put_prefix((unsigned char *)call->reply, message.n);
    if (message.n > 0)
        memcpy(call->reply + LH_GRPC_PREFIX_BYTES, message.p, message.n);
    if (nghttp2_submit_response(call->conn->link.session, call->stream_id, nv, LH_ARRAY_LEN(nv),
                                &body) != 0)
        reset_stream(call, NGHTTP2_INTERNAL_ERROR);
}

/* Whether somebody waits for the answer; else the call is gone. */
static bool begin_answer(struct lh_grpc_call *call)
{
    struct lh_grpc_conn *c = call->conn;

    call->on_cancel = NULL;
    if (!c) {
        call_free(call);
        return false;
    }
    if (call->state == LH_GRPC_CALL_LOST) {
        lh_grpc_calls_remove(&c->lost, call);
        c->server->stats.cancelled++;
        call_free(call);
        return false;
    }
    call->state = LH_GRPC_CALL_ANSWERED;
    return true;
}

static void end_answer(struct lh_grpc_conn *c)
{
    if (c->busy)
        return;
    c->busy = true;
    lh_grpc_link_flush(&c->link);
    c->busy = false;
    if (lh_grpc_link_is_over(&c->link))
        lh_grpc_conn_wake(c, lh_clock_now());
}

void lh_grpc_reply(struct lh_grpc_call *call, struct lh_str message)
{
    struct lh_grpc_conn *c = call->conn;

    if (!begin_answer(call))
        return;
    submit_reply(call, message);
    end_answer(c);
}

void lh_grpc_fail(struct lh_grpc_call *call, enum lh_grpc_status status, const char *text)
{
    struct lh_grpc_conn *c = call->conn;

    if (!begin_answer(call))
        return;
    c->server->stats.failed++;
    /* OK without a message would be no answer at all. */
    submit_end(call, "200", status == LH_GRPC_OK ? LH_GRPC_INTERNAL : status, lh_str(text), false);
    end_answer(c);
}

lh_ms lh_grpc_call_deadline(const struct lh_grpc_call *call)
{
    return call->deadline;
}

void lh_grpc_call_on_cancel(struct lh_grpc_call *call, void (*fn)(void *arg), void *arg)
{
    if (call->state == LH_GRPC_CALL_LOST && !call->conn) {
        if (fn)
            fn(arg);
        return;
    }
    call->on_cancel = fn;
    call->cancel_arg = arg;
}

bool lh_grpc_call_is_cancelled(const struct lh_grpc_call *call)
{
    return call->state == LH_GRPC_CALL_LOST;
}
