/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_API_ANNOTATIONS_H
#define LEASEHOLD_API_ANNOTATIONS_H

/* The table of leasehold.dev/ annotations: the only place that knows their names. Docs are
 * generated from it. */
#include <stdbool.h>

#include "leasehold/core/str.h"

#define LH_ANNOTATION_PREFIX "leasehold.dev/"

enum lh_annotation_id {
    LH_ANN_SECRET,
    LH_ANN_INJECT,
    LH_ANN_STORE,
    LH_ANN_FILE,
    LH_ANN_FORMAT,
    LH_ANN_TEMPLATE,
    LH_ANN_MODE,
    LH_ANN_VERSION,
    LH_ANN_PARAMS,
    LH_ANN_OVERLAP,
    LH_ANN_REFRESH,
    LH_ANN_OPTIONAL,
    LH_ANN_ON_CHANGE,
    LH_ANN_AGENT,
    LH_ANN_PROJECTIONS,
    LH_ANN_MOUNT_PATH,
    LH_ANN_CONTAINERS,
    LH_ANN_AFTER,
    LH_ANN_ROLE,
    LH_ANN_IMAGE,
    LH_ANN_CPU,
    LH_ANN_MEMORY,
    LH_ANN_SIZE,
    LH_ANN_METRICS_PORT,
    LH_ANN_REVOCATION,
    LH_ANN_START_TIMEOUT,
    LH_ANN_STATUS,
    LH_ANN_STORE_GENERATION,
    LH_ANN_RESTARTED_AT,
    LH_ANN_RESTART_HASH,
    LH_ANN_FORCE_SYNC,
    LH_ANN_DEFAULT_STORE,
    LH_ANN_COUNT,
};

enum lh_annotation_arity { LH_ANN_PLAIN, LH_ANN_PER_SECRET, LH_ANN_BOTH, LH_ANN_RESERVED };

struct lh_annotation {
    enum lh_annotation_id id;
    const char *name; /* "secret" for secret.NAME */
    enum lh_annotation_arity arity;
    const char *value, *def, *help; /* for docs */
};

extern const struct lh_annotation lh_annotations[LH_ANN_COUNT];

/* key with the prefix. Fills *suffix (NAME, empty if none). NULL if unknown; *nearest is then the
 * nearest known or NULL. */
const struct lh_annotation *lh_annotation_find(struct lh_str key, struct lh_str *suffix,
                                               const char **nearest);

#endif
