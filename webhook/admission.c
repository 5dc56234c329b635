/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "admission.h"
#include "leasehold/core/clock.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "leasehold/render/render.h"
#include "metrics.h"

#define STORE_LOOKUP_MS 300

/* A review that waits for the one look at the API server. */
struct pending {
    struct admission *owner;
    enum lh_review_kind kind;
    struct lh_call *call;
    struct lh_admission
        review; /* its own copy of the parsed tree; the body is not needed any more */
    struct lh_store_lookup *lookup;
    struct timespec started;
    char name[254];
    bool cluster_next;
};

static const char *const kind_names[] = {
    [LH_REVIEW_MUTATE] = "mutate", [LH_REVIEW_VALIDATE] = "validate"};
static const char *const verdict_names[] = {
    [LH_VERDICT_UNCHANGED] = "unchanged",
    [LH_VERDICT_PATCHED] = "patched",
    [LH_VERDICT_WARNED] = "warned",
    [LH_VERDICT_DENIED] = "denied",
};

static double seconds_since(const struct timespec *t)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - t->tv_sec) + (double)(now.tv_nsec - t->tv_nsec) / 1e9;
}

static bool find_namespace(void *arg, const char *name, struct lh_namespace *out)
{
    const struct admission *a = arg;

    return lh_objects_namespace(a->objects, name, out);
}

static void refuse(struct lh_call *call, const struct lh_err *err)
{
    int status = err->http_status ? err->http_status : 500;
    char code[16];

    snprintf(code, sizeof(code), "%d", status);
    lh_metric_add(&webhook_metrics[WEBHOOK_BAD_REQUESTS], 1, LH_LABELS(code));
    lh_log_warn("request refused", LH_F_INT("status", status), LH_F_ERR(err));
    lh_call_answer(call, status, "text/plain; charset=utf-8", lh_str(err->msg));
}

static void settle(enum lh_review_kind kind, const struct timespec *started, struct lh_call *call,
                   const struct lh_admission *review, const struct lh_inject_outcome *outcome,
                   struct lh_str answer)
{
    lh_call_answer(call, 200, "application/json", answer);
    lh_metric_add(&webhook_metrics[WEBHOOK_REVIEWS], 1,
                  LH_LABELS(kind_names[kind], verdict_names[outcome->verdict]));
    lh_metric_observe(&webhook_metrics[WEBHOOK_SECONDS], seconds_since(started),
                      LH_LABELS(kind_names[kind]));
    if (outcome->verdict != LH_VERDICT_DENIED)
        return;
    lh_metric_add(&webhook_metrics[WEBHOOK_DENIALS], 1,
                  LH_LABELS(outcome->reason ? outcome->reason : "InternalError"));
    lh_log_info("denied", LH_F_STR("webhook", kind_names[kind]),
                LH_F_STR("namespace", review->namespace_), LH_F_STR("kind", review->kind),
                LH_F_STR("reason", outcome->reason));
}

/* Answers now and returns true, or returns false when a store should be asked for first. */
static bool answer(struct admission *a, enum lh_review_kind kind, const struct timespec *started,
                   const struct lh_admission *review, bool last_word, struct lh_call *call,
                   struct lh_inject_outcome *outcome)
{
    struct lh_inject_world w = {
        .policy = a->policy,
        .find_namespace = find_namespace,
        .check_template = lh_template_check,
        .arg = a,
    };
    lh_auto_buf struct lh_buf out;
    struct lh_err err = {0};
    int rc;

    w.stores = lh_objects_stores(a->objects, &w.n_stores);
    lh_buf_init(&out, 2 * (size_t)LH_ADMISSION_MAX);
    memset(outcome, 0, sizeof(*outcome));
    rc = lh_inject_answer(&w, kind, review, &out, outcome, &err);
    if (rc < 0) {
        refuse(call, &err);
        return true;
    }
    if (outcome->wanted.missing && !last_word)
        return false;
    settle(kind, started, call, review, outcome, lh_buf_peek(&out));
    return true;
}

static void pending_free(struct pending *p)
{
    lh_store_lookup_cancel(p->lookup);
    lh_admission_done(&p->review);
    lh_free(p);
}

static void looked_up(void *arg, struct lh_store *s);

/* One look for a store of a kind; false when none could be started. */
static bool look(struct pending *p, bool cluster_scoped)
{
    struct lh_err err = {0};
    int rc;

    rc = lh_objects_lookup_store(p->owner->objects, cluster_scoped, p->review.namespace_, p->name,
                                 STORE_LOOKUP_MS, looked_up, p, &p->lookup, &err);
    return rc == 0;
}

static void looked_up(void *arg, struct lh_store *s)
{
    struct pending *p = arg;
    struct lh_inject_outcome outcome;

    p->lookup = NULL;
    if (!s && p->cluster_next) {
        p->cluster_next = false;
        if (look(p, true))
            return;
    }
    answer(p->owner, p->kind, &p->started, &p->review, true, p->call, &outcome);
    pending_free(p);
}

static void review(struct admission *a, enum lh_review_kind kind, const struct lh_request *req,
                   struct lh_call *call)
{
    struct lh_inject_outcome outcome;
    struct lh_admission parsed;
    struct timespec started;
    struct lh_err err = {0};
    struct pending *p;

    clock_gettime(CLOCK_MONOTONIC, &started);
    if (lh_admission_parse(req->body, &parsed, &err) < 0) {
        refuse(call, &err);
        return;
    }
    if (answer(a, kind, &started, &parsed, false, call, &outcome)) {
        lh_admission_done(&parsed);
        return;
    }
    p = lh_calloc(1, sizeof(*p));
    if (!p) {
        answer(a, kind, &started, &parsed, true, call, &outcome);
        lh_admission_done(&parsed);
        return;
    }
    *p = (struct pending){
        .owner = a, .kind = kind, .call = call, .review = parsed, .started = started};
    snprintf(p->name, sizeof(p->name), "%s", outcome.wanted.name);
    p->cluster_next = outcome.wanted.any_kind;
    if (!look(p, outcome.wanted.cluster_scoped && !outcome.wanted.any_kind)) {
        answer(a, kind, &started, &p->review, true, call, &outcome);
        pending_free(p);
    }
}

void admission_mutate(struct admission *a, const struct lh_request *req, struct lh_call *call)
{
    review(a, LH_REVIEW_MUTATE, req, call);
}

void admission_validate(struct admission *a, const struct lh_request *req, struct lh_call *call)
{
    review(a, LH_REVIEW_VALIDATE, req, call);
}
