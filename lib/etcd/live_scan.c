/* SPDX-License-Identifier: Apache-2.0 */
/* KV.Range in pages at one revision (etcd api/etcdserverpb/rpc.proto). */
#include <string.h>

#include "leasehold/core/clock.h"
#include "live.h"
#include "pb.h"

enum {
    PAGE_BYTES = 2 << 20, /* what a page is meant to have */
    FIRST_LIMIT = 100,
    MAX_LIMIT = 1000,
    MAX_RESTARTS = 5,
    FIRST_DELAY_MS = 50,
    MAX_DELAY_MS = 2000,
    MAX_REQUEST = 1 << 20,
};

struct page {
    struct lh_str message;
    int64_t revision;
    uint64_t kvs;
    bool more;
};

static void on_page(void *arg, enum lh_grpc_status status, struct lh_str message, const char *text);

static int ask_page(struct lh_etcd_scan *scan, struct lh_err *err)
{
    lh_auto_buf struct lh_buf b;
    int rc;

    lh_buf_init(&b, MAX_REQUEST);
    lh_pb_put_bytes(&b, 1, (struct lh_str){scan->next_key, scan->next_key_bytes});
    lh_pb_put_bytes(&b, 2, (struct lh_str){scan->range_end, scan->range_end_bytes});
    lh_pb_put_varint(&b, 3, scan->key_alone ? 1 : scan->limit);
    if (scan->result.revision > 0)
        lh_pb_put_varint(&b, 4, (uint64_t)scan->result.revision);
    if (scan->opts.keys_only || scan->key_alone)
        lh_pb_put_varint(&b, 8, 1);
    rc = lh_buf_check(&b, err);
    if (rc < 0)
        return rc;
    return lh_etcd_live_call(scan->e, "/etcdserverpb.KV/Range", lh_buf_peek(&b), on_page, scan,
                             &scan->call, err);
}

static void ask_or_finish(struct lh_etcd_scan *scan)
{
    struct lh_err err = {0};

    if (ask_page(scan, &err) < 0)
        lh_etcd_scan_finish(scan, &err);
}

static void on_retry(void *arg)
{
    ask_or_finish(arg);
}

static int set_next_key(struct lh_etcd_scan *scan, struct lh_str key, size_t extra)
{
    char *next = lh_malloc(key.n + extra);

    if (!next)
        return -1;
    memcpy(next, key.p, key.n);
    memset(next + key.n, 0, extra);
    lh_free(scan->next_key);
    scan->next_key = next;
    scan->next_key_bytes = key.n + extra;
    return 0;
}

/* From the first key of the prefix; all of etcd begins and ends with "\0" (rpc.proto). */
static int rewind_scan(struct lh_etcd_scan *scan, struct lh_err *err)
{
    struct lh_str prefix = {scan->prefix, scan->prefix_bytes};

    scan->result.revision = 0;
    scan->limit = FIRST_LIMIT;
    scan->key_alone = false;
    return set_next_key(scan, prefix, prefix.n == 0) < 0 ? lh_err_nomem(err) : 0;
}

/* The first key behind all that begin with the prefix. */
static int set_range_end(struct lh_etcd_scan *scan, struct lh_err *err)
{
    size_t n = scan->prefix_bytes;

    scan->range_end = lh_calloc(1, n + 1);
    if (!scan->range_end)
        return lh_err_nomem(err);
    memcpy(scan->range_end, scan->prefix, n);
    while (n > 0 && (unsigned char)scan->range_end[n - 1] == 0xff)
        n--;
    if (n > 0)
        scan->range_end[n - 1]++;
    else
        scan->range_end[0] = '\0';
    scan->range_end_bytes = n > 0 ? n : 1;
    return 0;
}

int lh_etcd_live_scan_begin(struct lh_etcd_scan *scan, struct lh_err *err)
{
    int rc;

    if (!scan->opts.restarted)
        return lh_err_set(err, LH_E_INVALID, "a scan of a running etcd may restart");
    rc = lh_timer_new(scan->e->loop, on_retry, scan, &scan->timer, err);
    if (rc == 0)
        rc = set_range_end(scan, err);
    if (rc == 0)
        rc = rewind_scan(scan, err);
    scan->delay = FIRST_DELAY_MS;
    return rc == 0 ? ask_page(scan, err) : rc;
}

void lh_etcd_live_scan_end(struct lh_etcd_scan *scan)
{
    lh_grpc_client_cancel(scan->call);
    lh_free(scan->next_key);
    lh_free(scan->range_end);
}

static void scan_invalid(struct lh_etcd_scan *scan)
{
    struct lh_err err;

    lh_err_fill(&err, LH_E_INVALID, "%s: the answer is not etcd's",
                scan->e->live.targets[scan->e->live.current].url);
    lh_etcd_scan_finish(scan, &err);
}

