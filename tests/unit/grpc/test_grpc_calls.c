/* SPDX-License-Identifier: Apache-2.0 */
/* Both halves against each other over a UNIX socket. */
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

#include "leasehold/core/clock.h"
#include "leasehold/core/loop.h"
#include "leasehold/core/mem.h"
#include "leasehold/grpc/client.h"
#include "leasehold/grpc/server.h"
#include "support.h"

enum { MAX_MESSAGE = 1 << 20, MAX_KEPT = 1200 };

static struct {
    struct lh_test_scratch scratch;
    char path[300];
    struct lh_loop *loop;
    struct lh_grpc_server *server;
    struct lh_grpc_client *client;
    struct lh_grpc_call *kept[MAX_KEPT];
    size_t n_kept, n_cancelled;
    bool drained;
} t;

static void echo(void *arg, struct lh_grpc_call *call, struct lh_str request)
{
    (void)arg;
    lh_grpc_reply(call, request);
}

static void say_denied(void *arg, struct lh_grpc_call *call, struct lh_str request)
{
    (void)arg;
    (void)request;
    lh_grpc_fail(call, LH_GRPC_PERMISSION_DENIED, "100% nein: \xc3\xbc\n");
}

static void on_cancel(void *arg)
{
    (void)arg;
    t.n_cancelled++;
}

static void keep(void *arg, struct lh_grpc_call *call, struct lh_str request)
{
    (void)arg;
    (void)request;
    lh_grpc_call_on_cancel(call, on_cancel, NULL);
    if (t.n_kept < MAX_KEPT)
        t.kept[t.n_kept++] = call;
}

static void answer_kept(void)
{
    while (t.n_kept > 0)
        lh_grpc_reply(t.kept[--t.n_kept], LH_STR("late"));
}

static const struct lh_grpc_method methods[] = {
    {"/test.Echo/Echo", echo},
    {"/test.Echo/Deny", say_denied},
    {"/test.Echo/Keep", keep},
    {NULL, NULL},
};

struct outcome {
    bool done;
    enum lh_grpc_status status;
    char text[1100];
    size_t n;
    bool all_x;
    char start[32];
    bool free_client, start_again;
};

static void on_answer(void *arg, enum lh_grpc_status status, struct lh_str m, const char *text)
{
    struct outcome *o = arg;
    struct lh_grpc_client_call *next;

    o->done = true;
    o->status = status;
    o->n = m.n;
    o->all_x = true;
    for (size_t i = 0; i < m.n; i++)
        o->all_x &= m.p[i] == 'x';
    snprintf(o->start, sizeof(o->start), "%.*s", (int)(m.n < 31 ? m.n : 31), m.p);
    snprintf(o->text, sizeof(o->text), "%s", text);
    if (o->free_client) {
        lh_grpc_client_free(t.client);
        t.client = NULL;
    }
    if (o->start_again) {
        o->start_again = false;
        o->done = false;
        lh_grpc_client_start(t.client, "/test.Echo/Echo", LH_STR("again"), 0, on_answer, o, &next,
                             NULL);
    }
}

static int listen_at(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
    unlink(path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&to, sizeof(to)) < 0 || listen(fd, 64) < 0)
        return -1;
    return fd;
}

static void start_server(uid_t peer)
{
    struct lh_grpc_server_options opts = {
        .loop = t.loop,
        .methods = methods,
        .peers = &peer,
        .n_peers = 1,
        .max_message = MAX_MESSAGE,
    };
    int fd = listen_at(t.path);

    assert_true(fd >= 0);
    assert_int_equal(lh_grpc_server_new(&opts, &t.server, NULL), 0);
    assert_int_equal(lh_grpc_server_listen(t.server, fd, NULL), 0);
}

static int setup(void **state)
{
    struct lh_grpc_client_options opts = {0};

    (void)state;
    memset(&t, 0, sizeof(t));
    lh_clock_fake(1000000, 1700000000000);
    if (lh_test_scratch_new(&t.scratch) < 0 || lh_loop_new(&t.loop, NULL) < 0)
        return -1;
    snprintf(t.path, sizeof(t.path), "%s/s", t.scratch.path);
    opts.loop = t.loop;
    opts.path = t.path;
    opts.max_message = MAX_MESSAGE;
    return lh_grpc_client_new(&opts, &t.client, NULL);
}

