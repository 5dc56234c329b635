/* SPDX-License-Identifier: Apache-2.0 */
#include "lease_priv.h"

#include "leasehold/core/mem.h"

static char *dup_or_null(const char *z, bool *nomem)
{
    char *copy = z ? lh_strdup(z) : NULL;

    if (z && !copy)
        *nomem = true;
    return copy;
}

static int save_token(struct lh_state *st, const struct token *t, lh_ms revoke_at,
                      struct lh_err *err)
{
    struct lh_state_token *o = lh_state_add_token(st);
    bool nomem = false;

    if (!o)
        return lh_err_nomem(err);
    o->accessor = dup_or_null(t->accessor, &nomem);
    o->life = t->life;
    o->id = t->id;
    o->revoke_at = revoke_at;
    if (nomem)
        return lh_err_nomem(err);
    return lh_secret_copy(lh_secret_expose_const(t->value), lh_secret_len(t->value), &o->value,
                          err);
}

/* The new entry; NULL: err is set. */
static struct lh_state_lease *save_lease(struct lh_state *st, const struct lease *l,
                                         lh_ms revoke_at, struct lh_err *err)
{
    struct lh_state_lease *o = lh_state_add_lease(st);
    bool nomem = false;

    if (!o) {
        lh_err_nomem(err);
        return NULL;
    }
    o->lease_id = dup_or_null(l->id, &nomem);
    o->token_id = l->token_id;
    o->life = l->life;
    o->revoke_at = revoke_at;
    if (nomem)
        lh_err_nomem(err);
    return nomem ? NULL : o;
}

/* What is in the files if note is right about them. */
static int save_shown(struct lh_state_lease *o, const struct lh_grant *g, const char *version,
                      const char *note, struct lh_err *err)
{
    bool nomem = false;

    o->grant = dup_or_null(g->hex, &nomem);
    o->version = dup_or_null(version, &nomem);
    o->note = dup_or_null(note, &nomem);
    o->kind = (int)g->kind;
    o->rotation = g->rotation;
    o->fresh_at = g->fresh_at;
    o->early_until = g->early.proved ? 0 : g->early.until;
    o->published = true;
    return nomem ? lh_err_nomem(err) : 0;
}

/* Until it is about to be published only its end after a restart can be provided for. */
static int save_pending(struct lh_state *st, const struct lh_grant *g, struct lh_err *err)
{
    struct lh_state_lease *o;

    if (!g->lease.id && !g->next_note)
        return 0;
    o = save_lease(st, &g->lease, 1, err);
    if (!o)
        return -LH_E_NOMEM;
    return g->next_note ? save_shown(o, g, g->version, g->next_note, err) : 0;
}

static int save_grant(struct lh_state *st, const struct lh_grant *g, struct lh_err *err)
{
    const struct lease *shown = g->pending ? &g->published : &g->lease;
    struct lh_state_lease *o;
    int rc = g->pending ? save_pending(st, g, err) : 0;

    if (rc < 0 || !g->visible || (g->pending && !shown->id && grant_may_issue(g)))
        return rc;
    o = save_lease(st, shown, 0, err);
    /* A version whose values are not in the files yet would hide them. */
    return o ? save_shown(o, g, g->pending ? NULL : g->version, g->note, err) : -LH_E_NOMEM;
}

static int save_all(const struct lh_session *s, struct lh_state *st, struct lh_err *err)
{
    int rc = 0;

    if (s->token.value)
        rc = save_token(st, &s->token, 0, err);
    for (const struct retired *r = s->retired; r && rc == 0; r = r->next)
        rc = r->token.value                          ? save_token(st, &r->token, r->at, err)
             : save_lease(st, &r->lease, r->at, err) ? 0
                                                     : -LH_E_NOMEM;
    for (size_t i = 0; i < s->grants.n && rc == 0; i++)
        rc = save_grant(st, session_grant_at(s, i), err);
    return rc;
}

