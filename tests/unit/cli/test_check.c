/* SPDX-License-Identifier: Apache-2.0 */
/* check against a fake API server and a fake manager: each step, and what it says when it fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "check.h"
#include "fake_api.h"
#include "fake_manager.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/http/client.h"
#include "leasehold/kube/config.h"

#define STORES  "leasehold.dev/v1alpha1/secretstores"
#define CSTORES "leasehold.dev/v1alpha1/clustersecretstores"
#define JWT     "{\"jwt\":{\"mount\":\"jwt\",\"role\":\"app\",\"audience\":\"vault\"}}"
#define TOKEN   "{\"token\":{\"secretRef\":{\"name\":\"creds\",\"key\":\"token\"}}}"
#define ALLOW                                                                                      \
    "\"allow\":[{\"namespaces\":[\"shop\"],\"paths\":[\"secret/*\",\"database/creds/+\"]}]"

static struct {
    struct lh_loop *loop;
    struct fake_api *api;
    struct fake_manager *manager;
    struct lh_kube_config kube;
    struct lh_buf out;
    bool ok;
    struct lh_err err;
} t;

static int setup(void **state)
{
    struct fake_manager_options o = {0};

    (void)state;
    memset(&t, 0, sizeof(t));
    lh_buf_init(&t.out, 65536);
    if (lh_loop_new(&t.loop, &t.err) < 0 || fake_api_new(t.loop, &t.api, &t.err) < 0)
        return -1;
    o.server = fake_api_server(t.api);
    if (fake_manager_new(t.loop, &o, &t.manager, &t.err) < 0 ||
        fake_api_config(t.api, &t.kube, &t.err) < 0)
        return -1;
    fake_api_put(t.api, "v1/namespaces", "{\"metadata\":{\"name\":\"shop\"}}");
    fake_manager_login_add(t.manager,
                           &(struct fake_login){.mount = "jwt", .role = "app", .ttl_ms = 3600000});
    fake_manager_kv_put(t.manager, "secret/db",
                        "{\"username\":\"u-canary\",\"password\":\"p-canary\"}");
    fake_manager_role_add(t.manager,
                          &(struct fake_role){.path = "database/creds/shop", .ttl_ms = 60000});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lh_buf_done(&t.out);
    lh_kube_config_done(&t.kube);
    fake_manager_free(t.manager);
    fake_api_free(t.api);
    lh_loop_free(t.loop);
    return 0;
}

static void put_store(const char *kind, const char *auth, const char *spec)
{
    char *json = fake_manager_store_json_with(
        t.manager, &(struct fake_store){.kind = kind, .auth = auth, .spec = spec});

    fake_api_put(t.api, strcmp(kind, "SecretStore") == 0 ? STORES : CSTORES, json);
    lh_free(json);
}

static void run(const char *store, const char *path, const char *account)
{
    const struct check_options o = {.loop = t.loop,
                                    .kube = &t.kube,
                                    .store = store,
                                    .namespace_ = "shop",
                                    .service_account = account,
                                    .path = path,
                                    .timeout_ms = 3000};

    lh_buf_reset(&t.out);
    t.ok = false;
    if (check_run(&o, &t.out, &t.ok, &t.err) < 0)
        fail_msg("%s", t.err.msg);
    /* Never a value. */
    assert_null(strstr(lh_buf_peek(&t.out).p, "canary"));
}

static void says(bool ok, const char *part)
{
    if (t.ok != ok || !strstr(lh_buf_peek(&t.out).p, part))
        fail_msg("%s\n%s", part, lh_buf_peek(&t.out).p);
}

static void all_is_well(void **state)
{
    (void)state;
    put_store("ClusterSecretStore", JWT, ALLOW);
    run(NULL, "secret/db#password", "app");
    says(true, "store         ok  ClusterSecretStore \"vault\", https://127.0.0.1:");
    says(true, "\nallow         ok\n");
    says(true, "\ntoken         ok  for audience \"vault\"\n");
    says(true, "\nreach         ok  active\n");
    says(true, "\nlogin         ok  token for 3600 s\n");
    says(true, "\ncapabilities  ok  read on \"secret/data/db\"\n");
    says(true, "\nread          ok  keys ");
    assert_int_equal(fake_manager_requests(t.manager, "POST", "auth/token/revoke-self"), 1);
}

static void without_a_path_it_ends_at_the_login(void **state)
{
    (void)state;
    put_store("ClusterSecretStore", JWT, ALLOW);
    run(NULL, NULL, "app");
    says(true, "\nlogin         ok");
    assert_null(strstr(lh_buf_peek(&t.out).p, "capabilities"));
}

static void issued_credential_is_revoked(void **state)
{
    (void)state;
    put_store("ClusterSecretStore", JWT, ALLOW);
    run(NULL, "database/creds/shop", "app");
    says(true, "\nread          ok  keys ");
    assert_int_equal(fake_manager_issued(t.manager, "database/creds/shop"), 1);
    assert_int_equal(fake_manager_live(t.manager, "database/creds/shop"), 0);
}

