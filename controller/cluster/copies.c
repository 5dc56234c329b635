/* SPDX-License-Identifier: Apache-2.0 */
/* What the API server tells of projections and of labelled Secrets. */
#include "copies.h"

#include <stdio.h>
#include <string.h>

#include "copies_priv.h"
#include "copy.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "ledger.h"
#include "metrics.h"
#include "shared_login.h"

/* Keys worked on at a time: as many requests to the API server are under way at most. */
enum { PARALLEL = 48, KEY_MAX = 2 * 253 + 2 };

/* ---- projections ---- */

void copies_free_copy(struct copies *s, struct copy *c)
{
    if (c->key && lh_map_get(s->by_key, lh_str(c->key)) == c)
        lh_map_remove(s->by_key, lh_str(c->key));
    if (c->uid && lh_map_get(s->by_uid, lh_str(c->uid)) == c)
        lh_map_remove(s->by_uid, lh_str(c->uid));
    copies_keep(s, c);
    copies_end_turn(c);
    store_wait_free(c->wait);
    copy_restart_stop(c);
    lh_kube_cancel(c->op);
    copy_slot_free(c->cur);
    copy_slot_free(c->old);
    copy_spec_unref(c->spec);
    copy_files_done(&c->written);
    copy_files_done(&c->writing);
    lh_json_unref(c->current);
    lh_free(c->parse_err);
    lh_free(c->spec_err);
    lh_free(c->fetch_err);
    lh_free(c->write_err);
    lh_free(c->key);
    lh_free(c->uid);
    lh_free(c->namespace_);
    lh_free(c->status);
    lh_free(c->force);
    lh_free(c->stale);
    lh_free(c->secret_name);
    lh_free(c->secret_uid);
    lh_free(c->secret_version);
    lh_free(c);
}

static bool is_served(const struct copies *s, const char *namespace_)
{
    for (char *const *one = s->p.namespaces; *one; one++) {
        if (strcmp(*one, namespace_) == 0)
            return true;
    }
    return false;
}

static struct copy *copy_make(struct copies *s, const char *key, const char *uid)
{
    const char *slash = key ? strchr(key, '/') : NULL;
    struct copy *c = slash ? lh_calloc(1, sizeof(*c)) : NULL;

    if (!c)
        return NULL;
    c->set = s;
    c->at = LH_NEVER;
    c->key = lh_strdup(key);
    c->uid = lh_strdup(uid);
    c->namespace_ = lh_strndup(key, (size_t)(slash - key));
    if (!c->key || !c->uid || !c->namespace_) {
        copies_free_copy(s, c);
        return NULL;
    }
    c->name = c->key + (slash - key) + 1;
    c->served = is_served(s, c->namespace_);
    c->edited = true;
    if (lh_map_set(s->by_uid, lh_str(c->uid), c, NULL, NULL) < 0) {
        copies_free_copy(s, c);
        return NULL;
    }
    return c;
}

static bool same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static void gone(struct copies *s, struct copy *c)
{
    if (lh_map_get(s->by_key, lh_str(c->key)) == c)
        lh_map_remove(s->by_key, lh_str(c->key));
    c->gone = true;
    c->finalizer = false;
    if (!c->working && !s->active)
        copies_free_copy(s, c);
    else
        copy_wake(c);
}

static bool upsert(struct copies *s, const char *key, const lh_json *obj)
{
    const char *uid = lh_json_get_z(lh_json_get(obj, "metadata"), "uid");
    struct copy *c = uid ? lh_map_get(s->by_uid, lh_str(uid)) : NULL;
    struct copy *other = lh_map_get(s->by_key, lh_str(key));
    bool moved;

    if (!uid)
        return true;
    if (other && other != c)
        gone(s, other);
    if (!c)
        c = copy_make(s, key, uid);
    if (!c || copy_take(c, obj, &moved) < 0 ||
        lh_map_set(s->by_key, lh_str(c->key), c, NULL, NULL) < 0)
        return false;
    moved = moved || other != c || c->gone;
    if (moved && lh_queue_add(s->queue, c->uid, LH_LANE_REFRESH, NULL) < 0)
        return false;
    if (c->gone || (c->asked_delete && !c->deleting && !c->stale))
        copies_keep(s, c);
    c->gone = false;
    if (moved)
        copy_wake(c);
    return true;
}

