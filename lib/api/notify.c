/* SPDX-License-Identifier: Apache-2.0 */
/* How the application is told: the on-change text and back. */
#include <arpa/inet.h>
#include <signal.h>
#include <string.h>

#include "leasehold/api/agentcfg.h"
#include "leasehold/api/fields.h"
#include "leasehold/core/mem.h"

#define MAX_ARGS    64
#define MAX_ARG     4096
#define MAX_PROCESS 255

/* Those that applications take as "look again"; not KILL, STOP and what the kernel raises. */
static const struct {
    const char *name;
    int signo;
} signals[] = {
    {"HUP", SIGHUP},   {"INT", SIGINT},   {"QUIT", SIGQUIT},   {"USR1", SIGUSR1},
    {"USR2", SIGUSR2}, {"TERM", SIGTERM}, {"WINCH", SIGWINCH}, {"CONT", SIGCONT},
};

void lh_notify_done(struct lh_notify_spec *n)
{
    lh_free(n->process);
    lh_strv_free(n->argv);
    lh_free(n->url);
    *n = (struct lh_notify_spec){.kind = LH_NOTIFY_NONE};
}

static bool printable(const char *s)
{
    for (; *s; s++) {
        if ((unsigned char)*s < 0x21 || *s == 0x7f)
            return false;
    }
    return true;
}

static int signal_parse(const char *text, struct lh_notify_spec *out, struct lh_err *err)
{
    const char *at = strchr(text, '@');
    struct lh_str name = {text, at ? (size_t)(at - text) : 0};

    if (!at || !at[1] || strlen(at + 1) > MAX_PROCESS || strchr(at + 1, '/') || !printable(at + 1))
        return lh_err_set(err, LH_E_INVALID,
                          "a signal is written signal:HUP@PROCESS, with the process's name");
    if (lh_str_starts(name, LH_STR("SIG"))) {
        name.p += 3;
        name.n -= 3;
    }
    for (size_t i = 0; i < LH_ARRAY_LEN(signals); i++) {
        if (lh_str_eqz(name, signals[i].name))
            out->signo = signals[i].signo;
    }
    if (!out->signo)
        return lh_err_set(
            err, LH_E_INVALID,
            "the signal must be one of HUP, INT, QUIT, USR1, USR2, TERM, WINCH, CONT");
    out->process = lh_strdup(at + 1);
    if (!out->process)
        return lh_err_nomem(err);
    out->kind = LH_NOTIFY_SIGNAL;
    return 0;
}

static int exec_parse(const char *text, struct lh_notify_spec *out, struct lh_err *err)
{
    lh_auto_json lh_json *arr = NULL;
    struct lh_str arg;
    int rc;

    rc = lh_json_parse(lh_str(text), NULL, &arr, err);
    if (rc == -LH_E_NOMEM)
        return rc;
    if (rc < 0 || lh_json_type(arr) != LH_JSON_ARRAY || !lh_json_len(arr) ||
        lh_json_len(arr) > MAX_ARGS)
        return lh_err_set(
            err, LH_E_INVALID,
            "a program is written exec:[\"/path\", \"argument\", ...]: a JSON list of "
            "1 to 64 strings");
    for (size_t i = 0; i < lh_json_len(arr); i++) {
        lh_auto_free char *copy = NULL;

        if (!lh_json_str(lh_json_at(arr, i), &arg) || arg.n > MAX_ARG ||
            (arg.n && memchr(arg.p, 0, arg.n)))
            return lh_err_set(err, LH_E_INVALID,
                              "each argument of exec must be a string of at most 4096 bytes");
        if (i == 0 && (!arg.n || arg.p[0] != '/'))
            return lh_err_set(err, LH_E_INVALID, "exec must begin with the program's full path");
        copy = lh_str_dup(arg);
        if (!copy)
            return lh_err_nomem(err);
        rc = lh_strv_push(&out->argv, copy, err);
        if (rc < 0)
            return rc;
    }
    out->kind = LH_NOTIFY_EXEC;
    return 0;
}

/* The part between http:// and the path is a loopback host with a port or none. */
static bool is_loopback(struct lh_str authority)
{
    struct lh_str host, port;
    unsigned char v4[4];
    char text[32];
    long long n;

    if (lh_str_starts(authority, LH_STR("[::1]"))) {
        host = LH_STR("localhost");
        port = (struct lh_str){authority.p + 5, authority.n - 5};
        if (port.n && port.p[0] != ':')
            return false;
        port = port.n ? (struct lh_str){port.p + 1, port.n - 1} : LH_STR("80");
    } else if (!lh_str_cut(authority, ':', &host, &port)) {
        port = LH_STR("80");
    }
    if (!lh_str_to_i64(port, 1, 65535, &n) || host.n >= sizeof(text))
        return false;
    memcpy(text, host.p, host.n);
    text[host.n] = 0;
    return lh_str_eqz(host, "localhost") || (inet_pton(AF_INET, text, v4) == 1 && v4[0] == 127);
}

static int url_parse(const char *text, struct lh_notify_spec *out, struct lh_err *err)
{
    const char *host = text + strlen("http://");

    if (strlen(text) > 2048 || !printable(text) || strpbrk(text, "#@\\") ||
        !is_loopback((struct lh_str){host, strcspn(host, "/?")}))
        return lh_err_set(err, LH_E_INVALID,
                          "a URL must be of this Pod's loopback: http://127.0.0.1:PORT/PATH");
    out->url = lh_strdup(text);
    if (!out->url)
        return lh_err_nomem(err);
    out->kind = LH_NOTIFY_HTTP;
    return 0;
}

int lh_notify_parse(const char *text, struct lh_notify_spec *out, struct lh_err *err)
{
    struct lh_notify_spec n = {.kind = LH_NOTIFY_NONE};
    int rc;

    if (strncmp(text, "signal:", 7) == 0)
        rc = signal_parse(text + 7, &n, err);
    else if (strncmp(text, "exec:", 5) == 0)
        rc = exec_parse(text + 5, &n, err);
    else if (strncmp(text, "http://", 7) == 0)
        rc = url_parse(text, &n, err);
    else
        rc = lh_err_set(err, LH_E_INVALID,
                        "must be signal:HUP@PROCESS, exec:[\"/path\", ...] or "
                        "http://127.0.0.1:PORT/PATH");
    if (rc < 0) {
        lh_notify_done(&n);
        return rc;
    }
    *out = n;
    return 0;
}

const char *lh_signal_name(int signo)
{
    for (size_t i = 0; i < LH_ARRAY_LEN(signals); i++) {
        if (signals[i].signo == signo)
            return signals[i].name;
    }
    return NULL;
}

void lh_notify_put(struct lh_buf *b, const struct lh_notify_spec *n)
{
    switch (n->kind) {
    case LH_NOTIFY_NONE:
        return;
    case LH_NOTIFY_SIGNAL:
        lh_buf_printf(b, "signal:%s@%s", lh_signal_name(n->signo), n->process);
        return;
    case LH_NOTIFY_EXEC:
        lh_buf_put_z(b, "exec:[");
        for (size_t i = 0; n->argv[i]; i++) {
            if (i)
                lh_buf_put_c(b, ',');
            lh_json_write_str(lh_str(n->argv[i]), b);
        }
        lh_buf_put_c(b, ']');
        return;
    case LH_NOTIFY_HTTP:
        lh_buf_put_z(b, n->url);
        return;
    }
}
