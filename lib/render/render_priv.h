/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_RENDER_PRIV_H
#define LH_RENDER_PRIV_H

#include "leasehold/codec/json.h"
#include "leasehold/core/buf.h"
#include "leasehold/core/vec.h"
#include "leasehold/render/render.h"

struct lh_member {
    struct lh_str key;
    const lh_json *value;
};

/* scalar.c */
/* The text of a value: a string's bytes, else compact JSON. */
void lh_render_value(const lh_json *v, struct lh_buf *b);
/* NAME=value as a POSIX shell, systemd and the usual dotenv readers take it. LH_E_INVALID for what
 * no environment can hold. */
int lh_render_env(const struct lh_member *m, struct lh_buf *b, struct lh_err *err);
/* As java.util.Properties.store writes it: plain ASCII. */
void lh_render_property(const struct lh_member *m, struct lh_buf *b);
/* "key: value" of a block mapping; nested values in flow style. */
void lh_render_yaml(const struct lh_member *m, struct lh_buf *b);
/* Go's url.QueryEscape. */
void lh_render_urlquery(struct lh_str s, struct lh_buf *b);

/* format.c */
/* The members of an object sorted by key, so that equal secrets give equal files: struct lh_member.
 */
int lh_render_members(const lh_json *data, struct lh_vec *out, struct lh_err *err);
/* All members in one text. */
int lh_render_all(enum lh_format format, const lh_json *data, struct lh_buf *b, struct lh_err *err);
/* The value of a key, or LH_E_NOTFOUND that lists the keys there are. */
int lh_render_find(const lh_json *data, struct lh_str key, const lh_json **out, struct lh_err *err);

/* template.c */
int lh_render_template(const char *text, const lh_json *data, struct lh_buf *b, struct lh_err *err);

#endif
