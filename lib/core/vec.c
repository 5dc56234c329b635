/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/core/vec.h"

#include <assert.h>
#include <string.h>

#include "leasehold/core/mem.h"

void lh_vec_init(struct lh_vec *v, size_t item_size)
{
    *v = (struct lh_vec){.size = item_size};
}

void lh_vec_done(struct lh_vec *v)
{
    lh_free(v->p);
    *v = (struct lh_vec){.size = v->size};
}

void *lh_vec_push(struct lh_vec *v, const void *item)
{
    char *at;

    if (v->n == v->room) {
        size_t room = v->room ? v->room * 2 : 8, bytes;
        void *p;

        if (room < v->room || __builtin_mul_overflow(room, v->size, &bytes))
            return NULL;
        p = lh_realloc(v->p, bytes);
        if (!p)
            return NULL;
        v->p = p;
        v->room = room;
    }
    at = (char *)v->p + v->n * v->size;
    if (item)
        memcpy(at, item, v->size);
    else
        memset(at, 0, v->size);
    v->n++;
    return at;
}

void *lh_vec_at(const struct lh_vec *v, size_t i)
{
    assert(i < v->n);
    return (char *)v->p + i * v->size;
}

void lh_vec_remove(struct lh_vec *v, size_t i)
{
    char *at = lh_vec_at(v, i);

    memmove(at, at + v->size, (v->n - i - 1) * v->size);
    v->n--;
    lh_wipe((char *)v->p + v->n * v->size, v->size);
}

void lh_vec_clear(struct lh_vec *v)
{
    lh_wipe(v->p, v->n * v->size);
    v->n = 0;
}
