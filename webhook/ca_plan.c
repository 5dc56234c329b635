/* SPDX-License-Identifier: Apache-2.0 */
#include "ca_plan.h"

/* The API server uses a changed caBundle within about a second; a new CA signs only well after
 * that. */
#define SETTLE_MS 10000

static int64_t two_thirds(int64_t from, int64_t until)
{
    return from + (until - from) / 3 * 2;
}

enum ca_step ca_plan(const struct ca_facts *f, int64_t now_ms, int64_t *next_ms)
{
    int64_t ca_due, leaf_due;

    if (!f->has_ca || !f->has_ca_key)
        return CA_STEP_NEW_CA;
    ca_due = two_thirds(f->ca_from_ms, f->ca_until_ms);
    if (now_ms >= ca_due)
        return CA_STEP_NEW_CA;
    if (!f->has_leaf)
        return CA_STEP_NEW_LEAF;
    leaf_due = two_thirds(f->leaf_from_ms, f->leaf_until_ms);
    if (!f->leaf_by_newest) {
        int64_t settled = f->bundle_seen_ms + SETTLE_MS;

        /* Not before everybody trusts the new CA; a leaf that is about to end must not wait for
         * that. */
        if ((f->bundle_seen && now_ms >= settled) || now_ms >= f->leaf_until_ms)
            return CA_STEP_NEW_LEAF;
        *next_ms = f->bundle_seen ? settled : f->leaf_until_ms;
        return CA_STEP_NONE;
    }
    if (now_ms >= leaf_due)
        return CA_STEP_NEW_LEAF;
    *next_ms = leaf_due < ca_due ? leaf_due : ca_due;
    return CA_STEP_NONE;
}
