/* SPDX-License-Identifier: Apache-2.0 */
/* Wiring: the API server, the election, and the port for people and Prometheus. */
#include "cluster.h"

#include <signal.h>
#include <string.h>

#include "cluster_priv.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/process_metrics.h"
#include "leasehold/core/secret.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/engine/engine.h"
#include "leasehold/http/client.h"
#include "metrics.h"
#include "shared_login.h"
#include "uninjected.h"

/* Managers' tokens, accounts' tokens, and values on their way. */
#define REGION_BYTES ((size_t)4 * 1024 * 1024)

static void store_changed(void *arg, struct lh_store *s, bool gone)
{
    struct cluster *c = arg;

    (void)gone;
    if (c->copies && lh_objects_synced(c->objects))
        copies_store_changed(c->copies, s);
}

static void namespace_changed(void *arg, const char *name)
{
    struct cluster *c = arg;

    if (c->copies)
        copies_namespace_changed(c->copies, name);
}

static void objects_synced(void *arg)
{
    struct cluster *c = arg;

    lh_log_info("stores and namespaces known");
    if (c->copies)
        copies_store_changed(c->copies, NULL);
    term_step(c);
}

static void projections_synced(void *arg)
{
    term_step(arg);
}

static void bad_object(void *arg, const struct lh_err *err)
{
    (void)arg;
    cluster_count_bad_object();
    lh_log_warn("object not used", LH_F_ERR(err));
}

static const char *unready(void *arg)
{
    const struct cluster *c = arg;

    if (c->ending)
        return "ending";
    if (!lh_objects_synced(c->objects))
        return "stores and namespaces not known yet";
    if (!copies_synced(c->copies))
        return "projections not known yet";
    if (c->term != 0 && !c->active)
        return "the ledger is not read yet";
    return NULL;
}

/* ---- election ---- */

static void won(void *arg, int64_t term)
{
    term_begin(arg, term);
}

static void lost(void *arg)
{
    term_end(arg);
}

static void held(void *arg, const char *id, size_t waiting)
{
    const struct cluster *c = arg;

    health_term_held(c->health, c->o.namespace_, c->o.lease, id, waiting);
    lh_timer_in(c->confirm, 0);
}

static bool may_write(void *arg)
{
    const struct cluster *c = arg;

    return !c->ending && c->term != 0 && lh_election_term(c->election) == c->term;
}

/* ---- life ---- */

static void stop(void *arg)
{
    lh_loop_stop(((struct cluster *)arg)->loop);
}

static void again(void *arg)
{
    term_step(arg);
}

static void terminate(void *arg, int signo)
{
    struct cluster *c = arg;

    if (c->ending) {
        lh_loop_stop(c->loop);
        return;
    }
    lh_log_info("ending: copies and leases stay", LH_F_INT("signal", signo));
    term_end(c);
    c->ending = true;
    lh_election_release(c->election, (unsigned)c->o.drain_ms, stop, c);
}

static int split(const char *text, int (*check)(const char *one, struct lh_err *err), char ***out,
                 struct lh_err *err)
{
    struct lh_str rest = lh_str(text ? text : ""), one;
    char **list = lh_calloc(rest.n + 2, sizeof(*list));
    size_t n = 0;
    bool more = rest.n > 0;
    int rc = 0;

    if (!list)
        return lh_err_nomem(err);
    *out = list;
    while (more && rc == 0) {
        more = lh_str_cut(rest, ',', &one, &rest);
        list[n] = lh_str_dup(lh_str_trim(one));
        rc = list[n] ? check(list[n], err) : lh_err_nomem(err);
        n++;
    }
    return rc;
}

static void free_list(char **list)
{
    for (size_t i = 0; list && list[i]; i++)
        lh_free(list[i]);
    lh_free(list);
}

static int namespace_check(const char *name, struct lh_err *err)
{
    if (lh_str_is_dns_subdomain(lh_str(name)) && strlen(name) <= 63)
        return 0;
    return lh_err_set(err, LH_E_INVALID, "\"%s\" is not the name of a namespace", name);
}

static int read_lists(struct cluster *c, struct lh_err *err)
{
    int rc = split(c->o.namespaces, namespace_check, &c->namespaces, err);

    if (rc < 0)
        return lh_err_wrap(err, rc, "--namespaces");
    rc = split(c->o.allow_addresses, lh_cidr_check, &c->allow_addresses, err);
    return rc < 0 ? lh_err_wrap(err, rc, "--allow-addresses") : 0;
}

static int connect_kube(struct cluster *c, struct lh_err *err)
{
    const struct lh_objects_events ev = {.store = store_changed,
                                         .namespace_ = namespace_changed,
                                         .synced = objects_synced,
                                         .bad = bad_object,
                                         .arg = c};
    const struct copies_parts parts = {.loop = c->loop,
                                       .o = &c->o,
                                       .namespaces = c->namespaces,
                                       .allow_addresses = c->allow_addresses,
                                       .leads = may_write,
                                       .synced = projections_synced,
                                       .held = held,
                                       .arg = c};
    struct copies_parts p = parts;
    struct lh_kube_config cfg = {0};
    int rc = c->o.kubeconfig ? lh_kube_config_load(c->o.kubeconfig, NULL, &cfg, err)
                             : lh_kube_config_in_cluster(&cfg, err);

    if (rc == 0)
        rc = lh_kube_new(c->loop, &cfg, "leasehold-controller-cluster/" LH_VERSION, &c->kube, err);
    lh_kube_config_done(&cfg);
    if (rc == 0)
        rc = lh_objects_from_cluster(c->kube, LH_WATCH_STORES | LH_WATCH_NAMESPACES, &ev,
                                     &c->objects, err);
    p.kube = c->kube;
    p.objects = c->objects;
    return rc < 0 ? rc : copies_new(&p, &c->copies, err);
}

