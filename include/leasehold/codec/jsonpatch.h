/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CODEC_JSONPATCH_H
#define LEASEHOLD_CODEC_JSONPATCH_H

/* RFC 6902 patches: a builder, and an applier for tests, the CLI and golden files. RFC 6901
 * pointers. */
#include "leasehold/codec/json.h"

/* Appends {"op","path","value"}; value is consumed (NULL for remove). -1 when memory is out. */
int lh_jsonpatch_op(lh_json *patch, const char *op, const char *path, lh_json *value);
/* "a/b~c" -> "a~1b~0c", appended. */
void lh_jsonpatch_escape(struct lh_buf *b, struct lh_str segment);
/* A patched deep copy in *out (owned). add, remove, replace, test, move, copy. All or nothing.
 * LH_E_INVALID, LH_E_CONFLICT (test). */
int lh_jsonpatch_apply(const lh_json *doc, const lh_json *patch, lh_json **out, struct lh_err *err);

#endif
