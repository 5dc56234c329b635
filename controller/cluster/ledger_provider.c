/* SPDX-License-Identifier: Apache-2.0 */
/* The provider that stands before another: a login is done once its record is in the Secret. */
#include "leasehold/core/mem.h"
#include "ledger_priv.h"

enum kind { OP_LOGIN, OP_RENEW_TOKEN, OP_LOOKUP_TOKEN, OP_REVOKE_TOKEN, OP_OTHER };

enum { ACCESSOR_MAX = 512, ACCESSOR_USUAL = 64 };

struct lh_provider {
    struct ledger *l;
    const struct lh_provider_ops *ops;
    struct lh_provider *inner, *next;
    struct lh_provider_op *all;
    struct ledger_record who; /* what every record of it says; no accessor */
    size_t room;              /* a record takes about so much */
    struct entry *held;
};

struct lh_provider_op {
    struct lh_provider *p;
    struct lh_provider_op *next;
    struct lh_provider_op *inner; /* of the provider behind */
    enum kind kind;
    lh_prov_done_fn done;
    void *arg;
    struct entry *entry; /* whose token it is about */
    bool finished;

    /* A login whose record is being written. */
    struct lh_secret *token;
    struct lh_prov_token life;
    struct lh_timer *limit;
    struct lh_provider_op *next_finished;
    bool recorded, reserved;
};

static void op_unlink(struct lh_provider_op *op)
{
    struct lh_provider_op **at = &op->p->all;
    struct lh_provider_op **f = &op->p->l->finished;

    while (*at && *at != op)
        at = &(*at)->next;
    if (*at)
        *at = op->next;
    while (*f && *f != op)
        f = &(*f)->next_finished;
    if (*f)
        *f = op->next_finished;
    if (op->reserved)
        op->p->l->reserved -= op->p->room;
    op->reserved = false;
}

static void op_release(struct lh_provider_op *op)
{
    lh_timer_free(op->limit);
    lh_secret_free(op->token);
    lh_free(op);
}

static void op_finish(struct lh_provider_op *op, const struct lh_prov_result *res,
                      const struct lh_err *err)
{
    op->finished = true;
    op_unlink(op);
    if (op->entry && op->kind == OP_LOGIN)
        op->entry->login = NULL;
    op->done(op->arg, err ? NULL : res, err); /* may close the provider */
    op_release(op);
}

/* Its caller does not get the token: nobody will use it. */
static void abandon(struct lh_provider_op *op)
{
    struct entry *e = op->entry;

    if (!e || op->kind != OP_LOGIN)
        return;
    e->login = NULL;
    op->entry = NULL;
    ledger_entry_orphan(e, lh_clock_now());
}

static void op_cancel(struct lh_provider_op *op)
{
    if (!op || op->finished)
        return;
    if (op->inner)
        op->p->ops->cancel(op->inner);
    op_unlink(op);
    abandon(op);
    op_release(op);
}

static int op_new(struct lh_provider *p, enum kind kind, lh_prov_done_fn done, void *arg,
                  struct lh_provider_op **out, struct lh_err *err)
{
    struct lh_provider_op *op = lh_calloc(1, sizeof(*op));

    if (!op)
        return lh_err_nomem(err);
    *op = (struct lh_provider_op){.p = p, .kind = kind, .done = done, .arg = arg, .next = p->all};
    p->all = op;
    *out = op;
    return 0;
}

/* The start of the operation behind; what it said is what we say. */
static int started(int rc, struct lh_provider_op *op, struct lh_provider_op **out)
{
    if (rc < 0) {
        op_unlink(op);
        op_release(op);
        return rc;
    }
    *out = op;
    return 0;
}

void ledger_unhold(struct entry *e)
{
    struct lh_provider *p = e->holder;
    struct entry **at;

    if (!p)
        return;
    for (at = &p->held; *at && *at != e;)
        at = &(*at)->next_held;
    if (*at)
        *at = e->next_held;
    for (struct lh_provider_op *op = p->all; op; op = op->next) {
        if (op->entry == e && op->kind != OP_LOGIN)
            op->entry = NULL;
    }
    e->holder = NULL;
    e->next_held = NULL;
    e->ends_at = LH_NEVER;
}

