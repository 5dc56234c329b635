/* SPDX-License-Identifier: Apache-2.0 */
#include "vault_priv.h"

#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"

/* A login makes a token: it is sent once, and to another address only if it never left. */

static const struct method {
    const char *name;
    const char *key; /* of the credential in the body; NULL: none goes there */
    bool needs_credential, needs_role, takes_role_id, asks_audience;
} methods[] = {
    [LH_AUTH_JWT] = {"jwt", "jwt", true, true, false, true},
    [LH_AUTH_KUBERNETES] = {"kubernetes", "jwt", true, true, false, true},
    /* A role without bind_secret_id has no secret id. */
    [LH_AUTH_APPROLE] = {"approle", "secret_id", false, false, true, false},
    [LH_AUTH_CERT] = {"cert", NULL, false, false, false, false},
    [LH_AUTH_TOKEN] = {"token", NULL, true, false, false, false},
};

static const struct method *method_of(const struct lh_provider *p)
{
    return &methods[p->store->vault.auth.method];
}

static void refuse(struct lh_provider_op *op, int code, const char *reason, const char *text)
{
    struct lh_err err = {0};

    lh_err_set(&err, code, "%s: %s", op->what, text);
    err.reason = reason;
    lh_vault_op_finish(op, NULL, &err);
}

static void finish_token(struct lh_provider_op *op, struct lh_prov_token *token,
                         const struct lh_vault_answer *ans, struct lh_str text)
{
    const struct lh_prov_result res = {.token = token};
    lh_auto_secret struct lh_secret *secret = NULL;
    struct lh_err err = {0};
    int rc = lh_secret_copy(text.p, text.n, &secret, &err);

    if (rc < 0) {
        lh_vault_op_finish(op, NULL, &err);
        return;
    }
    token->token = secret;
    token->sent_at = ans->sent_at;
    lh_vault_op_finish(op, &res, NULL);
}

static void login_answered(struct lh_provider_op *op, const struct lh_vault_answer *ans,
                           const struct lh_err *err)
{
    const struct lh_vault_login_facts facts = {
        .method = method_of(op->p)->name,
        .mount = op->p->mount,
        .role = op->p->role,
        .audience = method_of(op->p)->asks_audience ? op->p->store->vault.auth.audience : NULL,
    };
    struct lh_prov_token token = {0};
    struct lh_err mine = {0};
    struct lh_str text;
    int rc;

    if (err) {
        lh_vault_op_finish(op, NULL, err);
        return;
    }
    if (ans->class != LH_VAULT_OK) {
        lh_vault_login_error(ans->class, ans->reply, ans->json, &facts, &mine);
        lh_vault_op_finish(op, NULL, &mine);
        return;
    }
    rc = lh_vault_answer_login(ans->json, &token, &text, &mine);
    if (rc < 0) {
        lh_err_wrap(&mine, rc, "%s", op->what);
        mine.sent = true;
        lh_vault_op_finish(op, NULL, &mine);
        return;
    }
    finish_token(op, &token, ans, text);
}

static int make_body(const struct lh_provider *p, struct lh_str credential, lh_json **out,
                     struct lh_err *err)
{
    const struct method *m = method_of(p);
    const char *role_key = m->needs_role ? "role" : "name";
    lh_auto_json lh_json *body = lh_json_new_object();
    int rc = body ? 0 : -1;

    if (rc == 0 && m->takes_role_id)
        rc = lh_json_set(body, "role_id", lh_json_new_z(p->store->vault.auth.role_id));
    else if (rc == 0 && p->role)
        rc = lh_json_set(body, role_key, lh_json_new_z(p->role));
    if (rc == 0 && m->key && credential.n)
        rc = lh_json_set(body, m->key, lh_json_new_str(credential));
    if (rc < 0)
        return lh_err_nomem(err);
    *out = LH_TAKE_PTR(body);
    return 0;
}

static int send_login(struct lh_provider_op *op, struct lh_str credential, struct lh_err *err)
{
    lh_auto_free char *path = lh_asprintf("auth/%s/login", op->p->mount);
    lh_auto_json lh_json *body = NULL;
    struct lh_vault_ask ask = {
        .method = "POST",
        .path = path,
        .issues = true,
        .anonymous = true,
        .keep_index = true,
    };
    int rc;

    if (!path)
        return lh_err_nomem(err);
    rc = make_body(op->p, credential, &body, err);
    if (rc < 0)
        return rc;
    ask.body = body;
    return lh_vault_send(op, &ask, login_answered, err);
}

