/* SPDX-License-Identifier: Apache-2.0 */
#include "watch_priv.h"

#include <string.h>

#include "leasehold/core/mem.h"

/* What is known of an object: enough to tell its successor from itself, and to miss it. */
struct watch_known {
    uint64_t epoch;
    char uid[]; /* "": it has none */
};

const struct lh_metric watch_metrics[] = {
    [WATCH_M_LISTS] = {.name = "leasehold_watch_lists_total",
                       .help = "Whole states read from the Kubernetes API server, by resource.",
                       .type = LH_METRIC_COUNTER,
                       .labels = {"resource"},
                       .max_series = 32},
    [WATCH_M_RESTARTS] = {.name = "leasehold_watch_restarts_total",
                          .help = "Watches that ended other than by the server's time limit.",
                          .type = LH_METRIC_COUNTER,
                          .labels = {"resource"},
                          .max_series = 32},
    [WATCH_M_SKIPPED] = {.name = "leasehold_watch_objects_skipped_total",
                         .help = "Objects that were too large or malformed, and were left out.",
                         .type = LH_METRIC_COUNTER,
                         .labels = {"resource"},
                         .max_series = 32},
    {0},
};

void watch_count(const struct lh_watch *w, int metric)
{
    lh_metric_add(&watch_metrics[metric], 1, LH_LABELS(w->resource));
}

int watch_set_text(char **field, const char *z, struct lh_err *err)
{
    char *copy = z ? lh_strdup(z) : NULL;

    if (z && !copy)
        return lh_err_nomem(err);
    lh_free(*field);
    *field = copy;
    return 0;
}

void watch_forget_all(struct lh_watch *w)
{
    lh_map_free(w->known, lh_free);
    w->known = NULL;
}

static void tell(struct lh_watch *w, enum lh_watch_event ev, const char *key, const lh_json *obj)
{
    w->busy++;
    w->fn(w->arg, ev, key, obj);
    w->busy--;
}

/* "namespace/name" or "name", owned; NULL if obj has no name. */
static int key_of(const lh_json *obj, char **out, struct lh_err *err)
{
    const lh_json *meta = lh_json_get(obj, "metadata");
    const char *ns = lh_json_get_z(meta, "namespace"), *name = lh_json_get_z(meta, "name");

    if (!name || !*name)
        return 0;
    *out = ns && *ns ? lh_asprintf("%s/%s", ns, name) : lh_strdup(name);
    return *out ? 0 : lh_err_nomem(err);
}

static int add_known(struct lh_watch *w, const char *key, const char *uid, struct lh_err *err)
{
    size_t n = strlen(uid ? uid : "") + 1;
    struct watch_known *known = lh_calloc(1, sizeof(*known) + n);
    int rc;

    if (!known)
        return lh_err_nomem(err);
    known->epoch = w->epoch;
    memcpy(known->uid, uid ? uid : "", n);
    rc = lh_map_set(w->known, lh_str(key), known, NULL, err);
    if (rc < 0)
        lh_free(known);
    return rc;
}

static bool same_uid(const struct watch_known *known, const char *uid)
{
    return !*known->uid || !uid || strcmp(known->uid, uid) == 0;
}

/* The object exists under this key; one that had the name before it is gone. */
static int mark(struct lh_watch *w, const char *key, const char *uid, struct lh_err *err)
{
    struct watch_known *known = lh_map_get(w->known, lh_str(key));

    if (known && !same_uid(known, uid)) {
        lh_free(lh_map_remove(w->known, lh_str(key)));
        known = NULL;
        tell(w, LH_WATCH_DELETE, key, NULL);
        if (w->stopped)
            return 0;
    }
    if (!known)
        return add_known(w, key, uid, err);
    known->epoch = w->epoch;
    return 0;
}

static int upsert(struct lh_watch *w, const lh_json *obj, struct lh_err *err)
{
    const char *uid = lh_json_get_z(lh_json_get(obj, "metadata"), "uid");
    lh_auto_free char *key = NULL;
    int rc = key_of(obj, &key, err);

    if (rc < 0 || !key)
        return rc;
    rc = mark(w, key, uid, err);
    if (rc == 0 && !w->stopped)
        tell(w, LH_WATCH_UPSERT, key, obj);
    return rc;
}