static int stand(struct cluster *c, struct lh_err *err)
{
    const struct lh_election_options o = {.kube = c->kube,
                                          .namespace_ = c->o.namespace_,
                                          .name = c->o.lease,
                                          .identity = c->o.identity,
                                          .lease_ms = (unsigned)c->o.lease_ms,
                                          .renew_ms = (unsigned)c->o.renew_ms,
                                          .retry_ms = (unsigned)c->o.retry_ms,
                                          .won = won,
                                          .lost = lost,
                                          .noted = drain_look,
                                          .arg = c};

    return lh_election_start(&o, &c->election, err);
}

static int open_serve(struct cluster *c, struct lh_err *err)
{
    const struct cluster_serve_options o = {.loop = c->loop,
                                            .address = c->o.metrics,
                                            .copies = c->copies,
                                            .election = c->election,
                                            .unready = unready,
                                            .arg = c};

    return c->o.metrics ? cluster_serve_new(&o, &c->serve, err) : 0;
}

static int open_process(struct cluster *c, struct lh_err *err)
{
    int rc = lh_secret_init(REGION_BYTES, err);

    if (rc == 0)
        rc = lh_crypto_init(err);
    if (rc == 0)
        rc = lh_http_global_init(err);
    if (rc == 0)
        rc = lh_metrics_register(cluster_metrics, err);
    if (rc == 0)
        rc = lh_metrics_register(lh_queue_metrics, err);
    if (rc == 0)
        rc = lh_metrics_register(lh_election_metrics, err);
    return rc < 0 ? rc : lh_loop_new(&c->loop, err);
}

static int open_all(struct cluster *c, struct lh_err *err)
{
    int rc = open_process(c, err);

    if (rc == 0)
        rc = read_lists(c, err);
    if (rc == 0)
        rc = lh_signal_new(c->loop, SIGTERM, terminate, c, &c->sigterm, err);
    if (rc == 0)
        rc = lh_signal_new(c->loop, SIGINT, terminate, c, &c->sigint, err);
    if (rc == 0)
        rc = lh_timer_new(c->loop, again, c, &c->again, err);
    if (rc == 0)
        rc = lh_timer_new(c->loop, term_confirm, c, &c->confirm, err);
    if (rc == 0)
        rc = lh_timer_new(c->loop, drain_tell, c, &c->drain_timer, err);
    if (rc == 0)
        rc = connect_kube(c, err);
    if (rc == 0)
        rc = term_open(c, err);
    if (rc == 0)
        rc = stand(c, err);
    return rc < 0 ? rc : open_serve(c, err);
}

static void close_all(struct cluster *c)
{
    cluster_serve_free(c->serve);
    lh_election_free(c->election);
    term_end(c);
    ledger_free(c->ledger);
    lh_secret_free(c->hash_key);
    copies_free(c->copies);
    lh_objects_free(c->objects);
    lh_kube_free(c->kube);
    lh_timer_free(c->again);
    lh_timer_free(c->confirm);
    lh_timer_free(c->drain_timer);
    lh_free(c->drain_said);
    lh_signal_free(c->sigterm);
    lh_signal_free(c->sigint);
    lh_loop_free(c->loop);
    free_list(c->namespaces);
    free_list(c->allow_addresses);
    lh_metrics_reset();
}

static const char description[] =
    "Keeps the Kubernetes Secrets that SecretProjections ask for by name, in the namespaces where "
    "that is switched on, fetched as the ServiceAccount that each projection names. One of several "
    "leads, by a Lease; the others stand by. What is issued is recorded in a ledger before it is "
    "used, and revoked when its user ends. On SIGTERM copies and leases stay; the next leader "
    "goes on with them. Serves GET /metrics, /status, /healthz and /readyz over HTTP. Exit status: "
    "0 ended by a signal, 1 failed, 2 wrong options.";

static int run(struct cluster *c)
{
    struct lh_err err = {0};
    int rc = open_all(c, &err);

    if (rc == 0)
        rc = lh_loop_run(c->loop, &err);
    if (rc < 0)
        lh_log_error("stopped", LH_F_ERR(&err));
    close_all(c);
    return rc < 0 || c->failed ? CONTROLLER_FAILED : CONTROLLER_OK;
}

int controller_cluster(int argc, char **argv)
{
    static const struct lh_metric *const tables[] = {
        cluster_metrics,   ledger_metrics,     shared_login_metrics, store_health_metrics,
        restarts_metrics,  uninjected_metrics, lh_queue_metrics,     lh_election_metrics,
        lh_events_metrics, lh_engine_metrics,  lh_process_metrics,   NULL};
    struct cluster c = {0};
    struct lh_conf *conf = NULL;
    struct lh_err err = {0};
    int status;

    if (controller_parse(&controller_cluster_option_set, description, tables, argc, argv, &c.o,
                         &c.o.common, &conf, &status)) {
        if (cluster_options_check(&c.o, &err) < 0)
            status = controller_fail(&controller_cluster_option_set, CONTROLLER_USAGE, err.msg);
        else
            status = run(&c);
    }
    lh_conf_free(conf);
    return status;
}
