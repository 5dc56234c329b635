/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_ENGINE_SINK_H
#define LEASEHOLD_ENGINE_SINK_H

/* Where a rendered set goes: a folder (here), a Kubernetes Secret (controller). */
#include "leasehold/core/err.h"
#include "leasehold/render/render.h"

struct lh_sink {
    /* The whole set at once or not at all. *changed: did anything differ? The set is wiped by the
     * caller after return. bytes NULL: as this file was published last; after publication nobody
     * but the sink has its content. LH_E_GONE: that is no longer there. LH_E_BUSY: not yet; no
     * failure, and asked again by lh_engine_publish(). */
    int (*publish)(struct lh_sink *self, const struct lh_rendered_set *set, bool *changed,
                   struct lh_err *err);
    /* Is there a published file of this path? For files of an earlier run, too. */
    bool (*has)(struct lh_sink *self, const char *path);
    /* Name of the set that is seen now, "" when there is none; no other set of this sink ever has
     * it. Borrowed until the next call. NULL: this sink has no such names. */
    const char *(*shown)(struct lh_sink *self);
    /* Set by who publishes, for the time of the call: publish calls it, where it has shown(), when
     * all is written, before it is seen under this name. */
    void (*before)(void *arg, const char *name);
    void *before_arg;
    int (*clear)(struct lh_sink *self, struct lh_err *err); /* LH_E_BUSY as above */
    /* Housekeeping left from earlier publications (open old files); true when nothing is left. */
    bool (*sweep)(struct lh_sink *self);
    void (*free)(struct lh_sink *self);
};

/* A folder that exists; gid -1: as created. */
int lh_sink_folder(const char *path, gid_t gid, struct lh_sink **out, struct lh_err *err);
/* The same by a descriptor, which is duplicated. */
int lh_sink_folder_at(int dirfd, gid_t gid, struct lh_sink **out, struct lh_err *err);

#endif
