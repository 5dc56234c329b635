/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/codec/json.h"
#include "leasehold/core/mem.h"
#include "metrics.h"
#include "service_priv.h"

enum { AGING_MS = 60 * 1000 };

static void on_deadline(void *arg)
{
    struct kms_service *s = arg;
    lh_ms now = lh_clock_now(), next = kms_expire(&s->waiting, now, INT64_MAX);

    for (struct kms_flight *f = s->flights; f; f = f->next)
        next = kms_expire(&f->waiters, now, next);
    if (next != INT64_MAX)
        lh_timer_at(s->deadline, next);
}

static void on_aging(void *arg)
{
    struct kms_service *s = arg;

    (void)kms_cache_expire(s->cache, lh_clock_now());
    lh_timer_in(s->aging, AGING_MS);
}

static int open_service(struct kms_service *s, const struct kms_service_options *o,
                        struct lh_err *err)
{
    int rc = kms_cache_new(o->cache_entries, o->cache_age_ms, &s->cache, err);

    if (rc == 0)
        rc = lh_map_new(&s->joinable, err);
    if (rc == 0)
        rc = lh_timer_new(o->loop, on_deadline, s, &s->deadline, err);
    if (rc == 0)
        rc = lh_timer_new(o->loop, on_aging, s, &s->aging, err);
    if (rc == 0)
        rc = kms_probe_init(s, err);
    return rc;
}

int kms_service_new(const struct kms_service_options *o, struct kms_service **out,
                    struct lh_err *err)
{
    struct kms_service *s = lh_calloc(1, sizeof(*s));
    int rc;

    if (!s)
        return lh_err_nomem(err);
    s->loop = o->loop;
    s->backend = o->backend;
    s->probe_ms = o->probe_ms;
    kms_keys_init(&s->keys, &o->scope, &o->settle);
    rc = open_service(s, o, err);
    if (rc < 0) {
        s->backend->woken = NULL;
        s->backend = NULL;
        kms_service_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

void kms_service_free(struct kms_service *s)
{
    if (!s)
        return;
    kms_service_end(s);
    if (s->backend)
        s->backend->ops->free(s->backend);
    kms_flights_free(s);
    kms_probe_done(s);
    kms_cache_free(s->cache);
    lh_map_free(s->joinable, NULL);
    lh_timer_free(s->deadline);
    lh_timer_free(s->aging);
    kms_keys_done(&s->keys);
    lh_free(s);
}

void kms_service_start(struct kms_service *s, void (*ready)(void *arg), void *arg)
{
    s->ready = ready;
    s->ready_arg = arg;
    lh_timer_in(s->aging, AGING_MS);
    kms_probe_now(s);
}

void kms_service_end(struct kms_service *s)
{
    const struct lh_err err = {.code = LH_E_UNAVAILABLE, .msg = "the plugin ends"};

    s->ended = true;
    while (s->waiting.first)
        kms_fail(s->waiting.first, &err);
    for (struct kms_flight *f = s->flights; f; f = f->next) {
        while (f->waiters.first)
            kms_fail(f->waiters.first, &err);
    }
    if (s->probe.timer)
        lh_timer_stop(s->probe.timer);
}

bool kms_service_is_ready(const struct kms_service *s)
{
    return s->probe.ready;
}

static lh_ms probe_age(const struct kms_service *s)
{
    return s->probe.ready ? lh_clock_now() - s->probe.good_at : -1;
}

void kms_service_measure(const struct kms_service *s)
{
    kms_set_gauges(probe_age(s), kms_cache_len(s->cache));
}

static int set_key(lh_json *o, const char *name, const struct kms_key *k)
{
    lh_json *v = k ? lh_json_new_object() : lh_json_new_null();

    if (k && v &&
        (lh_json_set(v, "keyId", lh_json_new_z(k->id)) < 0 ||
         lh_json_set(v, "keyIdHash", lh_json_new_z(k->hash)) < 0 ||
         lh_json_set(v, "version", lh_json_new_int(k->v.version)) < 0 ||
         lh_json_set(v, "created", lh_json_new_int(k->v.created_s)) < 0)) {
        lh_json_unref(v);
        return -1;
    }
    return lh_json_set(o, name, v);
}

void kms_service_status(const struct kms_service *s, struct lh_buf *b)
{
    lh_auto_json lh_json *o = lh_json_new_object();
    struct lh_err why = {0};
    bool fatal = false;

    if (s->probe.ready)
        kms_probe_verdict(s, &why, &fatal);
    else
        why = s->probe.last_err;
    if (!o || lh_json_set(o, "ready", lh_json_new_bool(s->probe.ready)) < 0 ||
        lh_json_set(o, "healthz",
                    lh_json_new_z(why.code         ? why.msg
                                  : s->probe.ready ? "ok"
                                                   : "the backend has not answered yet")) < 0 ||
        lh_json_set(o, "failsClosed", lh_json_new_bool(fatal)) < 0 ||
        set_key(o, "current", s->keys.current) < 0 ||
        set_key(o, "settling", s->keys.candidate) < 0 ||
        lh_json_set(o, "confirmedMsAgo", lh_json_new_int(probe_age(s))) < 0 ||
        lh_json_set(o, "cachedSeeds", lh_json_new_int((int64_t)kms_cache_len(s->cache))) < 0)
        b->failed = LH_E_NOMEM;
    else
        lh_json_write(o, LH_JSON_PRETTY, b);
}
