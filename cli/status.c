/* SPDX-License-Identifier: Apache-2.0 */
/* The view: one watch a kind, and what is asked live. */
#include "status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "leasehold/core/mem.h"
#include "leasehold/kube/watch.h"

#define TROUBLE_MAX ((size_t)64 * 1024)
#define GROUP       "leasehold.dev"
#define VERSION     "v1alpha1"

struct source {
    struct status_view *view;
    enum status_kind kind;
    struct lh_watch *watch; /* NULL: not this kind */
    bool done;              /* whole, or given up */
};

struct status_view {
    struct status_options o;
    struct source sources[STATUS_KINDS];
    struct lh_map *rows; /* "kind ns/name" to struct status_row */
    struct lh_buf trouble;
    bool opened, nomem;
};

struct ask {
    struct status_view *view;
    struct status_row *row; /* of whom is asked */
    struct lh_kube_op *op;
    bool done;
};

static void trouble(struct status_view *v, const char *what, const char *name, const char *text)
{
    lh_buf_printf(&v->trouble, "%s%s%s: %s\n", what, *name ? " " : "", name, text);
}

static struct lh_str key_of(char *room, size_t n, enum status_kind kind, const char *key)
{
    snprintf(room, n, "%d %s", (int)kind, key);
    return lh_str(room);
}

static bool is_same(const struct status_row *a, const struct status_row *b)
{
    return strcmp(a->ready, b->ready) == 0 && strcmp(a->reason, b->reason) == 0 &&
           strcmp(a->message, b->message) == 0 && a->created_ms == b->created_ms &&
           strcmp(a->store, b->store) == 0 && strcmp(a->node, b->node) == 0;
}

static void tell(struct status_view *v, const struct status_row *was, const struct status_row *is)
{
    struct status_row gone;
    char word[] = "Gone";

    if (!v->opened || !v->o.changed || (was && is && is_same(was, is)))
        return;
    if (is) {
        v->o.changed(v->o.arg, is);
    } else if (was) {
        gone = *was;
        gone.ready = word;
        v->o.changed(v->o.arg, &gone);
    }
}

static void drop(struct status_view *v, struct lh_str key)
{
    struct status_row *was = lh_map_remove(v->rows, key);

    tell(v, was, NULL);
    status_row_free(was);
}

static void upsert(struct source *s, struct lh_str key, const lh_json *obj)
{
    struct status_view *v = s->view;
    struct status_row *r = NULL;
    void *old = NULL;

    if (status_row_of(s->kind, obj, &r, NULL) < 0) {
        v->nomem = true;
        return;
    }
    if (!r) {
        drop(v, key);
        return;
    }
    if (lh_map_set(v->rows, key, r, &old, NULL) < 0) {
        status_row_free(r);
        v->nomem = true;
        return;
    }
    tell(v, old, r);
    status_row_free(old);
}

static void on_event(void *arg, enum lh_watch_event ev, const char *name, const lh_json *obj)
{
    struct source *s = arg;
    char room[600];

    switch (ev) {
    case LH_WATCH_UPSERT:
        upsert(s, key_of(room, sizeof(room), s->kind, name), obj);
        break;
    case LH_WATCH_DELETE:
        drop(s->view, key_of(room, sizeof(room), s->kind, name));
        break;
    case LH_WATCH_SYNCED:
        s->done = true;
        break;
    case LH_WATCH_SKIPPED:
        if (!s->view->opened)
            trouble(s->view, status_kind_name(s->kind), name ? name : "", "too large, left out");
        break;
    }
}

