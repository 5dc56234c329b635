/* SPDX-License-Identifier: Apache-2.0 */
/* Annotations to a draft: every one is looked at, and all that is wrong is collected. */
#include <stdlib.h>
#include <string.h>

#include "inject_priv.h"
#include "leasehold/api/fields.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"

struct entry {
    const char *key; /* terminated by jansson */
    const struct lh_annotation *a;
    struct lh_str name; /* of the secret, empty if none */
    const lh_json *value;
};

void draft_done(struct draft *d)
{
    lh_projection_free(d->projection);
    lh_notify_done(&d->notify);
    lh_free(d->store);
    lh_free(d->mount_path);
    lh_free(d->after);
    lh_free(d->role);
    lh_free(d->image);
    lh_strv_free(d->containers);
    lh_strv_free(d->projections);
    *d = (struct draft){0};
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->key, ((const struct entry *)b)->key);
}

static void unknown(struct draft *d, const char *key, const char *nearest)
{
    bool warn = d->world->policy->warn_unknown;

    if (nearest)
        problem_add(d->problems, key, LH_REASON_AnnotationUnknown, !warn,
                    "no annotation of this name is known; the nearest is %s%s",
                    LH_ANNOTATION_PREFIX, nearest);
    else
        problem_add(d->problems, key, LH_REASON_AnnotationUnknown, !warn,
                    "no annotation of this name is known");
}

/* Ours, sorted by key, so that the same input gives the same order of everything. */
static struct entry *collect(struct draft *d, const lh_json *annotations, size_t *n)
{
    struct entry *v = lh_calloc(lh_json_len(annotations) + 1, sizeof(*v));
    const lh_json *value;
    struct lh_str key;
    void *it = NULL;

    *n = 0;
    while (v && lh_json_next(annotations, &it, &key, &value)) {
        if (lh_str_starts(key, LH_STR(LH_ANNOTATION_PREFIX)) && !memchr(key.p, 0, key.n))
            v[(*n)++] = (struct entry){.key = key.p, .value = value};
    }
    if (!v) {
        d->nomem = true;
        return NULL;
    }
    qsort(v, *n, sizeof(*v), by_key);
    return v;
}

/* The text of a value, or NULL and a problem. */
static const char *text_of(struct draft *d, const struct entry *e)
{
    struct lh_str s;

    if (!lh_json_str(e->value, &s))
        problem_add(d->problems, e->key, LH_REASON_AnnotationInvalid, true,
                    "an annotation's value must be a string; put it in quotes");
    else if (memchr(s.p, 0, s.n))
        problem_add(d->problems, e->key, LH_REASON_AnnotationInvalid, true,
                    "must not hold a NUL character");
    else if (!s.n)
        problem_add(d->problems, e->key, LH_REASON_AnnotationInvalid, true, "must not be empty");
    else
        return s.p;
    return NULL;
}

static void find_all(struct draft *d, struct entry *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *nearest = NULL;

        v[i].a = lh_annotation_find(lh_str(v[i].key), &v[i].name, &nearest);
        if (!v[i].a)
            unknown(d, v[i].key, nearest);
        else if (v[i].a->arity != LH_ANN_RESERVED)
            d->any_ours = true;
    }
}

static void read_one(struct draft *d, const struct entry *e)
{
    const char *value = text_of(d, e);
    value_fn fn = value_reader(e->a->id);

    if (value && fn)
        fn(d, e->name.n ? e->name.p : NULL, value, e->key);
}

/* The switch is looked at first: when it is off, nothing else is judged. */
static void read_switch(struct draft *d, const struct entry *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (v[i].a && v[i].a->id == LH_ANN_INJECT)
            read_one(d, &v[i]);
    }
}

static const char *nearest_secret(const struct draft *d, const char *name)
{
    const char **names = lh_calloc(d->projection->n_items + 1, sizeof(*names));
    const char *near;

    for (size_t i = 0; names && i < d->projection->n_items; i++)
        names[i] = d->projection->items[i].name;
    near = names ? lh_str_nearest(lh_str(name), names) : NULL;
    lh_free(names);
    return near;
}

static void read_settings(struct draft *d, const struct entry *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *name = v[i].name.n ? v[i].name.p : NULL, *near;

        if (!v[i].a || v[i].a->arity == LH_ANN_RESERVED || v[i].a->id == LH_ANN_SECRET ||
            v[i].a->id == LH_ANN_INJECT)
            continue;
        if (!name || draft_item(d, name)) {
            read_one(d, &v[i]);
            continue;
        }
        near = nearest_secret(d, name);
        problem_add(d->problems, v[i].key, LH_REASON_AnnotationInvalid, true,
                    "there is no %ssecret.%s%s%s%s", LH_ANNOTATION_PREFIX, name,
                    near ? "; the nearest is " LH_ANNOTATION_PREFIX "secret." : "",
                    near ? near : "", "");
    }
}

