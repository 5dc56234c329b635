/* SPDX-License-Identifier: Apache-2.0 */
/* The server against frames that no well-made client sends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "leasehold/core/mem.h"
#include "peer.h"
#include "server_priv.h"
#include "support.h"

#define ECHO "/test.Echo/Echo"
#define KEEP "/test.Echo/Keep"

enum { MAX_MESSAGE = 1 << 20, MAX_STREAMS = 20, MAX_CONNECTIONS = 4 };

static struct {
    struct lh_loop *loop;
    struct lh_grpc_server *server;
    struct peer p;
    struct lh_grpc_call *kept;
    size_t n_called, n_cancelled;
} t;

static void echo(void *arg, struct lh_grpc_call *call, struct lh_str request)
{
    (void)arg;
    t.n_called++;
    lh_grpc_reply(call, request);
}

static void on_cancel(void *arg)
{
    t.n_cancelled++;
    t.kept = NULL;
    lh_grpc_fail(arg, LH_GRPC_CANCELLED, "");
}

static void keep(void *arg, struct lh_grpc_call *call, struct lh_str request)
{
    (void)arg;
    (void)request;
    t.n_called++;
    t.kept = call;
    lh_grpc_call_on_cancel(call, on_cancel, call);
}

static const struct lh_grpc_method methods[] = {{ECHO, echo}, {KEEP, keep}, {NULL, NULL}};

static int new_server(void)
{
    uid_t self = geteuid();
    struct lh_grpc_server_options opts = {.loop = t.loop,
                                          .methods = methods,
                                          .peers = &self,
                                          .n_peers = 1,
                                          .max_message = MAX_MESSAGE,
                                          .max_streams = MAX_STREAMS,
                                          .max_connections = MAX_CONNECTIONS};

    return lh_grpc_server_new(&opts, &t.server, NULL);
}

static int connect_peer(struct peer *p)
{
    int fd[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) < 0)
        return -1;
    peer_init(p, t.loop, fd[1]);
    if (lh_grpc_server_adopt(t.server, fd[0], NULL) < 0) {
        close(fd[0]);
        return -1;
    }
    return 0;
}

static int setup(void **state)
{
    (void)state;
    memset(&t, 0, sizeof(t));
    lh_clock_fake(1000000, 1700000000000);
    if (lh_loop_new(&t.loop, NULL) < 0 || new_server() < 0 || connect_peer(&t.p) < 0)
        return -1;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    peer_done(&t.p);
    lh_grpc_server_free(t.server);
    lh_loop_free(t.loop);
    lh_clock_real();
    return 0;
}

static void expect_answer(int32_t id, size_t message)
{
    struct peer_stream *s = peer_stream(&t.p, id);

    assert_int_equal(s->http_status, 200);
    assert_int_equal(s->grpc_status, 0);
    assert_int_equal(s->data_bytes, message + 5);
    assert_int_equal(s->heads, 2);
    assert_true(s->ended);
    assert_false(s->reset);
}

/* The connection and its header tables are as good as new. */
static void expect_alive(int32_t id)
{
    peer_call(&t.p, id, ECHO, 7);
    peer_pump(&t.p, 0);
    expect_answer(id, 7);
    assert_false(t.p.closed);
    assert_int_equal(t.p.goaways, 0);
}

static void settings_come_first_and_unasked(void **state)
{
    (void)state;
    peer_pump(&t.p, 0);
    assert_int_equal(t.p.first_type, NGHTTP2_SETTINGS);
    assert_int_equal(t.p.settings, 1);
}

static void bytes_may_come_one_by_one(void **state)
{
    (void)state;
    peer_greet(&t.p);
    peer_call(&t.p, 1, ECHO, 100);
    peer_pump(&t.p, 1);
    expect_answer(1, 100);
}

