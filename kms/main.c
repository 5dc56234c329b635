/* SPDX-License-Identifier: Apache-2.0 */
/* leasehold-kms: the API server's data keys, wrapped by a key of the secret manager. */
#include <stdio.h>
#include <unistd.h>

#include "leasehold/codec/json.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/proc.h"
#include "leasehold/core/process_metrics.h"
#include "leasehold/core/secret.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/http/client.h"
#include "listen.h"
#include "metrics.h"
#include "run.h"

/* A thousand seeds, and the answers in flight. */
#define REGION_BYTES ((size_t)512 * 1024)

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static int fail(int status, const struct lh_err *err)
{
    fprintf(stderr, "leasehold-kms: %s\n", err->msg);
    return status;
}

static int print_docs(const char *page)
{
    const struct lh_metric *const tables[] = {kms_metrics, lh_process_metrics, NULL};
    lh_auto_buf struct lh_buf b;
    struct lh_err err = {0};
    struct lh_str s;

    lh_buf_init(&b, (size_t)256 * 1024);
    if (!page)
        lh_conf_help(&kms_option_set, &b);
    else if (lh_conf_docs(&kms_option_set, page, kms_description, tables, &b, &err) < 0)
        return fail(EXIT_USAGE, &err);
    s = lh_buf_peek(&b);
    return fwrite(s.p, 1, s.n, stdout) == s.n ? EXIT_OK : EXIT_FAILED;
}

static int init_libraries(struct lh_err *err)
{
    int rc = lh_secret_init(REGION_BYTES, err);

    if (rc == 0)
        rc = lh_crypto_init(err);
    if (rc == 0)
        rc = lh_http_global_init(err);
    return rc;
}

static void warn_unlocked(void)
{
    struct lh_secret_stats stats;

    lh_secret_stats(&stats);
    if (lh_str_eqz(lh_str(stats.kind), "unlocked"))
        lh_log_warn("seeds may be swapped: no memory could be locked; raise RLIMIT_MEMLOCK");
}

static int live(const struct kms_options *o)
{
    struct lh_err err = {0};
    int rc;

    if (o->hold) {
        rc = kms_hold(o->listen, o->control, (uid_t)o->peer_uid, &err);
    } else {
        rc = init_libraries(&err);
        if (rc == 0)
            warn_unlocked();
        if (rc == 0)
            rc = kms_run(o, &err);
    }
    if (rc < 0)
        lh_log_error("stopped", LH_F_ERR(&err));
    return rc < 0 ? EXIT_FAILED : EXIT_OK;
}

static int check(const struct kms_options *o)
{
    struct lh_err err = {0};
    int rc = o->hold ? 0 : init_libraries(&err);

    if (rc == 0 && !o->hold)
        rc = kms_check(o, &err);
    return rc < 0 ? fail(EXIT_USAGE, &err) : EXIT_OK;
}

static int dispatch(const struct kms_options *o, const char *const *args)
{
    enum lh_log_level level = LH_LOG_INFO;
    struct lh_err err = {0};
    int rc;

    if (args[0])
        rc = lh_err_set(&err, LH_E_INVALID, "unexpected argument");
    else
        rc = kms_options_check(o, &err);
    if (rc < 0)
        return fail(EXIT_USAGE, &err);
    (void)lh_log_level_parse(o->log_level, &level);
    lh_log_init("leasehold-kms", level, STDERR_FILENO);
    return o->check_config ? check(o) : live(o);
}

int main(int argc, char **argv)
{
    struct kms_options o = {0};
    struct lh_conf *conf = NULL;
    const char *const *args = NULL;
    struct lh_err err = {0};
    int status;

    lh_mem_init();
    if (lh_proc_harden(&err) < 0)
        return fail(EXIT_FAILED, &err);
    lh_json_init();
    if (lh_conf_parse(&kms_option_set, argc, argv, NULL, &o, &conf, &args, &err) < 0)
        return fail(EXIT_USAGE, &err);
    if (o.help || o.docs)
        status = print_docs(o.docs);
    else if (o.version)
        status = puts("leasehold-kms " LH_VERSION) < 0 ? EXIT_FAILED : EXIT_OK;
    else
        status = dispatch(&o, args);
    lh_conf_free(conf);
    return status;
}
