/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "leasehold/codec/jsonpatch.h"
#include "leasehold/core/mem.h"

/* After the appendix of RFC 6902 and the cases of the public conformance tests. */
static const struct row {
    const char *name, *doc, *patch, *want; /* want NULL: code comes back */
    int code;
} rows[] = {
    {"no operation", "{\"a\":1}", "[]", "{\"a\":1}", 0},
    {"add a member", "{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz\",\"value\":\"qux\"}]",
     "{\"foo\":\"bar\",\"baz\":\"qux\"}", 0},
    {"add replaces a member", "{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/a\",\"value\":null}]",
     "{\"a\":null}", 0},
    {"add in an array", "{\"foo\":[1,3]}", "[{\"op\":\"add\",\"path\":\"/foo/1\",\"value\":2}]",
     "{\"foo\":[1,2,3]}", 0},
    {"add at the end by index", "[1]", "[{\"op\":\"add\",\"path\":\"/1\",\"value\":2}]", "[1,2]",
     0},
    {"add at the end by dash", "[1]", "[{\"op\":\"add\",\"path\":\"/-\",\"value\":[2]}]", "[1,[2]]",
     0},
    {"add past the end", "[1]", "[{\"op\":\"add\",\"path\":\"/2\",\"value\":2}]", NULL,
     LH_E_INVALID},
    {"add below what is missing", "{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b/c\",\"value\":2}]",
     NULL, LH_E_INVALID},
    {"add below a scalar", "{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/a/b\",\"value\":2}]", NULL,
     LH_E_INVALID},
    {"add at a word in an array", "[1]", "[{\"op\":\"add\",\"path\":\"/x\",\"value\":2}]", NULL,
     LH_E_INVALID},
    {"add the whole document", "{\"a\":1}", "[{\"op\":\"add\",\"path\":\"\",\"value\":[2]}]", "[2]",
     0},
    {"add under the empty key", "{}", "[{\"op\":\"add\",\"path\":\"/\",\"value\":1}]", "{\"\":1}",
     0},
    {"add below the empty key", "{\"\":{}}", "[{\"op\":\"add\",\"path\":\"//\",\"value\":1}]",
     "{\"\":{\"\":1}}", 0},
    {"add a number in an object", "{}", "[{\"op\":\"add\",\"path\":\"/0\",\"value\":1}]",
     "{\"0\":1}", 0},
    {"add without a value", "{}", "[{\"op\":\"add\",\"path\":\"/a\"}]", NULL, LH_E_INVALID},
    {"escaped names", "{\"a/b\":1,\"m~n\":2}",
     "[{\"op\":\"remove\",\"path\":\"/a~1b\"},{\"op\":\"replace\",\"path\":\"/m~0n\",\"value\":3}]",
     "{\"m~n\":3}", 0},
    {"~01 is ~1", "{\"~1\":10,\"/\":9}", "[{\"op\":\"test\",\"path\":\"/~01\",\"value\":10}]",
     "{\"~1\":10,\"/\":9}", 0},
    {"a tilde alone", "{\"a~\":1}", "[{\"op\":\"remove\",\"path\":\"/a~\"}]", NULL, LH_E_INVALID},
    {"a tilde and a letter", "{\"~a\":1}", "[{\"op\":\"remove\",\"path\":\"/~a\"}]", NULL,
     LH_E_INVALID},
    {"pointer without a slash", "{\"a\":1}", "[{\"op\":\"remove\",\"path\":\"a\"}]", NULL,
     LH_E_INVALID},
    {"remove a member", "{\"baz\":1,\"foo\":2}", "[{\"op\":\"remove\",\"path\":\"/baz\"}]",
     "{\"foo\":2}", 0},
    {"remove from an array", "[1,2,3]", "[{\"op\":\"remove\",\"path\":\"/1\"}]", "[1,3]", 0},
    {"remove what is missing", "{\"a\":1}", "[{\"op\":\"remove\",\"path\":\"/b\"}]", NULL,
     LH_E_INVALID},
    {"remove past the end", "[1]", "[{\"op\":\"remove\",\"path\":\"/1\"}]", NULL, LH_E_INVALID},
    {"remove at the dash", "[1]", "[{\"op\":\"remove\",\"path\":\"/-\"}]", NULL, LH_E_INVALID},
    {"remove all", "[1]", "[{\"op\":\"remove\",\"path\":\"\"}]", NULL, LH_E_INVALID},
    {"index with a zero in front", "[1,2]", "[{\"op\":\"remove\",\"path\":\"/01\"}]", NULL,
     LH_E_INVALID},
    {"negative index", "[1,2]", "[{\"op\":\"remove\",\"path\":\"/-1\"}]", NULL, LH_E_INVALID},
    {"index with an exponent", "[1,2]", "[{\"op\":\"remove\",\"path\":\"/1e0\"}]", NULL,
     LH_E_INVALID},
    {"index past any memory", "[1,2]", "[{\"op\":\"remove\",\"path\":\"/18446744073709551616\"}]",
     NULL, LH_E_INVALID},
    {"index into an empty array", "[]", "[{\"op\":\"remove\",\"path\":\"/0\"}]", NULL,
     LH_E_INVALID},
    {"replace a member", "{\"a\":[1]}",
     "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":{\"b\":1}}]", "{\"a\":{\"b\":1}}", 0},
    {"replace in an array", "[1,2]", "[{\"op\":\"replace\",\"path\":\"/1\",\"value\":3}]", "[1,3]",
     0},
    {"replace the whole document", "[1]", "[{\"op\":\"replace\",\"path\":\"\",\"value\":2}]", "2",
     0},
    {"replace what is missing", "{}", "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":1}]", NULL,
     LH_E_INVALID},
    {"test holds", "{\"a\":[\"b\",{\"c\":1.0}]}",
     "[{\"op\":\"test\",\"path\":\"/a\",\"value\":[\"b\",{\"c\":1}]}]",
     "{\"a\":[\"b\",{\"c\":1.0}]}", 0},
    {"test does not hold", "{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":\"1\"}]", NULL,
     LH_E_CONFLICT},
    {"test of null", "{\"a\":null}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":null}]",
     "{\"a\":null}", 0},
    {"test of what is missing", "{}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":null}]", NULL,
     LH_E_INVALID},
    {"test of the whole document", "[1]", "[{\"op\":\"test\",\"path\":\"\",\"value\":[1]}]", "[1]",
     0},
    {"all or nothing", "{\"a\":1}",
     "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":2},{\"op\":\"test\",\"path\":\"/"
     "a\",\"value\":1}]",
     NULL, LH_E_CONFLICT},
    {"move a member", "{\"a\":{\"b\":1},\"c\":{}}",
     "[{\"op\":\"move\",\"from\":\"/a/b\",\"path\":\"/c/d\"}]", "{\"a\":{},\"c\":{\"d\":1}}", 0},
    {"move in an array", "[1,2,3]", "[{\"op\":\"move\",\"from\":\"/0\",\"path\":\"/2\"}]",
     "[2,3,1]", 0},
    {"move nowhere", "{\"a\":1}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a\"}]",
     "{\"a\":1}", 0},
    {"move into itself", "{\"a\":{\"b\":1}}",
     "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a/b\"}]", NULL, LH_E_INVALID},
    {"move to a name that starts alike", "{\"a\":1}",
     "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/ab\"}]", "{\"ab\":1}", 0},
    {"move what is missing", "{}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/b\"}]", NULL,
     LH_E_INVALID},
    {"move without from", "{}", "[{\"op\":\"move\",\"path\":\"/b\"}]", NULL, LH_E_INVALID},
    {"copy a member", "{\"a\":[1]}",
     "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/b\"},{\"op\":\"add\",\"path\":\"/b/"
     "-\",\"value\":2}]",
     "{\"a\":[1],\"b\":[1,2]}", 0},
    {"copy into itself", "{\"a\":{}}", "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/a/b\"}]",
     "{\"a\":{\"b\":{}}}", 0},
    {"unknown operation", "{}", "[{\"op\":\"spam\",\"path\":\"/a\",\"value\":1}]", NULL,
     LH_E_INVALID},
    {"no operation named", "{}", "[{\"path\":\"/a\",\"value\":1}]", NULL, LH_E_INVALID},
    {"no path", "{}", "[{\"op\":\"add\",\"value\":1}]", NULL, LH_E_INVALID},
    {"path that is no text", "{}", "[{\"op\":\"add\",\"path\":1,\"value\":1}]", NULL, LH_E_INVALID},
    {"other members are ignored", "{}", "[{\"op\":\"add\",\"path\":\"/a\",\"value\":1,\"xyz\":1}]",
     "{\"a\":1}", 0},
    {"an operation that is no object", "{}", "[1]", NULL, LH_E_INVALID},
    {"a patch that is no array", "{}", "{\"op\":\"add\"}", NULL, LH_E_INVALID},
};

