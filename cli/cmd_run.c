/* SPDX-License-Identifier: Apache-2.0 */
/* leasehold run: the agent's engine from the shell, over YAML files. */
#include "cmd_run.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "leasehold/codec/conf.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/engine/engine.h"
#include "leasehold/http/client.h"
#include "leasehold/objects/objects.h"
#include "run_identity.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, END_MS = 1500 };

struct options {
    const char *file, *stores, *root, *token_file, *jwt_file, *ca_file, *cluster, *log_level;
    bool once, help;
};

#define AT(field) offsetof(struct options, field)

static const struct lh_opt opts[] = {
    {"file", 'f', LH_OPT_STRING, "FILE", NULL, "SecretProjection to publish (YAML or JSON).", false,
     AT(file)},
    {"stores", 0, LH_OPT_STRING, "FILE_OR_DIR", NULL,
     "SecretStores and ClusterSecretStores, and the Namespaces and Secrets that they need.", false,
     AT(stores)},
    {"root", 0, LH_OPT_STRING, "DIR", NULL, "Folder to publish in; made if it is missing.", false,
     AT(root)},
    {"once", 0, LH_OPT_BOOL, NULL, NULL,
     "Publish once and exit without revoking; what is refused ends with exit status 1.", false,
     AT(once)},
    {"auth-token-file", 0, LH_OPT_STRING, "FILE", NULL,
     "Use the manager's token in FILE instead of the store's method.", false, AT(token_file)},
    {"auth-jwt-file", 0, LH_OPT_STRING, "FILE", NULL,
     "Log in with the JWT in FILE where the store says jwt or kubernetes.", false, AT(jwt_file)},
    {"ca-file", 0, LH_OPT_STRING, "FILE", NULL,
     "CA certificates (PEM), re-read when they change, instead of the store's.", false,
     AT(ca_file)},
    {"cluster", 0, LH_OPT_STRING, "NAME", NULL, "What {cluster} in the store stands for.", false,
     AT(cluster)},
    {"log-level", 0, LH_OPT_STRING, "LEVEL", "info", "debug, info, warn, error or off.", true,
     AT(log_level)},
    {"help", 'h', LH_OPT_BOOL, NULL, NULL, "Print this help and exit.", false, AT(help)},
    {0},
};

const struct lh_opt_set cmd_run_option_set = {
    .program = "leasehold run",
    .usage = "leasehold run -f FILE --stores FILE_OR_DIR --root DIR [--once] "
             "[--auth-token-file FILE | --auth-jwt-file FILE]",
    .summary = "Publishes one SecretProjection in a folder and keeps it fresh, without a cluster.",
    .opts = opts,
};

struct run {
    struct options o;
    struct lh_loop *loop;
    struct lh_objects *stores, *files;
    const struct lh_projection *projection;
    struct lh_store *store;
    struct run_identity identity;
    struct lh_sink *sink;
    struct lh_engine *engine;
    struct lh_signal *term, *interrupt;
    struct lh_err refused; /* --once: why it cannot succeed */
    bool ending;
};

static int check_options(const struct options *o, struct lh_err *err)
{
    enum lh_log_level level;

    if (!o->file || !o->stores || !o->root)
        return lh_err_set(err, LH_E_INVALID, "-f, --stores and --root are needed");
    if (o->token_file && o->jwt_file)
        return lh_err_set(err, LH_E_INVALID, "give --auth-token-file or --auth-jwt-file, not both");
    if (lh_log_level_parse(o->log_level, &level) < 0)
        return lh_err_set(err, LH_E_INVALID, "--log-level must be debug, info, warn, error or off");
    return 0;
}

static void ended(void *arg)
{
    struct run *r = arg;

    lh_loop_stop(r->loop);
}

static void end(struct run *r, bool revoke)
{
    if (r->ending)
        return;
    r->ending = true;
    lh_engine_end(r->engine, revoke, END_MS, ended, r);
}

