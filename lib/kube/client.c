/* SPDX-License-Identifier: Apache-2.0 */
/* Single requests. */
#include <assert.h>

#include "kube_priv.h"
#include "leasehold/core/mem.h"

struct lh_kube_op {
    struct lh_kube *k;
    struct lh_kube_op *prev, *next;
    struct lh_http_op *http;
    struct lh_timer *gate; /* armed while the gate is closed, and for what is ready at once */
    char *path, *method, *content_type;
    char *body;
    size_t body_n;
    unsigned timeout_ms;
    lh_ms began;
    unsigned refused; /* answers 429 */
    bool tests, gone_is_done, ready;
    lh_json *answer; /* of what is ready */
    lh_kube_done_fn done;
    lh_kube_token_fn token; /* instead of done */
    void *arg;
};

int lh_kube_new(struct lh_loop *loop, const struct lh_kube_config *cfg, const char *user_agent,
                struct lh_kube **out, struct lh_err *err)
{
    /* Whoever wrote the configuration chose the server: a cluster's own may be anywhere. */
    static const char *const anywhere[] = {"0.0.0.0/0", "::/0", NULL};
    struct lh_kube *k = lh_calloc(1, sizeof(*k));
    struct lh_http_options opts = {0};
    int rc;

    if (!k)
        return lh_err_nomem(err);
    k->loop = loop;
    rc = kube_config_copy(cfg, &k->cfg, err);
    if (rc < 0) {
        lh_free(k);
        return rc;
    }
    opts.ca_pem = lh_str(k->cfg.ca_pem);
    opts.ca_file = k->cfg.ca_file;
    opts.server_name = k->cfg.tls_server_name;
    opts.client_cert_pem = lh_str(k->cfg.client_cert_pem);
    opts.client_key_pem = k->cfg.client_key_pem;
    opts.client_cert_file = k->cfg.client_cert_file;
    opts.client_key_file = k->cfg.client_key_file;
    opts.max_in_flight = 64;
    opts.allow_addresses = anywhere;
    opts.allow_loopback = true;
    opts.user_agent = user_agent;
    rc = lh_http_new(loop, &opts, &k->http, err);
    if (rc < 0) {
        lh_kube_config_done(&k->cfg);
        lh_free(k);
        return lh_err_wrap(err, rc, "API server");
    }
    *out = k;
    return 0;
}

static void op_free(struct lh_kube_op *op)
{
    if (op->prev)
        op->prev->next = op->next;
    else if (op->k->ops == op)
        op->k->ops = op->next;
    if (op->next)
        op->next->prev = op->prev;
    lh_timer_free(op->gate);
    lh_free(op->path);
    lh_free(op->method);
    lh_free(op->content_type);
    lh_free(op->body);
    lh_json_unref(op->answer);
    lh_free(op);
}

void lh_kube_cancel(struct lh_kube_op *op)
{
    if (!op)
        return;
    lh_http_cancel(op->http);
    op_free(op);
}

void lh_kube_free(struct lh_kube *k)
{
    if (!k)
        return;
    assert(k->watches == 0);
    while (k->ops)
        lh_kube_cancel(k->ops);
    lh_http_free(k->http);
    lh_secret_free(k->bearer);
    lh_kube_config_done(&k->cfg);
    lh_free(k);
}

const char *lh_kube_namespace(const struct lh_kube *k)
{
    return k->cfg.namespace_;
}

struct lh_loop *lh_kube_loop(const struct lh_kube *k)
{
    return k->loop;
}

static lh_ms timeout_of(const struct lh_kube_op *op)
{
    return op->timeout_ms ? op->timeout_ms : 30000;
}

static void on_gate(void *arg);

static void deliver(struct lh_kube_op *op, const lh_json *obj, const struct lh_err *err)
{
    lh_auto_secret struct lh_secret *token = NULL;
    lh_kube_token_fn token_fn = op->token;
    lh_kube_done_fn done = op->done;
    void *arg = op->arg;
    struct lh_err local = {0};

    if (token_fn && !err && kube_token_of(obj, op->path, &token, &local) < 0)
        err = &local;
    op_free(op);
    if (token_fn)
        token_fn(arg, err ? NULL : token, err);
    else
        done(arg, err ? NULL : obj, err);
}

/* 429 comes before anything was done, of priority and fairness: the same request may go again, once
 * the gate opens, for as long as whoever asked would have waited for one answer. */
