/* SPDX-License-Identifier: Apache-2.0 */
/* A drain: asked for and answered in annotations of the Lease, which its leader reads and writes
 * with each renewal, so that only who leads answers, and no request is made for it. */
#include <string.h>

#include "cluster_priv.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"

enum { TELL_MS = 1000, STATUS_MAX = 64 * 1024 };

enum lh_drain drain_asked(const struct cluster *c)
{
    return lh_drain_read(lh_election_note(c->election, LH_DRAIN_REQUEST));
}

static void say(struct cluster *c, const char *status)
{
    struct lh_err err = {0};
    char *copy = status ? lh_strdup(status) : NULL;

    if ((status && !copy) || lh_election_set_note(c->election, LH_DRAIN_STATUS, status, &err) < 0) {
        lh_free(copy); /* the timer comes again */
        return;
    }
    lh_free(c->drain_said);
    c->drain_said = copy;
}

void drain_look(void *arg)
{
    struct cluster *c = arg;
    enum lh_drain how = drain_asked(c);
    struct copies_count n;

    if (!c->active)
        return;
    copies_count(c->copies, &n);
    if (n.drain != how)
        lh_log_warn(how == LH_DRAIN_NOT ? "drain taken back" : "draining: nothing new is taken on",
                    LH_F_STR("copies", lh_drain_word(how)));
    copies_drain(c->copies, how);
    if (how != LH_DRAIN_NOT) {
        if (!lh_timer_is_armed(c->drain_timer))
            lh_timer_in(c->drain_timer, 0);
        return;
    }
    lh_timer_stop(c->drain_timer);
    if (c->drain_said || lh_election_note(c->election, LH_DRAIN_STATUS))
        say(c, NULL);
}

struct count {
    struct lh_drain_report *r;
    struct lh_err err;
};

static void add_token(void *arg, const struct ledger_record *rec, bool gave_up, const char *reason,
                      const char *why)
{
    struct count *n = arg;
    const struct lh_drain_item item = {.kind = "Token",
                                       .namespace_ = rec->namespace_,
                                       .name = rec->projection,
                                       .store = rec->store,
                                       .accessor = rec->accessor,
                                       .reason = gave_up  ? LH_REASON_RevocationGivenUp
                                                 : reason ? reason
                                                          : LH_REASON_InternalError,
                                       .message = why ? why : "given up by an earlier leader",
                                       .given_up = gave_up};

    n->r->tokens += !gave_up;
    if (gave_up || why)
        (void)lh_drain_report_add(n->r, &item, &n->err);
}

void drain_tell(void *arg)
{
    struct cluster *c = arg;
    struct lh_drain_report r = {0};
    struct count n = {.r = &r};
    lh_auto_buf struct lh_buf b;
    lh_auto_free char *text = NULL;
    size_t len;
    int rc;

    lh_buf_init(&b, STATUS_MAX);
    rc = copies_drain_report(c->copies, &r, &n.err);
    ledger_each(c->ledger, add_token, &n);
    if (rc == 0)
        rc = lh_drain_report_write(&r, &b, &n.err);
    if (rc == 0)
        rc = lh_buf_finish(&b, &text, &len, &n.err);
    if (rc == 0 && (!c->drain_said || strcmp(c->drain_said, text) != 0)) {
        if (lh_drain_report_is_done(&r))
            lh_log_info("drained", LH_F_INT("projections", (int64_t)r.total));
        say(c, text);
    }
    lh_drain_report_done(&r);
    lh_timer_in(c->drain_timer, TELL_MS);
}