static void on_signal(void *arg, int signo)
{
    struct run *r = arg;

    if (r->ending)
        lh_loop_stop(r->loop);
    lh_log_info("ending", LH_F_INT("signal", signo));
    end(r, !r->o.once || !lh_engine_is_ready(r->engine));
}

static void on_ready(void *arg)
{
    struct run *r = arg;

    lh_log_info("secrets published", LH_F_STR("projection", r->projection->name),
                LH_F_STR("root", r->o.root));
    if (r->o.once)
        end(r, false);
}

static void on_changed(void *arg)
{
    struct run *r = arg;

    lh_log_info("secrets changed", LH_F_STR("projection", r->projection->name));
}

/* Somebody has to mend these first: a command that is run once does not wait for that. */
static bool is_refusal(const struct lh_err *err)
{
    return err->code == LH_E_DENIED || err->code == LH_E_NOTFOUND || err->code == LH_E_INVALID ||
           err->code == LH_E_TOOBIG;
}

static void on_failed(void *arg, const struct lh_err *err)
{
    struct run *r = arg;

    if (r->ending)
        return;
    if (r->o.once && is_refusal(err)) {
        r->refused = *err;
        end(r, true);
        return;
    }
    lh_log_warn("attempt failed", LH_F_STR("store", r->store->name), LH_F_ERR(err));
}

static int find_projection(struct run *r, struct lh_err *err)
{
    const struct lh_projection *const *all;
    size_t n;
    int rc = lh_objects_from_files(NULL, r->o.file, NULL, &r->files, err);

    if (rc < 0)
        return rc;
    all = lh_objects_projections(r->files, &n);
    if (n != 1)
        return lh_err_set(err, LH_E_INVALID, "%s holds %zu SecretProjections; one is needed",
                          r->o.file, n);
    r->projection = all[0];
    return 0;
}

static const char *namespace_of(const struct run *r)
{
    return r->projection->namespace_ ? r->projection->namespace_ : "default";
}

/* Without a storeRef: the only store that admits the namespace. */
static int only_store(struct run *r, const struct lh_namespace *ns, struct lh_err *err)
{
    struct lh_store *const *all;
    unsigned admits = 0;
    size_t n;

    all = lh_objects_stores(r->stores, &n);
    for (size_t i = 0; i < n; i++) {
        if (lh_allow_namespace(all[i], ns, NULL) < 0)
            continue;
        admits++;
        r->store = all[i];
    }
    if (admits == 1)
        return 0;
    return lh_err_set(err, LH_E_INVALID, "%u stores in %s admit namespace \"%s\": name one in %s",
                      admits, r->o.stores, ns->name, "storeRef");
}

static int find_store(struct run *r, struct lh_namespace *ns, struct lh_err *err)
{
    const struct lh_projection *p = r->projection;
    int rc = lh_objects_from_files(NULL, r->o.stores, NULL, &r->stores, err);

    if (rc < 0)
        return rc;
    if (!lh_objects_namespace(r->stores, namespace_of(r), ns))
        *ns = (struct lh_namespace){.name = namespace_of(r)};
    if (!p->has_store)
        return only_store(r, ns, err);
    r->store = lh_objects_store(r->stores, p->store_cluster_scoped, namespace_of(r), p->store_name);
    if (!r->store)
        return lh_err_set(err, LH_E_NOTFOUND, "%s \"%s\" is not in %s",
                          p->store_cluster_scoped ? "ClusterSecretStore" : "SecretStore",
                          p->store_name, r->o.stores);
    return 0;
}

static int open_folder(struct run *r, struct lh_err *err)
{
    if (mkdir(r->o.root, 0700) < 0 && errno != EEXIST)
        return lh_err_os(err, errno, "make the folder %s", r->o.root);
    return lh_sink_folder(r->o.root, (gid_t)-1, &r->sink, err);
}

