/* SPDX-License-Identifier: Apache-2.0 */
#include "lease_priv.h"

#include "leasehold/core/mem.h"

/* CERTIFICATE_LEAST_MS: a certificate that seems to end at once means that the clocks differ: no
 * storm. */
enum { CERTIFICATE_LEAST_MS = 60 * 1000, VALUES_MAX = 8 * 1024 * 1024 };

static void note(struct lh_failures *f, const struct lh_grant *g, const struct lh_err *err)
{
    lh_failures_note(f, lh_clock_now(), err->code, err->retry_ms, g->s->published_once, lh_dice());
}

/* What may have issued is not asked for again as soon as somebody waits for it. */
static void note_unclear(struct lh_failures *f, const struct lh_err *err)
{
    lh_failures_note(f, lh_clock_now(), err->code, err->retry_ms, true, lh_dice());
}

static bool is_token_word(const struct lh_err *err)
{
    return err->code == LH_E_EXPIRED && err->reason != LH_REASON_LeaseExpired;
}

/* What every failure tells, beside what it means for the grant. */
static void grant_failed(struct lh_grant *g, const struct lh_err *err)
{
    struct lh_session *s = g->s;

    session_failed(s, g, err);
    outage_failed(s, err);
    if (is_token_word(err))
        token_doubted(s, g->doing_token);
    else if (err->reason == LH_REASON_PermissionDenied)
        token_proved(s, g->doing_token); /* only a living token is refused by policy */
}

static void grant_answered(struct lh_grant *g)
{
    lh_err_keep(&g->last_err, NULL);
    token_proved(g->s, g->doing_token);
    outage_over(g->s, false);
}

/* The request may have made something whose name never arrived. */
static bool is_lost(const struct lh_grant *g, const struct lh_err *err)
{
    bool unclear = err->http_status < 300 || err->http_status == 502 || err->http_status == 504;

    return err->sent && unclear && grant_may_issue(g) &&
           (err->code == LH_E_UNAVAILABLE || err->code == LH_E_TOOBIG ||
            err->code == LH_E_INVALID || err->code == LH_E_NOMEM);
}

/* Nothing but this attempt hangs on the token: ending it ends what was lost. */
static bool can_start_over(const struct lh_session *s)
{
    if (!s->owns_token || s->published_once)
        return false;
    for (size_t i = 0; i < s->grants.n; i++) {
        if (session_grant_at(s, i)->lease.id)
            return false;
    }
    return true;
}

static void note_lost(struct lh_grant *g)
{
    struct lh_session *s = g->s;

    session_count(s, LH_EV_UNCONFIRMED, NULL);
    g->lost++;
    if (g->lost < 2)
        return;
    if (can_start_over(s)) {
        g->lost = 0;
        s->start_over = true;
        return;
    }
    g->lost_until = lh_plan_lost(g->lost, lh_clock_now(), g->lease.life.ms);
}

static void read_failed(struct lh_grant *g, const struct lh_err *err)
{
    if (err->code == LH_E_NOTFOUND && g->optional && !g->visible && !g->pending) {
        if (g->state != GRANT_ABSENT)
            session_dirty(g->s);
        g->state = GRANT_ABSENT;
        g->poll_from = lh_clock_now();
        g->dice = lh_dice();
        g->in_set = false;
        lh_failures_reset(&g->reads);
        grant_answered(g);
        return;
    }
    if (is_lost(g, err)) {
        note_lost(g);
        note_unclear(&g->reads, err);
    } else {
        note(&g->reads, g, err);
    }
    grant_failed(g, err);
}

static struct lh_life life_of(const struct lh_prov_read *r)
{
    struct lh_life l = {.start = r->sent_at, .renewable = r->renewable, .dice = lh_dice()};

    if (r->kind == LH_KIND_LEASE) {
        l.ms = r->lease_ms;
    } else if (r->kind == LH_KIND_CERTIFICATE && r->not_after_wall_ms > 0) {
        l.ms = r->not_after_wall_ms - (lh_clock_wall_ms() - (lh_clock_now() - r->sent_at));
        if (l.ms < CERTIFICATE_LEAST_MS)
            l.ms = CERTIFICATE_LEAST_MS;
        l.renewable = false;
    }
    l.asked_ms = l.ms;
    return l;
}

