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
#include "world.h"

#define ROLE "database/creds/shop"

static void says(const char *word)
{
    if (!strstr(w.out.err.msg, word))
        fail_msg("\"%s\" does not say \"%s\"", w.out.err.msg, word);
}

static unsigned requests(const char *path)
{
    return fake_manager_requests(w.m, NULL, path);
}

static void add_role(void)
{
    const struct fake_role role = {ROLE, 20000, 60000, false};

    fake_manager_role_add(w.m, &role);
}

/* A store of these addresses: a the active node, s the standby, x where nothing listens. */
static int open_at(const char *text)
{
    struct fake_store store = {.auth = WORLD_JWT};
    char addresses[256];

    snprintf(addresses, sizeof(addresses), "[");
    for (const char *c = text; *c; c++) {
        size_t n = strlen(addresses);

        snprintf(addresses + n, sizeof(addresses) - n, "%s\"%s\"", n > 1 ? "," : "",
                 *c == 'a'   ? fake_manager_url(w.m)
                 : *c == 's' ? fake_manager_standby_url(w.m)
                             : "https://127.0.0.1:1");
    }
    strcat(addresses, "]");
    store.addresses = addresses;
    return world_open(&store);
}

static void a_lease_is_renewed(void **state)
{
    const char *id;

    (void)state;
    lh_clock_fake(1000000, INT64_C(1795489220904));
    add_role();
    (void)world_open(NULL);
    (void)world_read(w.app, ROLE, NULL, 0);
    id = fake_manager_last_lease(w.m, ROLE);
    lh_clock_step(12000);
    (void)world_lease(lh_provider_vault.renew_lease, id);
    assert_int_equal(w.out.err.code, 0);
    assert_int_equal(w.out.life.ttl_ms, 20000);
    assert_false(w.out.life.capped);
    assert_int_equal(w.out.life.sent_at, 1012000);
    lh_clock_step(12000);
    (void)world_lease(lh_provider_vault.renew_lease, id);
    lh_clock_step(20000 - 1);
    (void)world_lease(lh_provider_vault.renew_lease, id);
    assert_int_equal(w.out.life.ttl_ms, 16000);
    assert_true(w.out.life.capped);
    assert_true(w.out.life.renewable);
    (void)world_lease(lh_provider_vault.lookup_lease, id);
    assert_int_equal(w.out.life.ttl_ms, 16000);
    lh_clock_step(17000);
    (void)world_lease(lh_provider_vault.renew_lease, id);
    lh_clock_real();
    assert_int_equal(w.out.err.code, LH_E_EXPIRED);
    assert_string_equal(w.out.err.reason, LH_REASON_LeaseExpired);
    says("renew a lease of " ROLE);
    assert_int_equal(fake_manager_issued(w.m, ROLE), 1);
}

static void renewals_ask_for_no_increment(void **state)
{
    struct lh_str body;

    (void)state;
    add_role();
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(world_read(w.app, ROLE, NULL, 0), 0);
    assert_int_equal(world_lease(lh_provider_vault.renew_lease, w.out.lease_id), 0);
    body = fake_manager_last_body(w.m);
    assert_null(memmem(body.p, body.n, "increment", 9));
}

static void a_lease_may_not_be_revoked_or_may(void **state)
{
    char id[256];

    (void)state;
    add_role();
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(world_read(w.app, ROLE, NULL, 0), 0);
    snprintf(id, sizeof(id), "%s", w.out.lease_id);
    assert_int_equal(world_lease(lh_provider_vault.revoke_lease, id), -LH_E_DENIED);
    assert_int_equal(fake_manager_live(w.m, ROLE), 1);
    fake_manager_allow_all(w.m);
    assert_int_equal(world_lease(lh_provider_vault.revoke_lease, id), 0);
    assert_int_equal(fake_manager_live(w.m, ROLE), 0);
    assert_int_equal(world_lease(lh_provider_vault.revoke_lease, id), 0);
    assert_int_equal(world_lease(lh_provider_vault.lookup_lease, id), -LH_E_EXPIRED);
}

/* The lease of another token, by a token whose policy allows it. */
static int revoke_by_accessor(const char *accessor)
{
    w.out = (struct outcome){0};
    return world_wait(lh_provider_vault.revoke_accessor(w.p, w.app, accessor, world_done, NULL,
                                                        &w.op, &w.out.err));
}

