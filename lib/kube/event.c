/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every event is kept for as long as an equal one would count up: that list is the queue too. An
 * entry with something to write has a time when it is due.
 */
#include "leasehold/kube/event.h"

#include <stdio.h>
#include <string.h>

#include "kube_priv.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/rand.h"
#include "leasehold/core/vec.h"
#include "leasehold/http/backoff.h"

enum {
    MAX_ENTRIES = 1000,
    MAX_BUCKETS = 4096, /* objects; past it the one that was not heard of for longest starts anew */
    MAX_FLIGHT = 4,
    MAX_TRIES = 12,
    MAX_NOTE = 1024,
    MAX_NAME = 253, /* of an object */
    SERIES_MS = 10 * 60 * 1000,
    TOKEN_MS = 5 * 60 * 1000, /* an object earns one more event in so long */
    BURST = 25,
    COUNT_MS = 30 * 1000, /* a count is written so long after the last write, then in twice that */
    MAX_COUNT_MS = 5 * 60 * 1000,
};

enum field { API_VERSION, KIND, NAMESPACE, NAME, UID, REASON, ACTION, NOTE, FIELDS };

struct entry {
    struct lh_events *e;
    uint64_t hash;
    char *fields[FIELDS]; /* NULL: absent */
    bool warning;
    char event_name[MAX_NAME + 1];
    int64_t count, counted; /* occurrences; how many of them are written, 0: it is to be created */
    lh_ms last, due;
    int64_t first_wall, last_wall;
    lh_ms pause; /* until a count is written next */
    unsigned tries;
    struct lh_backoff backoff;
    struct lh_kube_op *op;
    int64_t sending; /* the count that op writes */
};

struct bucket {
    uint64_t object;
    lh_ms credit, at;
};

struct lh_events {
    struct lh_kube *k;
    char *controller, *instance;
    struct lh_vec entries; /* struct entry *, oldest first */
    struct lh_vec buckets; /* struct bucket */
    unsigned in_flight;
    struct lh_timer *timer;
};

enum { M_WRITTEN, M_DROPPED };
const struct lh_metric lh_events_metrics[] = {
    [M_WRITTEN] = {.name = "leasehold_events_written_total",
                   .help = "Kubernetes Events that were created or counted up.",
                   .type = LH_METRIC_COUNTER,
                   .max_series = 1},
    [M_DROPPED] = {.name = "leasehold_events_dropped_total",
                   .help = "Kubernetes Events that were not written: too many about one object "
                           "(spam), too many at a time (full), or refused (failed).",
                   .type = LH_METRIC_COUNTER,
                   .labels = {"why"},
                   .max_series = 4},
    {0},
};

static void kick(void *arg);

static struct entry *entry_at(const struct lh_events *e, size_t i)
{
    return *(struct entry **)lh_vec_at(&e->entries, i);
}

static void entry_free(struct entry *x)
{
    lh_kube_cancel(x->op);
    for (int i = 0; i < FIELDS; i++)
        lh_free(x->fields[i]);
    lh_free(x);
}

void lh_events_free(struct lh_events *e)
{
    if (!e)
        return;
    for (size_t i = 0; i < e->entries.n; i++)
        entry_free(entry_at(e, i));
    lh_vec_done(&e->entries);
    lh_vec_done(&e->buckets);
    lh_timer_free(e->timer);
    lh_free(e->controller);
    lh_free(e->instance);
    lh_free(e);
}

int lh_events_new(struct lh_kube *k, const char *controller, const char *instance,
                  struct lh_events **out, struct lh_err *err)
{
    struct lh_events *e = lh_calloc(1, sizeof(*e));
    int rc;

    if (!e)
        return lh_err_nomem(err);
    e->k = k;
    lh_vec_init(&e->entries, sizeof(struct entry *));
    lh_vec_init(&e->buckets, sizeof(struct bucket));
    e->controller = lh_strdup(controller);
    e->instance = lh_strdup(instance);
    rc = e->controller && e->instance ? 0 : lh_err_nomem(err);
    if (rc == 0)
        rc = lh_metrics_register(lh_events_metrics, err);
    if (rc == 0)
        rc = lh_timer_new(lh_kube_loop(k), kick, e, &e->timer, err);
    if (rc < 0) {
        lh_events_free(e);
        return rc;
    }
    *out = e;
    return 0;
}

