/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/http/client.h"

#include "http_priv.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"

int lh_http_global_init(struct lh_err *err)
{
    static bool done;
    int rc;

    if (done)
        return 0;
    rc = lh_crypto_init(err);
    if (rc < 0)
        return rc;
    if (curl_global_init_mem(CURL_GLOBAL_SSL, lh_malloc, lh_free, lh_realloc, lh_strdup,
                             lh_calloc) != CURLE_OK)
        return lh_err_set(err, LH_E_INVALID, "curl cannot be initialised");
    done = true;
    return 0;
}

void http_list_add(struct http_op_list *l, struct lh_http_op *op)
{
    op->prev = l->tail;
    op->next = NULL;
    if (l->tail)
        l->tail->next = op;
    else
        l->head = op;
    l->tail = op;
    l->n++;
}

void http_list_remove(struct http_op_list *l, struct lh_http_op *op)
{
    if (op->prev)
        op->prev->next = op->next;
    else
        l->head = op->next;
    if (op->next)
        op->next->prev = op->prev;
    else
        l->tail = op->prev;
    op->prev = op->next = NULL;
    l->n--;
}

static struct http_op_list *list_of(struct lh_http_op *op)
{
    switch (op->state) {
    case OP_QUEUED:
        return &op->h->queued;
    case OP_RUNNING:
        return &op->h->running;
    case OP_FINISHED:
        return &op->h->finished;
    case OP_DELIVERED:
        break;
    }
    return NULL;
}

static void discard(struct lh_http_op *op)
{
    http_list_remove(list_of(op), op);
    http_op_free(op);
}

static void discard_all(struct lh_http *h)
{
    struct http_op_list *lists[] = {&h->queued, &h->running, &h->finished};

    for (size_t i = 0; i < LH_ARRAY_LEN(lists); i++) {
        while (lists[i]->head)
            discard(lists[i]->head);
    }
}

static void bury(struct lh_http *h)
{
    discard_all(h);
    http_pool_free(h->pool);
    while (h->retired) {
        struct http_pool *p = h->retired;

        h->retired = p->next;
        http_pool_free(p);
    }
    lh_timer_free(h->tick);
    lh_timer_free(h->idle);
    http_source_done(h);
    lh_free(h->server_name);
    lh_free(h->user_agent);
    lh_free(h->allow);
    lh_free(h);
}

static void tick_in(struct lh_http *h, lh_ms delay)
{
    if (!lh_timer_is_armed(h->tick) || lh_timer_when(h->tick) > lh_clock_now() + delay)
        lh_timer_in(h->tick, delay);
}

/* Token bucket with a burst of one second, as its virtual schedule (GCRA): 0, or how long to wait
 * in microseconds. */
static lh_ms bucket_wait_us(const struct lh_http *h, lh_ms now_us)
{
    lh_ms spacing = 1000000 / h->requests_per_second, wait = h->tat_us - now_us - 1000000 + spacing;

    return wait > 0 ? wait : 0;
}

static bool take_token(struct lh_http *h)
{
    lh_ms now_us = lh_clock_now() * 1000, wait;

    if (!h->requests_per_second)
        return true;
    wait = bucket_wait_us(h, now_us);
    if (wait) {
        tick_in(h, (wait + 999) / 1000);
        return false;
    }
    h->tat_us = (h->tat_us > now_us ? h->tat_us : now_us) + 1000000 / h->requests_per_second;
    return true;
}

static void start_queued(struct lh_http *h)
{
    while (h->queued.head && h->running.n < h->max_in_flight && take_token(h)) {
        struct lh_http_op *op = h->queued.head;
        struct lh_err err = {0};

        http_list_remove(&h->queued, op);
        op->state = OP_RUNNING;
        http_list_add(&h->running, op);
        if (http_transfer_start(op, &err) < 0)
            http_transfer_fail(op, &err);
    }
}

/* What was cancelled from inside curl. */
static void drop_cancelled(struct lh_http *h)
{
    struct lh_http_op *op = h->any_cancelled ? h->running.head : NULL;

    h->any_cancelled = false;
    while (op) {
        struct lh_http_op *next = op->next;

        if (op->cancelled)
            discard(op);
        op = next;
    }
}

static void resume_wanted(struct lh_http *h)
{
    for (struct lh_http_op *op = h->running.head; op; op = op->next) {
        if (op->want_resume)
            http_transfer_resume(op);
    }
}

static void fail_broken(struct lh_http *h, const struct http_pool *p)
{
    struct lh_err err = {0};
    struct lh_http_op *op = h->running.head;

    lh_err_nomem(&err);
    while (op) {
        struct lh_http_op *next = op->next;

        if (op->pool == p)
            http_transfer_fail(op, &err);
        op = next;
    }
}

static void collect(struct lh_http *h)
{
    /* A redirect may retire h->pool meanwhile: then it is in the list. */
    if (h->pool)
        http_pool_collect(h->pool);
    if (h->pool && h->pool->broken)
        http_pool_retire(h);
    for (struct http_pool *p = h->retired; p; p = p->next) {
        http_pool_collect(p);
        if (p->broken)
            fail_broken(h, p);
    }
}

static void sweep(struct lh_http *h)
{
    struct http_pool **at = &h->retired;

    while (*at) {
        struct http_pool *p = *at;

        if (p->transfers > 0) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        http_pool_free(p);
    }
}

