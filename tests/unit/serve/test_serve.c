/* SPDX-License-Identifier: Apache-2.0 */
/* Requests over plain sockets: what is answered, what is refused, and for how long one waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "leasehold/core/clock.h"
#include "leasehold/core/mem.h"
#include "peer.h"
#include "support.h"

#define HOST "Host: h\r\n"

enum { BIG = 24 << 20 }; /* more than a kernel keeps for a socket */

static struct lh_server *server;
static struct lh_listener *listener;
static struct lh_call *held[8];
static unsigned n_held, port;
static char last_peer[64], last_query[64], last_token[64];
static struct peer peer;
static bool drained;

static void on_echo(void *arg, const struct lh_request *req, struct lh_call *call)
{
    struct lh_str token = lh_call_header(call, "X-Token");

    (void)arg;
    snprintf(last_peer, sizeof(last_peer), "%s", req->peer);
    snprintf(last_query, sizeof(last_query), "%.*s", (int)req->query.n, req->query.p);
    snprintf(last_token, sizeof(last_token), "%.*s", (int)token.n, token.p ? token.p : "");
    lh_call_answer(call, 200, "text/plain", req->body.n ? req->body : LH_STR("hello"));
}

static void on_hold(void *arg, const struct lh_request *req, struct lh_call *call)
{
    (void)arg;
    (void)req;
    held[n_held++ % LH_ARRAY_LEN(held)] = call;
}

static void on_pieces(void *arg, const struct lh_request *req, struct lh_call *call)
{
    (void)arg;
    (void)req;
    lh_call_begin(call, 200, "text/plain", "X-Extra: yes\r\n");
    lh_call_write(call, LH_STR("one"));
    lh_call_write(call, LH_STR(""));
    lh_call_write(call, LH_STR("two"));
    lh_call_end(call);
}

static void on_big(void *arg, const struct lh_request *req, struct lh_call *call)
{
    size_t n = BIG;
    char *body = lh_calloc(1, n);

    (void)arg;
    (void)req;
    memset(body, 'b', n);
    lh_call_answer(call, 200, "text/plain", (struct lh_str){body, n});
    lh_free(body);
}

static void on_none(void *arg, const struct lh_request *req, struct lh_call *call)
{
    (void)arg;
    (void)req;
    lh_call_answer(call, 204, NULL, LH_STR(""));
}

static void on_drop(void *arg, const struct lh_request *req, struct lh_call *call)
{
    (void)arg;
    (void)req;
    lh_call_abort(call);
}

static const struct lh_route routes[] = {
    {"GET", "/", on_echo, 0},         {"POST", "/", on_echo, 64},     {"GET", "/hold", on_hold, 0},
    {"GET", "/pieces", on_pieces, 0}, {"GET", "/big", on_big, 0},     {"GET", "/none", on_none, 0},
    {"GET", "/drop", on_drop, 0},     {NULL, "/tree/*", on_echo, 16}, {0}};

static int setup(void **state)
{
    struct lh_listener_options o = {.address = "127.0.0.1:0", .routes = routes};

    (void)state;
    n_held = 0;
    drained = false;
    memset(held, 0, sizeof(held));
    peer.fd = -1;
    lh_clock_fake(1000000, 1795500000000);
    if (lh_loop_new(&peer_loop, NULL) < 0 || lh_server_new(peer_loop, &server, NULL) < 0 ||
        lh_server_listen(server, &o, &listener, NULL) < 0)
        return -1;
    port = lh_listener_port(listener);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    peer_close(&peer);
    for (size_t i = 0; i < LH_ARRAY_LEN(held); i++) {
        if (held[i])
            lh_call_abort(held[i]);
    }
    lh_server_free(server);
    lh_loop_free(peer_loop);
    lh_clock_real();
    return 0;
}

static struct lh_server_stats stats(void)
{
    struct lh_server_stats s;

    lh_server_stats(server, &s);
    return s;
}

