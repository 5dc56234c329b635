/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server on lib/grpc for clients that are not ours: tests/component/test_grpc.py and
 * bench/grpc.py. It listens on descriptor 3, which its starter keeps, and drains on SIGTERM.
 *   /test.Echo/Echo the request back; /Deny an error; /Never no answer before the client gives up.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "leasehold/core/loop.h"
#include "leasehold/core/mem.h"
#include "leasehold/grpc/server.h"

enum { LISTENER = 3, DRAIN_MS = 5000 };

static struct lh_loop *loop;
static struct lh_grpc_server *server;

static void echo(void *arg, struct lh_grpc_call *call, struct lh_str request)
{
    (void)arg;
    lh_grpc_reply(call, request);
}

static void deny(void *arg, struct lh_grpc_call *call, struct lh_str request)
{
    (void)arg;
    (void)request;
    lh_grpc_fail(call, LH_GRPC_PERMISSION_DENIED, "100% no\nor \xc3\xbc");
}

static void give_up(void *arg)
{
    lh_grpc_fail(arg, LH_GRPC_CANCELLED, "");
}

static void never(void *arg, struct lh_grpc_call *call, struct lh_str request)
{
    (void)arg;
    (void)request;
    lh_grpc_call_on_cancel(call, give_up, call);
}

static const struct lh_grpc_method methods[] = {
    {"/test.Echo/Echo", echo},
    {"/test.Echo/Deny", deny},
    {"/test.Echo/Never", never},
    {NULL, NULL},
};

static void on_drained(void *arg)
{
    (void)arg;
    lh_loop_stop(loop);
}

static void on_term(void *arg, int signo)
{
    (void)arg;
    (void)signo;
    lh_grpc_server_drain(server, DRAIN_MS, on_drained, NULL);
}

static int run(struct lh_err *err)
{
    uid_t self = geteuid();
    struct lh_grpc_server_options opts = {.methods = methods, .peers = &self, .n_peers = 1};
    struct lh_grpc_server_stats stats;
    struct lh_signal *term;
    int rc = lh_loop_new(&loop, err);

    if (rc < 0)
        return rc;
    opts.loop = loop;
    rc = lh_grpc_server_new(&opts, &server, err);
    if (rc < 0)
        return rc;
    rc = lh_grpc_server_listen(server, LISTENER, err);
    if (rc < 0)
        return rc;
    rc = lh_signal_new(loop, SIGTERM, on_term, NULL, &term, err);
    if (rc < 0)
        return rc;
    puts("{\"ready\": true}");
    fflush(stdout);
    lh_loop_run(loop, err);
    lh_grpc_server_stats(server, &stats);
    printf("{\"connections\": %lu, \"calls\": %lu, \"failed\": %lu, \"cancelled\": %lu, "
           "\"resets\": %lu}\n",
           stats.connections, stats.calls, stats.failed, stats.cancelled, stats.resets);
    lh_grpc_server_free(server);
    lh_signal_free(term);
    lh_loop_free(loop);
    return 0;
}

int main(void)
{
    struct lh_err err;

    lh_mem_init();
    if (run(&err) < 0) {
        fprintf(stderr, "grpc_echo: %s\n", err.msg);
        return 1;
    }
    return lh_mem_live_blocks() > 0;
}
