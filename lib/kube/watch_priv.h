/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_KUBE_WATCH_PRIV_H
#define LH_KUBE_WATCH_PRIV_H

/*
 * A reflector's inside. watch.c decides what to ask for next and when; watch_objects.c knows what
 * exists, and turns texts into events; watch_text.c looks into texts. Objects are not kept: per key
 * there is a uid and the number of the last whole state that held it.
 */
#include "kube_priv.h"
#include "leasehold/codec/jsonsplit.h"
#include "leasehold/core/map.h"
#include "leasehold/core/metrics.h"
#include "leasehold/http/backoff.h"
#include "leasehold/kube/watch.h"

enum {
    WATCH_MAX_OBJECT = 2 << 20,
    WATCH_TURN_MS = 20,  /* so long we work on a stream before others have their turn */
    WATCH_LEAST_S = 300, /* the server ends a watch after 5 to 10 minutes */
    WATCH_MOST_S = 600,
    WATCH_GRACE_MS = 15 * 1000,        /* past that it is dead */
    WATCH_SILENT_MS = 150 * 1000,      /* bookmarks come about once a minute */
    WATCH_INITIAL_MS = 60 * 1000,      /* silence before the first whole state */
    WATCH_HEALTHY_MS = 120 * 1000,     /* backoff starts anew */
    WATCH_SERVER_ERROR_MS = 30 * 1000, /* 5xx on a resumed watch for so long: list again */
    WATCH_PAGE = 500,
};

enum watch_state {
    WATCH_WAITING,   /* the timer is armed */
    WATCH_LISTING,   /* one page of a list */
    WATCH_INITIAL,   /* a watch-list before its end of initial events */
    WATCH_FOLLOWING, /* a watch */
};

struct lh_watch {
    struct lh_kube *k;
    lh_watch_fn fn;
    void *arg;
    char *group, *version, *resource, *namespace_, *name, *labels, *fields;
    bool metadata_only;
    size_t max_object;

    /* What exists. */
    struct lh_map *known; /* key to struct watch_known */
    uint64_t epoch;       /* number of the whole state that is read, or was last */
    bool epoch_skipped;   /* an object of it could not be read, not even its name */
    bool synced;

    /* Where we are. */
    char *rv;           /* resume from here; NULL: from nowhere */
    bool lost;          /* rv is too old, or too new: the next list must not name it */
    bool want_list;     /* the next request is for a whole state */
    bool no_watch_list; /* the server has none, for good */
    unsigned initial_failures;
    char *page;    /* continue token of the next page */
    bool unpaged;  /* a continue token expired: the next list is in one piece */
    char *page_rv; /* of the first page */

    /* The request in flight. */
    enum watch_state state;
    struct lh_http_op *op;
    struct lh_jsonsplit *split;
    struct lh_buf pending;    /* bytes that came while we paused */
    struct lh_buf plain;      /* an object without its managed fields */
    struct lh_buf error_body; /* of an answer that is no 200 */
    char *path;
    lh_ms started, last_byte, ends;
    bool got_event, got_bookmark;
    bool paused, over;      /* over: the answer ended while we paused */
    struct lh_err over_err; /* with this; code 0: by itself */
    uint64_t turn;          /* of the loop, and when our work in it began */
    lh_ms turn_started;

    struct lh_timer *timer, *pump, *dead;
    struct lh_backoff backoff;
    lh_ms server_errors_since; /* 0: none */
    char trouble[512];
    unsigned busy; /* inside the caller's fn: a stop waits with freeing */
    bool stopped, resync;
};

extern const struct lh_metric watch_metrics[];
enum { WATCH_M_LISTS, WATCH_M_RESTARTS, WATCH_M_SKIPPED };
void watch_count(const struct lh_watch *w, int metric);

/* Pieces of a text; {NULL, 0} for what it does not have, or has behind its end. */
struct watch_meta {
    struct lh_str name, namespace_, uid, type; /* type: of an event */
    struct lh_str managed_fields;              /* the member, with one comma */
};
/* The text of an object, or of an event about one; it may be cut off anywhere. */
void watch_meta_scan(struct lh_str text, bool event, struct watch_meta *out);
void watch_put_plain(struct lh_buf *b, struct lh_str text, struct lh_str managed_fields);

/* One text of jsonsplit, as lh_split_fn. */
int watch_emit(void *arg, enum lh_split_what what, struct lh_str text, struct lh_err *err);
/* A whole state was read: what is not in it is gone. Stops early if the caller stops the watch. */
void watch_state_complete(struct lh_watch *w);
void watch_forget_all(struct lh_watch *w);
int watch_set_text(char **field, const char *z, struct lh_err *err);

#endif
