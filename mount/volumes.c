/* SPDX-License-Identifier: Apache-2.0 */
#include "volumes.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "leasehold/core/fs.h"
#include "leasehold/core/log.h"

#define TARGET       "mount" /* kubelet's name for it, below the volume's own folder */
#define STATE        "state"
#define STATE_BYTES  ((uint64_t)16 << 20)
#define STATE_INODES ((uint64_t)4096)
#define STACKED_MAX  16

struct tmpfs {
    uint64_t bytes, inodes;
    const char *mode;
    int64_t gid;
    const char *context;
};

static int beneath(int dirfd, const char *path, int flags, uint64_t more)
{
    struct open_how how = {.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | more};

    return (int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
}

int lh_mount_beneath(int dirfd, const char *path, int flags)
{
    return beneath(dirfd, path, flags, 0);
}

/* The mount that fd is on. LH_E_NOTFOUND where mountinfo does not know it. */
static int entry_of(struct lh_mount_host *h, int fd, struct lh_mount_entry *out, struct lh_err *err)
{
    struct statx st;
    int rc;

    if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &st) < 0)
        return lh_err_os(err, errno, "stat a folder of kubelet");
    if (!(st.stx_mask & STATX_MNT_ID))
        return lh_err_os(err, ENOSYS, "ask for a mount's id: Linux 5.8 or newer is needed");
    rc = lh_mount_table_rewind(&h->table, h->mountinfo);
    while (rc == 0) {
        struct lh_mount_entry e;

        rc = lh_mount_table_next(&h->table, &e);
        if (rc == 0)
            return lh_err_set(err, LH_E_NOTFOUND, "mount %llu is not in mountinfo",
                              (unsigned long long)st.stx_mnt_id);
        if (rc > 0 && e.id == st.stx_mnt_id) {
            *out = e;
            return 0;
        }
        if (rc > 0)
            rc = 0;
    }
    return lh_err_os(err, -rc, "read mountinfo");
}

static bool is_ours(struct lh_mount_host *h, int fd)
{
    struct lh_mount_entry e = {0};

    return entry_of(h, fd, &e, NULL) == 0 && e.is_ours;
}

/* Linux 6.4 and newer keep a tmpfs out of swap where they are asked to. */
static bool has_noswap(void)
{
    lh_auto_fd int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);

    return fs >= 0 && fsconfig(fs, FSCONFIG_SET_FLAG, "noswap", NULL, 0) == 0;
}

int lh_mount_host_open(struct lh_mount_host *h, const char *dir, uid_t uid, struct lh_err *err)
{
    lh_auto_fd int root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC), mounts = -1;
    struct lh_mount_entry e = {0};
    char link[64], real[4000];
    ssize_t n;
    int rc;

    if (root < 0)
        return lh_err_os(err, errno, "open kubelet's folder %s", dir);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", root);
    n = readlink(link, real, sizeof(real) - 1);
    mounts = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    if (n <= 0 || mounts < 0)
        return lh_err_os(err, errno, "ask /proc where %s is", dir);
    real[n] = '\0';
    h->mountinfo = mounts;
    rc = entry_of(h, root, &e, err);
    if (rc < 0)
        return rc;
    if (!e.is_shared)
        return lh_err_set(err, LH_E_INVALID,
                          "%s is not in a shared mount, so no Pod would see its volume: mount it "
                          "with mountPropagation: Bidirectional",
                          dir);
    h->noswap = has_noswap();
    h->uid = uid;
    snprintf(h->pods, sizeof(h->pods), "%s/pods", strcmp(real, "/") == 0 ? "" : real);
    h->mountinfo = LH_TAKE_FD(mounts);
    h->root = LH_TAKE_FD(root);
    return 0;
}

static int set_text(int fs, const char *key, const char *value, struct lh_err *err)
{
    if (fsconfig(fs, FSCONFIG_SET_STRING, key, value, 0) < 0)
        return lh_err_os(err, errno, "set %s=%s of a tmpfs", key, value);
    return 0;
}

static int set_number(int fs, const char *key, uint64_t value, struct lh_err *err)
{
    char text[24];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    return set_text(fs, key, text, err);
}

