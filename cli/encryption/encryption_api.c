/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Not lib/kube: a Secret that is written back as it came is never decoded here, lists ask for
 * metadata alone, and metrics are text.
 */
#include <stdio.h>
#include <string.h>

#include "encryption.h"
#include "leasehold/core/mem.h"
#include "leasehold/http/client.h"

enum { ANSWER_MAX = 64 * 1024 * 1024, FIRST_PAUSE_MS = 250, TOKEN_MAX = 64 * 1024 };
/* A hosted loop may have done what is waited for before it waits. */
enum { TURN_MS = 20 };

struct enc_api {
    struct lh_loop *loop;
    struct lh_http *http;
    char *server;
    struct enc_api_limits limits;
    struct lh_secret *bearer; /* NULL: a client certificate */
};

struct call {
    bool done;
    int rc, status, retry_ms;
    struct lh_secret *body;
    struct lh_err *err;
};

static void on_answer(void *arg, const struct lh_http_answer *ans, const struct lh_err *err)
{
    struct call *c = arg;

    c->done = true;
    if (err) {
        if (c->err)
            *c->err = *err;
        c->rc = lh_err_negative(-err->code);
        return;
    }
    c->status = ans->status;
    c->retry_ms = ans->retry_after_ms;
    c->rc = lh_secret_copy(ans->body ? lh_secret_expose_const(ans->body) : "",
                           ans->body ? lh_secret_len(ans->body) : 0, &c->body, c->err);
}

static int bearer_of(const struct lh_kube_config *cfg, struct lh_secret **out, struct lh_err *err)
{
    static const char prefix[] = "Bearer ";
    lh_auto_secret struct lh_secret *read = NULL;
    const struct lh_secret *token = cfg->token;
    int rc = 0;

    if (cfg->token_file) {
        rc = lh_secret_read_token(cfg->token_file, TOKEN_MAX, &read, err);
        token = read;
    }
    if (rc < 0 || !token)
        return rc;
    rc = lh_secret_new(strlen(prefix) + lh_secret_len(token), out, err);
    if (rc < 0)
        return rc;
    memcpy(lh_secret_expose(*out), prefix, strlen(prefix));
    memcpy((char *)lh_secret_expose(*out) + strlen(prefix), lh_secret_expose_const(token),
           lh_secret_len(token));
    return 0;
}

static int http_of(struct enc_api *a, const struct lh_kube_config *cfg, struct lh_err *err)
{
    static const char *const anywhere[] = {"0.0.0.0/0", "::/0", NULL};
    const struct lh_http_options opts = {
        .ca_pem = lh_str(cfg->ca_pem),
        .ca_file = cfg->ca_file,
        .server_name = cfg->tls_server_name,
        .client_cert_pem = lh_str(cfg->client_cert_pem),
        .client_key_pem = cfg->client_key_pem,
        .client_cert_file = cfg->client_cert_file,
        .client_key_file = cfg->client_key_file,
        .requests_per_second = a->limits.rate,
        .allow_addresses = anywhere,
        .allow_loopback = true,
    };

    return lh_http_new(a->loop, &opts, &a->http, err);
}

int enc_api_open(struct lh_loop *loop, const struct lh_kube_config *cfg, const char *server,
                 const struct enc_api_limits *limits, struct enc_api **out, struct lh_err *err)
{
    struct enc_api *a = lh_calloc(1, sizeof(*a));
    int rc;

    if (!a)
        return lh_err_nomem(err);
    a->loop = loop;
    a->limits = *limits;
    a->server = lh_strdup(server ? server : cfg->server);
    rc = a->server ? http_of(a, cfg, err) : lh_err_nomem(err);
    if (rc == 0)
        rc = bearer_of(cfg, &a->bearer, err);
    if (rc < 0) {
        enc_api_close(a);
        return rc;
    }
    *out = a;
    return 0;
}

void enc_api_close(struct enc_api *a)
{
    if (!a)
        return;
    lh_http_free(a->http);
    lh_secret_free(a->bearer);
    lh_free(a->server);
    lh_free(a);
}

