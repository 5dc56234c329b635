/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_KUBE_WATCH_H
#define LEASEHOLD_KUBE_WATCH_H

/*
 * A reflector (client-go's word): list, then watch, for ever, one object at a time through
 * jsonsplit. Watch-list where the server serves it (KEP-3157), else list RV=0 and pages; bookmarks;
 * 410 lists again; 429 and refused connections wait and resume; a stream without bookmark or event
 * for longer than it should be is dead. After a new list what is gone is reported deleted. Keys are
 * namespace/name; a new uid under an old key is a deletion first.
 */
#include "leasehold/kube/client.h"

enum lh_watch_event {
    LH_WATCH_UPSERT,
    LH_WATCH_DELETE,
    LH_WATCH_SYNCED,
    LH_WATCH_SKIPPED /* past max_object, or no JSON that we take: it exists, and is as it was told
                      */
};

struct lh_watch;

/* obj: the object (UPSERT; DELETE: NULL after a gap), without its managed fields, borrowed until
 * return. key: "ns/name" or "name"; NULL for SYNCED, which comes after the first whole state and
 * after every relist, and for a SKIPPED one whose name cannot be told. A key may be deleted of
 * which only SKIPPED was heard. */
typedef void (*lh_watch_fn)(void *arg, enum lh_watch_event ev, const char *key, const lh_json *obj);

struct lh_watch_options {
    struct lh_kube_resource res; /* name NULL; with name set, one object by field selector */
    const char *label_selector;
    const char *field_selector; /* "spec.nodeName=a"; not with res.name */
    bool metadata_only;         /* PartialObjectMetadata */
    size_t max_object;          /* 0: 2 MiB */
};

int lh_watch_start(struct lh_kube *k, const struct lh_watch_options *opts, lh_watch_fn fn,
                   void *arg, struct lh_watch **out, struct lh_err *err);
void lh_watch_stop(struct lh_watch *w); /* NULL is a no-op; safe inside fn */
/* Inside fn only: the event could not be kept (out of memory); everything is listed again, after a
 * while. */
void lh_watch_resync(struct lh_watch *w);
bool lh_watch_is_synced(const struct lh_watch *w);
/* Whether it told all up to this version of an object of its resource, as a write answered it:
 * before that what it told may be older than what we wrote. */
bool lh_watch_has_seen(const struct lh_watch *w, const char *resource_version);
/* Why it is not connected now; empty text when it is. Borrowed until the next event. */
const char *lh_watch_trouble(const struct lh_watch *w);

#endif
