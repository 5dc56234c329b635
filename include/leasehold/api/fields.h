/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_API_FIELDS_H
#define LEASEHOLD_API_FIELDS_H

/*
 * Checked reading of JSON objects: each getter knows where it stands, so that every error names the
 * object, the field path and what would be right. A null member counts as absent, as the API server
 * drops it. Getters leave *out as it is when the member is absent, so defaults are set before.
 */
#include <stdbool.h>
#include <stdint.h>

#include "leasehold/codec/json.h"
#include "leasehold/core/err.h"

/* A chain on the stack from the field up to its object. */
struct lh_at {
    const struct lh_at *up;
    const char *name; /* member; NULL: element index of an array, or the object itself (up NULL) */
    size_t index;
    const char *object; /* of the root: 'ClusterSecretStore "vault"' */
    const char *reason; /* of the root: the word of its errors */
};

#define LH_AT_ROOT(what, word) ((struct lh_at){.object = (what), .reason = (word)})
#define LH_AT_NAME(parent, n)  ((struct lh_at){.up = (parent), .name = (n)})
#define LH_AT_INDEX(parent, i) ((struct lh_at){.up = (parent), .index = (i)})

/* 'object: path: text', LH_E_INVALID with the root's reason. */
int lh_at_err(const struct lh_at *at, struct lh_err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Puts 'object: path: ' before what a lower layer said, keeping its code; the root's reason where
 * it gave none. */
int lh_at_wrap(const struct lh_at *at, int rc, struct lh_err *err);

/* An object with no other members than names (NULL-terminated). */
int lh_field_known(const struct lh_at *at, const lh_json *obj, const char *const *names,
                   struct lh_err *err);
/* Borrowed; NULL when absent and not required. */
int lh_field_object(const struct lh_at *at, const lh_json *obj, const char *name, bool required,
                    const lh_json **out, struct lh_err *err);
int lh_field_array(const struct lh_at *at, const lh_json *obj, const char *name, size_t max,
                   const lh_json **out, struct lh_err *err);
/* Owned, not empty, without NUL, at most max bytes. */
int lh_field_str(const struct lh_at *at, const lh_json *obj, const char *name, bool required,
                 size_t max, char **out, struct lh_err *err);
/* The same, on one line: no control character, so that it stays what it is in a log, a header or a
 * shell comment. */
int lh_field_line(const struct lh_at *at, const lh_json *obj, const char *name, bool required,
                  size_t max, char **out, struct lh_err *err);
/* Owned NULL-terminated array of such strings. */
int lh_field_strs(const struct lh_at *at, const lh_json *obj, const char *name, size_t max_items,
                  size_t max, char ***out, struct lh_err *err);
int lh_field_bool(const struct lh_at *at, const lh_json *obj, const char *name, bool *out,
                  struct lh_err *err);
int lh_field_int(const struct lh_at *at, const lh_json *obj, const char *name, int64_t min,
                 int64_t max, int64_t *out, struct lh_err *err);
/* A Go duration in text. */
int lh_field_ms(const struct lh_at *at, const lh_json *obj, const char *name, int64_t min_ms,
                int64_t max_ms, int64_t *out, struct lh_err *err);
/* One of words (NULL-terminated); *out its index. */
int lh_field_enum(const struct lh_at *at, const lh_json *obj, const char *name,
                  const char *const *words, int *out, struct lh_err *err);

/* NULL-terminated arrays of owned strings. NULL is an empty one. */
void lh_strv_free(char **v);
size_t lh_strv_len(char *const *v);
bool lh_strv_has(char *const *v, const char *s);
int lh_strv_copy(char *const *v, char ***out, struct lh_err *err);
int lh_strv_push(char ***v, const char *s, struct lh_err *err);
lh_json *lh_strv_to_json(char *const *v); /* NULL: no memory */

#endif
