/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_API_DRAIN_H
#define LEASEHOLD_API_DRAIN_H

/*
 * What `leasehold drain` and the cluster controller say to each other, as annotations of the
 * controller's Lease. The request stays until it is taken back, so that a new leader obeys it
 * before it takes anything on; the status is the leader's. Neither ever holds a value.
 */
#include "leasehold/codec/json.h"

#define LH_DRAIN_REQUEST "leasehold.dev/drain" /* Keep or Delete: what becomes of Secret copies */
#define LH_DRAIN_STATUS  "leasehold.dev/drain-status" /* a report, as JSON */
/* On a Secret that was let go: uid of the projection that may have it back without `adopt`. */
#define LH_KEPT_OF       "leasehold.dev/kept-of"

enum lh_drain { LH_DRAIN_NOT, LH_DRAIN_KEEP, LH_DRAIN_DELETE };

/* Of an annotation's text; NULL: NOT. A word that nobody knows is a KEEP: it deletes nothing. */
enum lh_drain lh_drain_read(const char *text);
const char *lh_drain_word(enum lh_drain how); /* "" for NOT */

enum { LH_DRAIN_ITEMS_MAX = 50, LH_DRAIN_TEXT_MAX = 300 };

/* Something that could not be undone, or not yet; borrowed. */
struct lh_drain_item {
    const char *kind; /* SecretProjection, Secret, Token */
    const char *namespace_, *name;
    const char *store, *accessor; /* of a Token; else NULL */
    const char *reason;           /* a word of api/reasons.h */
    const char *message;          /* cut at LH_DRAIN_TEXT_MAX */
    bool given_up;                /* it is not tried any more, or hardly */
};

struct lh_drain_report {
    enum lh_drain copies;
    size_t projections, total; /* not let go yet, of all */
    size_t secrets, tokens;    /* still ours; not proven to have ended, those given up left out */
    bool idle;                 /* nothing is being worked on */
    lh_json *items;            /* owned: lh_drain_report_done() */
    size_t more;               /* items that found no room */
};
/* Past LH_DRAIN_ITEMS_MAX it is counted only. LH_E_NOMEM. */
int lh_drain_report_add(struct lh_drain_report *r, const struct lh_drain_item *item,
                        struct lh_err *err);
/* Nothing is left but what was given up. */
bool lh_drain_report_is_done(const struct lh_drain_report *r);
/* {"copies","phase":"Draining"|"Drained","projections","total","secrets","tokens","items","more"}
 */
int lh_drain_report_write(const struct lh_drain_report *r, struct lh_buf *b, struct lh_err *err);
void lh_drain_report_done(struct lh_drain_report *r);

#endif
