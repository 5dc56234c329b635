/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "leasehold/api/reasons.h"
#include "recording.h"

#define BAO   "openbao-2.7.2/"
#define VAULT "vault-1.14.8/"
#define BOTH(what, class, code)                                                                    \
    {BAO what, class, code},                                                                       \
    {                                                                                              \
        VAULT what, class, code                                                                    \
    }

static const struct recorded {
    const char *name;
    enum lh_vault_class class;
    int code;
} recorded[] = {
    BOTH("login", LH_VAULT_OK, 0),
    BOTH("login-approle-refused", LH_VAULT_BAD_REQUEST, LH_E_INVALID),
    BOTH("login-cert-refused", LH_VAULT_BAD_REQUEST, LH_E_INVALID),
    BOTH("login-unknown-mount", LH_VAULT_TOKEN_DEAD, LH_E_EXPIRED),
    BOTH("login-kubernetes-other-account", LH_VAULT_DENIED, LH_E_DENIED),
    BOTH("login-kubernetes-unverified", LH_VAULT_TOKEN_DEAD, LH_E_EXPIRED),
    BOTH("token-lookup", LH_VAULT_OK, 0),
    BOTH("token-renewed", LH_VAULT_OK, 0),
    BOTH("token-renew-batch", LH_VAULT_BAD_REQUEST, LH_E_INVALID),
    BOTH("token-unknown", LH_VAULT_TOKEN_DEAD, LH_E_EXPIRED),
    BOTH("mount-kv2", LH_VAULT_OK, 0),
    BOTH("mount-hidden", LH_VAULT_DENIED, LH_E_DENIED),
    BOTH("kv2-read", LH_VAULT_OK, 0),
    BOTH("kv2-missing-version", LH_VAULT_NOT_FOUND, LH_E_NOTFOUND),
    BOTH("kv2-plain-path", LH_VAULT_KV2_PATH, LH_E_NOTFOUND),
    BOTH("kv2-plain-path-denied", LH_VAULT_DENIED, LH_E_DENIED),
    BOTH("kv2-deleted", LH_VAULT_DELETED, LH_E_NOTFOUND),
    BOTH("kv2-destroyed", LH_VAULT_DESTROYED, LH_E_NOTFOUND),
    BOTH("kv1-read", LH_VAULT_OK, 0),
    BOTH("kv1-not-found", LH_VAULT_NOT_FOUND, LH_E_NOTFOUND),
    BOTH("denied", LH_VAULT_DENIED, LH_E_DENIED),
    BOTH("no-mount", LH_VAULT_NO_MOUNT, LH_E_NOTFOUND),
    BOTH("method-not-allowed", LH_VAULT_BAD_METHOD, LH_E_INVALID),
    BOTH("bad-json", LH_VAULT_BAD_REQUEST, LH_E_INVALID),
    BOTH("database-creds", LH_VAULT_OK, 0),
    BOTH("database-no-role", LH_VAULT_NO_ROLE, LH_E_NOTFOUND),
    BOTH("database-static", LH_VAULT_OK, 0),
    BOTH("lease-lookup", LH_VAULT_OK, 0),
    BOTH("lease-renewed-near-max", LH_VAULT_OK, 0),
    BOTH("lease-not-found", LH_VAULT_NO_LEASE, LH_E_EXPIRED),
    BOTH("lease-revoked", LH_VAULT_OK, 0),
    BOTH("pki-sign", LH_VAULT_OK, 0),
    BOTH("pki-not-allowed", LH_VAULT_BAD_REQUEST, LH_E_INVALID),
    BOTH("pki-ca-pem", LH_VAULT_NOT_JSON, LH_E_UNAVAILABLE),
    BOTH("quota", LH_VAULT_LIMITED, LH_E_BUSY),
    BOTH("sealed", LH_VAULT_SEALED, LH_E_UNAVAILABLE),
    BOTH("sealed-health", LH_VAULT_SEALED, LH_E_UNAVAILABLE),
    {BAO "lease-lookup-gone", LH_VAULT_NO_LEASE, LH_E_EXPIRED},
    {BAO "standby-redirect", LH_VAULT_REDIRECT, LH_E_DENIED},
    {BAO "standby-behind-index", LH_VAULT_LAGS, LH_E_BUSY},
};

static void check(const struct lh_vault_reply *reply, enum lh_vault_class class, int code)
{
    struct lh_err err = {0};
    enum lh_vault_class got;
    lh_json *json;

    got = lh_vault_classify(reply, &json);
    if (got != class) {
        lh_json_unref(json);
        fail_msg("%s, not %s", lh_vault_class_name(got), lh_vault_class_name(class));
    }
    if (code)
        lh_vault_class_error(got, reply, json, "read \"x\"", &err);
    lh_json_unref(json);
    if (!code)
        return;
    assert_int_equal(err.code, code);
    assert_int_equal(err.http_status, reply->status);
    assert_non_null(err.reason);
    assert_non_null(lh_reason_find(err.reason));
    assert_int_equal(strncmp(err.msg, "read \"x\": ", 10), 0);
}

