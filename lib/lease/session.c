/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include "lease_priv.h"

#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"

enum { MAX_STEPS_IN_A_ROW = 8 };

void session_due(struct lh_session *s, lh_ms at)
{
    if (at < s->wake_at)
        s->wake_at = at;
}

void session_count(struct lh_session *s, enum lh_lease_event ev, const char *reason)
{
    if (s->ev.count)
        s->ev.count(s->ev.arg, ev, reason);
}

void session_failed(struct lh_session *s, struct lh_grant *g, const struct lh_err *err)
{
    if (g)
        lh_err_keep(&g->last_err, err);
    else
        lh_err_keep(&s->last_err, err);
    session_count(s, LH_EV_FAILURE, err->reason);
    if (s->ev.failed)
        s->ev.failed(s->ev.arg, g, err);
}

/* While the store is away only the grant that expires first may try it. */
static struct lh_grant *soonest(const struct lh_session *s)
{
    struct lh_grant *best = NULL;

    for (size_t i = 0; i < s->grants.n; i++) {
        struct lh_grant *g = session_grant_at(s, i);

        if (!g->op && (!best || grant_expiry(g) < grant_expiry(best)))
            best = g;
    }
    return best;
}

static void count_busy(struct lh_session *s, lh_ms now)
{
    s->busy = 0;
    for (size_t i = 0; i < s->grants.n; i++) {
        const struct lh_grant *g = session_grant_at(s, i);

        s->busy += g->op && now - g->asked_at < SLOT_MS;
    }
}

static void step_once(struct lh_session *s)
{
    lh_ms now = lh_clock_now();
    struct lh_grant *first;

    count_busy(s, now);
    token_step(s, now);
    outage_step(s, now);
    first = s->outage.on ? soonest(s) : NULL;
    if (first)
        grant_step(first, now);
    for (size_t i = 0; i < s->grants.n; i++) {
        struct lh_grant *g = session_grant_at(s, i);

        assert(g); /* i is in range */
        if (g != first)
            grant_step(g, now);
        if (g->in_set && now < s->set_deadline)
            session_due(s, s->set_deadline);
    }
    retire_step(s, now);
    end_step(s);
}

void session_step(struct lh_session *s)
{
    s->again = true;
    if (s->stepping)
        return;
    s->stepping = true;
    for (int i = 0; s->again && i < MAX_STEPS_IN_A_ROW; i++) {
        s->again = false;
        s->wake_at = LH_NEVER;
        if (s->state == SESSION_OFF)
            break;
        step_once(s);
        if (s->state != SESSION_ENDING && s->ev.changed)
            s->ev.changed(s->ev.arg);
    }
    s->stepping = false;
    if (s->again && s->state != SESSION_OFF)
        lh_timer_in(s->timer, 0);
    else if (s->wake_at != LH_NEVER && s->state != SESSION_OFF)
        lh_timer_at(s->timer, s->wake_at);
    else
        lh_timer_stop(s->timer);
}

static void on_timer(void *arg)
{
    session_step(arg);
}

static void on_end_timer(void *arg)
{
    session_finish(arg);
}

static int session_open(struct lh_session *s, const struct lh_session_options *o,
                        struct lh_err *err)
{
    int rc = lh_timer_new(o->loop, on_timer, s, &s->timer, err);

    if (rc == 0)
        rc = lh_timer_new(o->loop, on_end_timer, s, &s->end_timer, err);
    if (rc < 0)
        return rc;
    if (o->parked)
        return 0; /* it has one */
    return o->provider->open(o->loop, o->store, o->identity, &s->provider, err);
}

int lh_session_new(const struct lh_session_options *opts, struct lh_session **out,
                   struct lh_err *err)
{
    struct lh_session *s = lh_calloc(1, sizeof(*s));
    int rc;

