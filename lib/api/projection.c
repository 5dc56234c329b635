/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "leasehold/api/fields.h"
#include "leasehold/api/projection.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"
#include "projection_priv.h"

const char *const projection_format_names[] = {
    [LH_FORMAT_RAW] = "raw",
    [LH_FORMAT_JSON] = "json",
    [LH_FORMAT_YAML] = "yaml",
    [LH_FORMAT_ENV] = "env",
    [LH_FORMAT_PROPERTIES] = "properties",
    [LH_FORMAT_TEMPLATE] = "template",
    NULL,
};
const char *const projection_then_names[] = {
    [LH_STALE_KEEP] = "Keep", [LH_STALE_REMOVE] = "Remove", NULL};
const char *const projection_revocation_names[] = {
    [LH_REVOKE] = "Revoke", [LH_RETAIN] = "Retain", NULL};

const char *lh_format_name(enum lh_format f)
{
    return projection_format_names[f];
}

int lh_format_parse(const char *text, enum lh_format *out, struct lh_err *err)
{
    for (size_t i = 0; projection_format_names[i]; i++) {
        if (strcmp(text, projection_format_names[i]) == 0) {
            *out = (enum lh_format)i;
            return 0;
        }
    }
    return lh_err_set(err, LH_E_INVALID,
                      "must be one of raw, json, yaml, env, properties, template");
}

int lh_mode_parse(const char *text, mode_t *out, struct lh_err *err)
{
    size_t n = strlen(text);
    unsigned mode = 0;

    if (n < 3 || n > 4 || strspn(text, "01234567") != n)
        return lh_err_set(err, LH_E_INVALID, "must be three or four octal digits such as \"0440\"");
    for (size_t i = 0; i < n; i++)
        mode = mode * 8 + (unsigned)(text[i] - '0');
    if (mode > 0777)
        return lh_err_set(err, LH_E_INVALID, "must be at most \"0777\"");
    *out = (mode_t)mode;
    return 0;
}

struct lh_projection *lh_projection_new(void)
{
    struct lh_projection *p = lh_calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    p->refresh_ms = -1;
    p->overlap_ms = 300000;
    p->max_age_ms = -1;
    return p;
}

static void file_done(struct lh_file_spec *f)
{
    lh_free(f->path);
    lh_free(f->key);
    lh_free(f->template_);
}

static void item_done(struct lh_item *it)
{
    lh_free(it->name);
    lh_free(it->path);
    lh_json_unref(it->params);
    for (size_t i = 0; i < it->n_files; i++)
        file_done(&it->files[i]);
    lh_free(it->files);
}

void lh_projection_free(struct lh_projection *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n_items; i++)
        item_done(&p->items[i]);
    lh_free(p->items);
    lh_free(p->name);
    lh_free(p->namespace_);
    lh_free(p->store_name);
    lh_free(p->role);
    lh_free(p->service_account);
    lh_json_unref(p->kubernetes_secret);
    lh_json_unref(p->on_change);
    lh_free(p);
}

struct lh_item *lh_projection_add_item(struct lh_projection *p)
{
    struct lh_item *grown = lh_realloc(p->items, (p->n_items + 1) * sizeof(*grown));

    if (!grown)
        return NULL;
    p->items = grown;
    grown += p->n_items++;
    memset(grown, 0, sizeof(*grown));
    grown->refresh_ms = grown->overlap_ms = -1;
    return grown;
}

struct lh_file_spec *lh_item_add_file(struct lh_item *it)
{
    struct lh_file_spec *grown = lh_realloc(it->files, (it->n_files + 1) * sizeof(*grown));

    if (!grown)
        return NULL;
    it->files = grown;
    grown += it->n_files++;
    memset(grown, 0, sizeof(*grown));
    return grown;
}

/* Names are file names too. */
static const char *name_problem(const char *name)
{
    static const char chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t n = strlen(name);

    if (!n || n > NAME_BYTES || strspn(name, chars) != n || name[0] == '.' || name[0] == '-' ||
        name[0] == '_')
        return "must be a name of letters, digits, - _ and ., at most 63 characters, beginning "
               "with a letter or digit";
    return NULL;
}

/* Relative, and nothing that could meet ..data and the folders behind it. */
static const char *file_path_problem(const char *path)
{
    size_t n = strlen(path);

    if (!n || n > PATH_BYTES)
        return "must be a relative path of 1 to 512 bytes";
    if (path[0] == '/')
        return "must be a relative path, without a slash in front";
    if (!lh_str_is_utf8(lh_str(path)))
        return "must be valid UTF-8";
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)path[i] < 0x20 || path[i] == 0x7f)
            return "must not hold control characters";
    }
    for (const char *p = path; p;) {
        const char *slash = strchr(p, '/');
        size_t len = slash ? (size_t)(slash - p) : strlen(p);

        if (!len || len > 255)
            return "must have segments of 1 to 255 bytes";
        if (len == 1 && p[0] == '.')
            return "must not hold the segment .";
        if (len >= 2 && p[0] == '.' && p[1] == '.')
            return "must not hold a segment that begins with ..";
        p = slash ? slash + 1 : NULL;
    }
    return NULL;
}

int lh_item_name_check(const char *name, struct lh_err *err)
{
    const char *why = name_problem(name);

    return why ? lh_err_set(err, LH_E_INVALID, "%s", why) : 0;
}