static struct entry *entry_of(const struct lh_provider *p, const struct lh_secret *token)
{
    struct lh_keyed_hash hash;

    if (lh_keyed_hash(lh_secret_expose_const(token), lh_secret_len(token), &hash, NULL) < 0)
        return NULL;
    for (struct entry *e = p->held; e; e = e->next_held) {
        if (lh_keyed_hash_equal(&hash, &e->token))
            return e;
    }
    return NULL;
}

/* The recorded end is ahead of the real one by a day, so that a renewal seldom costs a write. All
 * that are past half of that move together. */
static void note_life(struct entry *e, lh_ms sent_at, int64_t ttl_ms)
{
    int64_t wall = lh_clock_wall_ms() - (lh_clock_now() - sent_at);

    e->ends_at = ttl_ms > 0 ? sent_at + ttl_ms : LH_NEVER;
    ledger_sweep_at(e->l, e->ends_at == LH_NEVER ? LH_NEVER : e->ends_at + SLACK_MS);
    if (ttl_ms <= 0) {
        e->rec.end_wall_ms = END_NEVER;
        return;
    }
    if (e->rec.end_wall_ms - (wall + ttl_ms) >= HORIZON_MS / 2)
        return;
    e->rec.end_wall_ms = wall + ttl_ms + HORIZON_MS;
    if (e->stored)
        ledger_entry_changed(e, false);
}

static void on_other(void *arg, const struct lh_prov_result *res, const struct lh_err *err)
{
    struct lh_provider_op *op = arg;
    struct entry *e = op->entry;
    bool dead = err && err->code == LH_E_EXPIRED;

    op->inner = NULL;
    op->entry = NULL;
    if (e && !err && (op->kind == OP_RENEW_TOKEN || op->kind == OP_LOOKUP_TOKEN)) {
        note_life(e, res->life->sent_at, res->life->ttl_ms);
    } else if (e && ((op->kind == OP_REVOKE_TOKEN && (!err || dead)) ||
                     (op->kind == OP_LOOKUP_TOKEN && dead))) {
        ledger_count("revoke", dead ? "unknown" : "self");
        ledger_entry_gone(e);
    } else if (e && op->kind == OP_REVOKE_TOKEN && err->code != LH_E_UNAVAILABLE &&
               err->code != LH_E_BUSY) {
        ledger_entry_orphan(e, lh_clock_now()); /* it is not tried again by whoever held it */
    }
    op_finish(op, res, err);
}

/* ---- login ---- */

void ledger_login_recorded(struct entry *e)
{
    struct lh_provider_op *op = e->login;

    if (op->recorded)
        return;
    op->recorded = true;
    op->next_finished = e->l->finished;
    e->l->finished = op;
}

void ledger_logins_finish(struct ledger *l)
{
    while (l->finished) {
        struct lh_provider_op *op = l->finished;
        const struct lh_prov_result res = {.token = &op->life};

        l->finished = op->next_finished;
        op->next_finished = NULL;
        op_finish(op, &res, NULL);
    }
}

/* Our own token, never used: ended at once where that works, else by the record's way. */
static void on_unused_revoked(void *arg, const struct lh_prov_result *res, const struct lh_err *err)
{
    struct lh_provider_op *op = arg;
    struct entry *e = op->entry;

    (void)res;
    op->inner = NULL;
    op->entry = NULL;
    op_unlink(op);
    if (e && (!err || err->code == LH_E_EXPIRED))
        ledger_entry_gone(e);
    else if (e)
        ledger_entry_orphan(e, lh_clock_now());
    op_release(op);
}

static void revoke_unused(struct lh_provider *p, struct entry *e, const struct lh_secret *token)
{
    struct lh_provider_op *op;

    if (op_new(p, OP_REVOKE_TOKEN, NULL, NULL, &op, NULL) < 0)
        return;
    op->entry = e;
    if (p->ops->revoke_token(p->inner, token, on_unused_revoked, op, &op->inner, NULL) < 0) {
        op_unlink(op);
        op_release(op);
    }
}