static int start(struct status_view *v, enum status_kind kind, struct lh_err *err)
{
    static const char *const plurals[STATUS_KINDS] = {[STATUS_CLUSTER_STORE] =
                                                          "clustersecretstores",
                                                      [STATUS_STORE] = "secretstores",
                                                      [STATUS_PROJECTION] = "secretprojections",
                                                      [STATUS_POD] = "pods",
                                                      [STATUS_DRIVER] = "pods"};
    bool core = kind == STATUS_POD || kind == STATUS_DRIVER;
    struct lh_watch_options w = {.res = {.group = core ? "" : GROUP,
                                         .version = core ? "v1" : VERSION,
                                         .resource = plurals[kind],
                                         .namespace_ = v->o.namespace_}};

    if (kind == STATUS_CLUSTER_STORE)
        w.res.namespace_ = NULL;
    if (kind == STATUS_DRIVER) {
        if (!v->o.operator_namespace)
            return 0;
        w.res.namespace_ = v->o.operator_namespace;
        w.label_selector = "app.kubernetes.io/name=leasehold-node";
    }
    v->sources[kind] = (struct source){.view = v, .kind = kind};
    return lh_watch_start(v->o.kube, &w, on_event, &v->sources[kind], &v->sources[kind].watch, err);
}

/* Whole, or the watch says why it is not: that is enough, nobody waits for a right to be given. */
static bool is_settled(struct status_view *v, bool over)
{
    bool all = true;

    for (size_t i = 0; i < STATUS_KINDS; i++) {
        struct source *s = &v->sources[i];
        const char *text = s->watch ? lh_watch_trouble(s->watch) : "";

        if (!s->watch || s->done)
            continue;
        if (*text || over) {
            trouble(v, status_kind_name(s->kind), "", *text ? text : "no answer in time");
            s->done = true;
            continue;
        }
        all = false;
    }
    return all;
}

int status_open(const struct status_options *o, struct status_view **out, struct lh_err *err)
{
    struct status_view *v = lh_calloc(1, sizeof(*v));
    lh_ms end = lh_clock_now() + o->timeout_ms;
    int rc;

    if (!v)
        return lh_err_nomem(err);
    v->o = *o;
    lh_buf_init(&v->trouble, TROUBLE_MAX);
    rc = lh_map_new(&v->rows, err);
    for (size_t i = 0; i < STATUS_KINDS && rc == 0; i++)
        rc = start(v, (enum status_kind)i, err);
    while (rc == 0 && !is_settled(v, lh_clock_now() >= end))
        lh_loop_turn(o->loop, 50);
    if (rc == 0 && v->nomem)
        rc = lh_err_nomem(err);
    if (rc < 0) {
        status_close(v);
        return rc;
    }
    v->opened = true;
    *out = v;
    return 0;
}

static void stop(struct status_view *v)
{
    for (size_t i = 0; i < STATUS_KINDS; i++) {
        lh_watch_stop(v->sources[i].watch);
        v->sources[i].watch = NULL;
    }
}

static void free_row(void *row)
{
    status_row_free(row);
}

void status_close(struct status_view *v)
{
    if (!v)
        return;
    stop(v);
    lh_map_free(v->rows, free_row);
    lh_buf_done(&v->trouble);
    lh_free(v);
}

/* Live. */

static void take_volumes(struct status_view *v, const lh_json *answer)
{
    const lh_json *volumes = lh_json_get(answer, "volumes");

    for (size_t i = 0; i < lh_json_len(volumes); i++) {
        const lh_json *one = lh_json_at(volumes, i);
        const char *ns = lh_json_get_z(one, "namespace"), *pod = lh_json_get_z(one, "pod");
        char name[540], room[600];
        struct status_row *r;

        snprintf(name, sizeof(name), "%s/%s", ns ? ns : "", pod ? pod : "");
        r = lh_map_get(v->rows, key_of(room, sizeof(room), STATUS_POD, name));
        if (r && status_take_live(r, "volumes", one, NULL) < 0)
            v->nomem = true;
    }
}

