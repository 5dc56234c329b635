/* SPDX-License-Identifier: Apache-2.0 */
/* Streams, and what may be done from inside a callback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "leasehold/core/mem.h"
#include "rig.h"

static struct lh_http *http;

struct stream {
    struct outcome out;
    char got[256];
    size_t n, total;
    int status;
    unsigned pieces;
    bool pause_each;
    enum { NOTHING, CANCEL_SELF, CANCEL_OTHER, FREE_CLIENT, START_MORE } then;
    struct stream *other;
};
static struct stream a, b;

static int setup(void **state)
{
    struct lh_http_options o = rig_options();

    memset(&a, 0, sizeof(a));
    memset(&b, 0, sizeof(b));
    if (rig_setup(state) < 0)
        return -1;
    return lh_http_new(rig.loop, &o, &http, NULL);
}

static int teardown(void **state)
{
    outcome_free(&a.out);
    outcome_free(&b.out);
    lh_http_free(http);
    return rig_teardown(state);
}

static void on_done(void *arg, const struct lh_http_answer *ans, const struct lh_err *err);

static void act(struct stream *s)
{
    char url[256];
    struct lh_http_request req = {.method = "GET", .url = url};

    switch (s->then) {
    case NOTHING:
        break;
    case CANCEL_SELF:
        lh_http_cancel(s->out.op);
        break;
    case CANCEL_OTHER:
        lh_http_cancel(s->other->out.op);
        break;
    case FREE_CLIENT:
        lh_http_free(http);
        http = NULL;
        break;
    case START_MORE:
        rig_url("/echo", url);
        lh_http_start(http, &req, on_done, s->other, &s->other->out.op, NULL);
        break;
    }
    s->then = NOTHING;
}

static int on_data(void *arg, int status, struct lh_str bytes)
{
    struct stream *s = arg;

    s->status = status;
    s->pieces++;
    for (size_t i = 0; i < bytes.n && s->n < sizeof(s->got) - 1; i++)
        s->got[s->n++] = bytes.p[i];
    s->total += bytes.n;
    act(s);
    return s->pause_each;
}

static void on_done(void *arg, const struct lh_http_answer *ans, const struct lh_err *err)
{
    struct stream *s = arg;

    s->out.calls++;
    s->out.done = true;
    s->out.is_answer = ans != NULL;
    s->out.status = ans ? ans->status : 0;
    s->out.code = err ? err->code : 0;
    snprintf(s->out.text, sizeof(s->out.text), "%s", err ? err->msg : "");
    s->out.body_len = ans ? lh_secret_len(ans->body) : 0;
    act(s);
}

static void start(struct stream *s, const char *path, bool streaming, unsigned idle_ms)
{
    char url[256];
    struct lh_http_request req = {.method = "GET",
                                  .url = url,
                                  .on_data = streaming ? on_data : NULL,
                                  .idle_timeout_ms = idle_ms};

    rig_url(path, url);
    assert_int_equal(lh_http_start(http, &req, on_done, s, &s->out.op, NULL), 0);
}

static void start_or_not(struct stream *s)
{
    char url[256];
    struct lh_http_request req = {.method = "GET", .url = url, .timeout_ms = 1000};

    rig_url("/echo", url);
    lh_http_start(http, &req, on_done, s, &s->out.op, NULL);
}

static bool has_pieces(void *arg)
{
    return ((struct stream *)arg)->n > 0;
}

static bool some(struct stream *s)
{
    s->n = 0;
    return lh_test_run_until(rig.loop, has_pieces, s);
}

static bool both_done(void *arg)
{
    (void)arg;
    return a.out.done && b.out.done;
}

static void turns(int n)
{
    while (n-- > 0)
        lh_loop_turn(rig.loop, 5);
}

static void bytes_come_as_they_are_sent(void **state)
{
    (void)state;
    start(&a, "/hold", true, 0);
    assert_true(rig_wait_held(1));
    lh_call_begin(rig.held[0], 200, "application/json", NULL);
    lh_call_write(rig.held[0], LH_STR("{\"type\":1}\n"));
    assert_true(some(&a));
    assert_string_equal(a.got, "{\"type\":1}\n");
    assert_int_equal(a.status, 200);
    memset(a.got, 0, sizeof(a.got));
    lh_call_write(rig.held[0], LH_STR("{\"type\":2}\n"));
    assert_true(some(&a));
    assert_string_equal(a.got, "{\"type\":2}\n");
    assert_false(a.out.done);
    lh_call_end(rig.held[0]);
    rig.held[0] = NULL;
    assert_true(rig_wait(&a.out));
    assert_true(a.out.is_answer);
    assert_int_equal(a.out.body_len, 0);
}

/* A watch may be silent for minutes. */
static void a_stream_has_no_time_limit_after_its_first_byte(void **state)
{
    (void)state;
    lh_clock_fake(1000000, 1795500000000);
    start(&a, "/hold", true, 0);
    assert_true(rig_wait_held(1));
    lh_call_begin(rig.held[0], 200, "application/json", NULL);
    lh_call_write(rig.held[0], LH_STR("x"));
    assert_true(some(&a));
    for (int i = 0; i < 8; i++) {
        lh_clock_step(10000); /* less than the server's own patience with a slow reader */
        turns(2);
        lh_call_write(rig.held[0], LH_STR("y"));
        turns(3);
    }
    assert_false(a.out.done);
    assert_int_equal(a.total, 9);
}

