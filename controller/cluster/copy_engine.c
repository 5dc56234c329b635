/* SPDX-License-Identifier: Apache-2.0 */
/* The engine of a copy, and the one it replaces after an edit: that one's credentials live on until
 * the new ones are in the Secret and the overlap is over. */
#include <string.h>

#include "copies_priv.h"
#include "copy.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "resolve.h"
#include "shared_login.h"

enum { END_MS = 5000, MODE = 0440, RETRY_MS = 5000 };

/* Told within the step that published, the rest of which looks at it. */
static void wake_unless_armed(struct copy *c)
{
    if (!c->armed)
        copy_wake(c);
}

static void on_ready(void *arg)
{
    struct copy_slot *s = arg;

    s->ready = true;
    copies_end_turn(s->c);
    lh_err_keep(&s->c->fetch_err, NULL);
    wake_unless_armed(s->c);
}

static void on_changed(void *arg)
{
    struct copy_slot *s = arg;

    lh_err_keep(&s->c->fetch_err, NULL);
    wake_unless_armed(s->c);
}

static void on_failed(void *arg, const struct lh_err *err)
{
    struct copy_slot *s = arg;
    struct copy *c = s->c;

    if (err->code == LH_E_GONE) /* our own word for: the Secret does not have it any more */
        return;
    lh_log_warn("attempt failed", LH_F_STR("namespace", c->namespace_),
                LH_F_STR("projection", c->name), LH_F_STR("store", s->store->name), LH_F_ERR(err));
    copies_end_turn(c);
    if (s == c->cur)
        lh_err_keep(&c->fetch_err, err);
    if (c->wait)
        store_wait_report(c->wait, err);
    copy_wake(c);
}

static void on_ended(void *arg)
{
    struct copy_slot *s = arg;

    s->ended = true;
    copy_wake(s->c);
}

void copy_slot_free(struct copy_slot *s)
{
    if (!s)
        return;
    lh_engine_free(s->engine);
    lh_parked_free(s->parked);
    lh_timer_free(s->due);
    if (s->source)
        s->source->free(s->source);
    lh_store_unref(s->store);
    copy_spec_unref(s->spec);
    lh_json_unref(s->namespace_labels);
    lh_free(s);
}

static void slot_end(struct copy_slot *s, bool revoke)
{
    if (!s || s->ending)
        return;
    s->ending = true;
    copies_end_turn(s->c);
    if (s->parked) { /* it holds nothing that is to be ended */
        lh_parked_free(s->parked);
        s->parked = NULL;
        on_ended(s);
        return;
    }
    lh_engine_end(s->engine, revoke, END_MS, on_ended, s);
}

void copy_engine_end(struct copy *c, bool revoke)
{
    slot_end(c->cur, revoke);
    slot_end(c->old, revoke);
}

static int check(const struct copy *c, const struct lh_store *store, struct lh_err *err)
{
    enum lh_auth_method m = store->vault.auth.method;

    if (m != LH_AUTH_JWT && m != LH_AUTH_KUBERNETES)
        return lh_err_reason(err,
                             lh_err_set(err, LH_E_INVALID,
                                        "%s \"%s\" logs in with a Secret; copies and restarts need "
                                        "auth.jwt or auth.kubernetes",
                                        lh_store_kind(store), store->name),
                             LH_REASON_StoreInvalid);
    if (store->vault.ca_ref.name)
        return lh_err_reason(err,
                             lh_err_set(err, LH_E_INVALID,
                                        "%s \"%s\": copies need caBundle; caBundleRef is for "
                                        "injected Pods",
                                        lh_store_kind(store), store->name),
                             LH_REASON_StoreInvalid);
    if (!c->spec->p->service_account)
        return lh_err_reason(
            err,
            lh_err_set(err, LH_E_INVALID, "spec.serviceAccountName must say who asks for the copy"),
            LH_REASON_CredentialMissing);
    return 0;
}

static int resolve(struct copy *c, struct lh_store **store, struct lh_namespace *ns,
                   struct lh_err *err)
{
    const struct copies_parts *p = &c->set->p;
    const struct lh_subject who = {p->o->cluster_name, c->namespace_,
                                   c->spec->p->service_account ? c->spec->p->service_account : ""};
    lh_auto_json lh_json *json = NULL;
    struct secret_spec secret;
    int rc = copy_spec_secret(c->spec, &json, err);