const char *enc_api_server(const struct enc_api *a)
{
    return a->server;
}

static void on_time(void *arg)
{
    *(bool *)arg = true;
}

int enc_wait(struct lh_loop *loop, lh_ms ms, struct lh_err *err)
{
    struct lh_timer *t = NULL;
    bool over = false;
    int rc = lh_timer_new(loop, on_time, &over, &t, err);

    if (rc < 0)
        return rc;
    lh_timer_in(t, ms);
    while (!over)
        lh_loop_turn(loop, TURN_MS);
    lh_timer_free(t);
    return 0;
}

static int call_once(struct enc_api *a, const char *method, const char *path, const char *accept,
                     const struct lh_secret *body, struct call *c, struct lh_err *err)
{
    const struct lh_http_header headers[] = {
        {.name = "Accept", .value = lh_str(accept ? accept : "application/json")},
        {.name = "Content-Type", .value = LH_STR("application/json")},
        {.name = "Authorization", .secret = a->bearer},
    };
    lh_auto_free char *url = lh_asprintf("%s%s", a->server, path);
    struct lh_http_request req = {.method = method,
                                  .url = url,
                                  .headers = headers,
                                  .n_headers = a->bearer ? 3 : 2,
                                  .body_secret = body,
                                  .timeout_ms = a->limits.timeout_ms,
                                  .max_answer_bytes = ANSWER_MAX};
    struct lh_http_op *op = NULL;
    int rc;

    *c = (struct call){.err = err};
    if (!url)
        return lh_err_nomem(err);
    rc = lh_http_start(a->http, &req, on_answer, c, &op, err);
    while (rc == 0 && !c->done)
        lh_loop_turn(a->loop, TURN_MS);
    return rc < 0 ? rc : c->rc;
}

/* A write is a whole object under its resourceVersion: done twice it is a conflict, nothing worse.
 */
static bool again(int rc, const struct call *c)
{
    if (rc < 0)
        return rc == -LH_E_UNAVAILABLE;
    return c->status == 429 || c->status >= 500;
}

int enc_api_call(struct enc_api *a, const char *method, const char *path, const char *accept,
                 const struct lh_secret *body, int *status, struct lh_secret **out,
                 struct lh_err *err)
{
    lh_ms pause = FIRST_PAUSE_MS;
    struct call c = {.err = err};
    int rc = 0;

    for (unsigned i = 0; i < a->limits.tries; i++) {
        rc = call_once(a, method, path, accept, body, &c, err);
        if (!again(rc, &c) || i == a->limits.tries - 1)
            break;
        lh_secret_free(c.body);
        rc = enc_wait(a->loop, c.retry_ms > pause ? c.retry_ms : pause, err);
        if (rc < 0)
            return rc;
        pause = pause < 8000 ? 2 * pause : pause;
    }
    if (rc < 0)
        return lh_err_wrap(err, rc, "%s", a->server);
    *status = c.status;
    *out = c.body;
    return 0;
}

int enc_api_get(struct enc_api *a, const char *path, const char *what, const char *accept,
                struct lh_secret **out, struct lh_err *err)
{
    lh_auto_secret struct lh_secret *body = NULL;
    int status = 0, rc = enc_api_call(a, "GET", path, accept, NULL, &status, &body, err);

    if (rc < 0)
        return rc;
    if (status != 200)
        return lh_err_set(err, status == 404 ? LH_E_NOTFOUND : LH_E_DENIED, "%s answers %d to %s",
                          a->server, status, what ? what : path);
    *out = LH_TAKE_PTR(body);
    return 0;
}

int enc_api_get_json(struct enc_api *a, const char *path, const char *what, lh_json **out,
                     struct lh_err *err)
{
    lh_auto_secret struct lh_secret *body = NULL;
    int rc = enc_api_get(a, path, what, NULL, &body, err);

    if (rc < 0)
        return rc;
    return lh_json_parse((struct lh_str){lh_secret_expose_const(body), lh_secret_len(body)}, NULL,
                         out, err);
}
