/* SPDX-License-Identifier: Apache-2.0 */
#include "status.h"

#include "leasehold/core/mem.h"
#include "leasehold/serve/server.h"
#include "metrics.h"
#include "volume.h"

enum { TEXT_MAX = 8 * 1024 * 1024, MAX_CONNECTIONS = 16 };

struct node_status {
    struct node_set *set;
    bool (*ready)(void *arg);
    void *arg;
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
    struct node_status *s = arg;
    lh_auto_buf struct lh_buf b;

    (void)req;
    lh_buf_init(&b, TEXT_MAX);
    node_metrics_sample(s->set, s->ready(s->arg));
    lh_metrics_write(&b);
    answer(call, 200, "text/plain; version=0.0.4; charset=utf-8", &b);
}

static lh_json *volume_json(const struct volume *v)
{
    struct lh_engine *e = volume_engine(v);
    lh_json *o = lh_json_new_object();
    lh_auto_buf struct lh_buf cause;

    lh_buf_init(&cause, 4096);
    volume_cause(v, &cause);
    lh_json_set(o, "namespace", lh_json_new_z(v->namespace_));
    lh_json_set(o, "pod", lh_json_new_z(v->pod));
    lh_json_set(o, "podUID", lh_json_new_z(v->pod_uid));
    lh_json_set(o, "serviceAccount", lh_json_new_z(v->service_account));
    lh_json_set(o, "projection", lh_json_new_z(v->projection));
    lh_json_set(o, "volume", lh_json_new_z(v->name));
    lh_json_set(o, "state", lh_json_new_z(volume_state_name(v)));
    lh_json_set(o, "cause", lh_json_new_str(lh_buf_peek(&cause)));
    lh_json_set(o, "secrets", e ? lh_engine_status(e) : lh_json_new_null());
    return o;
}

static void on_status(void *arg, const struct lh_request *req, struct lh_call *call)
{
    const struct node_status *s = arg;
    lh_auto_json lh_json *o = lh_json_new_object();
    lh_json *volumes = lh_json_new_array();
    lh_auto_buf struct lh_buf b;
    struct lh_str key;
    size_t it = 0;
    void *v;

    (void)req;
    lh_buf_init(&b, TEXT_MAX);
    lh_json_set(o, "node", lh_json_new_z(s->set->o->node_name));
    lh_json_set(o, "ready", lh_json_new_bool(s->ready(s->arg)));
    while (lh_map_next(s->set->by_id, &it, &key, &v))
        lh_json_push(volumes, volume_json(v));
    lh_json_set(o, "volumes", volumes);
    lh_json_write(o, LH_JSON_PRETTY, &b);
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
    const struct node_status *s = arg;

    (void)req;
    if (s->ready(s->arg))
        lh_call_answer(call, 200, "text/plain", LH_STR("ok\n"));
    else if (!mount_client_is_connected(s->set->mount))
        lh_call_answer(call, 503, "text/plain", LH_STR("leasehold-mount not connected\n"));
    else
        lh_call_answer(call, 503, "text/plain", LH_STR("stores and projections not known yet\n"));
}

static const struct lh_route routes[] = {
    {.method = "GET", .path = "/metrics", .fn = on_metrics},
    {.method = "GET", .path = "/status", .fn = on_status},
    {.method = "GET", .path = "/healthz", .fn = on_healthz},
    {.method = "GET", .path = "/readyz", .fn = on_readyz},
    {0},
};

int node_status_new(struct node_set *set, const char *address, bool (*ready)(void *arg), void *arg,
                    struct node_status **out, struct lh_err *err)
{
    struct node_status *s = lh_calloc(1, sizeof(*s));
    const struct lh_listener_options o = {
        .address = address, .routes = routes, .arg = s, .max_connections = MAX_CONNECTIONS};
    int rc;

    if (!s)
        return lh_err_nomem(err);
    *s = (struct node_status){.set = set, .ready = ready, .arg = arg};
    rc = lh_server_new(set->loop, &s->server, err);
    if (rc == 0)
        rc = lh_server_listen(s->server, &o, &s->listener, err);
    if (rc < 0) {
        node_status_free(s);
        return lh_err_wrap(err, rc, "serve metrics on %s", address);
    }
    *out = s;
    return 0;
}

void node_status_free(struct node_status *s)
{
    if (!s)
        return;
    lh_server_free(s->server);
    lh_free(s);
}
