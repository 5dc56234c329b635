/* SPDX-License-Identifier: Apache-2.0 */
#include "shared_login.h"

#include <string.h>

#include "leasehold/core/mem.h"
#include "shared_priv.h"

enum { M_GROUPS, M_USERS };

enum { HEALTH_MS = 800 };

const struct lh_metric shared_login_metrics[] = {
    [M_GROUPS] = {.name = "leasehold_shared_logins",
                  .help = "Accounts whose copies of plain KV secrets share one login.",
                  .type = LH_METRIC_GAUGE,
                  .max_series = 1},
    [M_USERS] = {.name = "leasehold_shared_login_users",
                 .help = "Projections that share a login.",
                 .type = LH_METRIC_GAUGE,
                 .max_series = 1},
    {0},
};

static void measure(const struct shared_logins *s)
{
    struct shared_logins_info info;

    shared_logins_info(s, &info);
    lh_metric_set(&shared_login_metrics[M_GROUPS], (double)info.groups, NULL);
    lh_metric_set(&shared_login_metrics[M_USERS], (double)info.users, NULL);
}

/* ---- health ---- */

static void on_health(void *arg, const struct lh_prov_result *res, const struct lh_err *err)
{
    struct group *g = arg;
    struct lh_provider_op *op;

    g->health = NULL;
    g->health_at = lh_clock_now();
    g->health_err = err ? *err : (struct lh_err){0};
    if (!err)
        g->last_health = *res->health;
    while ((op = shared_op_waiting(g, OP_HEALTH, NULL)) != NULL)
        shared_op_finish(op, res, err);
    shared_group_check(g);
}

static int p_health(struct lh_provider *p, lh_prov_done_fn done, void *arg,
                    struct lh_provider_op **out, struct lh_err *err)
{
    struct group *g = p->g;
    struct lh_provider_op *op;
    int rc;

    /* Everybody asks once a second while the store is away: one question serves all. */
    if (g->health_at != 0 && lh_clock_now() - g->health_at < HEALTH_MS)
        return shared_op_answer(p, OP_HEALTH, NULL, done, arg, out, err);
    rc = shared_op_new(p, OP_HEALTH, NULL, done, arg, &op, err);
    if (rc < 0)
        return rc;
    if (!g->health)
        rc = g->ops->health(g->inner, on_health, g, &g->health, err);
    return shared_op_started(rc, op, out);
}

/* ---- what passes through ---- */

static void on_through(void *arg, const struct lh_prov_result *res, const struct lh_err *err)
{
    struct lh_provider_op *op = arg;
    struct lh_provider *p = op->p;

    op->inner = NULL;
    if (err && err->code == LH_E_EXPIRED && p->now)
        p->now->doubted_at = lh_clock_now();
    shared_op_finish(op, res, err);
}

#define THROUGH(CALL)                                                                              \
    struct lh_provider_op *op;                                                                     \
    int rc = shared_op_new(p, OP_THROUGH, NULL, done, arg, &op, err);                              \
                                                                                                   \
    if (rc < 0)                                                                                    \
        return rc;                                                                                 \
    return shared_op_started(p->g->ops->CALL, op, out)

static int p_read(struct lh_provider *p, const struct lh_secret *token,
                  const struct lh_read_request *req, lh_prov_done_fn done, void *arg,
                  struct lh_provider_op **out, struct lh_err *err)
{
    THROUGH(read(p->g->inner, token, req, on_through, op, &op->inner, err));
}

static int p_probe(struct lh_provider *p, const struct lh_secret *token, const char *path,
                   lh_prov_done_fn done, void *arg, struct lh_provider_op **out, struct lh_err *err)
{
    THROUGH(probe(p->g->inner, token, path, on_through, op, &op->inner, err));
}

static int p_renew_lease(struct lh_provider *p, const struct lh_secret *token, const char *id,
                         lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                         struct lh_err *err)
{
    THROUGH(renew_lease(p->g->inner, token, id, on_through, op, &op->inner, err));
}