static void a_token_ends_by_its_accessor(void **state)
{
    char accessor[64];
    lh_auto_secret struct lh_secret *other = NULL;

    (void)state;
    add_role();
    world_credential("jwt-1");
    fake_manager_login_add(w.m, &(struct fake_login){.mount = "jwt", .ttl_ms = 3600000});
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(world_login(), 0);
    snprintf(accessor, sizeof(accessor), "%s", w.out.accessor);
    assert_int_equal(lh_secret_copy(w.out.token, strlen(w.out.token), &other, NULL), 0);
    assert_int_equal(world_read(other, ROLE, NULL, 0), 0);
    assert_int_equal(revoke_by_accessor(accessor), -LH_E_DENIED);
    assert_string_equal(w.out.err.reason, LH_REASON_PermissionDenied);
    assert_int_equal(fake_manager_live(w.m, ROLE), 1);
    fake_manager_allow_all(w.m);
    assert_int_equal(revoke_by_accessor(accessor), 0);
    assert_int_equal(fake_manager_live(w.m, ROLE), 0);
    assert_int_equal(revoke_by_accessor(accessor), 0);
    /* What HashiCorp Vault says of one that it does not know. */
    fake_manager_fault(w.m, &(struct fake_fault){.path = "auth/token/revoke-accessor",
                                                 .kind = FAKE_ANSWER,
                                                 .status = 403,
                                                 .body = "{\"errors\":[\"1 error occurred:\\n\\t* "
                                                         "invalid accessor\\n\\n\"]}"});
    assert_int_equal(revoke_by_accessor(accessor), 0);
}

static void a_token_lives_and_ends(void **state)
{
    (void)state;
    add_role();
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(world_token(lh_provider_vault.renew_token), 0);
    assert_int_equal(w.out.life.ttl_ms, 3600000);
    assert_int_equal(world_token(lh_provider_vault.lookup_token), 0);
    assert_int_equal(w.out.life.creation_ttl_ms, 3600000);
    assert_int_equal(world_read(w.app, ROLE, NULL, 0), 0);
    assert_int_equal(world_token(lh_provider_vault.revoke_token), 0);
    assert_int_equal(fake_manager_live(w.m, ROLE), 0);
    assert_int_equal(world_token(lh_provider_vault.lookup_token), -LH_E_EXPIRED);
    assert_string_equal(w.out.err.reason, LH_REASON_TokenExpired);
    assert_int_equal(world_read(w.app, ROLE, NULL, 0), -LH_E_EXPIRED);
    assert_int_equal(fake_manager_issued(w.m, ROLE), 1);
}

static void a_dead_token_before_a_mount_is_known(void **state)
{
    (void)state;
    fake_manager_revoke_token(w.m, NULL);
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(world_read(w.app, "secret/x", NULL, 0), -LH_E_EXPIRED);
    assert_int_equal(requests("*"), 1);
}

static void a_policy_is_not_a_dead_token(void **state)
{
    (void)state;
    add_role();
    fake_manager_deny(w.m, "database/*");
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(world_read(w.app, ROLE, NULL, 0), -LH_E_DENIED);
    assert_string_equal(w.out.err.reason, LH_REASON_PermissionDenied);
}

static void a_token_with_a_line_end_is_never_sent(void **state)
{
    struct lh_secret *evil = NULL;
    int rc;

    (void)state;
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(lh_secret_copy("s.x\r\nX-Evil: 1", 14, &evil, NULL), 0);
    rc = world_read(evil, "secret/x", NULL, 0);
    lh_secret_free(evil);
    assert_int_equal(rc, -LH_E_INVALID);
    assert_int_equal(requests("*"), 0);
}

/* What goes wrong while a credential is issued: exactly one request, whatever the answer. */
static const struct trouble {
    const char *name;
    struct fake_fault fault;
    int code;
    const char *reason;
    bool sent;
    unsigned issued;
} troubles[] = {
    {"connection lost after the server acted",
     {.path = ROLE, .kind = FAKE_DROP, .after = true},
     LH_E_UNAVAILABLE,
     LH_REASON_Unreachable,
     true,
     1},
    {"answer cut", {.path = ROLE, .kind = FAKE_CUT}, LH_E_UNAVAILABLE, NULL, true, 1},
    {"500",
     {.path = ROLE, .kind = FAKE_ANSWER, .status = 500},
     LH_E_UNAVAILABLE,
     LH_REASON_ManagerError,
     true,
     0},
    {"502 of a proxy",
     {.path = ROLE,
      .kind = FAKE_ANSWER,
      .status = 502,
      .body = "<html>",
      .content_type = "text/html"},
     LH_E_UNAVAILABLE,
     LH_REASON_Unreachable,
     true,
     0},
    {"a page with 200",
     {.path = ROLE,
      .kind = FAKE_ANSWER,
      .status = 200,
      .body = "<html>",
      .content_type = "text/html"},
     LH_E_UNAVAILABLE,
     LH_REASON_ManagerError,
     true,
     0},
    {"429 with Retry-After",
     {.path = ROLE,
      .kind = FAKE_ANSWER,
      .status = 429,
      .body = "{\"errors\":[\"request path: rate limit quota exceeded\"]}",
      .headers = "Retry-After: 9\r\n"},
     LH_E_BUSY,
     LH_REASON_RateLimited,
     false,
     0},
    {"503 sealed",
     {.path = ROLE,
      .kind = FAKE_ANSWER,
      .status = 503,
      .body = "{\"errors\":[\"Vault is sealed\"]}"},
     LH_E_UNAVAILABLE,
     LH_REASON_Sealed,
     false,
     0},
};