static struct row {
    const char *name, *request;
    const char *first; /* of the answer */
    const char *also;  /* somewhere in it */
    bool stays;        /* the connection serves another request */
} rows[] = {
    {"GET", "GET / HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 200 OK\r\n", "\r\n\r\nhello", true},
    {"POST", "POST / HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nbody", "HTTP/1.1 200 OK\r\n",
     "\r\n\r\nbody", true},
    {"a chunked POST",
     "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n",
     "HTTP/1.1 200 OK\r\n", "\r\n\r\nbody", true},
    {"a type and a length", "GET / HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 200 OK\r\n",
     "\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n", true},
    {"a date", "GET / HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 200 OK\r\n",
     "\r\nDate: Tue, 24 Nov 2026 06:00:00 GMT\r\n", true},
    {"HEAD finds GET", "HEAD / HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 200 OK\r\n",
     "Content-Length: 5\r\n\r\n", true},
    {"a prefix", "DELETE /tree/x/y HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 200 OK\r\n", "hello", true},
    {"an escaped path", "GET /tree%2Fx HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 200 OK\r\n", "hello",
     true},
    {"an answer in pieces", "GET /pieces HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 200 OK\r\n",
     "\r\nX-Extra: yes\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n",
     true},
    {"pieces to HTTP/1.0", "GET /pieces HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\n",
     "Connection: close\r\n\r\nonetwo", false},
    {"no content", "GET /none HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 204 No Content\r\n", "\r\n\r\n",
     true},
    {"empty lines before", "\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 200 OK\r\n", "hello",
     true},
    {"Connection: close", "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n",
     "HTTP/1.1 200 OK\r\n", "Connection: close\r\n", false},
    {"HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\n", "Connection: close\r\n", false},
    {"no such path", "GET /no HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 404 Not Found\r\n", "404", true},
    {"no such path, with a body", "POST /no HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nbody",
     "HTTP/1.1 404 Not Found\r\n", "Connection: close\r\n", false},
    {"another method", "PUT / HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 405 Method Not Allowed\r\n",
     "\r\nAllow: GET, POST\r\n", true},
    {"HEAD of what is no path", "HEAD /no HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 404 Not Found\r\n",
     "\r\n\r\n", true},
    {"a body that is too long", "POST / HTTP/1.1\r\n" HOST "Content-Length: 65\r\n\r\n",
     "HTTP/1.1 413 Content Too Large\r\n", "Connection: close\r\n", false},
    {"a body where none belongs", "GET / HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx",
     "HTTP/1.1 413 Content Too Large\r\n", "Connection: close\r\n", false},
    {"chunks that are too long",
     "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n41\r\n"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
     "HTTP/1.1 413 Content Too Large\r\n", "Connection: close\r\n", false},
    {"broken chunks", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nxx\r\n",
     "HTTP/1.1 400 Bad Request\r\n", "Connection: close\r\n", false},
    {"no request", "hello\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n", "Connection: close\r\n", false},
    {"a TLS record", "\x16\x03\x01\x02", "HTTP/1.1 400 Bad Request\r\n", "Connection: close\r\n",
     false},
    {"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 ", "Connection: close\r\n", false},
    {"another encoding", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n",
     "HTTP/1.1 501 Not Implemented\r\n", "Connection: close\r\n", false},
};

static void answers(void **state)
{
    const struct row *r = *state;

    peer_open(&peer, port);
    peer_send(&peer, r->request);
    assert_true(peer_wait_for(&peer, r->also));
    if (strncmp(peer.got, r->first, strlen(r->first)) != 0)
        fail_msg("%s", peer.got);
    if (!r->stays) {
        assert_true(peer_wait_end(&peer));
        assert_int_equal(peer_count(&peer, "HTTP/1.1 "), 1);
        return;
    }
    peer_turns(&peer, 3);
    assert_false(peer.ended);
    if (strncmp(r->request, "HEAD", 4) == 0)
        assert_memory_equal(peer.got + peer.n - 4, "\r\n\r\n", 4);
    peer_forget(&peer);
    peer_send(&peer, "GET / HTTP/1.1\r\n" HOST "\r\n");
    assert_true(peer_wait_for(&peer, "\r\n\r\nhello"));
}

