/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each allocation of each operation fails once: it must end once, cleanly, and leak nothing (the
 * sanitizer looks). The HTTP client is replaced by the linker (--wrap), since curl 7.88 itself does
 * not survive every failed allocation: it divides by zero in singlesocket().
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "leasehold/core/mem.h"
#include "leasehold/http/client.h"
#include "leasehold/providers/provider.h"

#define MOST 2000

static struct {
    lh_http_done_fn done;
    void *arg;
    char url[512];
} flight;

static struct {
    lh_token_done_fn done;
    void *arg;
} asked;

static struct lh_store *store;
static struct lh_secret *token;
static struct lh_provider *provider;
static struct {
    int calls;
    struct lh_err err;
    bool result;
} out;

int __wrap_lh_http_new(struct lh_loop *loop, const struct lh_http_options *opts,
                       struct lh_http **http, struct lh_err *err);
void __wrap_lh_http_free(struct lh_http *h);
int __wrap_lh_http_start(struct lh_http *h, const struct lh_http_request *req, lh_http_done_fn done,
                         void *arg, struct lh_http_op **op, struct lh_err *err);
void __wrap_lh_http_cancel(struct lh_http_op *op);
struct lh_str __wrap_lh_http_answer_header(const struct lh_http_answer *ans, const char *name);

int __wrap_lh_http_new(struct lh_loop *loop, const struct lh_http_options *opts,
                       struct lh_http **http, struct lh_err *err)
{
    (void)loop;
    (void)opts;
    *http = lh_malloc(1);
    return *http ? 0 : lh_err_nomem(err);
}

void __wrap_lh_http_free(struct lh_http *h)
{
    lh_free(h);
}

int __wrap_lh_http_start(struct lh_http *h, const struct lh_http_request *req, lh_http_done_fn done,
                         void *arg, struct lh_http_op **op, struct lh_err *err)
{
    void *copy = lh_malloc(1); /* the real one can fail, too */

    (void)h;
    if (!copy)
        return lh_err_nomem(err);
    lh_free(copy);
    flight.done = done;
    flight.arg = arg;
    snprintf(flight.url, sizeof(flight.url), "%s", req->url);
    *op = (struct lh_http_op *)&flight;
    return 0;
}

void __wrap_lh_http_cancel(struct lh_http_op *op)
{
    if (op)
        flight.done = NULL;
}

struct lh_str __wrap_lh_http_answer_header(const struct lh_http_answer *ans, const char *name)
{
    (void)ans;
    return strcmp(name, "x-vault-index") == 0 ? LH_STR("eyJ9") : (struct lh_str){NULL, 0};
}

static const struct {
    const char *path;
    int status;
    const char *body;
} server[] = {
    {"/v1/auth/jwt/login", 200,
     "{\"auth\":{\"client_token\":\"s.x\",\"lease_duration\":60,\"renewable\":true}}"},
    {"/v1/sys/internal/ui/mounts/secret/", 200,
     "{\"data\":{\"type\":\"kv\",\"path\":\"secret/\",\"options\":{\"version\":\"2\"}}}"},
    {"/v1/sys/internal/ui/mounts/kv/", 200,
     "{\"data\":{\"type\":\"kv\",\"path\":\"kv/\",\"options\":{\"version\":\"2\"}}}"},
    {"/v1/secret/data/x", 200, "{\"data\":{\"data\":{\"k\":\"v\"},\"metadata\":{\"version\":3}}}"},
    {"/v1/kv/data/x", 200, "{\"data\":{\"data\":{\"k\":\"v\"},\"metadata\":{\"version\":3}}}"},
    {"/v1/kv/x", 404, "{\"data\":null,\"warnings\":[\"Invalid path for a versioned K/V\"]}"},
    {"/v1/secret/metadata/x", 200, "{\"data\":{\"current_version\":3,\"versions\":{}}}"},
    {"/v1/pki/issue/web", 200,
     "{\"data\":{\"certificate\":\"-----BEGIN CERTIFICATE-----\",\"expiration\":1795489220}}"},
    {"/v1/sys/leases/renew", 200, "{\"lease_duration\":20,\"renewable\":true}"},
    {"/v1/auth/token/lookup-self", 200, "{\"data\":{\"ttl\":20,\"renewable\":true}}"},
    {"/v1/sys/health", 429, "{\"initialized\":true,\"sealed\":false,\"standby\":true}"},
};

