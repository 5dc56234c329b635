/* SPDX-License-Identifier: Apache-2.0 */
/* The Secret behind the ledger: one request at a time, read anew after anything but a success. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "leasehold/codec/base64.h"
#include "leasehold/codec/jsonpatch.h"
#include "leasehold/core/mem.h"
#include "leasehold/kube/apply.h"
#include "ledger_priv.h"

#define TERM_KEY "term"

enum {
    OPS_MAX = 2000,          /* of one patch; the API server takes 10,000 */
    LAZY_MS = 1000,          /* what nobody waits for gathers so long */
    BYTES_PER_MS = 4 * 1024, /* each write costs the API server the whole Secret: the bigger it is,
                                the longer others gather */
    VALUE_MAX = 16 * 1024,
};

static bool leads(const struct ledger *l)
{
    return l->started && !l->fenced && (!l->opts.leads || l->opts.leads(l->opts.arg));
}

/* Failed, with the same words for as long as it is the same cause. */
static void io_failed(struct ledger *l, const struct lh_err *err)
{
    bool said = l->io_err.code == err->code && l->io_err.http_status == err->http_status;

    lh_failures_note(&l->io_failures, lh_clock_now(), err->code, err->retry_ms, false, lh_dice());
    l->io_err = *err;
    l->io_err.reason = LH_REASON_LedgerUnavailable;
    if (!said && l->opts.failed)
        l->opts.failed(l->opts.arg, &l->io_err);
}

static void io_worked(struct ledger *l)
{
    lh_failures_reset(&l->io_failures);
    l->io_err = (struct lh_err){0};
}

/* What a member of data holds, decoded. */
static int decoded(const lh_json *value, struct lh_buf *b, struct lh_err *err)
{
    struct lh_str text;

    lh_buf_reset(b);
    if (!lh_json_str(value, &text))
        return lh_err_set(err, LH_E_INVALID, "the ledger's Secret holds what is no text");
    return lh_base64_decode(text, b, err);
}

static void write_term(const struct ledger *l, char out[64])
{
    snprintf(out, 64, "%" PRId64 " %016" PRIx64, l->term, l->nonce);
}

/* Whose the Secret is. False: another leader's, after we had taken it. */
static bool read_term(struct ledger *l, const lh_json *data)
{
    lh_auto_buf struct lh_buf b;
    char ours[64];
    struct lh_str number, nonce;
    long long term;

    lh_buf_init(&b, VALUE_MAX);
    write_term(l, ours);
    if (decoded(lh_json_get(data, TERM_KEY), &b, NULL) < 0) {
        l->taken = false; /* a Secret without a term: a fresh one */
        return true;
    }
    if (lh_str_eqz(lh_buf_peek(&b), ours)) {
        l->taken = true;
        return true;
    }
    if (l->taken)
        return false;
    lh_str_cut(lh_buf_peek(&b), ' ', &number, &nonce);
    if (lh_str_to_i64(number, 0, INT64_MAX - 1, &term) && term >= l->term)
        l->term = term + 1;
    return true;
}

/* A record that we know, as the Secret has it: ours is the newer one. */
static void compare(struct entry *e, struct lh_str there)
{
    lh_auto_buf struct lh_buf b;

    lh_buf_init(&b, VALUE_MAX);
    e->stored = true;
    e->changed = ledger_record_write(&e->rec, &b, NULL) < 0 || !lh_str_eq(lh_buf_peek(&b), there);
    if (e->login && !e->changed) /* the write's answer was lost */
        ledger_login_recorded(e);
}

static void merge_one(struct ledger *l, struct lh_str key, const lh_json *value, struct lh_buf *b)
{
    struct entry *e = lh_map_get(l->by_key, key);
    struct ledger_record rec = {0};
    struct lh_err err = {0};

    if (decoded(value, b, &err) == 0 && e) {
        compare(e, lh_buf_peek(b));
    } else if (!err.code && ledger_record_parse(lh_buf_peek(b), &rec, &err) == 0 &&
               ledger_entry_new(l, &rec, &e, &err) == 0) {
        e->stored = true;
        e->changed = !lh_str_eqz(key, e->key); /* under a name that is not ours */
    }
    if (err.code || !e) { /* nothing is concluded from it, and it stays */
        l->damaged++;
        l->damaged_bytes += key.n + b->n;
        return;
    }
    e->seen = l->reads;
}

