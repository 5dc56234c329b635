/* SPDX-License-Identifier: Apache-2.0 */
#include "cache.h"

#include <string.h>

#include "leasehold/core/buf.h"
#include "leasehold/core/map.h"
#include "leasehold/core/mem.h"

struct entry {
    struct entry *prev, *next; /* newest use first */
    struct kms_cache_key key;
    struct lh_secret *plain;
    lh_ms put_at;
};

struct kms_cache {
    struct lh_map *map;
    struct entry *first, *last;
    size_t entries;
    lh_ms age_ms;
};

static struct lh_str text_of(const struct kms_cache_key *key)
{
    return (struct lh_str){(const char *)key->b, sizeof(key->b)};
}

int kms_cache_key(struct lh_str key_id, struct lh_str ciphertext, struct kms_cache_key *out,
                  struct lh_err *err)
{
    lh_auto_buf struct lh_buf b;
    int rc;

    lh_buf_init(&b, key_id.n + ciphertext.n + 32);
    lh_buf_printf(&b, "%zu:", key_id.n);
    lh_buf_put_str(&b, key_id);
    lh_buf_put_str(&b, ciphertext);
    rc = lh_buf_check(&b, err);
    return rc < 0 ? rc : lh_sha256(b.p, b.n, out->b, err);
}

int kms_cache_new(size_t entries, lh_ms age_ms, struct kms_cache **out, struct lh_err *err)
{
    lh_auto_free struct kms_cache *c = lh_calloc(1, sizeof(*c));
    int rc;

    if (!c)
        return lh_err_nomem(err);
    c->entries = entries;
    c->age_ms = age_ms;
    rc = lh_map_new(&c->map, err);
    if (rc < 0)
        return rc;
    *out = LH_TAKE_PTR(c);
    return 0;
}

static void unlink_entry(struct kms_cache *c, struct entry *e)
{
    *(e->prev ? &e->prev->next : &c->first) = e->next;
    *(e->next ? &e->next->prev : &c->last) = e->prev;
    e->prev = e->next = NULL;
}

static void push(struct kms_cache *c, struct entry *e)
{
    e->next = c->first;
    *(c->first ? &c->first->prev : &c->last) = e;
    c->first = e;
}

static void drop(struct kms_cache *c, struct entry *e)
{
    unlink_entry(c, e);
    lh_map_remove(c->map, text_of(&e->key));
    lh_secret_free(e->plain);
    lh_free(e);
}

void kms_cache_free(struct kms_cache *c)
{
    if (!c)
        return;
    while (c->first)
        drop(c, c->first);
    lh_map_free(c->map, NULL);
    lh_free(c);
}

const struct lh_secret *kms_cache_get(struct kms_cache *c, const struct kms_cache_key *key,
                                      lh_ms now)
{
    struct entry *e = lh_map_get(c->map, text_of(key));

    if (!e)
        return NULL;
    if (now - e->put_at >= c->age_ms) {
        drop(c, e);
        return NULL;
    }
    unlink_entry(c, e);
    push(c, e);
    return e->plain;
}

void kms_cache_put(struct kms_cache *c, const struct kms_cache_key *key,
                   const struct lh_secret *plain, lh_ms now)
{
    lh_auto_free struct entry *e = NULL;
    struct entry *old = lh_map_get(c->map, text_of(key));

    if (c->entries == 0 || lh_secret_len(plain) > KMS_CACHE_BYTES_MAX)
        return;
    if (old) {
        old->put_at = now;
        return;
    }
    while (lh_map_len(c->map) >= c->entries)
        drop(c, c->last);
    e = lh_calloc(1, sizeof(*e));
    if (!e ||
        lh_secret_copy(lh_secret_expose_const(plain), lh_secret_len(plain), &e->plain, NULL) < 0)
        return;
    e->key = *key;
    e->put_at = now;
    if (lh_map_set(c->map, text_of(key), e, NULL, NULL) < 0) {
        lh_secret_free(e->plain);
        return;
    }
    push(c, LH_TAKE_PTR(e));
}

lh_ms kms_cache_expire(struct kms_cache *c, lh_ms now)
{
    lh_ms next = KMS_CACHE_NEVER;

    for (struct entry *e = c->first, *after; e; e = after) {
        after = e->next;
        if (now - e->put_at >= c->age_ms)
            drop(c, e);
        else if (e->put_at + c->age_ms < next)
            next = e->put_at + c->age_ms;
    }
    return next;
}

size_t kms_cache_len(const struct kms_cache *c)
{
    return lh_map_len(c->map);
}
