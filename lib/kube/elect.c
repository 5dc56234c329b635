/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request at a time: a candidate reads, and writes when the record is to be had; a leader
 * writes over what it wrote last, and reads only after a conflict. What was asked and never
 * answered may have been done: the next read or conflict tells.
 */
#include "leasehold/kube/elect.h"

#include <stdio.h>
#include <string.h>

#include "kube_priv.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/rand.h"

enum {
    LEASE_MS = 15000,
    RENEW_MS = 10000,
    RETRY_MS = 2000,
    JITTER_PERCENT = 120,       /* of a candidate's retry, as in client-go */
    MAX_LEASE_S = 3600,         /* of a record of somebody else */
    RELEASED_S = 1,             /* what is left of a lease that was given back */
    MAX_TRANSITIONS = INT32_MAX /* the API's own */
};

struct lh_election {
    struct lh_kube *k;
    char *namespace_, *name, *identity;
    unsigned lease_ms, renew_ms, retry_ms;
    void (*won)(void *arg, int64_t term);
    void (*lost)(void *arg);
    void (*noted)(void *arg);
    void *arg;

    /* What is known of the Lease. */
    lh_json *seen;    /* as last read or written; NULL: never */
    bool absent;      /* it was there no more, the last time */
    lh_ms changed_at; /* since when its record is as it is */
    int64_t highest;  /* of the terms that were seen */

    /* Ours. */
    int64_t term; /* the last that we asked for; 0: none */
    bool leading;
    bool notes_changed; /* and nobody was told yet */
    lh_json *notes;     /* annotations that are to be so: text, or null for none; NULL: no matter */
    lh_ms renewed_at;   /* when the last renewal that was granted was asked for */
    char acquired[32];

    struct lh_kube_op *op;
    lh_ms asked_at;
    bool reread; /* after a conflict: not a second time in this try */
    struct lh_timer *timer, *deadline;
    char trouble[512];

    struct lh_timer *limit; /* of a release */
    bool releasing;
    void (*released)(void *arg);
    void *released_arg;
};

const struct lh_metric lh_election_metrics[] = {
    {.name = "leader_election_master_status",
     .help = "1 while this process leads, by name of the Lease.",
     .type = LH_METRIC_GAUGE,
     .labels = {"name"},
     .max_series = 8},
    {0},
};

static void look(void *arg);
static void on_deadline(void *arg);
static void on_limit(void *arg);
static void read_lease(struct lh_election *e);
static void write_lease(struct lh_election *e);

static void set_leading(struct lh_election *e, bool leading)
{
    e->leading = leading;
    if (!leading) {
        lh_json_unref(e->notes);
        e->notes = NULL;
    }
    lh_metric_set(&lh_election_metrics[0], leading, LH_LABELS(e->name));
}

void lh_election_free(struct lh_election *e)
{
    if (!e)
        return;
    if (e->leading)
        set_leading(e, false);
    lh_kube_cancel(e->op);
    lh_timer_free(e->timer);
    lh_timer_free(e->deadline);
    lh_timer_free(e->limit);
    lh_json_unref(e->seen);
    lh_json_unref(e->notes);
    lh_free(e->namespace_);
    lh_free(e->name);
    lh_free(e->identity);
    lh_free(e);
}

int lh_election_start(const struct lh_election_options *o, struct lh_election **out,
                      struct lh_err *err)
{
    struct lh_election *e = lh_calloc(1, sizeof(*e));
    struct lh_loop *loop = lh_kube_loop(o->kube);
    int rc = 0;

    if (!e)
        return lh_err_nomem(err);
    e->k = o->kube;
    e->won = o->won;
    e->lost = o->lost;
    e->noted = o->noted;
    e->arg = o->arg;
    e->lease_ms = o->lease_ms ? o->lease_ms : LEASE_MS;
    e->renew_ms = o->renew_ms ? o->renew_ms : RENEW_MS;
    e->retry_ms = o->retry_ms ? o->retry_ms : RETRY_MS;
    e->namespace_ = lh_strdup(o->namespace_);
    e->name = lh_strdup(o->name);
    e->identity = lh_strdup(o->identity);
    if (!e->namespace_ || !e->name || !e->identity)
        rc = lh_err_nomem(err);
    else if (e->lease_ms <= e->renew_ms || e->renew_ms <= e->retry_ms || !*e->identity)
        rc = lh_err_set(err, LH_E_INVALID,
                        "election of %s/%s: it needs an identity, and a lease longer than the time "
                        "to renew it, and that longer than between two tries",
                        e->namespace_, e->name);
    if (rc == 0)
        rc = lh_metrics_register(lh_election_metrics, err);
    if (rc == 0)
        rc = lh_timer_new(loop, look, e, &e->timer, err);
    if (rc == 0)
        rc = lh_timer_new(loop, on_deadline, e, &e->deadline, err);
    if (rc == 0)
        rc = lh_timer_new(loop, on_limit, e, &e->limit, err);
    if (rc < 0) {
        lh_election_free(e);
        return rc;
    }
    set_leading(e, false);
    lh_timer_in(e->timer, 0);
    *out = e;
    return 0;
}

