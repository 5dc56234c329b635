/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "http_priv.h"
#include "leasehold/core/mem.h"

/* RFC 9110 5.6.2 */
static bool is_token(const char *s)
{
    size_t n = s ? strlen(s) : 0;

    for (size_t i = 0; i < n; i++) {
        if (!isalnum((unsigned char)s[i]) && !strchr("!#$%&'*+-.^_`|~", s[i]))
            return false;
    }
    return n > 0 && n <= 128;
}

static bool is_field_value(struct lh_str v)
{
    for (size_t i = 0; i < v.n; i++) {
        unsigned char c = (unsigned char)v.p[i];

        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static int add_line(struct curl_slist **list, const char *line, struct lh_err *err)
{
    struct curl_slist *grown = curl_slist_append(*list, line);

    if (!grown)
        return lh_err_nomem(err);
    *list = grown;
    return 0;
}

static int add_header(struct curl_slist **list, const struct lh_http_header *h, struct lh_err *err)
{
    struct lh_str v = h->value;
    lh_auto_buf struct lh_buf line;
    int rc;

    lh_buf_init(&line, HTTP_MAX_HEADERS);
    if (h->secret)
        v = (struct lh_str){lh_secret_expose_const(h->secret), lh_secret_len(h->secret)};
    if (!is_token(h->name))
        return lh_err_set(err, LH_E_INVALID, "a header's name is not a token");
    if (!is_field_value(v))
        return lh_err_set(err, LH_E_INVALID, "the value of header %s holds a control character",
                          h->name);
    lh_buf_put_z(&line, h->name);
    /* For curl "Name:" takes a header away, and "Name;" sends an empty one. */
    lh_buf_put_z(&line, v.n ? ": " : ";");
    lh_buf_put_str(&line, v);
    rc = lh_buf_check(&line, err);
    return rc < 0 ? rc : add_line(list, lh_buf_peek(&line).p, err);
}

/* What curl would add by itself and a server might act on. */
static int add_defaults(struct lh_http_op *op, bool has_type, struct lh_err *err)
{
    int rc = add_line(&op->headers, "Expect:", err);

    if (rc == 0 && !has_type)
        rc = add_line(&op->headers, "Content-Type:", err);
    return rc;
}

static int copy_headers(struct lh_http_op *op, const struct lh_http_request *req,
                        struct lh_err *err)
{
    bool has_type = false;
    int rc = 0;

    for (size_t i = 0; i < req->n_headers && rc == 0; i++) {
        rc = add_header(&op->headers, &req->headers[i], err);
        if (rc == 0 && strcasecmp(req->headers[i].name, "content-type") == 0)
            has_type = true;
    }
    return rc < 0 ? rc : add_defaults(op, has_type, err);
}

static int copy_body(struct lh_http_op *op, const struct lh_http_request *req, struct lh_err *err)
{
    op->has_body = req->body_secret || req->body.p;
    if (req->body_secret) {
        op->body_len = lh_secret_len(req->body_secret);
        return lh_secret_copy(lh_secret_expose_const(req->body_secret), op->body_len,
                              &op->body_secret, err);
    }
    if (!req->body.p)
        return 0;
    op->body = lh_memdup(req->body.p, req->body.n);
    op->body_len = req->body.n;
    return op->body ? 0 : lh_err_nomem(err);
}

static int copy_redirects(struct lh_http_op *op, const char *const *bases, struct lh_err *err)
{
    size_t n = 0;

    if (!bases)
        return 0;
    while (bases[n])
        n++;
    op->redirect_to = lh_calloc(n + 1, sizeof(char *));
    if (!op->redirect_to)
        return lh_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        op->redirect_to[i] = lh_strdup(bases[i]);
        if (!op->redirect_to[i])
            return lh_err_nomem(err);
    }
    return 0;
}

static int copy_request(struct lh_http_op *op, const struct lh_http_request *req,
                        struct lh_err *err)
{
    int rc;

    if (!is_token(req->method))
        return lh_err_set(err, LH_E_INVALID, "the request's method is not a token");
    if (!req->url)
        return lh_err_set(err, LH_E_INVALID, "the request has no URL");
    op->method = lh_strdup(req->method);
    if (!op->method)
        return lh_err_nomem(err);
    rc = http_target_parse(req->url, op->h->allow_plain_http, &op->target, err);
    if (rc == 0)
        rc = copy_headers(op, req, err);
    if (rc == 0)
        rc = copy_body(op, req, err);
    if (rc == 0)
        rc = copy_redirects(op, req->redirect_to, err);
    return rc;
}

int http_op_new(struct lh_http *h, const struct lh_http_request *req, struct lh_http_op **out,
                struct lh_err *err)
{
    struct lh_http_op *op = lh_calloc(1, sizeof(*op));
    int rc;

    if (!op)
        return lh_err_nomem(err);
    op->h = h;
    op->on_data = req->on_data;
    op->timeout_ms = req->timeout_ms ? req->timeout_ms : HTTP_TIMEOUT_MS;
    op->idle_ms = req->idle_timeout_ms;
    if (!op->idle_ms && !req->on_data)
        op->idle_ms = HTTP_IDLE_MS;
    op->max_bytes = req->max_answer_bytes ? req->max_answer_bytes : HTTP_MAX_ANSWER;
    lh_buf_init(&op->in_headers.lines, HTTP_MAX_HEADERS);
    rc = copy_request(op, req, err);
    if (rc == 0)
        rc = lh_timer_new(h->loop, http_on_deadline, op, &op->deadline, err);
    if (rc < 0) {
        http_op_free(op);
        return rc;
    }
    *out = op;
    return 0;
}

void http_op_free(struct lh_http_op *op)
{
    http_transfer_end(op);
    lh_timer_free(op->deadline);
    lh_free(op->method);
    http_target_done(&op->target);
    curl_slist_free_all(op->headers);
    lh_secret_free(op->body_secret);
    lh_free(op->body);
    for (size_t i = 0; op->redirect_to && op->redirect_to[i]; i++)
        lh_free(op->redirect_to[i]);
    lh_free(op->redirect_to);
    lh_buf_done(&op->in_headers.lines);
    lh_secret_free(op->in_body);
    lh_free(op);
}
