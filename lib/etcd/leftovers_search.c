/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes in which nothing points to anything. A key stands behind its tag and length, its value
 * behind it: field 5 of a KeyValue, with numbers between (api/mvccpb/kv.proto), or field 2 of a
 * PutRequest (api/etcdserverpb/rpc.proto), alone or inside a transaction. A value whose key is gone
 * is known by its head.
 */
#include <string.h>

#include "bolt.h"
#include "leasehold/core/mem.h"
#include "leftovers_priv.h"
#include "pb.h"

enum {
    WINDOW = 1 << 20,
    AHEAD = 4096, /* a key and what stands before its value */
    BEHIND = 8,   /* tag and length of a key */
    MAX_KEY = 2048,
    MAX_VALUE = 64 << 20,
    KEY = 0x0a, /* tags: field 1 of both */
    PUT_VALUE = 0x12,
    STORED_VALUE = 0x2a,
    NUMBER_2 = 0x10, /* create_revision, mod_revision, version */
    NUMBER_3 = 0x18,
    NUMBER_4 = 0x20,
};

/* Of runtime.Unknown: apiVersion v1, kind Secret; the same as the API server writes it in JSON. */
static const char stored_secret[] = "k8s\0\n\x0c\n\x02v1\x12\x06Secret";
static const char json_secret[] = "{\"kind\":\"Secret\",\"apiVersion\":\"v1\"";
static const char encrypted[] = "k8s:enc:";

enum { NEEDLES = 4 };

struct needle {
    struct lh_str bytes;
    size_t next; /* in the window; SIZE_MAX: no more */
};

struct lh_leftover_search {
    struct needle needles[NEEDLES]; /* the first: keys */
    struct lh_str secrets;
    const struct lh_leftover_range *range;
    struct lh_leftovers *l;
    uint64_t at; /* of the window, in the file */
    size_t n;
    uint64_t counted; /* where a value stands that was counted with its key */
    unsigned char window[WINDOW];
    unsigned char head[LH_ATREST_HEAD_BYTES], tail[LH_ATREST_TAIL_BYTES];
};

int lh_leftover_search_new(const struct lh_leftover_keys *keys, struct lh_leftover_search **out,
                           struct lh_err *err)
{
    struct lh_leftover_search *s = lh_malloc(sizeof(*s));

    if (!s)
        return lh_err_nomem(err);
    s->needles[0].bytes = lh_str(keys->all);
    s->needles[1].bytes = (struct lh_str){stored_secret, sizeof(stored_secret) - 1};
    s->needles[2].bytes = lh_str(json_secret);
    s->needles[3].bytes = lh_str(encrypted);
    s->secrets = lh_str(keys->secrets);
    *out = s;
    return 0;
}

void lh_leftover_search_free(struct lh_leftover_search *s)
{
    lh_free(s);
}

/* Bytes of the file, in the window or in room; fewer than asked for where it has become shorter. */
static int bytes_at(const struct lh_leftover_search *s, uint64_t at, size_t n, unsigned char *room,
                    struct lh_str *out, struct lh_err *err)
{
    size_t got = 0;
    int rc;

    if (at >= s->at && at - s->at <= s->n && n <= s->n - (size_t)(at - s->at)) {
        *out = (struct lh_str){(const char *)s->window + (at - s->at), n};
        return 0;
    }
    rc = lh_bolt_read_at(s->range->fd, room, n, at, &got, err);
    *out = (struct lh_str){(const char *)room, got};
    return rc;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* A value of total bytes, of which the range may have the first alone. */
static int judge(struct lh_leftover_search *s, uint64_t at, uint64_t total,
                 struct lh_atrest_value *v, struct lh_err *err)
{
    uint64_t have = least(total, s->range->end - at);
    struct lh_atrest_bytes b = {.total = (size_t)total};
    struct lh_str head, tail = LH_STR("");
    size_t n = (size_t)least(total, sizeof(s->tail));
    int rc = bytes_at(s, at, (size_t)least(have, sizeof(s->head)), s->head, &head, err);