/* A tmpfs that is mounted nowhere yet: it goes away with its descriptor. */
static int make_tmpfs(struct lh_mount_host *h, const struct tmpfs *t, int *out, struct lh_err *err)
{
    lh_auto_fd int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);
    int fd, rc;

    if (fs < 0)
        return lh_err_os(err, errno, "make a tmpfs");
    rc = set_text(fs, "source", LH_MOUNT_SOURCE, err);
    if (rc == 0)
        rc = set_number(fs, "size", t->bytes, err);
    if (rc == 0)
        rc = set_number(fs, "nr_inodes", t->inodes, err);
    if (rc == 0)
        rc = set_text(fs, "mode", t->mode, err);
    if (rc == 0)
        rc = set_number(fs, "uid", h->uid, err);
    if (rc == 0)
        rc = set_number(fs, "gid", (uint64_t)t->gid, err);
    if (rc == 0 && t->context[0])
        rc = set_text(fs, "context", t->context, err);
    if (rc < 0)
        return rc;
    if (h->noswap && fsconfig(fs, FSCONFIG_SET_FLAG, "noswap", NULL, 0) < 0)
        return lh_err_os(err, errno, "keep a tmpfs out of swap");
    if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return lh_err_os(err, errno, "make a tmpfs of %llu bytes", (unsigned long long)t->bytes);
    fd = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (fd < 0)
        return lh_err_os(err, errno, "make a mount of a tmpfs");
    *out = fd;
    return 0;
}

/* The root of a mount as a folder to work in. */
static int hand_out(int mount, int *dir, struct lh_err *err)
{
    int fd = beneath(mount, ".", O_RDONLY | O_DIRECTORY, 0);

    if (fd < 0)
        return lh_err_os(err, errno, "open a volume's folder");
    *dir = fd;
    return 0;
}

/* The folder that holds the target. It is kubelet's to make; no mount of anybody is on the way. */
static int open_parent(struct lh_mount_host *h, const struct lh_mount_request *r, int *out,
                       struct lh_err *err)
{
    char path[LH_MOUNT_POD_UID + LH_MOUNT_VOLUME + 64];
    lh_auto_fd int pods = beneath(h->root, "pods", O_PATH | O_DIRECTORY, 0);
    int fd;

    if (pods < 0)
        return lh_err_os(err, errno, "open %s", h->pods);
    snprintf(path, sizeof(path), "%s/volumes/kubernetes.io~csi/%s", r->pod_uid, r->volume);
    fd = beneath(pods, path, O_PATH | O_DIRECTORY, RESOLVE_NO_XDEV);
    if (fd < 0)
        return lh_err_os(err, errno, "open %s/%s", h->pods, path);
    *out = fd;
    return 0;
}

/* An empty folder of that name with nothing on it, whatever a kill left there. That it can be
 * removed is the proof: a file, a symlink, content or somebody's mount cannot. */
