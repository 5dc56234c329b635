/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <strings.h>

#include "http_priv.h"
#include "leasehold/core/mem.h"

void http_answer_reset(struct lh_http_op *op)
{
    op->status = 0;
    op->in_headers.complete = op->in_headers.overflow = false;
    lh_buf_reset(&op->in_headers.lines);
    op->in_body = lh_secret_free(op->in_body);
    op->in_len = 0;
}

bool http_wants_redirect(const struct lh_http_op *op)
{
    return op->redirect_to && (op->status == 307 || op->status == 308);
}

static void touch(struct lh_http_op *op)
{
    op->got_byte = true;
    op->last_byte = lh_clock_now();
}

static size_t on_status_line(struct lh_http_op *op, size_t n)
{
    struct lh_http_answer_headers *h = &op->in_headers;

    /* After 100 Continue and the like comes the answer proper. */
    if (!h->complete || (op->status >= 100 && op->status < 200))
        http_answer_reset(op);
    return n;
}

static size_t on_headers_end(struct lh_http_op *op, size_t n)
{
    curl_off_t length = -1;
    long status = 0;

    op->in_headers.complete = true;
    curl_easy_getinfo(op->easy, CURLINFO_RESPONSE_CODE, &status);
    op->status = (int)status;
    curl_easy_getinfo(op->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    if (!op->on_data && length > 0 && (unsigned long long)length > op->max_bytes) {
        op->too_big = true;
        return 0;
    }
    return n;
}

/* curl wants back what it passed; anything else ends the transfer. */
size_t http_on_header(char *p, size_t size, size_t n, void *arg)
{
    struct lh_http_op *op = arg;
    struct lh_str line = {p, size * n}, text = lh_str_trim(line);

    if (op->cancelled)
        return 0;
    touch(op);
    if (lh_str_starts(line, LH_STR("HTTP/")))
        return on_status_line(op, line.n);
    if (op->in_headers.complete) /* a trailer: nothing here rests on one */
        return line.n;
    if (!text.n)
        return on_headers_end(op, line.n);
    lh_buf_put_str(&op->in_headers.lines, text);
    lh_buf_put_c(&op->in_headers.lines, '\n');
    op->in_headers.overflow = lh_buf_check(&op->in_headers.lines, NULL) < 0;
    return op->in_headers.overflow ? 0 : line.n;
}

static size_t body_room(const struct lh_http_op *op, size_t need)
{
    size_t room = op->in_body ? lh_secret_len(op->in_body) : 0;
    curl_off_t length = -1;

    if (!room) {
        curl_easy_getinfo(op->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
        room = length > 0 ? (size_t)length : 2048;
    }
    while (room < need)
        room *= 2;
    return room < op->max_bytes ? room : op->max_bytes;
}

/* Bodies are secrets: grow is new, copy, wipe. */
static int body_append(struct lh_http_op *op, struct lh_str bytes)
{
    struct lh_secret *grown = NULL;
    size_t need = op->in_len + bytes.n;

    if (!op->in_body || need > lh_secret_len(op->in_body)) {
        if (lh_secret_new(body_room(op, need), &grown, NULL) < 0)
            return -LH_E_NOMEM;
        if (op->in_len)
            memcpy(lh_secret_expose(grown), lh_secret_expose_const(op->in_body), op->in_len);
        lh_secret_free(op->in_body);
        op->in_body = grown;
    }
    memcpy((char *)lh_secret_expose(op->in_body) + op->in_len, bytes.p, bytes.n);
    op->in_len = need;
    return 0;
}

static size_t stream(struct lh_http_op *op, struct lh_str bytes)
{
    /* curl keeps the piece and passes it again once the transfer goes on. */
    if (op->paused)
        return CURL_WRITEFUNC_PAUSE;
    if (bytes.n && op->on_data(op->arg, op->status, bytes) != 0)
        op->paused = true;
    return op->cancelled ? 0 : bytes.n;
}

size_t http_on_body(char *p, size_t size, size_t n, void *arg)
{
    struct lh_http_op *op = arg;
    struct lh_str bytes = {p, size * n};

    if (op->cancelled)
        return 0;
    touch(op);
    if (op->on_data && !http_wants_redirect(op))
        return stream(op, bytes);
    if (bytes.n > op->max_bytes - op->in_len) {
        op->too_big = true;
        return 0;
    }
    return body_append(op, bytes) < 0 ? 0 : bytes.n;
}

int http_answer_body(struct lh_http_op *op, struct lh_err *err)
{
    struct lh_secret *exact = NULL;
    int rc;

    if (op->in_body && lh_secret_len(op->in_body) == op->in_len)
        return 0;
    if (op->in_body)
        rc = lh_secret_copy(lh_secret_expose_const(op->in_body), op->in_len, &exact, err);
    else
        rc = lh_secret_new(0, &exact, err);
    if (rc < 0)
        return rc;
    lh_secret_free(op->in_body);
    op->in_body = exact;
    return 0;
}

int http_retry_after_ms(struct lh_str value)
{
    char date[64];
    long long ms;

    value = lh_str_trim(value);
    if (!value.n || value.n >= sizeof(date))
        return 0;
    memcpy(date, value.p, value.n);
    date[value.n] = '\0';
    if (strspn(date, "0123456789") == value.n) {
        /* Anything from ten minutes up means ten minutes, also what no integer holds. */
        if (!lh_str_to_i64(value, 0, HTTP_RETRY_AFTER_MAX_MS / 1000, &ms))
            return HTTP_RETRY_AFTER_MAX_MS;
        return (int)(ms * 1000);
    }
    ms = curl_getdate(date, NULL);
    if (ms < 0)
        return 0;
    ms = ms * 1000 - lh_clock_wall_ms();
    if (ms < 0)
        return 0;
    return ms < HTTP_RETRY_AFTER_MAX_MS ? (int)ms : HTTP_RETRY_AFTER_MAX_MS;
}

struct lh_str lh_http_answer_header(const struct lh_http_answer *ans, const char *name)
{
    struct lh_str rest = {NULL, 0}, line, field, value, found = {NULL, 0};
    size_t n = strlen(name);

    if (ans->headers)
        rest = lh_buf_peek(&ans->headers->lines);
    while (rest.n) {
        lh_str_cut(rest, '\n', &line, &rest);
        if (!lh_str_cut(line, ':', &field, &value))
            continue;
        if (field.n == n && strncasecmp(field.p, name, n) == 0)
            found = lh_str_trim(value);
    }
    return found;
}