    if (!s)
        return lh_err_nomem(err);
    s->loop = opts->loop;
    s->ops = opts->provider;
    s->identity = opts->identity;
    s->store = lh_store_ref(opts->store);
    s->ev = opts->events;
    s->revoke = opts->revoke;
    s->once = opts->once;
    s->parallel = opts->parallel;
    /* A token that was handed to us is somebody else's to end. */
    s->owns_token = opts->store->vault.auth.method != LH_AUTH_TOKEN;
    s->verify_dice = lh_dice();
    s->wake_at = LH_NEVER;
    lh_vec_init(&s->grants, sizeof(struct lh_grant *));
    rc = session_open(s, opts, err);
    if (rc < 0) {
        lh_session_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

void lh_session_free(struct lh_session *s)
{
    if (!s)
        return;
    s->state = SESSION_OFF;
    for (size_t i = 0; i < s->grants.n; i++)
        grant_free(session_grant_at(s, i));
    lh_vec_done(&s->grants);
    if (s->op)
        s->ops->cancel(s->op);
    outage_cancel(s);
    retire_free(s);
    token_done(&s->token);
    lh_err_keep(&s->last_err, NULL);
    if (s->provider)
        s->ops->close(s->provider);
    lh_timer_free(s->timer);
    lh_timer_free(s->end_timer);
    lh_store_unref(s->store);
    lh_free(s);
}

void lh_session_start(struct lh_session *s)
{
    if (s->state != SESSION_OFF)
        return;
    s->state = s->token.value ? SESSION_LIVE : SESSION_LOGIN;
    session_step(s);
}

struct lh_provider *lh_session_provider(const struct lh_session *s)
{
    return s->provider;
}

bool lh_session_set_complete(const struct lh_session *s)
{
    lh_ms now = lh_clock_now();

    for (size_t i = 0; i < s->grants.n; i++) {
        if (grant_blocks_set(session_grant_at(s, i), now))
            return false;
    }
    return true;
}

/* A replaced token without leases in the files has no further use. */
static void schedule_old_tokens(struct lh_session *s, lh_ms now)
{
    for (struct retired *r = s->retired; r; r = r->next) {
        int64_t overlap = 0;
        bool used = false;

        if (!r->token.value || r->at != LH_NEVER)
            continue;
        for (size_t i = 0; i < s->grants.n; i++) {
            const struct lh_grant *g = session_grant_at(s, i);

            used = used || (g->lease.id && g->lease.token_id == r->token.id);
            if (g->overlap_ms > overlap)
                overlap = g->overlap_ms;
        }
        if (!used)
            r->at = now + overlap;
    }
}

void lh_session_published(struct lh_session *s)
{
    lh_ms now = lh_clock_now();

    for (size_t i = 0; i < s->grants.n; i++)
        grant_published(session_grant_at(s, i), now);
    s->published_once = true;
    schedule_old_tokens(s, now);
    session_dirty(s);
    session_step(s);
}

void lh_session_refetch(struct lh_session *s, struct lh_grant *g)
{
    g->visible = false;
    lh_session_forget(s, g);
}

void lh_session_forget(struct lh_session *s, struct lh_grant *g)
{
    g->has_hash = false;
    if (g->kind == LH_KIND_LEASE || g->kind == LH_KIND_CERTIFICATE)
        grant_gone(g);
    else
        g->changed = true;
    session_dirty(s);
    session_step(s);
}

uint64_t lh_session_version(const struct lh_session *s)
{
    return s->version;
}

size_t lh_session_grants(const struct lh_session *s)
{
    return s->grants.n;
}

struct lh_grant *lh_session_grant(const struct lh_session *s, size_t i)
{
    return session_grant_at(s, i);
}

void lh_session_info(const struct lh_session *s, struct lh_session_info *out)
{
    static const char *const names[] = {
        [SESSION_OFF] = "off",     [SESSION_LOGIN] = "login",   [SESSION_LIVE] = "live",
        [SESSION_DOUBT] = "doubt", [SESSION_ENDING] = "ending",
    };

    *out = (struct lh_session_info){
        .state = names[s->state],
        .has_token = s->token.value,
        .renewable = s->token.life.renewable,
        .in_outage = s->outage.on,
        .token_ends_at = s->token.value ? lh_life_end(&s->token.life) : 0,
        .last_err = s->last_err,
    };
}
