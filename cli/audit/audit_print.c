/* SPDX-License-Identifier: Apache-2.0 */
/* An audit as JSON. Members of the JSON are an interface: only ever added to. */
#include <string.h>

#include "audit.h"
#include "leasehold/core/mem.h"

enum { JSON_VERSION = 1 };

static bool is_same_row(const struct audit_group *x, const struct audit_group *y)
{
    return strcmp(x->resource, y->resource) == 0 && strcmp(x->namespace_, y->namespace_) == 0 &&
           x->protection == y->protection && x->proof == y->proof;
}

/* Groups from i that make one row: they differ in provider and key alone. */
static size_t row_end(const struct lh_vec *groups, size_t i, uint64_t *count)
{
    const struct audit_group *first = *(struct audit_group **)lh_vec_at(groups, i);

    for (*count = 0; i < groups->n; i++) {
        const struct audit_group *g = *(struct audit_group **)lh_vec_at(groups, i);

        if (!is_same_row(first, g))
            break;
        *count += g->count;
    }
    return i;
}

static lh_json *key_json(const struct audit_group *g)
{
    lh_json *k = lh_json_new_object();

    lh_json_set(k, "provider", lh_json_new_z(g->provider));
    lh_json_set(k, "name", lh_json_new_z(g->name));
    lh_json_set(k, "keyId", *g->key ? lh_json_new_z(g->key) : lh_json_new_null());
    lh_json_set(k, "count", lh_json_new_int((int64_t)g->count));
    lh_json_set(k, "oldestRevision", lh_json_new_int(g->oldest));
    lh_json_set(k, "newestRevision", lh_json_new_int(g->newest));
    return k;
}

/* Objects of the four protections into objects, what is none of them into malformed. */
static void objects_json(const struct audit *a, lh_json *objects, lh_json *malformed)
{
    struct lh_vec groups;
    uint64_t count;
    char room[256];
    size_t next;

    lh_vec_init(&groups, sizeof(struct audit_group *));
    if (audit_groups(a, &groups, NULL) < 0)
        groups.n = 0;
    for (size_t i = 0; i < groups.n; i = next) {
        const struct audit_group *g = *(struct audit_group **)lh_vec_at(&groups, i);
        lh_json *o = lh_json_new_object(), *keys = lh_json_new_array();

        next = row_end(&groups, i, &count);
        lh_json_set(o, "resource", lh_json_new_z(g->resource));
        lh_json_set(o, "namespace", lh_json_new_z(audit_shown(a, g->namespace_, room)));
        lh_json_set(o, "count", lh_json_new_int((int64_t)count));
        lh_json_set(o, "protection", lh_json_new_z(audit_protection_name(g->protection)));
        lh_json_set(o, "proof", lh_json_new_z(audit_proof_name(g->proof)));
        for (size_t k = i; k < next; k++) {
            const struct audit_group *one = *(struct audit_group **)lh_vec_at(&groups, k);

            if (one->protection != AUDIT_NONE && one->protection != AUDIT_EXTERNAL)
                lh_json_push(keys, key_json(one));
        }
        lh_json_set(o, "keys", keys);
        lh_json_push(g->protection == AUDIT_MALFORMED ? malformed : objects, o);
    }
    lh_vec_done(&groups);
}

static lh_json *canary_json(const struct audit *a)
{
    lh_json *o;
    char room[256];

    if (!a->proved)
        return lh_json_new_null();
    o = lh_json_new_object();
    lh_json_set(o, "resource", lh_json_new_z(a->canary.resource));
    lh_json_set(o, "namespace", lh_json_new_z(audit_shown(a, a->canary.namespace_, room)));
    lh_json_set(o, "protection", lh_json_new_z(audit_protection_name(a->canary.protection)));
    lh_json_set(o, "proof", lh_json_new_z(audit_proof_name(a->canary.proof)));
    lh_json_set(o, "key", key_json(&a->canary));
    return o;
}

