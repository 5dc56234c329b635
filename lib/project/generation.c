/* SPDX-License-Identifier: Apache-2.0 */
#include "project_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "leasehold/core/clock.h"
#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/rand.h"

enum { FOLDER_MODE = 0755, CHUNK = 4096, HELD_MOST = 512, TREE_PATH_BYTES = 4096 + 2 * 256 };

int lh_pub_os_err(struct lh_err *err, int os, const char *doing, const char *what)
{
    if (os == ENOSPC || os == EDQUOT)
        return lh_err_set(err, LH_E_TOOBIG, "%s %s: the volume is too small", doing, what);
    return lh_err_os(err, os, "%s %s", doing, what);
}

/* By descriptor and after creation, since the umask takes its part from what open and mkdir set. */
static int set_owner_and_mode(const struct lh_publisher *p, int fd, mode_t mode, const char *what,
                              struct lh_err *err)
{
    if (p->gid != (gid_t)-1 && lh_fs->fchown(fd, (uid_t)-1, p->gid) < 0)
        return lh_err_os(err, errno, "give %s to group %u", what, (unsigned)p->gid);
    if (lh_fs->fchmod(fd, mode) < 0)
        return lh_err_os(err, errno, "set the mode of %s", what);
    return 0;
}

/* A folder below a setgid one inherits group and setgid, which a chmod by somebody outside of that
 * group would take away again, and with it the group of what is made inside. */
static int set_folder_mode(const struct lh_publisher *p, int fd, const char *what,
                           struct lh_err *err)
{
    struct stat st;

    if (lh_fs->fstatat(fd, "", &st, AT_EMPTY_PATH) < 0)
        return lh_err_os(err, errno, "stat %s", what);
    if (p->gid == (gid_t)-1 && (st.st_mode & 07777) == (FOLDER_MODE | S_ISGID))
        return 0;
    return set_owner_and_mode(p, fd, FOLDER_MODE, what, err);
}

/* The mode that a setgid parent leaves us no chance to set later must be right from the start. */
static int make_dir(int dir, const char *name)
{
    mode_t before = umask(0777 & ~FOLDER_MODE);
    int rc = lh_fs->mkdirat(dir, name, FOLDER_MODE), os = errno;

    umask(before);
    errno = os;
    return rc;
}

static int make_folder(const struct lh_publisher *p, int dir, const char *name, struct lh_err *err)
{
    lh_auto_fd int fd = -1;

    if (make_dir(dir, name) < 0)
        return errno == EEXIST ? 0 : lh_pub_os_err(err, errno, "make the folder", name);
    fd = lh_fs->openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd < 0)
        return lh_err_os(err, errno, "open %s", name);
    return set_folder_mode(p, fd, name, err);
}

static int make_parents(const struct lh_publisher *p, int gen, const char *path, struct lh_err *err)
{
    lh_auto_free char *part = lh_strdup(path);
    int rc = 0;

    if (!part)
        return lh_err_nomem(err);
    for (char *slash = strchr(part, '/'); slash && rc == 0; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        rc = make_folder(p, gen, part, err);
        *slash = '/';
    }
    return rc;
}

static int write_file(const struct lh_publisher *p, int gen, const struct lh_pub_file *f,
                      struct lh_err *err)
{
    lh_auto_fd int fd = -1;
    int rc = make_parents(p, gen, f->path, err);

