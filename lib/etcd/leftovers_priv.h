/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_ETCD_LEFTOVERS_PRIV_H
#define LH_ETCD_LEFTOVERS_PRIV_H

/* leftovers.c walks and decides what is searched, leftovers_search.c searches, and
 * leftovers_tally.c counts. */
#include "leasehold/core/str.h"
#include "leasehold/etcd/leftovers.h"

/* What is looked for: "/registry/" and, of that, "/registry/secrets/". */
struct lh_leftover_keys {
    char *all, *secrets; /* owned */
};

void lh_leftovers_init(struct lh_leftovers *l);
int lh_leftovers_count(struct lh_leftovers *l, enum lh_leftover_place place,
                       const struct lh_atrest_value *v, struct lh_err *err);
/* Takes what from came to over; from is done then. */
int lh_leftovers_merge(struct lh_leftovers *l, struct lh_leftovers *from, struct lh_err *err);
void lh_leftovers_fault(struct lh_leftovers *l, uint64_t *count, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Bytes from..end of a file, as one place. */
struct lh_leftover_range {
    int fd; /* borrowed */
    uint64_t from, end;
    enum lh_leftover_place place;
};

struct lh_leftover_search;

/* Its memory serves range after range. keys is borrowed. */
int lh_leftover_search_new(const struct lh_leftover_keys *keys, struct lh_leftover_search **out,
                           struct lh_err *err);
int lh_leftover_search_range(struct lh_leftover_search *s, const struct lh_leftover_range *range,
                             struct lh_leftovers *l, struct lh_err *err);
void lh_leftover_search_free(struct lh_leftover_search *s); /* NULL is a no-op; wipes */

/* A file that is open; name is for people. LH_LEFTOVER_FREE: it is searched as a database if it is
 * one. */
int lh_leftovers_fd(struct lh_leftovers *l, int fd, const char *name,
                    const struct lh_leftover_keys *keys, enum lh_leftover_place place,
                    struct lh_err *err);
int lh_leftover_keys_init(struct lh_leftover_keys *k, const char *prefix, struct lh_err *err);
void lh_leftover_keys_done(struct lh_leftover_keys *k);

#endif
