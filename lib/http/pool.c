/* SPDX-License-Identifier: Apache-2.0 */
#include "http_priv.h"
#include "leasehold/core/mem.h"

struct sock {
    struct http_pool *pool;
    struct lh_poll *poll;
    curl_socket_t fd;
};

static void on_ready(void *arg, int events, int os)
{
    struct sock *s = arg;
    int mask = (events & LH_POLL_IN ? CURL_CSELECT_IN : 0) |
               (events & LH_POLL_OUT ? CURL_CSELECT_OUT : 0) | (os ? CURL_CSELECT_ERR : 0);

    http_pool_run(s->pool, s->fd, mask);
}

static void sock_free(struct sock *s)
{
    if (!s)
        return;
    lh_poll_free(s->poll);
    lh_free(s);
}

static struct sock *sock_new(struct http_pool *p, curl_socket_t fd)
{
    struct sock *s = lh_calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->pool = p;
    s->fd = fd;
    if (lh_poll_new(p->h->loop, fd, on_ready, s, &s->poll, NULL) < 0) {
        lh_free(s);
        return NULL;
    }
    curl_multi_assign(p->multi, fd, s);
    return s;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *sockp)
{
    struct http_pool *p = arg;
    struct sock *s = sockp;
    int events = (what & CURL_POLL_IN ? LH_POLL_IN : 0) | (what & CURL_POLL_OUT ? LH_POLL_OUT : 0);

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        sock_free(s);
        return 0;
    }
    if (!s)
        s = sock_new(p, fd);
    if (!s || lh_poll_set(s->poll, events, NULL) < 0) {
        p->broken = true;
        return -1;
    }
    return 0;
}

static int on_timeout(CURLM *multi, long ms, void *arg)
{
    struct http_pool *p = arg;

    (void)multi;
    if (ms < 0)
        lh_timer_stop(p->timer);
    else
        lh_timer_in(p->timer, ms);
    return 0;
}

static void on_timer(void *arg)
{
    http_pool_run(arg, CURL_SOCKET_TIMEOUT, 0);
}

int http_pool_new(struct lh_http *h, struct http_pool **out, struct lh_err *err)
{
    struct http_pool *p = lh_calloc(1, sizeof(*p));
    int rc;

    if (!p)
        return lh_err_nomem(err);
    p->h = h;
    rc = lh_timer_new(h->loop, on_timer, p, &p->timer, err);
    if (rc < 0) {
        lh_free(p);
        return rc;
    }
    p->multi = curl_multi_init();
    if (!p->multi) {
        http_pool_free(p);
        return lh_err_nomem(err);
    }
    curl_multi_setopt(p->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(p->multi, CURLMOPT_SOCKETDATA, p);
    curl_multi_setopt(p->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    curl_multi_setopt(p->multi, CURLMOPT_TIMERDATA, p);
    curl_multi_setopt(p->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    curl_multi_setopt(p->multi, CURLMOPT_MAXCONNECTS, (long)h->max_in_flight);
    *out = p;
    return 0;
}

void http_pool_free(struct http_pool *p)
{
    if (!p)
        return;
    p->h->in_curl++;
    curl_multi_cleanup(p->multi);
    p->h->in_curl--;
    lh_timer_free(p->timer);
    lh_free(p);
}

void http_pool_retire(struct lh_http *h)
{
    struct http_pool *p = h->pool;

    if (!p)
        return;
    h->pool = NULL;
    if (p->transfers == 0 && !h->in_curl && !h->delivering) {
        http_pool_free(p);
        return;
    }
    p->next = h->retired;
    h->retired = p;
}

void http_pool_run(struct http_pool *p, curl_socket_t fd, int mask)
{
    struct lh_http *h = p->h;
    int running;

    h->in_curl++;
    /* It fails for want of memory only, and its table of sockets is not to be used after that. */
    if (curl_multi_socket_action(p->multi, fd, mask, &running) != CURLM_OK)
        p->broken = true;
    h->in_curl--;
    http_settle(h);
}

/* Results end transfers, and may start the same op anew after a redirect, in the same pool. */
void http_pool_collect(struct http_pool *p)
{
    CURLMsg *msg;
    int left;

    while ((msg = curl_multi_info_read(p->multi, &left)) != NULL) {
        struct lh_http_op *op = NULL;

        if (msg->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &op);
        http_transfer_done(op, msg->data.result);
    }
}
