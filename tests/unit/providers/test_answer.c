/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "answer.h"
#include "leasehold/api/reasons.h"
#include "recording.h"

#define BAO   "openbao-2.7.2/"
#define VAULT "vault-1.14.8/"

static lh_json *body_of(const char *name)
{
    struct recording rec;
    lh_json *json = NULL;

    if (recording_load(&rec, name))
        lh_vault_classify(&rec.reply, &json);
    return json;
}

static lh_json *parsed(const char *text)
{
    lh_json *json = NULL;

    lh_json_parse(lh_str(text), NULL, &json, NULL);
    return json;
}

static const struct reads {
    const char *name;
    bool kv2;
    enum lh_secret_kind kind;
    const char *key, *version;
    int64_t lease_ms;
    bool renewable;
    int64_t last_rotation_wall_ms, rotation_period_ms, ttl_ms, not_after_wall_ms;
} reads[] = {
    {.name = BAO "kv2-read", .kv2 = true, .key = "username", .version = "1"},
    {.name = BAO "kv2-read", .key = "username", .version = "1"}, /* known by its shape */
    {.name = VAULT "kv2-read", .kv2 = true, .key = "username", .version = "1"},
    {.name = BAO "kv1-read", .key = "username", .lease_ms = 30000},
    {.name = BAO "database-creds",
     .kind = LH_KIND_LEASE,
     .key = "password",
     .lease_ms = 20000,
     .renewable = true},
    {.name = VAULT "database-creds",
     .kind = LH_KIND_LEASE,
     .key = "password",
     .lease_ms = 20000,
     .renewable = true},
    {.name = BAO "database-static",
     .kind = LH_KIND_STATIC,
     .key = "password",
     .last_rotation_wall_ms = 1795489220904,
     .rotation_period_ms = 10000,
     .ttl_ms = 8000},
    {.name = BAO "database-static-rotated",
     .kind = LH_KIND_STATIC,
     .key = "password",
     .last_rotation_wall_ms = 1795489230901,
     .rotation_period_ms = 10000,
     .ttl_ms = 7000},
    {.name = VAULT "database-static",
     .kind = LH_KIND_STATIC,
     .key = "password",
     .last_rotation_wall_ms = 1795491760397,
     .rotation_period_ms = 10000,
     .ttl_ms = 8000},
    {.name = BAO "pki-sign",
     .kind = LH_KIND_CERTIFICATE,
     .key = "certificate",
     .not_after_wall_ms = -1},
};

static void reads_kinds(void **state)
{
    const struct reads *r = *state;
    lh_json *json = body_of(r->name);
    struct lh_vault_texts texts = {0};
    struct lh_prov_read got = {0};
    struct lh_err err = {0};
    bool has_key;
    int rc;

    assert_non_null(json);
    rc = lh_vault_answer_read(json, r->kv2, &texts, &got, &err);
    has_key = lh_json_get_z(got.data, r->key) != NULL;
    if ((got.lease_id && *got.lease_id) != (r->kind == LH_KIND_LEASE))
        rc = -100;
    lh_json_unref(json);
    assert_int_equal(rc, 0);
    assert_int_equal(got.kind, r->kind);
    assert_true(has_key);
    if (r->version)
        assert_string_equal(got.version, r->version);
    else
        assert_null(got.version);
    assert_int_equal(got.lease_ms, r->lease_ms);
    assert_int_equal(got.renewable, r->renewable);
    assert_int_equal(got.last_rotation_wall_ms, r->last_rotation_wall_ms);
    assert_int_equal(got.rotation_period_ms, r->rotation_period_ms);
    assert_int_equal(got.ttl_ms, r->ttl_ms);
    if (r->not_after_wall_ms < 0)
        assert_true(got.not_after_wall_ms > INT64_C(1795489220904));
    else
        assert_int_equal(got.not_after_wall_ms, r->not_after_wall_ms);
}

static const struct odd {
    const char *name, *body;
    int want;
    enum lh_secret_kind kind;
} odd[] = {
    {"a wrapped answer gives no data", "{\"data\":null,\"wrap_info\":{\"token\":\"s.x\"}}",
     LH_E_INVALID, LH_KIND_KV},
    {"data that is a list", "{\"data\":[1]}", LH_E_INVALID, LH_KIND_KV},
    {"no envelope", "{}", LH_E_INVALID, LH_KIND_KV},
    {"a secret of KV v1 with a key named data", "{\"data\":{\"data\":{\"a\":\"b\"}}}", 0,
     LH_KIND_KV},
    {"a static role on a schedule has no period",
     "{\"data\":{\"last_vault_rotation\":\"2026-11-24T03:00:20.9040532Z\","
     "\"rotation_schedule\":\"0 0 * * *\",\"ttl\":100,\"password\":\"x\"}}",
     0, LH_KIND_STATIC},
    {"a rotation that is no time", "{\"data\":{\"last_vault_rotation\":\"yesterday\"}}", 0,
     LH_KIND_KV},
    {"a certificate that is none", "{\"data\":{\"certificate\":\"x\",\"expiration\":1795489220}}",
     0, LH_KIND_KV},
    {"a certificate with a lease",
     "{\"lease_id\":\"pki/issue/x/1\",\"lease_duration\":60,\"data\":{\"certificate\":"
     "\"-----BEGIN CERTIFICATE-----\\n\",\"expiration\":1795489220}}",
     0, LH_KIND_LEASE},
};

