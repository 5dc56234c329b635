/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/kmsv2/client.h"

#include <stdio.h>

#include "leasehold/core/mem.h"
#include "leasehold/grpc/client.h"

enum { SAID_MAX = 120 };

struct lh_kmsv2_client {
    struct lh_grpc_client *grpc;
    struct lh_kmsv2_call *calls;
    unsigned timeout_ms;
};

struct lh_kmsv2_call {
    struct lh_kmsv2_client *client;
    struct lh_kmsv2_call *next, *prev;
    struct lh_grpc_client_call *grpc;
    /* Hands an answer that came on. */
    void (*deliver)(struct lh_kmsv2_call *call, struct lh_str message);
    /* One of the three; the others NULL. */
    lh_kmsv2_status_fn on_status;
    lh_kmsv2_encrypt_fn on_encrypt;
    lh_kmsv2_decrypt_fn on_decrypt;
    void *arg;
};

int lh_kmsv2_client_new(struct lh_loop *loop, const char *path, unsigned timeout_ms,
                        struct lh_kmsv2_client **out, struct lh_err *err)
{
    struct lh_grpc_client_options opts = {
        .loop = loop, .path = path, .max_message = LH_KMSV2_MESSAGE_MAX};
    struct lh_kmsv2_client *c = lh_calloc(1, sizeof(*c));
    int rc;

    if (!c)
        return lh_err_nomem(err);
    rc = lh_grpc_client_new(&opts, &c->grpc, err);
    if (rc < 0) {
        lh_free(c);
        return rc;
    }
    c->timeout_ms = timeout_ms;
    *out = c;
    return 0;
}

static void forget(struct lh_kmsv2_call *call)
{
    if (call->prev)
        call->prev->next = call->next;
    else
        call->client->calls = call->next;
    if (call->next)
        call->next->prev = call->prev;
    lh_free(call);
}

void lh_kmsv2_cancel(struct lh_kmsv2_call *call)
{
    if (!call)
        return;
    lh_grpc_client_cancel(call->grpc);
    forget(call);
}

void lh_kmsv2_client_free(struct lh_kmsv2_client *c)
{
    if (!c)
        return;
    while (c->calls)
        lh_kmsv2_cancel(c->calls);
    lh_grpc_client_free(c->grpc);
    lh_free(c);
}

static int code_of(enum lh_grpc_status s)
{
    switch (s) {
    case LH_GRPC_INVALID_ARGUMENT:
    case LH_GRPC_FAILED_PRECONDITION:
    case LH_GRPC_OUT_OF_RANGE:
    case LH_GRPC_UNIMPLEMENTED:
    case LH_GRPC_DATA_LOSS:
        return LH_E_INVALID;
    case LH_GRPC_NOT_FOUND:
        return LH_E_NOTFOUND;
    case LH_GRPC_PERMISSION_DENIED:
    case LH_GRPC_UNAUTHENTICATED:
        return LH_E_DENIED;
    case LH_GRPC_RESOURCE_EXHAUSTED:
        return LH_E_BUSY;
    default:
        return LH_E_UNAVAILABLE;
    }
}

/* The plugin's words within what an error may hold: printable ASCII, not long. */
static void failure(enum lh_grpc_status status, const char *text, struct lh_err *err)
{
    char said[SAID_MAX + 1];
    size_t n = 0;

    for (; text[n] && n < SAID_MAX; n++)
        said[n] = text[n] >= ' ' && text[n] <= '~' ? text[n] : '?';
    said[n] = '\0';
    *err = (struct lh_err){0};
    lh_err_fill(err, code_of(status), "%s%s%s", lh_grpc_status_name(status), n ? ": " : "", said);
}

static void deliver_err(struct lh_kmsv2_call *call, enum lh_grpc_status status,
                        const struct lh_err *err)
{
    if (call->on_status)
        call->on_status(call->arg, status, NULL, err);
    else if (call->on_encrypt)
        call->on_encrypt(call->arg, status, NULL, err);
    else
        call->on_decrypt(call->arg, status, NULL, err);
}

static void deliver_status(struct lh_kmsv2_call *call, struct lh_str message)
{
    struct lh_kmsv2_status m = {0};
    struct lh_err err = {0};

    if (lh_kmsv2_read_status(message, &m, &err) < 0)
        deliver_err(call, LH_GRPC_OK, &err);
    else
        call->on_status(call->arg, LH_GRPC_OK, &m, NULL);
    lh_kmsv2_status_done(&m);
}