/* Looks at all of a page before any of it counts. */
static bool parse_page(struct lh_str message, struct page *out)
{
    struct lh_etcd_about header = {0};
    struct lh_pb r = lh_pb_of(message);
    struct lh_etcd_entry e;
    struct lh_pb_field f;

    *out = (struct page){.message = message};
    while (lh_pb_next(&r, &f)) {
        if (f.type == LH_PB_BYTES && f.number == 1) {
            lh_etcd_take_header(&header, f.bytes);
        } else if (f.type == LH_PB_BYTES && f.number == 2) {
            if (!lh_etcd_entry_parse(f.bytes, &e))
                return false;
            out->kvs++;
        } else if (f.type == LH_PB_VARINT && f.number == 3) {
            out->more = f.n != 0;
        }
    }
    out->revision = header.revision;
    return !r.bad && header.revision > 0 && (out->kvs > 0 || !out->more);
}

/* false: the scan is gone. */
static bool give_page(struct lh_etcd_scan *scan, const struct page *p, struct lh_str *last)
{
    struct lh_pb r = lh_pb_of(p->message);
    struct lh_etcd_entry e;
    struct lh_pb_field f;

    while (lh_pb_next(&r, &f)) {
        if (f.type != LH_PB_BYTES || f.number != 2 || !lh_etcd_entry_parse(f.bytes, &e))
            continue;
        *last = e.key;
        e.unread = scan->key_alone;
        if (!lh_etcd_scan_give(scan, &e))
            return false;
    }
    return true;
}

/* As many keys as made PAGE_BYTES of this page. */
static unsigned limit_after(const struct page *p)
{
    uint64_t each = p->kvs > 0 ? p->message.n / p->kvs + 1 : 1, n = PAGE_BYTES / each;

    if (n > MAX_LIMIT)
        return MAX_LIMIT;
    return n > 0 ? (unsigned)n : 1;
}

static void take_page(struct lh_etcd_scan *scan, struct lh_str message)
{
    struct lh_str last = LH_STR("");
    struct lh_err err = {0};
    struct page p;

    if (!parse_page(message, &p)) {
        scan_invalid(scan);
        return;
    }
    scan->begun = true;
    scan->tried = 0;
    scan->give_up_at = 0;
    scan->delay = FIRST_DELAY_MS;
    if (scan->result.revision == 0)
        scan->result.revision = p.revision;
    if (!give_page(scan, &p, &last))
        return;
    if (!p.more) {
        lh_etcd_scan_finish(scan, NULL);
        return;
    }
    scan->limit = scan->key_alone ? FIRST_LIMIT : limit_after(&p);
    scan->key_alone = false;
    if (set_next_key(scan, last, 1) < 0) {
        lh_err_nomem(&err);
        lh_etcd_scan_finish(scan, &err);
        return;
    }
    ask_or_finish(scan);
}

static void restart(struct lh_etcd_scan *scan)
{
    struct lh_err err = {0};

    if (scan->result.restarts == MAX_RESTARTS) {
        lh_err_fill(&err, LH_E_GONE,
                    "etcd compacted the revision of the scan away, %d times: it is compacted "
                    "faster than it can be read",
                    MAX_RESTARTS + 1);
        lh_etcd_scan_finish(scan, &err);
        return;
    }
    if (!lh_etcd_scan_restart(scan))
        return;
    if (rewind_scan(scan, &err) < 0)
        lh_etcd_scan_finish(scan, &err);
    else
        ask_or_finish(scan);
}

/* Waits and asks another one, as long as there is patience; without a page so far each is asked
 * once, unless what is missing is a leader. */
static void retry(struct lh_etcd_scan *scan, enum lh_grpc_status status, const char *text)
{
    struct lh_etcd_live *l = &scan->e->live;
    bool patient = scan->begun || lh_str_starts(lh_str(text), LH_STR("etcdserver: "));
    lh_ms now = lh_clock_now();
    struct lh_err err;

    lh_etcd_live_err(scan->e, status, text, &err);
    if (scan->give_up_at == 0)
        scan->give_up_at = now + l->patience_ms;
    if ((!patient && ++scan->tried >= l->n_targets) || now >= scan->give_up_at) {
        lh_etcd_scan_finish(scan, &err);
        return;
    }
    scan->result.retries++;
    lh_etcd_next_target(l);
    if (!patient) {
        lh_timer_in(scan->timer, 0);
        return;
    }
    lh_timer_in(scan->timer, scan->delay);
    scan->delay = scan->delay * 2 < MAX_DELAY_MS ? scan->delay * 2 : MAX_DELAY_MS;
}

static void on_page(void *arg, enum lh_grpc_status status, struct lh_str message, const char *text)
{
    struct lh_etcd_scan *scan = arg;
    struct lh_err err;

    scan->call = NULL;
    if (status == LH_GRPC_OK) {
        take_page(scan, message);
    } else if (status == LH_GRPC_OUT_OF_RANGE && strstr(text, "compacted")) {
        restart(scan);
    } else if (status == LH_GRPC_RESOURCE_EXHAUSTED &&
               lh_str_starts(lh_str(text), LH_STR("answer of ")) && !scan->key_alone) {
        /* Our own limit (grpc/client): fewer at once, and in the end the key without its value. */
        scan->key_alone = scan->limit == 1;
        scan->limit = scan->limit > 1 ? scan->limit / 2 : 1;
        ask_or_finish(scan);
    } else if (lh_etcd_is_transient(status, text)) {
        retry(scan, status, text);
    } else {
        lh_etcd_live_err(scan->e, status, text, &err);
        lh_etcd_scan_finish(scan, &err);
    }
}