    if (rc < 0)
        return rc;
    b.head = head.p;
    b.head_n = head.n;
    lh_atrest_value_read(&b, v);
    if (v->scheme != LH_ATREST_KMS_V2 || have < total || total <= head.n)
        return 0;
    rc = bytes_at(s, at + total - n, n, s->tail, &tail, err);
    if (rc < 0 || tail.n < n)
        return rc;
    b.tail = tail.p;
    b.tail_n = tail.n;
    lh_atrest_value_read(&b, v);
    return 0;
}

/* Where the first bytes of a key are found: the whole of it. */
static bool key_at(const struct lh_leftover_search *s, size_t i, struct lh_str *out)
{
    const unsigned char *p = s->window + i;
    size_t n;

    if (i >= 2 && p[-2] == KEY && p[-1] < 0x80)
        n = p[-1];
    else if (i >= 3 && p[-3] == KEY && p[-2] >= 0x80 && p[-1] < 0x80)
        n = (size_t)(p[-2] & 0x7f) | (size_t)p[-1] << 7;
    else
        return false;
    if (n < s->needles[0].bytes.n || n > MAX_KEY || n > s->n - i)
        return false;
    *out = (struct lh_str){(const char *)p, n};
    return true;
}

/* Behind a key. */
static bool value_at(const struct lh_leftover_search *s, size_t i, uint64_t *at, uint64_t *total)
{
    struct lh_pb r = lh_pb_of((struct lh_str){(const char *)s->window + i, s->n - i});
    uint64_t tag, n;

    for (int field = 0; field < 4; field++) {
        if (!lh_pb_take_varint(&r, &tag) || !lh_pb_take_varint(&r, &n))
            return false;
        if ((tag == PUT_VALUE && field == 0) || tag == STORED_VALUE) {
            *at = s->at + (uint64_t)(r.p - s->window);
            *total = n;
            return n > 0 && n <= MAX_VALUE && *at < s->range->end;
        }
        if (tag != NUMBER_2 && tag != NUMBER_3 && tag != NUMBER_4)
            return false;
    }
    return false;
}

static int take_key(struct lh_leftover_search *s, size_t i, struct lh_err *err)
{
    struct lh_atrest_value v;
    struct lh_str key;
    uint64_t at, total;
    int rc;

    if (!key_at(s, i, &key) || !value_at(s, i + key.n, &at, &total))
        return 0;
    s->counted = at;
    if (!lh_str_starts(key, s->secrets))
        return 0;
    rc = judge(s, at, total, &v, err);
    return rc < 0 ? rc : lh_leftovers_count(s->l, s->range->place, &v, err);
}

/* The head of a value; of one that is encrypted nobody can tell any more whether it is a Secret. */
static int take_value(struct lh_leftover_search *s, size_t i, struct lh_err *err)
{
    uint64_t at = s->at + i;
    struct lh_atrest_value v;
    int rc;

    if (at == s->counted)
        return 0;
    rc = judge(s, at, MAX_VALUE, &v, err);
    if (rc < 0 || v.scheme == LH_ATREST_UNKNOWN || v.scheme == LH_ATREST_FOREIGN)
        return rc;
    v.key_id = LH_STR("");
    return lh_leftovers_count(s->l, s->range->place, &v, err);
}

/* Looks again from a place on, for a beginning before end. */
static void seek(const struct lh_leftover_search *s, struct needle *n, size_t from, size_t end)
{
    size_t most = end + n->bytes.n - 1 < s->n ? end + n->bytes.n - 1 : s->n;
    const unsigned char *found = from < end && from < most
                                     ? memmem(s->window + from, most - from, n->bytes.p, n->bytes.n)
                                     : NULL;

    n->next = found ? (size_t)(found - s->window) : SIZE_MAX;
}

/* All that begins at from..end of the window, in order, so that a value follows its key. */
static int search_window(struct lh_leftover_search *s, size_t from, size_t end, struct lh_err *err)
{
    int rc = 0;

    for (size_t i = 0; i < NEEDLES; i++)
        seek(s, &s->needles[i], from, end);
    while (rc == 0) {
        struct needle *first = &s->needles[0];
        size_t at;

        for (size_t i = 1; i < NEEDLES; i++) {
            if (s->needles[i].next < first->next)
                first = &s->needles[i];
        }
        at = first->next;
        if (at == SIZE_MAX)
            break;
        rc = first == &s->needles[0] ? take_key(s, at, err) : take_value(s, at, err);
        seek(s, first, at + 1, end);
    }
    return rc;
}

int lh_leftover_search_range(struct lh_leftover_search *s, const struct lh_leftover_range *range,
                             struct lh_leftovers *l, struct lh_err *err)
{
    uint64_t next = range->from; /* what begins before it has been found */

    s->range = range;
    s->l = l;
    s->counted = UINT64_MAX;
    while (next < range->end) {
        size_t from = (size_t)least(BEHIND, next - range->from), end;
        uint64_t most = range->end - (next - from);
        int rc;

        s->at = next - from;
        s->n = 0;
        rc = lh_bolt_read_at(range->fd, s->window, (size_t)least(most, WINDOW), s->at, &s->n, err);
        if (rc < 0)
            return rc;
        end = s->n == WINDOW && most > WINDOW ? WINDOW - AHEAD : s->n;
        rc = search_window(s, from, end, err);
        if (rc < 0)
            return rc;
        if (end <= from)
            break; /* it has become shorter */
        next = s->at + end;
    }
    return 0;
}
