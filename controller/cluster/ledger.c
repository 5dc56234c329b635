/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger.h"

#include <stdio.h>

#include "leasehold/core/mem.h"
#include "leasehold/core/rand.h"
#include "ledger_priv.h"

enum { M_RECORDS, M_BYTES, M_DAMAGED, M_EVENTS };

const struct lh_metric ledger_metrics[] = {
    [M_RECORDS] = {.name = "leasehold_ledger_records",
                   .help = "Logins in the ledger: live, pending (to be revoked), given_up.",
                   .type = LH_METRIC_GAUGE,
                   .labels = {"state"},
                   .max_series = 4},
    [M_BYTES] = {.name = "leasehold_ledger_bytes",
                 .help = "Size of the ledger; new logins are refused past 983040.",
                 .type = LH_METRIC_GAUGE,
                 .max_series = 1},
    [M_DAMAGED] = {.name = "leasehold_ledger_damaged_records",
                   .help = "Records that this version cannot read, and leaves alone.",
                   .type = LH_METRIC_GAUGE,
                   .max_series = 1},
    [M_EVENTS] = {.name = "leasehold_ledger_operations_total",
                  .help = "Writes of the ledger's Secret, and revocations by accessor, by result.",
                  .type = LH_METRIC_COUNTER,
                  .labels = {"operation", "result"},
                  .max_series = 16},
    {0},
};

void ledger_count(const char *what, const char *result)
{
    lh_metric_add(&ledger_metrics[M_EVENTS], 1, LH_LABELS(what, result));
}

void ledger_measure(struct ledger *l)
{
    double n[3] = {0};
    size_t at = 0;
    void *entry;

    while (lh_map_next(l->by_key, &at, NULL, &entry)) {
        const struct entry *e = entry;

        n[e->holder ? 0 : e->gave_up ? 2 : 1]++;
    }
    lh_metric_set(&ledger_metrics[M_RECORDS], n[0], LH_LABELS("live"));
    lh_metric_set(&ledger_metrics[M_RECORDS], n[1], LH_LABELS("pending"));
    lh_metric_set(&ledger_metrics[M_RECORDS], n[2], LH_LABELS("given_up"));
    lh_metric_set(&ledger_metrics[M_BYTES], (double)l->bytes, NULL);
    lh_metric_set(&ledger_metrics[M_DAMAGED], (double)l->damaged, NULL);
}

size_t ledger_record_size(const struct ledger_record *r)
{
    lh_auto_buf struct lh_buf b;

    lh_buf_init(&b, 16 * 1024);
    if (ledger_record_write(r, &b, NULL) < 0)
        return 1024;
    return b.n + KEY_LEN;
}

int ledger_gate(struct ledger *l, size_t bytes, struct lh_err *err)
{
    int rc = 0;

    if (bytes > 0 && l->bytes + l->damaged_bytes + l->reserved + bytes > LEDGER_DATA_MAX) {
        rc = lh_err_set(err, LH_E_TOOBIG,
                        "the ledger of logins to be revoked is full (%zu bytes): nothing new is "
                        "issued until some are revoked",
                        l->bytes);
        return lh_err_reason(err, rc, LH_REASON_LedgerFull);
    }
    if (!l->started || l->fenced || !l->taken || l->io_err.code)
        rc = lh_err_set(err, LH_E_UNAVAILABLE, "no login before it can be recorded: %s",
                        l->io_err.code ? l->io_err.msg : "the ledger's Secret is not read yet");
    return rc < 0 ? lh_err_reason(err, rc, LH_REASON_LedgerUnavailable) : 0;
}

/* A name that Kubernetes takes, from whatever an accessor is made of. */
static int key_of(const char *accessor, char out[KEY_LEN + 1], struct lh_err *err)
{
    uint8_t hash[LH_HASH_LEN];
    char hex[25];
    int rc = lh_sha256(accessor, strlen(accessor), hash, err);

    if (rc < 0)
        return rc;
    lh_hex(hash, 12, hex);
    snprintf(out, KEY_LEN + 1, LEDGER_KEY_PREFIX "%s", hex);
    return 0;
}

static struct uid_group *group_of(struct ledger *l, const char *uid, struct lh_err *err)
{
    struct uid_group *g = lh_map_get(l->by_uid, lh_str(uid));

