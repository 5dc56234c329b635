/* SPDX-License-Identifier: Apache-2.0 */
#include "vault_priv.h"

/* No increment is ever sent: a smaller one than the server's own shortens the lease (measured). */

static void renewed(struct lh_provider_op *op, const struct lh_vault_answer *ans,
                    const struct lh_err *err)
{
    struct lh_prov_life life = {0};
    struct lh_err mine = {0};

    if (lh_vault_refused(op, ans, err))
        return;
    lh_vault_finish_life(op, ans, &life, lh_vault_answer_lease_renewed(ans->json, &life, &mine),
                         &mine);
}

static void looked_up(struct lh_provider_op *op, const struct lh_vault_answer *ans,
                      const struct lh_err *err)
{
    struct lh_prov_life life = {0};
    struct lh_err mine = {0};

    if (lh_vault_refused(op, ans, err))
        return;
    lh_vault_finish_life(op, ans, &life, lh_vault_answer_looked_up(ans->json, false, &life, &mine),
                         &mine);
}

static void revoked(struct lh_provider_op *op, const struct lh_vault_answer *ans,
                    const struct lh_err *err)
{
    const struct lh_prov_result res = {0};

    if (!lh_vault_refused(op, ans, err))
        lh_vault_op_finish(op, &res, NULL);
}

static int start(struct lh_provider *p, const struct lh_secret *token, const char *lease_id,
                 const char *verb, const char *path, lh_vault_step_fn step, lh_prov_done_fn done,
                 void *arg, struct lh_provider_op **out, struct lh_err *err)
{
    lh_auto_json lh_json *body = lh_json_new_object();
    const struct lh_vault_ask ask = {.method = "PUT", .path = path, .body = body};
    const char *last = strrchr(lease_id, '/');
    struct lh_provider_op *op;
    int rc;

    if (!body || lh_json_set(body, "lease_id", lh_json_new_z(lease_id)) < 0)
        return lh_err_nomem(err);
    rc = lh_vault_op_new(p, token, done, arg, &op, err);
    if (rc < 0)
        return rc;
    rc = lh_vault_op_what(op, err, "%s a lease of %.*s", verb, last ? (int)(last - lease_id) : 0,
                          lease_id);
    if (rc == 0)
        rc = lh_vault_send(op, &ask, step, err);
    if (rc < 0) {
        lh_vault_op_free(op);
        return rc;
    }
    *out = op;
    return 0;
}

int lh_vault_renew_lease(struct lh_provider *p, const struct lh_secret *token, const char *lease_id,
                         lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                         struct lh_err *err)
{
    return start(p, token, lease_id, "renew", "sys/leases/renew", renewed, done, arg, out, err);
}

int lh_vault_lookup_lease(struct lh_provider *p, const struct lh_secret *token,
                          const char *lease_id, lh_prov_done_fn done, void *arg,
                          struct lh_provider_op **out, struct lh_err *err)
{
    return start(p, token, lease_id, "look up", "sys/leases/lookup", looked_up, done, arg, out,
                 err);
}

int lh_vault_revoke_lease(struct lh_provider *p, const struct lh_secret *token,
                          const char *lease_id, lh_prov_done_fn done, void *arg,
                          struct lh_provider_op **out, struct lh_err *err)
{
    return start(p, token, lease_id, "revoke", "sys/leases/revoke", revoked, done, arg, out, err);
}