static lh_json *workload_json(const struct audit *a, const struct audit_workload *w)
{
    lh_json *o = lh_json_new_object(), *secrets = lh_json_new_array();
    enum audit_proof proof;
    enum audit_protection p = audit_workload_class(a, w, &proof);
    char room[256];

    lh_json_set(o, "kind", lh_json_new_z(w->kind));
    lh_json_set(o, "namespace", lh_json_new_z(audit_shown(a, w->namespace_, room)));
    lh_json_set(o, "name", lh_json_new_z(audit_shown(a, w->name, room)));
    lh_json_set(o, "pods", lh_json_new_int((int64_t)w->pods));
    lh_json_set(o, "protection", lh_json_new_z(audit_protection_name(p)));
    lh_json_set(o, "proof", lh_json_new_z(audit_proof_name(proof)));
    lh_json_set(o, "injected", lh_json_new_bool(w->injected));
    for (size_t i = 0; i < w->secrets.n; i++)
        lh_json_push(secrets,
                     lh_json_new_z(audit_shown(a, *(char **)lh_vec_at(&w->secrets, i), room)));
    lh_json_set(o, "secrets", secrets);
    return o;
}

static lh_json *workloads_json(const struct audit *a)
{
    lh_json *list = lh_json_new_array();
    struct lh_vec all;

    lh_vec_init(&all, sizeof(struct audit_workload *));
    if (audit_workload_list(a, &all, NULL) < 0)
        all.n = 0;
    for (size_t i = 0; i < all.n; i++) {
        const struct audit_workload *w = *(struct audit_workload **)lh_vec_at(&all, i);

        if (w->injected || w->secrets.n)
            lh_json_push(list, workload_json(a, w));
    }
    lh_vec_done(&all);
    return list;
}

static lh_json *checks_json(const struct lh_vec *verdicts)
{
    lh_json *list = lh_json_new_array();

    for (size_t i = 0; i < verdicts->n; i++) {
        const struct audit_verdict *v = lh_vec_at(verdicts, i);
        lh_json *o = lh_json_new_object();

        lh_json_set(o, "id", lh_json_new_z(v->check->id));
        lh_json_set(o, "severity", lh_json_new_z(audit_severity_name(v->check->severity)));
        lh_json_set(o, "result", lh_json_new_z(audit_result_name(v->result)));
        lh_json_set(o, "title", lh_json_new_z(v->check->title));
        lh_json_set(o, "detail", lh_json_new_z(v->detail));
        lh_json_set(o, "action",
                    v->result == AUDIT_PASS ? lh_json_new_null() : lh_json_new_z(v->check->action));
        lh_json_push(list, o);
    }
    return list;
}

void audit_put_json(const struct audit *a, const struct lh_vec *verdicts, struct lh_buf *b)
{
    lh_auto_json lh_json *doc = lh_json_new_object();
    lh_json *objects = lh_json_new_array(), *malformed = lh_json_new_array();
    lh_json *unknown = lh_json_new_array(), *cut = lh_json_new_object();

    objects_json(a, objects, malformed);
    for (size_t i = 0; i < a->troubles.n; i++)
        lh_json_push(unknown, lh_json_new_z(*(char **)lh_vec_at(&a->troubles, i)));
    lh_json_set(cut, "groups", lh_json_new_int((int64_t)a->groups_cut));
    lh_json_set(cut, "dataKeys", lh_json_new_int((int64_t)a->seeds_cut));
    lh_json_set(cut, "workloads", lh_json_new_int((int64_t)a->workloads_cut));
    lh_json_set(doc, "version", lh_json_new_int(JSON_VERSION));
    lh_json_set(doc, "source", a->source ? lh_json_new_z(a->source) : lh_json_new_null());
    lh_json_set(doc, "revision", lh_json_new_int(a->revision));
    lh_json_set(doc, "objects", objects);
    lh_json_set(doc, "malformed", malformed);
    lh_json_set(doc, "workloads", workloads_json(a));
    lh_json_set(doc, "canary", canary_json(a));
    lh_json_set(doc, "checks", checks_json(verdicts));
    lh_json_set(doc, "leftovers", audit_leftovers_json(a));
    lh_json_set(doc, "cut", cut);
    lh_json_set(doc, "unknown", unknown);
    lh_json_write(doc, LH_JSON_PRETTY, b);
    lh_buf_put_c(b, '\n');
}
