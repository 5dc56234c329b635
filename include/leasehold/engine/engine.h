/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_ENGINE_ENGINE_H
#define LEASEHOLD_ENGINE_ENGINE_H

/*
 * One projection from fetch to notify: session (login) -> grants (read) -> render -> sink ->
 * notify, kept fresh by lease's schedule until it is ended. The same engine runs in the agent, the
 * node controller, the cluster controller and `leasehold run`. After publication only keyed hashes
 * and leases stay in memory.
 */
#include "leasehold/api/agentcfg.h"
#include "leasehold/core/buf.h"
#include "leasehold/core/loop.h"
#include "leasehold/core/metrics.h"
#include "leasehold/engine/sink.h"
#include "leasehold/providers/provider.h"

struct lh_engine;
struct lh_parked;

struct lh_engine_options {
    struct lh_loop *loop;
    const struct lh_provider_ops *provider; /* NULL: by the store */
    struct lh_store *store;                 /* a reference is taken */
    const struct lh_identity
        *identity; /* deep enough copy taken; token source borrowed until free */
    const struct lh_projection *projection; /* borrowed until free */
    mode_t default_mode;
    struct lh_sink *sink;                /* borrowed until free */
    const struct lh_notify_spec *notify; /* borrowed; NULL: nobody is told */
    const char *state_path;              /* folder for state over a restart; NULL: none */
    int state_at;                        /* descriptor that state_path is relative to; 0: none */
    const char *state_key;               /* binds the state (Pod UID) */
    bool once;                           /* fetch, publish, end: nothing is renewed */
    bool hold;                           /* as lh_engine_hold(), from the start */
    struct lh_parked
        *parked;       /* what it is made from again; consumed on success; NULL: from nothing */
    unsigned parallel; /* secrets asked for at a time, 0: all; each costs a connection */
    /* Events, all optional, from the loop. */
    void (*complete)(void *arg); /* held, and there is a whole set to publish */
    void (*ready)(void *arg);    /* first publication done */
    void (*changed)(void *arg);  /* a later publication done (after notify was started) */
    void (*failed)(void *arg, const struct lh_err *err); /* something failed; it is tried again */
    void *arg;
};

int lh_engine_new(const struct lh_engine_options *opts, struct lh_engine **out, struct lh_err *err);
void lh_engine_start(struct lh_engine *e);
/* Ends: revokes (unless retain or init mode), at most within limit_ms, then done once. Files stay.
 */
void lh_engine_end(struct lh_engine *e, bool revoke, unsigned limit_ms, void (*done)(void *arg),
                   void *arg);
/* From done on: the manager did not confirm what was to be revoked. The state is still there: an
 * engine that is made from it can end it later. */
bool lh_engine_owes(const struct lh_engine *e);
void lh_engine_free(struct lh_engine *e);

/* Held, everything goes on but publication, until the release: the files are not there yet, or are
 * somebody else's by now. */
void lh_engine_hold(struct lh_engine *e);
void lh_engine_release(struct lh_engine *e);

/* The sink can go on (LH_E_BUSY), or may have lost what was published: publishes what there is,
 * also if nothing changed. */
void lh_engine_publish(struct lh_engine *e);
/* Everything that no lease or certificate hangs on is read again now. */
void lh_engine_refetch(struct lh_engine *e);

/*
 * An engine that has nothing to do before until (boot time) may be taken apart: what is left is a
 * record of what was published and of when it is to be looked at again, from which an engine for
 * the same projection, store and identity is made that goes on as if nothing had been (options:
 * parked). Only values without a lease, a provider that can be parked, no state folder and nobody
 * to notify. On success e is gone, and *out owned. LH_E_BUSY: not now. LH_E_INVALID: it is none
 * that can be parked. LH_E_NOMEM. Never within an event of its own.
 */
int lh_engine_park(struct lh_engine *e, lh_ms until, struct lh_parked **out);
lh_ms lh_parked_due(const struct lh_parked *p); /* to be made an engine again by then */
void lh_parked_free(struct lh_parked *p);       /* NULL is a no-op; revokes nothing */

bool lh_engine_is_ready(const struct lh_engine *e);
/* Directly after start: all of it is in the files already, as the state of an earlier run says. */
bool lh_engine_is_resumed(const struct lh_engine *e);

/* An item in short; strings and files (bytes NULL) borrowed until the next publication. False past
 * the last. */
struct lh_engine_item {
    const char *name;
    bool known, leased; /* known: what kind of secret it is; leased: a lease or a certificate */
    bool expired;       /* what is published is dead, as far as is known */
    lh_ms ends_at;      /* LH_NEVER */
    const struct lh_rendered *files;
    size_t n_files;
};
bool lh_engine_item(const struct lh_engine *e, size_t i, struct lh_engine_item *out);

/* Is what is published still of use? Only a credential that is dead as far as is known, or a value
 * that nobody confirmed for longer than maxAge, makes it stale; a refresh that fails does not. */
struct lh_engine_freshness {
    const char *stale; /* name of an item that is; borrowed; NULL: all are fresh */
    const char *reason;
    unsigned expired; /* credentials published that are dead */
    lh_ms ends_at;    /* when the first of them ends; LH_NEVER */
    lh_ms check_at;   /* when the answer may be another by itself; LH_NEVER */
};
void lh_engine_freshness(const struct lh_engine *e, struct lh_engine_freshness *out);
/* The one-line cause while not ready, or of the latest trouble: reason, store, path, text. Empty
 * when all is well. */
void lh_engine_cause(const struct lh_engine *e, struct lh_buf *out);
/* Status document for /status: items, versions (keyed hash), times, leases' ends, last errors. No
 * values. */
lh_json *lh_engine_status(const struct lh_engine *e);

/* Brings the gauges that move with time (seconds to expiry, age) up to date: before they are
 * written. */
void lh_engine_measure(struct lh_engine *e);

/* Metric table of engine and lease (core/metrics), registered by lh_engine_new. */
extern const struct lh_metric lh_engine_metrics[];

#endif