static void merge(struct ledger *l, const lh_json *data)
{
    lh_auto_buf struct lh_buf b;
    const lh_json *value;
    struct lh_str key;
    void *it = NULL, *entry;
    size_t at = 0;

    lh_buf_init(&b, VALUE_MAX);
    l->reads++;
    l->damaged = l->damaged_bytes = 0;
    while (lh_json_next(data, &it, &key, &value)) {
        if (lh_str_starts(key, LH_STR(LEDGER_KEY_PREFIX)))
            merge_one(l, key, value, &b);
    }
    while (lh_map_next(l->by_key, &at, NULL, &entry)) {
        struct entry *e = entry;

        if (e->seen == l->reads)
            continue;
        e->stored = false;
        if (e->doomed) {
            ledger_entry_free(e);
            continue;
        }
        e->changed = true;
        l->urgent = true; /* somebody took it away, or it never came */
    }
}

static int take_version(struct ledger *l, const lh_json *obj, struct lh_err *err)
{
    const char *z = lh_json_get_z(lh_json_get(obj, "metadata"), "resourceVersion");
    char *version;

    if (!z)
        return lh_err_set(err, LH_E_UNAVAILABLE, "the ledger's Secret: the answer is none");
    version = lh_strdup(z);
    if (!version)
        return lh_err_nomem(err);
    lh_free(l->version);
    l->version = version;
    return 0;
}

static void fence(struct ledger *l)
{
    const char *text = "another leader has taken the ledger over";

    l->fenced = true;
    lh_err_fill(&l->io_err, LH_E_UNAVAILABLE, "%s", text);
    l->io_err.reason = LH_REASON_LedgerUnavailable;
    ledger_revoke_stop(l);
    ledger_logins_fail(l, &l->io_err);
    if (l->opts.fenced)
        l->opts.fenced(l->opts.arg);
}

static void on_read(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct ledger *l = arg;
    const lh_json *data = lh_json_get(obj, "data");
    struct lh_err mine = {0};

    l->io = NULL;
    l->io_done_at = lh_clock_now();
    if (!err && take_version(l, obj, &mine) < 0)
        err = &mine;
    if (err) {
        io_failed(l, err);
    } else if (!read_term(l, data)) {
        fence(l);
        return;
    } else {
        l->has_data = data;
        l->need_read = false;
        io_worked(l);
        merge(l, data);
        ledger_logins_finish(l);
        ledger_sweep_at(l, lh_clock_now());
    }
    ledger_store_step(l);
}

static int add_op(lh_json *patch, const char *key, const char *text, size_t n, struct lh_err *err)
{
    lh_auto_buf struct lh_buf b;
    char path[64];

    lh_buf_init(&b, 2 * VALUE_MAX);
    lh_base64_put(&b, text, n);
    snprintf(path, sizeof(path), "/data/%s", key);
    if (lh_buf_check(&b, err) < 0 ||
        lh_jsonpatch_op(patch, "add", path, lh_json_new_str(lh_buf_peek(&b))) < 0)
        return lh_err_nomem(err);
    return 0;
}

static int put_entry(lh_json *patch, struct entry *e, struct lh_buf *b, struct lh_err *err)
{
    char path[64];
    int rc;

    snprintf(path, sizeof(path), "/data/%s", e->key);
    if (e->doomed)
        return lh_jsonpatch_op(patch, "remove", path, NULL) < 0 ? lh_err_nomem(err) : 0;
    lh_buf_reset(b);
    rc = ledger_record_write(&e->rec, b, err);
    if (rc == 0)
        rc = add_op(patch, e->key, lh_buf_peek(b).p, b->n, err);
    return rc;
}

static bool to_write(const struct entry *e)
{
    return e->doomed ? e->stored : e->changed;
}

/* What a write is about, at most OPS_MAX of it. */
static int put_entries(struct ledger *l, lh_json *patch, struct lh_err *err)
{
    lh_auto_buf struct lh_buf b;
    size_t at = 0, n = 0;
    void *entry;
    int rc = 0;

    lh_buf_init(&b, VALUE_MAX);
    while (rc == 0 && n < OPS_MAX && lh_map_next(l->by_key, &at, NULL, &entry)) {
        struct entry *e = entry;

        if (!to_write(e))
            continue;
        rc = put_entry(patch, e, &b, err);
        if (rc == 0) {
            e->writing = e->doomed ? WRITING_REMOVE : WRITING_ADD;
            e->changed = false;
        }
        n++;
    }
    return rc;
}

