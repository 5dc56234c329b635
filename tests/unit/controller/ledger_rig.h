/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_TESTS_LEDGER_RIG_H
#define LEASEHOLD_TESTS_LEDGER_RIG_H

/*
 * A ledger over the fake API server and the fake secret manager, both of which outlive it, and
 * users of it: each logs in and has a lease issued. Killed, the ledger and its users are gone
 * without a word.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "fake_api.h"
#include "fake_provider.h"
#include "leasehold/core/mem.h"
#include "ledger.h"

enum { RIG_USERS = 40 };
#define RIG_ROLE "database/creds/shop"

struct user {
    struct ledger_owner owner;
    char uid[16];
    struct lh_provider *p;
    struct lh_provider_op *op;
    struct lh_secret *token;
    unsigned logins, failures, issued, revoked;
    struct lh_err last;
    bool unrecorded; /* it got a token that was not in the Secret */
};

struct rig {
    struct lh_loop *loop;
    struct fake_api *api;
    struct lh_kube *kube;
    struct lh_store *store;
    struct ledger *l;
    struct user users[RIG_USERS];
    int64_t term;
    bool loaded, no_access;
    unsigned fenced, gave_up, settled, failed;
    int alive; /* users with a lower number still have their projection */
};
extern struct rig r;

int rig_setup(void **state);
int rig_teardown(void **state);
void rig_start(void); /* a new leader; its caches are whole */
void rig_kill(void);
void rig_run(lh_ms ms); /* virtual time, with what the network does meanwhile */
bool rig_until(bool (*cond)(void *arg), void *arg);
void rig_loaded(void);
void rig_login(unsigned i); /* begins; a lease follows by itself */
bool rig_is_issued(void *user);
void rig_revoke(unsigned i);
/* Is the accessor in the Secret? How many records are there? */
bool rig_recorded(const char *accessor);
size_t rig_records(void);

#endif
