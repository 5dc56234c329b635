/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_PROVIDERS_VAULT_PRIV_H
#define LEASEHOLD_PROVIDERS_VAULT_PRIV_H

/*
 * One provider is one store seen by one identity. One operation (struct lh_provider_op) is one call
 * through provider.h: it sends one request after another, each by lh_vault_send(), until its step
 * function finishes it. Steps run from the loop only; finishing calls done and frees the operation,
 * so nothing may be touched after it.
 */
#include "answer.h"
#include "classify.h"
#include "leasehold/http/client.h"
#include "leasehold/providers/provider.h"

struct lh_vault_mount { /* what the server said of a mount */
    char *path;         /* with the slash at its end, owned */
    bool kv, kv2;
    lh_ms learned_at;
};

struct lh_vault_pool;

struct lh_provider {
    struct lh_loop *loop;
    struct lh_store *store; /* one reference */
    struct lh_identity id;  /* its pointers are borrowed until close */
    struct lh_http *http;
    struct lh_vault_pool *pool;      /* whose http is; NULL: it is ours alone */
    char *namespace_, *role, *mount; /* expanded, owned; namespace_ and role may be NULL */
    size_t current;                  /* the address that answered last */
    size_t n_addresses;
    char *index; /* X-Vault-Index of the newest login or write, owned; NULL */
    struct lh_vault_mount *mounts;
    size_t n_mounts;
    struct lh_provider_op *ops;
    struct lh_timer
        *wake; /* reads that waited for another's mount look-up go on; NULL until needed */
};

/* A good or bad answer of the manager, classified. Borrowed for the step. */
struct lh_vault_answer {
    enum lh_vault_class class;
    const struct lh_vault_reply *reply;
    const lh_json *json; /* NULL if empty or not JSON */
    lh_ms sent_at, done_at;
};

struct lh_vault_ask {
    const char *method;
    const char *path;  /* without v1/, as it was checked; encoded when it is sent */
    const char *query; /* "version=3" or NULL */
    const lh_json *body;
    bool issues;     /* what it does must not be done twice */
    bool anonymous;  /* without token */
    bool top;        /* sys/health: without namespace */
    bool keep_index; /* a login or write: later reads must see it */
    unsigned timeout_ms;
};

/* One of ans and err is set. Must send again or finish. */
typedef void (*lh_vault_step_fn)(struct lh_provider_op *op, const struct lh_vault_answer *ans,
                                 const struct lh_err *err);

struct lh_provider_op {
    struct lh_provider *p;
    struct lh_provider_op *prev, *next;
    lh_prov_done_fn done;
    void *arg;
    bool finished;
    char *what; /* for errors: read "secret/app", owned */
    struct lh_secret *token;

    /* The request in flight. */
    struct lh_http_op *http;
    lh_vault_step_fn step;
    const char *method;
    char *target; /* "/v1/..." encoded, with query */
    struct lh_secret *body;
    bool issues, anonymous, top, keep_index;
    unsigned timeout_ms;
    size_t address, tried;
    lh_ms begun_at;
    bool forwarded; /* the active node was asked for */
    bool again;     /* a broken connection was replaced once */
    bool have_best; /* an earlier address said something better than "unreachable" */
    struct lh_err best;

    /* auth.c */
    struct lh_token_op *credential;
    /* transit.c */
    int64_t key_version; /* that the ciphertext must name */
    /* read.c */
    char *path; /* as asked for, placeholders filled in */
    lh_json *params;
    int64_t version;
    bool kv2, looked_up;
    const char *asks, *awaits; /* the entry of kv2Mounts that is looked up, by us or another read */
    bool woken;                /* the other read's look-up ended */
    bool hidden;               /* the other read learned that the server does not say */
    struct lh_err refused;     /* of the first try or of the other read's look-up */
};

/* vault.c */
int lh_vault_op_new(struct lh_provider *p, const struct lh_secret *token, lh_prov_done_fn done,
                    void *arg, struct lh_provider_op **out, struct lh_err *err);
void lh_vault_op_free(struct lh_provider_op *op); /* cancels; done is not called */
/* Calls done and frees op. Exactly one is set. */
void lh_vault_op_finish(struct lh_provider_op *op, const struct lh_prov_result *res,
                        const struct lh_err *err);
