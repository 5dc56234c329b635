/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_AGENT_IDENTITY_H
#define LEASEHOLD_AGENT_IDENTITY_H

/* The identity that a configuration describes: whose subject, and in which mounted file its
 * credential is. */
#include "leasehold/api/agentcfg.h"
#include "leasehold/providers/provider.h"

struct agent_identity {
    struct lh_identity id;              /* borrows from the rest and from cfg */
    struct lh_token_source *credential; /* owned; NULL for cert */
    char *cert_file, *key_file, *ca_file;
};

/* LH_E_INVALID (ConfigInvalid) when the store's method needs a path that the configuration does not
 * give. */
int agent_identity_init(struct agent_identity *a, struct lh_loop *loop,
                        const struct lh_agentcfg *cfg, bool allow_loopback, struct lh_err *err);
void agent_identity_done(struct agent_identity *a);

#endif
