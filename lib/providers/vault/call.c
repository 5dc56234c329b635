/* SPDX-License-Identifier: Apache-2.0 */
#include "vault_priv.h"

#include <stdio.h>

#include "leasehold/core/buf.h"
#include "leasehold/core/mem.h"

#define TARGET_MAX 8192
#define BODY_MAX   (1024 * 1024)
#define INDEX_MAX  1024
#define AT_ONCE_MS 1000

static int send_now(struct lh_provider_op *op, struct lh_err *err);

/* What RFC 3986 lets stand in a path segment. '%', '?' and '#' never come here: lh_path_check. */
static bool stands_in_path(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("/-._~!$&'()*+,;=:@", c));
}

void lh_vault_encode(struct lh_buf *b, const char *path)
{
    lh_buf_put_z(b, "/v1/");
    for (; *path; path++) {
        unsigned char c = (unsigned char)*path;

        if (stands_in_path(c))
            lh_buf_put_c(b, *path);
        else
            lh_buf_printf(b, "%%%02X", c);
    }
}

static int make_target(struct lh_provider_op *op, const struct lh_vault_ask *ask,
                       struct lh_err *err)
{
    lh_auto_buf struct lh_buf b;
    char *text;
    size_t n;
    int rc;

    lh_buf_init(&b, TARGET_MAX);
    lh_vault_encode(&b, ask->path);
    if (ask->query)
        lh_buf_printf(&b, "?%s", ask->query);
    rc = lh_buf_finish(&b, &text, &n, err);
    if (rc < 0)
        return rc;
    lh_free(op->target);
    op->target = text;
    return 0;
}

static int make_body(struct lh_provider_op *op, const lh_json *body, struct lh_err *err)
{
    lh_auto_buf struct lh_buf b;
    struct lh_secret *s;
    struct lh_str text;
    int rc;

    op->body = lh_secret_free(op->body);
    if (!body)
        return 0;
    lh_buf_init(&b, BODY_MAX);
    lh_json_write(body, LH_JSON_COMPACT, &b);
    rc = lh_buf_check(&b, err);
    if (rc < 0)
        return rc;
    text = lh_buf_peek(&b);
    rc = lh_secret_copy(text.p, text.n, &s, err);
    if (rc < 0)
        return rc;
    op->body = s;
    return 0;
}

/* Only what may stand in a header is kept, so that it can be sent back. */
static void keep_index(struct lh_provider *p, struct lh_str value)
{
    char *copy;

    if (value.n == 0 || value.n > INDEX_MAX || !lh_vault_token_ok(value))
        return;
    copy = lh_str_dup(value);
    if (!copy)
        return;
    lh_free(p->index);
    p->index = copy;
}

static bool try_next_address(struct lh_provider_op *op)
{
    if (op->tried >= op->p->n_addresses)
        return false;
    op->address = (op->address + 1) % op->p->n_addresses;
    op->forwarded = false;
    return true;
}

static void give_up(struct lh_provider_op *op, const struct lh_err *err)
{
    /* One node said "sealed", another did not answer: the first is the better news. */
    if (op->have_best && !err->http_status)
        err = &op->best;
    op->step(op, NULL, err);
}

static void resend(struct lh_provider_op *op)
{
    struct lh_err err = {0};
    int rc = send_now(op, &err);

    if (rc < 0)
        give_up(op, &err);
}

/* A connection that was kept open may be closed by the server just when it is used again: that
 * shows at once, and once. What took longer was a time limit. */
static bool try_again(struct lh_provider_op *op, const struct lh_err *err)
{
    if (op->issues || op->again || !err->sent || err->code != LH_E_UNAVAILABLE ||
        lh_clock_now() - op->begun_at >= AT_ONCE_MS)
        return false;
    op->again = true;
    op->tried--;
    return true;
}

static void failed(struct lh_provider_op *op, const struct lh_err *cause)
{
    struct lh_err err = *cause;
    bool repeatable = !op->issues || !err.sent;
    bool elsewhere = err.code == LH_E_UNAVAILABLE || err.code == LH_E_DENIED;

    lh_err_wrap(&err, -err.code, "%s", op->what);
    if (try_again(op, &err) || (repeatable && elsewhere && try_next_address(op))) {
        resend(op);
        return;
    }
    give_up(op, &err);
}

static bool worth_another_node(enum lh_vault_class c, bool issues)
{
    switch (c) {
    case LH_VAULT_SEALED:
    case LH_VAULT_UNINITIALISED:
    case LH_VAULT_NO_ACTIVE:
    case LH_VAULT_REDIRECT:
        return true; /* it did nothing */
    case LH_VAULT_GATEWAY:
        return !issues;
    default:
        return false;
    }
}