static int teardown(void **state)
{
    (void)state;
    lh_grpc_client_free(t.client);
    lh_grpc_server_free(t.server);
    answer_kept();
    lh_loop_free(t.loop);
    lh_test_scratch_done(&t.scratch);
    lh_clock_real();
    return 0;
}

static struct lh_grpc_client_call *start(const char *method, struct lh_str message,
                                         unsigned timeout_ms, struct outcome *o)
{
    struct lh_grpc_client_call *call = NULL;

    assert_int_equal(
        lh_grpc_client_start(t.client, method, message, timeout_ms, on_answer, o, &call, NULL), 0);
    return call;
}

static void call(const char *method, struct lh_str message, struct outcome *o)
{
    start(method, message, 0, o);
    assert_true(lh_test_run_until_set(t.loop, &o->done));
}

static bool is_kept(void *arg)
{
    return t.n_kept >= *(size_t *)arg;
}

static bool is_cancelled(void *arg)
{
    return t.n_cancelled >= *(size_t *)arg;
}

static void run_kept(size_t n)
{
    assert_true(lh_test_run_until(t.loop, is_kept, &n));
}

static void run_cancelled(size_t n)
{
    assert_true(lh_test_run_until(t.loop, is_cancelled, &n));
}

static void echoes_every_size(void **state)
{
    static const size_t sizes[] = {0, 1, 5, 1000, 16379, 16384, 65535, 200000, MAX_MESSAGE};
    char *bytes = lh_malloc(MAX_MESSAGE);

    (void)state;
    memset(bytes, 'x', MAX_MESSAGE);
    start_server(geteuid());
    for (size_t i = 0; i < LH_ARRAY_LEN(sizes); i++) {
        struct outcome o = {0};

        call("/test.Echo/Echo", (struct lh_str){bytes, sizes[i]}, &o);
        assert_string_equal(o.text, "");
        assert_int_equal(o.status, LH_GRPC_OK);
        assert_int_equal(o.n, sizes[i]);
        assert_true(o.all_x);
    }
    lh_free(bytes);
}

static struct refusal {
    const char *name, *method;
    size_t bytes;
    enum lh_grpc_status want;
    const char *text;
} refusals[] = {
    {"a handler's error comes with its text", "/test.Echo/Deny", 1, LH_GRPC_PERMISSION_DENIED,
     "100% nein: \xc3\xbc?"},
    {"an unknown method is unimplemented", "/test.Echo/Nope", 1, LH_GRPC_UNIMPLEMENTED,
     "unknown method /test.Echo/Nope"},
    {"a large message is refused", "/test.Echo/Echo", MAX_MESSAGE + 1, LH_GRPC_RESOURCE_EXHAUSTED,
     "message of 1048577 bytes, at most 1048576 are taken"},
};

static void refuses(void **state)
{
    const struct refusal *r = *state;
    char *bytes = lh_calloc(1, r->bytes);
    struct outcome o = {0}, after = {0};

    start_server(geteuid());
    call(r->method, (struct lh_str){bytes, r->bytes}, &o);
    lh_free(bytes);
    assert_int_equal(o.status, r->want);
    assert_string_equal(o.text, r->text);
    call("/test.Echo/Echo", LH_STR("still here"), &after);
    assert_int_equal(after.status, LH_GRPC_OK);
}

static void answers_later_and_out_of_order(void **state)
{
    struct outcome a = {0}, b = {0};

    (void)state;
    start_server(geteuid());
    start("/test.Echo/Keep", LH_STR("a"), 0, &a);
    start("/test.Echo/Keep", LH_STR("b"), 0, &b);
    run_kept(2);
    lh_grpc_reply(t.kept[1], LH_STR("second"));
    t.n_kept = 1;
    assert_true(lh_test_run_until_set(t.loop, &b.done));
    assert_false(a.done);
    assert_string_equal(b.start, "second");
    answer_kept();
    assert_true(lh_test_run_until_set(t.loop, &a.done));
    assert_string_equal(a.start, "late");
}

static void a_deadline_ends_it_on_both_sides(void **state)
{
    struct outcome o = {0};
    struct lh_grpc_server_stats stats;

    (void)state;
    start_server(geteuid());
    start("/test.Echo/Keep", LH_STR("a"), 2000, &o);
    run_kept(1);
    assert_int_equal(lh_grpc_call_deadline(t.kept[0]), lh_clock_now() + 2000);
    lh_clock_step(1999);
    lh_loop_turn(t.loop, 0);
    assert_false(o.done);
    lh_clock_step(1);
    assert_true(lh_test_run_until_set(t.loop, &o.done));
    assert_int_equal(o.status, LH_GRPC_DEADLINE_EXCEEDED);
    run_cancelled(1);
    assert_true(lh_grpc_call_is_cancelled(t.kept[0]));
    answer_kept();
    assert_int_equal(t.n_cancelled, 1);
    lh_grpc_server_stats(t.server, &stats);
    assert_int_equal(stats.cancelled, 1);
}

