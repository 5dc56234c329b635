/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/lease/state.h"

#include <inttypes.h>
#include <stdio.h>

#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"

/*
 * "leasehold-state 1\n", SHA-256 of the key, records, "E", SHA-256 of all before it in hex. A
 * record is a letter and its fields in fixed order; a field is LENGTH ':' bytes; an absent text is
 * "-".
 */
#define MAGIC "leasehold-state 1\n"

enum { MAX_ENTRIES = 4096, MAX_FIELD = 64 * 1024, HEX_LEN = 2 * LH_HASH_LEN };

static void token_done(struct lh_state_token *t)
{
    lh_secret_free(t->value);
    lh_free(t->accessor);
}

static void lease_done(struct lh_state_lease *l)
{
    lh_free(l->grant);
    lh_free(l->lease_id);
    lh_free(l->version);
    lh_free(l->note);
}

void lh_state_done(struct lh_state *st)
{
    for (size_t i = 0; i < st->n_tokens; i++)
        token_done(&st->tokens[i]);
    for (size_t i = 0; i < st->n_leases; i++)
        lease_done(&st->leases[i]);
    lh_free(st->tokens);
    lh_free(st->leases);
    *st = (struct lh_state){0};
}

static void *grow(void *p, size_t n, size_t size)
{
    void *q = lh_realloc(p, (n + 1) * size);

    if (q)
        memset((char *)q + n * size, 0, size);
    return q;
}

struct lh_state_token *lh_state_add_token(struct lh_state *st)
{
    void *p = grow(st->tokens, st->n_tokens, sizeof(*st->tokens));

    if (!p)
        return NULL;
    st->tokens = p;
    return &st->tokens[st->n_tokens++];
}

struct lh_state_lease *lh_state_add_lease(struct lh_state *st)
{
    void *p = grow(st->leases, st->n_leases, sizeof(*st->leases));

    if (!p)
        return NULL;
    st->leases = p;
    return &st->leases[st->n_leases++];
}

static void put_bytes(struct lh_buf *b, const void *p, size_t n)
{
    lh_buf_printf(b, "%zu:", n);
    lh_buf_put(b, p, n);
}

static void put_text(struct lh_buf *b, const char *z)
{
    if (!z)
        lh_buf_put_c(b, '-');
    else
        put_bytes(b, z, strlen(z));
}

static void put_int(struct lh_buf *b, int64_t v)
{
    char t[24];
    int n = snprintf(t, sizeof(t), "%" PRId64, v);

    put_bytes(b, t, (size_t)n);
}

static void put_life(struct lh_buf *b, const struct lh_life *l)
{
    put_int(b, l->start);
    put_int(b, l->ms);
    put_int(b, l->asked_ms);
    put_int(b, l->renewable | l->ending << 1);
}

static void put_token(struct lh_buf *b, const struct lh_state_token *t)
{
    lh_buf_put_c(b, 'T');
    put_bytes(b, lh_secret_expose_const(t->value), lh_secret_len(t->value));
    put_text(b, t->accessor);
    put_life(b, &t->life);
    put_int(b, t->id);
    put_int(b, t->revoke_at);
}

static void put_lease(struct lh_buf *b, const struct lh_state_lease *l)
{
    lh_buf_put_c(b, 'L');
    put_text(b, l->grant);
    put_text(b, l->lease_id);
    put_text(b, l->version);
    put_text(b, l->note);
    put_int(b, l->kind);
    put_int(b, l->token_id);
    put_life(b, &l->life);
    put_int(b, l->rotation.last_wall_ms);
    put_int(b, l->rotation.period_ms);
    put_int(b, l->rotation.ttl_ms);
    put_int(b, l->rotation.sent_at);
    put_int(b, l->rotation.done_at);
    put_int(b, l->fresh_at);
    put_int(b, l->early_until);
    put_int(b, l->published);
    put_int(b, l->revoke_at);
}

static int hash_hex(const void *p, size_t n, char hex[HEX_LEN + 1], struct lh_err *err)
{
    uint8_t sum[LH_HASH_LEN];
    int rc = lh_sha256(p, n, sum, err);

    if (rc == 0)
        lh_hex(sum, sizeof(sum), hex);
    return rc;
}

int lh_state_write(const struct lh_state *st, const char *key, struct lh_buf *b, struct lh_err *err)
{
    char hex[HEX_LEN + 1];
    struct lh_str all;
    size_t from = lh_buf_peek(b).n;
    int rc;

    rc = hash_hex(key, strlen(key), hex, err);
    if (rc < 0)
        return rc;
    lh_buf_put_z(b, MAGIC);
    put_bytes(b, hex, HEX_LEN);
    for (size_t i = 0; i < st->n_tokens; i++)
        put_token(b, &st->tokens[i]);
    for (size_t i = 0; i < st->n_leases; i++)
        put_lease(b, &st->leases[i]);
    lh_buf_put_c(b, 'E');
    rc = lh_buf_check(b, err);
    if (rc < 0)
        return rc;
    all = lh_buf_peek(b);
    rc = hash_hex(all.p + from, all.n - from, hex, err);
    if (rc < 0)
        return rc;
    lh_buf_put(b, hex, HEX_LEN);
    return lh_buf_check(b, err);
}

struct reader {
    struct lh_str rest;
    bool bad;
    bool nomem;
};

static char take_c(struct reader *r)
{
    char c;

    if (r->bad || r->rest.n == 0) {
        r->bad = true;
        return '\0';
    }
    c = r->rest.p[0];
    r->rest.p++;
    r->rest.n--;
    return c;
}

static struct lh_str take_bytes(struct reader *r)
{
    struct lh_str head, rest;
    long long n;

