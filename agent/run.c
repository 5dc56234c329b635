/* SPDX-License-Identifier: Apache-2.0 */
#include "run.h"

#include <signal.h>

#include "identity.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "leasehold/engine/engine.h"
#include "ready.h"
#include "status.h"

/* A native sidecar may get 2 s before SIGKILL. */
enum { END_MS = 1500 };

/* A connection costs 80 KiB and a handshake (1.2 ms) as long as it lives: two are enough for a slow
 * answer not to hold up a fast one. */
enum { PARALLEL = 2 };

struct agent {
    const struct agent_run_options *o;
    const struct lh_agentcfg *cfg;
    struct lh_loop *loop;
    struct agent_identity identity;
    struct lh_sink *sink;
    struct lh_engine *engine;
    struct ready_gate gate;
    struct agent_status *status;
    struct lh_signal *term, *interrupt;
    lh_ms started_at;
    bool once, ending;
};

static void ended(void *arg)
{
    struct agent *a = arg;

    lh_loop_stop(a->loop);
}

static void end(struct agent *a, bool revoke)
{
    if (a->ending) {
        lh_loop_stop(a->loop); /* asked twice: no more patience */
        return;
    }
    a->ending = true;
    lh_engine_end(a->engine, revoke, END_MS, ended, a);
}

static void on_signal(void *arg, int signo)
{
    struct agent *a = arg;

    lh_log_info("ending", LH_F_INT("signal", signo));
    /* What an init container has published is used after it; what it has not is of no use. */
    end(a, !a->once || !lh_engine_is_ready(a->engine));
}

static void on_ready(void *arg)
{
    struct agent *a = arg;

    lh_log_info("secrets published", LH_F_INT("took_ms", lh_clock_now() - a->started_at),
                LH_F_INT("items", a->cfg->projection->n_items));
    ready_gate_open(&a->gate);
    if (a->once)
        end(a, false);
}

static void on_changed(void *arg)
{
    (void)arg;
    lh_log_info("secrets changed");
}

static void on_failed(void *arg, const struct lh_err *err)
{
    struct agent *a = arg;
    lh_auto_buf struct lh_buf cause;

    lh_log_warn("attempt failed", LH_F_STR("store", a->cfg->store->name), LH_F_ERR(err));
    lh_buf_init(&cause, sizeof(a->gate.last));
    lh_engine_cause(a->engine, &cause);
    ready_gate_say(&a->gate, lh_buf_peek(&cause).p);
}

static int engine_open(struct agent *a, struct lh_err *err)
{
    const struct lh_engine_options opts = {
        .loop = a->loop,
        .provider = a->o->provider,
        .store = a->cfg->store,
        .identity = &a->identity.id,
        .projection = a->cfg->projection,
        .default_mode = a->cfg->default_mode,
        .sink = a->sink,
        .notify = a->once ? NULL : &a->cfg->notify,
        .state_path = a->cfg->state_path,
        .state_key = a->o->pod_uid ? a->o->pod_uid : a->cfg->pod,
        .once = a->once,
        .parallel = PARALLEL,
        .ready = on_ready,
        .changed = on_changed,
        .failed = on_failed,
        .arg = a,
    };

    return lh_engine_new(&opts, &a->engine, err);
}

static int agent_open(struct agent *a, struct lh_err *err)
{
    int rc = lh_loop_new(&a->loop, err);

    if (rc == 0)
        rc = lh_signal_new(a->loop, SIGTERM, on_signal, a, &a->term, err);
    if (rc == 0)
        rc = lh_signal_new(a->loop, SIGINT, on_signal, a, &a->interrupt, err);
    if (rc == 0)
        rc = ready_gate_init(&a->gate, a->cfg->state_path, err);
    if (rc == 0)
        rc = agent_identity_init(&a->identity, a->loop, a->cfg, a->o->allow_loopback, err);
    if (rc == 0)
        rc = lh_sink_folder(a->cfg->mount_path, (gid_t)-1, &a->sink, err);
    if (rc == 0)
        rc = engine_open(a, err);
    if (rc == 0 && a->cfg->metrics_port && !a->once)
        rc = agent_status_new(a->loop, a->engine, (unsigned)a->cfg->metrics_port, &a->status, err);
    return rc;
}

static void agent_close(struct agent *a)
{
    agent_status_free(a->status);
    lh_engine_free(a->engine);
    if (a->sink)
        a->sink->free(a->sink);
    agent_identity_done(&a->identity);
    ready_gate_done(&a->gate);
    lh_signal_free(a->term);
    lh_signal_free(a->interrupt);
    lh_loop_free(a->loop);
}

int agent_run(const struct agent_run_options *o, struct lh_err *err)
{
    struct agent a = {.o = o,
                      .cfg = o->cfg,
                      .gate = {.dir = -1},
                      .started_at = lh_clock_now(),
                      .once = o->once || o->cfg->mode == LH_AGENT_INIT};
    int rc = agent_open(&a, err);

    if (rc == 0) {
        lh_auto_buf struct lh_buf cause;

        lh_buf_init(&cause, sizeof(a.gate.last));
        lh_engine_cause(a.engine, &cause);
        ready_gate_say(&a.gate, lh_buf_peek(&cause).p);
        lh_engine_start(a.engine);
        rc = lh_loop_run(a.loop, err);
    }
    agent_close(&a);
    return rc;
}
