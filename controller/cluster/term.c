/* SPDX-License-Identifier: Apache-2.0 */
/* One term as leader, from the election to its loss. */
#include <string.h>

#include "cluster_priv.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"

enum { AGAIN_MS = 1000, CONFIRM_MS = 5000 };

static bool leads(void *arg)
{
    const struct cluster *c = arg;

    return !c->ending && c->term != 0 && lh_election_term(c->election) == c->term;
}

/* ---- the ledger ---- */

/* What a login in place of somebody borrows. */
struct borrowed {
    struct lh_token_source *source;
    char *namespace_, *account, *role;
    lh_json *labels;
};

static void give_back(void *arg)
{
    struct borrowed *b = arg;

    if (!b)
        return;
    if (b->source)
        b->source->free(b->source);
    lh_json_unref(b->labels);
    lh_free(b->namespace_);
    lh_free(b->account);
    lh_free(b->role);
    lh_free(b);
}

static int borrow(const struct cluster *c, const struct ledger_record *r, struct borrowed **out,
                  struct lh_err *err)
{
    struct borrowed *b = lh_calloc(1, sizeof(*b));
    struct lh_namespace ns = {.name = r->namespace_};
    int rc;

    if (!b)
        return lh_err_nomem(err);
    b->namespace_ = lh_strdup(r->namespace_);
    b->account = lh_strdup(r->service_account);
    b->role = r->role ? lh_strdup(r->role) : NULL;
    if (lh_objects_namespace(c->objects, r->namespace_, &ns) && ns.labels)
        b->labels = lh_json_deep_copy(ns.labels);
    rc = b->namespace_ && b->account && (b->role || !r->role) ? 0 : lh_err_nomem(err);
    if (rc == 0)
        rc = copies_token_source(c->kube, b->namespace_, b->account, &b->source, err);
    if (rc < 0) {
        give_back(b);
        return rc;
    }
    *out = b;
    return 0;
}

static int access_for(void *arg, const struct ledger_record *r, struct ledger_access *out,
                      struct lh_err *err)
{
    const struct cluster *c = arg;
    struct lh_store *store =
        lh_objects_store(c->objects, r->store_cluster_scoped, r->namespace_, r->store);
    struct borrowed *b = NULL;
    int rc;

    if (!store)
        return lh_err_reason(
            err,
            lh_err_set(err, LH_E_NOTFOUND, "%s \"%s\" is not there any more",
                       r->store_cluster_scoped ? "ClusterSecretStore" : "SecretStore", r->store),
            LH_REASON_StoreNotFound);
    rc = borrow(c, r, &b, err);
    if (rc < 0)
        return rc;
    *out = (struct ledger_access){
        .store = lh_store_ref(store),
        .identity = {.subject = {.cluster = c->o.cluster_name,
                                 .namespace_ = b->namespace_,
                                 .service_account = b->account},
                     .namespace_labels = b->labels,
                     .role = b->role,
                     .credential = b->source,
                     .allow_addresses = (const char *const *)c->allow_addresses},
        .done = give_back,
        .arg = b};
    return 0;
}

static bool belongs(void *arg, const struct ledger_record *r)
{
    const struct cluster *c = arg;

    return copies_has_uid(c->copies, r->uid);
}

static void loaded(void *arg)
{
    struct cluster *c = arg;

    c->loaded = true;
    term_step(c);
}

static void settled(void *arg, const char *uid)
{
    const struct cluster *c = arg;

    copies_uid_settled(c->copies, uid);
}

static void gave_up(void *arg, const struct ledger_record *r, const struct lh_err *err)
{
    (void)arg;
    lh_log_error("a token is not revoked and is left to its own end",
                 LH_F_STR("namespace", r->namespace_), LH_F_STR("projection", r->projection),
                 LH_F_STR("store", r->store), LH_F_STR("accessor", r->accessor), LH_F_ERR(err));
}

static void fenced(void *arg)
{
    struct cluster *c = arg;

    lh_log_error("another leader wrote to the ledger: this one ends");
    c->failed = true;
    lh_loop_stop(c->loop);
}

static void ledger_failed(void *arg, const struct lh_err *err)
{
    (void)arg;
    lh_log_warn("ledger not read or written", LH_F_ERR(err));
}

int term_open(struct cluster *c, struct lh_err *err)
{
    const struct ledger_options o = {.loop = c->loop,
                                     .kube = c->kube,
                                     .namespace_ = c->o.namespace_,
                                     .name = c->o.ledger,
                                     .leads = leads,
                                     .access = access_for,
                                     .belongs = belongs,
                                     .loaded = loaded,
                                     .settled = settled,
                                     .gave_up = gave_up,
                                     .fenced = fenced,
                                     .failed = ledger_failed,
                                     .arg = c};

    return ledger_new(&o, &c->ledger, err);
}

