/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_priv.h"

#include <stdlib.h>

#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"
#include "leasehold/render/render.h"

enum { SPEC_MAX = 4 * 1024 * 1024, NOTE_MAX = 60 * 1024 };

/* FNV-1a: tells specifications apart, guards nothing. */
static uint64_t shape_of(struct lh_str s)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * 0x100000001b3u;
    return h;
}

/* Only what is kept for a restart is ever compared with another run's. */
static int items_shape(struct lh_engine *e, struct lh_err *err)
{
    lh_auto_json lh_json *spec = NULL;
    lh_auto_buf struct lh_buf b;
    int rc = lh_projection_to_json(e->projection, &spec, err);

    lh_buf_init(&b, SPEC_MAX);
    for (size_t i = 0; i < e->n_items && rc == 0; i++) {
        lh_buf_reset(&b);
        lh_json_write(lh_json_at(lh_json_get(spec, "items"), i), LH_JSON_SORTED, &b);
        lh_buf_printf(&b, " %o", (unsigned)e->default_mode);
        rc = lh_buf_check(&b, err);
        if (rc == 0)
            e->items[i].shape = shape_of(lh_buf_peek(&b));
    }
    return rc;
}

static int item_add(struct lh_engine *e, struct item *it, const struct lh_item *spec,
                    struct lh_err *err)
{
    const struct lh_projection *p = e->projection;
    struct lh_grant_spec g = {
        .params = spec->params,
        .version = spec->version,
        .refresh_ms = spec->refresh_ms >= 0 ? spec->refresh_ms : p->refresh_ms,
        .overlap_ms = spec->overlap_ms >= 0 ? spec->overlap_ms : p->overlap_ms,
        .optional = spec->optional,
        .user = e};
    lh_auto_free char *path = NULL;
    int rc = lh_subject_expand(&e->identity.subject, spec->path, &path, err);

    if (rc < 0)
        return rc;
    it->spec = spec;
    g.path = path;
    return lh_session_add(e->session, &g, &it->grant, err);
}

int items_new(struct lh_engine *e, struct lh_err *err)
{
    const struct lh_projection *p = e->projection;
    int rc = 0;

    e->items = lh_calloc(p->n_items ? p->n_items : 1, sizeof(*e->items));
    if (!e->items)
        return lh_err_nomem(err);
    e->n_items = p->n_items;
    for (size_t i = 0; i < p->n_items && rc == 0; i++)
        rc = item_add(e, &e->items[i], &p->items[i], err);
    return rc < 0 || e->state_dir < 0 ? rc : items_shape(e, err);
}

void items_free(struct lh_engine *e)
{
    for (size_t i = 0; i < e->n_items; i++) {
        lh_rendered_set_done(&e->items[i].pending);
        lh_rendered_set_done(&e->items[i].shown);
    }
    lh_free(e->items);
    e->items = NULL;
    e->n_items = 0;
}

/* All items of the grant or none: one credential is never half in the files. */
static int render_all(struct lh_engine *e, struct lh_grant *g, const lh_json *data,
                      struct lh_rendered_set *sets, struct lh_err *err)
{
    struct lh_grant_info info;
    int rc = 0;

    for (size_t i = 0; i < e->n_items && rc == 0; i++) {
        const struct item *it = &e->items[i];

        if (it->grant == g)
            rc = lh_render_item(it->spec, data, e->default_mode, &sets[i], err);
    }
    if (rc == 0)
        return 0;
    lh_grant_info(g, &info);
    return lh_err_wrap(err, rc, "\"%s\"", info.path);
}

/* The values are good; only the store's kv2Mounts is wrong, and paths are compared by it. */
static void say_mismatch(struct lh_engine *e, struct item *it)
{
    struct lh_err err = {0};

    if (it->mismatch_said)
        return;
    it->mismatch_said = true;
    lh_err_reason(&err,
                  lh_err_set(&err, LH_E_CONFLICT,
                             "item \"%s\": the manager and the store's kv2Mounts disagree on "
                             "whether the mount of \"%s\" is KV v2: mend kv2Mounts",
                             it->spec->name, it->spec->path),
                  LH_REASON_KVVersionMismatch);
    measure_failure(e, &err);
    engine_failed(e, &err);
}

int items_take(void *arg, struct lh_grant *g, const struct lh_prov_read *r, struct lh_err *err)
{
    struct lh_engine *e = arg;
    struct lh_rendered_set *sets = lh_calloc(e->n_items, sizeof(*sets));
    int rc;

    if (!sets)
        return lh_err_nomem(err);
    rc = render_all(e, g, r->data, sets, err);
    for (size_t i = 0; i < e->n_items; i++) {
        struct item *it = &e->items[i];

        if (rc == 0 && it->grant == g) {
            lh_rendered_set_done(&it->pending);
            it->pending = sets[i];
            it->has_pending = true;
            it->removed = it->lost = false;
            e->dirty = true;
            if (r->kv2_mismatch)
                say_mismatch(e, it);
        } else {
            lh_rendered_set_done(&sets[i]);
        }
    }
    lh_free(sets);
    return rc;
}

static const char *set_name(const struct lh_engine *e)
{
    return e->sink->shown ? e->sink->shown(e->sink) : "";
}