static lh_json *parse(const char *text)
{
    lh_json *v = NULL;

    if (lh_json_parse(lh_str(text), NULL, &v, NULL) < 0)
        fail_msg("%s", text);
    return v;
}

static void applies(void **state)
{
    const struct row *r = *state;
    lh_auto_json lh_json *doc = parse(r->doc), *before = parse(r->doc), *patch = parse(r->patch);
    lh_auto_json lh_json *out = NULL;
    struct lh_buf b;
    struct lh_err err;

    assert_int_equal(lh_jsonpatch_apply(doc, patch, &out, &err), -r->code);
    assert_true(lh_json_equal(doc, before));
    if (!r->want) {
        assert_null(out);
        return;
    }
    lh_buf_init(&b, 4096);
    lh_json_write(out, LH_JSON_COMPACT, &b);
    assert_string_equal(lh_buf_peek(&b).p, r->want);
    lh_buf_done(&b);
}

static void says_which_operation_failed(void **state)
{
    lh_auto_json lh_json *doc = parse("{}");
    lh_auto_json lh_json *patch =
        parse("[{\"op\":\"add\",\"path\":\"/a\",\"value\":1},{\"op\":\"remove\",\"path\":\"/b\"}]");
    lh_json *out = NULL;
    struct lh_err err;

    (void)state;
    assert_int_equal(lh_jsonpatch_apply(doc, patch, &out, &err), -LH_E_INVALID);
    assert_non_null(strstr(err.msg, "operation 1"));
}

