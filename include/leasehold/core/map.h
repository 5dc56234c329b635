/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CORE_MAP_H
#define LEASEHOLD_CORE_MAP_H

/* String keys (copied) to borrowed pointers; open addressing, keyed SipHash so that keys from
 * outside cannot collide at will. */
#include <stdbool.h>
#include <stddef.h>

#include "leasehold/core/err.h"
#include "leasehold/core/str.h"

struct lh_map;

int lh_map_new(struct lh_map **out, struct lh_err *err);
/* One that copies no keys: each is borrowed until its entry is removed or set again, which is when
 * the key of then takes its place. A value may hold its own key. */
int lh_map_new_borrowing(struct lh_map **out, struct lh_err *err);
void lh_map_free(struct lh_map *m, void (*free_value)(void *value)); /* free_value may be NULL */
/* Sets or replaces; *old (may be NULL as argument) gets the replaced value or NULL. */
int lh_map_set(struct lh_map *m, struct lh_str key, void *value, void **old, struct lh_err *err);
void *lh_map_get(const struct lh_map *m, struct lh_str key); /* NULL if absent */
void *lh_map_remove(struct lh_map *m, struct lh_str key);    /* the value, or NULL */
size_t lh_map_len(const struct lh_map *m);
/* Iterates in unspecified order; *it starts at 0; false at the end. Removing the current key is
 * allowed. */
bool lh_map_next(const struct lh_map *m, size_t *it, struct lh_str *key, void **value);

#endif
