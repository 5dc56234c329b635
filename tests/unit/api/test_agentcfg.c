/* SPDX-License-Identifier: Apache-2.0 */
#include "yaml_rows.h"

#include "leasehold/api/agentcfg.h"
#include "leasehold/api/reasons.h"

#define STORE                                                                                      \
    "\"store\":{\"generation\":3,\"kind\":\"ClusterSecretStore\",\"name\":\"vault\",\"spec\":{"    \
    "\"vault\":{\"addresses\":[\"https://vault.example:8200\"],\"auth\":{\"jwt\":{\"audience\":"   \
    "\"vault\",\"role\":\"{namespace}\"}}}}}"
#define PROJECTION                                                                                 \
    "\"projection\":{\"name\":\"annotations\",\"spec\":{\"items\":[{\"files\":[{\"path\":\"db\"}]" \
    ","                                                                                            \
    "\"name\":\"db\",\"path\":\"database/creds/shop\"}],\"overlap\":\"5m0s\",\"revocation\":"      \
    "\"Revoke\"}}"
/* Sorted as it is written. */
#define LEAST                                                                                      \
    "{\"defaultMode\":\"0444\",\"mode\":\"sidecar\",\"mountPath\":\"/run/secrets/leasehold\","     \
    "\"namespace\":\"shop\"," PROJECTION ",\"serviceAccount\":\"web\"," STORE ",\"version\":1}"
#define WHOLE                                                                                      \
    "{\"allowAddresses\":[\"127.0.0.0/8\"],\"caPath\":\"/run/leasehold/ca\",\"cluster\":\"prod\"," \
    "\"credentialPath\":\"/run/leasehold/credential\",\"defaultMode\":\"0440\",\"logLevel\":"      \
    "\"debug\",\"metricsPort\":9102,\"mode\":\"init\",\"mountPath\":\"/secrets\",\"namespace\":"   \
    "\"shop\",\"namespaceLabels\":{\"team\":\"shop\"},\"notify\":\"signal:HUP@nginx\",\"pod\":"    \
    "\"web-0\"," PROJECTION ",\"serviceAccount\":\"web\",\"statePath\":\"/run/leasehold/state\","  \
    "" STORE ",\"tokenFile\":\"/run/leasehold/token/token\",\"version\":1}"

static const struct good {
    const char *name;
    const char *text;
} good[] = {{"the least", LEAST}, {"everything", WHOLE}};

static void print_of_parse_is_equal(void **state)
{
    const struct good *r = *state;
    struct lh_agentcfg *c = NULL;
    struct lh_err err = {0};
    struct lh_buf b;

    if (lh_agentcfg_parse(lh_str(r->text), "test", &c, &err) < 0)
        fail_msg("%s", err.msg);
    lh_buf_init(&b, 65536);
    assert_int_equal(lh_agentcfg_write(c, &b, &err), 0);
    assert_string_equal(lh_buf_peek(&b).p, r->text);
    lh_buf_done(&b);
    lh_agentcfg_free(c);
}

static void every_field_is_read(void **state)
{
    struct lh_agentcfg *c = NULL;

    (void)state;
    assert_int_equal(lh_agentcfg_parse(LH_STR(WHOLE), "test", &c, NULL), 0);
    assert_int_equal(c->version, 1);
    assert_int_equal(c->mode, LH_AGENT_INIT);
    assert_string_equal(c->cluster, "prod");
    assert_string_equal(c->pod, "web-0");
    assert_string_equal(c->store->name, "vault");
    assert_int_equal(c->store->generation, 3);
    assert_string_equal(c->projection->items[0].path, "database/creds/shop");
    assert_string_equal(c->projection->namespace_, "shop");
    assert_int_equal(c->notify.kind, LH_NOTIFY_SIGNAL);
    assert_int_equal(c->default_mode, 0440);
    assert_int_equal(c->metrics_port, 9102);
    assert_string_equal(c->log_level, "debug");
    assert_string_equal(c->allow_addresses[0], "127.0.0.0/8");
    assert_non_null(lh_json_get(c->namespace_labels, "team"));
    lh_agentcfg_free(c);
}

static const struct bad {
    const char *name;
    const char *text;
    const char *says;
    const char *reason; /* NULL: ConfigInvalid */
} bad[] = {
    {"no JSON", "hello", "test: ", NULL},
    {"nothing", "", "test: ", NULL},
    {"a list", "[]", "must be a JSON object", NULL},
    {"no version", "{}", "test: version: is required", NULL},
    {"a newer version", "{\"version\":2,\"new\":true}",
     "test: version: is 2, and this agent reads up to 1", LH_REASON_ConfigTooNew},
    {"an unknown field", "{\"version\":1,\"mountpath\":\"/a\"}",
     "unknown field \"mountpath\"; the nearest known is \"mountPath\"", NULL},
    {"no namespace", "{\"version\":1}", "namespace: is required", NULL},
    {"no mount path", "{\"version\":1,\"namespace\":\"a\",\"serviceAccount\":\"b\"}",
     "mountPath: is required", NULL},
    {"a relative mount path",
     "{\"version\":1,\"namespace\":\"a\",\"serviceAccount\":\"b\",\"mountPath\":\"a\"}",
     "mountPath: must be an absolute path", NULL},
    {"an unknown mode",
     "{\"version\":1,\"namespace\":\"a\",\"serviceAccount\":\"b\",\"mode\":\"daemon\"}",
     "mode: must be one of sidecar, init", NULL},
    {"a bad address",
     "{\"version\":1,\"namespace\":\"a\",\"serviceAccount\":\"b\",\"allowAddresses\":[\"x\"]}",
     "allowAddresses[0]: must be a network", NULL},
    {"a bad store",
     "{\"version\":1,\"namespace\":\"a\",\"serviceAccount\":\"b\",\"mountPath\":\"/a\","
     "\"defaultMode\":\"0444\",\"store\":{\"kind\":\"SecretStore\",\"name\":\"x\",\"spec\":{}}}",
     "SecretStore \"x\": spec.vault: is required", LH_REASON_StoreInvalid},
    {"a bad projection",
     "{\"version\":1,\"namespace\":\"a\",\"serviceAccount\":\"b\",\"mountPath\":\"/a\","
     "\"defaultMode\":\"0444\"," STORE ",\"projection\":{\"name\":\"x\",\"spec\":{}}}",
     "projection: spec.items: is required", NULL},
    {"a bad signal",
     "{\"version\":1,\"namespace\":\"a\",\"serviceAccount\":\"b\",\"mountPath\":\"/a\","
     "\"defaultMode\":\"0444\",\"notify\":\"signal:KILL@a\"}",
     "notify: the signal must be", NULL},
};

