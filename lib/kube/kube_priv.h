/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_KUBE_PRIV_H
#define LH_KUBE_PRIV_H

/* What the modules of kube share: one connection pool, one token, one gate. */
#include "leasehold/core/buf.h"
#include "leasehold/http/client.h"
#include "leasehold/kube/client.h"

enum {
    KUBE_TOKEN_MS = 60 * 1000, /* a token file is read again after so long, as client-go does */
    KUBE_MAX_TOKEN = 64 * 1024,
    KUBE_MAX_URL = 8 * 1024,
    KUBE_MAX_BODY = 3 * 1024 * 1024,
    KUBE_MAX_STATUS = 64 * 1024, /* of the Status object behind an error */
    KUBE_MAX_REFUSED = 10,       /* so often a request goes again after 429, as in client-go */
    KUBE_REFUSED_MS = 1000,      /* after a 429 that does not say how long */
};

struct lh_kube {
    struct lh_loop *loop;
    struct lh_kube_config cfg;
    struct lh_http *http;
    struct lh_secret *bearer; /* "Bearer <token>"; NULL: none, or to be read */
    lh_ms bearer_at;
    lh_ms gate_until; /* the API server asked us to wait so long */
    struct lh_kube_op *ops;
    unsigned watches; /* must be stopped before the client is freed */
};

/* config.c */
int kube_config_copy(const struct lh_kube_config *from, struct lh_kube_config *out,
                     struct lh_err *err);
/* dir holds token, ca.crt and namespace; host and port are those of the API server. */
int kube_config_mounted(const char *dir, const char *host, const char *port,
                        struct lh_kube_config *out, struct lh_err *err);

/* request.c */
/* Names that would lead elsewhere are LH_E_INVALID. */
int kube_check_names(const struct lh_kube_resource *res, struct lh_err *err);
/* Path and query of a request behind the server's URL, appended. */
void kube_put_path(struct lh_buf *b, const struct lh_kube_resource *res, const char *query);
/* "key=value" with the value encoded; '&' in front unless b is empty. */
void kube_put_query(struct lh_buf *b, const char *key, const char *value);

struct kube_call {
    const char *method, *path, *accept, *content_type; /* accept and content_type may be NULL */
    struct lh_str body;
    unsigned timeout_ms, idle_timeout_ms;
    lh_http_data_fn on_data;
};
/* Sends now, whatever the gate says. */
int kube_call_start(struct lh_kube *k, const struct kube_call *call, lh_http_done_fn done,
                    void *arg, struct lh_http_op **out, struct lh_err *err);
/* Milliseconds until the gate opens, 0 if it is open. */
lh_ms kube_gate_ms(const struct lh_kube *k);
/* What an answer says about token and gate; counts it. status 0: none came. */
void kube_note_answer(struct lh_kube *k, const char *method, int status, int retry_after_ms);

/* status.c */
/* An error status with its Status object, or whatever else stands there, as an error. */
int kube_status_error(const char *method, const char *path, int status, struct lh_str body,
                      int retry_after_ms, struct lh_err *err);
/* A Status object alone, as in an ERROR event of a watch. */
int kube_status_object(const char *what, const lh_json *obj, struct lh_err *err);

/* What a 422 means: the Status in body may say which fields are wrong. */
enum kube_invalid {
    KUBE_INVALID_OBJECT,
    KUBE_INVALID_UID,     /* nothing but the uid: it is another object's */
    KUBE_INVALID_REQUEST, /* it names no field: of a JSON patch, a test failed or a path is not
                             there */
};
enum kube_invalid kube_status_invalid(struct lh_str body);

/* client.c */
struct kube_request {
    const char *method;
    const struct lh_kube_resource *res;
    const char *query, *content_type; /* as for lh_kube_start */
    const lh_json *body;
    unsigned timeout_ms;
    bool tests;           /* a JSON patch with tests: one that fails is LH_E_CONFLICT */
    bool gone_is_done;    /* 404 is no error */
    const lh_json *ready; /* nothing is asked: this is the answer, from the loop */
    lh_kube_done_fn done;
    lh_kube_token_fn token; /* instead of done */
    void *arg;
};
int kube_request_start(struct lh_kube *k, const struct kube_request *r, struct lh_kube_op **out,
                       struct lh_err *err);
/* The token in the answer of a TokenRequest. */
int kube_token_of(const lh_json *answer, const char *what, struct lh_secret **out,
                  struct lh_err *err);

#endif