static void on_said(void *arg, const lh_json *said, const struct lh_err *err)
{
    struct ask *a = arg;
    char name[600];

    a->done = true;
    snprintf(name, sizeof(name), "%s/%s", a->row->namespace_, a->row->name);
    if (err || lh_json_type(said) != LH_JSON_OBJECT)
        trouble(a->view, status_kind_name(a->row->kind), name, err ? err->msg : "no JSON");
    else if (a->row->kind == STATUS_DRIVER)
        take_volumes(a->view, said);
    else if (status_take_live(a->row, "agent", said, NULL) < 0)
        a->view->nomem = true;
}

static void ask(struct ask *a)
{
    const struct status_row *r = a->row;
    char name[300];
    struct lh_err err = {0};
    const struct lh_kube_resource res = {.group = "",
                                         .version = "v1",
                                         .resource = "pods",
                                         .namespace_ = r->namespace_,
                                         .name = name,
                                         .subresource = "proxy/status"};

    snprintf(name, sizeof(name), "%s:%u", r->name, r->port);
    if (lh_kube_start(a->view->o.kube, "GET", &res, NULL, NULL, NULL, a->view->o.timeout_ms,
                      on_said, a, &a->op, &err) < 0)
        on_said(a, NULL, &err);
}

static bool is_asked(const struct status_row *r)
{
    return r->port && (r->kind == STATUS_DRIVER || r->kind == STATUS_POD);
}

/* A sidecar without a port cannot say more than the API server knows. */
static bool is_mute(const struct status_row *r)
{
    return !r->port && r->kind == STATUS_POD && strncmp(r->delivery, "sidecar", 7) == 0;
}

static int gather(struct status_view *v, struct lh_vec *asks, size_t *mute, struct lh_err *err)
{
    struct lh_str key;
    size_t it = 0;
    void *row;

    while (lh_map_next(v->rows, &it, &key, &row)) {
        const struct ask a = {.view = v, .row = row};

        *mute += is_mute(row);
        if (is_asked(row) && !lh_vec_push(asks, &a))
            return lh_err_nomem(err);
    }
    return 0;
}

static bool all_said(const struct lh_vec *asks)
{
    for (size_t i = 0; i < asks->n; i++) {
        const struct ask *a = lh_vec_at(asks, i);

        if (!a->done)
            return false;
    }
    return true;
}

int status_ask(struct status_view *v, struct lh_err *err)
{
    struct lh_vec asks;
    size_t mute = 0;
    int rc;

    stop(v);
    lh_vec_init(&asks, sizeof(struct ask));
    rc = gather(v, &asks, &mute, err);
    /* Every request ends by its own timeout. */
    for (size_t i = 0; i < asks.n && rc == 0; i++)
        ask(lh_vec_at(&asks, i));
    while (rc == 0 && !all_said(&asks))
        lh_loop_turn(v->o.loop, 50);
    lh_vec_done(&asks);
    if (mute && rc == 0)
        lh_buf_printf(&v->trouble,
                      "%zu agents serve no /status: agent.metricsPort of the chart, or "
                      "leasehold.dev/metrics-port of a Pod, turns it on\n",
                      mute);
    return rc == 0 && v->nomem ? lh_err_nomem(err) : rc;
}

static int compare(const void *left, const void *right)
{
    const struct status_row *a = *(struct status_row *const *)left;
    const struct status_row *b = *(struct status_row *const *)right;
    int order = (int)a->kind - (int)b->kind;

    if (order == 0)
        order = strcmp(a->namespace_, b->namespace_);
    return order ? order : strcmp(a->name, b->name);
}

int status_rows(struct status_view *v, struct lh_vec *out, struct lh_err *err)
{
    struct lh_str key;
    size_t it = 0;
    void *row;

    while (lh_map_next(v->rows, &it, &key, &row)) {
        const struct status_row *r = row;

        if (r->kind != STATUS_DRIVER && !lh_vec_push(out, &row))
            return lh_err_nomem(err);
    }
    if (out->n)
        qsort(out->p, out->n, out->size, compare);
    return 0;
}

struct lh_str status_trouble(const struct status_view *v)
{
    return lh_buf_peek(&v->trouble);
}
