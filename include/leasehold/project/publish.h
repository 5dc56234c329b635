/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_PROJECT_PUBLISH_H
#define LEASEHOLD_PROJECT_PUBLISH_H

/*
 * A directory descriptor and a set of files: swapped at once or not at all, after kubelet's scheme
 * (AtomicWriter): files in a fresh ..<time> folder, one symlink per top-level name through ..data,
 * ..data swapped by rename. Equal content, mode and owner: no swap. The old folder's pages are
 * overwritten only once a write lease (F_SETLEASE) proves that no reader holds the file, then
 * unlinked: a file that somebody has open never changes.
 */
#include <stdbool.h>
#include <sys/types.h>

#include "leasehold/core/err.h"
#include "leasehold/core/str.h"

struct lh_pub_file {
    const char *path; /* relative, checked: no empty, '.', '..' segment, none starts with "..", 255
                         a segment, 4096 in all */
    mode_t mode;
    struct lh_str bytes;
};

struct lh_publisher;

/* dirfd is kept (duplicated). gid -1: as created. Leftovers of an earlier run that crashed are
 * cleared at the first publish. */
int lh_publisher_new(int dirfd, gid_t gid, struct lh_publisher **out, struct lh_err *err);
void lh_publisher_free(struct lh_publisher *p); /* files stay */

/* *changed: was there a swap? On failure the last generation is whole and unchanged. LH_E_TOOBIG
 * (ENOSPC: the volume is too small), LH_E_INVALID, LH_E_OS. */
int lh_publish(struct lh_publisher *p, const struct lh_pub_file *files, size_t n, bool *changed,
               struct lh_err *err);
/* Name of the generation behind ..data, "" if there is none; no later one has it. Borrowed until
 * the next publish. */
const char *lh_publisher_generation(struct lh_publisher *p);
/* fn is called by publish before each swap, with the name of the generation that is written by then
 * and is the one that counts afterwards, if the swap succeeds. NULL: nobody is called. */
void lh_publisher_before_swap(struct lh_publisher *p, void (*fn)(void *arg, const char *generation),
                              void *arg);
/* Removes everything published (staleness: Remove). */
int lh_publish_clear(struct lh_publisher *p, struct lh_err *err);
/* Old generations whose files were still open: try again; true when none is left. */
bool lh_publisher_sweep(struct lh_publisher *p);

int lh_pub_path_check(const char *path, struct lh_err *err);

#endif
