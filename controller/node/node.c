/* SPDX-License-Identifier: Apache-2.0 */
/* Wiring: leasehold-mount, the API server, kubelet, and the port for people and Prometheus. */
#include "node.h"

#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/process_metrics.h"
#include "leasehold/core/secret.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/http/client.h"
#include "leasehold/kube/client.h"
#include "metrics.h"
#include "options.h"
#include "pods.h"
#include "resume.h"
#include "service.h"
#include "status.h"
#include "volume.h"

/* Manager's tokens, kubelet's tokens and what waits to be mounted. */
#define REGION_BYTES ((size_t)1024 * 1024)

enum { MESSAGE_MAX = 2 * 1024 * 1024, REGISTRATION_MAX = 64 * 1024 };
/* After a start: all volumes have been confirmed, and their connections are closed. */
enum { TRIM_MS = 15 * 1000 };

struct node {
    struct node_options o;
    uid_t kubelet;
    struct lh_loop *loop;
    struct node_set set;
    struct node_service service;
    struct node_pods *pods;
    struct node_resume *resume;
    struct node_status *status;
    struct lh_grpc_server *csi, *registration;
    ino_t listening[2];
    struct mount_op *asked;
    struct lh_signal *term, *interrupt;
    struct lh_timer *again, *trim;
    bool serving, draining, failed;
};

static void each(struct node *n, void (*fn)(struct node *n, struct volume *v))
{
    struct lh_str key;
    size_t it = 0;
    void *v;

    while (lh_map_next(n->set.by_id, &it, &key, &v))
        fn(n, v);
}

static void look_after(struct node *n, struct volume *v)
{
    if (node_pods_has(n->pods, v->pod_uid)) {
        v->gone_at = 0;
    } else if (!v->gone_at) {
        v->gone_at = lh_clock_now();
        volume_wake(v);
    }
}

static void pods_changed(void *arg)
{
    struct node *n = arg;

    if (!node_pods_is_synced(n->pods))
        return;
    each(n, look_after);
    if (n->resume)
        node_resume_pods(n->resume, n->pods);
}

static void look_again(struct node *n, struct volume *v)
{
    (void)n;
    volume_edited(v);
}

/* Events come while the objects' set is being changed; the step that follows sees the new one. */
static void store_changed(void *arg, struct lh_store *s, bool gone)
{
    struct node *n = arg;

    (void)s;
    (void)gone;
    if (n->set.objects && lh_objects_synced(n->set.objects))
        each(n, look_again);
}

static void projection_changed(void *arg, const struct lh_projection *p, bool gone)
{
    struct node *n = arg;
    struct lh_str key;
    size_t it = 0;
    void *at;

    (void)gone;
    while (n->set.objects && lh_map_next(n->set.by_id, &it, &key, &at)) {
        struct volume *v = at;

        if (strcmp(v->projection, p->name) == 0 && strcmp(v->namespace_, p->namespace_) == 0)
            volume_edited(v);
    }
}

static void namespace_changed(void *arg, const char *name)
{
    struct node *n = arg;
    struct lh_str key;
    size_t it = 0;
    void *at;

    while (n->set.objects && lh_map_next(n->set.by_id, &it, &key, &at)) {
        struct volume *v = at;

        if (strcmp(v->namespace_, name) == 0)
            volume_edited(v);
    }
}

static void objects_synced(void *arg)
{
    struct node *n = arg;

    lh_log_info("stores and projections known");
    each(n, look_again);
}

static void bad_object(void *arg, const struct lh_err *err)
{
    (void)arg;
    node_count_bad_object();
    lh_log_warn("object not used", LH_F_ERR(err));
}

static bool is_ready(void *arg)
{
    const struct node *n = arg;

    return n->serving && !n->draining && lh_objects_synced(n->set.objects);
}

/* ---- kubelet's sockets ---- */

static int listen_on(struct lh_grpc_server *server, int *fd, ino_t *known, struct lh_err *err)
{
    struct stat st;
    int rc = 0;

    /* The same socket once more, after our connection was made anew. */
    if (fstat(*fd, &st) == 0 && st.st_ino == *known)
        return 0;
    rc = lh_grpc_server_listen(server, *fd, err);
    if (rc == 0) {
        *known = st.st_ino;
        *fd = -1;
    }
    return rc;
}

static void have_listeners(void *arg, struct mount_answer *ans, const struct lh_err *err)
{
    struct node *n = arg;
    struct lh_err e = {0};
    int rc = 0;

    n->asked = NULL;
    if (err || ans->fds[1] < 0) {
        lh_log_warn("no sockets for kubelet yet", LH_F_ERR(err));
        lh_timer_in(n->again, 1000);
        return;
    }
    rc = listen_on(n->csi, &ans->fds[0], &n->listening[0], &e);
    if (rc == 0)
        rc = listen_on(n->registration, &ans->fds[1], &n->listening[1], &e);
    if (rc < 0) {
        lh_log_error("sockets for kubelet not served", LH_F_ERR(&e));
        lh_timer_in(n->again, 1000);
        return;
    }
    if (!n->serving)
        lh_log_info("serving kubelet", LH_F_INT("volumes", lh_map_len(n->set.by_id)));
    n->serving = n->service.ready = true;
}

