/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a whole connection into the server: nothing is left of it once it is closed. */
#include <assert.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "leasehold/core/mem.h"
#include "server_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_TURNS = 1000 };

static void echo(void *arg, struct lh_grpc_call *call, struct lh_str request)
{
    (void)arg;
    lh_grpc_reply(call, request);
}

static const struct lh_grpc_method methods[] = {{"/test.Echo/Echo", echo}, {NULL, NULL}};

static void feed(struct lh_loop *loop, int fd, const uint8_t *data, size_t size)
{
    char answer[4096];

    for (int i = 0; i < MAX_TURNS && size > 0; i++) {
        ssize_t n = send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n > 0) {
            data += n;
            size -= (size_t)n;
        }
        lh_loop_turn(loop, 0);
        while (recv(fd, answer, sizeof(answer), MSG_DONTWAIT) > 0)
            ;
    }
    for (int i = 0; i < 4; i++)
        lh_loop_turn(loop, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uid_t self = geteuid();
    struct lh_grpc_server_options opts = {
        .methods = methods, .peers = &self, .n_peers = 1, .max_message = 65536};
    size_t live = lh_mem_live_blocks();
    struct lh_grpc_server *server;
    struct lh_loop *loop;
    int fd[2], rc;

    rc = lh_loop_new(&loop, NULL);
    assert(rc == 0);
    opts.loop = loop;
    rc = lh_grpc_server_new(&opts, &server, NULL);
    assert(rc == 0);
    rc = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd);
    assert(rc == 0);
    rc = lh_grpc_server_adopt(server, fd[0], NULL);
    assert(rc == 0);
    feed(loop, fd[1], data, size);
    close(fd[1]);
    lh_grpc_server_free(server);
    lh_loop_free(loop);
    assert(lh_mem_live_blocks() == live);
    return 0;
}
