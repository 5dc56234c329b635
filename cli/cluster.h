/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_CLUSTER_H
#define LEASEHOLD_CLI_CLUSTER_H

/* What a command that asks a cluster starts from: the libraries, a loop, and a kubeconfig. */
#include <stddef.h>

#include "leasehold/codec/conf.h"
#include "leasehold/core/loop.h"
#include "leasehold/kube/config.h"

struct lh_kube;

struct cli_cluster {
    struct lh_loop *loop;
    struct lh_kube_config cfg;
    struct lh_kube *kube; /* NULL until cli_cluster_client() */
};

/* Rows of an option table whose struct has const char *kubeconfig and *context. */
#define CLI_CLUSTER_OPTIONS(type)                                                                  \
    {"kubeconfig",  0,                                                                             \
     LH_OPT_STRING, "FILE",                                                                        \
     NULL,          "How to reach the cluster.",                                                   \
     false,         offsetof(type, kubeconfig)},                                                   \
    {                                                                                              \
        "context", 0, LH_OPT_STRING, "NAME", NULL, "Context of the kubeconfig.", false,            \
            offsetof(type, context)                                                                \
    }

/* kubeconfig, context: as lh_kube_config_load() takes them. *c is left empty on failure. */
int cli_cluster_open(const char *kubeconfig, const char *context, struct cli_cluster *c,
                     struct lh_err *err);
/* The client of the generic kind; some commands speak to the API server by other means. */
int cli_cluster_client(struct cli_cluster *c, struct lh_err *err);
/* One that was never opened may be closed if it is all zeroes. */
void cli_cluster_close(struct cli_cluster *c);

#endif