/* An early replacement stays unproved over the ordinary one that follows it. */
static void note_issue(struct lh_grant *g, const struct lh_life *life)
{
    bool early = g->gone;
    bool unproved = g->early.until != 0 && !g->early.proved;

    if (early || unproved)
        lh_early_issued(&g->early, life);
    else
        g->early = (struct lh_early){0};
    session_count(g->s, LH_EV_ISSUE, NULL);
}

static void replace_lease(struct lh_grant *g, struct lease *fresh)
{
    struct lh_session *s = g->s;

    if (g->pending && g->lease.id)
        retire_lease(s, &g->lease, lh_clock_now()); /* never seen by anybody */
    else if (g->lease.id && g->visible && !g->gone) {
        lease_done(&g->published);
        g->published = g->lease;
        g->lease = (struct lease){0};
    }
    lease_done(&g->lease);
    g->lease = *fresh;
    *fresh = (struct lease){0};
    g->lease_checked_at = lh_clock_now();
    g->gone = g->replace = g->verify = false;
    lh_failures_reset(&g->renewals);
}

static void note_rotation(struct lh_grant *g, const struct lh_prov_read *r, bool same)
{
    lh_ms now = lh_clock_now();
    bool was_due = g->rotation_due != 0 && r->sent_at >= g->rotation_due;

    if (g->rotation.last_wall_ms != 0 && r->last_rotation_wall_ms != 0)
        same = g->rotation.last_wall_ms == r->last_rotation_wall_ms;
    if (was_due && same) {
        g->rotation_wait = lh_rotation_again(g->rotation_due, now, g->rotation_wait);
        g->rotation_next = now + g->rotation_wait;
        return;
    }
    g->rotation = (struct lh_rotation){.last_wall_ms = r->last_rotation_wall_ms,
                                       .period_ms = r->rotation_period_ms,
                                       .ttl_ms = r->ttl_ms,
                                       .sent_at = r->sent_at,
                                       .done_at = r->done_at};
    g->rotation_wait = 0;
    g->rotation_due = lh_plan_rotation(&g->rotation, now, lh_clock_wall_ms(), lh_dice());
    g->rotation_next = g->rotation_due;
}

/* It was made for us and cannot be used: the next one would be no better. */
static void read_unusable(struct lh_grant *g, const struct lh_prov_read *r, struct lease *fresh,
                          const struct lh_err *err)
{
    note(&g->reads, g, err);
    session_failed(g->s, g, err);
    outage_over(g->s, false);
    if (r->kind == LH_KIND_LEASE || r->kind == LH_KIND_CERTIFICATE) {
        session_count(g->s, LH_EV_ISSUE, NULL);
        g->reads.next = g->reads.asked_until = lh_life_at(&fresh->life, 850);
        if (fresh->id)
            retire_lease(g->s, fresh, lh_clock_now());
    }
    lease_done(fresh);
}

/* Of the values, so that what did not change is not handed on. */
static int hash_values(const lh_json *data, struct lh_keyed_hash *out, struct lh_err *err)
{
    lh_auto_buf struct lh_buf b;
    struct lh_str all;
    int rc;

    lh_buf_init(&b, VALUES_MAX);
    lh_json_write(data, LH_JSON_SORTED, &b);
    rc = lh_buf_check(&b, err);
    if (rc < 0)
        return rc;
    all = lh_buf_peek(&b);
    return lh_keyed_hash(all.p, all.n, out, err);
}

/* Hands the values on unless they are what the owner has. *same: nothing is to be published. */
static int hand_on(struct lh_grant *g, const struct lh_prov_read *r, bool *same, struct lh_err *err)
{
    struct lh_keyed_hash hash;
    int rc = hash_values(r->data, &hash, err);

    if (rc < 0)
        return rc;
    *same = g->has_hash && g->visible && !g->pending && lh_keyed_hash_equal(&hash, &g->hash);
    if (!*same)
        rc = g->s->ev.values(g->s->ev.arg, g, r, err);
    if (rc < 0)
        return rc;
    g->hash = hash;
    g->has_hash = true;
    return 0;
}

