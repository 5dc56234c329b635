/* SPDX-License-Identifier: Apache-2.0 */
#include "answer.h"

#include <stdio.h>

#include "leasehold/api/reasons.h"
#include "leasehold/crypto/x509.h"

#define TOKEN_MAX 8192

static int malformed(struct lh_err *err, const char *what)
{
    int rc = lh_err_set(err, LH_E_UNAVAILABLE, "the manager's answer has no usable %s", what);

    return lh_err_reason(err, rc, LH_REASON_ManagerError);
}

/* Seconds of an answer in milliseconds; a thousand years are enough, and cannot overflow. */
static int64_t seconds(const lh_json *obj, const char *key)
{
    const int64_t most = INT64_C(31557600000);
    int64_t s = lh_json_get_int(obj, key, 0);

    if (s < 0)
        return 0;
    return (s > most ? most : s) * 1000;
}

static bool capped(const lh_json *json)
{
    const lh_json *warnings = lh_json_get(json, "warnings");
    static const char words[] = "capped accordingly";

    for (size_t i = 0; i < lh_json_len(warnings); i++) {
        struct lh_str s;

        if (!lh_json_str(lh_json_at(warnings, i), &s))
            continue;
        if (memmem(s.p, s.n, words, sizeof(words) - 1))
            return true;
    }
    return false;
}

bool lh_vault_token_ok(struct lh_str token)
{
    if (token.n == 0 || token.n > TOKEN_MAX)
        return false;
    for (size_t i = 0; i < token.n; i++)
        if (token.p[i] <= ' ' || token.p[i] > '~')
            return false;
    return true;
}

static const char *version_text(const lh_json *number, struct lh_vault_texts *texts)
{
    int64_t v;

    if (!lh_json_int(number, &v) || v < 0)
        return NULL;
    snprintf(texts->version, sizeof(texts->version), "%lld", (long long)v);
    return texts->version;
}

/* A plain read of MOUNT/data/PATH where nobody said that the mount is KV v2: nothing but KV v2
 * answers with exactly these members. */
static bool looks_kv2(const lh_json *data)
{
    const lh_json *meta = lh_json_get(data, "metadata");
    int64_t version;
    bool destroyed;

    return lh_json_len(data) == 2 && lh_json_type(lh_json_get(data, "data")) == LH_JSON_OBJECT &&
           lh_json_int(lh_json_get(meta, "version"), &version) &&
           lh_json_bool(lh_json_get(meta, "destroyed"), &destroyed) &&
           lh_json_get_z(meta, "created_time") && lh_json_get_z(meta, "deletion_time");
}

static int read_kv2(const lh_json *data, struct lh_vault_texts *texts, struct lh_prov_read *out,
                    struct lh_err *err)
{
    const lh_json *values = lh_json_get(data, "data");

    if (lh_json_type(values) != LH_JSON_OBJECT)
        return malformed(err, "data of a KV v2 version");
    out->kind = LH_KIND_KV;
    out->data = values;
    out->version = version_text(lh_json_path(data, "metadata", "version", NULL), texts);
    return 0;
}

static bool read_static(const lh_json *data, struct lh_prov_read *out)
{
    const char *rotated = lh_json_get_z(data, "last_vault_rotation");
    int64_t wall_ms;

    if (!rotated || lh_clock_parse(rotated, &wall_ms) < 0)
        return false;
    out->kind = LH_KIND_STATIC;
    /* Go's zero time: not rotated by the manager yet. */
    out->last_rotation_wall_ms = wall_ms > 0 ? wall_ms : 0;
    /* With a rotation_schedule there is no period: ttl is all that is known then. */
    out->rotation_period_ms = seconds(data, "rotation_period");
    out->ttl_ms = seconds(data, "ttl");
    return true;
}

/* When the certificate ends; 0 where there is none. */
static int64_t certificate_end(const lh_json *data)
{
    struct lh_cert_info info;
    struct lh_str pem;
    int64_t end_ms;

    if (!lh_json_str(lh_json_get(data, "certificate"), &pem) ||
        !lh_str_starts(pem, LH_STR("-----BEGIN CERTIFICATE-----")))
        return 0;
    end_ms = seconds(data, "expiration");
    if (end_ms > 0)
        return end_ms;
    /* Older servers give no expiration. */
    return lh_x509_info(pem, &info, NULL) < 0 ? 0 : info.not_after_ms;
}

int lh_vault_answer_read(const lh_json *json, bool kv2, struct lh_vault_texts *texts,
                         struct lh_prov_read *out, struct lh_err *err)
{
    const lh_json *data = lh_json_get(json, "data");
    struct lh_prov_read r = {0};
    int rc;

    if (lh_json_type(data) != LH_JSON_OBJECT) {
        rc = lh_err_set(err, LH_E_INVALID,
                        "the manager answered without data: this path gives no "
                        "secret, or wants other params");
        return lh_err_reason(err, rc, LH_REASON_RequestInvalid);
    }
    if (kv2 || looks_kv2(data)) {
        rc = read_kv2(data, texts, &r, err);
        if (rc < 0)
            return rc;
        *out = r;
        return 0;
    }
    r.data = data;
    r.lease_id = lh_json_get_z(json, "lease_id");
    r.lease_ms = seconds(json, "lease_duration");
    r.renewable = lh_json_get_bool(json, "renewable", false);
    r.not_after_wall_ms = certificate_end(data);
    if (r.lease_id && *r.lease_id)
        r.kind = LH_KIND_LEASE;
    else if (r.not_after_wall_ms > 0)
        r.kind = LH_KIND_CERTIFICATE;
    else if (!read_static(data, &r))
        r.kind = LH_KIND_KV;
    if (r.kind != LH_KIND_LEASE)
        r.lease_id = NULL;
    *out = r;
    return 0;
}

