/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_TEST_HTTP_RIG_H
#define LH_TEST_HTTP_RIG_H

/*
 * A TLS server on loopback whose path says how it behaves, and requests to it whose outcome is
 * recorded, since nothing may be asserted inside a callback.
 */
#include <stdbool.h>

#include "leasehold/core/loop.h"
#include "leasehold/crypto/x509.h"
#include "leasehold/http/client.h"
#include "leasehold/serve/server.h"
#include "support.h"

#define RIG_NAME "manager.test"

struct rig {
    struct lh_loop *loop;
    struct lh_server *server;
    struct lh_listener *listener;
    struct lh_cert_pair ca, other_ca, leaf;
    char base[64];            /* https://127.0.0.1:PORT */
    struct lh_call *held[16]; /* of /hold, in order; NULL once answered */
    unsigned n_held, requests;
    char location[256]; /* where /leader redirects to */
    char last_method[16], last_path[128], last_query[128], last_body[256], last_host[64],
        last_token[64], last_type[64];
    bool has_type;
};
extern struct rig rig;

/* One CA for all tests of a program; a new server and loop for each test. */
int rig_group_setup(void **state);
int rig_group_teardown(void **state);
int rig_setup(void **state);
int rig_teardown(void **state);
/* Another address of the same server; with an arg, /leader serves there. */
struct lh_listener *rig_listen(const struct lh_listener_options *opts, char base[64]);

/* Options that reach the rig: its CA and name, loopback allowed. */
struct lh_http_options rig_options(void);
struct lh_http *rig_client(const struct lh_http_options *opts);

/* What came of a request. */
struct outcome {
    bool done, is_answer;
    unsigned calls;
    int status, code, http_status, retry_after_ms;
    bool sent;
    char reason[32], text[512], header[128];
    char *body;
    size_t body_len;
    lh_ms sent_at, done_at;
    unsigned order; /* 1 for the first that ended */
    struct lh_http_op *op;
};
void outcome_free(struct outcome *o);
/* Starts, and fails the test if it cannot. */
void rig_start(struct lh_http *h, const struct lh_http_request *req, struct outcome *o);
void rig_get(struct lh_http *h, const char *path, struct outcome *o);
/* Turns the loop until it is over. */
bool rig_wait(struct outcome *o);
bool rig_wait_held(unsigned n);
void rig_url(const char *path, char out[256]);

#endif
