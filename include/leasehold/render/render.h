/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_RENDER_RENDER_H
#define LEASEHOLD_RENDER_RENDER_H

/*
 * Values to bytes, in wiping buffers, by one item's file rules (design 3). Pure: no I/O. Strings
 * are written as they are; other values as compact JSON. Scalars for yaml, env and properties are
 * quoted by our own code.
 */
#include <sys/types.h>

#include "leasehold/api/projection.h"
#include "leasehold/core/secret.h"

/* What one file and one template may have, in bytes. */
enum { LH_RENDER_FILE_BYTES = 1 << 20, LH_RENDER_TEMPLATE_BYTES = 64 << 10 };

struct lh_rendered {
    char *path; /* relative, owned */
    mode_t mode;
    struct lh_secret *bytes; /* owned */
};

struct lh_rendered_set {
    struct lh_rendered *v;
    size_t n;
};

/* Appends the files of one item. data: object of keys. LH_E_NOTFOUND (KeyNotFound, names item and
 * key and the keys there are, never values), LH_E_TOOBIG (TooLarge), LH_E_INVALID (TemplateInvalid,
 * FileConflict: a key that is no file name). The set is as before on failure. */
int lh_render_item(const struct lh_item *it, const lh_json *data, mode_t default_mode,
                   struct lh_rendered_set *set, struct lh_err *err);
void lh_rendered_set_done(struct lh_rendered_set *set); /* wipes */

/* A template's syntax: text, {{ .key }}, {{ .key | urlquery }}. LH_E_INVALID (TemplateInvalid)
 * "line 3, column 7: ...". */
int lh_template_check(const char *text, struct lh_err *err);

#endif
