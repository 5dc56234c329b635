/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "leasehold/api/reasons.h"
#include "leasehold/codec/yaml.h"
#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"
#include "leasehold/render/render.h"
#include "support.h"

static lh_json *data;
static struct lh_rendered_set set;
static struct lh_err err;

static int setup(void **state)
{
    (void)state;
    lh_json_init();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lh_mem_fail_at(0);
    lh_rendered_set_done(&set);
    lh_json_unref(data);
    data = NULL;
    return 0;
}

static void parse(const char *text)
{
    lh_json_unref(data);
    data = NULL;
    assert_int_equal(lh_json_parse(lh_str(text), NULL, &data, NULL), 0);
    lh_rendered_set_done(&set);
}

static int render(const char *path, enum lh_format format, const char *key)
{
    struct lh_file_spec f = {
        .path = (char *)(uintptr_t)path, .key = (char *)(uintptr_t)key, .format = format};
    struct lh_item it = {.name = (char *)"db", .files = &f, .n_files = 1};

    return lh_render_item(&it, data, 0440, &set, &err);
}

static bool is_text(size_t i, const char *want, size_t n)
{
    return i < set.n && lh_secret_len(set.v[i].bytes) == n &&
           memcmp(lh_secret_expose(set.v[i].bytes), want, n) == 0;
}

static const char *text(size_t i)
{
    return lh_secret_expose(set.v[i].bytes);
}

static void a_folder_has_a_file_per_key(void **state)
{
    struct lh_item it = {.name = (char *)"db"};

    (void)state;
    parse("{\"username\":\"app\",\"password\":\"a\\u0000b\",\"port\":5432,\"o\":{\"x\":1.10}}");
    assert_int_equal(lh_render_item(&it, data, 0444, &set, &err), 0);
    assert_int_equal(set.n, 4);
    assert_string_equal(set.v[0].path, "db/o");
    assert_string_equal(text(0), "{\"x\":1.10}");
    assert_string_equal(set.v[1].path, "db/password");
    assert_true(is_text(1, "a\0b", 3));
    assert_string_equal(set.v[2].path, "db/port");
    assert_string_equal(text(2), "5432");
    assert_string_equal(set.v[3].path, "db/username");
    assert_string_equal(text(3), "app"); /* and no newline */
    assert_int_equal(set.v[3].mode, 0444);
    assert_int_equal(render("elsewhere/x", LH_FORMAT_RAW, NULL), 0);
    assert_string_equal(set.v[7].path, "elsewhere/x/username");
}

static void one_key_is_raw(void **state)
{
    struct lh_file_spec f = {
        .path = (char *)"p", .key = (char *)"a.b", .has_mode = true, .mode = 0400};
    struct lh_item it = {.name = (char *)"db", .files = &f, .n_files = 1};

    (void)state;
    parse("{\"a.b\":\"x\\n\",\"b\":1}");
    assert_int_equal(lh_render_item(&it, data, 0444, &set, &err), 0);
    assert_string_equal(text(0), "x\n");
    assert_int_equal(set.v[0].mode, 0400);
    assert_int_equal(render("q", LH_FORMAT_RAW, "nope"), -LH_E_NOTFOUND);
    assert_ptr_equal(err.reason, LH_REASON_KeyNotFound);
    assert_string_equal(err.msg, "item db: file q: there is no key \"nope\"; there are a.b, b");
    assert_int_equal(set.n, 1);
}

static void many_keys_are_not_all_listed(void **state)
{
    (void)state;
    parse(
        "{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":1,\"i\":1,\"j\":1,\"k\":1,"
        "\"l\":1,\"m\":1,\"n\":1}");
    assert_int_equal(render("q", LH_FORMAT_RAW, "nope"), -LH_E_NOTFOUND);
    assert_non_null(strstr(err.msg, "j, k, l and 2 more"));
    parse("{}");
    assert_int_equal(render("q", LH_FORMAT_RAW, "nope"), -LH_E_NOTFOUND);
    assert_non_null(strstr(err.msg, "there are none"));
}

static void json_keeps_numbers_and_is_sorted(void **state)
{
    (void)state;
    parse("{\"b\":1.10,\"a\":123456789012345678901234567890,\"c\":{\"z\":1,\"y\":[1E5,null,"
          "\"\\u00e4\"]}}");
    assert_int_equal(render("f", LH_FORMAT_JSON, NULL), 0);
    assert_string_equal(text(0), "{\"a\":123456789012345678901234567890,\"b\":1.10,"
                                 "\"c\":{\"y\":[1E5,null,\"\xc3\xa4\"],\"z\":1}}");
}

