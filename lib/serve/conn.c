/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <sys/socket.h>

#include "leasehold/core/clock.h"
#include "leasehold/core/mem.h"
#include "serve_priv.h"

static void conn_free(struct conn *c)
{
    struct lh_server *s = c->l->s;

    if (c->prev)
        c->prev->next = c->next;
    else
        c->l->conns = c->next;
    if (c->next)
        c->next->prev = c->prev;
    c->l->connections--;
    if (c->call && c->state == CONN_BUSY)
        c->call->conn = NULL; /* the handler has it */
    else
        serve_call_free(c->call);
    lh_timer_free(c->deadline);
    lh_buf_done(&c->out);
    lh_free(c->in);
    lh_free(c);
    serve_connection_gone(s);
}

void serve_conn_kill(struct conn *c)
{
    /* A handler that still has the call learns nothing, and its answer goes nowhere. */
    if (c->call && c->state == CONN_BUSY) {
        c->call->conn = NULL;
        c->call = NULL;
    }
    c->state = CONN_DEAD;
    lh_timer_stop(c->deadline);
    if (c->wsi)
        lws_set_timeout(c->wsi, PENDING_TIMEOUT_KILLED_BY_PARENT, LWS_TO_KILL_ASYNC);
}

static void pause_reading(struct conn *c, bool pause)
{
    if (c->paused == pause)
        return;
    c->paused = pause;
    lws_rx_flow_control(c->wsi, !pause);
}

/* The peer reads the answer and then the end; a close() with bytes unread would send a reset that
 * may overtake the answer. */
static void shut(struct conn *c)
{
    SSL *ssl = lws_get_ssl(c->wsi);

    if (ssl)
        SSL_shutdown(ssl);
    shutdown(lws_get_socket_fd(c->wsi), SHUT_WR);
    pause_reading(c, false);
    c->state = CONN_LINGER;
    lh_timer_in(c->deadline, SERVE_LINGER_MS);
}

static void consume(struct conn *c, size_t n)
{
    c->in_n -= n;
    c->looked_at = 0;
    if (c->in_n) {
        memmove(c->in, c->in + n, c->in_n);
        return;
    }
    lh_free(c->in);
    c->in = NULL;
    c->in_room = 0;
}

static int append(struct conn *c, const void *p, size_t n)
{
    char *grown;

    if (c->in_n + n > c->in_room) {
        grown = lh_realloc(c->in, c->in_n + n);
        if (!grown)
            return -LH_E_NOMEM;
        c->in = grown;
        c->in_room = c->in_n + n;
    }
    memcpy(c->in + c->in_n, p, n);
    c->in_n += n;
    return 0;
}

