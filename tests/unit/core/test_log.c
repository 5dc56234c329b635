/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "leasehold/core/clock.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"

#define HEAD "{\"time\":\"1970-01-01T00:00:01.000Z\",\"level\":\"warn\",\"msg\":\"m\""

static int pipe_fd[2];
static char text[65536];

static int setup(void **state)
{
    (void)state;
    lh_clock_fake(0, 1000);
    if (pipe2(pipe_fd, O_CLOEXEC | O_NONBLOCK) < 0)
        return -1;
    lh_log_init(NULL, LH_LOG_DEBUG, pipe_fd[1]);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lh_log_init(NULL, LH_LOG_INFO, 2);
    lh_clock_real();
    close(pipe_fd[0]);
    close(pipe_fd[1]);
    return 0;
}

static const char *logged(void)
{
    ssize_t n = read(pipe_fd[0], text, sizeof(text) - 1);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

static int lines(const char *s)
{
    int n = 0;

    for (; *s; s++)
        n += *s == '\n';
    return n;
}

static void writes_fields(void **state)
{
    struct lh_err err = {.msg = "no \"luck\"", .reason = "Sealed"};

    (void)state;
    lh_log_warn("m", LH_F_STR("s", "v"), LH_F_STRN("n", LH_STR("ab")), LH_F_INT("i", -5),
                LH_F_BOOL("b", true), LH_F_STR("null", NULL), LH_F_ERR(&err));
    assert_string_equal(logged(),
                        HEAD ",\"s\":\"v\",\"n\":\"ab\",\"i\":-5,\"b\":true,\"null\":null,"
                             "\"error\":\"no \\\"luck\\\"\",\"reason\":\"Sealed\"}\n");
    lh_log_warn("m");
    assert_string_equal(logged(), HEAD "}\n");
}

static void program_is_named(void **state)
{
    (void)state;
    lh_log_init("leasehold-agent", LH_LOG_DEBUG, pipe_fd[1]);
    lh_log_info("x");
    assert_non_null(
        strstr(logged(), "\"level\":\"info\",\"program\":\"leasehold-agent\",\"msg\":\"x\"}"));
}

static void escapes(void **state)
{
    static const struct {
        const char *in, *want;
    } rows[] = {
        {"a\"b\\c", "a\\\"b\\\\c"},
        {"a\nb\x01", "a\\u000ab\\u0001"},
        {"\x7f", "\\u007f"},
        {"\xc2\x9b", "\\u009b"},
        {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
        {"\xff\xc3", "\\ufffd\\ufffd"},
        {"\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd"},
    };
    char want[256];

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        lh_log_warn("m", LH_F_STR("k", rows[i].in));
        snprintf(want, sizeof(want), HEAD ",\"k\":\"%s\"}\n", rows[i].want);
        assert_string_equal(logged(), want);
    }
}

static void levels(void **state)
{
    enum lh_log_level level = LH_LOG_OFF;

    (void)state;
    lh_log_init(NULL, LH_LOG_WARN, pipe_fd[1]);
    lh_log_info("no");
    assert_string_equal(logged(), "");
    lh_log_error("yes");
    assert_int_equal(lines(logged()), 1);
    lh_log_init(NULL, LH_LOG_OFF, pipe_fd[1]);
    lh_log_error("no");
    assert_string_equal(logged(), "");
    assert_int_equal(lh_log_level_parse("debug", &level), 0);
    assert_int_equal(level, LH_LOG_DEBUG);
    assert_int_equal(lh_log_level_parse("loud", &level), -1);
    assert_int_equal(level, LH_LOG_DEBUG);
}

static void repeats_are_counted(void **state)
{
    (void)state;
    for (int i = 0; i < 25; i++)
        lh_log_warn("m", LH_F_INT("i", i));
    assert_int_equal(lines(logged()), 10);
    lh_log_error("m"); /* another level is another message */
    lh_log_warn("other");
    assert_int_equal(lines(logged()), 2);
    lh_clock_step(9999);
    lh_log_warn("m");
    assert_string_equal(logged(), "");
    lh_clock_step(1);
    lh_log_info("something else");
    assert_non_null(strstr(logged(), "\"level\":\"warn\",\"msg\":\"m\",\"suppressed\":16}\n"));
    assert_int_equal(lines(text), 2);
    lh_log_warn("m");
    assert_int_equal(lines(logged()), 1);
}

static void many_messages_evict_with_their_count(void **state)
{
    char msg[32];

    (void)state;
    for (int i = 0; i < 12; i++)
        lh_log_warn("m");
    logged();
    lh_clock_step(1);
    for (int i = 0; i < 64; i++) {
        snprintf(msg, sizeof(msg), "message %d", i);
        lh_log_info(msg);
    }
    assert_non_null(strstr(logged(), "\"msg\":\"m\",\"suppressed\":2}"));
    assert_int_equal(lines(text), 65);
}

static void init_flushes_counts(void **state)
{
    (void)state;
    for (int i = 0; i < 11; i++)
        lh_log_warn("m");
    logged();
    lh_log_init(NULL, LH_LOG_DEBUG, pipe_fd[1]);
    assert_non_null(strstr(logged(), "\"suppressed\":1}"));
}

static void long_values_are_cut(void **state)
{
    static char big[5000];

    (void)state;
    memset(big, 'x', sizeof(big) - 1);
    lh_log_warn("m", LH_F_STR("k", big), LH_F_INT("i", 1));
    assert_int_equal(strlen(logged()), strlen(HEAD) + strlen(",\"k\":\"\",\"i\":1}\n") + 1024 + 3);
    memset(big, 1, sizeof(big) - 1); /* six bytes each when escaped */
    lh_log_warn("m", LH_F_STR("k", big), LH_F_STR("l", big), LH_F_INT("i", 1));
    assert_non_null(strstr(logged(), ",\"truncated\":true}\n"));
    assert_true(strlen(text) < 8192);
    assert_null(strstr(text, "\"l\""));
    /* The cut never divides a character. */
    for (size_t i = 0; i + 3 < sizeof(big); i += 3)
        memcpy(big + i, "\xe2\x82\xac", 3);
    lh_log_warn("m", LH_F_STR("k", big));
    assert_true(lh_str_is_utf8(lh_str(logged())));
    assert_null(strstr(text, "\\ufffd"));
}

static void needs_no_memory(void **state)
{
    struct lh_err err = {.msg = "e"};
    unsigned long before = lh_mem_count();

    (void)state;
    for (int i = 0; i < 30; i++)
        lh_log_warn("m", LH_F_STR("a", "b"), LH_F_ERR(&err));
    assert_int_equal(lh_mem_count(), before);
}

static void a_closed_log_is_no_failure(void **state)
{
    (void)state;
    lh_log_init(NULL, LH_LOG_DEBUG, -1);
    lh_log_error("m");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(writes_fields, setup, teardown),
        cmocka_unit_test_setup_teardown(program_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(escapes, setup, teardown),
        cmocka_unit_test_setup_teardown(levels, setup, teardown),
        cmocka_unit_test_setup_teardown(repeats_are_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(many_messages_evict_with_their_count, setup, teardown),
        cmocka_unit_test_setup_teardown(init_flushes_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(long_values_are_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(needs_no_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(a_closed_log_is_no_failure, setup, teardown),
    };

    return cmocka_run_group_tests_name("core/log", tests, NULL, NULL);
}
