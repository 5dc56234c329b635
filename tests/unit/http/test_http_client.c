/* SPDX-License-Identifier: Apache-2.0 */
/* What is sent, what comes back, where redirects may lead. */
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
static struct outcome out;

static int setup(void **state)
{
    struct lh_http_options opts = rig_options();

    memset(&out, 0, sizeof(out));
    if (rig_setup(state) < 0 || lh_http_new(rig.loop, &opts, &http, NULL) < 0)
        return -1;
    return 0;
}

static int teardown(void **state)
{
    outcome_free(&out);
    lh_http_free(http);
    return rig_teardown(state);
}

static struct sent {
    const char *name, *method, *body;
    bool no_body, no_type;
} sents[] = {
    {"GET sends no body and no type", "GET", NULL, true, true},
    {"LIST is a method like others", "LIST", NULL, true, true},
    {"POST sends its body", "POST", "{\"a\":1}", false, true},
    {"PUT sends its body", "PUT", "text", false, true},
    {"PATCH sends its body", "PATCH", "[]", false, true},
    {"DELETE may send a body", "DELETE", "{}", false, true},
    {"POST without a body says so", "POST", NULL, true, true},
};

static void sends_what_it_was_given(void **state)
{
    const struct sent *s = *state;
    char url[256];
    struct lh_http_request req = {.method = s->method, .url = url};

    rig_url("/echo?x=%20y", url);
    req.body = lh_str(s->body);
    rig_start(http, &req, &out);
    assert_true(rig_wait(&out));
    assert_int_equal(out.status, 200);
    assert_string_equal(rig.last_method, s->method);
    assert_string_equal(rig.last_query, "x=%20y");
    assert_string_equal(rig.last_body, s->body ? s->body : "");
    assert_int_equal(rig.has_type, !s->no_type);
    assert_string_equal(out.body, s->body ? s->body : "");
    assert_string_equal(out.header, "application/json");
    assert_true(out.sent_at <= out.done_at);
}

static void secrets_travel_in_headers_and_bodies(void **state)
{
    lh_auto_secret struct lh_secret *token = NULL, *body = NULL;
    struct lh_http_header headers[] = {{.name = "X-Vault-Token"},
                                       {.name = "Content-Type", .value = LH_STR("text/x")}};
    char url[256];
    struct lh_http_request req = {.method = "POST", .url = url, .headers = headers, .n_headers = 2};

    (void)state;
    assert_int_equal(lh_secret_copy("s.tok", 5, &token, NULL), 0);
    assert_int_equal(lh_secret_copy("jwt", 3, &body, NULL), 0);
    headers[0].secret = token;
    req.body_secret = body;
    rig_url("/echo", url);
    rig_start(http, &req, &out);
    token = lh_secret_free(token); /* the request was copied */
    body = lh_secret_free(body);
    assert_true(rig_wait(&out));
    assert_string_equal(rig.last_token, "s.tok");
    assert_string_equal(rig.last_body, "jwt");
    assert_string_equal(rig.last_type, "text/x");
}

static struct bad {
    const char *name, *method, *url, *header, *value;
} bads[] = {
    {"plain http", "GET", "http://127.0.0.1/", NULL, NULL},
    {"another scheme", "GET", "file:///etc/passwd", NULL, NULL},
    {"no URL", "GET", "", NULL, NULL},
    {"user and password in the URL", "GET", "https://u:p@127.0.0.1/", NULL, NULL},
    {"a fragment", "GET", "https://127.0.0.1/#x", NULL, NULL},
    {"a space in the URL", "GET", "https://127.0.0.1/a b", NULL, NULL},
    {"a line break in the URL", "GET", "https://127.0.0.1/a\r\nX: y", NULL, NULL},
    {"a method that is no token", "GET /x", "https://127.0.0.1/", NULL, NULL},
    {"a line break in a header", "GET", "https://127.0.0.1/", "X-A", "b\r\nX-C: d"},
    {"a header's name that is no token", "GET", "https://127.0.0.1/", "X A", "b"},
};

