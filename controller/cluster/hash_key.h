/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_CLUSTER_HASH_KEY_H
#define LEASEHOLD_CONTROLLER_CLUSTER_HASH_KEY_H

/*
 * The key of the hashes that stand for values in a status and on workloads. It is kept in the
 * ledger's Secret beside the records, made by the first leader, so that a hash means the same after
 * a restart, and says nothing to whoever may read a status but no Secret.
 */
#include "leasehold/core/secret.h"
#include "leasehold/kube/client.h"

struct hash_key;

#define HASH_KEY_NAME "hash-key" /* in the Secret's data */

/* done once, from the loop; key borrowed until return. err: to be tried again. */
int hash_key_start(struct lh_kube *kube, const char *namespace_, const char *secret,
                   void (*done)(void *arg, const struct lh_secret *key, const struct lh_err *err),
                   void *arg, struct hash_key **out, struct lh_err *err);
void hash_key_cancel(struct hash_key *h); /* NULL is a no-op */

#endif