static int make_target(int parent, const char *name, int *out, struct lh_err *err)
{
    int fd;

    if (unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return lh_err_os(err, errno == EBUSY ? EPERM : errno,
                         "mount on %s: something that is not ours is there", name);
    if (mkdirat(parent, name, 0750) < 0)
        return lh_err_os(err, errno, "make the folder %s", name);
    fd = beneath(parent, name, O_PATH | O_DIRECTORY, RESOLVE_NO_XDEV);
    if (fd < 0)
        return lh_err_os(err, errno, "open the folder %s", name);
    *out = fd;
    return 0;
}

static int mount_new(struct lh_mount_host *h, int parent, const char *name, const struct tmpfs *t,
                     int *dir, struct lh_err *err)
{
    lh_auto_fd int mount = -1, target = -1, root = -1;
    int rc = make_tmpfs(h, t, &mount, err);

    if (rc == 0)
        rc = hand_out(mount, &root, err);
    if (rc == 0)
        rc = make_target(parent, name, &target, err);
    if (rc < 0)
        return rc;
    if (move_mount(mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0) {
        rc = lh_err_os(err, errno, "mount on %s", name);
        unlinkat(parent, name, AT_REMOVEDIR);
        return rc;
    }
    *dir = LH_TAKE_FD(root);
    return 0;
}

/* What is there already, if it is ours. */
static bool open_ours(struct lh_mount_host *h, int parent, const char *name, int *out)
{
    int fd = beneath(parent, name, O_PATH | O_DIRECTORY, 0);

    if (fd < 0)
        return false;
    if (!is_ours(h, fd)) {
        close(fd);
        return false;
    }
    *out = fd;
    return true;
}

int lh_mount_volume(struct lh_mount_host *h, const struct lh_mount_request *r, int *dir,
                    struct lh_err *err)
{
    bool has_gid = r->gid != LH_MOUNT_NO_GID;
    const struct tmpfs t = {.bytes = r->bytes,
                            .inodes = r->inodes,
                            .mode = has_gid ? "2750" : "2755",
                            .gid = has_gid ? r->gid : 0,
                            .context = r->context};
    lh_auto_fd int parent = -1, there = -1;
    int rc = open_parent(h, r, &parent, err);

    if (rc < 0)
        return rc;
    if (open_ours(h, parent, TARGET, &there))
        return hand_out(there, dir, err);
    return mount_new(h, parent, TARGET, &t, dir, err);
}

int lh_mount_open(struct lh_mount_host *h, const struct lh_mount_request *r, int *dir,
                  struct lh_err *err)
{
    lh_auto_fd int parent = -1, there = -1;
    int rc = open_parent(h, r, &parent, err);

    if (rc < 0)
        return rc;
    if (!open_ours(h, parent, TARGET, &there))
        return lh_err_os(err, ENOENT, "open volume %s: it is not mounted", r->volume);
    return hand_out(there, dir, err);
}

/* Takes ours off. The folder is named from its parent, without a path: nothing in between can be
 * swapped. Lazily, since somebody may still have a file open. */
static int take_off(struct lh_mount_host *h, int parent, const char *name, struct lh_err *err)
{
    for (int i = 0; i < STACKED_MAX; i++) {
        int there = -1;

        if (!open_ours(h, parent, name, &there))
            return 0;
        close(there);
        if (fchdir(parent) < 0 || umount2(name, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
            return lh_err_os(err, errno, "unmount %s", name);
    }
    return lh_err_os(err, EBUSY, "unmount %s: too much is mounted there", name);
}

int lh_mount_unmount(struct lh_mount_host *h, const struct lh_mount_request *r, struct lh_err *err)
{
    lh_auto_fd int parent = -1;
    struct lh_err e = {0};
    int rc = open_parent(h, r, &parent, &e);

    if (rc < 0) {
        if (e.os == ENOENT)
            return 0;
        if (err)
            *err = e;
        return rc;
    }
    rc = take_off(h, parent, TARGET, err);
    if (rc < 0)
        return rc;
    if (unlinkat(parent, TARGET, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return lh_err_os(err, errno == EBUSY ? EPERM : errno,
                         "remove the folder of volume %s: something that is not ours is there",
                         r->volume);
    return 0;
}

int lh_mount_state(struct lh_mount_host *h, int *dir, struct lh_err *err)
{
    static const char path[] = "plugins/" LH_MOUNT_DRIVER;
    const struct tmpfs t = {
        .bytes = STATE_BYTES, .inodes = STATE_INODES, .mode = "0700", .context = ""};
    lh_auto_fd int parent = beneath(h->root, path, O_PATH | O_DIRECTORY, 0), there = -1;
    struct stat st;
    int rc;

    if (parent < 0)
        return lh_err_os(err, errno, "open %s", path);
    if (open_ours(h, parent, STATE, &there)) {
        if (fstat(there, &st) < 0)
            return lh_err_os(err, errno, "stat %s/" STATE, path);
        if (st.st_uid == h->uid)
            return hand_out(there, dir, err);
        /* Of a former --peer-uid, whose files the new one cannot read. */
        rc = take_off(h, parent, STATE, err);
        if (rc < 0)
            return rc;
    }
    return mount_new(h, parent, STATE, &t, dir, err);
}

int lh_mount_limits(int fd, struct lh_mount_reply *out)
{
    struct statfs st;

    if (fstatfs(fd, &st) < 0)
        return -errno;
    out->bytes = (uint64_t)st.f_blocks * (uint64_t)st.f_bsize;
    out->inodes = (uint64_t)st.f_files;
    return 0;
}

/* Without limits where the walk from kubelet's folder does not lead to it. */
static void put_limits(struct lh_mount_host *h, struct lh_mount_reply *one)
{
    struct lh_mount_request r = {0};
    lh_auto_fd int parent = -1, there = -1;

    memcpy(r.pod_uid, one->pod_uid, sizeof(r.pod_uid));
    memcpy(r.volume, one->volume, sizeof(r.volume));
    if (open_parent(h, &r, &parent, NULL) < 0)
        return;
    there = beneath(parent, TARGET, O_PATH | O_DIRECTORY, 0);
    if (there >= 0)
        (void)lh_mount_limits(there, one);
}

int lh_mount_list(struct lh_mount_host *h, int (*fn)(void *arg, const struct lh_mount_reply *one),
                  void *arg, struct lh_err *err)
{
    int rc = lh_mount_table_rewind(&h->table, h->mountinfo);

    while (rc == 0) {
        struct lh_mount_reply one = {0};
        struct lh_mount_entry e;

        rc = lh_mount_table_next(&h->table, &e);
        if (rc <= 0)
            break;
        rc = 0;
        if (!lh_mount_entry_volume(&e, lh_str(h->pods), one.pod_uid, one.volume))
            continue;
        put_limits(h, &one);
        rc = fn(arg, &one);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? lh_err_os(err, -rc, "read mountinfo") : 0;
}