    if (g)
        return g;
    g = lh_calloc(1, sizeof(*g));
    if (g)
        g->uid = lh_strdup(uid);
    if (!g || !g->uid || lh_map_set(l->by_uid, lh_str(uid), g, NULL, err) < 0) {
        if (g)
            lh_free(g->uid);
        lh_free(g);
        lh_err_nomem(err);
        return NULL;
    }
    return g;
}

static void group_free(void *arg)
{
    struct uid_group *g = arg;

    lh_free(g->uid);
    lh_free(g);
}

static int entry_index(struct entry *e, struct lh_err *err)
{
    struct ledger *l = e->l;
    int rc = key_of(e->rec.accessor, e->key, err);

    if (rc < 0)
        return rc;
    if (lh_map_get(l->by_key, lh_str(e->key)))
        return lh_err_set(err, LH_E_CONFLICT, "the manager gave one accessor twice");
    e->group = group_of(l, e->rec.uid, err);
    if (!e->group)
        return -LH_E_NOMEM;
    return lh_map_set(l->by_key, lh_str(e->key), e, NULL, err);
}

int ledger_entry_new(struct ledger *l, struct ledger_record *rec, struct entry **out,
                     struct lh_err *err)
{
    struct entry *e = lh_calloc(1, sizeof(*e));
    int rc;

    if (!e) {
        ledger_record_done(rec);
        return lh_err_nomem(err);
    }
    e->l = l;
    e->rec = *rec;
    *rec = (struct ledger_record){0};
    e->release_at = e->ends_at = LH_NEVER;
    rc = entry_index(e, err);
    if (rc < 0) {
        ledger_record_done(&e->rec);
        lh_free(e);
        return rc;
    }
    e->next_of_uid = e->group->first;
    e->group->first = e;
    e->group->held = true;
    e->bytes = ledger_record_size(&e->rec);
    l->bytes += e->bytes;
    *out = e;
    return 0;
}

/* Something of it stands between the projection and its end. */
static bool holds(const struct uid_group *g)
{
    for (const struct entry *e = g->first; e; e = e->next_of_uid) {
        if (!e->doomed && !e->gave_up)
            return true;
    }
    return false;
}

void ledger_settle(struct ledger *l, struct uid_group *g)
{
    lh_auto_free char *uid = NULL;

    if (!g->held || holds(g))
        return;
    g->held = false;
    uid = lh_strdup(g->uid);
    if (uid && l->opts.settled)
        l->opts.settled(l->opts.arg, uid);
}

void ledger_entry_free(struct entry *e)
{
    struct ledger *l = e->l;
    struct uid_group *g = e->group;
    struct entry **at = &g->first;

    ledger_unhold(e);
    ledger_revoke_forget(e);
    while (*at != e)
        at = &(*at)->next_of_uid;
    *at = e->next_of_uid;
    lh_map_remove(l->by_key, lh_str(e->key));
    l->bytes -= e->bytes;
    ledger_record_done(&e->rec);
    lh_free(e->why);
    lh_free(e);
    if (!g->first) {
        lh_map_remove(l->by_uid, lh_str(g->uid));
        group_free(g);
    }
}

void ledger_entry_changed(struct entry *e, bool urgent)
{
    struct ledger *l = e->l;
    size_t bytes = ledger_record_size(&e->rec);

    l->bytes += bytes - e->bytes;
    e->bytes = bytes;
    e->changed = true;
    l->urgent = l->urgent || urgent;
    ledger_store_step(l);
}

void ledger_entry_gone(struct entry *e)
{
    struct ledger *l = e->l;

    if (e->doomed)
        return;
    e->doomed = true;
    ledger_unhold(e);
    ledger_revoke_forget(e);
    ledger_settle(l, e->group);
    if (!e->stored && e->writing == WRITING_NOT)
        ledger_entry_free(e);
    ledger_measure(l);
    ledger_store_step(l);
}

void ledger_entry_orphan(struct entry *e, lh_ms at)
{
    struct ledger *l = e->l;

    ledger_unhold(e);
    e->release_at = at;
    ledger_measure(l);
    ledger_sweep_at(l, at);
}

static void io_timer(void *arg)
{
    ledger_store_step(arg);
}

static int copy_names(struct ledger *l, struct lh_err *err)
{
    l->opts.namespace_ = lh_strdup(l->opts.namespace_);
    l->opts.name = lh_strdup(l->opts.name);
    if (!l->opts.namespace_ || !l->opts.name)
        return lh_err_nomem(err);
    l->secret = (struct lh_kube_resource){.group = "",
                                          .version = "v1",
                                          .resource = "secrets",
                                          .namespace_ = l->opts.namespace_,
                                          .name = l->opts.name};
    return 0;
}