static void a_head_may_be_continued(void **state)
{
    struct peer_field fields[] = {{":method", "POST"},
                                  {":path", ECHO},
                                  {"content-type", "application/grpc+proto; charset=x"},
                                  {NULL, NULL}};
    struct lh_buf block;

    (void)state;
    lh_buf_init(&block, 4096);
    peer_block(&block, fields);
    peer_greet(&t.p);
    peer_frame(&t.p, NGHTTP2_HEADERS, 0, 1, block.p, 3);
    peer_frame(&t.p, NGHTTP2_CONTINUATION, 0, 1, block.p + 3, 0);
    peer_frame(&t.p, NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, 1, block.p + 3, block.n - 3);
    peer_message(&t.p, 1, 3, NGHTTP2_FLAG_END_STREAM);
    lh_buf_done(&block);
    peer_pump(&t.p, 0);
    expect_answer(1, 3);
}

static void frames_may_be_padded_and_empty(void **state)
{
    (void)state;
    peer_greet(&t.p);
    peer_head(&t.p, 1, ECHO, 0);
    peer_frame(&t.p, NGHTTP2_DATA, 0, 1, "", 0);
    peer_frame(&t.p, NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, 1, "\3\0\0\0\0\2a\0\0\0", 10);
    peer_frame(&t.p, NGHTTP2_DATA, 0, 1, "", 0);
    peer_frame(&t.p, NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, 1, "\0b", 2);
    peer_frame(&t.p, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, "", 0);
    peer_pump(&t.p, 0);
    expect_answer(1, 2);
}

static void trailers_end_a_request(void **state)
{
    struct peer_field fields[] = {{"x-checksum", "1"}, {NULL, NULL}};
    struct lh_buf block;

    (void)state;
    lh_buf_init(&block, 4096);
    peer_block(&block, fields);
    peer_greet(&t.p);
    peer_head(&t.p, 1, ECHO, 0);
    peer_message(&t.p, 1, 3, 0);
    peer_frame(&t.p, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 1,
               block.p, block.n);
    lh_buf_done(&block);
    peer_pump(&t.p, 0);
    expect_answer(1, 3);
}

#define BYTES(lit) (lit), sizeof(lit) - 1

static struct body_row {
    const char *name, *bytes;
    size_t n;
    enum lh_grpc_status want;
} bodies[] = {
    {"no message is unimplemented", BYTES(""), LH_GRPC_UNIMPLEMENTED},
    {"two messages are unimplemented", BYTES("\0\0\0\0\1a\0\0\0\0\1b"), LH_GRPC_UNIMPLEMENTED},
    {"a compressed message is unimplemented", BYTES("\1\0\0\0\1a"), LH_GRPC_UNIMPLEMENTED},
    {"unknown flags are an internal error", BYTES("\4\0\0\0\1a"), LH_GRPC_INTERNAL},
    {"a torn message is an internal error", BYTES("\0\0\0\0\3ab"), LH_GRPC_INTERNAL},
    {"a torn prefix is an internal error", BYTES("\0\0"), LH_GRPC_INTERNAL},
    {"a message past the cap is too much", BYTES("\0\0\x10\0\1a"), LH_GRPC_RESOURCE_EXHAUSTED},
};

static void refuses_a_body(void **state)
{
    const struct body_row *r = *state;
    struct peer_stream *s = peer_stream(&t.p, 1);

    peer_greet(&t.p);
    peer_head(&t.p, 1, ECHO, 0);
    peer_frame(&t.p, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, r->bytes, r->n);
    peer_pump(&t.p, 0);
    assert_int_equal(s->grpc_status, r->want);
    assert_int_equal(s->heads, 1);
    assert_true(s->ended);
    assert_int_equal(s->data_bytes, 0);
    assert_int_equal(t.n_called, 0);
    if (r->n > 0 && r->bytes[0] == 1)
        assert_non_null(strstr(s->head, "grpc-accept-encoding: identity"));
    expect_alive(3);
}

