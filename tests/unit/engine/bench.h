/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_TESTS_ENGINE_BENCH_H
#define LEASEHOLD_TESTS_ENGINE_BENCH_H

/* One engine over the fake provider and a real folder, on the virtual clock. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fake_provider.h"
#include "leasehold/core/mem.h"
#include "leasehold/engine/engine.h"
#include "support.h"

enum { SEC = 1000, MIN = 60 * SEC, HOUR = 60 * MIN };

struct bench {
    struct lh_loop *loop;
    struct lh_test_scratch files, state;
    struct lh_store *store;
    struct lh_projection *projection;
    struct lh_identity identity;
    struct lh_notify_spec notify;
    struct lh_sink *sink;
    const struct lh_provider_ops *provider; /* NULL: the fake one */
    struct lh_parked *parked;               /* what the next engine is made from */
    struct lh_engine *e;
    unsigned ready, changed, failed;
    struct lh_err last;
    bool once, no_state, ended;
};
extern struct bench b;

int bench_setup(void **state);
int bench_teardown(void **state);
void bench_projection(const char *spec_json); /* fails the test when it does not parse */
void bench_engine(void);                      /* a new one over what is there; starts it */
void bench_kill(void);                        /* the process is gone without a word */
void bench_run(int64_t ms);
void bench_ready(void); /* runs until ready, at most 10 s */
void bench_end(bool revoke);
/* Does the file hold what a database or the store would take now? */
bool bench_file_works(const char *path);
char *bench_read(const char *path, char out[256]); /* "" if absent */

#endif
