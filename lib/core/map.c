/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/core/map.h"

#include <stdint.h>
#include <string.h>

#include "leasehold/core/mem.h"
#include "leasehold/core/rand.h"

/* key NULL: never used; key removed_key: a tombstone, since iteration allows removing. */
struct slot {
    char *key;
    size_t key_len;
    uint64_t hash;
    void *value;
};

struct lh_map {
    struct slot *slots;
    size_t room; /* a power of two */
    size_t n;
    size_t taken; /* n and tombstones */
    uint64_t k0, k1;
    bool borrows; /* keys are somebody else's */
};

static char removed_key[1];

static uint64_t rotl(uint64_t x, int by)
{
    return (x << by) | (x >> (64 - by));
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[0] = rotl(v[0], 32);
    v[2] += v[3];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[2] = rotl(v[2], 32);
}

/* SipHash-1-3 (Aumasson, Bernstein), the variant that hash tables use. */
static uint64_t hash_of(const struct lh_map *m, struct lh_str s)
{
    uint64_t v[4] = {m->k0 ^ 0x736f6d6570736575ULL, m->k1 ^ 0x646f72616e646f6dULL,
                     m->k0 ^ 0x6c7967656e657261ULL, m->k1 ^ 0x7465646279746573ULL};
    uint64_t last = (uint64_t)s.n << 56, word;
    size_t i;

    for (i = 0; i + 8 <= s.n; i += 8) {
        memcpy(&word, s.p + i, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    for (size_t j = 0; i + j < s.n; j++)
        last |= (uint64_t)(unsigned char)s.p[i + j] << (8 * j);
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int round = 0; round < 3; round++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

int lh_map_new(struct lh_map **out, struct lh_err *err)
{
    struct lh_map *m = lh_calloc(1, sizeof(*m));

    if (!m)
        return lh_err_nomem(err);
    lh_rand_bytes(&m->k0, sizeof(m->k0));
    lh_rand_bytes(&m->k1, sizeof(m->k1));
    *out = m;
    return 0;
}

int lh_map_new_borrowing(struct lh_map **out, struct lh_err *err)
{
    int rc = lh_map_new(out, err);

    if (rc == 0)
        (*out)->borrows = true;
    return rc;
}

static void free_key(const struct lh_map *m, struct slot *s)
{
    if (!m->borrows)
        lh_free(s->key);
}

static bool is_full(const struct slot *s)
{
    return s->key && s->key != removed_key;
}

void lh_map_free(struct lh_map *m, void (*free_value)(void *value))
{
    if (!m)
        return;
    for (size_t i = 0; i < m->room; i++) {
        if (!is_full(&m->slots[i]))
            continue;
        free_key(m, &m->slots[i]);
        if (free_value)
            free_value(m->slots[i].value);
    }
    lh_free(m->slots);
    lh_free(m);
}

static struct slot *find(const struct lh_map *m, struct lh_str key, uint64_t hash)
{
    if (m->room == 0)
        return NULL;
    for (size_t i = hash & (m->room - 1);; i = (i + 1) & (m->room - 1)) {
        struct slot *s = &m->slots[i];

        if (!s->key)
            return NULL;
        if (is_full(s) && s->hash == hash && s->key_len == key.n &&
            (key.n == 0 || memcmp(s->key, key.p, key.n) == 0))
            return s;
    }
}

static struct slot *find_free(struct slot *slots, size_t room, uint64_t hash)
{
    size_t i = hash & (room - 1);

    while (is_full(&slots[i]))
        i = (i + 1) & (room - 1);
    return &slots[i];
}

/* At most 3/4 taken, so that a search always ends at a free slot. */
static int make_room(struct lh_map *m, struct lh_err *err)
{
    struct slot *slots;
    size_t room;

    if (m->room > 0 && (m->taken + 1) * 4 <= m->room * 3)
        return 0;
    room = m->room ? m->room : 8;
    if ((m->n + 1) * 2 > room) /* else only tombstones are in the way */
        room *= 2;
    slots = lh_calloc(room, sizeof(*slots));
    if (!slots)
        return lh_err_nomem(err);
    for (size_t i = 0; i < m->room; i++) {
        if (is_full(&m->slots[i]))
            *find_free(slots, room, m->slots[i].hash) = m->slots[i];
    }
    lh_free(m->slots);
    m->slots = slots;
    m->room = room;
    m->taken = m->n;
    return 0;
}

/* Borrowed and copied keys share a slot; only copies are ever freed. */
static char *unconst(const char *p)
{
    return (char *)(uintptr_t)p;
}

int lh_map_set(struct lh_map *m, struct lh_str key, void *value, void **old, struct lh_err *err)
{
    uint64_t hash = hash_of(m, key);
    struct slot *s = find(m, key, hash);
    char *copy;

    if (s) {
        if (old)
            *old = s->value;
        s->value = value;
        if (m->borrows)
            s->key = unconst(key.p);
        return 0;
    }
    if (make_room(m, err) < 0)
        return -LH_E_NOMEM;
    copy = m->borrows ? unconst(key.p) : lh_str_dup(key);
    if (!copy)
        return lh_err_nomem(err);
    s = find_free(m->slots, m->room, hash);
    if (s->key != removed_key)
        m->taken++;
    *s = (struct slot){copy, key.n, hash, value};
    m->n++;
    if (old)
        *old = NULL;
    return 0;
}

void *lh_map_get(const struct lh_map *m, struct lh_str key)
{
    const struct slot *s = find(m, key, hash_of(m, key));

    return s ? s->value : NULL;
}

void *lh_map_remove(struct lh_map *m, struct lh_str key)
{
    struct slot *s = find(m, key, hash_of(m, key));
    void *value;

    if (!s)
        return NULL;
    value = s->value;
    free_key(m, s);
    *s = (struct slot){.key = removed_key};
    m->n--;
    return value;
}

size_t lh_map_len(const struct lh_map *m)
{
    return m->n;
}

bool lh_map_next(const struct lh_map *m, size_t *it, struct lh_str *key, void **value)
{
    for (; *it < m->room; ++*it) {
        const struct slot *s = &m->slots[*it];

        if (!is_full(s))
            continue;
        if (key)
            *key = (struct lh_str){s->key, s->key_len};
        if (value)
            *value = s->value;
        ++*it;
        return true;
    }
    return false;
}