static void put_item(struct lh_buf *b, const struct item *it, const struct lh_rendered_set *set)
{
    lh_buf_printf(b, "%016llx %zu", (unsigned long long)it->shape, set->n);
    for (size_t k = 0; k < set->n; k++)
        lh_buf_printf(b, " %o %zu:%s", (unsigned)set->v[k].mode, strlen(set->v[k].path),
                      set->v[k].path);
    lh_buf_put_c(b, '\n');
}

/* A line of the sets that it is true of, each in angle brackets; per item "shape count" and per
 * file " mode length:path". NULL where there is nothing to go on from: what was taken away for its
 * age is to be had again. */
static int note_of(struct lh_engine *e, const struct lh_grant *g, bool pending, const char *sets[2],
                   char **out, struct lh_err *err)
{
    lh_auto_buf struct lh_buf b;
    size_t n;

    lh_buf_init(&b, NOTE_MAX);
    for (size_t i = 0; i < 2; i++) {
        if (sets[i])
            lh_buf_printf(&b, "<%s>", sets[i]);
    }
    lh_buf_put_c(&b, '\n');
    for (size_t i = 0; i < e->n_items; i++) {
        const struct item *it = &e->items[i];

        if (it->grant != g)
            continue;
        if (it->removed)
            return 0;
        put_item(&b, it, pending ? &it->pending : &it->shown);
    }
    return lh_buf_finish(&b, out, &n, err);
}

static bool is_pending(const struct lh_engine *e, const struct lh_grant *g)
{
    for (size_t i = 0; i < e->n_items; i++) {
        if (e->items[i].grant == g && e->items[i].has_pending)
            return true;
    }
    return false;
}

static int note_grant(struct lh_engine *e, struct lh_grant *g, const char *next, struct lh_err *err)
{
    bool pending = next && is_pending(e, g);
    const char *now[] = {set_name(e), pending ? NULL : next}, *then[] = {next, NULL};
    lh_auto_free char *note = NULL, *next_note = NULL;
    int rc = note_of(e, g, false, now, &note, err);

    if (rc == 0)
        rc = lh_grant_set_note(g, note, err);
    if (rc == 0 && pending)
        rc = note_of(e, g, true, then, &next_note, err);
    return rc < 0 || !pending ? rc : lh_grant_set_next_note(g, next_note, err);
}

int items_note(struct lh_engine *e, const char *next, struct lh_err *err)
{
    int rc = 0;

    for (size_t i = 0; i < lh_session_grants(e->session) && rc == 0; i++)
        rc = note_grant(e, lh_session_grant(e->session, i), next, err);
    return rc;
}

static int add_shown(struct lh_rendered_set *set, struct lh_str path, mode_t mode)
{
    struct lh_rendered *v = lh_realloc(set->v, (set->n + 1) * sizeof(*v));

    if (!v)
        return -1;
    set->v = v;
    v[set->n] = (struct lh_rendered){.path = lh_str_dup(path), .mode = mode};
    if (!v[set->n].path)
        return -1;
    set->n++;
    return 0;
}

static bool scan_number(const char **p, int base, unsigned long long most, unsigned long long *out)
{
    char *end;

    *out = strtoull(*p, &end, base);
    if (end == *p || *out > most)
        return false;
    *p = end;
    return true;
}

/* One item's line; *p is left behind it. */
static bool scan_item(const struct item *it, const char **p, struct lh_rendered_set *set)
{
    unsigned long long shape, n, mode, len;

    if (!scan_number(p, 16, UINT64_MAX, &shape) || shape != it->shape ||
        !scan_number(p, 10, 4096, &n))
        return false;
    for (unsigned long long k = 0; k < n; k++) {
        if (!scan_number(p, 8, 0777, &mode) || !scan_number(p, 10, 4096, &len) || **p != ':' ||
            strnlen(*p + 1, (size_t)len) < len ||
            add_shown(set, (struct lh_str){*p + 1, (size_t)len}, (mode_t)mode) < 0)
            return false;
        *p += 1 + len;
    }
    if (**p != '\n')
        return false;
    (*p)++;
    return true;
}

/* The note's first line, past which *note is left. Held, the files are another engine's by now. */
static bool scan_sets(const struct lh_engine *e, const char **note)
{
    const char *end = strchr(*note, '\n');
    lh_auto_free char *want = lh_asprintf("<%s>", set_name(e));
    struct lh_str line;

    if (!want || !end)
        return false;
    line = (struct lh_str){*note, (size_t)(end - *note)};
    *note = end + 1;
    return e->held || memmem(line.p, line.n, want, strlen(want)) != NULL;
}

bool items_resume(void *arg, struct lh_grant *g, const char *note)
{
    struct lh_engine *e = arg;
    bool good = note != NULL && scan_sets(e, &note);

    for (size_t i = 0; i < e->n_items; i++) {
        struct item *it = &e->items[i];

        if (it->grant != g)
            continue;
        lh_rendered_set_done(&it->shown);
        good = good && scan_item(it, &note, &it->shown);
        for (size_t k = 0; k < it->shown.n && good; k++)
            good = e->sink->has(e->sink, it->shown.v[k].path);
    }
    for (size_t i = 0; i < e->n_items && !good; i++) {
        if (e->items[i].grant == g)
            lh_rendered_set_done(&e->items[i].shown);
    }
    return good;
}
