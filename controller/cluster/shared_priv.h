/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_CLUSTER_SHARED_PRIV_H
#define LEASEHOLD_CONTROLLER_CLUSTER_SHARED_PRIV_H

/* Accounts and what passes through (shared_login.c), their tokens (shared_token.c). */
#include "leasehold/lease/schedule.h"
#include "ledger.h"
#include "shared_login.h"

enum kind { OP_LOGIN, OP_RENEW, OP_LOOKUP, OP_HEALTH, OP_ANSWER, OP_THROUGH };

struct group;

/* A token of a group, in use by handles that count; what nobody uses is revoked. */
struct shared {
    struct group *g;
    struct shared *next;
    unsigned users;
    struct lh_secret *value;
    char *accessor;
    struct lh_prov_life life; /* as the manager said last */
    lh_ms looked_at, doubted_at;
    bool dead;
    struct lh_provider_op *renew, *lookup, *revoke;
    struct lh_timer *end; /* lingers, or is tried again */
    struct lh_failures failures;
};

struct group {
    struct shared_logins *s;
    struct group *next;
    struct lh_store *store;
    struct lh_identity identity;
    struct ledger_owner owner;
    char *namespace_, *account, *role, *cluster;
    lh_json *labels;
    const struct lh_provider_ops *ops;
    struct lh_provider *inner;
    size_t n_handles, n_parked;
    struct lh_provider_op *waiters; /* of any handle, for login, renew, lookup or health */
    struct shared *tokens, *current;
    struct lh_provider_op *login, *health;
    lh_ms health_at; /* when it was asked last; 0: never */
    struct lh_prov_health last_health;
    struct lh_err health_err; /* code 0: last_health is the answer */
};

struct shared_logins {
    struct shared_login_options opts;
    bool hurry;
    struct group *groups;
};

/* A handle: one projection. */
struct lh_provider {
    struct group *g;
    struct lh_provider_op *all;
    struct shared *now, *old; /* whose user it is */
    bool parked;              /* uses none */
    lh_ms known_at;           /* sent_at of the life that it was told last */
};

struct lh_provider_op {
    struct lh_provider *p;
    struct lh_provider_op *next, *inner, *next_waiter;
    enum kind kind;
    struct shared *t;
    lh_prov_done_fn done;
    void *arg;
    struct lh_timer *timer; /* OP_ANSWER: known at once, told from the loop */
    enum kind about;        /* OP_ANSWER: to what; OP_THROUGH: the token has ended */
    bool finished;
};

/* shared_login.c: frees it when nothing needs it any more. */
void shared_group_check(struct group *g);

/* shared_token.c */
int shared_op_new(struct lh_provider *p, enum kind kind, struct shared *t, lh_prov_done_fn done,
                  void *arg, struct lh_provider_op **out, struct lh_err *err);
/* rc is that of the start behind op: out, or op is gone. */
int shared_op_started(int rc, struct lh_provider_op *op, struct lh_provider_op **out);
void shared_op_finish(struct lh_provider_op *op, const struct lh_prov_result *res,
                      const struct lh_err *err);
/* What is known already, told from the loop. */
int shared_op_answer(struct lh_provider *p, enum kind about, struct shared *t, lh_prov_done_fn done,
                     void *arg, struct lh_provider_op **out, struct lh_err *err);
void shared_op_cancel(struct lh_provider_op *op);
/* The next operation of any handle that waits for this; NULL: none. Whoever is told may close
 * handles, so that each is looked for anew. */
struct lh_provider_op *shared_op_waiting(const struct group *g, enum kind kind,
                                         const struct shared *t);
void shared_token_free(struct shared *t);
void shared_token_unuse(struct shared *t); /* NULL is a no-op */
bool shared_park(struct lh_provider *p);
void shared_unpark(struct lh_provider *p);
int shared_login(struct lh_provider *p, lh_prov_done_fn done, void *arg,
                 struct lh_provider_op **out, struct lh_err *err);
int shared_renew_token(struct lh_provider *p, const struct lh_secret *token, lh_prov_done_fn done,
                       void *arg, struct lh_provider_op **out, struct lh_err *err);
int shared_lookup_token(struct lh_provider *p, const struct lh_secret *token, lh_prov_done_fn done,
                        void *arg, struct lh_provider_op **out, struct lh_err *err);
int shared_revoke_token(struct lh_provider *p, const struct lh_secret *token, lh_prov_done_fn done,
                        void *arg, struct lh_provider_op **out, struct lh_err *err);

#endif