/* The token method: the token is there, its life must be asked for. */
static void own_token_answered(struct lh_provider_op *op, const struct lh_vault_answer *ans,
                               const struct lh_err *err)
{
    struct lh_str text = {lh_secret_expose_const(op->token), lh_secret_len(op->token)};
    struct lh_prov_token token = {0};
    struct lh_prov_life life = {0};
    struct lh_err mine = {0};
    const char *accessor;

    if (err) {
        lh_vault_op_finish(op, NULL, err);
        return;
    }
    if (ans->class == LH_VAULT_TOKEN_DEAD) {
        refuse(op, LH_E_DENIED, LH_REASON_LoginFailed,
               "the manager does not know this token (any more): put a new one into the store's "
               "secret");
        return;
    }
    /* A token that may not look itself up can still read: its life is then unknown. */
    if (ans->class != LH_VAULT_DENIED) {
        int rc = lh_vault_check(op, ans, &mine);

        if (rc == 0)
            rc = lh_vault_answer_looked_up(ans->json, true, &life, &mine);
        if (rc < 0) {
            lh_vault_op_finish(op, NULL, &mine);
            return;
        }
    }
    accessor = lh_json_get_z(lh_json_get(ans->json, "data"), "accessor");
    token.accessor = accessor && *accessor ? accessor : NULL;
    token.ttl_ms = life.ttl_ms;
    token.renewable = life.renewable;
    finish_token(op, &token, ans, text);
}

static int use_token(struct lh_provider_op *op, struct lh_str text, struct lh_err *err)
{
    const struct lh_vault_ask ask = {.method = "GET", .path = "auth/token/lookup-self"};
    int rc = lh_secret_copy(text.p, text.n, &op->token, err);

    return rc < 0 ? rc : lh_vault_send(op, &ask, own_token_answered, err);
}

static void have_credential(void *arg, const struct lh_secret *secret, const struct lh_err *err)
{
    struct lh_provider_op *op = arg;
    bool token = op->p->store->vault.auth.method == LH_AUTH_TOKEN;
    struct lh_err mine = {0};
    struct lh_str text;
    int rc;

    op->credential = NULL;
    if (err) {
        mine = *err;
        lh_err_wrap(&mine, -mine.code, "%s", op->what);
        if (!mine.reason)
            mine.reason = LH_REASON_CredentialMissing;
        lh_vault_op_finish(op, NULL, &mine);
        return;
    }
    text = (struct lh_str){lh_secret_expose_const(secret), lh_secret_len(secret)};
    /* A secret id may be any text; what goes into a header or names an account is printable. */
    if (text.n == 0 ||
        (op->p->store->vault.auth.method == LH_AUTH_APPROLE ? !lh_str_is_utf8(text)
                                                            : !lh_vault_token_ok(text))) {
        refuse(op, LH_E_DENIED, LH_REASON_CredentialMissing,
               "the credential is empty, too long, or holds bytes that no token has");
        return;
    }
    rc = token ? use_token(op, text, &mine) : send_login(op, text, &mine);
    if (rc < 0)
        lh_vault_op_finish(op, NULL, &mine);
}

static int begin(struct lh_provider_op *op, struct lh_err *err)
{
    struct lh_provider *p = op->p;
    const struct method *m = method_of(p);
    struct lh_token_source *source = p->id.credential;
    int rc;

    rc = lh_vault_op_what(op, err, "login at auth/%s", p->mount);
    if (rc < 0)
        return rc;
    if (source && (m->key || m->needs_credential)) {
        rc = source->start(source, p->store->vault.auth.audience, have_credential, op,
                           &op->credential, err);
        return rc < 0 ? lh_err_wrap(err, rc, "%s", op->what) : 0;
    }
    if (m->needs_credential) {
        rc = lh_err_set(err, LH_E_INVALID, "%s \"%s\" logs in by %s, and no credential is given",
                        lh_store_kind(p->store), p->store->name, m->name);
        return lh_err_reason(err, rc, LH_REASON_CredentialMissing);
    }
    return send_login(op, (struct lh_str){NULL, 0}, err);
}

int lh_vault_login(struct lh_provider *p, lh_prov_done_fn done, void *arg,
                   struct lh_provider_op **out, struct lh_err *err)
{
    struct lh_provider_op *op;
    int rc;

    if (p->id.anonymous)
        return lh_err_set(err, LH_E_INVALID, "%s \"%s\" is open for its health alone",
                          lh_store_kind(p->store), p->store->name);
    rc = lh_vault_op_new(p, NULL, done, arg, &op, err);
    if (rc < 0)
        return rc;
    rc = begin(op, err);
    if (rc < 0) {
        lh_vault_op_free(op);
        return rc;
    }
    *out = op;
    return 0;
}
