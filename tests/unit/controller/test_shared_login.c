/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "fake_provider.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/metrics.h"
#include "leasehold/core/rand.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/lease/session.h"
#include "shared_login.h"

enum { USERS = 20, STEP_MS = 50, MIN = 60 * 1000 };

struct user {
    struct lh_session *s;
    unsigned values;
    bool taken, ended;
};

static struct lh_loop *loop;
static struct lh_store *store;
static struct shared_logins *shared;
static struct user users[USERS];
static struct lh_identity identity;

static struct lh_store *store_of(const char *auth)
{
    struct lh_store *s = NULL;
    lh_json *obj = NULL;
    char text[512];

    snprintf(text, sizeof(text),
             "{\"apiVersion\":\"leasehold.dev/v1alpha1\",\"kind\":\"SecretStore\",\"metadata\":"
             "{\"name\":\"vault\",\"namespace\":\"shop\"},\"spec\":{\"vault\":{\"addresses\":"
             "[\"https://vault.example:8200\"],\"kv2Mounts\":[\"secret\",\"team/kv\"],\"auth\":{%s}"
             "}}}",
             auth);
    if (lh_json_parse(lh_str(text), NULL, &obj, NULL) == 0)
        lh_store_parse(obj, "test", &s, NULL);
    lh_json_unref(obj);
    return s;
}

#define JWT "\"jwt\":{\"mount\":\"jwt\",\"role\":\"app\",\"audience\":\"vault\"}"

static void source_free(struct lh_token_source *self)
{
    lh_free(self);
}

static int credential(void *arg, struct lh_store *s, const struct lh_subject *who,
                      struct lh_token_source **out, struct lh_err *err)
{
    (void)arg;
    (void)s;
    (void)who;
    *out = lh_calloc(1, sizeof(**out));
    if (!*out)
        return lh_err_nomem(err);
    (*out)->free = source_free;
    return 0;
}

static int setup(void **state)
{
    const struct shared_login_options o = {.provider = &fake_provider_ops,
                                           .credential = credential};

    (void)state;
    memset(users, 0, sizeof(users));
    lh_clock_fake(1000000, 1700000000000);
    lh_rand_seed(11);
    fake_reset();
    store = store_of(JWT);
    if (!store || lh_loop_new(&loop, NULL) < 0)
        return -1;
    {
        struct shared_login_options with = o;

        with.loop = loop;
        if (shared_logins_new(&with, &shared, NULL) < 0)
            return -1;
    }
    identity = (struct lh_identity){.subject = {.namespace_ = "shop", .service_account = "web"},
                                    .wrapper = shared};
    for (unsigned i = 0; i < USERS; i++) {
        char path[32];

        snprintf(path, sizeof(path), "secret/app/%u", i);
        fake_kv(path, path);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < USERS; i++)
        lh_session_free(users[i].s);
    shared_logins_free(shared);
    lh_store_unref(store);
    lh_loop_free(loop);
    lh_metrics_reset();
    lh_clock_real();
    return 0;
}

static int on_values(void *arg, struct lh_grant *g, const struct lh_prov_read *r,
                     struct lh_err *err)
{
    struct user *u = arg;

    (void)g;
    (void)r;
    (void)err;
    u->values++;
    u->taken = true;
    return 0;
}

static void on_changed(void *arg)
{
    struct user *u = arg;

    if (!u->taken || !lh_session_set_complete(u->s))
        return;
    u->taken = false;
    lh_session_published(u->s);
}

static void begin_with(unsigned i, struct lh_parked_session *from)
{
    struct user *u = &users[i];
    const struct lh_session_options o = {
        .loop = loop,
        .provider = &shared_login_ops,
        .store = store,
        .identity = &identity,
        .revoke = true,
        .parked = from != NULL,
        .events = {.values = on_values, .changed = on_changed, .arg = u}};
    char path[32];
    const struct lh_grant_spec spec = {.path = path, .refresh_ms = -1};
    struct lh_grant *g;

    snprintf(path, sizeof(path), "secret/app/%u", i);
    *u = (struct user){0};
    assert_int_equal(lh_session_new(&o, &u->s, NULL), 0);
    assert_int_equal(lh_session_add(u->s, &spec, &g, NULL), 0);
    if (from)
        lh_session_unpark(u->s, from);
    lh_session_start(u->s);
}

static void begin(unsigned i)
{
    begin_with(i, NULL);
}

static void run(int64_t ms)
{
    for (int64_t t = 0; t < ms; t += STEP_MS) {
        lh_clock_step(STEP_MS);
        for (int i = 0; i < 6; i++)
            lh_loop_turn(loop, 0);
    }
}

static void on_ended(void *arg)
{
    ((struct user *)arg)->ended = true;
}

