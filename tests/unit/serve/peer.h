/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_TEST_SERVE_PEER_H
#define LH_TEST_SERVE_PEER_H

/* The other end of a connection, on the same thread: a socket that is written to and read from
 * between turns of the server's loop. */
#include <stdbool.h>
#include <stddef.h>

#include "leasehold/core/loop.h"
#include "leasehold/serve/server.h"

struct peer {
    int fd;
    char got[16384];
    size_t n;
    size_t total; /* also what no longer fits into got */
    bool ended;   /* the server's side is shut or reset */
};

extern struct lh_loop *peer_loop;

/* Connects to a port on 127.0.0.1 and turns the loop once. */
void peer_open(struct peer *p, unsigned port);
void peer_close(struct peer *p);
void peer_send(struct peer *p, const char *text);
void peer_send_bytes(struct peer *p, const void *bytes, size_t n);
/* Takes what is there. */
void peer_read(struct peer *p);
/* Turns the loop until so much text came, or the connection ended; false after 10 s. */
bool peer_wait_for(struct peer *p, const char *text);
bool peer_wait_end(struct peer *p);
/* A few turns, for what must not happen. */
void peer_turns(struct peer *p, int n);
unsigned peer_count(const struct peer *p, const char *text);
void peer_forget(struct peer *p);

#endif
