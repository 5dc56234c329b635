/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_NODE_RESUME_H
#define LEASEHOLD_CONTROLLER_NODE_RESUME_H

/* What was there before we started: records of volumes in the state, mounts in leasehold-mount.
 * Volumes of which both are there go on; what has only one is ended. */
#include "pods.h"
#include "set.h"

struct node_resume;

int node_resume_start(struct node_set *s, void (*done)(void *arg), void *arg,
                      struct node_resume **out, struct lh_err *err);
void node_resume_free(struct node_resume *r);
bool node_resume_is_busy(const struct node_resume *r); /* NULL: yes */
/* Mounts without a record, of Pods that are gone: taken away. */
void node_resume_pods(struct node_resume *r, const struct node_pods *p);

#endif