/* ---- beginning ---- */

static void have_key(void *arg, const struct lh_secret *key, const struct lh_err *err)
{
    struct cluster *c = arg;
    struct lh_err e = {0};

    c->asking = NULL;
    if (!err &&
        lh_secret_copy(lh_secret_expose_const(key), lh_secret_len(key), &c->hash_key, &e) < 0)
        err = &e;
    if (err) {
        if (!c->key_said)
            lh_log_warn("the ledger's Secret cannot be read: nothing is copied before it can",
                        LH_F_STR("namespace", c->o.namespace_), LH_F_STR("secret", c->o.ledger),
                        LH_F_ERR(err));
        c->key_said = true;
        lh_timer_in(c->again, AGAIN_MS);
        return;
    }
    c->key_said = false;
    ledger_start(c->ledger, c->term);
    term_step(c);
}

static void ask_key(struct cluster *c)
{
    struct lh_err err = {0};

    if (c->asking)
        return;
    if (hash_key_start(c->kube, c->o.namespace_, c->o.ledger, have_key, c, &c->asking, &err) < 0)
        lh_timer_in(c->again, AGAIN_MS);
}

static void condition(void *arg, const char *namespace_, const char *projection,
                      const struct condition *said)
{
    const struct cluster *c = arg;

    copies_workloads(c->copies, namespace_, projection, said);
}

static int activate(struct cluster *c, struct lh_err *err)
{
    const struct health_term_options health = {.loop = c->loop,
                                               .kube = c->kube,
                                               .instance = c->o.identity,
                                               .allow_addresses =
                                                   (const char *const *)c->allow_addresses,
                                               .restarts = c->namespaces[0] != NULL,
                                               .may_write = leads,
                                               .condition = condition,
                                               .arg = c};
    struct copies_term t = {
        .hash_key = c->hash_key, .ledger = c->ledger, .number = c->term, .drain = drain_asked(c)};
    int rc = health_term_new(&health, &c->health, err);

    if (rc < 0)
        return rc;
    t.health = health_term_stores(c->health);
    t.restarts = health_term_restarts(c->health);
    return copies_start(c->copies, &t, err);
}

/* ---- deletions that a person confirms ---- */

static void have_lease(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct cluster *c = arg;
    const lh_json *notes = lh_json_path(obj, "metadata", "annotations", NULL);

    c->lease_op = NULL;
    if (!err)
        copies_confirm_deletions(c->copies, lh_json_get_z(notes, BREAKER_CONFIRM));
    lh_timer_in(c->confirm, CONFIRM_MS);
}

void term_confirm(void *arg)
{
    struct cluster *c = arg;
    const struct lh_kube_resource lease = {.group = "coordination.k8s.io",
                                           .version = "v1",
                                           .resource = "leases",
                                           .namespace_ = c->o.namespace_,
                                           .name = c->o.lease};
    struct copies_count n;

    copies_count(c->copies, &n);
    if (!c->active || !n.breaker.open || c->lease_op)
        return;
    if (lh_kube_start(c->kube, "GET", &lease, NULL, NULL, NULL, 0, have_lease, c, &c->lease_op,
                      NULL) < 0)
        lh_timer_in(c->confirm, CONFIRM_MS);
}

void term_step(struct cluster *c)
{
    struct lh_err err = {0};

    if (c->term == 0 || c->active || c->ending)
        return;
    if (!c->hash_key) {
        ask_key(c);
        return;
    }
    if (!c->loaded || !copies_synced(c->copies))
        return;
    if (activate(c, &err) < 0) {
        lh_log_error("not active yet", LH_F_ERR(&err));
        health_term_free(c->health);
        c->health = NULL;
        lh_timer_in(c->again, AGAIN_MS);
        return;
    }
    c->active = true;
    ledger_synced(c->ledger);
    drain_look(c);
    lh_log_info("active", LH_F_INT("term", c->term));
}

void term_begin(struct cluster *c, int64_t number)
{
    c->term = number;
    lh_log_info("leading", LH_F_INT("term", number));
    if (c->hash_key)
        ledger_start(c->ledger, number);
    term_step(c);
}

void term_end(struct cluster *c)
{
    if (c->term == 0)
        return;
    lh_log_info("no longer leading", LH_F_INT("term", c->term));
    c->term = 0;
    lh_timer_stop(c->again);
    lh_timer_stop(c->confirm);
    lh_timer_stop(c->drain_timer);
    lh_free(LH_TAKE_PTR(c->drain_said));
    lh_kube_cancel(c->lease_op);
    c->lease_op = NULL;
    hash_key_cancel(c->asking);
    c->asking = NULL;
    copies_stop(c->copies);
    ledger_stop(c->ledger);
    health_term_free(c->health);
    c->health = NULL;
    c->loaded = c->active = false;
}
