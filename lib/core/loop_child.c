/* SPDX-License-Identifier: Apache-2.0 */
#include "loop_priv.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "leasehold/core/mem.h"
#include "leasehold/core/str.h"

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

struct lh_child {
    uv_process_t uv;
    struct lh_loop *loop;
    struct lh_timer *deadline;
    lh_child_fn done;
    void *arg;
    bool timed_out;
    struct lh_child *next, **prev; /* among the loop's orphans, prev NULL if not */
};

static void unlink_orphan(struct lh_child *c)
{
    if (!c->prev)
        return;
    *c->prev = c->next;
    if (c->next)
        c->next->prev = c->prev;
    c->prev = NULL;
}

static void on_closed(uv_handle_t *h)
{
    lh_free(h->data);
}

static void dispose(struct lh_child *c)
{
    unlink_orphan(c);
    lh_timer_free(c->deadline);
    c->deadline = NULL;
    uv_close((uv_handle_t *)&c->uv, on_closed);
}

static void on_exit_status(uv_process_t *uv, int64_t exit_status, int term_signal)
{
    struct lh_child *c = uv->data;
    lh_child_fn done = c->done;
    void *arg = c->arg;
    bool timed_out = c->timed_out;

    dispose(c);
    if (done)
        done(arg, (int)exit_status, term_signal, timed_out);
}

/* The child leads a session of its own, so what it started dies with it. */
static void kill_group(const struct lh_child *c)
{
    if (kill(-c->uv.pid, SIGKILL) < 0)
        kill(c->uv.pid, SIGKILL);
}

static void on_deadline(void *arg)
{
    struct lh_child *c = arg;

    c->timed_out = true;
    kill_group(c);
}

static void close_on_exec_by_list(void)
{
    DIR *d = opendir("/proc/self/fd");
    struct dirent *e;

    if (!d)
        return;
    while ((e = readdir(d))) {
        long long fd;

        if (lh_str_to_i64(lh_str(e->d_name), 3, 1 << 30, &fd))
            fcntl((int)fd, F_SETFD, FD_CLOEXEC);
    }
    closedir(d);
}

/* A library that forgot O_CLOEXEC must not hand a connection or a key to a child. No program of
 * ours passes a descriptor to a child, so all of them are meant. */
static void keep_descriptors(void)
{
#ifdef SYS_close_range
    if (syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
        return;
#endif
    close_on_exec_by_list();
}

static int spawn(struct lh_child *c, const char *const *argv, const char *const *envp)
{
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_IGNORE},
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = 2},
    };
    uv_process_options_t options = {
        .exit_cb = on_exit_status,
        .file = argv[0],
        .flags = UV_PROCESS_DETACHED,
        .stdio_count = 3,
        .stdio = stdio,
    };

    /* libuv declares them as not const and changes nothing. */
    memcpy(&options.args, &argv, sizeof(options.args));
    memcpy(&options.env, &envp, sizeof(options.env));
    keep_descriptors();
    return uv_spawn(&c->loop->uv, &c->uv, &options);
}

int lh_child_start(struct lh_loop *l, const char *const *argv, const char *const *envp,
                   int timeout_ms, lh_child_fn done, void *arg, struct lh_child **out,
                   struct lh_err *err)
{
    struct lh_child *c = lh_calloc(1, sizeof(*c));
    int rc = 0;

    if (!c)
        return lh_err_nomem(err);
    c->loop = l;
    c->done = done;
    c->arg = arg;
    c->uv.data = c;
    if (timeout_ms > 0)
        rc = lh_timer_new(l, on_deadline, c, &c->deadline, err);
    if (rc < 0) {
        lh_free(c);
        return rc;
    }
    rc = spawn(c, argv, envp);
    if (rc < 0) {
        dispose(c); /* libuv has the handle on its list even when it fails */
        return lh_err_os(err, -rc, "start %s", argv[0]);
    }
    if (c->deadline)
        lh_timer_in(c->deadline, timeout_ms);
    *out = c;
    return 0;
}

void lh_child_cancel(struct lh_child *c)
{
    struct lh_loop *l;

    if (!c)
        return;
    l = c->loop;
    kill_group(c);
    c->done = NULL;
    lh_timer_free(c->deadline);
    c->deadline = NULL;
    /* Kept until it is reaped, else it stays a zombie. */
    c->next = l->orphans;
    c->prev = &l->orphans;
    if (c->next)
        c->next->prev = &c->next;
    l->orphans = c;
}

void lh_loop_children_done(struct lh_loop *l)
{
    while (l->orphans)
        dispose(l->orphans);
}
