/* SPDX-License-Identifier: Apache-2.0 */
/* What nobody holds and nothing needs any more is revoked by its accessor, with a login of the same
 * account: one for all records of it. */
#include <stdlib.h>

#include "leasehold/core/mem.h"
#include "ledger_priv.h"

enum {
    REVOKING_MAX = 16,
    REVOKE_LINGER_MS = 10 * 1000, /* copies of one account are released one after another */
    SWEEP_GAP_MS = 50,
    GATE_MS = 1000,
};

struct reach {
    struct ledger *l;
    struct reach *next;
    struct ledger_record who; /* the account; nothing else of it is used */
    struct ledger_owner owner;
    struct ledger_access access;
    bool has_access, ending;
    struct lh_provider *p;
    struct lh_provider_op *op; /* login, or revoke-self */
    struct lh_secret *token;
    unsigned in_flight;
    struct lh_timer *linger;
};

void ledger_sweep_at(struct ledger *l, lh_ms at)
{
    if (!l->started || l->fenced || at == LH_NEVER)
        return;
    if (at < l->swept_at + SWEEP_GAP_MS)
        at = l->swept_at + SWEEP_GAP_MS;
    if (!lh_timer_is_armed(l->sweep_timer) || at < lh_timer_when(l->sweep_timer))
        lh_timer_at(l->sweep_timer, at);
}

/* ---- giving up ---- */

static void give_up(struct entry *e, const struct lh_err *err)
{
    struct ledger *l = e->l;
    struct lh_err why = {0};

    if (e->gave_up)
        return;
    e->gave_up = true;
    e->next_try = lh_clock_now() + (lh_ms)(lh_dice() % GIVEN_UP_EVERY_MS);
    lh_err_fill(&why, err ? err->code : LH_E_UNAVAILABLE, "%s",
                err ? err->msg : "given up by an earlier leader");
    why.reason = LH_REASON_RevocationGivenUp;
    ledger_count("revoke", "given_up");
    if (l->opts.gave_up)
        l->opts.gave_up(l->opts.arg, &e->rec, &why);
    ledger_settle(l, e->group);
    ledger_measure(l);
}

/* In vain; tried again, less and less often. */
static void note_failed(struct entry *e, const struct lh_err *err)
{
    struct lh_failures f = {.n = e->rec.tries};
    lh_ms now = lh_clock_now();

    ledger_count("revoke", err->code == LH_E_DENIED ? "refused" : "failed");
    lh_free(e->why);
    e->why = lh_strdup(err->msg);
    e->why_reason = err->reason;
    if (e->gave_up) {
        e->next_try = now + GIVEN_UP_EVERY_MS;
        return;
    }
    lh_failures_note(&f, now, LH_E_DENIED, err->retry_ms, true, lh_dice());
    e->next_try = f.next;
    e->rec.tries++;
    if (err->code == LH_E_DENIED && err->reason == LH_REASON_PermissionDenied)
        e->rec.refused = true;
    if (err->code == LH_E_NOTFOUND)
        e->rec.tries = LEDGER_TRIES_MAX;
    ledger_entry_changed(e, false);
    if (e->rec.refused || e->rec.tries >= LEDGER_TRIES_MAX || now - e->release_at > AGE_MAX_MS)
        give_up(e, err);
}

/* ---- the login that revokes ---- */

static void reach_free(struct reach *r)
{
    struct ledger *l = r->l;
    struct reach **at = &l->reaches;
    size_t it = 0;
    void *entry;

    while (lh_map_next(l->by_key, &it, NULL, &entry)) {
        if (((struct entry *)entry)->reach == r)
            ledger_revoke_forget(entry);
    }
    while (*at && *at != r)
        at = &(*at)->next;
    if (*at)
        *at = r->next;
    if (r->p)
        ledger_provider_ops.close(r->p);
    if (r->has_access) {
        lh_store_unref(r->access.store);
        if (r->access.done)
            r->access.done(r->access.arg);
    }
    lh_timer_free(r->linger);
    lh_secret_free(r->token);
    ledger_record_done(&r->who);
    lh_free(r);
    ledger_release(l, LEDGER_SHARED_UID, 0);
}

