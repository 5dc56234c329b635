/* SPDX-License-Identifier: Apache-2.0 */
/* What is said about a copy, on transitions only. */
#include <string.h>

#include "copies_priv.h"
#include "copy.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"

enum { STATUS_MAX = 256 * 1024, VERSION_LEN = 8 };

#define READY "Ready"

static struct condition trouble(const struct lh_err *err)
{
    return (struct condition){.type = READY,
                              .status = CONDITION_FALSE,
                              .reason = err->reason ? err->reason : LH_REASON_InternalError,
                              .message = err->msg};
}

/* false: nothing is to be said yet. err: what the message may live in. */
static bool judge(const struct copy *c, struct condition *out, struct lh_err *err)
{
    struct lh_engine_freshness f = {0};

    if (c->set->drain != LH_DRAIN_NOT && copy_is_asked_for(c)) {
        lh_err_reason(err,
                      lh_err_set(err, LH_E_UNAVAILABLE,
                                 "the controller is drained: what was issued is revoked and "
                                 "nothing is kept fresh; leasehold drain --undo takes it up again"),
                      LH_REASON_Drained);
        *out = trouble(err);
        return true;
    }
    if (c->spec && !copy_is_wanted(c)) {
        if (c->served || !(c->spec->secret || c->spec->p->on_change))
            return false;
        lh_err_reason(err,
                      lh_err_set(err, LH_E_DENIED,
                                 "copies and restarts are not switched on for namespace \"%s\"",
                                 c->namespace_),
                      LH_REASON_NamespaceNotServed);
        *out = trouble(err);
        return true;
    }
    if (c->parse_err || c->spec_err || c->write_err) {
        *out = trouble(c->parse_err ? c->parse_err : c->spec_err ? c->spec_err : c->write_err);
        return true;
    }
    if (!c->cur || !c->cur->ready) {
        if (c->fetch_err)
            *out = trouble(c->fetch_err);
        return c->fetch_err != NULL;
    }
    lh_engine_freshness(c->cur->engine, &f);
    *out = (struct condition){.type = READY,
                              .status = f.stale ? CONDITION_FALSE : CONDITION_TRUE,
                              .reason = f.stale ? f.reason : LH_REASON_Fresh,
                              .message = f.stale ? f.stale : ""};
    return true;
}

/* One hash over the files of an item. */
static int version_of(const struct copy *c, const struct lh_engine_item *it, char *out,
                      struct lh_err *err)
{
    const struct lh_secret *key = c->set->term.hash_key;
    uint8_t whole[LH_HASH_LEN];
    lh_auto_buf struct lh_buf b;
    int rc;

    lh_buf_init(&b, STATUS_MAX);
    for (size_t i = 0; i < it->n_files; i++) {
        for (size_t k = 0; k < c->written.n; k++) {
            if (strcmp(c->written.v[k].path, it->files[i].path) == 0)
                lh_buf_put(&b, c->written.v[k].hash, COPY_HASH_LEN);
        }
    }
    rc = lh_buf_check(&b, err);
    if (rc == 0)
        rc = lh_hmac_sha256(lh_secret_expose_const(key), lh_secret_len(key), lh_buf_peek(&b).p,
                            lh_buf_peek(&b).n, whole, err);
    if (rc == 0)
        lh_hex(whole, VERSION_LEN, out);
    return rc;
}

static int collect(const struct copy *c, struct status_item **items, char (**text)[17], size_t *n,
                   struct lh_err *err)
{
    struct lh_engine_item it;
    int rc = 0;

    *n = 0;
    if (!c->cur || !c->cur->ready || !copy_is_wanted(c))
        return 0;
    *items = lh_calloc(c->cur->spec->p->n_items, sizeof(**items));
    *text = lh_calloc(c->cur->spec->p->n_items, sizeof(**text));
    if (!*items || !*text)
        return lh_err_nomem(err);
    for (size_t i = 0; rc == 0 && lh_engine_item(c->cur->engine, i, &it); i++) {
        if (it.n_files == 0)
            continue;
        rc = version_of(c, &it, (*text)[*n], err);
        (*items)[*n] = (struct status_item){it.name, (*text)[*n]};
        (*n)++;
    }
    return rc;
}

static bool same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

int copy_status_take(struct copy *c, const lh_json *obj, bool *changed, struct lh_err *err)
{
    const lh_json *status = lh_json_get(obj, "status");
    lh_auto_buf struct lh_buf b;
    char *text = NULL;
    int rc;

    lh_buf_init(&b, STATUS_MAX);
    if (status)
        lh_json_write(status, LH_JSON_COMPACT, &b);
    rc = lh_buf_check(&b, err);
    if (rc < 0)
        return rc;
    /* A copy of what it takes: there is one for each projection. */
    if (status) {
        text = lh_str_dup(lh_buf_peek(&b));
        if (!text)
            return lh_err_nomem(err);
    }
    *changed = !same(text, c->status);
    lh_free(c->status);
    c->status = text;
    return 0;
}

