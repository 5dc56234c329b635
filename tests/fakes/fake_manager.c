/* SPDX-License-Identifier: Apache-2.0 */
/* A fake: the server side of the secret manager in fake_manager.h. */
#include "fake_manager_priv.h"

#include <stdlib.h>
#include <string.h>

#include "leasehold/codec/base64.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/x509.h"

static const char *const kept_headers[] = {"x-vault-token",   "x-vault-namespace",
                                           "x-vault-index",   "x-vault-inconsistent",
                                           "x-vault-request", "user-agent"};
#define KEPT (sizeof(kept_headers) / sizeof(kept_headers[0]))

static void reply_free(struct reply *r)
{
    if (!r)
        return;
    free(r->body);
    free(r);
}

static void remember(struct fake_manager *m, const struct lh_request *req,
                     const struct lh_call *call)
{
    struct record *r = fake_alloc(sizeof(*r));

    r->method = fake_strdup(req->method);
    r->path = fake_printf("%.*s", (int)(req->path.n - 4), req->path.p + 4);
    r->next = m->records;
    m->records = r;
    for (size_t i = 0; i < KEPT; i++) {
        struct lh_str v = lh_call_header(call, kept_headers[i]);

        snprintf(m->last_headers[i], sizeof(m->last_headers[i]), "%.*s", (int)v.n, v.n ? v.p : "");
    }
    if (req->body.n == 0)
        return;
    free(m->last_body);
    m->last_body = fake_alloc(req->body.n + 1);
    memcpy(m->last_body, req->body.p, req->body.n);
    m->last_body_len = req->body.n;
}

const char *fake_manager_last_header(const struct fake_manager *m, const char *name)
{
    for (size_t i = 0; i < KEPT; i++)
        if (strcasecmp(kept_headers[i], name) == 0)
            return m->last_headers[i];
    return "";
}

/* "X-Vault-Index: ..." as OpenBao sends it, on everything but errors. */
static char *index_header(const struct fake_manager *m)
{
    char text[80];
    struct lh_buf b;
    char *out;

    lh_buf_init(&b, 256);
    snprintf(text, sizeof(text), "{\"cluster\":\"fake\",\"value\":\"%lu\"}", m->serial);
    lh_base64_put(&b, text, strlen(text));
    out = fake_printf("X-Vault-Index: %.*s\r\n", (int)lh_buf_peek(&b).n, lh_buf_peek(&b).p);
    lh_buf_done(&b);
    return out;
}

static void send_reply(struct fake_manager *m, struct lh_call *call, const struct reply *r)
{
    char *index = r->status < 300 && !r->headers ? index_header(m) : NULL;

    lh_call_begin(call, r->status, *r->body ? r->content_type : NULL, index ? index : r->headers);
    if (*r->body)
        lh_call_write(call, lh_str(r->body));
    lh_call_end(call);
    free(index);
}

static void unlink_held(struct held *h)
{
    struct held **at = &h->m->held;

    while (*at != h)
        at = &(*at)->next;
    *at = h->next;
}

static void free_held(struct held *h)
{
    lh_timer_free(h->timer);
    reply_free(h->reply);
    free(h);
}

static void release_held(void *arg)
{
    struct held *h = arg;

    unlink_held(h);
    send_reply(h->m, h->call, h->reply);
    free_held(h);
}

/* delay_ms below 0: until faults are cleared. */
static void hold(struct fake_manager *m, struct lh_call *call, struct reply *r, int64_t delay_ms)
{
    struct held *h = fake_alloc(sizeof(*h));

    h->m = m;
    h->call = call;
    h->reply = r;
    h->next = m->held;
    m->held = h;
    if (delay_ms < 0)
        return;
    if (lh_timer_new(m->loop, release_held, h, &h->timer, NULL) < 0)
        abort();
    lh_timer_in(h->timer, delay_ms);
}

static void drop_held(struct fake_manager *m)
{
    while (m->held) {
        struct held *h = m->held;

        m->held = h->next;
        lh_call_abort(h->call);
        free_held(h);
    }
}

void fake_manager_fault(struct fake_manager *m, const struct fake_fault *fault)
{
    struct fault **at = &m->faults;
    struct fault *f = fake_alloc(sizeof(*f));

    f->f = *fault;
    while (*at)
        at = &(*at)->next;
    *at = f;
}

void fake_manager_faults_clear(struct fake_manager *m)
{
    while (m->faults) {
        struct fault *f = m->faults;

        m->faults = f->next;
        free(f);
    }
    drop_held(m);
}