static void deliver_one(struct lh_http *h)
{
    struct lh_http_op *op = h->finished.head;
    struct lh_http_answer ans = {
        .status = op->status,
        .body = op->in_body,
        .sent_at = op->started,
        .done_at = op->ended,
        .headers = &op->in_headers,
    };

    http_list_remove(&h->finished, op);
    op->state = OP_DELIVERED;
    ans.retry_after_ms = http_retry_after_ms(lh_http_answer_header(&ans, "retry-after"));
    if (op->failed)
        op->done(op->arg, NULL, &op->err);
    else
        op->done(op->arg, &ans, NULL);
    http_op_free(op);
}

static void watch_idle(struct lh_http *h)
{
    if (h->running.n > 0 || !h->pool)
        lh_timer_stop(h->idle);
    else if (!lh_timer_is_armed(h->idle))
        lh_timer_in(h->idle, HTTP_POOL_IDLE_MS);
}

void http_settle(struct lh_http *h)
{
    if (h->in_curl || h->delivering)
        return;
    h->delivering = true;
    drop_cancelled(h);
    collect(h);
    while (h->finished.head && !h->dead)
        deliver_one(h);
    h->delivering = false;
    if (h->dead) {
        bury(h);
        return;
    }
    sweep(h);
    start_queued(h);
    if (h->finished.head)
        tick_in(h, 0);
    watch_idle(h);
}

static void on_tick(void *arg)
{
    struct lh_http *h = arg;

    resume_wanted(h);
    http_settle(h);
}

/* Connections that nothing needs are memory, here and at the server. */
static void on_idle(void *arg)
{
    struct lh_http *h = arg;

    if (h->running.n == 0)
        http_pool_retire(h);
}

static int copy_options(struct lh_http *h, const struct lh_http_options *o, struct lh_err *err)
{
    h->allow_loopback = o->allow_loopback;
    h->allow_plain_http = o->allow_plain_http;
    h->max_in_flight = o->max_in_flight ? o->max_in_flight : HTTP_MAX_IN_FLIGHT;
    h->requests_per_second = o->requests_per_second;
    h->connect_ms = o->connect_timeout_ms ? o->connect_timeout_ms : HTTP_CONNECT_MS;
    if (o->requests_per_second > 1000000)
        return lh_err_set(err, LH_E_INVALID, "requests per second must be at most 1000000");
    h->user_agent = lh_strdup(o->user_agent ? o->user_agent : "leasehold/" LH_VERSION);
    if (!h->user_agent)
        return lh_err_nomem(err);
    if (o->server_name) {
        h->server_name = lh_strdup(o->server_name);
        if (!h->server_name)
            return lh_err_nomem(err);
    }
    return 0;
}

int lh_http_new(struct lh_loop *loop, const struct lh_http_options *opts, struct lh_http **out,
                struct lh_err *err)
{
    struct lh_http *h = lh_calloc(1, sizeof(*h));
    int rc;

    if (!h)
        return lh_err_nomem(err);
    h->loop = loop;
    rc = copy_options(h, opts, err);
    if (rc == 0)
        rc = http_source_init(h, opts, err);
    if (rc == 0)
        rc = http_policy_init(h, opts->allow_addresses, err);
    if (rc == 0)
        rc = lh_timer_new(loop, on_tick, h, &h->tick, err);
    if (rc == 0)
        rc = lh_timer_new(loop, on_idle, h, &h->idle, err);
    if (rc < 0) {
        bury(h);
        return rc;
    }
    *out = h;
    return 0;
}

void lh_http_free(struct lh_http *h)
{
    if (!h)
        return;
    h->dead = true;
    /* From inside a callback: the call that is under way ends first, and buries. */
    for (struct lh_http_op *op = h->running.head; op; op = op->next)
        op->cancelled = h->any_cancelled = true;
    if (!h->in_curl && !h->delivering)
        bury(h);
}

int lh_http_start(struct lh_http *h, const struct lh_http_request *req, lh_http_done_fn done,
                  void *arg, struct lh_http_op **out, struct lh_err *err)
{
    struct lh_http_op *op;
    int rc;

    rc = http_op_new(h, req, &op, err);
    if (rc < 0)
        return rc;
    op->done = done;
    op->arg = arg;
    http_list_add(&h->queued, op);
    if (out)
        *out = op;
    if (!h->in_curl && !h->delivering)
        start_queued(h);
    else
        tick_in(h, 0);
    /* Never from in here: the caller has not seen the op yet. */
    if (h->finished.head)
        tick_in(h, 0);
    return 0;
}

void lh_http_cancel(struct lh_http_op *op)
{
    struct lh_http *h;

    if (!op || op->state == OP_DELIVERED)
        return;
    h = op->h;
    if (op->state == OP_RUNNING && h->in_curl) {
        op->cancelled = h->any_cancelled = true;
        tick_in(h, 0);
        return;
    }
    discard(op);
    if (h->queued.head && !h->dead)
        tick_in(h, 0);
}

void lh_http_resume(struct lh_http_op *op)
{
    if (op->state != OP_RUNNING)
        return;
    /* Through the loop, so that on_data is never called from inside the caller. */
    op->want_resume = true;
    tick_in(op->h, 0);
}

int lh_http_status(const struct lh_http_op *op)
{
    return op->in_headers.complete ? op->status : 0;
}

size_t lh_http_in_flight(const struct lh_http *h)
{
    return h->running.n;
}

size_t lh_http_queued(const struct lh_http *h)
{
    return h->queued.n;
}

void lh_http_drop_idle(struct lh_http *h)
{
    http_pool_retire(h);
}
