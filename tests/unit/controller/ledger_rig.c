/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger_rig.h"

#include <stdio.h>
#include <string.h>

#include "leasehold/codec/base64.h"
#include "leasehold/core/metrics.h"
#include "leasehold/core/rand.h"
#include "leasehold/crypto/hash.h"
#include "support.h"

struct rig r;

static const char *const store_json =
    "{\"apiVersion\":\"leasehold.dev/v1alpha1\",\"kind\":\"SecretStore\",\"metadata\":{\"name\":"
    "\"vault\",\"namespace\":\"shop\"},\"spec\":{\"vault\":{\"addresses\":[\"https://"
    "vault.example:8200\"],\"auth\":{\"jwt\":{\"mount\":\"jwt\",\"role\":\"app\",\"audience\":"
    "\"vault\"}}}}}";
static const char *const secret_json =
    "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"ledger\",\"namespace\":"
    "\"ops\"},\"type\":\"Opaque\"}";

static struct lh_identity identity_of(struct user *u)
{
    return (struct lh_identity){.subject = {.namespace_ = "shop", .service_account = "web"},
                                .wrapper = &u->owner};
}

static int access_for(void *arg, const struct ledger_record *rec, struct ledger_access *out,
                      struct lh_err *err)
{
    (void)arg;
    (void)rec;
    if (r.no_access)
        return lh_err_set(err, LH_E_NOTFOUND, "the store is gone");
    *out = (struct ledger_access){.store = lh_store_ref(r.store)};
    out->identity.subject = (struct lh_subject){.namespace_ = "shop", .service_account = "web"};
    return 0;
}

static bool belongs(void *arg, const struct ledger_record *rec)
{
    int i = -1;

    (void)arg;
    return sscanf(rec->uid, "uid-%d", &i) == 1 && i < r.alive;
}

static void on_loaded(void *arg)
{
    (void)arg;
    r.loaded = true;
}

static void on_fenced(void *arg)
{
    (void)arg;
    r.fenced++;
}

static void on_settled(void *arg, const char *uid)
{
    (void)arg;
    (void)uid;
    r.settled++;
}

static void on_gave_up(void *arg, const struct ledger_record *rec, const struct lh_err *err)
{
    (void)arg;
    (void)rec;
    r.gave_up += err->reason != NULL;
}

static void on_failed(void *arg, const struct lh_err *err)
{
    (void)arg;
    (void)err;
    r.failed++;
}

int rig_setup(void **state)
{
    lh_json *obj = NULL;
    int rc;

    (void)state;
    memset(&r, 0, sizeof(r));
    lh_rand_seed(7);
    fake_reset();
    fake_role(RIG_ROLE, 3600 * 1000, 0, true);
    rc = fake_api_cluster(&r.loop, &r.api, &r.kube);
    if (rc == 0)
        rc = lh_json_parse(lh_str(store_json), NULL, &obj, NULL);
    if (rc == 0)
        rc = lh_store_parse(obj, "test", &r.store, NULL);
    lh_json_unref(obj);
    if (rc == 0)
        fake_api_put(r.api, "v1/secrets", secret_json);
    return rc;
}

int rig_teardown(void **state)
{
    (void)state;
    rig_kill();
    lh_kube_free(r.kube);
    fake_api_free(r.api);
    lh_store_unref(r.store);
    lh_loop_free(r.loop);
    lh_metrics_reset();
    lh_clock_real();
    return 0;
}

void rig_start(void)
{
    const struct ledger_options o = {.loop = r.loop,
                                     .kube = r.kube,
                                     .namespace_ = "ops",
                                     .name = "ledger",
                                     .provider = &fake_provider_ops,
                                     .access = access_for,
                                     .belongs = belongs,
                                     .loaded = on_loaded,
                                     .settled = on_settled,
                                     .gave_up = on_gave_up,
                                     .fenced = on_fenced,
                                     .failed = on_failed};

    r.loaded = false;
    assert_int_equal(ledger_new(&o, &r.l, NULL), 0);
    for (unsigned i = 0; i < RIG_USERS; i++) {
        struct user *u = &r.users[i];

        snprintf(u->uid, sizeof(u->uid), "uid-%u", i);
        u->owner = (struct ledger_owner){r.l, "db", u->uid};
    }
    ledger_start(r.l, ++r.term);
    ledger_synced(r.l);
}