static void reach_failed(struct reach *r, const struct lh_err *err)
{
    struct ledger *l = r->l;
    size_t it = 0;
    void *entry;

    while (lh_map_next(l->by_key, &it, NULL, &entry)) {
        struct entry *e = entry;

        if (e->reach != r || e->revoking)
            continue;
        e->reach = NULL;
        note_failed(e, err);
    }
    reach_free(r);
    ledger_sweep_at(l, lh_clock_now());
}

static void on_reach_ended(void *arg, const struct lh_prov_result *res, const struct lh_err *err)
{
    struct reach *r = arg;

    (void)res;
    (void)err;
    r->op = NULL;
    reach_free(r);
}

static void on_linger(void *arg)
{
    struct reach *r = arg;

    if (r->in_flight > 0 || r->op)
        return;
    r->ending = true;
    if (!r->token ||
        ledger_provider_ops.revoke_token(r->p, r->token, on_reach_ended, r, &r->op, NULL) < 0)
        reach_free(r);
}

static void on_reach_login(void *arg, const struct lh_prov_result *res, const struct lh_err *err)
{
    struct reach *r = arg;
    struct lh_err mine = {0};

    r->op = NULL;
    if (!err && lh_secret_copy(lh_secret_expose_const(res->token->token),
                               lh_secret_len(res->token->token), &r->token, &mine) < 0)
        err = &mine;
    if (err) {
        reach_failed(r, err);
        return;
    }
    lh_timer_in(r->linger, REVOKE_LINGER_MS);
    ledger_sweep_at(r->l, lh_clock_now());
}

static bool same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static struct reach *reach_find(const struct ledger *l, const struct ledger_record *rec)
{
    for (struct reach *r = l->reaches; r; r = r->next) {
        if (!r->ending && r->who.store_cluster_scoped == rec->store_cluster_scoped &&
            same(r->who.store, rec->store) && same(r->who.namespace_, rec->namespace_) &&
            same(r->who.service_account, rec->service_account) && same(r->who.role, rec->role))
            return r;
    }
    return NULL;
}

static char *dup_or_null(const char *z)
{
    return z ? lh_strdup(z) : NULL;
}

static int reach_open(struct reach *r, const struct ledger_record *rec, struct lh_err *err)
{
    struct ledger *l = r->l;
    int rc;

    r->who = (struct ledger_record){.store_cluster_scoped = rec->store_cluster_scoped,
                                    .store = lh_strdup(rec->store),
                                    .namespace_ = lh_strdup(rec->namespace_),
                                    .service_account = lh_strdup(rec->service_account),
                                    .role = dup_or_null(rec->role)};
    if (!r->who.store || !r->who.namespace_ || !r->who.service_account ||
        (rec->role && !r->who.role))
        return lh_err_nomem(err);
    rc = lh_timer_new(l->loop, on_linger, r, &r->linger, err);
    if (rc == 0)
        rc = l->opts.access(l->opts.arg, rec, &r->access, err);
    if (rc < 0)
        return rc;
    r->has_access = true;
    r->owner = (struct ledger_owner){l, LEDGER_REVOCATION, LEDGER_SHARED_UID};
    r->access.identity.wrapper = &r->owner;
    rc = ledger_provider_ops.open(l->loop, r->access.store, &r->access.identity, &r->p, err);
    if (rc == 0)
        rc = ledger_provider_ops.login(r->p, on_reach_login, r, &r->op, err);
    return rc;
}

static struct reach *reach_for(struct entry *e)
{
    struct ledger *l = e->l;
    struct reach *r = reach_find(l, &e->rec);
    struct lh_err err = {0};

    if (r)
        return r;
    r = lh_calloc(1, sizeof(*r));
    if (!r) {
        lh_err_nomem(&err);
        note_failed(e, &err);
        return NULL;
    }
    r->l = l;
    r->next = l->reaches;
    l->reaches = r;
    if (reach_open(r, &e->rec, &err) == 0)
        return r;
    note_failed(e, &err);
    reach_free(r);
    return NULL;
}

/* ---- revoking ---- */

static void revoke_over(struct entry *e)
{
    struct reach *r = e->reach;

    e->revoking = NULL;
    e->reach = NULL;
    e->l->n_revoking--;
    r->in_flight--;
    lh_timer_in(r->linger, REVOKE_LINGER_MS);
}