static void end(unsigned i)
{
    lh_session_end(users[i].s, true, 1500, on_ended, &users[i]);
    run(2000);
    assert_true(users[i].ended);
    lh_session_free(users[i].s);
    users[i].s = NULL;
}

static void all_begin(void)
{
    for (unsigned i = 0; i < USERS; i++)
        begin(i);
    run(1000);
    for (unsigned i = 0; i < USERS; i++)
        assert_int_equal(users[i].values, 1);
}

static void one_login_serves_all(void **state)
{
    struct shared_logins_info info;

    (void)state;
    all_begin();
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), 1);
    shared_logins_info(shared, &info);
    assert_int_equal(info.groups, 1);
    assert_int_equal(info.users, USERS);
    identity.role = "other"; /* another identity shares nothing */
    end(0);
    begin(0);
    run(1000);
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), 2);
}

static void it_is_renewed_and_looked_up_for_all(void **state)
{
    (void)state;
    all_begin();
    run(240 * MIN);
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), 1);
    assert_in_range(fake_count(FAKE_RENEW_TOKEN, NULL), 5, 9); /* every 36 to 44 min, for all */
    assert_true(fake_count(FAKE_LOOKUP_TOKEN, NULL) <= 240);
    assert_int_equal(fake_tokens(), 1);
}

static void at_its_maximum_there_is_one_new_login(void **state)
{
    (void)state;
    fake.token_ttl_ms = 10 * MIN;
    fake.token_max_ms = 30 * MIN;
    all_begin();
    run(60 * MIN);
    assert_in_range(fake_count(FAKE_LOGIN, NULL), 2, 4);
    run(6 * MIN);
    assert_true(fake_tokens() <= 2);
    assert_true(fake_count(FAKE_REVOKE_TOKEN, NULL) <= fake_count(FAKE_LOGIN, NULL));
}

static void revoked_behind_our_back_there_is_one_new_login(void **state)
{
    unsigned before;

    (void)state;
    all_begin();
    fake_revoke_tokens();
    run(5 * MIN);
    assert_in_range(fake_count(FAKE_LOGIN, NULL), 2, 3);
    before = fake_count(FAKE_LOGIN, NULL);
    for (unsigned i = 0; i < USERS; i++) {
        char path[32];

        snprintf(path, sizeof(path), "secret/app/%u", i);
        fake_kv(path, "new");
    }
    run(8 * MIN);
    for (unsigned i = 0; i < USERS; i++)
        assert_int_equal(users[i].values, 2);
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), before);
}

static void the_last_one_gone_it_lingers_and_ends(void **state)
{
    (void)state;
    all_begin();
    for (unsigned i = 1; i < USERS; i++)
        end(i);
    run(2 * MIN);
    assert_int_equal(fake_tokens(), 1); /* one is left */
    end(0);
    run(10 * 1000);
    assert_int_equal(fake_tokens(), 1);
    begin(0);
    run(2 * MIN);
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), 1);
    end(0);
    run(40 * 1000);
    assert_int_equal(fake_tokens(), 0);
    begin(0);
    run(1000);
    assert_int_equal(users[0].values, 1);
}

static void a_store_that_is_away_is_asked_once_a_second(void **state)
{
    unsigned before;

    (void)state;
    all_begin();
    fake.down = true;
    run(20 * MIN); /* by now everybody has noticed */
    before = fake_count(FAKE_HEALTH, NULL);
    run(MIN);
    assert_in_range(fake_count(FAKE_HEALTH, NULL) - before, 1, 80);
    fake.down = false;
    run(10 * MIN);
    assert_true(fake_tokens() >= 1);
    assert_true(fake_count(FAKE_LOGIN, NULL) <= 40);
}

/* ---- parked: who has nothing to do gives up its share ---- */

static struct lh_parked_session *parked[USERS];

static unsigned park_all(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < USERS; i++) {
        if (!users[i].s || lh_session_park(users[i].s, lh_clock_now(), &parked[i]) < 0)
            continue;
        users[i].s = NULL;
        n++;
    }
    return n;
}

static void drop_parked(void)
{
    for (unsigned i = 0; i < USERS; i++) {
        lh_parked_session_free(parked[i]);
        parked[i] = NULL;
    }
}

static int parked_teardown(void **state)
{
    drop_parked();
    return teardown(state);
}

static void one_is_left_that_keeps_the_token_alive(void **state)
{
    struct shared_logins_info info;

    (void)state;
    all_begin();
    assert_int_equal(park_all(), USERS - 1);
    shared_logins_info(shared, &info);
    assert_int_equal(info.users, USERS);
    run(240 * MIN);
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), 1);
    assert_in_range(fake_count(FAKE_RENEW_TOKEN, NULL), 5, 9);
    assert_int_equal(fake_tokens(), 1);
}

