/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster.h"

#include "leasehold/crypto/hash.h"
#include "leasehold/http/client.h"
#include "leasehold/kube/client.h"

int cli_cluster_open(const char *kubeconfig, const char *context, struct cli_cluster *c,
                     struct lh_err *err)
{
    int rc;

    *c = (struct cli_cluster){.loop = NULL};
    rc = lh_crypto_init(err);
    if (rc == 0)
        rc = lh_http_global_init(err);
    if (rc == 0)
        rc = lh_loop_new(&c->loop, err);
    if (rc == 0)
        rc = lh_kube_config_load(kubeconfig, context, &c->cfg, err);
    if (rc < 0)
        cli_cluster_close(c);
    return rc;
}

int cli_cluster_client(struct cli_cluster *c, struct lh_err *err)
{
    return lh_kube_new(c->loop, &c->cfg, "leasehold/" LH_VERSION, &c->kube, err);
}

void cli_cluster_close(struct cli_cluster *c)
{
    lh_kube_free(c->kube);
    lh_kube_config_done(&c->cfg);
    if (c->loop)
        lh_loop_free(c->loop);
    *c = (struct cli_cluster){.loop = NULL};
}
