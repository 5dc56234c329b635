/* SPDX-License-Identifier: Apache-2.0 */
/* What leasehold-kms knows of the manager's key: it asks the manager, so that nobody else has to.
 */
#include <string.h>

#include "audit_gather.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/secret.h"
#include "leasehold/http/client.h"

struct asking {
    struct lh_loop *loop;
    struct lh_http *http;
    unsigned timeout_ms;
    bool done;
    int rc;
    struct lh_secret *body;
    struct lh_err err;
};

static void on_answer(void *arg, const struct lh_http_answer *ans, const struct lh_err *err)
{
    struct asking *q = arg;

    q->done = true;
    if (err) {
        q->err = *err;
        q->rc = lh_err_negative(-err->code);
    } else if (ans->status != 200) {
        q->rc = lh_err_set(&q->err, LH_E_UNAVAILABLE, "answers %d", ans->status);
    } else {
        q->rc = lh_secret_copy(lh_secret_expose_const(ans->body), lh_secret_len(ans->body),
                               &q->body, &q->err);
    }
}

static int get(struct asking *q, const char *url, const char *path, struct lh_secret **out,
               struct lh_err *err)
{
    size_t n = strlen(url);
    lh_auto_free char *full = NULL;
    struct lh_http_request req = {.method = "GET", .timeout_ms = q->timeout_ms};
    struct lh_http_op *op = NULL;
    int rc;

    full = lh_asprintf("%.*s%s", (int)(n && url[n - 1] == '/' ? n - 1 : n), url, path);
    if (!full)
        return lh_err_nomem(err);
    req.url = full;
    q->done = false;
    rc = lh_http_start(q->http, &req, on_answer, q, &op, err);
    while (rc == 0 && !q->done)
        lh_loop_turn(q->loop, -1);
    if (rc == 0 && q->rc < 0 && err)
        *err = q->err;
    rc = rc < 0 ? rc : q->rc;
    if (rc == 0)
        *out = LH_TAKE_PTR(q->body);
    return rc;
}

static struct lh_str text_of(const struct lh_secret *s)
{
    return (struct lh_str){lh_secret_expose_const(s), lh_secret_len(s)};
}

static int take_status(struct audit_plugin *p, const struct lh_secret *body, struct lh_err *err)
{
    lh_auto_json lh_json *doc = NULL;
    const lh_json *current;
    const char *key;
    int rc = lh_json_parse(text_of(body), NULL, &doc, err);

    if (rc < 0)
        return rc;
    current = lh_json_get(doc, "current");
    key = lh_json_get_z(current, "keyId");
    p->key = lh_strdup(key ? key : "");
    p->created_s = lh_json_get_int(current, "created", 0);
    return p->key ? 0 : lh_err_nomem(err);
}

static int ask(struct asking *q, const char *url, struct audit_plugin *p, struct lh_err *err)
{
    lh_auto_secret struct lh_secret *status = NULL, *metrics = NULL;
    int rc = get(q, url, "/status", &status, err);

    if (rc == 0)
        rc = take_status(p, status, err);
    if (rc == 0)
        rc = get(q, url, "/metrics", &metrics, err);
    return rc < 0 ? rc : audit_metrics_read(text_of(metrics), &p->metrics, err);
}

int audit_gather_plugin(struct audit *a, struct lh_loop *loop, const char *url, unsigned timeout_ms,
                        struct lh_err *err)
{
    static const char *const anywhere[] = {"0.0.0.0/0", "::/0", NULL};
    /* Its port has no TLS and no secret; it is on this machine or behind a tunnel to it. */
    const struct lh_http_options opts = {
        .allow_addresses = anywhere, .allow_loopback = true, .allow_plain_http = true};
    struct audit_plugin p = {.created_s = 0};
    struct asking q = {.loop = loop, .timeout_ms = timeout_ms};
    int rc;

    lh_vec_init(&p.metrics.series, sizeof(struct audit_series));
    p.metrics.name = lh_strdup(url);
    rc = p.metrics.name ? lh_http_new(loop, &opts, &q.http, err) : lh_err_nomem(err);
    if (rc == 0)
        rc = ask(&q, url, &p, err);
    lh_http_free(q.http);
    lh_secret_free(q.body);
    if (rc == 0 && lh_vec_push(&a->plugins, &p))
        return 0;
    audit_server_done(&p.metrics);
    lh_free(p.key);
    return rc < 0 ? lh_err_wrap(err, rc, "leasehold-kms at %s", url) : lh_err_nomem(err);
}
