/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_CLUSTER_COPY_H
#define LEASEHOLD_CONTROLLER_CLUSTER_COPY_H

/*
 * One SecretProjection and what is made of it: an engine that logs in as its ServiceAccount, a
 * Kubernetes Secret, a status. Level-triggered: whatever happens puts its key into the queue, and a
 * step does the first thing that is to be done; while a request to the API server is under way the
 * key counts as worked on, so that there is one at most. Nothing of a value is kept after it was
 * written but a keyed hash per file.
 */
#include "copies.h"
#include "leasehold/engine/engine.h"
#include "leasehold/kube/apply.h"
#include "leasehold/providers/provider.h"
#include "ledger.h"
#include "restarts.h"
#include "secret_plan.h"
#include "status_plan.h"
#include "store_health.h"

#define COPY_MANAGER   "leasehold-controller" /* field manager */
#define COPY_FINALIZER "leasehold.dev/revocation"

enum { COPY_HASH_LEN = 16 };

struct copy_file {
    const char *path;
    uint8_t hash[COPY_HASH_LEN];
};

struct copy_files { /* one block, owned, paths included */
    struct copy_file *v;
    size_t n;
};

/* A spec as it was read, shared by the copy and the engines that were made from it. */
struct copy_spec {
    unsigned refs;
    struct lh_projection *p; /* without its kubernetesSecret, of which there are thousands */
    char *secret;            /* that, as text; NULL: no copy is asked for */
    char *secret_name;       /* NULL: none, or none is named */
};

/* An engine and what it borrows. */
struct copy_slot {
    struct copy *c;
    struct lh_engine *engine; /* NULL: parked, or it has ended so */
    struct lh_parked *parked;
    struct lh_timer *due; /* of what is parked */
    uint8_t looks;        /* times in a row that it could not be parked */
    struct copy_spec *spec;
    struct lh_store *store;
    lh_json *namespace_labels;
    struct lh_token_source *source; /* NULL: the login is shared */
    struct ledger_owner owner;
    struct lh_sink sink;
    bool ready, released, ending, ended;
};

/* A Secret that carries our label, as the watch tells it: metadata only. */
struct copy_secret {
    const char *key, *uid, *version, *owner; /* owner: uid of the projection, by the label */
    bool intact;                             /* label and owner reference both say so */
    bool let_go;                             /* by a drain: the watch is behind */
    char text[];                             /* what the others point into */
};

struct copy_workloads { /* strings owned, reason static */
    enum condition_status status;
    const char *reason;
    char *message;
};

struct copy {
    struct copies *set;
    char *key, *uid; /* key: namespace/name; the queue knows it by its uid */
    const char *name;
    char *namespace_;
    int64_t generation;
    struct copy_spec *spec; /* NULL: not valid */
    char *status;           /* as it is in the API, as text; NULL: none */
    char *force;            /* the annotation; NULL: none */
    bool gone, deleting, finalizer, served;

    /* What is to be looked at. */
    bool forcing; /* the annotation changed */
    bool edited;  /* spec or store may be another */
    bool waiting; /* an engine has something to publish */
    bool suspect; /* somebody else may have changed the Secret */
    bool retry, working, armed;
    bool may_delete, asked_delete; /* the breaker was asked, and lets it */
    lh_ms at;                      /* when to look again by itself */

    enum { TURN_NONE, TURN_WAITED_FOR, TURN_TAKEN } turn;
    lh_ms turn_since;
    struct copy *prev_turn, *next_turn;

    struct copy_slot *cur, *old;
    lh_ms old_until; /* when the replaced engine is ended; 0: not decided */

    /* The Secret. */
    char *stale;                                     /* one of ours under another name; NULL */
    char *secret_name, *secret_uid, *secret_version; /* as written or found; NULL: not yet */
    struct copy_files written, writing;
    bool proven; /* the Secret is known to hold what `written` says */
    bool wrote, taken, deleted;
    bool tell;        /* a write failed, which the status does not say yet */
    bool absent;      /* it was just looked for, and is not there; only until it is written */
    bool again;       /* the answer to the request under way: publish once more */
    lh_json *current; /* as just read; only within a step */

    struct lh_err *parse_err, *spec_err, *fetch_err, *write_err; /* NULL: all well */
    struct store_wait *wait;
    struct copy_workloads *workloads; /* NULL: nothing is to be said about them */
    char restart_hash[RESTART_HASH_LEN + 1];
    bool restarts_told, restarts_new; /* new: the spec may name others */
    struct lh_kube_op *op;
};

