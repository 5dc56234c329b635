/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_KUBE_CLIENT_H
#define LEASEHOLD_KUBE_CLIENT_H

/*
 * Requests to the API server: generic objects by group and resource, no kind of ours is known here.
 * One gate per client for 429 and Retry-After. Errors carry the Status' reason as code: 404
 * NOTFOUND, 401/403 DENIED, 409 CONFLICT, 410 GONE, 422/400 INVALID, 429 BUSY, 5xx and no answer
 * UNAVAILABLE.
 */
#include "leasehold/codec/json.h"
#include "leasehold/core/loop.h"
#include "leasehold/core/secret.h"
#include "leasehold/kube/config.h"

struct lh_kube;
struct lh_kube_op;

struct lh_kube_resource {
    const char *group;       /* "" for core */
    const char *version;     /* "v1" */
    const char *resource;    /* plural */
    const char *namespace_;  /* NULL: cluster scope, or all namespaces for list and watch */
    const char *name;        /* NULL: the collection */
    const char *subresource; /* "status", "token", "proxy/status"; NULL */
};

/* obj is the decoded answer (NULL for an empty one), borrowed until return. */
typedef void (*lh_kube_done_fn)(void *arg, const lh_json *obj, const struct lh_err *err);

int lh_kube_new(struct lh_loop *loop, const struct lh_kube_config *cfg /* copied */,
                const char *user_agent, struct lh_kube **out, struct lh_err *err);
/* Cancels its requests; watches must have been stopped before. */
void lh_kube_free(struct lh_kube *k);
const char *lh_kube_namespace(const struct lh_kube *k);
struct lh_loop *lh_kube_loop(const struct lh_kube *k);

/* query: "fieldManager=x&force=true" or NULL, already encoded. content_type NULL: application/json.
 * body may be NULL. */
int lh_kube_start(struct lh_kube *k, const char *method, const struct lh_kube_resource *res,
                  const char *query, const char *content_type, const lh_json *body,
                  unsigned timeout_ms, lh_kube_done_fn done, void *arg, struct lh_kube_op **out,
                  struct lh_err *err);
void lh_kube_cancel(struct lh_kube_op *op);

/* TokenRequest (authentication.k8s.io/v1) for a ServiceAccount; token borrowed until return. */
typedef void (*lh_kube_token_fn)(void *arg, const struct lh_secret *token,
                                 const struct lh_err *err);
int lh_kube_token_request(struct lh_kube *k, const char *namespace_, const char *service_account,
                          const char *audience, int64_t seconds, lh_kube_token_fn done, void *arg,
                          struct lh_kube_op **out, struct lh_err *err);

#endif
