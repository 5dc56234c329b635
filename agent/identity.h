/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_AGENT_IDENTITY_H
#define LEASEHOLD_AGENT_IDENTITY_H

/* Who the agent is at the manager, from its configuration: names, credential files, trust. */
#include "leasehold/api/agentcfg.h"
#include "leasehold/providers/provider.h"

struct agent_identity {
    struct lh_identity id;
    char *cert_file, *key_file, *ca_file;
};

/* cfg is borrowed until done. LH_E_INVALID when it lacks what the store's method needs. */
int agent_identity_init(struct agent_identity *a, struct lh_loop *loop,
                        const struct lh_agentcfg *cfg, bool allow_loopback, struct lh_err *err);
void agent_identity_done(struct agent_identity *a);

#endif