static void trouble_while_issuing(void **state)
{
    (void)state;
    add_role();
    assert_int_equal(world_open(NULL), 0);
    for (size_t i = 0; i < LH_ARRAY_LEN(troubles); i++) {
        const struct trouble *t = &troubles[i];
        unsigned before = requests(ROLE), issued = fake_manager_issued(w.m, ROLE);

        fake_manager_fault(w.m, &t->fault);
        if (world_read(w.app, ROLE, NULL, 0) != -t->code)
            fail_msg("%s: code %d, %s", t->name, w.out.err.code, w.out.err.msg);
        if (t->reason)
            assert_string_equal(w.out.err.reason, t->reason);
        assert_int_equal(w.out.err.sent, t->sent);
        assert_int_equal(requests(ROLE) - before, 1);
        assert_int_equal(fake_manager_issued(w.m, ROLE) - issued, t->issued);
        if (t->code == LH_E_BUSY)
            assert_int_equal(w.out.err.retry_ms, 9000);
        fake_manager_faults_clear(w.m);
    }
    assert_int_equal(world_read(w.app, ROLE, NULL, 0), 0);
}

static void the_managers_words_are_quoted_and_nothing_else(void **state)
{
    const struct fake_fault fault = {.path = "secret/data/x",
                                     .kind = FAKE_ANSWER,
                                     .status = 500,
                                     .body = "{\"errors\":[\"disk\\nfull\"],\"data\":{\"k\":"
                                             "\"hunter2\"}}"};

    (void)state;
    fake_manager_fault(w.m, &fault);
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(world_read(w.app, "secret/x", NULL, 0), -LH_E_UNAVAILABLE);
    says("disk full");
    assert_null(strstr(w.out.err.msg, "hunter2"));
}

static void the_next_address_serves_when_one_is_dead(void **state)
{
    (void)state;
    add_role();
    assert_int_equal(open_at("xa"), 0);
    assert_int_equal(world_read(w.app, ROLE, NULL, 0), 0); /* it never left: no second issue */
    assert_int_equal(fake_manager_issued(w.m, ROLE), 1);
    assert_int_equal(world_read(w.app, ROLE, NULL, 0), 0);
}

static void an_issuing_request_is_not_taken_elsewhere(void **state)
{
    const struct fake_fault fault = {.path = ROLE, .kind = FAKE_DROP, .after = true, .times = 1};

    (void)state;
    add_role();
    fake_manager_fault(w.m, &fault);
    assert_int_equal(open_at("as"), 0);
    assert_int_equal(world_read(w.app, ROLE, NULL, 0), -LH_E_UNAVAILABLE);
    assert_true(w.out.err.sent);
    assert_int_equal(fake_manager_issued(w.m, ROLE), 1);
    assert_int_equal(requests(ROLE), 1);
}

static void other_requests_are(void **state)
{
    const struct fake_fault fault = {.path = "sys/leases/renew", .kind = FAKE_DROP, .times = 1};

    (void)state;
    add_role();
    assert_int_equal(open_at("as"), 0);
    assert_int_equal(world_read(w.app, ROLE, NULL, 0), 0);
    fake_manager_fault(w.m, &fault);
    assert_int_equal(world_lease(lh_provider_vault.renew_lease, w.out.lease_id), 0);
    assert_int_equal(requests("sys/leases/renew"), 2);
}

static void a_broken_connection_is_replaced_once(void **state)
{
    const struct fake_fault once = {.path = "secret/*", .kind = FAKE_DROP, .times = 1};
    const struct fake_fault always = {.path = "secret/*", .kind = FAKE_DROP};

    (void)state;
    fake_manager_kv_put(w.m, "secret/x", "{\"k\":\"v\"}");
    fake_manager_fault(w.m, &once);
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(world_read(w.app, "secret/x", NULL, 0), 0);
    assert_int_equal(requests("secret/*"), 2);
    fake_manager_fault(w.m, &always);
    assert_int_equal(world_read(w.app, "secret/x", NULL, 0), -LH_E_UNAVAILABLE);
    assert_int_equal(requests("secret/*"), 4);
}

