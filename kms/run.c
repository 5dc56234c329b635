/* SPDX-License-Identifier: Apache-2.0 */
#include "run.h"

#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "identity.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "leasehold/kmsv2/messages.h"
#include "listen.h"
#include "metrics.h"
#include "sandbox.h"
#include "serve.h"
#include "service.h"

enum { DRAIN_MS = 2000, END_MS = 1000, HOLDER_AGAIN_MS = 250, SERVICE_NETS_MAX = 8 };

struct run {
    const struct kms_options *o;
    struct lh_loop *loop;
    struct lh_signal *term, *interrupt;
    struct kms_identity identity;
    char *nets_text;
    const char *nets[SERVICE_NETS_MAX + 1];
    struct kms_backend *backend;
    struct kms_service *service;
    struct lh_grpc_server *server;
    struct kms_serve *serve;
    struct kms_listener listener;
    struct lh_timer *holder; /* asked again */
    lh_ms started_at;
    bool ending, told;
};

static void on_ended(void *arg)
{
    struct run *r = arg;

    lh_loop_stop(r->loop);
}

static void on_drained(void *arg)
{
    struct run *r = arg;

    kms_service_end(r->service);
    r->backend->ops->end(r->backend, END_MS, on_ended, r);
}

static void on_signal(void *arg, int signo)
{
    struct run *r = arg;

    if (r->ending) {
        lh_loop_stop(r->loop); /* asked twice: no more patience */
        return;
    }
    r->ending = true;
    lh_log_info("ending", LH_F_INT("signal", signo));
    lh_timer_stop(r->holder);
    lh_grpc_server_drain(r->server, DRAIN_MS, on_drained, r);
}

static void on_ready(void *arg)
{
    struct run *r = arg;

    lh_log_info("ready", LH_F_INT("took_ms", lh_clock_now() - r->started_at));
}

/* The listener is the server's from then on; its path stays ours to take away. */
static int serve_on(struct run *r, struct lh_err *err)
{
    int rc = lh_grpc_server_listen(r->server, r->listener.fd, err);

    if (rc == 0)
        r->listener.fd = -1;
    return rc;
}

static void ask_holder(void *arg)
{
    struct run *r = arg;
    struct lh_err err = {0};

    if (kms_listen_from_holder(r->o->from_holder, &r->listener, &err) == 0 &&
        serve_on(r, &err) == 0) {
        lh_log_info("listening", LH_F_STR("holder", r->o->from_holder));
        return;
    }
    if (!r->told)
        lh_log_warn("no socket yet", LH_F_ERR(&err));
    r->told = true;
    lh_timer_in(r->holder, HOLDER_AGAIN_MS);
}

static int open_listener(struct run *r, struct lh_err *err)
{
    int rc;

    if (r->o->from_holder) {
        ask_holder(r);
        return 0;
    }
    if (strcmp(r->o->listen, "fd") == 0)
        rc = kms_listen_inherited(&r->listener, err);
    else
        rc = kms_listen(r->o->listen, SOCK_STREAM, (uid_t)r->o->peer_uid, &r->listener, err);
    if (rc == 0)
        rc = serve_on(r, err);
    if (rc == 0)
        lh_log_info("listening", LH_F_STR("socket", r->o->listen));
    return rc;
}

static int split_nets(struct run *r, struct lh_err *err)
{
    size_t n = 0;

    if (!r->o->service_cidr)
        return 0;
    r->nets_text = lh_strdup(r->o->service_cidr);
    if (!r->nets_text)
        return lh_err_nomem(err);
    for (char *at = r->nets_text; at && n < SERVICE_NETS_MAX;) {
        char *comma = strchr(at, ',');

        if (comma)
            *comma++ = '\0';
        r->nets[n++] = at;
        at = comma;
    }
    return 0;
}

