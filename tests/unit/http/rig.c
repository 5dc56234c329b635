/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "leasehold/core/mem.h"
#include "leasehold/core/vec.h"
#include "rig.h"

struct rig rig;
static unsigned ended;

static void keep(char *out, size_t room, struct lh_str s)
{
    snprintf(out, room, "%.*s", (int)s.n, s.p ? s.p : "");
}

static void note(const struct lh_request *req, struct lh_call *call)
{
    rig.requests++;
    snprintf(rig.last_method, sizeof(rig.last_method), "%s", req->method);
    keep(rig.last_path, sizeof(rig.last_path), req->path);
    keep(rig.last_query, sizeof(rig.last_query), req->query);
    keep(rig.last_body, sizeof(rig.last_body), req->body);
    keep(rig.last_host, sizeof(rig.last_host), lh_call_header(call, "host"));
    keep(rig.last_token, sizeof(rig.last_token), lh_call_header(call, "x-vault-token"));
    keep(rig.last_type, sizeof(rig.last_type), req->content_type);
    rig.has_type = req->content_type.p != NULL;
}

static void on_echo(void *arg, const struct lh_request *req, struct lh_call *call)
{
    (void)arg;
    note(req, call);
    lh_call_answer(call, 200, "application/json", req->body);
}

static long number_of(struct lh_str path)
{
    char text[128];
    const char *slash;

    keep(text, sizeof(text), path);
    slash = strrchr(text, '/');
    return slash ? atol(slash + 1) : 0;
}

static void on_bytes(void *arg, const struct lh_request *req, struct lh_call *call)
{
    size_t n = (size_t)number_of(req->path);
    char *body = lh_calloc(1, n + 1);

    (void)arg;
    note(req, call);
    memset(body, 'x', n);
    lh_call_answer(call, 200, "application/octet-stream", (struct lh_str){body, n});
    lh_free(body);
}

static void on_status(void *arg, const struct lh_request *req, struct lh_call *call)
{
    char extra[300];

    (void)arg;
    note(req, call);
    /* The query is a header line: "Retry-After: 3". */
    snprintf(extra, sizeof(extra), "%.*s%s", (int)req->query.n, req->query.p ? req->query.p : "",
             req->query.n ? "\r\n" : "");
    for (char *p = strchr(extra, '+'); p; p = strchr(p, '+'))
        *p = ' ';
    lh_call_begin(call, (int)number_of(req->path), "text/plain", extra);
    lh_call_end(call);
}

/* The first listener is a standby that names another node; the second one (with an arg) serves. */
static void on_leader(void *arg, const struct lh_request *req, struct lh_call *call)
{
    char extra[320];

    if (arg) {
        on_echo(arg, req, call);
        return;
    }
    note(req, call);
    snprintf(extra, sizeof(extra), "%s%s%sContent-Length: 0\r\n",
             rig.location[0] ? "Location: " : "", rig.location, rig.location[0] ? "\r\n" : "");
    lh_call_begin(call, 307, NULL, extra);
    lh_call_end(call);
}

static void on_cut(void *arg, const struct lh_request *req, struct lh_call *call)
{
    (void)arg;
    note(req, call);
    lh_call_begin(call, 200, "text/plain", "Content-Length: 100\r\n");
    lh_call_write(call, LH_STR("ten bytes."));
    lh_call_abort(call);
}

static void on_drop(void *arg, const struct lh_request *req, struct lh_call *call)
{
    (void)arg;
    note(req, call);
    lh_call_abort(call);
}

static void on_hold(void *arg, const struct lh_request *req, struct lh_call *call)
{
    (void)arg;
    note(req, call);
    if (rig.n_held < LH_ARRAY_LEN(rig.held))
        rig.held[rig.n_held++] = call;
    else
        lh_call_abort(call);
}

static void on_headers(void *arg, const struct lh_request *req, struct lh_call *call)
{
    char line[1100];

    (void)arg;
    note(req, call);
    memset(line, 'h', sizeof(line));
    memcpy(line, "X-Long: ", 8);
    memcpy(line + sizeof(line) - 3, "\r\n", 3);
    {
        char *all = lh_calloc(1, 80 * sizeof(line));

        for (int i = 0; i < 80; i++)
            strcat(all, line);
        lh_call_begin(call, 200, "text/plain", all);
        lh_free(all);
    }
    lh_call_end(call);
}

static const struct lh_route routes[] = {
    {NULL, "/echo*", on_echo, 1 << 20},
    {NULL, "/bytes/*", on_bytes, 0},
    {NULL, "/status/*", on_status, 0},
    {NULL, "/leader*", on_leader, 1024},
    {NULL, "/cut", on_cut, 0},
    {NULL, "/drop", on_drop, 1024},
    {NULL, "/hold*", on_hold, 1024},
    {NULL, "/headers", on_headers, 0},
    {0},
};