int lh_session_save(const struct lh_session *s, struct lh_state *out, struct lh_err *err)
{
    struct lh_state st = {0};
    int rc = save_all(s, &st, err);

    if (rc < 0) {
        lh_state_done(&st);
        return rc;
    }
    *out = st;
    return 0;
}

static void restore_tokens(struct lh_session *s, struct lh_state *st, lh_ms now)
{
    for (size_t i = 0; i < st->n_tokens; i++) {
        struct lh_state_token *t = &st->tokens[i];
        struct token mine = {.value = LH_TAKE_PTR(t->value),
                             .accessor = LH_TAKE_PTR(t->accessor),
                             .life = t->life,
                             .id = t->id,
                             .proved = true};

        if (t->id > s->last_token_id)
            s->last_token_id = t->id;
        if (lh_life_is_over(&mine.life, now))
            token_done(&mine);
        else if (t->revoke_at != 0)
            retire_token(s, &mine, t->revoke_at);
        else if (!s->token.value)
            s->token = mine; /* checked_at 0: looked up first of all */
        else
            token_done(&mine);
    }
}

static bool has_token(const struct lh_session *s, int64_t id)
{
    if (s->token.value && s->token.id == id)
        return true;
    for (const struct retired *r = s->retired; r; r = r->next) {
        if (r->token.value && r->token.id == id)
            return true;
    }
    return false;
}

static struct lh_grant *grant_by_hex(const struct lh_session *s, const char *hex)
{
    for (size_t i = 0; hex && i < s->grants.n; i++) {
        struct lh_grant *g = session_grant_at(s, i);

        if (strcmp(g->hex, hex) == 0)
            return g;
    }
    return NULL;
}

static void resume_grant(struct lh_grant *g, struct lh_state_lease *l)
{
    struct lh_session *s = g->s;

    g->state = GRANT_HELD;
    g->visible = g->kind_known = true;
    g->kind = (enum lh_secret_kind)l->kind;
    g->version = LH_TAKE_PTR(l->version);
    g->note = LH_TAKE_PTR(l->note);
    g->lease = (struct lease){LH_TAKE_PTR(l->lease_id), l->token_id, l->life};
    g->rotation = l->rotation;
    g->rotation_due = g->rotation_next = 1; /* at once: it may have moved meanwhile */
    g->fresh_at = l->fresh_at;
    g->early.until = l->early_until;
    if (g->lease.id && !has_token(s, l->token_id)) {
        grant_gone(g);
        g->in_set = true;
    } else if (g->lease.id && l->token_id != s->token.id) {
        g->replace = g->in_set = true;
    }
}

/* What was replaced in the files by the very publication that a restart cut short has its overlap
 * before it. */
static lh_ms end_of(const struct lh_grant *g, const struct lh_state_lease *l)
{
    if (l->published && l->revoke_at == 0 && g && g->state == GRANT_HELD)
        return lh_plan_overlap(&l->life, lh_clock_now(), g->overlap_ms);
    return l->revoke_at;
}

static void restore_lease(struct lh_session *s, struct lh_state_lease *l,
                          bool (*keep)(void *arg, struct lh_grant *g, const char *note), void *arg)
{
    struct lh_grant *g = grant_by_hex(s, l->grant);
    struct lease old;

    if (l->published && g && g->state == GRANT_EMPTY && l->kind <= LH_KIND_CERTIFICATE &&
        keep(arg, g, l->note)) {
        resume_grant(g, l);
        return;
    }
    if (!l->lease_id || !has_token(s, l->token_id))
        return;
    old = (struct lease){LH_TAKE_PTR(l->lease_id), l->token_id, l->life};
    retire_lease(s, &old, end_of(g, l));
}

void lh_session_restore(struct lh_session *s, struct lh_state *st,
                        bool (*keep)(void *arg, struct lh_grant *g, const char *note), void *arg)
{
    restore_tokens(s, st, lh_clock_now());
    for (size_t i = 0; i < st->n_leases; i++)
        restore_lease(s, &st->leases[i], keep, arg);
    lh_state_done(st);
    s->published_once = lh_session_set_complete(s);
    session_dirty(s);
}