    if (rc < 0)
        return rc;
    if (json) {
        rc = secret_spec_read(json, &secret, err);
        if (rc < 0)
            return lh_err_reason(err, rc, LH_REASON_ConfigInvalid);
    }
    rc = controller_resolve(p->objects, c->spec->p, &who, store, ns, err);
    return rc < 0 ? rc : check(c, *store, err);
}

static bool same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* Do two specs ask for the same with the same login, into a Secret of the same name? */
static bool same_engine(const struct copy_spec *a, const struct copy_spec *b)
{
    lh_auto_json lh_json *x = NULL, *y = NULL;

    if (a == b)
        return true;
    if (!same(a->secret_name, b->secret_name) || lh_projection_to_json(a->p, &x, NULL) < 0 ||
        lh_projection_to_json(b->p, &y, NULL) < 0)
        return false;
    lh_json_del(x, "onChange");
    lh_json_del(y, "onChange");
    return lh_json_equal(x, y);
}

static struct lh_identity identity_of(struct copy_slot *s, bool shared)
{
    const struct copies *set = s->c->set;
    struct lh_identity id = {.subject = {.cluster = set->p.o->cluster_name,
                                         .namespace_ = s->c->namespace_,
                                         .service_account = s->spec->p->service_account},
                             .namespace_labels = s->namespace_labels,
                             .role = s->spec->p->role,
                             .credential = s->source,
                             .allow_addresses = (const char *const *)set->p.allow_addresses};

    if (shared)
        id.wrapper = set->shared;
    else if (s->spec->p->revocation == LH_REVOKE)
        id.wrapper = &s->owner;
    return id;
}

/* What may be issued is recorded, one login a projection; plain secrets share one. What is to be
 * retained is nobody's to undo. */
static const struct lh_provider_ops *login_of(const struct copy_slot *s, bool shared)
{
    if (shared)
        return &shared_login_ops;
    return s->spec->p->revocation == LH_REVOKE ? &ledger_provider_ops : lh_provider_for(s->store);
}

int copy_slot_open(struct copy_slot *s, bool shared, struct lh_err *err)
{
    const struct lh_identity id = identity_of(s, shared);
    const struct lh_engine_options o = {.loop = s->c->set->p.loop,
                                        .provider = login_of(s, shared),
                                        .store = s->store,
                                        .identity = &id,
                                        .projection = s->spec->p,
                                        .default_mode = MODE,
                                        .sink = &s->sink,
                                        .parked = s->parked,
                                        .ready = on_ready,
                                        .changed = on_changed,
                                        .failed = on_failed,
                                        .arg = s};
    int rc = lh_engine_new(&o, &s->engine, err);

    if (rc == 0)
        s->parked = NULL;
    return rc;
}

