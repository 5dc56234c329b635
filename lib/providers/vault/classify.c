/* SPDX-License-Identifier: Apache-2.0 */
#include "classify.h"

#include <stdio.h>
#include <strings.h>

#include "leasehold/api/reasons.h"

/* The first n characters of errors[] decide; the real ones are far shorter. */
#define WORDS_MAX 512

static bool contains(const char *text, const char *word)
{
    size_t n = strlen(word);

    for (; *text; text++)
        if (strncasecmp(text, word, n) == 0)
            return true;
    return false;
}

/* errors[] joined, printable ASCII only, runs of anything else as one space. */
static void words_of(const lh_json *json, char *out, size_t room)
{
    const lh_json *errors = lh_json_get(json, "errors");
    size_t n = 0;
    bool gap = false;

    for (size_t i = 0; i < lh_json_len(errors); i++) {
        struct lh_str s;

        if (!lh_json_str(lh_json_at(errors, i), &s))
            continue;
        for (size_t k = 0; k < s.n && n + 2 < room; k++) {
            unsigned char c = (unsigned char)s.p[k];

            if (c <= ' ' || c > '~') {
                gap = n > 0;
                continue;
            }
            if (gap)
                out[n++] = ' ';
            gap = false;
            out[n++] = (char)c;
        }
        gap = n > 0;
    }
    out[n] = '\0';
}

const char *lh_vault_quote(const lh_json *json, char out[LH_VAULT_QUOTE_MAX + 1])
{
    words_of(json, out, LH_VAULT_QUOTE_MAX + 1);
    return out;
}

static bool has_errors(const lh_json *json)
{
    return lh_json_type(lh_json_get(json, "errors")) == LH_JSON_ARRAY;
}

static enum lh_vault_class classify_400(const char *words)
{
    /* A renewal says the one, a look-up the other. */
    if (contains(words, "lease not found") || contains(words, "invalid lease"))
        return LH_VAULT_NO_LEASE;
    if (contains(words, "unknown role"))
        return LH_VAULT_NO_ROLE;
    if (contains(words, "role") &&
        (contains(words, "not found") || contains(words, "could not be found") ||
         contains(words, "does not exist")))
        return LH_VAULT_NO_ROLE;
    return LH_VAULT_BAD_REQUEST;
}

static enum lh_vault_class classify_403(const lh_json *json, const char *words)
{
    if (!has_errors(json))
        return LH_VAULT_NOT_JSON;
    /* Newer Vault adds these words to a dead token's answer. */
    if (contains(words, "invalid token"))
        return LH_VAULT_TOKEN_DEAD;
    if (strcmp(words, "permission denied") == 0)
        return LH_VAULT_TOKEN_DEAD;
    return LH_VAULT_DENIED;
}

static bool warns(const lh_json *json, const char *word)
{
    const lh_json *warnings = lh_json_get(json, "warnings");

    for (size_t i = 0; i < lh_json_len(warnings); i++) {
        struct lh_str s;

        if (!lh_json_str(lh_json_at(warnings, i), &s))
            continue;
        if (memmem(s.p, s.n, word, strlen(word)))
            return true;
    }
    return false;
}

static enum lh_vault_class classify_404(const lh_json *json, const char *words)
{
    const lh_json *meta = lh_json_path(json, "data", "metadata", NULL);
    struct lh_str when;

    if (lh_json_get_bool(meta, "destroyed", false))
        return LH_VAULT_DESTROYED;
    if (lh_json_str(lh_json_get(meta, "deletion_time"), &when) && when.n > 0)
        return LH_VAULT_DELETED;
    if (warns(json, "versioned K/V"))
        return LH_VAULT_KV2_PATH;
    if (contains(words, "no handler for route"))
        return LH_VAULT_NO_MOUNT;
    return json ? LH_VAULT_NOT_FOUND : LH_VAULT_NOT_JSON;
}

static enum lh_vault_class classify_429(const lh_json *json)
{
    const lh_json *errors = lh_json_get(json, "errors");

    /* A quota names the path; a standby behind the index that we sent says nothing at all. */
    if (lh_json_type(errors) == LH_JSON_ARRAY && lh_json_len(errors) == 0)
        return LH_VAULT_LAGS;
    return LH_VAULT_LIMITED;
}

static enum lh_vault_class classify_5xx(int status, const lh_json *json, const char *words)
{
    bool flag;

    if (contains(words, "is sealed"))
        return LH_VAULT_SEALED;
    if (lh_json_bool(lh_json_get(json, "sealed"), &flag) && flag)
        return LH_VAULT_SEALED;
    if (status == 501 || contains(words, "not initialized"))
        return json ? LH_VAULT_UNINITIALISED : LH_VAULT_GATEWAY;
    if (contains(words, "active cluster node not found") || contains(words, "no active node"))
        return LH_VAULT_NO_ACTIVE;
    if (!has_errors(json))
        return LH_VAULT_GATEWAY;
    return status == 503 ? LH_VAULT_LOCKED : LH_VAULT_SERVER_ERROR;
}

