/* SPDX-License-Identifier: Apache-2.0 */
#include "lease_priv.h"

#include "leasehold/api/allow.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"

enum { MAX_PARAMS = 1024 * 1024 };

struct want {
    enum grant_op op;
    lh_ms at;
};

void lease_done(struct lease *l)
{
    lh_free(l->id);
    *l = (struct lease){0};
}

void grant_cancel(struct lh_grant *g)
{
    if (g->op)
        g->s->ops->cancel(g->op);
    g->op = NULL;
    g->doing = GRANT_IDLE;
}

void grant_free(struct lh_grant *g)
{
    if (!g)
        return;
    grant_cancel(g);
    lease_done(&g->lease);
    lease_done(&g->published);
    lh_json_unref(g->params);
    lh_err_keep(&g->last_err, NULL);
    lh_free(g->path);
    lh_free(g->note);
    lh_free(g->next_note);
    lh_free(g->version);
    lh_free(g);
}

static int grant_identify(struct lh_grant *g, struct lh_err *err)
{
    lh_auto_buf struct lh_buf b;
    uint8_t sum[LH_HASH_LEN];
    struct lh_str all;
    int rc;

    lh_buf_init(&b, MAX_PARAMS);
    lh_buf_printf(&b, "%lld %s\n", (long long)g->item_version, g->path);
    if (g->params)
        lh_json_write(g->params, LH_JSON_SORTED, &b);
    rc = lh_buf_check(&b, err);
    if (rc < 0)
        return rc;
    all = lh_buf_peek(&b);
    rc = lh_sha256(all.p, all.n, sum, err);
    if (rc == 0)
        lh_hex(sum, sizeof(sum), g->hex);
    return rc;
}

static struct lh_grant *find_equal(struct lh_session *s, const struct lh_grant *g)
{
    for (size_t i = 0; i < s->grants.n; i++) {
        struct lh_grant *have = session_grant_at(s, i);

        if (strcmp(have->hex, g->hex) == 0)
            return have;
    }
    return NULL;
}

static int64_t refresh_of(const struct lh_session *s, int64_t asked_ms)
{
    int64_t ms = asked_ms >= 0 ? asked_ms : s->store->refresh_default_ms;

    return ms > s->store->refresh_min_ms ? ms : s->store->refresh_min_ms;
}

static void grant_merge(struct lh_grant *have, const struct lh_grant *g)
{
    if (g->refresh_ms < have->refresh_ms)
        have->refresh_ms = g->refresh_ms;
    if (g->overlap_ms > have->overlap_ms)
        have->overlap_ms = g->overlap_ms;
    have->optional = have->optional && g->optional;
}

static int grant_new(struct lh_session *s, const struct lh_grant_spec *spec, struct lh_grant **out,
                     struct lh_err *err)
{
    struct lh_grant *g = lh_calloc(1, sizeof(*g));
    int rc;

    if (!g)
        return lh_err_nomem(err);
    g->s = s;
    g->item_version = spec->version;
    g->refresh_ms = refresh_of(s, spec->refresh_ms);
    g->overlap_ms = spec->overlap_ms;
    g->optional = spec->optional;
    g->user = spec->user;
    g->dice = lh_dice();
    g->params = spec->params ? lh_json_ref(lh_json_mut(spec->params)) : NULL;
    g->path = lh_strdup(spec->path);
    rc = g->path ? grant_identify(g, err) : lh_err_nomem(err);
    if (rc < 0) {
        grant_free(g);
        return rc;
    }
    *out = g;
    return 0;
}

int lh_session_add(struct lh_session *s, const struct lh_grant_spec *spec, struct lh_grant **out,
                   struct lh_err *err)
{
    struct lh_grant *g = NULL, *have;
    int rc = grant_new(s, spec, &g, err);

    if (rc < 0)
        return rc;
    have = find_equal(s, g);
    if (have) {
        grant_merge(have, g);
        grant_free(g);
        *out = have;
        return 0;
    }
    if (!lh_vec_push(&s->grants, &g)) {
        grant_free(g);
        return lh_err_nomem(err);
    }
    *out = g;
    return 0;
}

/* Below a mount that the store calls KV v2 nothing is ever issued; elsewhere only an answer tells.
 */
