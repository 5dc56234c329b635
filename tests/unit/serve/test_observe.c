/* SPDX-License-Identifier: Apache-2.0 */
/* /metrics, /status, /healthz and /readyz: what is answered in which state. */
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

#include "leasehold/core/metrics.h"
#include "leasehold/serve/observe.h"
#include "peer.h"
#include "support.h"

enum { PORT_BYTES = 32 };

static struct lh_server *server;
static struct peer peer;
static bool healthy, ready;
static unsigned measured;
static size_t status_bytes;

static void measure(void *arg)
{
    (void)arg;
    measured++;
}

static void put_status(void *arg, struct lh_buf *b)
{
    lh_buf_printf(b, "{\"name\":\"%s\"}", (const char *)arg);
    for (size_t i = 0; i < status_bytes; i++)
        lh_buf_put_c(b, ' ');
}

static bool is_healthy(void *arg, struct lh_buf *why)
{
    (void)arg;
    lh_buf_put_z(why, "stuck");
    return healthy;
}

static bool is_ready(void *arg, struct lh_buf *why)
{
    (void)arg;
    lh_buf_put_z(why, "nothing known yet");
    return ready;
}

static char name[] = "x";
static struct lh_observe whole = {.arg = name,
                                  .text_max = 64 * 1024,
                                  .measure = measure,
                                  .status = put_status,
                                  .healthy = is_healthy,
                                  .ready = is_ready};
static struct lh_observe least = {.arg = name, .text_max = 64 * 1024};

static int setup(void **state)
{
    (void)state;
    healthy = ready = true;
    measured = 0;
    status_bytes = 0;
    peer.fd = -1;
    return lh_loop_new(&peer_loop, NULL) < 0 || lh_server_new(peer_loop, &server, NULL) < 0 ? -1
                                                                                            : 0;
}

static int teardown(void **state)
{
    (void)state;
    peer_close(&peer);
    lh_server_free(server);
    lh_loop_free(peer_loop);
    lh_metrics_reset();
    return 0;
}

/* A port that nobody has any more: the listener's own number is not shown. */
static unsigned serve(struct lh_observe *o)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t n = sizeof(a);
    int taken = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char address[PORT_BYTES];
    struct lh_err err;

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(taken, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(taken, 1), 0);
    assert_int_equal(getsockname(taken, (struct sockaddr *)&a, &n), 0);
    snprintf(address, sizeof(address), "127.0.0.1:%u", ntohs(a.sin_port));
    o->loop = peer_loop;
    assert_int_equal(lh_observe_listen(server, address, o, &err), -LH_E_OS);
    assert_non_null(strstr(err.msg, address));
    close(taken);
    assert_int_equal(lh_observe_listen(server, address, o, &err), 0);
    return ntohs(a.sin_port);
}

static const char *get(unsigned port, const char *path)
{
    char request[128];

    peer_close(&peer);
    peer_open(&peer, port);
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
             path);
    peer_send(&peer, request);
    assert_true(peer_wait_end(&peer));
    return peer.got;
}

#define assert_answer(text, status, body)                                                          \
    do {                                                                                           \
        const char *got_ = (text);                                                                 \
        assert_non_null(strstr(got_, "HTTP/1.1 " status " "));                                     \
        assert_non_null(strstr(got_, body));                                                       \
    } while (0)

static void answers_by_state(void **state)
{
    unsigned port = serve(&whole);

    (void)state;
    assert_answer(get(port, "/healthz"), "200", "\r\n\r\nok\n");
    assert_answer(get(port, "/readyz"), "200", "\r\n\r\nok\n");
    healthy = ready = false;
    assert_answer(get(port, "/healthz"), "503", "\r\n\r\nstuck\n");
    assert_answer(get(port, "/readyz"), "503", "\r\n\r\nnothing known yet\n");
    assert_answer(get(port, "/status"), "200", "\r\n\r\n{\"name\":\"x\"}\n");
    assert_non_null(strstr(peer.got, "Content-Type: application/json\r\n"));
    assert_int_equal(measured, 0);
    assert_answer(get(port, "/metrics"), "200", "\nprocess_anonymous_memory_bytes ");
    assert_non_null(strstr(peer.got, "\nleasehold_locked_memory_used_bytes "));
    assert_non_null(strstr(peer.got, "\nleasehold_loop_slow_turns_total "));
    assert_non_null(strstr(peer.got, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert_int_equal(measured, 1);
}

static void what_a_program_lacks_is_not_found(void **state)
{
    unsigned port = serve(&least);

    (void)state;
    assert_answer(get(port, "/healthz"), "200", "\r\n\r\nok\n");
    assert_answer(get(port, "/readyz"), "404", "");
    assert_answer(get(port, "/status"), "404", "");
    assert_answer(get(port, "/metrics"), "200", "\nprocess_anonymous_memory_bytes ");
}

static void too_long_is_no_half_answer(void **state)
{
    unsigned port = serve(&whole);

    (void)state;
    status_bytes = whole.text_max;
    assert_answer(get(port, "/status"), "500", "");
    assert_null(strstr(peer.got, "{\"name\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers_by_state, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_program_lacks_is_not_found, setup, teardown),
        cmocka_unit_test_setup_teardown(too_long_is_no_half_answer, setup, teardown),
    };

    return cmocka_run_group_tests_name("serve/observe", tests, NULL, NULL);
}