static bool has_work(const struct entry *x)
{
    return x->counted < x->count;
}

size_t lh_events_waiting(const struct lh_events *e)
{
    size_t n = 0;

    for (size_t i = 0; i < e->entries.n; i++)
        n += has_work(entry_at(e, i));
    return n;
}

static void dropped(const char *why)
{
    lh_metric_add(&lh_events_metrics[M_DROPPED], 1, LH_LABELS(why));
}

/* FNV-1a; the texts decide, this only saves looking at them. */
static uint64_t mix(uint64_t h, const char *z)
{
    for (; z && *z; z++)
        h = (h ^ (unsigned char)*z) * 0x100000001b3u;
    return (h ^ 0xff) * 0x100000001b3u;
}

static uint64_t hash_fields(const char *const fields[FIELDS], int from, int to)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (int i = from; i < to; i++)
        h = mix(h, fields[i]);
    return h;
}

/* One event's worth of what the object has left; false if that is nothing. */
static bool take_token(struct lh_events *e, uint64_t object)
{
    const lh_ms full = (lh_ms)BURST * TOKEN_MS;
    lh_ms now = lh_clock_now();
    struct bucket *b = NULL, *oldest = NULL;

    for (size_t i = 0; i < e->buckets.n && !b; i++) {
        struct bucket *it = lh_vec_at(&e->buckets, i);

        if (it->object == object)
            b = it;
        else if (!oldest || it->at < oldest->at)
            oldest = it;
    }
    if (!b) {
        b = e->buckets.n < MAX_BUCKETS ? lh_vec_push(&e->buckets, NULL) : NULL;
        /* Also when memory is out: then somebody's bucket starts anew. */
        b = b ? b : oldest;
        if (!b)
            return false;
        *b = (struct bucket){object, full, now};
    }
    b->credit = b->credit + (now - b->at) > full ? full : b->credit + (now - b->at);
    b->at = now;
    if (b->credit < TOKEN_MS)
        return false;
    b->credit -= TOKEN_MS;
    return true;
}

static bool same_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

static struct entry *find(const struct lh_events *e, uint64_t hash, bool warning,
                          const char *const fields[FIELDS])
{
    for (size_t i = 0; i < e->entries.n; i++) {
        struct entry *x = entry_at(e, i);
        int same = 0;

        if (x->hash != hash || x->warning != warning)
            continue;
        while (same < FIELDS && same_text(x->fields[same], fields[same]))
            same++;
        if (same == FIELDS)
            return x;
    }
    return NULL;
}

static void remove_entry(struct lh_events *e, struct entry *x)
{
    for (size_t i = 0; i < e->entries.n; i++) {
        if (entry_at(e, i) == x) {
            lh_vec_remove(&e->entries, i);
            break;
        }
    }
    entry_free(x);
}

static bool is_over(const struct entry *x)
{
    return !has_work(x) && !x->op && lh_clock_now() - x->last >= SERIES_MS;
}

static void remove_what_is_over(struct lh_events *e)
{
    for (size_t i = e->entries.n; i-- > 0;) {
        struct entry *x = entry_at(e, i);

        if (is_over(x))
            remove_entry(e, x);
    }
}

/* One more fits: if need be, a series that is written is forgotten before its time. */
static bool make_room(struct lh_events *e)
{
    if (e->entries.n < MAX_ENTRIES)
        return true;
    for (size_t i = 0; i < e->entries.n; i++) {
        struct entry *x = entry_at(e, i);

        if (!has_work(x) && !x->op) {
            remove_entry(e, x);
            return true;
        }
    }
    return false;
}

/* "<object>.<16 hex digits>", as kubectl's events are called. */
static void name_event(struct entry *x)
{
    const char *about = x->fields[NAME];
    size_t n = strlen(about);
    uint64_t number;

    lh_rand_bytes(&number, sizeof(number));
    if (n > MAX_NAME - 17)
        n = MAX_NAME - 17;
    while (n > 0 && (about[n - 1] == '.' || about[n - 1] == '-'))
        n--;
    snprintf(x->event_name, sizeof(x->event_name), "%.*s.%016llx", (int)n, about,
             (unsigned long long)number);
}

