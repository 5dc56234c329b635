/* SPDX-License-Identifier: Apache-2.0 */
/* The socket as the host sees it: whoever reaches it has every Secret of the cluster. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "kms_kit.h"
#include "leasehold/core/fs.h"

#define PROVIDER "Kubernetes: Using a KMS provider for data encryption"
#define SERVER   "kube-apiserver, value/encrypt/envelope/grpc_service"
#define UNIX7    "unix(7)"

enum { NOBODY = 65534 };

static void is_path(struct kms_kit *k, struct kms_result *r)
{
    if (k->opts.socket[0] == '@')
        kms_fail(r, "an abstract socket: any process of the host's network namespace may connect");
    else if (k->opts.socket[0] != '/')
        kms_fail(r, "not an absolute path; the API server wants unix:///path");
}

/* What the path names in the end. false: r says why not. */
static bool look(const struct kms_kit *k, struct stat *st, struct kms_result *r)
{
    if (stat(k->opts.socket, st) < 0) {
        kms_skip(r, "%s", strerror(errno));
        return false;
    }
    return true;
}

static void mode(struct kms_kit *k, struct kms_result *r)
{
    struct stat st;

    if (!look(k, &st, r))
        return;
    if (!S_ISSOCK(st.st_mode))
        kms_fail(r, "not a socket");
    else if (st.st_mode & S_IWOTH)
        kms_fail(r, "mode %04o: every account of the host may connect", st.st_mode & 07777);
    else
        kms_note(r, "mode %04o", st.st_mode & 07777);
}

/* Who listens. */
static bool peer_of(const struct kms_kit *k, struct ucred *out)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    socklen_t n = sizeof(*out);
    lh_auto_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || strlen(k->opts.socket) >= sizeof(sa.sun_path))
        return false;
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", k->opts.socket);
    return connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_PEERCRED, out, &n) == 0;
}

static void owner(struct kms_kit *k, struct kms_result *r)
{
    struct stat st;
    struct ucred peer;

    if (!look(k, &st, r))
        return;
    if (!peer_of(k, &peer))
        kms_skip(r, "who listens could not be asked");
    else if (st.st_uid != 0 && st.st_uid != peer.uid)
        kms_fail(r, "the socket belongs to uid %u, neither root nor the uid %u that listens",
                 (unsigned)st.st_uid, (unsigned)peer.uid);
}

/* Every folder on the way: who may write there may put another socket in its place. */
static void folder(struct kms_kit *k, struct kms_result *r)
{
    char real[PATH_MAX], *slash;

    if (!realpath(k->opts.socket, real)) {
        kms_skip(r, "%s", strerror(errno));
        return;
    }
    while (r->verdict == KMS_PASSED && (slash = strrchr(real, '/'))) {
        bool root = slash == real;
        struct stat st;

        slash[root] = '\0';
        if (stat(real, &st) < 0)
            kms_skip(r, "%.300s: %s", real, strerror(errno));
        else if ((st.st_mode & S_IWOTH) && !(st.st_mode & S_ISVTX))
            kms_fail(r, "%.300s has mode %04o: every account may replace what is in it", real,
                     st.st_mode & 07777);
        if (root)
            return;
    }
}

static void stranger(struct kms_kit *k, struct kms_result *r)
{
    struct kms_answer a;
    struct lh_err err = {0};

    if (geteuid() != 0) {
        kms_skip(r, "only root can ask as somebody else");
        return;
    }
    /* SO_PEERCRED and the path's permissions both go by who connects. */
    if (seteuid(NOBODY) < 0 || kms_kit_reconnect(k, &err) < 0) {
        kms_skip(r, "uid %d could not be taken", NOBODY);
    } else {
        kms_status(k, &a);
        if (a.ok)
            kms_fail(r, "Status was answered to uid %d", NOBODY);
        kms_answer_done(&a);
    }
    if (seteuid(0) < 0)
        abort(); /* the tests that follow would judge with another's rights */
    if (kms_kit_reconnect(k, &err) < 0)
        kms_skip(r, "%.300s", err.msg);
}

const struct kms_test kms_host_tests[] = {
    {"socket-path", "The socket is a path of the file system, absolute, and not abstract.",
     SERVER ", ParseEndpoint; " UNIX7, is_path},
    {"socket-mode", "Other accounts may not connect to the socket.", UNIX7 "; " PROVIDER, mode},
    {"socket-owner", "The socket belongs to root or to whom listens on it.", UNIX7, owner},
    {"socket-folder", "No folder on the socket's way may be written by everybody.", UNIX7, folder},
    {"peer", "An account that is neither root's nor the plugin's is not answered.",
     UNIX7 " (SO_PEERCRED)", stranger},
    {0},
};