static void reads_odd_ones(void **state)
{
    const struct odd *r = *state;
    lh_json *json = parsed(r->body);
    struct lh_vault_texts texts = {0};
    struct lh_prov_read got = {.kind = 77};
    struct lh_err err = {0};
    int rc = lh_vault_answer_read(json, false, &texts, &got, &err);

    lh_json_unref(json);
    assert_int_equal(rc, -r->want);
    if (r->want) {
        assert_int_equal(got.kind, 77);
        assert_string_equal(err.reason, LH_REASON_RequestInvalid);
    } else {
        assert_int_equal(got.kind, r->kind);
    }
}

static const struct life_row {
    const char *name;
    int (*parse)(const lh_json *json, struct lh_prov_life *out, struct lh_err *err);
    int64_t ttl_ms, creation_ms;
    bool renewable, capped;
} lives[] = {
    {BAO "lease-renewed", lh_vault_answer_lease_renewed, 20000, 0, true, false},
    {BAO "lease-renewed-near-max", lh_vault_answer_lease_renewed, 15000, 0, true, true},
    {VAULT "lease-renewed", lh_vault_answer_lease_renewed, 20000, 0, true, false},
    {BAO "token-renewed", lh_vault_answer_token_renewed, 3600000, 0, true, false},
    {BAO "token-renewed-near-max", lh_vault_answer_token_renewed, 3000, 0, true, true},
};

static void reads_renewals(void **state)
{
    const struct life_row *r = *state;
    lh_json *json = body_of(r->name);
    struct lh_prov_life got = {0};
    int rc = r->parse(json, &got, NULL);

    lh_json_unref(json);
    assert_int_equal(rc, 0);
    assert_int_equal(got.ttl_ms, r->ttl_ms);
    assert_int_equal(got.renewable, r->renewable);
    assert_int_equal(got.capped, r->capped);
}

static const struct lookup_row {
    const char *name, *body;
    bool token;
    int64_t ttl_ms, creation_ms;
    bool renewable;
} lookups[] = {
    {BAO "token-lookup", NULL, true, 3598000, 3600000, true},
    {BAO "token-lookup-root", NULL, true, 0, 0, false},
    {BAO "lease-lookup", NULL, false, 19000, 0, true},
    {"a token in its last second does not live for ever",
     "{\"data\":{\"ttl\":0,\"expire_time\":\"2026-11-24T03:59:09.6Z\"}}", true, 1, 0, false},
    {"nor does a negative ttl", "{\"data\":{\"ttl\":-5,\"expire_time\":\"2026-11-24T03:59:09Z\"}}",
     true, 1, 0, false},
};

static void reads_lookups(void **state)
{
    const struct lookup_row *r = *state;
    lh_json *json = r->body ? parsed(r->body) : body_of(r->name);
    struct lh_prov_life got = {0};
    int rc = lh_vault_answer_looked_up(json, r->token, &got, NULL);

    lh_json_unref(json);
    assert_int_equal(rc, 0);
    assert_int_equal(got.ttl_ms, r->ttl_ms);
    assert_int_equal(got.creation_ttl_ms, r->creation_ms);
    assert_int_equal(got.renewable, r->renewable);
}

static const struct login_row {
    const char *name, *body, *token;
    int want;
} logins[] = {
    {BAO "login", NULL, "s.", 0},
    {VAULT "login", NULL, "hvs.", 0},
    {"no token", "{\"auth\":{}}", NULL, LH_E_UNAVAILABLE},
    {"a token with a line end", "{\"auth\":{\"client_token\":\"s.x\\r\\nX-Evil: 1\"}}", NULL,
     LH_E_UNAVAILABLE},
    {"an empty token", "{\"auth\":{\"client_token\":\"\"}}", NULL, LH_E_UNAVAILABLE},
    {"a second factor", "{\"auth\":{\"client_token\":\"\",\"mfa_requirement\":{\"id\":\"x\"}}}",
     NULL, LH_E_DENIED},
};

static void reads_logins(void **state)
{
    const struct login_row *r = *state;
    lh_json *json = r->body ? parsed(r->body) : body_of(r->name);
    struct lh_prov_token got = {.ttl_ms = -1};
    struct lh_str token = {NULL, 0};
    struct lh_err err = {0};
    bool begins, accessor;
    int rc = lh_vault_answer_login(json, &got, &token, &err);

    begins = r->token && lh_str_starts(token, lh_str(r->token));
    accessor = got.accessor && *got.accessor;
    lh_json_unref(json);
    assert_int_equal(rc, -r->want);
    if (r->want) {
        assert_null(token.p);
        assert_int_equal(got.ttl_ms, -1);
        return;
    }
    assert_true(begins);
    assert_true(accessor);
    assert_int_equal(got.ttl_ms, 3600000);
    assert_true(got.renewable);
}