static int p_lookup_lease(struct lh_provider *p, const struct lh_secret *token, const char *id,
                          lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                          struct lh_err *err)
{
    THROUGH(lookup_lease(p->g->inner, token, id, on_through, op, &op->inner, err));
}

static int p_revoke_lease(struct lh_provider *p, const struct lh_secret *token, const char *id,
                          lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                          struct lh_err *err)
{
    THROUGH(revoke_lease(p->g->inner, token, id, on_through, op, &op->inner, err));
}

static int p_revoke_accessor(struct lh_provider *p, const struct lh_secret *token,
                             const char *accessor, lh_prov_done_fn done, void *arg,
                             struct lh_provider_op **out, struct lh_err *err)
{
    THROUGH(revoke_accessor(p->g->inner, token, accessor, on_through, op, &op->inner, err));
}

static int p_capabilities(struct lh_provider *p, const struct lh_secret *token, const char *path,
                          lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                          struct lh_err *err)
{
    THROUGH(capabilities(p->g->inner, token, path, on_through, op, &op->inner, err));
}

/* ---- groups ---- */

static void group_free(struct group *g)
{
    struct group **at = &g->s->groups;

    while (*at && *at != g)
        at = &(*at)->next;
    if (*at)
        *at = g->next;
    while (g->tokens)
        shared_token_free(g->tokens);
    if (g->inner)
        g->ops->close(g->inner);
    if (g->identity.credential)
        g->identity.credential->free(g->identity.credential);
    lh_store_unref(g->store);
    lh_json_unref(g->labels);
    lh_free(g->namespace_);
    lh_free(g->account);
    lh_free(g->role);
    lh_free(g->cluster);
    lh_free(g);
}

void shared_group_check(struct group *g)
{
    if (g->n_handles == 0 && !g->tokens && !g->login && !g->health)
        group_free(g);
}

static bool same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_labels(const lh_json *a, const lh_json *b)
{
    return a == b || (a && b && lh_json_equal(a, b));
}

static struct group *group_find(const struct shared_logins *s, const struct lh_store *store,
                                const struct lh_identity *id)
{
    for (struct group *g = s->groups; g; g = g->next) {
        if (g->store == store && same(g->namespace_, id->subject.namespace_) &&
            same(g->account, id->subject.service_account) && same(g->role, id->role) &&
            same_labels(g->labels, id->namespace_labels))
            return g;
    }
    return NULL;
}

static int copy_identity(struct group *g, const struct lh_identity *id, struct lh_err *err)
{
    g->namespace_ = lh_strdup(id->subject.namespace_);
    g->account = lh_strdup(id->subject.service_account);
    g->role = id->role ? lh_strdup(id->role) : NULL;
    g->cluster = id->subject.cluster ? lh_strdup(id->subject.cluster) : NULL;
    g->labels = id->namespace_labels ? lh_json_deep_copy(id->namespace_labels) : NULL;
    if (!g->namespace_ || !g->account || (id->role && !g->role) ||
        (id->subject.cluster && !g->cluster) || (id->namespace_labels && !g->labels))
        return lh_err_nomem(err);
    g->identity = (struct lh_identity){.subject = {g->cluster, g->namespace_, g->account},
                                       .namespace_labels = g->labels,
                                       .role = g->role,
                                       .allow_addresses = id->allow_addresses,
                                       .allow_loopback = id->allow_loopback};
    return 0;
}

static int group_new(struct shared_logins *s, struct lh_store *store, const struct lh_identity *id,
                     struct group **out, struct lh_err *err)
{
    struct group *g = lh_calloc(1, sizeof(*g));
    int rc;

    if (!g)
        return lh_err_nomem(err);
    g->s = s;
    g->next = s->groups;
    s->groups = g;
    g->store = lh_store_ref(store);
    g->ops = s->opts.provider ? s->opts.provider : lh_provider_for(store);
    rc = copy_identity(g, id, err);
    if (rc == 0)
        rc = s->opts.credential(s->opts.arg, store, &g->identity.subject, &g->identity.credential,
                                err);
    if (rc == 0) {
        g->owner = (struct ledger_owner){s->opts.ledger, "shared", LEDGER_SHARED_UID};
        g->identity.wrapper = s->opts.ledger ? &g->owner : NULL;
        rc = g->ops->open(s->opts.loop, store, &g->identity, &g->inner, err);
    }
    if (rc < 0) {
        group_free(g);
        return rc;
    }
    *out = g;
    return 0;
}