static bool goes_again(struct lh_kube_op *op, const struct lh_http_answer *ans)
{
    lh_ms wait;

    if (ans->status != 429 || op->refused >= KUBE_MAX_REFUSED)
        return false;
    wait = kube_gate_ms(op->k);
    if (wait == 0 || wait > timeout_of(op) - (lh_clock_now() - op->began))
        return false;
    if (!op->gate && lh_timer_new(op->k->loop, on_gate, op, &op->gate, NULL) < 0)
        return false;
    op->refused++;
    lh_timer_in(op->gate, wait);
    return true;
}

/* What a failure means to this request. */
static int judge(const struct lh_kube_op *op, int rc, struct lh_str body, struct lh_err *err)
{
    enum kube_invalid what;

    if (op->gone_is_done && err->http_status == 404)
        return 0;
    if (err->http_status != 422)
        return rc;
    what = kube_status_invalid(body);
    if (what == KUBE_INVALID_UID || (op->tests && what == KUBE_INVALID_REQUEST)) {
        err->code = LH_E_CONFLICT;
        return lh_err_wrap(err, -LH_E_CONFLICT, "the object changed since it was read");
    }
    return rc;
}

static void on_done(void *arg, const struct lh_http_answer *ans, const struct lh_err *http_err)
{
    struct lh_kube_op *op = arg;
    lh_auto_json lh_json *obj = NULL;
    struct lh_err err = {0};
    struct lh_str body;
    int rc = 0;

    op->http = NULL;
    if (http_err) {
        kube_note_answer(op->k, op->method, 0, 0);
        err = *http_err;
        lh_err_wrap(&err, -err.code, "API server");
        deliver(op, NULL, &err);
        return;
    }
    kube_note_answer(op->k, op->method, ans->status, ans->retry_after_ms);
    if (goes_again(op, ans))
        return;
    body = (struct lh_str){lh_secret_expose_const(ans->body), lh_secret_len(ans->body)};
    if (ans->status < 200 || ans->status > 299) {
        rc = kube_status_error(op->method, op->path, ans->status, body, ans->retry_after_ms, &err);
        rc = judge(op, rc, body, &err);
    } else if (body.n > 0) {
        rc = lh_json_parse(body, NULL, &obj, &err);
        if (rc < 0)
            lh_err_wrap(&err, rc, "answer to %s %s", op->method, op->path);
    }
    if (err.code)
        err.sent = true;
    deliver(op, obj, rc < 0 ? &err : NULL);
}

static int send_now(struct lh_kube_op *op, struct lh_err *err)
{
    struct kube_call call = {
        .method = op->method,
        .path = op->path,
        .content_type = op->content_type,
        .body = {op->body, op->body_n},
        .timeout_ms = op->timeout_ms,
    };

    return kube_call_start(op->k, &call, on_done, op, &op->http, err);
}

static void on_gate(void *arg)
{
    struct lh_kube_op *op = arg;
    lh_ms wait = kube_gate_ms(op->k);
    struct lh_err err = {0};

    if (op->ready) {
        lh_auto_json lh_json *answer = LH_TAKE_PTR(op->answer);

        deliver(op, answer, NULL);
        return;
    }
    if (wait > 0) {
        lh_timer_in(op->gate, wait);
        return;
    }
    if (send_now(op, &err) < 0)
        deliver(op, NULL, &err);
}

/* Through the gate: now, or when it opens. */
static int dispatch(struct lh_kube_op *op, struct lh_err *err)
{
    lh_ms wait = kube_gate_ms(op->k);
    int rc;

    op->began = lh_clock_now();
    if (wait == 0 && !op->ready)
        return send_now(op, err);
    if (wait > timeout_of(op) && !op->ready) {
        rc =
            lh_err_set(err, LH_E_BUSY, "%s %s: the API server asked to wait", op->method, op->path);
        if (err)
            err->retry_ms = (int)wait;
        return rc;
    }
    rc = lh_timer_new(op->k->loop, on_gate, op, &op->gate, err);
    if (rc == 0)
        lh_timer_in(op->gate, op->ready ? 0 : wait);
    return rc;
}

