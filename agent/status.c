/* SPDX-License-Identifier: Apache-2.0 */
#include "status.h"

#include <stdio.h>

#include "leasehold/core/mem.h"
#include "leasehold/core/proc.h"
#include "leasehold/core/secret.h"
#include "leasehold/serve/server.h"

enum { TEXT_MAX = 1024 * 1024, MAX_CONNECTIONS = 16 };
enum { M_MEMORY, M_LOCKED, M_OVERFLOW, M_SLOW_TURNS };

struct agent_status {
    struct lh_loop *loop;
    struct lh_engine *engine;
    struct lh_server *server;
    struct lh_listener *listener;
};

const struct lh_metric agent_metrics[] = {
    [M_MEMORY] = {.name = "process_anonymous_memory_bytes",
                  .help = "Anonymous memory of this process.",
                  .type = LH_METRIC_GAUGE},
    [M_LOCKED] = {.name = "leasehold_locked_memory_used_bytes",
                  .help = "Secrets in the locked region.",
                  .type = LH_METRIC_GAUGE},
    [M_OVERFLOW] = {.name = "leasehold_locked_memory_overflow_bytes",
                    .help = "Secrets that had no room in the locked region.",
                    .type = LH_METRIC_GAUGE},
    [M_SLOW_TURNS] = {.name = "leasehold_loop_slow_turns_total",
                      .help = "Turns of the loop over 100 ms.",
                      .type = LH_METRIC_COUNTER},
    {.name = NULL},
};

static void measure(struct agent_status *s)
{
    struct lh_secret_stats secrets;
    size_t anonymous, resident;

    lh_engine_measure(s->engine);
    lh_proc_memory(&anonymous, &resident);
    lh_secret_stats(&secrets);
    lh_metric_set(&agent_metrics[M_MEMORY], (double)anonymous, NULL);
    lh_metric_set(&agent_metrics[M_LOCKED], (double)secrets.used_bytes, NULL);
    lh_metric_set(&agent_metrics[M_OVERFLOW], (double)secrets.overflow_bytes, NULL);
    lh_metric_set(&agent_metrics[M_SLOW_TURNS], (double)lh_loop_slow_turns(s->loop), NULL);
}

static void answer(struct lh_call *call, int status, const char *type, const struct lh_buf *b)
{
    if (lh_buf_check(b, NULL) < 0)
        lh_call_answer(call, 500, "text/plain", LH_STR("out of memory\n"));
    else
        lh_call_answer(call, status, type, lh_buf_peek(b));
}

static void on_metrics(void *arg, const struct lh_request *req, struct lh_call *call)
{
    lh_auto_buf struct lh_buf b;

    (void)req;
    lh_buf_init(&b, TEXT_MAX);
    measure(arg);
    lh_metrics_write(&b);
    answer(call, 200, "text/plain; version=0.0.4; charset=utf-8", &b);
}

static void on_status(void *arg, const struct lh_request *req, struct lh_call *call)
{
    const struct agent_status *s = arg;
    lh_auto_json lh_json *status = lh_engine_status(s->engine);
    lh_auto_buf struct lh_buf b;

    (void)req;
    lh_buf_init(&b, TEXT_MAX);
    lh_json_write(status, LH_JSON_PRETTY, &b);
    lh_buf_put_c(&b, '\n');
    answer(call, 200, "application/json", &b);
}

static void on_healthz(void *arg, const struct lh_request *req, struct lh_call *call)
{
    (void)arg;
    (void)req;
    lh_call_answer(call, 200, "text/plain", LH_STR("ok\n"));
}

static void on_readyz(void *arg, const struct lh_request *req, struct lh_call *call)
{
    const struct agent_status *s = arg;
    lh_auto_buf struct lh_buf b;

    (void)req;
    lh_buf_init(&b, TEXT_MAX);
    if (lh_engine_is_ready(s->engine))
        lh_buf_put_z(&b, "ok");
    else
        lh_engine_cause(s->engine, &b);
    lh_buf_put_c(&b, '\n');
    answer(call, lh_engine_is_ready(s->engine) ? 200 : 503, "text/plain", &b);
}

static const struct lh_route routes[] = {
    {.method = "GET", .path = "/metrics", .fn = on_metrics},
    {.method = "GET", .path = "/status", .fn = on_status},
    {.method = "GET", .path = "/healthz", .fn = on_healthz},
    {.method = "GET", .path = "/readyz", .fn = on_readyz},
    {0},
};

static int listen_on(struct agent_status *s, unsigned port, struct lh_err *err)
{
    char address[16];
    const struct lh_listener_options o = {
        .address = address, .routes = routes, .arg = s, .max_connections = MAX_CONNECTIONS};
    int rc = lh_metrics_register(agent_metrics, err);

    snprintf(address, sizeof(address), ":%u", port);
    if (rc == 0)
        rc = lh_server_new(s->loop, &s->server, err);
    return rc < 0 ? rc : lh_server_listen(s->server, &o, &s->listener, err);
}

int agent_status_new(struct lh_loop *loop, struct lh_engine *engine, unsigned port,
                     struct agent_status **out, struct lh_err *err)
{
    struct agent_status *s = lh_calloc(1, sizeof(*s));
    int rc;

    if (!s)
        return lh_err_nomem(err);
    s->loop = loop;
    s->engine = engine;
    rc = listen_on(s, port, err);
    if (rc < 0) {
        agent_status_free(s);
        return lh_err_wrap(err, rc, "serve metrics on port %u", port);
    }
    *out = s;
    return 0;
}

void agent_status_free(struct agent_status *s)
{
    if (!s)
        return;
    lh_server_free(s->server);
    lh_free(s);
}
