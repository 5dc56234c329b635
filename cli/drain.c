/* SPDX-License-Identifier: Apache-2.0 */
#include "drain.h"

#include <stdio.h>
#include <string.h>

#include "leasehold/core/mem.h"

#define FINALIZER "leasehold.dev/revocation"

enum {
    POLL_MS = 500,
    ASK_MS = 15 * 1000,
    NOBODY_POLLS = 10, /* a lease that nobody holds is soon taken, by whoever is there */
    LEASE_S = 15,
    PAGES_MAX = 1000
};

struct drain {
    const struct drain_options *o;
    struct drain_result *r;
    struct lh_err *err;

    /* The answer to the one request. */
    bool came;
    lh_json *answer;
    struct lh_err failed;

    /* The Lease, by our own clock. */
    char seen[128];
    lh_ms changed_at;
    char told[320];
};

static lh_ms poll_ms(const struct drain *d)
{
    return d->o->poll_ms ? d->o->poll_ms : POLL_MS;
}

static void on_answer(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct drain *d = arg;

    d->came = true;
    lh_json_unref(d->answer);
    d->answer = obj ? lh_json_ref(lh_json_mut(obj)) : NULL;
    if (err)
        d->failed = *err;
}

static int ask(struct drain *d, const char *method, const struct lh_kube_resource *res,
               const char *query, const lh_json *body)
{
    const char *type = body ? "application/merge-patch+json" : NULL;
    struct lh_kube_op *op = NULL;
    lh_ms until = lh_clock_now() + ASK_MS;
    int rc;

    d->came = false;
    d->failed = (struct lh_err){0};
    rc = lh_kube_start(d->o->kube, method, res, query, type, body, ASK_MS, on_answer, d, &op,
                       &d->failed);
    if (rc < 0)
        return rc;
    while (!d->came && lh_clock_now() < until)
        lh_loop_turn(d->o->loop, (int)poll_ms(d));
    if (d->came)
        return d->failed.code ? -(int)d->failed.code : 0;
    lh_kube_cancel(op);
    return lh_err_set(&d->failed, LH_E_UNAVAILABLE, "no answer of the API server in time");
}

static struct lh_kube_resource lease_of(const struct drain *d)
{
    return (struct lh_kube_resource){.group = "coordination.k8s.io",
                                     .version = "v1",
                                     .resource = "leases",
                                     .namespace_ = d->o->namespace_,
                                     .name = d->o->lease};
}

/* ---- the request ---- */

static int request_body(enum lh_drain how, lh_json **out, struct lh_err *err)
{
    lh_auto_json lh_json *body = lh_json_new_object();
    lh_json *notes = lh_json_new_object();
    lh_json *meta = lh_json_new_object();
    int rc = body && notes && meta ? 0 : -1;

    if (rc == 0)
        rc = lh_json_set(notes, LH_DRAIN_REQUEST,
                         how == LH_DRAIN_NOT ? lh_json_new_null()
                                             : lh_json_new_z(lh_drain_word(how)));
    /* What was said of an earlier one is not the answer to this. */
    if (rc == 0 && how != LH_DRAIN_NOT)
        rc = lh_json_set(notes, LH_DRAIN_STATUS, lh_json_new_null());
    if (rc == 0)
        rc = lh_json_set(meta, "annotations", LH_TAKE_PTR(notes));
    if (rc == 0)
        rc = lh_json_set(body, "metadata", LH_TAKE_PTR(meta));
    lh_json_unref(notes);
    lh_json_unref(meta);
    if (rc < 0)
        return lh_err_nomem(err);
    *out = LH_TAKE_PTR(body);
    return 0;
}

static int request(struct drain *d)
{
    const struct lh_kube_resource lease = lease_of(d);
    lh_auto_json lh_json *body = NULL;
    int rc = request_body(d->o->copies, &body, d->err);

    if (rc < 0)
        return rc;
    rc = ask(d, "PATCH", &lease, NULL, body);
    if (rc == -LH_E_NOTFOUND)
        return 0;
    if (rc == 0)
        d->r->lease = true;
    if (rc < 0) {
        *d->err = d->failed;
        lh_err_wrap(d->err, rc, "Lease %s/%s", d->o->namespace_, d->o->lease);
    }
    return rc;
}

/* ---- the answer ---- */

static void say(struct drain *d, const char *line)
{
    if (!d->o->progress || strcmp(line, d->told) == 0)
        return;
    snprintf(d->told, sizeof(d->told), "%s", line);
    d->o->progress(d->o->arg, line);
}

