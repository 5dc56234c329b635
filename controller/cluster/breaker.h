/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_CLUSTER_BREAKER_H
#define LEASEHOLD_CONTROLLER_CLUSTER_BREAKER_H

/*
 * What stands between "it is gone" and a deletion outside: of a Secret copy, of a credential. Every
 * deletion is asked for here and waits a moment, so that a mass of them is seen before the first is
 * made. When more than `max` come within the window, and more than `percent` of all there are, the
 * breaker opens: nothing is deleted any more, whatever proves it, until a person confirms this very
 * hold by its number, or until what was missing is back (a list that came back empty, a CRD that
 * was deleted and applied again). Proof of each absence stays with whoever asks; this is the second
 * line. Pure.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "leasehold/core/clock.h"
#include "leasehold/core/err.h"

struct breaker;

/* On the controller's own Lease: "TERM-NUMBER" of the hold that may go on. */
#define BREAKER_CONFIRM "leasehold.dev/confirm-deletions"

struct breaker_rules {
    unsigned max;     /* deletions within the window that need no question */
    unsigned percent; /* and a share of all objects, so that a big cluster may breathe; 0: none */
    lh_ms window_ms;
    lh_ms settle_ms; /* what each deletion waits at least, to be seen together */
};
/* max 10, percent 10, window 60 s, settle 5 s. */
extern const struct breaker_rules breaker_default_rules;

/* term: of the leader, so that the number of a hold is never used twice. */
int breaker_new(const struct breaker_rules *rules, int64_t term, struct breaker **out,
                struct lh_err *err);
void breaker_free(struct breaker *b);

/* key (copied) is to be deleted; again: nothing changes. total: objects there are, this one
 * included. LH_E_NOMEM: it is not, ask again. */
int breaker_want(struct breaker *b, const char *key, size_t total, lh_ms now, struct lh_err *err);
/* It is there again, or not wanted for another reason. A hold whose keys all went is over. */
void breaker_back(struct breaker *b, const char *key);
/* The next that may be deleted now, owned (lh_free), NULL: none. It counts within the window from
 * now on. Where a deletion fails, breaker_want() again. */
char *breaker_next(struct breaker *b, lh_ms now);
/* When breaker_next() may have one by time alone; LH_NEVER. */
lh_ms breaker_at(const struct breaker *b, lh_ms now);
/* text: value of BREAKER_CONFIRM, NULL: none. True if it released the hold that is on: everything
 * that waits goes, and what comes later counts anew. */
bool breaker_confirm(struct breaker *b, const char *text);

struct breaker_info {
    bool open;
    char id[48];    /* what confirms it; "" while closed */
    size_t waiting; /* keys, held or settling */
    lh_ms since;    /* when it opened */
    uint64_t holds; /* how often it opened, this process */
};
void breaker_info(const struct breaker *b, struct breaker_info *out);

#endif
