/* SPDX-License-Identifier: Apache-2.0 */
/* What a SecretProjection says of itself. */
#include <string.h>

#include "copies_priv.h"
#include "copy.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"
#include "metrics.h"

#define FORCE_SYNC "leasehold.dev/force-sync"

enum { SECRET_MAX = 2 * 1024 * 1024 };

int copy_set_text(char **at, const char *text)
{
    char *copy = text ? lh_strdup(text) : NULL;

    if (text && !copy)
        return -LH_E_NOMEM;
    lh_free(*at);
    *at = copy;
    return 0;
}

/* The Secret that was asked for before is one too many, once the new one is there. */
static int note_stale(struct copy *c, const struct copy_spec *now)
{
    const char *was = copy_secret_name(c), *is = now->secret_name;

    if (!was || (is && strcmp(was, is) == 0))
        return 0;
    return copy_set_text(&c->stale, was);
}

/* Its kubernetesSecret becomes text. */
static int shrink(struct copy_spec *spec, struct lh_err *err)
{
    const char *name = lh_json_get_z(spec->p->kubernetes_secret, "name");
    lh_auto_buf struct lh_buf b;
    int rc;

    if (!spec->p->kubernetes_secret)
        return 0;
    lh_buf_init(&b, SECRET_MAX);
    lh_json_write(spec->p->kubernetes_secret, LH_JSON_SORTED, &b);
    rc = lh_buf_check(&b, err);
    if (rc < 0)
        return rc;
    spec->secret = lh_str_dup(lh_buf_peek(&b));
    if (!spec->secret || copy_set_text(&spec->secret_name, name) < 0)
        return lh_err_nomem(err);
    lh_json_unref(spec->p->kubernetes_secret);
    spec->p->kubernetes_secret = NULL;
    return 0;
}

static bool same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static int take_spec(struct copy *c, const lh_json *obj)
{
    struct copy_spec *spec = lh_calloc(1, sizeof(*spec));
    struct lh_err err = {0};
    int rc;

    if (!spec)
        return -LH_E_NOMEM;
    spec->refs = 1;
    rc = lh_projection_parse(obj, NULL, &spec->p, &err);
    if (rc == 0)
        rc = shrink(spec, &err);
    if (rc == 0)
        rc = note_stale(c, spec);
    if (rc < 0) {
        copy_spec_unref(spec);
        if (rc == -LH_E_NOMEM)
            return rc;
        if (!err.reason)
            err.reason = LH_REASON_ConfigInvalid;
        lh_err_keep(&c->parse_err, &err);
        cluster_count_bad_object();
        return 0;
    }
    lh_err_keep(&c->parse_err, NULL);
    if (c->spec && !same(c->spec->secret, spec->secret)) {
        c->proven = false;
        c->waiting = true;
    }
    copy_spec_unref(c->spec);
    c->spec = spec;
    return 0;
}

static bool has_finalizer(const lh_json *meta)
{
    const lh_json *list = lh_json_get(meta, "finalizers");
    struct lh_str s;

    for (size_t i = 0; i < lh_json_len(list); i++) {
        if (lh_json_str(lh_json_at(list, i), &s) && lh_str_eqz(s, COPY_FINALIZER))
            return true;
    }
    return false;
}

int copy_take(struct copy *c, const lh_json *obj, bool *moved)
{
    const lh_json *meta = lh_json_get(obj, "metadata");
    const char *force = lh_json_get_z(lh_json_get(meta, "annotations"), FORCE_SYNC);
    int64_t generation = lh_json_get_int(meta, "generation", 0);
    bool deleting = lh_json_get_z(meta, "deletionTimestamp") != NULL;
    bool finalizer = has_finalizer(meta), told = false;

    *moved = deleting != c->deleting || finalizer != c->finalizer;
    if (generation != c->generation || generation == 0) {
        if (take_spec(c, obj) < 0)
            return -LH_E_NOMEM;
        c->edited = *moved = true;
    }
    if (!same(force, c->force)) {
        if (copy_set_text(&c->force, force) < 0)
            return -LH_E_NOMEM;
        /* What was asked for before this process came was obeyed by whoever was there. */
        c->forcing = c->generation != 0;
        *moved = true;
    }
    c->restarts_new = c->restarts_new || generation != c->generation;
    c->generation = generation;
    c->deleting = deleting;
    c->finalizer = finalizer;
    if (copy_status_take(c, obj, &told, NULL) < 0)
        return -LH_E_NOMEM;
    /* While a request is under way this is most often its own echo, and a step comes anyway. */
    *moved = *moved || (told && !c->op);
    return 0;
}
