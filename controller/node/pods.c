/* SPDX-License-Identifier: Apache-2.0 */
#include "pods.h"

#include <string.h>

#include "leasehold/core/map.h"
#include "leasehold/core/mem.h"
#include "leasehold/kube/watch.h"

struct node_pods {
    struct lh_watch *watch;
    struct lh_map *uids;   /* "namespace/name" to uid */
    struct lh_map *by_uid; /* uid to itself in uids */
    void (*changed)(void *arg);
    void *arg;
};

static void drop(struct node_pods *p, const char *key)
{
    char *uid = lh_map_remove(p->uids, lh_str(key));

    if (!uid)
        return;
    lh_map_remove(p->by_uid, lh_str(uid));
    lh_free(uid);
}

static void keep(struct node_pods *p, const char *key, const lh_json *obj)
{
    const char *uid = lh_json_get_z(lh_json_get(obj, "metadata"), "uid");
    const char *old = lh_map_get(p->uids, lh_str(key));
    char *copy;

    if (!uid || (old && strcmp(old, uid) == 0))
        return;
    drop(p, key);
    copy = lh_strdup(uid);
    if (copy && lh_map_set(p->uids, lh_str(key), copy, NULL, NULL) == 0) {
        if (lh_map_set(p->by_uid, lh_str(copy), copy, NULL, NULL) == 0)
            return;
        lh_map_remove(p->uids, lh_str(key));
    }
    /* A Pod that is not remembered would count as gone. */
    lh_free(copy);
    lh_watch_resync(p->watch);
}

static void on_event(void *arg, enum lh_watch_event ev, const char *key, const lh_json *obj)
{
    struct node_pods *p = arg;

    if (ev == LH_WATCH_UPSERT) {
        keep(p, key, obj);
        return;
    }
    if (ev == LH_WATCH_DELETE)
        drop(p, key);
    p->changed(p->arg);
}

int node_pods_new(struct lh_kube *k, const char *node, void (*changed)(void *arg), void *arg,
                  struct node_pods **out, struct lh_err *err)
{
    lh_auto_free char *selector = lh_asprintf("spec.nodeName=%s", node);
    const struct lh_watch_options o = {.res = {.group = "", .version = "v1", .resource = "pods"},
                                       .field_selector = selector,
                                       .metadata_only = true};
    struct node_pods *p = lh_calloc(1, sizeof(*p));
    int rc;

    if (!p || !selector) {
        lh_free(p);
        return lh_err_nomem(err);
    }
    p->changed = changed;
    p->arg = arg;
    rc = lh_map_new(&p->uids, err);
    if (rc == 0)
        rc = lh_map_new(&p->by_uid, err);
    if (rc == 0)
        rc = lh_watch_start(k, &o, on_event, p, &p->watch, err);
    if (rc < 0) {
        node_pods_free(p);
        return rc;
    }
    *out = p;
    return 0;
}

void node_pods_free(struct node_pods *p)
{
    if (!p)
        return;
    lh_watch_stop(p->watch);
    lh_map_free(p->by_uid, NULL);
    lh_map_free(p->uids, lh_free);
    lh_free(p);
}

bool node_pods_is_synced(const struct node_pods *p)
{
    return p && lh_watch_is_synced(p->watch);
}

bool node_pods_has(const struct node_pods *p, const char *uid)
{
    return lh_map_get(p->by_uid, lh_str(uid)) != NULL;
}
