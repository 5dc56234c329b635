/* SPDX-License-Identifier: Apache-2.0 */
/* leasehold-mount: all that the node needs privileges for, and nothing else. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/proc.h"
#include "options.h"
#include "sandbox.h"
#include "server.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static volatile sig_atomic_t stop;

static void on_signal(int signo)
{
    stop = signo;
}

/* Taken only while we wait: a request that was begun is finished. */
static int catch_signals(sigset_t *outside, struct lh_err *err)
{
    const struct sigaction a = {.sa_handler = on_signal};
    sigset_t both;

    sigemptyset(&both);
    sigaddset(&both, SIGTERM);
    sigaddset(&both, SIGINT);
    if (sigprocmask(SIG_BLOCK, &both, outside) < 0 || sigaction(SIGTERM, &a, NULL) < 0 ||
        sigaction(SIGINT, &a, NULL) < 0)
        return lh_err_os(err, errno, "catch signals");
    return 0;
}

static int listen_for_peer(struct lh_mount_server *s, const char *path, struct lh_err *err)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    lh_auto_free char *folder =
        slash ? lh_strndup(path, (size_t)(slash - path) + 1) : lh_strdup(".");
    int dir;

    if (!folder)
        return lh_err_nomem(err);
    if (!*name || strlen(name) >= sizeof(s->control.name))
        return lh_err_set(err, LH_E_INVALID, "--socket must name a file, of less than %zu bytes",
                          sizeof(s->control.name));
    dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return lh_err_os(err, errno, "open the folder of --socket");
    /* Open to all: who asks is judged by SO_PEERCRED, and root could not give it away safely in a
     * folder that the peer may write to. */
    return lh_mount_listen(&s->control, dir, name, SOCK_SEQPACKET, 0666, err);
}

static int listen_for_kubelet(struct lh_mount_server *s, struct lh_err *err)
{
    static const char *const own[] = {"plugins", LH_MOUNT_DRIVER, NULL};
    static const char *const registry[] = {"plugins_registry", NULL};
    int dir = lh_mount_folder(s->host, own, err), rc;

    if (dir < 0)
        return -(int)LH_E_OS;
    rc = lh_mount_listen(&s->csi, dir, "csi.sock", SOCK_STREAM, 0600, err);
    if (rc < 0)
        return rc;
    dir = lh_mount_folder(s->host, registry, err);
    if (dir < 0)
        return -(int)LH_E_OS;
    return lh_mount_listen(&s->registration, dir, LH_MOUNT_DRIVER "-reg.sock", SOCK_STREAM, 0600,
                           err);
}

static int run(const struct lh_mount_options *o, struct lh_err *err)
{
    static struct lh_mount_host host;
    static struct lh_mount_server server = {.host = &host};
    sigset_t outside;
    int rc = lh_mount_leave_network(err);

    if (rc == 0)
        rc = catch_signals(&outside, err);
    if (rc == 0)
        rc = lh_mount_host_open(&host, o->kubelet_dir, o->peer_uid, err);
    if (rc == 0)
        rc = listen_for_kubelet(&server, err);
    if (rc == 0)
        rc = listen_for_peer(&server, o->socket, err);
    if (rc == 0)
        rc = lh_mount_confine(err);
    if (rc < 0)
        return rc;
    if (!host.noswap)
        lh_log_warn("volumes may be swapped: Linux older than 6.4; turn swap off or encrypt it");
    lh_log_info("serving", LH_F_STR("pods", host.pods), LH_F_INT("peer", o->peer_uid));
    rc = lh_mount_serve(&server, &stop, &outside, err);
    lh_mount_unlink(&server.registration);
    lh_mount_unlink(&server.csi);
    lh_mount_unlink(&server.control);
    lh_log_info("ended", LH_F_INT("signal", stop));
    return rc;
}

static int fail(int status, const struct lh_err *err)
{
    fprintf(stderr, "leasehold-mount: %s\n", err->msg);
    return status;
}

static int print_docs(const char *page)
{
    lh_auto_buf struct lh_buf b;
    struct lh_err err = {0};
    struct lh_str s;

    lh_buf_init(&b, (size_t)64 * 1024);
    if (!page)
        lh_mount_options_help(&b);
    else if (lh_mount_options_docs(page, &b, &err) < 0)
        return fail(EXIT_USAGE, &err);
    s = lh_buf_peek(&b);
    return fwrite(s.p, 1, s.n, stdout) == s.n ? EXIT_OK : EXIT_FAILED;
}

int main(int argc, char **argv)
{
    struct lh_mount_options o;
    struct lh_err err = {0};

    lh_mem_init();
    if (lh_proc_harden(&err) < 0)
        return fail(EXIT_FAILED, &err);
    if (lh_mount_options_parse(argc, argv, &o, &err) < 0)
        return fail(EXIT_USAGE, &err);
    if (o.help || o.docs)
        return print_docs(o.docs);
    if (o.version)
        return puts("leasehold-mount " LH_VERSION) < 0 ? EXIT_FAILED : EXIT_OK;
    lh_log_init("leasehold-mount", o.log_level, STDERR_FILENO);
    if (run(&o, &err) == 0)
        return EXIT_OK;
    lh_log_error("stopped", LH_F_ERR(&err));
    return EXIT_FAILED;
}