static int slot_new(struct copy *c, struct lh_store *store, const struct lh_namespace *ns,
                    bool shared, struct copy_slot **out, struct lh_err *err)
{
    struct copy_slot *s = lh_calloc(1, sizeof(*s));
    int rc = 0;

    if (!s)
        return lh_err_nomem(err);
    s->c = c;
    s->sink = copy_sink;
    s->spec = copy_spec_ref(c->spec);
    s->store = lh_store_ref(store);
    s->namespace_labels = ns->labels ? lh_json_ref(lh_json_mut(ns->labels)) : NULL;
    s->owner =
        (struct ledger_owner){.ledger = c->set->term.ledger, .projection = c->name, .uid = c->uid};
    if (!shared)
        rc = copies_token_source(c->set->p.kube, c->namespace_, s->spec->p->service_account,
                                 &s->source, err);
    if (rc == 0)
        rc = copy_slot_open(s, shared, err);
    if (rc < 0) {
        copy_slot_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

static void store_ready(void *arg)
{
    struct copy *c = arg;

    c->edited = true;
    copy_wake(c);
}

static void depend_on(struct copy *c, const struct lh_store *store)
{
    const struct store_ref ref = {store->cluster_scoped, store->namespace_, store->name};
    struct lh_err err = {0};

    store_wait_free(c->wait);
    c->wait = NULL;
    if (c->set->term.health &&
        store_wait_new(c->set->term.health, &ref, store_ready, c, &c->wait, &err) < 0)
        lh_log_warn("store not waited for", LH_F_STR("projection", c->name), LH_F_ERR(&err));
}

/* false: nothing is under way. */
static bool start(struct copy *c, struct lh_store *store, const struct lh_namespace *ns)
{
    bool shared = shared_login_fits(store, c->spec->p);
    struct copy_slot *made = NULL;
    struct lh_err err = {0};

    /* Before anything is issued that somebody must undo. */
    if (!shared && !c->finalizer && c->spec->p->revocation == LH_REVOKE)
        return copy_finalizer_step(c);
    if (!c->cur && !copies_take_turn(c))
        return false;
    if (slot_new(c, store, ns, shared, &made, &err) < 0) {
        copies_end_turn(c);
        lh_err_keep(&c->spec_err, &err);
        c->at = lh_clock_now() + RETRY_MS;
        return false;
    }
    if (c->cur) {
        lh_engine_hold(c->cur->engine);
        c->old = c->cur;
        c->old_until = 0;
    }
    c->cur = made;
    c->edited = false;
    lh_err_keep(&c->spec_err, NULL);
    lh_err_keep(&c->fetch_err, NULL);
    depend_on(c, store);
    lh_engine_start(made->engine);
    return false;
}

static bool apply_edit(struct copy *c)
{
    struct lh_namespace ns = {0};
    struct lh_store *store = NULL;
    struct lh_err err = {0};

    if (resolve(c, &store, &ns, &err) < 0 || !store) { /* what is there stays */
        lh_err_keep(&c->spec_err, &err);
        c->edited = false;
        return false;
    }
    lh_err_keep(&c->spec_err, NULL);
    if (c->cur && !c->cur->ending && lh_json_equal(c->cur->store->spec, store->spec) &&
        same(c->cur->store->name, store->name) &&
        c->cur->store->cluster_scoped == store->cluster_scoped &&
        same_engine(c->cur->spec, c->spec)) {
        c->edited = false;
        return false;
    }
    if (c->old) { /* one replacement at a time: the older one makes room */
        slot_end(c->old, true);
        return false;
    }
    if (c->cur && c->cur->ending)
        return false;
    return start(c, store, &ns);
}

/* Credentials of an earlier leader are of no use once new ones are in the Secret. */
static void release_earlier(struct copy *c)
{
    if (!c->cur->ready || c->cur->released)
        return;
    c->cur->released = true;
    ledger_release(c->set->term.ledger, c->uid, c->cur->spec->p->overlap_ms);
}

void copy_engine_retire(struct copy *c)
{
    lh_ms now = lh_clock_now();

    if (!c->cur || c->cur->ending)
        return;
    release_earlier(c);
    if (!c->old || c->old->ending || !c->cur->ready)
        return;
    if (c->old_until == 0)
        c->old_until = now + (c->old->ready ? c->old->spec->p->overlap_ms : 0);
    if (now >= c->old_until)
        slot_end(c->old, true);
    else if (c->old_until < c->at)
        c->at = c->old_until;
}

static void obey_force(struct copy *c)
{
    if (!c->forcing)
        return;
    c->forcing = false;
    c->suspect = true;
    if (c->cur && !c->cur->ending)
        lh_engine_refetch(c->cur->engine);
    else
        c->edited = true;
}

/* Whether a Secret is ours is known from the watch. */
static bool knows_secrets(struct copy *c)
{
    const char *trouble = copies_secrets_trouble(c->set, c);
    struct lh_err err = {0};

    if (!trouble)
        return true;
    c->at = lh_clock_now() + RETRY_MS;
    if (!*trouble)
        return false;
    lh_err_reason(&err,
                  lh_err_set(&err, LH_E_DENIED, "Secrets of namespace \"%s\" are not known: %s",
                             c->namespace_, trouble),
                  LH_REASON_RightsMissing);
    lh_err_keep(&c->spec_err, &err);
    return false;
}

bool copy_engine_step(struct copy *c)
{
    if (!copy_is_wanted(c)) {
        store_wait_free(c->wait);
        c->wait = NULL;
        return false;
    }
    if (!c->cur && !knows_secrets(c))
        return false;
    obey_force(c);
    return (c->edited || !c->cur) && apply_edit(c);
}