static void login_failed(struct lh_provider_op *op, const struct lh_err *err)
{
    struct entry *e = op->entry;

    op->entry = NULL;
    if (e) {
        e->login = NULL;
        e->release_at = lh_clock_now() + SLACK_MS;
        ledger_sweep_at(e->l, e->release_at);
    }
    if (op->token)
        revoke_unused(op->p, e, op->token);
    op_finish(op, NULL, err);
}

static void on_limit(void *arg)
{
    struct lh_provider_op *op = arg;
    struct lh_err err = {0};

    lh_err_fill(&err, LH_E_UNAVAILABLE, "the login could not be recorded in time: %s",
                op->p->l->io_err.code ? op->p->l->io_err.msg : "the API server is slow");
    err.reason = LH_REASON_LedgerUnavailable;
    login_failed(op, &err);
}

void ledger_logins_fail(struct ledger *l, const struct lh_err *err)
{
    for (struct lh_provider *p = l->providers; p;) {
        struct lh_provider_op *op = p->all;

        while (op && !(op->kind == OP_LOGIN && op->token && !op->recorded))
            op = op->next;
        if (!op) {
            p = p->next;
            continue;
        }
        login_failed(op, err);
        p = l->providers; /* whoever was told may have closed some */
    }
}

static char *dup_or_null(const char *z)
{
    return z ? lh_strdup(z) : NULL;
}

static int record_of(const struct lh_provider *p, const char *accessor, struct ledger_record *out,
                     struct lh_err *err)
{
    const struct ledger_record *w = &p->who;
    struct ledger_record r = {.namespace_ = lh_strdup(w->namespace_),
                              .projection = lh_strdup(w->projection),
                              .uid = lh_strdup(w->uid),
                              .store_cluster_scoped = w->store_cluster_scoped,
                              .store = lh_strdup(w->store),
                              .service_account = lh_strdup(w->service_account),
                              .role = dup_or_null(w->role),
                              .accessor = lh_strdup(accessor),
                              .term = p->l->term};

    if (!r.namespace_ || !r.projection || !r.uid || !r.store || !r.service_account || !r.accessor ||
        (w->role && !r.role)) {
        ledger_record_done(&r);
        return lh_err_nomem(err);
    }
    *out = r;
    return 0;
}

static int take_login(struct lh_provider_op *op, const struct lh_prov_token *t, struct lh_err *err)
{
    struct lh_provider *p = op->p;
    struct ledger_record r = {0};
    struct lh_keyed_hash hash;
    struct entry *e = NULL;
    struct lh_str text = {lh_secret_expose_const(t->token), lh_secret_len(t->token)};
    int rc = lh_secret_copy(text.p, text.n, &op->token, err);

    if (rc == 0 && strlen(t->accessor) > ACCESSOR_MAX)
        rc = lh_err_set(err, LH_E_INVALID, "the token's accessor is too long to be recorded");
    if (rc == 0)
        rc = lh_keyed_hash(text.p, text.n, &hash, err);
    if (rc == 0)
        rc = lh_timer_new(p->l->loop, on_limit, op, &op->limit, err);
    if (rc == 0)
        rc = record_of(p, t->accessor, &r, err);
    if (rc == 0)
        rc = ledger_entry_new(p->l, &r, &e, err);
    if (rc < 0 || !e)
        return lh_err_negative(rc);
    e->token = hash;
    e->holder = p;
    e->next_held = p->held;
    p->held = e;
    e->login = op;
    op->entry = e;
    op->life = *t;
    op->life.token = op->token;
    op->life.accessor = e->rec.accessor;
    note_life(e, t->sent_at, t->ttl_ms);
    /* What is left of its life after that is too short to begin with. */
    if (t->ttl_ms > 0)
        lh_timer_at(op->limit, t->sent_at + t->ttl_ms / 2);
    ledger_entry_changed(e, true);
    ledger_measure(p->l);
    return 0;
}

