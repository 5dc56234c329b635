/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_API_PROJECTION_H
#define LEASEHOLD_API_PROJECTION_H

/*
 * What is to be in which file: a SecretProjection's spec, and equally what annotations say. Parsing
 * validates as store.h does. All strings owned.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "leasehold/codec/json.h"
#include "leasehold/core/err.h"

#define LH_ITEMS_MAX    256
#define LH_FILES_MAX    256
#define LH_TEMPLATE_MAX ((size_t)64 * 1024)

enum lh_format {
    LH_FORMAT_RAW,
    LH_FORMAT_JSON,
    LH_FORMAT_YAML,
    LH_FORMAT_ENV,
    LH_FORMAT_PROPERTIES,
    LH_FORMAT_TEMPLATE
};

struct lh_file_spec {
    char *path; /* relative, or a folder (raw without key): one file per key */
    char *key;  /* one key's value; NULL: all */
    enum lh_format format;
    char *template_; /* LH_FORMAT_TEMPLATE */
    bool has_mode;
    mode_t mode;
    bool folder; /* raw, no key: path is a folder of one file per key */
};

struct lh_item {
    char *name;
    char *path;      /* as written */
    lh_json *params; /* object: a write; NULL: a read */
    int64_t version; /* KV v2; 0: newest */
    bool optional;
    struct lh_file_spec *files;
    size_t n_files;
    int64_t refresh_ms, overlap_ms; /* -1: the projection's */
};

enum lh_stale_then { LH_STALE_KEEP, LH_STALE_REMOVE };
enum lh_revocation { LH_REVOKE, LH_RETAIN };

struct lh_projection {
    char *name, *namespace_;
    bool store_cluster_scoped, has_store; /* storeRef given? */
    char *store_name;
    char *role; /* NULL: the store's */
    struct lh_item *items;
    size_t n_items;
    int64_t refresh_ms; /* -1: the store's default */
    int64_t overlap_ms; /* default 300000 */
    int64_t max_age_ms; /* -1: none */
    enum lh_stale_then then;
    enum lh_revocation revocation;
    char *service_account;                  /* NULL */
    lh_json *kubernetes_secret, *on_change; /* borrowed meaning for the controller; NULL */
};

/* A whole SecretProjection object. */
int lh_projection_parse(const lh_json *obj, const char *what, struct lh_projection **out,
                        struct lh_err *err);
/* Its spec alone, as in the agent's config: name and namespace are given. */
int lh_projection_parse_spec(const lh_json *spec, const char *what, const char *namespace_,
                             const char *name, struct lh_projection **out, struct lh_err *err);
/* The spec as JSON again (owned): parse(print(p)) equals p. */
int lh_projection_to_json(const struct lh_projection *p, lh_json **out, struct lh_err *err);
/* The same as text, members sorted. Failure is sticky in b. */
void lh_projection_write(const struct lh_projection *p, struct lh_buf *b);
/* An empty projection with defaults, for builders (inject). */
struct lh_projection *lh_projection_new(void);
struct lh_item *lh_projection_add_item(struct lh_projection *p);
struct lh_file_spec *lh_item_add_file(struct lh_item *it);
/* Checks what spans items: duplicate names, files that collide (a file and a folder of one name),
 * limits (256 files). LH_E_INVALID (FileConflict...). Called by the parsers; builders call it at
 * the end. */
int lh_projection_check(const struct lh_projection *p, const char *what, struct lh_err *err);
/* What an item may be called; what a file's path may be. LH_E_INVALID says what is wrong. */
int lh_item_name_check(const char *name, struct lh_err *err);
int lh_file_path_check(const char *path, struct lh_err *err);
void lh_projection_free(struct lh_projection *p);

/* "0440" or "440" to a mode; at most 0777. */
int lh_mode_parse(const char *text, mode_t *out, struct lh_err *err);
int lh_format_parse(const char *text, enum lh_format *out, struct lh_err *err);
const char *lh_format_name(enum lh_format f);

#endif