static void refuses_what_it_cannot_send(void **state)
{
    const struct bad *b = *state;
    struct lh_http_header header = {.name = b->header, .value = lh_str(b->value)};
    struct lh_http_request req = {.method = b->method,
                                  .url = b->url,
                                  .headers = b->header ? &header : NULL,
                                  .n_headers = b->header ? 1 : 0};
    struct lh_http_op *op = (void *)1;
    struct lh_err err = {0};

    assert_int_equal(lh_http_start(http, &req, NULL, NULL, &op, &err), -LH_E_INVALID);
    assert_ptr_equal(op, (void *)1);
    assert_int_equal(lh_http_queued(http) + lh_http_in_flight(http), 0);
}

static void the_path_is_sent_as_it_was_checked(void **state)
{
    (void)state;
    rig_get(http, "/echo/../echo/./x", &out);
    assert_true(rig_wait(&out));
    assert_string_equal(rig.last_path, "/echo/../echo/./x");
}

static void any_status_is_an_answer(void **state)
{
    static const int statuses[] = {204, 307, 400, 403, 404, 429, 472, 500, 503};
    char path[64];

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(statuses); i++) {
        snprintf(path, sizeof(path), "/status/%d", statuses[i]);
        outcome_free(&out);
        rig_get(http, path, &out);
        assert_true(rig_wait(&out));
        assert_true(out.is_answer);
        assert_int_equal(out.status, statuses[i]);
    }
}

static struct retry {
    const char *name, *header;
    int want_ms;
} retries[] = {
    {"Retry-After in seconds", "Retry-After:+7", 7000},
    {"Retry-After as a date", "Retry-After:+Tue,+24+Nov+2026+06:00:30+GMT", 30000},
    {"Retry-After in the past", "Retry-After:+Tue,+24+Nov+2026+05:00:00+GMT", 0},
    {"Retry-After past all bounds", "Retry-After:+99999999999999999999999", 600000},
    {"Retry-After of an hour", "Retry-After:+3600", 600000},
    {"Retry-After that is neither", "Retry-After:+soon", 0},
    {"Retry-After below nothing", "Retry-After:+-5", 0},
    {"no Retry-After", "", 0},
};

static void reads_retry_after_in_both_forms(void **state)
{
    const struct retry *r = *state;
    int64_t wall = 0;
    char path[128];

    assert_int_equal(lh_clock_parse("2026-11-24T06:00:00Z", &wall), 0);
    lh_clock_fake(lh_clock_now(), wall);
    snprintf(path, sizeof(path), "/status/503?%s", r->header);
    rig_get(http, path, &out);
    assert_true(rig_wait(&out));
    assert_int_equal(out.retry_after_ms, r->want_ms);
}

static struct size {
    const char *name, *path;
    size_t max;
    size_t want; /* 0: too big */
} sizes[] = {
    {"an empty body", "/bytes/0", 0, 0},
    {"a body within the cap", "/bytes/1000", 1000, 1000},
    {"a body past the cap", "/bytes/1001", 1000, SIZE_MAX},
    {"a large body", "/bytes/4194304", 0, 4194304},
    {"a body past 4 MiB, the default", "/bytes/4194305", 0, SIZE_MAX},
};

static void bodies_are_capped(void **state)
{
    const struct size *s = *state;
    char url[256];
    struct lh_http_request req = {.method = "GET", .url = url, .max_answer_bytes = s->max};

    rig_url(s->path, url);
    rig_start(http, &req, &out);
    assert_true(rig_wait(&out));
    if (s->want == SIZE_MAX) {
        assert_false(out.is_answer);
        assert_int_equal(out.code, LH_E_TOOBIG);
        assert_string_equal(out.reason, "TooLarge");
        assert_int_equal(out.http_status, 200);
        return;
    }
    assert_true(out.is_answer);
    assert_int_equal(out.body_len, s->want);
}

static void an_endless_body_is_cut_at_the_cap(void **state)
{
    static char piece[60000];
    char url[256];
    struct lh_http_request req = {.method = "GET", .url = url, .max_answer_bytes = 100000};

    (void)state;
    rig_url("/hold", url);
    rig_start(http, &req, &out);
    assert_true(rig_wait_held(1));
    memset(piece, 'y', sizeof(piece));
    lh_call_begin(rig.held[0], 200, "text/plain", NULL); /* chunked: no length is said */
    for (int i = 0; i < 3; i++)
        lh_call_write(rig.held[0], (struct lh_str){piece, sizeof(piece)});
    assert_true(rig_wait(&out));
    assert_int_equal(out.code, LH_E_TOOBIG);
}

