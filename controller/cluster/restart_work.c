/* SPDX-License-Identifier: Apache-2.0 */
/* One workload: read, decided upon, written. */
#include <string.h>

#include "leasehold/api/reasons.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "leasehold/kube/apply.h"
#include "restarts_priv.h"

enum {
    READ_MS = 10 * 1000,
    PDBS_MAX = 500,
    UNSEEN_MS = 500,
    ABSENT_MS = 60 * 1000,      /* what is missing is looked for again */
    REFUSED_MS = 5 * 60 * 1000, /* a person has to give us rights first */
};

static const char *const waits[RESTART_WAITS] = {
    [RESTART_WAIT_NONE] = "",
    [RESTART_WAIT_VALUES] = "not all values are known yet",
    [RESTART_WAIT_SETTLE] = "more changes may follow",
    [RESTART_WAIT_PAUSED] = "its rollout is paused",
    [RESTART_WAIT_ROLLING] = "a rollout is under way",
    [RESTART_WAIT_DISRUPTION] = "a PodDisruptionBudget allows no disruption",
    [RESTART_WAIT_GAP] = "it was restarted a short while ago",
    [RESTART_WAIT_BUDGET] = "the namespace had enough restarts for the moment",
};

static const char *kind_of(const struct load *l)
{
    return restart_kind_names[l->kind];
}

static struct lh_kube_resource resource_of(const struct load *l)
{
    return (struct lh_kube_resource){.group = "apps",
                                     .version = "v1",
                                     .resource = restart_resources[l->kind],
                                     .namespace_ = l->namespace_,
                                     .name = l->name};
}

void load_stop(struct load *l)
{
    lh_kube_cancel(l->op);
    l->op = NULL;
    lh_json_unref(l->obj);
    l->obj = NULL;
    lh_free(l->new_stamp);
    l->new_stamp = NULL;
}

/* What the projections that name it want, as far as it counts; false: not all is known. */
static bool wants_of(const struct load *l, struct lh_vec *out)
{
    bool known = true;

    for (size_t i = 0; i < l->wishes.n; i++) {
        const struct wish *w = *(struct wish **)lh_vec_at(&l->wishes, i);
        const struct restart_want want = {w->name, w->hash};

        known = known && w->known;
        if (w->hash[0] && !lh_vec_push(out, &want))
            return false;
    }
    return known;
}

/* Whoever is made from now on starts with these values, or later ones. */
static void absent(struct load *l)
{
    char *stamp = NULL;
    struct lh_vec wants;

    lh_vec_init(&wants, sizeof(struct restart_want));
    if (wants_of(l, &wants) && restart_stamp(wants.p, wants.n, &stamp, NULL) == 0) {
        lh_free(l->stamp);
        l->stamp = stamp;
    }
    lh_vec_done(&wants);
}

/* What is not done now is done later; err is ours or the API server's. */
static void failed(struct load *l, const char *what, const struct lh_err *err)
{
    const char *reason = err->code == LH_E_NOTFOUND ? LH_REASON_WorkloadNotFound
                         : err->code == LH_E_DENIED ? LH_REASON_RightsMissing
                                                    : LH_REASON_RestartPending;
    char *text;

    load_stop(l);
    /* Somebody else wrote first, or the API server is away: nothing to tell a person. */
    if (err->code == LH_E_CONFLICT || err->code == LH_E_BUSY || err->code == LH_E_UNAVAILABLE) {
        load_done(l, LH_QUEUE_RETRY, 0);
        return;
    }
    load_seen(l);
    if (err->code == LH_E_DENIED)
        text = lh_asprintf("%s \"%s\": no right to %s in namespace \"%s\"; add it to "
                           "cluster.namespaces of the chart (verbs get, patch on %s.apps, list on "
                           "poddisruptionbudgets.policy)",
                           kind_of(l), l->name, what, l->namespace_, restart_resources[l->kind]);
    else if (err->code == LH_E_NOTFOUND)
        text = lh_asprintf("%s \"%s\" does not exist", kind_of(l), l->name);
    else
        text = lh_asprintf("%s \"%s\": %s", kind_of(l), l->name, err->msg);
    lh_log_warn("workload cannot be restarted", LH_F_STR("namespace", l->namespace_),
                LH_F_STR("kind", kind_of(l)), LH_F_STR("name", l->name), LH_F_ERR(err));
    load_says(l, CONDITION_FALSE, reason, RESTART_WAIT_NONE, text);
    if (err->code == LH_E_NOTFOUND) {
        absent(l);
        load_done(l, LH_QUEUE_OK, ABSENT_MS);
    } else if (err->code == LH_E_DENIED) {
        load_done(l, LH_QUEUE_OK, REFUSED_MS);
    } else {
        load_done(l, LH_QUEUE_RETRY, 0);
    }
}