static void forget(struct lh_watch *w, const char *key, const lh_json *obj)
{
    struct watch_known *known = lh_map_remove(w->known, lh_str(key));

    if (!known)
        return;
    lh_free(known);
    tell(w, LH_WATCH_DELETE, key, obj);
}

static int drop(struct lh_watch *w, const lh_json *obj, struct lh_err *err)
{
    lh_auto_free char *key = NULL;
    int rc = key_of(obj, &key, err);

    if (rc == 0 && key)
        forget(w, key, obj);
    return rc;
}

void watch_state_complete(struct lh_watch *w)
{
    struct lh_str key;
    void *value;
    size_t it = 0;

    watch_count(w, WATCH_M_LISTS);
    /* An object without a name may be any that misses: all of them stay. */
    while (!w->epoch_skipped && lh_map_next(w->known, &it, &key, &value)) {
        struct watch_known *known = value;

        if (known->epoch == w->epoch)
            continue;
        /* The key is the map's own. */
        tell(w, LH_WATCH_DELETE, key.p, NULL);
        lh_map_remove(w->known, key);
        lh_free(known);
        if (w->stopped)
            return;
    }
    w->synced = true;
    tell(w, LH_WATCH_SYNCED, NULL, NULL);
}

/* What is too large or malformed is known by its name at least. */
static int skip(struct lh_watch *w, struct lh_str text, struct lh_err *err)
{
    bool is_event = w->state != WATCH_LISTING;
    lh_auto_free char *key = NULL, *uid = NULL;
    struct watch_meta meta;
    int rc;

    watch_count(w, WATCH_M_SKIPPED);
    watch_meta_scan(text, is_event, &meta);
    if (meta.name.n == 0) {
        w->epoch_skipped = true;
        tell(w, LH_WATCH_SKIPPED, NULL, NULL);
        return 0;
    }
    key = meta.namespace_.n > 0 ? lh_asprintf("%.*s/%.*s", (int)meta.namespace_.n,
                                              meta.namespace_.p, (int)meta.name.n, meta.name.p)
                                : lh_str_dup(meta.name);
    uid = meta.uid.n > 0 ? lh_str_dup(meta.uid) : NULL;
    if (!key || (meta.uid.n > 0 && !uid))
        return lh_err_nomem(err);
    if (is_event && lh_str_eqz(meta.type, "DELETED")) {
        forget(w, key, NULL);
        return 0;
    }
    rc = mark(w, key, uid, err);
    if (rc == 0 && !w->stopped)
        tell(w, LH_WATCH_SKIPPED, key, NULL);
    return rc;
}

/* Managed fields are half of an object and of no use to anybody here: they are not even parsed. */
static struct lh_str plain(struct lh_watch *w, struct lh_str text)
{
    struct watch_meta meta;

    if (!memmem(text.p, text.n, "\"managedFields\"", 15))
        return text;
    watch_meta_scan(text, w->state != WATCH_LISTING, &meta);
    if (meta.managed_fields.n == 0)
        return text;
    lh_buf_reset(&w->plain);
    watch_put_plain(&w->plain, text, meta.managed_fields);
    /* Without memory for a copy the long way will do. */
    return w->plain.failed ? text : lh_buf_peek(&w->plain);
}

/* NULL in *out and 0: it was skipped. */
static int parse(struct lh_watch *w, enum lh_split_what what, struct lh_str text, lh_json **out,
                 struct lh_err *err)
{
    const struct lh_json_limits limits = {.max_bytes = w->max_object};
    struct lh_str less = what == LH_SPLIT_OBJECT ? plain(w, text) : text;
    int rc = lh_json_parse(less, &limits, out, err);

    /* A large object must not pin its memory until the next large one. */
    if (w->plain.room > 65536) {
        lh_buf_done(&w->plain);
        lh_buf_init(&w->plain, w->max_object);
    }
    if (rc == 0 || rc == -LH_E_NOMEM || what == LH_SPLIT_ENVELOPE)
        return rc;
    return skip(w, text, err);
}

static bool ends_initial_events(const lh_json *obj)
{
    const char *v = lh_json_get_z(lh_json_path(obj, "metadata", "annotations", NULL),
                                  "k8s.io/initial-events-end");

    return v && strcmp(v, "true") == 0;
}

/* Resource versions are decimal numbers (KEP-5504); of what is none nothing is said. */
static bool is_newer(const char *rv, const char *than)
{
    size_t n = strlen(rv), m = strlen(than);

    if (strspn(rv, "0123456789") != n || strspn(than, "0123456789") != m || *rv == '0')
        return true;
    return n != m ? n > m : strcmp(rv, than) > 0;
}