bool lh_election_is_leader(const struct lh_election *e)
{
    return e->leading && lh_clock_now() < e->renewed_at + e->renew_ms;
}

int64_t lh_election_term(const struct lh_election *e)
{
    return lh_election_is_leader(e) ? e->term : 0;
}

static const lh_json *record_of(const struct lh_election *e)
{
    return lh_json_get(e->seen, "spec");
}

const char *lh_election_holder(const struct lh_election *e)
{
    const char *holder = lh_json_get_z(record_of(e), "holderIdentity");

    return holder ? holder : "";
}

const char *lh_election_trouble(const struct lh_election *e)
{
    return e->trouble;
}

static const lh_json *notes_of(const lh_json *lease)
{
    return lh_json_path(lease, "metadata", "annotations", NULL);
}

const char *lh_election_note(const struct lh_election *e, const char *key)
{
    return e->absent ? NULL : lh_json_get_z(notes_of(e->seen), key);
}

int lh_election_set_note(struct lh_election *e, const char *key, const char *value,
                         struct lh_err *err)
{
    if (!e->leading)
        return 0;
    if (!e->notes)
        e->notes = lh_json_new_object();
    if (!e->notes ||
        lh_json_set(e->notes, key, value ? lh_json_new_z(value) : lh_json_new_null()) < 0)
        return lh_err_nomem(err);
    return 0;
}

static int put_notes(const struct lh_election *e, lh_json *meta)
{
    lh_json *to;
    const lh_json *value;
    struct lh_str key;
    void *it = NULL;

    if (!lh_json_get(meta, "annotations") &&
        lh_json_set(meta, "annotations", lh_json_new_object()) < 0)
        return -1;
    to = lh_json_mut(lh_json_get(meta, "annotations"));
    while (lh_json_next(e->notes, &it, &key, &value)) {
        struct lh_str text;

        if (!lh_json_str(value, &text))
            lh_json_deln(to, key);
        else if (lh_json_setn(to, key, lh_json_new_str(text)) < 0)
            return -1;
    }
    return 0;
}

/* Remembers what is there now. */
static int observe(struct lh_election *e, const lh_json *lease)
{
    const lh_json *spec = lh_json_get(lease, "spec");
    int64_t transitions = lh_json_get_int(spec, "leaseTransitions", 0);
    lh_json *copy = lh_json_deep_copy(lease);

    if (!copy)
        return -1;
    /* Half of the object, and of no use: what an update leaves out stays as it is. */
    lh_json_del(lh_json_mut(lh_json_get(copy, "metadata")), "managedFields");
    if (!e->seen || e->absent || !lh_json_equal(record_of(e), spec))
        e->changed_at = lh_clock_now();
    e->notes_changed |= !lh_json_equal(notes_of(e->seen), notes_of(copy));
    lh_json_unref(e->seen);
    e->seen = copy;
    e->absent = false;
    if (transitions > e->highest && transitions < MAX_TRANSITIONS)
        e->highest = transitions;
    return 0;
}

/* The record is what this process wrote last. */
static bool is_ours(const struct lh_election *e)
{
    return e->term > 0 && strcmp(lh_election_holder(e), e->identity) == 0 &&
           lh_json_get_int(record_of(e), "leaseTransitions", 0) == e->term;
}

/* How long the record still binds us, by our own clock. */
static lh_ms left(const struct lh_election *e)
{
    int64_t seconds = lh_json_get_int(record_of(e), "leaseDurationSeconds", 0);
    lh_ms end;

    if (!*lh_election_holder(e) || is_ours(e))
        return 0;
    end = e->changed_at + (seconds > 0 && seconds <= MAX_LEASE_S ? seconds * 1000 : e->lease_ms);
    return end > lh_clock_now() ? end - lh_clock_now() : 0;
}