static bool by_account(const struct lh_store *store)
{
    enum lh_auth_method m = store->vault.auth.method;

    return m == LH_AUTH_JWT || m == LH_AUTH_KUBERNETES;
}

static int p_open(struct lh_loop *loop, struct lh_store *store, const struct lh_identity *id,
                  struct lh_provider **out, struct lh_err *err)
{
    struct shared_logins *s = id->wrapper;
    struct group *g = group_find(s, store, id);
    struct lh_provider *p;
    int rc = 0;

    (void)loop;
    if (!by_account(store) || id->ca_file)
        return lh_err_set(err, LH_E_INVALID, "%s \"%s\": logins are not by account",
                          lh_store_kind(store), store->name);
    p = lh_calloc(1, sizeof(*p));
    if (!p)
        return lh_err_nomem(err);
    if (!g)
        rc = group_new(s, store, id, &g, err);
    if (rc < 0) {
        lh_free(p);
        return rc;
    }
    p->g = g;
    g->n_handles++;
    measure(s);
    *out = p;
    return 0;
}

static void p_close(struct lh_provider *p)
{
    struct group *g;

    if (!p)
        return;
    g = p->g;
    while (p->all)
        shared_op_cancel(p->all);
    shared_unpark(p);
    g->n_handles--;
    shared_token_unuse(p->now);
    shared_token_unuse(p->old);
    lh_free(p);
    measure(g->s);
    shared_group_check(g);
}

const struct lh_provider_ops shared_login_ops = {
    .name = "shared",
    .open = p_open,
    .close = p_close,
    .login = shared_login,
    .read = p_read,
    .probe = p_probe,
    .renew_lease = p_renew_lease,
    .lookup_lease = p_lookup_lease,
    .revoke_lease = p_revoke_lease,
    .renew_token = shared_renew_token,
    .lookup_token = shared_lookup_token,
    .revoke_token = shared_revoke_token,
    .revoke_accessor = p_revoke_accessor,
    .capabilities = p_capabilities,
    .health = p_health,
    .cancel = shared_op_cancel,
    .park = shared_park,
    .unpark = shared_unpark,
};

/* ---- all of them ---- */

int shared_logins_new(const struct shared_login_options *opts, struct shared_logins **out,
                      struct lh_err *err)
{
    struct shared_logins *s = lh_calloc(1, sizeof(*s));
    int rc;

    if (!s)
        return lh_err_nomem(err);
    s->opts = *opts;
    rc = lh_metrics_register(shared_login_metrics, err);
    if (rc < 0) {
        lh_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

void shared_logins_free(struct shared_logins *s)
{
    if (!s)
        return;
    while (s->groups)
        group_free(s->groups);
    lh_free(s);
}

void shared_logins_hurry(struct shared_logins *s, bool hurry)
{
    s->hurry = hurry;
}

void shared_logins_info(const struct shared_logins *s, struct shared_logins_info *out)
{
    *out = (struct shared_logins_info){0};
    for (const struct group *g = s->groups; g; g = g->next) {
        out->groups++;
        out->users += g->n_handles;
    }
}

/* Below one of the mounts whose secrets have no lease? */
static bool is_plain(char *const *mounts, const char *path)
{
    for (size_t i = 0; mounts && mounts[i]; i++) {
        size_t n = strlen(mounts[i]);

        while (n > 0 && mounts[i][n - 1] == '/')
            n--;
        if (n > 0 && strncmp(path, mounts[i], n) == 0 && path[n] == '/')
            return true;
    }
    return false;
}

bool shared_login_fits(const struct lh_store *store, const struct lh_projection *p)
{
    bool fits = by_account(store) && !store->vault.ca_ref.name;

    for (size_t i = 0; fits && i < p->n_items; i++)
        fits = !p->items[i].params && is_plain(store->vault.kv2_mounts, p->items[i].path);
    return fits;
}