static void store_that_is_not_there(void **state)
{
    (void)state;
    put_store("ClusterSecretStore", JWT, ALLOW);
    run("other", NULL, "app");
    says(false,
         "store         FAILED  StoreNotFound: there is no SecretStore or "
         "ClusterSecretStore \"other\"; namespace \"shop\" may use ClusterSecretStore/vault\n"
         "              fix: ");
}

static void path_that_is_not_allowed(void **state)
{
    (void)state;
    put_store("ClusterSecretStore", JWT, ALLOW);
    run(NULL, "pki/issue/web", "app");
    says(false, "allow         FAILED  PathNotAllowed: ClusterSecretStore \"vault\" does not let "
                "namespace \"shop\" read \"pki/issue/web\"");
}

static void login_that_is_refused(void **state)
{
    (void)state;
    put_store("ClusterSecretStore",
              "{\"jwt\":{\"mount\":\"jwt\",\"role\":\"other\",\"audience\":\"vault\"}}", ALLOW);
    run(NULL, "secret/db", "app");
    says(false, "login         FAILED  LoginFailed: ");
    assert_null(strstr(lh_buf_peek(&t.out).p, "read  "));
}

static void manager_that_is_sealed(void **state)
{
    (void)state;
    put_store("ClusterSecretStore", JWT, ALLOW);
    fake_manager_seal(t.manager, true);
    run(NULL, "secret/db", "app");
    says(false, "reach         FAILED  Sealed: the manager is sealed\n");
}

static void manager_that_is_away(void **state)
{
    char *json = fake_manager_store_json_with(
        t.manager, &(struct fake_store){.kind = "ClusterSecretStore",
                                        .auth = JWT,
                                        .addresses = "[\"https://127.0.0.1:1\"]",
                                        .spec = ALLOW});

    (void)state;
    fake_api_put(t.api, CSTORES, json);
    lh_free(json);
    run(NULL, "secret/db", "app");
    says(false, "reach         FAILED  Unreachable: ");
}

static void policy_that_denies(void **state)
{
    (void)state;
    put_store("ClusterSecretStore", JWT, ALLOW);
    fake_manager_deny(t.manager, "secret/data/db");
    run(NULL, "secret/db", "app");
    says(false, "capabilities  FAILED  PermissionDenied: the policy lets the token not read "
                "\"secret/data/db\"\n");
}

static void path_that_is_not_there(void **state)
{
    (void)state;
    put_store("ClusterSecretStore", JWT, ALLOW);
    run(NULL, "secret/other", "app");
    says(false, "read          FAILED  PathNotFound: ");
}

static void key_that_is_not_there(void **state)
{
    (void)state;
    put_store("ClusterSecretStore", JWT, ALLOW);
    run(NULL, "secret/db#pasword", "app");
    says(false, "read          FAILED  KeyNotFound: ");
    says(false, "the secret has no key \"pasword\"");
    says(false, "username");
}

static void token_from_a_secret(void **state)
{
    (void)state;
    put_store("SecretStore", TOKEN, NULL);
    /* s.root and a newline, as an editor leaves it. */
    fake_api_put(t.api, "v1/secrets",
                 "{\"kind\":\"Secret\",\"metadata\":{\"name\":\"creds\",\"namespace\":\"shop\"},"
                 "\"data\":{\"token\":\"cy5yb290Cg==\"}}");
    run(NULL, "secret/db#username", "app");
    says(true, "\nread          ok");
}

static void secret_that_is_not_there(void **state)
{
    (void)state;
    put_store("SecretStore", TOKEN, NULL);
    run(NULL, "secret/db", "app");
    says(false,
         "token         FAILED  CredentialMissing: secrets \"creds\" of namespace \"shop\": ");
}

static void account_that_is_not_there(void **state)
{
    (void)state;
    put_store("ClusterSecretStore", JWT, ALLOW);
    fake_api_fault(t.api, &(struct fake_api_fault){.method = "POST", .status = 404});
    run(NULL, "secret/db", "nobody");
    says(false, "token         FAILED  CredentialMissing: ServiceAccount \"nobody\" of \"shop\": ");
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(all_is_well),
        CASE(without_a_path_it_ends_at_the_login),
        CASE(issued_credential_is_revoked),
        CASE(store_that_is_not_there),
        CASE(path_that_is_not_allowed),
        CASE(login_that_is_refused),
        CASE(manager_that_is_sealed),
        CASE(manager_that_is_away),
        CASE(policy_that_denies),
        CASE(path_that_is_not_there),
        CASE(key_that_is_not_there),
        CASE(token_from_a_secret),
        CASE(secret_that_is_not_there),
        CASE(account_that_is_not_there),
    };
    struct lh_err err;

    lh_json_init();
    if (lh_crypto_init(&err) < 0 || lh_http_global_init(&err) < 0)
        return 1;
    return cmocka_run_group_tests_name("check", tests, NULL, NULL);
}
