/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_KUBE_CONFIG_H
#define LEASEHOLD_KUBE_CONFIG_H

/* How to reach the API server: a kubeconfig file, or the Pod's own ServiceAccount. Exec plugins and
 * auth providers are refused with a sentence that says so. Strings owned; files are re-read when
 * they change. */
#include "leasehold/core/err.h"
#include "leasehold/core/secret.h"

struct lh_kube_config {
    char *server;           /* https://host:port */
    char *ca_pem, *ca_file; /* either */
    char *tls_server_name;
    char *client_cert_pem, *client_cert_file, *client_key_file;
    struct lh_secret *client_key_pem;
    struct lh_secret *token; /* or token_file, re-read at least once a minute */
    char *token_file;
    char *namespace_; /* of the context, or of the Pod; "default" */
};

/* path NULL: KUBECONFIG, else in cluster, else ~/.kube/config. context NULL: current-context. */
int lh_kube_config_load(const char *path, const char *context, struct lh_kube_config *out,
                        struct lh_err *err);
int lh_kube_config_in_cluster(struct lh_kube_config *out, struct lh_err *err);
void lh_kube_config_done(struct lh_kube_config *c);

#endif
