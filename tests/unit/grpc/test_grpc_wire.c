/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "leasehold/core/mem.h"
#include "leasehold/grpc/status.h"
#include "wire.h"

#define BYTES(lit) (lit), sizeof(lit) - 1

static struct body_row {
    const char *name, *bytes;
    size_t n;
    enum lh_grpc_body want;
    const char *message;
} bodies[] = {
    {"a message", BYTES("\0\0\0\0\3abc"), LH_GRPC_BODY_OK, "abc"},
    {"an empty message", BYTES("\0\0\0\0\0"), LH_GRPC_BODY_OK, ""},
    {"a message as large as may be",
     BYTES("\0\0\0\0\x8"
           "12345678"),
     LH_GRPC_BODY_OK, "12345678"},
    {"one byte more",
     BYTES("\0\0\0\0\x9"
           "123456789"),
     LH_GRPC_BODY_TOO_BIG, NULL},
    {"a claim of 4 GiB", BYTES("\0\xff\xff\xff\xff"), LH_GRPC_BODY_TOO_BIG, NULL},
    {"a compressed message", BYTES("\1\0\0\0\3abc"), LH_GRPC_BODY_COMPRESSED, NULL},
    {"flags of no meaning", BYTES("\2\0\0\0\3abc"), LH_GRPC_BODY_BAD_FLAGS, NULL},
    {"two messages", BYTES("\0\0\0\0\1a\0\0\0\0\1b"), LH_GRPC_BODY_SECOND, NULL},
    {"half a prefix of a second one", BYTES("\0\0\0\0\0\0"), LH_GRPC_BODY_SECOND, NULL},
    {"nothing", BYTES(""), LH_GRPC_BODY_NONE, NULL},
    {"half a prefix", BYTES("\0\0\0"), LH_GRPC_BODY_TRUNCATED, NULL},
    {"half a message", BYTES("\0\0\0\0\3ab"), LH_GRPC_BODY_TRUNCATED, NULL},
};

/* However the bytes are cut. */
static void reads_a_body(void **state)
{
    const struct body_row *r = *state;

    for (size_t step = 1; step <= r->n + 1; step++) {
        struct lh_grpc_reader reader;
        enum lh_grpc_body got;

        lh_grpc_reader_init(&reader, 8);
        for (size_t i = 0; i < r->n; i += step)
            lh_grpc_reader_feed(&reader, r->bytes + i, step < r->n - i ? step : r->n - i);
        got = lh_grpc_reader_end(&reader);
        assert_int_equal(got, r->want);
        if (r->message) {
            assert_int_equal(reader.message.n, strlen(r->message));
            assert_string_equal(lh_buf_peek(&reader.message).p, r->message);
        } else {
            assert_int_equal(reader.message.n, 0);
        }
        lh_grpc_reader_done(&reader);
    }
}

static void out_of_memory_is_a_verdict(void **state)
{
    struct lh_grpc_reader reader;

    (void)state;
    lh_grpc_reader_init(&reader, 8);
    lh_mem_fail_at(1);
    assert_int_equal(lh_grpc_reader_feed(&reader, "\0\0\0\0\3abc", 8), LH_GRPC_BODY_NOMEM);
    lh_mem_fail_at(0);
    assert_int_equal(lh_grpc_reader_end(&reader), LH_GRPC_BODY_NOMEM);
    lh_grpc_reader_done(&reader);
}

static struct timeout_row {
    const char *name;
    lh_ms want; /* -1: malformed */
} timeouts[] = {
    {"1H", 3600000},
    {"2M", 120000},
    {"3S", 3000},
    {"4m", 4},
    {"5u", 1},
    {"1000u", 1},
    {"1001u", 2},
    {"1n", 1},
    {"99999999n", 100},
    {"0S", 0},
    {"99999999H", 99999999LL * 3600000},
    {"100000000m", -1},
    {"S", -1},
    {"", -1},
    {"1", -1},
    {"1s", -1},
    {"-1S", -1},
    {"+1S", -1},
    {" 1S", -1},
    {"1 S", -1},
    {"1.5S", -1},
    {"0x1S", -1},
};

static void reads_a_timeout(void **state)
{
    const struct timeout_row *r = *state;
    lh_ms got = -7;

    assert_int_equal(lh_grpc_timeout_parse(lh_str(r->name), &got), r->want >= 0);
    assert_int_equal(got, r->want >= 0 ? r->want : -7);
}

