/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CODEC_JSON_H
#define LEASEHOLD_CODEC_JSON_H

/*
 * JSON values over jansson, within caps and without loss. One scanner feeds jansson: depth, number
 * of members, UTF-8, duplicate keys, size; it also keeps as literal text every number that int64
 * cannot hold exactly or that has '.' or an exponent, so that 1.10 is printed as 1.10. \\u0000 is
 * allowed in values, not in keys: lengths never come from strlen. Errors say position and kind,
 * never quote input.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "leasehold/core/buf.h"
#include "leasehold/core/err.h"
#include "leasehold/core/str.h"

/* jansson's type, passed as our JSON value and picked apart only through lh_json_*. */
typedef struct json_t lh_json;

struct lh_json_limits {
    size_t max_bytes, max_depth, max_keys; /* 0: 4 MiB, 64, 100000 members and elements */
};

enum lh_json_type {
    LH_JSON_NULL,
    LH_JSON_BOOL,
    LH_JSON_NUMBER,
    LH_JSON_STRING,
    LH_JSON_ARRAY,
    LH_JSON_OBJECT
};

/* Gives jansson our allocator; before anything else, idempotent. */
void lh_json_init(void);

/* *out is owned (one reference). limits NULL: defaults. LH_E_INVALID, LH_E_TOOBIG, LH_E_NOMEM. */
int lh_json_parse(struct lh_str text, const struct lh_json_limits *limits, lh_json **out,
                  struct lh_err *err);
lh_json *lh_json_ref(lh_json *v);
void lh_json_unref(lh_json *v); /* NULL is a no-op; strings are wiped by the allocator */
#define lh_auto_json __attribute__((cleanup(lh_json_unref_ptr_)))
static inline void lh_json_unref_ptr_(lh_json **v)
{
    lh_json_unref(*v);
}

enum lh_json_type lh_json_type(const lh_json *v); /* NULL pointer: LH_JSON_NULL */

/* Getters: borrowed, NULL or def when absent or of another type. Paths are keys, not pointers. */
const lh_json *lh_json_get(const lh_json *obj, const char *key);
const lh_json *lh_json_getn(const lh_json *obj, struct lh_str key);
const lh_json *lh_json_path(const lh_json *obj, ... /* const char *keys, NULL */)
    __attribute__((sentinel));
bool lh_json_str(const lh_json *v, struct lh_str *out); /* false if no string */
/* NUL-terminated; NULL if absent, no string, or a NUL inside. */
const char *lh_json_get_z(const lh_json *obj, const char *key);
bool lh_json_int(const lh_json *v, int64_t *out); /* exact integers only */
int64_t lh_json_get_int(const lh_json *obj, const char *key, int64_t def);
bool lh_json_bool(const lh_json *v, bool *out);
bool lh_json_get_bool(const lh_json *obj, const char *key, bool def);
size_t lh_json_len(const lh_json *v); /* of an array or object, else 0 */
const lh_json *lh_json_at(const lh_json *arr, size_t i);
/* Object members in insertion order; *it starts at NULL; false at the end. */
bool lh_json_next(const lh_json *obj, void **it, struct lh_str *key, const lh_json **value);
bool lh_json_equal(const lh_json *a, const lh_json *b);

/* Builders: NULL when memory is out or text is no UTF-8; setters consume the value also on failure,
 * -1 on failure. */
lh_json *lh_json_new_object(void);
lh_json *lh_json_new_array(void);
lh_json *lh_json_new_str(struct lh_str s);
lh_json *lh_json_new_z(const char *z);
lh_json *lh_json_new_int(int64_t i);
lh_json *lh_json_new_bool(bool b);
lh_json *lh_json_new_null(void);
lh_json *lh_json_deep_copy(const lh_json *v);
int lh_json_set(lh_json *obj, const char *key, lh_json *value);
int lh_json_setn(lh_json *obj, struct lh_str key, lh_json *value);
int lh_json_push(lh_json *arr, lh_json *value);
int lh_json_insert(lh_json *arr, size_t i, lh_json *value);
int lh_json_replace_at(lh_json *arr, size_t i, lh_json *value);
int lh_json_del(lh_json *obj, const char *key);
int lh_json_deln(lh_json *obj, struct lh_str key);
int lh_json_del_at(lh_json *arr, size_t i);
lh_json *lh_json_mut(const lh_json *v); /* the same value, for builders that own the tree */

/* Compact, member order kept (sorted: by bytes of the key). Never lossy. Failure is sticky in b. */
enum lh_json_style { LH_JSON_COMPACT, LH_JSON_SORTED, LH_JSON_PRETTY };
void lh_json_write(const lh_json *v, enum lh_json_style style, struct lh_buf *b);
/* One string with quotes, escaped as JSON. */
void lh_json_write_str(struct lh_str s, struct lh_buf *b);

#endif