static const struct fake_fault *fault_for(struct fake_manager *m, const char *method,
                                          const char *path)
{
    for (struct fault *f = m->faults; f; f = f->next) {
        if ((f->f.method && strcmp(f->f.method, method) != 0) || !fake_path_fits(f->f.path, path))
            continue;
        if (f->seen++ < f->f.skip)
            continue;
        if (f->f.times && f->applied >= f->f.times)
            continue;
        f->applied++;
        return &f->f;
    }
    return NULL;
}

static void answer_cut(struct lh_call *call, const struct reply *r)
{
    char *length = fake_printf("Content-Length: %zu\r\n", strlen(r->body));

    lh_call_begin(call, r->status, r->content_type, length);
    lh_call_write(call, (struct lh_str){r->body, strlen(r->body) / 2});
    lh_call_abort(call);
    free(length);
}

/* Takes r, the right answer or NULL where the fault says not to act. */
static void answer_faulty(struct fake_manager *m, struct lh_call *call, const struct fake_fault *f,
                          struct reply *r)
{
    if (!r)
        r = fake_error(500, NULL);
    if (f->kind == FAKE_ANSWER) {
        reply_free(r);
        r = f->body ? fake_reply(f->status, fake_strdup(f->body)) : fake_error(f->status, NULL);
        r->headers = f->headers ? f->headers : "";
        if (f->content_type)
            r->content_type = f->content_type;
    }
    switch (f->kind) {
    case FAKE_ANSWER:
        send_reply(m, call, r);
        break;
    case FAKE_DROP:
        lh_call_abort(call);
        break;
    case FAKE_CUT:
        answer_cut(call, r);
        break;
    case FAKE_STALL:
    case FAKE_DELAY:
        hold(m, call, r, f->kind == FAKE_STALL ? -1 : f->delay_ms);
        return;
    }
    reply_free(r);
}

static struct reply *lag_reply(struct ask *a, struct lh_str index)
{
    struct reply *r;

    if (index.n == 0)
        return fake_mount_of(a->m, a->path) ? fake_error(404, NULL) : fake_answer(a);
    r = fake_error(429, NULL);
    r->headers = "Retry-After: 1\r\n";
    return r;
}

static struct reply *answer(struct ask *a, const struct lh_call *call)
{
    struct fake_manager *m = a->m;
    struct lh_str ns = lh_call_header(call, "x-vault-namespace");
    struct token *t = fake_token_find(m, lh_call_header(call, "x-vault-token"));
    bool lags = a->node->standby && m->lagging && !m->sealed && strcmp(a->method, "GET") == 0 &&
                strcmp(a->path, "sys/health") != 0;

    if (m->namespace_ && !lh_str_eqz(ns, m->namespace_) && strcmp(a->path, "sys/health") != 0)
        return fake_error(403, "permission denied");
    a->token = fake_token_lives(t) ? t : NULL;
    if (lags && lh_call_header(call, "x-vault-inconsistent").n == 0)
        return lag_reply(a, lh_call_header(call, "x-vault-index"));
    return fake_answer(a);
}

static void handle(void *arg, const struct lh_request *req, struct lh_call *call)
{
    struct node *node = arg;
    struct fake_manager *m = node->m;
    struct ask a = {.m = m, .node = node, .method = req->method, .query = req->query};
    const struct fake_fault *f;
    struct reply *r = NULL;

    remember(m, req, call);
    a.path = fake_printf("%.*s", (int)(req->path.n - 4), req->path.p + 4);
    f = fault_for(m, req->method, a.path);
    /* What goes wrong on the way back is acted on, as by a real server. */
    if (!f || f->after || f->kind == FAKE_CUT || f->kind == FAKE_DELAY) {
        if (req->body.n && lh_json_parse(req->body, NULL, &a.body, NULL) < 0)
            r = fake_error(400, "failed to decode JSON input: unexpected EOF");
        else
            r = answer(&a, call);
        lh_json_unref(a.body);
    }
    if (f) {
        answer_faulty(m, call, f, r);
    } else {
        send_reply(m, call, r);
        reply_free(r);
    }
    free(a.path);
}

static const struct lh_route routes[] = {
    {NULL, "/v1/*", handle, 1024 * 1024},
    {NULL, NULL, NULL, 0},
};

/* Certificates are judged by real time: they are made by it, whatever the test's clock says. */
static int make_certs(struct lh_cert_pair *ca, struct lh_cert_pair *leaf, struct lh_err *err)
{
    static const char *const names[] = {FAKE_MANAGER_NAME, NULL};
    bool fake = lh_clock_is_fake();
    lh_ms now = lh_clock_now();
    int64_t wall_ms = lh_clock_wall_ms();
    int rc;

    if (fake)
        lh_clock_real();
    rc = lh_x509_new_ca("fake manager CA", 2, ca, err);
    if (rc == 0)
        rc = lh_x509_new_leaf(ca, names, 24, leaf, err);
    if (fake)
        lh_clock_fake(now, wall_ms);
    return rc;
}