static void what_is_sent_is_read_back_no_shorter(void **state)
{
    static const unsigned rows[] = {1, 999, 1000, 99999999, 100000000, 100000001, 4294967295U};

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        char text[16];
        lh_ms back = 0;

        assert_true(lh_grpc_timeout_parse(lh_str(lh_grpc_timeout_format(rows[i], text)), &back));
        assert_true(back >= (lh_ms)rows[i] && back < (lh_ms)rows[i] + 1000);
    }
}

static struct text_row {
    const char *name, *text, *wire, *back;
} texts[] = {
    {"plain", "no such volume", "no such volume", NULL},
    {"empty", "", "", NULL},
    {"a percent sign", "100%", "100%25", NULL},
    {"UTF-8", "\xc3\xbc\xe2\x82\xac", "%C3%BC%E2%82%AC", NULL},
    {"a line feed does not come back", "a\nb", "a%0Ab", "a?b"},
    {"bytes that are not UTF-8", "\xff", "%FF", "?"},
};

static void encodes_and_decodes(void **state)
{
    const struct text_row *r = *state;
    struct lh_buf b;
    char back[64];

    lh_buf_init(&b, 4096);
    lh_grpc_percent_encode(&b, lh_str(r->text));
    lh_buf_put_c(&b, '.');
    assert_int_equal(b.n, strlen(r->wire) + 1);
    assert_memory_equal(b.p, r->wire, strlen(r->wire));
    lh_grpc_percent_decode((struct lh_str){b.p, b.n - 1}, back, sizeof(back));
    assert_string_equal(back, r->back ? r->back : r->text);
    lh_buf_done(&b);
}

static void decodes_what_others_wrote(void **state)
{
    static const struct {
        const char *wire, *want;
    } rows[] = {
        {"%", "%"}, {"%4", "%4"}, {"%zz", "%zz"}, {"%e2%82%ac", "\xe2\x82\xac"}, {"a%00b", "a?b"},
    };
    char back[8];

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        lh_grpc_percent_decode(lh_str(rows[i].wire), back, sizeof(back));
        assert_string_equal(back, rows[i].want);
    }
    lh_grpc_percent_decode(lh_str("123456789"), back, sizeof(back));
    assert_string_equal(back, "1234567");
}

static void a_long_text_is_cut_between_letters(void **state)
{
    char text[LH_GRPC_TEXT_MAX + 8];
    struct lh_buf b;

    (void)state;
    memset(text, 'a', sizeof(text));
    memcpy(text + LH_GRPC_TEXT_MAX - 1, "\xe2\x82\xac", 3);
    lh_buf_init(&b, 4096);
    lh_grpc_percent_encode(&b, (struct lh_str){text, sizeof(text)});
    assert_int_equal(b.n, LH_GRPC_TEXT_MAX - 1);
    lh_buf_done(&b);
}

static void statuses_have_names(void **state)
{
    (void)state;
    assert_string_equal(lh_grpc_status_name(LH_GRPC_OK), "OK");
    assert_string_equal(lh_grpc_status_name(LH_GRPC_UNAUTHENTICATED), "UNAUTHENTICATED");
    assert_string_equal(lh_grpc_status_name((enum lh_grpc_status)17), "UNKNOWN");
}

int main(void)
{
    struct CMUnitTest
        tests[LH_ARRAY_LEN(bodies) + LH_ARRAY_LEN(timeouts) + LH_ARRAY_LEN(texts) + 8] = {
            cmocka_unit_test(out_of_memory_is_a_verdict),
            cmocka_unit_test(what_is_sent_is_read_back_no_shorter),
            cmocka_unit_test(decodes_what_others_wrote),
            cmocka_unit_test(a_long_text_is_cut_between_letters),
            cmocka_unit_test(statuses_have_names),
        };
    size_t n = 5;

    for (size_t i = 0; i < LH_ARRAY_LEN(bodies); i++)
        tests[n++] = (struct CMUnitTest){bodies[i].name, reads_a_body, NULL, NULL, &bodies[i]};
    for (size_t i = 0; i < LH_ARRAY_LEN(timeouts); i++)
        tests[n++] =
            (struct CMUnitTest){timeouts[i].name, reads_a_timeout, NULL, NULL, &timeouts[i]};
    for (size_t i = 0; i < LH_ARRAY_LEN(texts); i++)
        tests[n++] = (struct CMUnitTest){texts[i].name, encodes_and_decodes, NULL, NULL, &texts[i]};
    return _cmocka_run_group_tests("grpc wire", tests, n, NULL, NULL);
}
