/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_NODE_OPTIONS_H
#define LEASEHOLD_CONTROLLER_NODE_OPTIONS_H

#include "controller.h"

/* Strings borrowed from the lh_conf that parsed them. */
struct node_options {
    struct controller_common common;
    const char *kubeconfig, *mount_socket, *metrics, *node_name, *cluster_name;
    const char *driver, *csi_endpoint;
    const char *audiences, *allow_addresses;
    int64_t max_memory, max_namespace_memory, volume_bytes; /* bytes */
    int64_t publish_timeout_ms, drain_ms, kubelet_uid;
};

/* What the table cannot say. LH_E_INVALID with a sentence. */
int node_options_check(struct node_options *o, struct lh_err *err);

#endif
