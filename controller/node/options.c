/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <stdlib.h>

#include "leasehold/mount/protocol.h"
#include "node.h"

#define AT(field) offsetof(struct node_options, field)

static const struct lh_opt opts[] = {
    {"kubeconfig", 0, LH_OPT_STRING, "FILE", NULL,
     "How to reach the API server; the Pod's own ServiceAccount if left out.", false,
     AT(kubeconfig)},
    {"mount-socket", 0, LH_OPT_STRING, "PATH", "/run/leasehold/mount.sock",
     "Socket of leasehold-mount, which mounts volumes and owns the listening sockets.", false,
     AT(mount_socket)},
    {"metrics", 0, LH_OPT_STRING, "ADDR:PORT", NULL,
     "Where /metrics, /status, /healthz and /readyz are served over HTTP; off if left out.", false,
     AT(metrics)},
    {"node-name", 0, LH_OPT_STRING, "NAME", NULL,
     "Name of this node; left out: the environment's NODE_NAME.", true, AT(node_name)},
    {"cluster-name", 0, LH_OPT_STRING, "NAME", NULL, "What {cluster} stands for in stores.", false,
     AT(cluster_name)},
    {"driver", 0, LH_OPT_STRING, "NAME", "csi.leasehold.dev", "Name of the CSI driver.", false,
     AT(driver)},
    {"csi-endpoint", 0, LH_OPT_STRING, "PATH",
     "/var/lib/kubelet/plugins/csi.leasehold.dev/csi.sock",
     "The driver's socket as kubelet sees it, told at registration.", false, AT(csi_endpoint)},
    {"kubelet-uid", 0, LH_OPT_INT, "UID", "0", "Who may call: the user that kubelet runs as.",
     false, AT(kubelet_uid)},
    {"audiences", 0, LH_OPT_STRING, "A,B", NULL,
     "Audiences that the CSIDriver object asks tokens for, named in the refusal of others.", false,
     AT(audiences)},
    {"allow-addresses", 0, LH_OPT_STRING, "CIDR,...", NULL,
     "Loopback, link-local and metadata addresses that stores may name all the same.", false,
     AT(allow_addresses)},
    {"volume-size", 0, LH_OPT_QUANTITY, "BYTES", "4Mi",
     "Size of one volume; two generations live in it during a swap.", false, AT(volume_bytes)},
    {"max-memory", 0, LH_OPT_QUANTITY, "BYTES", "512Mi",
     "Sizes of all volumes together; past it a new one is refused.", false, AT(max_memory)},
    {"max-namespace-memory", 0, LH_OPT_QUANTITY, "BYTES", "448Mi",
     "Sizes of all volumes of one namespace together.", false, AT(max_namespace_memory)},
    {"publish-timeout", 0, LH_OPT_DURATION, "DURATION", "60s",
     "Longest answer to a request to mount; the work goes on behind it.", false,
     AT(publish_timeout_ms)},
    {"drain", 0, LH_OPT_DURATION, "DURATION", "5s",
     "How long calls in flight may take after SIGTERM.", false, AT(drain_ms)},
    CONTROLLER_COMMON_OPTS(AT(common)),
    {0},
};

const struct lh_opt_set controller_node_option_set = {
    .program = "leasehold-controller node",
    .usage = "leasehold-controller node [--kubeconfig FILE] --mount-socket PATH [--metrics "
             "ADDR:PORT]",
    .summary = "Fills the volumes of Pods that mount a SecretProjection, and keeps them fresh.",
    .opts = opts,
};

int node_options_check(struct node_options *o, struct lh_err *err)
{
    if (!o->node_name)
        o->node_name = getenv("NODE_NAME");
    if (!o->node_name || !*o->node_name)
        return lh_err_set(err, LH_E_INVALID, "give --node-name, or NODE_NAME in the environment");
    if (!lh_str_is_dns_subdomain(lh_str(o->driver)) || lh_str(o->driver).n > 63)
        return lh_err_set(err, LH_E_INVALID,
                          "--driver must be a domain name of at most 63 characters");
    if (o->kubelet_uid < 0 || o->kubelet_uid >= UINT32_MAX)
        return lh_err_set(err, LH_E_INVALID, "--kubelet-uid must be a user's number");
    if (o->volume_bytes < 4096 || (uint64_t)o->volume_bytes > LH_MOUNT_BYTES_MAX)
        return lh_err_set(err, LH_E_INVALID, "--volume-size must be between 4Ki and 1Gi");
    if (o->max_memory < o->volume_bytes || o->max_namespace_memory < o->volume_bytes)
        return lh_err_set(
            err, LH_E_INVALID,
            "--max-memory and --max-namespace-memory must hold at least one --volume-size");
    if (o->publish_timeout_ms < 1000)
        return lh_err_set(err, LH_E_INVALID, "--publish-timeout must be at least 1s");
    return 0;
}
