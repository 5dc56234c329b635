/* SPDX-License-Identifier: Apache-2.0 */
#include "project_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"

int lh_pub_each(int dir, const char *path, lh_pub_entry_fn fn, void *arg)
{
    int fd = lh_fs->openat(dir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0), rc = 0;
    struct lh_vec names; /* char * */
    const struct dirent *e;
    DIR *d;

    if (fd < 0)
        return -1;
    d = fdopendir(fd);
    if (!d) {
        close(fd);
        return -1;
    }
    /* Names first: entries come and go below, and no descriptor is held for each level. */
    lh_vec_init(&names, sizeof(char *));
    while (rc == 0 && (e = readdir(d))) {
        char *name;

        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        name = lh_strdup(e->d_name);
        if (!name || !lh_vec_push(&names, &name)) {
            lh_free(name);
            errno = ENOMEM;
            rc = -1;
        }
    }
    closedir(d);
    for (size_t i = 0; i < names.n; i++) {
        char *name = *(char **)lh_vec_at(&names, i);

        if (rc == 0)
            rc |= fn(arg, name);
        lh_free(name);
    }
    lh_vec_done(&names);
    return rc;
}

static struct lh_str top_of(const char *path)
{
    struct lh_str top, rest;

    lh_str_cut(lh_str(path), '/', &top, &rest);
    return top;
}

static bool has_top(const struct lh_pub_file *files, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (lh_str_eqz(top_of(files[i].path), name))
            return true;
    }
    return false;
}

enum link { LINK_OURS, LINK_ABSENT, LINK_FOREIGN, LINK_UNKNOWN };

static enum link look_at(int dir, const char *name)
{
    char target[300], want[300];
    ssize_t n = lh_fs->readlinkat(dir, name, target, sizeof(target) - 1);

    if (n < 0)
        return errno == ENOENT ? LINK_ABSENT : errno == EINVAL ? LINK_FOREIGN : LINK_UNKNOWN;
    target[n] = '\0';
    snprintf(want, sizeof(want), LH_PUB_DATA "/%s", name);
    return strcmp(target, want) == 0 ? LINK_OURS : LINK_FOREIGN;
}

static int make_link(int dir, const char *name, struct lh_err *err)
{
    char target[300];

    switch (look_at(dir, name)) {
    case LINK_OURS:
        return 0;
    case LINK_FOREIGN:
        return lh_err_set(err, LH_E_INVALID,
                          "%s is in the way and not ours; remove it, or name the file otherwise",
                          name);
    case LINK_UNKNOWN:
        return lh_err_os(err, errno, "look at %s", name);
    case LINK_ABSENT:
        break;
    }
    snprintf(target, sizeof(target), LH_PUB_DATA "/%s", name);
    if (lh_fs->symlinkat(target, dir, name) < 0)
        return lh_pub_os_err(err, errno, "make the link", name);
    return 0;
}

int lh_pub_links_make(const struct lh_publisher *p, const struct lh_pub_file *files, size_t n,
                      struct lh_err *err)
{
    char name[256];

    for (size_t i = 0; i < n; i++) {
        struct lh_str top = top_of(files[i].path);
        int rc;

        snprintf(name, sizeof(name), "%.*s", (int)top.n, top.p);
        if (has_top(files, i, name))
            continue;
        rc = make_link(p->dir, name, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Ours, and its name is not in the generation that counts. */
static int clean_link(void *arg, const char *name)
{
    const struct lh_publisher *p = arg;
    struct stat st;
    enum link link;

    if (strncmp(name, "..", 2) == 0)
        return 0;
    link = look_at(p->dir, name);
    if (link != LINK_OURS)
        return link == LINK_UNKNOWN ? -1 : 0;
    if (lh_fs->fstatat(p->dir, name, &st, 0) == 0)
        return 0;
    return errno == ENOENT ? lh_fs->unlinkat(p->dir, name, 0) : -1;
}

int lh_pub_links_clean(struct lh_publisher *p)
{
    return lh_pub_each(p->dir, ".", clean_link, p);
}
