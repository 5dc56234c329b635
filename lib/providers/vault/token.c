/* SPDX-License-Identifier: Apache-2.0 */
#include "vault_priv.h"

static void renewed(struct lh_provider_op *op, const struct lh_vault_answer *ans,
                    const struct lh_err *err)
{
    struct lh_prov_life life = {0};
    struct lh_err mine = {0};

    if (lh_vault_refused(op, ans, err))
        return;
    lh_vault_finish_life(op, ans, &life, lh_vault_answer_token_renewed(ans->json, &life, &mine),
                         &mine);
}

static void looked_up(struct lh_provider_op *op, const struct lh_vault_answer *ans,
                      const struct lh_err *err)
{
    struct lh_prov_life life = {0};
    struct lh_err mine = {0};

    if (lh_vault_refused(op, ans, err))
        return;
    lh_vault_finish_life(op, ans, &life, lh_vault_answer_looked_up(ans->json, true, &life, &mine),
                         &mine);
}

static void revoked(struct lh_provider_op *op, const struct lh_vault_answer *ans,
                    const struct lh_err *err)
{
    const struct lh_prov_result res = {0};

    if (!lh_vault_refused(op, ans, err))
        lh_vault_op_finish(op, &res, NULL);
}

static int start(struct lh_provider *p, const struct lh_secret *token, const char *what,
                 const struct lh_vault_ask *ask, lh_vault_step_fn step, lh_prov_done_fn done,
                 void *arg, struct lh_provider_op **out, struct lh_err *err)
{
    struct lh_provider_op *op;
    int rc;

    rc = lh_vault_op_new(p, token, done, arg, &op, err);
    if (rc < 0)
        return rc;
    rc = lh_vault_op_what(op, err, "%s", what);
    if (rc == 0)
        rc = lh_vault_send(op, ask, step, err);
    if (rc < 0) {
        lh_vault_op_free(op);
        return rc;
    }
    *out = op;
    return 0;
}

int lh_vault_renew_token(struct lh_provider *p, const struct lh_secret *token, lh_prov_done_fn done,
                         void *arg, struct lh_provider_op **out, struct lh_err *err)
{
    const struct lh_vault_ask ask = {.method = "POST", .path = "auth/token/renew-self"};

    return start(p, token, "renew the token", &ask, renewed, done, arg, out, err);
}

int lh_vault_lookup_token(struct lh_provider *p, const struct lh_secret *token,
                          lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                          struct lh_err *err)
{
    const struct lh_vault_ask ask = {.method = "GET", .path = "auth/token/lookup-self"};

    return start(p, token, "look up the token", &ask, looked_up, done, arg, out, err);
}

int lh_vault_revoke_token(struct lh_provider *p, const struct lh_secret *token,
                          lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                          struct lh_err *err)
{
    const struct lh_vault_ask ask = {.method = "POST", .path = "auth/token/revoke-self"};

    return start(p, token, "revoke the token", &ask, revoked, done, arg, out, err);
}

/* Vault calls an accessor that it does not know invalid; OpenBao warns, and all is well. */
static bool is_unknown(const struct lh_vault_answer *ans)
{
    char quote[LH_VAULT_QUOTE_MAX + 1];

    return (ans->class == LH_VAULT_BAD_REQUEST || ans->class == LH_VAULT_DENIED) &&
           strstr(lh_vault_quote(ans->json, quote), "invalid accessor");
}

static void accessor_revoked(struct lh_provider_op *op, const struct lh_vault_answer *ans,
                             const struct lh_err *err)
{
    const struct lh_prov_result res = {0};

    if ((ans && is_unknown(ans)) || !lh_vault_refused(op, ans, err))
        lh_vault_op_finish(op, &res, NULL);
}

int lh_vault_revoke_accessor(struct lh_provider *p, const struct lh_secret *token,
                             const char *accessor, lh_prov_done_fn done, void *arg,
                             struct lh_provider_op **out, struct lh_err *err)
{
    lh_auto_json lh_json *body = lh_json_new_object();
    const struct lh_vault_ask ask = {
        .method = "POST", .path = "auth/token/revoke-accessor", .body = body};

    if (!body || lh_json_set(body, "accessor", lh_json_new_z(accessor)) < 0)
        return lh_err_nomem(err);
    return start(p, token, "revoke a token by its accessor", &ask, accessor_revoked, done, arg, out,
                 err);
}