/* A note that is too long ends before a whole character. */
static size_t note_length(const char *note)
{
    struct lh_str s = lh_str(note);
    size_t n = 0, one;

    if (s.n <= MAX_NOTE)
        return s.n;
    while (n < MAX_NOTE) {
        one = lh_str_utf8_len((struct lh_str){s.p + n, s.n - n});
        if (one == 0 || n + one > MAX_NOTE)
            break;
        n += one;
    }
    return n;
}

static struct entry *entry_new(struct lh_events *e, uint64_t hash, bool warning,
                               const char *const fields[FIELDS])
{
    struct entry *x = lh_calloc(1, sizeof(*x));
    bool whole = x != NULL;

    if (!x)
        return NULL;
    x->e = e;
    x->hash = hash;
    x->warning = warning;
    x->pause = COUNT_MS;
    x->backoff = (struct lh_backoff){.base_ms = 2000, .cap_ms = 60000, .floor_ms = 1000};
    for (int i = 0; i < FIELDS; i++) {
        x->fields[i] = fields[i] ? lh_strdup(fields[i]) : NULL;
        whole &= !fields[i] || x->fields[i];
    }
    if (!whole || !lh_vec_push(&e->entries, &x)) {
        entry_free(x);
        return NULL;
    }
    name_event(x);
    return x;
}

static void occurred(struct entry *x)
{
    lh_ms now = lh_clock_now();
    int64_t wall = lh_clock_wall_ms();

    if (!has_work(x)) {
        lh_ms next = x->count == 0 ? now : x->due + x->pause; /* due: when it was written last */

        x->due = next > now ? next : now;
    }
    if (x->count == 0)
        x->first_wall = wall;
    x->count++;
    x->last = now;
    x->last_wall = wall;
}

void lh_events_emit(struct lh_events *e, const struct lh_event *ev)
{
    const char *text = ev->note ? ev->note : "";
    lh_auto_free char *note = lh_strndup(text, note_length(text));
    const char *fields[FIELDS] = {ev->api_version, ev->kind,   ev->namespace_, ev->name,
                                  ev->uid,         ev->reason, ev->action,     note};
    uint64_t hash = hash_fields(fields, 0, FIELDS);
    struct entry *x = note ? find(e, hash, ev->warning, fields) : NULL;

    if (x && is_over(x)) {
        remove_entry(e, x);
        x = NULL;
    }
    if (!x && !take_token(e, hash_fields(fields, 0, REASON))) {
        dropped("spam");
        return;
    }
    if (!x && note && make_room(e))
        x = entry_new(e, hash, ev->warning, fields);
    if (!x) {
        dropped("full");
        return;
    }
    occurred(x);
    lh_timer_in(e->timer, 0);
}

/* microTime of the API. */
static lh_json *micro_time(int64_t wall)
{
    char ms[32], text[40];

    lh_clock_format(wall, ms);
    snprintf(text, sizeof(text), "%.*s000Z", (int)strcspn(ms, "Z"), ms);
    return lh_json_new_z(text);
}

static int set_z(lh_json *obj, const char *key, const char *z)
{
    return z ? lh_json_set(obj, key, lh_json_new_z(z)) : 0;
}

/* An object at key of obj; NULL when memory is out. */
static lh_json *set_object(lh_json *obj, const char *key)
{
    lh_json *v = lh_json_new_object();

    return v && lh_json_set(obj, key, v) == 0 ? v : NULL;
}

static int put_series(lh_json *event, const struct entry *x)
{
    lh_json *series = set_object(event, "series");

    if (!series || lh_json_set(series, "count", lh_json_new_int(x->count)) < 0)
        return -1;
    return lh_json_set(series, "lastObservedTime", micro_time(x->last_wall));
}

static const char *event_namespace(const struct entry *x)
{
    return x->fields[NAMESPACE] ? x->fields[NAMESPACE] : "default";
}

static int put_regarding(lh_json *event, const struct entry *x)
{
    static const char *const keys[] = {"apiVersion", "kind", "namespace", "name", "uid"};
    lh_json *about = set_object(event, "regarding");
    int rc = about ? 0 : -1;

    for (size_t i = 0; rc == 0 && i < LH_ARRAY_LEN(keys); i++)
        rc = set_z(about, keys[i], x->fields[API_VERSION + i]);
    return rc;
}