static void on_login(void *arg, const struct lh_prov_result *res, const struct lh_err *err)
{
    struct lh_provider_op *op = arg;
    struct ledger *l = op->p->l;
    struct lh_err mine = {0};
    int rc = 0;

    op->inner = NULL;
    /* A batch token has none: it cannot be revoked, and ends by itself. */
    if (err || !res->token->accessor) {
        op_finish(op, res, err);
        return;
    }
    rc = take_login(op, res->token, &mine);
    if (rc == 0 && (!l->started || l->fenced)) {
        rc = lh_err_set(&mine, LH_E_UNAVAILABLE, "this controller does not lead any more");
        mine.reason = LH_REASON_LedgerUnavailable;
    }
    if (rc < 0)
        login_failed(op, &mine);
}

static int p_login(struct lh_provider *p, lh_prov_done_fn done, void *arg,
                   struct lh_provider_op **out, struct lh_err *err)
{
    struct lh_provider_op *op;
    int rc = ledger_gate(p->l, p->room, err);

    if (rc < 0)
        return rc;
    rc = op_new(p, OP_LOGIN, done, arg, &op, err);
    if (rc < 0)
        return rc;
    op->reserved = true;
    p->l->reserved += p->room;
    return started(p->ops->login(p->inner, on_login, op, &op->inner, err), op, out);
}

/* ---- the rest passes through ---- */

#define PASS(KIND, TOKEN, CALL)                                                                    \
    struct lh_provider_op *op;                                                                     \
    int rc = op_new(p, KIND, done, arg, &op, err);                                                 \
                                                                                                   \
    if (rc < 0)                                                                                    \
        return rc;                                                                                 \
    op->entry = (TOKEN);                                                                           \
    return started(p->ops->CALL, op, out)

static int p_read(struct lh_provider *p, const struct lh_secret *token,
                  const struct lh_read_request *req, lh_prov_done_fn done, void *arg,
                  struct lh_provider_op **out, struct lh_err *err)
{
    PASS(OP_OTHER, NULL, read(p->inner, token, req, on_other, op, &op->inner, err));
}

static int p_probe(struct lh_provider *p, const struct lh_secret *token, const char *path,
                   lh_prov_done_fn done, void *arg, struct lh_provider_op **out, struct lh_err *err)
{
    PASS(OP_OTHER, NULL, probe(p->inner, token, path, on_other, op, &op->inner, err));
}

static int p_renew_lease(struct lh_provider *p, const struct lh_secret *token, const char *id,
                         lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                         struct lh_err *err)
{
    PASS(OP_OTHER, NULL, renew_lease(p->inner, token, id, on_other, op, &op->inner, err));
}

static int p_lookup_lease(struct lh_provider *p, const struct lh_secret *token, const char *id,
                          lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                          struct lh_err *err)
{
    PASS(OP_OTHER, NULL, lookup_lease(p->inner, token, id, on_other, op, &op->inner, err));
}

static int p_revoke_lease(struct lh_provider *p, const struct lh_secret *token, const char *id,
                          lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                          struct lh_err *err)
{
    PASS(OP_OTHER, NULL, revoke_lease(p->inner, token, id, on_other, op, &op->inner, err));
}

static int p_renew_token(struct lh_provider *p, const struct lh_secret *token, lh_prov_done_fn done,
                         void *arg, struct lh_provider_op **out, struct lh_err *err)
{
    PASS(OP_RENEW_TOKEN, entry_of(p, token),
         renew_token(p->inner, token, on_other, op, &op->inner, err));
}

static int p_lookup_token(struct lh_provider *p, const struct lh_secret *token,
                          lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                          struct lh_err *err)
{
    PASS(OP_LOOKUP_TOKEN, entry_of(p, token),
         lookup_token(p->inner, token, on_other, op, &op->inner, err));
}

static int p_revoke_token(struct lh_provider *p, const struct lh_secret *token,
                          lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                          struct lh_err *err)
{
    PASS(OP_REVOKE_TOKEN, entry_of(p, token),
         revoke_token(p->inner, token, on_other, op, &op->inner, err));
}

