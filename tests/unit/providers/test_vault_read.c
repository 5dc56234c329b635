/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"
#include "world.h"

#define LOOKUPS "sys/internal/ui/mounts/*"

static void says(const char *word)
{
    if (!strstr(w.out.err.msg, word))
        fail_msg("\"%s\" does not say \"%s\"", w.out.err.msg, word);
}

static unsigned requests(const char *path)
{
    return fake_manager_requests(w.m, NULL, path);
}

static void kv2_with_and_without_data(void **state)
{
    (void)state;
    fake_manager_kv_put(w.m, "secret/app/db", "{\"password\":\"one\"}");
    fake_manager_kv_put(w.m, "secret/app/db", "{\"password\":\"two\"}");
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(world_read(w.app, "secret/app/db", NULL, 0), 0);
    assert_int_equal(w.out.read.kind, LH_KIND_KV);
    assert_string_equal(w.out.data, "{\"password\":\"two\"}");
    assert_string_equal(w.out.version, "2");
    assert_false(w.out.read.kv2_mismatch);
    assert_int_equal(world_read(w.app, "secret/data/app/db", NULL, 0), 0);
    assert_string_equal(w.out.data, "{\"password\":\"two\"}");
    assert_int_equal(world_read(w.app, "secret/app/db", NULL, 1), 0);
    assert_string_equal(w.out.data, "{\"password\":\"one\"}");
    assert_int_equal(requests(LOOKUPS), 1); /* one a mount */
    assert_int_equal(requests("secret/data/app/db"), 3);
}

static void kv2_versions_that_are_not_there(void **state)
{
    (void)state;
    fake_manager_kv_put(w.m, "secret/app/db", "{\"password\":\"one\"}");
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(world_read(w.app, "secret/app/db", NULL, 9), -LH_E_NOTFOUND);
    assert_string_equal(w.out.err.reason, LH_REASON_PathNotFound);
    assert_int_equal(world_read(w.app, "secret/app/none", NULL, 0), -LH_E_NOTFOUND);
    assert_int_equal(requests(LOOKUPS), 1);
    fake_manager_kv_delete(w.m, "secret/app/db", false);
    assert_int_equal(world_read(w.app, "secret/app/db", NULL, 0), -LH_E_NOTFOUND);
    assert_string_equal(w.out.err.reason, LH_REASON_SecretDeleted);
    says("undelete");
    fake_manager_kv_delete(w.m, "secret/app/db", true);
    assert_int_equal(world_read(w.app, "secret/app/db", NULL, 0), -LH_E_NOTFOUND);
    says("destroyed");
}

static void kv2_probe(void **state)
{
    (void)state;
    fake_manager_kv_put(w.m, "secret/app/db", "{\"password\":\"one\"}");
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(world_probe("secret/app/db"), -LH_E_INVALID); /* not known yet */
    assert_int_equal(w.out.calls, 0);
    assert_int_equal(world_read(w.app, "secret/app/db", NULL, 0), 0);
    fake_manager_kv_put(w.m, "secret/app/db", "{\"password\":\"two\"}");
    assert_int_equal(world_probe("secret/data/app/db"), 0);
    assert_string_equal(w.out.version, "2");
    assert_false(w.out.probe.deleted);
    assert_int_equal(requests("secret/metadata/app/db"), 1);
    fake_manager_kv_delete(w.m, "secret/app/db", false);
    assert_int_equal(world_probe("secret/app/db"), 0);
    assert_true(w.out.probe.deleted);
    fake_manager_deny(w.m, "secret/metadata/*");
    assert_int_equal(world_probe("secret/app/db"), -LH_E_DENIED);
}

static void kv1(void **state)
{
    (void)state;
    fake_manager_kv_put(w.m, "kv1/app/db", "{\"password\":\"one\"}");
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(world_read(w.app, "kv1/app/db", NULL, 0), 0);
    assert_int_equal(w.out.read.kind, LH_KIND_KV);
    assert_string_equal(w.out.data, "{\"password\":\"one\"}");
    assert_string_equal(w.out.version, "");
    assert_int_equal(w.out.read.lease_ms, 30000);
    assert_false(w.out.read.kv2_mismatch);
    assert_int_equal(requests(LOOKUPS), 0);
    assert_int_equal(world_read(w.app, "kv1/app/none", NULL, 0), -LH_E_NOTFOUND);
    assert_int_equal(world_probe("kv1/app/db"), -LH_E_INVALID);
}