static void too_much_is_refused_before_it_is_read(void **state)
{
    struct peer_stream *s = peer_stream(&t.p, 1);

    (void)state;
    peer_greet(&t.p);
    peer_head(&t.p, 1, ECHO, 0);
    peer_frame(&t.p, NGHTTP2_DATA, 0, 1, "\0\x7f\xff\xff\xff", 5);
    peer_pump(&t.p, 0);
    assert_int_equal(s->grpc_status, LH_GRPC_RESOURCE_EXHAUSTED);
    assert_true(s->ended);
    assert_true(s->reset); /* no need to send the rest */
    assert_int_equal(s->reset_code, NGHTTP2_NO_ERROR);
    peer_frame(&t.p, NGHTTP2_DATA, 0, 1, "more", 4);
    expect_alive(3);
}

#define OK_HEAD                                                                                    \
    {":method", "POST"}, {":path", ECHO},                                                          \
    {                                                                                              \
        "content-type", "application/grpc"                                                         \
    }

static char long_value[20000];

static struct head_row {
    const char *name;
    int http, grpc; /* -1: no answer but a reset */
    struct peer_field fields[8];
} heads[] = {
    {"the path of a socket is an authority", 200, 0, {OK_HEAD, {":authority", "/run/csi.sock"}}},
    {"no authority at all", 200, 0, {OK_HEAD}},
    {"fields that mean nothing", 200, 0, {OK_HEAD, {"X-Upper", " v "}, {"grpc-encoding", "gzip"}}},
    {"pseudo fields at the end",
     200,
     0,
     {{"content-type", "application/grpc"}, {":path", ECHO}, {":method", "POST"}}},
    {"GET is not allowed",
     405,
     LH_GRPC_INTERNAL,
     {{":method", "GET"}, {":path", ECHO}, {"content-type", "application/grpc"}}},
    {"another content-type",
     415,
     LH_GRPC_UNKNOWN,
     {{":method", "POST"}, {":path", ECHO}, {"content-type", "application/json"}}},
    {"gRPC for browsers",
     415,
     LH_GRPC_UNKNOWN,
     {{":method", "POST"}, {":path", ECHO}, {"content-type", "application/grpc-web"}}},
    {"no content-type", 415, LH_GRPC_UNKNOWN, {{":method", "POST"}, {":path", ECHO}}},
    {"no path", -1, -1, {{":method", "POST"}, {"content-type", "application/grpc"}}},
    {"no method", -1, -1, {{":path", ECHO}, {"content-type", "application/grpc"}}},
    {"two paths", -1, -1, {OK_HEAD, {":path", ECHO}}},
    {"two methods", -1, -1, {OK_HEAD, {":method", "POST"}}},
    {"an empty path",
     200,
     LH_GRPC_UNIMPLEMENTED,
     {{":method", "POST"}, {":path", ""}, {"content-type", "application/grpc"}}},
    {"a malformed timeout", 200, LH_GRPC_INTERNAL, {OK_HEAD, {"grpc-timeout", "soon"}}},
    {"a timeout of nothing", 200, LH_GRPC_DEADLINE_EXCEEDED, {OK_HEAD, {"grpc-timeout", "0m"}}},
    {"a timeout", 200, 0, {OK_HEAD, {"grpc-timeout", "99999999H"}}},
    {"a head of 20 kB", 200, LH_GRPC_RESOURCE_EXHAUSTED, {OK_HEAD, {"x", long_value}}},
};

static void judges_a_head(void **state)
{
    const struct head_row *r = *state;
    struct peer_stream *s = peer_stream(&t.p, 1);
    struct lh_buf block;
    size_t part;

    lh_buf_init(&block, 65536);
    peer_block(&block, r->fields);
    part = block.n < 16000 ? block.n : 16000;
    peer_greet(&t.p);
    peer_frame(&t.p, NGHTTP2_HEADERS, part == block.n ? NGHTTP2_FLAG_END_HEADERS : 0, 1, block.p,
               part);
    if (part < block.n)
        peer_frame(&t.p, NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, 1, block.p + part,
                   block.n - part);
    lh_buf_done(&block);
    peer_message(&t.p, 1, 4, NGHTTP2_FLAG_END_STREAM);
    peer_pump(&t.p, 0);
    assert_int_equal(s->http_status, r->http);
    assert_int_equal(s->grpc_status, r->grpc);
    assert_int_equal(t.n_called, r->grpc == 0);
    if (r->http < 0)
        assert_int_equal(s->reset_code, NGHTTP2_PROTOCOL_ERROR);
    expect_alive(3);
}

