/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server-side apply, as far as our own kinds and Secrets need it: objects are merged by key, lists
 * and scalars are single fields. A field is called by its RFC 6901 pointer.
 */
#include "fake_api_priv.h"

#include "leasehold/codec/jsonpatch.h"

enum { MAX_POINTER = 2048 };

/* Who a field belongs to is not asked of what names the object. */
static bool is_identity(const char *pointer)
{
    static const char *const names[] = {"/apiVersion",          "/kind",
                                        "/metadata/name",       "/metadata/namespace",
                                        "/metadata/uid",        "/metadata/resourceVersion",
                                        "/metadata/generation", "/metadata/creationTimestamp"};

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (strcmp(pointer, names[i]) == 0)
            return true;
    }
    return false;
}

typedef void (*leaf_fn)(void *arg, const char *pointer, const lh_json *v);

static void each_leaf(const lh_json *v, const char *at, leaf_fn fn, void *arg)
{
    void *it = NULL;
    struct lh_str key;
    const lh_json *value;

    if (lh_json_type(v) != LH_JSON_OBJECT || lh_json_len(v) == 0) {
        if (!is_identity(at))
            fn(arg, at, v);
        return;
    }
    while (lh_json_next(v, &it, &key, &value)) {
        struct lh_buf b;

        lh_buf_init(&b, MAX_POINTER);
        lh_buf_put_z(&b, at);
        lh_buf_put_c(&b, '/');
        lh_jsonpatch_escape(&b, key);
        each_leaf(value, lh_buf_peek(&b).p, fn, arg);
        lh_buf_done(&b);
    }
}

/* One segment of a pointer, decoded; what is behind it. */
static const char *segment(const char *p, char out[MAX_POINTER])
{
    size_t n = 0;

    for (p++; *p && *p != '/'; p++) {
        if (*p == '~')
            out[n++] = *++p == '1' ? '/' : '~';
        else
            out[n++] = *p;
    }
    out[n] = '\0';
    return p;
}

static const lh_json *look_up(const lh_json *v, const char *pointer)
{
    char key[MAX_POINTER];

    while (v && *pointer) {
        pointer = segment(pointer, key);
        v = lh_json_get(v, key);
    }
    return v;
}

/* value NULL: the field goes, and objects that are empty by that. */
static void set_field(lh_json *v, const char *pointer, const lh_json *value)
{
    char key[MAX_POINTER];
    lh_json *child;

    pointer = segment(pointer, key);
    if (!*pointer) {
        if (value)
            lh_json_set(v, key, lh_json_deep_copy(value));
        else
            lh_json_del(v, key);
        return;
    }
    child = lh_json_mut(lh_json_get(v, key));
    if (lh_json_type(child) != LH_JSON_OBJECT) {
        if (!value)
            return;
        lh_json_set(v, key, lh_json_new_object());
        child = lh_json_mut(lh_json_get(v, key));
    }
    set_field(child, pointer, value);
    if (!value && lh_json_len(child) == 0)
        lh_json_del(v, key);
}

static lh_json *fields_of(lh_json *owners, const char *manager)
{
    if (!lh_json_get(owners, manager))
        lh_json_set(owners, manager, need(lh_json_new_object()));
    return lh_json_mut(lh_json_get(owners, manager));
}

/* Whether anybody but manager owns the field; takes it from them, if so wanted. */
static bool others_own(lh_json *owners, const char *manager, const char *pointer, bool take)
{
    void *it = NULL;
    struct lh_str who;
    const lh_json *fields;
    bool owned = false;

    while (lh_json_next(owners, &it, &who, &fields)) {
        if (lh_str_eqz(who, manager) || !lh_json_get(fields, pointer))
            continue;
        owned = true;
        if (take)
            lh_json_del(lh_json_mut(fields), pointer);
    }
    return owned;
}

struct change {
    lh_json *owners;
    const char *manager;
    const lh_json *old;
};

static void own_change(void *arg, const char *pointer, const lh_json *v)
{
    const struct change *c = arg;
    const lh_json *had = look_up(c->old, pointer);

    if (had && lh_json_equal(had, v))
        return;
    others_own(c->owners, c->manager, pointer, true);
    lh_json_set(fields_of(c->owners, c->manager), pointer, lh_json_new_bool(true));
}

