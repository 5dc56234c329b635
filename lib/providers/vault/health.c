/* SPDX-License-Identifier: Apache-2.0 */
#include "vault_priv.h"

/* Asked once a second while a store is away: an answer that takes longer is none. */
#define HEALTH_TIMEOUT_MS 2000

/* Without a token and outside any namespace, as load balancers ask. Each address is asked until one
 * is not sealed. */
static void answered(struct lh_provider_op *op, const struct lh_vault_answer *ans,
                     const struct lh_err *err)
{
    struct lh_prov_health health = {0};
    const struct lh_prov_result res = {.health = &health};
    struct lh_err mine = {0};

    if (err) {
        lh_vault_op_finish(op, NULL, err);
        return;
    }
    if (lh_vault_answer_health(ans->reply->status, ans->json, &health, &mine) == 0) {
        lh_vault_op_finish(op, &res, NULL);
        return;
    }
    /* Not a health document: a proxy speaks, or a quota. */
    if (lh_vault_check(op, ans, &mine) == 0)
        lh_vault_class_error(LH_VAULT_NOT_JSON, ans->reply, ans->json, op->what, &mine);
    lh_vault_op_finish(op, NULL, &mine);
}

int lh_vault_health(struct lh_provider *p, lh_prov_done_fn done, void *arg,
                    struct lh_provider_op **out, struct lh_err *err)
{
    const struct lh_vault_ask ask = {
        .method = "GET",
        .path = "sys/health",
        .anonymous = true,
        .top = true,
        .timeout_ms = HEALTH_TIMEOUT_MS,
    };
    struct lh_provider_op *op;
    int rc;

    rc = lh_vault_op_new(p, NULL, done, arg, &op, err);
    if (rc < 0)
        return rc;
    rc = lh_vault_op_what(op, err, "health of %s \"%s\"", lh_store_kind(p->store), p->store->name);
    if (rc == 0)
        rc = lh_vault_send(op, &ask, answered, err);
    if (rc < 0) {
        lh_vault_op_free(op);
        return rc;
    }
    *out = op;
    return 0;
}