static void a_version_of_kv1_is_refused(void **state)
{
    (void)state;
    fake_manager_kv_put(w.m, "kv1/app/db", "{\"password\":\"one\"}");
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(world_read(w.app, "kv1/app/db", NULL, 3), -LH_E_INVALID);
    assert_string_equal(w.out.err.reason, LH_REASON_KVVersionMismatch);
}

static void kv2_that_the_store_does_not_list(void **state)
{
    (void)state;
    fake_manager_mount_kv(w.m, "team/kv", 2);
    fake_manager_kv_put(w.m, "team/kv/db", "{\"password\":\"one\"}");
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(world_read(w.app, "team/kv/db", NULL, 0), 0);
    assert_string_equal(w.out.data, "{\"password\":\"one\"}");
    assert_true(w.out.read.kv2_mismatch);
    assert_int_equal(requests("team/kv/db"), 1);
    assert_int_equal(requests(LOOKUPS), 1);
    assert_int_equal(world_read(w.app, "team/kv/db", NULL, 0), 0);
    assert_int_equal(requests("team/kv/db"), 1); /* it is known now */
    assert_int_equal(requests(LOOKUPS), 1);
    assert_int_equal(world_probe("team/kv/db"), 0);
}

static void kv2_not_listed_under_a_policy_for_data_only(void **state)
{
    (void)state;
    fake_manager_mount_kv(w.m, "kv", 2);
    fake_manager_kv_put(w.m, "kv/db", "{\"password\":\"one\"}");
    fake_manager_deny(w.m, "kv/db");
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(world_read(w.app, "kv/db", NULL, 0), 0);
    assert_string_equal(w.out.data, "{\"password\":\"one\"}");
    fake_manager_deny(w.m, "kv/data/db");
    assert_int_equal(world_read(w.app, "kv/db", NULL, 0), -LH_E_DENIED);
    assert_string_equal(w.out.err.reason, LH_REASON_PermissionDenied);
    assert_int_equal(requests(LOOKUPS), 1);
}

static void kv2_not_listed_by_its_data_path(void **state)
{
    (void)state;
    fake_manager_mount_kv(w.m, "kv", 2);
    fake_manager_kv_put(w.m, "kv/db", "{\"password\":\"one\"}");
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(world_read(w.app, "kv/data/db", NULL, 0), 0);
    assert_string_equal(w.out.data, "{\"password\":\"one\"}");
    assert_true(w.out.read.kv2_mismatch);
    assert_int_equal(requests("*"), 1);
}

static void kv1_that_the_store_lists_as_kv2(void **state)
{
    (void)state;
    fake_manager_kv_put(w.m, "kv1/db", "{\"password\":\"one\"}");
    assert_int_equal(
        world_open(&(struct fake_store){.auth = WORLD_JWT, .vault = "\"kv2Mounts\":[\"kv1\"]"}), 0);
    assert_int_equal(world_read(w.app, "kv1/db", NULL, 0), 0);
    assert_string_equal(w.out.data, "{\"password\":\"one\"}");
    assert_true(w.out.read.kv2_mismatch);
}

static void a_mount_that_becomes_kv2(void **state)
{
    (void)state;
    lh_clock_fake(1000000, INT64_C(1795489220904));
    fake_manager_mount_kv(w.m, "kv", 1);
    fake_manager_kv_put(w.m, "kv/db", "{\"password\":\"one\"}");
    (void)world_open(&(struct fake_store){.auth = WORLD_JWT, .vault = "\"kv2Mounts\":[\"kv\"]"});
    (void)world_read(w.root, "kv/db", NULL, 0);
    assert_int_equal(w.out.err.code, 0);
    fake_manager_mount_kv(w.m, "kv", 2);
    (void)world_read(w.root, "kv/db", NULL, 0);
    assert_int_equal(w.out.err.code, LH_E_NOTFOUND); /* just asked: not again */
    assert_int_equal(requests(LOOKUPS), 1);
    lh_clock_step(6 * 60 * 1000);
    (void)world_read(w.root, "kv/db", NULL, 0);
    lh_clock_real();
    assert_int_equal(w.out.err.code, 0);
    assert_int_equal(requests(LOOKUPS), 2);
}

