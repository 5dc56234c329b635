/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_KUBE_EVENT_H
#define LEASEHOLD_KUBE_EVENT_H

/*
 * Events (events.k8s.io/v1) about objects, with series: an equal event within ten minutes counts up
 * instead of being written again, and a bucket per object (25, then one in 5 min) bounds the rest.
 * Best effort: a queue of 1000, dropped and counted past it. Texts are ours, never an answer's.
 * Rights: create and patch of events.
 */
#include <stdbool.h>
#include <stddef.h>

#include "leasehold/core/metrics.h"
#include "leasehold/kube/client.h"

struct lh_events;

struct lh_event {
    /* What it is about; namespace_ NULL: cluster scope. uid may be NULL. */
    const char *api_version, *kind, *namespace_, *name, *uid;
    bool warning;
    const char *reason, *action; /* CamelCase words of at most 128 bytes */
    const char *note;            /* cut at 1 KiB */
};

/* controller: reportingController, "leasehold.dev/controller"; instance: this process' Pod name. */
int lh_events_new(struct lh_kube *k, const char *controller, const char *instance,
                  struct lh_events **out, struct lh_err *err);
void lh_events_free(struct lh_events *e); /* NULL is a no-op; what waits is dropped */
/* ev is copied. */
void lh_events_emit(struct lh_events *e, const struct lh_event *ev);
size_t lh_events_waiting(const struct lh_events *e); /* to be written */

extern const struct lh_metric lh_events_metrics[];

#endif
