/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_TESTS_LEASE_HARNESS_H
#define LEASEHOLD_TESTS_LEASE_HARNESS_H

/*
 * An owner of a session as the engine is one, without files: what is "in the files" is a string per
 * grant, and every 50 ms of virtual time the database is asked whether it takes them.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "fake_provider.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"
#include "leasehold/lease/session.h"

enum { H_MAX_GRANTS = 12, H_VALUE = 64 };

struct slot {
    struct lh_grant *g;
    char pending[H_VALUE], shown[H_VALUE];
    bool has_pending;
    unsigned changes; /* publications that changed it */
    int64_t dead_ms;  /* virtual time in which the database refused what is shown */
};

struct harness {
    struct lh_loop *loop;
    struct lh_store *store;
    struct lh_session *s;
    struct lh_identity identity;
    struct slot slots[H_MAX_GRANTS];
    size_t n;
    lh_ms step_ms;
    unsigned publications, failures, unconfirmed;
    lh_ms published_at; /* first publication, 0 never */
    int refuse_code;    /* values() fails with it */
    bool stall;         /* publishes nothing */
    bool ended;
    bool once, retain;
    unsigned parallel;
};

extern struct harness h;

/* auth: "token", "appRole"; verify_ms 0: two minutes. */
void h_new(const char *auth, int64_t verify_ms);
void h_session(void); /* another session over the same store: a restart */
struct slot *h_add(const char *path, int64_t refresh_ms, int64_t overlap_ms, bool optional);
void h_start(void);
/* Steps the virtual clock, counting dead time. */
void h_run(int64_t ms);
void h_run_published(int64_t limit_ms); /* until the first publication; fails after the limit */
void h_end(bool revoke);
int h_setup(void **state);
int h_teardown(void **state);

#endif