static int open_backend(struct run *r, struct lh_err *err)
{
    const struct kms_options *o = r->o;
    int rc;

    if (o->local_key)
        return kms_local_new(r->loop, o->local_key, &r->backend, err);
    rc = kms_identity_init(&r->identity, r->loop, o, err);
    if (rc == 0)
        rc = split_nets(r, err);
    if (rc < 0)
        return rc;
    return kms_transit_new(&(struct kms_transit_options){.loop = r->loop,
                                                         .store = r->identity.store,
                                                         .identity = &r->identity.id,
                                                         .mount = o->mount,
                                                         .key = o->key,
                                                         .service_nets = r->nets},
                           &r->backend, err);
}

static int open_service(struct run *r, struct lh_err *err)
{
    const struct kms_options *o = r->o;
    bool local = o->local_key != NULL;
    const struct kms_service_options so = {
        .loop = r->loop,
        .backend = r->backend,
        .scope = {.cluster = o->cluster,
                  .backend = local ? "local" : "transit",
                  .namespace_ = local ? NULL : r->identity.store->vault.namespace_,
                  .mount = local ? NULL : o->mount,
                  .key = local ? NULL : o->key,
                  .generation = (unsigned)o->generation},
        .settle = {.observations = (unsigned)o->settle_seen, .delay_ms = o->settle_ms},
        .cache_entries = (size_t)o->cache_entries,
        .cache_age_ms = o->cache_age_ms,
        .probe_ms = o->probe_ms,
    };
    int rc = kms_service_new(&so, &r->service, err);

    if (rc < 0) {
        r->backend->ops->free(r->backend);
        r->backend = NULL;
    }
    return rc;
}

static int open_server(struct run *r, struct lh_err *err)
{
    const uid_t peers[] = {0, (uid_t)r->o->peer_uid};
    const struct lh_grpc_server_options o = {.loop = r->loop,
                                             .methods = kms_methods,
                                             .arg = r->service,
                                             .peers = peers,
                                             .n_peers = LH_ARRAY_LEN(peers),
                                             .max_message = LH_KMSV2_MESSAGE_MAX};

    return lh_grpc_server_new(&o, &r->server, err);
}

static int run_open(struct run *r, struct lh_err *err)
{
    int rc = lh_loop_new(&r->loop, err);

    if (rc == 0)
        rc = lh_metrics_register(kms_metrics, err);
    if (rc == 0)
        rc = lh_signal_new(r->loop, SIGTERM, on_signal, r, &r->term, err);
    if (rc == 0)
        rc = lh_signal_new(r->loop, SIGINT, on_signal, r, &r->interrupt, err);
    if (rc == 0)
        rc = lh_timer_new(r->loop, ask_holder, r, &r->holder, err);
    if (rc == 0)
        rc = open_backend(r, err);
    if (rc == 0)
        rc = open_service(r, err);
    if (rc == 0)
        rc = open_server(r, err);
    return rc;
}

static void run_close(struct run *r)
{
    kms_serve_free(r->serve);
    if (r->service)
        kms_service_end(r->service);
    if (r->server)
        lh_grpc_server_free(r->server);
    if (r->service)
        kms_service_free(r->service);
    else if (r->backend)
        r->backend->ops->free(r->backend);
    kms_listen_end(&r->listener);
    kms_identity_done(&r->identity);
    lh_free(r->nets_text);
    lh_timer_free(r->holder);
    lh_signal_free(r->term);
    lh_signal_free(r->interrupt);
    lh_loop_free(r->loop);
}

int kms_run(const struct kms_options *o, struct lh_err *err)
{
    struct run r = {.o = o, .listener = {.fd = -1}, .started_at = lh_clock_now()};
    int rc = run_open(&r, err);

    if (rc == 0)
        rc = open_listener(&r, err);
    if (rc == 0 && o->metrics)
        rc = kms_serve_new(r.loop, r.service, o->metrics, &r.serve, err);
    if (rc == 0) {
        kms_limit_worker();
        kms_service_start(r.service, on_ready, &r);
        rc = lh_loop_run(r.loop, err);
    }
    run_close(&r);
    return rc;
}

int kms_check(const struct kms_options *o, struct lh_err *err)
{
    struct run r = {.o = o, .listener = {.fd = -1}};
    int rc = run_open(&r, err);

    run_close(&r);
    return rc;
}