static lh_json *new_event(const struct entry *x)
{
    lh_auto_json lh_json *event = lh_json_new_object();
    lh_json *meta = event ? set_object(event, "metadata") : NULL;

    if (!meta || set_z(event, "apiVersion", "events.k8s.io/v1") < 0 ||
        set_z(event, "kind", "Event") < 0 || set_z(meta, "name", x->event_name) < 0 ||
        set_z(meta, "namespace", event_namespace(x)) < 0 || put_regarding(event, x) < 0 ||
        lh_json_set(event, "eventTime", micro_time(x->first_wall)) < 0 ||
        set_z(event, "reportingController", x->e->controller) < 0 ||
        set_z(event, "reportingInstance", x->e->instance) < 0 ||
        set_z(event, "type", x->warning ? "Warning" : "Normal") < 0 ||
        set_z(event, "reason", x->fields[REASON]) < 0 ||
        set_z(event, "action", x->fields[ACTION]) < 0 || set_z(event, "note", x->fields[NOTE]) < 0)
        return NULL;
    if (x->count > 1 && put_series(event, x) < 0)
        return NULL;
    return LH_TAKE_PTR(event);
}

static lh_json *new_count(const struct entry *x)
{
    lh_auto_json lh_json *event = lh_json_new_object();

    return event && put_series(event, x) == 0 ? LH_TAKE_PTR(event) : NULL;
}

static void give_up(struct entry *x)
{
    dropped("failed");
    remove_entry(x->e, x);
}

static void failed(struct entry *x, const struct lh_err *err)
{
    bool passes = err->code == LH_E_UNAVAILABLE || err->code == LH_E_BUSY ||
                  err->code == LH_E_NOMEM || err->code == LH_E_OS;

    if (err->code == LH_E_NOTFOUND && x->counted > 0) {
        /* The API server keeps an event for an hour: it is told anew. */
        x->counted = 0;
        name_event(x);
        passes = true;
    }
    if (!passes || ++x->tries >= MAX_TRIES) {
        give_up(x);
        return;
    }
    x->due = lh_clock_now() + lh_backoff_next(&x->backoff, err->retry_ms);
}

static void on_done(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct entry *x = arg;
    struct lh_events *e = x->e;
    bool created = x->counted == 0;

    (void)obj;
    x->op = NULL;
    e->in_flight--;
    /* There already: it was created by a request whose answer got lost. */
    if (err && !(created && err->code == LH_E_CONFLICT)) {
        failed(x, err);
    } else {
        x->counted = x->sending;
        x->due = lh_clock_now();
        x->tries = 0;
        lh_backoff_reset(&x->backoff);
        if (!created && x->pause < MAX_COUNT_MS)
            x->pause = x->pause * 2 < MAX_COUNT_MS ? x->pause * 2 : MAX_COUNT_MS;
        if (has_work(x))
            x->due += x->pause;
        lh_metric_add(&lh_events_metrics[M_WRITTEN], 1, NULL);
    }
    kick(e);
}

static void send(struct entry *x)
{
    bool create = x->counted == 0;
    struct lh_kube_resource res = {
        "events.k8s.io", "v1", "events", event_namespace(x), create ? NULL : x->event_name, NULL};
    lh_auto_json lh_json *body = create ? new_event(x) : new_count(x);
    struct lh_err err = {0};
    int rc = body ? 0 : lh_err_nomem(&err);

    if (rc == 0)
        rc = lh_kube_start(x->e->k, create ? "POST" : "PATCH", &res, NULL,
                           create ? NULL : "application/merge-patch+json", body, 0, on_done, x,
                           &x->op, &err);
    if (rc < 0) {
        failed(x, &err);
        return;
    }
    x->sending = x->count;
    x->e->in_flight++;
}

/* What is to be written first: of what is due the oldest, else what is due first; NULL: nothing. */
static struct entry *next_entry(const struct lh_events *e)
{
    struct entry *first = NULL;

    for (size_t i = 0; i < e->entries.n; i++) {
        struct entry *x = entry_at(e, i);

        if (!has_work(x) || x->op)
            continue;
        if (x->due <= lh_clock_now())
            return x;
        if (!first || x->due < first->due)
            first = x;
    }
    return first;
}

static void kick(void *arg)
{
    struct lh_events *e = arg;
    struct entry *x;

    remove_what_is_over(e);
    while (e->in_flight < MAX_FLIGHT) {
        x = next_entry(e);
        if (!x)
            return;
        if (x->due > lh_clock_now()) {
            lh_timer_at(e->timer, x->due);
            return;
        }
        send(x);
    }
}
