/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "http_priv.h"
#include "leasehold/core/mem.h"

static lh_ms earliest(lh_ms a, lh_ms b)
{
    return b < a ? b : a;
}

static lh_ms deadline_of(const struct lh_http_op *op)
{
    lh_ms when = INT64_MAX;

    if (!op->connected)
        when = op->connect_started + op->h->connect_ms;
    if (!op->on_data || !op->got_byte)
        when = earliest(when, op->started + op->timeout_ms);
    if (op->sent && op->idle_ms && !op->paused)
        when = earliest(when, op->last_byte + op->idle_ms);
    return when;
}

static void arm(struct lh_http_op *op)
{
    lh_ms when = deadline_of(op);

    if (when < INT64_MAX)
        lh_timer_at(op->deadline, when);
    else
        lh_timer_stop(op->deadline);
}

/* The connection is up and curl is about to send: from here on the server may act on the request.
 * curl would send it once more when a kept connection turns out dead before an answer came; that is
 * not for this layer to decide, so the second time ends it. */
static int on_before_request(void *arg, char *peer, char *local, int peer_port, int local_port)
{
    struct lh_http_op *op = arg;

    (void)peer;
    (void)local;
    (void)peer_port;
    (void)local_port;
    if (op->sent || op->cancelled)
        return CURL_PREREQFUNC_ABORT;
    op->sent = op->connected = true;
    op->last_byte = lh_clock_now();
    arm(op); /* what counts from here may end before the time for connecting would have */
    return CURL_PREREQFUNC_OK;
}

/* First failure wins, so that a table of settings needs one test at its end. */
#define SET(op, option, value)                                                                     \
    do {                                                                                           \
        if (*rc == CURLE_OK)                                                                       \
            *rc = curl_easy_setopt((op)->easy, (option), (value));                                 \
    } while (0)