static void resets_by_thousands_are_no_offence(void **state)
{
    struct lh_grpc_server_stats stats;
    int32_t id = 1;

    (void)state;
    peer_greet(&t.p);
    for (int i = 0; i < 5000; i++, id += 2) {
        peer_head(&t.p, id, KEEP, 0);
        if (i % 2)
            peer_message(&t.p, id, 3, NGHTTP2_FLAG_END_STREAM);
        peer_frame(&t.p, NGHTTP2_RST_STREAM, 0, id, "\0\0\0\x8", 4);
        if (i % 500 == 0)
            peer_pump(&t.p, 0);
    }
    peer_pump(&t.p, 0);
    lh_grpc_server_stats(t.server, &stats);
    assert_int_equal(stats.resets, 5000);
    assert_int_equal(t.n_cancelled, t.n_called);
    memset(peer_stream(&t.p, id), 0, sizeof(struct peer_stream));
    expect_alive(id);
}

static void pings_by_thousands_are_answered(void **state)
{
    (void)state;
    peer_greet(&t.p);
    for (int i = 0; i < 20000; i++)
        peer_frame(&t.p, NGHTTP2_PING, 0, 0, "12345678", 8);
    peer_pump(&t.p, 0);
    assert_int_equal(t.p.ping_acks, 20000);
    expect_alive(1);
}

static void who_does_not_read_is_not_read_from(void **state)
{
    size_t live;

    (void)state;
    peer_greet(&t.p);
    peer_pump(&t.p, 0);
    t.p.deaf = true;
    for (int i = 0; i < 100000; i++)
        peer_frame(&t.p, NGHTTP2_PING, 0, 0, "12345678", 8);
    peer_pump(&t.p, 0);
    live = t.p.out.n;
    peer_pump(&t.p, 0);
    assert_true(live > 0); /* stuck in our hands, not in the server's memory */
    assert_int_equal(t.p.out.n, live);
    t.p.deaf = false;
    peer_pump(&t.p, 0);
    assert_int_equal(t.p.ping_acks, 100000);
    expect_alive(1);
}

static void an_answer_waits_for_the_window(void **state)
{
    struct peer_stream *s = peer_stream(&t.p, 1);

    (void)state;
    peer_greet(&t.p);
    peer_frame(&t.p, NGHTTP2_SETTINGS, 0, 0, "\0\4\0\0\0\0", 6); /* INITIAL_WINDOW_SIZE 0 */
    peer_call(&t.p, 1, ECHO, 20000);
    peer_pump(&t.p, 0);
    assert_int_equal(s->heads, 1);
    assert_int_equal(s->data_bytes, 0);
    peer_frame(&t.p, NGHTTP2_WINDOW_UPDATE, 0, 1, "\0\0\0\x0a", 4);
    peer_pump(&t.p, 0);
    assert_int_equal(s->data_bytes, 10);
    peer_frame(&t.p, NGHTTP2_SETTINGS, 0, 0, "\0\4\0\0\xff\xff", 6); /* in the middle of it */
    peer_pump(&t.p, 0);
    expect_answer(1, 20000);
}

