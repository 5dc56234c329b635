/* SPDX-License-Identifier: Apache-2.0 */
/* leasehold-agent: a Pod's secrets as memory files, from login to revocation. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/proc.h"
#include "leasehold/core/process_metrics.h"
#include "leasehold/core/secret.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/http/client.h"
#include "options.h"
#include "ready.h"
#include "run.h"
#include "status.h"

#define REGION_BYTES ((size_t)256 * 1024)

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static int fail(int status, const struct lh_err *err)
{
    fprintf(stderr, "leasehold-agent: %s\n", err->msg);
    return status;
}

static int print(const struct lh_buf *b)
{
    struct lh_str s = lh_buf_peek(b);

    return fwrite(s.p, 1, s.n, stdout) == s.n ? EXIT_OK : EXIT_FAILED;
}

static int print_docs(const char *page)
{
    const struct lh_metric *const tables[] = {lh_engine_metrics, lh_process_metrics, NULL};
    lh_auto_buf struct lh_buf b;
    struct lh_err err = {0};

    lh_buf_init(&b, (size_t)256 * 1024);
    if (!page)
        lh_conf_help(&agent_option_set, &b);
    else if (lh_conf_docs(&agent_option_set, page, agent_description, tables, &b, &err) < 0)
        return fail(EXIT_USAGE, &err);
    return print(&b);
}

/* Kubelet shows what it prints. */
static int probe(const struct lh_agentcfg *cfg)
{
    lh_auto_buf struct lh_buf b;

    lh_buf_init(&b, 4096);
    if (ready_probe(cfg, &b))
        return EXIT_OK;
    puts(lh_buf_peek(&b).p);
    return EXIT_FAILED;
}

static void set_log_level(const struct agent_options *o, const struct lh_agentcfg *cfg)
{
    const char *word = o->log_level ? o->log_level : cfg->log_level;
    enum lh_log_level level = LH_LOG_INFO;

    if (word && lh_log_level_parse(word, &level) < 0)
        level = LH_LOG_INFO;
    lh_log_init("leasehold-agent", level, STDERR_FILENO);
}

static int live(const struct agent_options *o, const struct lh_agentcfg *cfg)
{
    const struct agent_run_options run = {.cfg = cfg,
                                          .once = o->once,
                                          .allow_loopback = o->config != NULL,
                                          .pod_uid = getenv(AGENT_ENV_POD_UID)};
    struct lh_err err = {0};
    int rc;

    set_log_level(o, cfg);
    rc = lh_secret_init(REGION_BYTES, &err);
    if (rc == 0)
        rc = lh_crypto_init(&err);
    if (rc == 0)
        rc = lh_http_global_init(&err);
    if (rc == 0)
        rc = agent_run(&run, &err);
    if (rc < 0)
        lh_log_error("stopped", LH_F_ERR(&err));
    return rc < 0 ? EXIT_FAILED : EXIT_OK;
}

static int dispatch(const struct agent_options *o, const char *const *args)
{
    bool is_probe = args[0] && lh_str_eqz(lh_str(args[0]), "ready");
    struct lh_agentcfg *cfg = NULL;
    enum lh_log_level level;
    struct lh_err err = {0};
    int rc = 0, status;

    if (args[0] && (!is_probe || args[1]))
        rc = lh_err_set(&err, LH_E_INVALID, "unexpected argument; the only one is \"ready\"");
    else if (o->log_level && lh_log_level_parse(o->log_level, &level) < 0)
        rc = lh_err_set(&err, LH_E_INVALID, "--log-level must be debug, info, warn, error or off");
    if (rc == 0)
        rc = agent_config_load(o, &cfg, &err);
    if (rc < 0)
        return fail(EXIT_USAGE, &err);
    if (o->check_config)
        status = EXIT_OK;
    else
        status = is_probe ? probe(cfg) : live(o, cfg);
    lh_agentcfg_free(cfg);
    return status;
}

int main(int argc, char **argv)
{
    struct agent_options o = {0};
    struct lh_conf *conf = NULL;
    const char *const *args = NULL;
    struct lh_err err = {0};
    int status;

    lh_mem_init();
    if (lh_proc_harden(&err) < 0)
        return fail(EXIT_FAILED, &err);
    lh_json_init();
    if (lh_conf_parse(&agent_option_set, argc, argv, NULL, &o, &conf, &args, &err) < 0)
        return fail(EXIT_USAGE, &err);
    if (o.help || o.docs)
        status = print_docs(o.docs);
    else if (o.version)
        status = puts("leasehold-agent " LH_VERSION) < 0 ? EXIT_FAILED : EXIT_OK;
    else
        status = dispatch(&o, args);
    lh_conf_free(conf);
    return status;
}
