/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_HTTP_PRIV_H
#define LH_HTTP_PRIV_H

/*
 * The client's inside. An op is queued, then runs as one curl transfer in a pool, then is finished
 * and waits for its callback; lists hold it in each state. No callback of ours is made from inside
 * curl but on_data, and what a caller does there is carried out after curl has returned.
 */
#include <curl/curl.h>

#include "leasehold/core/buf.h"
#include "leasehold/core/netaddr.h"
#include "leasehold/http/client.h"

enum {
    HTTP_MAX_IN_FLIGHT = LH_HTTP_IN_FLIGHT,
    HTTP_CONNECT_MS = 5000,
    HTTP_TIMEOUT_MS = 30000,
    HTTP_IDLE_MS = 10000,
    HTTP_MAX_ANSWER = LH_HTTP_ANSWER_MAX,
    HTTP_MAX_HEADERS = 64 * 1024,
    HTTP_RETRY_AFTER_MAX_MS = 10 * 60 * 1000,
    HTTP_POOL_IDLE_MS = 60 * 1000,
    HTTP_MAX_PEM = 1024 * 1024,
};

/* Certificates in use, shared by the transfers that were started under them. */
struct http_identity {
    unsigned refs;
    char *ca;
    size_t ca_len;
    char *cert;
    size_t cert_len;
    struct lh_secret *key;
};

struct http_file_mark {
    unsigned long long dev, ino, size;
    long long mtime_ns, ctime_ns;
};

/* Where certificates come from. */
struct http_source {
    char *ca_file, *cert_file, *key_file; /* NULL: given as bytes, or none */
    struct http_file_mark ca_mark, cert_mark, key_mark;
};

/* Connections of one identity. A retired pool ends with its last transfer. */
struct http_pool {
    struct lh_http *h;
    struct http_pool *next;
    CURLM *multi;
    struct lh_timer *timer;
    size_t transfers;
    bool broken; /* curl ran out of memory inside: nothing more goes through it */
};

struct http_target {
    char *url;                  /* as requested */
    char *scheme, *host, *port; /* host with brackets if it has any; port always set */
    char *path_and_query;       /* as sent */
    bool https, default_port;
};

enum http_op_state { OP_QUEUED, OP_RUNNING, OP_FINISHED, OP_DELIVERED };

struct http_op_list {
    struct lh_http_op *head, *tail;
    size_t n;
};

struct lh_http_answer_headers {
    struct lh_buf lines; /* "Name: value\n" each */
    bool complete, overflow;
};

struct lh_http_op {
    struct lh_http *h;
    struct lh_http_op *prev, *next;
    enum http_op_state state;
    lh_http_done_fn done;
    lh_http_data_fn on_data;
    void *arg;

    char *method;
    struct http_target target;
    struct curl_slist *headers, *host_header, *connect_to;
    struct lh_secret *body_secret;
    char *body;
    size_t body_len;
    bool has_body;
    char **redirect_to;
    unsigned timeout_ms, idle_ms;
    size_t max_bytes;

    struct http_pool *pool;
    struct http_identity *identity;
    CURL *easy;
    struct lh_timer *deadline;
    lh_ms started, connect_started, last_byte;
    unsigned sockets;
    bool handshaking, sent, connected, got_byte, redirected;
    bool paused, want_resume, cancelled, too_big;
    char denied[128];                /* an address that the policy refused, and what it is */
    char curl_text[CURL_ERROR_SIZE]; /* only OpenSSL's fixed words in it are ever shown */

    int status;
    struct lh_http_answer_headers in_headers;
    struct lh_secret *in_body;
    size_t in_len;
    lh_ms ended;
    bool failed;
    struct lh_err err;
};

struct lh_http {
    struct lh_loop *loop;
    struct http_source source;
    struct http_identity *identity;
    char *server_name, *user_agent;
    struct lh_net *allow;
    size_t n_allow;
    bool allow_loopback, allow_plain_http;
    unsigned max_in_flight, requests_per_second, connect_ms;

    struct http_pool *pool, *retired;
    struct http_op_list queued, running, finished;
    struct lh_timer *tick, *idle;
    lh_ms tat_us; /* token bucket: when the next request is due if all went at the rate */
    unsigned in_curl;
    bool delivering, dead;
    bool any_cancelled; /* of those that run, from inside curl */
};

/* client.c */
void http_list_add(struct http_op_list *l, struct lh_http_op *op);
void http_list_remove(struct http_op_list *l, struct lh_http_op *op);
/* What is to be done after curl or a timer ran: results out, requests in, the dead buried. May free
 * h. */
void http_settle(struct lh_http *h);

/* request.c */
int http_op_new(struct lh_http *h, const struct lh_http_request *req, struct lh_http_op **out,
                struct lh_err *err);
void http_op_free(struct lh_http_op *op);

/* target.c */
int http_target_parse(const char *url, bool allow_plain, struct http_target *out,
                      struct lh_err *err);
void http_target_done(struct http_target *t);
/* Where a 307 or 308 leads, if it may: location is resolved against from. LH_E_DENIED. */
int http_target_redirect(const struct http_target *from, struct lh_str location,
                         char *const *allowed, bool allow_plain, struct http_target *out,
                         struct lh_err *err);

/* pool.c */
int http_pool_new(struct lh_http *h, struct http_pool **out, struct lh_err *err);
void http_pool_free(struct http_pool *p);
/* No new transfer goes here; freed once the last one is gone. */
void http_pool_retire(struct lh_http *h);
void http_pool_run(struct http_pool *p, curl_socket_t fd, int mask);
void http_pool_collect(struct http_pool *p);

/* transfer.c */
/* Moves a queued op, or one that is redirected, into the current pool. */
int http_transfer_start(struct lh_http_op *op, struct lh_err *err);
/* Takes the transfer out of curl, and wipes what curl held. */
void http_transfer_end(struct lh_http_op *op);
/* The transfer is over: finishes the op, or follows a redirect. */
void http_transfer_done(struct lh_http_op *op, CURLcode rc);
void http_transfer_fail(struct lh_http_op *op, const struct lh_err *err);
void http_transfer_resume(struct lh_http_op *op);
void http_on_deadline(void *arg);

/* answer.c */
size_t http_on_header(char *p, size_t size, size_t n, void *arg);
size_t http_on_body(char *p, size_t size, size_t n, void *arg);
void http_answer_reset(struct lh_http_op *op);
/* The body's length made exact. */
int http_answer_body(struct lh_http_op *op, struct lh_err *err);
int http_retry_after_ms(struct lh_str value);
bool http_wants_redirect(const struct lh_http_op *op);

/* identity.c */
int http_source_init(struct lh_http *h, const struct lh_http_options *opts, struct lh_err *err);
void http_source_done(struct lh_http *h);
/* Looks at the files; on a change there is a new h->identity, and *changed is set. What cannot be
 * read keeps the last good one; without any, an error. */
int http_identity_refresh(struct lh_http *h, bool *changed, struct lh_err *err);
struct http_identity *http_identity_ref(struct http_identity *id);
void http_identity_unref(struct http_identity *id);
CURLcode http_on_ssl_ctx(CURL *easy, void *ctx, void *arg);

/* socket.c */
int http_policy_init(struct lh_http *h, const char *const *cidrs, struct lh_err *err);
curl_socket_t http_on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *addr);

/* failure.c */
int http_failure(struct lh_http_op *op, CURLcode rc, struct lh_err *err);
int http_failure_timeout(struct lh_http_op *op, struct lh_err *err);

#endif
