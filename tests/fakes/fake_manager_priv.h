/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_TESTS_FAKE_MANAGER_PRIV_H
#define LEASEHOLD_TESTS_FAKE_MANAGER_PRIV_H

/* State of the fake manager. It lives in libc's heap, so that torture tests, which fail allocations
 * of core/mem, do not fail the fake's own. */
#include "fake_manager.h"

#include <stdio.h>

#include "leasehold/codec/json.h"
#include "leasehold/core/clock.h"
#include "leasehold/core/secret.h"

struct token {
    struct token *next;
    char id[40], accessor[40];
    lh_ms issued_at, expires_at, max_at; /* 0: never, none */
    int64_t ttl_ms;
    bool renewable, batch, root, revoked, from_login;
};

struct lease {
    struct lease *next;
    char *id;
    char password[40];
    const struct role *role;
    struct token *token;
    lh_ms issued_at, expires_at, max_at;
    bool revoked;
};

struct role {
    struct role *next;
    char *path;
    int64_t ttl_ms, max_ttl_ms;
    bool renewable;
    unsigned issued;
};

enum special_kind { SPECIAL_STATIC, SPECIAL_CERT };
struct special {
    struct special *next;
    enum special_kind kind;
    char *path;
    int64_t period_ms, late_ms;
    lh_ms start_at;
    unsigned issued;
};

struct version {
    struct version *next; /* older */
    int number;
    char *json;
    int64_t wall_ms, deleted_wall_ms;
    bool destroyed;
};

struct entry {
    struct entry *next;
    char *path; /* without data/ */
    struct version *newest;
};

struct mount {
    struct mount *next;
    char *path; /* "secret" */
    int version;
};

struct login {
    struct login *next;
    char *mount, *role, *credential;
    int64_t ttl_ms, max_ttl_ms;
    bool renewable, batch;
};

struct denial {
    struct denial *next;
    char *path;
};

struct fault {
    struct fault *next;
    struct fake_fault f;
    unsigned seen, applied;
};

struct record {
    struct record *next;
    char *method, *path;
};

/* An answer that is held back. */
struct held {
    struct held *next;
    struct fake_manager *m;
    struct lh_call *call;
    struct lh_timer *timer;
    struct reply *reply;
};

struct reply {
    int status;
    const char *content_type, *headers; /* static or owned by a fault */
    char *body;                         /* malloc'ed */
};

struct node {
    struct fake_manager *m;
    bool standby;
    struct lh_listener *listener;
    char url[64];
};

struct fake_manager {
    struct lh_loop *loop;
    struct lh_server *server;
    bool own_server;
    struct node active, standby;
    char *ca_pem;
    struct token *tokens;
    struct lease *leases;
    struct role *roles;
    struct special *specials;
    struct entry *entries;
    struct mount *mounts;
    struct login *logins;
    struct denial *denials;
    struct fault *faults;
    struct record *records;
    struct held *held;
    char *namespace_;
    bool sealed, lagging;
    unsigned long serial; /* names, and the index of writes */
    unsigned login_count;
    char last_headers[8][512];
    char *last_body;
    size_t last_body_len;
};

/* One request on its way through the answers. */
struct ask {
    struct fake_manager *m;
    const struct node *node;
    const char *method;
    char *path; /* after v1/ */
    struct lh_str query;
    lh_json *body;       /* NULL if none or not JSON */
    struct token *token; /* NULL: none or dead */
};

/* fake_state.c */
void *fake_alloc(size_t n); /* zeroed; ends the process when there is none */
char *fake_strdup(const char *s);
char *fake_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
bool fake_path_fits(const char *pattern, const char *path);
bool fake_token_lives(const struct token *t);
bool fake_lease_lives(const struct lease *l);
struct token *fake_token_new(struct fake_manager *m, int64_t ttl_ms, int64_t max_ttl_ms,
                             bool renewable, bool batch);
struct token *fake_token_find(const struct fake_manager *m, struct lh_str id);
struct lease *fake_lease_new(struct fake_manager *m, struct role *role, struct token *token);
struct lease *fake_lease_find(const struct fake_manager *m, const char *id);
struct mount *fake_mount_of(const struct fake_manager *m, const char *path);
struct entry *fake_entry_find(const struct fake_manager *m, const char *path);
unsigned fake_static_turn(const struct special *s); /* how often it has rotated */
lh_ms fake_static_rotated_at(const struct special *s);
void fake_static_password(const struct special *s, unsigned turn, char out[40]);
void fake_state_free(struct fake_manager *m);

/* fake_answers.c: the answer of a manager in this state; owned by the caller. */
struct reply *fake_answer(struct ask *a);
struct reply *fake_reply(int status, char *body /* taken; NULL: none */);
struct reply *fake_error(int status, const char *text /* NULL: no words */);

#endif