static void on_projection(void *arg, enum lh_watch_event ev, const char *key, const lh_json *obj)
{
    struct copies *s = arg;
    struct copy *c = key ? lh_map_get(s->by_key, lh_str(key)) : NULL;

    switch (ev) {
    case LH_WATCH_UPSERT:
        if (!upsert(s, key, obj))
            lh_watch_resync(s->watch);
        break;
    case LH_WATCH_DELETE:
        if (c)
            gone(s, c);
        break;
    case LH_WATCH_SKIPPED:
        cluster_count_bad_object();
        lh_log_warn("a SecretProjection is too large or malformed, and is left out");
        break;
    case LH_WATCH_SYNCED:
        if (s->p.synced)
            s->p.synced(s->p.arg);
        break;
    }
}

/* ---- Secrets ---- */

struct copy_secret *copies_secret(const struct copies *s, const char *namespace_, const char *name)
{
    char key[KEY_MAX];

    snprintf(key, sizeof(key), "%s/%s", namespace_, name);
    return lh_map_get(s->secrets, lh_str(key));
}

static size_t length(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

/* Behind the others; NULL stays NULL. */
static char *put(char **at, const char *text)
{
    char *to = *at;

    if (!text)
        return NULL;
    *at = stpcpy(to, text) + 1;
    return to;
}

/* One block each: there is one for every copy. */
static struct copy_secret *secret_new(const char *key, const lh_json *obj)
{
    const lh_json *meta = lh_json_get(obj, "metadata");
    const char *owner = lh_json_get_z(lh_json_get(meta, "labels"), SECRET_LABEL);
    const char *uid = lh_json_get_z(meta, "uid"), *version = lh_json_get_z(meta, "resourceVersion");
    const lh_json *owners = lh_json_get(meta, "ownerReferences");
    struct copy_secret *x;
    char *at;

    if (owner && (!uid || !version))
        return NULL;
    x = lh_calloc(1, sizeof(*x) + length(key) + length(owner) + length(uid) + length(version));
    if (!x)
        return NULL;
    at = x->text;
    x->key = put(&at, key);
    if (!owner)
        return x;
    x->owner = put(&at, owner);
    x->uid = put(&at, uid);
    x->version = put(&at, version);
    for (size_t i = 0; i < lh_json_len(owners); i++)
        x->intact = x->intact || same(lh_json_get_z(lh_json_at(owners, i), "uid"), owner);
    return x;
}

/* now: as it is; NULL: it is no longer one of the labelled. */
static void tell_owner(struct copies *s, const char *uid, const char *key,
                       const struct copy_secret *now)
{
    struct copy *c = uid ? lh_map_get(s->by_uid, lh_str(uid)) : NULL;
    const char *name = strchr(key, '/') + 1;

    if (!c)
        return;
    if (same(name, copy_secret_name(c))) {
        c->suspect = c->suspect || !now || !now->intact || !same(now->version, c->secret_version);
        if (!c->suspect)
            return;
    } else if (now && !c->stale) {
        (void)copy_set_text(&c->stale, name);
    }
    copy_wake(c);
}

static void secret_gone(struct copies *s, const char *key)
{
    struct copy_secret *old = lh_map_remove(s->secrets, lh_str(key));

    if (old)
        tell_owner(s, old->owner, key, NULL);
    lh_free(old);
}

static void secret_upsert(struct copy_feed *f, const char *key, const lh_json *obj)
{
    struct copies *s = f->s;
    struct copy_secret *x = secret_new(key, obj);
    void *old = NULL;

    if (!x || lh_map_set(s->secrets, lh_str(x->key), x, &old, NULL) < 0) {
        lh_free(x);
        lh_watch_resync(f->watch);
        return;
    }
    if (old && !same(((struct copy_secret *)old)->owner, x->owner))
        tell_owner(s, ((struct copy_secret *)old)->owner, key, NULL);
    lh_free(old);
    tell_owner(s, x->owner, key, x);
}

static void wake_all(struct copies *s, const char *namespace_)
{
    struct lh_str key;
    size_t it = 0;
    void *p;

    while (lh_map_next(s->by_uid, &it, &key, &p)) {
        struct copy *c = p;

        if (!namespace_ || strcmp(c->namespace_, namespace_) == 0)
            copy_wake(c);
    }
}

static void on_secret(void *arg, enum lh_watch_event ev, const char *key, const lh_json *obj)
{
    struct copy_feed *f = arg;

    if (ev == LH_WATCH_UPSERT)
        secret_upsert(f, key, obj);
    else if (ev == LH_WATCH_DELETE)
        secret_gone(f->s, key);
    else if (ev == LH_WATCH_SYNCED)
        wake_all(f->s, f->namespace_);
}

const char *copies_secrets_trouble(const struct copies *s, const struct copy *c)
{
    for (size_t i = 0; i < s->n_feeds; i++) {
        if (strcmp(s->feeds[i].namespace_, c->namespace_) == 0)
            return lh_watch_is_synced(s->feeds[i].watch) ? NULL
                                                         : lh_watch_trouble(s->feeds[i].watch);
    }
    return "";
}

/* ---- life ---- */

static void work(void *arg, const char *uid)
{
    struct copies *s = arg;
    struct copy *c = lh_map_get(s->by_uid, lh_str(uid));

    if (!c) {
        lh_queue_done(s->queue, uid, LH_QUEUE_GONE, 0);
        return;
    }
    c->working = true;
    copy_step(c);
}

bool copies_leads(const struct copies *s)
{
    return !s->p.leads || s->p.leads(s->p.arg);
}

bool copies_synced(const struct copies *s)
{
    return lh_watch_is_synced(s->watch) && lh_objects_synced(s->p.objects);
}

static int account_source(void *arg, struct lh_store *store, const struct lh_subject *who,
                          struct lh_token_source **out, struct lh_err *err)
{
    const struct copies *s = arg;

    (void)store;
    return copies_token_source(s->p.kube, who->namespace_, who->service_account, out, err);
}

static int share_logins(struct copies *s, struct ledger *l, struct lh_err *err)
{
    const struct shared_login_options o = {.loop = s->p.loop,
                                           .provider = &ledger_provider_ops,
                                           .ledger = l,
                                           .credential = account_source,
                                           .arg = s};

    return shared_logins_new(&o, &s->shared, err);
}

int copies_start(struct copies *s, const struct copies_term *term, struct lh_err *err)
{
    struct lh_str key;
    size_t it = 0;
    void *p;
    int rc = breaker_new(&breaker_default_rules, term->number, &s->breaker, err);

    if (rc == 0)
        rc = share_logins(s, term->ledger, err);
    if (rc < 0) {
        breaker_free(s->breaker);
        s->breaker = NULL;
        return rc;
    }
    s->term = *term;
    s->drain = term->drain;
    shared_logins_hurry(s->shared, s->drain != LH_DRAIN_NOT);
    s->active = true;
    while (lh_map_next(s->by_uid, &it, &key, &p))
        copy_restart_step(p);
    if (term->restarts)
        restarts_start(term->restarts);
    wake_all(s, NULL);
    lh_queue_start(s->queue);
    return 0;
}

void copies_stop(struct copies *s)
{
    struct lh_str key;
    size_t it = 0;
    void *p;

    if (!s || !s->active)
        return;
    lh_queue_stop(s->queue);
    s->active = false;
    s->term = (struct copies_term){0};
    while (lh_map_next(s->by_uid, &it, &key, &p)) {
        struct copy *c = p;
        bool working = c->working;

        copy_stop(c);
        if (!working && c->gone)
            copies_free_copy(s, c);
    }
    /* The next leader revokes what they hold. */
    shared_logins_free(s->shared);
    s->shared = NULL;
    breaker_free(s->breaker);
    s->breaker = NULL;
    lh_timer_stop(s->breaker_timer);
}

static int start_feeds(struct copies *s, struct lh_err *err)
{
    size_t n = 0;
    int rc = 0;

    while (s->p.namespaces[n])
        n++;
    s->feeds = lh_calloc(n ? n : 1, sizeof(*s->feeds));
    if (!s->feeds)
        return lh_err_nomem(err);
    for (s->n_feeds = 0; s->n_feeds < n && rc == 0; s->n_feeds++) {
        struct copy_feed *f = &s->feeds[s->n_feeds];
        const struct lh_watch_options o = {.res = {.group = "",
                                                   .version = "v1",
                                                   .resource = "secrets",
                                                   .namespace_ = s->p.namespaces[s->n_feeds]},
                                           .label_selector = SECRET_LABEL,
                                           .metadata_only = true};

        *f = (struct copy_feed){.s = s, .namespace_ = s->p.namespaces[s->n_feeds]};
        rc = lh_watch_start(s->p.kube, &o, on_secret, f, &f->watch, err);
    }
    return rc;
}

static int open_copies(struct copies *s, struct lh_err *err)
{
    const struct lh_queue_options q = {.loop = s->p.loop,
                                       .name = "secretprojection",
                                       .parallel = PARALLEL,
                                       .work = work,
                                       .arg = s};
    const struct lh_watch_options o = {
        .res = {.group = "leasehold.dev", .version = "v1alpha1", .resource = "secretprojections"}};
    int rc = lh_map_new_borrowing(&s->by_key, err);

    if (rc == 0)
        rc = lh_map_new_borrowing(&s->by_uid, err);
    if (rc == 0)
        rc = lh_map_new_borrowing(&s->secrets, err);
    if (rc == 0)
        rc = lh_queue_new(&q, &s->queue, err);
    if (rc == 0)
        rc = lh_timer_new(s->p.loop, copies_breaker_turn, s, &s->breaker_timer, err);
    if (rc == 0)
        rc = lh_timer_new(s->p.loop, copies_turns_over, s, &s->turn_timer, err);
    if (rc == 0)
        rc = start_feeds(s, err);
    return rc < 0 ? rc : lh_watch_start(s->p.kube, &o, on_projection, s, &s->watch, err);
}

int copies_new(const struct copies_parts *parts, struct copies **out, struct lh_err *err)
{
    struct copies *s = lh_calloc(1, sizeof(*s));
    int rc;

    if (!s)
        return lh_err_nomem(err);
    s->p = *parts;
    rc = open_copies(s, err);
    if (rc < 0) {
        copies_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

void copies_free(struct copies *s)
{
    struct lh_str key;
    size_t it = 0;
    void *p;

    if (!s)
        return;
    copies_stop(s);
    lh_watch_stop(s->watch);
    for (size_t i = 0; i < s->n_feeds; i++)
        lh_watch_stop(s->feeds[i].watch);
    lh_queue_free(s->queue);
    while (s->by_uid && lh_map_next(s->by_uid, &it, &key, &p))
        copies_free_copy(s, p);
    lh_map_free(s->by_key, NULL);
    lh_map_free(s->by_uid, NULL);
    lh_map_free(s->secrets, lh_free);
    lh_timer_free(s->breaker_timer);
    lh_timer_free(s->turn_timer);
    lh_free(s->feeds);
    lh_free(s);
}

void copies_uid_settled(struct copies *s, const char *uid)
{
    struct copy *c = lh_map_get(s->by_uid, lh_str(uid));

    if (c)
        copy_wake(c);
}

bool copies_has_uid(const struct copies *s, const char *uid)
{
    const struct copy *c = lh_map_get(s->by_uid, lh_str(uid));

    return c && !c->gone && !c->deleting;
}

void copies_namespace_changed(struct copies *s, const char *name)
{
    struct lh_str key;
    size_t it = 0;
    void *p;

    while (lh_map_next(s->by_uid, &it, &key, &p)) {
        struct copy *c = p;

        if (strcmp(c->namespace_, name) != 0)
            continue;
        c->edited = true;
        copy_wake(c);
    }
}

void copies_store_changed(struct copies *s, const struct lh_store *store)
{
    struct lh_str key;
    size_t it = 0;
    void *p;

    while (lh_map_next(s->by_uid, &it, &key, &p)) {
        struct copy *c = p;

        if (store && c->spec && c->spec->p->has_store &&
            (strcmp(c->spec->p->store_name, store->name) != 0 ||
             c->spec->p->store_cluster_scoped != store->cluster_scoped))
            continue;
        c->edited = true;
        copy_wake(c);
    }
}
