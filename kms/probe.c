/* SPDX-License-Identifier: Apache-2.0 */
/* A look at the key, and every few minutes a round trip under it: a Status that does neither would
 * say "ok" of a plugin that may not decrypt. */
#include <string.h>

#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/rand.h"
#include "metrics.h"
#include "service_priv.h"

enum { PROBE_TIMEOUT_MS = 3000, CANARY_EVERY_MS = 5 * 60 * 1000, CANARY_BYTES = 32 };
enum { RETRY_BASE_MS = 500, RETRY_CAP_MS = 10 * 1000, RETRY_FLOOR_MS = 100 };

static void tell_metrics(const struct kms_service *s)
{
    const struct kms_keys *k = &s->keys;

    kms_set_key(k->current ? k->current->v.version : 0, k->candidate ? k->candidate->v.version : 0,
                k->lost.code == 0);
    kms_set_key_hashes(k->current ? k->current->hash : "", k->candidate ? k->candidate->hash : "");
}

static void finished(struct kms_service *s, const struct lh_err *err)
{
    struct kms_probe *p = &s->probe;
    bool first = !p->ready && !err;

    p->running = false;
    if (err) {
        if (!p->last_err.code || strcmp(p->last_err.msg, err->msg) != 0)
            lh_log_warn("the key was not confirmed", LH_F_ERR(err));
        p->last_err = *err;
        lh_timer_in(p->timer, lh_backoff_next(&p->backoff, err->retry_ms));
        tell_metrics(s);
        return;
    }
    if (p->last_err.code)
        lh_log_info("the key is confirmed again");
    p->last_err = (struct lh_err){0};
    p->good_at = lh_clock_now();
    p->ready = true;
    lh_backoff_reset(&p->backoff);
    lh_timer_in(p->timer, s->keys.candidate ? s->probe_ms / 2
                                            : lh_rand_between(s->probe_ms * 9 / 10, s->probe_ms));
    tell_metrics(s);
    if (!first)
        return;
    kms_go_on(s);
    if (s->ready)
        s->ready(s->ready_arg);
}

static void canary_came_back(void *arg, const struct lh_secret *plain, const struct lh_err *err)
{
    struct kms_service *s = arg;
    struct kms_probe *p = &s->probe;
    struct lh_err mine = {0};

    if (!err && !lh_secret_equal(plain, p->canary)) {
        lh_err_set(&mine, LH_E_CONFLICT,
                   "what was encrypted to try the key was decrypted to something else");
        err = &mine;
    }
    p->canary = lh_secret_free(p->canary);
    if (!err)
        p->canary_at = lh_clock_now();
    finished(s, err);
}

static void canary_sealed(void *arg, struct lh_str ciphertext, const struct lh_err *err)
{
    struct kms_service *s = arg;
    const struct kms_key *k = s->probe.canary_key;
    char aad[KMS_AAD_MAX];

    if (err) {
        s->probe.canary = lh_secret_free(s->probe.canary);
        finished(s, err);
        return;
    }
    s->backend->ops->decrypt(s->backend, &k->v, ciphertext, kms_aad(k, aad), PROBE_TIMEOUT_MS,
                             canary_came_back, s);
}

static void send_canary(struct kms_service *s)
{
    struct kms_probe *p = &s->probe;
    char aad[KMS_AAD_MAX];
    struct lh_err err = {0};

    if (lh_secret_new(CANARY_BYTES, &p->canary, &err) < 0) {
        finished(s, &err);
        return;
    }
    lh_rand_bytes(lh_secret_expose(p->canary), CANARY_BYTES);
    p->canary_key = s->keys.current;
    s->backend->ops->encrypt(s->backend, &p->canary_key->v,
                             (struct lh_str){lh_secret_expose_const(p->canary), CANARY_BYTES},
                             kms_aad(p->canary_key, aad), PROBE_TIMEOUT_MS, canary_sealed, s);
}

static void log_change(const struct kms_service *s)
{
    const struct kms_key *k = s->keys.current;

    lh_log_info("key version advertised", LH_F_INT("version", k->v.version),
                LH_F_STR("key_id", k->id), LH_F_STR("key_id_hash", k->hash));
}

static void on_facts(void *arg, const struct kms_facts *f, const struct lh_err *err)
{
    struct kms_service *s = arg;
    const struct kms_key *settling = s->keys.candidate;
    bool changed = false, was_lost = s->keys.lost.code != 0;
    struct lh_err mine = {0};
    lh_ms now = lh_clock_now();

    if (!err && kms_keys_observe(&s->keys, f, now, lh_clock_wall_ms() / 1000, &changed, &mine) < 0)
        err = &mine;
    if (err) {
        finished(s, err);
        return;
    }
    if (changed)
        log_change(s);
    else if (s->keys.candidate && s->keys.candidate != settling)
        lh_log_info("a new key version settles", LH_F_INT("version", s->keys.candidate->v.version),
                    LH_F_STR("key_id", s->keys.candidate->id),
                    LH_F_STR("key_id_hash", s->keys.candidate->hash));
    if (s->keys.lost.code && !was_lost)
        lh_log_error("the key must not be used", LH_F_ERR(&s->keys.lost));
    if (!s->keys.lost.code &&
        (changed || !s->probe.canary_at || now - s->probe.canary_at >= CANARY_EVERY_MS))
        send_canary(s);
    else
        finished(s, NULL);
}

void kms_probe_now(struct kms_service *s)
{
    if (s->probe.running || s->ended)
        return;
    s->probe.running = true;
    s->backend->ops->look(s->backend, PROBE_TIMEOUT_MS, on_facts, s);
}

static void on_timer(void *arg)
{
    kms_probe_now(arg);
}

/* The store is back: nobody waits for the rest of a backoff. */
static void on_woken(void *arg)
{
    struct kms_service *s = arg;

    if (s->probe.last_err.code && !s->ended)
        lh_timer_in(s->probe.timer, 0);
}

int kms_probe_init(struct kms_service *s, struct lh_err *err)
{
    s->probe.backoff = (struct lh_backoff){
        .base_ms = RETRY_BASE_MS, .cap_ms = RETRY_CAP_MS, .floor_ms = RETRY_FLOOR_MS};
    s->backend->woken = on_woken;
    s->backend->woken_arg = s;
    return lh_timer_new(s->loop, on_timer, s, &s->probe.timer, err);
}

void kms_probe_done(struct kms_service *s)
{
    lh_timer_free(s->probe.timer);
    lh_secret_free(s->probe.canary);
}

void kms_probe_verdict(const struct kms_service *s, struct lh_err *why, bool *fatal)
{
    const struct kms_probe *p = &s->probe;
    lh_ms age = lh_clock_now() - p->good_at;

    *why = (struct lh_err){0};
    *fatal = false;
    if (s->keys.lost.code) {
        *why = s->keys.lost;
        *fatal = true;
    } else if (p->last_err.code == LH_E_NOTFOUND || p->last_err.code == LH_E_INVALID) {
        *why = p->last_err;
        *fatal = true;
    } else if (p->last_err.code == LH_E_DENIED || age > KMS_STALE_MS) {
        lh_err_set(why, LH_E_UNAVAILABLE, "the key was last confirmed %lld s ago: %.400s",
                   (long long)age / 1000,
                   p->last_err.code ? p->last_err.msg : "the backend does not answer");
    }
}
