/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML and JSON files as a source. Everything is read anew when the folder changes, and compared: a
 * folder of manifests is small, and what changed between two readings needs no other bookkeeping.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "leasehold/codec/yaml.h"
#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"
#include "objects_priv.h"

enum { MAX_FILE = 4 << 20, MAX_FILES = 1000, SETTLE_MS = 100 };

struct object_files {
    struct lh_objects *o;
    char *path;
    struct lh_dirwatch *watch;
    struct lh_timer *timer;
    bool told;               /* of what was there at first */
    struct lh_map *reported; /* texts of what was bad in the last reading; values mean nothing */
};

/* One reading. */
struct reading {
    struct object_set set;
    struct lh_objects *report; /* NULL: the first bad object ends it */
    struct object_files *files;
    struct lh_map *bad; /* becomes files->reported */
    struct lh_err *err;
};

/* Once for as long as it stays the same. */
static void report(struct reading *r, const struct lh_err *err)
{
    struct lh_str text = lh_str(err->msg);

    if (r->bad)
        lh_map_set(r->bad, text, r->files, NULL, NULL);
    if (!r->files->reported || !lh_map_get(r->files->reported, text))
        objects_tell_bad(r->report, err);
}

static int twice(const struct object *o, const struct object *old, struct lh_err *err)
{
    return lh_err_set(err, LH_E_INVALID, "%s: the object is in %s already", o->where, old->where);
}

static int keep(struct reading *r, const lh_json *obj, const char *where, struct lh_err *err)
{
    struct object *o = NULL, *old = NULL;
    int rc = object_new(obj, object_kind_of(obj), where, &o, err);

    if (rc < 0)
        return rc;
    o->raw = lh_json_ref(lh_json_mut(obj));
    old = object_set_get(&r->set, o->key);
    if (old)
        rc = twice(o, old, err);
    else
        rc = object_set_put(&r->set, o, &old, err);
    if (rc < 0)
        object_free(o);
    return rc;
}

static bool is_list(const lh_json *obj)
{
    const char *kind = lh_json_get_z(obj, "kind");

    return kind && lh_str_ends(lh_str(kind), LH_STR("List")) &&
           lh_json_type(lh_json_get(obj, "items")) == LH_JSON_ARRAY;
}

static int add(struct reading *r, const lh_json *obj, const char *where)
{
    struct lh_err local = {0};
    int rc = 0;

    if (is_list(obj)) {
        const lh_json *items = lh_json_get(obj, "items");

        for (size_t i = 0; rc == 0 && i < lh_json_len(items); i++) {
            if (!is_list(lh_json_at(items, i)))
                rc = add(r, lh_json_at(items, i), where);
        }
        return rc;
    }
    if (object_kind_of(obj) == OBJECT_OTHER)
        return 0;
    rc = keep(r, obj, where, &local);
    if (rc == -LH_E_INVALID && r->report) {
        report(r, &local);
        return 0;
    }
    if (rc < 0 && r->err)
        *r->err = local;
    return rc;
}

static bool has_ending(const char *name, const char *ending)
{
    return lh_str_ends(lh_str(name), lh_str(ending));
}

static int add_text(struct reading *r, const char *path, struct lh_str text)
{
    struct lh_yaml_doc *docs = NULL;
    size_t n = 0;
    int rc;

    if (has_ending(path, ".json")) {
        lh_auto_json lh_json *v = NULL;

        rc = lh_json_parse(text, NULL, &v, r->err);
        return rc < 0 ? lh_err_wrap(r->err, rc, "%s", path) : add(r, v, path);
    }
    rc = lh_yaml_parse(text, path, NULL, &docs, &n, r->err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        lh_auto_free char *where = lh_asprintf("%s:%d", path, docs[i].line);

        rc = where ? add(r, docs[i].value, where) : lh_err_nomem(r->err);
    }
    lh_yaml_free(docs, n);
    return rc;
}

static int add_file(struct reading *r, const char *path)
{
    lh_auto_free char *text = NULL;
    size_t n = 0;
    int rc = lh_fs_read_at(AT_FDCWD, path, MAX_FILE, &text, &n, r->err);

    return rc < 0 ? rc : add_text(r, path, (struct lh_str){text, n});
}

/* Hidden names are also what kubelet puts beside the files of a volume. */
static int wanted(const struct dirent *e)
{
    return e->d_name[0] != '.' && (has_ending(e->d_name, ".yaml") ||
                                   has_ending(e->d_name, ".yml") || has_ending(e->d_name, ".json"));
}

static int add_folder(struct reading *r, const char *path)
{
    struct dirent **names = NULL;
    int n = scandir(path, &names, wanted, alphasort), rc = 0;

    if (n < 0)
        return lh_err_os(r->err, errno, "read folder %s", path);
    if (n > MAX_FILES)
        rc = lh_err_set(r->err, LH_E_TOOBIG, "%s holds more than %d files", path, MAX_FILES);
    for (int i = 0; i < n; i++) {
        lh_auto_free char *file = rc == 0 ? lh_asprintf("%s/%s", path, names[i]->d_name) : NULL;

        if (rc == 0)
            rc = file ? add_file(r, file) : lh_err_nomem(r->err);
        free(names[i]);
    }
    free(names);
    return rc;
}

