/* SPDX-License-Identifier: Apache-2.0 */
/* The Pod's condition leasehold.dev/SecretsFresh: written when it changes, and only then. */
#include "leasehold/api/reasons.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "volume.h"

enum { WRITE_MS = 10 * 1000, RETRY_MS = 30 * 1000 };

static void written(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct volume *v = arg;
    struct lh_err e = {0};

    (void)obj;
    v->condition_op = NULL;
    if (err && err->code != LH_E_NOTFOUND) {
        v->condition_retry = lh_clock_now() + RETRY_MS;
        lh_log_warn("Pod condition not written", LH_F_STR("namespace", v->namespace_),
                    LH_F_STR("pod", v->pod), LH_F_ERR(err));
    } else {
        v->condition = v->condition_sent;
        if (record_save(v, &e) < 0)
            lh_log_warn("volume's record not kept", LH_F_ERR(&e));
    }
    volume_wake(v);
}

static lh_json *patch_of(const struct volume *v, const struct lh_engine_freshness *f)
{
    lh_json *o = lh_json_new_object(), *status = lh_json_new_object();
    lh_json *list = lh_json_new_array(), *c = lh_json_new_object(), *meta = lh_json_new_object();
    lh_auto_buf struct lh_buf text;
    char now[32];

    lh_buf_init(&text, 1024);
    if (f->stale)
        lh_buf_printf(&text, "item \"%s\" of SecretProjection \"%s\"", f->stale, v->projection);
    lh_json_set(meta, "uid", lh_json_new_z(v->pod_uid));
    lh_json_set(c, "type", lh_json_new_z("leasehold.dev/SecretsFresh"));
    lh_json_set(c, "status", lh_json_new_z(f->stale ? "False" : "True"));
    lh_json_set(c, "reason", lh_json_new_z(f->stale ? f->reason : LH_REASON_Fresh));
    lh_json_set(c, "message", lh_json_new_str(lh_buf_peek(&text)));
    lh_json_set(c, "lastTransitionTime",
                lh_json_new_z(lh_clock_format(lh_clock_wall_ms() / 1000 * 1000, now)));
    lh_json_push(list, c);
    lh_json_set(status, "conditions", list);
    lh_json_set(o, "metadata", meta); /* another Pod of the same name: refused */
    lh_json_set(o, "status", status);
    return o;
}

/* A Pod has one condition and may have several volumes: it is fresh when all of them are. */
static bool others_stale(const struct volume *v)
{
    size_t it = 0;
    struct lh_str key;
    void *p;

    while (lh_map_next(v->set->by_id, &it, &key, &p)) {
        const struct volume *o = p;
        struct lh_engine_freshness f;

        if (o == v || !o->published || !lh_str_eqz(lh_str(o->pod_uid), v->pod_uid) ||
            !volume_engine(o))
            continue;
        lh_engine_freshness(volume_engine(o), &f);
        if (f.stale)
            return true;
    }
    return false;
}

void condition_step(struct volume *v, lh_ms *at)
{
    const struct lh_kube_resource pod = {.group = "",
                                         .version = "v1",
                                         .resource = "pods",
                                         .namespace_ = v->namespace_,
                                         .name = v->pod,
                                         .subresource = "status"};
    struct lh_engine *e = volume_engine(v);
    lh_auto_json lh_json *patch = NULL;
    struct lh_engine_freshness f;
    struct lh_err err = {0};

    if (!e || !v->published || !v->set->kube || v->gone_at)
        return;
    lh_engine_freshness(e, &f);
    if (f.check_at < *at)
        *at = f.check_at;
    if (v->condition_op || v->condition == !f.stale || (!f.stale && others_stale(v)))
        return;
    if (v->condition_retry > lh_clock_now()) {
        *at = v->condition_retry < *at ? v->condition_retry : *at;
        return;
    }
    patch = patch_of(v, &f);
    v->condition_sent = !f.stale;
    if (lh_kube_start(v->set->kube, "PATCH", &pod, NULL, "application/strategic-merge-patch+json",
                      patch, WRITE_MS, written, v, &v->condition_op, &err) < 0)
        v->condition_retry = lh_clock_now() + RETRY_MS;
}
