/* SPDX-License-Identifier: Apache-2.0 */
/* From an object to its row. */
#include <stdio.h>
#include <string.h>

#include "leasehold/api/annotations.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/clock.h"
#include "leasehold/core/mem.h"
#include "status.h"

#define AGENT_NAME "leasehold-agent"
#define CSI_DRIVER "csi.leasehold.dev"
#define FRESH      "leasehold.dev/SecretsFresh"

const char *status_kind_name(enum status_kind kind)
{
    static const char *const names[STATUS_KINDS] = {[STATUS_CLUSTER_STORE] = "ClusterSecretStore",
                                                    [STATUS_STORE] = "SecretStore",
                                                    [STATUS_PROJECTION] = "SecretProjection",
                                                    [STATUS_POD] = "Pod",
                                                    [STATUS_DRIVER] = "NodeDriver"};

    return names[kind];
}

void status_row_free(struct status_row *r)
{
    if (!r)
        return;
    lh_free(r->namespace_);
    lh_free(r->name);
    lh_free(r->ready);
    lh_free(r->reason);
    lh_free(r->message);
    lh_free(r->store);
    lh_free(r->delivery);
    lh_free(r->node);
    lh_free(r->expires);
    lh_json_unref(r->live);
    lh_free(r);
}

/* z NULL: empty. Texts come from whoever may write a status: control characters would reach a
 * terminal. */
static bool set(char **at, const char *z)
{
    char *copy = lh_strdup(z ? z : "");

    if (!copy)
        return false;
    for (char *c = copy; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
    }
    lh_free(*at);
    *at = copy;
    return true;
}

static int64_t time_of(const lh_json *obj, const char *key)
{
    const char *text = lh_json_get_z(obj, key);
    int64_t ms = 0;

    return text && lh_clock_parse(text, &ms) == 0 ? ms : 0;
}

static const lh_json *condition(const lh_json *obj, const char *type)
{
    const lh_json *all = lh_json_path(obj, "status", "conditions", NULL);

    for (size_t i = 0; i < lh_json_len(all); i++) {
        const char *t = lh_json_get_z(lh_json_at(all, i), "type");

        if (t && strcmp(t, type) == 0)
            return lh_json_at(all, i);
    }
    return NULL;
}

static bool take_condition(struct status_row *r, const lh_json *c)
{
    const char *status = lh_json_get_z(c, "status");

    r->since_ms = time_of(c, "lastTransitionTime");
    return set(&r->ready, status ? status : "Unknown") &&
           set(&r->reason, lh_json_get_z(c, "reason")) &&
           set(&r->message, lh_json_get_z(c, "message"));
}

static const lh_json *find_named(const lh_json *arr, const char *name)
{
    for (size_t i = 0; i < lh_json_len(arr); i++) {
        const char *z = lh_json_get_z(lh_json_at(arr, i), "name");

        if (z && strcmp(z, name) == 0)
            return lh_json_at(arr, i);
    }
    return NULL;
}

static bool has_volume(const lh_json *pod)
{
    const lh_json *volumes = lh_json_path(pod, "spec", "volumes", NULL);

    for (size_t i = 0; i < lh_json_len(volumes); i++) {
        const lh_json *csi = lh_json_get(lh_json_at(volumes, i), "csi");
        const char *driver = lh_json_get_z(csi, "driver");

        if (driver && strcmp(driver, CSI_DRIVER) == 0)
            return true;
    }
    return false;
}

/* Does an annotation ask for an agent? */
static bool is_annotated(const lh_json *annotations)
{
    const char *off = lh_json_get_z(annotations, LH_ANNOTATION_PREFIX "inject");
    const lh_json *value;
    struct lh_str key;
    void *it = NULL;

    if (off && strcmp(off, "false") == 0)
        return false;
    while (lh_json_next(annotations, &it, &key, &value)) {
        if (lh_str_starts(key, LH_STR(LH_ANNOTATION_PREFIX "secret.")))
            return true;
    }
    return false;
}

