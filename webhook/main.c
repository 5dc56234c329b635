/* SPDX-License-Identifier: Apache-2.0 */
/* leasehold-webhook: wiring of options, objects, certificates and the two listeners. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "admission.h"
#include "certs.h"
#include "leasehold/core/clock.h"
#include "leasehold/core/fs.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/proc.h"
#include "leasehold/core/process_metrics.h"
#include "leasehold/core/secret.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/crypto/x509.h"
#include "leasehold/http/client.h"
#include "leasehold/serve/observe.h"
#include "metrics.h"
#include "options.h"

#define POLICY_MAX   ((size_t)1024 * 1024)
#define REGION_BYTES ((size_t)256 * 1024) /* TLS keys and one API token */

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct webhook {
    struct webhook_options o;
    struct lh_conf *conf;
    struct lh_loop *loop;
    struct lh_server *server;
    struct lh_observe observe;
    struct lh_listener *https;
    struct lh_kube *kube;
    struct lh_policy *policy;
    struct admission admission;
    struct cert_files *files;
    struct own_ca *ca;
    struct lh_signal *term, *interrupt;
    struct lh_timer *retired;
    int64_t leaf_until_ms; /* wall: when the certificate that is served ends */
    bool draining;
};

static bool is_ready(const struct webhook *w)
{
    return !w->draining && w->https && lh_objects_synced(w->admission.objects) &&
           (w->files || own_ca_is_trusted(w->ca));
}

static void mutate(void *arg, const struct lh_request *req, struct lh_call *call)
{
    struct webhook *w = arg;

    admission_mutate(&w->admission, req, call);
}

static void validate(void *arg, const struct lh_request *req, struct lh_call *call)
{
    struct webhook *w = arg;

    admission_validate(&w->admission, req, call);
}

static void healthz(void *arg, const struct lh_request *req, struct lh_call *call)
{
    (void)arg;
    (void)req;
    lh_call_answer(call, 200, "text/plain", LH_STR("ok\n"));
}

static void readyz(void *arg, const struct lh_request *req, struct lh_call *call)
{
    const struct webhook *w = arg;

    (void)req;
    if (is_ready(w))
        lh_call_answer(call, 200, "text/plain", LH_STR("ok\n"));
    else if (w->draining)
        lh_call_answer(call, 503, "text/plain", LH_STR("draining\n"));
    else if (!lh_objects_synced(w->admission.objects))
        lh_call_answer(call, 503, "text/plain", LH_STR("stores not known yet\n"));
    else
        lh_call_answer(call, 503, "text/plain",
                       LH_STR("certificate not trusted by the API server yet\n"));
}

static const struct lh_route https_routes[] = {
    {"POST", "/mutate", mutate, LH_ADMISSION_MAX},
    {"POST", "/validate", validate, LH_ADMISSION_MAX},
    {"GET", "/healthz", healthz, 0},
    {"GET", "/readyz", readyz, 0},
    {0},
};

static void set(int which, double value, const char *label)
{
    lh_metric_set(&webhook_metrics[which], value, LH_LABELS(label));
}

static void sample(void *arg)
{
    struct webhook *w = arg;
    size_t n, clusters = 0;
    struct lh_server_stats st;
    struct lh_store *const *stores = lh_objects_stores(w->admission.objects, &n);

    for (size_t i = 0; i < n; i++)
        clusters += stores[i]->cluster_scoped;
    set(WEBHOOK_STORES, (double)clusters, "ClusterSecretStore");
    set(WEBHOOK_STORES, (double)(n - clusters), "SecretStore");
    set(WEBHOOK_READY, is_ready(w), NULL);
    if (w->https)
        set(WEBHOOK_LEAF_SECONDS, (double)(w->leaf_until_ms - lh_clock_wall_ms()) / 1000, NULL);
    lh_server_stats(w->server, &st);
    set(WEBHOOK_CONNECTIONS, st.connections, NULL);
    set(WEBHOOK_CLOSED, (double)st.refused, "connections");
    set(WEBHOOK_CLOSED, (double)st.timeouts, "time");
    set(WEBHOOK_CLOSED, (double)st.too_large, "size");
}