static void tell(struct drain *d)
{
    const lh_json *s = d->r->status;
    char line[320];

    if (!s) {
        snprintf(line, sizeof(line), "waiting for the controller%s%s", *d->r->holder ? " " : "",
                 d->r->holder);
    } else {
        snprintf(line, sizeof(line), "%lld of %lld projections, %lld Secrets, %lld tokens left",
                 (long long)lh_json_get_int(s, "projections", 0),
                 (long long)lh_json_get_int(s, "total", 0),
                 (long long)lh_json_get_int(s, "secrets", 0),
                 (long long)lh_json_get_int(s, "tokens", 0));
    }
    say(d, line);
}

/* Does anybody renew it? Judged by our own clock alone. */
static void watch_leader(struct drain *d, const lh_json *lease)
{
    const lh_json *spec = lh_json_get(lease, "spec");
    const char *holder = lh_json_get_z(spec, "holderIdentity");
    const char *renewed = lh_json_get_z(spec, "renewTime");
    int64_t seconds = lh_json_get_int(spec, "leaseDurationSeconds", LEASE_S);
    lh_ms now = lh_clock_now(), most = NOBODY_POLLS * poll_ms(d);
    char seen[sizeof(d->seen)];

    snprintf(d->r->holder, sizeof(d->r->holder), "%s", holder ? holder : "");
    snprintf(seen, sizeof(seen), "%.60s %.60s", d->r->holder, renewed ? renewed : "");
    if (d->changed_at == 0 || strcmp(seen, d->seen) != 0)
        d->changed_at = now;
    memcpy(d->seen, seen, sizeof(seen));
    if (*d->r->holder && seconds > 0 && seconds < 3600)
        most += seconds * 1000;
    d->r->away = now - d->changed_at > most;
}

static void take_status(struct drain *d, const lh_json *lease)
{
    const char *text =
        lh_json_get_z(lh_json_path(lease, "metadata", "annotations", NULL), LH_DRAIN_STATUS);
    const char *word;

    lh_json_unref(d->r->status);
    d->r->status = NULL;
    if (text)
        (void)lh_json_parse(lh_str(text), NULL, &d->r->status, NULL);
    if (d->o->copies == LH_DRAIN_NOT) {
        d->r->answered = d->r->done = text == NULL;
        return;
    }
    word = lh_json_get_z(d->r->status, "copies");
    d->r->answered = word && strcmp(word, lh_drain_word(d->o->copies)) == 0;
    word = lh_json_get_z(d->r->status, "phase");
    d->r->done = d->r->answered && word && strcmp(word, "Drained") == 0;
}

static void await_answer(struct drain *d)
{
    const struct lh_kube_resource lease = lease_of(d);
    lh_ms until = lh_clock_now() + d->o->timeout_ms, next;

    while (!d->r->done && !d->r->away && lh_clock_now() < until) {
        if (ask(d, "GET", &lease, NULL, NULL) == 0) {
            watch_leader(d, d->answer);
            take_status(d, d->answer);
            tell(d);
        } else {
            say(d, d->failed.msg);
        }
        next = lh_clock_now() + poll_ms(d);
        while (!d->r->done && lh_clock_now() < next)
            lh_loop_turn(d->o->loop, (int)poll_ms(d));
    }
}

/* ---- what is left ---- */

static int add_action(lh_json *item)
{
    const char *kind = lh_json_get_z(item, "kind"), *ns = lh_json_get_z(item, "namespace");
    const char *name = lh_json_get_z(item, "name"), *store = lh_json_get_z(item, "store");
    const char *accessor = lh_json_get_z(item, "accessor");
    lh_auto_free char *text = NULL;

    if (kind && accessor)
        text = lh_asprintf("at the manager of store %s: bao token revoke -accessor %s; or leave it "
                           "to its own end",
                           store ? store : "", accessor);
    else if (kind && ns && name && strcmp(kind, "Secret") == 0)
        text =
            lh_asprintf("give the controller its rights in namespace %s (cluster.namespaces) and "
                        "drain again, or take it over by hand: kubectl -n %s edit secret %s, "
                        "without label and owner of leasehold.dev",
                        ns, ns, name);
    else if (kind && ns && name)
        text =
            lh_asprintf("with the controller there and namespace %s in cluster.namespaces, drain "
                        "again; else end its tokens at the manager, then kubectl -n %s edit "
                        "secretprojection %s, without the finalizer %s",
                        ns, ns, name, FINALIZER);
    return text ? lh_json_set(item, "action", lh_json_new_z(text)) : 0;
}

