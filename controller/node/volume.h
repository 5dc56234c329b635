/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_NODE_VOLUME_H
#define LEASEHOLD_CONTROLLER_NODE_VOLUME_H

/*
 * One volume of one Pod, from kubelet's first call to its last. An attempt fetches first and mounts
 * when the whole set is there, so that one that fails has nothing to clean up at kubelet; it goes
 * on between kubelet's calls, under its own backoff, and ends when nobody asks for ten minutes.
 *
 * Level-triggered: everything that happens sets something and asks for a step; the step does
 * whatever there is to do. Two engines at most: the one that counts, and the one it replaces after
 * an edit, which keeps its credentials alive until the new files are there and overlap is over.
 */
#include "creds.h"
#include "leasehold/engine/engine.h"
#include "leasehold/grpc/server.h"
#include "request.h"
#include "set.h"

struct volume_slot {
    struct volume *v;
    char dir; /* 'a' or 'b': its folder below the volume's in the state */
    struct lh_engine *engine;
    struct lh_store *store;
    struct lh_projection *projection;
    lh_json *namespace_labels;
    struct lh_token_source *source;
    struct lh_identity identity;
    char *cert, *key;
    int cert_fds[2];
    bool complete, ready, ending, ended;
};

struct volume {
    struct node_set *set;
    char *id, *pod, *namespace_, *pod_uid, *service_account, *projection, *name, *context;
    int64_t gid, bytes;
    struct node_creds creds;
    struct volume_slot slot[2];
    unsigned cur;
    lh_ms old_until; /* when the replaced engine is ended; 0: not decided */

    struct lh_sink gate; /* stands in for the folder until it is mounted */
    struct lh_sink *folder;
    int dir; /* -1: not mounted */
    int state;
    bool published, leaving, unmounted, edited;
    unsigned tries;
    lh_ms started_at, last_call, answer_by, retry_at;
    lh_ms gone_at;  /* the Pod was seen to be gone; 0 */
    lh_ms leave_by; /* when it is unmounted without its revocation; 0: not leaving */

    struct lh_grpc_call *publish, *unpublish;
    struct mount_op *mounting;
    struct lh_err err; /* the last trouble */
    struct lh_timer *timer;

    int condition; /* of the Pod as written: -1 unknown, 0, 1 */
    struct lh_kube_op *condition_op;
    int condition_sent;
    lh_ms condition_retry;
};

/* A new attempt; borrowed from the set. */
int volume_new(struct node_set *s, const char *id, const struct node_request *r,
               struct volume **out, struct lh_err *err);
/* One that was mounted before we started: folder dir (taken), record as saved. */
int volume_resume(struct node_set *s, const char *id, const lh_json *record, int dir,
                  struct volume **out, struct lh_err *err);
void volume_free(struct volume *v); /* out of the set; revokes and unmounts nothing */

bool volume_is(const struct volume *v, const struct node_request *r);
/* The call is answered in time, whatever happens. */
void volume_publish(struct volume *v, struct lh_grpc_call *call);
void volume_unpublish(struct volume *v, struct lh_grpc_call *call);
/* Revoked and unmounted without kubelet asking. */
void volume_release(struct volume *v);
void volume_wake(struct volume *v); /* a step soon */
/* Spec, store or namespace may have changed. */
void volume_edited(struct volume *v);

const char *volume_state_name(const struct volume *v);
struct lh_engine *volume_engine(const struct volume *v); /* NULL: none */
/* The one line of what is wrong; empty if nothing is. */
void volume_cause(const struct volume *v, struct lh_buf *b);

/* folder.c: the gate stands in for the folder; attach takes dir, also on failure. */
extern const struct lh_sink folder_gate;
int folder_attach(struct volume *v, int dir, struct lh_err *err);
void folder_detach(struct volume *v);

/* slot.c */
/* Store, projection and labels are set. held: the files are the other slot's by now. */
int slot_start(struct volume *v, unsigned i, bool held, struct lh_err *err);
void slot_end(struct volume_slot *s, bool revoke);
void slot_clear(struct volume_slot *s); /* frees all */

/* record.c */
int record_save(struct volume *v, struct lh_err *err);
void record_remove(struct volume *v);
int record_read(int state, const char *id, lh_json **out, struct lh_err *err);
int record_load(struct volume *v, const lh_json *record, struct lh_err *err);

/* condition.c */
void condition_step(struct volume *v, lh_ms *at);

#endif
