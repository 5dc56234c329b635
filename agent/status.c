/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "leasehold/core/metrics.h"
#include "leasehold/core/proc.h"
#include "status.h"

#define ANSWER_MAX ((size_t)1024 * 1024)

enum { READY, MEMORY, SLOW_TURNS, METRICS };

const struct lh_metric agent_metrics[METRICS + 1] = {
    [READY] = {"leasehold_agent_ready",
               "1 once every secret was published.",
               LH_METRIC_GAUGE,
               {NULL},
               NULL,
               0,
               1},
    [MEMORY] = {"process_anonymous_memory_bytes",
                "Anonymous memory of this process.",
                LH_METRIC_GAUGE,
                {NULL},
                NULL,
                0,
                1},
    [SLOW_TURNS] = {"leasehold_loop_slow_turns_total",
                    "Turns of the loop over 100 ms.",
                    LH_METRIC_COUNTER,
                    {NULL},
                    NULL,
                    0,
                    1},
    [METRICS] = {0},
};

struct served {
    struct lh_loop *loop;
    struct lh_engine *engine;
};

/* One agent a process: the routes' argument outlives the server. */
static struct served served;

static void healthz(void *arg, const struct lh_request *req, struct lh_call *call)
{
    (void)arg;
    (void)req;
    lh_call_answer(call, 200, "text/plain", LH_STR("ok\n"));
}

static void readyz(void *arg, const struct lh_request *req, struct lh_call *call)
{
    const struct served *s = arg;
    lh_auto_buf struct lh_buf cause;

    (void)req;
    lh_buf_init(&cause, ANSWER_MAX);
    if (lh_engine_is_ready(s->engine)) {
        lh_call_answer(call, 200, "text/plain", LH_STR("ok\n"));
        return;
    }
    lh_engine_cause(s->engine, &cause);
    lh_call_answer(call, 503, "text/plain; charset=utf-8", lh_buf_peek(&cause));
}

static void status(void *arg, const struct lh_request *req, struct lh_call *call)
{
    const struct served *s = arg;
    lh_auto_json lh_json *doc = lh_engine_status(s->engine);
    lh_auto_buf struct lh_buf b;

    (void)req;
    lh_buf_init(&b, ANSWER_MAX);
    if (!doc) {
        lh_call_answer(call, 500, "text/plain", LH_STR("out of memory\n"));
        return;
    }
    lh_json_write(doc, LH_JSON_PRETTY, &b);
    lh_buf_put_c(&b, '\n');
    lh_call_answer(call, 200, "application/json", lh_buf_peek(&b));
}

static void metrics(void *arg, const struct lh_request *req, struct lh_call *call)
{
    const struct served *s = arg;
    lh_auto_buf struct lh_buf b;
    size_t anonymous, resident;

    (void)req;
    lh_buf_init(&b, ANSWER_MAX);
    lh_proc_memory(&anonymous, &resident);
    lh_metric_set(&agent_metrics[READY], lh_engine_is_ready(s->engine), LH_LABELS());
    lh_metric_set(&agent_metrics[MEMORY], (double)anonymous, LH_LABELS());
    lh_metric_set(&agent_metrics[SLOW_TURNS], (double)lh_loop_slow_turns(s->loop), LH_LABELS());
    lh_metrics_write(&b);
    lh_call_answer(call, 200, "text/plain; version=0.0.4; charset=utf-8", lh_buf_peek(&b));
}

static const struct lh_route routes[] = {
    {"GET", "/healthz", healthz, 0},
    {"GET", "/readyz", readyz, 0},
    {"GET", "/status", status, 0},
    {"GET", "/metrics", metrics, 0},
    {0},
};

int status_serve(struct lh_loop *loop, int port, struct lh_engine *engine, struct lh_server **out,
                 struct lh_err *err)
{
    struct lh_server *server = NULL;
    struct lh_listener *listener;
    char address[16];
    int rc;

    served = (struct served){loop, engine};
    snprintf(address, sizeof(address), ":%d", port);
    rc = lh_metrics_register(agent_metrics, err);
    if (rc == 0)
        rc = lh_server_new(loop, &server, err);
    if (rc == 0) {
        const struct lh_listener_options o = {
            .address = address, .routes = routes, .arg = &served, .max_connections = 16};

        rc = lh_server_listen(server, &o, &listener, err);
    }
    if (rc < 0) {
        lh_server_free(server);
        return rc;
    }
    *out = server;
    return 0;
}
