/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_PROVIDERS_VAULT_TRANSIT_KEY_H
#define LEASEHOLD_PROVIDERS_VAULT_TRANSIT_KEY_H

#include "leasehold/providers/transit.h"

/* The answer to GET MOUNT/keys/KEY. out->type is borrowed from json; *versions (owned, lh_free) is
 * what out->versions points to. */
int lh_transit_key_read(const lh_json *json, struct lh_transit_key *out,
                        struct lh_transit_version **versions, struct lh_err *err);

#endif
