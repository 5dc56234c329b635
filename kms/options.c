/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <stddef.h>
#include <string.h>

#include "key.h"
#include "leasehold/core/log.h"
#include "leasehold/core/netaddr.h"

#define AT(field) offsetof(struct kms_options, field)

static const struct lh_opt opts[] = {
    {"listen", 0, LH_OPT_STRING, "PATH|fd", NULL,
     "Socket to serve on, or \"fd\": the one that systemd hands over (LISTEN_FDS).", true,
     AT(listen)},
    {"from-holder", 0, LH_OPT_STRING, "PATH", NULL,
     "Instead of --listen: take the listening socket from the holder at this control socket.", true,
     AT(from_holder)},
    {"store", 0, LH_OPT_STRING, "FILE", NULL,
     "SecretStore (YAML) that says where the manager is and how to log in.", true, AT(store)},
    {"transit-mount", 0, LH_OPT_STRING, "MOUNT", "transit", "Mount of the Transit engine.", true,
     AT(mount)},
    {"key", 0, LH_OPT_STRING, "NAME", NULL, "Name of the Transit key.", true, AT(key)},
    {"cluster", 0, LH_OPT_STRING, "NAME", NULL,
     "Name of this cluster; bound to everything that is encrypted, and never to be changed.", true,
     AT(cluster)},
    {"local-key", 0, LH_OPT_STRING, "FILE", NULL,
     "Instead of --store: keys of a file, a line \"NAME BASE64\" of 32 bytes each; the first "
     "encrypts. For tests and small clusters.",
     true, AT(local_key)},
    {"generation", 0, LH_OPT_INT, "N", "0",
     "Raise it by one when you return to a key that was left before, so that its key_id is new.",
     true, AT(generation)},
    {"credentials", 0, LH_OPT_STRING, "DIR", NULL,
     "Folder with the store's secret as files: the secret id or token under its key, or tls.crt "
     "and tls.key. Read again at each login.",
     true, AT(credentials)},
    {"jwt-file", 0, LH_OPT_STRING, "FILE", NULL,
     "JWT for a store with auth.jwt. Read again at each login.", true, AT(jwt_file)},
    {"ca-file", 0, LH_OPT_STRING, "FILE", NULL,
     "CA of the manager where the store names a ConfigMap. Read again when it changes.", true,
     AT(ca_file)},
    {"service-cidr", 0, LH_OPT_STRING, "CIDR[,CIDR]", NULL,
     "The cluster's own Service addresses: a manager behind one of them is warned of.", true,
     AT(service_cidr)},
    {"peer-uid", 0, LH_OPT_INT, "UID", "0",
     "User of the API server: nobody else may connect, root apart.", true, AT(peer_uid)},
    {"cache-entries", 0, LH_OPT_INT, "N", "1000",
     "Decrypted seeds kept in locked memory; 0: none, and no read survives an outage.", true,
     AT(cache_entries)},
    {"cache-age", 0, LH_OPT_DURATION, "DURATION", "24h", "How long a seed is kept.", true,
     AT(cache_age_ms)},
    {"probe-interval", 0, LH_OPT_DURATION, "DURATION", "1m",
     "Between two looks at the key; half of it while a new version settles.", true, AT(probe_ms)},
    {"settle-delay", 0, LH_OPT_DURATION, "DURATION", "2m",
     "How long a new version must have been seen before it is advertised; longer than "
     "--probe-interval of every plugin of the cluster.",
     true, AT(settle_ms)},
    {"settle-observations", 0, LH_OPT_INT, "N", "3",
     "How often in a row it must have been seen, besides.", true, AT(settle_seen)},
    {"metrics", 0, LH_OPT_STRING, "ADDR:PORT", NULL,
     "Serve /metrics, /status, /healthz and /readyz here.", true, AT(metrics)},
    {"hold", 0, LH_OPT_BOOL, NULL, NULL,
     "Be the holder: own the socket at --listen, and hand it to workers that ask at --control.",
     false, AT(hold)},
    {"control", 0, LH_OPT_STRING, "PATH", NULL, "With --hold: where workers ask.", true,
     AT(control)},
    {"check-config", 0, LH_OPT_BOOL, NULL, NULL, "Check options, store and files, then exit.",
     false, AT(check_config)},
    {"log-level", 0, LH_OPT_STRING, "LEVEL", "info", "debug, info, warn, error or off.", true,
     AT(log_level)},
    {"version", 0, LH_OPT_BOOL, NULL, NULL, "Print the version and exit.", false, AT(version)},
    {"docs", 0, LH_OPT_STRING, "PAGE", NULL,
     "Print a page of documentation (man, flags, metrics) and exit.", false, AT(docs)},
    {"help", 'h', LH_OPT_BOOL, NULL, NULL, "Print this help and exit.", false, AT(help)},
    {0},
};