static void deliver_encrypt(struct lh_kmsv2_call *call, struct lh_str message)
{
    struct lh_kmsv2_encrypt_response m = {0};
    struct lh_err err = {0};

    if (lh_kmsv2_read_encrypt_response(message, &m, &err) < 0)
        deliver_err(call, LH_GRPC_OK, &err);
    else
        call->on_encrypt(call->arg, LH_GRPC_OK, &m.sealed, NULL);
    lh_kmsv2_encrypt_response_done(&m);
}

static void deliver_decrypt(struct lh_kmsv2_call *call, struct lh_str message)
{
    struct lh_kmsv2_decrypt_response m = {0};
    struct lh_err err = {0};

    if (lh_kmsv2_read_decrypt_response(message, &m, &err) < 0)
        deliver_err(call, LH_GRPC_OK, &err);
    else
        call->on_decrypt(call->arg, LH_GRPC_OK, m.plaintext, NULL);
    lh_kmsv2_decrypt_response_done(&m);
}

static void on_answer(void *arg, enum lh_grpc_status status, struct lh_str message,
                      const char *text)
{
    struct lh_kmsv2_call *call = arg, copy = *call;

    /* First: done may free the client. */
    forget(call);
    if (status == LH_GRPC_OK) {
        copy.deliver(&copy, message);
    } else {
        struct lh_err err;

        failure(status, text, &err);
        deliver_err(&copy, status, &err);
    }
}

static int start(struct lh_kmsv2_client *c, const char *method, const struct lh_buf *message,
                 const struct lh_kmsv2_call *how, struct lh_kmsv2_call **out, struct lh_err *err)
{
    struct lh_kmsv2_call *call = lh_memdup(how, sizeof(*how));
    int rc;

    if (!call)
        return lh_err_nomem(err);
    call->client = c;
    rc = lh_grpc_client_start(c->grpc, method, lh_buf_peek(message), c->timeout_ms, on_answer, call,
                              &call->grpc, err);
    if (rc < 0) {
        lh_free(call);
        return rc;
    }
    call->next = c->calls;
    if (c->calls)
        c->calls->prev = call;
    c->calls = call;
    if (out)
        *out = call;
    return 0;
}

int lh_kmsv2_start_status(struct lh_kmsv2_client *c, lh_kmsv2_status_fn done, void *arg,
                          struct lh_kmsv2_call **out, struct lh_err *err)
{
    struct lh_kmsv2_call how = {.deliver = deliver_status, .on_status = done, .arg = arg};
    lh_auto_buf struct lh_buf b;

    lh_buf_init(&b, LH_KMSV2_MESSAGE_MAX);
    return start(c, LH_KMSV2_STATUS, &b, &how, out, err);
}

int lh_kmsv2_start_encrypt(struct lh_kmsv2_client *c, const struct lh_kmsv2_encrypt_request *req,
                           lh_kmsv2_encrypt_fn done, void *arg, struct lh_kmsv2_call **out,
                           struct lh_err *err)
{
    struct lh_kmsv2_call how = {.deliver = deliver_encrypt, .on_encrypt = done, .arg = arg};
    lh_auto_buf struct lh_buf b;
    int rc;

    lh_buf_init(&b, LH_KMSV2_MESSAGE_MAX);
    rc = lh_kmsv2_put_encrypt_request(&b, req, err);
    return rc < 0 ? rc : start(c, LH_KMSV2_ENCRYPT, &b, &how, out, err);
}

int lh_kmsv2_start_decrypt(struct lh_kmsv2_client *c, const struct lh_kmsv2_decrypt_request *req,
                           lh_kmsv2_decrypt_fn done, void *arg, struct lh_kmsv2_call **out,
                           struct lh_err *err)
{
    struct lh_kmsv2_call how = {.deliver = deliver_decrypt, .on_decrypt = done, .arg = arg};
    lh_auto_buf struct lh_buf b;
    int rc;

    lh_buf_init(&b, LH_KMSV2_MESSAGE_MAX);
    rc = lh_kmsv2_put_decrypt_request(&b, req, err);
    return rc < 0 ? rc : start(c, LH_KMSV2_DECRYPT, &b, &how, out, err);
}