/* The next try of a candidate: with jitter, but soon after the record expires. */
static lh_ms candidate_delay(const struct lh_election *e)
{
    lh_ms most = (lh_ms)e->retry_ms * (100 + JITTER_PERCENT) / 100;
    lh_ms delay = lh_rand_between(e->retry_ms, most);
    lh_ms expires = left(e);

    if (expires > 0)
        expires += lh_rand_between(0, e->retry_ms / 4);
    return expires > 0 && expires < delay ? expires : delay;
}

static void wait_for_next(struct lh_election *e, lh_ms at_least)
{
    lh_ms delay = e->leading ? e->retry_ms : candidate_delay(e);

    lh_timer_in(e->timer, delay > at_least ? delay : at_least);
}

static void finish_release(struct lh_election *e)
{
    void (*done)(void *arg) = e->released;

    lh_kube_cancel(e->op);
    e->op = NULL;
    e->released = NULL;
    lh_timer_stop(e->limit);
    if (done)
        done(e->released_arg);
}

static void on_limit(void *arg)
{
    finish_release(arg);
}

static void failed(struct lh_election *e, const struct lh_err *err)
{
    snprintf(e->trouble, sizeof(e->trouble), "%s", err->msg);
    if (e->releasing)
        lh_timer_in(e->limit, 0);
    else
        wait_for_next(e, err->retry_ms);
}

static void lose(struct lh_election *e)
{
    set_leading(e, false);
    lh_timer_stop(e->deadline);
    if (e->lost)
        e->lost(e->arg);
}

/* A term that ended does not come back: the answer that is still to come would make it do so. */
static void on_deadline(void *arg)
{
    struct lh_election *e = arg;

    lh_kube_cancel(e->op);
    e->op = NULL;
    e->leading = false; /* before the delay is chosen */
    wait_for_next(e, 0);
    lose(e);
}

/* The record was written as we wanted it. */
static void granted(struct lh_election *e)
{
    bool first = !e->leading, changed = e->notes_changed;

    e->renewed_at = e->asked_at;
    if (lh_clock_now() >= e->renewed_at + e->renew_ms) {
        /* The answer came too late to lead by: the next one may be quicker. */
        wait_for_next(e, 0);
        return;
    }
    set_leading(e, true);
    lh_timer_at(e->deadline, e->renewed_at + e->renew_ms);
    wait_for_next(e, 0);
    e->notes_changed = false;
    if (first && e->won)
        e->won(e->arg, e->term);
    else if (changed && e->noted)
        e->noted(e->arg);
}

static void on_written(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct lh_election *e = arg;
    struct lh_err local = {0};

    e->op = NULL;
    if (err && (err->code == LH_E_CONFLICT || err->code == LH_E_NOTFOUND) && !e->reread) {
        e->reread = true;
        read_lease(e);
        return;
    }
    if (!err && observe(e, obj) < 0) {
        lh_err_nomem(&local);
        err = &local;
    }
    if (err) {
        failed(e, err);
        return;
    }
    e->trouble[0] = '\0';
    if (e->releasing)
        finish_release(e);
    else
        granted(e);
}

/* microTime of the API: six digits, no more and no less. */
static void now_text(char out[32])
{
    char ms[32];

    lh_clock_format(lh_clock_wall_ms(), ms);
    snprintf(out, 32, "%.*s000Z", (int)strcspn(ms, "Z"), ms);
}

static int put_record(struct lh_election *e, lh_json *spec)
{
    unsigned seconds = e->releasing ? RELEASED_S : (e->lease_ms + 999) / 1000;
    char now[32];

    now_text(now);
    if (!e->leading && !e->releasing)
        memcpy(e->acquired, now, sizeof(now));
    if (e->releasing)
        lh_json_del(spec, "holderIdentity");
    else if (lh_json_set(spec, "holderIdentity", lh_json_new_z(e->identity)) < 0)
        return -1;
    if (lh_json_set(spec, "leaseDurationSeconds", lh_json_new_int(seconds)) < 0 ||
        lh_json_set(spec, "leaseTransitions", lh_json_new_int(e->term)) < 0 ||
        lh_json_set(spec, "acquireTime", lh_json_new_z(e->acquired)) < 0)
        return -1;
    return lh_json_set(spec, "renewTime", lh_json_new_z(now));
}

