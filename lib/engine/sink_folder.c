/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"
#include "leasehold/engine/sink.h"
#include "leasehold/project/publish.h"

enum { FILE_MAX_BYTES = 1024 * 1024 };

struct folder {
    struct lh_sink base; /* first: the two are cast into each other */
    int dir;
    struct lh_publisher *publisher;
};

static bool folder_has(struct lh_sink *self, const char *path)
{
    struct folder *f = (struct folder *)self;
    struct stat st;

    return lh_fs->fstatat(f->dir, path, &st, 0) == 0 && S_ISREG(st.st_mode);
}

static int read_back(struct folder *f, const char *path, struct lh_secret **out, struct lh_err *err)
{
    int rc = lh_secret_read_at(f->dir, path, FILE_MAX_BYTES, out, err);

    if (rc == -LH_E_NOTFOUND || rc == -LH_E_INVALID)
        return lh_err_set(err, LH_E_GONE, "%s, published before, is no longer there", path);
    return rc;
}

static int folder_publish(struct lh_sink *self, const struct lh_rendered_set *set, bool *changed,
                          struct lh_err *err)
{
    struct folder *f = (struct folder *)self;
    struct lh_pub_file *files = lh_calloc(set->n ? set->n : 1, sizeof(*files));
    struct lh_secret **kept = lh_calloc(set->n ? set->n : 1, sizeof(*kept));
    int rc = files && kept ? 0 : lh_err_nomem(err);

    for (size_t i = 0; i < set->n && rc == 0; i++) {
        const struct lh_rendered *r = &set->v[i];
        const struct lh_secret *bytes = r->bytes;

        if (!bytes) {
            rc = read_back(f, r->path, &kept[i], err);
            if (rc < 0)
                break;
            bytes = kept[i];
        }
        files[i] =
            (struct lh_pub_file){.path = r->path,
                                 .mode = r->mode,
                                 .bytes = {lh_secret_expose_const(bytes), lh_secret_len(bytes)}};
    }
    lh_publisher_before_swap(f->publisher, self->before, self->before_arg);
    if (rc == 0)
        rc = lh_publish(f->publisher, files, set->n, changed, err);
    for (size_t i = 0; kept && i < set->n; i++)
        lh_secret_free(kept[i]);
    lh_free(kept);
    lh_free(files);
    return rc;
}

static const char *folder_shown(struct lh_sink *self)
{
    return lh_publisher_generation(((struct folder *)self)->publisher);
}

static int folder_clear(struct lh_sink *self, struct lh_err *err)
{
    return lh_publish_clear(((struct folder *)self)->publisher, err);
}

static bool folder_sweep(struct lh_sink *self)
{
    return lh_publisher_sweep(((struct folder *)self)->publisher);
}

static void folder_free(struct lh_sink *self)
{
    struct folder *f = (struct folder *)self;

    if (!f)
        return;
    lh_publisher_free(f->publisher);
    if (f->dir >= 0)
        close(f->dir);
    lh_free(f);
}

/* Takes dir, also on failure. */
static int folder_new(int dir, gid_t gid, struct lh_sink **out, struct lh_err *err)
{
    struct folder *f = lh_calloc(1, sizeof(*f));
    int rc;

    if (!f) {
        close(dir);
        return lh_err_nomem(err);
    }
    f->base = (struct lh_sink){.publish = folder_publish,
                               .has = folder_has,
                               .shown = folder_shown,
                               .clear = folder_clear,
                               .sweep = folder_sweep,
                               .free = folder_free};
    f->dir = dir;
    rc = lh_publisher_new(f->dir, gid, &f->publisher, err);
    if (rc < 0) {
        folder_free(&f->base);
        return rc;
    }
    *out = &f->base;
    return 0;
}

int lh_sink_folder(const char *path, gid_t gid, struct lh_sink **out, struct lh_err *err)
{
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (dir < 0)
        return lh_err_os(err, errno, "open the folder %s for secrets", path);
    return folder_new(dir, gid, out, err);
}

int lh_sink_folder_at(int dirfd, gid_t gid, struct lh_sink **out, struct lh_err *err)
{
    int dir = fcntl(dirfd, F_DUPFD_CLOEXEC, 0);

    if (dir < 0)
        return lh_err_os(err, errno, "duplicate the folder for secrets");
    return folder_new(dir, gid, out, err);
}
