/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_LIB_ENGINE_PRIV_H
#define LEASEHOLD_LIB_ENGINE_PRIV_H

#include "leasehold/engine/engine.h"
#include "leasehold/lease/session.h"

/* One item of the projection: what of it is to be published, and what is. */
struct item {
    const struct lh_item *spec;
    struct lh_grant *grant;
    uint64_t shape;                 /* of its specification: files of another one are not its */
    struct lh_rendered_set pending; /* rendered, not published */
    bool has_pending;
    struct lh_rendered_set shown; /* published: paths and modes, bytes NULL */
    bool removed;                 /* taken away for staleness */
    bool lost;                    /* a published file is gone: to be had again */
    bool mismatch_said;
};

struct notify;

struct lh_engine {
    struct lh_loop *loop;
    const struct lh_projection *projection;
    struct lh_store *store;
    struct lh_identity identity;
    mode_t default_mode;
    struct lh_sink *sink;
    bool once, ended;
    bool held, complete_said;
    void (*on_complete)(void *arg);
    void (*on_ready)(void *arg);
    void (*on_changed)(void *arg);
    void (*on_failed)(void *arg, const struct lh_err *err);
    void *arg;

    struct lh_session *session;
    struct item *items;
    size_t n_items;

    bool ready; /* the whole set was published at least once */
    bool dirty; /* something is to be published */
    bool publishing;
    struct lh_failures publish_failures;
    struct lh_err *publish_err; /* NULL: none */
    lh_ms published_at;
    int64_t published_wall_ms;
    uint64_t publications;

    lh_ms sweep_at, sweep_wait; /* 0: nothing to sweep */
    struct lh_timer *timer;     /* publish again, sweep, staleness */

    int state_dir; /* -1: no state is kept */
    char *state_key;
    uint64_t saved_version;

    struct notify *notify;
    void (*end_done)(void *arg);
    void *end_arg;
    bool end_revoked;
};

/* items.c */
int items_new(struct lh_engine *e, struct lh_err *err);
void items_free(struct lh_engine *e);
/* The session's values callback. */
int items_take(void *arg, struct lh_grant *g, const struct lh_prov_read *r, struct lh_err *err);
/* The paths and modes of all items of every grant, and the sets of the sink that they are in, as
 * notes: of what is published, and, with next, the set that is about to be, of what is pending. */
int items_note(struct lh_engine *e, const char *next, struct lh_err *err);
bool items_resume(void *arg, struct lh_grant *g, const char *note);

/* output.c: from what is rendered to what is published */
void output_try(struct lh_engine *e);
void output_timer(void *arg);
void output_arm(struct lh_engine *e);

/* state_file.c */
int state_open(struct lh_engine *e, const struct lh_engine_options *o, struct lh_err *err);
void state_restore(struct lh_engine *e);
void state_save(struct lh_engine *e); /* if anything moved since */
void state_remove(struct lh_engine *e);
void state_close(struct lh_engine *e);

/* notify.c */
int notify_new(struct lh_engine *e, const struct lh_notify_spec *spec, struct lh_err *err);
void notify_free(struct notify *n); /* NULL is a no-op; cancels what is under way */
void notify_start(struct notify *n);

/* measure.c */
void measure_event(void *arg, enum lh_lease_event ev, const char *reason);
void measure_publication(struct lh_engine *e);
void measure_failure(struct lh_engine *e, const struct lh_err *err);
void measure_notify(struct lh_engine *e, bool ok);

/* park.c: of a new engine whose session has no provider yet; p is consumed. LH_E_NOMEM: it is not.
 */
int engine_unpark(struct lh_engine *e, struct lh_parked *p, struct lh_err *err);

void engine_failed(struct lh_engine *e, const struct lh_err *err);

#endif
