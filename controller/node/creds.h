/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_NODE_CREDS_H
#define LEASEHOLD_CONTROLLER_NODE_CREDS_H

/* What kubelet brought with its last call for one volume: tokens of the Pod's ServiceAccount, and
 * the Secret of nodePublishSecretRef. Never kept over a restart: kubelet calls again. */
#include "csi_wire.h"
#include "leasehold/api/store.h"
#include "leasehold/core/loop.h"
#include "leasehold/providers/provider.h"

struct node_creds {
    struct lh_secret *tokens;
    struct csi_secret *secrets;
    size_t n_secrets;
};

/* Moves them out of p; what p does not have is kept as it was. */
void node_creds_take(struct node_creds *c, struct csi_publish *p);
void node_creds_done(struct node_creds *c);

/* The token for an audience, owned. LH_E_DENIED (AudienceNotServed, naming those that are served),
 * LH_E_UNAVAILABLE (CredentialMissing: kubelet has not called yet, or what it brought has ended).
 */
int node_token_for(const struct node_creds *c, const char *audience, const char *served,
                   int64_t wall_now, struct lh_secret **out, struct lh_err *err);
/* A key of the referenced Secret, borrowed; LH_E_NOTFOUND (CredentialMissing). */
int node_secret_for(const struct node_creds *c, const char *key, const struct lh_secret **out,
                    struct lh_err *err);

/* A source over creds (borrowed, as served) for the store's method. */
int node_token_source(struct lh_loop *loop, const struct node_creds *creds, const char *served,
                      const struct lh_store *store, struct lh_token_source **out,
                      struct lh_err *err);
/* cert method: tls.crt and tls.key in memory files; paths in *cert and *key (owned), fds to close
 * when they are not needed any more. */
int node_cert_files(const struct node_creds *c, int fds[2], char **cert, char **key,
                    struct lh_err *err);

#endif
