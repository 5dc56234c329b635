/* SPDX-License-Identifier: Apache-2.0 */
/* The Kubernetes Secret of a copy: an engine's sink that asks the API server. It publishes within a
 * step only; every request ends in another step, which publishes once more and finds that the
 * Secret says what the set says. */
#include <string.h>

#include "copies_priv.h"
#include "copy.h"
#include "leasehold/api/reasons.h"
#include "leasehold/codec/base64.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"
#include "metrics.h"

enum { FOREIGN_MS = 30 * 1000 };

/* No object has it, so that an apply with it makes a Secret or conflicts. */
#define VERSION_OF_NONE "1"

/* ---- what is there ---- */

static int decode(const lh_json *current, const char *path, struct lh_secret **out,
                  struct lh_err *err)
{
    lh_auto_buf struct lh_buf b;
    struct lh_str text;
    int rc;

    lh_buf_init(&b, SECRET_DATA_MAX * 2);
    if (!lh_json_str(lh_json_get(lh_json_get(current, "data"), secret_key(path)), &text))
        return lh_err_set(err, LH_E_GONE, "file \"%s\" is not in the Secret any more", path);
    rc = lh_base64_decode(text, &b, err);
    if (rc == 0)
        rc = lh_buf_check(&b, err);
    return rc < 0 ? rc : lh_secret_copy(lh_buf_peek(&b).p, lh_buf_peek(&b).n, out, err);
}

/* Does the Secret that was read have this file as it is to be? */
static bool holds(const struct copy *c, const struct copy_file *f)
{
    lh_auto_secret struct lh_secret *bytes = NULL;
    uint8_t is[COPY_HASH_LEN];

    return decode(c->current, f->path, &bytes, NULL) == 0 &&
           copy_hash(c, lh_secret_expose_const(bytes), lh_secret_len(bytes), is, NULL) == 0 &&
           memcmp(is, f->hash, COPY_HASH_LEN) == 0;
}

/* Label, owner reference and type. */
static bool is_intact(const struct copy *c, const struct secret_spec *spec)
{
    const lh_json *meta = lh_json_get(c->current, "metadata");
    const char *type = lh_json_get_z(c->current, "type");
    const char *label = lh_json_get_z(lh_json_get(meta, "labels"), SECRET_LABEL);
    const lh_json *owners = lh_json_get(meta, "ownerReferences");
    const char *owner = NULL;

    for (size_t i = 0; i < lh_json_len(owners) && !owner; i++) {
        owner = lh_json_get_z(lh_json_at(owners, i), "uid");
        if (owner && strcmp(owner, c->uid) != 0)
            owner = NULL;
    }
    return type && strcmp(type, spec->type) == 0 && label && strcmp(label, c->uid) == 0 && owner;
}

static void take_identity(struct copy *c, const lh_json *secret)
{
    const lh_json *meta = lh_json_get(secret, "metadata");

    if (copy_set_text(&c->secret_name, lh_json_get_z(meta, "name")) < 0 ||
        copy_set_text(&c->secret_uid, lh_json_get_z(meta, "uid")) < 0 ||
        copy_set_text(&c->secret_version, lh_json_get_z(meta, "resourceVersion")) < 0)
        c->proven = false;
}

void copy_secret_lost(struct copy *c)
{
    copy_files_done(&c->written);
    c->proven = false;
    c->waiting = true;
    copy_set_text(&c->secret_uid, NULL);
    copy_set_text(&c->secret_version, NULL);
}

/* ---- requests ---- */

const struct lh_kube_resource *copy_secret_at(const struct copy *c, const char *name,
                                              struct lh_kube_resource *res)
{
    *res = (struct lh_kube_resource){.group = "",
                                     .version = "v1",
                                     .resource = "secrets",
                                     .namespace_ = c->namespace_,
                                     .name = name};
    return res;
}

static int under_way(struct lh_err *err)
{
    return lh_err_set(err, LH_E_BUSY, "the Secret is being written");
}

/* A request that cannot be made now is made in another step. */
static void request_failed(struct copy *c, const struct lh_err *err)
{
    cluster_count_write("failed");
    lh_err_keep(&c->write_err, err);
    if (c->write_err && !c->write_err->reason)
        c->write_err->reason = LH_REASON_PublishFailed;
    c->proven = c->again = c->deleted = false;
    /* While the API server is away there is nobody to tell. */
    c->waiting = true;
    c->tell = err->code != LH_E_UNAVAILABLE && err->code != LH_E_BUSY;
}

static void secret_read(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct copy *c = arg;

    lh_json_unref(c->current);
    c->current = NULL;
    if (err && err->code == LH_E_NOTFOUND) {
        copy_secret_lost(c);
        c->taken = false;
        c->again = c->absent = true;
        copy_answered(c, NULL);
        return;
    }
    if (err) {
        request_failed(c, err);
    } else {
        c->current = lh_json_ref(lh_json_mut(obj));
        c->again = true;
    }
    copy_answered(c, err);
}

