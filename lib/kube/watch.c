/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is asked for next, and when. Every request ends in over(), which chooses between a watch
 * that resumes, a list, and how long to wait; begin() is the only place that sends.
 */
#include <stdio.h>

#include "leasehold/core/mem.h"
#include "leasehold/core/rand.h"
#include "watch_priv.h"

static void begin(void *arg);
static void pump(void *arg);
static void check_silence(void *arg);

static void watch_free(struct lh_watch *w)
{
    lh_http_cancel(w->op);
    lh_jsonsplit_free(w->split);
    lh_timer_free(w->timer);
    lh_timer_free(w->pump);
    lh_timer_free(w->dead);
    watch_forget_all(w);
    lh_buf_done(&w->pending);
    lh_buf_done(&w->plain);
    lh_buf_done(&w->error_body);
    lh_free(w->group);
    lh_free(w->version);
    lh_free(w->resource);
    lh_free(w->namespace_);
    lh_free(w->name);
    lh_free(w->labels);
    lh_free(w->fields);
    lh_free(w->rv);
    lh_free(w->page);
    lh_free(w->page_rv);
    lh_free(w->path);
    w->k->watches--;
    lh_free(w);
}

static int copy_options(struct lh_watch *w, const struct lh_watch_options *o, struct lh_err *err)
{
    int rc = kube_check_names(&o->res, err);

    if (rc < 0)
        return rc;
    w->metadata_only = o->metadata_only;
    w->max_object = o->max_object ? o->max_object : WATCH_MAX_OBJECT;
    rc = watch_set_text(&w->group, o->res.group, err);
    if (rc == 0)
        rc = watch_set_text(&w->version, o->res.version, err);
    if (rc == 0)
        rc = watch_set_text(&w->resource, o->res.resource, err);
    if (rc == 0)
        rc = watch_set_text(&w->namespace_, o->res.namespace_, err);
    if (rc == 0)
        rc = watch_set_text(&w->name, o->res.name, err);
    if (rc == 0)
        rc = watch_set_text(&w->labels, o->label_selector, err);
    if (rc == 0)
        rc = watch_set_text(&w->fields, o->field_selector, err);
    return rc;
}

int lh_watch_start(struct lh_kube *k, const struct lh_watch_options *opts, lh_watch_fn fn,
                   void *arg, struct lh_watch **out, struct lh_err *err)
{
    struct lh_watch *w = lh_calloc(1, sizeof(*w));
    int rc;

    if (!w)
        return lh_err_nomem(err);
    w->k = k;
    k->watches++;
    w->fn = fn;
    w->arg = arg;
    w->want_list = true;
    w->backoff = (struct lh_backoff){.base_ms = 800, .cap_ms = 30000, .floor_ms = 400};
    rc = copy_options(w, opts, err);
    lh_buf_init(&w->pending, w->max_object + (64 << 10));
    lh_buf_init(&w->plain, w->max_object);
    lh_buf_init(&w->error_body, KUBE_MAX_STATUS);
    if (rc == 0)
        rc = lh_metrics_register(watch_metrics, err);
    if (rc == 0)
        rc = lh_map_new(&w->known, err);
    if (rc == 0)
        rc = lh_timer_new(k->loop, begin, w, &w->timer, err);
    if (rc == 0)
        rc = lh_timer_new(k->loop, pump, w, &w->pump, err);
    if (rc == 0)
        rc = lh_timer_new(k->loop, check_silence, w, &w->dead, err);
    if (rc < 0) {
        watch_free(w);
        return rc;
    }
    lh_timer_in(w->timer, 0);
    *out = w;
    return 0;
}

void lh_watch_stop(struct lh_watch *w)
{
    if (!w || w->stopped)
        return;
    w->stopped = true;
    if (!w->busy)
        watch_free(w);
}

void lh_watch_resync(struct lh_watch *w)
{
    w->resync = true;
}

bool lh_watch_is_synced(const struct lh_watch *w)
{
    return w->synced;
}

const char *lh_watch_trouble(const struct lh_watch *w)
{
    /* A stream on which nothing happens yet is well as soon as its head came. */
    if (w->state == WATCH_FOLLOWING && w->op && lh_http_status(w->op) == 200)
        return "";
    return w->trouble;
}

