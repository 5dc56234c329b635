/* SPDX-License-Identifier: Apache-2.0 */
#include "restart_plan.h"

#include <stdlib.h>
#include <string.h>

#include "leasehold/core/buf.h"
#include "leasehold/core/mem.h"

/* What nobody tells us the end of is looked at again after this. */
enum { LOOK_AGAIN_MS = 30 * 1000 };

enum stamped { STAMP_NONE, STAMP_SAME, STAMP_OTHER };

static bool is_hash(struct lh_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        bool digit = s.p[i] >= '0' && s.p[i] <= '9', letter = s.p[i] >= 'a' && s.p[i] <= 'f';

        if (!digit && !letter)
            return false;
    }
    return s.n == RESTART_HASH_LEN;
}

/* What is no hash was not written by us, and tells nothing of what the Pods have. */
static enum stamped stamped(const char *stamp, const struct restart_want *want)
{
    struct lh_str rest = lh_str(stamp), one, name, hash;
    bool more = rest.n > 0;

    while (more) {
        more = lh_str_cut(rest, ' ', &one, &rest);
        if (lh_str_cut(one, '=', &name, &hash) && is_hash(hash) &&
            lh_str_eqz(name, want->projection))
            return lh_str_eqz(hash, want->hash) ? STAMP_SAME : STAMP_OTHER;
    }
    return STAMP_NONE;
}

static struct restart_decision later(enum restart_wait why, lh_ms at)
{
    return (struct restart_decision){RESTART_LATER, why, at};
}

/* Somebody else's hand first, then our own patience. */
static struct restart_decision when(const struct restart_facts *f,
                                    const struct restart_rules *rules, lh_ms now)
{
    lh_ms settled = f->changed_at + rules->settle_ms;
    lh_ms gap = f->last_at ? f->last_at + rules->gap_ms : 0;

    if (f->paused)
        return later(RESTART_WAIT_PAUSED, now + LOOK_AGAIN_MS);
    if (f->rolling)
        return later(RESTART_WAIT_ROLLING, now + LOOK_AGAIN_MS);
    if (f->no_budget)
        return later(RESTART_WAIT_DISRUPTION, now + LOOK_AGAIN_MS);
    if (settled > now)
        return later(RESTART_WAIT_SETTLE, settled);
    if (gap > now)
        return later(RESTART_WAIT_GAP, gap);
    if (f->free_at > now)
        return later(RESTART_WAIT_BUDGET, f->free_at);
    return (struct restart_decision){.act = RESTART_NOW};
}

struct restart_decision restart_decide(const struct restart_facts *f,
                                       const struct restart_rules *rules, lh_ms now)
{
    bool changed = false, fresh = false;

    /* Half of the hashes would be taken for all of them, and cost a second restart. */
    if (!f->known)
        return later(RESTART_WAIT_VALUES, now + LOOK_AGAIN_MS);
    for (size_t i = 0; i < f->n_wants; i++) {
        enum stamped s = stamped(f->stamp, &f->wants[i]);

        changed = changed || s == STAMP_OTHER;
        fresh = fresh || s == STAMP_NONE;
    }
    if (changed)
        return when(f, rules, now);
    /* Its Pods were started before anybody counted: no reason to think that they are behind. */
    return (struct restart_decision){.act = fresh ? RESTART_NOTE : RESTART_NONE};
}

static int by_name(const void *a, const void *b)
{
    const struct restart_want *const *x = a, *const *y = b;

    return strcmp((*x)->projection, (*y)->projection);
}

int restart_stamp(const struct restart_want *wants, size_t n, char **out, struct lh_err *err)
{
    const struct restart_want *sorted[RESTART_PROJECTIONS_MAX];
    lh_auto_buf struct lh_buf b;
    size_t len;

    lh_buf_init(&b, RESTART_STAMP_MAX);
    if (n > RESTART_PROJECTIONS_MAX)
        return lh_err_set(err, LH_E_TOOBIG, "more than %d projections restart one workload",
                          RESTART_PROJECTIONS_MAX);
    for (size_t i = 0; i < n; i++) {
        sorted[i] = &wants[i];
        if (!lh_str_is_dns_subdomain(lh_str(wants[i].projection)) ||
            !is_hash(lh_str(wants[i].hash)))
            return lh_err_set(err, LH_E_INVALID, "projection %s has no stamp", wants[i].projection);
    }
    if (n > 1)
        qsort(sorted, n, sizeof(sorted[0]), by_name);
    for (size_t i = 0; i < n; i++)
        lh_buf_printf(&b, "%s%s=%s", i > 0 ? " " : "", sorted[i]->projection, sorted[i]->hash);
    return lh_buf_finish(&b, out, &len, err);
}