static void on_revoked(void *arg, const struct lh_prov_result *res, const struct lh_err *err)
{
    struct entry *e = arg;
    struct ledger *l = e->l;
    struct reach *r = e->reach;

    (void)res;
    revoke_over(e);
    ledger_sweep_at(l, lh_clock_now());
    if (!err) {
        ledger_count("revoke", "done");
        ledger_entry_gone(e);
        return;
    }
    note_failed(e, err);
    if (err->code == LH_E_EXPIRED) /* the token that revokes is dead itself */
        lh_timer_in(r->linger, 0);
}

void ledger_revoke_forget(struct entry *e)
{
    if (e->revoking) {
        struct lh_provider_op *op = e->revoking;

        revoke_over(e);
        ledger_provider_ops.cancel(op);
    }
    e->reach = NULL;
}

static void try_one(struct entry *e)
{
    struct ledger *l = e->l;
    struct reach *r;
    struct lh_err err = {0};

    if (e->revoking || l->n_revoking >= REVOKING_MAX)
        return;
    r = reach_for(e);
    if (!r)
        return;
    e->reach = r;
    if (!r->token)
        return;
    if (ledger_provider_ops.revoke_accessor(r->p, r->token, e->rec.accessor, on_revoked, e,
                                            &e->revoking, &err) < 0) {
        e->reach = NULL;
        note_failed(e, &err);
        return;
    }
    l->n_revoking++;
    r->in_flight++;
}

/* ---- looking at everything ---- */

static void ask_whose(struct entry *e, lh_ms now)
{
    struct ledger *l = e->l;

    if (e->asked || !l->synced || e->release_at != LH_NEVER || e->rec.term == l->term)
        return;
    e->asked = true;
    if (strcmp(e->rec.uid, LEDGER_SHARED_UID) == 0 || !l->opts.belongs(l->opts.arg, &e->rec))
        e->release_at = now;
}

/* When it is to be looked at again. */
static lh_ms look(struct entry *e, lh_ms now)
{
    struct ledger_facts f = {.term = e->l->term, .wall_ms = lh_clock_wall_ms()};
    enum ledger_act act;

    if (e->holder) {
        if (e->ends_at == LH_NEVER || now < e->ends_at + SLACK_MS)
            return e->ends_at == LH_NEVER ? LH_NEVER : e->ends_at + SLACK_MS;
        ledger_count("revoke", "ended");
        ledger_entry_gone(e);
        return LH_NEVER;
    }
    ask_whose(e, now);
    f.overlapped = e->release_at <= now;
    act = ledger_decide(&e->rec, &f);
    if (act == LEDGER_KEEP)
        return e->release_at;
    if (act == LEDGER_DROP) {
        ledger_count("revoke", "ended");
        ledger_entry_gone(e);
        return LH_NEVER;
    }
    if (act == LEDGER_GIVE_UP)
        give_up(e, NULL);
    if (e->next_try > now)
        return e->next_try;
    /* Without a release nothing is tried, given up or not. */
    if (!f.overlapped)
        return e->release_at;
    /* The API server's trouble is not the manager's: no try is lost to it. */
    if (ledger_gate(e->l, 0, NULL) < 0)
        return now + GATE_MS;
    try_one(e);
    return e->next_try > now ? e->next_try : LH_NEVER;
}

void ledger_sweep(void *arg)
{
    struct ledger *l = arg;
    lh_ms now = lh_clock_now(), next = LH_NEVER;
    size_t it = 0;
    void *entry;

    l->swept_at = now;
    if (!l->started || l->fenced || !l->taken)
        return;
    while (lh_map_next(l->by_key, &it, NULL, &entry)) {
        struct entry *e = entry;
        lh_ms at = e->doomed ? LH_NEVER : look(e, now);

        if (at < next)
            next = at;
    }
    ledger_measure(l);
    ledger_sweep_at(l, next);
}

void ledger_revoke_stop(struct ledger *l)
{
    lh_timer_stop(l->sweep_timer);
    while (l->reaches)
        reach_free(l->reaches);
    lh_timer_stop(l->sweep_timer);
}
