/* SPDX-License-Identifier: Apache-2.0 */
#include "vault_priv.h"

#include <stdarg.h>
#include <stdio.h>

#include "leasehold/api/allow.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"

static const char *const default_mounts[] = {
    [LH_AUTH_JWT] = "jwt",   [LH_AUTH_KUBERNETES] = "kubernetes", [LH_AUTH_APPROLE] = "approle",
    [LH_AUTH_CERT] = "cert", [LH_AUTH_TOKEN] = "token",
};

static int check_identity(const struct lh_store *store, const struct lh_identity *id,
                          struct lh_err *err)
{
    const struct lh_namespace ns = {.name = id->subject.namespace_, .labels = id->namespace_labels};
    bool cert = store->vault.auth.method == LH_AUTH_CERT && !id->anonymous;
    int rc;

    rc = id->anonymous ? 0 : lh_allow_namespace(store, &ns, err);
    if (rc < 0)
        return rc;
    for (char **a = store->vault.addresses; *a; a++) {
        rc = lh_allow_address(*a, id->allow_addresses, id->allow_loopback, err);
        if (rc < 0)
            return rc;
    }
    if (cert && (!id->cert_file || !id->key_file)) {
        rc = lh_err_set(err, LH_E_INVALID, "%s \"%s\" logs in by certificate, and none is given",
                        lh_store_kind(store), store->name);
        return lh_err_reason(err, rc, LH_REASON_CredentialMissing);
    }
    return 0;
}

static int expand(const struct lh_subject *who, const char *text, char **out, struct lh_err *err)
{
    return text ? lh_subject_expand(who, text, out, err) : 0;
}

static int expand_names(struct lh_provider *p, struct lh_err *err)
{
    const struct lh_store_vault *v = &p->store->vault;
    const struct lh_subject *who = &p->id.subject;
    const struct lh_namespace ns = {.name = who->namespace_, .labels = p->id.namespace_labels};
    int rc;

    rc = expand(who, v->namespace_, &p->namespace_, err);
    if (rc < 0)
        return rc;
    rc = expand(who, p->id.role ? p->id.role : v->auth.role, &p->role, err);
    if (rc == 0)
        rc = lh_allow_role(p->store, &ns, who, p->id.role ? p->role : NULL, err);
    if (rc < 0)
        return rc;
    rc =
        expand(who, v->auth.mount ? v->auth.mount : default_mounts[v->auth.method], &p->mount, err);
    if (rc < 0)
        return rc;
    rc = lh_path_check(p->mount, err);
    return rc < 0 ? lh_err_wrap(err, rc, "auth mount") : 0;
}

static int open_http(struct lh_provider *p, struct lh_err *err)
{
    const struct lh_store *s = p->store;
    bool cert = s->vault.auth.method == LH_AUTH_CERT && !p->id.anonymous;
    struct lh_http_options o = {
        .ca_pem = p->id.ca_file ? (struct lh_str){NULL, 0} : lh_str(s->vault.ca_pem),
        .ca_file = p->id.ca_file,
        .server_name = s->vault.tls_server_name,
        .client_cert_file = cert ? p->id.cert_file : NULL,
        .client_key_file = cert ? p->id.key_file : NULL,
        .max_in_flight = s->max_in_flight,
        .requests_per_second = s->requests_per_second,
        .allow_addresses = p->id.allow_addresses,
        .allow_loopback = p->id.allow_loopback,
    };

    return lh_vault_pool_get(p, &o, err);
}

static void vault_close(struct lh_provider *p)
{
    if (!p)
        return;
    while (p->ops)
        lh_vault_op_free(p->ops);
    lh_timer_free(p->wake);
    lh_vault_pool_put(p);
    lh_vault_mounts_done(p);
    lh_free(p->index);
    lh_free(p->namespace_);
    lh_free(p->role);
    lh_free(p->mount);
    lh_store_unref(p->store);
    lh_free(p);
}

static int vault_open(struct lh_loop *loop, struct lh_store *store, const struct lh_identity *id,
                      struct lh_provider **out, struct lh_err *err)
{
    struct lh_provider *p;
    int rc;

    rc = check_identity(store, id, err);
    if (rc < 0)
        return rc;
    p = lh_calloc(1, sizeof(*p));
    if (!p)
        return lh_err_nomem(err);
    p->loop = loop;
    p->store = lh_store_ref(store);
    p->id = *id;
    while (store->vault.addresses[p->n_addresses])
        p->n_addresses++;