static void ask_listeners(void *arg)
{
    struct node *n = arg;
    struct lh_mount_request r;
    struct lh_err err = {0};

    if (n->asked || n->draining || node_resume_is_busy(n->resume))
        return;
    (void)mount_request_init(&r, LH_MOUNT_LISTENERS, "", "", "");
    if (mount_start(n->set.mount, &r, have_listeners, n, &n->asked, &err) < 0)
        lh_timer_in(n->again, 1000);
}

/* All volumes at once, each with a session and a connection, leave a heap of mostly free pages. */
static void on_trim(void *arg)
{
    (void)arg;
    lh_mem_trim();
}

/* Volumes first: a call for one that is there must not be taken for the first. */
static void resumed(void *arg)
{
    struct node *n = arg;

    lh_timer_in(n->trim, TRIM_MS);
    pods_changed(n);
    ask_listeners(n);
}

static void mount_connected(void *arg)
{
    struct node *n = arg;

    if (n->resume)
        ask_listeners(n);
}

static void not_registered(void *arg, const char *text)
{
    struct node *n = arg;

    lh_log_error("kubelet refuses the driver", LH_F_STR("cause", text));
    n->failed = true;
    lh_loop_stop(n->loop);
}

/* ---- life ---- */

static void stop(void *arg)
{
    lh_loop_stop(((struct node *)arg)->loop);
}

static void registration_drained(void *arg)
{
    struct node *n = arg;

    lh_grpc_server_drain(n->csi, (unsigned)n->o.drain_ms, stop, n);
}

static void terminate(void *arg, int signo)
{
    struct node *n = arg;

    if (n->draining) {
        lh_loop_stop(n->loop);
        return;
    }
    n->draining = true;
    n->service.ready = false;
    lh_log_info("ending: mounts and leases stay", LH_F_INT("signal", signo));
    lh_grpc_server_drain(n->registration, (unsigned)n->o.drain_ms, registration_drained, n);
}

static int split_addresses(struct node *n, struct lh_err *err)
{
    struct lh_str rest = lh_str(n->o.allow_addresses), one;
    size_t count = 0;
    bool more = rest.n > 0;
    int rc = 0;

    n->set.allow_addresses = lh_calloc(rest.n + 1, sizeof(char *));
    if (!n->set.allow_addresses)
        return lh_err_nomem(err);
    while (more && rc == 0) {
        more = lh_str_cut(rest, ',', &one, &rest);
        n->set.allow_addresses[count] = lh_str_dup(lh_str_trim(one));
        rc = n->set.allow_addresses[count] ? lh_cidr_check(n->set.allow_addresses[count], err)
                                           : lh_err_nomem(err);
        count++;
    }
    return rc < 0 ? lh_err_wrap(err, rc, "--allow-addresses") : 0;
}

static int connect_kube(struct node *n, struct lh_err *err)
{
    const struct lh_objects_events ev = {.store = store_changed,
                                         .projection = projection_changed,
                                         .namespace_ = namespace_changed,
                                         .synced = objects_synced,
                                         .bad = bad_object,
                                         .arg = n};
    struct lh_kube_config cfg = {0};
    int rc = n->o.kubeconfig ? lh_kube_config_load(n->o.kubeconfig, NULL, &cfg, err)
                             : lh_kube_config_in_cluster(&cfg, err);

    if (rc == 0)
        rc = lh_kube_new(n->loop, &cfg, "leasehold-controller-node/" LH_VERSION, &n->set.kube, err);
    lh_kube_config_done(&cfg);
    if (rc == 0)
        rc = lh_objects_from_cluster(n->set.kube,
                                     LH_WATCH_STORES | LH_WATCH_NAMESPACES | LH_WATCH_PROJECTIONS,
                                     &ev, &n->set.objects, err);
    return rc < 0 ? rc : node_pods_new(n->set.kube, n->o.node_name, pods_changed, n, &n->pods, err);
}

static int open_servers(struct node *n, struct lh_err *err)
{
    struct lh_grpc_server_options o = {.loop = n->loop,
                                       .methods = node_csi_methods,
                                       .arg = &n->service,
                                       .peers = &n->kubelet,
                                       .n_peers = 1,
                                       .max_message = MESSAGE_MAX};
    int rc = lh_grpc_server_new(&o, &n->csi, err);

    o.methods = node_registration_methods;
    o.max_message = REGISTRATION_MAX;
    return rc < 0 ? rc : lh_grpc_server_new(&o, &n->registration, err);
}

