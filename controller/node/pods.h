/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_NODE_PODS_H
#define LEASEHOLD_CONTROLLER_NODE_PODS_H

/* Which Pods there are on this node: metadata only. Absence is proven by a whole list, never by an
 * error. */
#include "leasehold/kube/client.h"

struct node_pods;

/* changed: a Pod went, or a whole list came. */
int node_pods_new(struct lh_kube *k, const char *node, void (*changed)(void *arg), void *arg,
                  struct node_pods **out, struct lh_err *err);
void node_pods_free(struct node_pods *p);
bool node_pods_is_synced(const struct node_pods *p);
bool node_pods_has(const struct node_pods *p, const char *uid);

#endif