static void a_deadline_frees_what_nobody_reads(void **state)
{
    struct peer_field fields[] = {OK_HEAD, {"grpc-timeout", "2S"}, {NULL, NULL}};
    struct lh_buf block;

    (void)state;
    lh_buf_init(&block, 4096);
    peer_block(&block, fields);
    peer_greet(&t.p);
    peer_frame(&t.p, NGHTTP2_SETTINGS, 0, 0, "\0\4\0\0\0\0", 6);
    peer_frame(&t.p, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, block.p, block.n);
    peer_message(&t.p, 1, 1000, NGHTTP2_FLAG_END_STREAM);
    /* And one whose request never ends. */
    peer_frame(&t.p, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 3, block.p, block.n);
    lh_buf_done(&block);
    peer_pump(&t.p, 0);
    assert_false(peer_stream(&t.p, 1)->reset);
    lh_clock_step(2000);
    peer_pump(&t.p, 0);
    assert_int_equal(peer_stream(&t.p, 1)->reset_code, NGHTTP2_CANCEL);
    assert_int_equal(peer_stream(&t.p, 3)->grpc_status, LH_GRPC_DEADLINE_EXCEEDED);
    assert_null(t.server->conns->open.first);
    assert_int_equal(t.server->conns->buffered, 0);
}

static void a_client_that_says_goodbye_gets_its_answer(void **state)
{
    (void)state;
    peer_greet(&t.p);
    peer_call(&t.p, 1, KEEP, 1);
    peer_frame(&t.p, NGHTTP2_GOAWAY, 0, 0, "\0\0\0\0\0\0\0\0", 8);
    peer_pump(&t.p, 0);
    assert_false(t.p.closed);
    lh_grpc_reply(t.kept, LH_STR("bye"));
    peer_pump(&t.p, 0);
    expect_answer(1, 3);
    assert_true(t.p.closed);
    assert_null(t.server->conns);
}

static void half_a_socket_is_none(void **state)
{
    (void)state;
    peer_greet(&t.p);
    peer_call(&t.p, 1, KEEP, 1);
    peer_pump(&t.p, 0);
    shutdown(t.p.fd, SHUT_WR);
    peer_pump(&t.p, 0);
    assert_true(t.p.closed);
    assert_int_equal(t.n_cancelled, 1);
    assert_null(t.server->conns);
}

