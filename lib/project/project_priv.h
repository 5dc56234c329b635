/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_PROJECT_PRIV_H
#define LH_PROJECT_PRIV_H

/*
 * What is on the volume:
 *   ..2026_11_24_08_00_00.1234567890/   a generation: the files as they are named in it
 *   ..data -> ..2026_...                the generation that counts; swapped by rename
 *   db -> ..data/db                     one link per top-level name
 * Whatever else begins with two dots is a generation that a crash left.
 */
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "leasehold/core/err.h"
#include "leasehold/core/str.h"
#include "leasehold/core/vec.h"
#include "leasehold/project/publish.h"

#define LH_PUB_DATA     "..data"
#define LH_PUB_DATA_NEW "..data_tmp"

enum { LH_PUB_NAME_BYTES = 64 };

struct lh_publisher {
    int dir;
    gid_t gid;
    bool looked;                     /* at least once at ..data */
    bool untidy;                     /* something old may lie about */
    char current[LH_PUB_NAME_BYTES]; /* behind ..data at the last look, "" if there is none */
    void (*before)(void *arg, const char *generation);
    void *before_arg;
    struct lh_vec held; /* int: unlinked files that a reader still had open */
};

/* generation.c */
/* A full volume is the user's to mend, anything else the system's. */
int lh_pub_os_err(struct lh_err *err, int os, const char *doing, const char *what);
/* On failure *name is what to remove, "" if nothing was made. */
int lh_pub_generation_write(const struct lh_publisher *p, const struct lh_pub_file *files, size_t n,
                            char name[LH_PUB_NAME_BYTES], struct lh_err *err);
/* Same files, content, modes and owner? What cannot be read is not. */
bool lh_pub_generation_equals(const struct lh_publisher *p, const struct lh_pub_file *files,
                              size_t n);
/* Unlinks it with everything in it; pages are overwritten at once or stay in p->held. 0, or -1 when
 * something is left. */
int lh_pub_generation_remove(struct lh_publisher *p, const char *name);
/* Tries the held files again. */
void lh_pub_held_retry(struct lh_publisher *p, bool last);

/* links.c */
/* Makes the links that the files need and that are not there. */
int lh_pub_links_make(const struct lh_publisher *p, const struct lh_pub_file *files, size_t n,
                      struct lh_err *err);
/* Removes our links that lead nowhere. 0, or -1 when something is left. */
int lh_pub_links_clean(struct lh_publisher *p);

/* Calls fn for each name in the folder but "." and ".."; the folder is closed by then. -1 with
 * errno if it cannot be read, else the or of what fn returned. */
typedef int (*lh_pub_entry_fn)(void *arg, const char *name);
int lh_pub_each(int dir, const char *path, lh_pub_entry_fn fn, void *arg);

#endif
