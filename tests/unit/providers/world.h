/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_TEST_PROVIDERS_WORLD_H
#define LH_TEST_PROVIDERS_WORLD_H

/* A fake manager, a store that points at it, a provider, and what the last call gave. Nothing here
 * asserts. */
#include <stdbool.h>

#include "fake_manager.h"
#include "leasehold/providers/provider.h"
#include "support.h"

struct outcome {
    bool done;
    int calls;
    struct lh_err err; /* code 0: it worked */
    char token[256], accessor[64];
    int64_t ttl_ms;
    bool renewable;
    struct lh_prov_read read; /* pointers are NULL: texts are below */
    char data[4096], lease_id[256], version[32];
    struct lh_prov_life life;
    struct lh_prov_version probe;
    struct lh_prov_health health;
};

struct world {
    struct lh_loop *loop;
    struct fake_manager *m;
    struct lh_test_scratch scratch;
    struct lh_store *store;
    struct lh_identity id;
    struct lh_provider *p;
    struct lh_provider_op *op;
    struct lh_secret *root, *app; /* a token that may all, one under policy */
    struct outcome out;
};

#define WORLD_JWT "{\"jwt\":{\"mount\":\"jwt\",\"role\":\"app\",\"audience\":\"vault\"}}"

/* The last world of this test; zeroed and made by setup, freed by teardown. */
int world_setup(void **state);
int world_teardown(void **state);
extern struct world w;

/* A store, an identity of ServiceAccount "app" in "shop", a provider; addresses NULL: the active
 * node. 0 or -code in w.out.err. */
int world_open(const struct fake_store *store);
/* The credential file, with this content. */
void world_credential(const char *text);

/* Each runs its call to the end and returns 0 or -code; what came is in w.out. */
int world_login(void);
int world_read(const struct lh_secret *token, const char *path, const char *params,
               int64_t version);
int world_probe(const char *path);
int world_lease(int (*op)(struct lh_provider *p, const struct lh_secret *token,
                          const char *lease_id, lh_prov_done_fn done, void *arg,
                          struct lh_provider_op **out, struct lh_err *err),
                const char *lease_id);
int world_token(int (*op)(struct lh_provider *p, const struct lh_secret *token,
                          lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                          struct lh_err *err));
int world_health(void);
void world_done(void *arg, const struct lh_prov_result *res, const struct lh_err *err);
int world_wait(int rc);

#endif
