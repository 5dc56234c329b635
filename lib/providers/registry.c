/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/providers/provider.h"

/* By the order of the store's provider blocks; a parsed store has exactly one. */
static const struct lh_provider_ops *const providers[] = {
    &lh_provider_vault,
};

const struct lh_provider_ops *lh_provider_for(const struct lh_store *store)
{
    (void)store;
    return providers[0];
}