static const struct version_row {
    const char *name, *body;
    const char *version;
    bool deleted;
} versions[] = {
    {BAO "kv2-metadata", NULL, "1", false},
    {BAO "kv2-metadata-deleted", NULL, "1", true},
    {"a deletion still to come",
     "{\"data\":{\"current_version\":2,\"versions\":{\"2\":{\"deletion_time\":"
     "\"2026-11-25T00:00:00Z\",\"destroyed\":false}}}}",
     "2", false},
    {"destroyed",
     "{\"data\":{\"current_version\":2,\"versions\":{\"2\":{\"deletion_time\":\"\","
     "\"destroyed\":true}}}}",
     "2", true},
    {"no version", "{\"data\":{}}", NULL, false},
};

static void reads_versions(void **state)
{
    const struct version_row *r = *state;
    lh_json *json = r->body ? parsed(r->body) : body_of(r->name);
    struct lh_vault_texts texts = {0};
    struct lh_prov_version got = {0};
    int rc = lh_vault_answer_version(json, INT64_C(1795489220904), &texts, &got, NULL);

    lh_json_unref(json);
    if (!r->version) {
        assert_int_equal(rc, -LH_E_UNAVAILABLE);
        return;
    }
    assert_int_equal(rc, 0);
    assert_string_equal(got.version, r->version);
    assert_int_equal(got.deleted, r->deleted);
}

static const struct health_row {
    const char *name, *body;
    int status;
    bool active, standby, sealed, initialised;
} healths[] = {
    {BAO "health", NULL, 200, true, false, false, true},
    {BAO "standby-health", NULL, 429, false, true, false, true},
    {BAO "sealed-health", NULL, 503, false, true, true, true},
    {"not initialised", "{\"initialized\":false,\"sealed\":true,\"standby\":true}", 501, false,
     true, true, false},
    {"a performance standby", "{\"initialized\":true,\"sealed\":false,\"standby\":false}", 473,
     false, true, false, true},
};

static void reads_health(void **state)
{
    const struct health_row *r = *state;
    lh_json *json = r->body ? parsed(r->body) : body_of(r->name);
    struct lh_prov_health got = {0};
    int rc = lh_vault_answer_health(r->status, json, &got, NULL);

    lh_json_unref(json);
    assert_int_equal(rc, 0);
    assert_int_equal(got.active, r->active);
    assert_int_equal(got.standby, r->standby);
    assert_int_equal(got.sealed, r->sealed);
    assert_int_equal(got.initialised, r->initialised);
}

static const struct mount_row {
    const char *name, *body, *asked, *path;
    bool kv, kv2;
} mounts[] = {
    {BAO "mount-kv2", NULL, "kv/app/s1", "kv/", true, true},
    {VAULT "mount-kv2", NULL, "kv/app/s1", "kv/", true, true},
    {"KV v1", "{\"data\":{\"type\":\"kv\",\"path\":\"kv/\",\"options\":null}}", "kv/x", "kv/", true,
     false},
    {"KV v1 with options",
     "{\"data\":{\"type\":\"kv\",\"path\":\"a/kv/\",\"options\":{\"version\":\"1\"}}}", "a/kv/x",
     "a/kv/", true, false},
    {"a database", "{\"data\":{\"type\":\"database\",\"path\":\"db/\",\"options\":{}}}",
     "db/creds/x", "db/", false, false},
    {"of another path", "{\"data\":{\"type\":\"kv\",\"path\":\"other/\"}}", "kv/x", NULL, false,
     false},
    {"without a slash", "{\"data\":{\"type\":\"kv\",\"path\":\"kv\"}}", "kv/x", NULL, false, false},
    {"nothing", "{\"data\":null}", "kv/x", NULL, false, false},
};

static void reads_mounts(void **state)
{
    const struct mount_row *r = *state;
    lh_json *json = r->body ? parsed(r->body) : body_of(r->name);
    struct lh_vault_mount_fact got = {0};
    bool same;
    int rc = lh_vault_answer_mount(json, lh_str(r->asked), &got, NULL);

    same = r->path && lh_str_eqz(got.path, r->path);
    lh_json_unref(json);
    if (!r->path) {
        assert_true(rc < 0);
        return;
    }
    assert_int_equal(rc, 0);
    assert_true(same);
    assert_int_equal(got.kv, r->kv);
    assert_int_equal(got.kv2, r->kv2);
}

int main(void)
{
    lh_json_init();
    ROWS(reads_kinds, reads);
    ROWS(reads_odd_ones, odd);
    ROWS(reads_renewals, lives);
    ROWS(reads_lookups, lookups);
    ROWS(reads_logins, logins);
    ROWS(reads_versions, versions);
    ROWS(reads_health, healths);
    ROWS(reads_mounts, mounts);
    return rows_run("answer");
}