static void builds(void **state)
{
    lh_auto_json lh_json *patch = lh_json_new_array();
    struct lh_buf b, path;

    (void)state;
    lh_buf_init(&path, 100);
    lh_buf_put_z(&path, "/metadata/annotations/");
    lh_jsonpatch_escape(&path, LH_STR("leasehold.dev/a~b"));
    assert_int_equal(lh_jsonpatch_op(patch, "add", lh_buf_peek(&path).p, lh_json_new_int(1)), 0);
    assert_int_equal(lh_jsonpatch_op(patch, "remove", "/x", NULL), 0);
    assert_int_equal(lh_jsonpatch_op(patch, "add", "/x", NULL), -1);
    lh_buf_init(&b, 1000);
    lh_json_write(patch, LH_JSON_COMPACT, &b);
    assert_string_equal(
        lh_buf_peek(&b).p,
        "[{\"op\":\"add\",\"path\":\"/metadata/annotations/leasehold.dev~1a~0b\",\"value\":1},"
        "{\"op\":\"remove\",\"path\":\"/x\"}]");
    lh_buf_done(&b);
    lh_buf_done(&path);
}

static void survives_want_of_memory(void **state)
{
    lh_auto_json lh_json *doc = parse("{\"a\":[1,{\"b\":2}],\"c\":3}");
    lh_auto_json lh_json *patch = parse("[{\"op\":\"add\",\"path\":\"/a/-\",\"value\":{\"x\":[1]}},"
                                        "{\"op\":\"copy\",\"from\":\"/a/1\",\"path\":\"/d\"},"
                                        "{\"op\":\"move\",\"from\":\"/c\",\"path\":\"/d/c\"},"
                                        "{\"op\":\"replace\",\"path\":\"/a/0\",\"value\":\"y\"},"
                                        "{\"op\":\"remove\",\"path\":\"/a/1\"}]");
    size_t live = lh_mem_live_blocks();
    unsigned long n = 0;
    int rc;

    (void)state;
    do {
        lh_json *out = NULL;

        lh_mem_fail_at(++n);
        rc = lh_jsonpatch_apply(doc, patch, &out, NULL);
        lh_mem_fail_at(0);
        if (rc < 0) {
            assert_int_equal(rc, -LH_E_NOMEM);
            assert_null(out);
        }
        lh_json_unref(out);
        assert_int_equal(lh_mem_live_blocks(), live);
    } while (rc < 0);
    assert_in_range(n, 20, 1000);
}

int main(void)
{
    lh_json_init();
    ROWS(applies, rows);
    ONE(says_which_operation_failed);
    ONE(builds);
    ONE(survives_want_of_memory);
    return rows_run("jsonpatch");
}