static lh_json *parse_object(struct lh_str body)
{
    lh_json *json = NULL;

    if (body.n == 0 || lh_json_parse(body, NULL, &json, NULL) < 0)
        return NULL;
    if (lh_json_type(json) == LH_JSON_OBJECT)
        return json;
    lh_json_unref(json);
    return NULL;
}

static enum lh_vault_class classify_status(int status, size_t body_bytes, const lh_json *json)
{
    char words[WORDS_MAX];

    words_of(json, words, sizeof(words));
    if (status >= 200 && status < 300)
        return json || body_bytes == 0 ? LH_VAULT_OK : LH_VAULT_NOT_JSON;
    if (status >= 300 && status < 400)
        return LH_VAULT_REDIRECT;
    if (status >= 500)
        return classify_5xx(status, json, words);
    switch (status) {
    case 400:
        return has_errors(json) ? classify_400(words) : LH_VAULT_NOT_JSON;
    case 403:
        return classify_403(json, words);
    case 404:
        return classify_404(json, words);
    case 405:
        return LH_VAULT_BAD_METHOD;
    case 412:
        return LH_VAULT_LAGS;
    case 429:
        return classify_429(json);
    default:
        return LH_VAULT_STRANGE;
    }
}

enum lh_vault_class lh_vault_classify(const struct lh_vault_reply *r, lh_json **json)
{
    *json = parse_object(r->body);
    return classify_status(r->status, r->body.n, *json);
}

/* sent: could a request that issues have been acted on? Only then must nobody repeat it. */
static const struct class_row {
    const char *name, *reason, *text;
    int code;
    bool sent;
} class_rows[] = {
    [LH_VAULT_OK] = {"ok", NULL, "", 0, false},
    [LH_VAULT_TOKEN_DEAD] = {"token dead", LH_REASON_TokenExpired,
                             "the manager does not know the token (any more)", LH_E_EXPIRED, false},
    [LH_VAULT_DENIED] = {"denied", LH_REASON_PermissionDenied,
                         "denied by the manager: let the role's policy allow it, and check that "
                         "the mount exists",
                         LH_E_DENIED, false},
    [LH_VAULT_NOT_FOUND] = {"not found", LH_REASON_PathNotFound,
                            "the manager has nothing at this path", LH_E_NOTFOUND, false},
    [LH_VAULT_NO_MOUNT] = {"no mount", LH_REASON_PathNotFound,
                           "no secrets engine is mounted there: check the path's first segment and "
                           "the store's namespace",
                           LH_E_NOTFOUND, false},
    [LH_VAULT_NO_ROLE] = {"no role", LH_REASON_PathNotFound,
                          "the secrets engine knows no such role", LH_E_NOTFOUND, false},
    [LH_VAULT_DELETED] = {"deleted", LH_REASON_SecretDeleted,
                          "this version was deleted: undelete it or write a new one", LH_E_NOTFOUND,
                          false},
    [LH_VAULT_DESTROYED] = {"destroyed", LH_REASON_SecretDeleted,
                            "this version was destroyed: write a new one", LH_E_NOTFOUND, false},
    [LH_VAULT_KV2_PATH] = {"KV v2 path", LH_REASON_KVVersionMismatch,
                           "the mount is KV v2, and where it begins could not be asked: put it "
                           "into the store's kv2Mounts",
                           LH_E_NOTFOUND, false},
    [LH_VAULT_NO_LEASE] = {"no lease", LH_REASON_LeaseExpired,
                           "the manager does not know the lease (any more)", LH_E_EXPIRED, false},
    [LH_VAULT_BAD_REQUEST] = {"bad request", LH_REASON_RequestInvalid,
                              "the manager refuses the request: check path and params",
                              LH_E_INVALID, false},
    [LH_VAULT_BAD_METHOD] = {"bad method", LH_REASON_RequestInvalid,
                             "the manager refuses the method: a path that wants a write needs "
                             "params, others must not have them",
                             LH_E_INVALID, false},
    [LH_VAULT_LAGS] = {"lags", LH_REASON_RateLimited,
                       "the standby lags behind and did not forward the request", LH_E_BUSY, false},
    [LH_VAULT_LIMITED] = {"limited", LH_REASON_RateLimited, "the manager's rate limit is reached",
                          LH_E_BUSY, false},
    [LH_VAULT_SEALED] = {"sealed", LH_REASON_Sealed, "the manager is sealed", LH_E_UNAVAILABLE,
                         false},
    [LH_VAULT_UNINITIALISED] = {"uninitialised", LH_REASON_Sealed, "the manager is not initialised",
                                LH_E_UNAVAILABLE, false},
    [LH_VAULT_NO_ACTIVE] = {"no active node", LH_REASON_Unreachable,
                            "the manager's cluster has no active node", LH_E_UNAVAILABLE, false},
    [LH_VAULT_LOCKED] = {"locked", LH_REASON_ManagerError, "the manager does not serve this now",
                         LH_E_UNAVAILABLE, false},
    [LH_VAULT_SERVER_ERROR] = {"server error", LH_REASON_ManagerError, "the manager failed",
                               LH_E_UNAVAILABLE, true},
    [LH_VAULT_GATEWAY] = {"gateway", LH_REASON_Unreachable,
                          "something in front of the manager answered in its place",
                          LH_E_UNAVAILABLE, true},
    [LH_VAULT_REDIRECT] = {"redirect", LH_REASON_AddressNotAllowed,
                           "redirected to an address that the store does not list", LH_E_DENIED,
                           false},
    [LH_VAULT_NOT_JSON] = {"not JSON", LH_REASON_ManagerError,
                           "the answer is not the manager's JSON: a proxy or a portal in between, "
                           "or a path that gives raw bytes",
                           LH_E_UNAVAILABLE, true},
    [LH_VAULT_STRANGE] = {"strange", LH_REASON_ManagerError,
                          "an answer that the manager does not give", LH_E_UNAVAILABLE, true},
};