/* What is there, with our record in it; NULL: no memory. */
static lh_json *new_lease(struct lh_election *e)
{
    lh_auto_json lh_json *lease = NULL;
    lh_json *meta;

    if (!e->absent) {
        lease = lh_json_deep_copy(e->seen);
    } else {
        lease = lh_json_new_object();
        meta = lh_json_new_object();
        if (!lease || lh_json_set(lease, "metadata", meta) < 0 ||
            lh_json_set(lease, "apiVersion", lh_json_new_z("coordination.k8s.io/v1")) < 0 ||
            lh_json_set(lease, "kind", lh_json_new_z("Lease")) < 0 ||
            lh_json_set(meta, "name", lh_json_new_z(e->name)) < 0)
            return NULL;
    }
    if (!lease ||
        (!lh_json_get(lease, "spec") && lh_json_set(lease, "spec", lh_json_new_object()) < 0))
        return NULL;
    if (e->notes && put_notes(e, lh_json_mut(lh_json_get(lease, "metadata"))) < 0)
        return NULL;
    return put_record(e, lh_json_mut(lh_json_get(lease, "spec"))) < 0 ? NULL : LH_TAKE_PTR(lease);
}

static void ask(struct lh_election *e, const char *method, bool by_name, const lh_json *body,
                lh_kube_done_fn done)
{
    const struct lh_kube_resource res = {"coordination.k8s.io",    "v1", "leases", e->namespace_,
                                         by_name ? e->name : NULL, NULL};
    struct lh_err err = {0};

    e->asked_at = lh_clock_now();
    /* Half of the time to renew in, so that one request that stalls is not the end. */
    if (lh_kube_start(e->k, method, &res, NULL, NULL, body, e->renew_ms / 2, done, e, &e->op,
                      &err) < 0)
        failed(e, &err);
}

static void write_lease(struct lh_election *e)
{
    lh_auto_json lh_json *lease = NULL;
    struct lh_err err = {0};

    if (!e->leading && !e->releasing)
        e->term = ++e->highest;
    lease = new_lease(e);
    if (!lease) {
        lh_err_nomem(&err);
        failed(e, &err);
        return;
    }
    ask(e, e->absent ? "POST" : "PUT", !e->absent, lease, on_written);
}

/* While we lead or give back: is it still ours to write? */
static void keep(struct lh_election *e)
{
    bool ours = e->absent || is_ours(e);

    if (e->releasing) {
        if (ours && !e->absent)
            write_lease(e);
        else
            finish_release(e);
        return;
    }
    if (ours) {
        write_lease(e);
        return;
    }
    e->leading = false; /* before the delay is chosen */
    wait_for_next(e, 0);
    lose(e);
}

/* A process that starts anew under a name that it had before is alone with it: it need not wait for
 * itself. Later the same name in a term that is not ours is somebody else. */
static bool is_former_self(const struct lh_election *e, bool first)
{
    return first && strcmp(lh_election_holder(e), e->identity) == 0;
}

static void on_read(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct lh_election *e = arg;
    bool first = !e->seen && !e->absent;
    struct lh_err local = {0};

    e->op = NULL;
    if (!err && observe(e, obj) < 0) {
        lh_err_nomem(&local);
        err = &local;
    }
    if (err && err->code != LH_E_NOTFOUND) {
        failed(e, err);
        return;
    }
    /* Whoever deleted it did not stop the leader, who may have renewed just before. */
    if (err && !e->absent)
        e->changed_at = lh_clock_now();
    e->absent = err != NULL;
    e->trouble[0] = '\0';
    if (e->leading || e->releasing)
        keep(e);
    else if (left(e) == 0 || is_former_self(e, first))
        write_lease(e);
    else
        wait_for_next(e, 0);
}

static void read_lease(struct lh_election *e)
{
    ask(e, "GET", true, NULL, on_read);
}

static void look(void *arg)
{
    struct lh_election *e = arg;

    e->reread = false;
    if (e->leading && !e->absent)
        write_lease(e);
    else
        read_lease(e);
}

void lh_election_release(struct lh_election *e, unsigned limit_ms, void (*done)(void *arg),
                         void *arg)
{
    if (e->releasing)
        return;
    e->releasing = true;
    e->released = done;
    e->released_arg = arg;
    lh_kube_cancel(e->op);
    e->op = NULL;
    lh_timer_stop(e->timer);
    lh_timer_stop(e->deadline);
    set_leading(e, false);
    if (e->term == 0) {
        lh_timer_in(e->limit, 0);
        return;
    }
    /* What was asked last may be done or not, so that only reading tells. */
    lh_timer_in(e->limit, limit_ms);
    e->reread = false;
    read_lease(e);
}