static unsigned agent_port(const lh_json *container)
{
    const lh_json *config = find_named(lh_json_get(container, "env"), "LEASEHOLD_CONFIG");
    lh_auto_json lh_json *parsed = NULL;
    const char *text = lh_json_get_z(config, "value");
    int64_t port = 0;

    if (text && lh_json_parse(lh_str(text), NULL, &parsed, NULL) == 0)
        port = lh_json_get_int(parsed, "metricsPort", 0);
    return port > 0 && port < 65536 ? (unsigned)port : 0;
}

/* An agent is ready once its startup probe passed, an init container once it ended well. */
static bool take_agent(struct status_row *r, const lh_json *pod, const lh_json *agent, bool csi)
{
    const char *restart = lh_json_get_z(agent, "restartPolicy");
    bool sidecar = restart && strcmp(restart, "Always") == 0;
    const lh_json *status =
        find_named(lh_json_path(pod, "status", "initContainerStatuses", NULL), AGENT_NAME);
    bool up = sidecar ? lh_json_get_bool(status, "started", false)
                      : lh_json_get_bool(status, "ready", false);

    r->port = agent_port(agent);
    return set(&r->delivery, sidecar ? csi ? "sidecar+csi" : "sidecar"
                             : csi   ? "init+csi"
                                     : "init") &&
           set(&r->ready, up ? "True" : "Unknown") && set(&r->reason, up ? "" : LH_REASON_Starting);
}

static bool take_pod(struct status_row *r, const lh_json *pod, bool *ours)
{
    const lh_json *annotations = lh_json_path(pod, "metadata", "annotations", NULL);
    const lh_json *agent =
        find_named(lh_json_path(pod, "spec", "initContainers", NULL), AGENT_NAME);
    const lh_json *fresh = condition(pod, FRESH);
    const char *phase = lh_json_get_z(lh_json_get(pod, "status"), "phase");
    bool csi = has_volume(pod), missing = !agent && is_annotated(annotations);
    bool ended = phase && (strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0);
    bool fine = true;

    *ours = (agent || csi || missing) && !ended;
    if (!*ours)
        return true;
    if (csi)
        fine = set(&r->delivery, "csi") && set(&r->ready, "Unknown") &&
               set(&r->reason, phase && strcmp(phase, "Running") == 0 ? "" : LH_REASON_Starting);
    if (agent && fine)
        fine = take_agent(r, pod, agent, csi);
    if (missing && fine)
        fine = set(&r->ready, "False") && set(&r->reason, LH_REASON_NotInjected);
    else if (fresh && fine && (!agent || strcmp(r->ready, "True") == 0))
        fine = take_condition(r, fresh);
    return fine && set(&r->store, lh_json_get_z(annotations, LH_ANNOTATION_PREFIX "store")) &&
           set(&r->node, lh_json_get_z(lh_json_get(pod, "spec"), "nodeName"));
}

static bool take_driver(struct status_row *r, const lh_json *pod)
{
    const lh_json *node = find_named(lh_json_path(pod, "spec", "containers", NULL), "node");
    const lh_json *port = find_named(lh_json_get(node, "ports"), "metrics");
    int64_t n = lh_json_get_int(port, "containerPort", 0);

    r->port = n > 0 && n < 65536 ? (unsigned)n : 0;
    return set(&r->node, lh_json_get_z(lh_json_get(pod, "spec"), "nodeName")) &&
           take_condition(r, condition(pod, "Ready"));
}

static bool begin(struct status_row *r, enum status_kind kind, const lh_json *obj)
{
    const lh_json *meta = lh_json_get(obj, "metadata");

    r->kind = kind;
    r->created_ms = time_of(meta, "creationTimestamp");
    return set(&r->namespace_, lh_json_get_z(meta, "namespace")) &&
           set(&r->name, lh_json_get_z(meta, "name")) && set(&r->ready, "Unknown") &&
           set(&r->reason, NULL) && set(&r->message, NULL) && set(&r->store, NULL) &&
           set(&r->delivery, NULL) && set(&r->node, NULL) && set(&r->expires, NULL);
}