static void answer(void)
{
    const char *path = strstr(flight.url, "/v1/");
    struct lh_http_answer ans = {.status = 403};
    const char *body = "{\"errors\":[\"1 error occurred:\\n\\t* permission denied\\n\\n\"]}";
    lh_http_done_fn done = flight.done;
    struct lh_err err = {0};

    for (size_t i = 0; i < LH_ARRAY_LEN(server); i++)
        if (strncmp(path, server[i].path, strlen(server[i].path)) == 0) {
            ans.status = server[i].status;
            body = server[i].body;
        }
    flight.done = NULL;
    if (lh_secret_copy(body, strlen(body), &ans.body, &err) < 0) {
        done(flight.arg, NULL, &err);
        return;
    }
    done(flight.arg, &ans, NULL);
    lh_secret_free(ans.body);
}

static int source_start(struct lh_token_source *self, const char *audience, lh_token_done_fn done,
                        void *arg, struct lh_token_op **op, struct lh_err *err)
{
    (void)self;
    (void)audience;
    (void)err;
    asked.done = done;
    asked.arg = arg;
    *op = (struct lh_token_op *)&asked;
    return 0;
}

static void source_cancel(struct lh_token_op *op)
{
    (void)op;
    asked.done = NULL;
}

static struct lh_token_source source = {source_start, source_cancel, NULL};

static void done(void *arg, const struct lh_prov_result *res, const struct lh_err *err)
{
    (void)arg;
    out.calls++;
    out.result = res != NULL;
    if (err)
        out.err = *err;
}

static int open_provider(void)
{
    const struct lh_identity id = {
        .subject = {"eu", "shop", "app"}, .credential = &source, .allow_loopback = true};

    return lh_provider_vault.open(NULL, store, &id, &provider, &out.err);
}

static int do_open(void)
{
    struct lh_provider *kept = provider;
    int rc = open_provider();

    if (rc == 0)
        lh_provider_vault.close(provider);
    provider = kept;
    return rc;
}

static int run(int rc)
{
    while (rc == 0 && (flight.done || asked.done)) {
        if (asked.done) {
            lh_token_done_fn fn = asked.done;

            asked.done = NULL;
            fn(asked.arg, token, NULL);
        } else {
            answer();
        }
    }
    return rc;
}

static int read_of(const char *path, const lh_json *params)
{
    const struct lh_read_request req = {.path = path, .params = params};
    struct lh_provider_op *op;

    return run(lh_provider_vault.read(provider, token, &req, done, NULL, &op, &out.err));
}

/* A provider that knows no mount yet. */
static int read_fresh(const char *path)
{
    struct lh_provider *kept = provider;
    int rc = open_provider();

    if (rc == 0) {
        rc = read_of(path, NULL);
        lh_provider_vault.close(provider);
    }
    provider = kept;
    return rc;
}

static int do_login(void)
{
    struct lh_provider_op *op;

    return run(lh_provider_vault.login(provider, done, NULL, &op, &out.err));
}

static int do_read(void)
{
    return read_fresh("secret/x");
}

static int do_read_unlisted(void)
{
    return read_fresh("kv/x");
}

static int do_read_denied(void)
{
    return read_fresh("nowhere/x");
}

static int do_write(void)
{
    lh_auto_json lh_json *params = lh_json_new_object();

    if (!params) {
        out.err.code = LH_E_NOMEM;
        return -LH_E_NOMEM;
    }
    return read_of("pki/issue/web", params);
}