static bool is_below_kv2(const struct lh_grant *g)
{
    char *const *mounts = g->s->store->vault.kv2_mounts;

    for (size_t i = 0; mounts && mounts[i]; i++) {
        size_t n = strlen(mounts[i]);

        if (strncmp(g->path, mounts[i], n) == 0 && g->path[n] == '/')
            return true;
    }
    return false;
}

bool grant_may_issue(const struct lh_grant *g)
{
    if (g->kind_known)
        return g->kind == LH_KIND_LEASE || g->kind == LH_KIND_CERTIFICATE;
    return !is_below_kv2(g);
}

lh_ms grant_expiry(const struct lh_grant *g)
{
    if (g->state != GRANT_HELD)
        return 0; /* somebody waits for it */
    switch (g->kind) {
    case LH_KIND_LEASE:
    case LH_KIND_CERTIFICATE:
        return g->gone ? 0 : lh_life_end(&g->lease.life);
    case LH_KIND_STATIC:
        return g->rotation_due ? g->rotation_due : LH_NEVER;
    case LH_KIND_KV:
        break;
    }
    return LH_NEVER;
}

static lh_ms later(lh_ms a, lh_ms b)
{
    return a > b ? a : b;
}

/* A request that may make a credential: not before backoff, not before what lost answers cost. */
static struct want read_at(const struct lh_grant *g, lh_ms at)
{
    return (struct want){GRANT_READ, later(at, later(g->reads.next, g->lost_until))};
}

static struct want plan_lease(const struct lh_grant *g)
{
    struct lh_plan p;

    if (g->gone)
        return read_at(g, g->early.proved ? 0 : g->early.until);
    if (g->replace)
        return read_at(g, 0);
    p = lh_plan_life(&g->lease.life, &g->renewals);
    if (p.act == LH_ACT_REPLACE)
        return read_at(g, p.at);
    if (g->verify)
        return (struct want){GRANT_LOOKUP, 0};
    return (struct want){p.act == LH_ACT_RENEW ? GRANT_RENEW : GRANT_IDLE, p.at};
}

static struct want plan_poll(const struct lh_grant *g)
{
    lh_ms at = lh_plan_poll(g->poll_from, g->refresh_ms, g->dice);
    bool probe = g->version && g->item_version == 0 && !g->no_probe;

    if (g->changed)
        return read_at(g, 0);
    if (g->reads.n > 0)
        at = g->reads.next;
    return (struct want){probe ? GRANT_PROBE : GRANT_READ, at};
}

static struct want plan_static(const struct lh_grant *g)
{
    lh_ms poll = lh_plan_poll(g->poll_from, g->refresh_ms, g->dice);

    if (g->changed)
        return read_at(g, 0);
    /* Rotated by hand: nothing but a look now and then shows it. */
    return read_at(g, g->rotation_next < poll ? g->rotation_next : poll);
}

static struct want grant_plan(const struct lh_grant *g)
{
    if (g->state == GRANT_EMPTY)
        return read_at(g, 0);
    if (g->s->once)
        return (struct want){GRANT_IDLE, LH_NEVER};
    if (g->state == GRANT_ABSENT)
        return read_at(g, lh_plan_poll(g->poll_from, g->refresh_ms, g->dice));
    switch (g->kind) {
    case LH_KIND_LEASE:
        return plan_lease(g);
    case LH_KIND_CERTIFICATE:
        if (g->gone)
            return read_at(g, g->early.proved ? 0 : g->early.until);
        return read_at(g, lh_plan_certificate(&g->lease.life));
    case LH_KIND_STATIC:
        return plan_static(g);
    case LH_KIND_KV:
        break;
    }
    return plan_poll(g);
}

lh_ms grant_due(const struct lh_grant *g)
{
    struct want w = grant_plan(g);

    return w.op == GRANT_IDLE ? LH_NEVER : later(w.at, g->not_before);
}

/* What a token that is about to be replaced would issue has to be issued again with it. */
static bool token_is_leaving(const struct lh_grant *g)
{
    return g->s->doing == TOKEN_LOGIN && grant_may_issue(g);
}

