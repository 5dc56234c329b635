/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "leasehold/core/mem.h"
#include "leasehold/core/netaddr.h"
#include "client_priv.h"

enum {
    DEFAULT_MAX_MESSAGE = 4 << 20,
    /* A full backlog is asked again: connect() does not wait on a UNIX socket. */
    RETRY_FIRST_MS = 5,
    RETRY_MAX_MS = 200,
};

void lh_grpc_client_calls_add(struct lh_grpc_client_calls *list, struct lh_grpc_client_call *call)
{
    call->prev = list->last;
    call->next = NULL;
    if (list->last)
        list->last->next = call;
    else
        list->first = call;
    list->last = call;
}

void lh_grpc_client_calls_remove(struct lh_grpc_client_calls *list,
                                 struct lh_grpc_client_call *call)
{
    assert(list); /* for analysers */
    if (call->prev)
        call->prev->next = call->next;
    else
        list->first = call->next;
    if (call->next)
        call->next->prev = call->prev;
    else
        list->last = call->prev;
}

void lh_grpc_client_wake(struct lh_grpc_client *c, lh_ms when)
{
    if (when != INT64_MAX && (!lh_timer_is_armed(c->timer) || when < lh_timer_when(c->timer)))
        lh_timer_at(c->timer, when);
}

static void leave_list(struct lh_grpc_client_call *call)
{
    struct lh_grpc_client *c = call->client;

    switch (call->state) {
    case LH_GRPC_CLIENT_WAITING:
        lh_grpc_client_calls_remove(&c->waiting, call);
        break;
    case LH_GRPC_CLIENT_OPEN:
        lh_grpc_client_calls_remove(&call->conn->open, call);
        break;
    case LH_GRPC_CLIENT_ENDED:
        lh_grpc_client_calls_remove(&c->ended, call);
        break;
    }
    call->conn = NULL;
}

static void call_free(struct lh_grpc_client_call *call)
{
    lh_grpc_reader_done(&call->reader);
    lh_free(call->request);
    lh_free(call->method);
    lh_free(call);
}

void lh_grpc_client_end(struct lh_grpc_client_call *call, enum lh_grpc_status status,
                        const char *text)
{
    leave_list(call);
    call->state = LH_GRPC_CLIENT_ENDED;
    call->status = status;
    if (text != call->text)
        snprintf(call->text, sizeof(call->text), "%s", text);
    lh_grpc_client_calls_add(&call->client->ended, call);
    lh_grpc_client_wake(call->client, lh_clock_now());
}

static struct lh_grpc_client_conn *usable(struct lh_grpc_client *c)
{
    for (struct lh_grpc_client_conn *conn = c->conns; conn; conn = conn->next) {
        if (!conn->draining && !conn->link.broken)
            return conn;
    }
    return NULL;
}

static void end_waiting(struct lh_grpc_client *c, enum lh_grpc_status status, const char *text)
{
    while (c->waiting.first)
        lh_grpc_client_end(c->waiting.first, status, text);
}

/* Gives the waiting calls a connection, or ends them. */
static void connect_waiting(struct lh_grpc_client *c)
{
    struct lh_grpc_client_conn *conn = usable(c);
    bool again = false;
    struct lh_err err;

    if (!conn && lh_grpc_client_conn_open(c, &conn, &again, &err) < 0) {
        if (again) {
            c->retry_at = lh_clock_now() + c->retry_delay;
            c->retry_delay = c->retry_delay * 2 < RETRY_MAX_MS ? c->retry_delay * 2 : RETRY_MAX_MS;
            lh_grpc_client_wake(c, c->retry_at);
        } else {
            end_waiting(c, LH_GRPC_UNAVAILABLE, err.msg);
        }
        return;
    }
    c->retry_at = INT64_MAX;
    c->retry_delay = RETRY_FIRST_MS;
    while (c->waiting.first && !conn->draining && !conn->link.broken)
        lh_grpc_client_conn_submit(conn, c->waiting.first);
    lh_grpc_client_conn_flush(conn);
    end_waiting(c, LH_GRPC_UNAVAILABLE, "the connection was lost");
}