const struct lh_opt_set kms_option_set = {
    .program = "leasehold-kms",
    .usage = "leasehold-kms --listen PATH|fd --store FILE --key NAME --cluster NAME\n"
             "       leasehold-kms --listen PATH|fd --local-key FILE --cluster NAME\n"
             "       leasehold-kms --hold --listen PATH --control PATH",
    .summary = "Kubernetes KMS v2 plugin: wraps the API server's data keys with a key of the "
               "secret manager.",
    .opts = opts,
};

const char kms_description[] =
    "Serves Status, Encrypt and Decrypt of Kubernetes' KMS v2 on a UNIX socket. The key stays in "
    "the Transit engine of Vault or OpenBao; decrypted seeds are kept in locked memory, so that "
    "an API server can read while the manager is away. A new version of the key is advertised "
    "once every plugin of the cluster has had time to see it. With --hold it only owns the "
    "listening socket and hands it to the plugin, so that no connection is ever refused while the "
    "plugin is replaced. Exit status: 0 ended by a signal; 1 failed; 2 wrong options or files.";

static int need(bool ok, const char *text, struct lh_err *err)
{
    return ok ? 0 : lh_err_set(err, LH_E_INVALID, "%s", text);
}

static int check_ranges(const struct kms_options *o, struct lh_err *err)
{
    enum lh_log_level level;
    int rc = need(o->generation >= 0 && o->generation <= KMS_GENERATIONS_MAX,
                  "--generation must be from 0 to 99", err);

    if (rc == 0)
        rc = need(o->cache_entries >= 0 && o->cache_entries <= 100000,
                  "--cache-entries must be from 0 to 100000", err);
    if (rc == 0)
        rc = need(o->cache_age_ms > 0, "--cache-age must be more than 0", err);
    if (rc == 0)
        rc = need(o->probe_ms >= 1000 && o->probe_ms <= 3600000,
                  "--probe-interval must be from 1s to 1h", err);
    if (rc == 0)
        rc = need(o->settle_ms >= 0 && o->settle_seen >= 1,
                  "--settle-delay must not be negative, --settle-observations at least 1", err);
    if (rc == 0)
        rc = need(o->peer_uid >= 0 && o->peer_uid < UINT32_MAX, "--peer-uid must be a uid", err);
    if (rc == 0)
        rc = need(lh_log_level_parse(o->log_level, &level) == 0,
                  "--log-level must be debug, info, warn, error or off", err);
    return rc;
}

static int check_holder(const struct kms_options *o, struct lh_err *err)
{
    int rc = need(o->listen && strcmp(o->listen, "fd") != 0 && o->control,
                  "--hold needs --listen PATH and --control PATH", err);

    if (rc == 0)
        rc = need(!o->store && !o->local_key && !o->from_holder && !o->metrics,
                  "--hold takes --listen, --control and --peer-uid, and knows no key", err);
    return rc;
}

static int check_backend(const struct kms_options *o, struct lh_err *err)
{
    int rc = need((o->store != NULL) != (o->local_key != NULL),
                  "give either --store FILE or --local-key FILE", err);

    if (rc == 0)
        rc = need(o->cluster && *o->cluster && strlen(o->cluster) <= 253,
                  "give --cluster NAME: what is encrypted is bound to it", err);
    if (rc == 0)
        rc = need(!o->store || (o->key && *o->key),
                  "--store needs --key NAME, the name of the Transit key", err);
    if (rc == 0)
        rc = need(!o->local_key || (!o->key && !o->credentials && !o->jwt_file),
                  "--local-key stands alone: leave out --key, --credentials and --jwt-file", err);
    return rc;
}

int kms_options_check(const struct kms_options *o, struct lh_err *err)
{
    int rc = check_ranges(o, err);

    if (rc < 0 || o->hold)
        return rc < 0 ? rc : check_holder(o, err);
    rc = need((o->listen != NULL) != (o->from_holder != NULL),
              "give either --listen PATH|fd or --from-holder PATH", err);
    if (rc == 0)
        rc = need(!o->control, "--control is for --hold", err);
    return rc < 0 ? rc : check_backend(o, err);
}