    if (r->bad || !lh_str_cut(r->rest, ':', &head, &rest) ||
        !lh_str_to_i64(head, 0, MAX_FIELD, &n) || (size_t)n > rest.n) {
        r->bad = true;
        return (struct lh_str){NULL, 0};
    }
    r->rest = (struct lh_str){rest.p + n, rest.n - (size_t)n};
    return (struct lh_str){rest.p, (size_t)n};
}

static char *take_text(struct reader *r)
{
    struct lh_str s;
    char *z;

    if (!r->bad && r->rest.n > 0 && r->rest.p[0] == '-') {
        take_c(r);
        return NULL;
    }
    s = take_bytes(r);
    if (r->bad || memchr(s.p, '\0', s.n)) {
        r->bad = true;
        return NULL;
    }
    z = lh_str_dup(s);
    if (!z)
        r->bad = r->nomem = true;
    return z;
}

static int64_t take_int(struct reader *r, int64_t min, int64_t max)
{
    struct lh_str s = take_bytes(r);
    long long v = 0;

    if (r->bad || !lh_str_to_i64(s, min, max, &v)) {
        r->bad = true;
        return 0;
    }
    return v;
}

static void take_life(struct reader *r, struct lh_life *l)
{
    int64_t flags;

    l->start = take_int(r, 0, INT64_MAX);
    l->ms = take_int(r, 0, INT64_MAX);
    l->asked_ms = take_int(r, 0, INT64_MAX);
    flags = take_int(r, 0, 3);
    l->renewable = flags & 1;
    l->ending = flags & 2;
    l->dice = lh_dice();
}

static void take_token(struct reader *r, struct lh_state *st)
{
    struct lh_state_token *t = lh_state_add_token(st);
    struct lh_str value;

    if (!t) {
        r->bad = r->nomem = true;
        return;
    }
    value = take_bytes(r);
    if (!r->bad && lh_secret_copy(value.p, value.n, &t->value, NULL) < 0)
        r->bad = r->nomem = true;
    t->accessor = take_text(r);
    take_life(r, &t->life);
    t->id = take_int(r, 0, INT64_MAX);
    t->revoke_at = take_int(r, 0, INT64_MAX);
}

static void take_lease(struct reader *r, struct lh_state *st)
{
    struct lh_state_lease *l = lh_state_add_lease(st);

    if (!l) {
        r->bad = r->nomem = true;
        return;
    }
    l->grant = take_text(r);
    l->lease_id = take_text(r);
    l->version = take_text(r);
    l->note = take_text(r);
    l->kind = (int)take_int(r, 0, 16);
    l->token_id = take_int(r, 0, INT64_MAX);
    take_life(r, &l->life);
    l->rotation.last_wall_ms = take_int(r, 0, INT64_MAX);
    l->rotation.period_ms = take_int(r, 0, INT64_MAX);
    l->rotation.ttl_ms = take_int(r, 0, INT64_MAX);
    l->rotation.sent_at = take_int(r, 0, INT64_MAX);
    l->rotation.done_at = take_int(r, 0, INT64_MAX);
    l->fresh_at = take_int(r, 0, INT64_MAX);
    l->early_until = take_int(r, 0, INT64_MAX);
    l->published = take_int(r, 0, 1);
    l->revoke_at = take_int(r, 0, INT64_MAX);
}

static void take_records(struct reader *r, struct lh_state *st)
{
    while (!r->bad && r->rest.n > 0) {
        switch (take_c(r)) {
        case 'T':
            take_token(r, st);
            break;
        case 'L':
            take_lease(r, st);
            break;
        default:
            r->bad = true;
            break;
        }
        if (st->n_tokens + st->n_leases > MAX_ENTRIES)
            r->bad = true;
    }
}

/* The bytes without "E" and the checksum, which holds. */
static int check_sum(struct lh_str bytes, struct lh_str *body, struct lh_err *err)
{
    char hex[HEX_LEN + 1];
    struct lh_str covered;
    int rc;

    if (!lh_str_starts(bytes, LH_STR(MAGIC)) || bytes.n < sizeof(MAGIC) + HEX_LEN)
        return lh_err_set(err, LH_E_INVALID, "state is not of this version");
    covered = (struct lh_str){bytes.p, bytes.n - HEX_LEN};
    rc = hash_hex(covered.p, covered.n, hex, err);
    if (rc < 0)
        return rc;
    if (memcmp(hex, bytes.p + covered.n, HEX_LEN) != 0 || covered.p[covered.n - 1] != 'E')
        return lh_err_set(err, LH_E_INVALID, "state is damaged");
    *body = (struct lh_str){covered.p + strlen(MAGIC), covered.n - strlen(MAGIC) - 1};
    return 0;
}

int lh_state_parse(struct lh_str bytes, const char *key, struct lh_state *out, struct lh_err *err)
{
    struct lh_state st = {0};
    struct reader r = {0};
    char hex[HEX_LEN + 1];
    struct lh_str got;
    int rc;

    rc = hash_hex(key, strlen(key), hex, err);
    if (rc == 0)
        rc = check_sum(bytes, &r.rest, err);
    if (rc < 0)
        return rc;
    got = take_bytes(&r);
    if (r.bad || !lh_str_eqz(got, hex))
        return lh_err_set(err, LH_E_INVALID, "state belongs to another Pod, store or boot");
    take_records(&r, &st);
    if (r.bad) {
        lh_state_done(&st);
        return r.nomem ? lh_err_nomem(err)
                       : lh_err_set(err, LH_E_INVALID, "state has a malformed record");
    }
    *out = st;
    return 0;
}