/* The soonest deadline that is not past. */
static lh_ms expire_list(struct lh_grpc_client_calls *list, lh_ms now)
{
    struct lh_grpc_client_call *call = list->first, *next;
    lh_ms soonest = INT64_MAX;

    for (; call; call = next) {
        next = call->next;
        if (call->deadline <= now) {
            if (call->state == LH_GRPC_CLIENT_OPEN)
                lh_grpc_client_conn_drop(call);
            lh_grpc_client_end(call, LH_GRPC_DEADLINE_EXCEEDED, "the deadline passed");
        } else if (call->deadline < soonest) {
            soonest = call->deadline;
        }
    }
    return soonest;
}

static void expire(struct lh_grpc_client *c)
{
    lh_ms now = lh_clock_now();

    lh_grpc_client_wake(c, expire_list(&c->waiting, now));
    for (struct lh_grpc_client_conn *conn = c->conns; conn; conn = conn->next) {
        lh_grpc_client_wake(c, expire_list(&conn->open, now));
        lh_grpc_client_conn_flush(conn);
    }
}

/* Users may do anything from inside, free the client too. */
static void call_back(struct lh_grpc_client *c)
{
    c->calling_back = true;
    while (c->ended.first) {
        struct lh_grpc_client_call *call = c->ended.first;
        struct lh_str message = LH_STR("");

        lh_grpc_client_calls_remove(&c->ended, call);
        if (call->status == LH_GRPC_OK)
            message = lh_buf_peek(&call->reader.message);
        call->done(call->arg, call->status, message, call->status == LH_GRPC_OK ? "" : call->text);
        call_free(call);
    }
    c->calling_back = false;
    if (c->doomed)
        lh_grpc_client_free(c);
}

static void on_timer(void *arg)
{
    struct lh_grpc_client *c = arg;

    expire(c);
    if (c->waiting.first && c->retry_at <= lh_clock_now())
        connect_waiting(c);
    call_back(c);
}

static int to_path(struct lh_grpc_client *c, const char *path, struct lh_err *err)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&c->to;

    if (strlen(path) >= sizeof(un->sun_path))
        return lh_err_set(err, LH_E_INVALID, "the path of a socket has at most 107 bytes: %s",
                          path);
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, strlen(path) + 1);
    c->to_bytes = sizeof(*un);
    c->authority = "localhost";
    return 0;
}

/* "127.0.0.1:2379" or "[::1]:2379". */
static int to_address(struct lh_grpc_client *c, const char *address, struct lh_err *err)
{
    const char *colon = strrchr(address, ':');
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&c->to;
    struct sockaddr_in *in = (struct sockaddr_in *)&c->to;
    size_t n = colon ? (size_t)(colon - address) : 0;
    char host[64] = "";
    struct lh_ip ip;
    long long port;
    bool v4 = false, brackets = n > 2 && address[0] == '[' && address[n - 1] == ']';

    snprintf(host, sizeof(host), "%.*s", (int)(brackets ? n - 2 : n), address + (brackets ? 1 : 0));
    if (!colon || n >= sizeof(host) || !lh_str_to_i64(lh_str(colon + 1), 1, 65535, &port) ||
        !lh_ip_parse(host, &ip, &v4) || v4 == brackets)
        return lh_err_set(err, LH_E_INVALID, "not an IP address and a port: %s", address);
    if (v4) {
        *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
        memcpy(&in->sin_addr, ip.b + 12, 4);
        c->to_bytes = sizeof(*in);
    } else {
        *in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
        memcpy(&in6->sin6_addr, ip.b, 16);
        c->to_bytes = sizeof(*in6);
    }
    c->authority = c->name;
    return 0;
}

static int fill_client(struct lh_grpc_client *c, const struct lh_grpc_client_options *opts,
                       struct lh_err *err)
{
    int rc;

