/* SPDX-License-Identifier: Apache-2.0 */
#include "render_priv.h"

#include <string.h>

#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"

enum { FILES_MOST = 256 };

static void rendered_done(struct lh_rendered *r)
{
    lh_free(r->path);
    r->bytes = lh_secret_free(r->bytes);
}

void lh_rendered_set_done(struct lh_rendered_set *set)
{
    for (size_t i = 0; i < set->n; i++)
        rendered_done(&set->v[i]);
    lh_free(set->v);
    *set = (struct lh_rendered_set){0};
}

static int conflict(struct lh_err *err, const char *before, const char *name, const char *after)
{
    return lh_err_reason(err, lh_err_set(err, LH_E_INVALID, "%s%s%s", before, name, after),
                         LH_REASON_FileConflict);
}

/* One of them is the other, or a folder on its way. */
static bool collide(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b), least = n < m ? n : m;

    if (strncmp(a, b, least) != 0)
        return false;
    return n == m || (n < m ? b[n] : a[m]) == '/';
}

/* Takes b's content; b stays the caller's. */
static int append(struct lh_rendered_set *set, const char *path, mode_t mode, struct lh_buf *b,
                  struct lh_err *err)
{
    struct lh_rendered r = {.mode = mode}, *v;
    int rc = lh_buf_check(b, err);

    if (b->failed == LH_E_TOOBIG)
        return lh_err_reason(
            err,
            lh_err_set(err, LH_E_TOOBIG, "it would have more than %d bytes", LH_RENDER_FILE_BYTES),
            LH_REASON_TooLarge);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < set->n; i++) {
        if (collide(set->v[i].path, path))
            return conflict(err, "file ", set->v[i].path, " is in its way");
    }
    if (set->n >= FILES_MOST)
        return lh_err_reason(err, lh_err_set(err, LH_E_TOOBIG, "more than %d files", FILES_MOST),
                             LH_REASON_TooLarge);
    v = lh_realloc(set->v, (set->n + 1) * sizeof(*v));
    if (!v)
        return lh_err_nomem(err);
    set->v = v;
    r.path = lh_strdup(path);
    if (!r.path)
        return lh_err_nomem(err);
    rc = lh_secret_copy(lh_buf_peek(b).p, lh_buf_peek(b).n, &r.bytes, err);
    if (rc < 0) {
        lh_free(r.path);
        return rc;
    }
    set->v[set->n++] = r;
    return 0;
}

/* A key that becomes a file's name. */
static bool is_file_name(struct lh_str s)
{
    if (s.n == 0 || s.n > 255 || lh_str_eqz(s, ".") || lh_str_starts(s, LH_STR("..")))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f || s.p[i] == '/')
            return false;
    }
    return true;
}

static int render_key_file(const char *folder, const struct lh_member *m, mode_t mode,
                           struct lh_rendered_set *set, struct lh_err *err)
{
    lh_auto_buf struct lh_buf b = {.cap = LH_RENDER_FILE_BYTES};
    lh_auto_free char *path =
        lh_asprintf("%s/%.*s", folder, (int)(m->key.n < 256 ? m->key.n : 256), m->key.p);
    int rc;

    if (!path)
        return lh_err_nomem(err);
    if (!is_file_name(m->key))
        return conflict(err, "a key is no file name (", path,
                        "); name single keys, or choose a format");
    lh_render_value(m->value, &b);
    rc = append(set, path, mode, &b, err);
    return rc < 0 ? lh_err_wrap(err, rc, "file %s", path) : 0;
}

static int render_folder(const char *folder, const lh_json *data, mode_t mode,
                         struct lh_rendered_set *set, struct lh_err *err)
{
    struct lh_vec members;
    int rc = lh_render_members(data, &members, err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; rc == 0 && i < members.n; i++)
        rc = render_key_file(folder, lh_vec_at(&members, i), mode, set, err);
    lh_vec_done(&members);
    return rc;
}

static int render_text(const struct lh_file_spec *f, const lh_json *data, struct lh_buf *b,
                       struct lh_err *err)
{
    const lh_json *v = NULL;
    int rc;

    if (f->format == LH_FORMAT_TEMPLATE)
        return lh_render_template(f->template_ ? f->template_ : "", data, b, err);
    if (!f->key)
        return lh_render_all(f->format, data, b, err);
    rc = lh_render_find(data, lh_str(f->key), &v, err);
    if (rc == 0)
        lh_render_value(v, b);
    return rc;
}

static int render_file(const struct lh_file_spec *f, const lh_json *data, mode_t default_mode,
                       struct lh_rendered_set *set, struct lh_err *err)
{
    mode_t mode = f->has_mode ? f->mode : default_mode;
    lh_auto_buf struct lh_buf b = {.cap = LH_RENDER_FILE_BYTES};
    int rc;

    if (f->format == LH_FORMAT_RAW && !f->key)
        return render_folder(f->path, data, mode, set, err);
    rc = render_text(f, data, &b, err);
    if (rc == 0)
        rc = append(set, f->path, mode, &b, err);
    return rc < 0 ? lh_err_wrap(err, rc, "file %s", f->path) : 0;
}

static int render_files(const struct lh_item *it, const lh_json *data, mode_t default_mode,
                        struct lh_rendered_set *set, struct lh_err *err)
{
    int rc = 0;

    if (it->n_files == 0)
        return render_folder(it->name, data, default_mode, set, err);
    for (size_t i = 0; rc == 0 && i < it->n_files; i++)
        rc = render_file(&it->files[i], data, default_mode, set, err);
    return rc;
}

int lh_render_item(const struct lh_item *it, const lh_json *data, mode_t default_mode,
                   struct lh_rendered_set *set, struct lh_err *err)
{
    size_t before = set->n;
    int rc;

    if (lh_json_type(data) != LH_JSON_OBJECT)
        rc = lh_err_set(err, LH_E_INVALID, "the answer holds no keys");
    else
        rc = render_files(it, data, default_mode, set, err);
    if (rc == 0)
        return 0;
    while (set->n > before)
        rendered_done(&set->v[--set->n]);
    return lh_err_wrap(err, rc, "item %s", it->name);
}
