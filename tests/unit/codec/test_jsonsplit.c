/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "leasehold/codec/jsonsplit.h"
#include "leasehold/core/buf.h"
#include "leasehold/core/mem.h"

enum { MAX_OBJECT = 40 };

struct seen {
    struct lh_buf b;
    int answer; /* of the callback */
    int fail_on;
    int calls;
    bool quiet; /* allocate nothing */
};

static int emit(void *arg, enum lh_split_what what, struct lh_str text, struct lh_err *err)
{
    static const char names[] = {
        [LH_SPLIT_OBJECT] = 'o', [LH_SPLIT_SKIPPED] = 's', [LH_SPLIT_ENVELOPE] = 'e'};
    struct seen *s = arg;

    if (!s->quiet) {
        lh_buf_put_c(&s->b, names[what]);
        lh_buf_put_str(&s->b, text);
        lh_buf_put_c(&s->b, '\n');
    }
    if (++s->calls == s->fail_on)
        return lh_err_set(err, LH_E_CONFLICT, "enough");
    return s->answer;
}

/* Feeds text in pieces; what was emitted is in s. */
static int feed(enum lh_split_mode mode, const char *text, size_t piece, struct seen *s,
                struct lh_err *err)
{
    struct lh_jsonsplit *split = NULL;
    size_t left = strlen(text);
    int rc = lh_jsonsplit_new(mode, MAX_OBJECT, emit, s, &split, err);

    lh_buf_init(&s->b, 1 << 20);
    s->calls = 0;
    while (rc == 0 && left > 0) {
        size_t take = piece < left ? piece : left, used = 0;

        rc = lh_jsonsplit_feed(split, (struct lh_str){text, take}, &used, err);
        text += used;
        left -= used;
    }
    if (rc == 0)
        rc = lh_jsonsplit_end(split, err);
    lh_jsonsplit_free(split);
    return rc;
}