void fake_api_own_changes(lh_json *owners, const char *manager, const lh_json *old,
                          const lh_json *v)
{
    struct change c = {owners, manager, old};

    each_leaf(v, "", own_change, &c);
}

struct applying {
    const struct ask *a;
    lh_json *v, *owners, *wanted;
    const char *manager;
    bool force, status, conflict;
};

static void apply_field(void *arg, const char *pointer, const lh_json *value)
{
    struct applying *p = arg;
    const lh_json *has = look_up(p->v, pointer);
    bool of_status = strcmp(pointer, "/status") == 0 || strncmp(pointer, "/status/", 8) == 0;

    if (fake_api_has_status(p->a) && of_status != p->status)
        return;
    if ((!has || !lh_json_equal(has, value)) &&
        others_own(p->owners, p->manager, pointer, p->force)) {
        p->conflict |= !p->force;
    }
    set_field(p->v, pointer, value);
    lh_json_set(p->wanted, pointer, lh_json_new_bool(true));
}

/* What this manager applied before and no longer does goes, unless it is somebody else's too. */
static void drop_unwanted(struct applying *p)
{
    const lh_json *had = lh_json_get(p->owners, p->manager), *value;
    void *it = NULL;
    struct lh_str pointer;

    while (lh_json_next(had, &it, &pointer, &value)) {
        bool of_status = lh_str_starts(pointer, LH_STR("/status/"));

        if (lh_json_getn(p->wanted, pointer))
            continue;
        if (fake_api_has_status(p->a) && of_status != p->status)
            lh_json_setn(p->wanted, pointer, lh_json_new_bool(true));
        else if (!others_own(p->owners, p->manager, pointer.p, false))
            set_field(p->v, pointer.p, NULL);
    }
}

/* The real one finds it wrong, and does not call it a conflict. */
static bool is_other_uid(struct ask *a, const struct object *o, const lh_json *meta)
{
    const char *said = lh_json_get_z(meta, "uid");
    struct lh_buf b;

    if (!said || strcmp(said, lh_json_get_z(lh_json_get(o->value, "metadata"), "uid")) == 0)
        return false;
    lh_buf_init(&b, MAX_TEXT);
    lh_buf_put_z(&b, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\","
                     "\"reason\":\"Invalid\",\"code\":422,\"details\":{\"causes\":[{\"reason\":"
                     "\"FieldValueInvalid\",\"field\":\"metadata.uid\"}]}}");
    fake_api_answer(a, 422, &b);
    return true;
}

void fake_api_apply(struct fake_api *f, struct ask *a, struct object *o, const lh_json *config)
{
    const lh_json *meta = lh_json_get(config, "metadata");
    char manager[128], force[8];
    lh_auto_json lh_json *owners = NULL, *v = NULL;
    struct applying p = {.a = a, .manager = manager, .status = strcmp(ASK_SUB(a), "status") == 0};

    if (!fake_api_query(a->req, "fieldManager", manager, sizeof(manager))) {
        fake_api_answer_status(a, 400, "BadRequest", "PatchOptions.fieldManager is required", "");
        return;
    }
    /* A version alone keeps nothing from being made: tried on 1.36. */
    if (!o && (lh_json_get(meta, "uid") || p.status)) {
        fake_api_answer_status(a, lh_json_get(meta, "uid") ? 409 : 404, "NotFound", "not found",
                               "");
        return;
    }
    if (o && is_other_uid(a, o, meta))
        return;
    if (o && fake_api_conflicts(a, o, meta))
        return;
    owners = need(o ? lh_json_deep_copy(o->owners) : lh_json_new_object());
    v = need(lh_json_deep_copy(o ? o->value : config));
    p.v = v;
    p.owners = owners;
    p.wanted = need(lh_json_new_object());
    p.force = fake_api_query(a->req, "force", force, sizeof(force)) && strcmp(force, "true") == 0;
    each_leaf(config, "", apply_field, &p);
    drop_unwanted(&p);
    lh_json_set(owners, manager, p.wanted);
    if (p.conflict) {
        fake_api_answer_status(a, 409, "Conflict", "Apply failed with 1 conflict",
                               "FieldManagerConflict");
    } else if (o) {
        lh_json_unref(o->owners);
        o->owners = lh_json_ref(owners);
        fake_api_store(f, a, o, lh_json_ref(v), NULL);
    } else {
        fake_api_create(f, a, v, manager, owners);
    }
}