static int do_probe(void)
{
    struct lh_provider_op *op;

    return run(lh_provider_vault.probe(provider, token, "secret/x", done, NULL, &op, &out.err));
}

static int do_renew(void)
{
    struct lh_provider_op *op;

    return run(
        lh_provider_vault.renew_lease(provider, token, "db/creds/x/1", done, NULL, &op, &out.err));
}

static int do_lookup(void)
{
    struct lh_provider_op *op;

    return run(lh_provider_vault.lookup_token(provider, token, done, NULL, &op, &out.err));
}

static int do_health(void)
{
    struct lh_provider_op *op;

    return run(lh_provider_vault.health(provider, done, NULL, &op, &out.err));
}

static struct operation {
    const char *name;
    int (*run)(void);
    int calls, want; /* when nothing fails */
} operations[] = {
    {"open", do_open, 0, 0},
    {"login", do_login, 1, 0},
    {"read with a look-up before", do_read, 1, 0},
    {"read with a look-up after", do_read_unlisted, 1, 0},
    {"read that is denied", do_read_denied, 1, LH_E_DENIED},
    {"write", do_write, 1, 0},
    {"probe", do_probe, 1, 0},
    {"renew", do_renew, 1, 0},
    {"look up", do_lookup, 1, 0},
    {"health", do_health, 1, 0},
};

static void survives(void **state)
{
    const struct operation *o = *state;
    unsigned long n;
    bool reached = true;

    for (n = 1; reached && n < MOST; n++) {
        unsigned long before = lh_mem_count();
        int rc;

        memset(&out, 0, sizeof(out));
        lh_mem_fail_at(n);
        rc = o->run();
        /* The one that fails is not counted. */
        reached = lh_mem_count() - before >= n - 1;
        lh_mem_fail_at(0);
        /* A start that fails does not call back, one that does not calls back once. */
        if (o->calls && out.calls != (rc < 0 ? 0 : 1))
            fail_msg("allocation %lu: returned %d, called back %d times", n, rc, out.calls);
        if (rc < 0 || !out.result)
            assert_true(out.err.code || !o->calls);
    }
    assert_true(n < MOST && n > 3);
    assert_int_equal(out.err.code, o->want);
}

static int setup(void **state)
{
    static const char text[] =
        "{\"apiVersion\":\"leasehold.dev/v1alpha1\",\"kind\":\"SecretStore\",\"metadata\":{"
        "\"name\":\"vault\",\"namespace\":\"shop\"},\"spec\":{\"vault\":{\"addresses\":["
        "\"https://127.0.0.1:1\"],\"auth\":{\"jwt\":{\"mount\":\"jwt\",\"role\":\"app\","
        "\"audience\":\"vault\"}}}}}";
    lh_auto_json lh_json *json = NULL;
    struct lh_err err = {0};
    int rc;

    (void)state;
    lh_json_init();
    rc = lh_json_parse(LH_STR(text), NULL, &json, &err);
    if (rc == 0)
        rc = lh_store_parse(json, "test", &store, &err);
    if (rc == 0)
        rc = lh_secret_copy("s.token", 7, &token, &err);
    if (rc == 0)
        rc = open_provider();
    if (rc == 0)
        rc = read_of("secret/x", NULL); /* so that probe knows the mount */
    if (rc < 0)
        fprintf(stderr, "%s%s\n", err.msg, out.err.msg);
    return rc;
}

static int teardown(void **state)
{
    (void)state;
    lh_provider_vault.close(provider);
    lh_store_unref(store);
    lh_secret_free(token);
    return 0;
}

int main(void)
{
    struct CMUnitTest tests[LH_ARRAY_LEN(operations)];

    for (size_t i = 0; i < LH_ARRAY_LEN(operations); i++)
        tests[i] = (struct CMUnitTest){operations[i].name, survives, NULL, NULL, &operations[i]};
    return _cmocka_run_group_tests("torture", tests, LH_ARRAY_LEN(operations), setup, teardown);
}
