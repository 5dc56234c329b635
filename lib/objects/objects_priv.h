/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_OBJECTS_PRIV_H
#define LH_OBJECTS_PRIV_H

/* Objects by kind, namespace and name; where they come from is the business of files.c and
 * cluster.c. */
#include "leasehold/core/map.h"
#include "leasehold/core/vec.h"
#include "leasehold/objects/objects.h"

enum object_kind { OBJECT_STORE, OBJECT_PROJECTION, OBJECT_NAMESPACE, OBJECT_SECRET, OBJECT_OTHER };

struct object {
    enum object_kind kind;
    char *key;   /* as object_key makes it */
    char *where; /* file:line; NULL from the cluster */
    char *uid;
    int64_t generation;
    lh_json *raw; /* from files: all; from the cluster: a namespace's labels and annotations */
    struct lh_store *store;
    struct lh_projection *projection;
};

struct object_set {
    struct lh_map *map;
    struct lh_vec stores, projections; /* sorted pointers, made when asked for */
    bool sorted;
};

struct lh_objects {
    struct lh_loop *loop; /* NULL: read once */
    struct lh_objects_events ev;
    struct object_set set;
    bool synced, from_files;
    struct lh_store_lookup *lookups;
    struct object_files *files;
    struct object_cluster *cluster;
};

/* set.c */
/* Kind, namespace ("" for cluster scope) and name, in the order of sorting; owned, NULL: no memory.
 */
char *object_key(const char *kind, const char *namespace_, const char *name);
enum object_kind object_kind_of(const lh_json *obj);
/* A typed object, owned. where may be NULL. */
int object_new(const lh_json *obj, enum object_kind kind, const char *where, struct object **out,
               struct lh_err *err);
void object_free(struct object *o);
int object_set_init(struct object_set *s, struct lh_err *err);
void object_set_done(struct object_set *s);
struct object *object_set_get(const struct object_set *s, const char *key);
/* Takes o; *old (owned by the caller then) is what it replaces, or NULL. o stays the caller's on
 * failure. */
int object_set_put(struct object_set *s, struct object *o, struct object **old, struct lh_err *err);
struct object *object_set_remove(struct object_set *s, const char *key); /* owned by the caller */

/* objects.c */
void objects_tell(struct lh_objects *o, const struct object *obj, bool gone);
void objects_tell_synced(struct lh_objects *o);
void objects_tell_bad(struct lh_objects *o, const struct lh_err *err);

/* files.c, cluster.c */
void object_files_free(struct object_files *f);
void object_cluster_free(struct object_cluster *c);
struct lh_kube *object_cluster_kube(struct object_cluster *c);

#endif