/* The preflight hides mounts from those who may read nothing there, and may itself be denied. */
static void a_server_that_will_not_tell_the_mount(void **state)
{
    const struct fake_fault hidden = {
        .path = LOOKUPS,
        .kind = FAKE_ANSWER,
        .status = 403,
        .body = "{\"errors\":[\"preflight capability check returned 403, please ensure client's "
                "policies grant access to path \\\"secret/app/db/\\\"\"]}",
    };

    (void)state;
    fake_manager_kv_put(w.m, "secret/app/db", "{\"password\":\"one\"}");
    fake_manager_fault(w.m, &hidden);
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(world_read(w.app, "secret/app/db", NULL, 0), 0);
    assert_string_equal(w.out.data, "{\"password\":\"one\"}");
    assert_int_equal(world_read(w.app, "secret/app/db", NULL, 0), 0);
    assert_int_equal(requests(LOOKUPS), 1); /* the read that worked proved it */
    assert_int_equal(world_probe("secret/app/db"), 0);
}

static void a_mount_look_up_that_fails_ends_the_read(void **state)
{
    const struct fake_fault sick = {
        .path = LOOKUPS, .kind = FAKE_ANSWER, .status = 500, .times = 1};

    (void)state;
    fake_manager_kv_put(w.m, "secret/app/db", "{\"password\":\"one\"}");
    fake_manager_fault(w.m, &sick);
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(world_read(w.app, "secret/app/db", NULL, 0), -LH_E_UNAVAILABLE);
    assert_int_equal(requests("secret/*"), 0);
    assert_int_equal(world_read(w.app, "secret/app/db", NULL, 0), 0);
}

/* Reads that start together, as an engine's do. */
static int read_together(unsigned n, bool cancel_first)
{
    struct lh_provider_op *ops[4] = {NULL};
    bool done = false;

    memset(&w.out, 0, sizeof(w.out));
    for (unsigned i = 0; i < n; i++) {
        const struct lh_read_request req = {.path = i % 2 ? "secret/data/app/db" : "secret/app/db"};

        if (lh_provider_vault.read(w.p, w.app, &req, world_done, NULL, &ops[i], &w.out.err) < 0)
            return -1;
    }
    if (cancel_first) {
        lh_provider_vault.cancel(ops[0]);
        n--;
    }
    while (!done && lh_test_run_until_set(w.loop, &w.out.done)) {
        done = w.out.calls == (int)n;
        w.out.done = done;
        lh_loop_turn(w.loop, 1);
    }
    return w.out.calls;
}

static void reads_that_start_together_share_one_look_up(void **state)
{
    (void)state;
    fake_manager_kv_put(w.m, "secret/app/db", "{\"password\":\"one\"}");
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(read_together(4, false), 4);
    assert_int_equal(w.out.err.code, 0);
    assert_int_equal(requests(LOOKUPS), 1);
    assert_int_equal(requests("secret/data/app/db"), 4);
}

static void they_go_on_when_the_first_is_cancelled(void **state)
{
    (void)state;
    fake_manager_kv_put(w.m, "secret/app/db", "{\"password\":\"one\"}");
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(read_together(4, true), 3);
    assert_int_equal(w.out.err.code, 0);
    assert_int_equal(requests("secret/data/app/db"), 3);
}

static void they_share_its_failure(void **state)
{
    const struct fake_fault sick = {.path = LOOKUPS, .kind = FAKE_ANSWER, .status = 500};

    (void)state;
    fake_manager_fault(w.m, &sick);
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(read_together(4, false), 4);
    assert_int_equal(w.out.err.code, LH_E_UNAVAILABLE);
    assert_int_equal(requests("*"), 1);
}

static void they_share_its_silence(void **state)
{
    const struct fake_fault hidden = {.path = LOOKUPS,
                                      .kind = FAKE_ANSWER,
                                      .status = 403,
                                      .body = "{\"errors\":[\"preflight capability check returned "
                                              "403\"]}"};

    (void)state;
    fake_manager_kv_put(w.m, "secret/app/db", "{\"password\":\"one\"}");
    fake_manager_fault(w.m, &hidden);
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(read_together(4, false), 4);
    assert_int_equal(w.out.err.code, 0);
    assert_int_equal(requests(LOOKUPS), 1);
}