static void a_handler_sees_the_request(void **state)
{
    (void)state;
    peer_open(&peer, port);
    peer_send(&peer, "GET /?a=%20 HTTP/1.1\r\n" HOST "x-token: s.1\r\n\r\n");
    assert_true(peer_wait_for(&peer, "hello"));
    assert_string_equal(last_peer, "127.0.0.1");
    assert_string_equal(last_query, "a=%20");
    assert_string_equal(last_token, "s.1");
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    peer_open(&peer, port);
    peer_send(&peer, "GET /hold HTTP/1.1\r\n" HOST "\r\nPOST / HTTP/1.1\r\n" HOST
                     "Content-Length: 3\r\n\r\ntwoGET /no HTTP/1.1\r\n" HOST "\r\n");
    peer_turns(&peer, 5);
    assert_int_equal(n_held, 1);
    assert_int_equal(peer.n, 0);
    lh_call_answer(held[0], 200, "text/plain", LH_STR("one"));
    held[0] = NULL;
    assert_true(peer_wait_for(&peer, "404 Not Found\n"));
    assert_true(strstr(peer.got, "\r\n\r\none") < strstr(peer.got, "\r\n\r\ntwo"));
    assert_int_equal(peer_count(&peer, "HTTP/1.1 "), 3);
}

static void a_request_may_come_byte_by_byte(void **state)
{
    static const char text[] = "POST / HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nbody";

    (void)state;
    peer_open(&peer, port);
    for (size_t i = 0; i + 1 < sizeof(text); i++) {
        peer_send_bytes(&peer, text + i, 1);
        lh_loop_turn(peer_loop, 2);
    }
    assert_true(peer_wait_for(&peer, "\r\n\r\nbody"));
}