/* Whole spec rules, naming the annotation that brought the trouble in. */
static void check_files(struct draft *d)
{
    struct lh_projection *p = d->projection;
    size_t n = p->n_items;
    struct lh_err err = {0};
    char where[128];

    if (lh_projection_check(p, NULL, &err) == 0)
        return;
    for (p->n_items = 1; p->n_items < n && lh_projection_check(p, NULL, NULL) == 0;)
        p->n_items++;
    where_of(LH_ANN_SECRET, p->items[p->n_items - 1].name, where);
    p->n_items = n;
    problem_add_err(d->problems, where, LH_REASON_AnnotationInvalid, false, &err);
}

/* Left-out parts of each item's one file, and what does not go together. */
static void finish_item(struct draft *d, struct lh_item *it)
{
    struct lh_file_spec *f = &it->files[0];
    char where[128];

    if (!f->path) {
        f->path = lh_strdup(it->name);
        d->nomem = d->nomem || !f->path;
    }
    if (f->template_ && f->format != LH_FORMAT_RAW && f->format != LH_FORMAT_TEMPLATE) {
        problem_add(d->problems, where_of(LH_ANN_FORMAT, it->name, where),
                    LH_REASON_AnnotationInvalid, true,
                    "the secret has a template, so its format can only be template");
    } else if (f->template_) {
        f->format = LH_FORMAT_TEMPLATE;
    } else if (f->format == LH_FORMAT_TEMPLATE) {
        problem_add(d->problems, where_of(LH_ANN_FORMAT, it->name, where),
                    LH_REASON_AnnotationInvalid, true, "format template needs %stemplate.%s",
                    LH_ANNOTATION_PREFIX, it->name);
        f->format = LH_FORMAT_RAW;
    }
    if (f->key && f->format != LH_FORMAT_RAW)
        problem_add(d->problems,
                    where_of(f->template_ ? LH_ANN_TEMPLATE : LH_ANN_FORMAT, it->name, where),
                    LH_REASON_AnnotationInvalid, true,
                    "%ssecret.%s names one key, which is written raw; leave #%s out",
                    LH_ANNOTATION_PREFIX, it->name, f->key);
    if (it->version && it->params)
        problem_add(d->problems, where_of(LH_ANN_VERSION, it->name, where),
                    LH_REASON_AnnotationInvalid, true,
                    "a version is of reads, and params makes a write; give one of them");
    f->folder = f->format == LH_FORMAT_RAW && !f->key;
}

/* Settings that make no sense together, or without a secret. */
static void check_whole(struct draft *d)
{
    char where[128];

    if (d->mode == LH_AGENT_INIT && d->notify.kind != LH_NOTIFY_NONE)
        problem_add(d->problems, where_of(LH_ANN_ON_CHANGE, NULL, where),
                    LH_REASON_AnnotationInvalid, true,
                    "with agent: init nothing changes later; leave one of the two out");
    if (d->mode == LH_AGENT_INIT && d->metrics_port > 0)
        problem_add(d->problems, where_of(LH_ANN_METRICS_PORT, NULL, where),
                    LH_REASON_AnnotationInvalid, true,
                    "with agent: init there is no agent to ask; leave one of the two out");
    if (d->n_secrets || d->n_projections)
        return;
    if (d->on)
        problem_add(d->problems, where_of(LH_ANN_INJECT, NULL, where), LH_REASON_AnnotationInvalid,
                    true, "injection is asked for and no secret named; add %ssecret.NAME",
                    LH_ANNOTATION_PREFIX);
    else if (d->any_ours)
        problem_add(d->problems, "metadata.annotations", NULL, false,
                    "nothing is injected: no secret is named; add %ssecret.NAME",
                    LH_ANNOTATION_PREFIX);
}

void draft_read(struct draft *d, const lh_json *annotations)
{
    lh_auto_free struct entry *v = NULL;
    size_t n = 0, before;

    d->metrics_port = -1;
    d->projection = lh_projection_new();
    v = collect(d, annotations, &n);
    if (!d->projection || !v) {
        d->nomem = true;
        return;
    }
    before = d->problems->n;
    find_all(d, v, n);
    read_switch(d, v, n);
    if (d->off) {
        /* Off means off: not even a misspelled neighbour stands in the way. */
        while (d->problems->n > before) {
            d->problems->n--;
            lh_free(d->problems->v[d->problems->n].where);
            lh_free(d->problems->v[d->problems->n].text);
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (v[i].a && v[i].a->id == LH_ANN_SECRET) {
            d->n_secrets++;
            read_one(d, &v[i]);
        }
    }
    read_settings(d, v, n);
    for (size_t i = 0; i < d->projection->n_items; i++)
        finish_item(d, &d->projection->items[i]);
    if (d->nomem)
        return;
    if (!lh_problems_denial(d->problems) && d->projection->n_items)
        check_files(d);
    check_whole(d);
}