/* The request is over and done with; the next one starts after delay. */
static void wait_for(struct lh_watch *w, lh_ms delay)
{
    lh_ms gate = kube_gate_ms(w->k);

    w->op = NULL;
    lh_jsonsplit_free(w->split);
    w->split = NULL;
    w->paused = w->over = false;
    lh_timer_stop(w->pump);
    lh_timer_stop(w->dead);
    w->state = WATCH_WAITING;
    lh_timer_in(w->timer, delay > gate ? delay : gate);
}

static void set_trouble(struct lh_watch *w, const char *text)
{
    snprintf(w->trouble, sizeof(w->trouble), "%s", text);
}

/* The stream of a watch ended without an error of its own. */
static void ended(struct lh_watch *w)
{
    bool at_once = !w->got_event && lh_clock_now() - w->started < 1000;

    if (w->state == WATCH_INITIAL) {
        /* Twice without an end of the initial events: nobody there knows of them. */
        w->no_watch_list = ++w->initial_failures >= 2;
        set_trouble(w, "the watch ended before its initial events were complete");
        wait_for(w, lh_backoff_next(&w->backoff, 0));
        return;
    }
    if (at_once) {
        watch_count(w, WATCH_M_RESTARTS);
        set_trouble(w, "the watch ended as soon as it began");
    }
    wait_for(w, at_once ? lh_backoff_next(&w->backoff, 0) : 0);
}

static void list_complete(struct lh_watch *w)
{
    struct lh_err err = {0};

    if (w->page) {
        wait_for(w, 0);
        return;
    }
    if (!w->page_rv || watch_set_text(&w->rv, w->page_rv, &err) < 0) {
        wait_for(w, lh_backoff_next(&w->backoff, 0));
        return;
    }
    w->want_list = w->lost = w->unpaged = false;
    w->trouble[0] = '\0';
    wait_for(w, 0);
    watch_state_complete(w);
}

/* A 5xx may be one server of several; only when it stays so is the position given up. */
static bool server_fails_too_long(struct lh_watch *w, const struct lh_err *err)
{
    if (err->http_status < 500)
        return false;
    if (w->server_errors_since == 0)
        w->server_errors_since = lh_clock_now();
    return lh_clock_now() - w->server_errors_since >= WATCH_SERVER_ERROR_MS;
}

static void failed(struct lh_watch *w, const struct lh_err *err)
{
    bool gone_in_list = err->code == LH_E_GONE && w->state == WATCH_LISTING;
    lh_ms delay;

    set_trouble(w, err->msg);
    watch_count(w, WATCH_M_RESTARTS);
    if (w->state == WATCH_INITIAL && err->code == LH_E_INVALID && err->http_status) {
        /* The server refuses sendInitialEvents: it will not change its mind while it runs. */
        w->no_watch_list = true;
        wait_for(w, 0);
        return;
    }
    switch (err->code) {
    case LH_E_GONE:
        w->unpaged = gone_in_list && w->page;
        w->want_list = w->lost = true;
        break;
    case LH_E_BUSY:
        break;
    case LH_E_UNAVAILABLE:
        w->want_list |= server_fails_too_long(w, err);
        break;
    default:
        w->want_list = true;
        break;
    }
    if (w->state == WATCH_LISTING && err->code != LH_E_BUSY)
        watch_set_text(&w->page, NULL, NULL); /* a list that broke off starts at its first page */
    delay = lh_backoff_next(&w->backoff, err->retry_ms);
    wait_for(w, delay);
}

/* The request ended; err is NULL if the answer came whole. */
static void over(struct lh_watch *w, const struct lh_err *err)
{
    struct lh_err local = {0};

    if (lh_clock_now() - w->started >= WATCH_HEALTHY_MS)
        lh_backoff_reset(&w->backoff);
    if (!err && w->state == WATCH_LISTING && lh_jsonsplit_end(w->split, &local) < 0)
        err = &local;
    w->busy++;
    if (err)
        failed(w, err);
    else if (w->state == WATCH_LISTING)
        list_complete(w);
    else
        ended(w);
    w->busy--;
    if (w->resync)
        w->want_list = true;
    w->resync = false;
    if (w->stopped)
        watch_free(w);
}

/* Ends the request from our side. */
static void abandon(struct lh_watch *w, const struct lh_err *err)
{
    lh_http_cancel(w->op);
    w->op = NULL;
    over(w, err);
}