static void a_stream_without_a_first_byte_ends(void **state)
{
    (void)state;
    lh_clock_fake(1000000, 1795500000000);
    start(&a, "/hold", true, 0);
    assert_true(rig_wait_held(1));
    lh_clock_step(30001);
    assert_true(rig_wait(&a.out));
    assert_int_equal(a.out.code, LH_E_UNAVAILABLE);
}

static void a_stream_may_ask_for_an_idle_limit(void **state)
{
    (void)state;
    lh_clock_fake(1000000, 1795500000000);
    start(&a, "/hold", true, 2000);
    assert_true(rig_wait_held(1));
    lh_call_begin(rig.held[0], 200, "application/json", NULL);
    lh_call_write(rig.held[0], LH_STR("x"));
    assert_true(some(&a));
    lh_clock_step(2100);
    assert_true(rig_wait(&a.out));
    assert_int_equal(a.out.code, LH_E_UNAVAILABLE);
}

static void a_paused_stream_waits_and_goes_on(void **state)
{
    static char piece[50000];
    size_t before;

    (void)state;
    memset(piece, 'z', sizeof(piece));
    a.pause_each = true;
    start(&a, "/hold", true, 0);
    assert_true(rig_wait_held(1));
    lh_call_begin(rig.held[0], 200, "application/json", NULL);
    for (int i = 0; i < 4; i++)
        lh_call_write(rig.held[0], (struct lh_str){piece, sizeof(piece)});
    lh_call_end(rig.held[0]);
    rig.held[0] = NULL;
    assert_true(some(&a));
    before = a.total;
    turns(10);
    assert_int_equal(a.total, before);
    assert_int_equal(a.pieces, 1);
    for (int i = 0; i < 1000 && !a.out.done; i++) {
        unsigned had = a.pieces;

        lh_http_resume(a.out.op);
        assert_int_equal(a.pieces, had); /* not from inside the call */
        turns(3);
        assert_true(a.pieces <= had + 1);
    }
    assert_true(a.out.done);
    assert_true(a.out.is_answer);
    assert_int_equal(a.total, 4 * sizeof(piece));
}

static void a_stream_that_is_cut_is_an_error(void **state)
{
    (void)state;
    start(&a, "/cut", true, 0);
    assert_true(rig_wait(&a.out));
    assert_int_equal(a.out.code, LH_E_UNAVAILABLE);
    assert_int_equal(a.total, 10);
}

static void a_stream_can_cancel_itself(void **state)
{
    (void)state;
    a.then = CANCEL_SELF;
    start(&a, "/hold", true, 0);
    assert_true(rig_wait_held(1));
    lh_call_begin(rig.held[0], 200, "application/json", NULL);
    lh_call_write(rig.held[0], LH_STR("x"));
    assert_true(some(&a));
    turns(5);
    assert_int_equal(a.out.calls, 0);
    assert_int_equal(a.pieces, 1);
    assert_int_equal(lh_http_in_flight(http), 0);
}

static void a_stream_can_cancel_another_request(void **state)
{
    (void)state;
    a.then = CANCEL_OTHER;
    a.other = &b;
    start(&a, "/hold", true, 0);
    start(&b, "/hold", false, 0);
    assert_true(rig_wait_held(2));
    lh_call_begin(rig.held[0], 200, "application/json", NULL);
    lh_call_write(rig.held[0], LH_STR("x"));
    assert_true(some(&a));
    turns(5);
    assert_int_equal(b.out.calls, 0);
    assert_int_equal(lh_http_in_flight(http), 1);
}

static void a_stream_can_free_its_client(void **state)
{
    (void)state;
    a.then = FREE_CLIENT;
    start(&a, "/hold", true, 0);
    start(&b, "/hold", false, 0);
    assert_true(rig_wait_held(2));
    lh_call_begin(rig.held[0], 200, "application/json", NULL);
    lh_call_write(rig.held[0], LH_STR("x"));
    assert_true(some(&a));
    turns(5);
    assert_null(http);
    assert_int_equal(a.out.calls + b.out.calls, 0);
}

static void a_stream_can_start_another_request(void **state)
{
    (void)state;
    a.then = START_MORE;
    a.other = &b;
    start(&a, "/hold", true, 0);
    assert_true(rig_wait_held(1));
    lh_call_begin(rig.held[0], 200, "application/json", NULL);
    lh_call_write(rig.held[0], LH_STR("x"));
    assert_true(rig_wait(&b.out));
    assert_int_equal(b.out.status, 200);
}

