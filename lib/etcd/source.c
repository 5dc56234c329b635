/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "priv.h"

void lh_etcd_clear_members(struct lh_etcd_about *a)
{
    for (size_t i = 0; i < a->n_members; i++) {
        lh_free(a->members[i].name);
        lh_free(a->members[i].peer_urls);
        lh_free(a->members[i].client_urls);
    }
    lh_free(a->members);
    a->members = NULL;
    a->n_members = 0;
}

int lh_etcd_add_member(struct lh_etcd_about *a, struct lh_str name, struct lh_str peers,
                       struct lh_str clients, struct lh_err *err)
{
    struct lh_etcd_member *more = lh_realloc(a->members, (a->n_members + 1) * sizeof(*a->members));
    struct lh_etcd_member m;

    if (!more)
        return lh_err_nomem(err);
    a->members = more;
    m = (struct lh_etcd_member){lh_str_dup(name), lh_str_dup(peers), lh_str_dup(clients)};
    more[a->n_members++] = m; /* what there is of it is freed with the rest */
    return m.name && m.peer_urls && m.client_urls ? 0 : lh_err_nomem(err);
}

static void about_unlink(struct lh_etcd_about_op *op)
{
    if (op->prev)
        op->prev->next = op->next;
    else
        op->e->abouts = op->next;
    if (op->next)
        op->next->prev = op->prev;
    op->e->ops->about_end(op);
    lh_timer_free(op->timer);
}

int lh_etcd_about_start(struct lh_etcd *e, lh_etcd_about_fn done, void *arg,
                        struct lh_etcd_about_op **out, struct lh_err *err)
{
    struct lh_etcd_about_op *op = lh_calloc(1, sizeof(*op));
    int rc;

    if (!op)
        return lh_err_nomem(err);
    op->e = e;
    op->done = done;
    op->arg = arg;
    op->next = e->abouts;
    if (e->abouts)
        e->abouts->prev = op;
    e->abouts = op;
    rc = e->ops->about_begin(op, err);
    if (rc < 0) {
        about_unlink(op);
        lh_free(op);
        return rc;
    }
    *out = op;
    return 0;
}

void lh_etcd_about_cancel(struct lh_etcd_about_op *op)
{
    if (!op)
        return;
    about_unlink(op);
    lh_free(op);
}

void lh_etcd_about_finish(struct lh_etcd_about_op *op, const struct lh_err *err)
{
    struct lh_err kept;

    if (err)
        kept = *err; /* it may stand in what is released now */
    about_unlink(op);
    op->done(op->arg, err ? NULL : &op->e->about, err ? &kept : NULL);
    lh_free(op);
}

static void scan_unlink(struct lh_etcd_scan *scan)
{
    if (scan->prev)
        scan->prev->next = scan->next;
    else
        scan->e->scans = scan->next;
    if (scan->next)
        scan->next->prev = scan->prev;
    scan->e->ops->scan_end(scan);
    lh_timer_free(scan->timer);
    lh_free(scan->prefix);
}

static int scan_fill(struct lh_etcd_scan *scan, const struct lh_etcd_scan_options *opts,
                     struct lh_err *err)
{
    scan->opts = *opts;
    scan->prefix = lh_strdup(opts->prefix);
    if (!scan->prefix)
        return lh_err_nomem(err);
    scan->prefix_bytes = strlen(scan->prefix);
    if (scan->opts.max_value == 0)
        scan->opts.max_value = LH_ETCD_VALUE_HEAD;
    return scan->e->ops->scan_begin(scan, err);
}

int lh_etcd_scan_start(struct lh_etcd *e, const struct lh_etcd_scan_options *opts,
                       lh_etcd_scan_fn done, void *arg, struct lh_etcd_scan **out,
                       struct lh_err *err)
{
    struct lh_etcd_scan *scan = lh_calloc(1, sizeof(*scan));
    int rc;

    if (!scan)
        return lh_err_nomem(err);
    scan->e = e;
    scan->done = done;
    scan->arg = arg;
    scan->next = e->scans;
    if (e->scans)
        e->scans->prev = scan;
    e->scans = scan;
    rc = scan_fill(scan, opts, err);
    if (rc < 0) {
        scan_unlink(scan);
        lh_free(scan);
        return rc;
    }
    *out = scan;
    return 0;
}

void lh_etcd_scan_cancel(struct lh_etcd_scan *scan)
{
    if (!scan)
        return;
    if (scan->calling) {
        scan->doomed = true; /* whoever is calling back does it */
        return;
    }
    scan_unlink(scan);
    lh_free(scan);
}

void lh_etcd_scan_finish(struct lh_etcd_scan *scan, const struct lh_err *err)
{
    struct lh_err kept;

    if (err)
        kept = *err;
    scan_unlink(scan);
    scan->done(scan->arg, err ? NULL : &scan->result, err ? &kept : NULL);
    lh_free(scan);
}

static bool after_call(struct lh_etcd_scan *scan)
{
    scan->calling = false;
    if (scan->doomed)
        lh_etcd_scan_cancel(scan);
    else
        return true;
    return false;
}

bool lh_etcd_scan_give(struct lh_etcd_scan *scan, const struct lh_etcd_entry *e)
{
    struct lh_etcd_entry given = *e;

    if (given.value.n > scan->opts.max_value)
        given.value.n = scan->opts.max_value;
    if (scan->opts.keys_only) {
        given.value = LH_STR("");
        given.value_size = 0;
    }
    scan->result.entries++;
    scan->result.value_bytes += given.value_size;
    scan->calling = true;
    scan->opts.entry(scan->arg, &given);
    return after_call(scan);
}

bool lh_etcd_scan_restart(struct lh_etcd_scan *scan)
{
    scan->result.entries = 0;
    scan->result.value_bytes = 0;
    scan->result.restarts++;
    scan->calling = true;
    scan->opts.restarted(scan->arg);
    return after_call(scan);
}

void lh_etcd_free(struct lh_etcd *e)
{
    if (!e)
        return;
    while (e->abouts)
        lh_etcd_about_cancel(e->abouts);
    while (e->scans)
        lh_etcd_scan_cancel(e->scans);
    e->ops->free(e);
    lh_etcd_clear_members(&e->about);
    lh_free(e);
}
