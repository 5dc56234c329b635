/* SPDX-License-Identifier: Apache-2.0 */
/* leasehold-agent: one configuration, one engine, until SIGTERM (sidecar) or the first publication
 * (init). */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "identity.h"
#include "leasehold/core/fs.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/proc.h"
#include "leasehold/core/secret.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/http/client.h"
#include "options.h"
#include "probe.h"
#include "status.h"

#define REGION_BYTES ((size_t)256 * 1024)
#define REVOKE_MS    1500 /* kubelet may leave a sidecar two seconds */
#define CAUSE_MAX    ((size_t)2048)

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct agent {
    struct agent_options o;
    struct lh_agentcfg *cfg;
    struct agent_identity identity;
    struct lh_loop *loop;
    struct lh_sink *sink;
    struct lh_engine *engine;
    struct lh_server *server;
    struct lh_signal *term, *interrupt;
    char *told; /* what the probe file says */
    bool once, ending;
};

static void tell_probe(struct agent *a)
{
    bool ready = lh_engine_is_ready(a->engine);
    lh_auto_buf struct lh_buf cause;
    lh_auto_free char *text = NULL;
    struct lh_err err = {0};

    if (!a->cfg->state_path)
        return;
    lh_buf_init(&cause, CAUSE_MAX);
    if (!ready)
        lh_engine_cause(a->engine, &cause);
    text = lh_asprintf("%d%s", ready, lh_buf_peek(&cause).n ? lh_buf_peek(&cause).p : "");
    if (a->told && text && strcmp(a->told, text) == 0)
        return;
    if (probe_write(a->cfg->state_path, ready, lh_buf_peek(&cause), &err) < 0)
        lh_log_warn("probe file not written", LH_F_ERR(&err));
    lh_free(a->told);
    a->told = LH_TAKE_PTR(text);
}

static void ended(void *arg)
{
    struct agent *a = arg;

    lh_loop_stop(a->loop);
}

static void end(struct agent *a, bool revoke)
{
    if (a->ending)
        return;
    a->ending = true;
    lh_engine_end(a->engine, revoke, REVOKE_MS, ended, a);
}

static void terminate(void *arg, int signo)
{
    struct agent *a = arg;

    lh_log_info("ending", LH_F_INT("signal", signo));
    end(a, !a->once && a->cfg->projection->revocation == LH_REVOKE);
}

static void ready(void *arg)
{
    struct agent *a = arg;

    lh_log_info("published", LH_F_STR("path", a->cfg->mount_path));
    tell_probe(a);
    if (a->once)
        end(a, false);
}

static void changed(void *arg)
{
    (void)arg;
    lh_log_info("published again");
}

static void failed(void *arg, const struct lh_err *err)
{
    lh_log_warn("will be tried again", LH_F_ERR(err));
    tell_probe(arg);
}

static int read_config(struct agent *a, struct lh_err *err)
{
    const char *env = getenv("LEASEHOLD_CONFIG");
    lh_auto_free char *text = NULL;
    size_t n = 0;
    int rc;

    if (!a->o.config) {
        if (!env)
            return lh_err_set(err, LH_E_INVALID, "give --config FILE or set LEASEHOLD_CONFIG");
        return lh_agentcfg_parse(lh_str(env), "LEASEHOLD_CONFIG", &a->cfg, err);
    }
    rc = lh_fs_read_at(AT_FDCWD, a->o.config, LH_AGENTCFG_MAX, &text, &n, err);
    return rc < 0 ? rc : lh_agentcfg_parse((struct lh_str){text, n}, a->o.config, &a->cfg, err);
}

static int init_log(struct agent *a, struct lh_err *err)
{
    const char *text = a->o.log_level ? a->o.log_level : a->cfg->log_level;
    enum lh_log_level level = LH_LOG_INFO;

    if (text && lh_log_level_parse(text, &level) < 0)
        return lh_err_set(err, LH_E_INVALID, "--log-level must be debug, info, warn, error or off");
    lh_log_init("leasehold-agent", level, STDERR_FILENO);
    return 0;
}

