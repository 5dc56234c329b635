/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/x509.h"
#include "world.h"

#define APPROLE                                                                                    \
    "{\"appRole\":{\"mount\":\"approle\",\"roleId\":\"r-1\",\"secretIdRef\":{\"name\":\"s\","      \
    "\"key\":\"id\"}}}"
#define TOKEN "{\"token\":{\"secretRef\":{\"name\":\"s\",\"key\":\"token\"}}}"

static void says(const char *word)
{
    if (!strstr(w.out.err.msg, word))
        fail_msg("\"%s\" does not say \"%s\"", w.out.err.msg, word);
}

static void with_jwt(void **state)
{
    const struct fake_login login = {"jwt", "app", "e30.e30.x", 3600000, 0, false, false};

    (void)state;
    fake_manager_login_add(w.m, &login);
    world_credential("e30.e30.x\n");
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(world_login(), 0);
    assert_string_equal(w.out.token, fake_manager_last_token(w.m));
    assert_true(w.out.accessor[0]);
    assert_int_equal(w.out.ttl_ms, 3600000);
    assert_true(w.out.renewable);
    assert_string_equal(fake_manager_last_header(w.m, "x-vault-request"), "true");
    assert_string_equal(fake_manager_last_header(w.m, "x-vault-token"), "");
}

static void with_kubernetes_and_placeholders(void **state)
{
    const struct fake_login login = {"k8s-eu", "shop-app", "e30.e30.x", 1200000, 0, true, false};
    const struct fake_store store = {
        .auth = "{\"kubernetes\":{\"mount\":\"k8s-{cluster}\",\"role\":\"{namespace}-"
                "{serviceAccount}\",\"audience\":\"vault\"}}",
        .vault = "\"namespace\":\"team-{namespace}\"",
    };

    (void)state;
    fake_manager_login_add(w.m, &login);
    fake_manager_namespace(w.m, "team-shop");
    world_credential("e30.e30.x");
    assert_int_equal(world_open(&store), 0);
    assert_int_equal(world_login(), 0);
    assert_false(w.out.renewable);
    assert_string_equal(fake_manager_last_header(w.m, "x-vault-namespace"), "team-shop");
}

static void with_approle(void **state)
{
    const struct fake_login login = {"approle", "r-1", "the secret id", 60000, 0, false, false};

    (void)state;
    fake_manager_login_add(w.m, &login);
    world_credential("the secret id\n");
    assert_int_equal(world_open(&(struct fake_store){.auth = APPROLE}), 0);
    assert_int_equal(world_login(), 0);
    assert_int_equal(w.out.ttl_ms, 60000);
}

static void with_a_token_that_lives(void **state)
{
    (void)state;
    world_credential(lh_secret_expose_const(w.app));
    assert_int_equal(world_open(&(struct fake_store){.auth = TOKEN}), 0);
    assert_int_equal(world_login(), 0);
    assert_string_equal(w.out.token, (const char *)lh_secret_expose_const(w.app));
    assert_true(w.out.ttl_ms > 3590000 && w.out.ttl_ms <= 3600000);
    assert_true(w.out.renewable);
    assert_int_equal(fake_manager_requests(w.m, NULL, "*"), 1);
}

static void with_a_token_that_never_ends(void **state)
{
    (void)state;
    world_credential("s.root");
    assert_int_equal(world_open(&(struct fake_store){.auth = TOKEN}), 0);
    assert_int_equal(world_login(), 0);
    assert_int_equal(w.out.ttl_ms, 0);
    assert_false(w.out.renewable);
}

static void with_a_token_that_may_not_look_itself_up(void **state)
{
    (void)state;
    fake_manager_deny(w.m, "auth/token/lookup-self");
    world_credential(lh_secret_expose_const(w.app));
    assert_int_equal(world_open(&(struct fake_store){.auth = TOKEN}), 0);
    assert_int_equal(world_login(), 0);
    assert_string_equal(w.out.token, (const char *)lh_secret_expose_const(w.app));
}

static void a_dead_token_is_a_refused_login(void **state)
{
    (void)state;
    world_credential("s.nobody");
    assert_int_equal(world_open(&(struct fake_store){.auth = TOKEN}), 0);
    assert_int_equal(world_login(), -LH_E_DENIED);
    assert_string_equal(w.out.err.reason, LH_REASON_LoginFailed);
}

static void a_refused_login_names_mount_and_role(void **state)
{
    const struct fake_login login = {"jwt", "app", "good", 60000, 0, false, false};

    (void)state;
    fake_manager_login_add(w.m, &login);
    world_credential("bad");
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(world_login(), -LH_E_DENIED);
    assert_string_equal(w.out.err.reason, LH_REASON_LoginFailed);
    says("auth/jwt as role \"app\" with audience \"vault\"");
    says("bound_subject");
    assert_int_equal(fake_manager_requests(w.m, "POST", "auth/jwt/login"), 1);
}

static void the_file_is_read_at_each_login(void **state)
{
    const struct fake_login login = {"jwt", "app", "second", 60000, 0, false, false};

    (void)state;
    fake_manager_login_add(w.m, &login);
    world_credential("first");
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(world_login(), -LH_E_DENIED);
    world_credential("second");
    assert_int_equal(world_login(), 0);
}