static void start_head(struct conn *c)
{
    size_t n;
    int status;

    c->state = CONN_HEAD;
    if (!lh_timer_is_armed(c->deadline) || c->looked_at == 0)
        lh_timer_in(c->deadline, c->l->opts.body_ms);
    /* What begins like a TLS record will never be a request. */
    if (c->in[0] < 'A' || c->in[0] > 'Z') {
        serve_refuse(c, 400);
        return;
    }
    n = head_length(c->in, c->in_n, c->looked_at);
    c->looked_at = c->in_n;
    if (n > HEAD_MAX_BYTES || (!n && c->in_n >= HEAD_MAX_BYTES)) {
        serve_refuse(c, 431);
        return;
    }
    if (!n)
        return;
    status = serve_call_new(c, n, &c->call);
    consume(c, n);
    if (!status)
        status = serve_call_route(c->call);
    if (status) {
        serve_refuse(c, status);
        return;
    }
    c->state = CONN_BODY;
    c->chunks = (struct chunked){0};
    lh_timer_in(c->deadline, c->l->opts.body_ms);
    if (c->call->head.expect_continue && !c->in_n) {
        lh_buf_put_z(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
        serve_conn_send(c);
    }
}

static void run(struct conn *c)
{
    lh_timer_stop(c->deadline);
    c->state = CONN_BUSY;
    serve_call_run(c->call);
}

static int take_chunked(struct conn *c, struct lh_buf *body)
{
    struct lh_str piece;
    size_t used;
    int status;

    while (c->in_n && c->chunks.state != CHUNK_DONE) {
        status = chunked_feed(&c->chunks, (struct lh_str){c->in, c->in_n}, &used, &piece);
        if (status)
            return status;
        if (piece.n > c->route->max_body - body->n)
            return 413;
        lh_buf_put_str(body, piece);
        consume(c, used);
    }
    return 0;
}

static void take_plain(struct conn *c, struct lh_buf *body)
{
    size_t left = c->call->head.length - body->n, n = c->in_n < left ? c->in_n : left;

    if (!n)
        return;
    lh_buf_put(body, c->in, n);
    consume(c, n);
}

static void take_body(struct conn *c)
{
    struct lh_buf *body = &c->call->body;
    bool chunked = c->call->head.chunked;
    int status = 0;

    if (chunked)
        status = take_chunked(c, body);
    else
        take_plain(c, body);
    if (!status && lh_buf_check(body, NULL) < 0)
        status = 503;
    if (status)
        serve_refuse(c, status);
    else if (chunked ? c->chunks.state == CHUNK_DONE : body->n == c->call->head.length)
        run(c);
}

static void drop_empty_lines(struct conn *c)
{
    size_t n = 0;

    while (n < c->in_n && (c->in[n] == '\r' || c->in[n] == '\n'))
        n++;
    if (n)
        consume(c, n);
}

/* Each round either changes the state or uses bytes. */
static void advance(struct conn *c)
{
    enum conn_state state;
    size_t had;

    do {
        state = c->state;
        had = c->in_n;
        if (state == CONN_IDLE)
            drop_empty_lines(c);
        if ((state == CONN_IDLE && c->in_n) || state == CONN_HEAD)
            start_head(c);
        else if (state == CONN_BODY)
            take_body(c);
    } while (c->state != state || c->in_n != had);
}

static int on_rx(struct conn *c, const void *p, size_t n)
{
    if (!c->heard) {
        c->heard = true;
        lws_set_timeout(c->wsi, NO_PENDING_TIMEOUT, 0); /* lws's, from the handshake */
    }
    if (c->state == CONN_DEAD)
        return -1;
    if (c->state == CONN_LINGER)
        return 0;
    if (append(c, p, n) < 0)
        return -1;
    advance(c);
    if ((c->state == CONN_BUSY || c->state == CONN_FLUSH) && c->in_n >= SERVE_BUFFER)
        pause_reading(c, true);
    return 0;
}

static bool is_in_handshake(const struct conn *c)
{
    SSL *ssl = lws_get_ssl(c->wsi);

    return ssl && !SSL_is_init_finished(ssl);
}

bool serve_conn_is_quiet(const struct conn *c)
{
    SSL *ssl;
    char byte;

    if (c->state != CONN_IDLE || !c->wsi || is_in_handshake(c))
        return false;
    ssl = lws_get_ssl(c->wsi);
    return !(ssl && SSL_has_pending(ssl)) &&
           recv(lws_get_socket_fd(c->wsi), &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
}

static void answered(struct conn *c)
{
    if (c->close_after) {
        shut(c);
        return;
    }
    c->state = CONN_IDLE;
    c->route = NULL;
    lh_timer_in(c->deadline, c->l->opts.idle_ms);
    pause_reading(c, false);
    if (c->l->s->draining && !c->in_n && serve_conn_is_quiet(c))
        serve_conn_kill(c);
    else
        advance(c);
}

void serve_conn_send(struct conn *c)
{
    /* For a reader who does not read. An answer that is complete has this long in all, one in
     * pieces for each step. */
    lh_timer_in(c->deadline, c->l->opts.idle_ms);
    lws_callback_on_writable(c->wsi);
}

/* Everything is with the kernel. */
static void flushed(struct conn *c)
{
    if (c->state == CONN_FLUSH)
        answered(c);
    else if (c->state == CONN_BUSY)
        lh_timer_stop(c->deadline);
}

static int send_piece(struct conn *c, size_t n)
{
    unsigned char *piece = c->l->s->piece + LWS_PRE;

    memcpy(piece, c->out.p + c->out_at, n);
    if (lws_write(c->wsi, piece, n, LWS_WRITE_RAW) < 0)
        return -1;
    c->out_at += n;
    if (c->out_at == c->out.n) {
        lh_buf_done(&c->out);
        lh_buf_init(&c->out, SERVE_MAX_ANSWER);
        c->out_at = 0;
    }
    if (c->out.n == 0 && !lws_partial_buffered(c->wsi))
        flushed(c);
    else if (c->state == CONN_FLUSH)
        lws_callback_on_writable(c->wsi);
    else
        serve_conn_send(c);
    return 0;
}

static int on_writable(struct conn *c)
{
    size_t left = c->out.n - c->out_at;

    if (c->state == CONN_DEAD)
        return -1;
    if (left)
        return send_piece(c, left < SERVE_PIECE ? left : SERVE_PIECE);
    flushed(c); /* lws has sent all it kept, or it would not have called */
    return 0;
}

static void on_deadline(void *arg)
{
    struct conn *c = arg;
    lh_ms idle_end = c->accepted_at + c->l->opts.idle_ms;

    switch (c->state) {
    case CONN_IDLE:
        if (!c->heard && !is_in_handshake(c) && lh_clock_now() < idle_end && !c->l->s->draining) {
            lh_timer_at(c->deadline, idle_end);
            return;
        }
        if (!c->heard)
            c->l->s->stats.timeouts++;
        serve_conn_kill(c);
        return;
    case CONN_HEAD:
    case CONN_BODY:
        serve_refuse(c, 408);
        return;
    case CONN_BUSY:
    case CONN_FLUSH:
        c->l->s->stats.timeouts++;
        serve_conn_kill(c);
        return;
    case CONN_LINGER:
    case CONN_DEAD:
        serve_conn_kill(c);
        return;
    }
}

int serve_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                   size_t n)
{
    struct conn *c;

    switch ((int)reason) {
    case LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS: {
        struct lh_listener *l = lws_vhost_user(in);

        l->ssl = user;
        return 0;
    }
    case LWS_CALLBACK_RAW_ADOPT:
        c = lws_get_opaque_user_data(wsi);
        c->wsi = wsi;
        return 0;
    case LWS_CALLBACK_RAW_RX:
        return on_rx(lws_get_opaque_user_data(wsi), in, n);
    case LWS_CALLBACK_RAW_WRITEABLE:
        return on_writable(lws_get_opaque_user_data(wsi));
    case LWS_CALLBACK_RAW_CLOSE:
        c = lws_get_opaque_user_data(wsi);
        c->wsi = NULL;
        if (c->adopted)
            conn_free(c);
        return 0;
    default:
        return 0;
    }
}

static int adopt(struct conn *c, int fd)
{
    struct lws_adopt_desc desc = {
        .vh = c->l->vhost,
        .type = LWS_ADOPT_SOCKET | (c->l->ssl ? LWS_ADOPT_ALLOW_SSL : 0),
        .fd.sockfd = fd,
        .vh_prot_name = "http",
        .opaque = c,
    };
    struct lws *wsi = lws_adopt_descriptor_vhost_via_info(&desc);

    if (!wsi)
        return -LH_E_NOMEM;
    c->wsi = wsi;
    c->adopted = true;
    return 0;
}

int serve_conn_new(struct lh_listener *l, int fd, const char *peer)
{
    struct conn *c = lh_calloc(1, sizeof(*c));

    if (!c || lh_timer_new(l->s->loop, on_deadline, c, &c->deadline, NULL) < 0) {
        lh_free(c);
        close(fd);
        return -LH_E_NOMEM;
    }
    c->l = l;
    lh_buf_init(&c->out, SERVE_MAX_ANSWER);
    memcpy(c->peer, peer, sizeof(c->peer));
    c->accepted_at = lh_clock_now();
    c->next = l->conns;
    if (l->conns)
        l->conns->prev = c;
    l->conns = c;
    l->connections++;
    serve_connection_came(l->s);
    lh_timer_in(c->deadline, l->ssl ? l->opts.handshake_ms : l->opts.idle_ms);
    if (adopt(c, fd) < 0) {
        conn_free(c);
        return -LH_E_NOMEM;
    }
    return 0;
}
