/* SPDX-License-Identifier: Apache-2.0 */
#include "project_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"

int lh_publisher_new(int dirfd, gid_t gid, struct lh_publisher **out, struct lh_err *err)
{
    struct lh_publisher *p = lh_calloc(1, sizeof(*p));
    struct stat st;

    if (!p)
        return lh_err_nomem(err);
    p->gid = gid;
    p->untidy = true; /* an earlier run may have crashed */
    lh_vec_init(&p->held, sizeof(int));
    p->dir = fcntl(dirfd, F_DUPFD_CLOEXEC, 3);
    if (p->dir < 0 || fstat(p->dir, &st) < 0 || !S_ISDIR(st.st_mode)) {
        int os = p->dir < 0 ? errno : ENOTDIR;

        lh_publisher_free(p);
        return lh_err_os(err, os, "use the folder to publish in");
    }
    *out = p;
    return 0;
}

void lh_publisher_free(struct lh_publisher *p)
{
    if (!p)
        return;
    lh_pub_held_retry(p, true);
    lh_vec_done(&p->held);
    if (p->dir >= 0)
        close(p->dir);
    lh_free(p);
}

/* Which generation counts now. Not what we remember of it: whoever may write in the folder may have
 * taken ..data away, or turned it elsewhere. */
static int look(struct lh_publisher *p, struct lh_err *err)
{
    char target[LH_PUB_NAME_BYTES];
    ssize_t n;

    n = lh_fs->readlinkat(p->dir, LH_PUB_DATA, target, sizeof(target) - 1);
    if (n < 0 && errno != ENOENT)
        return errno == EINVAL ? lh_err_set(err, LH_E_INVALID,
                                            LH_PUB_DATA " is in the way and no link; remove it")
                               : lh_err_os(err, errno, "look at " LH_PUB_DATA);
    target[n > 0 ? n : 0] = '\0';
    /* A link to anywhere else is not ours: nothing there is compared or removed, only replaced. */
    if (strncmp(target, "..", 2) != 0 || !target[2] || strchr(target, '/'))
        target[0] = '\0';
    /* What it named before is nobody's now, and is tidied away. */
    p->untidy = p->untidy || strcmp(p->current, target) != 0;
    memcpy(p->current, target, sizeof(target));
    p->looked = true;
    return 0;
}

static int remove_leftover(void *arg, const char *name)
{
    struct lh_publisher *p = arg;

    if (strncmp(name, "..", 2) != 0 || strcmp(name, LH_PUB_DATA) == 0 ||
        strcmp(name, p->current) == 0)
        return 0;
    if (strcmp(name, LH_PUB_DATA_NEW) == 0)
        return lh_fs->unlinkat(p->dir, name, 0);
    /* Kubelet's way to name a generation: two dots and the year. */
    if (name[2] < '0' || name[2] > '9')
        return 0;
    return lh_pub_generation_remove(p, name);
}

/* Never fails a publication: what is left is tried again. */
static void tidy(struct lh_publisher *p)
{
    if (p->untidy && lh_pub_each(p->dir, ".", remove_leftover, p) == 0 &&
        lh_pub_links_clean(p) == 0)
        p->untidy = false;
}

static int check_files(const struct lh_pub_file *files, size_t n, struct lh_err *err)
{
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(files[i].path);
        int rc = lh_pub_path_check(files[i].path, err);

        if (rc < 0)
            return rc;
        for (size_t k = 0; k < n; k++) {
            if (k == i || strncmp(files[k].path, files[i].path, len) != 0)
                continue;
            if (files[k].path[len] == '\0')
                return lh_err_set(err, LH_E_INVALID, "two files are named %s", files[i].path);
            if (files[k].path[len] == '/')
                return lh_err_set(err, LH_E_INVALID, "%s would be a file and a folder",
                                  files[i].path);
        }
    }
    return 0;
}

/* The one moment that counts: before it the old generation is seen, after it the new one. */
static int swap(const struct lh_publisher *p, const char *name, struct lh_err *err)
{
    if (lh_fs->unlinkat(p->dir, LH_PUB_DATA_NEW, 0) < 0 && errno != ENOENT)
        return lh_err_os(err, errno, "remove " LH_PUB_DATA_NEW);
    if (lh_fs->symlinkat(name, p->dir, LH_PUB_DATA_NEW) < 0)
        return lh_pub_os_err(err, errno, "make the link", LH_PUB_DATA_NEW);
    if (lh_fs->renameat(p->dir, LH_PUB_DATA_NEW, p->dir, LH_PUB_DATA) < 0)
        return lh_pub_os_err(err, errno, "swap", LH_PUB_DATA);
    return 0;
}

static int publish_new(struct lh_publisher *p, const struct lh_pub_file *files, size_t n,
                       struct lh_err *err)
{
    char name[LH_PUB_NAME_BYTES], old[LH_PUB_NAME_BYTES];
    int rc = lh_pub_generation_write(p, files, n, name, err);

    if (rc == 0)
        rc = lh_pub_links_make(p, files, n, err);
    if (rc == 0 && p->before)
        p->before(p->before_arg, name);
    if (rc == 0)
        rc = swap(p, name, err);
    if (rc < 0) {
        p->untidy = true;
        if (name[0])
            lh_pub_generation_remove(p, name); /* frees the space at once */
        lh_pub_links_clean(p);
        return rc;
    }
    memcpy(old, p->current, sizeof(old));
    memcpy(p->current, name, sizeof(name));
    if ((old[0] && lh_pub_generation_remove(p, old) < 0) || lh_pub_links_clean(p) < 0)
        p->untidy = true;
    return 0;
}

int lh_publish(struct lh_publisher *p, const struct lh_pub_file *files, size_t n, bool *changed,
               struct lh_err *err)
{
    struct lh_err local;
    bool equal;
    int rc;

    if (!err)
        err = &local;
    rc = check_files(files, n, err);
    if (rc == 0)
        rc = look(p, err);
    if (rc < 0)
        return rc;
    tidy(p); /* first: old generations may hold the space that the new one needs */
    equal = lh_pub_generation_equals(p, files, n);
    rc = equal ? lh_pub_links_make(p, files, n, err) : publish_new(p, files, n, err);
    if (rc < 0)
        return rc;
    lh_publisher_sweep(p);
    *changed = !equal;
    return 0;
}

const char *lh_publisher_generation(struct lh_publisher *p)
{
    return !p->looked && look(p, NULL) < 0 ? "" : p->current;
}

void lh_publisher_before_swap(struct lh_publisher *p, void (*fn)(void *arg, const char *generation),
                              void *arg)
{
    p->before = fn;
    p->before_arg = arg;
}

int lh_publish_clear(struct lh_publisher *p, struct lh_err *err)
{
    int rc = look(p, err);

    if (rc < 0)
        return rc;
    /* All names end here at once; what follows is the rubble. */
    if (lh_fs->unlinkat(p->dir, LH_PUB_DATA, 0) < 0 && errno != ENOENT)
        return lh_err_os(err, errno, "remove " LH_PUB_DATA);
    p->current[0] = '\0';
    p->untidy = true;
    tidy(p);
    return 0;
}

bool lh_publisher_sweep(struct lh_publisher *p)
{
    lh_pub_held_retry(p, false);
    if (p->looked && p->untidy && look(p, NULL) == 0)
        tidy(p);
    return p->held.n == 0;
}
