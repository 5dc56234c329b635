/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_KUBE_EVENT_H
#define LEASEHOLD_KUBE_EVENT_H

/*
 * Events (events.k8s.io/v1) about objects, with series: an equal event within ten minutes counts up
 * instead of being written again, and a bucket per object (25, then one in 5 min) bounds the rest.
 * Best effort: a queue of 1000, dropped and counted past it. Texts are ours, never an answer's.
 */
#include "leasehold/kube/client.h"

struct lh_events;

struct lh_event {
    const char *api_version, *kind, *namespace_, *name, *uid; /* what it is about */
    bool warning;
    const char *reason, *action;
    const char *note; /* at most 1 KiB */
};

/* controller: reportingController, "leasehold.dev/controller"; instance: this process' Pod name. */
int lh_events_new(struct lh_kube *k, const char *controller, const char *instance,
                  struct lh_events **out, struct lh_err *err);
void lh_events_free(struct lh_events *e); /* what waits is dropped */
void lh_events_emit(struct lh_events *e, const struct lh_event *ev);

#endif