static bool has_item(const lh_json *items, const char *ns, const char *name)
{
    for (size_t i = 0; i < lh_json_len(items); i++) {
        const lh_json *o = lh_json_at(items, i);
        const char *kind = lh_json_get_z(o, "kind"), *in = lh_json_get_z(o, "namespace");
        const char *is = lh_json_get_z(o, "name");

        if (kind && in && is && strcmp(kind, "SecretProjection") == 0 && strcmp(in, ns) == 0 &&
            strcmp(is, name) == 0)
            return true;
    }
    return false;
}

static bool is_held(const lh_json *meta)
{
    const lh_json *list = lh_json_get(meta, "finalizers");
    struct lh_str s;

    for (size_t i = 0; i < lh_json_len(list); i++) {
        if (lh_json_str(lh_json_at(list, i), &s) && lh_str_eqz(s, FINALIZER))
            return true;
    }
    return false;
}

static int add_held(struct drain *d, const lh_json *obj)
{
    const lh_json *meta = lh_json_get(obj, "metadata");
    const char *ns = lh_json_get_z(meta, "namespace"), *name = lh_json_get_z(meta, "name");
    lh_auto_json lh_json *o = NULL;

    if (!ns || !name || !is_held(meta) || has_item(d->r->items, ns, name))
        return 0;
    o = lh_json_new_object();
    if (!o || lh_json_set(o, "kind", lh_json_new_z("SecretProjection")) < 0 ||
        lh_json_set(o, "namespace", lh_json_new_z(ns)) < 0 ||
        lh_json_set(o, "name", lh_json_new_z(name)) < 0 ||
        lh_json_set(o, "reason", lh_json_new_z("")) < 0 ||
        lh_json_set(o, "message", lh_json_new_z("it still has the finalizer " FINALIZER)) < 0 ||
        add_action(o) < 0)
        return lh_err_nomem(d->err);
    return lh_json_push(d->r->items, lh_json_ref(o)) < 0 ? lh_err_nomem(d->err) : 0;
}

/* Seen for ourselves, whatever the controller says, or does not. */
static int look_for_finalizers(struct drain *d)
{
    const struct lh_kube_resource all = {
        .group = "leasehold.dev", .version = "v1alpha1", .resource = "secretprojections"};
    lh_auto_free char *query = lh_strdup("limit=500");
    const lh_json *items;
    const char *next;
    int rc = 0;

    for (int page = 0; query && page < PAGES_MAX; page++) {
        if (ask(d, "GET", &all, query, NULL) < 0) {
            if (d->failed.code != LH_E_NOTFOUND) /* no CRD, no object */
                snprintf(d->r->unlisted, sizeof(d->r->unlisted), "%s", d->failed.msg);
            return 0;
        }
        items = lh_json_get(d->answer, "items");
        for (size_t i = 0; rc == 0 && i < lh_json_len(items); i++)
            rc = add_held(d, lh_json_at(items, i));
        next = lh_json_get_z(lh_json_get(d->answer, "metadata"), "continue");
        if (rc < 0 || !next || !*next)
            return rc;
        lh_free(query);
        query = lh_asprintf("limit=500&continue=%s", next);
    }
    return query ? rc : lh_err_nomem(d->err);
}

static int collect(struct drain *d)
{
    const lh_json *said = lh_json_get(d->r->status, "items");

    d->r->items = said ? lh_json_deep_copy(said) : lh_json_new_array();
    if (!d->r->items)
        return lh_err_nomem(d->err);
    for (size_t i = 0; i < lh_json_len(d->r->items); i++) {
        if (add_action(lh_json_mut(lh_json_at(d->r->items, i))) < 0)
            return lh_err_nomem(d->err);
    }
    return look_for_finalizers(d);
}

int drain_run(const struct drain_options *o, struct drain_result *out, struct lh_err *err)
{
    struct drain d = {.o = o, .r = out, .err = err};
    int rc;

    *out = (struct drain_result){0};
    rc = request(&d);
    if (rc == 0 && out->lease)
        await_answer(&d);
    if (rc == 0 && o->copies != LH_DRAIN_NOT)
        rc = collect(&d);
    lh_json_unref(d.answer);
    return rc;
}

void drain_result_done(struct drain_result *r)
{
    lh_json_unref(r->status);
    lh_json_unref(r->items);
    *r = (struct drain_result){0};
}

bool drain_is_well(const struct drain_result *r)
{
    return r->done && lh_json_len(r->items) == 0 && !r->unlisted[0] &&
           lh_json_get_int(r->status, "more", 0) == 0;
}
