/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"
#include "serve_priv.h"

static void *lws_realloc_fn(void *p, size_t n, const char *what)
{
    (void)what;
    if (n == 0) {
        lh_free(p);
        return NULL;
    }
    return lh_realloc(p, n);
}

static void lws_log(int level, const char *line)
{
    (void)level;
    lh_log_debug("libwebsockets", LH_F_STRN("text", lh_str_trim(lh_str(line))));
}

/* The guest's descriptor is readable: something is ready on our loop. */
static int on_guest(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t n)
{
    struct lh_server *s;

    (void)user;
    (void)in;
    (void)n;
    if (reason != LWS_CALLBACK_RAW_RX_FILE)
        return 0; /* some of the others come without a real wsi */
    s = lws_get_opaque_user_data(wsi);
    lh_loop_turn(s->loop, 0);
    return 0;
}

static const struct lws_protocols guest_protocols[] = {{.name = "guest", .callback = on_guest},
                                                       {0}};

static void on_alarm(lws_sorted_usec_list_t *alarm)
{
    (void)alarm; /* lws_service() returns, which is all that is wanted */
}

static void host_run(void *arg, int wait_ms)
{
    struct lh_server *s = arg;

    /* Before each wait, because descriptors that were added since are registered by a turn, and
     * what is due already must not wait for lws. */
    lh_loop_turn(s->loop, 0);
    if (lh_loop_is_stopped(s->loop) || lh_loop_backend_timeout(s->loop) == 0)
        wait_ms = 0;
    if (wait_ms > 0)
        lws_sul_schedule(s->lws, 0, &s->alarm, on_alarm, (lws_usec_t)wait_ms * 1000);
    lws_service(s->lws, wait_ms == 0 ? -1 : 0);
    if (wait_ms > 0)
        lws_sul_cancel(&s->alarm);
}

static void host_wake(void *arg)
{
    struct lh_server *s = arg;

    lws_cancel_service(s->lws);
}

static int adopt_guest(struct lh_server *s, struct lh_err *err)
{
    struct lws_context_creation_info info = {
        .vhost_name = "guest",
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .protocols = guest_protocols,
    };
    struct lws_adopt_desc adopt = {.type = LWS_ADOPT_RAW_FILE_DESC, .vh_prot_name = "guest"};

    adopt.vh = lws_create_vhost(s->lws, &info);
    if (!adopt.vh)
        return lh_err_nomem(err);
    /* lws closes what it adopted. */
    adopt.fd.filefd = fcntl(lh_loop_backend_fd(s->loop), F_DUPFD_CLOEXEC, 3);
    if (adopt.fd.filefd < 0)
        return lh_err_os(err, errno, "watch the event loop");
    adopt.opaque = s;
    if (!lws_adopt_descriptor_vhost_via_info(&adopt))
        return lh_err_nomem(err);
    return 0;
}

static int context_new(struct lh_server *s, struct lh_err *err)
{
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT |
                   LWS_SERVER_OPTION_NO_LWS_SYSTEM_STATES |
                   LWS_SERVER_OPTION_SKIP_SERVER_CANONICAL_NAME,
        .gid = -1,
        .uid = -1,
        .pt_serv_buf_size = SERVE_BUFFER,
        .alpn = "http/1.1",
        /* Else lws keeps a table for as many descriptors as the process might open, which is 8 MB
         * under the usual limit of a container. */
        .fd_limit_per_thread = SERVE_FDS,
        .timeout_secs = 24 * 3600, /* ours decide, on the loop's clock */
    };

    lws_set_allocator(lws_realloc_fn);
    lws_set_log_level(LLL_ERR, lws_log);
    s->lws = lws_create_context(&info);
    if (!s->lws)
        return lh_err_set(err, LH_E_OS,
                          "libwebsockets cannot start: no memory, descriptors or /dev/urandom");
    return 0;
}

static void on_drain_timeout(void *arg);

/* Handshakes at once, each with its buffers, leave a heap of mostly free pages. */
static void on_trim(void *arg)
{
    struct lh_server *s = arg;

    s->crowd = s->stats.connections;
    lh_mem_trim();
}

static void trim_later(struct lh_server *s)
{
    if (s->crowd >= SERVE_CROWD && !lh_timer_is_armed(s->trim_timer))
        lh_timer_in(s->trim_timer, SERVE_TRIM_MS);
}

int lh_server_new(struct lh_loop *loop, struct lh_server **out, struct lh_err *err)
{
    struct lh_server *s;
    int rc;

    rc = lh_crypto_init(err);
    if (rc < 0)
        return rc;
    s = lh_calloc(1, sizeof(*s));
    if (!s)
        return lh_err_nomem(err);
    s->loop = loop;
    rc = lh_timer_new(loop, on_drain_timeout, s, &s->drain_timer, err);
    if (rc == 0)
        rc = lh_timer_new(loop, on_trim, s, &s->trim_timer, err);
    if (rc == 0)
        rc = context_new(s, err);
    if (rc == 0)
        rc = adopt_guest(s, err);
    if (rc < 0) {
        lh_server_free(s);
        return rc;
    }
    lh_loop_set_host(loop, host_run, host_wake, s);
    *out = s;
    return 0;
}

void lh_server_free(struct lh_server *s)
{
    if (!s)
        return;
    lh_loop_set_host(s->loop, NULL, NULL, NULL);
    s->drained = NULL;
    for (struct lh_listener *l = s->listeners; l; l = l->next)
        serve_listener_close(l);
    if (s->lws)
        lws_context_destroy(s->lws); /* each connection says goodbye by its callback */
    while (s->listeners) {
        struct lh_listener *l = s->listeners;

        s->listeners = l->next;
        serve_listener_free(l);
    }
    lh_timer_free(s->drain_timer);
    lh_timer_free(s->trim_timer);
    lh_free(s);
}

static void finish_drain(struct lh_server *s)
{
    lh_drained_fn done = s->drained;

    lh_timer_stop(s->drain_timer);
    s->drained = NULL;
    if (done)
        done(s->drained_arg);
}

static void kill_all(struct lh_server *s, bool quiet_only)
{
    for (struct lh_listener *l = s->listeners; l; l = l->next) {
        for (struct conn *c = l->conns, *next; c; c = next) {
            next = c->next;
            if (!quiet_only || serve_conn_is_quiet(c))
                serve_conn_kill(c);
        }
    }
}

static void on_drain_timeout(void *arg)
{
    struct lh_server *s = arg;

    kill_all(s, false);
    finish_drain(s);
}

void serve_connection_came(struct lh_server *s)
{
    s->stats.connections++;
    if (s->stats.connections > s->crowd)
        s->crowd = s->stats.connections;
    trim_later(s);
}

void serve_connection_gone(struct lh_server *s)
{
    s->stats.connections--;
    trim_later(s);
    /* Through the timer: the last connection may go inside a handler of its own. */
    if (s->draining && s->drained && s->stats.connections == 0)
        lh_timer_in(s->drain_timer, 0);
}

void lh_server_retire(struct lh_server *s)
{
    s->retiring = true;
}

void lh_server_drain(struct lh_server *s, unsigned grace_ms, lh_drained_fn done, void *arg)
{
    s->draining = true;
    s->drained = done;
    s->drained_arg = arg;
    for (struct lh_listener *l = s->listeners; l; l = l->next) {
        serve_listener_accept_rest(l);
        serve_listener_close(l);
    }
    lh_timer_in(s->drain_timer, s->stats.connections ? grace_ms : 0);
    kill_all(s, true);
}

void lh_server_stats(const struct lh_server *s, struct lh_server_stats *out)
{
    *out = s->stats;
}