static void recordings(void **state)
{
    const struct recorded *r = *state;
    struct recording rec;

    assert_true(recording_load(&rec, r->name));
    check(&rec.reply, r->class, r->code);
}

/* What the recorded servers did not say: other versions, other things in between. */
static const struct made {
    const char *name;
    int status;
    const char *body;
    enum lh_vault_class class;
    int code;
    bool sent;
} made[] = {
    {"a newer Vault's dead token", 403,
     "{\"errors\":[\"2 errors occurred:\\n\\t* permission denied\\n\\t* invalid token\\n\\n\"]}",
     LH_VAULT_TOKEN_DEAD, LH_E_EXPIRED, false},
    {"a dead token in two errors", 403, "{\"errors\":[\"permission denied\",\"invalid token\"]}",
     LH_VAULT_TOKEN_DEAD, LH_E_EXPIRED, false},
    {"a firewall's 403 is no reason to log in", 403, "<html>Forbidden</html>", LH_VAULT_NOT_JSON,
     LH_E_UNAVAILABLE, true},
    {"a proxy's 403 in JSON neither", 403, "{\"message\":\"permission denied\"}", LH_VAULT_NOT_JSON,
     LH_E_UNAVAILABLE, true},
    {"a proxy's 404", 404, "<html>not found</html>", LH_VAULT_NOT_JSON, LH_E_UNAVAILABLE, true},
    {"a proxy's 503 is not a seal", 503, "<html>Service Unavailable</html>", LH_VAULT_GATEWAY,
     LH_E_UNAVAILABLE, true},
    {"a proxy's empty 502", 502, "", LH_VAULT_GATEWAY, LH_E_UNAVAILABLE, true},
    {"a portal's page with 200", 200, "<html>log in</html>", LH_VAULT_NOT_JSON, LH_E_UNAVAILABLE,
     true},
    {"an array with 200", 200, "[]", LH_VAULT_NOT_JSON, LH_E_UNAVAILABLE, true},
    {"a cut answer", 200, "{\"data\":{\"a\":\"b", LH_VAULT_NOT_JSON, LH_E_UNAVAILABLE, true},
    {"the same key twice", 200, "{\"data\":{\"a\":\"1\",\"a\":\"2\"}}", LH_VAULT_NOT_JSON,
     LH_E_UNAVAILABLE, true},
    {"nothing at all with 200", 200, "", LH_VAULT_OK, 0, false},
    {"a standby without an active node", 500,
     "{\"errors\":[\"local node not active but active cluster node not found\"]}",
     LH_VAULT_NO_ACTIVE, LH_E_UNAVAILABLE, false},
    {"the database is away", 500, "{\"errors\":[\"1 error occurred:\\n\\t* dial tcp\\n\\n\"]}",
     LH_VAULT_SERVER_ERROR, LH_E_UNAVAILABLE, true},
    {"not initialised", 501, "{\"errors\":[]}", LH_VAULT_UNINITIALISED, LH_E_UNAVAILABLE, false},
    {"not initialised, said with 503", 503, "{\"errors\":[\"Vault is not initialized\"]}",
     LH_VAULT_UNINITIALISED, LH_E_UNAVAILABLE, false},
    {"a locked namespace", 503, "{\"errors\":[\"API access to this namespace has been locked\"]}",
     LH_VAULT_LOCKED, LH_E_UNAVAILABLE, false},
    {"Enterprise behind our index", 412, "{\"errors\":[]}", LH_VAULT_LAGS, LH_E_BUSY, false},
    {"a lease count quota", 429, "{\"errors\":[\"lease count quota exceeded\"]}", LH_VAULT_LIMITED,
     LH_E_BUSY, false},
    {"a proxy's 429", 429, "slow down", LH_VAULT_LIMITED, LH_E_BUSY, false},
    {"a role that jwt does not know", 400, "{\"errors\":[\"role \\\"x\\\" could not be found\"]}",
     LH_VAULT_NO_ROLE, LH_E_NOTFOUND, false},
    {"a proxy's 400", 400, "bad request", LH_VAULT_NOT_JSON, LH_E_UNAVAILABLE, true},
    {"a teapot", 418, "{}", LH_VAULT_STRANGE, LH_E_UNAVAILABLE, true},
};

static void made_up(void **state)
{
    const struct made *r = *state;
    const struct lh_vault_reply reply = {.status = r->status, .body = lh_str(r->body)};
    struct lh_err err = {0};
    enum lh_vault_class c;
    lh_json *json;

    check(&reply, r->class, r->code);
    c = lh_vault_classify(&reply, &json);
    if (r->code)
        lh_vault_class_error(c, &reply, json, "x", &err);
    lh_json_unref(json);
    assert_int_equal(err.sent, r->sent);
}

static const struct asks {
    const char *name;
    int retry_after_ms, want;
} waits[] = {
    {"Retry-After is obeyed", 9000, 9000},
    {"without it a second", 0, 1000},
};

