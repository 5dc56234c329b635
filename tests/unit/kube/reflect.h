/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_TESTS_UNIT_KUBE_REFLECT_H
#define LEASEHOLD_TESTS_UNIT_KUBE_REFLECT_H

/* One watch of SecretStores on a bed, and what it told, as text. */
#include "bed.h"
#include "leasehold/core/buf.h"
#include "leasehold/kube/watch.h"

#define STORES "leasehold.dev/v1alpha1/secretstores"
#define PATH   "/apis/leasehold.dev/v1alpha1/secretstores"

extern struct lh_watch *watch;
/* A line each: "+key=value", "-key", "-key!" without the object, "synced", "?key" skipped. */
extern struct lh_buf events;
extern const char *stop_at;   /* the event in which the watch is stopped */
extern lh_ms work_ms;         /* what each object costs */
extern unsigned long fail_at; /* behind the first object this allocation fails */

/* What every watch here tells; appends to events. */
void on_event(void *arg, enum lh_watch_event ev, const char *key, const lh_json *obj);
int reflect_setup(void **state);
int reflect_teardown(void **state);

void put(const char *name, const char *value); /* an object of namespace shop */
void start_with(const struct lh_watch_options *opts);
void start(void);
/* Two objects, a and b, known and followed; the requests for that forgotten. */
void start_synced(void);

extern const char *wanted;
bool events_are(void *arg); /* exactly wanted */
/* Awaits exactly these events, and forgets them. */
void await(const char *want);
void forget_events(void);
void await_watch(void);
/* Time passes until so many requests were made. */
void await_requests(size_t n);
bool has_requests(void *arg); /* arg: size_t, how many */
bool has_trouble(void *arg);
bool has_no_trouble(void *arg);

#endif
