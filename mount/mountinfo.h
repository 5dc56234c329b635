/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_MOUNT_MOUNTINFO_H
#define LEASEHOLD_MOUNT_MOUNTINFO_H

/*
 * /proc/self/mountinfo (proc(5)), read line by line in one buffer: no allocation, and a line that
 * does not fit (an overlay of very many layers, never ours) is passed over.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "leasehold/core/str.h"
#include "leasehold/mount/protocol.h"

#define LH_MOUNT_SOURCE     "leasehold" /* the source name by which a mount is known as ours */
#define LH_MOUNT_LINE_BYTES 16384

struct lh_mount_entry {
    uint64_t id;
    struct lh_str point; /* unescaped, in the line */
    bool is_ours;        /* the whole of a tmpfs whose source is LH_MOUNT_SOURCE */
    bool is_shared;      /* in a peer group: mounts below it reach the host */
};

/* Unescapes in place. false, *out untouched: not a line of mountinfo. */
bool lh_mount_entry_parse(char *line, size_t n, struct lh_mount_entry *out);

/* true: point is PODS/UID/volumes/kubernetes.io~csi/VOLUME/mount; both names zero-filled. */
bool lh_mount_entry_volume(const struct lh_mount_entry *e, struct lh_str pods,
                           char uid[LH_MOUNT_POD_UID], char volume[LH_MOUNT_VOLUME]);

struct lh_mount_table {
    int fd; /* borrowed */
    size_t start, end;
    bool skipping; /* inside a line that does not fit */
    char buf[LH_MOUNT_LINE_BYTES];
};

/* From the top. */
int lh_mount_table_rewind(struct lh_mount_table *t, int fd);
/* 1 and *out (borrowed until the next call), 0 at the end, or a negated errno. */
int lh_mount_table_next(struct lh_mount_table *t, struct lh_mount_entry *out);

#endif
