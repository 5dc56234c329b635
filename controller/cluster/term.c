/* SPDX-License-Identifier: Apache-2.0 */
/* One term as leader, from the election to its loss. */
#include <string.h>

#include "cluster_priv.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"

enum { AGAIN_MS = 1000 };

static bool leads(void *arg)
{
    const struct cluster *c = arg;

    return !c->ending && c->term != 0 && lh_election_term(c->election) == c->term;
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
    struct copies_term t = {.hash_key = c->hash_key, .number = c->term};
    int rc = health_term_new(&health, &c->health, err);

    if (rc < 0)
        return rc;
    t.health = health_term_stores(c->health);
    t.restarts = health_term_restarts(c->health);
    return copies_start(c->copies, &t, err);
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
    if (!copies_synced(c->copies))
        return;
    if (activate(c, &err) < 0) {
        lh_log_error("not active yet", LH_F_ERR(&err));
        health_term_free(c->health);
        c->health = NULL;
        lh_timer_in(c->again, AGAIN_MS);
        return;
    }
    c->active = true;
    lh_log_info("active", LH_F_INT("term", c->term));
}

void term_begin(struct cluster *c, int64_t number)
{
    c->term = number;
    lh_log_info("leading", LH_F_INT("term", number));
    term_step(c);
}

void term_end(struct cluster *c)
{
    if (c->term == 0)
        return;
    lh_log_info("no longer leading", LH_F_INT("term", c->term));
    c->term = 0;
    lh_timer_stop(c->again);
    hash_key_cancel(c->asking);
    c->asking = NULL;
    copies_stop(c->copies);
    health_term_free(c->health);
    c->health = NULL;
    c->active = false;
}
