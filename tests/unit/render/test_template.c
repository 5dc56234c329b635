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

#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"
#include "leasehold/render/render.h"

static const char data_text[] =
    "{\"user\":\"app\",\"password\":\"p&s w\\u00f6/~%\",\"port\":5432,\"pi\":1.10,\"on\":true,"
    "\"none\":null,\"o\":{\"b\":1,\"a\":[1.0,\"x\"]},\"nul\":\"a\\u0000b\",\"A_1\":\"x\"}";

static lh_json *data;

static int setup(void **state)
{
    (void)state;
    lh_json_init();
    return lh_json_parse(LH_STR(data_text), NULL, &data, NULL);
}

static int teardown(void **state)
{
    (void)state;
    lh_json_unref(data);
    return 0;
}

static int render(const char *template_, struct lh_rendered_set *set, struct lh_err *err)
{
    struct lh_file_spec file = {.path = (char *)"f",
                                .format = LH_FORMAT_TEMPLATE,
                                .template_ = (char *)(uintptr_t)template_};
    struct lh_item it = {.name = (char *)"db", .files = &file, .n_files = 1};

    return lh_render_item(&it, data, 0440, set, err);
}

static void renders(void **state)
{
    static const struct {
        const char *template_;
        struct lh_str want;
    } rows[] = {
        {"", {"", 0}},
        {"plain } }} { text\n", {"plain } }} { text\n", 18}},
        {"{{ .user }}", {"app", 3}},
        {"{{.user}}", {"app", 3}},
        {"{{\n.user\t\r\n}}", {"app", 3}},
        {"<{{ .user }}{{ .user }}>", {"<appapp>", 8}},
        {"{{{ .user }}", {"", SIZE_MAX}},
        {"{ {{ .user }} }", {"{ app }", 7}},
        {"{{ .user }}}}", {"app}}", 5}},
        {"postgres://{{ .user }}:{{ .password | urlquery }}@db/shop",
         {"postgres://app:p%26s+w%C3%B6%2F~%25@db/shop", 43}},
        {"{{.password|urlquery}}", {"p%26s+w%C3%B6%2F~%25", 20}},
        {"{{ .port }} {{ .pi }} {{ .on }} {{ .none }}", {"5432 1.10 true null", 19}},
        {"{{ .o }}", {"{\"a\":[1.0,\"x\"],\"b\":1}", 21}},
        {"{{ .nul }}{{ .nul | urlquery }}", {"a\0ba%00b", 8}},
        {"{{ .A_1 }}", {"x", 1}},
    };

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        struct lh_rendered_set set = {0};
        struct lh_err err = {0};
        bool equal;
        int rc = render(rows[i].template_, &set, &err);

        if (rows[i].want.n == SIZE_MAX) {
            assert_int_equal(rc, -LH_E_INVALID);
            continue;
        }
        assert_int_equal(rc, 0);
        assert_int_equal(lh_template_check(rows[i].template_, NULL), 0);
        equal = set.n == 1 && lh_secret_len(set.v[0].bytes) == rows[i].want.n &&
                memcmp(lh_secret_expose(set.v[0].bytes), rows[i].want.p, rows[i].want.n) == 0;
        lh_rendered_set_done(&set);
        assert_true(equal);
    }
}

/* Go's url.QueryEscape keeps letters, digits and -_.~ alone. */
static void urlquery_is_gos(void **state)
{
    struct lh_rendered_set set = {0};
    char raw[128], text[600], want[600];
    size_t n = 0, at = 0;
    lh_json *v;

    (void)state;
    for (int c = 1; c < 128; c++) {
        raw[n++] = (char)c;
        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
            c == '-' || c == '_' || c == '.' || c == '~')
            want[at++] = (char)c;
        else
            at += (size_t)snprintf(want + at, sizeof(want) - at, c == ' ' ? "+" : "%%%02X", c);
    }
    want[at] = '\0';
    v = lh_json_new_str((struct lh_str){raw, n});
    assert_int_equal(lh_json_set(data, "user", v), 0);
    assert_int_equal(render("{{ .user | urlquery }}", &set, NULL), 0);
    snprintf(text, sizeof(text), "%s", (const char *)lh_secret_expose(set.v[0].bytes));
    lh_rendered_set_done(&set);
    assert_string_equal(text, want);
}