void grant_step(struct lh_grant *g, lh_ms now)
{
    struct lh_session *s = g->s;
    struct want w;

    if (g->op || s->state != SESSION_LIVE)
        return;
    w = grant_plan(g);
    g->next_at = grant_due(g);
    if (g->next_at > now) {
        session_due(s, g->next_at);
        return;
    }
    if (w.op == GRANT_READ && token_is_leaving(g))
        return;
    if (s->parallel && s->busy >= s->parallel) {
        session_due(s, now + SLOT_MS);
        return;
    }
    if (outage_allows(s, now))
        grant_ask(g, w.op);
}

void grant_gone(struct lh_grant *g)
{
    if (g->gone)
        return;
    g->gone = true;
    g->verify = false;
    if (g->op && g->doing != GRANT_READ)
        grant_cancel(g);
    session_dirty(g->s);
}

bool grant_blocks_set(const struct lh_grant *g, lh_ms now)
{
    if (g->pending || g->state == GRANT_ABSENT)
        return false;
    if (!g->visible)
        return true;
    if (!g->in_set)
        return false;
    if (now < g->s->set_deadline)
        return true;
    /* Too late to wait: only for those that were not even asked for once. */
    return g->reads.n == 0 && (!g->gone || lh_early_allowed(&g->early, now));
}

void grant_published(struct lh_grant *g, lh_ms now)
{
    struct lh_session *s = g->s;
    struct lease *old = &g->published;

    lh_free(g->next_note);
    g->next_note = NULL;
    if (!g->pending)
        return;
    g->pending = false;
    g->visible = true;
    /* What cannot be renewed runs out; what hangs on an older token ends with that. */
    if (old->id && s->revoke && old->life.renewable && old->token_id == s->token.id)
        retire_lease(s, old, lh_plan_overlap(&old->life, now, g->overlap_ms));
    lease_done(old);
}

bool grant_waits(const struct lh_grant *g, lh_ms now)
{
    return g->reads.n > 0 || g->renewals.n > 0 || (!g->op && grant_plan(g).at <= now);
}

void grant_wake(struct lh_grant *g, lh_ms at)
{
    lh_failures_wake(&g->reads, at);
    lh_failures_wake(&g->renewals, at);
    g->not_before = at;
}

static int set_note(struct lh_grant *g, char **to, const char *note, struct lh_err *err)
{
    char *copy = note ? lh_strdup(note) : NULL;

    if (note && !copy)
        return lh_err_nomem(err);
    lh_free(*to);
    *to = copy;
    session_dirty(g->s);
    return 0;
}

int lh_grant_set_note(struct lh_grant *g, const char *note, struct lh_err *err)
{
    return set_note(g, &g->note, note, err);
}

int lh_grant_set_next_note(struct lh_grant *g, const char *note, struct lh_err *err)
{
    return set_note(g, &g->next_note, note, err);
}

void *lh_grant_user(const struct lh_grant *g)
{
    return g->user;
}

void lh_grant_info(const struct lh_grant *g, struct lh_grant_info *out)
{
    static const char *const names[] = {
        [GRANT_EMPTY] = "empty", [GRANT_HELD] = "held", [GRANT_ABSENT] = "absent"};
    bool has_life = g->kind == LH_KIND_LEASE || g->kind == LH_KIND_CERTIFICATE;
    /* While a new one is not in the files yet, the one in the files is what counts. */
    const struct lease *l = g->pending && g->published.id ? &g->published : &g->lease;

    *out = (struct lh_grant_info){
        .path = g->path,
        .user = g->user,
        .state = names[g->state],
        .kind = g->kind,
        .kind_known = g->kind_known,
        .held = g->state == GRANT_HELD,
        .absent = g->state == GRANT_ABSENT,
        .gone = g->state == GRANT_HELD && has_life &&
                (g->gone || lh_life_is_over(&l->life, lh_clock_now())),
        .pending = g->pending,
        .version = g->version,
        .hash = g->has_hash ? &g->hash : NULL,
        .issued_at = l->life.start,
        .ends_at = has_life && g->kind_known ? lh_life_end(&l->life) : LH_NEVER,
        .fresh_at = g->fresh_at,
        .next_at = g->next_at,
        .failures = g->reads.n + g->renewals.n,
        .last_err = g->last_err,
    };
}

void lh_session_grant_info(const struct lh_session *s, size_t i, struct lh_grant_info *out)
{
    lh_grant_info(session_grant_at(s, i), out);
}
