/* SPDX-License-Identifier: Apache-2.0 */
/* Paths, token and gate: what every request to the API server has. */
#include <stdio.h>

#include "kube_priv.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/metrics.h"

static const struct lh_metric metrics[] = {
    {.name = "rest_client_requests_total",
     .help = "Requests to the Kubernetes API server by method and status code.",
     .type = LH_METRIC_COUNTER,
     .labels = {"method", "code"},
     .max_series = 100},
    {0},
};

/* RFC 3986 unreserved stays, the rest is encoded. */
static void put_encoded(struct lh_buf *b, const char *z)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

    for (; *z; z++) {
        if (strchr(plain, *z))
            lh_buf_put_c(b, *z);
        else
            lh_buf_printf(b, "%%%02X", (unsigned char)*z);
    }
}

static void put_segment(struct lh_buf *b, const char *z)
{
    if (!z)
        return;
    lh_buf_put_c(b, '/');
    put_encoded(b, z);
}

/* As Kubernetes itself names them (IsValidPathSegmentName). Encoding is no help: the API server
 * reads the decoded path, where %2F is a slash. */
static bool is_segment(const char *z)
{
    return !z || (*z && strcmp(z, ".") != 0 && strcmp(z, "..") != 0 && !strpbrk(z, "/%"));
}

int kube_check_names(const struct lh_kube_resource *res, struct lh_err *err)
{
    if (!is_segment(res->namespace_))
        return lh_err_set(err, LH_E_INVALID, "request for %s: the namespace is not a name",
                          res->resource);
    if (!is_segment(res->name))
        return lh_err_set(err, LH_E_INVALID, "request for %s: the name is not a name",
                          res->resource);
    return 0;
}

void kube_put_path(struct lh_buf *b, const struct lh_kube_resource *res, const char *query)
{
    lh_buf_put_z(b, res->group[0] ? "/apis" : "/api");
    if (res->group[0])
        put_segment(b, res->group);
    put_segment(b, res->version);
    if (res->namespace_) {
        lh_buf_put_z(b, "/namespaces");
        put_segment(b, res->namespace_);
    }
    put_segment(b, res->resource);
    put_segment(b, res->name);
    if (res->subresource) {
        /* Ours, and not data: "proxy/status" is two segments. */
        lh_buf_put_c(b, '/');
        lh_buf_put_z(b, res->subresource);
    }
    if (query && *query) {
        lh_buf_put_c(b, '?');
        lh_buf_put_z(b, query);
    }
}

void kube_put_query(struct lh_buf *b, const char *key, const char *value)
{
    if (b->n > 0)
        lh_buf_put_c(b, '&');
    put_encoded(b, key);
    lh_buf_put_c(b, '=');
    put_encoded(b, value);
}

/* "Bearer <token>" from a token. */
static int bearer_of(const struct lh_secret *token, struct lh_secret **out, struct lh_err *err)
{
    static const char prefix[] = "Bearer ";
    size_t n = sizeof(prefix) - 1;
    struct lh_secret *s = NULL;
    int rc = lh_secret_new(n + lh_secret_len(token), &s, err);

    if (rc < 0)
        return rc;
    memcpy(lh_secret_expose(s), prefix, n);
    memcpy((char *)lh_secret_expose(s) + n, lh_secret_expose_const(token), lh_secret_len(token));
    lh_secret_free(*out);
    *out = s;
    return 0;
}

/* The kubelet writes a new token about hourly; while the file cannot be read the old one serves. */
static int refresh_bearer(struct lh_kube *k, struct lh_err *err)
{
    lh_auto_secret struct lh_secret *token = NULL;
    lh_ms now = lh_clock_now();
    int rc;

    if (!k->cfg.token_file)
        return k->bearer || !k->cfg.token ? 0 : bearer_of(k->cfg.token, &k->bearer, err);
    if (k->bearer && now - k->bearer_at < KUBE_TOKEN_MS)
        return 0;
    rc = lh_secret_read_token(k->cfg.token_file, KUBE_MAX_TOKEN, &token, err);
    if (rc == 0)
        rc = bearer_of(token, &k->bearer, err);
    if (rc < 0)
        return k->bearer ? 0 : lh_err_wrap(err, rc, "ServiceAccount token");
    k->bearer_at = now;
    return 0;
}

int kube_call_start(struct lh_kube *k, const struct kube_call *call, lh_http_done_fn done,
                    void *arg, struct lh_http_op **out, struct lh_err *err)
{
    const char *accept = call->accept ? call->accept : "application/json";
    struct lh_http_header headers[3] = {{.name = "Accept", .value = lh_str(accept)}};
    struct lh_http_request req = {
        .method = call->method,
        .headers = headers,
        .n_headers = 1,
        .body = call->body,
        .timeout_ms = call->timeout_ms,
        .idle_timeout_ms = call->idle_timeout_ms,
        .on_data = call->on_data,
    };
    lh_auto_free char *url = NULL;
    int rc;

    rc = refresh_bearer(k, err);
    if (rc < 0)
        return rc;
    url = lh_asprintf("%s%s", k->cfg.server, call->path);
    if (!url)
        return lh_err_nomem(err);
    req.url = url;
    if (k->bearer)
        headers[req.n_headers++] =
            (struct lh_http_header){.name = "Authorization", .secret = k->bearer};
    if (call->body.n > 0)
        headers[req.n_headers++] = (struct lh_http_header){
            .name = "Content-Type",
            .value = lh_str(call->content_type ? call->content_type : "application/json")};
    return lh_http_start(k->http, &req, done, arg, out, err);
}

lh_ms kube_gate_ms(const struct lh_kube *k)
{
    lh_ms left = k->gate_until - lh_clock_now();

    return left > 0 ? left : 0;
}

void kube_note_answer(struct lh_kube *k, const char *method, int status, int retry_after_ms)
{
    lh_ms until;
    char code[16] = "<error>"; /* client-go's word for no answer */

    if (status > 0)
        snprintf(code, sizeof(code), "%d", status);
    lh_metrics_register(metrics, NULL);
    lh_metric_add(&metrics[0], 1, LH_LABELS(method, code));
    if (status == 429 && retry_after_ms == 0)
        retry_after_ms = KUBE_REFUSED_MS;
    until = lh_clock_now() + retry_after_ms;
    if ((status == 429 || status >= 500) && retry_after_ms > 0 && until > k->gate_until)
        k->gate_until = until;
    /* The next request reads the file again: the token may have been rotated before its time. */
    if (status == 401 && k->cfg.token_file)
        k->bearer_at = lh_clock_now() - KUBE_TOKEN_MS;
}
