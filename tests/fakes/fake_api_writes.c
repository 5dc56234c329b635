/* SPDX-License-Identifier: Apache-2.0 */
/* How the fake API server writes: what it refuses, and what it fills in. */
#include "fake_api_priv.h"

#include "leasehold/codec/jsonpatch.h"

static bool method_is(const struct ask *a, const char *method)
{
    return strcmp(a->req->method, method) == 0;
}

static void answer_object(struct ask *a, int code, const lh_json *v)
{
    struct lh_buf b;

    lh_buf_init(&b, MAX_TEXT);
    fake_put_value(&b, v, false);
    fake_api_answer(a, code, &b);
}

static void invalid(struct ask *a, const char *field)
{
    char message[200];

    snprintf(message, sizeof(message), "%s is not valid", field);
    fake_api_answer_status(a, 422, "Invalid", message, "FieldValueInvalid");
}

/* microTime: "2006-01-02T15:04:05.000000Z", six digits and no other number of them. */
static bool is_micro_time(const lh_json *obj, const char *key)
{
    const char *z = lh_json_get_z(obj, key);
    int64_t wall;

    return !lh_json_get(obj, key) ||
           (z && strlen(z) == 27 && z[19] == '.' && z[26] == 'Z' && lh_clock_parse(z, &wall) == 0);
}

static const char *bad_lease(const lh_json *v)
{
    const lh_json *spec = lh_json_get(v, "spec");

    if (lh_json_get_int(spec, "leaseDurationSeconds", 1) < 1)
        return "spec.leaseDurationSeconds";
    if (lh_json_get_int(spec, "leaseTransitions", 0) < 0)
        return "spec.leaseTransitions";
    if (!is_micro_time(spec, "acquireTime"))
        return "spec.acquireTime";
    return is_micro_time(spec, "renewTime") ? NULL : "spec.renewTime";
}

static const char *bad_event(const lh_json *v)
{
    static const char *const required[] = {"reportingController", "reportingInstance", "action",
                                           "reason", "eventTime"};
    const char *type = lh_json_get_z(v, "type"), *note = lh_json_get_z(v, "note");
    const char *about = lh_json_get_z(lh_json_get(v, "regarding"), "namespace");
    const char *ns = lh_json_get_z(lh_json_get(v, "metadata"), "namespace");
    const lh_json *series = lh_json_get(v, "series");

    for (size_t i = 0; i < sizeof(required) / sizeof(*required); i++) {
        const char *z = lh_json_get_z(v, required[i]);

        if (!z || !*z || strlen(z) > 128)
            return required[i];
    }
    if (!is_micro_time(v, "eventTime"))
        return "eventTime";
    if (!type || (strcmp(type, "Normal") != 0 && strcmp(type, "Warning") != 0))
        return "type";
    if (note && strlen(note) > 1024)
        return "note";
    if (strcmp(about && *about ? about : "default", ns) != 0)
        return "regarding.namespace";
    if (series &&
        (lh_json_get_int(series, "count", 0) < 2 || !lh_json_get(series, "lastObservedTime") ||
         !is_micro_time(series, "lastObservedTime")))
        return "series";
    return NULL;
}

/* The field that is wrong, of kinds that are looked at. */
static const char *bad_field(const char *collection, const lh_json *v)
{
    if (strcmp(collection, "coordination.k8s.io/v1/leases") == 0)
        return bad_lease(v);
    if (strcmp(collection, "events.k8s.io/v1/events") == 0)
        return bad_event(v);
    return NULL;
}

bool fake_api_has_status(const struct ask *a)
{
    return strncmp(a->collection, "leasehold.dev/", 14) == 0;
}

static void keep_field(lh_json *v, const lh_json *old, const char *key)
{
    const lh_json *had = lh_json_get(old, key);

    if (had)
        lh_json_set(v, key, lh_json_deep_copy(had));
    else
        lh_json_del(v, key);
}

/* What a client cannot choose. */
static void keep_system_fields(const struct ask *a, lh_json *v, const lh_json *old)
{
    static const char *const system[] = {"uid", "resourceVersion", "generation",
                                         "creationTimestamp", "deletionTimestamp"};
    lh_json *meta = lh_json_mut(lh_json_get(v, "metadata"));
    void *it = NULL;
    struct lh_str key;
    const lh_json *value;

    if (strcmp(ASK_SUB(a), "status") == 0) {
        lh_auto_json lh_json *status = lh_json_ref(lh_json_mut(lh_json_get(v, "status")));

        while (lh_json_next(old, &it, &key, &value))
            lh_json_setn(v, key, lh_json_deep_copy(value));
        if (status)
            lh_json_set(v, "status", lh_json_ref(status));
        return;
    }
    for (size_t i = 0; i < sizeof(system) / sizeof(*system); i++)
        keep_field(meta, lh_json_get(old, "metadata"), system[i]);
    if (fake_api_has_status(a))
        keep_field(v, old, "status");
}

