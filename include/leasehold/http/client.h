/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_HTTP_CLIENT_H
#define LEASEHOLD_HTTP_CLIENT_H

/*
 * HTTP/1.1 over TLS 1.2+ on the loop: one request, one callback. Never retries by itself. A client
 * object is a connection pool with one TLS identity, one address policy and one pair of limits (in
 * flight, per second); requests past the limits queue in order. Bodies live in lh_secret. No
 * cookies, no netrc, no proxy from the environment, no automatic redirects.
 */
#include <stdbool.h>
#include <stddef.h>

#include "leasehold/core/clock.h"
#include "leasehold/core/err.h"
#include "leasehold/core/loop.h"
#include "leasehold/core/secret.h"
#include "leasehold/core/str.h"

/* Defaults of the limits below. */
enum { LH_HTTP_IN_FLIGHT = 32, LH_HTTP_ANSWER_MAX = 4 * 1024 * 1024 };

struct lh_http;
struct lh_http_op;

struct lh_http_options {
    struct lh_str ca_pem; /* copied; empty: ca_file */
    const char *ca_file; /* copied; re-read when it changes; NULL and no ca_pem: every https request
                            fails */
    const char
        *server_name; /* name on the certificate when it is not the host of the URL; SNI too */
    struct lh_str client_cert_pem; /* copied; with client_key_pem, or the two files below (re-read
                                      on change) */
    const struct lh_secret *client_key_pem; /* copied */
    const char *client_cert_file, *client_key_file;
    unsigned max_in_flight;       /* 0: 32 */
    unsigned requests_per_second; /* 0: no limit; a token bucket with a burst of one second */
    unsigned connect_timeout_ms;  /* 0: 5000 */
    /* Addresses are checked after resolving: link-local, loopback, unspecified, multicast and
     * metadata addresses are refused unless listed (CIDR texts, NULL-terminated, copied) or
     * allow_loopback. */
    const char *const *allow_addresses;
    bool allow_loopback;
    bool allow_plain_http;  /* kube and tests never set it; a store never may */
    const char *user_agent; /* NULL: leasehold/VERSION */
};

struct lh_http_header {
    const char *name;
    struct lh_str value;
    const struct lh_secret *secret; /* instead of value */
};

/* Streaming answers (watch): bytes as they come, borrowed until return. 0 goes on, 1 pauses until
 * lh_http_resume. */
typedef int (*lh_http_data_fn)(void *arg, int status, struct lh_str bytes);

struct lh_http_request {
    const char *method; /* GET, POST, PUT, DELETE, LIST, PATCH */
    const char *url;
    const struct lh_http_header *headers;
    size_t n_headers;
    struct lh_str body; /* or */
    const struct lh_secret *body_secret;
    unsigned timeout_ms;      /* whole request from when it leaves the queue, 0: 30000; streams:
                                 until the first byte */
    unsigned idle_timeout_ms; /* below 1 byte for so long: failed; 0: 10000; streams: 0 = none */
    size_t max_answer_bytes;  /* 0: 4 MiB */
    /* NULL-terminated base URLs that one 307/308 may lead to, with method, body, headers, path and
     * query unchanged; anywhere else is LH_E_DENIED. NULL: a redirect is an answer like others. */
    const char *const *redirect_to;
    lh_http_data_fn on_data; /* NULL: the body is collected */
};

struct lh_http_answer {
    int status;
    struct lh_secret *body; /* empty for streams */
    lh_ms sent_at, done_at; /* boot time: before the request was sent; after the answer ended */
    int retry_after_ms;     /* Retry-After in either form, capped at 10 min; 0 if none */
    const struct lh_http_answer_headers *headers;
};

/* Header by name, ASCII case ignored; last one wins; {NULL, 0} if absent. Borrowed as the answer.
 */
struct lh_str lh_http_answer_header(const struct lh_http_answer *ans, const char *name);

/* Once, from the loop; ans is NULL if and only if err is set; both borrowed until return. op is
 * gone afterwards. err: LH_E_UNAVAILABLE (name, connect, TLS, cut body, time; the text says which
 * and names the host, reason word set: Unreachable, CertificateInvalid, ...), LH_E_TOOBIG,
 * LH_E_DENIED (address policy, redirect). err->sent is true once any byte of the request may have
 * reached the server, and false after a refused redirect (the server did not act). Any HTTP status
 * is an answer, not an error. */
typedef void (*lh_http_done_fn)(void *arg, const struct lh_http_answer *ans,
                                const struct lh_err *err);

/* Once per process, before any other call. */
int lh_http_global_init(struct lh_err *err);

int lh_http_new(struct lh_loop *loop, const struct lh_http_options *opts, struct lh_http **out,
                struct lh_err *err);
void lh_http_free(struct lh_http *h); /* cancels its operations; NULL is a no-op */

int lh_http_start(struct lh_http *h, const struct lh_http_request *req /* copied */,
                  lh_http_done_fn done, void *arg, struct lh_http_op **out, struct lh_err *err);
void lh_http_cancel(
    struct lh_http_op *op); /* NULL is a no-op; done is not called; safe inside another op's done */
void lh_http_resume(struct lh_http_op *op); /* after on_data paused */
/* Status of the answer whose head has come, 0 before: a stream may be silent for long. */
int lh_http_status(const struct lh_http_op *op);
size_t lh_http_in_flight(const struct lh_http *h);
size_t lh_http_queued(const struct lh_http *h);
/* Drops idle connections (after a CA change, in residue tests). */
void lh_http_drop_idle(struct lh_http *h);

#endif
