/* SPDX-License-Identifier: Apache-2.0 */
#include "node.h"

#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "options.h"

static const char description[] =
    "The unprivileged half of the CSI driver csi.leasehold.dev: takes kubelet's calls on sockets "
    "that leasehold-mount owns, has volumes mounted by it, fetches what a SecretProjection names "
    "as the Pod's own ServiceAccount, and keeps it fresh until the volume is unmounted. Exit "
    "status: 0 ended by a signal, 1 failed, 2 wrong options.";

int controller_node(int argc, char **argv)
{
    struct node_options o = {0};
    struct lh_conf *conf = NULL;
    struct lh_err err = {0};
    int status;

    if (controller_parse(&controller_node_option_set, description, NULL, argc, argv, &o, &o.common,
                         &conf, &status) &&
        node_options_check(&o, &err) < 0)
        status = controller_fail(&controller_node_option_set, CONTROLLER_USAGE, err.msg);
    lh_conf_free(conf);
    return status;
}