const char *lh_vault_class_name(enum lh_vault_class c)
{
    return class_rows[c].name;
}

static int fill(const struct class_row *row, const struct lh_vault_reply *r, const lh_json *json,
                const char *what, const char *text, struct lh_err *err)
{
    char quote[LH_VAULT_QUOTE_MAX + 1];
    int rc;

    lh_vault_quote(json, quote);
    rc = lh_err_set(err, row->code, "%s: %s (status %d%s%s)", what, text, r->status,
                    *quote ? ", it says: " : "", quote);
    if (!err)
        return rc;
    err->reason = row->reason;
    err->http_status = r->status;
    err->sent = row->sent;
    err->retry_ms = r->retry_after_ms;
    if (row->code == LH_E_BUSY && err->retry_ms <= 0)
        err->retry_ms = 1000;
    return rc;
}

int lh_vault_class_error(enum lh_vault_class c, const struct lh_vault_reply *r, const lh_json *json,
                         const char *what, struct lh_err *err)
{
    return fill(&class_rows[c], r, json, what, class_rows[c].text, err);
}

/* The first row whose words the answer contains; both may be NULL for any. */
static const struct login_row {
    const char *words, *method;
    const char *hint;
} login_rows[] = {
    {"audience", NULL,
     "the token's audience is not the one that the role expects: make the store's audience and the "
     "role's equal"},
    {"service account name not authorized", NULL,
     "the role does not admit this ServiceAccount: see its bound_service_account_names"},
    {"namespace not authorized", NULL,
     "the role does not admit this namespace: see its bound_service_account_namespaces"},
    {"subject (sub)", NULL, "the role does not admit this ServiceAccount: see its bound_subject"},
    {"claim", NULL, "a claim of the token is not what the role binds, or a clock is wrong"},
    {"signature", NULL,
     "the manager does not trust the token's issuer: check the mount's issuer, JWKS or keys"},
    {"role or secret", NULL, "check roleId, and whether the secret id has ended or was used up"},
    {"role", NULL, "the mount knows no such role: check role and mount"},
    {"certificate", NULL,
     "the manager got no client certificate that it trusts: check the store's secret and the "
     "certificates at the mount"},
    {"permission denied", "kubernetes",
     "the token was not accepted: check that the mount exists (also in the store's namespace), and "
     "that the manager can reach the API server and review tokens"},
    {"permission denied", NULL, "check that the auth mount exists, also in the store's namespace"},
    {NULL, NULL, "check mount, role and audience"},
};

int lh_vault_login_error(enum lh_vault_class c, const struct lh_vault_reply *r, const lh_json *json,
                         const struct lh_vault_login_facts *facts, struct lh_err *err)
{
    static const struct class_row refused = {"login refused", LH_REASON_LoginFailed, "",
                                             LH_E_DENIED, false};
    const struct login_row *row = login_rows;
    char words[WORDS_MAX], what[320];

    snprintf(what, sizeof(what), "login at auth/%.64s%s%.96s%s%s%.64s%s", facts->mount,
             facts->role ? " as role \"" : "", facts->role ? facts->role : "",
             facts->role ? "\"" : "", facts->audience ? " with audience \"" : "",
             facts->audience ? facts->audience : "", facts->audience ? "\"" : "");
    /* Whatever else is wrong, the login was not refused. */
    if (class_rows[c].code == LH_E_UNAVAILABLE || class_rows[c].code == LH_E_BUSY ||
        c == LH_VAULT_REDIRECT)
        return lh_vault_class_error(c, r, json, what, err);
    words_of(json, words, sizeof(words));
    while (row->words && !(contains(words, row->words) &&
                           (!row->method || strcmp(row->method, facts->method) == 0)))
        row++;
    return fill(&refused, r, json, what, row->hint, err);
}
