/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_CLUSTER_UNINJECTED_H
#define LEASEHOLD_CONTROLLER_CLUSTER_UNINJECTED_H

/*
 * Pods that ask for secrets by annotation and run without them, since no webhook saw them: it was
 * away under failurePolicy Ignore, or does not serve their namespace. Found by one metadata-only
 * watch of running Pods; only offenders are kept. A Pod that was admitted carries our status
 * annotation, so that annotations alone tell; a Pod with inject: "false" asked for nothing.
 */
#include "leasehold/core/loop.h"
#include "leasehold/core/metrics.h"
#include "leasehold/kube/client.h"

struct uninjected;

enum {
    UNINJECTED_NAMESPACES_MAX = 100, /* with a series of their own; the rest is "other" */
    UNINJECTED_TOLD_PER_SECOND = 10, /* so that a webhook that was away for long floods nobody */
    UNINJECTED_KEPT_MAX = 20 * 1000, /* past it neither counted nor told */
};

/* Pure: do these metadata (of a Pod) ask for secrets that were not injected? annotation: one that
 * asks, borrowed from meta; may be NULL. */
bool uninjected_is(const lh_json *meta, struct lh_str *annotation);

struct uninjected_pod {
    const char *namespace_, *name, *uid;
    const char *note; /* one sentence, with what to do */
};

struct uninjected_options {
    struct lh_loop *loop;
    struct lh_kube *kube;
    /* Once per Pod and process, for an Event (warning, reason NotInjected). May be NULL. */
    void (*found)(void *arg, const struct uninjected_pod *pod);
    void *arg;
};

/* Starts the watch; to be made when leadership is won and freed when it is lost. */
int uninjected_new(const struct uninjected_options *opts, struct uninjected **out,
                   struct lh_err *err);
void uninjected_free(struct uninjected *u); /* NULL is a no-op. Not inside a callback. */
size_t uninjected_count(const struct uninjected *u);
bool uninjected_synced(const struct uninjected *u);

/* Registered by uninjected_new: leasehold_uninjected_pods{namespace}. */
extern const struct lh_metric uninjected_metrics[];

#endif
