/* SPDX-License-Identifier: Apache-2.0 */
/* How many at once, how many a second, and for how long: on the virtual clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "leasehold/core/mem.h"
#include "rig.h"

static struct lh_http *http;
static struct outcome outs[40];

static int setup(void **state)
{
    memset(outs, 0, sizeof(outs));
    http = NULL;
    if (rig_setup(state) < 0)
        return -1;
    lh_clock_fake(1000000, 1795500000000);
    return 0;
}

static int teardown(void **state)
{
    for (size_t i = 0; i < LH_ARRAY_LEN(outs); i++)
        outcome_free(&outs[i]);
    lh_http_free(http);
    return rig_teardown(state);
}

/* Turns until nothing happens any more. */
static void settle(void)
{
    for (int quiet = 0; quiet < 5;) {
        unsigned before = rig.requests;

        lh_loop_turn(rig.loop, 5);
        quiet = rig.requests == before ? quiet + 1 : 0;
    }
}

static void answer(unsigned i)
{
    struct lh_call *call = rig.held[i];

    rig.held[i] = NULL;
    lh_call_answer(call, 200, "text/plain", LH_STR("ok"));
}

static void so_many_are_in_flight_and_the_rest_queue_in_order(void **state)
{
    struct lh_http_options o = rig_options();

    (void)state;
    o.max_in_flight = 3;
    http = rig_client(&o);
    for (int i = 0; i < 8; i++)
        rig_get(http, "/hold", &outs[i]);
    assert_true(rig_wait_held(3));
    settle();
    assert_int_equal(rig.n_held, 3);
    assert_int_equal(lh_http_in_flight(http), 3);
    assert_int_equal(lh_http_queued(http), 5);
    for (unsigned i = 0; i < 8; i++) {
        assert_true(rig_wait_held(i + 1));
        answer(i);
        assert_true(rig_wait(&outs[i]));
        assert_int_equal(outs[i].order, i + 1);
    }
    assert_int_equal(lh_http_in_flight(http) + lh_http_queued(http), 0);
}

static void so_many_start_in_a_second_after_a_burst(void **state)
{
    struct lh_http_options o = rig_options();

    (void)state;
    o.requests_per_second = 10;
    o.max_in_flight = 40;
    http = rig_client(&o);
    for (int i = 0; i < 25; i++)
        rig_get(http, "/echo", &outs[i]);
    settle();
    assert_int_equal(rig.requests, 10); /* the burst of one second */
    lh_clock_step(99);
    settle();
    assert_int_equal(rig.requests, 10);
    lh_clock_step(1);
    settle();
    assert_int_equal(rig.requests, 11);
    lh_clock_step(500);
    settle();
    assert_int_equal(rig.requests, 16);
    lh_clock_step(60000);
    settle();
    assert_int_equal(rig.requests, 25);
    assert_int_equal(outs[24].order, 25);
}

static void a_cancelled_request_makes_room(void **state)
{
    struct lh_http_options o = rig_options();

    (void)state;
    o.max_in_flight = 1;
    http = rig_client(&o);
    rig_get(http, "/hold", &outs[0]);
    rig_get(http, "/hold", &outs[1]);
    rig_get(http, "/echo", &outs[2]);
    assert_true(rig_wait_held(1));
    lh_http_cancel(outs[1].op); /* queued */
    lh_http_cancel(outs[0].op); /* running */
    assert_true(rig_wait(&outs[2]));
    assert_int_equal(outs[2].status, 200);
    assert_int_equal(outs[0].calls + outs[1].calls, 0);
}

/* --- time --- */

static void get_within(const char *path, unsigned timeout_ms, unsigned idle_ms)
{
    char url[256];
    struct lh_http_request req = {
        .method = "GET", .url = url, .timeout_ms = timeout_ms, .idle_timeout_ms = idle_ms};

    rig_url(path, url);
    rig_start(http, &req, &outs[0]);
}

static void timed_out(const char *says, bool sent)
{
    assert_true(outs[0].done);
    assert_int_equal(outs[0].code, LH_E_UNAVAILABLE);
    assert_string_equal(outs[0].reason, "Unreachable");
    assert_int_equal(outs[0].sent, sent);
    if (!strstr(outs[0].text, says))
        fail_msg("\"%s\" does not say \"%s\"", outs[0].text, says);
}