static bool have_pair(void *arg, struct lh_str cert_pem, const struct lh_secret *key_pem)
{
    struct webhook *w = arg;
    struct lh_cert_info info = {0};
    struct lh_err err = {0};
    int rc;

    if (w->https) {
        rc = lh_listener_set_cert(w->https, cert_pem, key_pem, &err);
    } else {
        struct lh_listener_options o = {.address = w->o.listen,
                                        .routes = https_routes,
                                        .arg = w,
                                        .cert_pem = cert_pem,
                                        .key_pem = key_pem};

        rc = lh_server_listen(w->server, &o, &w->https, &err);
    }
    if (rc == 0)
        rc = lh_x509_info(cert_pem, &info, &err);
    if (rc < 0) {
        lh_metric_add(&webhook_metrics[WEBHOOK_CERT_FAILURES], 1, LH_LABELS());
        lh_log_error("certificate not served", LH_F_ERR(&err));
        return false;
    }
    w->leaf_until_ms = info.not_after_ms;
    lh_log_info("serving", LH_F_INT("port", lh_listener_port(w->https)));
    return true;
}

static void drained(void *arg)
{
    struct webhook *w = arg;

    lh_loop_stop(w->loop);
}

static void drain(void *arg)
{
    struct webhook *w = arg;

    lh_server_drain(w->server, (unsigned)w->o.drain_ms, drained, w);
}

/* The API server learns a moment later that this replica ends, and keeps connections to it even
 * then. */
static void terminate(void *arg, int signo)
{
    struct webhook *w = arg;

    if (w->draining)
        return;
    w->draining = true;
    lh_log_info("draining", LH_F_INT("signal", signo));
    lh_server_retire(w->server);
    lh_timer_in(w->retired, w->o.retire_ms);
}

static void bad_object(void *arg, const struct lh_err *err)
{
    (void)arg;
    lh_metric_add(&webhook_metrics[WEBHOOK_BAD_OBJECTS], 1, LH_LABELS());
    lh_log_warn("object not used", LH_F_ERR(err));
}

static int load_policy(struct webhook *w, struct lh_err *err)
{
    lh_auto_free char *text = NULL;
    size_t n = 0;
    int rc;

    if (!w->o.policy)
        return lh_policy_default(&w->policy, err);
    rc = lh_fs_read_at(AT_FDCWD, w->o.policy, POLICY_MAX, &text, &n, err);
    return rc < 0 ? rc : lh_policy_parse((struct lh_str){text, n}, w->o.policy, &w->policy, err);
}

static int connect_kube(struct webhook *w, struct lh_err *err)
{
    struct lh_kube_config cfg = {0};
    int rc;

    rc = lh_http_global_init(err);
    if (rc == 0)
        rc = w->o.kubeconfig ? lh_kube_config_load(w->o.kubeconfig, NULL, &cfg, err)
                             : lh_kube_config_in_cluster(&cfg, err);
    if (rc == 0)
        rc = lh_kube_new(w->loop, &cfg, "leasehold-webhook/" LH_VERSION, &w->kube, err);
    lh_kube_config_done(&cfg);
    return rc;
}

static int load_objects(struct webhook *w, struct lh_err *err)
{
    const struct lh_objects_events ev = {.bad = bad_object, .arg = w};

    if (w->o.stores)
        return lh_objects_from_files(w->o.check_config ? NULL : w->loop, w->o.stores, &ev,
                                     &w->admission.objects, err);
    return lh_objects_from_cluster(w->kube, LH_WATCH_STORES | LH_WATCH_NAMESPACES, &ev,
                                   &w->admission.objects, err);
}

static int start_certs(struct webhook *w, struct lh_err *err)
{
    const struct own_ca_options o = {
        .loop = w->loop,
        .kube = w->kube,
        .secret = w->o.ca_secret,
        .service = w->o.service,
        .configuration = w->o.webhook_configuration,
        .pair = have_pair,
        .arg = w,
    };

    if (!w->o.tls_cert)
        return own_ca_new(&o, &w->ca, err);
    return cert_files_new(w->loop, w->o.tls_cert, w->o.tls_key, have_pair, w, &w->files, err);
}

static int start_listeners(struct webhook *w, struct lh_err *err)
{
    int rc;

    w->observe = (struct lh_observe){
        .loop = w->loop, .arg = w, .text_max = (size_t)1024 * 1024, .measure = sample};
    rc = lh_server_new(w->loop, &w->server, err);
    if (rc == 0 && w->o.metrics)
        rc = lh_observe_listen(w->server, w->o.metrics, &w->observe, err);
    if (rc == 0)
        rc = lh_timer_new(w->loop, drain, w, &w->retired, err);
    if (rc == 0)
        rc = lh_signal_new(w->loop, SIGTERM, terminate, w, &w->term, err);
    if (rc == 0)
        rc = lh_signal_new(w->loop, SIGINT, terminate, w, &w->interrupt, err);
    return rc;
}