static void a_sealed_node_is_left(void **state)
{
    const struct fake_fault sealed = {.path = ROLE,
                                      .kind = FAKE_ANSWER,
                                      .status = 503,
                                      .body = "{\"errors\":[\"Vault is sealed\"]}",
                                      .times = 1};

    (void)state;
    add_role();
    fake_manager_fault(w.m, &sealed);
    assert_int_equal(open_at("as"), 0);
    assert_int_equal(world_read(w.app, ROLE, NULL, 0), 0);
    assert_int_equal(requests(ROLE), 2);
    assert_int_equal(fake_manager_issued(w.m, ROLE), 1);
}

static void a_seal_is_better_news_than_silence(void **state)
{
    (void)state;
    fake_manager_seal(w.m, true);
    assert_int_equal(open_at("ax"), 0);
    assert_int_equal(world_read(w.app, "secret/x", NULL, 0), -LH_E_UNAVAILABLE);
    assert_string_equal(w.out.err.reason, LH_REASON_Sealed);
}

static void nothing_listens(void **state)
{
    (void)state;
    assert_int_equal(open_at("x"), 0);
    assert_int_equal(world_read(w.app, ROLE, NULL, 0), -LH_E_UNAVAILABLE);
    assert_string_equal(w.out.err.reason, LH_REASON_Unreachable);
    assert_false(w.out.err.sent);
    says("127.0.0.1");
}

static void a_lagging_standby_forwards(void **state)
{
    const struct fake_login login = {"jwt", "app", NULL, 60000, 0, false, false};

    (void)state;
    fake_manager_login_add(w.m, &login);
    fake_manager_kv_put(w.m, "secret/x", "{\"k\":\"v\"}");
    fake_manager_lag(w.m, true);
    world_credential("x");
    assert_int_equal(open_at("s"), 0);
    assert_int_equal(world_login(), 0);
    assert_int_equal(world_read(w.app, "secret/x", NULL, 0), 0);
    assert_string_equal(w.out.data, "{\"k\":\"v\"}");
    assert_true(*fake_manager_last_header(w.m, "x-vault-index"));
    assert_string_equal(fake_manager_last_header(w.m, "x-vault-inconsistent"),
                        "forward-active-node");
    assert_int_equal(requests("secret/data/x"), 2);
    fake_manager_lag(w.m, false);
    assert_int_equal(world_read(w.app, "secret/x", NULL, 0), 0);
    assert_string_equal(fake_manager_last_header(w.m, "x-vault-inconsistent"), "");
}

static void a_redirect_to_a_listed_node_is_followed(void **state)
{
    char location[128];
    struct fake_fault fault = {.path = ROLE, .kind = FAKE_ANSWER, .status = 307, .times = 1};

    (void)state;
    add_role();
    snprintf(location, sizeof(location), "Location: %s/v1/" ROLE "\r\n",
             fake_manager_standby_url(w.m));
    fault.headers = location;
    fault.body = "";
    fake_manager_fault(w.m, &fault);
    assert_int_equal(open_at("as"), 0);
    assert_int_equal(world_read(w.app, ROLE, NULL, 0), 0);
    assert_int_equal(fake_manager_issued(w.m, ROLE), 1);
}

static void a_redirect_elsewhere_is_not(void **state)
{
    const struct fake_fault fault = {.path = ROLE,
                                     .kind = FAKE_ANSWER,
                                     .status = 307,
                                     .body = "",
                                     .headers = "Location: https://evil.example/v1/x\r\n"};

    (void)state;
    add_role();
    fake_manager_fault(w.m, &fault);
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(world_read(w.app, ROLE, NULL, 0), -LH_E_DENIED);
    assert_string_equal(w.out.err.reason, LH_REASON_AddressNotAllowed);
}

static void health_in_each_state(void **state)
{
    (void)state;
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(world_health(), 0);
    assert_true(w.out.health.active);
    assert_string_equal(fake_manager_last_header(w.m, "x-vault-token"), "");
    fake_manager_seal(w.m, true);
    assert_int_equal(world_health(), 0);
    assert_true(w.out.health.sealed);
    assert_false(w.out.health.active);
    fake_manager_seal(w.m, false);
    assert_int_equal(open_at("s"), 0);
    assert_int_equal(world_health(), 0);
    assert_true(w.out.health.standby);
    assert_false(w.out.health.sealed);
}

