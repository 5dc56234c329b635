/* SPDX-License-Identifier: Apache-2.0 */
#include "copy.h"

#include <string.h>

#include "copies_priv.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"

struct copy_spec *copy_spec_ref(struct copy_spec *s)
{
    s->refs++;
    return s;
}

void copy_spec_unref(struct copy_spec *s)
{
    if (!s || --s->refs > 0)
        return;
    lh_projection_free(s->p);
    lh_free(s->secret);
    lh_free(s->secret_name);
    lh_free(s);
}

int copy_spec_secret(const struct copy_spec *s, lh_json **out, struct lh_err *err)
{
    *out = NULL;
    return s->secret ? lh_json_parse(lh_str(s->secret), NULL, out, err) : 0;
}

const char *copy_secret_name(const struct copy *c)
{
    return c->spec ? c->spec->secret_name : NULL;
}

bool copy_is_asked_for(const struct copy *c)
{
    return !c->gone && !c->deleting && c->spec && c->served &&
           (c->spec->secret || lh_json_len(lh_json_get(c->spec->p->on_change, "restart")) > 0);
}

bool copy_is_wanted(const struct copy *c)
{
    return c->set->drain == LH_DRAIN_NOT && copy_is_asked_for(c);
}

void copy_wake(struct copy *c)
{
    bool first = !c->cur || !c->cur->ready || c->forcing;

    /* A key that the queue knows needs no memory, and it knows every key. */
    (void)lh_queue_add(c->set->queue, c->uid, first ? LH_LANE_FIRST : LH_LANE_REFRESH, NULL);
}

/* Is something still to be undone for it? */
static bool holds(const struct copy *c)
{
    return c->set->term.ledger && ledger_holds(c->set->term.ledger, c->uid);
}

static void finish(struct copy *c)
{
    struct copies *s = c->set;
    enum lh_queue_result result = c->retry ? LH_QUEUE_RETRY : LH_QUEUE_OK;
    lh_ms now = lh_clock_now(), after;

    lh_json_unref(c->current);
    c->current = NULL;
    copy_park(c);
    after = c->at == LH_NEVER ? 0 : c->at > now ? c->at - now : 1;
    c->working = c->retry = false;
    if (c->gone && !c->cur && !c->old && !holds(c)) {
        lh_queue_done(s->queue, c->uid, LH_QUEUE_GONE, 0);
        copies_free_copy(s, c);
        return;
    }
    lh_queue_done(s->queue, c->uid, result, after);
}

void copy_answered(struct copy *c, const struct lh_err *err)
{
    c->op = NULL;
    if (err)
        c->retry = true;
    copy_step(c);
}

static void finalizer_set(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct copy *c = arg;

    (void)obj;
    if (err)
        lh_err_keep(&c->write_err, err);
    else
        c->finalizer = copy_is_wanted(c);
    copy_answered(c, err);
}

static const struct lh_kube_resource *projection_at(const struct copy *c,
                                                    struct lh_kube_resource *res)
{
    *res = (struct lh_kube_resource){.group = "leasehold.dev",
                                     .version = "v1alpha1",
                                     .resource = "secretprojections",
                                     .namespace_ = c->namespace_,
                                     .name = c->name};
    return res;
}

/* As last read: what the watch told may be older than what the patch is to test. */
static void finalizer_read(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct copy *c = arg;
    const char *uid = lh_json_get_z(lh_json_get(obj, "metadata"), "uid");
    struct lh_kube_resource res;
    struct lh_err e = {0};

    c->op = NULL;
    if (err && err->code == LH_E_NOTFOUND) {
        c->finalizer = false;
        copy_answered(c, NULL);
        return;
    }
    if (err || !uid || strcmp(uid, c->uid) != 0) {
        copy_answered(c, err ? err : &(struct lh_err){.code = LH_E_CONFLICT});
        return;
    }
    if (lh_kube_finalizer(c->set->p.kube, projection_at(c, &res), obj, COPY_FINALIZER,
                          copy_is_wanted(c), finalizer_set, c, &c->op, &e) < 0)
        copy_answered(c, &e);
}

bool copy_finalizer_step(struct copy *c)
{
    struct lh_kube_resource res;
    struct lh_err err = {0};

    if (lh_kube_start(c->set->p.kube, "GET", projection_at(c, &res), NULL, NULL, NULL, 0,
                      finalizer_read, c, &c->op, &err) < 0) {
        lh_err_keep(&c->write_err, &err);
        c->retry = true;
        return false;
    }
    return true;
}

/* What was issued for it ends before its finalizer goes. */
static bool leave(struct copy *c)
{
    struct copies *s = c->set;

    /* Whoever drains wants all of it gone: no mass of deletions is a surprise. */
    if ((c->finalizer || holds(c)) && (c->gone || c->deleting) && !c->may_delete &&
        s->drain == LH_DRAIN_NOT) {
        copies_want_delete(s, c);
        return false;
    }
    copy_engine_end(c, true);
    if (c->cur || c->old)
        return false;
    ledger_release(s->term.ledger, c->uid, 0);
    if (c->gone || !c->finalizer || holds(c))
        return false;
    return copy_finalizer_step(c);
}

static bool live(struct copy *c)
{
    if (!copy_is_wanted(c) && leave(c))
        return true;
    if (copy_is_wanted(c) && !copy_unpark(c))
        return false;
    if (copy_engine_step(c) || copy_secret_step(c))
        return true;
    copy_engine_retire(c);
    copy_restart_step(c);
    if (c->set->drain != LH_DRAIN_NOT)
        return copy_drain_step(c) || copy_status_step(c);
    return copy_secret_sweep(c) || copy_status_step(c);
}

/* What failed is tried again after a while, of which the status does not wait for the end. */
static bool tell(struct copy *c)
{
    bool want = c->tell && !c->gone && !c->deleting;

    c->tell = false;
    return want && copy_status_step(c);
}

static bool act(struct copy *c)
{
    if (c->retry)
        return tell(c);
    return c->gone || c->deleting ? leave(c) : live(c);
}

/* Ended engines are freed here: not in a callback of their own. */
static void reap(struct copy *c)
{
    if (c->old && c->old->ended) {
        copy_slot_free(c->old);
        c->old = NULL;
    }
    if (c->cur && c->cur->ended) {
        copy_slot_free(c->cur);
        c->cur = NULL;
    }
}

void copy_step(struct copy *c)
{
    if (!c->working || c->op)
        return;
    c->at = LH_NEVER;
    reap(c);
    if (!c->set->active || !copies_leads(c->set) || !act(c))
        finish(c);
}

void copy_stop(struct copy *c)
{
    copies_end_turn(c);
    lh_kube_cancel(c->op);
    c->op = NULL;
    store_wait_free(c->wait);
    c->wait = NULL;
    copy_slot_free(c->cur);
    copy_slot_free(c->old);
    c->cur = c->old = NULL;
    copy_secret_lost(c);
    copy_restart_stop(c);
    copy_files_done(&c->writing);
    c->edited = true;
    c->waiting = c->again = c->suspect = c->taken = c->wrote = c->deleted = c->retry = false;
    c->absent = c->tell = false;
    c->may_delete = c->asked_delete = false;
    lh_err_keep(&c->spec_err, NULL);
    lh_err_keep(&c->fetch_err, NULL);
    lh_err_keep(&c->write_err, NULL);
    c->at = LH_NEVER;
    if (c->working)
        finish(c);
}