static struct junk_row {
    const char *name, *bytes;
    size_t n;
    bool greets;
} junk[] = {
    {"HTTP/1.1 is closed", BYTES("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), false},
    {"TLS is closed", BYTES("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 123456789"), false},
    {"DATA on no stream is closed", BYTES("\0\0\1\0\0\0\0\0\1x"), true},
    {"a frame of 16 MB is closed", BYTES("\xff\xff\xff\0\0\0\0\0\1"), true},
    {"HEADERS on a server's stream are closed", BYTES("\0\0\1\1\4\0\0\0\2\x82"), true},
    {"CONTINUATION of nothing is closed", BYTES("\0\0\1\x9\4\0\0\0\1\x82"), true},
    {"a header block that cannot be is closed", BYTES("\0\0\2\1\4\0\0\0\1\xff\xff"), true},
};

static void closes_junk(void **state)
{
    const struct junk_row *r = *state;

    if (r->greets)
        peer_greet(&t.p);
    lh_buf_put(&t.p.out, r->bytes, r->n);
    peer_pump(&t.p, 0);
    assert_true(t.p.closed);
    assert_null(t.server->conns);
}

static void more_streams_than_said_are_refused(void **state)
{
    (void)state;
    peer_greet(&t.p);
    for (int32_t i = 0; i < MAX_STREAMS + 5; i++)
        peer_head(&t.p, 2 * i + 1, ECHO, 0);
    peer_pump(&t.p, 0);
    assert_int_equal(t.p.resets, 5);
    assert_int_equal(peer_stream(&t.p, 2 * MAX_STREAMS + 1)->reset_code, NGHTTP2_REFUSED_STREAM);
    for (int32_t i = 0; i < MAX_STREAMS; i++)
        peer_message(&t.p, 2 * i + 1, 2, NGHTTP2_FLAG_END_STREAM);
    peer_pump(&t.p, 0);
    for (int32_t i = 0; i < MAX_STREAMS; i++)
        expect_answer(2 * i + 1, 2);
}

static void requests_in_memory_are_bounded(void **state)
{
    size_t most = 0, refused = 0;

    (void)state;
    peer_greet(&t.p);
    for (int32_t i = 0; i < MAX_STREAMS; i++) {
        peer_head(&t.p, 2 * i + 1, ECHO, 0);
        peer_message(&t.p, 2 * i + 1, MAX_MESSAGE, 0); /* no end: each stays */
        peer_pump(&t.p, 0);
        if (t.server->conns->buffered > most)
            most = t.server->conns->buffered;
        refused += peer_stream(&t.p, 2 * i + 1)->grpc_status == LH_GRPC_RESOURCE_EXHAUSTED;
    }
    assert_true(most <= t.server->max_buffered);
    assert_true(refused > 0);
}

static void a_drain_says_so_twice(void **state)
{
    (void)state;
    peer_greet(&t.p);
    peer_call(&t.p, 1, KEEP, 1);
    peer_pump(&t.p, 0);
    lh_grpc_server_drain(t.server, 10000, NULL, NULL);
    peer_pump(&t.p, 0);
    assert_int_equal(t.p.goaways, 1);
    /* It was under way when we said so: served, too. */
    peer_call(&t.p, 3, ECHO, 2);
    peer_pump(&t.p, 0);
    expect_answer(3, 2);
    lh_test_step(t.loop, 1000, 1000); /* the ping was not answered */
    peer_pump(&t.p, 0);
    assert_int_equal(t.p.goaways, 2);
    assert_false(t.p.closed);
    lh_grpc_reply(t.kept, LH_STR("x"));
    peer_pump(&t.p, 0);
    expect_answer(1, 1);
    assert_true(t.p.closed);
}

static int listen_in(struct lh_test_scratch *scratch, struct sockaddr_un *at)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    at->sun_family = AF_UNIX;
    snprintf(at->sun_path, sizeof(at->sun_path), "%.80s/s", scratch->path);
    if (bind(fd, (struct sockaddr *)at, sizeof(*at)) < 0 || listen(fd, 64) < 0)
        return -1;
    return lh_grpc_server_listen(t.server, fd, NULL);
}

/* Kubelets dial anew for each call. */
static void a_thousand_connections_leave_nothing(void **state)
{
    struct lh_test_scratch scratch;
    struct sockaddr_un at = {0};
    struct lh_grpc_server_stats stats;
    size_t live = 0, answered = 0;

    (void)state;
    assert_int_equal(lh_test_scratch_new(&scratch), 0);
    assert_int_equal(listen_in(&scratch, &at), 0);
    for (int i = 0; i < 1000; i++) {
        struct peer p;
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (i == 10)
            live = lh_mem_live_blocks();
        if (connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0) {
            peer_init(&p, t.loop, fd);
            peer_greet(&p);
            peer_call(&p, 1, ECHO, 3);
            peer_pump(&p, 0);
            answered += peer_stream(&p, 1)->grpc_status == 0;
            peer_done(&p);
        }
    }
    lh_test_step(t.loop, 10, 1);
    lh_test_scratch_done(&scratch);
    lh_grpc_server_stats(t.server, &stats);
    assert_int_equal(answered, 1000);
    assert_int_equal(stats.connections, 1001);
    assert_true(lh_mem_live_blocks() <= live);
}

/* Idle connections give way, busy ones do not; who waits gets in when one ends. */
static void connections_have_a_cap(void **state)
{
    struct lh_test_scratch scratch;
    struct sockaddr_un at = {0};
    struct peer p[MAX_CONNECTIONS + 1];

    (void)state;
    assert_int_equal(lh_test_scratch_new(&scratch), 0);
    assert_int_equal(listen_in(&scratch, &at), 0);
    peer_greet(&t.p);
    peer_pump(&t.p, 0);
    for (size_t i = 0; i < LH_ARRAY_LEN(p); i++) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        connect(fd, (struct sockaddr *)&at, sizeof(at));
        peer_init(&p[i], t.loop, fd);
        peer_greet(&p[i]);
        peer_call(&p[i], 1, KEEP, 1);
        peer_pump(&p[i], 0);
    }
    peer_pump(&t.p, 0);
    assert_true(t.p.closed);
    assert_int_equal(t.p.goaways, 1);
    assert_int_equal(t.server->n_connections, MAX_CONNECTIONS);
    assert_int_equal(t.n_called, MAX_CONNECTIONS);
    peer_done(&p[0]);
    lh_test_step(t.loop, 100, 50);
    peer_pump(&p[MAX_CONNECTIONS], 0);
    assert_int_equal(t.n_called, MAX_CONNECTIONS + 1);
    for (size_t i = 1; i < LH_ARRAY_LEN(p); i++)
        peer_done(&p[i]);
    lh_test_step(t.loop, 10, 1);
    lh_test_scratch_done(&scratch);
}

