/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "head.h"
#include "leasehold/core/mem.h"

#define HOST "Host: h\r\n"

static struct good {
    const char *name, *text, *method, *path, *query;
    bool keep_alive, chunked, expect;
    uint64_t length;
} goods[] = {
    {"the least request", "GET / HTTP/1.1\r\n" HOST "\r\n", "GET", "/", "", true, false, false, 0},
    {"a method of its own", "LIST /v1/x?list=true HTTP/1.1\r\n" HOST "\r\n", "LIST", "/v1/x",
     "list=true", true, false, false, 0},
    {"an escaped path", "GET /a%20b%2Fc?d%20e HTTP/1.1\r\n" HOST "\r\n", "GET", "/a b/c", "d%20e",
     true, false, false, 0},
    {"dots are not resolved", "GET /a/../b/./ HTTP/1.1\r\n" HOST "\r\n", "GET", "/a/../b/./", "",
     true, false, false, 0},
    {"an empty query", "GET /a? HTTP/1.1\r\n" HOST "\r\n", "GET", "/a", "", true, false, false, 0},
    {"HTTP/1.0 closes", "GET / HTTP/1.0\r\n\r\n", "GET", "/", "", false, false, false, 0},
    {"HTTP/1.0 may stay", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "GET", "/", "", true,
     false, false, 0},
    {"Connection: close", "GET / HTTP/1.1\r\n" HOST "connection: foo, Close\r\n\r\n", "GET", "/",
     "", false, false, false, 0},
    {"a length", "POST /m HTTP/1.1\r\n" HOST "Content-Length: 0012\r\n\r\n", "POST", "/m", "", true,
     false, false, 12},
    {"a chunked body", "POST /m HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n", "POST",
     "/m", "", true, true, false, 0},
    {"100-continue", "PUT /m HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n",
     "PUT", "/m", "", true, false, true, 1},
    {"bytes past ASCII in a value", "GET / HTTP/1.1\r\n" HOST "X: \xc3\xa4\r\n\r\n", "GET", "/", "",
     true, false, false, 0},
};

/* Parses a copy that ends where the text does, so that a step too far is seen. */
static int parse(const char *text, struct head *h, char **copy)
{
    size_t n = strlen(text);

    *copy = lh_memdup(text, n);
    return head_length(*copy, n, 0) == n ? head_parse(*copy, n, h) : -1;
}

static void reads_a_request(void **state)
{
    const struct good *g = *state;
    lh_auto_free char *copy = NULL;
    struct head h;

    assert_int_equal(parse(g->text, &h, &copy), 0);
    assert_string_equal(h.method, g->method);
    assert_true(lh_str_eqz(h.path, g->path));
    assert_true(lh_str_eqz(h.query, g->query));
    assert_int_equal(h.keep_alive, g->keep_alive);
    assert_int_equal(h.chunked, g->chunked);
    assert_int_equal(h.expect_continue, g->expect);
    assert_int_equal(h.length, g->length);
}

