/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_NODE_SET_H
#define LEASEHOLD_CONTROLLER_NODE_SET_H

/* All volumes of the node, and what they share. */
#include "leasehold/core/map.h"
#include "leasehold/kube/client.h"
#include "leasehold/objects/objects.h"
#include "mount_client.h"
#include "options.h"

struct volume;

struct node_set {
    struct lh_loop *loop;
    const struct node_options *o;
    struct mount_client *mount;
    struct lh_objects *objects;
    struct lh_kube *kube; /* NULL in tests: Pod conditions are not written */
    char **allow_addresses;
    int state;            /* folder of our state; -1: not there yet */
    struct lh_map *by_id; /* volume_id to struct volume */
};

/* KiB given away, in bytes; a volume counts from its first call on. */
int64_t node_set_bytes(const struct node_set *s, const char *namespace_ /* NULL: all */);

#endif