/* Work on bytes; false if the watch is no more, or waits for its next request. */
static bool feed(struct lh_watch *w, struct lh_str bytes, size_t *used)
{
    struct lh_err err = {0};
    int rc;

    if (w->turn != lh_loop_turns(w->k->loop)) {
        w->turn = lh_loop_turns(w->k->loop);
        w->turn_started = lh_clock_now();
    }
    w->busy++;
    rc = lh_jsonsplit_feed(w->split, bytes, used, &err);
    w->busy--;
    if (w->stopped) {
        watch_free(w);
        return false;
    }
    if (rc == 0 && w->resync)
        rc = lh_err_nomem(&err);
    if (rc < 0) {
        abandon(w, &err);
        return false;
    }
    return true;
}

static int on_data(void *arg, int status, struct lh_str bytes)
{
    struct lh_watch *w = arg;
    size_t used = 0;

    w->last_byte = lh_clock_now();
    if (status != 200) {
        if (bytes.n <= KUBE_MAX_STATUS - w->error_body.n)
            lh_buf_put(&w->error_body, bytes.p, bytes.n);
        return 0;
    }
    if (!feed(w, bytes, &used))
        return 0;
    if (used == bytes.n)
        return 0;
    lh_buf_put(&w->pending, bytes.p + used, bytes.n - used);
    w->paused = true;
    lh_timer_in(w->pump, 0);
    return 1;
}

/* The rest of what came while others had their turn. */
static void pump(void *arg)
{
    struct lh_watch *w = arg;
    struct lh_buf rest = w->pending;
    struct lh_err err = {0};
    size_t used = 0;
    bool alive;

    if (lh_buf_check(&rest, &err) < 0) {
        abandon(w, &err);
        return;
    }
    lh_buf_init(&w->pending, rest.cap);
    alive = feed(w, lh_buf_peek(&rest), &used);
    if (alive && used < rest.n) {
        lh_buf_put(&w->pending, rest.p + used, rest.n - used);
        lh_timer_in(w->pump, 0);
    } else if (alive && w->over) {
        w->paused = false;
        err = w->over_err;
        over(w, err.code ? &err : NULL);
    } else if (alive) {
        w->paused = false;
        w->last_byte = lh_clock_now();
        lh_http_resume(w->op);
    }
    lh_buf_done(&rest);
}

static void on_done(void *arg, const struct lh_http_answer *ans, const struct lh_err *http_err)
{
    struct lh_watch *w = arg;
    struct lh_err err = {0};

    w->op = NULL;
    if (http_err) {
        kube_note_answer(w->k, "GET", 0, 0);
        err = *http_err;
        lh_err_wrap(&err, -err.code, "API server");
    } else {
        kube_note_answer(w->k, "GET", ans->status, ans->retry_after_ms);
        if (ans->status != 200)
            kube_status_error("GET", w->path, ans->status, lh_buf_peek(&w->error_body),
                              ans->retry_after_ms, &err);
    }
    if (w->paused) {
        w->over = true;
        w->over_err = err;
        return;
    }
    over(w, err.code ? &err : NULL);
}

/* A stream that the network lost looks like one on which nothing happens, but for the bookmarks. */
static void check_silence(void *arg)
{
    struct lh_watch *w = arg;
    lh_ms now = lh_clock_now(), due = w->ends;
    lh_ms silent = w->state == WATCH_INITIAL ? WATCH_INITIAL_MS : WATCH_SILENT_MS;

    if ((w->state == WATCH_INITIAL || w->got_bookmark) && w->last_byte + silent < due)
        due = w->last_byte + silent;
    if (w->paused)
        due = now + silent;
    if (now < due) {
        /* A bookmark may bring the time forward. */
        lh_timer_at(w->dead, due < now + WATCH_INITIAL_MS ? due : now + WATCH_INITIAL_MS);
        return;
    }
    watch_count(w, WATCH_M_RESTARTS);
    set_trouble(w, "the watch was silent for too long");
    abandon(w, NULL);
}

static void put_selectors(const struct lh_watch *w, struct lh_buf *q)
{
    lh_auto_free char *by_name = NULL;

    if (w->labels)
        kube_put_query(q, "labelSelector", w->labels);
    if (w->fields && !w->name)
        kube_put_query(q, "fieldSelector", w->fields);
    if (!w->name)
        return;
    by_name = lh_asprintf("metadata.name=%s", w->name);
    if (by_name)
        kube_put_query(q, "fieldSelector", by_name);
    else
        q->failed = LH_E_NOMEM;
}