static int read_secret(struct copy *c, const char *name, struct lh_err *err)
{
    struct lh_kube_resource res;
    int rc = lh_kube_start(c->set->p.kube, "GET", copy_secret_at(c, name, &res), NULL, NULL, NULL,
                           0, secret_read, c, &c->op, err);

    return rc < 0 ? rc : under_way(err);
}

static void after_write(struct copy *c, const lh_json *obj)
{
    const struct copy_secret *seen;

    cluster_count_write(c->secret_uid ? "updated" : "created");
    take_identity(c, obj);
    copy_files_done(&c->written);
    c->written = c->writing;
    c->writing = (struct copy_files){0};
    c->proven = c->wrote = c->again = true;
    c->taken = c->deleted = false;
    lh_err_keep(&c->write_err, NULL);
    seen = copies_secret(c->set, c->namespace_, c->secret_name);
    if (seen && c->secret_version && strcmp(seen->version, c->secret_version) == 0)
        c->suspect = false;
}

static void secret_written(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct copy *c = arg;
    bool knew = c->current || c->absent; /* what was refused was no guess */

    lh_json_unref(c->current);
    c->current = NULL;
    c->absent = false;
    if (!err && obj) {
        after_write(c, obj);
        copy_answered(c, NULL);
        return;
    }
    copy_files_done(&c->writing);
    c->proven = false;
    if (err && (err->code == LH_E_CONFLICT || (err->code == LH_E_INVALID && !knew))) {
        /* Something is there that we did not know, or another: looked at before the next try. */
        c->taken = true;
        c->waiting = true;
        c->retry = knew;
        copy_answered(c, NULL);
        return;
    }
    request_failed(c, err ? err : &(struct lh_err){.code = LH_E_UNAVAILABLE});
    copy_answered(c, err);
}

static void secret_deleted(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct copy *c = arg;

    (void)obj;
    lh_json_unref(c->current);
    c->current = NULL;
    if (err) {
        request_failed(c, err);
    } else {
        copy_secret_lost(c);
        c->taken = false;
        c->deleted = c->again = true;
    }
    copy_answered(c, err);
}

static int delete_secret(struct copy *c, const char *name, struct lh_err *err)
{
    const lh_json *meta = lh_json_get(c->current, "metadata");
    struct lh_kube_resource res;
    int rc =
        lh_kube_delete(c->set->p.kube, copy_secret_at(c, name, &res), lh_json_get_z(meta, "uid"),
                       lh_json_get_z(meta, "resourceVersion"), secret_deleted, c, &c->op, err);

    return rc < 0 ? rc : under_way(err);
}

/* ---- writing ---- */

/* The files with all their bytes; those of the set are borrowed, those of the Secret in own. */
static int fill(struct copy *c, const struct lh_rendered_set *set, struct lh_rendered_set *full,
                struct lh_secret ***own, struct lh_err *err)
{
    int rc = 0;

    full->v = lh_calloc(set->n ? set->n : 1, sizeof(*full->v));
    *own = lh_calloc(set->n ? set->n : 1, sizeof(**own));
    if (!full->v || !*own)
        return lh_err_nomem(err);
    for (size_t i = 0; i < set->n && rc == 0; i++) {
        full->v[i] = set->v[i];
        full->n++;
        if (set->v[i].bytes)
            continue;
        rc = decode(c->current, set->v[i].path, &(*own)[i], err);
        full->v[i].bytes = (*own)[i];
    }
    return rc;
}

static int add_version(lh_json *obj, const char *version)
{
    lh_json *meta = lh_json_mut(lh_json_get(obj, "metadata"));

    return lh_json_set(meta, "resourceVersion", lh_json_new_z(version));
}

static int apply(struct copy *c, const struct secret_spec *spec, const struct lh_rendered_set *full,
                 struct lh_err *err)
{
    const struct secret_owner owner = {c->namespace_, c->name, c->uid};
    const lh_json *meta = lh_json_get(c->current, "metadata");
    const char *uid = meta ? lh_json_get_z(meta, "uid") : c->secret_uid;
    const char *version = meta  ? lh_json_get_z(meta, "resourceVersion")
                          : uid ? c->secret_version
                                : VERSION_OF_NONE;
    lh_auto_json lh_json *obj = NULL;
    struct lh_kube_resource res;
    int rc = secret_plan(spec, &owner, uid, full, &obj, err);

    if (rc == 0 && version && add_version(obj, version) < 0)
        rc = lh_err_nomem(err);
    if (rc == 0)
        rc = lh_kube_apply(c->set->p.kube, copy_secret_at(c, spec->name, &res), COPY_MANAGER, true,
                           obj, secret_written, c, &c->op, err);
    return rc < 0 ? rc : under_way(err);
}