int ledger_new(const struct ledger_options *opts, struct ledger **out, struct lh_err *err)
{
    struct ledger *l = lh_calloc(1, sizeof(*l));
    int rc;

    if (!l)
        return lh_err_nomem(err);
    l->opts = *opts;
    l->loop = opts->loop;
    l->kube = opts->kube;
    rc = copy_names(l, err);
    if (rc == 0)
        rc = lh_map_new(&l->by_key, err);
    if (rc == 0)
        rc = lh_map_new(&l->by_uid, err);
    if (rc == 0)
        rc = lh_timer_new(l->loop, io_timer, l, &l->io_timer, err);
    if (rc == 0)
        rc = lh_timer_new(l->loop, ledger_sweep, l, &l->sweep_timer, err);
    if (rc == 0)
        rc = lh_metrics_register(ledger_metrics, err);
    if (rc < 0) {
        ledger_free(l);
        return rc;
    }
    *out = l;
    return 0;
}

void ledger_free(struct ledger *l)
{
    size_t at = 0;
    void *entry;

    if (!l)
        return;
    l->opts.settled = NULL;
    if (l->by_key) {
        ledger_stop(l);
        while (lh_map_next(l->by_key, &at, NULL, &entry))
            ledger_entry_free(entry);
    }
    lh_map_free(l->by_key, NULL);
    lh_map_free(l->by_uid, group_free);
    lh_timer_free(l->io_timer);
    lh_timer_free(l->sweep_timer);
    lh_free(l->version);
    lh_free((char *)(uintptr_t)l->opts.namespace_);
    lh_free((char *)(uintptr_t)l->opts.name);
    lh_free(l);
}

void ledger_start(struct ledger *l, int64_t term)
{
    l->started = true;
    l->fenced = l->taken = l->synced = l->loaded_said = false;
    l->term = term;
    lh_rand_bytes(&l->nonce, sizeof(l->nonce));
    l->need_read = true;
    l->io_err = (struct lh_err){0};
    lh_failures_reset(&l->io_failures);
    ledger_store_step(l);
}

void ledger_synced(struct ledger *l)
{
    l->synced = true;
    ledger_sweep_at(l, lh_clock_now());
}

void ledger_stop(struct ledger *l)
{
    struct lh_err err = {0};

    l->started = false;
    ledger_store_stop(l);
    ledger_revoke_stop(l);
    lh_err_fill(&err, LH_E_UNAVAILABLE, "this controller does not lead any more");
    err.reason = LH_REASON_LedgerUnavailable;
    ledger_logins_fail(l, &err);
}

void ledger_release(struct ledger *l, const char *uid, lh_ms delay_ms)
{
    struct uid_group *g = lh_map_get(l->by_uid, lh_str(uid));
    lh_ms at = lh_clock_now() + delay_ms;

    if (!g)
        return;
    for (struct entry *e = g->first; e; e = e->next_of_uid) {
        if (!e->holder && at < e->release_at)
            e->release_at = at;
    }
    ledger_sweep_at(l, at);
}

bool ledger_holds(const struct ledger *l, const char *uid)
{
    const struct uid_group *g = lh_map_get(l->by_uid, lh_str(uid));

    return g && holds(g);
}

void ledger_each(const struct ledger *l, ledger_each_fn fn, void *arg)
{
    size_t at = 0;
    void *entry;

    while (lh_map_next(l->by_key, &at, NULL, &entry)) {
        const struct entry *e = entry;

        fn(arg, &e->rec, e->gave_up, e->why_reason, e->why);
    }
}

void ledger_info(const struct ledger *l, struct ledger_info *out)
{
    size_t at = 0;
    void *entry;

    *out = (struct ledger_info){.loaded = l->taken && !l->fenced,
                                .fenced = l->fenced,
                                .records = lh_map_len(l->by_key),
                                .damaged = l->damaged,
                                .bytes = l->bytes + l->damaged_bytes,
                                .last_err = l->io_err.code ? &l->io_err : NULL};
    while (lh_map_next(l->by_key, &at, NULL, &entry))
        out->given_up += ((struct entry *)entry)->gave_up;
}