/* Each of its projections comes by again when it knows. */
static void unknown(struct load *l)
{
    load_says(l, CONDITION_UNKNOWN, LH_REASON_Starting, RESTART_WAIT_NONE,
              lh_asprintf("%s \"%s\": %s", kind_of(l), l->name, waits[RESTART_WAIT_VALUES]));
    load_done(l, LH_QUEUE_OK, 0);
}

static void current(struct load *l, const char *how)
{
    load_stop(l);
    load_says(l, CONDITION_TRUE, LH_REASON_Fresh, RESTART_WAIT_NONE,
              lh_asprintf("%s \"%s\" %s", kind_of(l), l->name, how));
    load_done(l, LH_QUEUE_OK, 0);
}

static void tell_restarted(struct load *l)
{
    const char *uid = lh_json_get_z(lh_json_get(l->obj, "metadata"), "uid");
    lh_auto_buf struct lh_buf note;

    lh_buf_init(&note, 8 * 1024);
    lh_buf_put_z(&note, "restarted, since secrets of these SecretProjections changed:");
    for (size_t i = 0; i < l->wishes.n && i < 8; i++)
        lh_buf_printf(&note, "%s %s", i > 0 ? "," : "",
                      (*(struct wish **)lh_vec_at(&l->wishes, i))->name);
    restarts_count(l->kind);
    lh_log_info("workload restarted", LH_F_STR("namespace", l->namespace_),
                LH_F_STR("kind", kind_of(l)), LH_F_STR("name", l->name));
    if (l->r->o.restarted && lh_buf_check(&note, NULL) == 0)
        l->r->o.restarted(l->r->o.arg, l->namespace_, kind_of(l), l->name, uid ? uid : "",
                          lh_buf_peek(&note).p);
}

static void written(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct load *l = arg;

    (void)obj;
    l->op = NULL;
    if (err) {
        /* An answer that was lost may have been a yes: then it counts. */
        if (l->restarting && (!err->sent || err->code != LH_E_UNAVAILABLE))
            room_take_back(l->room, l->noted_at);
        failed(l, "patch it", err);
        return;
    }
    lh_free(l->stamp);
    l->stamp = LH_TAKE_PTR(l->new_stamp);
    if (!l->restarting) {
        current(l, "is noted with what it runs with");
        return;
    }
    l->last_at = lh_clock_now();
    tell_restarted(l);
    current(l, l->on_delete ? "takes the current values as its Pods are deleted (OnDelete)"
                            : "was restarted with the current values");
}

static int write_stamp(struct load *l, const struct lh_vec *wants, bool restart, struct lh_err *err)
{
    const struct lh_kube_resource res = resource_of(l);
    lh_auto_json lh_json *patch = NULL;
    char at[32];
    int rc = restart_stamp(wants->p, wants->n, &l->new_stamp, err);

    if (rc < 0)
        return rc;
    lh_clock_format(lh_clock_wall_ms(), at);
    rc = restart_patch(l->obj, l->new_stamp, restart ? at : NULL, &patch, err);
    if (rc < 0)
        return rc;
    l->noted_at = lh_clock_now();
    if (restart && room_note(l->r, l->room, l->noted_at) < 0)
        return lh_err_nomem(err);
    l->restarting = restart;
    rc = lh_kube_json_patch(l->r->o.kube, &res, patch, written, l, &l->op, err);
    if (rc < 0 && restart)
        room_take_back(l->room, l->noted_at);
    return rc;
}

static void later(struct load *l, const struct restart_decision *d, const char *pdb)
{
    lh_ms now = lh_clock_now();
    lh_ms after = d->at > now ? d->at - now : 1;

    load_says(l, CONDITION_FALSE, LH_REASON_RestartPending, d->why,
              lh_asprintf("%s \"%s\" runs with older secrets: %s%s%s", kind_of(l), l->name,
                          waits[d->why], pdb ? ": " : "", pdb ? pdb : ""));
    load_stop(l);
    load_done(l, LH_QUEUE_OK, after);
}

static void pdbs_came(void *arg, const lh_json *pdbs, const struct lh_err *err);

static int ask_pdbs(struct load *l, struct lh_err *err)
{
    static const char limit[] = "limit=500";
    const struct lh_kube_resource res = {.group = "policy",
                                         .version = "v1",
                                         .resource = "poddisruptionbudgets",
                                         .namespace_ = l->namespace_};

    _Static_assert(PDBS_MAX == 500, "as asked for");
    return lh_kube_start(l->r->o.kube, "GET", &res, limit, NULL, NULL, READ_MS, pdbs_came, l,
                         &l->op, err);
}

/* When a leader before this one restarted it, on our clock; 0: never, as far as that reaches. */
static lh_ms by_another(const struct restart_look *look, lh_ms now)
{
    lh_ms ago = lh_clock_wall_ms() - look->restarted_wall_ms;

    return look->restarted_wall_ms && ago >= 0 && ago < now ? now - ago : 0;
}