/* Only the content counts. */
static void count_generation(lh_json *v, const lh_json *old)
{
    lh_auto_json lh_json *was = lh_json_deep_copy(old), *is = lh_json_deep_copy(v);
    lh_json *meta = lh_json_mut(lh_json_get(v, "metadata"));

    lh_json_del(was, "metadata");
    lh_json_del(was, "status");
    lh_json_del(is, "metadata");
    lh_json_del(is, "status");
    if (!lh_json_equal(was, is))
        lh_json_set(meta, "generation",
                    lh_json_new_int(lh_json_get_int(meta, "generation", 0) + 1));
}

static size_t finalizers_of(const lh_json *v)
{
    return lh_json_len(lh_json_path(v, "metadata", "finalizers", NULL));
}

/* Who writes, as the query says it. */
static const char *manager_of(const struct ask *a, char out[128])
{
    return fake_api_query(a->req, "fieldManager", out, 128) ? out : "unknown";
}

void fake_api_store(struct fake_api *f, struct ask *a, struct object *o, lh_json *taken,
                    const char *manager)
{
    lh_auto_json lh_json *v = taken;
    bool deleting = lh_json_path(o->value, "metadata", "deletionTimestamp", NULL) != NULL;
    const char *bad;

    keep_system_fields(a, v, o->value);
    bad = bad_field(a->collection, v);
    if (!bad && deleting && finalizers_of(v) > finalizers_of(o->value))
        bad = "metadata.finalizers";
    if (bad) {
        invalid(a, bad);
        return;
    }
    if (lh_json_equal(v, o->value)) {
        answer_object(a, 200, v);
        return;
    }
    if (manager)
        fake_api_own_changes(o->owners, manager, o->value, v);
    count_generation(v, o->value);
    fake_api_replace(f, o, lh_json_ref(v));
    answer_object(a, 200, v);
    if (deleting && finalizers_of(v) == 0)
        fake_api_remove(f, o);
}

/* What the body says of an object must be so: "" for a field that it does not name. */
static bool differs(const lh_json *said, const struct object *o, const char *key)
{
    const char *z = lh_json_get_z(said, key);
    const char *is = lh_json_get_z(lh_json_get(o->value, "metadata"), key);

    return z && *z && strcmp(z, is) != 0;
}

bool fake_api_conflicts(struct ask *a, const struct object *o, const lh_json *said)
{
    if (!differs(said, o, "uid") && !differs(said, o, "resourceVersion"))
        return false;
    fake_api_answer_status(a, 409, "Conflict", "the object has been modified", "");
    return true;
}

void fake_api_create(struct fake_api *f, struct ask *a, lh_json *v, const char *manager,
                     lh_json *owners)
{
    struct object *o;
    lh_json *meta = lh_json_mut(lh_json_get(v, "metadata"));
    const char *name = lh_json_get_z(meta, "name"), *bad;
    const char *start = lh_json_get_z(meta, "generateName");
    char now[32], made[256];

    if (!name && start) {
        snprintf(made, sizeof(made), "%s%lld", start, (long long)f->uids + 1);
        lh_json_set(meta, "name", lh_json_new_z(made));
        name = lh_json_get_z(meta, "name");
    }
    if (!name) {
        invalid(a, "metadata.name");
        return;
    }
    if (fake_find(f, a->collection, ASK_NAMESPACE(a), name)) {
        fake_api_answer_status(a, 409, "AlreadyExists", "already exists", "");
        return;
    }
    if (ASK_NAMESPACE(a)[0])
        lh_json_set(meta, "namespace", lh_json_new_z(ASK_NAMESPACE(a)));
    bad = bad_field(a->collection, v);
    if (bad) {
        invalid(a, bad);
        return;
    }
    lh_json_del(meta, "uid");
    lh_json_set(meta, "creationTimestamp", lh_json_new_z(lh_clock_format(lh_clock_wall_ms(), now)));
    if (fake_api_has_status(a))
        lh_json_del(v, "status");
    o = fake_api_add(f, a->collection, lh_json_ref(v));
    lh_json_unref(o->owners);
    o->owners = owners ? lh_json_ref(owners) : need(lh_json_new_object());
    if (!owners)
        fake_api_own_changes(o->owners, manager, NULL, v);
    answer_object(a, 201, v);
}

static void update(struct fake_api *f, struct ask *a, struct object *o, lh_json *v)
{
    const lh_json *meta = lh_json_get(v, "metadata");
    char manager[128];

    if (!lh_json_get(meta, "resourceVersion"))
        invalid(a, "metadata.resourceVersion");
    else if (!fake_api_conflicts(a, o, meta))
        fake_api_store(f, a, o, lh_json_deep_copy(v), manager_of(a, manager));
}