static int open_all(struct node *n, struct lh_err *err)
{
    int rc = lh_secret_init(REGION_BYTES, err);

    n->kubelet = (uid_t)n->o.kubelet_uid;
    n->set.o = &n->o;
    n->set.state = -1;
    n->service = (struct node_service){.set = &n->set, .refused = not_registered, .arg = n};
    if (rc == 0)
        rc = lh_crypto_init(err);
    if (rc == 0)
        rc = lh_http_global_init(err);
    if (rc == 0)
        rc = lh_metrics_register(node_metrics, err);
    if (rc == 0)
        rc = lh_loop_new(&n->loop, err);
    n->set.loop = n->loop;
    if (rc == 0)
        rc = split_addresses(n, err);
    if (rc == 0)
        rc = lh_map_new(&n->set.by_id, err);
    if (rc == 0)
        rc = lh_signal_new(n->loop, SIGTERM, terminate, n, &n->term, err);
    if (rc == 0)
        rc = lh_signal_new(n->loop, SIGINT, terminate, n, &n->interrupt, err);
    if (rc == 0)
        rc = lh_timer_new(n->loop, ask_listeners, n, &n->again, err);
    if (rc == 0)
        rc = lh_timer_new(n->loop, on_trim, n, &n->trim, err);
    if (rc == 0 && n->o.metrics)
        rc = node_status_new(&n->set, n->o.metrics, is_ready, n, &n->status, err);
    if (rc == 0)
        rc = open_servers(n, err);
    if (rc == 0)
        rc = mount_client_new(n->loop, n->o.mount_socket, mount_connected, n, &n->set.mount, err);
    if (rc == 0)
        rc = connect_kube(n, err);
    return rc < 0 ? rc : node_resume_start(&n->set, resumed, n, &n->resume, err);
}

/* State as it is now, for whoever comes next; nothing is revoked. */
static void leave_engines(struct node *n, struct volume *v)
{
    (void)n;
    for (size_t i = 0; i < 2; i++)
        slot_end(&v->slot[i], v->leaving);
}

static void free_volumes(struct node *n)
{
    struct lh_str key;
    size_t it = 0;
    void *v;

    if (!n->set.by_id)
        return;
    each(n, leave_engines);
    while (lh_map_next(n->set.by_id, &it, &key, &v))
        volume_free(v);
    lh_map_free(n->set.by_id, NULL);
}

static void close_all(struct node *n)
{
    free_volumes(n);
    lh_grpc_server_free(n->csi);
    lh_grpc_server_free(n->registration);
    node_resume_free(n->resume);
    mount_cancel(n->asked);
    mount_client_free(n->set.mount);
    node_pods_free(n->pods);
    lh_objects_free(n->set.objects);
    lh_kube_free(n->set.kube);
    node_status_free(n->status);
    lh_timer_free(n->again);
    lh_timer_free(n->trim);
    lh_signal_free(n->term);
    lh_signal_free(n->interrupt);
    lh_loop_free(n->loop);
    for (size_t i = 0; n->set.allow_addresses && n->set.allow_addresses[i]; i++)
        lh_free(n->set.allow_addresses[i]);
    lh_free(n->set.allow_addresses);
    if (n->set.state >= 0)
        close(n->set.state);
    lh_metrics_reset();
}

static const char description[] =
    "The unprivileged half of the CSI driver csi.leasehold.dev: takes kubelet's calls on sockets "
    "that leasehold-mount owns, has volumes mounted by it, fetches what a SecretProjection names "
    "as the Pod's own ServiceAccount, and keeps it fresh until the volume is unmounted. On SIGTERM "
    "mounts and leases stay; the next start goes on with them. Serves GET /metrics, /status, "
    "/healthz and /readyz over HTTP. Exit status: 0 ended by a signal, 1 failed, 2 wrong options.";

static int run(struct node *n)
{
    struct lh_err err = {0};
    int rc = open_all(n, &err);

    if (rc == 0)
        rc = lh_loop_run(n->loop, &err);
    if (rc < 0)
        lh_log_error("stopped", LH_F_ERR(&err));
    close_all(n);
    return rc < 0 || n->failed ? CONTROLLER_FAILED : CONTROLLER_OK;
}

int controller_node(int argc, char **argv)
{
    static const struct lh_metric *const tables[] = {node_metrics, lh_engine_metrics,
                                                     lh_process_metrics, NULL};
    struct node n = {.set = {.state = -1}};
    struct lh_conf *conf = NULL;
    struct lh_err err = {0};
    int status;

    if (controller_parse(&controller_node_option_set, description, tables, argc, argv, &n.o,
                         &n.o.common, &conf, &status)) {
        if (node_options_check(&n.o, &err) < 0)
            status = controller_fail(&controller_node_option_set, CONTROLLER_USAGE, err.msg);
        else
            status = run(&n);
    }
    lh_conf_free(conf);
    return status;
}