/* Whatever allocation fails: nothing leaks, and the next connection works. */
static void every_allocation_may_fail(void **state)
{
    bool hit = true;

    (void)state;
    for (unsigned long n = 1; hit; n++) {
        struct peer p;
        int fd[2];
        size_t live;
        unsigned long before;

        lh_test_step(t.loop, 2, 1);
        assert_true(n < 2000);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
        live = lh_mem_live_blocks();
        peer_init(&p, t.loop, fd[1]);
        lh_buf_reserve(&p.in, 100000);
        peer_greet(&p);
        peer_call(&p, 1, ECHO, 40000);
        peer_call(&p, 3, "/no", 10);
        peer_call(&p, 5, KEEP, 10);
        peer_frame(&p, NGHTTP2_RST_STREAM, 0, 5, "\0\0\0\x8", 4);
        before = lh_mem_count();
        lh_mem_fail_at(n);
        if (lh_grpc_server_adopt(t.server, fd[0], NULL) < 0)
            close(fd[0]);
        peer_pump(&p, 0);
        hit = lh_mem_count() - before >= n;
        lh_mem_fail_at(0);
        peer_done(&p);
        lh_test_step(t.loop, 2, 1);
        assert_int_equal(lh_mem_live_blocks(), live);
    }
    peer_greet(&t.p);
    expect_alive(1);
}

#define plain(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    struct CMUnitTest tests[LH_ARRAY_LEN(bodies) + LH_ARRAY_LEN(heads) + LH_ARRAY_LEN(junk) + 32] =
        {
            plain(settings_come_first_and_unasked),
            plain(bytes_may_come_one_by_one),
            plain(a_head_may_be_continued),
            plain(frames_may_be_padded_and_empty),
            plain(trailers_end_a_request),
            plain(too_much_is_refused_before_it_is_read),
            plain(resets_by_thousands_are_no_offence),
            plain(pings_by_thousands_are_answered),
            plain(who_does_not_read_is_not_read_from),
            plain(an_answer_waits_for_the_window),
            plain(a_deadline_frees_what_nobody_reads),
            plain(a_client_that_says_goodbye_gets_its_answer),
            plain(half_a_socket_is_none),
            plain(more_streams_than_said_are_refused),
            plain(requests_in_memory_are_bounded),
            plain(a_drain_says_so_twice),
            plain(a_thousand_connections_leave_nothing),
            plain(connections_have_a_cap),
            plain(every_allocation_may_fail),
        };
    size_t n = 19;

    memset(long_value, 'v', sizeof(long_value) - 1);
    for (size_t i = 0; i < LH_ARRAY_LEN(bodies); i++)
        tests[n++] =
            (struct CMUnitTest){bodies[i].name, refuses_a_body, setup, teardown, &bodies[i]};
    for (size_t i = 0; i < LH_ARRAY_LEN(heads); i++)
        tests[n++] = (struct CMUnitTest){heads[i].name, judges_a_head, setup, teardown, &heads[i]};
    for (size_t i = 0; i < LH_ARRAY_LEN(junk); i++)
        tests[n++] = (struct CMUnitTest){junk[i].name, closes_junk, setup, teardown, &junk[i]};
    lh_mem_init();
    return _cmocka_run_group_tests("grpc frames", tests, n, NULL, NULL);
}