static const struct row {
    const char *name;
    enum lh_split_mode mode;
    const char *text, *want;
    int code;
} rows[] = {
    {"stream of two", LH_SPLIT_STREAM, "{\"a\":1}\n{\"b\":[{}]}\n", "o{\"a\":1}\no{\"b\":[{}]}\n",
     0},
    {"stream without a separator", LH_SPLIT_STREAM, "{}{}", "o{}\no{}\n", 0},
    {"empty stream", LH_SPLIT_STREAM, "", "", 0},
    {"stream of space", LH_SPLIT_STREAM, " \r\n", "", 0},
    {"brackets in strings", LH_SPLIT_STREAM, "{\"}\":\"\\\"]{\\\\\"} ", "o{\"}\":\"\\\"]{\\\\\"}\n",
     0},
    {"stream cut inside", LH_SPLIT_STREAM, "{}{\"a\":", "o{}\n", LH_E_INVALID},
    {"stream cut in a string", LH_SPLIT_STREAM, "{\"a", "", LH_E_INVALID},
    {"stream of no objects", LH_SPLIT_STREAM, "[1]", "", LH_E_INVALID},
    {"a page of a proxy", LH_SPLIT_STREAM, "<html>", "", LH_E_INVALID},
    {"wrong bracket", LH_SPLIT_STREAM, "{\"a\":[}]", "", LH_E_INVALID},
    {"too big is skipped, the next is not", LH_SPLIT_STREAM,
     "{\"a\":\"0123456789012345678901234567890123\"}{\"a\":\"01234567890123456789012345678901\"}",
     "s{\"a\":\"0123456789012345678901234567890123\no{\"a\":\"01234567890123456789012345678901\"}"
     "\n",
     0},
    {"too big is skipped at the end", LH_SPLIT_STREAM,
     "{}{\"a\":\"01234567890123456789012345678901234567890123456789\"} ",
     "o{}\ns{\"a\":\"0123456789012345678901234567890123\n", 0},
    {"list", LH_SPLIT_ITEMS,
     "{\"kind\":\"List\",\"items\":[{\"a\":1},{\"b\":2}],\"metadata\":{\"x\":\"y\"}}",
     "o{\"a\":1}\no{\"b\":2}\ne{\"kind\":\"List\",\"metadata\":{\"x\":\"y\"}}\n", 0},
    {"list with white space", LH_SPLIT_ITEMS,
     " {\n \"items\" : [ {} , {} ] , \"a\" : 1 , \"b\" : null }\n",
     "o{}\no{}\ne{\"a\":1,\"b\":null}\n", 0},
    {"items first and last", LH_SPLIT_ITEMS, "{\"items\":[{}]}", "o{}\ne{}\n", 0},
    {"items in the middle", LH_SPLIT_ITEMS, "{\"a\":1,\"items\":[{}],\"b\":2}",
     "o{}\ne{\"a\":1,\"b\":2}\n", 0},
    {"no items", LH_SPLIT_ITEMS, "{\"a\":[{}]}", "e{\"a\":[{}]}\n", 0},
    {"empty items", LH_SPLIT_ITEMS, "{\"items\":[ ],\"a\":1}", "e{\"a\":1}\n", 0},
    {"items of Go's nil", LH_SPLIT_ITEMS, "{\"items\":null,\"a\":1}", "e{\"a\":1}\n", 0},
    {"empty document", LH_SPLIT_ITEMS, "{}", "e{}\n", 0},
    {"items deeper down are no items", LH_SPLIT_ITEMS, "{\"x\":{\"items\":[1]}}",
     "e{\"x\":{\"items\":[1]}}\n", 0},
    {"a value that reads items", LH_SPLIT_ITEMS, "{\"a\":\"items\",\"b\":\"\\\"items\\\"\"}",
     "e{\"a\":\"items\",\"b\":\"\\\"items\\\"\"}\n", 0},
    {"list cut behind an item", LH_SPLIT_ITEMS, "{\"items\":[{}", "o{}\n", LH_E_INVALID},
    {"nothing at all", LH_SPLIT_ITEMS, "", "", LH_E_INVALID},
    {"items twice", LH_SPLIT_ITEMS, "{\"items\":[{}],\"items\":[{}]}", "o{}\n", LH_E_INVALID},
    {"items that are no array", LH_SPLIT_ITEMS, "{\"items\":{}}", "", LH_E_INVALID},
    {"items that are almost null", LH_SPLIT_ITEMS, "{\"items\":nulx}", "", LH_E_INVALID},
    {"an item that is no object", LH_SPLIT_ITEMS, "{\"items\":[1]}", "", LH_E_INVALID},
    {"comma behind the last item", LH_SPLIT_ITEMS, "{\"items\":[{},]}", "o{}\n", LH_E_INVALID},
    {"comma behind the last member", LH_SPLIT_ITEMS, "{\"a\":1,}", "", LH_E_INVALID},
    {"no comma between items", LH_SPLIT_ITEMS, "{\"items\":[{}{}]}", "o{}\n", LH_E_INVALID},
    {"no value", LH_SPLIT_ITEMS, "{\"a\":,\"b\":1}", "", LH_E_INVALID},
    {"no colon", LH_SPLIT_ITEMS, "{\"a\",1}", "", LH_E_INVALID},
    {"key without quotes", LH_SPLIT_ITEMS, "{a:1}", "", LH_E_INVALID},
    {"text behind the list", LH_SPLIT_ITEMS, "{} x", "e{}\n", LH_E_INVALID},
    {"too big an envelope", LH_SPLIT_ITEMS,
     "{\"a\":\"01234567890123456789\",\"b\":\"01234567890123456789\"}", "", LH_E_TOOBIG},
    {"too big a key", LH_SPLIT_ITEMS, "{\"01234567890123456789012345678901234567890123456789\":1}",
     "", LH_E_TOOBIG},
    {"too big an item", LH_SPLIT_ITEMS,
     "{\"items\":[{\"a\":\"01234567890123456789012345678901234567890123456789\"},{}]}",
     "s{\"a\":\"0123456789012345678901234567890123\no{}\ne{}\n", 0},
};

/* The result must not depend on how the bytes come. */
static void splits(void **state)
{
    const struct row *r = *state;

    for (size_t piece = 1; piece <= strlen(r->text) + 1; piece++) {
        for (int pause = 0; pause < 2; pause++) {
            struct seen s = {.answer = pause};
            struct lh_err err;

            assert_int_equal(feed(r->mode, r->text, piece, &s, &err), -r->code);
            assert_string_equal(lh_buf_peek(&s.b).p, r->want);
            lh_buf_done(&s.b);
        }
    }
}