static void document_is_refused(void **state)
{
    const struct bad *r = *state;
    struct lh_agentcfg *c = NULL;
    struct lh_err err = {0};
    int rc = lh_agentcfg_parse(lh_str(r->text), "test", &c, &err);

    assert_true(rc < 0);
    assert_null(c);
    assert_string_equal(err.reason, r->reason ? r->reason : LH_REASON_ConfigInvalid);
    assert_says(err, r->says);
}

static void too_large_names_the_largest(void **state)
{
    struct lh_agentcfg *c = NULL;
    struct lh_file_spec *f;
    struct lh_err err = {0};
    struct lh_buf b;

    (void)state;
    assert_int_equal(lh_agentcfg_parse(LH_STR(LEAST), "test", &c, NULL), 0);
    for (int i = 0; i < 3; i++) {
        struct lh_item *it = lh_projection_add_item(c->projection);

        it->name = lh_asprintf("big-%d", i);
        it->path = lh_strdup("secret/a");
        f = lh_item_add_file(it);
        f->path = lh_strdup(it->name);
        f->format = LH_FORMAT_TEMPLATE;
        f->template_ = lh_calloc(1, 40000);
        memset(f->template_, 'x', i == 1 ? 39000 : 38000);
    }
    lh_buf_init(&b, 1 << 20);
    assert_int_equal(lh_agentcfg_write(c, &b, &err), -LH_E_TOOBIG);
    assert_int_equal(lh_buf_peek(&b).n, 0);
    assert_string_equal(err.reason, LH_REASON_ConfigTooLarge);
    assert_says(err, "the largest item is secret \"big-1\"");
    lh_buf_done(&b);
    lh_agentcfg_free(c);
}

static void other_tenants_entries_stay_out(void **state)
{
    static const char text[] =
        "{\"version\":1,\"namespace\":\"shop\",\"serviceAccount\":\"b\",\"mountPath\":\"/a\","
        "\"defaultMode\":\"0444\",\"namespaceLabels\":{\"team\":\"shop\"},"
        "\"store\":{\"kind\":\"ClusterSecretStore\",\"name\":\"x\",\"spec\":{\"vault\":{"
        "\"addresses\":[\"https://v\"],\"auth\":{\"jwt\":{\"role\":\"r\",\"audience\":\"vault\"}}},"
        "\"allow\":[{\"namespaces\":[\"bank\"],\"paths\":[\"bank/*\"]},"
        "{\"namespaces\":[\"shop\"],\"paths\":[\"one/*\"]},"
        "{\"namespaceSelector\":{\"matchLabels\":{\"team\":\"shop\"}},\"paths\":[\"two/"
        "*\"]}]}}," PROJECTION "}";
    struct lh_agentcfg *c = NULL;
    struct lh_err err = {0};
    struct lh_buf b;

    (void)state;
    if (lh_agentcfg_parse(LH_STR(text), "test", &c, &err) < 0)
        fail_msg("%s", err.msg);
    lh_buf_init(&b, 65536);
    assert_int_equal(lh_agentcfg_write(c, &b, NULL), 0);
    assert_null(strstr(lh_buf_peek(&b).p, "bank"));
    assert_non_null(strstr(lh_buf_peek(&b).p, "one/*"));
    assert_non_null(strstr(lh_buf_peek(&b).p, "two/*"));
    lh_buf_done(&b);
    lh_agentcfg_free(c);
}

static void memory_that_runs_out_is_survived(void **state)
{
    unsigned long n;
    int rc = -1;

    (void)state;
    for (n = 1; rc < 0 && n < 3000; n++) {
        size_t before = lh_mem_live_blocks();
        struct lh_agentcfg *c = NULL;
        struct lh_err err = {0};
        struct lh_buf b;

        lh_buf_init(&b, 65536);
        lh_mem_fail_at(n);
        rc = lh_agentcfg_parse(LH_STR(WHOLE), "test", &c, &err);
        if (rc == 0)
            rc = lh_agentcfg_write(c, &b, &err);
        lh_mem_fail_at(0);
        lh_buf_done(&b);
        lh_agentcfg_free(c);
        if (rc < 0)
            assert_int_equal(rc, -LH_E_NOMEM);
        assert_int_equal(lh_mem_live_blocks(), before);
    }
    assert_int_equal(rc, 0);
    assert_true(n > 100);
}

int main(void)
{
    ROWS(print_of_parse_is_equal, good);
    ONE(every_field_is_read);
    ROWS(document_is_refused, bad);
    ONE(too_large_names_the_largest);
    ONE(other_tenants_entries_stay_out);
    ONE(memory_that_runs_out_is_survived);
    return rows_run("agentcfg");
}