static int build(struct agent *a, struct lh_err *err)
{
    const char *uid = getenv("LEASEHOLD_POD_UID");
    int rc;

    /* A hand-written configuration comes from whoever runs the process: it may name loopback. */
    rc = agent_identity_init(&a->identity, a->loop, a->cfg, a->o.config != NULL, err);
    if (rc == 0)
        rc = lh_sink_folder(a->cfg->mount_path, (gid_t)-1, &a->sink, err);
    if (rc == 0) {
        const struct lh_engine_options eo = {
            .loop = a->loop,
            .store = a->cfg->store,
            .identity = &a->identity.id,
            .projection = a->cfg->projection,
            .default_mode = a->cfg->default_mode,
            .sink = a->sink,
            .notify = a->cfg->notify.kind == LH_NOTIFY_NONE ? NULL : &a->cfg->notify,
            .state_path = a->once ? NULL : a->cfg->state_path,
            .state_key = uid ? uid : a->cfg->pod,
            .once = a->once,
            .ready = ready,
            .changed = changed,
            .failed = failed,
            .arg = a,
        };

        rc = lh_engine_new(&eo, &a->engine, err);
    }
    if (rc == 0 && a->cfg->metrics_port > 0)
        rc = status_serve(a->loop, a->cfg->metrics_port, a->engine, &a->server, err);
    return rc;
}

static int run(struct agent *a, struct lh_err *err)
{
    int rc;

    rc = lh_secret_init(REGION_BYTES, err);
    if (rc == 0)
        rc = lh_crypto_init(err);
    if (rc == 0)
        rc = lh_http_global_init(err);
    if (rc == 0)
        rc = lh_loop_new(&a->loop, err);
    if (rc == 0)
        rc = lh_signal_new(a->loop, SIGTERM, terminate, a, &a->term, err);
    if (rc == 0)
        rc = lh_signal_new(a->loop, SIGINT, terminate, a, &a->interrupt, err);
    if (rc == 0)
        rc = build(a, err);
    if (rc < 0)
        return rc;
    tell_probe(a);
    lh_engine_start(a->engine);
    return lh_loop_run(a->loop, err);
}

static void finish(struct agent *a)
{
    lh_server_free(a->server);
    lh_engine_free(a->engine);
    if (a->sink)
        a->sink->free(a->sink);
    agent_identity_done(&a->identity);
    lh_signal_free(a->term);
    lh_signal_free(a->interrupt);
    lh_loop_free(a->loop);
    lh_agentcfg_free(a->cfg);
    lh_free(a->told);
    lh_metrics_reset();
}

static void print_table(void (*write)(const struct lh_opt_set *set, struct lh_buf *b))
{
    lh_auto_buf struct lh_buf b;
    struct lh_str s;

    lh_buf_init(&b, (size_t)64 * 1024);
    write(&agent_option_set, &b);
    s = lh_buf_peek(&b);
    fwrite(s.p, 1, s.n, stdout);
}

static void man(const struct lh_opt_set *set, struct lh_buf *b)
{
    lh_conf_man(set,
                "Logs in to the secret manager as the Pod's own ServiceAccount, renders secrets "
                "into memory files, renews "
                "and replaces them before they end, tells the application, and revokes at the end. "
                "Exit status: 0 done, "
                "1 failed (as ready: not ready), 2 wrong options or configuration.",
                b);
}

static int agent_main(struct agent *a)
{
    struct lh_err err = {0};
    int rc;

    lh_json_init();
    rc = read_config(a, &err);
    if (rc == 0)
        rc = init_log(a, &err);
    if (rc < 0) {
        fprintf(stderr, "leasehold-agent: %s\n", err.msg);
        finish(a);
        return EXIT_USAGE;
    }
    a->once = a->o.once || a->cfg->mode == LH_AGENT_INIT;
    if (!a->o.check_config)
        rc = run(a, &err);
    if (rc < 0)
        lh_log_error("stopped", LH_F_ERR(&err));
    else if (a->once && !a->o.check_config && !lh_engine_is_ready(a->engine))
        rc = -1; /* ended by a signal before anything was there */
    finish(a);
    return rc < 0 ? EXIT_FAILED : EXIT_OK;
}

int main(int argc, char **argv)
{
    struct agent a = {0};
    struct lh_conf *conf = NULL;
    const char *const *args = NULL;
    struct lh_err err = {0};
    int rc;

    lh_mem_init();
    rc = lh_proc_harden(&err);
    if (rc == 0)
        rc = lh_conf_parse(&agent_option_set, argc, argv, NULL, &a.o, &conf, &args, &err);
    if (rc == 0 && args[0] && (strcmp(args[0], "ready") != 0 || args[1]))
        rc = lh_err_set(&err, LH_E_INVALID, "unexpected argument; the only one there is is: ready");
    if (rc < 0) {
        fprintf(stderr, "leasehold-agent: %s\n", err.msg);
        lh_conf_free(conf);
        return EXIT_USAGE;
    }
    if (a.o.help)
        print_table(lh_conf_help);
    else if (a.o.man)
        print_table(man);
    else if (a.o.version)
        puts("leasehold-agent " LH_VERSION);
    else
        rc = args[0] ? probe_ask(a.o.state) : agent_main(&a);
    lh_conf_free(conf);
    return rc;
}