static int p_revoke_accessor(struct lh_provider *p, const struct lh_secret *token,
                             const char *accessor, lh_prov_done_fn done, void *arg,
                             struct lh_provider_op **out, struct lh_err *err)
{
    PASS(OP_OTHER, NULL, revoke_accessor(p->inner, token, accessor, on_other, op, &op->inner, err));
}

static int p_capabilities(struct lh_provider *p, const struct lh_secret *token, const char *path,
                          lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                          struct lh_err *err)
{
    PASS(OP_OTHER, NULL, capabilities(p->inner, token, path, on_other, op, &op->inner, err));
}

static int p_health(struct lh_provider *p, lh_prov_done_fn done, void *arg,
                    struct lh_provider_op **out, struct lh_err *err)
{
    PASS(OP_OTHER, NULL, health(p->inner, on_other, op, &op->inner, err));
}

/* ---- open and close ---- */

static void p_close(struct lh_provider *p)
{
    struct lh_provider **at;

    if (!p)
        return;
    while (p->all)
        op_cancel(p->all);
    /* What it holds lives on; the ledger revokes it when its owner says so. */
    while (p->held)
        ledger_entry_orphan(p->held, p->held->release_at);
    if (p->inner)
        p->ops->close(p->inner);
    for (at = &p->l->providers; *at && *at != p;)
        at = &(*at)->next;
    if (*at)
        *at = p->next;
    ledger_record_done(&p->who);
    lh_free(p);
}

static int take_who(struct lh_provider *p, const struct lh_store *store,
                    const struct lh_identity *id, struct lh_err *err)
{
    const struct ledger_owner *o = id->wrapper;

    p->who = (struct ledger_record){.namespace_ = dup_or_null(id->subject.namespace_),
                                    .projection = dup_or_null(o->projection),
                                    .uid = dup_or_null(o->uid),
                                    .store_cluster_scoped = store->cluster_scoped,
                                    .store = dup_or_null(store->name),
                                    .service_account = dup_or_null(id->subject.service_account),
                                    .role = dup_or_null(id->role),
                                    .end_wall_ms = END_NEVER};
    if (!p->who.namespace_ || !p->who.projection || !p->who.uid || !p->who.store ||
        !p->who.service_account || (id->role && !p->who.role))
        return lh_err_nomem(err);
    /* What revokes is let in above the limit: else a full ledger would stay full. */
    if (strcmp(o->projection, LEDGER_REVOCATION) != 0)
        p->room = ledger_record_size(&p->who) + ACCESSOR_USUAL;
    return 0;
}

static int p_open(struct lh_loop *loop, struct lh_store *store, const struct lh_identity *id,
                  struct lh_provider **out, struct lh_err *err)
{
    const struct ledger_owner *o = id->wrapper;
    struct lh_provider *p = lh_calloc(1, sizeof(*p));
    int rc;

    if (!p)
        return lh_err_nomem(err);
    p->l = o->ledger;
    p->ops = p->l->opts.provider ? p->l->opts.provider : lh_provider_for(store);
    p->next = p->l->providers;
    p->l->providers = p;
    rc = take_who(p, store, id, err);
    if (rc == 0)
        rc = p->ops->open(loop, store, id, &p->inner, err);
    if (rc < 0) {
        p_close(p);
        return rc;
    }
    *out = p;
    return 0;
}

const struct lh_provider_ops ledger_provider_ops = {
    .name = "ledger",
    .open = p_open,
    .close = p_close,
    .login = p_login,
    .read = p_read,
    .probe = p_probe,
    .renew_lease = p_renew_lease,
    .lookup_lease = p_lookup_lease,
    .revoke_lease = p_revoke_lease,
    .renew_token = p_renew_token,
    .lookup_token = p_lookup_token,
    .revoke_token = p_revoke_token,
    .revoke_accessor = p_revoke_accessor,
    .capabilities = p_capabilities,
    .health = p_health,
    .cancel = op_cancel,
};