static void facts_of(const struct load *l, const struct restart_look *look,
                     const struct lh_vec *wants, bool known, struct restart_facts *out)
{
    lh_ms now = lh_clock_now(), before = by_another(look, now);

    *out = (struct restart_facts){
        .stamp = look->stamp ? look->stamp : l->stamp,
        .wants = wants->p,
        .n_wants = wants->n,
        .known = known,
        .paused = look->paused,
        .rolling = look->rolling,
        .changed_at = l->changed_at,
        .last_at = l->last_at ? l->last_at : before,
        .free_at = room_free_at(l->r, l->room, now),
    };
}

static void act(struct load *l, const struct restart_look *look, const struct lh_vec *wants,
                enum restart_act act)
{
    struct restarts *r = l->r;
    /* What somebody took off is put back, so that the next leader knows, too. */
    bool note = act == RESTART_NOTE || (act == RESTART_NONE && !look->stamp && wants->n > 0);
    struct lh_err err = {0};

    if (act == RESTART_NONE && !note) {
        current(l, "runs with the current values");
    } else if (r->o.may_write && !r->o.may_write(r->o.arg)) {
        load_stop(l);
        load_done(l, LH_QUEUE_RETRY, 0);
    } else if (write_stamp(l, wants, act == RESTART_NOW, &err) < 0) {
        failed(l, "patch it", &err);
    }
}

/* pdbs NULL: not asked for yet, and not needed unless it is to be restarted now. */
static void decide(struct load *l, const lh_json *pdbs)
{
    struct restart_look look;
    struct restart_facts f;
    struct restart_decision d;
    struct lh_vec wants;
    const char *pdb;
    struct lh_err err = {0};
    bool known;

    lh_vec_init(&wants, sizeof(struct restart_want));
    known = wants_of(l, &wants);
    restart_look(l->kind, l->obj, &look);
    l->on_delete = look.on_delete;
    facts_of(l, &look, &wants, known, &f);
    pdb = pdbs && !look.empty ? restart_blocked_by(pdbs, look.labels) : NULL;
    f.no_budget = pdb != NULL;
    d = restart_decide(&f, &l->r->rules, lh_clock_now());
    if (!known) {
        load_stop(l);
        unknown(l);
    } else if (d.act == RESTART_LATER) {
        later(l, &d, d.why == RESTART_WAIT_DISRUPTION ? pdb : NULL);
    } else if (d.act == RESTART_NOW && l->room->unseen > 0) {
        /* What the leader before this one spent of the budget is not known yet. */
        load_stop(l);
        load_done(l, LH_QUEUE_OK, UNSEEN_MS);
    } else if (d.act == RESTART_NOW && !pdbs) {
        if (ask_pdbs(l, &err) < 0)
            failed(l, "list PodDisruptionBudgets", &err);
    } else {
        act(l, &look, &wants, d.act);
    }
    lh_vec_done(&wants);
}

static void pdbs_came(void *arg, const lh_json *pdbs, const struct lh_err *err)
{
    struct load *l = arg;

    l->op = NULL;
    if (err)
        failed(l, "list PodDisruptionBudgets", err);
    else
        decide(l, pdbs);
}

/* What another leader spent is spent. */
static void count_before(struct load *l, const struct restart_look *look)
{
    lh_ms now = lh_clock_now(), at = by_another(look, now);

    /* Without memory for it the workload stays unseen, and is read again. */
    if (!l->seen && at > 0 && at + l->r->o.window_ms > now && room_note(l->r, l->room, at) < 0)
        return;
    load_seen(l);
}

static void load_came(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct load *l = arg;
    struct restart_look look;
    char *stamp;

    l->op = NULL;
    if (err) {
        failed(l, "get it", err);
        return;
    }
    l->obj = lh_json_ref(lh_json_mut(obj));
    restart_look(l->kind, l->obj, &look);
    stamp = look.stamp ? lh_strdup(look.stamp) : NULL;
    if (stamp) {
        lh_free(l->stamp);
        l->stamp = stamp;
    }
    count_before(l, &look);
    decide(l, NULL);
}

void load_work(void *arg, const char *key)
{
    struct restarts *r = arg;
    struct load *l = lh_map_get(r->loads, lh_str(key));
    struct lh_kube_resource res;
    struct lh_vec wants;
    struct lh_err err = {0};
    bool known, any;

    if (!l) {
        lh_queue_done(r->queue, key, LH_QUEUE_GONE, 0);
        return;
    }
    l->working = true;
    lh_vec_init(&wants, sizeof(struct restart_want));
    known = wants_of(l, &wants);
    any = wants.n > 0;
    lh_vec_done(&wants);
    if (known && !any) {
        load_seen(l);
        current(l, "waits for nothing that counts");
        return;
    }
    if (!known && l->seen) {
        unknown(l);
        return;
    }
    res = resource_of(l);
    if (lh_kube_start(r->o.kube, "GET", &res, NULL, NULL, NULL, READ_MS, load_came, l, &l->op,
                      &err) < 0)
        failed(l, "get it", &err);
}