int lh_vault_op_what(struct lh_provider_op *op, struct lh_err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* True if the request failed or was refused: op is finished then. */
bool lh_vault_refused(struct lh_provider_op *op, const struct lh_vault_answer *ans,
                      const struct lh_err *err);
/* Ends a renewal or look-up; rc and err are those of reading its answer into life. */
void lh_vault_finish_life(struct lh_provider_op *op, const struct lh_vault_answer *ans,
                          struct lh_prov_life *life, int rc, struct lh_err *err);

/* call.c: path and query are copied. A failure does not call step. */
int lh_vault_send(struct lh_provider_op *op, const struct lh_vault_ask *ask, lh_vault_step_fn step,
                  struct lh_err *err);
/* The same from inside a step: a failure finishes op. */
void lh_vault_send_next(struct lh_provider_op *op, const struct lh_vault_ask *ask,
                        lh_vault_step_fn step);
/* The answer's class as an error of this operation, unless it is OK: then 0. */
int lh_vault_check(const struct lh_provider_op *op, const struct lh_vault_answer *ans,
                   struct lh_err *err);
/* Path to request target: "/v1/" and every byte that may not stand there as %XX. */
void lh_vault_encode(struct lh_buf *b, const char *path);

/* mounts.c: what is known of the mount that holds path; borrowed until the next call. */
struct lh_vault_mount *lh_vault_mounts_find(const struct lh_provider *p, const char *path);
int lh_vault_mounts_put(struct lh_provider *p, const struct lh_vault_mount_fact *fact,
                        struct lh_vault_mount **out, struct lh_err *err);
void lh_vault_mounts_forget(struct lh_provider *p, const struct lh_vault_mount *m);
void lh_vault_mounts_done(struct lh_provider *p);
/* The longest entry of kv2Mounts that holds path, or NULL. */
const char *lh_vault_mounts_listed(const struct lh_provider *p, const char *path);

/* Reads that arrive while a mount of kv2Mounts is looked up wait for that one answer. join: true if
 * op waits now, and resume runs later from the loop. wake: the look-up of op ended, or op itself:
 * with an error, without a word of the server (hidden), or well. */
bool lh_vault_mounts_join(struct lh_provider_op *op, const char *listed, lh_timer_fn resume);
void lh_vault_mounts_wake(struct lh_provider_op *op, const struct lh_err *err, bool hidden);
/* The next read to go on, NULL if there is none; when there are more, resume will run again. */
struct lh_provider_op *lh_vault_mounts_next(struct lh_provider *p);

/* ops, one file a group */
int lh_vault_login(struct lh_provider *p, lh_prov_done_fn done, void *arg,
                   struct lh_provider_op **out, struct lh_err *err);
int lh_vault_read(struct lh_provider *p, const struct lh_secret *token,
                  const struct lh_read_request *req, lh_prov_done_fn done, void *arg,
                  struct lh_provider_op **out, struct lh_err *err);
int lh_vault_probe(struct lh_provider *p, const struct lh_secret *token, const char *path,
                   lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                   struct lh_err *err);
int lh_vault_renew_lease(struct lh_provider *p, const struct lh_secret *token, const char *lease_id,
                         lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                         struct lh_err *err);
int lh_vault_lookup_lease(struct lh_provider *p, const struct lh_secret *token,
                          const char *lease_id, lh_prov_done_fn done, void *arg,
                          struct lh_provider_op **out, struct lh_err *err);
int lh_vault_revoke_lease(struct lh_provider *p, const struct lh_secret *token,
                          const char *lease_id, lh_prov_done_fn done, void *arg,
                          struct lh_provider_op **out, struct lh_err *err);
int lh_vault_renew_token(struct lh_provider *p, const struct lh_secret *token, lh_prov_done_fn done,
                         void *arg, struct lh_provider_op **out, struct lh_err *err);
int lh_vault_lookup_token(struct lh_provider *p, const struct lh_secret *token,
                          lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                          struct lh_err *err);
int lh_vault_revoke_token(struct lh_provider *p, const struct lh_secret *token,
                          lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                          struct lh_err *err);
int lh_vault_revoke_accessor(struct lh_provider *p, const struct lh_secret *token,
                             const char *accessor, lh_prov_done_fn done, void *arg,
                             struct lh_provider_op **out, struct lh_err *err);
int lh_vault_capabilities(struct lh_provider *p, const struct lh_secret *token, const char *path,
                          lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                          struct lh_err *err);
int lh_vault_health(struct lh_provider *p, lh_prov_done_fn done, void *arg,
                    struct lh_provider_op **out, struct lh_err *err);

/* pool.c: sets http; put after the last request was cancelled. */
int lh_vault_pool_get(struct lh_provider *p, const struct lh_http_options *o, struct lh_err *err);
void lh_vault_pool_put(struct lh_provider *p);

#endif
