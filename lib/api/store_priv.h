/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_API_STORE_PRIV_H
#define LEASEHOLD_API_STORE_PRIV_H

#include "leasehold/api/fields.h"
#include "leasehold/api/store.h"

#define STORE_TEXT_MAX 512

/* Only placeholders that exist. */
int store_placeholders_check(const struct lh_at *at, const char *text, struct lh_err *err);
/* A path of the manager, placeholders allowed. */
int store_path_field(const struct lh_at *at, const lh_json *obj, const char *name, bool required,
                     char **out, struct lh_err *err);
/* {name, key}, or {name} alone. */
int store_ref_field(const struct lh_at *at, const lh_json *obj, const char *name, bool required,
                    bool with_key, struct lh_secret_ref *out, struct lh_err *err);
int store_auth_parse(const struct lh_at *at, const lh_json *obj, bool cluster_scoped,
                     struct lh_store_auth *a, struct lh_err *err);

#endif
