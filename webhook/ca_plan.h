/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_WEBHOOK_CA_PLAN_H
#define LEASEHOLD_WEBHOOK_CA_PLAN_H

/*
 * When the webhook's own CA and leaf are renewed: pure, of times and facts. Leaf and CA at two
 * thirds of their lives; a new CA is trusted beside the old one before it signs anything; a CA that
 * has ended is dropped.
 */
#include <stdbool.h>
#include <stdint.h>

#define CA_DAYS    365
#define LEAF_HOURS 720

struct ca_facts {
    bool has_ca, has_ca_key;         /* the newest of the bundle */
    int64_t ca_from_ms, ca_until_ms; /* wall */
    bool has_leaf, leaf_by_newest;   /* a leaf that one of the bundle signed; by the newest? */
    int64_t leaf_from_ms, leaf_until_ms;
    bool bundle_seen;       /* every webhook configuration holds the whole bundle */
    int64_t bundle_seen_ms; /* since when */
};

enum ca_step { CA_STEP_NONE, CA_STEP_NEW_CA, CA_STEP_NEW_LEAF };

/* What is due now; with NONE *next_ms is the wall time of the next look. */
enum ca_step ca_plan(const struct ca_facts *f, int64_t now_ms, int64_t *next_ms);

#endif