static void busy_waits(void **state)
{
    const struct asks *r = *state;
    const struct lh_vault_reply reply = {.status = 429, .retry_after_ms = r->retry_after_ms};
    struct lh_err err = {0};

    assert_int_equal(lh_vault_class_error(LH_VAULT_LIMITED, &reply, NULL, "x", &err), -LH_E_BUSY);
    assert_int_equal(err.retry_ms, r->want);
}

static const struct quoted {
    const char *name, *body, *want;
} quoted[] = {
    {"one", "{\"errors\":[\"lease not found\"]}", "lease not found"},
    {"lines become one", "{\"errors\":[\"1 error occurred:\\n\\t* permission denied\\n\\n\"]}",
     "1 error occurred: * permission denied"},
    {"two", "{\"errors\":[\"a\",\"b\"]}", "a b"},
    {"only what prints", "{\"errors\":[\"a\\u001b[31m\\u0000\xc3\xa9 b\"]}", "a [31m b"},
    {"nothing", "{\"errors\":[]}", ""},
    {"no texts", "{\"errors\":[1,{\"a\":\"b\"},null]}", ""},
    {"no errors", "{\"data\":{\"password\":\"hunter2\"}}", ""},
    {"at most 120 bytes",
     "{\"errors\":["
     "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"]}",
     NULL},
};

static void quotes(void **state)
{
    const struct quoted *r = *state;
    char out[LH_VAULT_QUOTE_MAX + 1];
    lh_json *json = NULL;

    assert_int_equal(lh_json_parse(lh_str(r->body), NULL, &json, NULL), 0);
    lh_vault_quote(json, out);
    lh_json_unref(json);
    assert_true(strlen(out) <= LH_VAULT_QUOTE_MAX);
    if (r->want)
        assert_string_equal(out, r->want);
    else
        assert_true(strlen(out) >= LH_VAULT_QUOTE_MAX - 2);
}

static const struct login {
    const char *name, *method, *want;
} logins[] = {
    {BAO "login-approle-refused", "approle", "secret id"},
    {BAO "login-cert-refused", "cert", "no client certificate that it trusts"},
    {VAULT "login-cert-refused", "cert", "no client certificate that it trusts"},
    {BAO "login-unknown-mount", "jwt", "auth mount exists"},
    {BAO "login-kubernetes-other-account", "kubernetes", "bound_service_account_names"},
    {BAO "login-kubernetes-other-audience", "kubernetes", "audience"},
    {BAO "login-kubernetes-no-role", "kubernetes", "no such role"},
    {BAO "login-kubernetes-unverified", "kubernetes", "review tokens"},
    {BAO "login-jwt-other-account", "jwt", "bound_subject"},
    {BAO "login-jwt-other-audience", "jwt", "audience is not the one"},
    {BAO "login-jwt-expired", "jwt", "clock"},
    {BAO "login-jwt-wrong-key", "jwt", "issuer"},
    {VAULT "login-jwt-wrong-key", "jwt", "issuer"},
    {VAULT "login-kubernetes-no-role", "kubernetes", "no such role"},
};

static void refused_logins_say_what_to_check(void **state)
{
    const struct login *r = *state;
    const struct lh_vault_login_facts facts = {r->method, "k8s-eu", "shop-app", "vault"};
    struct lh_err err = {0};
    struct recording rec;
    enum lh_vault_class c;
    lh_json *json;

    assert_true(recording_load(&rec, r->name));
    c = lh_vault_classify(&rec.reply, &json);
    lh_vault_login_error(c, &rec.reply, json, &facts, &err);
    lh_json_unref(json);
    assert_int_equal(err.code, LH_E_DENIED);
    assert_string_equal(err.reason, LH_REASON_LoginFailed);
    if (!strstr(err.msg, r->want))
        fail_msg("\"%s\" does not say \"%s\"", err.msg, r->want);
    assert_non_null(strstr(err.msg, "auth/k8s-eu as role \"shop-app\""));
}

static void a_sealed_manager_refuses_no_login(void **state)
{
    const struct lh_vault_login_facts facts = {"jwt", "jwt", "app", NULL};
    struct lh_err err = {0};
    struct recording rec;
    lh_json *json;

    (void)state;
    assert_true(recording_load(&rec, BAO "sealed"));
    lh_vault_login_error(lh_vault_classify(&rec.reply, &json), &rec.reply, NULL, &facts, &err);
    lh_json_unref(json);
    assert_int_equal(err.code, LH_E_UNAVAILABLE);
    assert_string_equal(err.reason, LH_REASON_Sealed);
}

int main(void)
{
    lh_json_init();
    ROWS(recordings, recorded);
    ROWS(made_up, made);
    ROWS(busy_waits, waits);
    ROWS(quotes, quoted);
    ROWS(refused_logins_say_what_to_check, logins);
    ONE(a_sealed_manager_refuses_no_login);
    return rows_run("classify");
}