/* Allow list and placeholders are for those who log in. */
static void nobody_may_ask_for_health_alone(void **state)
{
    static const struct fake_store store = {.kind = "ClusterSecretStore",
                                            .auth = WORLD_JWT,
                                            .vault = "\"namespace\":\"{namespace}\"",
                                            .spec = "\"allow\":[]"};

    (void)state;
    assert_int_equal(world_open(&store), -LH_E_DENIED);
    w.id.anonymous = true;
    assert_int_equal(world_open(&store), 0);
    assert_int_equal(world_health(), 0);
    assert_true(w.out.health.active);
    assert_int_equal(world_login(), -LH_E_INVALID);
    assert_int_equal(fake_manager_requests(w.m, NULL, "auth/*"), 0);
}

static void health_of_a_proxy_is_none(void **state)
{
    const struct fake_fault fault = {.path = "sys/health",
                                     .kind = FAKE_ANSWER,
                                     .status = 503,
                                     .body = "<html>",
                                     .content_type = "text/html"};

    (void)state;
    fake_manager_fault(w.m, &fault);
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(world_health(), -LH_E_UNAVAILABLE);
    assert_string_equal(w.out.err.reason, LH_REASON_Unreachable);
}

static void the_wrong_ca_is_said(void **state)
{
    (void)state;
    assert_int_equal(world_open(NULL), 0);
    w.store->vault.tls_server_name[0] = 'x';
    lh_provider_vault.close(w.p);
    w.p = NULL;
    assert_int_equal(lh_provider_vault.open(w.loop, w.store, &w.id, &w.p, &w.out.err), 0);
    assert_int_equal(world_read(w.app, "secret/x", NULL, 0), -LH_E_UNAVAILABLE);
    assert_string_equal(w.out.err.reason, LH_REASON_CertificateInvalid);
    assert_false(w.out.err.sent);
}

static void closing_cancels(void **state)
{
    const struct fake_fault fault = {.path = "*", .kind = FAKE_STALL};
    const struct lh_read_request req = {.path = ROLE};

    (void)state;
    fake_manager_fault(w.m, &fault);
    assert_int_equal(world_open(NULL), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(
            lh_provider_vault.read(w.p, w.app, &req, world_done, NULL, &w.op, &w.out.err), 0);
    for (int i = 0; i < 50 && requests(ROLE) < 3; i++)
        lh_loop_turn(w.loop, 10);
    lh_provider_vault.cancel(w.op);
    lh_provider_vault.close(w.p);
    w.p = NULL;
    lh_loop_turn(w.loop, 0);
    assert_int_equal(w.out.calls, 0);
}

static void close_inside(void *arg, const struct lh_prov_result *res, const struct lh_err *err)
{
    world_done(arg, res, err);
    lh_provider_vault.cancel(w.op); /* it is this one: a no-op */
    lh_provider_vault.close(w.p);
    w.p = NULL;
}

static void closing_inside_done(void **state)
{
    const struct lh_read_request req = {.path = ROLE};

    (void)state;
    add_role();
    assert_int_equal(world_open(NULL), 0);
    memset(&w.out, 0, sizeof(w.out));
    assert_int_equal(
        lh_provider_vault.read(w.p, w.app, &req, close_inside, NULL, &w.op, &w.out.err), 0);
    assert_int_equal(world_wait(0), 0);
    assert_int_equal(w.out.calls, 1);
    lh_loop_turn(w.loop, 0);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_lease_is_renewed),
        T(renewals_ask_for_no_increment),
        T(a_lease_may_not_be_revoked_or_may),
        T(a_token_ends_by_its_accessor),
        T(a_token_lives_and_ends),
        T(a_dead_token_before_a_mount_is_known),
        T(a_policy_is_not_a_dead_token),
        T(a_token_with_a_line_end_is_never_sent),
        T(trouble_while_issuing),
        T(the_managers_words_are_quoted_and_nothing_else),
        T(the_next_address_serves_when_one_is_dead),
        T(an_issuing_request_is_not_taken_elsewhere),
        T(other_requests_are),
        T(a_broken_connection_is_replaced_once),
        T(a_sealed_node_is_left),
        T(a_seal_is_better_news_than_silence),
        T(nothing_listens),
        T(a_lagging_standby_forwards),
        T(a_redirect_to_a_listed_node_is_followed),
        T(a_redirect_elsewhere_is_not),
        T(health_in_each_state),
        T(nobody_may_ask_for_health_alone),
        T(health_of_a_proxy_is_none),
        T(the_wrong_ca_is_said),
        T(closing_cancels),
        T(closing_inside_done),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
