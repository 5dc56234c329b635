/* SPDX-License-Identifier: Apache-2.0 */
#include "serve.h"

#include "leasehold/core/mem.h"
#include "leasehold/serve/server.h"
#include "metrics.h"

enum { TEXT_MAX = 16 * 1024 * 1024, MAX_CONNECTIONS = 16 };

/* A leader whose oldest work has been due for so long is stuck: liveness starts it anew. */
enum { STUCK_MS = 5 * 60 * 1000 };

struct cluster_serve {
    struct cluster_serve_options o;
    struct lh_server *server;
    struct lh_listener *listener;
};

static void answer(struct lh_call *call, int status, const char *type, const struct lh_buf *b)
{
    if (lh_buf_check(b, NULL) < 0)
        lh_call_answer(call, 500, "text/plain", LH_STR("out of memory\n"));
    else
        lh_call_answer(call, status, type, lh_buf_peek(b));
}

static void on_metrics(void *arg, const struct lh_request *req, struct lh_call *call)
{
    const struct cluster_serve *s = arg;
    lh_auto_buf struct lh_buf b;

    (void)req;
    lh_buf_init(&b, TEXT_MAX);
    cluster_metrics_sample(s->o.copies, s->o.loop, !s->o.unready(s->o.arg));
    lh_metrics_write(&b);
    answer(call, 200, "text/plain; version=0.0.4; charset=utf-8", &b);
}

static void on_status(void *arg, const struct lh_request *req, struct lh_call *call)
{
    const struct cluster_serve *s = arg;
    lh_auto_json lh_json *o = lh_json_new_object();
    struct copies_count n;
    lh_auto_buf struct lh_buf b;

    (void)req;
    lh_buf_init(&b, TEXT_MAX);
    copies_count(s->o.copies, &n);
    lh_json_set(o, "leader", lh_json_new_bool(lh_election_is_leader(s->o.election)));
    lh_json_set(o, "holder", lh_json_new_z(lh_election_holder(s->o.election)));
    lh_json_set(o, "term", lh_json_new_int(lh_election_term(s->o.election)));
    lh_json_set(o, "deletionsHeld",
                n.breaker.open ? lh_json_new_z(n.breaker.id) : lh_json_new_null());
    lh_json_set(o, "drain",
                n.drain == LH_DRAIN_NOT ? lh_json_new_null()
                                        : lh_json_new_z(lh_drain_word(n.drain)));
    lh_json_set(o, "copies", copies_status(s->o.copies));
    lh_json_write(o, LH_JSON_PRETTY, &b);
    lh_buf_put_c(&b, '\n');
    answer(call, 200, "application/json", &b);
}

static void on_healthz(void *arg, const struct lh_request *req, struct lh_call *call)
{
    const struct cluster_serve *s = arg;
    struct copies_count n;

    (void)req;
    copies_count(s->o.copies, &n);
    if (n.oldest >= 0 && lh_clock_now() - n.oldest > STUCK_MS)
        lh_call_answer(call, 503, "text/plain", LH_STR("work has been due for too long\n"));
    else
        lh_call_answer(call, 200, "text/plain", LH_STR("ok\n"));
}

static void on_readyz(void *arg, const struct lh_request *req, struct lh_call *call)
{
    const struct cluster_serve *s = arg;
    const char *unready = s->o.unready(s->o.arg);
    lh_auto_buf struct lh_buf b;

    (void)req;
    lh_buf_init(&b, 1024);
    lh_buf_printf(&b, "%s\n", unready ? unready : "ok");
    answer(call, unready ? 503 : 200, "text/plain", &b);
}

static const struct lh_route routes[] = {
    {.method = "GET", .path = "/metrics", .fn = on_metrics},
    {.method = "GET", .path = "/status", .fn = on_status},
    {.method = "GET", .path = "/healthz", .fn = on_healthz},
    {.method = "GET", .path = "/readyz", .fn = on_readyz},
    {0},
};

int cluster_serve_new(const struct cluster_serve_options *o, struct cluster_serve **out,
                      struct lh_err *err)
{
    struct cluster_serve *s = lh_calloc(1, sizeof(*s));
    const struct lh_listener_options l = {
        .address = o->address, .routes = routes, .arg = s, .max_connections = MAX_CONNECTIONS};
    int rc;

    if (!s)
        return lh_err_nomem(err);
    s->o = *o;
    rc = lh_server_new(o->loop, &s->server, err);
    if (rc == 0)
        rc = lh_server_listen(s->server, &l, &s->listener, err);
    if (rc < 0) {
        cluster_serve_free(s);
        return lh_err_wrap(err, rc, "serve metrics on %s", o->address);
    }
    *out = s;
    return 0;
}

void cluster_serve_free(struct cluster_serve *s)
{
    if (!s)
        return;
    lh_server_free(s->server);
    lh_free(s);
}
