/* SPDX-License-Identifier: Apache-2.0 */
#include "serve.h"

#include <errno.h>

#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "leasehold/serve/server.h"
#include "metrics.h"

enum { TEXT_MAX = 256 * 1024, MAX_CONNECTIONS = 16, TAKEN_AGAIN_MS = 250 };

struct kms_serve {
    const struct kms_service *service;
    const char *address;
    struct lh_server *server;
    struct lh_listener *listener;
    struct lh_timer *again; /* while the address is another's */
    bool told;
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
    const struct kms_serve *s = arg;
    lh_auto_buf struct lh_buf b;

    (void)req;
    lh_buf_init(&b, TEXT_MAX);
    kms_service_measure(s->service);
    lh_metrics_write(&b);
    answer(call, 200, "text/plain; version=0.0.4; charset=utf-8", &b);
}

static void on_status(void *arg, const struct lh_request *req, struct lh_call *call)
{
    const struct kms_serve *s = arg;
    lh_auto_buf struct lh_buf b;

    (void)req;
    lh_buf_init(&b, TEXT_MAX);
    kms_service_status(s->service, &b);
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
    const struct kms_serve *s = arg;
    bool ready = kms_service_is_ready(s->service);

    (void)req;
    lh_call_answer(call, ready ? 200 : 503, "text/plain",
                   ready ? LH_STR("ok\n") : LH_STR("the key was not confirmed yet\n"));
}

static const struct lh_route routes[] = {
    {.method = "GET", .path = "/metrics", .fn = on_metrics},
    {.method = "GET", .path = "/status", .fn = on_status},
    {.method = "GET", .path = "/healthz", .fn = on_healthz},
    {.method = "GET", .path = "/readyz", .fn = on_readyz},
    {0},
};

static int listen_now(struct kms_serve *s, struct lh_err *err)
{
    const struct lh_listener_options o = {
        .address = s->address, .routes = routes, .arg = s, .max_connections = MAX_CONNECTIONS};

    return lh_server_listen(s->server, &o, &s->listener, err);
}

/* The plugin that we follow has it until it ends, and a call of the API server is not to wait for
 * that. */
static bool is_taken(const struct lh_err *err)
{
    return err->code == LH_E_OS && err->os == EADDRINUSE;
}

static void wait_for_address(struct kms_serve *s)
{
    if (!s->told)
        lh_log_warn("metrics wait for their address: another process has it",
                    LH_F_STR("address", s->address));
    s->told = true;
    lh_timer_in(s->again, TAKEN_AGAIN_MS);
}

static void on_again(void *arg)
{
    struct kms_serve *s = arg;
    struct lh_err err = {0};

    if (listen_now(s, &err) == 0)
        lh_log_info("metrics have their address", LH_F_STR("address", s->address));
    else
        wait_for_address(s);
}

int kms_serve_new(struct lh_loop *loop, const struct kms_service *service, const char *address,
                  struct kms_serve **out, struct lh_err *err)
{
    struct kms_serve *s = lh_calloc(1, sizeof(*s));
    int rc;

    if (!s)
        return lh_err_nomem(err);
    s->service = service;
    s->address = address;
    rc = lh_server_new(loop, &s->server, err);
    if (rc == 0)
        rc = lh_timer_new(loop, on_again, s, &s->again, err);
    if (rc == 0)
        rc = listen_now(s, err);
    if (rc < 0 && s->again && is_taken(err)) {
        wait_for_address(s);
        rc = 0;
    }
    if (rc < 0) {
        kms_serve_free(s);
        return lh_err_wrap(err, rc, "serve metrics at %s", address);
    }
    *out = s;
    return 0;
}

void kms_serve_free(struct kms_serve *s)
{
    if (!s)
        return;
    lh_timer_free(s->again);
    lh_server_free(s->server);
    lh_free(s);
}
