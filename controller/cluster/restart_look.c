/* SPDX-License-Identifier: Apache-2.0 */
#include "restart_look.h"

#include <string.h>

#include "leasehold/api/allow.h"
#include "leasehold/codec/jsonpatch.h"
#include "leasehold/core/clock.h"
#include "leasehold/core/mem.h"
#include "restart_plan.h"

const char *const restart_kind_names[RESTART_KINDS] = {"Deployment", "StatefulSet", "DaemonSet"};
const char *const restart_resources[RESTART_KINDS] = {"deployments", "statefulsets", "daemonsets"};

int restart_kind_of(const char *name)
{
    for (int i = 0; name && i < RESTART_KINDS; i++) {
        if (strcmp(restart_kind_names[i], name) == 0)
            return i;
    }
    return -1;
}

static bool is_z(const lh_json *obj, const char *key, const char *want)
{
    const char *z = lh_json_get_z(obj, key);

    return z && strcmp(z, want) == 0;
}

/* The Deployment controller says when a rollout is over, and when it gave up. */
static bool deployment_rolls(const lh_json *obj)
{
    const lh_json *status = lh_json_get(obj, "status"),
                  *conditions = lh_json_get(status, "conditions");
    int64_t updated = lh_json_get_int(status, "updatedReplicas", 0);

    for (size_t i = 0; i < lh_json_len(conditions); i++) {
        const lh_json *c = lh_json_at(conditions, i);

        if (is_z(c, "type", "Progressing"))
            return !is_z(c, "reason", "NewReplicaSetAvailable") &&
                   !is_z(c, "reason", "ProgressDeadlineExceeded");
    }
    /* Without a deadline it says nothing. */
    return updated < lh_json_get_int(lh_json_get(obj, "spec"), "replicas", 1) ||
           lh_json_get_int(status, "replicas", 0) > updated;
}

static bool stateful_set_rolls(const lh_json *obj)
{
    const lh_json *status = lh_json_get(obj, "status");
    const char *now = lh_json_get_z(status, "currentRevision");

    return now && !is_z(status, "updateRevision", now);
}

static bool daemon_set_rolls(const lh_json *obj)
{
    const lh_json *status = lh_json_get(obj, "status");

    return lh_json_get_int(status, "updatedNumberScheduled", 0) <
           lh_json_get_int(status, "desiredNumberScheduled", 0);
}

static bool rolls(enum restart_kind kind, const lh_json *obj)
{
    static bool (*const by_kind[RESTART_KINDS])(const lh_json *obj) = {
        deployment_rolls, stateful_set_rolls, daemon_set_rolls};
    int64_t generation = lh_json_get_int(lh_json_get(obj, "metadata"), "generation", 0);

    /* What it says is of an older template. */
    return lh_json_get_int(lh_json_get(obj, "status"), "observedGeneration", 0) < generation ||
           by_kind[kind](obj);
}

void restart_look(enum restart_kind kind, const lh_json *obj, struct restart_look *out)
{
    const lh_json *spec = lh_json_get(obj, "spec");
    const lh_json *template = lh_json_path(spec, "template", "metadata", NULL);
    const lh_json *annotations = lh_json_get(template, "annotations");
    const char *at = lh_json_get_z(annotations, RESTART_AT);
    int64_t wall = 0;

    *out = (struct restart_look){
        .paused = kind == RESTART_DEPLOYMENT && lh_json_get_bool(spec, "paused", false),
        .on_delete = is_z(lh_json_get(spec, "updateStrategy"), "type", "OnDelete"),
        .empty = kind != RESTART_DAEMONSET && lh_json_get_int(spec, "replicas", 1) == 0,
        .labels = lh_json_get(template, "labels"),
        .stamp = lh_json_get_z(lh_json_path(obj, "metadata", "annotations", NULL), RESTART_STAMP),
    };
    out->rolling = !out->on_delete && rolls(kind, obj);
    if (!out->stamp)
        out->stamp = lh_json_get_z(annotations, RESTART_STAMP);
    if (at && lh_clock_parse(at, &wall) == 0)
        out->restarted_wall_ms = wall;
}