    rc = id->anonymous ? 0 : expand_names(p, err);
    if (rc == 0)
        rc = open_http(p, err);
    if (rc < 0) {
        vault_close(p);
        return rc;
    }
    *out = p;
    return 0;
}

int lh_vault_op_what(struct lh_provider_op *op, struct lh_err *err, const char *fmt, ...)
{
    char text[256];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    lh_free(op->what);
    op->what = lh_strdup(text);
    return op->what ? 0 : lh_err_nomem(err);
}

static int copy_token(struct lh_provider_op *op, const struct lh_secret *token, struct lh_err *err)
{
    struct lh_str text = {lh_secret_expose_const(token), lh_secret_len(token)};

    if (!lh_vault_token_ok(text)) {
        int rc = lh_err_set(err, LH_E_INVALID, "a token must be printable ASCII without spaces");

        return lh_err_reason(err, rc, LH_REASON_RequestInvalid);
    }
    return lh_secret_copy(text.p, text.n, &op->token, err);
}

int lh_vault_op_new(struct lh_provider *p, const struct lh_secret *token, lh_prov_done_fn done,
                    void *arg, struct lh_provider_op **out, struct lh_err *err)
{
    struct lh_provider_op *op = lh_calloc(1, sizeof(*op));
    int rc;

    if (!op)
        return lh_err_nomem(err);
    op->p = p;
    op->done = done;
    op->arg = arg;
    op->next = p->ops;
    if (p->ops)
        p->ops->prev = op;
    p->ops = op;
    if (token) {
        rc = copy_token(op, token, err);
        if (rc < 0) {
            lh_vault_op_free(op);
            return rc;
        }
    }
    *out = op;
    return 0;
}

static void unlink_op(struct lh_provider_op *op)
{
    if (op->prev)
        op->prev->next = op->next;
    else
        op->p->ops = op->next;
    if (op->next)
        op->next->prev = op->prev;
    op->prev = op->next = NULL;
}

static void release(struct lh_provider_op *op)
{
    lh_secret_free(op->token);
    lh_secret_free(op->body);
    lh_json_unref(op->params);
    lh_free(op->what);
    lh_free(op->target);
    lh_free(op->path);
    lh_free(op);
}

void lh_vault_op_free(struct lh_provider_op *op)
{
    unlink_op(op);
    lh_vault_mounts_wake(op, NULL, false);
    lh_http_cancel(op->http);
    if (op->credential)
        op->p->id.credential->cancel(op->credential);
    release(op);
}

void lh_vault_op_finish(struct lh_provider_op *op, const struct lh_prov_result *res,
                        const struct lh_err *err)
{
    op->finished = true;
    unlink_op(op);
    /* done may close the provider: nothing but op is ours from here. */
    op->done(op->arg, err ? NULL : res, err);
    release(op);
}

void lh_vault_finish_life(struct lh_provider_op *op, const struct lh_vault_answer *ans,
                          struct lh_prov_life *life, int rc, struct lh_err *err)
{
    const struct lh_prov_result res = {.life = life};

    if (rc < 0) {
        lh_err_wrap(err, rc, "%s", op->what);
        lh_vault_op_finish(op, NULL, err);
        return;
    }
    life->sent_at = ans->sent_at;
    lh_vault_op_finish(op, &res, NULL);
}

bool lh_vault_refused(struct lh_provider_op *op, const struct lh_vault_answer *ans,
                      const struct lh_err *err)
{
    struct lh_err mine = {0};

    if (err) {
        lh_vault_op_finish(op, NULL, err);
        return true;
    }
    if (lh_vault_check(op, ans, &mine) == 0)
        return false;
    lh_vault_op_finish(op, NULL, &mine);
    return true;
}

static void vault_cancel(struct lh_provider_op *op)
{
    if (!op || op->finished)
        return;
    lh_vault_op_free(op);
}

const struct lh_provider_ops lh_provider_vault = {
    .name = "vault",
    .open = vault_open,
    .close = vault_close,
    .login = lh_vault_login,
    .read = lh_vault_read,
    .probe = lh_vault_probe,
    .renew_lease = lh_vault_renew_lease,
    .lookup_lease = lh_vault_lookup_lease,
    .revoke_lease = lh_vault_revoke_lease,
    .renew_token = lh_vault_renew_token,
    .lookup_token = lh_vault_lookup_token,
    .revoke_token = lh_vault_revoke_token,
    .revoke_accessor = lh_vault_revoke_accessor,
    .capabilities = lh_vault_capabilities,
    .health = lh_vault_health,
    .cancel = vault_cancel,
};