void rig_kill(void)
{
    for (unsigned i = 0; i < RIG_USERS; i++) {
        struct user *u = &r.users[i];

        if (u->p)
            ledger_provider_ops.close(u->p);
        u->p = NULL;
        u->op = NULL;
        lh_secret_free(u->token);
        u->token = NULL;
    }
    ledger_free(r.l);
    r.l = NULL;
}

/* What the network needs is real time; what the ledger waits for is not. */
static void turns(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        lh_loop_turn(r.loop, 0);
}

void rig_run(lh_ms ms)
{
    lh_ms step = ms > 100000 ? ms / 100 : ms > 2000 ? 1000 : 20;

    for (lh_ms t = 0; t < ms; t += step) {
        lh_clock_step(step);
        turns(8);
    }
}

bool rig_until(bool (*cond)(void *arg), void *arg)
{
    for (unsigned i = 0; i < 3000 && !cond(arg); i++) {
        lh_clock_step(5);
        turns(4);
    }
    return cond(arg);
}

static bool is_loaded(void *arg)
{
    (void)arg;
    return r.loaded;
}

void rig_loaded(void)
{
    assert_true(rig_until(is_loaded, NULL));
}

static void on_issued(void *arg, const struct lh_prov_result *res, const struct lh_err *err)
{
    struct user *u = arg;

    (void)res;
    u->op = NULL;
    if (!err)
        u->issued++;
}

static void on_login(void *arg, const struct lh_prov_result *res, const struct lh_err *err)
{
    struct user *u = arg;
    const struct lh_read_request req = {.path = RIG_ROLE};

    u->op = NULL;
    if (err) {
        u->failures++;
        u->last = *err;
        return;
    }
    u->logins++;
    u->unrecorded = u->unrecorded || !rig_recorded(res->token->accessor);
    lh_secret_free(u->token);
    u->token = NULL;
    if (lh_secret_copy(lh_secret_expose_const(res->token->token), lh_secret_len(res->token->token),
                       &u->token, NULL) == 0)
        ledger_provider_ops.read(u->p, u->token, &req, on_issued, u, &u->op, NULL);
}

void rig_login(unsigned i)
{
    struct user *u = &r.users[i];
    const struct lh_identity id = identity_of(u);
    struct lh_err err = {0};

    if (!u->p)
        assert_int_equal(ledger_provider_ops.open(r.loop, r.store, &id, &u->p, &err), 0);
    if (ledger_provider_ops.login(u->p, on_login, u, &u->op, &err) < 0) {
        u->failures++;
        u->last = err;
    }
}

bool rig_is_issued(void *user)
{
    return ((struct user *)user)->issued > 0;
}

static void on_revoked(void *arg, const struct lh_prov_result *res, const struct lh_err *err)
{
    struct user *u = arg;

    (void)res;
    u->op = NULL;
    u->revoked += !err;
}

void rig_revoke(unsigned i)
{
    struct user *u = &r.users[i];

    if (u->token && !u->op)
        ledger_provider_ops.revoke_token(u->p, u->token, on_revoked, u, &u->op, NULL);
}

/* Records that hold this text; NULL: all. */
static size_t count(const char *text)
{
    const lh_json *data = lh_json_get(fake_api_get(r.api, "v1/secrets", "ops", "ledger"), "data");
    const lh_json *value;
    struct lh_str key, v;
    void *it = NULL;
    size_t n = 0;

    while (lh_json_next(data, &it, &key, &value)) {
        struct lh_buf b;

        if (!lh_str_starts(key, LH_STR("t.")) || !lh_json_str(value, &v))
            continue;
        lh_buf_init(&b, 64 * 1024);
        if (!text)
            n++;
        else if (lh_base64_decode(v, &b, NULL) == 0)
            n += memmem(b.p, b.n, text, strlen(text)) != NULL;
        lh_buf_done(&b);
    }
    return n;
}

bool rig_recorded(const char *accessor)
{
    char text[64];

    snprintf(text, sizeof(text), "\"accessor\":\"%s\"", accessor);
    return count(text) == 1;
}

size_t rig_records(void)
{
    return count(NULL);
}