static int write_secret(struct copy *c, const struct secret_spec *spec,
                        const struct lh_rendered_set *set, struct copy_files *want,
                        struct lh_err *err)
{
    struct lh_rendered_set full = {0};
    struct lh_secret **own = NULL;
    int rc = fill(c, set, &full, &own, err);

    if (rc == 0)
        rc = apply(c, spec, &full, err);
    for (size_t i = 0; own && i < full.n; i++)
        lh_secret_free(own[i]);
    lh_free(own);
    lh_free(full.v);
    if (rc == -LH_E_BUSY) {
        copy_files_done(&c->writing);
        c->writing = *want;
        *want = (struct copy_files){0};
    }
    return rc;
}

/* Files that somebody changed or took away, and whose bytes nobody has: had again. */
static int find_lost(struct copy *c, const struct lh_rendered_set *set,
                     const struct copy_files *want, struct lh_err *err)
{
    int rc = 0;

    for (size_t i = 0; i < set->n; i++) {
        if (set->v[i].bytes || holds(c, &want->v[i]))
            continue;
        copy_files_forget(&c->written, set->v[i].path);
        rc =
            lh_err_set(err, LH_E_GONE, "file \"%s\" is not in the Secret any more", set->v[i].path);
    }
    return rc;
}

static bool current_is(const struct copy *c, const struct copy_files *want)
{
    for (size_t i = 0; i < want->n; i++) {
        if (!holds(c, &want->v[i]))
            return false;
    }
    return lh_json_len(lh_json_get(c->current, "data")) == want->n;
}

static int foreign(struct copy *c, const char *name, struct lh_err *err)
{
    struct lh_err e = {0};

    lh_err_reason(&e,
                  lh_err_set(&e, LH_E_DENIED,
                             "Secret \"%s\" is there and is not a copy of this projection: remove "
                             "it, choose another name, or set kubernetesSecret.adopt",
                             name),
                  LH_REASON_SecretNotOurs);
    lh_err_keep(&c->write_err, &e);
    c->at = lh_clock_now() + FOREIGN_MS;
    c->waiting = c->taken = true;
    return under_way(err);
}

/* All bytes must be at hand before it is deleted. */
static int forget_unknown(struct copy *c, const struct lh_rendered_set *set, struct lh_err *err)
{
    int rc = 0;

    for (size_t i = 0; i < set->n; i++) {
        if (set->v[i].bytes)
            continue;
        copy_files_forget(&c->written, set->v[i].path);
        rc = lh_err_set(err, LH_E_GONE, "the Secret must be made anew");
    }
    return rc;
}

/* A Secret of the name is there and was read. */
static int reconcile(struct copy *c, const struct secret_spec *spec,
                     const struct lh_rendered_set *set, struct copy_files *want, struct lh_err *err)
{
    const struct secret_owner owner = {c->namespace_, c->name, c->uid};
    enum secret_claim claim =
        secret_claim(lh_json_get(c->current, "metadata"), &owner, spec->adopt);
    const char *type = lh_json_get_z(c->current, "type");
    bool same_type = type && strcmp(type, spec->type) == 0;
    bool is;
    int rc;

    if (claim == SECRET_FOREIGN)
        return foreign(c, spec->name, err);
    rc = find_lost(c, set, want, err);
    if (rc < 0)
        return rc;
    is = current_is(c, want);
    if (is && claim == SECRET_OURS && is_intact(c, spec)) {
        take_identity(c, c->current);
        copy_files_done(&c->written);
        c->written = *want;
        *want = (struct copy_files){0};
        c->proven = true;
        c->taken = false;
        lh_err_keep(&c->write_err, NULL);
        return 0;
    }
    /* Kubernetes lets neither be changed; what is ours is made anew. */
    if ((!same_type || (!is && lh_json_get_bool(c->current, "immutable", false))) &&
        claim == SECRET_OURS && !c->deleted) {
        rc = forget_unknown(c, set, err);
        return rc < 0 ? rc : delete_secret(c, spec->name, err);
    }
    return write_secret(c, spec, set, want, err);
}

static int publish_secret(struct copy *c, const struct lh_rendered_set *set,
                          struct copy_files *want, bool *changed, struct lh_err *err)
{
    lh_auto_json lh_json *json = NULL;
    struct secret_spec spec;
    bool all = true, there;
    int rc;