int lh_vault_answer_version(const lh_json *json, int64_t now_wall_ms, struct lh_vault_texts *texts,
                            struct lh_prov_version *out, struct lh_err *err)
{
    const lh_json *data = lh_json_get(json, "data");
    const char *version = version_text(lh_json_get(data, "current_version"), texts);
    const lh_json *entry;
    const char *deleted_at;
    int64_t wall_ms = 0;

    if (!version)
        return malformed(err, "current_version");
    entry = lh_json_path(data, "versions", version, NULL);
    deleted_at = lh_json_get_z(entry, "deletion_time");
    out->version = version;
    out->deleted = lh_json_get_bool(entry, "destroyed", false);
    if (deleted_at && *deleted_at)
        out->deleted =
            out->deleted || lh_clock_parse(deleted_at, &wall_ms) < 0 || wall_ms <= now_wall_ms;
    return 0;
}

int lh_vault_answer_login(const lh_json *json, struct lh_prov_token *out, struct lh_str *token,
                          struct lh_err *err)
{
    const lh_json *auth = lh_json_get(json, "auth");
    const char *accessor = lh_json_get_z(auth, "accessor");
    struct lh_str text = {NULL, 0};

    if (lh_json_type(lh_json_get(auth, "mfa_requirement")) == LH_JSON_OBJECT) {
        int rc = lh_err_set(err, LH_E_DENIED,
                            "the manager asks for a second factor: take this role "
                            "out of its MFA enforcement");
        return lh_err_reason(err, rc, LH_REASON_LoginFailed);
    }
    if (!lh_json_str(lh_json_get(auth, "client_token"), &text) || !lh_vault_token_ok(text))
        return malformed(err, "client_token");
    *token = text;
    out->accessor = accessor && *accessor ? accessor : NULL;
    out->ttl_ms = seconds(auth, "lease_duration");
    out->renewable = lh_json_get_bool(auth, "renewable", false);
    return 0;
}

static int renewed(const lh_json *json, const lh_json *where, struct lh_prov_life *out,
                   struct lh_err *err)
{
    int64_t s;

    if (!lh_json_int(lh_json_get(where, "lease_duration"), &s))
        return malformed(err, "lease_duration");
    out->ttl_ms = seconds(where, "lease_duration");
    out->renewable = lh_json_get_bool(where, "renewable", false);
    out->capped = capped(json);
    return 0;
}

int lh_vault_answer_lease_renewed(const lh_json *json, struct lh_prov_life *out, struct lh_err *err)
{
    return renewed(json, json, out, err);
}

int lh_vault_answer_token_renewed(const lh_json *json, struct lh_prov_life *out, struct lh_err *err)
{
    return renewed(json, lh_json_get(json, "auth"), out, err);
}

int lh_vault_answer_looked_up(const lh_json *json, bool token, struct lh_prov_life *out,
                              struct lh_err *err)
{
    const lh_json *data = lh_json_get(json, "data");
    int64_t s;

    if (!lh_json_int(lh_json_get(data, "ttl"), &s))
        return malformed(err, "ttl");
    out->ttl_ms = seconds(data, "ttl");
    out->renewable = lh_json_get_bool(data, "renewable", false);
    out->creation_ttl_ms = seconds(data, "creation_ttl");
    out->explicit_max_ms = seconds(data, "explicit_max_ttl");
    /* Whole seconds are rounded down: a token in its last second must not read as one that never
     * ends. */
    if (token && out->ttl_ms == 0 && lh_json_get_z(data, "expire_time"))
        out->ttl_ms = 1;
    return 0;
}

int lh_vault_answer_health(int status, const lh_json *json, struct lh_prov_health *out,
                           struct lh_err *err)
{
    bool sealed, standby;

    if (!lh_json_bool(lh_json_get(json, "sealed"), &sealed) ||
        !lh_json_bool(lh_json_get(json, "standby"), &standby))
        return malformed(err, "health");
    out->sealed = sealed;
    out->initialised = lh_json_get_bool(json, "initialized", status != 501);
    /* 472 and 473: a secondary or performance standby of Vault Enterprise. */
    out->standby = standby || status == 472 || status == 473;
    out->active = out->initialised && !sealed && !out->standby;
    return 0;
}

int lh_vault_answer_mount(const lh_json *json, struct lh_str asked, struct lh_vault_mount_fact *out,
                          struct lh_err *err)
{
    const lh_json *data = lh_json_get(json, "data");
    const char *type = lh_json_get_z(data, "type");
    const char *version = lh_json_get_z(lh_json_get(data, "options"), "version");
    struct lh_str path;

    if (!type || !lh_json_str(lh_json_get(data, "path"), &path) || !lh_str_ends(path, LH_STR("/")))
        return malformed(err, "mount");
    if (!lh_str_starts(asked, path))
        return lh_err_set(err, LH_E_INVALID, "the manager described another mount than asked for");
    out->path = path;
    out->kv = strcmp(type, "kv") == 0 || strcmp(type, "generic") == 0;
    out->kv2 = out->kv && version && strcmp(version, "2") == 0;
    return 0;
}