static int listen_node(struct fake_manager *m, struct node *node, bool standby,
                       const struct fake_manager_options *opts, const struct lh_cert_pair *leaf,
                       struct lh_err *err)
{
    struct lh_listener_options o = {
        .address = "127.0.0.1:0",
        .routes = routes,
        .arg = node,
        .cert_pem = lh_str(leaf->cert_pem),
        .key_pem = leaf->key_pem,
    };
    int rc;

    if (opts)
        o.client_ca_pem = opts->client_ca_pem;
    node->m = m;
    node->standby = standby;
    rc = lh_server_listen(m->server, &o, &node->listener, err);
    if (rc < 0)
        return rc;
    snprintf(node->url, sizeof(node->url), "https://127.0.0.1:%u",
             lh_listener_port(node->listener));
    return 0;
}

static int start(struct fake_manager *m, const struct fake_manager_options *opts,
                 struct lh_err *err)
{
    struct lh_cert_pair ca = {0}, leaf = {0};
    int rc = 0;

    m->server = opts ? opts->server : NULL;
    if (!m->server) {
        rc = lh_server_new(m->loop, &m->server, err);
        m->own_server = rc == 0;
    }
    if (rc == 0)
        rc = make_certs(&ca, &leaf, err);
    if (rc == 0)
        rc = listen_node(m, &m->active, false, opts, &leaf, err);
    if (rc == 0)
        rc = listen_node(m, &m->standby, true, opts, &leaf, err);
    if (rc == 0)
        m->ca_pem = fake_strdup(ca.cert_pem);
    lh_cert_pair_done(&leaf);
    lh_cert_pair_done(&ca);
    return rc;
}

int fake_manager_new(struct lh_loop *loop, const struct fake_manager_options *opts,
                     struct fake_manager **out, struct lh_err *err)
{
    struct fake_manager *m = fake_alloc(sizeof(*m));
    struct token *root;
    int rc;

    m->loop = loop;
    rc = start(m, opts, err);
    if (rc < 0) {
        fake_manager_free(m);
        return rc;
    }
    root = fake_token_new(m, 0, 0, false, false);
    root->root = true;
    snprintf(root->id, sizeof(root->id), "s.root");
    fake_manager_mount_kv(m, "secret", 2);
    fake_manager_mount_kv(m, "kv1", 1);
    fake_manager_deny(m, "sys/leases/revoke");
    fake_manager_deny(m, "auth/token/revoke-accessor");
    *out = m;
    return 0;
}

void fake_manager_free(struct fake_manager *m)
{
    if (!m)
        return;
    drop_held(m);
    if (m->own_server)
        lh_server_free(m->server);
    fake_state_free(m);
    free(m);
}

const char *fake_manager_url(const struct fake_manager *m)
{
    return m->active.url;
}

const char *fake_manager_standby_url(const struct fake_manager *m)
{
    return m->standby.url;
}

const char *fake_manager_ca_pem(const struct fake_manager *m)
{
    return m->ca_pem;
}

char *fake_manager_store_json(const struct fake_manager *m, const char *auth_json)
{
    return fake_manager_store_json_with(m, &(struct fake_store){.auth = auth_json});
}

char *fake_manager_store_json_with(const struct fake_manager *m, const struct fake_store *store)
{
    bool cluster = store->kind && strcmp(store->kind, "ClusterSecretStore") == 0;
    struct lh_buf ca;
    char *out;

    lh_buf_init(&ca, 64 * 1024);
    lh_base64_put(&ca, m->ca_pem, strlen(m->ca_pem));
    out = lh_asprintf(
        "{\"apiVersion\":\"leasehold.dev/v1alpha1\",\"kind\":\"%s\",\"metadata\":{\"name\":"
        "\"vault\"%s},\"spec\":{\"vault\":{\"addresses\":%s%s%s,\"caBundle\":\"%.*s\","
        "\"tlsServerName\":\"" FAKE_MANAGER_NAME "\",\"auth\":%s%s%s}%s%s}}",
        cluster ? "ClusterSecretStore" : "SecretStore", cluster ? "" : ",\"namespace\":\"shop\"",
        store->addresses ? store->addresses : "[\"", store->addresses ? "" : m->active.url,
        store->addresses ? "" : "\"]", (int)lh_buf_peek(&ca).n, lh_buf_peek(&ca).p, store->auth,
        store->vault ? "," : "", store->vault ? store->vault : "", store->spec ? "," : "",
        store->spec ? store->spec : "");
    lh_buf_done(&ca);
    return out;
}