static void a_result_can_cancel_another_that_is_ready_too(void **state)
{
    (void)state;
    a.then = b.then = CANCEL_OTHER;
    a.other = &b;
    b.other = &a;
    start(&a, "/hold", false, 0);
    start(&b, "/hold", false, 0);
    assert_true(rig_wait_held(2));
    for (int i = 0; i < 2; i++) {
        lh_call_answer(rig.held[i], 200, "text/plain", LH_STR("x"));
        rig.held[i] = NULL;
    }
    turns(20);
    assert_int_equal(a.out.calls + b.out.calls, 1);
}

static void a_result_can_free_its_client(void **state)
{
    (void)state;
    a.then = FREE_CLIENT;
    start(&b, "/hold", false, 0);
    start(&a, "/echo", false, 0);
    assert_true(rig_wait(&a.out));
    turns(5);
    assert_null(http);
    assert_int_equal(b.out.calls, 0);
}

static void a_result_can_start_the_next_request(void **state)
{
    (void)state;
    a.then = START_MORE;
    a.other = &b;
    start(&a, "/echo", false, 0);
    assert_true(lh_test_run_until(rig.loop, both_done, NULL));
    assert_int_equal(b.out.status, 200);
}

static void cancelling_nothing_is_allowed(void **state)
{
    (void)state;
    lh_http_cancel(NULL);
    lh_http_free(NULL);
}

static void freeing_the_client_ends_everything(void **state)
{
    (void)state;
    start(&a, "/hold", true, 0);
    start(&b, "/hold", false, 0);
    assert_true(rig_wait_held(2));
    lh_http_free(http);
    http = NULL;
    turns(5);
    assert_int_equal(a.out.calls + b.out.calls, 0);
}

/* A start that fails does not call back, whichever allocation it was. */
static void running_out_of_memory_is_an_error_once(void **state)
{
    unsigned failed = 0;

    (void)state;
    for (unsigned long n = 1; n < 400; n++) {
        struct lh_http_request req = {.method = "POST", .body = LH_STR("b")};
        char url[256];
        struct lh_err err = {0};
        int rc;

        rig_url("/echo", url);
        req.url = url;
        memset(&a, 0, sizeof(a));
        lh_mem_fail_at(n);
        rc = lh_http_start(http, &req, on_done, &a, &a.out.op, &err);
        lh_mem_fail_at(0);
        if (rc < 0) {
            assert_int_equal(rc, -LH_E_NOMEM);
            turns(1);
            assert_int_equal(a.out.calls, 0);
            failed++;
            continue;
        }
        assert_true(rig_wait(&a.out));
        assert_int_equal(a.out.calls, 1);
    }
    assert_true(failed > 5);
}

/* In client, server, curl, OpenSSL or libwebsockets: one result, and the next request works. */
static void running_out_of_memory_anywhere_ends_in_one_result(void **state)
{
    unsigned long before = lh_mem_count(), needed = 1;
    unsigned failed = 0;

    (void)state;
    for (unsigned long n = 0; n <= needed; n += n < 40 ? 1 : 23) {
        lh_http_drop_idle(http);
        memset(&a, 0, sizeof(a));
        lh_mem_fail_at(n);
        start_or_not(&a);
        if (a.out.op && !rig_wait(&a.out)) {
            lh_mem_fail_at(0);
            fail_msg("allocation %lu: no result", n);
        }
        lh_mem_fail_at(0);
        if (n == 0)
            needed = lh_mem_count() - before;
        assert_true(a.out.calls <= 1);
        failed += !a.out.is_answer;
        memset(&b, 0, sizeof(b));
        start(&b, "/echo", false, 0);
        assert_true(rig_wait(&b.out));
        if (b.out.status != 200)
            fail_msg("after allocation %lu (%s): %s", n, a.out.text, b.out.text);
    }
    assert_true(failed > 20);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(bytes_come_as_they_are_sent),
        T(a_stream_has_no_time_limit_after_its_first_byte),
        T(a_stream_without_a_first_byte_ends),
        T(a_stream_may_ask_for_an_idle_limit),
        T(a_paused_stream_waits_and_goes_on),
        T(a_stream_that_is_cut_is_an_error),
        T(a_stream_can_cancel_itself),
        T(a_stream_can_cancel_another_request),
        T(a_stream_can_free_its_client),
        T(a_stream_can_start_another_request),
        T(a_result_can_cancel_another_that_is_ready_too),
        T(a_result_can_free_its_client),
        T(a_result_can_start_the_next_request),
        T(cancelling_nothing_is_allowed),
        T(freeing_the_client_ends_everything),
        T(running_out_of_memory_is_an_error_once),
        T(running_out_of_memory_anywhere_ends_in_one_result),
    };

    return cmocka_run_group_tests(tests, rig_group_setup, rig_group_teardown);
}
