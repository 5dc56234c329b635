/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/core/mem.h"
#include "metrics.h"
#include "service_priv.h"

/* A little less than we have ourselves: what the backend says of its failure is worth more than
 * that it was late. */
static unsigned set_limit(struct kms_flight *f)
{
    lh_ms now = lh_clock_now(), left;

    for (const struct kms_waiter *w = f->waiters.first; w; w = w->next) {
        if (w->answer_by > f->answer_by)
            f->answer_by = w->answer_by;
    }
    left = f->answer_by - now;
    left = left > 20 ? left - left / 20 : 1;
    f->ends_at = now + left;
    return (unsigned)left;
}

static struct lh_str text_of(const struct kms_cache_key *k)
{
    return (struct lh_str){(const char *)k->b, sizeof(k->b)};
}

static struct kms_flight *flight_new(struct kms_service *s, const struct kms_key *key)
{
    struct kms_flight *f = lh_calloc(1, sizeof(*f));

    if (!f)
        return NULL;
    f->s = s;
    f->key = key;
    f->next = s->flights;
    if (s->flights)
        s->flights->prev = f;
    s->flights = f;
    return f;
}

static void flight_free(struct kms_flight *f)
{
    struct kms_service *s = f->s;

    *(f->prev ? &f->prev->next : &s->flights) = f->next;
    if (f->next)
        f->next->prev = f->prev;
    if (f->joinable)
        lh_map_remove(s->joinable, text_of(&f->hash));
    lh_secret_free(f->plain);
    lh_free(f);
}

void kms_flights_free(struct kms_service *s)
{
    while (s->flights)
        flight_free(s->flights);
}

static void join(struct kms_flight *f, struct kms_waiter *w)
{
    kms_waiters_remove(&w->s->waiting, w);
    w->flight = f;
    kms_waiters_add(&f->waiters, w);
}

static void fail_all(struct kms_flight *f, const struct lh_err *err)
{
    while (f->waiters.first)
        kms_fail(f->waiters.first, err);
}

static void no_memory(struct kms_waiter *w)
{
    const struct lh_err err = {.code = LH_E_NOMEM, .msg = "out of memory"};

    kms_fail(w, &err);
}

/* The seed is kept with what it was sealed to: an API server that starts again asks for it. */
static void remember(struct kms_flight *f, struct lh_str ciphertext)
{
    struct kms_cache_key key;

    if (kms_cache_key(lh_str(f->key->id), ciphertext, &key, NULL) == 0)
        kms_cache_put(f->s->cache, &key, f->plain, lh_clock_now());
}

static void answer_sealed(struct kms_flight *f, struct lh_str ciphertext)
{
    const struct lh_kmsv2_annotation format = {lh_str(KMS_FORMAT_NAME), lh_str(KMS_FORMAT_VALUE)};
    const struct lh_kmsv2_sealed sealed = {.ciphertext = ciphertext,
                                           .key_id = lh_str(f->key->id),
                                           .annotations = &format,
                                           .n_annotations = 1};
    lh_auto_buf struct lh_buf b;
    struct lh_err err = {0};

    lh_buf_init(&b, LH_KMSV2_MESSAGE_MAX);
    if (lh_kmsv2_put_encrypt_response(&b, &sealed, &err) < 0)
        fail_all(f, &err);
    else if (f->waiters.first)
        kms_reply(f->waiters.first, &b);
}

static void sealed(void *arg, struct lh_str ciphertext, const struct lh_err *err)
{
    struct kms_flight *f = arg;

    if (err) {
        fail_all(f, err);
    } else {
        remember(f, ciphertext);
        answer_sealed(f, ciphertext);
    }
    flight_free(f);
}

void kms_fly_encrypt(struct kms_waiter *w)
{
    struct kms_service *s = w->s;
    struct kms_flight *f = flight_new(s, s->keys.current);
    char aad[KMS_AAD_MAX];

    if (!f) {
        no_memory(w);
        return;
    }
    f->plain = LH_TAKE_PTR(w->encrypt.plaintext);
    join(f, w);
    s->backend->ops->encrypt(
        s->backend, &f->key->v,
        (struct lh_str){f->plain ? lh_secret_expose_const(f->plain) : "", lh_secret_len(f->plain)},
        kms_aad(f->key, aad), set_limit(f), sealed, f);
}

