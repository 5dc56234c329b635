/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/serve/observe.h"

#include <stdint.h>

#include "leasehold/core/process_metrics.h"

enum { MAX_CONNECTIONS = 16, WHY_MAX = 8192 };

static void answer(struct lh_call *call, int status, const char *type, const struct lh_buf *b)
{
    if (lh_buf_check(b, NULL) < 0)
        lh_call_answer(call, 500, "text/plain", LH_STR("out of memory\n"));
    else
        lh_call_answer(call, status, type, lh_buf_peek(b));
}

static void not_found(struct lh_call *call)
{
    lh_call_answer(call, 404, "text/plain", LH_STR("not found\n"));
}

static void on_metrics(void *arg, const struct lh_request *req, struct lh_call *call)
{
    const struct lh_observe *o = arg;
    lh_auto_buf struct lh_buf b;

    (void)req;
    lh_buf_init(&b, o->text_max);
    if (o->measure)
        o->measure(o->arg);
    lh_process_metrics_sample(o->loop);
    lh_metrics_write(&b);
    answer(call, 200, "text/plain; version=0.0.4; charset=utf-8", &b);
}

static void on_status(void *arg, const struct lh_request *req, struct lh_call *call)
{
    const struct lh_observe *o = arg;
    lh_auto_buf struct lh_buf b;

    (void)req;
    lh_buf_init(&b, o->text_max);
    if (!o->status) {
        not_found(call);
        return;
    }
    o->status(o->arg, &b);
    lh_buf_put_c(&b, '\n');
    answer(call, 200, "application/json", &b);
}

static void answer_probe(struct lh_call *call, bool (*is_well)(void *arg, struct lh_buf *why),
                         void *arg)
{
    lh_auto_buf struct lh_buf b;
    bool well;

    lh_buf_init(&b, WHY_MAX);
    well = is_well(arg, &b);
    if (well) {
        lh_call_answer(call, 200, "text/plain", LH_STR("ok\n"));
        return;
    }
    lh_buf_put_c(&b, '\n');
    answer(call, 503, "text/plain", &b);
}

static bool always(void *arg, struct lh_buf *why)
{
    (void)arg;
    (void)why;
    return true;
}

static void on_healthz(void *arg, const struct lh_request *req, struct lh_call *call)
{
    const struct lh_observe *o = arg;

    (void)req;
    answer_probe(call, o->healthy ? o->healthy : always, o->arg);
}

static void on_readyz(void *arg, const struct lh_request *req, struct lh_call *call)
{
    const struct lh_observe *o = arg;

    (void)req;
    if (o->ready)
        answer_probe(call, o->ready, o->arg);
    else
        not_found(call);
}

static const struct lh_route routes[] = {
    {.method = "GET", .path = "/metrics", .fn = on_metrics},
    {.method = "GET", .path = "/status", .fn = on_status},
    {.method = "GET", .path = "/healthz", .fn = on_healthz},
    {.method = "GET", .path = "/readyz", .fn = on_readyz},
    {0},
};

int lh_observe_listen(struct lh_server *s, const char *address, const struct lh_observe *o,
                      struct lh_err *err)
{
    const struct lh_listener_options l = {.address = address,
                                          .routes = routes,
                                          .arg = (void *)(uintptr_t)o,
                                          .max_connections = MAX_CONNECTIONS};
    struct lh_listener *listener;
    int rc = lh_metrics_register(lh_process_metrics, err);

    if (rc == 0)
        rc = lh_server_listen(s, &l, &listener, err);
    return rc < 0 ? lh_err_wrap(err, rc, "serve metrics on %s", address) : 0;
}