bool lh_watch_has_seen(const struct lh_watch *w, const char *resource_version)
{
    return w->synced && w->rv &&
           (strcmp(w->rv, resource_version) == 0 || is_newer(w->rv, resource_version));
}

static const char *version_of(const lh_json *obj)
{
    const char *rv = lh_json_get_z(lh_json_get(obj, "metadata"), "resourceVersion");

    return rv && *rv ? rv : NULL;
}

/* A stream only goes forward: what is older than where we are was told before, and may be no longer
 * so. */
static bool is_old(const struct lh_watch *w, const lh_json *obj)
{
    const char *rv = version_of(obj);

    return w->state == WATCH_FOLLOWING && rv && w->rv && !is_newer(rv, w->rv);
}

/* Events of a whole state that is not complete are no point to resume from. */
static int remember_version(struct lh_watch *w, const lh_json *obj, struct lh_err *err)
{
    const char *rv = version_of(obj);

    if (w->state != WATCH_FOLLOWING || !rv)
        return 0;
    return watch_set_text(&w->rv, rv, err);
}

static int bookmark(struct lh_watch *w, const lh_json *obj, struct lh_err *err)
{
    int rc;

    w->got_bookmark = true;
    if (w->state != WATCH_INITIAL || !ends_initial_events(obj))
        return is_old(w, obj) ? 0 : remember_version(w, obj, err);
    w->state = WATCH_FOLLOWING;
    rc = remember_version(w, obj, err);
    if (rc < 0)
        return rc;
    w->want_list = w->lost = false;
    w->initial_failures = 0;
    watch_state_complete(w);
    return 0;
}

static int event(struct lh_watch *w, const lh_json *ev, struct lh_err *err)
{
    const char *type = lh_json_get_z(ev, "type");
    const lh_json *obj = lh_json_get(ev, "object");
    int rc;

    if (!type)
        return lh_err_set(err, LH_E_INVALID, "watch of %s: an event has no type", w->resource);
    if (strcmp(type, "ERROR") == 0)
        return kube_status_object(w->resource, obj, err);
    w->got_event = true;
    w->server_errors_since = 0;
    w->trouble[0] = '\0';
    if (strcmp(type, "BOOKMARK") == 0)
        return bookmark(w, obj, err);
    if (is_old(w, obj))
        return 0;
    rc = 0;
    if (strcmp(type, "ADDED") == 0 || strcmp(type, "MODIFIED") == 0)
        rc = upsert(w, obj, err);
    else if (strcmp(type, "DELETED") == 0)
        rc = drop(w, obj, err);
    if (rc < 0 || w->stopped)
        return rc;
    return remember_version(w, obj, err);
}

static int envelope(struct lh_watch *w, const lh_json *list, struct lh_err *err)
{
    const lh_json *meta = lh_json_get(list, "metadata");
    const char *next = lh_json_get_z(meta, "continue");
    const char *rv = lh_json_get_z(meta, "resourceVersion");
    int rc;

    if (!rv)
        return lh_err_set(err, LH_E_INVALID, "list of %s: no resource version", w->resource);
    rc = watch_set_text(&w->page_rv, rv, err);
    if (rc == 0)
        rc = watch_set_text(&w->page, next && *next ? next : NULL, err);
    return rc;
}

int watch_emit(void *arg, enum lh_split_what what, struct lh_str text, struct lh_err *err)
{
    struct lh_watch *w = arg;
    lh_auto_json lh_json *v = NULL;
    int rc = 0;

    if (what == LH_SPLIT_SKIPPED)
        rc = skip(w, text, err);
    else
        rc = parse(w, what, text, &v, err);
    if (rc < 0)
        return rc;
    if (v && !w->stopped) {
        if (what == LH_SPLIT_ENVELOPE)
            rc = envelope(w, v, err);
        else if (w->state == WATCH_LISTING)
            rc = upsert(w, v, err);
        else
            rc = event(w, v, err);
    }
    if (rc < 0)
        return rc;
    /* After a stop nothing more is to be read: leave by the quickest way. */
    if (w->stopped)
        return lh_err_set(err, LH_E_GONE, "stopped");
    return lh_clock_now() - w->turn_started >= WATCH_TURN_MS;
}
