/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_CLUSTER_OPTIONS_H
#define LEASEHOLD_CONTROLLER_CLUSTER_OPTIONS_H

#include "controller.h"

/* Strings borrowed from the lh_conf that parsed them, or from the environment. */
struct cluster_options {
    struct controller_common common;
    const char *kubeconfig, *namespaces, *metrics, *cluster_name, *allow_addresses;
    const char *namespace_, *lease, *ledger, *identity;
    int64_t lease_ms, renew_ms, retry_ms, drain_ms;
};

/* What the table cannot say. LH_E_INVALID with a sentence. */
int cluster_options_check(struct cluster_options *o, struct lh_err *err);

#endif