    if (rc < 0)
        return rc;
    fd = lh_fs->openat(gen, f->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return lh_pub_os_err(err, errno, "create", f->path);
    rc = set_owner_and_mode(p, fd, f->mode, f->path, err);
    if (rc < 0)
        return rc;
    rc = lh_fs_write_all(fd, f->bytes.p, f->bytes.n, f->path, err);
    return rc < 0 ? lh_pub_os_err(err, err->os, "write", f->path) : 0;
}

/* As kubelet names them, so that tools that look for the pattern find it. */
static void make_name(char name[LH_PUB_NAME_BYTES])
{
    time_t sec = (time_t)(lh_clock_wall_ms() / 1000);
    struct tm tm = {0};
    size_t n;

    gmtime_r(&sec, &tm);
    n = strftime(name, LH_PUB_NAME_BYTES, "..%Y_%m_%d_%H_%M_%S.", &tm);
    if (n == 0)
        n = (size_t)snprintf(name, LH_PUB_NAME_BYTES, "..0.");
    snprintf(name + n, LH_PUB_NAME_BYTES - n, "%010" PRId64, lh_rand_between(0, 9999999999));
}

static int make_generation(const struct lh_publisher *p, char name[LH_PUB_NAME_BYTES],
                           struct lh_err *err)
{
    for (int tries = 0; tries < 8; tries++) {
        make_name(name);
        if (make_dir(p->dir, name) == 0)
            return 0;
        if (errno != EEXIST)
            break;
    }
    name[0] = '\0';
    return lh_pub_os_err(err, errno, "make", "a folder for the new files");
}

int lh_pub_generation_write(const struct lh_publisher *p, const struct lh_pub_file *files, size_t n,
                            char name[LH_PUB_NAME_BYTES], struct lh_err *err)
{
    lh_auto_fd int gen = -1;
    int rc = make_generation(p, name, err);

    if (rc < 0)
        return rc;
    gen = lh_fs->openat(p->dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (gen < 0)
        return lh_err_os(err, errno, "open %s", name);
    rc = set_folder_mode(p, gen, name, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = write_file(p, gen, &files[i], err);
    return rc;
}

static bool same_content(int fd, struct lh_str want)
{
    char chunk[CHUNK];
    bool same = true;

    while (same && want.n > 0) {
        ssize_t got = lh_fs->read(fd, chunk, want.n < CHUNK ? want.n : CHUNK);

        if (got < 0 && errno == EINTR)
            continue;
        same = got > 0 && memcmp(chunk, want.p, (size_t)got) == 0;
        if (same) {
            want.p += got;
            want.n -= (size_t)got;
        }
    }
    lh_wipe(chunk, sizeof(chunk));
    return same;
}

static bool same_file(const struct lh_publisher *p, int gen, const struct lh_pub_file *f)
{
    lh_auto_fd int fd =
        lh_fs->openat(gen, f->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0);
    struct stat st;

    if (fd < 0 || lh_fs->fstatat(fd, "", &st, AT_EMPTY_PATH) < 0 || !S_ISREG(st.st_mode))
        return false;
    if ((st.st_mode & 07777) != f->mode || st.st_uid != geteuid() ||
        (p->gid != (gid_t)-1 && st.st_gid != p->gid) || (size_t)st.st_size != f->bytes.n)
        return false;
    return same_content(fd, f->bytes);
}

/* A tree below the volume, without a descriptor for each level. */
struct tree {
    struct lh_publisher *p; /* NULL: count only */
    int dir;
    char path[TREE_PATH_BYTES];
    size_t n, files;
};

static int visit(void *arg, const char *name);

static int visit_folder(struct tree *t)
{
    int rc = lh_pub_each(t->dir, t->path, visit, t);

    if (!t->p)
        return rc;
    /* A folder that can be removed was empty, whatever failed on the way. */
    return lh_fs->unlinkat(t->dir, t->path, AT_REMOVEDIR) < 0 && errno != ENOENT ? -1 : 0;
}

static int overwrite(int fd)
{
    static const char zero[CHUNK];
    struct stat st;
    off_t at = 0;

    if (fstat(fd, &st) < 0)
        return -1;
    while (at < st.st_size) {
        size_t n = st.st_size - at < CHUNK ? (size_t)(st.st_size - at) : CHUNK;
        ssize_t w = pwrite(fd, zero, n, at);

        if (w <= 0)
            return -1;
        at += w;
    }
    return 0;
}

/* True when the descriptor is no longer needed: overwritten, or it cannot be. */
static bool try_overwrite(int fd)
{
    /* Should somebody open the file while we hold the lease, the kernel sends a signal whose
     * default, SIGIO's, is to end the process. SIGURG's is nothing. */
    fcntl(fd, F_SETSIG, SIGURG);
    if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0)
        return errno != EAGAIN && errno != EBUSY;
    overwrite(fd);
    fcntl(fd, F_SETLEASE, F_UNLCK);
    return true;
}

/* A second descriptor, for writing: the file is unlinked, and its mode may forbid even its owner to
 * write. */
static int reopen_for_writing(int fd)
{
    char self[40];

    if (fchmod(fd, 0600) < 0)
        return -1;
    snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
    return open(self, O_RDWR | O_CLOEXEC);
}

/* Unlinked first, so that a reader that comes late finds no file, never one with zeroes. */
static int remove_file(struct tree *t)
{
    lh_auto_fd int fd =
        lh_fs->openat(t->dir, t->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0);
    int writing;

    if (lh_fs->unlinkat(t->dir, t->path, 0) < 0 && errno != ENOENT)
        return -1;
    if (fd < 0)
        return 0;
    writing = reopen_for_writing(fd);
    lh_fd_close_ptr_(&fd); /* else it counts as a reader */
    if (writing < 0)
        return 0;
    /* Held only up to a limit: the kernel clears the pages itself before anybody else gets them. */
    if (try_overwrite(writing) || t->p->held.n >= HELD_MOST || !lh_vec_push(&t->p->held, &writing))
        close(writing);
    return 0;
}

static int visit_entry(struct tree *t)
{
    struct stat st;

    if (lh_fs->fstatat(t->dir, t->path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -1;
    if (S_ISDIR(st.st_mode))
        return visit_folder(t);
    t->files++;
    if (!t->p)
        return 0;
    return S_ISREG(st.st_mode) ? remove_file(t) : lh_fs->unlinkat(t->dir, t->path, 0);
}

static int visit(void *arg, const char *name)
{
    struct tree *t = arg;
    size_t before = t->n;
    int added = snprintf(t->path + t->n, sizeof(t->path) - t->n, "/%s", name), rc = -1;

    if (added > 0 && (size_t)added < sizeof(t->path) - t->n) {
        t->n += (size_t)added;
        rc = visit_entry(t);
    }
    t->n = before;
    t->path[before] = '\0';
    return rc;
}

static void tree_init(struct tree *t, const struct lh_publisher *p, const char *name)
{
    *t = (struct tree){.dir = p->dir};
    t->n = (size_t)snprintf(t->path, sizeof(t->path), "%s", name);
}

bool lh_pub_generation_equals(const struct lh_publisher *p, const struct lh_pub_file *files,
                              size_t n)
{
    lh_auto_fd int gen = -1;
    struct tree t;

    if (!p->current[0])
        return false;
    tree_init(&t, p, p->current);
    if (visit_folder(&t) < 0 || t.files != n)
        return false;
    gen = lh_fs->openat(p->dir, p->current, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (gen < 0)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!same_file(p, gen, &files[i]))
            return false;
    }
    return true;
}

int lh_pub_generation_remove(struct lh_publisher *p, const char *name)
{
    struct tree t;

    tree_init(&t, p, name);
    t.p = p;
    return visit_folder(&t);
}

void lh_pub_held_retry(struct lh_publisher *p, bool last)
{
    for (size_t i = p->held.n; i-- > 0;) {
        int fd = *(int *)lh_vec_at(&p->held, i);

        if (try_overwrite(fd) || last) {
            close(fd);
            lh_vec_remove(&p->held, i);
        }
    }
}