int rig_group_setup(void **state)
{
    static const char *const names[] = {RIG_NAME, NULL};

    (void)state;
    lh_mem_init();
    if (lh_http_global_init(NULL) < 0 || lh_x509_new_ca("rig CA", 10, &rig.ca, NULL) < 0 ||
        lh_x509_new_ca("other CA", 10, &rig.other_ca, NULL) < 0)
        return -1;
    return lh_x509_new_leaf(&rig.ca, names, 48, &rig.leaf, NULL);
}

int rig_group_teardown(void **state)
{
    (void)state;
    lh_cert_pair_done(&rig.ca);
    lh_cert_pair_done(&rig.other_ca);
    lh_cert_pair_done(&rig.leaf);
    return 0;
}

struct lh_listener *rig_listen(const struct lh_listener_options *opts, char base[64])
{
    struct lh_listener_options o = *opts;
    struct lh_listener *l = NULL;

    o.address = o.address ? o.address : "127.0.0.1:0";
    o.routes = routes;
    o.cert_pem = o.cert_pem.n ? o.cert_pem : lh_str(rig.leaf.cert_pem);
    o.key_pem = o.key_pem ? o.key_pem : rig.leaf.key_pem;
    if (lh_server_listen(rig.server, &o, &l, NULL) < 0)
        return NULL;
    snprintf(base, 64, "https://127.0.0.1:%u", lh_listener_port(l));
    return l;
}

int rig_setup(void **state)
{
    struct lh_listener_options o = {0};

    (void)state;
    rig.n_held = rig.requests = ended = 0;
    memset(rig.held, 0, sizeof(rig.held));
    lh_clock_real();
    if (lh_loop_new(&rig.loop, NULL) < 0 || lh_server_new(rig.loop, &rig.server, NULL) < 0)
        return -1;
    rig.listener = rig_listen(&o, rig.base);
    return rig.listener ? 0 : -1;
}

int rig_teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < rig.n_held; i++) {
        if (rig.held[i])
            lh_call_abort(rig.held[i]);
    }
    lh_server_free(rig.server);
    lh_loop_free(rig.loop);
    lh_clock_real();
    return 0;
}

struct lh_http_options rig_options(void)
{
    return (struct lh_http_options){
        .ca_pem = lh_str(rig.ca.cert_pem), .server_name = RIG_NAME, .allow_loopback = true};
}

struct lh_http *rig_client(const struct lh_http_options *opts)
{
    struct lh_http *h = NULL;

    assert_int_equal(lh_http_new(rig.loop, opts, &h, NULL), 0);
    return h;
}

static void on_done(void *arg, const struct lh_http_answer *ans, const struct lh_err *err)
{
    struct outcome *o = arg;
    struct lh_str header;

    o->calls++;
    o->done = true;
    o->order = ++ended;
    o->op = NULL;
    o->is_answer = ans != NULL;
    if (err) {
        o->code = err->code;
        o->sent = err->sent;
        o->http_status = err->http_status;
        snprintf(o->reason, sizeof(o->reason), "%s", err->reason ? err->reason : "");
        snprintf(o->text, sizeof(o->text), "%s", err->msg);
        return;
    }
    o->status = ans->status;
    o->retry_after_ms = ans->retry_after_ms;
    o->sent_at = ans->sent_at;
    o->done_at = ans->done_at;
    o->body_len = lh_secret_len(ans->body);
    o->body = lh_strndup(lh_secret_expose_const(ans->body), o->body_len);
    header = lh_http_answer_header(ans, "CONTENT-type");
    keep(o->header, sizeof(o->header), header);
}

void outcome_free(struct outcome *o)
{
    lh_free(o->body);
    o->body = NULL;
}

void rig_start(struct lh_http *h, const struct lh_http_request *req, struct outcome *o)
{
    struct lh_err err = {0};

    memset(o, 0, sizeof(*o));
    if (lh_http_start(h, req, on_done, o, &o->op, &err) < 0)
        fail_msg("start: %s", err.msg);
}

void rig_url(const char *path, char out[256])
{
    snprintf(out, 256, "%s%s", rig.base, path);
}

void rig_get(struct lh_http *h, const char *path, struct outcome *o)
{
    char url[256];
    struct lh_http_request req = {.method = "GET", .url = url};

    rig_url(path, url);
    rig_start(h, &req, o);
}

bool rig_wait(struct outcome *o)
{
    return lh_test_run_until_set(rig.loop, &o->done);
}

static bool held_enough(void *arg)
{
    return rig.n_held >= *(unsigned *)arg;
}

bool rig_wait_held(unsigned n)
{
    return lh_test_run_until(rig.loop, held_enough, &n);
}