static void a_cancelled_call_tells_its_handler_once(void **state)
{
    struct outcome o = {0}, after = {0};
    struct lh_grpc_client_call *c;

    (void)state;
    start_server(geteuid());
    c = start("/test.Echo/Keep", LH_STR("a"), 0, &o);
    run_kept(1);
    lh_grpc_client_cancel(c);
    run_cancelled(1);
    answer_kept();
    call("/test.Echo/Echo", LH_STR("after"), &after);
    assert_string_equal(after.start, "after");
    assert_false(o.done);
    assert_int_equal(t.n_cancelled, 1);
}

static void a_thousand_cancels_leave_the_connection(void **state)
{
    static struct outcome o[1000];
    struct outcome after = {0};
    struct lh_grpc_server_stats stats;

    (void)state;
    start_server(geteuid());
    for (size_t round = 0; round < 1000; round += 100) {
        struct lh_grpc_client_call *c[100];

        for (size_t i = 0; i < 100; i++)
            c[i] = start("/test.Echo/Keep", LH_STR("a"), 0, &o[round + i]);
        run_kept(round + 100);
        for (size_t i = 0; i < 100; i++)
            lh_grpc_client_cancel(c[i]);
        run_cancelled(round + 100);
    }
    answer_kept();
    call("/test.Echo/Echo", LH_STR("after"), &after);
    assert_string_equal(after.start, "after");
    lh_grpc_server_stats(t.server, &stats);
    assert_int_equal(stats.connections, 1);
    assert_int_equal(stats.cancelled, 1000);
}

static void more_calls_than_streams_wait_their_turn(void **state)
{
    static struct outcome o[600];

    (void)state;
    memset(o, 0, sizeof(o));
    start_server(geteuid());
    for (size_t i = 0; i < LH_ARRAY_LEN(o); i++)
        start("/test.Echo/Echo", LH_STR("xxx"), 0, &o[i]);
    for (size_t i = 0; i < LH_ARRAY_LEN(o); i++) {
        assert_true(lh_test_run_until_set(t.loop, &o[i].done));
        assert_int_equal(o[i].status, LH_GRPC_OK);
    }
}

static void a_client_that_goes_away_cancels(void **state)
{
    struct outcome o = {0};

    (void)state;
    start_server(geteuid());
    start("/test.Echo/Keep", LH_STR("a"), 0, &o);
    run_kept(1);
    lh_grpc_client_free(t.client);
    t.client = NULL;
    run_cancelled(1);
    assert_false(o.done);
}

static void a_server_that_goes_away_is_unavailable(void **state)
{
    struct outcome o = {0}, dead = {0}, after = {0};

    (void)state;
    start_server(geteuid());
    start("/test.Echo/Keep", LH_STR("a"), 0, &o);
    run_kept(1);
    lh_grpc_server_free(t.server);
    t.server = NULL;
    assert_int_equal(t.n_cancelled, 1);
    assert_true(lh_test_run_until_set(t.loop, &o.done));
    assert_int_equal(o.status, LH_GRPC_UNAVAILABLE);
    answer_kept(); /* valid after its server */
    call("/test.Echo/Echo", LH_STR("x"), &dead);
    assert_int_equal(dead.status, LH_GRPC_UNAVAILABLE);
    assert_non_null(strstr(dead.text, t.path));
    start_server(geteuid());
    call("/test.Echo/Echo", LH_STR("x"), &after);
    assert_int_equal(after.status, LH_GRPC_OK);
}

static void on_drained(void *arg)
{
    (void)arg;
    t.drained = true;
}

