/* SPDX-License-Identifier: Apache-2.0 */
/* A fake, because the real API server runs on wall time and cannot be told to lose a stream. */
#ifndef LEASEHOLD_TESTS_FAKE_API_H
#define LEASEHOLD_TESTS_FAKE_API_H

/*
 * A Kubernetes API server as far as controllers see it: collections of objects with resource
 * versions, lists in pages, watches with bookmarks and initial events, single objects, writes with
 * their preconditions and finalizers, token requests, and the ways in which all of that fails. It
 * listens on loopback with TLS on our own server. A collection is called "group/version/resource",
 * "v1/namespaces" for core.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "leasehold/codec/json.h"
#include "leasehold/core/err.h"
#include "leasehold/core/loop.h"
#include "leasehold/kube/config.h"

struct fake_api;
struct lh_kube;

/* The fake clock, a loop, an API server on it and a client of that, "test"; the caller frees them
 * the other way round and calls lh_clock_real(). What was made is in place on failure, too. */
int fake_api_cluster(struct lh_loop **loop, struct fake_api **api, struct lh_kube **kube);
/* One more client, which calls itself agent; NULL on failure. */
struct lh_kube *fake_api_client(struct lh_loop *loop, const struct fake_api *api,
                                const char *agent);
/* Becomes the loop's host. */
int fake_api_new(struct lh_loop *loop, struct fake_api **out, struct lh_err *err);
void fake_api_free(struct fake_api *f); /* NULL is a no-op */
/* For another fake on the same loop; free that one first. */
struct lh_server;
struct lh_server *fake_api_server(const struct fake_api *f);
/* How to reach it, with the token that it takes; the caller ends it with lh_kube_config_done. */
int fake_api_config(const struct fake_api *f, struct lh_kube_config *out, struct lh_err *err);
/* Only this token is taken from now on; "s3cr3t" at first. */
void fake_api_take_token(struct fake_api *f, const char *token);

/* Creates or replaces. json holds metadata.name and, if so, namespace; uid, generation and version
 * are filled in. With another uid in json it is another object under an old name. */
void fake_api_put(struct fake_api *f, const char *collection, const char *json);
/* namespace_ NULL: cluster scope. */
void fake_api_delete(struct fake_api *f, const char *collection, const char *namespace_,
                     const char *name);
/* As stored, borrowed until it changes; NULL: there is none. */
const lh_json *fake_api_get(const struct fake_api *f, const char *collection,
                            const char *namespace_, const char *name);
/* How often something happened to objects of a collection: "ADDED", "MODIFIED", "DELETED". */
size_t fake_api_happened(const struct fake_api *f, const char *collection, const char *type);
/* Before each of the next n writes to an object that exists, somebody else writes to it. */
void fake_api_interfere(struct fake_api *f, unsigned n);
/* Watches that ask for what happened before now get 410 Gone. */
void fake_api_compact(struct fake_api *f);

/* Open watches. */
size_t fake_api_watches(const struct fake_api *f);
void fake_api_bookmark(struct fake_api *f);
void fake_api_end_watches(struct fake_api *f);             /* as at the time limit */
void fake_api_break_watches(struct fake_api *f);           /* connections dropped */
void fake_api_error_watches(struct fake_api *f, int code); /* an ERROR event, then the end */
/* Nothing is sent on watches that are open; they never end by themselves. */
void fake_api_lose_watches(struct fake_api *f);
/* Whatever bytes, on all watches. */
void fake_api_write_watches(struct fake_api *f, const char *text);

/* How it behaves. */
void fake_api_watch_list(struct fake_api *f, bool known); /* false: 422 for sendInitialEvents */
void fake_api_initial_end(struct fake_api *f, bool sent); /* false: initial events never end */
void fake_api_expire_pages(struct fake_api *f);           /* every continue token is 410 */
void fake_api_lag(struct fake_api *f, bool lags);         /* 504 ResourceVersionTooLarge */
void fake_api_deny(struct fake_api *f, const char *collection); /* 403 */
/* GET of exactly this path, that is no object's: discovery, metrics. Replaces what was there. */
void fake_api_page(struct fake_api *f, const char *path, int status, const char *body);

/* The next answers to what fits: method and a prefix of path with query. status 0: dropped. */
struct fake_api_fault {
    const char *method, *prefix, *agent; /* NULL: any; agent: of the client, as it calls itself */
    int status;
    const char *body;    /* NULL: a Status */
    const char *headers; /* "Retry-After: 2\r\n" or NULL */
    unsigned times;      /* 0: until cleared */
    bool stall;          /* no answer at all */
    bool hold;           /* it is carried out, and answered by fake_api_let_go */
    bool after;          /* it is carried out, then its answer gets lost; the rest is not used */
};
void fake_api_fault(struct fake_api *f, const struct fake_api_fault *fault); /* one at a time */
void fake_api_fault_clear(struct fake_api *f);
/* Sends the answers that were held. */
void fake_api_let_go(struct fake_api *f);

/* What was asked: "GET /apis/...?...", oldest first. */
size_t fake_api_requests(const struct fake_api *f);
const char *fake_api_request(const struct fake_api *f, size_t i); /* NULL past the end */
/* How many of them hold this text. */
size_t fake_api_count(const struct fake_api *f, const char *text);
void fake_api_forget_requests(struct fake_api *f);
const char *fake_api_last_accept(const struct fake_api *f);
struct lh_str fake_api_last_body(const struct fake_api *f);

#endif