/* copies.c */
struct copy_secret *copies_secret(const struct copies *s, const char *namespace_, const char *name);
bool copies_leads(const struct copies *s);
/* Are the Secrets of its namespace known? NULL: yes; "": not yet; else why they cannot be. */
const char *copies_secrets_trouble(const struct copies *s, const struct copy *c);
void copies_free_copy(struct copies *s, struct copy *c); /* out of all maps; revokes nothing */
/* May it fetch for the first time? False: it is woken when it is its turn. */
bool copies_take_turn(struct copy *c);
void copies_end_turn(struct copy *c); /* ready, failed or gone */
/* The breaker was told, or is told no longer. */
void copies_want_delete(struct copies *s, struct copy *c);
void copies_keep(struct copies *s, struct copy *c);

/* copy.c */
void copy_wake(struct copy *c);
/* Nothing runs and nothing is under way any more; what is known of the Secret is forgotten. */
void copy_stop(struct copy *c);
void copy_step(struct copy *c);
/* Its request was answered, or could not be sent. */
void copy_answered(struct copy *c, const struct lh_err *err);
bool copy_is_asked_for(const struct copy *c);       /* a Secret or a restart */
bool copy_is_wanted(const struct copy *c);          /* and the controller is not drained */
const char *copy_secret_name(const struct copy *c); /* that is wanted; NULL */
/* Sets or takes away the finalizer, by whether it is wanted. True: under way. */
bool copy_finalizer_step(struct copy *c);
struct copy_spec *copy_spec_ref(struct copy_spec *s);
void copy_spec_unref(struct copy_spec *s);
/* Its kubernetesSecret; owned; *out NULL where it has none. */
int copy_spec_secret(const struct copy_spec *s, lh_json **out, struct lh_err *err);

/* copy_take.c */
int copy_set_text(char **at, const char *text); /* a copy; LH_E_NOMEM */
/* Takes over what the object says; LH_E_NOMEM. *moved: there may be something to do. */
int copy_take(struct copy *c, const lh_json *obj, bool *moved);

/* copy_engine.c: all return true where something is under way that calls copy_step() */
bool copy_engine_step(struct copy *c);
/* What is ready takes over from what was there before. */
void copy_engine_retire(struct copy *c);
void copy_engine_end(struct copy *c, bool revoke);
void copy_slot_free(struct copy_slot *s);
/* Makes its engine, from what is parked if anything is. */
int copy_slot_open(struct copy_slot *s, bool shared, struct lh_err *err);

/* copy_park.c */
/* At the end of a step. */
void copy_park(struct copy *c);
/* Before anything is done with its engine. False: there is no memory; it is tried again. */
bool copy_unpark(struct copy *c);

/* copy_files.c */
void copy_files_done(struct copy_files *f);
const struct copy_file *copy_files_find(const struct copy_files *f, const char *path);
void copy_files_forget(struct copy_files *f, const char *path);
bool copy_files_same(const struct copy_files *a, const struct copy_files *b);
int copy_hash(const struct copy *c, const void *p, size_t n, uint8_t out[COPY_HASH_LEN],
              struct lh_err *err);
/* What the Secret is to say; files without bytes are as written. LH_E_GONE: of one nobody has the
 * bytes. */
int copy_files_hash(const struct copy *c, const struct lh_rendered_set *set, struct copy_files *out,
                    struct lh_err *err);

/* copy_secret.c */
extern const struct lh_sink copy_sink;
bool copy_secret_step(struct copy *c);
/* Deletes what of ours is no longer wanted. */
bool copy_secret_sweep(struct copy *c);
void copy_secret_lost(struct copy *c);
const struct lh_kube_resource *copy_secret_at(const struct copy *c, const char *name,
                                              struct lh_kube_resource *res);

/* copy_drain.c */
/* Lets go of its Secret. */
bool copy_drain_step(struct copy *c);

/* copy_restart.c */
void copy_restart_step(struct copy *c);
void copy_restart_stop(struct copy *c);

/* copy_status.c */
/* As read or answered. */
int copy_status_take(struct copy *c, const lh_json *obj, bool *changed, struct lh_err *err);
bool copy_status_step(struct copy *c);

#endif