int lh_file_path_check(const char *path, struct lh_err *err)
{
    const char *why = file_path_problem(path);

    return why ? lh_err_set(err, LH_E_INVALID, "%s", why) : 0;
}

static const char *file_problem(const struct lh_file_spec *f)
{
    const char *why = file_path_problem(f->path);

    if (why)
        return why;
    if ((f->format == LH_FORMAT_TEMPLATE) != (f->template_ != NULL))
        return f->template_ ? "has a template, so its format can only be template"
                            : "has the format template and no template";
    if (f->key && f->format != LH_FORMAT_RAW)
        return "names one key, which is written raw; leave the format or the key out";
    return NULL;
}

static int conflict(struct lh_err *err, const char *what, const char *a, const char *b,
                    const char *why)
{
    lh_err_fill(err, LH_E_INVALID, "%s%s\"%.120s\" and \"%.120s\" %s", what ? what : "",
                what ? ": " : "", a, b, why);
    return lh_err_negative(lh_err_reason(err, -LH_E_INVALID, LH_REASON_FileConflict));
}

static bool is_below(const char *path, const char *folder)
{
    size_t n = strlen(folder);

    return strncmp(path, folder, n) == 0 && path[n] == '/';
}

/* A file may lie in another item's folder of keys; render notices when a key is in its way. */
static int files_collide(const struct lh_item *ia, const struct lh_file_spec *a,
                         const struct lh_item *ib, const struct lh_file_spec *b, const char *what,
                         struct lh_err *err)
{
    if (strcmp(a->path, b->path) == 0)
        return conflict(err, what, ia->name, ib->name,
                        a->folder != b->folder ? "want a file and a folder of one name"
                                               : "would write the same place");
    if ((!a->folder && is_below(b->path, a->path)) || (!b->folder && is_below(a->path, b->path)))
        return conflict(err, what, ia->name, ib->name, "want a file and a folder of one name");
    return 0;
}

/* The i-th file over all items, NULL past the end. */
static const struct lh_file_spec *file_at(const struct lh_projection *p, size_t i,
                                          const struct lh_item **item)
{
    for (size_t k = 0; k < p->n_items; k++) {
        if (i < p->items[k].n_files) {
            *item = &p->items[k];
            return &p->items[k].files[i];
        }
        i -= p->items[k].n_files;
    }
    return NULL;
}

static int items_check(const struct lh_projection *p, const struct lh_at *at, struct lh_err *err)
{
    const struct lh_at items = LH_AT_NAME(at, "items");

    for (size_t i = 0; i < p->n_items; i++) {
        const struct lh_at here = LH_AT_INDEX(&items, i), files = LH_AT_NAME(&here, "files");
        const struct lh_item *it = &p->items[i];
        const char *why = name_problem(it->name);

        if (why)
            return lh_at_err(&LH_AT_NAME(&here, "name"), err, "%s", why);
        if (it->version && it->params)
            return lh_at_err(&LH_AT_NAME(&here, "version"), err,
                             "is of reads and params makes a write; give one of them");
        for (size_t k = 0; k < it->n_files; k++) {
            const struct lh_at file = LH_AT_INDEX(&files, k);

            why = file_problem(&it->files[k]);
            if (why)
                return lh_at_err(&LH_AT_NAME(&file, "path"), err, "%s", why);
        }
    }
    return 0;
}

static int templates_check(const struct lh_projection *p, const char *what, struct lh_err *err)
{
    for (size_t i = 0; i < p->n_items; i++) {
        for (size_t k = 0; k < p->items[i].n_files; k++) {
            const char *t = p->items[i].files[k].template_;

            if (!t || strlen(t) <= LH_TEMPLATE_MAX)
                continue;
            lh_err_fill(err, LH_E_TOOBIG,
                        "%s%sthe template of \"%s\" has %zu bytes; at most %zu are allowed",
                        what ? what : "", what ? ": " : "", p->items[i].name, strlen(t),
                        LH_TEMPLATE_MAX);
            return lh_err_negative(lh_err_reason(err, -LH_E_TOOBIG, LH_REASON_TooLarge));
        }
    }
    return 0;
}

int lh_projection_check(const struct lh_projection *p, const char *what, struct lh_err *err)
{
    const struct lh_at root = LH_AT_ROOT(what, LH_REASON_ConfigInvalid);
    const struct lh_at spec = LH_AT_NAME(&root, "spec");
    const struct lh_file_spec *a, *b;
    const struct lh_item *ia, *ib;
    int rc;

    rc = items_check(p, &spec, err);
    if (rc == 0)
        rc = templates_check(p, what, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < p->n_items; i++) {
        for (size_t k = 0; k < i; k++) {
            if (strcmp(p->items[i].name, p->items[k].name) == 0)
                return conflict(err, what, p->items[k].name, p->items[i].name,
                                "are two items of one name");
        }
    }
    for (size_t i = 0; (a = file_at(p, i, &ia)) != NULL; i++) {
        if (i >= LH_FILES_MAX)
            return lh_at_err(&spec, err, "asks for more than %d files", LH_FILES_MAX);
        for (size_t k = 0; k < i && (b = file_at(p, k, &ib)) != NULL; k++) {
            rc = files_collide(ib, b, ia, a, what, err);
            if (rc < 0)
                return rc;
        }
    }
    return 0;
}