/* RFC 7396. */
static void merge(lh_json *into, const lh_json *patch)
{
    void *it = NULL;
    struct lh_str key;
    const lh_json *value;

    while (lh_json_next(patch, &it, &key, &value)) {
        const lh_json *had = lh_json_getn(into, key);

        if (lh_json_type(value) == LH_JSON_NULL)
            lh_json_deln(into, key);
        else if (lh_json_type(value) == LH_JSON_OBJECT && lh_json_type(had) == LH_JSON_OBJECT)
            merge(lh_json_mut(had), value);
        else
            lh_json_setn(into, key, lh_json_deep_copy(value));
    }
}

static void json_patch(struct fake_api *f, struct ask *a, struct object *o, const lh_json *body)
{
    lh_json *v = NULL;
    struct lh_buf b;
    char manager[128];

    if (lh_jsonpatch_apply(o->value, body, &v, NULL) == 0) {
        fake_api_store(f, a, o, v, manager_of(a, manager));
        return;
    }
    /* As the real one says it: Invalid, and no causes. */
    lh_buf_init(&b, MAX_TEXT);
    lh_buf_put_z(&b, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\","
                     "\"message\":\"the server rejected our request due to an error in our "
                     "request\",\"reason\":\"Invalid\",\"details\":{},\"code\":422}");
    fake_api_answer(a, 422, &b);
}

static void patch(struct fake_api *f, struct ask *a, struct object *o, const lh_json *body)
{
    lh_json *v;
    char manager[128];

    if (lh_str_eqz(a->req->content_type, "application/json-patch+json")) {
        json_patch(f, a, o, body);
    } else if (lh_str_eqz(a->req->content_type, "application/merge-patch+json")) {
        if (fake_api_conflicts(a, o, lh_json_get(body, "metadata")))
            return;
        v = need(lh_json_deep_copy(o->value));
        merge(v, body);
        fake_api_store(f, a, o, v, manager_of(a, manager));
    } else {
        fake_api_answer_status(a, 415, "UnsupportedMediaType", "no such patch", "");
    }
}

static void delete (struct fake_api *f, struct ask *a, struct object *o, const lh_json *body)
{
    struct lh_buf b;
    lh_json *v;
    char now[32];

    if (fake_api_conflicts(a, o, lh_json_get(body, "preconditions")))
        return;
    if (finalizers_of(o->value) > 0) {
        if (!lh_json_path(o->value, "metadata", "deletionTimestamp", NULL)) {
            v = need(lh_json_deep_copy(o->value));
            lh_json_set(lh_json_mut(lh_json_get(v, "metadata")), "deletionTimestamp",
                        lh_json_new_z(lh_clock_format(lh_clock_wall_ms(), now)));
            fake_api_replace(f, o, v);
        }
        answer_object(a, 200, o->value);
        return;
    }
    fake_api_remove(f, o);
    lh_buf_init(&b, MAX_TEXT);
    lh_buf_put_z(&b, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Success\"}");
    fake_api_answer(a, 200, &b);
}

/* Somebody else was quicker. */
static void interfere(struct fake_api *f, struct object *o)
{
    lh_json *v, *meta;
    char text[16];

    if (f->interfere == 0)
        return;
    v = need(lh_json_deep_copy(o->value));
    meta = lh_json_mut(lh_json_get(v, "metadata"));
    if (!lh_json_get(meta, "annotations"))
        lh_json_set(meta, "annotations", lh_json_new_object());
    snprintf(text, sizeof(text), "%u", f->interfere--);
    lh_json_set(lh_json_mut(lh_json_get(meta, "annotations")), "interfered", lh_json_new_z(text));
    fake_api_replace(f, o, v);
}

static void write_object(struct fake_api *f, struct ask *a, lh_json *body)
{
    struct object *o = fake_find(f, a->collection, ASK_NAMESPACE(a), ASK_NAME(a));

    if (o)
        interfere(f, o);
    if (method_is(a, "PATCH") && lh_str_eqz(a->req->content_type, "application/apply-patch+yaml")) {
        fake_api_apply(f, a, o, body);
        return;
    }
    if (!o) {
        fake_api_answer_status(a, 404, "NotFound", "not found", "");
        return;
    }
    if (method_is(a, "PUT"))
        update(f, a, o, body);
    else if (method_is(a, "PATCH"))
        patch(f, a, o, body);
    else if (method_is(a, "DELETE"))
        delete (f, a, o, body);
    else
        fake_api_answer_status(a, 405, "MethodNotAllowed", "no such method", "");
}

void fake_api_write(struct fake_api *f, struct ask *a)
{
    lh_auto_json lh_json *body = NULL;
    char manager[128];

    if (a->req->body.n > 0 && lh_json_parse(a->req->body, NULL, &body, NULL) < 0)
        fake_api_answer_status(a, 400, "BadRequest", "the body is no JSON", "");
    else if (!body && !method_is(a, "DELETE"))
        fake_api_answer_status(a, 400, "BadRequest", "there is no body", "");
    else if (ASK_NAME(a)[0])
        write_object(f, a, body);
    else if (method_is(a, "POST"))
        fake_api_create(f, a, body, manager_of(a, manager), NULL);
    else
        fake_api_answer_status(a, 405, "MethodNotAllowed", "no such method", "");
}
