/* SPDX-License-Identifier: Apache-2.0 */
#include "yaml_rows.h"

#include <signal.h>

#include "leasehold/api/agentcfg.h"

static const struct row {
    const char *name;
    const char *text;
    const char *printed; /* NULL: the text itself */
    const char *says;    /* NULL: fine */
} rows[] = {
    {"a signal", "signal:HUP@nginx", NULL, NULL},
    {"a signal with SIG", "signal:SIGUSR1@nginx", "signal:USR1@nginx", NULL},
    {"a program", "exec:[\"/bin/reload\",\"-q\",\"a b\"]", NULL, NULL},
    {"a program with spaces in the list", "exec:[ \"/bin/x\" ]", "exec:[\"/bin/x\"]", NULL},
    {"a URL", "http://127.0.0.1:8080/-/reload", NULL, NULL},
    {"a URL by name", "http://localhost:8080/reload?x=1", NULL, NULL},
    {"a URL of IPv6", "http://[::1]:8080/", NULL, NULL},
    {"a URL without a port", "http://127.0.0.1/reload", NULL, NULL},
    {"nothing", "", NULL, "must be signal:"},
    {"another word", "restart", NULL, "must be signal:"},
    {"no process", "signal:HUP", NULL, "signal:HUP@PROCESS"},
    {"an empty process", "signal:HUP@", NULL, "signal:HUP@PROCESS"},
    {"a path for a process", "signal:HUP@/usr/bin/nginx", NULL, "signal:HUP@PROCESS"},
    {"an unknown signal", "signal:FOO@nginx", NULL, "must be one of HUP"},
    {"KILL", "signal:KILL@nginx", NULL, "must be one of HUP"},
    {"a number", "signal:1@nginx", NULL, "must be one of HUP"},
    {"no list", "exec:/bin/x", NULL, "JSON list"},
    {"an empty list", "exec:[]", NULL, "JSON list"},
    {"a relative program", "exec:[\"x\"]", NULL, "full path"},
    {"numbers", "exec:[\"/bin/x\",1]", NULL, "must be a string"},
    {"a NUL", "exec:[\"/bin/x\",\"a\\u0000b\"]", NULL, "must be a string"},
    {"https", "https://127.0.0.1/", NULL, "must be signal:"},
    {"another host", "http://vault.example/", NULL, "loopback"},
    {"a user that looks like loopback", "http://127.0.0.1@evil.example/", NULL, "loopback"},
    {"a name that begins like loopback", "http://127.0.0.1.evil.example/", NULL, "loopback"},
    {"a name that begins like localhost", "http://localhost.evil/", NULL, "loopback"},
    {"another port form", "http://127.0.0.1:80a/", NULL, "loopback"},
    {"another address", "http://10.0.0.1/", NULL, "loopback"},
    {"a space", "http://127.0.0.1/a b", NULL, "loopback"},
    {"IPv6 and more", "http://[::1]x/", NULL, "loopback"},
};

static void text_is_read_and_written(void **state)
{
    const struct row *r = *state;
    struct lh_notify_spec n = {.kind = LH_NOTIFY_NONE};
    struct lh_err err = {0};
    struct lh_buf b;
    int rc = lh_notify_parse(r->text, &n, &err);

    if (r->says) {
        assert_int_equal(rc, -LH_E_INVALID);
        assert_int_equal(n.kind, LH_NOTIFY_NONE);
        assert_says(err, r->says);
        return;
    }
    assert_int_equal(rc, 0);
    lh_buf_init(&b, 4096);
    lh_notify_put(&b, &n);
    assert_string_equal(lh_buf_peek(&b).p, r->printed ? r->printed : r->text);
    lh_buf_done(&b);
    lh_notify_done(&n);
}

static void signal_has_its_number(void **state)
{
    struct lh_notify_spec n = {.kind = LH_NOTIFY_NONE};

    (void)state;
    assert_int_equal(lh_notify_parse("signal:USR2@java", &n, NULL), 0);
    assert_int_equal(n.signo, SIGUSR2);
    assert_string_equal(n.process, "java");
    assert_null(lh_signal_name(SIGKILL));
    lh_notify_done(&n);
}

int main(void)
{
    ROWS(text_is_read_and_written, rows);
    ONE(signal_has_its_number);
    return rows_run("notify_spec");
}