static int run(struct webhook *w, struct lh_err *err)
{
    int rc;

    rc = lh_secret_init(REGION_BYTES, err);
    if (rc == 0)
        rc = lh_crypto_init(err);
    if (rc == 0)
        rc = lh_metrics_register(webhook_metrics, err);
    if (rc == 0)
        rc = load_policy(w, err);
    if (rc == 0)
        rc = lh_loop_new(&w->loop, err);
    if (rc == 0 && !w->o.check_config)
        rc = start_listeners(w, err);
    if (rc == 0 && !w->o.stores && !w->o.check_config)
        rc = connect_kube(w, err);
    if (rc == 0 && (w->o.stores || !w->o.check_config))
        rc = load_objects(w, err);
    if (rc < 0 || w->o.check_config)
        return rc;
    w->admission.policy = w->policy;
    rc = start_certs(w, err);
    if (rc == 0 && w->files && !w->https)
        return lh_err_set(err, LH_E_INVALID, "cannot serve on %s with %s", w->o.listen,
                          w->o.tls_cert);
    return rc < 0 ? rc : lh_loop_run(w->loop, err);
}

static void finish(struct webhook *w)
{
    own_ca_free(w->ca);
    cert_files_free(w->files);
    lh_objects_free(w->admission.objects);
    lh_kube_free(w->kube);
    lh_timer_free(w->retired);
    lh_signal_free(w->term);
    lh_signal_free(w->interrupt);
    lh_server_free(w->server);
    lh_loop_free(w->loop);
    lh_policy_free(w->policy);
    lh_metrics_reset();
    lh_conf_free(w->conf);
}

static const char description[] =
    "Serves POST /mutate and POST /validate (AdmissionReview v1) and GET /healthz and /readyz over "
    "HTTPS, and /metrics on a port of its own. Knows stores and namespaces from its own watch and "
    "holds no credential of a manager. Exit status: 0 ended by a signal, 1 failed, 2 wrong "
    "options.";

/* page NULL: help. */
static int print_docs(const char *page)
{
    const struct lh_metric *const tables[] = {webhook_metrics, lh_process_metrics, NULL};
    lh_auto_buf struct lh_buf b;
    struct lh_err err = {0};
    struct lh_str s;

    lh_buf_init(&b, (size_t)256 * 1024);
    if (!page)
        lh_conf_help(&webhook_option_set, &b);
    else if (lh_conf_docs(&webhook_option_set, page, description, tables, &b, &err) < 0) {
        fprintf(stderr, "leasehold-webhook: %s\n", err.msg);
        return EXIT_USAGE;
    }
    s = lh_buf_peek(&b);
    return fwrite(s.p, 1, s.n, stdout) == s.n ? EXIT_OK : EXIT_FAILED;
}

int main(int argc, char **argv)
{
    struct webhook w = {0};
    const char *const *args = NULL;
    enum lh_log_level level = LH_LOG_INFO;
    struct lh_err err = {0};
    int rc;

    lh_mem_init();
    if (lh_proc_harden(&err) < 0) {
        fprintf(stderr, "leasehold-webhook: %s\n", err.msg);
        return EXIT_FAILED;
    }
    lh_json_init();
    rc = lh_conf_parse(&webhook_option_set, argc, argv, NULL, &w.o, &w.conf, &args, &err);
    if (rc == 0 && (w.o.help || w.o.docs || w.o.version)) {
        rc = w.o.version ? puts("leasehold-webhook " LH_VERSION) < 0 : print_docs(w.o.docs);
        lh_conf_free(w.conf);
        return rc;
    }
    if (rc == 0 && args[0])
        rc = lh_err_set(&err, LH_E_INVALID,
                        "unexpected argument; leasehold-webhook takes options only");
    if (rc == 0)
        rc = webhook_options_check(&w.o, &err);
    if (rc < 0) {
        fprintf(stderr, "leasehold-webhook: %s\n", err.msg);
        lh_conf_free(w.conf);
        return EXIT_USAGE;
    }
    lh_log_level_parse(w.o.log_level, &level);
    lh_log_init("leasehold-webhook", level, STDERR_FILENO);
    rc = run(&w, &err);
    if (rc < 0)
        lh_log_error("stopped", LH_F_ERR(&err));
    finish(&w);
    return rc < 0 ? EXIT_FAILED : EXIT_OK;
}
