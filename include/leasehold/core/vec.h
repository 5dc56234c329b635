/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CORE_VEC_H
#define LEASEHOLD_CORE_VEC_H

/* A growing array of equal items. Items move when it grows: keep indexes, not pointers. */
#include <stddef.h>

#include "leasehold/core/err.h"

struct lh_vec {
    void *p;
    size_t n, room, size;
};

void lh_vec_init(struct lh_vec *v, size_t item_size);
void lh_vec_done(struct lh_vec *v); /* frees the array, not what items point to */
/* Appends a copy of *item (NULL: zeroes); the new item, borrowed until the next push, or NULL. */
void *lh_vec_push(struct lh_vec *v, const void *item);
void *lh_vec_at(const struct lh_vec *v, size_t i);
void lh_vec_remove(struct lh_vec *v, size_t i); /* keeps order */
void lh_vec_clear(struct lh_vec *v);

#endif