static void env_quotes_what_needs_it(void **state)
{
    static const struct {
        const char *json, *want;
    } rows[] = {
        {"\"abc-1.2/x:@%+,=_\"", "K=abc-1.2/x:@%+,=_"},
        {"\"\"", "K=''"},
        {"\"a b\"", "K='a b'"},
        {"\"$HOME `x` \\\\ \\\"\"", "K='$HOME `x` \\ \"'"},
        {"\"it's $5 \\\\ `x` \\\"\"", "K=\"it's \\$5 \\\\ \\`x\\` \\\"\""},
        {"\"two\\nlines\"", "K='two\nlines'"},
        {"\"#x\"", "K='#x'"},
        {"\"~\"", "K='~'"},
        {"5432", "K=5432"},
        {"true", "K=true"},
        {"null", "K=null"},
        {"{\"a\":1}", "K='{\"a\":1}'"},
    };
    char json[128];

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        snprintf(json, sizeof(json), "{\"K\":%s}", rows[i].json);
        parse(json);
        assert_int_equal(render("f", LH_FORMAT_ENV, NULL), 0);
        assert_string_equal(text(0), rows[i].want);
    }
    parse("{\"B\":\"2\",\"A\":\"1\"}");
    assert_int_equal(render("f", LH_FORMAT_ENV, NULL), 0);
    assert_string_equal(text(0), "A=1\nB=2");
}

/* The shell itself reads back what was written. */
static void a_shell_reads_env_back(void **state)
{
    static const char *const values[] = {"",   " ",     "a'b\"c",   "$x`y`\\z", "l1\nl2\n",
                                         "'",  "\"",    "\\",       "!!",       "\xc3\xa4 \x01\x7f",
                                         "''", "a\\'b", "$(exit 7)"};
    struct lh_test_scratch dir;
    int status = -1;

    (void)state;
    assert_int_equal(lh_test_scratch_new(&dir), 0);
    for (size_t i = 0; i < LH_ARRAY_LEN(values); i++) {
        bool same;

        parse("{}");
        assert_int_equal(lh_json_set(data, "K", lh_json_new_z(values[i])), 0);
        assert_int_equal(render("f", LH_FORMAT_ENV, NULL), 0);
        assert_int_equal(lh_test_write(dir.fd, "f", text(0)), 0);
        if (fork() == 0) {
            if (fchdir(dir.fd) == 0)
                execl("/bin/sh", "sh", "-c", ". ./f; printf %s \"$K\" >out", (char *)NULL);
            _exit(127);
        }
        wait(&status);
        same = lh_test_file_is(dir.fd, "out", values[i]);
        if (!same)
            print_error("value %zu\n", i);
        if (!same || status != 0)
            break;
        status = 0;
    }
    lh_test_scratch_done(&dir);
    assert_int_equal(status, 0);
}

static void env_refuses_what_it_cannot_hold(void **state)
{
    static const struct {
        const char *json, *what;
    } rows[] = {
        {"{\"api-key\":\"x\"}", "\"api-key\" is no name"},
        {"{\"1a\":\"x\"}", "\"1a\" is no name"},
        {"{\"\":\"x\"}", "\"\" is no name"},
        {"{\"A\":\"x\\u0000y\"}", "\"A\" has a value with a NUL"},
    };

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        parse(rows[i].json);
        assert_int_equal(render("f", LH_FORMAT_ENV, NULL), -LH_E_INVALID);
        assert_non_null(strstr(err.msg, rows[i].what));
        assert_ptr_equal(err.reason, LH_REASON_FileConflict);
        assert_int_equal(set.n, 0);
    }
}

static void properties_are_javas(void **state)
{
    static const struct {
        const char *json, *want;
    } rows[] = {
        {"{\"a\":\"b c\"}", "a=b c"},
        {"{\"a\":\" b \"}", "a=\\ b "},
        {"{\"a b\":\"x\"}", "a\\ b=x"},
        {"{\"a=b:c#d!\":\"=:#!\"}", "a\\=b\\:c\\#d\\!=\\=\\:\\#\\!"},
        {"{\"a\":\"\\t\\n\\r\\f\\u0001\\\\\"}", "a=\\t\\n\\r\\f\\u0001\\\\"},
        {"{\"a\":\"\\u00e4\\u20ac\\ud83d\\ude00\\u007f\"}",
         "a=\\u00E4\\u20AC\\uD83D\\uDE00\\u007F"},
        {"{\"a\":\"x\\u0000y\"}", "a=x\\u0000y"},
        {"{\"a\":\"\",\"b\":1.10}", "a=\nb=1.10"},
        {"{}", ""},
    };

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        parse(rows[i].json);
        assert_int_equal(render("f", LH_FORMAT_PROPERTIES, NULL), 0);
        assert_string_equal(text(0), rows[i].want);
    }
}