const char *restart_blocked_by(const lh_json *pdbs, const lh_json *labels)
{
    const lh_json *items = lh_json_get(pdbs, "items");

    for (size_t i = 0; i < lh_json_len(items); i++) {
        const lh_json *pdb = lh_json_at(items, i);
        const lh_json *selector = lh_json_path(pdb, "spec", "selector", NULL);
        const char *name = lh_json_get_z(lh_json_get(pdb, "metadata"), "name");
        bool covers = false;

        if (!name || lh_json_type(selector) != LH_JSON_OBJECT ||
            lh_selector_match(selector, labels, &covers, NULL) < 0 || !covers)
            continue;
        /* Not counted yet is not allowed either. */
        if (lh_json_get_int(lh_json_get(pdb, "status"), "disruptionsAllowed", 0) < 1)
            return name;
    }
    return NULL;
}

/* An annotation below path, which may be a folder that does not exist yet. */
static int put(lh_json *patch, const lh_json *meta, const char *path, const char *name,
               const char *value)
{
    lh_auto_free char *all = lh_asprintf("%s/annotations", path);
    lh_auto_free char *one = NULL;
    lh_auto_buf struct lh_buf key;
    int rc = 0;

    lh_buf_init(&key, 256);
    lh_jsonpatch_escape(&key, lh_str(name));
    if (lh_buf_check(&key, NULL) < 0 || !all)
        return -1;
    one = lh_asprintf("%s/%s", all, lh_buf_peek(&key).p);
    if (!one)
        return -1;
    if (lh_json_type(lh_json_get(meta, "annotations")) != LH_JSON_OBJECT)
        rc = lh_jsonpatch_op(patch, "add", all, lh_json_new_object());
    return rc < 0 ? rc : lh_jsonpatch_op(patch, "add", one, lh_json_new_z(value));
}

static int put_template(lh_json *patch, const lh_json *obj, const char *stamp, const char *at)
{
    const lh_json *meta = lh_json_path(obj, "spec", "template", "metadata", NULL);
    lh_auto_json lh_json *after = NULL;
    int rc = 0;

    if (lh_json_type(meta) != LH_JSON_OBJECT)
        rc = lh_jsonpatch_op(patch, "add", "/spec/template/metadata", lh_json_new_object());
    if (rc == 0)
        rc = put(patch, meta, "/spec/template/metadata", RESTART_STAMP, stamp);
    /* The folder is there by now. */
    after = lh_json_new_object();
    if (!after || lh_json_set(after, "annotations", lh_json_new_object()) < 0)
        return -1;
    return rc < 0 ? rc : put(patch, after, "/spec/template/metadata", RESTART_AT, at);
}

int restart_patch(const lh_json *obj, const char *stamp, const char *at, lh_json **out,
                  struct lh_err *err)
{
    const lh_json *meta = lh_json_get(obj, "metadata");
    const char *uid = lh_json_get_z(meta, "uid"), *rv = lh_json_get_z(meta, "resourceVersion");
    lh_auto_json lh_json *patch = lh_json_new_array();

    if (!uid || !rv)
        return lh_err_set(err, LH_E_INVALID, "the workload was not read from the API server");
    if (!patch || lh_jsonpatch_op(patch, "test", "/metadata/uid", lh_json_new_z(uid)) < 0 ||
        lh_jsonpatch_op(patch, "test", "/metadata/resourceVersion", lh_json_new_z(rv)) < 0 ||
        put(patch, meta, "/metadata", RESTART_STAMP, stamp) < 0 ||
        (at && put_template(patch, obj, stamp, at) < 0))
        return lh_err_nomem(err);
    *out = LH_TAKE_PTR(patch);
    return 0;
}