static void headers_are_capped(void **state)
{
    (void)state;
    rig_get(http, "/headers", &out);
    assert_true(rig_wait(&out));
    assert_int_equal(out.code, LH_E_TOOBIG);
}

static struct broken {
    const char *name, *path, *says;
} brokens[] = {
    {"a body that is cut", "/cut", "cut off"},
    {"a connection closed without an answer", "/drop", "answer"},
};

static void a_broken_answer_is_unavailable_and_sent(void **state)
{
    const struct broken *b = *state;

    rig_get(http, b->path, &out);
    assert_true(rig_wait(&out));
    assert_false(out.is_answer);
    assert_int_equal(out.code, LH_E_UNAVAILABLE);
    assert_string_equal(out.reason, "Unreachable");
    assert_true(out.sent);
    assert_non_null(strstr(out.text, "127.0.0.1:"));
    assert_non_null(strstr(out.text, b->says));
    assert_null(strstr(out.text, "ten bytes"));
}

/* A request may have been acted on before its kept connection broke: curl would send it again. */
static void a_request_is_never_sent_twice(void **state)
{
    (void)state;
    rig_get(http, "/echo", &out); /* leaves a connection behind */
    assert_true(rig_wait(&out));
    outcome_free(&out);
    rig.requests = 0;
    rig_get(http, "/drop", &out);
    assert_true(rig_wait(&out));
    assert_int_equal(out.code, LH_E_UNAVAILABLE);
    assert_true(out.sent);
    assert_int_equal(rig.requests, 1);
}

static void one_connection_serves_many_requests(void **state)
{
    struct lh_server_stats stats;

    (void)state;
    for (int i = 0; i < 5; i++) {
        outcome_free(&out);
        rig_get(http, "/echo", &out);
        assert_true(rig_wait(&out));
    }
    lh_server_stats(rig.server, &stats);
    assert_int_equal(stats.accepted, 1);
    assert_int_equal(stats.requests, 5);
    lh_http_drop_idle(http);
    outcome_free(&out);
    rig_get(http, "/echo", &out);
    assert_true(rig_wait(&out));
    lh_server_stats(rig.server, &stats);
    assert_int_equal(stats.accepted, 2);
}

static void nobody_listens(void **state)
{
    char url[256];
    struct lh_http_request req = {.method = "GET", .url = url};

    (void)state;
    rig_url("/echo", url);
    lh_server_drain(rig.server, 0, NULL, NULL);
    rig_start(http, &req, &out);
    assert_true(rig_wait(&out));
    assert_int_equal(out.code, LH_E_UNAVAILABLE);
    assert_string_equal(out.reason, "Unreachable");
    assert_false(out.sent);
    assert_non_null(strstr(out.text, "Connection refused"));
}

static void no_name(void **state)
{
    struct lh_http_request req = {.method = "GET", .url = "https://no-such-host.invalid:8200/x"};

    (void)state;
    rig_start(http, &req, &out);
    assert_true(rig_wait(&out));
    assert_int_equal(out.code, LH_E_UNAVAILABLE);
    assert_false(out.sent);
    assert_non_null(strstr(out.text, "no-such-host.invalid:8200"));
}

static char second[64];

static int redirect_setup(void **state)
{
    struct lh_listener_options o = {.arg = &rig};

    if (setup(state) < 0)
        return -1;
    return rig_listen(&o, second) ? 0 : -1;
}

static struct redirect {
    const char *name;
    const char *location; /* SELF, SECOND and PORT are filled in */
    const char *listed;   /* "second", "both" or "none" */
    int status, code;
    const char *says;
    unsigned requests;
} redirects[] = {
    {"to a listed address", "SECOND/leader?x=1", "both", 200, 0, NULL, 2},
    {"to a listed address, quoted otherwise", "SECOND/%6ceader?x=1", "both", 200, 0, NULL, 2},
    {"to an address that is not listed", "SECOND/leader?x=1", "none", 0, LH_E_DENIED, "not listed",
     1},
    {"to a foreign host", "https://evil.example/leader?x=1", "both", 0, LH_E_DENIED, "not listed",
     1},
    {"to another port", "https://127.0.0.1:1/leader?x=1", "both", 0, LH_E_DENIED, "not listed", 1},
    {"to plain http", "http://127.0.0.1:PORT/leader?x=1", "both", 0, LH_E_DENIED, "no https", 1},
    {"with a user in it", "https://u@127.0.0.1:PORT/leader?x=1", "both", 0, LH_E_DENIED, "no https",
     1},
    {"to another path", "SECOND/echo", "both", 0, LH_E_DENIED, "another path", 1},
    {"to another query", "SECOND/leader?x=2", "both", 0, LH_E_DENIED, "another path", 1},
    {"without a location", "", "both", 0, LH_E_DENIED, "where", 1},
    {"to itself for ever", "/leader?x=1", "both", 0, LH_E_UNAVAILABLE, "was redirected", 2},
};