static struct bad {
    const char *name, *text;
    int status;
} bads[] = {
    {"nothing", "\r\n\r\n", 400},
    {"no version", "GET /\r\n" HOST "\r\n", 400},
    {"another version", "GET / HTTP/2.0\r\n" HOST "\r\n", 505},
    {"no version at all", "GET / FTP/1.1\r\n" HOST "\r\n", 400},
    {"two spaces", "GET  / HTTP/1.1\r\n" HOST "\r\n", 400},
    {"no slash", "GET x HTTP/1.1\r\n" HOST "\r\n", 400},
    {"a whole URL", "GET http://h/ HTTP/1.1\r\n" HOST "\r\n", 400},
    {"a method that is no token", "G(T / HTTP/1.1\r\n" HOST "\r\n", 400},
    {"a method without end", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\n" HOST "\r\n", 400},
    {"a broken escape", "GET /%zz HTTP/1.1\r\n" HOST "\r\n", 400},
    {"an escape cut short", "GET /%2 HTTP/1.1\r\n" HOST "\r\n", 400},
    {"an escaped NUL", "GET /%00 HTTP/1.1\r\n" HOST "\r\n", 400},
    {"a control character in the path", "GET /\x01 HTTP/1.1\r\n" HOST "\r\n", 400},
    {"a fragment", "GET /#a HTTP/1.1\r\n" HOST "\r\n", 400},
    {"no host", "GET / HTTP/1.1\r\n\r\n", 400},
    {"two hosts", "GET / HTTP/1.1\r\n" HOST HOST "\r\n", 400},
    {"a field without a colon", "GET / HTTP/1.1\r\n" HOST "X\r\n\r\n", 400},
    {"a space before the colon", "GET / HTTP/1.1\r\n" HOST "X : y\r\n\r\n", 400},
    {"a folded line", "GET / HTTP/1.1\r\n" HOST "X: y\r\n z\r\n\r\n", 400},
    {"a bare line feed", "GET / HTTP/1.1\r\n" HOST "X: y\nZ: z\r\n\r\n", 400},
    {"a bare carriage return", "GET / HTTP/1.1\r\n" HOST "X: y\rZ: z\r\n\r\n", 400},
    {"two lengths", "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
     400},
    {"a list of lengths", "POST / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\n", 400},
    {"a length with a sign", "POST / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\n", 400},
    {"an empty length", "POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n", 400},
    {"a length past all integers",
     "POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999999\r\n\r\n", 400},
    {"length and chunks",
     "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {"chunks twice",
     "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
     400},
    {"another encoding", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n",
     501},
    {"chunks in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
};

static void refuses_what_could_be_read_in_two_ways(void **state)
{
    const struct bad *b = *state;
    lh_auto_free char *copy = NULL;
    struct head h;

    assert_int_equal(parse(b->text, &h, &copy), b->status);
}

static void too_many_fields_are_refused(void **state)
{
    char text[4096] = "GET / HTTP/1.1\r\n" HOST;
    lh_auto_free char *copy = NULL;
    struct head h;

    (void)state;
    for (int i = 1; i < HEAD_MAX_FIELDS; i++)
        strcat(text, "X: y\r\n");
    strcat(text, "\r\n");
    assert_int_equal(parse(text, &h, &copy), 0);
    assert_int_equal(h.n_fields, HEAD_MAX_FIELDS);
    strcpy(text + strlen(text) - 2, "X: y\r\n\r\n");
    lh_free(copy);
    assert_int_equal(parse(text, &h, &copy), 431);
}

static void fields_are_found_by_name(void **state)
{
    lh_auto_free char *copy = NULL;
    struct head h;

    (void)state;
    assert_int_equal(
        parse("GET / HTTP/1.1\r\n" HOST "X-A:  one \r\nx-a: two\r\nX-Empty:\r\n\r\n", &h, &copy),
        0);
    assert_true(lh_str_eqz(head_field(&h, "X-a"), "two"));
    assert_non_null(head_field(&h, "x-empty").p);
    assert_int_equal(head_field(&h, "x-empty").n, 0);
    assert_null(head_field(&h, "x").p);
}

static void the_end_is_found_across_pieces(void **state)
{
    static const char text[] = "GET / HTTP/1.1\r\n" HOST "\r\nrest";
    const size_t end = sizeof(text) - sizeof("rest");

    (void)state;
    for (size_t n = 0; n < sizeof(text); n++) {
        /* What was looked at before held no end. */
        for (size_t from = 0; from <= n && from < end; from++)
            assert_int_equal(head_length(text, n, from), n >= end ? end : 0);
    }
}

static struct body {
    const char *name, *text, *body;
    int status;
    size_t left; /* bytes behind the end */
} bodies[] = {
    {"one chunk", "5\r\nhello\r\n0\r\n\r\n", "hello", 0, 0},
    {"two chunks", "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world", 0, 0},
    {"no chunk", "0\r\n\r\n", "", 0, 0},
    {"hexadecimal, zeroes before", "00a\r\n0123456789\r\n0\r\n\r\n", "0123456789", 0, 0},
    {"extensions", "5;a=b;c=\"d\"\r\nhello\r\n0;e\r\n\r\n", "hello", 0, 0},
    {"trailers", "1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\n", "x", 0, 0},
    {"another request behind it", "1\r\nx\r\n0\r\n\r\nGET", "x", 0, 3},
    {"no size", "\r\nhello", NULL, 400, 0},
    {"a sign", "-5\r\nhello", NULL, 400, 0},
    {"a size past 32 bits", "100000000\r\n", NULL, 400, 0},
    {"a line feed alone", "5\nhello\n0\n\n", NULL, 400, 0},
    {"a chunk longer than it says", "4\r\nhello\r\n0\r\n\r\n", NULL, 400, 0},
    {"a chunk shorter than it says", "6\r\nhello\r\n0\r\n\r\n", NULL, 400, 0},
};

/* The same in one piece and byte by byte. */
static void unframes_a_chunked_body(void **state)
{
    const struct body *b = *state;

    for (size_t step = 1; step < 100; step += 98) {
        struct chunked c = {0};
        char got[64] = "";
        size_t n = strlen(b->text), at = 0;
        int status = 0;

        while (at < n && !status && c.state != CHUNK_DONE) {
            size_t len = n - at < step ? n - at : step, used = 0;
            struct lh_str piece = {NULL, 0};

            status = chunked_feed(&c, (struct lh_str){b->text + at, len}, &used, &piece);
            if (!status)
                strncat(got, piece.p ? piece.p : "", piece.n);
            at += used;
        }
        assert_int_equal(status, b->status);
        if (b->status)
            continue;
        assert_int_equal(c.state, CHUNK_DONE);
        assert_string_equal(got, b->body);
        assert_int_equal(n - at, b->left);
    }
}

static void endless_framing_is_refused(void **state)
{
    struct chunked c = {0};
    struct lh_str piece;
    size_t used;
    int status = chunked_feed(&c, LH_STR("1;"), &used, &piece);

    (void)state;
    for (int i = 0; i < 70000 && !status; i++)
        status = chunked_feed(&c, LH_STR("x"), &used, &piece);
    assert_int_equal(status, 400);
}

int main(void)
{
    static struct CMUnitTest tests[128];
    size_t n = 0;

    for (size_t i = 0; i < LH_ARRAY_LEN(goods); i++)
        tests[n++] = (struct CMUnitTest){goods[i].name, reads_a_request, NULL, NULL, &goods[i]};
    for (size_t i = 0; i < LH_ARRAY_LEN(bads); i++)
        tests[n++] = (struct CMUnitTest){bads[i].name, refuses_what_could_be_read_in_two_ways, NULL,
                                         NULL, &bads[i]};
    for (size_t i = 0; i < LH_ARRAY_LEN(bodies); i++)
        tests[n++] =
            (struct CMUnitTest){bodies[i].name, unframes_a_chunked_body, NULL, NULL, &bodies[i]};
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(too_many_fields_are_refused);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(fields_are_found_by_name);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(the_end_is_found_across_pieces);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(endless_framing_is_refused);
    return _cmocka_run_group_tests("head", tests, n, NULL, NULL);
}
