/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_OBJECTS_OBJECTS_H
#define LEASEHOLD_OBJECTS_OBJECTS_H

/*
 * Stores, projections and namespaces appeared, changed, went: one interface over YAML files and
 * over the API server's watch. Keeps typed objects; a bad object is reported once and its last good
 * state is dropped.
 */
#include "leasehold/api/allow.h"
#include "leasehold/api/projection.h"
#include "leasehold/api/store.h"
#include "leasehold/core/loop.h"
#include "leasehold/core/secret.h"

struct lh_kube;
struct lh_objects;

struct lh_objects_events {
    /* All optional. Objects are borrowed until return (ref a store to keep it). gone: true when it
     * was deleted. */
    void (*store)(void *arg, struct lh_store *s, bool gone);
    void (*projection)(void *arg, const struct lh_projection *p, bool gone);
    /* From the cluster, once all is known: its labels or annotations are others now. */
    void (*namespace_)(void *arg, const char *name);
    void (*synced)(void *arg); /* once, after the first whole state */
    void (*bad)(void *arg, const struct lh_err *err);
    void *arg;
};

/* path: a file or a folder of *.yaml, *.yml, *.json; read before return: the first bad object is
 * the error. Other kinds than SecretStore, ClusterSecretStore, SecretProjection, Namespace, Secret
 * (for secret references) are ignored. With a loop the folder is watched and events follow; loop
 * NULL: read once. */
int lh_objects_from_files(struct lh_loop *loop, const char *path,
                          const struct lh_objects_events *ev, struct lh_objects **out,
                          struct lh_err *err);
/* what: which kinds are watched. */
enum { LH_WATCH_STORES = 1, LH_WATCH_NAMESPACES = 2, LH_WATCH_PROJECTIONS = 4 };
int lh_objects_from_cluster(struct lh_kube *kube, unsigned what, const struct lh_objects_events *ev,
                            struct lh_objects **out, struct lh_err *err);
void lh_objects_free(struct lh_objects *o);

bool lh_objects_synced(const struct lh_objects *o);
/* Borrowed until the next turn of the loop; NULL if unknown. namespace_ is ignored for cluster
 * scope. */
struct lh_store *lh_objects_store(const struct lh_objects *o, bool cluster_scoped,
                                  const char *namespace_, const char *name);
/* All stores, sorted by kind, namespace, name: a borrowed array of n. */
struct lh_store *const *lh_objects_stores(const struct lh_objects *o, size_t *n);
const struct lh_projection *const *lh_objects_projections(const struct lh_objects *o, size_t *n);
/* Labels and annotations; from files an unknown namespace has none (and is found), from the cluster
 * false if unknown. */
bool lh_objects_namespace(const struct lh_objects *o, const char *name, struct lh_namespace *out);
/* Files only: one key of a Secret object, decoded; owned. LH_E_NOTFOUND names object and key. */
int lh_objects_secret(const struct lh_objects *o, const char *namespace_, const char *name,
                      const char *key, struct lh_secret **out, struct lh_err *err);

/* Cluster: a store that is not there yet is asked for once; done after at most timeout_ms. s NULL:
 * not there. */
typedef void (*lh_store_found_fn)(void *arg, struct lh_store *s);
struct lh_store_lookup;
int lh_objects_lookup_store(struct lh_objects *o, bool cluster_scoped, const char *namespace_,
                            const char *name, unsigned timeout_ms, lh_store_found_fn done,
                            void *arg, struct lh_store_lookup **out, struct lh_err *err);
void lh_store_lookup_cancel(struct lh_store_lookup *l);

#endif