static void a_pause_says_how_far_it_came(void **state)
{
    struct seen s = {.answer = 1};
    struct lh_jsonsplit *split = NULL;
    size_t used = 0;

    (void)state;
    lh_buf_init(&s.b, 1000);
    assert_int_equal(lh_jsonsplit_new(LH_SPLIT_STREAM, 100, emit, &s, &split, NULL), 0);
    assert_int_equal(lh_jsonsplit_feed(split, LH_STR("{\"a\":1} {}"), &used, NULL), 0);
    assert_int_equal(used, 7);
    assert_int_equal(lh_jsonsplit_feed(split, LH_STR(" {}"), &used, NULL), 0);
    assert_int_equal(used, 3);
    assert_int_equal(s.calls, 2);
    /* Who does not ask for the count cannot be paused: no byte gets lost. */
    assert_int_equal(lh_jsonsplit_feed(split, LH_STR("{}{}"), NULL, NULL), 0);
    assert_int_equal(s.calls, 4);
    lh_jsonsplit_free(split);
    lh_buf_done(&s.b);
}

static void an_error_of_the_callback_ends_it(void **state)
{
    struct seen s = {.fail_on = 2};
    struct lh_jsonsplit *split = NULL;
    struct lh_err err;

    (void)state;
    lh_buf_init(&s.b, 1000);
    assert_int_equal(lh_jsonsplit_new(LH_SPLIT_STREAM, 100, emit, &s, &split, NULL), 0);
    assert_int_equal(lh_jsonsplit_feed(split, LH_STR("{}{}{}"), NULL, &err), -LH_E_CONFLICT);
    assert_string_equal(err.msg, "enough");
    assert_int_equal(lh_jsonsplit_feed(split, LH_STR("{}"), NULL, &err), -LH_E_INVALID);
    assert_int_equal(lh_jsonsplit_end(split, &err), -LH_E_INVALID);
    assert_int_equal(s.calls, 2);
    lh_jsonsplit_free(split);
    lh_buf_done(&s.b);
}

static void deep_brackets_are_followed(void **state)
{
    char text[2001];
    struct seen s = {0};
    struct lh_jsonsplit *split = NULL;

    (void)state;
    memset(text, '[', 1000);
    memset(text + 1000, ']', 1000);
    text[0] = '{';
    text[1999] = '}';
    lh_buf_init(&s.b, 5000);
    assert_int_equal(lh_jsonsplit_new(LH_SPLIT_STREAM, 5000, emit, &s, &split, NULL), 0);
    assert_int_equal(lh_jsonsplit_feed(split, (struct lh_str){text, 2000}, NULL, NULL), 0);
    assert_int_equal(lh_jsonsplit_end(split, NULL), 0);
    assert_int_equal(s.calls, 1);
    lh_jsonsplit_free(split);
    lh_buf_done(&s.b);
}

static void survives_want_of_memory(void **state)
{
    static const char text[] =
        "{\"kind\":\"List\",\"items\":[{\"a\":1},{\"b\":2}],\"metadata\":{}}";
    size_t live = lh_mem_live_blocks();
    unsigned long n = 0;
    int rc;

    (void)state;
    do {
        struct seen s = {.quiet = true};

        lh_mem_fail_at(++n);
        rc = feed(LH_SPLIT_ITEMS, text, 3, &s, NULL);
        lh_mem_fail_at(0);
        assert_true(rc == 0 || rc == -LH_E_NOMEM);
        lh_buf_done(&s.b);
        assert_int_equal(lh_mem_live_blocks(), live);
    } while (rc < 0);
    assert_in_range(n, 3, 100);
}

int main(void)
{
    ROWS(splits, rows);
    ONE(a_pause_says_how_far_it_came);
    ONE(an_error_of_the_callback_ends_it);
    ONE(deep_brackets_are_followed);
    ONE(survives_want_of_memory);
    return rows_run("jsonsplit");
}
