/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/http/client.h"

struct world w;

static int secret(const char *text, struct lh_secret **out)
{
    return lh_secret_copy(text, strlen(text), out, NULL);
}

int world_setup(void **state)
{
    struct lh_err err = {0};

    (void)state;
    memset(&w, 0, sizeof(w));
    if (lh_crypto_init(&err) < 0 || lh_http_global_init(&err) < 0)
        return -1;
    lh_json_init();
    if (lh_test_scratch_new(&w.scratch) < 0 || lh_loop_new(&w.loop, &err) < 0)
        return -1;
    if (fake_manager_new(w.loop, NULL, &w.m, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return -1;
    }
    if (secret("s.root", &w.root) < 0 ||
        secret(fake_manager_token_add(w.m, 3600000, 7200000, true), &w.app) < 0)
        return -1;
    return 0;
}

int world_teardown(void **state)
{
    (void)state;
    if (w.p)
        lh_provider_vault.close(w.p);
    if (w.id.credential)
        w.id.credential->free(w.id.credential);
    lh_store_unref(w.store);
    lh_secret_free(w.root);
    lh_secret_free(w.app);
    fake_manager_free(w.m);
    if (w.loop)
        lh_loop_free(w.loop);
    lh_test_scratch_done(&w.scratch);
    return 0;
}

int world_open(const struct fake_store *store)
{
    static const struct fake_store plain = {.auth = WORLD_JWT};
    lh_auto_free char *text = fake_manager_store_json_with(w.m, store ? store : &plain);
    lh_auto_json lh_json *json = NULL;
    int rc;

    if (w.p)
        lh_provider_vault.close(w.p);
    w.p = NULL;
    lh_store_unref(w.store);
    w.store = NULL;
    w.id.subject = (struct lh_subject){"eu", "shop", "app"};
    w.id.allow_loopback = true;
    memset(&w.out, 0, sizeof(w.out));
    rc = lh_json_parse(lh_str(text), NULL, &json, &w.out.err);
    if (rc == 0)
        rc = lh_store_parse(json, "test", &w.store, &w.out.err);
    if (rc == 0)
        rc = lh_provider_vault.open(w.loop, w.store, &w.id, &w.p, &w.out.err);
    return rc;
}

void world_credential(const char *text)
{
    char path[300];

    snprintf(path, sizeof(path), "%s/credential", w.scratch.path);
    if (text)
        (void)lh_test_write(w.scratch.fd, "credential", text);
    if (!w.id.credential)
        (void)lh_token_source_file(w.loop, path, &w.id.credential, NULL);
}

static void keep_read(const struct lh_prov_read *read)
{
    struct lh_buf b;

    w.out.read = *read;
    w.out.read.data = NULL;
    w.out.read.lease_id = w.out.read.version = NULL;
    lh_buf_init(&b, sizeof(w.out.data));
    lh_json_write(read->data, LH_JSON_SORTED, &b);
    snprintf(w.out.data, sizeof(w.out.data), "%s", lh_buf_peek(&b).p);
    lh_buf_done(&b);
    snprintf(w.out.lease_id, sizeof(w.out.lease_id), "%s", read->lease_id ? read->lease_id : "");
    snprintf(w.out.version, sizeof(w.out.version), "%s", read->version ? read->version : "");
}

void world_done(void *arg, const struct lh_prov_result *res, const struct lh_err *err)
{
    (void)arg;
    w.out.done = true;
    w.out.calls++;
    if (err) {
        w.out.err = *err;
        return;
    }
    if (res->token) {
        snprintf(w.out.token, sizeof(w.out.token), "%.*s", (int)lh_secret_len(res->token->token),
                 (const char *)lh_secret_expose_const(res->token->token));
        snprintf(w.out.accessor, sizeof(w.out.accessor), "%s",
                 res->token->accessor ? res->token->accessor : "");
        w.out.ttl_ms = res->token->ttl_ms;
        w.out.renewable = res->token->renewable;
    }
    if (res->read)
        keep_read(res->read);
    if (res->life)
        w.out.life = *res->life;
    if (res->version) {
        w.out.probe = *res->version;
        snprintf(w.out.version, sizeof(w.out.version), "%s", res->version->version);
    }
    if (res->health)
        w.out.health = *res->health;
}

int world_wait(int rc)
{
    if (rc < 0)
        return rc;
    if (!lh_test_run_until_set(w.loop, &w.out.done)) {
        lh_provider_vault.cancel(w.op);
        return -99;
    }
    if (w.out.err.code && getenv("LH_TEST_VERBOSE"))
        fprintf(stderr, "%s\n", w.out.err.msg);
    return -w.out.err.code;
}

static void forget(void)
{
    memset(&w.out, 0, sizeof(w.out));
    w.op = NULL;
}

int world_login(void)
{
    forget();
    return world_wait(lh_provider_vault.login(w.p, world_done, NULL, &w.op, &w.out.err));
}

int world_read(const struct lh_secret *token, const char *path, const char *params, int64_t version)
{
    lh_auto_json lh_json *json = NULL;
    struct lh_read_request req = {.path = path, .version = version};

    forget();
    if (params && lh_json_parse(lh_str(params), NULL, &json, &w.out.err) < 0)
        return -98;
    req.params = json;
    return world_wait(
        lh_provider_vault.read(w.p, token, &req, world_done, NULL, &w.op, &w.out.err));
}

int world_probe(const char *path)
{
    forget();
    return world_wait(
        lh_provider_vault.probe(w.p, w.app, path, world_done, NULL, &w.op, &w.out.err));
}

int world_lease(int (*op)(struct lh_provider *p, const struct lh_secret *token,
                          const char *lease_id, lh_prov_done_fn done, void *arg,
                          struct lh_provider_op **out, struct lh_err *err),
                const char *lease_id)
{
    char id[256];

    snprintf(id, sizeof(id), "%s", lease_id); /* it may be that of w.out */
    forget();
    return world_wait(op(w.p, w.app, id, world_done, NULL, &w.op, &w.out.err));
}

int world_token(int (*op)(struct lh_provider *p, const struct lh_secret *token,
                          lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                          struct lh_err *err))
{
    forget();
    return world_wait(op(w.p, w.app, world_done, NULL, &w.op, &w.out.err));
}

int world_health(void)
{
    forget();
    return world_wait(lh_provider_vault.health(w.p, world_done, NULL, &w.op, &w.out.err));
}