static void set_protocol(struct lh_http_op *op, CURLcode *rc)
{
    SET(op, CURLOPT_PROTOCOLS_STR, op->h->allow_plain_http ? "https,http" : "https");
    SET(op, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(op, CURLOPT_FOLLOWLOCATION, 0L);
    SET(op, CURLOPT_PATH_AS_IS, 1L);
    SET(op, CURLOPT_PROXY, "");
    SET(op, CURLOPT_NOSIGNAL, 1L);
    SET(op, CURLOPT_NOPROGRESS, 1L);
    /* Without it, giving up a request waits for the resolver's whole timeout. */
    SET(op, CURLOPT_QUICK_EXIT, 1L);
    SET(op, CURLOPT_DNS_CACHE_TIMEOUT, 5L);
    SET(op, CURLOPT_MAXAGE_CONN, (long)HTTP_POOL_IDLE_MS / 1000);
}

static void set_tls(struct lh_http_op *op, CURLcode *rc)
{
    const struct http_identity *id = op->identity;
    struct curl_blob blob = {.flags = CURL_BLOB_NOCOPY};

    /* Debian builds its own bundle in; only ours counts. */
    SET(op, CURLOPT_CAINFO, NULL);
    SET(op, CURLOPT_CAPATH, NULL);
    SET(op, CURLOPT_SSL_VERIFYPEER, 1L);
    SET(op, CURLOPT_SSL_VERIFYHOST, 2L);
    SET(op, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(op, CURLOPT_SSL_SESSIONID_CACHE, 0L);
    SET(op, CURLOPT_SSL_CTX_FUNCTION, http_on_ssl_ctx);
    SET(op, CURLOPT_SSL_CTX_DATA, op);
    blob.data = id->ca;
    blob.len = id->ca_len;
    SET(op, CURLOPT_CAINFO_BLOB, &blob);
    if (!id->cert)
        return;
    blob.data = id->cert;
    blob.len = id->cert_len;
    SET(op, CURLOPT_SSLCERT_BLOB, &blob);
    blob.data = lh_secret_expose(id->key);
    blob.len = lh_secret_len(id->key);
    SET(op, CURLOPT_SSLKEY_BLOB, &blob);
}

static void set_callbacks(struct lh_http_op *op, CURLcode *rc)
{
    SET(op, CURLOPT_PRIVATE, op);
    SET(op, CURLOPT_ERRORBUFFER, op->curl_text);
    SET(op, CURLOPT_HEADERFUNCTION, http_on_header);
    SET(op, CURLOPT_HEADERDATA, op);
    SET(op, CURLOPT_WRITEFUNCTION, http_on_body);
    SET(op, CURLOPT_WRITEDATA, op);
    SET(op, CURLOPT_PREREQFUNCTION, on_before_request);
    SET(op, CURLOPT_PREREQDATA, op);
    SET(op, CURLOPT_OPENSOCKETFUNCTION, http_on_open_socket);
    SET(op, CURLOPT_OPENSOCKETDATA, op);
}

static void set_request(struct lh_http_op *op, CURLcode *rc)
{
    bool body = op->has_body || strcmp(op->method, "POST") == 0 || strcmp(op->method, "PUT") == 0;
    const void *bytes = op->body_secret ? lh_secret_expose_const(op->body_secret)
                        : op->body      ? op->body
                                        : "";

    if (body) {
        SET(op, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)op->body_len);
        SET(op, CURLOPT_POSTFIELDS, bytes);
    }
    if (strcmp(op->method, "HEAD") == 0)
        SET(op, CURLOPT_NOBODY, 1L);
    SET(op, CURLOPT_CUSTOMREQUEST, op->method);
    /* The least curl takes. By default it allocates 64 KiB for each body over TLS: past malloc's
     * threshold for mmap, so every one costs page faults, and all of it is wiped. */
    SET(op, CURLOPT_UPLOAD_BUFFERSIZE, 16384L);
    SET(op, CURLOPT_USERAGENT, op->h->user_agent);
    SET(op, CURLOPT_HTTPHEADER, op->host_header ? op->host_header : op->headers);
}

static int slist_one(struct curl_slist **out, char *line, struct lh_err *err)
{
    struct curl_slist *one = line ? curl_slist_append(NULL, line) : NULL;

    lh_free(line);
    if (!one)
        return lh_err_nomem(err);
    *out = one;
    return 0;
}

/* The certificate is checked against, and SNI says, the host of the URL: so the name goes into the
 * URL, the real host becomes where to connect, and the Host header stays what it was. */
static int set_server_name(struct lh_http_op *op, char **url, struct lh_err *err)
{
    const struct http_target *t = &op->target;
    int rc;

    rc = slist_one(&op->connect_to, lh_asprintf("::%s:%s", t->host, t->port), err);
    if (rc < 0)
        return rc;
    rc = slist_one(&op->host_header,
                   t->default_port ? lh_asprintf("Host: %s", t->host)
                                   : lh_asprintf("Host: %s:%s", t->host, t->port),
                   err);
    if (rc < 0)
        return rc;
    op->host_header->next = op->headers;
    *url = lh_asprintf("%s://%s:%s%s", t->scheme, op->h->server_name, t->port, t->path_and_query);
    return *url ? 0 : lh_err_nomem(err);
}

static int set_target(struct lh_http_op *op, struct lh_err *err)
{
    lh_auto_free char *named = NULL;
    CURLcode result = CURLE_OK, *rc = &result;

    if (op->h->server_name && op->target.https) {
        int failed = set_server_name(op, &named, err);

        if (failed < 0)
            return failed;
    }
    SET(op, CURLOPT_URL, named ? named : op->target.url);
    if (op->connect_to)
        SET(op, CURLOPT_CONNECT_TO, op->connect_to);
    return result == CURLE_OK ? 0 : lh_err_nomem(err);
}

static int set_up(struct lh_http_op *op, struct lh_err *err)
{
    CURLcode result = CURLE_OK, *rc = &result;
    int failed;

    op->curl_text[0] = '\0';
    op->easy = curl_easy_init();
    if (!op->easy)
        return lh_err_nomem(err);
    failed = set_target(op, err);
    if (failed < 0)
        return failed;
    set_protocol(op, rc);
    set_callbacks(op, rc);
    if (op->target.https)
        set_tls(op, rc);
    set_request(op, rc);
    if (result == CURLE_OUT_OF_MEMORY)
        return lh_err_nomem(err);
    if (result != CURLE_OK)
        return lh_err_set(err, LH_E_INVALID, "curl lacks a setting that is needed: %s",
                          curl_easy_strerror(result));
    return 0;
}

static int add_to_pool(struct lh_http_op *op, struct lh_err *err)
{
    struct lh_http *h = op->h;
    CURLMcode rc;

    if (!h->pool) {
        int failed = http_pool_new(h, &h->pool, err);

        if (failed < 0)
            return failed;
    }
    h->in_curl++;
    rc = curl_multi_add_handle(h->pool->multi, op->easy);
    h->in_curl--;
    if (rc != CURLM_OK)
        return lh_err_nomem(err);
    op->pool = h->pool;
    op->pool->transfers++;
    return 0;
}

static int no_trust(const struct lh_http_op *op, struct lh_err *err)
{
    lh_err_fill(err, LH_E_UNAVAILABLE,
                "%s:%s: no CA certificate is set, so its certificate cannot be checked",
                op->target.host, op->target.port);
    return lh_err_negative(lh_err_reason(err, -LH_E_UNAVAILABLE, "CertificateInvalid"));
}

/* For whoever retries it is one more way of not reaching the server, and as curable. */
static int unusable_identity(const struct lh_http_op *op, int rc, struct lh_err *err)
{
    if (rc == -LH_E_NOMEM)
        return rc;
    err->code = LH_E_UNAVAILABLE;
    err->os = 0;
    return lh_err_wrap(err, -LH_E_UNAVAILABLE, "%s:%s", op->target.host, op->target.port);
}

static int take_identity(struct lh_http_op *op, struct lh_err *err)
{
    bool changed = false;
    int rc;

    if (!op->target.https)
        return 0;
    rc = http_identity_refresh(op->h, &changed, err);
    if (rc < 0)
        return unusable_identity(op, rc, err);
    if (changed)
        http_pool_retire(op->h);
    if (!op->h->identity->ca)
        return no_trust(op, err);
    op->identity = http_identity_ref(op->h->identity);
    return 0;
}

int http_transfer_start(struct lh_http_op *op, struct lh_err *err)
{
    int rc;

    op->connect_started = lh_clock_now();
    if (!op->started)
        op->started = op->connect_started;
    rc = take_identity(op, err);
    if (rc == 0)
        rc = set_up(op, err);
    if (rc == 0)
        rc = add_to_pool(op, err);
    if (rc == 0)
        arm(op);
    return rc;
}

void http_transfer_end(struct lh_http_op *op)
{
    struct lh_http *h = op->h;

    h->in_curl++;
    if (op->pool) {
        curl_multi_remove_handle(op->pool->multi, op->easy);
        op->pool->transfers--;
        op->pool = NULL;
    }
    if (op->easy)
        curl_easy_cleanup(op->easy);
    h->in_curl--;
    op->easy = NULL;
    if (op->host_header)
        op->host_header->next = NULL; /* the rest is op->headers */
    curl_slist_free_all(op->host_header);
    curl_slist_free_all(op->connect_to);
    op->host_header = op->connect_to = NULL;
    http_identity_unref(op->identity);
    op->identity = NULL;
    if (op->deadline)
        lh_timer_stop(op->deadline);
}

static void finish(struct lh_http_op *op)
{
    op->ended = lh_clock_now();
    http_transfer_end(op);
    http_list_remove(&op->h->running, op);
    op->state = OP_FINISHED;
    http_list_add(&op->h->finished, op);
}

void http_transfer_fail(struct lh_http_op *op, const struct lh_err *err)
{
    op->err = *err;
    op->err.sent = op->sent;
    op->failed = true;
    finish(op);
}

/* A 307 or 308 says that the server did not act on the request. */
static int follow(struct lh_http_op *op, struct lh_err *err)
{
    struct lh_http_answer ans = {.headers = &op->in_headers};
    struct http_target to;
    int rc;

    op->sent = false;
    if (op->redirected)
        return lh_err_reason(err,
                             lh_err_set(err, LH_E_UNAVAILABLE,
                                        "%s:%s redirects a request that was redirected to it",
                                        op->target.host, op->target.port),
                             "Unreachable");
    rc = http_target_redirect(&op->target, lh_http_answer_header(&ans, "location"), op->redirect_to,
                              op->h->allow_plain_http, &to, err);
    if (rc < 0)
        return rc;
    http_transfer_end(op);
    http_target_done(&op->target);
    op->target = to;
    op->redirected = true;
    op->handshaking = op->connected = op->got_byte = false;
    op->sockets = 0;
    http_answer_reset(op);
    return http_transfer_start(op, err);
}

/* The server went away, most likely: other connections kept since before are as dead, and a request
 * that is sent on one is a request of which nobody knows whether it was acted on. */
static bool is_loss(CURLcode result)
{
    return result == CURLE_SEND_ERROR || result == CURLE_RECV_ERROR ||
           result == CURLE_GOT_NOTHING || result == CURLE_ABORTED_BY_CALLBACK;
}

void http_transfer_done(struct lh_http_op *op, CURLcode result)
{
    struct lh_err err = {0};
    int rc;

    if (is_loss(result) && op->pool == op->h->pool)
        http_pool_retire(op->h);
    if (result != CURLE_OK) {
        http_failure(op, result, &err);
        http_transfer_fail(op, &err);
        return;
    }
    if (http_wants_redirect(op)) {
        rc = follow(op, &err);
        if (rc < 0)
            http_transfer_fail(op, &err);
        return;
    }
    rc = http_answer_body(op, &err);
    if (rc < 0)
        http_transfer_fail(op, &err);
    else
        finish(op);
}

void http_transfer_resume(struct lh_http_op *op)
{
    struct http_pool *pool = op->pool;

    op->want_resume = false;
    if (!op->paused || !pool)
        return;
    op->paused = false;
    op->last_byte = lh_clock_now();
    arm(op);
    op->h->in_curl++;
    /* May pass what curl kept, and so pause again at once. */
    curl_easy_pause(op->easy, CURLPAUSE_CONT);
    op->h->in_curl--;
}

void http_on_deadline(void *arg)
{
    struct lh_http_op *op = arg;
    struct lh_http *h = op->h;
    struct lh_err err = {0};

    /* Bytes only move the times; the timer is set anew when it fires, not with each byte. */
    if (deadline_of(op) > lh_clock_now()) {
        arm(op);
        return;
    }
    http_failure_timeout(op, &err);
    http_transfer_fail(op, &err);
    http_settle(h);
}
