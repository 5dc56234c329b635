/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <stdlib.h>

#include "cluster.h"

#define AT(field) offsetof(struct cluster_options, field)

static const struct lh_opt opts[] = {
    {"kubeconfig", 0, LH_OPT_STRING, "FILE", NULL,
     "How to reach the API server; the Pod's own ServiceAccount if left out.", false,
     AT(kubeconfig)},
    {"namespaces", 0, LH_OPT_STRING, "A,B", NULL,
     "Where projections may have Secret copies and restart workloads; nowhere if left out.", false,
     AT(namespaces)},
    {"metrics", 0, LH_OPT_STRING, "ADDR:PORT", NULL,
     "Where /metrics, /status, /healthz and /readyz are served over HTTP; off if left out.", false,
     AT(metrics)},
    {"cluster-name", 0, LH_OPT_STRING, "NAME", NULL, "What {cluster} stands for in stores.", false,
     AT(cluster_name)},
    {"allow-addresses", 0, LH_OPT_STRING, "CIDR,...", NULL,
     "Loopback, link-local and metadata addresses that stores may name all the same.", false,
     AT(allow_addresses)},
    {"namespace", 0, LH_OPT_STRING, "NAME", NULL,
     "Where its Lease and its ledger are; left out: the environment's POD_NAMESPACE.", true,
     AT(namespace_)},
    {"lease", 0, LH_OPT_STRING, "NAME", "leasehold-controller", "The Lease that the leader holds.",
     false, AT(lease)},
    {"ledger", 0, LH_OPT_STRING, "NAME", "leasehold-controller-ledger",
     "The Secret that says what is still to be revoked; it must exist.", false, AT(ledger)},
    {"identity", 0, LH_OPT_STRING, "NAME", NULL,
     "Who holds the Lease; left out: the environment's POD_NAME.", true, AT(identity)},
    {"lease-duration", 0, LH_OPT_DURATION, "DURATION", "15s",
     "How long a leader that is silent is waited for.", false, AT(lease_ms)},
    {"renew-deadline", 0, LH_OPT_DURATION, "DURATION", "10s",
     "When a leader that cannot renew its Lease stops writing.", false, AT(renew_ms)},
    {"retry-period", 0, LH_OPT_DURATION, "DURATION", "2s", "How often the Lease is tried.", false,
     AT(retry_ms)},
    {"drain", 0, LH_OPT_DURATION, "DURATION", "3s",
     "How long giving back the Lease may take after SIGTERM.", false, AT(drain_ms)},
    CONTROLLER_COMMON_OPTS(AT(common)),
    {0},
};

const struct lh_opt_set controller_cluster_option_set = {
    .program = "leasehold-controller cluster",
    .usage = "leasehold-controller cluster [--kubeconfig FILE] [--namespaces A,B] [--metrics "
             "ADDR:PORT]",
    .summary = "Keeps Kubernetes Secrets that were asked for by name, and restarts workloads.",
    .opts = opts,
};

static const char *from_environment(const char *given, const char *name)
{
    return given ? given : getenv(name);
}

int cluster_options_check(struct cluster_options *o, struct lh_err *err)
{
    o->namespace_ = from_environment(o->namespace_, "POD_NAMESPACE");
    o->identity = from_environment(o->identity, "POD_NAME");
    if (!o->namespace_ || !*o->namespace_)
        return lh_err_set(err, LH_E_INVALID,
                          "give --namespace, or POD_NAMESPACE in the environment");
    if (!o->identity || !*o->identity)
        return lh_err_set(err, LH_E_INVALID, "give --identity, or POD_NAME in the environment");
    if (o->lease_ms <= o->renew_ms || o->renew_ms <= o->retry_ms || o->retry_ms < 100)
        return lh_err_set(err, LH_E_INVALID,
                          "--lease-duration must be longer than --renew-deadline, and that longer "
                          "than --retry-period, which is 100ms at least");
    return 0;
}