static void written(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct copy *c = arg;
    struct lh_err e = {0};
    bool changed;

    if (err && err->code == LH_E_NOTFOUND) { /* the watch will say that it is gone */
        copy_answered(c, NULL);
        return;
    }
    if (!err && copy_status_take(c, obj, &changed, &e) < 0)
        err = &e;
    if (err)
        lh_log_warn("status not written", LH_F_STR("namespace", c->namespace_),
                    LH_F_STR("projection", c->name), LH_F_ERR(err));
    c->op = NULL;
    copy_answered(c, err);
}

static int put(struct copy *c, lh_json *status, struct lh_err *err)
{
    const struct lh_kube_resource res = {.group = "leasehold.dev",
                                         .version = "v1alpha1",
                                         .resource = "secretprojections",
                                         .namespace_ = c->namespace_,
                                         .name = c->name,
                                         .subresource = "status"};
    lh_auto_json lh_json *obj = lh_json_new_object();
    lh_json *meta = lh_json_new_object();

    if (!obj || lh_json_set(obj, "status", status) < 0 ||
        lh_json_set(obj, "apiVersion", lh_json_new_z("leasehold.dev/v1alpha1")) < 0 ||
        lh_json_set(obj, "kind", lh_json_new_z("SecretProjection")) < 0 || !meta ||
        lh_json_set(meta, "name", lh_json_new_z(c->name)) < 0 ||
        lh_json_set(meta, "namespace", lh_json_new_z(c->namespace_)) < 0 ||
        lh_json_set(meta, "uid", lh_json_new_z(c->uid)) < 0) {
        lh_json_unref(meta);
        return lh_err_nomem(err);
    }
    if (lh_json_set(obj, "metadata", meta) < 0)
        return lh_err_nomem(err);
    return lh_kube_apply(c->set->p.kube, &res, COPY_MANAGER, true, obj, written, c, &c->op, err);
}

static int plan(const struct copy *c, lh_json **out, struct lh_err *err)
{
    lh_auto_json lh_json *was = NULL;
    lh_auto_free struct status_item *items = NULL;
    lh_auto_free char(*text)[17] = NULL;
    struct lh_err why = {0};
    struct condition said[2];
    struct status_want want = {.generation = c->generation, .conditions = said, .n_conditions = 1};
    int rc = c->status ? lh_json_parse(lh_str(c->status), NULL, &was, err) : 0;

    if (rc == 0)
        rc = collect(c, &items, &text, &want.n_items, err);
    if (rc < 0)
        return rc;
    want.items = items;
    if (!judge(c, &said[0], &why)) {
        /* Nobody is to be told; what was said of a copy that is no more is taken back. */
        want.n_conditions = 0;
        if (copy_is_wanted(c) || lh_json_len(lh_json_get(was, "conditions")) == 0)
            return 0;
    } else if (c->workloads && copy_is_wanted(c)) {
        said[want.n_conditions++] = (struct condition){.type = RESTARTS_CONDITION,
                                                       .status = c->workloads->status,
                                                       .reason = c->workloads->reason,
                                                       .message = c->workloads->message};
    }
    rc = status_plan(was, &want, lh_clock_wall_ms(), out, err);
    if (rc == 0 && *out &&
        lh_json_set(*out, "observedGeneration", lh_json_new_int(c->generation)) < 0) {
        lh_json_unref(*out);
        *out = NULL;
        rc = lh_err_nomem(err);
    }
    return rc;
}

static void look_again(struct copy *c)
{
    struct lh_engine_freshness f;

    if (!c->cur || !c->cur->ready || c->cur->ending)
        return;
    lh_engine_freshness(c->cur->engine, &f);
    if (f.check_at < c->at)
        c->at = f.check_at;
    if (c->wait)
        store_wait_expires(c->wait, f.ends_at);
}

bool copy_status_step(struct copy *c)
{
    lh_json *status = NULL;
    struct lh_err err = {0};
    int rc = plan(c, &status, &err);

    look_again(c);
    if (rc == 0 && status)
        rc = put(c, status, &err);
    if (rc < 0) {
        lh_log_warn("status not written", LH_F_STR("namespace", c->namespace_),
                    LH_F_STR("projection", c->name), LH_F_ERR(&err));
        c->retry = true;
    }
    return c->op != NULL;
}
