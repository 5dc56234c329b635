/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "leasehold/codec/json.h"
#include "leasehold/core/mem.h"

static char *print(const lh_json *v, enum lh_json_style style)
{
    struct lh_buf b;
    char *out = NULL;
    size_t n;

    lh_buf_init(&b, 1 << 24);
    lh_json_write(v, style, &b);
    assert_int_equal(lh_buf_finish(&b, &out, &n, NULL), 0);
    return out;
}

static lh_json *parse(const char *text)
{
    lh_json *v = NULL;
    struct lh_err err;

    assert_int_equal(lh_json_parse(lh_str(text), NULL, &v, &err), 0);
    return v;
}

static const struct row {
    const char *name;
    struct lh_str text;
    const char *want; /* printed compact; NULL: as text */
} good[] = {
    {"object keeps its order", LH_STR("{\"b\":1,\"a\":2}"), NULL},
    {"white space goes", LH_STR(" \t\r\n{ \"a\" : [ 1 , 2 ] } \n"), "{\"a\":[1,2]}"},
    {"words", LH_STR("[true,false,null]"), NULL},
    {"empty ones", LH_STR("[{},[],\"\"]"), NULL},
    {"a scalar is a text", LH_STR("\"x\""), NULL},
    {"zero is a text", LH_STR("0"), NULL},
    {"int64 least and most", LH_STR("[-9223372036854775808,9223372036854775807]"), NULL},
    {"20 digits stay", LH_STR("[9223372036854775808,-99999999999999999999]"), NULL},
    {"1.10 stays", LH_STR("[1.10,-0.0,1.0]"), NULL},
    {"exponents stay", LH_STR("[1e3,1E+3,1.5e-7,0e0]"), NULL},
    {"exponent past any float stays", LH_STR("1e999999"), NULL},
    {"minus zero stays", LH_STR("-0"), NULL},
    {"escapes", LH_STR("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), "\"\\\"\\\\/\\b\\f\\n\\r\\t\""},
    {"unicode escapes", LH_STR("\"\\u0041\\u00e9\\u20ac\\ud83d\\ude00\""),
     "\"A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
    {"NUL in a value", LH_STR("\"a\\u0000b\""), NULL},
    {"low control characters", LH_STR("\"\\u0001\\u001f\""), NULL},
    {"DEL and C1 as they are", LH_STR("\"\x7f\xc2\x80\""), NULL},
    {"longest UTF-8", LH_STR("\"\xf4\x8f\xbf\xbf\xef\xbf\xbf\xed\x9f\xbf\""), NULL},
    {"a text like our mark of numbers", LH_STR("\"\\u00ff1.10\""),
     "\"\xc3\xbf"
     "1.10\""},
    {"escaped key", LH_STR("{\"\\u0061\":1}"), "{\"a\":1}"},
};

static void reads(void **state)
{
    const struct row *r = *state;
    lh_auto_free char *text = NULL;
    lh_auto_json lh_json *v = NULL;
    struct lh_err err;

    assert_int_equal(lh_json_parse(r->text, NULL, &v, &err), 0);
    text = print(v, LH_JSON_COMPACT);
    assert_string_equal(text, r->want ? r->want : r->text.p);
}

static const struct bad {
    const char *name;
    struct lh_str text;
    int code;
    const char *msg;
} bad[] = {
    {"nothing", LH_STR(""), LH_E_INVALID, "empty"},
    {"only space", LH_STR("  "), LH_E_INVALID, "line 1, column 3: the text ends"},
    {"two values", LH_STR("1 2"), LH_E_INVALID, "line 1, column 3: text after"},
    {"line and column", LH_STR("{\n  \"a\": tru\n}"), LH_E_INVALID, "line 2, column 8: not a JSON"},
    {"column counts characters", LH_STR("[\"\xc3\xa9\xe2\x82\xac\" x]"), LH_E_INVALID, "column 7"},
    {"duplicate key", LH_STR("{\"a\":1,\"a\":2}"), LH_E_INVALID, "column 8: duplicate key"},
    {"duplicate key by escape", LH_STR("{\"a\":1,\"\\u0061\":2}"), LH_E_INVALID, "duplicate key"},
    {"duplicate key behind a long value", LH_STR("{\"abc\":1,\n\"abc\":[[{}],2]}"), LH_E_INVALID,
     "line 2, column 1: duplicate key"},
    {"NUL in a key", LH_STR("{\"a\\u0000\":1}"), LH_E_INVALID, "NUL in a key"},
    {"NUL byte", LH_STR("[\0]"), LH_E_INVALID, "not a JSON value"},
    {"key without quotes", LH_STR("{a:1}"), LH_E_INVALID, "expected a key"},
    {"comma at the end of an object", LH_STR("{\"a\":1,}"), LH_E_INVALID, "expected a key"},
    {"comma at the end of an array", LH_STR("[1,]"), LH_E_INVALID, "not a JSON value"},
    {"no colon", LH_STR("{\"a\" 1}"), LH_E_INVALID, "expected ':'"},
    {"no comma", LH_STR("[1 2]"), LH_E_INVALID, "expected ',' or ']'"},
    {"wrong bracket", LH_STR("{\"a\":1]"), LH_E_INVALID, "expected ',' or '}'"},
    {"cut array", LH_STR("[1"), LH_E_INVALID, "ends inside an array"},
    {"cut object", LH_STR("{\"a\":"), LH_E_INVALID, "ends where a value"},
    {"cut string", LH_STR("\"abc"), LH_E_INVALID, "ends inside a string"},
    {"cut escape", LH_STR("\"\\"), LH_E_INVALID, "ends inside a string"},
    {"cut unicode escape", LH_STR("\"\\u12\""), LH_E_INVALID, "four hexadecimal"},
    {"bad unicode escape", LH_STR("\"\\u12g4\""), LH_E_INVALID, "four hexadecimal"},
    {"unknown escape", LH_STR("\"\\x\""), LH_E_INVALID, "unknown escape"},
    {"NUL behind a backslash", LH_STR("\"\\\0\""), LH_E_INVALID, "unknown escape"},
    {"high surrogate alone", LH_STR("\"\\ud800\""), LH_E_INVALID, "surrogate"},
    {"high surrogate and a letter", LH_STR("\"\\ud800abcdef\""), LH_E_INVALID, "surrogate"},
    {"two high surrogates", LH_STR("\"\\ud800\\ud800\""), LH_E_INVALID, "surrogate"},
    {"low surrogate alone", LH_STR("\"\\udc00\""), LH_E_INVALID, "surrogate"},
    {"control character", LH_STR("\"a\nb\""), LH_E_INVALID, "control character"},
    {"overlong UTF-8", LH_STR("\"\xc0\x80\""), LH_E_INVALID, "UTF-8"},
    {"overlong UTF-8 of three", LH_STR("\"\xe0\x9f\xbf\""), LH_E_INVALID, "UTF-8"},
    {"surrogate in UTF-8", LH_STR("\"\xed\xa0\x80\""), LH_E_INVALID, "UTF-8"},
    {"past U+10FFFF", LH_STR("\"\xf4\x90\x80\x80\""), LH_E_INVALID, "UTF-8"},
    {"cut UTF-8", LH_STR("\"\xe2\x82\""), LH_E_INVALID, "UTF-8"},
    {"stray continuation", LH_STR("\"\x80\""), LH_E_INVALID, "UTF-8"},
    {"a byte like our mark of numbers",
     LH_STR("\"\xff"
            "1\""),
     LH_E_INVALID, "UTF-8"},
    {"byte order mark", LH_STR("\xef\xbb\xbf{}"), LH_E_INVALID, "not a JSON value"},
    {"zero in front", LH_STR("01"), LH_E_INVALID, "malformed number"},
    {"minus alone", LH_STR("-"), LH_E_INVALID, "malformed number"},
    {"plus in front", LH_STR("+1"), LH_E_INVALID, "not a JSON value"},
    {"no digit behind the point", LH_STR("1."), LH_E_INVALID, "malformed number"},
    {"no digit in the exponent", LH_STR("1e+"), LH_E_INVALID, "malformed number"},
    {"NaN", LH_STR("NaN"), LH_E_INVALID, "not a JSON value"},
    {"single quotes", LH_STR("'a'"), LH_E_INVALID, "not a JSON value"},
    {"comment", LH_STR("/**/1"), LH_E_INVALID, "not a JSON value"},
    {"five levels of four", LH_STR("[[[[[]]]]]"), LH_E_TOOBIG, "column 5: nested too deep"},
    {"too many members", LH_STR("[1,2,{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6}]"),
     LH_E_TOOBIG, "too many members"},
    {"too many bytes", LH_STR("\"0123456789012345678901234567890123456789012345678901234567890\""),
     LH_E_TOOBIG, "larger than 60"},
};

static void refuses(void **state)
{
    const struct lh_json_limits limits = {.max_bytes = 60, .max_depth = 4, .max_keys = 8};
    const struct bad *r = *state;
    lh_json *v = NULL;
    struct lh_err err = {0};

    assert_int_equal(lh_json_parse(r->text, &limits, &v, &err), -r->code);
    assert_null(v); /* an output is untouched on failure */
    assert_int_equal(err.code, r->code);
    if (!strstr(err.msg, r->msg))
        fail_msg("\"%s\" does not say \"%s\"", err.msg, r->msg);
}

static void never_quotes_the_input(void **state)
{
    static const char *const texts[] = {
        "{\"k\":s3cr3t}", "\"s3cr3t\\q\"", "[s3cr3t", "s3cr3t", "{\"s3cr3t\":1,\"s3cr3t\":2}",
        "1s3cr3t"};
    lh_json *v = NULL;
    struct lh_err err;

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(texts); i++) {
        assert_int_equal(lh_json_parse(lh_str(texts[i]), NULL, &v, &err), -LH_E_INVALID);
        assert_null(strstr(err.msg, "s3"));
    }
}

static void default_limits_hold(void **state)
{
    lh_auto_free char *deep = lh_malloc(1000);
    lh_json *v = NULL;
    struct lh_err err;

    (void)state;
    memset(deep, '[', 1000);
    assert_int_equal(lh_json_parse((struct lh_str){deep, 1000}, NULL, &v, &err), -LH_E_TOOBIG);
    assert_non_null(strstr(err.msg, "column 65"));
    /* Whatever is asked for, recursion stays bounded. */
    assert_int_equal(lh_json_parse((struct lh_str){deep, 1000},
                                   &(struct lh_json_limits){.max_depth = 1 << 30}, &v, &err),
                     -LH_E_TOOBIG);
    assert_null(v);
}

static void getters_tell_types_apart(void **state)
{
    lh_auto_json lh_json *v = parse("{\"s\":\"x\",\"n\":7,\"f\":1.5,\"big\":99999999999999999999,"
                                    "\"b\":true,\"z\":null,\"a\":[1,2],\"nul\":\"a\\u0000\"}");
    struct lh_str s = {NULL, 0};
    int64_t i = 0;
    bool b = false;

    (void)state;
    assert_int_equal(lh_json_type(v), LH_JSON_OBJECT);
    assert_int_equal(lh_json_type(NULL), LH_JSON_NULL);
    assert_int_equal(lh_json_type(lh_json_get(v, "z")), LH_JSON_NULL);
    assert_int_equal(lh_json_type(lh_json_get(v, "f")), LH_JSON_NUMBER);
    assert_int_equal(lh_json_type(lh_json_get(v, "big")), LH_JSON_NUMBER);
    assert_int_equal(lh_json_type(lh_json_get(v, "n")), LH_JSON_NUMBER);
    assert_int_equal(lh_json_type(lh_json_get(v, "b")), LH_JSON_BOOL);
    assert_false(lh_json_str(lh_json_get(v, "f"), &s));
    assert_false(lh_json_str(lh_json_get(v, "n"), &s));
    assert_true(lh_json_str(lh_json_get(v, "nul"), &s));
    assert_int_equal(s.n, 2);
    assert_null(lh_json_get_z(v, "nul"));
    assert_null(lh_json_get_z(v, "f"));
    assert_string_equal(lh_json_get_z(v, "s"), "x");
    assert_true(lh_json_int(lh_json_get(v, "n"), &i));
    assert_int_equal(i, 7);
    assert_false(lh_json_int(lh_json_get(v, "f"), &i));
    assert_false(lh_json_int(lh_json_get(v, "big"), &i));
    assert_int_equal(lh_json_get_int(v, "absent", -3), -3);
    assert_int_equal(lh_json_get_int(v, "s", -3), -3);
    assert_true(lh_json_bool(lh_json_get(v, "b"), &b) && b);
    assert_true(lh_json_get_bool(v, "absent", true));
    assert_false(lh_json_get_bool(v, "absent", false));
    assert_int_equal(lh_json_len(lh_json_get(v, "a")), 2);
    assert_int_equal(lh_json_len(lh_json_get(v, "s")), 0);
    assert_int_equal(lh_json_len(NULL), 0);
    assert_null(lh_json_at(lh_json_get(v, "a"), 2));
    assert_null(lh_json_get(NULL, "a"));
    assert_null(lh_json_path(v, "a", "b", NULL));
    assert_ptr_equal(lh_json_path(v, "s", NULL), lh_json_get(v, "s"));
}

static void members_come_in_order(void **state)
{
    lh_auto_json lh_json *v = parse("{\"z\":1,\"y\":2,\"x\":3}");
    const lh_json *member;
    struct lh_str key;
    void *it = NULL;
    char seen[4] = {0};
    size_t n = 0;

    (void)state;
    while (lh_json_next(v, &it, &key, &member) && n < 3)
        seen[n++] = key.p[0];
    assert_string_equal(seen, "zyx");
    assert_null(it);
}

static const struct equal {
    const char *name, *a, *b;
    bool want;
} equals[] = {
    {"equal: same number by other text", "1.10", "1.1", true},
    {"equal: exponent", "[1e3,1000,0.5]", "[1000,1.0E3,5e-1]", true},
    {"equal: zeros", "[0,0.0,-0,0e9]", "[0.0,-0.0,0,0]", true},
    {"equal: digits on both sides of the point", "10.01", "1001e-2", true},
    {"equal: another digit", "10.01", "10.02", false},
    {"equal: a longer number", "1.1", "1.11", false},
    {"equal: sign", "1.5", "-1.5", false},
    {"equal: another power", "1e3", "1e4", false},
    {"equal: text is no number", "\"1.5\"", "1.5", false},
    {"equal: order of members", "{\"a\":1,\"b\":[2]}", "{\"b\":[2],\"a\":1}", true},
    {"equal: order of elements", "[1,2]", "[2,1]", false},
    {"equal: a member more", "{\"a\":1}", "{\"a\":1,\"b\":1}", false},
    {"equal: null member is not absent", "{\"a\":null}", "{\"b\":null}", false},
    {"equal: past int64", "9223372036854775808", "9223372036854775808.0", true},
    {"equal: words", "[true,null]", "[true,null]", true},
    {"equal: true and false", "true", "false", false},
};

static void compares(void **state)
{
    const struct equal *r = *state;
    lh_auto_json lh_json *a = parse(r->a), *b = parse(r->b);

    assert_int_equal(lh_json_equal(a, b), r->want);
    assert_int_equal(lh_json_equal(b, a), r->want);
}

static void styles(void **state)
{
    lh_auto_json lh_json *v = parse("{\"b\":[1,{\"d\":2,\"c\":{}}],\"a\":[],\"ab\":1.50}");
    lh_auto_free char *sorted = print(v, LH_JSON_SORTED), *pretty = print(v, LH_JSON_PRETTY);

    (void)state;
    assert_string_equal(sorted, "{\"a\":[],\"ab\":1.50,\"b\":[1,{\"c\":{},\"d\":2}]}");
    assert_string_equal(pretty,
                        "{\n  \"b\": [\n    1,\n    {\n      \"d\": 2,\n      \"c\": {}\n    }\n"
                        "  ],\n  \"a\": [],\n  \"ab\": 1.50\n}");
}

static void written_strings_are_always_json(void **state)
{
    struct lh_buf b;

    (void)state;
    lh_buf_init(&b, 100);
    lh_json_write_str(LH_STR("a\xff\"\xc3(\n\0z\xe2\x82"), &b);
    assert_string_equal(lh_buf_peek(&b).p, "\"a\\ufffd\\\"\\ufffd(\\n\\u0000z\\ufffd\\ufffd\"");
    lh_buf_done(&b);
}

/* Text is looked at eight bytes at a time: every special byte at every place of a word. */
static void special_bytes_are_found_everywhere(void **state)
{
    static const struct {
        struct lh_str in, out;
    } rows[] = {
        {LH_STR("\""), LH_STR("\\\"")},      {LH_STR("\\"), LH_STR("\\\\")},
        {LH_STR("\n"), LH_STR("\\n")},       {LH_STR("\x1f"), LH_STR("\\u001f")},
        {LH_STR("\0"), LH_STR("\\u0000")},   {LH_STR("\xc3\xa9"), LH_STR("\xc3\xa9")},
        {LH_STR("\x80"), LH_STR("\\ufffd")}, {LH_STR("\x7f"), LH_STR("\x7f")},
        {LH_STR("!#[] "), LH_STR("!#[] ")},
    };

    (void)state;
    for (size_t r = 0; r < LH_ARRAY_LEN(rows); r++) {
        for (int before = 0; before < 20; before++) {
            struct lh_buf in, want, out;

            lh_buf_init(&in, 100);
            lh_buf_init(&want, 100);
            lh_buf_init(&out, 100);
            lh_buf_printf(&in, "%.*s", before, "abcdefghijklmnopqrst");
            lh_buf_printf(&want, "\"%.*s", before, "abcdefghijklmnopqrst");
            lh_buf_put_str(&in, rows[r].in);
            lh_buf_put_str(&want, rows[r].out);
            lh_buf_put_z(&in, "uvwxyz0123");
            lh_buf_put_z(&want, "uvwxyz0123\"");
            lh_json_write_str(lh_buf_peek(&in), &out);
            assert_string_equal(lh_buf_peek(&out).p, lh_buf_peek(&want).p);
            lh_buf_done(&in);
            lh_buf_done(&want);
            lh_buf_done(&out);
        }
    }
}

static void writing_past_the_cap_is_sticky(void **state)
{
    lh_auto_json lh_json *v = parse("[\"0123456789\"]");
    struct lh_buf b;

    (void)state;
    lh_buf_init(&b, 8);
    lh_json_write(v, LH_JSON_COMPACT, &b);
    assert_int_equal(lh_buf_check(&b, NULL), -LH_E_TOOBIG);
    lh_buf_done(&b);
}

static void builders_build(void **state)
{
    lh_auto_json lh_json *o = lh_json_new_object();
    lh_json *a = lh_json_new_array();
    lh_auto_json lh_json *copy = NULL;
    lh_auto_free char *text = NULL;

    (void)state;
    assert_int_equal(lh_json_push(a, lh_json_new_int(2)), 0);
    assert_int_equal(lh_json_insert(a, 0, lh_json_new_bool(true)), 0);
    assert_int_equal(lh_json_insert(a, 9, lh_json_new_null()), -1);
    assert_int_equal(lh_json_push(a, lh_json_new_z("x")), 0);
    assert_int_equal(lh_json_replace_at(a, 1, lh_json_new_int(INT64_MIN)), 0);
    assert_int_equal(lh_json_del_at(a, 2), 0);
    assert_int_equal(lh_json_set(o, "a", a), 0);
    assert_int_equal(lh_json_setn(o, LH_STR("bc"), lh_json_new_str(LH_STR("\0"))), 0);
    assert_int_equal(lh_json_set(o, "gone", lh_json_new_null()), 0);
    assert_int_equal(lh_json_del(o, "gone"), 0);
    assert_int_equal(lh_json_del(o, "gone"), -1);
    assert_int_equal(lh_json_set(o, "missing value", NULL), -1);
    assert_int_equal(lh_json_setn(o, LH_STR("n\0l"), lh_json_new_int(1)), -1);
    assert_int_equal(lh_json_setn(o, LH_STR("\xff"), lh_json_new_int(1)), -1);
    /* The mark of our numbers must not come in by a builder. */
    assert_null(lh_json_new_str(LH_STR("\xff"
                                       "1")));
    copy = lh_json_deep_copy(o);
    lh_json_del(o, "a");
    text = print(copy, LH_JSON_COMPACT);
    assert_string_equal(text, "{\"a\":[true,-9223372036854775808],\"bc\":\"\\u0000\"}");
}

/* Every allocation fails once: a clean error, nothing leaked, output untouched. */
static void survives_want_of_memory(void **state)
{
    struct lh_str text =
        LH_STR("{\"a\":[1,1.50,\"x\",\"\\u00e9\",{\"b\":null,\"\\n\":true}],\"c\":{},"
               "\"d\":1,\"e\":2,\"f\":3,\"g\":4,\"h\":5,\"i\":6,\"j\":7}");
    size_t live = lh_mem_live_blocks();
    unsigned long n = 0;
    int rc;

    (void)state;
    do {
        lh_json *v = NULL;
        struct lh_err err = {0};

        lh_mem_fail_at(++n);
        rc = lh_json_parse(text, NULL, &v, &err);
        lh_mem_fail_at(0);
        if (rc < 0) {
            assert_int_equal(rc, -LH_E_NOMEM);
            assert_null(v);
        }
        lh_json_unref(v);
        assert_int_equal(lh_mem_live_blocks(), live);
    } while (rc < 0);
    assert_in_range(n, 20, 1000);
}

static void writing_survives_want_of_memory(void **state)
{
    lh_auto_json lh_json *v = parse("{\"b\":{\"d\":1,\"c\":2},\"a\":\"0123456789\"}");
    size_t live = lh_mem_live_blocks();
    unsigned long n = 0;
    int rc;

    (void)state;
    do {
        struct lh_buf b;

        lh_mem_fail_at(++n);
        lh_buf_init(&b, 1000);
        lh_json_write(v, LH_JSON_SORTED, &b);
        rc = lh_buf_check(&b, NULL);
        lh_mem_fail_at(0);
        assert_true(rc == 0 || rc == -LH_E_NOMEM);
        lh_buf_done(&b);
        assert_int_equal(lh_mem_live_blocks(), live);
    } while (rc < 0);
    assert_in_range(n, 3, 100);
}

int main(void)
{
    lh_json_init();
    ROWS(reads, good);
    ROWS(refuses, bad);
    ROWS(compares, equals);
    ONE(never_quotes_the_input);
    ONE(default_limits_hold);
    ONE(getters_tell_types_apart);
    ONE(members_come_in_order);
    ONE(styles);
    ONE(written_strings_are_always_json);
    ONE(special_bytes_are_found_everywhere);
    ONE(writing_past_the_cap_is_sticky);
    ONE(builders_build);
    ONE(survives_want_of_memory);
    ONE(writing_survives_want_of_memory);
    return rows_run("json");
}