static void yaml_is_quoted(void **state)
{
    static const struct {
        const char *json, *want;
    } rows[] = {
        {"{}", "{}"},
        {"{\"a\":\"x\",\"b\":true,\"c\":null,\"d\":1.10}", "a: \"x\"\nb: true\nc: null\nd: 1.10"},
        {"{\"yes\":\"no\",\"On\":1,\"a b\":\"\",\"1\":2}",
         "\"1\": 2\n\"On\": 1\n\"a b\": \"\"\n\"yes\": \"no\""},
        {"{\"a\":\"q\\\"b\\\\ \\n\\t\\u0001\\u007f\\u0085\\u2028\\ufeff\"}",
         "a: \"q\\\"b\\\\ \\n\\t\\x01\\x7F\\x85\\u2028\\uFEFF\""},
        {"{\"a\":{\"y\":[1,\"x\",{}],\"b\":[]}}", "a: {\"b\": [], \"y\": [1, \"x\", {}]}"},
    };

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        parse(rows[i].json);
        assert_int_equal(render("f", LH_FORMAT_YAML, NULL), 0);
        assert_string_equal(text(0), rows[i].want);
    }
}

/* libyaml, which never sees a secret in the product, reads back what was written. */
static void yaml_reads_back_equal(void **state)
{
    static char big[1024];
    char keyed[3000];

    (void)state;
    memset(big, 'k', sizeof(big) - 1);
    snprintf(keyed, sizeof(keyed),
             "{\"%s\":\"long key\",\"a\":\"- x\",\"b\":\"key: value\",\"c\":\"# "
             "no\",\"d\":\"\\u00e4 \\ud83d\\ude00\","
             "\"e\":\"\\u0001\\u0085\\u2028\\ufffe \",\"f\":[\"x\",{\"g\":\"null\",\"\":0}],"
             "\"h\":\"  \",\"i\":\"\\n\\n\",\"n\":-5,\"~\":\"%%\",\"<<\":\"*a\",\"null\":\"&b\"}",
             big);
    parse(keyed);
    assert_int_equal(render("f", LH_FORMAT_YAML, NULL), 0);
    {
        struct lh_yaml_doc *docs = NULL;
        size_t n = 0;
        bool equal;

        assert_int_equal(lh_yaml_parse(lh_str(text(0)), "f", NULL, &docs, &n, &err), 0);
        equal = n == 1 && lh_json_equal(docs[0].value, data);
        lh_yaml_free(docs, n);
        assert_true(equal);
    }
}

static void keys_that_are_no_file_names(void **state)
{
    static const char *const rows[] = {"{\"a/b\":1}", "{\"\":1}",       "{\"..\":1}",
                                       "{\".\":1}",   "{\"..data\":1}", "{\"a\\nb\":1}"};

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        parse(rows[i]);
        assert_int_equal(render("db", LH_FORMAT_RAW, NULL), -LH_E_INVALID);
        assert_ptr_equal(err.reason, LH_REASON_FileConflict);
        assert_int_equal(set.n, 0);
    }
    parse("{\".hidden\":1,\"a.b\":1}");
    assert_int_equal(render("db", LH_FORMAT_RAW, NULL), 0);
}

static void files_in_each_others_way(void **state)
{
    (void)state;
    parse("{\"a\":\"1\",\"b\":\"2\"}");
    assert_int_equal(render("x/a", LH_FORMAT_RAW, "a"), 0);
    assert_int_equal(render("x/a", LH_FORMAT_RAW, "b"), -LH_E_INVALID);
    assert_ptr_equal(err.reason, LH_REASON_FileConflict);
    assert_int_equal(render("x", LH_FORMAT_JSON, NULL), -LH_E_INVALID);
    assert_int_equal(render("x/a/b", LH_FORMAT_JSON, NULL), -LH_E_INVALID);
    assert_int_equal(render("x", LH_FORMAT_RAW, NULL), -LH_E_INVALID); /* its key a */
    assert_int_equal(set.n, 1);
    assert_string_equal(text(0), "1");
    assert_int_equal(render("x/ab", LH_FORMAT_RAW, "b"), 0);
}