static void client(void)
{
    struct lh_http_options o = rig_options();

    http = rig_client(&o);
}

static void a_silent_server_is_given_up_after_the_idle_time(void **state)
{
    (void)state;
    client();
    get_within("/hold", 0, 0);
    assert_true(rig_wait_held(1));
    settle();
    lh_clock_step(9900);
    settle();
    assert_false(outs[0].done);
    lh_clock_step(200);
    settle();
    timed_out("no answer within", true);
}

static void a_stalled_body_is_given_up_after_the_idle_time(void **state)
{
    (void)state;
    client();
    get_within("/hold", 0, 3000);
    assert_true(rig_wait_held(1));
    lh_call_begin(rig.held[0], 200, "text/plain", NULL);
    lh_call_write(rig.held[0], LH_STR("some"));
    settle();
    lh_clock_step(2900);
    lh_call_write(rig.held[0], LH_STR("more"));
    settle();
    lh_clock_step(2900);
    settle();
    assert_false(outs[0].done);
    lh_clock_step(200);
    settle();
    timed_out("stopped for 3000 ms", true);
}

/* A byte now and then keeps the idle time away, not the end of the whole request. */
static void a_trickling_body_is_given_up_after_the_total_time(void **state)
{
    (void)state;
    client();
    get_within("/hold", 5000, 1000);
    assert_true(rig_wait_held(1));
    lh_call_begin(rig.held[0], 200, "text/plain", NULL);
    for (int i = 0; i < 10 && !outs[0].done; i++) {
        lh_call_write(rig.held[0], LH_STR("x"));
        settle();
        lh_clock_step(600);
        settle();
    }
    timed_out("did not end within 5000 ms", true);
}

/* The queue is ours, not the server's: its time does not count. */
static void waiting_in_the_queue_is_not_waiting_for_the_server(void **state)
{
    struct lh_http_options o = rig_options();

    (void)state;
    o.max_in_flight = 1;
    http = rig_client(&o);
    rig_get(http, "/hold", &outs[1]);
    get_within("/echo", 1000, 0);
    assert_true(rig_wait_held(1));
    lh_clock_step(5000);
    settle();
    assert_false(outs[0].done);
    answer(0);
    assert_true(rig_wait(&outs[0]));
    assert_int_equal(outs[0].status, 200);
    assert_int_equal(outs[0].sent_at, 1005000);
}

/* The kernel accepts, nobody shakes hands. */
static void a_handshake_that_never_ends_is_given_up(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool bound = bind(fd, (struct sockaddr *)&a, len) == 0 && listen(fd, 1) == 0 &&
                 getsockname(fd, (struct sockaddr *)&a, &len) == 0;

    (void)state;
    snprintf(rig.base, sizeof(rig.base), "https://127.0.0.1:%u", ntohs(a.sin_port));
    client();
    get_within("/echo", 0, 0);
    settle();
    lh_clock_step(4900);
    settle();
    assert_false(outs[0].done);
    lh_clock_step(200);
    settle();
    close(fd);
    assert_true(bound);
    timed_out("the TLS handshake did not end within 5100 ms", false);
}

static void idle_connections_are_dropped_after_a_minute(void **state)
{
    struct lh_server_stats stats;

    (void)state;
    client();
    rig_get(http, "/echo", &outs[0]);
    assert_true(rig_wait(&outs[0]));
    lh_clock_step(59000);
    settle();
    lh_server_stats(rig.server, &stats);
    assert_int_equal(stats.connections, 1);
    lh_clock_step(2000);
    settle();
    lh_server_stats(rig.server, &stats);
    assert_int_equal(stats.connections, 0);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(so_many_are_in_flight_and_the_rest_queue_in_order),
        T(so_many_start_in_a_second_after_a_burst),
        T(a_cancelled_request_makes_room),
        T(a_silent_server_is_given_up_after_the_idle_time),
        T(a_stalled_body_is_given_up_after_the_idle_time),
        T(a_trickling_body_is_given_up_after_the_total_time),
        T(waiting_in_the_queue_is_not_waiting_for_the_server),
        T(a_handshake_that_never_ends_is_given_up),
        T(idle_connections_are_dropped_after_a_minute),
    };

    return cmocka_run_group_tests(tests, rig_group_setup, rig_group_teardown);
}