static void back_again_it_needs_no_login(void **state)
{
    unsigned probes;

    (void)state;
    all_begin();
    park_all();
    run(MIN);
    probes = fake_count(FAKE_PROBE, NULL);
    begin_with(0, parked[0]);
    parked[0] = NULL;
    run(12 * MIN);
    assert_true(fake_count(FAKE_PROBE, NULL) > probes);
    assert_int_equal(users[0].values, 0); /* as it was */
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), 1);
}

static void the_token_stays_for_those_who_are_parked_and_ends_with_them(void **state)
{
    (void)state;
    all_begin();
    park_all();
    end(USERS - 1); /* the one that is left: the token is nobody's and somebody's */
    run(5 * MIN);
    assert_int_equal(fake_tokens(), 1);
    assert_int_equal(fake_count(FAKE_REVOKE_TOKEN, NULL), 0);
    begin_with(0, parked[0]);
    parked[0] = NULL;
    run(1000);
    assert_int_equal(fake_count(FAKE_LOGIN, NULL), 1);
    drop_parked();
    end(0);
    run(SHARED_LOGIN_LINGER_MS + 5000);
    assert_int_equal(fake_tokens(), 0);
}

static void what_replaced_it_leaves_no_token_behind(void **state)
{
    (void)state;
    fake.token_ttl_ms = 10 * MIN;
    fake.token_max_ms = 30 * MIN;
    all_begin();
    park_all();
    run(60 * MIN);
    assert_in_range(fake_count(FAKE_LOGIN, NULL), 2, 4);
    run(6 * MIN);
    assert_true(fake_tokens() <= 2);
    drop_parked();
    end(USERS - 1);
    run(SHARED_LOGIN_LINGER_MS + 5000);
    assert_int_equal(fake_tokens(), 0);
}

static void nobody_comes_back_when_all_is_to_end(void **state)
{
    (void)state;
    all_begin();
    park_all();
    shared_logins_hurry(shared, true);
    end(USERS - 1);
    drop_parked();
    run(3000);
    assert_int_equal(fake_tokens(), 0);
}

static struct fits_row {
    const char *name, *auth, *path, *params;
    bool want;
} fits_rows[] = {
    {"a plain secret", JWT, "secret/app", NULL, true},
    {"a mount of two segments", JWT, "team/kv/app", NULL, true},
    {"a credential that is issued", JWT, "database/creds/app", NULL, false},
    {"a name that only begins so", JWT, "secrets/app", NULL, false},
    {"a write", JWT, "secret/app", "{\"ttl\":\"1h\"}", false},
    {"a login by secret id",
     "\"appRole\":{\"roleId\":\"r\",\"secretIdRef\":{\"name\":\"t\",\"key\":\"id\"}}", "secret/app",
     NULL, false},
};

static void fits(void **state)
{
    const struct fits_row *r = *state;
    struct lh_store *s = store_of(r->auth);
    lh_json *params = NULL;
    bool got;

    if (r->params)
        lh_json_parse(lh_str(r->params), NULL, &params, NULL);
    {
        char path[64];
        struct lh_item items[2] = {{.path = path}, {.path = path, .params = params}};
        struct lh_projection p = {.items = items, .n_items = 2};

        snprintf(path, sizeof(path), "%s", r->path);
        got = s && shared_login_fits(s, &p);
    }
    lh_json_unref(params);
    lh_store_unref(s);
    assert_non_null(s);
    assert_int_equal(got, r->want);
}

#define T(f)                                                                                       \
    {                                                                                              \
#f, f, setup, parked_teardown, NULL                                                        \
    }

int main(void)
{
    const struct CMUnitTest plain[] = {
        T(one_login_serves_all),
        T(it_is_renewed_and_looked_up_for_all),
        T(at_its_maximum_there_is_one_new_login),
        T(revoked_behind_our_back_there_is_one_new_login),
        T(the_last_one_gone_it_lingers_and_ends),
        T(a_store_that_is_away_is_asked_once_a_second),
        T(one_is_left_that_keeps_the_token_alive),
        T(back_again_it_needs_no_login),
        T(the_token_stays_for_those_who_are_parked_and_ends_with_them),
        T(what_replaced_it_leaves_no_token_behind),
        T(nobody_comes_back_when_all_is_to_end),
    };
    struct CMUnitTest tests[LH_ARRAY_LEN(plain) + LH_ARRAY_LEN(fits_rows)];
    size_t n = LH_ARRAY_LEN(plain);

    lh_mem_init();
    lh_json_init();
    lh_crypto_init(NULL);
    memcpy(tests, plain, sizeof(plain));
    for (size_t i = 0; i < LH_ARRAY_LEN(fits_rows); i++)
        tests[n++] = (struct CMUnitTest){fits_rows[i].name, fits, NULL, NULL, &fits_rows[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
