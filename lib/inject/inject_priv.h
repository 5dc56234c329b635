/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_INJECT_PRIV_H
#define LEASEHOLD_INJECT_PRIV_H

#include "leasehold/api/annotations.h"
#include "leasehold/inject/inject.h"

#define MIB          (INT64_C(1024) * 1024)
#define SIZE_DEFAULT (4 * MIB)
#define SIZE_LEAST   (64 * INT64_C(1024))
#define MEMORY_ABOVE (24 * MIB) /* what the agent and its probes may use beside the volume */
#define MEMORY_LEAST (16 * MIB)
#define MEMORY_ASKED (8 * MIB)

/* problem.c */
void problem_add(struct lh_problems *ps, const char *where, const char *reason, bool deny,
                 const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* What a lower layer said about where; its own reason word wins over def. */
void problem_add_err(struct lh_problems *ps, const char *where, const char *def, bool of_store,
                     const struct lh_err *err);
/* The text in b; a failure is noted, so that no sentence with a hole gets out. */
const char *problem_buf(struct lh_problems *ps, const struct lh_buf *b);
void problem_mark_store(struct lh_problems *ps); /* the last one is of the store */
/* "leasehold.dev/secret.db" in buf. */
const char *where_of(enum lh_annotation_id id, const char *name, char buf[128]);

/* pod.c: what a Pod's spec says. Array members that are no objects are skipped by all of these. */
bool is_mesh(const char *name);
/* A mesh's proxy that runs as native sidecar. */
bool is_mesh_sidecar(const lh_json *container);
/* Index in spec[list] by name; -1: none. */
int index_of(const lh_json *list, const char *name);
/* -1: not said. */
int64_t uid_of(const lh_json *spec, const lh_json *container);
int64_t gid_of(const lh_json *spec, const lh_json *container);
bool is_guaranteed(const lh_json *spec);
const char *service_account_of(const lh_json *spec);
/* Where the agent stands among the init containers that are not ours. */
size_t agent_position(const lh_json *spec, const char *after);

/* A container that gets the files. */
struct target {
    const char *list; /* "initContainers" or "containers" */
    size_t index;
    const lh_json *container;
    const char *name;
};
typedef void (*target_fn)(void *arg, const struct target *t);
/* Every container that is chosen and comes after the agent, in the Pod's order, plain ones first.
 */
void each_target(const lh_json *spec, char *const *chosen, const char *after, target_fn fn,
                 void *arg);
/* Every container that is chosen, wherever it stands: volumes are there before any of them. */
void each_chosen(const lh_json *spec, char *const *chosen, target_fn fn, void *arg);

struct identity {
    bool any;         /* is there a target at all? */
    int64_t uid, gid; /* of the first target; -1: not said */
    bool one_uid;     /* all targets have the first one's, and it is said */
    bool fs_group;
    int64_t agent_uid, agent_gid; /* to be written; -1: left to Pod and image */
    bool shared_uid;              /* agent and all targets run as one uid */
};
void identity_of(const lh_json *spec, char *const *chosen, const char *after, struct identity *out);

/* read.c: annotations to a draft; no store, no Pod. */
struct draft {
    const struct lh_inject_world *world;
    struct lh_problems *problems;
    struct lh_projection *projection;
    struct lh_notify_spec notify;
    enum lh_agent_mode mode;
    bool off, on, any_ours, nomem;
    bool store_given, store_cluster_scoped, store_any_kind;
    char *store, *mount_path, *after, *role, *image;
    char **containers, **projections;
    int64_t cpu_milli, memory_bytes, size_bytes, start_timeout_ms; /* 0: not given */
    int metrics_port;                                              /* -1: not given */
    size_t n_secrets, n_projections; /* annotations that ask for some */
};
void draft_done(struct draft *d);
void draft_read(struct draft *d, const lh_json *annotations);

/* read_values.c: one annotation's value into the draft. */
typedef void (*value_fn)(struct draft *d, const char *name, const char *value, const char *where);
value_fn value_reader(enum lh_annotation_id id);
struct lh_item *draft_item(struct draft *d, const char *name);

/* choose.c: NULL and a problem when there is none. Borrowed. */
struct lh_store *store_choose(const struct draft *d, const struct lh_namespace *ns);
/* Everything that store and platform have to say. */
void store_judge(const struct draft *d, const struct lh_store *s, const struct lh_namespace *ns,
                 const struct lh_subject *who);

/* shape.c: what is to be there. NULL: no memory. */
lh_json *shape_agent(const struct lh_inject_plan *p, const lh_json *spec, const char *config);
/* [{...}] in order. */
lh_json *shape_volumes(const struct lh_inject_plan *p);
lh_json *shape_mount(const struct lh_inject_plan *p);
/* volumes.c: SecretProjections as volumes. */
void volumes_check(const struct lh_inject_plan *p, const struct lh_pod_at *pod,
                   struct lh_problems *problems);
int volumes_push(const struct lh_inject_plan *p, lh_json *volumes);
/* The i-th one's mount; target: in whose container. */
lh_json *volumes_mount(const struct lh_inject_plan *p, size_t i);
/* Mounts of the agent that only make the folders on which the application's are put: in its own
 * container the files' volume is read-only. */
int volumes_push_places(const struct lh_inject_plan *p, lh_json *mounts);

/* hook.c: the volume of on-change's program. */
void hook_check(const struct lh_inject_plan *p, const lh_json *spec, struct lh_problems *problems);
int hook_push_mount(const struct lh_inject_plan *p, const lh_json *spec, lh_json *mounts);

/* Is want in have: every member of want with its value; lists of things with a name (or mountPath)
 * by that, others element by element. */
bool shape_holds(const lh_json *have, const lh_json *want);

/* Builders: -1 when memory is out; value is consumed. */
int put(lh_json *obj, const char *key, lh_json *value);
int put_z(lh_json *obj, const char *key, const char *value);
int put_int(lh_json *obj, const char *key, int64_t value);
int put_bool(lh_json *obj, const char *key, bool value);

#endif