    c->loop = opts->loop;
    c->max_message = opts->max_message ? opts->max_message : DEFAULT_MAX_MESSAGE;
    c->retry_delay = RETRY_FIRST_MS;
    c->name = lh_strdup(opts->address ? opts->address : opts->path);
    if (!c->name)
        return lh_err_nomem(err);
    rc = opts->address ? to_address(c, opts->address, err) : to_path(c, opts->path, err);
    if (rc == 0 && opts->tls)
        rc = lh_grpc_tls_context_new(opts->tls, &c->tls, err);
    if (rc < 0)
        return rc;
    rc = lh_grpc_client_callbacks(&c->callbacks, err);
    if (rc < 0)
        return rc;
    return lh_timer_new(c->loop, on_timer, c, &c->timer, err);
}

int lh_grpc_client_new(const struct lh_grpc_client_options *opts, struct lh_grpc_client **out,
                       struct lh_err *err)
{
    struct lh_grpc_client *c;
    int rc;

    c = lh_calloc(1, sizeof(*c));
    if (!c)
        return lh_err_nomem(err);
    rc = fill_client(c, opts, err);
    if (rc < 0) {
        lh_grpc_client_free(c);
        return rc;
    }
    *out = c;
    return 0;
}

void lh_grpc_client_free(struct lh_grpc_client *c)
{
    if (!c)
        return;
    while (c->conns)
        lh_grpc_client_conn_close(c->conns, "");
    end_waiting(c, LH_GRPC_CANCELLED, "");
    while (c->ended.first) {
        struct lh_grpc_client_call *call = c->ended.first;

        lh_grpc_client_calls_remove(&c->ended, call);
        call_free(call);
    }
    c->doomed = true;
    if (c->calling_back)
        return;
    lh_timer_free(c->timer);
    nghttp2_session_callbacks_del(c->callbacks);
    lh_grpc_tls_context_free(c->tls);
    lh_free(c->name);
    lh_free(c);
}

static int fill_call(struct lh_grpc_client_call *call, const char *method, struct lh_str message,
                     struct lh_err *err)
{
    if (message.n > UINT32_MAX)
        return lh_err_set(err, LH_E_TOOBIG, "%s: the request is larger than 4 GiB", method);
    call->request_bytes = LH_GRPC_PREFIX_BYTES + message.n;
    call->method = lh_strdup(method);
    call->request = lh_malloc(call->request_bytes);
    if (!call->method || !call->request)
        return lh_err_nomem(err);
    lh_grpc_put_prefix((unsigned char *)call->request, message.n);
    if (message.n > 0)
        memcpy(call->request + LH_GRPC_PREFIX_BYTES, message.p, message.n);
    return 0;
}

int lh_grpc_client_start(struct lh_grpc_client *c, const char *method, struct lh_str message,
                         unsigned timeout_ms, lh_grpc_answer_fn done, void *arg,
                         struct lh_grpc_client_call **out, struct lh_err *err)
{
    struct lh_grpc_client_call *call = lh_calloc(1, sizeof(*call));
    int rc;

    if (!call)
        return lh_err_nomem(err);
    call->client = c;
    call->done = done;
    call->arg = arg;
    call->timeout_ms = timeout_ms;
    call->deadline = timeout_ms > 0 ? lh_clock_now() + timeout_ms : INT64_MAX;
    call->grpc_status = -1;
    lh_grpc_reader_init(&call->reader, c->max_message);
    rc = fill_call(call, method, message, err);
    if (rc < 0) {
        call_free(call);
        return rc;
    }
    call->state = LH_GRPC_CLIENT_WAITING;
    lh_grpc_client_calls_add(&c->waiting, call);
    lh_grpc_client_wake(c, call->deadline);
    if (c->retry_at <= lh_clock_now() || c->retry_at == INT64_MAX) {
        c->retry_at = lh_clock_now();
        lh_grpc_client_wake(c, c->retry_at);
    }
    *out = call;
    return 0;
}

void lh_grpc_client_cancel(struct lh_grpc_client_call *call)
{
    struct lh_grpc_client_conn *conn;

    if (!call)
        return;
    conn = call->state == LH_GRPC_CLIENT_OPEN ? call->conn : NULL;
    if (conn)
        lh_grpc_client_conn_drop(call);
    leave_list(call);
    call_free(call);
    if (conn)
        lh_grpc_client_conn_flush(conn);
}