static void fill_in(const char *location)
{
    const char *rest = location;
    char tail[128], *at;

    rig.location[0] = '\0';
    if (strncmp(location, "SECOND", 6) == 0) {
        strcpy(rig.location, second);
        rest = location + 6;
    }
    strcat(rig.location, rest);
    at = strstr(rig.location, "PORT");
    if (at) {
        snprintf(tail, sizeof(tail), "%s%s", strrchr(second, ':') + 1, at + 4);
        strcpy(at, tail);
    }
}

static void redirects_go_where_they_may(void **state)
{
    const struct redirect *r = *state;
    const char *bases[3] = {rig.base, strcmp(r->listed, "both") == 0 ? second : NULL, NULL};
    struct lh_http_header token = {.name = "X-Vault-Token", .value = LH_STR("s.tok")};
    char url[256];
    struct lh_http_request req = {.method = "POST",
                                  .url = url,
                                  .body = LH_STR("again"),
                                  .headers = &token,
                                  .n_headers = 1,
                                  .redirect_to = bases};

    rig_url("/leader?x=1", url);
    fill_in(r->location);
    rig_start(http, &req, &out);
    assert_true(rig_wait(&out));
    assert_int_equal(out.status, r->status);
    assert_int_equal(out.code, r->code);
    assert_int_equal(rig.requests, r->requests);
    assert_string_equal(rig.last_method, "POST");
    assert_string_equal(rig.last_body, "again");
    assert_string_equal(rig.last_token, "s.tok");
    assert_string_equal(rig.last_query, "x=1");
    if (!r->code)
        return;
    assert_non_null(strstr(out.text, r->says));
    assert_null(strstr(out.text, "evil")); /* no byte of an answer */
    assert_false(out.sent);                /* who redirects has not acted */
}

static void a_redirect_is_an_answer_to_who_allows_none(void **state)
{
    (void)state;
    fill_in("SECOND/leader");
    rig_get(http, "/leader", &out);
    assert_true(rig_wait(&out));
    assert_int_equal(out.status, 307);
    assert_int_equal(rig.requests, 1);
}

/* --- the list of tests --- */

static struct CMUnitTest all[128];
static size_t n_all;

static void add(const char *name, CMUnitTestFunction fn, CMFixtureFunction before, void *row)
{
    all[n_all++] = (struct CMUnitTest){.name = name,
                                       .test_func = fn,
                                       .setup_func = before,
                                       .teardown_func = teardown,
                                       .initial_state = row};
}

#define ADD_ROWS(rows, fn, before)                                                                 \
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++)                                                \
    add((rows)[i].name, fn, before, &(rows)[i])
#define ADD(fn) add(#fn, fn, setup, NULL)

int main(void)
{
    ADD_ROWS(sents, sends_what_it_was_given, setup);
    ADD_ROWS(bads, refuses_what_it_cannot_send, setup);
    ADD_ROWS(retries, reads_retry_after_in_both_forms, setup);
    ADD_ROWS(sizes, bodies_are_capped, setup);
    ADD_ROWS(brokens, a_broken_answer_is_unavailable_and_sent, setup);
    ADD_ROWS(redirects, redirects_go_where_they_may, redirect_setup);
    ADD(secrets_travel_in_headers_and_bodies);
    ADD(the_path_is_sent_as_it_was_checked);
    ADD(any_status_is_an_answer);
    ADD(an_endless_body_is_cut_at_the_cap);
    ADD(headers_are_capped);
    ADD(a_request_is_never_sent_twice);
    ADD(one_connection_serves_many_requests);
    ADD(nobody_listens);
    ADD(no_name);
    add("a redirect is an answer to who allows none", a_redirect_is_an_answer_to_who_allows_none,
        redirect_setup, NULL);
    return _cmocka_run_group_tests("http client", all, n_all, rig_group_setup, rig_group_teardown);
}