static int read_all(struct reading *r, const char *path)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return errno == ENOENT ? lh_err_set(r->err, LH_E_NOTFOUND, "there is no %s", path)
                               : lh_err_os(r->err, errno, "stat %s", path);
    return S_ISDIR(st.st_mode) ? add_folder(r, path) : add_file(r, path);
}

/* What of a is not in b, or not equal there. */
static void tell_changes(struct lh_objects *o, const struct object_set *a,
                         const struct object_set *b, bool gone)
{
    struct lh_str key;
    size_t it = 0;
    void *value;

    while (lh_map_next(a->map, &it, &key, &value)) {
        const struct object *mine = value, *other = lh_map_get(b->map, key);

        if (!other || (!gone && !lh_json_equal(mine->raw, other->raw)))
            objects_tell(o, mine, gone);
    }
}

static int read_again(struct reading *r)
{
    int rc = lh_map_new(&r->bad, r->err);

    if (rc == 0)
        rc = object_set_init(&r->set, r->err);
    return rc < 0 ? rc : read_all(r, r->files->path);
}

static void reload(struct object_files *f)
{
    struct lh_objects *o = f->o;
    struct lh_err err = {0};
    struct reading r = {.report = o, .files = f, .err = &err};
    struct object_set old;
    int rc = read_again(&r);

    /* A file that cannot be read, or is no YAML, says nothing of the objects in it: all stay. */
    if (rc < 0)
        report(&r, &err);
    lh_map_free(f->reported, NULL);
    f->reported = r.bad;
    if (rc < 0) {
        object_set_done(&r.set);
        return;
    }
    old = o->set;
    o->set = r.set;
    tell_changes(o, &o->set, &old, false);
    tell_changes(o, &old, &o->set, true);
    object_set_done(&old);
}

static void on_timer(void *arg)
{
    struct object_files *f = arg;
    struct object_set nothing;

    if (f->told) {
        reload(f);
        return;
    }
    if (object_set_init(&nothing, NULL) < 0) {
        lh_timer_in(f->timer, SETTLE_MS);
        return;
    }
    f->told = true;
    tell_changes(f->o, &f->o->set, &nothing, false);
    object_set_done(&nothing);
    objects_tell_synced(f->o);
}

static void on_change(void *arg)
{
    struct object_files *f = arg;

    /* Files come one by one; wait until they all have. Before the first telling there is a timer.
     */
    if (f->told)
        lh_timer_in(f->timer, SETTLE_MS);
}

void object_files_free(struct object_files *f)
{
    if (!f)
        return;
    lh_dirwatch_free(f->watch);
    lh_timer_free(f->timer);
    lh_map_free(f->reported, NULL);
    lh_free(f->path);
    lh_free(f);
}

/* A file is watched by its folder: editors and kubelet replace files. */
static int follow(struct object_files *f, struct lh_err *err)
{
    lh_auto_free char *folder = NULL;
    const char *slash = strrchr(f->path, '/');
    struct stat st;
    int rc;

    if (stat(f->path, &st) == 0 && S_ISDIR(st.st_mode))
        folder = lh_strdup(f->path);
    else if (slash)
        folder = slash == f->path ? lh_strdup("/") : lh_strndup(f->path, (size_t)(slash - f->path));
    else
        folder = lh_strdup(".");
    if (!folder)
        return lh_err_nomem(err);
    rc = lh_dirwatch_new(f->o->loop, folder, on_change, f, &f->watch, err);
    if (rc == 0)
        rc = lh_timer_new(f->o->loop, on_timer, f, &f->timer, err);
    if (rc == 0)
        lh_timer_in(f->timer, 0);
    return rc;
}

int lh_objects_from_files(struct lh_loop *loop, const char *path,
                          const struct lh_objects_events *ev, struct lh_objects **out,
                          struct lh_err *err)
{
    struct lh_objects *o = lh_calloc(1, sizeof(*o));
    struct reading r = {.err = err};
    int rc;

    if (!o)
        return lh_err_nomem(err);
    o->loop = loop;
    o->from_files = true;
    if (ev)
        o->ev = *ev;
    o->files = lh_calloc(1, sizeof(*o->files));
    rc = o->files ? object_set_init(&o->set, err) : lh_err_nomem(err);
    if (rc == 0) {
        o->files->o = o;
        o->files->path = lh_strdup(path);
        /* Watched before it is read: what changes in between is seen. */
        rc = !o->files->path ? lh_err_nomem(err) : loop ? follow(o->files, err) : 0;
    }
    if (rc == 0) {
        r.files = o->files;
        r.set = o->set;
        rc = read_all(&r, path);
        o->set = r.set;
    }
    if (rc < 0) {
        lh_objects_free(o);
        return rc;
    }
    o->synced = !loop;
    *out = o;
    return 0;
}