static int op_fill(struct lh_kube_op *op, const struct kube_request *r, struct lh_err *err)
{
    struct lh_buf b;
    size_t n;
    int rc = kube_check_names(r->res, err);

    if (rc < 0)
        return rc;
    op->method = lh_strdup(r->method);
    op->content_type = r->content_type ? lh_strdup(r->content_type) : NULL;
    if (!op->method || (r->content_type && !op->content_type))
        return lh_err_nomem(err);
    lh_buf_init(&b, KUBE_MAX_URL);
    kube_put_path(&b, r->res, r->query);
    rc = lh_buf_finish(&b, &op->path, &n, err);
    lh_buf_done(&b);
    if (rc < 0 || !r->body)
        return rc;
    lh_buf_init(&b, KUBE_MAX_BODY);
    lh_json_write(r->body, LH_JSON_COMPACT, &b);
    rc = lh_buf_finish(&b, &op->body, &op->body_n, err);
    lh_buf_done(&b);
    return rc < 0 ? lh_err_wrap(err, rc, "%s %s", r->method, op->path) : 0;
}

int kube_request_start(struct lh_kube *k, const struct kube_request *r, struct lh_kube_op **out,
                       struct lh_err *err)
{
    struct lh_kube_op *op = lh_calloc(1, sizeof(*op));
    int rc = 0;

    if (!op)
        return lh_err_nomem(err);
    op->k = k;
    op->done = r->done;
    op->token = r->token;
    op->arg = r->arg;
    op->timeout_ms = r->timeout_ms;
    op->tests = r->tests;
    op->gone_is_done = r->gone_is_done;
    op->ready = r->ready != NULL;
    op->answer = r->ready ? lh_json_ref(lh_json_mut(r->ready)) : NULL;
    op->next = k->ops;
    if (k->ops)
        k->ops->prev = op;
    k->ops = op;
    if (!op->ready)
        rc = op_fill(op, r, err);
    if (rc == 0)
        rc = dispatch(op, err);
    if (rc < 0) {
        op_free(op);
        return rc;
    }
    if (out)
        *out = op;
    return 0;
}

int lh_kube_start(struct lh_kube *k, const char *method, const struct lh_kube_resource *res,
                  const char *query, const char *content_type, const lh_json *body,
                  unsigned timeout_ms, lh_kube_done_fn done, void *arg, struct lh_kube_op **out,
                  struct lh_err *err)
{
    const struct kube_request r = {.method = method,
                                   .res = res,
                                   .query = query,
                                   .content_type = content_type,
                                   .body = body,
                                   .timeout_ms = timeout_ms,
                                   .done = done,
                                   .arg = arg};

    return kube_request_start(k, &r, out, err);
}

static lh_json *token_body(const char *audience, int64_t seconds)
{
    lh_auto_json lh_json *body = lh_json_new_object();
    lh_json *spec = lh_json_new_object(), *audiences = lh_json_new_array();

    if (!body || lh_json_set(body, "apiVersion", lh_json_new_z("authentication.k8s.io/v1")) < 0 ||
        lh_json_set(body, "kind", lh_json_new_z("TokenRequest")) < 0 || !spec || !audiences ||
        lh_json_push(audiences, lh_json_new_z(audience)) < 0) {
        lh_json_unref(spec);
        lh_json_unref(audiences);
        return NULL;
    }
    if (lh_json_set(spec, "audiences", audiences) < 0 ||
        lh_json_set(spec, "expirationSeconds", lh_json_new_int(seconds)) < 0) {
        lh_json_unref(spec);
        return NULL;
    }
    return lh_json_set(body, "spec", spec) < 0 ? NULL : LH_TAKE_PTR(body);
}

int kube_token_of(const lh_json *answer, const char *what, struct lh_secret **out,
                  struct lh_err *err)
{
    struct lh_str token;

    if (!lh_json_str(lh_json_path(answer, "status", "token", NULL), &token) || token.n == 0)
        return lh_err_set(err, LH_E_INVALID, "%s: the answer holds no token", what);
    return lh_secret_copy(token.p, token.n, out, err);
}

int lh_kube_token_request(struct lh_kube *k, const char *namespace_, const char *service_account,
                          const char *audience, int64_t seconds, lh_kube_token_fn done, void *arg,
                          struct lh_kube_op **out, struct lh_err *err)
{
    const struct lh_kube_resource res = {
        "", "v1", "serviceaccounts", namespace_, service_account, "token"};
    lh_auto_json lh_json *body = token_body(audience, seconds);
    const struct kube_request r = {
        .method = "POST", .res = &res, .body = body, .token = done, .arg = arg};

    if (!body)
        return lh_err_nomem(err);
    return kube_request_start(k, &r, out, err);
}