int status_row_of(enum status_kind kind, const lh_json *obj, struct status_row **out,
                  struct lh_err *err)
{
    struct status_row *r = lh_calloc(1, sizeof(*r));
    bool fine = r && begin(r, kind, obj), ours = true;

    if (fine && kind == STATUS_POD)
        fine = take_pod(r, obj, &ours);
    else if (fine && kind == STATUS_DRIVER)
        fine = take_driver(r, obj);
    else if (fine)
        fine = take_condition(r, condition(obj, "Ready"));
    if (fine && kind == STATUS_PROJECTION)
        fine = set(&r->store, lh_json_get_z(lh_json_path(obj, "spec", "storeRef", NULL), "name"));
    if (!fine || !ours) {
        status_row_free(r);
        r = NULL;
    }
    if (!fine)
        return lh_err_nomem(err);
    *out = r;
    return 0;
}

bool status_is_bad(const struct status_row *r)
{
    return strcmp(r->ready, "False") == 0;
}

/* "Word: text" of a cause. */
static bool take_cause(struct status_row *r, const char *cause)
{
    struct lh_str word, rest;
    lh_auto_free char *copy = NULL;
    const struct lh_reason *known;

    if (!cause || !*cause)
        return true;
    lh_str_cut(lh_str(cause), ':', &word, &rest);
    copy = lh_str_dup(word);
    if (!copy)
        return false;
    known = lh_reason_find(copy);
    if (!known)
        return set(&r->message, cause);
    rest = lh_str_trim(rest);
    return set(&r->reason, known->word) && set(&r->message, rest.n ? rest.p : "");
}

static bool take_end(struct status_row *r, const lh_json *items)
{
    for (size_t i = 0; i < lh_json_len(items); i++) {
        const char *ends = lh_json_get_z(lh_json_at(items, i), "ends");

        /* Of one form and UTC, so that they sort as text. */
        if (ends && (!*r->expires || strcmp(ends, r->expires) < 0) && !set(&r->expires, ends))
            return false;
    }
    return true;
}

static bool take_said(struct status_row *r, const char *who, const lh_json *said)
{
    bool agent = strcmp(who, "agent") == 0, up;
    const char *state = lh_json_get_z(said, "state");
    const lh_json *items =
        agent ? lh_json_get(said, "items") : lh_json_path(said, "secrets", "items", NULL);

    up = agent ? lh_json_get_bool(said, "ready", false) : state && strcmp(state, "published") == 0;
    if (!up && !set(&r->ready, "False"))
        return false;
    if (up && strcmp(r->ready, "Unknown") == 0 && !(set(&r->ready, "True") && set(&r->reason, "")))
        return false;
    return take_cause(r, lh_json_get_z(said, "cause")) && take_end(r, items);
}

int status_take_live(struct status_row *r, const char *who, const lh_json *said, struct lh_err *err)
{
    lh_json *copy = lh_json_deep_copy(said), *list;
    bool fine;

    if (!r->live)
        r->live = lh_json_new_object();
    if (!r->live || !copy) {
        lh_json_unref(copy);
        return lh_err_nomem(err);
    }
    if (strcmp(who, "agent") == 0) {
        fine = lh_json_set(r->live, who, copy) == 0;
    } else {
        list = lh_json_mut(lh_json_get(r->live, who));
        if (!list) {
            list = lh_json_new_array();
            fine = lh_json_push(list, copy) == 0 && lh_json_set(r->live, who, list) == 0;
        } else {
            fine = lh_json_push(list, copy) == 0;
        }
    }
    return fine && take_said(r, who, said) ? 0 : lh_err_nomem(err);
}
