/* SPDX-License-Identifier: Apache-2.0 */
#include "peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support.h"

struct lh_loop *peer_loop;

void peer_open(struct peer *p, unsigned port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

    memset(p, 0, sizeof(*p));
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(p->fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        p->ended = true;
    fcntl(p->fd, F_SETFL, O_NONBLOCK);
    lh_loop_turn(peer_loop, 1);
}

void peer_close(struct peer *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
}

void peer_send_bytes(struct peer *p, const void *bytes, size_t n)
{
    const char *at = bytes;

    while (n) {
        ssize_t w = send(p->fd, at, n, MSG_NOSIGNAL);

        if (w < 0 && errno != EAGAIN)
            return; /* the server has had enough, which the test finds out */
        if (w < 0) {
            peer_read(p);
            if (p->ended)
                return;
            lh_loop_turn(peer_loop, 1);
            continue;
        }
        at += w;
        n -= (size_t)w;
    }
}

void peer_send(struct peer *p, const char *text)
{
    peer_send_bytes(p, text, strlen(text));
}

void peer_read(struct peer *p)
{
    char more[16384];
    ssize_t r;

    while ((r = recv(p->fd, more, sizeof(more), 0)) > 0) {
        size_t room = sizeof(p->got) - 1 - p->n, n = (size_t)r < room ? (size_t)r : room;

        memcpy(p->got + p->n, more, n);
        p->n += n;
        p->total += (size_t)r;
    }
    if (r == 0 || (errno != EAGAIN && errno != EINTR))
        p->ended = true;
}

struct wait {
    struct peer *p;
    const char *text;
};

static bool has_text(void *arg)
{
    struct wait *w = arg;

    peer_read(w->p);
    return w->p->ended || strstr(w->p->got, w->text);
}

bool peer_wait_for(struct peer *p, const char *text)
{
    struct wait w = {p, text};

    return lh_test_run_until(peer_loop, has_text, &w) && strstr(p->got, text);
}

static bool has_ended(void *arg)
{
    struct peer *p = arg;

    peer_read(p);
    return p->ended;
}

bool peer_wait_end(struct peer *p)
{
    return lh_test_run_until(peer_loop, has_ended, p);
}

void peer_turns(struct peer *p, int n)
{
    while (n-- > 0) {
        lh_loop_turn(peer_loop, 2);
        if (p)
            peer_read(p);
    }
}

unsigned peer_count(const struct peer *p, const char *text)
{
    unsigned n = 0;

    for (const char *at = strstr(p->got, text); at; at = strstr(at + 1, text))
        n++;
    return n;
}

void peer_forget(struct peer *p)
{
    memset(p->got, 0, sizeof(p->got));
    p->n = p->total = 0;
}
