/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "leasehold/api/allow.h"
#include "leasehold/core/mem.h"
#include "vault_priv.h"

static bool has(const lh_json *list, const char *word)
{
    struct lh_str s;

    for (size_t i = 0; i < lh_json_len(list); i++) {
        if (lh_json_str(lh_json_at(list, i), &s) && lh_str_eqz(s, word))
            return true;
    }
    return false;
}

static void answered(struct lh_provider_op *op, const struct lh_vault_answer *ans,
                     const struct lh_err *err)
{
    struct lh_prov_caps caps = {.path = op->path};
    const struct lh_prov_result res = {.caps = &caps};
    struct lh_err mine = {0};
    const lh_json *list;
    bool root;

    if (lh_vault_refused(op, ans, err))
        return;
    list = lh_json_path(ans->json, "data", op->path, NULL);
    if (lh_json_type(list) != LH_JSON_ARRAY) {
        lh_vault_class_error(LH_VAULT_NOT_JSON, ans->reply, ans->json, op->what, &mine);
        lh_vault_op_finish(op, NULL, &mine);
        return;
    }
    root = has(list, "root");
    caps.read = root || has(list, "read");
    caps.update = root || has(list, "update");
    lh_vault_op_finish(op, &res, NULL);
}

/* A policy names data/ of KV version 2; users may leave it out. */
static int policy_path(const struct lh_provider *p, const char *path, char **out,
                       struct lh_err *err)
{
    const char *mount = lh_vault_mounts_listed(p, path);
    lh_auto_free char *plain = NULL;
    size_t n = mount ? strlen(mount) : 0;
    int rc;

    rc = lh_path_normalise(path, p->store->vault.kv2_mounts, &plain, err);
    if (rc < 0)
        return rc;
    while (n && mount[n - 1] == '/')
        n--;
    *out = mount ? lh_asprintf("%.*s/data/%s", (int)n, plain, plain + n + 1) : LH_TAKE_PTR(plain);
    return *out ? 0 : lh_err_nomem(err);
}

static int send(struct lh_provider_op *op, const char *path, struct lh_err *err)
{
    struct lh_vault_ask ask = {.method = "POST", .path = "sys/capabilities-self"};
    lh_auto_json lh_json *body = lh_json_new_object(), *paths = lh_json_new_array();
    int rc;

    rc = policy_path(op->p, path, &op->path, err);
    if (rc < 0)
        return rc;
    if (!body || !paths || lh_json_push(paths, lh_json_new_z(op->path)) < 0 ||
        lh_json_set(body, "paths", LH_TAKE_PTR(paths)) < 0)
        return lh_err_nomem(err);
    ask.body = body;
    return lh_vault_send(op, &ask, answered, err);
}

int lh_vault_capabilities(struct lh_provider *p, const struct lh_secret *token, const char *path,
                          lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                          struct lh_err *err)
{
    struct lh_provider_op *op;
    int rc;

    rc = lh_path_check(path, err);
    if (rc < 0)
        return rc;
    rc = lh_vault_op_new(p, token, done, arg, &op, err);
    if (rc < 0)
        return rc;
    rc = lh_vault_op_what(op, err, "capabilities on \"%s\"", path);
    if (rc == 0)
        rc = send(op, path, err);
    if (rc < 0) {
        lh_vault_op_free(op);
        return rc;
    }
    *out = op;
    return 0;
}