static void answered(struct lh_provider_op *op, const struct lh_http_answer *http)
{
    lh_auto_json lh_json *json = NULL;
    struct lh_vault_reply reply = {
        .status = http->status,
        .content_type = lh_http_answer_header(http, "content-type"),
        .body = {lh_secret_expose_const(http->body), lh_secret_len(http->body)},
        .retry_after_ms = http->retry_after_ms,
    };
    struct lh_vault_answer ans = {
        .class = lh_vault_classify(&reply, &json),
        .reply = &reply,
        .sent_at = http->sent_at,
        .done_at = http->done_at,
    };

    /* sys/health answers 429 on a standby and 503 when sealed: there the status is the news. */
    if (ans.class == LH_VAULT_LAGS && !op->forwarded && !op->top) {
        op->forwarded = true;
        op->tried--;
        resend(op);
        return;
    }
    ans.json = json;
    if (worth_another_node(ans.class, op->issues)) {
        lh_vault_class_error(ans.class, &reply, json, op->what, &op->best);
        op->have_best = true;
        if (try_next_address(op)) {
            resend(op);
            return;
        }
    } else {
        op->p->current = op->address;
    }
    if (ans.class == LH_VAULT_OK && op->keep_index)
        keep_index(op->p, lh_http_answer_header(http, "x-vault-index"));
    op->step(op, &ans, NULL);
}

static void http_done(void *arg, const struct lh_http_answer *ans, const struct lh_err *err)
{
    struct lh_provider_op *op = arg;

    op->http = NULL;
    if (err)
        failed(op, err);
    else
        answered(op, ans);
}

static size_t put_headers(const struct lh_provider_op *op, struct lh_http_header *h)
{
    const struct lh_provider *p = op->p;
    size_t n = 0;

    h[n++] = (struct lh_http_header){.name = "X-Vault-Request", .value = LH_STR("true")};
    if (op->token && !op->anonymous)
        h[n++] = (struct lh_http_header){.name = "X-Vault-Token", .secret = op->token};
    if (p->namespace_ && !op->top)
        h[n++] =
            (struct lh_http_header){.name = "X-Vault-Namespace", .value = lh_str(p->namespace_)};
    if (p->index && strcmp(op->method, "GET") == 0 && !op->top)
        h[n++] = (struct lh_http_header){.name = "X-Vault-Index", .value = lh_str(p->index)};
    if (op->forwarded)
        h[n++] = (struct lh_http_header){.name = "X-Vault-Inconsistent",
                                         .value = LH_STR("forward-active-node")};
    if (op->body)
        h[n++] =
            (struct lh_http_header){.name = "Content-Type", .value = LH_STR("application/json")};
    return n;
}

static int send_now(struct lh_provider_op *op, struct lh_err *err)
{
    const char *base = op->p->store->vault.addresses[op->address];
    struct lh_http_header headers[8];
    lh_auto_free char *url = lh_asprintf("%s%s", base, op->target);
    struct lh_http_request req = {
        .method = op->method,
        .url = url,
        .headers = headers,
        .body_secret = op->body,
        .timeout_ms = op->timeout_ms,
        .redirect_to = (const char *const *)op->p->store->vault.addresses,
    };

    if (!url)
        return lh_err_nomem(err);
    req.n_headers = put_headers(op, headers);
    op->tried++;
    return lh_http_start(op->p->http, &req, http_done, op, &op->http, err);
}

int lh_vault_send(struct lh_provider_op *op, const struct lh_vault_ask *ask, lh_vault_step_fn step,
                  struct lh_err *err)
{
    int rc;

    rc = make_target(op, ask, err);
    if (rc < 0)
        return rc;
    rc = make_body(op, ask->body, err);
    if (rc < 0)
        return rc;
    op->step = step;
    op->method = ask->method;
    op->issues = ask->issues;
    op->anonymous = ask->anonymous;
    op->top = ask->top;
    op->keep_index = ask->keep_index;
    op->timeout_ms = ask->timeout_ms;
    op->address = op->p->current;
    op->tried = 0;
    op->forwarded = false;
    op->have_best = false;
    op->again = false;
    op->begun_at = lh_clock_now();
    return send_now(op, err);
}

void lh_vault_send_next(struct lh_provider_op *op, const struct lh_vault_ask *ask,
                        lh_vault_step_fn step)
{
    struct lh_err err = {0};
    int rc = lh_vault_send(op, ask, step, &err);

    if (rc < 0)
        lh_vault_op_finish(op, NULL, &err);
}

int lh_vault_check(const struct lh_provider_op *op, const struct lh_vault_answer *ans,
                   struct lh_err *err)
{
    if (ans->class == LH_VAULT_OK)
        return 0;
    return lh_vault_class_error(ans->class, ans->reply, ans->json, op->what, err);
}
