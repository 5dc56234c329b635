/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <string.h>

#include "leasehold/core/log.h"
#include "options.h"

#define AT(field) offsetof(struct webhook_options, field)

static const struct lh_opt opts[] = {
    {"listen", 0, LH_OPT_STRING, "ADDR:PORT", ":8443",
     "Where admission reviews are served over HTTPS.", false, AT(listen)},
    {"metrics", 0, LH_OPT_STRING, "ADDR:PORT", NULL,
     "Where /metrics is served over HTTP; off if left out.", false, AT(metrics)},
    {"tls-cert", 0, LH_OPT_STRING, "FILE", NULL,
     "Certificate chain (PEM), re-read when it changes; with --tls-key instead of an own CA.",
     false, AT(tls_cert)},
    {"tls-key", 0, LH_OPT_STRING, "FILE", NULL, "Private key (PEM) of --tls-cert.", false,
     AT(tls_key)},
    {"stores", 0, LH_OPT_STRING, "DIR", NULL,
     "Take stores and namespaces from YAML files instead of the API server.", false, AT(stores)},
    {"kubeconfig", 0, LH_OPT_STRING, "FILE", NULL,
     "How to reach the API server; the Pod's own ServiceAccount if left out.", false,
     AT(kubeconfig)},
    {"policy", 0, LH_OPT_STRING, "FILE", NULL, "What Pods may choose (the chart's policy values).",
     false, AT(policy)},
    {"ca-secret", 0, LH_OPT_STRING, "NAMESPACE/NAME", NULL,
     "Secret that holds the webhook's own CA.", false, AT(ca_secret)},
    {"service", 0, LH_OPT_STRING, "NAME.NAMESPACE", NULL,
     "Service by which the API server calls, for the certificate.", false, AT(service)},
    {"webhook-configuration", 0, LH_OPT_STRING, "NAME", NULL,
     "Mutating and validating webhook configuration whose caBundle is kept.", false,
     AT(webhook_configuration)},
    {"retire", 0, LH_OPT_DURATION, "DURATION", "0s",
     "How long to serve on after SIGTERM, not ready any more, until nobody asks this replica.",
     false, AT(retire_ms)},
    {"drain", 0, LH_OPT_DURATION, "DURATION", "20s",
     "How long requests in flight may take after that.", false, AT(drain_ms)},
    {"log-level", 0, LH_OPT_STRING, "LEVEL", "info", "debug, info, warn, error or off.", true,
     AT(log_level)},
    {"check-config", 0, LH_OPT_BOOL, NULL, NULL, "Check options, policy and stores, then exit.",
     false, AT(check_config)},
    {"version", 0, LH_OPT_BOOL, NULL, NULL, "Print the version and exit.", false, AT(version)},
    {"docs", 0, LH_OPT_STRING, "PAGE", NULL,
     "Print a page of documentation (man, flags, metrics) and exit.", false, AT(docs)},
    {"help", 'h', LH_OPT_BOOL, NULL, NULL, "Print this help and exit.", false, AT(help)},
    {0},
};

const struct lh_opt_set webhook_option_set = {
    .program = "leasehold-webhook",
    .usage = "leasehold-webhook --listen ADDR:PORT [--tls-cert FILE --tls-key FILE] [--stores DIR "
             "| --kubeconfig FILE]",
    .summary = "Admits annotated Pods: annotations and stores in, JSON Patch out.",
    .opts = opts,
};

int webhook_options_check(const struct webhook_options *o, struct lh_err *err)
{
    enum lh_log_level level;
    int own = (o->ca_secret != NULL) + (o->service != NULL) + (o->webhook_configuration != NULL);

    if (lh_log_level_parse(o->log_level, &level) < 0)
        return lh_err_set(err, LH_E_INVALID, "--log-level must be debug, info, warn, error or off");
    if (o->stores && o->kubeconfig)
        return lh_err_set(err, LH_E_INVALID, "give --stores or --kubeconfig, not both");
    if ((o->tls_cert != NULL) != (o->tls_key != NULL))
        return lh_err_set(err, LH_E_INVALID, "--tls-cert and --tls-key go together");
    if (o->tls_cert && own)
        return lh_err_set(err, LH_E_INVALID,
                          "--ca-secret, --service and --webhook-configuration are for an own CA: "
                          "leave out --tls-cert");
    if (!o->tls_cert && o->stores)
        return lh_err_set(
            err, LH_E_INVALID,
            "--stores needs --tls-cert and --tls-key: an own CA is kept in the API server");
    if (!o->tls_cert && own != 3)
        return lh_err_set(
            err, LH_E_INVALID,
            "give --tls-cert and --tls-key, or --ca-secret, --service and --webhook-configuration");
    if (o->ca_secret && !strchr(o->ca_secret, '/'))
        return lh_err_set(err, LH_E_INVALID, "--ca-secret must be NAMESPACE/NAME");
    return 0;
}