static void put_list_query(const struct lh_watch *w, struct lh_buf *q)
{
    char limit[16];

    snprintf(limit, sizeof(limit), "%d", WATCH_PAGE);
    put_selectors(w, q);
    if (w->page) {
        kube_put_query(q, "limit", limit);
        kube_put_query(q, "continue", w->page);
    } else if (w->lost) {
        /* Without a version the answer comes from etcd, and in pages. */
        if (!w->unpaged)
            kube_put_query(q, "limit", limit);
    } else if (w->rv) {
        kube_put_query(q, "resourceVersion", w->rv);
        kube_put_query(q, "resourceVersionMatch", "NotOlderThan");
    } else {
        kube_put_query(q, "resourceVersion", "0");
    }
}

static void put_watch_query(struct lh_watch *w, struct lh_buf *q)
{
    int64_t seconds = lh_rand_between(WATCH_LEAST_S, WATCH_MOST_S);
    char text[24];

    snprintf(text, sizeof(text), "%lld", (long long)seconds);
    w->ends = lh_clock_now() + seconds * 1000 + WATCH_GRACE_MS;
    put_selectors(w, q);
    kube_put_query(q, "watch", "1");
    kube_put_query(q, "allowWatchBookmarks", "true");
    kube_put_query(q, "timeoutSeconds", text);
    if (w->want_list) {
        kube_put_query(q, "sendInitialEvents", "true");
        kube_put_query(q, "resourceVersionMatch", "NotOlderThan");
    }
    if (w->rv && !(w->want_list && w->lost))
        kube_put_query(q, "resourceVersion", w->rv);
}

static int build_path(struct lh_watch *w, struct lh_err *err)
{
    const struct lh_kube_resource res = {w->group,      w->version, w->resource,
                                         w->namespace_, NULL,       NULL};
    lh_auto_buf struct lh_buf q = {0}, path = {0};
    char *text = NULL;
    size_t n;
    int rc;

    lh_buf_init(&q, KUBE_MAX_URL);
    lh_buf_init(&path, KUBE_MAX_URL);
    if (w->state == WATCH_LISTING)
        put_list_query(w, &q);
    else
        put_watch_query(w, &q);
    rc = lh_buf_check(&q, err);
    if (rc < 0)
        return rc;
    kube_put_path(&path, &res, lh_buf_peek(&q).p);
    rc = lh_buf_finish(&path, &text, &n, err);
    if (rc < 0)
        return rc;
    lh_free(w->path);
    w->path = text;
    return 0;
}

static const char *accept_of(const struct lh_watch *w)
{
    if (!w->metadata_only)
        return "application/json";
    return w->state == WATCH_LISTING
               ? "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
               : "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
}

static int send(struct lh_watch *w, struct lh_err *err)
{
    bool list = w->state == WATCH_LISTING;
    struct kube_call call = {.method = "GET", .accept = accept_of(w), .on_data = on_data};
    int rc;

    rc = lh_jsonsplit_new(list ? LH_SPLIT_ITEMS : LH_SPLIT_STREAM, w->max_object, watch_emit, w,
                          &w->split, err);
    if (rc == 0)
        rc = build_path(w, err);
    if (rc < 0)
        return rc;
    call.path = w->path;
    call.timeout_ms = 30000;
    call.idle_timeout_ms = list ? 30000 : 0; /* a watch is judged by check_silence */
    return kube_call_start(w->k, &call, on_done, w, &w->op, err);
}

static void begin(void *arg)
{
    struct lh_watch *w = arg;
    lh_ms gate = kube_gate_ms(w->k);
    struct lh_err err = {0};

    if (gate > 0) {
        lh_timer_in(w->timer, gate);
        return;
    }
    if (!w->want_list)
        w->state = WATCH_FOLLOWING;
    else
        w->state = w->no_watch_list ? WATCH_LISTING : WATCH_INITIAL;
    if (w->want_list && !w->page) {
        w->epoch++;
        w->epoch_skipped = false;
    }
    w->started = w->last_byte = lh_clock_now();
    w->got_event = w->got_bookmark = false;
    lh_buf_reset(&w->error_body);
    lh_buf_reset(&w->pending);
    if (send(w, &err) < 0) {
        failed(w, &err);
        return;
    }
    if (w->state != WATCH_LISTING)
        lh_timer_in(w->dead, WATCH_INITIAL_MS);
}