static int take_names(struct lh_grant *g, const struct lh_prov_read *r, struct lease *fresh,
                      char **version)
{
    fresh->life = life_of(r);
    fresh->token_id = g->doing_token;
    fresh->id = r->kind == LH_KIND_LEASE && r->lease_id ? lh_strdup(r->lease_id) : NULL;
    *version = r->version ? lh_strdup(r->version) : NULL;
    if ((r->kind == LH_KIND_LEASE && r->lease_id && !fresh->id) || (r->version && !*version))
        return -LH_E_NOMEM;
    return 0;
}

static void read_taken(struct lh_grant *g, const struct lh_prov_read *r, struct lease *fresh,
                       char **version, bool same)
{
    if (r->kind == LH_KIND_LEASE || r->kind == LH_KIND_CERTIFICATE) {
        note_issue(g, &fresh->life);
        replace_lease(g, fresh);
    } else if (g->lease.id) {
        lease_done(&g->lease); /* the path became something else */
    }
    g->kind = r->kind;
    g->kind_known = true;
    if (r->kind == LH_KIND_STATIC)
        note_rotation(g, r, same);
    lh_free(g->version);
    g->version = *version;
    *version = NULL;
    g->state = GRANT_HELD;
    g->pending = g->pending || !same || !g->visible;
    /* Asked for before a new login came between: it ends with the token that is leaving. */
    g->replace = g->in_set = g->lease.id && g->doing_token != g->s->token.id;
    g->changed = g->gone = false;
    g->lost = 0;
    g->lost_until = 0;
    g->poll_from = g->fresh_at = lh_clock_now();
    g->dice = lh_dice();
    lh_failures_reset(&g->reads);
    session_dirty(g->s);
}

static void read_came(struct lh_grant *g, const struct lh_prov_read *r)
{
    struct lease fresh = {0};
    char *version = NULL;
    struct lh_err err = {0};
    bool same = false;
    int rc;

    session_count(g->s, LH_EV_READ, NULL);
    token_proved(g->s, g->doing_token);
    rc = take_names(g, r, &fresh, &version);
    if (rc < 0)
        lh_err_nomem(&err);
    else
        rc = hand_on(g, r, &same, &err);
    if (rc < 0) {
        read_unusable(g, r, &fresh, &err);
    } else {
        read_taken(g, r, &fresh, &version, same);
        grant_answered(g);
    }
    lease_done(&fresh);
    lh_free(version);
}

static void on_read(void *arg, const struct lh_prov_result *res, const struct lh_err *err)
{
    struct lh_grant *g = arg;

    g->op = NULL;
    g->doing = GRANT_IDLE;
    if (err)
        read_failed(g, err);
    else
        read_came(g, res->read);
    session_step(g->s);
}

static void on_probe(void *arg, const struct lh_prov_result *res, const struct lh_err *err)
{
    struct lh_grant *g = arg;

    g->op = NULL;
    g->doing = GRANT_IDLE;
    if (!err) {
        session_count(g->s, LH_EV_PROBE, NULL);
        grant_answered(g);
        lh_failures_reset(&g->reads);
        g->poll_from = lh_clock_now();
        g->dice = lh_dice();
        /* A deleted one is read as well: the answer to that says it in full. What was to be read
         * again since this was asked still is. */
        g->changed = g->changed || res->version->deleted || !res->version->version ||
                     strcmp(res->version->version, g->version) != 0;
        if (!g->changed)
            g->fresh_at = g->poll_from;
    } else if (err->code == LH_E_DENIED || err->code == LH_E_NOTFOUND ||
               err->code == LH_E_INVALID) {
        /* The right to read says nothing of the right to read metadata. */
        g->no_probe = err->code != LH_E_NOTFOUND;
        g->changed = true;
        outage_over(g->s, false);
    } else {
        note(&g->reads, g, err);
        grant_failed(g, err);
    }
    session_step(g->s);
}

