/* SPDX-License-Identifier: Apache-2.0 */
#include "sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "leasehold/core/fs.h"

#define BACKLOG 128

int lh_mount_folder(struct lh_mount_host *h, const char *const *parts, struct lh_err *err)
{
    int at = lh_mount_beneath(h->root, ".", O_PATH | O_DIRECTORY);

    for (; at >= 0 && *parts; parts++) {
        int next;

        if (mkdirat(at, *parts, 0750) < 0 && errno != EEXIST) {
            (void)lh_err_os(err, errno, "make the folder %s below kubelet's", *parts);
            close(at);
            return -1;
        }
        next = lh_mount_beneath(at, *parts, O_PATH | O_DIRECTORY);
        if (next < 0)
            (void)lh_err_os(err, errno, "open the folder %s below kubelet's", *parts);
        close(at);
        at = next;
    }
    return at;
}

/* From inside the folder, by one name: a socket's address holds no more than 107 bytes, and no
 * symlink is followed. */
static int bind_in(int fd, int dir, const char *name)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};

    if (strlen(name) >= sizeof(a.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(a.sun_path, name, strlen(name) + 1);
    if (fchdir(dir) < 0 || (unlinkat(dir, name, 0) < 0 && errno != ENOENT))
        return -1;
    return bind(fd, (const struct sockaddr *)&a, sizeof(a));
}

int lh_mount_listen(struct lh_mount_listener *l, int dir, const char *name, int type, mode_t mode,
                    struct lh_err *err)
{
    lh_auto_fd int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    char hidden[sizeof(l->name) + 8];
    struct stat st;
    mode_t mask;
    int rc;

    if (fd < 0)
        return lh_err_os(err, errno, "make a socket");
    snprintf(hidden, sizeof(hidden), ".%s.new", name);
    mask = umask(0777 & ~mode);
    rc = bind_in(fd, dir, hidden);
    umask(mask);
    if (rc < 0)
        return lh_err_os(err, errno, "make the socket %s", name);
    if (listen(fd, BACKLOG) < 0 || fstatat(dir, hidden, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        renameat(dir, hidden, dir, name) < 0)
        return lh_err_os(err, errno, "make the socket %s", name);
    *l = (struct lh_mount_listener){
        .fd = LH_TAKE_FD(fd), .dir = dir, .dev = st.st_dev, .ino = st.st_ino};
    snprintf(l->name, sizeof(l->name), "%s", name);
    return 0;
}

void lh_mount_unlink(const struct lh_mount_listener *l)
{
    struct stat st;

    /* While we hold the socket, nobody else's can have its inode. */
    if (fstatat(l->dir, l->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_dev == l->dev &&
        st.st_ino == l->ino)
        (void)unlinkat(l->dir, l->name, 0);
}
