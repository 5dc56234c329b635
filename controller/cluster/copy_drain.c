/* SPDX-License-Identifier: Apache-2.0 */
/* Letting go: what a copy still has in the API server while the controller is drained. */
#include <string.h>

#include "copies_priv.h"
#include "copy.h"
#include "leasehold/api/drain.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "metrics.h"
#include "shared_login.h"

enum { RETRY_MS = 5000 };

static struct copy_secret *secret_of(const struct copy *c, const char *name)
{
    struct copy_secret *x = name ? copies_secret(c->set, c->namespace_, name) : NULL;

    return x && x->owner && strcmp(x->owner, c->uid) == 0 ? x : NULL;
}

/* Name of a Secret of ours that is still there; NULL: none. */
static const char *left(const struct copy *c)
{
    if (secret_of(c, copy_secret_name(c)))
        return copy_secret_name(c);
    if (secret_of(c, c->secret_name))
        return c->secret_name;
    return secret_of(c, c->stale) ? c->stale : NULL;
}

static void let_go(struct copy *c, const char *name, const char *what)
{
    struct copy_secret *x = secret_of(c, name);

    /* The watch says so, too, but later: once is enough. */
    if (x)
        x->let_go = true;
    copy_secret_lost(c);
    lh_err_keep(&c->write_err, NULL);
    cluster_count_write(what);
    lh_log_info("copy let go: the controller is drained", LH_F_STR("namespace", c->namespace_),
                LH_F_STR("projection", c->name), LH_F_STR("secret", name), LH_F_STR("done", what));
}

static void failed(struct copy *c, const struct lh_err *err)
{
    cluster_count_write("failed");
    lh_err_keep(&c->write_err, err);
    if (c->write_err && !c->write_err->reason)
        c->write_err->reason =
            err->code == LH_E_DENIED ? LH_REASON_RightsMissing : LH_REASON_PublishFailed;
    copy_answered(c, err);
}

static void on_kept(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct copy *c = arg;
    const lh_json *meta = lh_json_get(obj, "metadata");
    const char *name = lh_json_get_z(meta, "name");
    struct lh_err e = {0};

    if (!err && (!name || lh_json_get_z(lh_json_get(meta, "labels"), SECRET_LABEL))) {
        lh_err_fill(&e, LH_E_CONFLICT,
                    "Secret \"%s\": another field manager sets the label %s, too", name ? name : "",
                    SECRET_LABEL);
        err = &e;
    }
    if (err) {
        failed(c, err);
        return;
    }
    let_go(c, name, "kept");
    copy_answered(c, NULL);
}

static void on_read(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct copy *c = arg;
    const struct secret_owner owner = {c->namespace_, c->name, c->uid};
    const lh_json *meta = lh_json_get(obj, "metadata");
    lh_auto_json lh_json *kept = NULL;
    struct lh_kube_resource res;
    struct lh_err e = {0};
    int rc;

    c->op = NULL;
    if (err && err->code == LH_E_NOTFOUND) {
        copy_answered(c, NULL);
        return;
    }
    if (!err && secret_claim(meta, &owner, false) != SECRET_OURS) {
        copy_answered(c, &(struct lh_err){.code = LH_E_CONFLICT}); /* the watch is behind */
        return;
    }
    if (!err) {
        rc = secret_plan_kept(obj, c->uid, &kept, &e);
        if (rc == 0)
            rc = lh_kube_apply(c->set->p.kube, copy_secret_at(c, lh_json_get_z(meta, "name"), &res),
                               COPY_MANAGER, true, kept, on_kept, c, &c->op, &e);
        if (rc == 0)
            return;
        err = &e;
    }
    failed(c, err);
}

static void on_deleted(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct copy *c = arg;
    const char *name = left(c);

    (void)obj;
    if (err) {
        failed(c, err);
        return;
    }
    if (name)
        let_go(c, name, "deleted");
    copy_answered(c, NULL);
}

/* The Secrets of its namespace are not known: neither is what is left. */
static bool is_blind(struct copy *c)
{
    const char *trouble = c->served ? copies_secrets_trouble(c->set, c) : NULL;
    struct lh_err err = {0};

    if (!trouble)
        return false;
    lh_err_fill(&err, LH_E_DENIED, "Secrets of namespace \"%s\" are not known: %s", c->namespace_,
                *trouble ? trouble : "not listed yet");
    err.reason = LH_REASON_RightsMissing;
    lh_err_keep(&c->write_err, &err);
    c->at = lh_clock_now() + RETRY_MS;
    return true;
}

bool copy_drain_step(struct copy *c)
{
    struct lh_kube_resource res;
    struct lh_err err = {0};
    const struct copy_secret *x;
    const char *name;
    int rc;

    if (is_blind(c))
        return false;
    name = left(c);
    x = secret_of(c, name);
    if (!x || x->let_go)
        return false;
    copy_secret_at(c, name, &res);
    if (c->set->drain == LH_DRAIN_DELETE)
        rc = lh_kube_delete(c->set->p.kube, &res, x->uid, NULL, on_deleted, c, &c->op, &err);
    else
        rc = lh_kube_start(c->set->p.kube, "GET", &res, NULL, NULL, NULL, 0, on_read, c, &c->op,
                           &err);
    if (rc == 0)
        return true;
    lh_err_keep(&c->write_err, &err);
    c->retry = true;
    return false;
}

/* ---- all of them ---- */

void copies_drain(struct copies *s, enum lh_drain how)
{
    struct lh_str key;
    size_t it = 0;
    void *p;

    if (s->drain == how)
        return;
    s->drain = how;
    if (!s->active)
        return;
    shared_logins_hurry(s->shared, how != LH_DRAIN_NOT);
    while (lh_map_next(s->by_uid, &it, &key, &p)) {
        struct copy *c = p;

        c->edited = true;
        lh_err_keep(&c->write_err, NULL);
        copy_wake(c);
    }
}

static int report_one(const struct copy *c, struct lh_drain_report *r, struct lh_err *err)
{
    const char *name = left(c);
    bool secret = name != NULL;
    bool busy =
        c->cur || c->old || c->finalizer || secret || ledger_holds(c->set->term.ledger, c->uid);
    const struct lh_err *why = c->write_err;
    const struct lh_drain_item item = {.kind = secret ? "Secret" : "SecretProjection",
                                       .namespace_ = c->namespace_,
                                       .name = secret ? name : c->name,
                                       .reason = why && why->reason ? why->reason
                                                 : why && why->code == LH_E_DENIED
                                                     ? LH_REASON_RightsMissing
                                                     : LH_REASON_InternalError,
                                       .message = why ? why->msg : ""};

    r->total++;
    r->projections += busy;
    r->secrets += secret;
    return busy && why ? lh_drain_report_add(r, &item, err) : 0;
}

int copies_drain_report(const struct copies *s, struct lh_drain_report *r, struct lh_err *err)
{
    struct lh_str key;
    size_t it = 0;
    void *p;
    int rc = 0;

    r->copies = s->drain;
    r->idle = lh_queue_depth(s->queue) == 0 && lh_queue_working(s->queue) == 0;
    while (rc == 0 && lh_map_next(s->by_uid, &it, &key, &p))
        rc = report_one(p, r, err);
    return rc;
}