static void on_renew(void *arg, const struct lh_prov_result *res, const struct lh_err *err)
{
    struct lh_grant *g = arg;

    g->op = NULL;
    g->doing = GRANT_IDLE;
    if (!err) {
        const struct lh_prov_life *l = res->life;

        if (l->ttl_ms > 0)
            lh_life_renewed(&g->lease.life, l->sent_at, l->ttl_ms, l->renewable, l->capped,
                            lh_dice());
        else
            g->replace = true; /* nothing is left of it */
        g->early.proved = true;
        g->lease_checked_at = g->fresh_at = lh_clock_now();
        lh_failures_reset(&g->renewals);
        session_count(g->s, LH_EV_RENEW, NULL);
        session_dirty(g->s);
        grant_answered(g);
    } else {
        lh_failures_note(&g->renewals, lh_clock_now(), err->code, err->retry_ms, true, lh_dice());
        grant_failed(g, err);
        if (err->code == LH_E_EXPIRED && !is_token_word(err))
            grant_gone(g);
        else if (err->code == LH_E_INVALID)
            g->lease.life.renewable = false;
    }
    session_step(g->s);
}

static void on_lookup(void *arg, const struct lh_prov_result *res, const struct lh_err *err)
{
    struct lh_grant *g = arg;
    lh_ms now = lh_clock_now();

    g->op = NULL;
    g->doing = GRANT_IDLE;
    g->verify = false;
    g->lease_checked_at = now;
    if (!err) {
        const struct lh_prov_life *l = res->life;

        session_count(g->s, LH_EV_LOOKUP, NULL);
        g->early.proved = true;
        g->fresh_at = now;
        if (l->ttl_ms > 0 && l->sent_at + l->ttl_ms + 2000 < lh_life_end(&g->lease.life)) {
            g->lease.life.start = l->sent_at; /* somebody cut it */
            g->lease.life.ms = l->ttl_ms;
            session_dirty(g->s);
        }
        grant_answered(g);
    } else if (err->code == LH_E_DENIED) {
        g->s->lookup_lease_denied = true;
        token_proved(g->s, g->doing_token);
        outage_over(g->s, false);
    } else {
        grant_failed(g, err);
        if (err->code == LH_E_EXPIRED && !is_token_word(err))
            grant_gone(g);
    }
    session_step(g->s);
}

static int ask(struct lh_grant *g, enum grant_op what, struct lh_err *err)
{
    struct lh_session *s = g->s;
    const struct lh_secret *token = s->token.value;
    struct lh_read_request req = {.path = g->path, .params = g->params, .version = g->item_version};

    switch (what) {
    case GRANT_READ:
        return s->ops->read(s->provider, token, &req, on_read, g, &g->op, err);
    case GRANT_PROBE:
        return s->ops->probe(s->provider, token, g->path, on_probe, g, &g->op, err);
    case GRANT_RENEW:
        return s->ops->renew_lease(s->provider, token, g->lease.id, on_renew, g, &g->op, err);
    case GRANT_LOOKUP:
        return s->ops->lookup_lease(s->provider, token, g->lease.id, on_lookup, g, &g->op, err);
    case GRANT_IDLE:
        break;
    }
    return lh_err_set(err, LH_E_INVALID, "nothing to ask for");
}

void grant_ask(struct lh_grant *g, enum grant_op what)
{
    struct lh_err err = {0};
    int rc;

    g->doing_token = g->s->token.id;
    g->not_before = 0;
    rc = ask(g, what, &err);
    if (rc == 0) {
        g->doing = what;
        g->asked_at = lh_clock_now();
        g->s->busy++;
        return;
    }
    g->s->again = true;
    if (what == GRANT_PROBE && err.code == LH_E_INVALID) {
        g->no_probe = true;
        return;
    }
    note(what == GRANT_RENEW ? &g->renewals : &g->reads, g, &err);
    g->verify = false;
    session_failed(g->s, g, &err);
}