static void a_drain_lets_open_calls_end(void **state)
{
    struct outcome o = {0}, next = {0};
    struct lh_grpc_server *old;

    (void)state;
    start_server(geteuid());
    start("/test.Echo/Keep", LH_STR("a"), 0, &o);
    run_kept(1);
    old = t.server;
    lh_grpc_server_drain(old, 10000, on_drained, NULL);
    for (int i = 0; i < 20; i++)
        lh_loop_turn(t.loop, 0);
    assert_false(t.drained);
    /* The next one is there already: new calls go to it, on a connection of their own. */
    start_server(geteuid());
    call("/test.Echo/Echo", LH_STR("new"), &next);
    assert_string_equal(next.start, "new");
    answer_kept();
    assert_true(lh_test_run_until_set(t.loop, &o.done));
    assert_string_equal(o.start, "late");
    assert_true(lh_test_run_until_set(t.loop, &t.drained));
    assert_int_equal(t.n_cancelled, 0);
    lh_grpc_server_free(old);
}

static void a_drain_without_calls_is_done_at_once(void **state)
{
    struct outcome o = {0};

    (void)state;
    start_server(geteuid());
    call("/test.Echo/Echo", LH_STR("x"), &o);
    lh_grpc_server_drain(t.server, 10000, on_drained, NULL);
    assert_true(lh_test_run_until_set(t.loop, &t.drained));
}

static void a_drain_ends_at_its_limit(void **state)
{
    struct outcome o = {0};

    (void)state;
    start_server(geteuid());
    start("/test.Echo/Keep", LH_STR("a"), 0, &o);
    run_kept(1);
    lh_grpc_server_drain(t.server, 5000, on_drained, NULL);
    lh_test_step(t.loop, 4999, 500);
    assert_false(t.drained);
    lh_test_step(t.loop, 1, 1);
    assert_true(lh_test_run_until_set(t.loop, &t.drained));
    lh_grpc_server_free(t.server);
    t.server = NULL;
    assert_int_equal(t.n_cancelled, 1);
}

static void other_users_are_turned_away(void **state)
{
    struct outcome o = {0};
    struct lh_grpc_server_stats stats;

    (void)state;
    start_server(geteuid() + 1);
    call("/test.Echo/Echo", LH_STR("x"), &o);
    assert_int_equal(o.status, LH_GRPC_UNAVAILABLE);
    lh_grpc_server_stats(t.server, &stats);
    assert_int_equal(stats.refused_peers, 1);
    assert_int_equal(stats.connections, 0);
}

static void a_callback_may_free_the_client(void **state)
{
    struct outcome o = {.free_client = true}, other = {0};

    (void)state;
    start_server(geteuid());
    start("/test.Echo/Echo", LH_STR("x"), 0, &o);
    start("/test.Echo/Keep", LH_STR("x"), 0, &other);
    assert_true(lh_test_run_until_set(t.loop, &o.done));
    assert_null(t.client);
    assert_false(other.done);
}

static void a_callback_may_start_the_next_call(void **state)
{
    struct outcome o = {.start_again = true};

    (void)state;
    start_server(geteuid());
    call("/test.Echo/Echo", LH_STR("x"), &o);
    assert_string_equal(o.start, "again");
}

static void a_long_path_is_refused(void **state)
{
    struct lh_grpc_client_options opts = {.loop = t.loop};
    struct lh_grpc_client *out = NULL;
    char path[200];

    (void)state;
    memset(path, 'p', sizeof(path));
    path[199] = '\0';
    opts.path = path;
    assert_int_equal(lh_grpc_client_new(&opts, &out, NULL), -LH_E_INVALID);
    assert_null(out);
}

#define plain(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    struct CMUnitTest tests[LH_ARRAY_LEN(refusals) + 32] = {
        plain(echoes_every_size),
        plain(answers_later_and_out_of_order),
        plain(a_deadline_ends_it_on_both_sides),
        plain(a_cancelled_call_tells_its_handler_once),
        plain(a_thousand_cancels_leave_the_connection),
        plain(more_calls_than_streams_wait_their_turn),
        plain(a_client_that_goes_away_cancels),
        plain(a_server_that_goes_away_is_unavailable),
        plain(a_drain_lets_open_calls_end),
        plain(a_drain_without_calls_is_done_at_once),
        plain(a_drain_ends_at_its_limit),
        plain(other_users_are_turned_away),
        plain(a_callback_may_free_the_client),
        plain(a_callback_may_start_the_next_call),
        plain(a_long_path_is_refused),
    };
    size_t n = 15;

    for (size_t i = 0; i < LH_ARRAY_LEN(refusals); i++)
        tests[n++] = (struct CMUnitTest){refusals[i].name, refuses, setup, teardown, &refusals[i]};
    lh_mem_init();
    return _cmocka_run_group_tests("grpc calls", tests, n, NULL, NULL);
}