static int put_head(struct ledger *l, lh_json *patch, struct lh_err *err)
{
    char term[64];

    if (lh_jsonpatch_op(patch, "test", "/metadata/resourceVersion", lh_json_new_z(l->version)) <
            0 ||
        (!l->has_data && lh_jsonpatch_op(patch, "add", "/data", lh_json_new_object()) < 0))
        return lh_err_nomem(err);
    if (l->taken)
        return 0;
    write_term(l, term);
    return add_op(patch, TERM_KEY, term, strlen(term), err);
}

/* The write is over; true: it is done. What follows for callers comes after. */
static void written(struct ledger *l, bool ok)
{
    size_t at = 0;
    void *entry;

    while (lh_map_next(l->by_key, &at, NULL, &entry)) {
        struct entry *e = entry;
        enum writing was = e->writing;

        e->writing = WRITING_NOT;
        if (was == WRITING_NOT)
            continue;
        if (ok && was == WRITING_REMOVE) {
            e->stored = false;
            ledger_entry_free(e);
        } else if (ok) {
            e->stored = true;
            if (e->login)
                ledger_login_recorded(e);
        } else if (was == WRITING_ADD) {
            e->changed = true;
        }
    }
}

static void on_written(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct ledger *l = arg;
    struct lh_err mine = {0};

    l->io = NULL;
    l->io_done_at = lh_clock_now();
    ledger_count("write", err ? "failed" : "done");
    written(l, !err);
    if (!err) {
        l->taken = l->has_data = true;
        io_worked(l);
        l->need_read = take_version(l, obj, &mine) < 0;
        ledger_logins_finish(l);
        /* Until the Secret was ours nothing was looked at. */
        ledger_sweep_at(l, lh_clock_now());
        if (!l->loaded_said && l->opts.loaded) {
            l->loaded_said = true;
            l->opts.loaded(l->opts.arg);
        }
    } else {
        /* It may have been carried out all the same. */
        l->need_read = true;
        io_failed(l, err);
    }
    ledger_measure(l);
    ledger_store_step(l);
}

static int start_write(struct ledger *l, struct lh_err *err)
{
    lh_auto_json lh_json *patch = lh_json_new_array();
    int rc;

    if (!patch)
        return lh_err_nomem(err);
    rc = put_head(l, patch, err);
    if (rc == 0)
        rc = put_entries(l, patch, err);
    if (rc == 0)
        rc = lh_kube_json_patch(l->kube, &l->secret, patch, on_written, l, &l->io, err);
    if (rc < 0)
        written(l, false);
    return rc;
}

/* When the next write is due; LH_NEVER: there is nothing to write. */
static lh_ms write_at(const struct ledger *l)
{
    lh_ms gap = (lh_ms)(l->bytes / BYTES_PER_MS), at;
    size_t it = 0;
    void *entry;
    bool any = !l->taken;

    while (!any && lh_map_next(l->by_key, &it, NULL, &entry))
        any = to_write(entry);
    if (!any)
        return LH_NEVER;
    if (!l->urgent && l->taken && gap < LAZY_MS)
        gap = LAZY_MS;
    at = l->io_done_at + gap;
    return at > l->io_failures.next ? at : l->io_failures.next;
}

void ledger_store_step(struct ledger *l)
{
    lh_ms now = lh_clock_now(), at;
    struct lh_err err = {0};
    int rc;

    if (l->io || !l->started || l->fenced)
        return;
    at = l->need_read ? l->io_failures.next : write_at(l);
    if (at == LH_NEVER)
        return;
    if (at > now) {
        lh_timer_at(l->io_timer, at);
        return;
    }
    if (!leads(l)) { /* whoever started us says so soon */
        lh_timer_in(l->io_timer, LAZY_MS);
        return;
    }
    if (l->need_read) {
        rc = lh_kube_start(l->kube, "GET", &l->secret, NULL, NULL, NULL, 0, on_read, l, &l->io,
                           &err);
    } else {
        l->urgent = false;
        rc = start_write(l, &err);
    }
    if (rc < 0) {
        io_failed(l, &err);
        lh_timer_at(l->io_timer, l->io_failures.next);
    }
}

void ledger_store_stop(struct ledger *l)
{
    lh_kube_cancel(l->io);
    l->io = NULL;
    lh_timer_stop(l->io_timer);
    written(l, false);
}