static const struct bad {
    const char *name, *content; /* NULL: no file */
    int want;
} bad[] = {
    {"no file", NULL, LH_E_NOTFOUND},
    {"an empty file", "", LH_E_NOTFOUND},
    {"a line end inside", "e30\r\nX-Evil: 1", LH_E_DENIED},
    {"a space inside", "a b", LH_E_DENIED},
    {"bytes past ASCII", "caf\xc3\xa9", LH_E_DENIED},
};

static void bad_credentials_are_never_sent(void **state)
{
    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(bad); i++) {
        world_credential(bad[i].content);
        assert_int_equal(world_open(NULL), 0);
        assert_int_equal(world_login(), -bad[i].want);
        assert_string_equal(w.out.err.reason, LH_REASON_CredentialMissing);
    }
    assert_int_equal(fake_manager_requests(w.m, NULL, "*"), 0);
}

static void without_any_credential(void **state)
{
    (void)state;
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(world_login(), -LH_E_INVALID);
    assert_string_equal(w.out.err.reason, LH_REASON_CredentialMissing);
    assert_int_equal(w.out.calls, 0);
}

static void a_lost_answer_is_not_asked_for_again(void **state)
{
    const struct fake_login login = {"jwt", "app", NULL, 60000, 0, false, false};
    const struct fake_fault fault = {.path = "auth/jwt/login", .kind = FAKE_DROP, .after = true};

    (void)state;
    fake_manager_login_add(w.m, &login);
    fake_manager_fault(w.m, &fault);
    world_credential("x");
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(world_login(), -LH_E_UNAVAILABLE);
    assert_true(w.out.err.sent);
    assert_int_equal(fake_manager_logins(w.m), 1);
}

static void cancelled_before_the_file_is_read(void **state)
{
    (void)state;
    world_credential("x");
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(lh_provider_vault.login(w.p, world_done, NULL, &w.op, &w.out.err), 0);
    lh_provider_vault.cancel(w.op);
    lh_loop_turn(w.loop, 0);
    lh_loop_turn(w.loop, 0);
    assert_int_equal(w.out.calls, 0);
}

/* Client certificates are asked for by a manager of its own. */
static void with_a_certificate(void **state)
{
    const struct fake_login login = {"cert", "app", NULL, 60000, 0, false, false};
    struct lh_cert_pair ca = {0}, leaf = {0};
    struct fake_manager_options opts = {0};
    char cert[300], key[300];
    int rc;

    (void)state;
    rc = lh_x509_new_ca("clients", 1, &ca, NULL);
    if (rc == 0)
        rc = lh_x509_new_client_leaf(&ca, "app", 1, &leaf, NULL);
    if (rc == 0) {
        (void)lh_test_write(w.scratch.fd, "tls.crt", leaf.cert_pem);
        (void)lh_test_write(w.scratch.fd, "tls.key", lh_secret_expose_const(leaf.key_pem));
        fake_manager_free(w.m);
        w.m = NULL;
        opts.client_ca_pem = lh_str(ca.cert_pem);
        rc = fake_manager_new(w.loop, &opts, &w.m, NULL);
    }
    lh_cert_pair_done(&leaf);
    lh_cert_pair_done(&ca);
    assert_int_equal(rc, 0);
    fake_manager_login_add(w.m, &login);
    snprintf(cert, sizeof(cert), "%s/tls.crt", w.scratch.path);
    snprintf(key, sizeof(key), "%s/tls.key", w.scratch.path);
    w.id.cert_file = cert;
    w.id.key_file = key;
    assert_int_equal(world_open(&(struct fake_store){
                         .auth = "{\"cert\":{\"mount\":\"cert\",\"role\":\"app\",\"secretRef\":{"
                                 "\"name\":\"s\"}}}"}),
                     0);
    assert_int_equal(world_login(), 0);
    assert_int_equal(w.out.ttl_ms, 60000);
    w.id.cert_file = w.id.key_file = NULL;
}

static void a_certificate_store_without_one(void **state)
{
    (void)state;
    assert_int_equal(world_open(&(struct fake_store){
                         .auth = "{\"cert\":{\"mount\":\"cert\",\"role\":\"app\",\"secretRef\":{"
                                 "\"name\":\"s\"}}}"}),
                     -LH_E_INVALID);
    assert_string_equal(w.out.err.reason, LH_REASON_CredentialMissing);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(with_jwt),
        T(with_kubernetes_and_placeholders),
        T(with_approle),
        T(with_a_token_that_lives),
        T(with_a_token_that_never_ends),
        T(with_a_token_that_may_not_look_itself_up),
        T(a_dead_token_is_a_refused_login),
        T(a_refused_login_names_mount_and_role),
        T(the_file_is_read_at_each_login),
        T(bad_credentials_are_never_sent),
        T(without_any_credential),
        T(a_lost_answer_is_not_asked_for_again),
        T(cancelled_before_the_file_is_read),
        T(with_a_certificate),
        T(a_certificate_store_without_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