static void past_the_limits(void **state)
{
    char *big = malloc((1 << 20) + 2), name[16];

    (void)state;
    parse("{}");
    memset(big, 'x', (1 << 20) + 1);
    assert_int_equal(lh_json_set(data, "k", lh_json_new_str((struct lh_str){big, 1 << 20})), 0);
    assert_int_equal(render("f", LH_FORMAT_RAW, "k"), 0);
    lh_rendered_set_done(&set);
    for (int f = LH_FORMAT_JSON; f <= LH_FORMAT_PROPERTIES; f++) {
        assert_int_equal(render("f", (enum lh_format)f, NULL), -LH_E_TOOBIG);
        assert_ptr_equal(err.reason, LH_REASON_TooLarge);
    }
    assert_int_equal(lh_json_set(data, "k", lh_json_new_str((struct lh_str){big, (1 << 20) + 1})),
                     0);
    for (int f = LH_FORMAT_RAW; f <= LH_FORMAT_PROPERTIES; f++) {
        assert_int_equal(render("f", (enum lh_format)f, NULL), -LH_E_TOOBIG);
        assert_ptr_equal(err.reason, LH_REASON_TooLarge);
        assert_null(strstr(err.msg, "xxx"));
    }
    free(big);
    parse("{}");
    for (int i = 0; i < 257; i++) {
        snprintf(name, sizeof(name), "k%d", i);
        assert_int_equal(lh_json_set(data, name, lh_json_new_z("v")), 0);
    }
    assert_int_equal(render("d", LH_FORMAT_RAW, NULL), -LH_E_TOOBIG);
    assert_int_equal(set.n, 0);
}

static void what_is_no_object(void **state)
{
    struct lh_item it = {.name = (char *)"db"};

    (void)state;
    parse("[1]");
    assert_int_equal(lh_render_item(&it, data, 0440, &set, &err), -LH_E_INVALID);
    assert_int_equal(lh_render_item(&it, NULL, 0440, &set, &err), -LH_E_INVALID);
}

static void torture(void **state)
{
    struct lh_file_spec files[] = {
        {.path = (char *)"y", .format = LH_FORMAT_YAML},
        {.path = (char *)"e", .format = LH_FORMAT_ENV},
        {.path = (char *)"p", .format = LH_FORMAT_PROPERTIES},
        {.path = (char *)"j", .format = LH_FORMAT_JSON},
        {.path = (char *)"d", .format = LH_FORMAT_RAW, .folder = true},
        {.path = (char *)"t",
         .format = LH_FORMAT_TEMPLATE,
         .template_ = (char *)"{{ .a }}{{ .b | urlquery }}"},
    };
    struct lh_item it = {.name = (char *)"db", .files = files, .n_files = LH_ARRAY_LEN(files)};
    unsigned long nth = 0;
    size_t live;
    int rc;

    (void)state;
    parse("{\"a\":\"it's\",\"b\":{\"c\":[1,{\"d\":\"e\"}]}}");
    live = lh_mem_live_blocks();
    do {
        lh_mem_fail_at(++nth);
        rc = lh_render_item(&it, data, 0440, &set, &err);
        lh_mem_fail_at(0);
        if (rc < 0) {
            assert_int_equal(rc, -LH_E_NOMEM);
            assert_int_equal(set.n, 0);
            lh_rendered_set_done(&set);
            assert_int_equal(lh_mem_live_blocks(), live);
        }
    } while (rc < 0);
    assert_true(nth > 20);
    assert_int_equal(set.n, 7);
}

/* After the set is gone no copy of a value is left but the one in data. */
static void leaves_no_copies(void **state)
{
    enum { N = 40 };
    unsigned char masked[N];
    char *clear = lh_malloc(N);

    (void)state;
    parse("{}");
    lh_test_canary(masked, N);
    lh_test_canary_reveal(masked, N, clear);
    assert_int_equal(lh_json_set(data, "a", lh_json_new_str((struct lh_str){clear, N})), 0);
    lh_free(clear);
    assert_int_equal(lh_test_residue(masked, N), 1);
    for (int f = LH_FORMAT_RAW; f <= LH_FORMAT_PROPERTIES; f++) {
        assert_int_equal(render("f", (enum lh_format)f, NULL), 0);
        lh_rendered_set_done(&set);
        assert_int_equal(lh_test_residue(masked, N), 1);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_folder_has_a_file_per_key),
        TEST(one_key_is_raw),
        TEST(many_keys_are_not_all_listed),
        TEST(json_keeps_numbers_and_is_sorted),
        TEST(env_quotes_what_needs_it),
        TEST(a_shell_reads_env_back),
        TEST(env_refuses_what_it_cannot_hold),
        TEST(properties_are_javas),
        TEST(yaml_is_quoted),
        TEST(yaml_reads_back_equal),
        TEST(keys_that_are_no_file_names),
        TEST(files_in_each_others_way),
        TEST(past_the_limits),
        TEST(what_is_no_object),
        TEST(torture),
        TEST(leaves_no_copies),
    };

    return cmocka_run_group_tests_name("render/render", tests, NULL, NULL);
}