static int open_identity(struct run *r, struct lh_err *err)
{
    struct lh_namespace ns;
    int rc = find_projection(r, err);

    if (rc == 0)
        rc = find_store(r, &ns, err);
    if (rc < 0)
        return rc;
    const struct run_identity_options o = {
        .loop = r->loop,
        .objects = r->stores,
        .store = r->store,
        .token_file = r->o.token_file,
        .jwt_file = r->o.jwt_file,
        .ca_file = r->o.ca_file,
        .role = r->projection->role,
        .namespace_labels = ns.labels,
        .subject = {.cluster = r->o.cluster,
                    .namespace_ = namespace_of(r),
                    .service_account = r->projection->service_account
                                           ? r->projection->service_account
                                           : "default"},
    };

    return run_identity_init(&r->identity, &o, err);
}

static int run_open(struct run *r, struct lh_err *err)
{
    int rc = lh_loop_new(&r->loop, err);

    if (rc == 0)
        rc = lh_signal_new(r->loop, SIGTERM, on_signal, r, &r->term, err);
    if (rc == 0)
        rc = lh_signal_new(r->loop, SIGINT, on_signal, r, &r->interrupt, err);
    if (rc == 0)
        rc = open_identity(r, err);
    if (rc == 0)
        rc = open_folder(r, err);
    if (rc < 0)
        return rc;
    const struct lh_engine_options e = {
        .loop = r->loop,
        .store = r->store,
        .identity = &r->identity.id,
        .projection = r->projection,
        .default_mode = 0440,
        .sink = r->sink,
        .once = r->o.once,
        .ready = on_ready,
        .changed = on_changed,
        .failed = on_failed,
        .arg = r,
    };

    return lh_engine_new(&e, &r->engine, err);
}

static void run_close(struct run *r)
{
    lh_engine_free(r->engine);
    if (r->sink)
        r->sink->free(r->sink);
    run_identity_done(&r->identity);
    lh_objects_free(r->files);
    lh_objects_free(r->stores);
    lh_signal_free(r->term);
    lh_signal_free(r->interrupt);
    lh_loop_free(r->loop);
}

static int run(struct run *r, struct lh_err *err)
{
    int rc = lh_crypto_init(err);

    if (rc == 0)
        rc = lh_http_global_init(err);
    if (rc == 0)
        rc = run_open(r, err);
    if (rc == 0) {
        lh_engine_start(r->engine);
        rc = lh_loop_run(r->loop, err);
    }
    if (rc == 0 && r->refused.code) {
        *err = r->refused;
        rc = -r->refused.code;
    }
    run_close(r);
    return rc;
}

static int print_help(void)
{
    lh_auto_buf struct lh_buf b;
    struct lh_str s;

    lh_buf_init(&b, (size_t)64 * 1024);
    lh_conf_help(&cmd_run_option_set, &b);
    s = lh_buf_peek(&b);
    return fwrite(s.p, 1, s.n, stdout) == s.n ? EXIT_OK : EXIT_FAILED;
}

int cmd_run(int argc, char **argv)
{
    struct run r = {0};
    struct lh_conf *conf = NULL;
    const char *const *args = NULL;
    enum lh_log_level level = LH_LOG_INFO;
    struct lh_err err = {0};
    int rc = lh_conf_parse(&cmd_run_option_set, argc, argv, NULL, &r.o, &conf, &args, &err);

    if (rc == 0 && r.o.help) {
        lh_conf_free(conf);
        return print_help();
    }
    if (rc == 0 && args[0])
        rc =
            lh_err_set(&err, LH_E_INVALID, "unexpected argument; leasehold run takes options only");
    if (rc == 0)
        rc = check_options(&r.o, &err);
    if (rc < 0) {
        fprintf(stderr, "leasehold run: %s\n", err.msg);
        lh_conf_free(conf);
        return EXIT_USAGE;
    }
    lh_log_level_parse(r.o.log_level, &level);
    lh_log_init("leasehold", level, STDERR_FILENO);
    rc = run(&r, &err);
    if (rc < 0)
        fprintf(stderr, "leasehold run: %s%s%s\n", err.reason ? err.reason : "",
                err.reason ? ": " : "", err.msg);
    lh_conf_free(conf);
    return rc < 0 ? EXIT_FAILED : EXIT_OK;
}