static void whoever_asks_may_go_on(void **state)
{
    (void)state;
    peer_open(&peer, port);
    peer_send(&peer,
              "POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    assert_true(peer_wait_for(&peer, "HTTP/1.1 100 Continue\r\n\r\n"));
    peer_send(&peer, "body");
    assert_true(peer_wait_for(&peer, "\r\n\r\nbody"));
}

static void a_head_past_16_kib_is_refused(void **state)
{
    static char line[1025];

    (void)state;
    memset(line, 'x', 1022);
    memcpy(line, "X: ", 3);
    memcpy(line + 1022, "\r\n", 3);
    peer_open(&peer, port);
    peer_send(&peer, "GET / HTTP/1.1\r\n" HOST);
    for (int i = 0; i < 40 && !peer.ended; i++)
        peer_send(&peer, line);
    assert_true(peer_wait_for(&peer, "HTTP/1.1 431 "));
    assert_true(peer_wait_end(&peer));
    assert_int_equal(stats().too_large, 1);
}

/* The answer must not be lost to a reset because the body was still on its way. */
static void a_refusal_is_read_by_who_is_still_sending(void **state)
{
    static char body[300000];

    (void)state;
    peer_open(&peer, port);
    peer_send(&peer, "POST / HTTP/1.1\r\n" HOST "Content-Length: 300000\r\n\r\n");
    peer_send_bytes(&peer, body, sizeof(body));
    assert_true(peer_wait_for(&peer, "HTTP/1.1 413 "));
    assert_true(peer_wait_end(&peer));
}

/* --- time --- */

static void slow(const char *part, const char *says)
{
    peer_open(&peer, port);
    peer_send(&peer, part);
    peer_turns(&peer, 5);
    lh_clock_step(4900);
    peer_turns(&peer, 5);
    assert_false(peer.ended);
    assert_int_equal(peer.n, 0);
    lh_clock_step(200);
    assert_true(peer_wait_for(&peer, says));
    assert_true(peer_wait_end(&peer));
    assert_int_equal(stats().timeouts, 1);
}

static void a_slow_head_is_answered_408(void **state)
{
    (void)state;
    slow("GET / HTTP/1.1\r\nHos", "HTTP/1.1 408 ");
}

static void a_slow_body_is_answered_408(void **state)
{
    (void)state;
    slow("POST / HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nbo", "HTTP/1.1 408 ");
}

/* A byte now and then does not buy more time. */
static void a_trickling_head_is_answered_408(void **state)
{
    (void)state;
    peer_open(&peer, port);
    peer_send(&peer, "GET / HTTP/1.1\r\nX: ");
    for (int i = 0; i < 6; i++) {
        peer_turns(&peer, 2);
        lh_clock_step(1000);
        peer_send(&peer, "x");
        peer_turns(&peer, 2);
    }
    assert_true(peer_wait_for(&peer, "HTTP/1.1 408 "));
}

static void an_idle_connection_is_closed_without_a_word(void **state)
{
    (void)state;
    peer_open(&peer, port);
    peer_send(&peer, "GET / HTTP/1.1\r\n" HOST "\r\n");
    assert_true(peer_wait_for(&peer, "hello"));
    peer_forget(&peer);
    peer_turns(&peer, 5);
    lh_clock_step(89000);
    peer_turns(&peer, 5);
    assert_false(peer.ended);
    lh_clock_step(2000);
    assert_true(peer_wait_end(&peer));
    assert_int_equal(peer.n, 0);
}

static void a_connection_that_never_speaks_is_closed(void **state)
{
    (void)state;
    peer_open(&peer, port);
    peer_turns(&peer, 5);
    assert_int_equal(stats().connections, 1);
    lh_clock_step(90001);
    assert_true(peer_wait_end(&peer));
    peer_turns(NULL, 3);
    assert_int_equal(stats().connections, 0);
}

static void who_does_not_read_is_given_up(void **state)
{
    (void)state;
    peer_open(&peer, port);
    peer_send(&peer, "GET /big HTTP/1.1\r\n" HOST "\r\n");
    for (int i = 0; i < 2000; i++)
        lh_loop_turn(peer_loop, 0);
    peer_turns(NULL, 20);
    lh_clock_step(89000);
    peer_turns(NULL, 5);
    assert_int_equal(stats().connections, 1);
    lh_clock_step(2000);
    peer_turns(NULL, 5);
    assert_int_equal(stats().connections, 0);
    assert_int_equal(stats().timeouts, 1);
}

static void who_reads_gets_all_of_it(void **state)
{
    (void)state;
    peer_open(&peer, port);
    peer_send(&peer, "GET /big HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    assert_true(peer_wait_end(&peer));
    assert_true(peer.total > BIG);
}

/* --- peers that go --- */

static void a_call_outlives_its_connection(void **state)
{
    (void)state;
    peer_open(&peer, port);
    peer_send(&peer, "GET /hold HTTP/1.1\r\n" HOST "X-Token: kept\r\n\r\n");
    peer_turns(&peer, 5);
    assert_int_equal(n_held, 1);
    peer_close(&peer);
    peer_turns(NULL, 5);
    assert_int_equal(stats().connections, 0);
    assert_true(lh_str_eqz(lh_call_header(held[0], "x-token"), "kept"));
    lh_call_answer(held[0], 200, "text/plain", LH_STR("for nobody"));
    held[0] = NULL;
}

static void a_half_closed_connection_is_let_go(void **state)
{
    static const char *const parts[] = {"", "GET / HT",
                                        "POST / HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\nhalf"};

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(parts); i++) {
        peer_open(&peer, port);
        peer_send(&peer, parts[i]);
        peer_turns(&peer, 2);
        shutdown(peer.fd, SHUT_WR);
        assert_true(peer_wait_end(&peer));
        peer_turns(NULL, 2);
        assert_int_equal(stats().connections, 0);
        peer_close(&peer);
    }
}

static void a_reset_is_survived(void **state)
{
    struct linger hard = {1, 0};

    (void)state;
    peer_open(&peer, port);
    peer_send(&peer, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
    peer_turns(&peer, 3);
    setsockopt(peer.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    peer_close(&peer);
    peer_turns(NULL, 5);
    assert_int_equal(stats().connections, 0);
    peer_open(&peer, port);
    peer_send(&peer, "GET / HTTP/1.1\r\n" HOST "\r\n");
    assert_true(peer_wait_for(&peer, "hello"));
}

static void an_aborted_call_drops_the_connection(void **state)
{
    (void)state;
    peer_open(&peer, port);
    peer_send(&peer, "GET /drop HTTP/1.1\r\n" HOST "\r\n");
    assert_true(peer_wait_end(&peer));
    assert_int_equal(peer.n, 0);
}

enum { MANY = 600, LIMIT = 512 };

static bool all_served(void *arg)
{
    struct peer *peers = arg;
    unsigned served = 0, ended = 0;

    for (int i = 0; i < MANY; i++) {
        if (!peers[i].ended && !strstr(peers[i].got, "hello"))
            peer_read(&peers[i]);
        ended += peers[i].ended;
        served += strstr(peers[i].got, "hello") != NULL;
    }
    return served == LIMIT && ended == MANY - LIMIT;
}

static void of_600_connections_512_are_served(void **state)
{
    struct rlimit rl;
    struct peer *peers;

    (void)state;
    getrlimit(RLIMIT_NOFILE, &rl);
    rl.rlim_cur = rl.rlim_max < 4096 ? rl.rlim_max : 4096;
    if (rl.rlim_cur < 1400 || setrlimit(RLIMIT_NOFILE, &rl) < 0)
        skip();
    peers = lh_calloc(MANY, sizeof(*peers));
    for (int i = 0; i < MANY; i++) {
        peer_open(&peers[i], port);
        peer_send(&peers[i], "GET / HTTP/1.1\r\n" HOST "\r\n");
    }
    assert_true(lh_test_run_until(peer_loop, all_served, peers));
    assert_int_equal(stats().connections, LIMIT);
    assert_int_equal(stats().refused, MANY - LIMIT);
    /* Whoever goes makes room. */
    for (int i = 0; i < MANY; i++)
        peer_close(&peers[i]);
    lh_free(peers);
    peer_turns(NULL, 5);
    assert_int_equal(stats().connections, 0);
    peer_open(&peer, port);
    peer_send(&peer, "GET / HTTP/1.1\r\n" HOST "\r\n");
    assert_true(peer_wait_for(&peer, "hello"));
}

/* --- drain --- */

static void on_drained(void *arg)
{
    (void)arg;
    drained = true;
}

static void a_drain_ends_idle_and_finishes_busy_connections(void **state)
{
    struct peer idle, late;

    (void)state;
    peer_open(&idle, port);
    peer_send(&idle, "GET / HTTP/1.1\r\n" HOST "\r\n");
    assert_true(peer_wait_for(&idle, "hello"));
    peer_open(&peer, port);
    peer_send(&peer, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
    peer_turns(&peer, 3);
    lh_server_drain(server, 30000, on_drained, NULL);
    assert_true(peer_wait_end(&idle));
    peer_close(&idle);
    peer_open(&late, port);
    assert_true(late.ended); /* nobody listens */
    peer_close(&late);
    peer_turns(&peer, 3);
    assert_false(drained);
    lh_call_answer(held[0], 200, "text/plain", LH_STR("still"));
    held[0] = NULL;
    assert_true(peer_wait_for(&peer, "\r\n\r\nstill"));
    assert_true(peer_wait_end(&peer));
    assert_non_null(strstr(peer.got, "\r\nConnection: close\r\n"));
    peer_close(&peer);
    assert_true(lh_test_run_until_set(peer_loop, &drained));
}

/* It lies in the kernel, and nobody has looked at it. */
static void a_drain_serves_what_was_sent_before_it(void **state)
{
    struct peer waiting;

    (void)state;
    peer_open(&peer, port);
    peer_send(&peer, "GET / HTTP/1.1\r\n" HOST "\r\n");
    assert_true(peer_wait_for(&peer, "hello"));
    peer_turns(&peer, 3);
    peer_forget(&peer);
    peer_send(&peer, "GET / HTTP/1.1\r\n" HOST "\r\n");
    lh_server_drain(server, 3000, on_drained, NULL);
    assert_true(peer_wait_for(&peer, "hello"));
    assert_non_null(strstr(peer.got, "\r\nConnection: close\r\n"));
    assert_true(peer_wait_end(&peer));
    peer_close(&peer);
    assert_true(lh_test_run_until_set(peer_loop, &drained));
    peer_open(&waiting, port);
    assert_true(waiting.ended);
    peer_close(&waiting);
}

static void a_retired_server_serves_on_and_sends_away(void **state)
{
    (void)state;
    lh_server_retire(server);
    for (int i = 0; i < 2; i++) {
        peer_open(&peer, port);
        peer_send(&peer, "GET / HTTP/1.1\r\n" HOST "\r\n");
        assert_true(peer_wait_for(&peer, "\r\n\r\nhello"));
        assert_non_null(strstr(peer.got, "\r\nConnection: close\r\n"));
        assert_true(peer_wait_end(&peer));
        peer_close(&peer);
    }
}

static void a_drain_ends_after_its_grace(void **state)
{
    (void)state;
    peer_open(&peer, port);
    peer_send(&peer, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
    peer_turns(&peer, 3);
    lh_server_drain(server, 3000, on_drained, NULL);
    lh_clock_step(2900);
    peer_turns(&peer, 3);
    assert_false(drained);
    lh_clock_step(200);
    assert_true(lh_test_run_until_set(peer_loop, &drained));
    assert_true(peer_wait_end(&peer));
}

static void a_drain_of_nothing_is_done_at_once(void **state)
{
    (void)state;
    lh_server_drain(server, 3000, on_drained, NULL);
    assert_false(drained); /* from the loop */
    assert_true(lh_test_run_until_set(peer_loop, &drained));
}

/* --- addresses --- */

static struct address {
    const char *address;
    int want;
} addresses[] = {
    {"127.0.0.1:0", 0},
    {":0", 0},
    {"[::1]:0", 0},
    {"127.0.0.1", LH_E_INVALID},
    {"127.0.0.1:", LH_E_INVALID},
    {"127.0.0.1:65536", LH_E_INVALID},
    {"localhost:80", LH_E_INVALID},
    {"[::1:0", LH_E_INVALID},
    {"::1:0", LH_E_INVALID},
    {"", LH_E_INVALID},
    {"192.0.2.1:0", LH_E_OS}, /* not ours */
};

static void listens_where_it_is_told(void **state)
{
    const struct address *a = *state;
    struct lh_listener_options o = {.address = a->address, .routes = routes};
    struct lh_listener *l = NULL;
    struct lh_err err = {0};
    int rc = lh_server_listen(server, &o, &l, &err);

    if (rc == -LH_E_OS && strchr(a->address, '[')) /* no IPv6 here */
        skip();
    assert_int_equal(rc, -a->want);
    if (a->want) {
        assert_null(l);
        return;
    }
    assert_true(lh_listener_port(l) > 0);
}

static void a_port_in_use_is_named(void **state)
{
    char address[32];
    struct lh_listener_options o = {.address = address, .routes = routes};
    struct lh_listener *l = NULL;
    struct lh_err err = {0};

    (void)state;
    snprintf(address, sizeof(address), "127.0.0.1:%u", port);
    assert_int_equal(lh_server_listen(server, &o, &l, &err), -LH_E_OS);
    assert_non_null(strstr(err.msg, address));
}

/* The guest loop's timers run while the host waits for sockets, and the other way round. */
static void on_timer(void *arg)
{
    *(bool *)arg = true;
    lh_loop_stop(peer_loop);
}

static void the_loop_runs_inside_the_server(void **state)
{
    struct lh_timer *t = NULL;
    bool fired = false;

    (void)state;
    lh_clock_real();
    assert_int_equal(lh_timer_new(peer_loop, on_timer, &fired, &t, NULL), 0);
    lh_timer_in(t, 30);
    assert_int_equal(lh_loop_run(peer_loop, NULL), 0);
    assert_true(fired);
    lh_timer_free(t);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    static struct CMUnitTest tests[80] = {
        T(a_handler_sees_the_request),
        T(pipelined_requests_are_answered_in_order),
        T(a_request_may_come_byte_by_byte),
        T(whoever_asks_may_go_on),
        T(a_head_past_16_kib_is_refused),
        T(a_refusal_is_read_by_who_is_still_sending),
        T(a_slow_head_is_answered_408),
        T(a_slow_body_is_answered_408),
        T(a_trickling_head_is_answered_408),
        T(an_idle_connection_is_closed_without_a_word),
        T(a_connection_that_never_speaks_is_closed),
        T(who_does_not_read_is_given_up),
        T(who_reads_gets_all_of_it),
        T(a_call_outlives_its_connection),
        T(a_half_closed_connection_is_let_go),
        T(a_reset_is_survived),
        T(an_aborted_call_drops_the_connection),
        T(of_600_connections_512_are_served),
        T(a_drain_ends_idle_and_finishes_busy_connections),
        T(a_drain_serves_what_was_sent_before_it),
        T(a_retired_server_serves_on_and_sends_away),
        T(a_drain_ends_after_its_grace),
        T(a_drain_of_nothing_is_done_at_once),
        T(a_port_in_use_is_named),
        T(the_loop_runs_inside_the_server),
    };
    size_t n = 25;

    lh_mem_init();
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++)
        tests[n++] = (struct CMUnitTest){rows[i].name, answers, setup, teardown, &rows[i]};
    for (size_t i = 0; i < LH_ARRAY_LEN(addresses); i++)
        tests[n++] = (struct CMUnitTest){addresses[i].address, listens_where_it_is_told, setup,
                                         teardown, &addresses[i]};
    return _cmocka_run_group_tests("serve", tests, n, NULL, NULL);
}
