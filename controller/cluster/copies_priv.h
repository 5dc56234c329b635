/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_CLUSTER_COPIES_PRIV_H
#define LEASEHOLD_CONTROLLER_CLUSTER_COPIES_PRIV_H

#include "copies.h"
#include "leasehold/lease/schedule.h"

struct copy_feed { /* labelled Secrets of one namespace */
    struct copies *s;
    const char *namespace_;
    struct lh_watch *watch;
};

struct copy_list {
    struct copy *first, *last;
    size_t n;
};

struct copies {
    struct copies_parts p;
    struct copies_term term;
    struct shared_logins *shared; /* of this term */
    bool active;
    enum lh_drain drain;
    struct lh_queue *queue;
    struct lh_map *by_key, *by_uid; /* struct copy */
    struct lh_map *secrets;         /* namespace/name to struct copy_secret */
    struct lh_watch *watch;
    struct copy_feed *feeds;
    size_t n_feeds;
    struct breaker *breaker;
    struct lh_timer *breaker_timer;
    struct copy_list starting, waiting; /* whose turn it is to fetch for the first time, and next */
    struct lh_timer *turn_timer;
};

void copies_breaker_turn(void *arg); /* of the breaker's timer */

void copies_turns_over(void *arg); /* of the timer of turns */

#endif