static void refuses_the_rest(void **state)
{
    static const struct {
        const char *template_, *where, *what;
    } rows[] = {
        {"{{", "line 1, column 1", "never closed"},
        {"a\nb {{ .user ", "line 2, column 12", "}} must stand here"},
        {"{{ .user }", "line 1, column 10", "}} must stand here"},
        {"{{ .user } }", "line 1, column 10", "}} must stand here"},
        {"{{}}", "line 1, column 1", "empty"},
        {"\xc3\xbc\xc3\xbc{{ }}", "line 1, column 3", "empty"},
        {"{{- .user }}", "line 1, column 3", "\"-\""},
        {"{{ .user -}}", "line 1, column 10", "\"-\""},
        {"{{/* c */}}", "line 1, column 3", "\"/*\""},
        {"{{ . }}", "line 1, column 4", "\".\""},
        {"{{ .a.b }}", "line 1, column 4", "\".a.b\""},
        {"{{ .api-key }}", "line 1, column 4", "\".api-key\""},
        {"{{ .\xc3\xbc }}", "line 1, column 4", "\".\xc3\xbc\""},
        {"{{ .1a }}", "line 1, column 4", "\".1a\""},
        {"{{ $x }}", "line 1, column 4", "\"$x\""},
        {"{{ \"text\" }}", "line 1, column 4", "\"\"text\"\""},
        {"\n\n{{ range .list }}{{ end }}", "line 3, column 4", "\"range\""},
        {"{{ if .user }}x{{ end }}", "line 1, column 4", "\"if\""},
        {"{{ with secret \"x\" }}", "line 1, column 4", "\"with\""},
        {"{{ .user | toUpper }}", "line 1, column 12", "\"toUpper\""},
        {"{{ .user | urlqueryx }}", "line 1, column 12", "\"urlqueryx\""},
        {"{{ .user | urlquery | urlquery }}", "line 1, column 21", "\"|\""},
        {"{{ .user | }}", "line 1, column 12", "missing after |"},
        {"{{ .user .port }}", "line 1, column 10", "\".port\""},
        {"{{ urlquery .user }}", "line 1, column 4", "\"urlquery\""},
        {"{{{ .user }}}", "line 1, column 3", "\"{\""},
        {"{{ .user {{ .user }}", "line 1, column 10", "\"{{\""},
    };

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        struct lh_rendered_set set = {0};
        struct lh_err err = {0};

        assert_int_equal(lh_template_check(rows[i].template_, &err), -LH_E_INVALID);
        assert_ptr_equal(err.reason, LH_REASON_TemplateInvalid);
        assert_int_equal(strncmp(err.msg, rows[i].where, strlen(rows[i].where)), 0);
        assert_int_equal(err.msg[strlen(rows[i].where)], ':');
        assert_non_null(strstr(err.msg, rows[i].what));
        assert_int_equal(render(rows[i].template_, &set, &err), -LH_E_INVALID);
        assert_non_null(strstr(err.msg, "item db: file f: line "));
        assert_int_equal(set.n, 0);
    }
}

static void limits(void **state)
{
    struct lh_rendered_set set = {0};
    struct lh_err err = {0};
    char *text = malloc((64 << 10) + 2);
    lh_json *v;

    (void)state;
    memset(text, 'x', (64 << 10) + 1);
    text[64 << 10] = '\0';
    assert_int_equal(lh_template_check(text, NULL), 0);
    text[64 << 10] = 'x';
    text[(64 << 10) + 1] = '\0';
    assert_int_equal(lh_template_check(text, &err), -LH_E_TOOBIG);
    assert_ptr_equal(err.reason, LH_REASON_TooLarge);
    /* A small template, and an output past a file's limit. */
    v = lh_json_new_str((struct lh_str){text, 60000});
    assert_int_equal(lh_json_set(data, "user", v), 0);
    text[0] = '\0';
    for (int i = 0; i < 20; i++)
        strcat(text, "{{ .user }}");
    assert_int_equal(render(text, &set, &err), -LH_E_TOOBIG);
    assert_ptr_equal(err.reason, LH_REASON_TooLarge);
    assert_int_equal(set.n, 0);
    free(text);
}

static void a_missing_key_is_named(void **state)
{
    struct lh_rendered_set set = {0};
    struct lh_err err = {0};

    (void)state;
    assert_int_equal(render("{{ .usr }}", &set, &err), -LH_E_NOTFOUND);
    assert_ptr_equal(err.reason, LH_REASON_KeyNotFound);
    assert_string_equal(err.msg, "item db: file f: there is no key \"usr\"; there are A_1, none, "
                                 "nul, o, on, password, pi, port, user");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(renders, setup, teardown),
        cmocka_unit_test_setup_teardown(urlquery_is_gos, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_the_rest, setup, teardown),
        cmocka_unit_test_setup_teardown(limits, setup, teardown),
        cmocka_unit_test_setup_teardown(a_missing_key_is_named, setup, teardown),
    };

    return cmocka_run_group_tests_name("render/template", tests, NULL, NULL);
}
