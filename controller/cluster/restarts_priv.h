/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_CLUSTER_RESTARTS_PRIV_H
#define LEASEHOLD_CONTROLLER_CLUSTER_RESTARTS_PRIV_H

/* What restarts.c (who wants what, and what is said of it) and restart_work.c (one workload read,
 * decided, written) share. */
#include "leasehold/core/map.h"
#include "leasehold/core/vec.h"
#include "leasehold/kube/queue.h"
#include "restart_look.h"
#include "restarts.h"

enum { RESTART_WAITS = RESTART_WAIT_BUDGET + 1 };

struct wish { /* of one projection */
    char *key, *namespace_, *name;
    char hash[RESTART_HASH_LEN + 1];
    bool known, leased;
    struct lh_vec loads; /* struct load * */
    /* As told last. */
    bool told;
    enum condition_status status;
    const char *reason;
    char *message;
};

struct room {         /* of one namespace's budget */
    struct lh_vec at; /* lh_ms of its restarts, ascending */
    size_t unseen;    /* workloads that may have been restarted by another leader */
};

struct load { /* one workload */
    struct restarts *r;
    char *key, *namespace_, *name;
    struct room *room;
    enum restart_kind kind;
    struct lh_vec wishes; /* struct wish * */
    lh_ms changed_at, last_at, noted_at;
    char *stamp; /* as we saw or wrote it last */
    /* What is thought of it. */
    enum condition_status status;
    const char *reason; /* NULL: nothing yet */
    char *message;
    enum restart_wait wait;
    /* What is under way. */
    bool working, restarting, on_delete;
    bool seen; /* read once in this life, or it cannot be */
    struct lh_kube_op *op;
    lh_json *obj;    /* as read */
    char *new_stamp; /* as written */
};

struct restarts {
    struct restarts_options o;
    struct restart_rules rules;
    struct lh_queue *queue;
    struct lh_map *wishes, *loads, *rooms;
    size_t waiting[RESTART_WAITS];
};

/* restarts.c */
/* What is thought of l; takes message (owned; NULL: no memory). Tells those that named it. */
void load_says(struct load *l, enum condition_status status, const char *reason,
               enum restart_wait wait, char *message);
/* The work on l is over; l may be gone then. */
void load_done(struct load *l, enum lh_queue_result result, lh_ms after_ms);
lh_ms room_free_at(const struct restarts *r, const struct room *room, lh_ms now);
/* A restart at a time that may have passed. LH_E_NOMEM. */
int room_note(struct restarts *r, struct room *room, lh_ms at);
/* The one that was noted for `at`. */
void room_take_back(struct room *room, lh_ms at);
void load_seen(struct load *l);
void restarts_count(enum restart_kind kind);

/* restart_work.c */
void load_work(void *arg, const char *key); /* arg: the restarts */
void load_stop(struct load *l);

#endif
