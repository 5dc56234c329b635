/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CODEC_JSONSPLIT_H
#define LEASEHOLD_CODEC_JSONSPLIT_H

/*
 * Cuts a growing stream into JSON texts, one object at a time, so that no whole list is ever held.
 * LH_SPLIT_ITEMS: one document {"...", "items":[o, o, ...]} (a Kubernetes list): each element of
 * the top-level member "items" is emitted as it ends; the rest of the document (metadata) is
 * emitted last as the "envelope", with items left out. LH_SPLIT_STREAM: concatenated documents (a
 * watch): each is emitted. Of an object past max_object bytes only its first max_object ones are
 * emitted, as skipped, once it ended.
 */
#include <stddef.h>

#include "leasehold/core/err.h"
#include "leasehold/core/str.h"

enum lh_split_mode { LH_SPLIT_ITEMS, LH_SPLIT_STREAM };
enum lh_split_what { LH_SPLIT_OBJECT, LH_SPLIT_SKIPPED, LH_SPLIT_ENVELOPE };

struct lh_jsonsplit;

/* text is borrowed until return. Return 0 to go on, 1 to pause (feed returns, *used tells how far),
 * negative to fail. */
typedef int (*lh_split_fn)(void *arg, enum lh_split_what what, struct lh_str text,
                           struct lh_err *err);

int lh_jsonsplit_new(enum lh_split_mode mode, size_t max_object, lh_split_fn emit, void *arg,
                     struct lh_jsonsplit **out, struct lh_err *err);
void lh_jsonsplit_free(struct lh_jsonsplit *s);
/* Feeds bytes; *used (may be NULL) is how many were taken: all, unless emit paused. LH_E_INVALID on
 * what is no JSON. */
int lh_jsonsplit_feed(struct lh_jsonsplit *s, struct lh_str bytes, size_t *used,
                      struct lh_err *err);
/* At the end of the stream: LH_E_INVALID if it ended inside a document. */
int lh_jsonsplit_end(struct lh_jsonsplit *s, struct lh_err *err);

#endif
