/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_priv.h"

#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/proc.h"
#include "leasehold/http/client.h"

/*
 * Tells the application that files changed. A change while it is being told is told again
 * afterwards, once. What fails is tried twice more: the application may just be starting.
 */
enum {
    EXEC_MS = 30000,
    HTTP_MS = 10000,
    HTTP_ANSWER_MAX = 64 * 1024,
    ATTEMPTS = 3,
    AGAIN_MS = 1000
};

struct notify {
    struct lh_engine *e;
    const struct lh_notify_spec *spec;
    struct lh_http *http; /* made at the first use */
    struct lh_http_op *op;
    struct lh_child *child;
    struct lh_timer *timer;
    unsigned attempts;
    bool again; /* the files changed meanwhile */
};

static void attempt(void *arg);

static void finished(struct notify *n, int rc, struct lh_err *err)
{
    measure_notify(n->e, rc == 0);
    if (rc < 0) {
        lh_err_wrap(err, rc, "tell the application");
        lh_err_reason(err, rc, LH_REASON_NotifyFailed);
        measure_failure(n->e, err);
        engine_failed(n->e, err);
    }
    if (n->again) {
        n->again = false;
        n->attempts = 0;
        lh_timer_in(n->timer, 0);
    } else if (rc < 0 && n->attempts < ATTEMPTS) {
        lh_timer_in(n->timer, AGAIN_MS << n->attempts);
    }
}

static void on_exit(void *arg, int exit_code, int term_signal, bool timed_out)
{
    struct notify *n = arg;
    struct lh_err err = {0};
    int rc = 0;

    n->child = NULL;
    if (timed_out)
        rc = lh_err_set(&err, LH_E_UNAVAILABLE, "%s took longer than %d s", n->spec->argv[0],
                        EXEC_MS / 1000);
    else if (term_signal)
        rc = lh_err_set(&err, LH_E_UNAVAILABLE, "%s ended by signal %d", n->spec->argv[0],
                        term_signal);
    else if (exit_code)
        rc = lh_err_set(&err, LH_E_UNAVAILABLE, "%s exited with %d", n->spec->argv[0], exit_code);
    finished(n, rc, &err);
}

static void on_answer(void *arg, const struct lh_http_answer *ans, const struct lh_err *err)
{
    struct notify *n = arg;
    struct lh_err mine = {0};
    int rc = 0;

    n->op = NULL;
    if (err) {
        mine = *err;
        rc = -err->code;
    } else if (ans->status < 200 || ans->status > 299) {
        rc = lh_err_set(&mine, LH_E_UNAVAILABLE, "POST %s was answered %d", n->spec->url,
                        ans->status);
    }
    finished(n, rc, &mine);
}

static int start_exec(struct notify *n, struct lh_err *err)
{
    /* Nothing of ours is any business of a program that another container may have written. */
    static const char *const no_environment[] = {NULL};

    return lh_child_start(n->e->loop, (const char *const *)n->spec->argv, no_environment, EXEC_MS,
                          on_exit, n, &n->child, err);
}

static int start_http(struct notify *n, struct lh_err *err)
{
    const struct lh_http_options opts = {
        .allow_loopback = true, .allow_plain_http = true, .max_in_flight = 1};
    const struct lh_http_request req = {.method = "POST",
                                        .url = n->spec->url,
                                        .timeout_ms = HTTP_MS,
                                        .max_answer_bytes = HTTP_ANSWER_MAX};
    int rc = n->http ? 0 : lh_http_new(n->e->loop, &opts, &n->http, err);

    return rc < 0 ? rc : lh_http_start(n->http, &req, on_answer, n, &n->op, err);
}

static void attempt(void *arg)
{
    struct notify *n = arg;
    struct lh_err err = {0};
    unsigned count;
    int rc = 0;

    n->attempts++;
    switch (n->spec->kind) {
    case LH_NOTIFY_SIGNAL:
        rc = lh_proc_signal_by_name(n->spec->process, n->spec->signo, &count, &err);
        finished(n, rc, &err);
        return;
    case LH_NOTIFY_EXEC:
        rc = start_exec(n, &err);
        break;
    case LH_NOTIFY_HTTP:
        rc = start_http(n, &err);
        break;
    case LH_NOTIFY_NONE:
        return;
    }
    if (rc < 0)
        finished(n, rc, &err);
}

void notify_start(struct notify *n)
{
    if (n->op || n->child) {
        n->again = true;
        return;
    }
    lh_timer_stop(n->timer);
    n->attempts = 0;
    attempt(n);
}

int notify_new(struct lh_engine *e, const struct lh_notify_spec *spec, struct lh_err *err)
{
    struct notify *n;
    int rc;

    if (!spec || spec->kind == LH_NOTIFY_NONE)
        return 0;
    n = lh_calloc(1, sizeof(*n));
    if (!n)
        return lh_err_nomem(err);
    n->e = e;
    n->spec = spec;
    rc = lh_timer_new(e->loop, attempt, n, &n->timer, err);
    if (rc < 0) {
        lh_free(n);
        return rc;
    }
    e->notify = n;
    return 0;
}

void notify_free(struct notify *n)
{
    if (!n)
        return;
    if (n->op)
        lh_http_cancel(n->op);
    lh_http_free(n->http);
    if (n->child)
        lh_child_cancel(n->child);
    lh_timer_free(n->timer);
    lh_free(n);
}