static void closing_while_they_wait(void **state)
{
    const struct lh_read_request req = {.path = "secret/app/db"};

    (void)state;
    assert_int_equal(world_open(NULL), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(
            lh_provider_vault.read(w.p, w.app, &req, world_done, NULL, &w.op, &w.out.err), 0);
    lh_provider_vault.close(w.p);
    w.p = NULL;
    lh_loop_turn(w.loop, 0);
    assert_int_equal(w.out.calls, 0);
}

static void paths_are_encoded(void **state)
{
    (void)state;
    fake_manager_kv_put(w.m, "secret/caf\xc3\xa9 & co/a+b", "{\"k\":\"v\"}");
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(world_read(w.app, "secret/caf\xc3\xa9 & co/a+b", NULL, 0), 0);
    assert_string_equal(w.out.data, "{\"k\":\"v\"}");
}

static void paths_with_placeholders(void **state)
{
    (void)state;
    fake_manager_kv_put(w.m, "secret/shop/app", "{\"k\":\"v\"}");
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(world_read(w.app, "secret/{namespace}/{serviceAccount}", NULL, 0), 0);
}

static void disguised_paths_are_never_sent(void **state)
{
    static const char *const paths[] = {
        "secret/../sys/raw",  "secret/./x", "secret//x",        "secret/%2e%2e/x",
        "secret/x?list=true", "secret/x#y", "/secret/x",        "secret/x/",
        "secret/\x01",        "",           "secret/..\xc0\xaf"};

    (void)state;
    assert_int_equal(world_open(NULL), 0);
    for (size_t i = 0; i < LH_ARRAY_LEN(paths); i++) {
        assert_int_equal(world_read(w.app, paths[i], NULL, 0), -LH_E_INVALID);
        assert_string_equal(w.out.err.reason, LH_REASON_PathInvalid);
    }
    assert_int_equal(requests("*"), 0);
}

#define CLUSTER_STORE(paths)                                                                       \
    &(struct fake_store)                                                                           \
    {                                                                                              \
        .kind = "ClusterSecretStore", .auth = WORLD_JWT,                                           \
        .spec = "\"allow\":[{\"namespaces\":[\"shop\"],\"paths\":[" paths "]}]"                    \
    }

static void a_cluster_store_sends_only_what_it_allows(void **state)
{
    (void)state;
    fake_manager_kv_put(w.m, "secret/shop/db", "{\"k\":\"v\"}");
    assert_int_equal(world_open(CLUSTER_STORE("\"secret/{namespace}/*\"")), 0);
    assert_int_equal(world_read(w.app, "secret/shop/db", NULL, 0), 0);
    assert_int_equal(world_read(w.app, "secret/data/shop/db", NULL, 0), 0);
    assert_int_equal(world_read(w.app, "secret/bank/db", NULL, 0), -LH_E_DENIED);
    assert_string_equal(w.out.err.reason, LH_REASON_PathNotAllowed);
    assert_int_equal(world_read(w.app, "secret/data/bank/db", NULL, 0), -LH_E_DENIED);
    assert_int_equal(world_read(w.app, "database/creds/x", "{}", 0), -LH_E_DENIED);
    assert_int_equal(world_probe("secret/bank/db"), -LH_E_DENIED);
    assert_int_equal(requests("*"), 3);
}

static void a_cluster_store_does_not_drop_data_where_it_is_a_name(void **state)
{
    (void)state;
    fake_manager_mount_kv(w.m, "secret", 1);
    fake_manager_kv_put(w.m, "secret/data/shop/db", "{\"k\":\"v\"}");
    assert_int_equal(world_open(CLUSTER_STORE("\"secret/shop/*\"")), 0);
    assert_int_equal(world_read(w.app, "secret/data/shop/db", NULL, 0), -LH_E_INVALID);
    assert_string_equal(w.out.err.reason, LH_REASON_KVVersionMismatch);
    assert_int_equal(requests("secret/*"), 0);
}

static void a_cluster_store_and_a_kv2_mount_it_does_not_list(void **state)
{
    (void)state;
    fake_manager_mount_kv(w.m, "kv", 2);
    fake_manager_kv_put(w.m, "kv/shop/db", "{\"k\":\"v\"}");
    assert_int_equal(world_open(CLUSTER_STORE("\"kv/shop/*\"")), 0);
    assert_int_equal(world_read(w.app, "kv/shop/db", NULL, 0), 0);
    assert_true(w.out.read.kv2_mismatch);
}

static void a_store_of_another_namespace_does_not_open(void **state)
{
    (void)state;
    assert_int_equal(
        world_open(&(struct fake_store){
            .kind = "ClusterSecretStore",
            .auth = WORLD_JWT,
            .spec = "\"allow\":[{\"namespaces\":[\"bank\"],\"paths\":[\"secret/*\"]}]"}),
        -LH_E_DENIED);
    assert_string_equal(w.out.err.reason, LH_REASON_StoreNotAllowed);
}

static void a_role_that_is_not_allowed_does_not_open(void **state)
{
    (void)state;
    w.id.role = "admin";
    assert_int_equal(world_open(CLUSTER_STORE("\"secret/*\"")), -LH_E_DENIED);
    assert_string_equal(w.out.err.reason, LH_REASON_RoleNotAllowed);
    w.id.role = NULL;
}

static void loopback_is_refused_unless_allowed(void **state)
{
    (void)state;
    assert_int_equal(world_open(NULL), 0);
    lh_provider_vault.close(w.p);
    w.p = NULL;
    w.id.allow_loopback = false;
    assert_int_equal(lh_provider_vault.open(w.loop, w.store, &w.id, &w.p, &w.out.err),
                     -LH_E_DENIED);
    assert_string_equal(w.out.err.reason, LH_REASON_AddressNotAllowed);
}

static void database_credentials(void **state)
{
    const struct fake_role role = {"database/creds/shop", 20000, 60000, false};

    (void)state;
    fake_manager_role_add(w.m, &role);
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(world_read(w.app, "database/creds/shop", NULL, 0), 0);
    assert_int_equal(w.out.read.kind, LH_KIND_LEASE);
    assert_string_equal(w.out.lease_id, fake_manager_last_lease(w.m, NULL));
    assert_int_equal(w.out.read.lease_ms, 20000);
    assert_true(w.out.read.renewable);
    assert_int_equal(requests("*"), 1);
    assert_int_equal(world_read(w.app, "database/creds/none", NULL, 0), -LH_E_NOTFOUND);
    says("unknown role: none");
    assert_int_equal(requests(LOOKUPS), 0);
}

static void a_static_role(void **state)
{
    (void)state;
    fake_manager_static_add(w.m, "database/static-creds/shop", 10000, 0);
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(world_read(w.app, "database/static-creds/shop", NULL, 0), 0);
    assert_int_equal(w.out.read.kind, LH_KIND_STATIC);
    assert_int_equal(w.out.read.rotation_period_ms, 10000);
    assert_true(w.out.read.last_rotation_wall_ms > 0);
}

static void a_certificate_by_a_write(void **state)
{
    (void)state;
    fake_manager_cert_add(w.m, "pki/issue/web", 3600000);
    assert_int_equal(world_open(NULL), 0);
    assert_int_equal(world_read(w.app, "pki/issue/web", "{\"common_name\":\"a.test\"}", 0), 0);
    assert_int_equal(w.out.read.kind, LH_KIND_CERTIFICATE);
    assert_true(w.out.read.not_after_wall_ms > lh_clock_wall_ms() + 3500000);
    assert_true(lh_str_eqz(fake_manager_last_body(w.m), "{\"common_name\":\"a.test\"}"));
    assert_int_equal(world_read(w.app, "pki/issue/web", NULL, 0), -LH_E_INVALID);
    says("params");
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(kv2_with_and_without_data),
        T(kv2_versions_that_are_not_there),
        T(kv2_probe),
        T(kv1),
        T(a_version_of_kv1_is_refused),
        T(kv2_that_the_store_does_not_list),
        T(kv2_not_listed_under_a_policy_for_data_only),
        T(kv2_not_listed_by_its_data_path),
        T(kv1_that_the_store_lists_as_kv2),
        T(a_mount_that_becomes_kv2),
        T(a_server_that_will_not_tell_the_mount),
        T(a_mount_look_up_that_fails_ends_the_read),
        T(reads_that_start_together_share_one_look_up),
        T(they_go_on_when_the_first_is_cancelled),
        T(they_share_its_failure),
        T(they_share_its_silence),
        T(closing_while_they_wait),
        T(paths_are_encoded),
        T(paths_with_placeholders),
        T(disguised_paths_are_never_sent),
        T(a_cluster_store_sends_only_what_it_allows),
        T(a_cluster_store_does_not_drop_data_where_it_is_a_name),
        T(a_cluster_store_and_a_kv2_mount_it_does_not_list),
        T(a_store_of_another_namespace_does_not_open),
        T(a_role_that_is_not_allowed_does_not_open),
        T(loopback_is_refused_unless_allowed),
        T(database_credentials),
        T(a_static_role),
        T(a_certificate_by_a_write),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