    if (c->proven && copy_files_same(&c->written, want)) {
        *changed = c->wrote;
        c->wrote = false;
        return 0;
    }
    rc = copy_spec_secret(c->spec, &json, err);
    if (rc < 0)
        return rc;
    rc = secret_spec_read(json, &spec, err);
    if (rc < 0)
        return lh_err_reason(err, rc, LH_REASON_ConfigInvalid);
    for (size_t i = 0; i < set->n; i++)
        all = all && set->v[i].bytes;
    there = c->taken || c->secret_uid || copies_secret(c->set, c->namespace_, spec.name);
    if (!c->current && there && (c->taken || !c->proven || !all))
        return read_secret(c, spec.name, err);
    if (!c->current && !all) {
        copy_secret_lost(c);
        return lh_err_set(err, LH_E_GONE, "Secret \"%s\" is gone", spec.name);
    }
    rc = c->current ? reconcile(c, &spec, set, want, err) : write_secret(c, &spec, set, want, err);
    *changed = false;
    return rc;
}

/* ---- the sink ---- */

static int sink_publish(struct lh_sink *self, const struct lh_rendered_set *set, bool *changed,
                        struct lh_err *err)
{
    struct copy_slot *s = (struct copy_slot *)((char *)self - offsetof(struct copy_slot, sink));
    struct copy *c = s->c;
    struct copy_files want = {0};
    int rc;

    if (!c->armed || s != c->cur) {
        c->waiting = true;
        copy_wake(c);
        return under_way(err);
    }
    rc = copy_files_hash(c, set, &want, err);
    if (rc == 0 && c->spec->secret) {
        rc = publish_secret(c, set, &want, changed, err);
    } else if (rc == 0) {
        *changed = !copy_files_same(&c->written, &want);
        copy_files_done(&c->written);
        c->written = want;
        want = (struct copy_files){0};
    }
    copy_files_done(&want);
    /* Neither the engine nor the manager has to do with what the API server says. */
    if (rc < 0 && rc != -LH_E_BUSY && rc != -LH_E_GONE && rc != -LH_E_NOMEM && !err->reason) {
        request_failed(c, err);
        c->retry = true;
        return under_way(err);
    }
    return rc;
}

static bool sink_has(struct lh_sink *self, const char *path)
{
    const struct copy_slot *s =
        (const struct copy_slot *)((const char *)self - offsetof(struct copy_slot, sink));

    return copy_files_find(&s->c->written, path) != NULL;
}

static int sink_clear(struct lh_sink *self, struct lh_err *err)
{
    const struct lh_rendered_set none = {0};
    bool changed;

    return sink_publish(self, &none, &changed, err);
}

const struct lh_sink copy_sink = {.publish = sink_publish, .has = sink_has, .clear = sink_clear};

static bool has_drifted(const struct copy *c)
{
    const struct copy_secret *seen =
        c->secret_name ? copies_secret(c->set, c->namespace_, c->secret_name) : NULL;

    return !seen || !c->secret_version || strcmp(seen->version, c->secret_version) != 0 ||
           !seen->intact;
}

bool copy_secret_step(struct copy *c)
{
    if (!copy_is_wanted(c) || !c->cur || c->cur->ending)
        return false;
    if (c->suspect && c->spec->secret) {
        if (c->proven && has_drifted(c))
            c->proven = false;
        c->waiting = true;
    }
    c->suspect = false;
    if ((c->waiting || c->again) && !c->op && !c->retry) {
        c->waiting = c->again = false;
        c->armed = true;
        lh_engine_publish(c->cur->engine);
        c->armed = false;
    }
    return c->op != NULL;
}

/* ---- what is no longer wanted ---- */

static void stale_deleted(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct copy *c = arg;

    (void)obj;
    if (err) {
        lh_err_keep(&c->write_err, err);
    } else {
        cluster_count_write("deleted");
        lh_log_info("copy deleted: no longer asked for", LH_F_STR("namespace", c->namespace_),
                    LH_F_STR("projection", c->name), LH_F_STR("secret", c->stale));
        copy_set_text(&c->stale, NULL);
        copies_keep(c->set, c);
    }
    copy_answered(c, err);
}

bool copy_secret_sweep(struct copy *c)
{
    const char *name = copy_secret_name(c);
    const struct copy_secret *seen;
    struct lh_kube_resource res;
    struct lh_err err = {0};

    /* The new one first: what uses it may still read the old one. */
    if (!c->stale || (name && copy_is_wanted(c) && !(c->cur && c->cur->ready)))
        return false;
    seen = copies_secret(c->set, c->namespace_, c->stale);
    if (!seen || !seen->owner || strcmp(seen->owner, c->uid) != 0 ||
        (name && strcmp(name, c->stale) == 0)) {
        copy_set_text(&c->stale, NULL);
        copies_keep(c->set, c);
        return false;
    }
    if (!c->may_delete) {
        copies_want_delete(c->set, c);
        return false;
    }
    if (lh_kube_delete(c->set->p.kube, copy_secret_at(c, c->stale, &res), seen->uid, NULL,
                       stale_deleted, c, &c->op, &err) == 0)
        return true;
    lh_err_keep(&c->write_err, &err);
    c->retry = true;
    return false;
}