/* To all who wait, from one buffer. */
static void answer_opened(struct kms_waiters *waiters, const struct lh_secret *plain)
{
    lh_auto_buf struct lh_buf b;
    struct lh_err err = {0};
    int rc;

    lh_buf_init(&b, LH_KMSV2_MESSAGE_MAX);
    rc = lh_kmsv2_put_decrypt_response(&b, plain, &err);
    while (waiters->first) {
        if (rc < 0)
            kms_fail(waiters->first, &err);
        else
            kms_reply(waiters->first, &b);
    }
}

static void opened(void *arg, const struct lh_secret *plain, const struct lh_err *err);

static void send_decrypt(struct kms_flight *f)
{
    const struct kms_waiter *any = f->waiters.first; /* they all ask for the same */
    struct kms_service *s = f->s;
    char aad[KMS_AAD_MAX];

    s->backend->ops->decrypt(s->backend, &f->key->v, any->decrypt.sealed.ciphertext,
                             kms_aad(f->key, aad), set_limit(f), opened, f);
}

/* The time that ran out was that of those it was sent for. Whoever joined later has some left. */
static bool go_round(struct kms_flight *f, const struct lh_err *err)
{
    lh_ms now = lh_clock_now(), sent_for = f->answer_by;

    if (err->code != LH_E_UNAVAILABLE || now < f->ends_at || f->s->ended)
        return false;
    for (struct kms_waiter *w = f->waiters.first, *next; w; w = next) {
        next = w->next;
        if (w->answer_by <= sent_for || w->answer_by <= now)
            kms_fail(w, err);
    }
    if (!f->waiters.first)
        return false;
    send_decrypt(f);
    return true;
}

static void opened(void *arg, const struct lh_secret *plain, const struct lh_err *err)
{
    struct kms_flight *f = arg;

    if (err && go_round(f, err))
        return;
    if (err) {
        fail_all(f, err);
    } else {
        kms_cache_put(f->s->cache, &f->hash, plain, lh_clock_now());
        answer_opened(&f->waiters, plain);
    }
    flight_free(f);
}

static void answer_cached(struct kms_waiter *w, const struct lh_secret *plain)
{
    lh_auto_buf struct lh_buf b;
    struct lh_err err = {0};

    lh_buf_init(&b, LH_KMSV2_MESSAGE_MAX);
    if (lh_kmsv2_put_decrypt_response(&b, plain, &err) < 0)
        kms_fail(w, &err);
    else
        kms_reply(w, &b);
}

static void take_off(struct kms_waiter *w, const struct kms_key *key,
                     const struct kms_cache_key *hash)
{
    struct kms_service *s = w->s;
    struct kms_flight *f = flight_new(s, key);

    if (!f) {
        no_memory(w);
        return;
    }
    f->hash = *hash;
    f->joinable = lh_map_set(s->joinable, text_of(hash), f, NULL, NULL) == 0;
    join(f, w);
    send_decrypt(f);
}

void kms_fly_decrypt(struct kms_waiter *w)
{
    struct kms_service *s = w->s;
    const struct lh_kmsv2_sealed *m = &w->decrypt.sealed;
    const struct kms_key *key = kms_keys_find(&s->keys, m->key_id);
    const struct lh_secret *plain;
    struct kms_flight *f;
    struct kms_cache_key hash;

    if (kms_cache_key(m->key_id, m->ciphertext, &hash, NULL) < 0) {
        no_memory(w);
        return;
    }
    plain = kms_cache_get(s->cache, &hash, lh_clock_now());
    f = plain ? NULL : lh_map_get(s->joinable, text_of(&hash));
    kms_count_decrypt(plain ? KMS_CACHE_HIT : f ? KMS_CACHE_JOINED : KMS_CACHE_MISS);
    if (plain)
        answer_cached(w, plain);
    else if (f)
        join(f, w);
    else
        take_off(w, key, &hash);
}
