/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <strings.h>
#include <time.h>

#include "leasehold/core/clock.h"
#include "leasehold/core/mem.h"
#include "serve_priv.h"

enum { USUAL_HEAD = 255 };

static const struct {
    int status;
    const char *phrase;
} phrases[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {415, "Unsupported Media Type"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {472, "Standby"},
    {473, "Performance Standby"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

static const char *phrase_of(int status)
{
    for (size_t i = 0; i < LH_ARRAY_LEN(phrases); i++) {
        if (phrases[i].status == status)
            return phrases[i].phrase;
    }
    return "Status";
}

int serve_call_new(struct conn *c, size_t n, struct lh_call **out)
{
    struct lh_call *call = lh_calloc(1, sizeof(*call));
    int status;

    if (!call)
        return 503;
    lh_buf_init(&call->body, 0);
    call->head_text = lh_memdup(c->in, n);
    status = call->head_text ? head_parse(call->head_text, n, &call->head) : 503;
    if (status) {
        serve_call_free(call);
        return status;
    }
    call->conn = c;
    *out = call;
    return 0;
}

void serve_call_free(struct lh_call *call)
{
    if (!call)
        return;
    lh_free(call->head_text);
    lh_buf_done(&call->body);
    lh_free(call);
}

static bool path_fits(const struct lh_route *r, struct lh_str path)
{
    size_t n = strlen(r->path);

    if (n && r->path[n - 1] == '*')
        return lh_str_starts(path, (struct lh_str){r->path, n - 1});
    return lh_str_eqz(path, r->path);
}

static bool method_fits(const struct lh_route *r, const char *method)
{
    return !r->method || strcmp(r->method, method) == 0 ||
           (strcmp(method, "HEAD") == 0 && strcmp(r->method, "GET") == 0);
}

int serve_call_route(struct lh_call *call)
{
    struct conn *c = call->conn;
    int status = 404;

    for (const struct lh_route *r = c->l->opts.routes; r->path; r++) {
        if (!path_fits(r, call->head.path))
            continue;
        status = 405;
        if (!method_fits(r, call->head.method))
            continue;
        c->route = r;
        if (call->head.length > r->max_body || (call->head.chunked && !r->max_body))
            return 413;
        lh_buf_init(&call->body, r->max_body);
        return 0;
    }
    return status;
}

void serve_call_run(struct lh_call *call)
{
    struct conn *c = call->conn;
    struct lh_request req = {
        .method = call->head.method,
        .path = call->head.path,
        .query = call->head.query,
        .body = lh_buf_peek(&call->body),
        .content_type = head_field(&call->head, "content-type"),
        .peer = c->peer,
    };

    c->l->s->stats.requests++;
    c->route->fn(c->l->opts.arg, &req, call);
}

/* Formatted once a second. */
static void put_date(struct lh_server *s, struct lh_buf *b)
{
    time_t now = (time_t)(lh_clock_wall_ms() / 1000);
    struct tm tm;

    if (now != s->date_at || !s->date[0]) {
        s->date_at = now;
        if (!gmtime_r(&now, &tm) ||
            !strftime(s->date, sizeof(s->date), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm))
            s->date[0] = '\0';
    }
    lh_buf_put_z(b, s->date);
}

static void put_head(struct conn *c, int status, const char *content_type, const char *extra)
{
    struct lh_buf *b = &c->out;

    lh_buf_put_z(b, "HTTP/1.1 ");
    lh_buf_put_int(b, status);
    lh_buf_put_c(b, ' ');
    lh_buf_put_z(b, phrase_of(status));
    lh_buf_put_z(b, "\r\n");
    put_date(c->l->s, b);
    if (content_type) {
        lh_buf_put_z(b, "Content-Type: ");
        lh_buf_put_z(b, content_type);
        lh_buf_put_z(b, "\r\n");
    }
    if (extra)
        lh_buf_put_z(b, extra);
    if (c->close_after)
        lh_buf_put_z(b, "Connection: close\r\n");
}

/* The call is over; what is in out is all. */
static void conclude(struct conn *c)
{
    c->call = NULL;
    c->state = CONN_FLUSH;
    /* Nobody can be told what did not fit into memory. */
    if (lh_buf_check(&c->out, NULL) < 0)
        serve_conn_kill(c);
    else
        serve_conn_send(c);
}

static void put_allow(struct conn *c, struct lh_str path, struct lh_buf *extra)
{
    const char *comma = "";

    lh_buf_put_z(extra, "Allow: ");
    for (const struct lh_route *r = c->l->opts.routes; r->path; r++) {
        if (!r->method || !path_fits(r, path))
            continue;
        lh_buf_printf(extra, "%s%s", comma, r->method);
        comma = ", ";
    }
    lh_buf_put_z(extra, "\r\n");
}

void serve_refuse(struct conn *c, int status)
{
    lh_auto_buf struct lh_buf extra;
    char body[64];

    lh_buf_init(&extra, 1024);
    snprintf(body, sizeof(body), "%d %s\n", status, phrase_of(status));
    if (status == 405 && c->call)
        put_allow(c, c->call->head.path, &extra);
    if (status == 408)
        c->l->s->stats.timeouts++;
    if (status == 413 || status == 431)
        c->l->s->stats.too_large++;
    /* What follows on this connection may be a body that nobody has read. */
    if (!c->call || c->call->head.chunked || c->call->head.length ||
        (status != 404 && status != 405))
        c->close_after = true;
    lh_buf_printf(&extra, "Content-Length: %zu\r\n", strlen(body));
    put_head(c, status, "text/plain; charset=utf-8", lh_buf_peek(&extra).p);
    lh_buf_put_z(&c->out, "\r\n");
    if (!c->call || strcmp(c->call->head.method, "HEAD") != 0)
        lh_buf_put_z(&c->out, body);
    serve_call_free(c->call);
    conclude(c);
}

static bool wants_close(const struct lh_call *call)
{
    const struct lh_server *s = call->conn->l->s;

    return !call->head.keep_alive || s->draining || s->retiring;
}

static bool is_bodyless(const struct lh_call *call, int status)
{
    return status == 204 || status == 304 || strcmp(call->head.method, "HEAD") == 0;
}

void lh_call_answer(struct lh_call *call, int status, const char *content_type, struct lh_str body)
{
    struct conn *c = call->conn;
    char length[48] = "";

    if (c) {
        c->close_after = wants_close(call);
        if (status != 204 && status != 304)
            snprintf(length, sizeof(length), "Content-Length: %zu\r\n", body.n);
        lh_buf_reserve(&c->out, body.n + USUAL_HEAD);
        put_head(c, status, content_type, length);
        lh_buf_put_z(&c->out, "\r\n");
        if (!is_bodyless(call, status))
            lh_buf_put_str(&c->out, body);
        conclude(c);
    }
    serve_call_free(call);
}

static bool says_length(const char *extra)
{
    return extra && strcasestr(extra, "content-length:");
}

void lh_call_begin(struct lh_call *call, int status, const char *content_type,
                   const char *extra_headers)
{
    struct conn *c = call->conn;

    if (!c)
        return;
    call->raw_answer = says_length(extra_headers) || is_bodyless(call, status);
    call->chunked_answer = !call->raw_answer && call->head.http11;
    /* An answer of unknown length to HTTP/1.0 ends with the connection. */
    c->close_after = wants_close(call) || (!call->raw_answer && !call->chunked_answer);
    put_head(c, status, content_type, extra_headers);
    if (call->chunked_answer)
        lh_buf_put_z(&c->out, "Transfer-Encoding: chunked\r\n");
    lh_buf_put_z(&c->out, "\r\n");
    serve_conn_send(c);
}

void lh_call_write(struct lh_call *call, struct lh_str piece)
{
    struct conn *c = call->conn;

    if (!c || !piece.n)
        return;
    if (call->chunked_answer)
        lh_buf_printf(&c->out, "%zx\r\n", piece.n);
    lh_buf_put_str(&c->out, piece);
    if (call->chunked_answer)
        lh_buf_put_z(&c->out, "\r\n");
    serve_conn_send(c);
}

void lh_call_end(struct lh_call *call)
{
    struct conn *c = call->conn;

    if (c) {
        if (call->chunked_answer)
            lh_buf_put_z(&c->out, "0\r\n\r\n");
        conclude(c);
    }
    serve_call_free(call);
}

void lh_call_abort(struct lh_call *call)
{
    struct conn *c = call->conn;

    if (c && c->out.n > c->out_at) {
        c->close_after = true;
        conclude(c);
    } else if (c) {
        c->call = NULL;
        serve_conn_kill(c);
    }
    serve_call_free(call);
}

struct lh_str lh_call_header(const struct lh_call *call, const char *name)
{
    return head_field(&call->head, name);
}
