/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_CLUSTER_STATUS_PLAN_H
#define LEASEHOLD_CONTROLLER_CLUSTER_STATUS_PLAN_H

/*
 * A status that is written on transitions only. A transition is another status, reason or observed
 * generation of a condition, or another version of an item; a text alone is none, since it may name
 * what changes with every try. Pure.
 */
#include "leasehold/codec/json.h"

enum condition_status { CONDITION_UNKNOWN, CONDITION_TRUE, CONDITION_FALSE };

struct condition {
    const char *type;
    enum condition_status status;
    const char *reason;  /* a word of api/reasons.h */
    const char *message; /* cut to what the API takes */
};

struct status_item {
    const char *name, *version;
};

struct status_want {
    int64_t generation; /* of the object that was looked at */
    const struct condition *conditions;
    size_t n_conditions;
    const struct status_item *items;
    size_t n_items;
};

/* was: the status that is there; NULL: none. *out: what is to be written, with the times of what
 * did not change kept; NULL: nothing is. */
int status_plan(const lh_json *was, const struct status_want *want, int64_t wall_ms, lh_json **out,
                struct lh_err *err);

#endif
