/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a restart needs to know of a volume: whose it is, and what is fetched for it. No value and
 * no token: those of the manager are in the engine's own state beside it.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"
#include "volume.h"

#define RECORD_NAME "record"

enum { RECORD_VERSION = 1, RECORD_MAX = 2 * 1024 * 1024 };

static lh_json *meta_json(const char *namespace_, const char *name)
{
    lh_json *m = lh_json_new_object();

    lh_json_set(m, "name", lh_json_new_z(name));
    if (namespace_)
        lh_json_set(m, "namespace", lh_json_new_z(namespace_));
    return m;
}

static lh_json *store_json(const struct lh_store *s)
{
    lh_json *o = lh_json_new_object();

    lh_json_set(o, "apiVersion", lh_json_new_z("leasehold.dev/v1alpha1"));
    lh_json_set(o, "kind", lh_json_new_z(lh_store_kind(s)));
    lh_json_set(o, "metadata", meta_json(s->namespace_, s->name));
    lh_json_set(o, "spec", lh_json_ref(s->spec));
    return o;
}

static int slot_json(const struct volume_slot *s, lh_json *to, struct lh_err *err)
{
    lh_json *o = lh_json_new_object(), *spec = NULL;
    char dir[2] = {s->dir, '\0'};
    int rc = o ? lh_projection_to_json(s->projection, &spec, err) : lh_err_nomem(err);

    if (rc < 0) {
        lh_json_unref(o);
        return rc;
    }
    lh_json_set(o, "dir", lh_json_new_z(dir));
    lh_json_set(o, "store", store_json(s->store));
    lh_json_set(o, "spec", spec);
    if (s->namespace_labels)
        lh_json_set(o, "labels", lh_json_ref(s->namespace_labels));
    return lh_json_push(to, o) < 0 ? lh_err_nomem(err) : 0;
}

static const struct {
    const char *name;
    size_t at;
} texts[] = {{"pod", offsetof(struct volume, pod)},
             {"namespace", offsetof(struct volume, namespace_)},
             {"podUID", offsetof(struct volume, pod_uid)},
             {"serviceAccount", offsetof(struct volume, service_account)},
             {"projection", offsetof(struct volume, projection)},
             {"volume", offsetof(struct volume, name)},
             {"context", offsetof(struct volume, context)}};

static char **text_at(struct volume *v, size_t i)
{
    return (char **)((char *)v + texts[i].at);
}

int record_save(struct volume *v, struct lh_err *err)
{
    lh_auto_json lh_json *o = lh_json_new_object();
    lh_json *engines = lh_json_new_array();
    lh_auto_buf struct lh_buf b;
    struct lh_str s;
    int rc = 0;

    lh_buf_init(&b, RECORD_MAX);
    lh_json_set(o, "version", lh_json_new_int(RECORD_VERSION));
    for (size_t i = 0; i < LH_ARRAY_LEN(texts); i++)
        lh_json_set(o, texts[i].name, lh_json_new_z(*text_at(v, i)));
    lh_json_set(o, "gid", lh_json_new_int(v->gid));
    lh_json_set(o, "bytes", lh_json_new_int(v->bytes));
    lh_json_set(o, "published", lh_json_new_bool(v->published));
    lh_json_set(o, "condition", lh_json_new_int(v->condition));
    for (unsigned i = 0; i < 2 && rc == 0; i++) {
        struct volume_slot *slot = &v->slot[i == 0 ? v->cur : 1 - v->cur];

        if (slot->engine)
            rc = slot_json(slot, engines, err);
    }
    lh_json_set(o, "engines", engines);
    if (rc < 0)
        return rc;
    lh_json_write(o, LH_JSON_COMPACT, &b);
    rc = lh_buf_check(&b, err);
    s = lh_buf_peek(&b);
    return rc < 0 ? rc : lh_fs_replace_at(v->state, RECORD_NAME, 0600, s.p, s.n, err);
}

void record_remove(struct volume *v)
{
    static const char *const files[] = {"a/state", "b/state", RECORD_NAME};
    static const char *const folders[] = {"a", "b"};

    for (size_t i = 0; v->state >= 0 && i < LH_ARRAY_LEN(files); i++)
        (void)unlinkat(v->state, files[i], 0);
    for (size_t i = 0; v->state >= 0 && i < LH_ARRAY_LEN(folders); i++)
        (void)unlinkat(v->state, folders[i], AT_REMOVEDIR);
    (void)unlinkat(v->set->state, v->id, AT_REMOVEDIR);
}

int record_read(int state, const char *id, lh_json **out, struct lh_err *err)
{
    lh_auto_free char *path = lh_asprintf("%s/" RECORD_NAME, id), *text = NULL;
    size_t n = 0;
    int rc = path ? lh_fs_read_at(state, path, RECORD_MAX, &text, &n, err) : lh_err_nomem(err);

    if (rc == 0)
        rc = lh_json_parse((struct lh_str){text, n}, NULL, out, err);
    return rc < 0 ? lh_err_wrap(err, rc, "the record of volume %s", id) : 0;
}

static int load_slot(struct volume *v, unsigned i, const lh_json *o, struct lh_err *err)
{
    struct volume_slot *s = &v->slot[i];
    const char *dir = lh_json_get_z(o, "dir");
    const lh_json *labels = lh_json_get(o, "labels");
    int rc;

    s->dir = dir && dir[0] == 'b' ? 'b' : 'a';
    rc = lh_store_parse(lh_json_get(o, "store"), NULL, &s->store, err);
    if (rc == 0)
        rc = lh_projection_parse_spec(lh_json_get(o, "spec"), "the record", v->namespace_,
                                      v->projection, &s->projection, err);
    if (rc == 0 && labels) {
        s->namespace_labels = lh_json_deep_copy(labels);
        rc = s->namespace_labels ? 0 : lh_err_nomem(err);
    }
    return rc;
}

int record_load(struct volume *v, const lh_json *record, struct lh_err *err)
{
    const lh_json *engines = lh_json_get(record, "engines");
    int rc = 0;

    if (lh_json_get_int(record, "version", 0) != RECORD_VERSION)
        return lh_err_set(err, LH_E_INVALID, "it is of another version");
    for (size_t i = 0; i < LH_ARRAY_LEN(texts); i++) {
        const char *z = lh_json_get_z(record, texts[i].name);

        if (!z)
            return lh_err_set(err, LH_E_INVALID, "it has no %s", texts[i].name);
        *text_at(v, i) = lh_strdup(z);
        if (!*text_at(v, i))
            return lh_err_nomem(err);
    }
    v->gid = lh_json_get_int(record, "gid", LH_MOUNT_NO_GID);
    v->bytes = lh_json_get_int(record, "bytes", 0);
    v->published = lh_json_get_bool(record, "published", false);
    v->condition = (int)lh_json_get_int(record, "condition", -1);
    for (unsigned i = 0; i < 2 && i < lh_json_len(engines) && rc == 0; i++)
        rc = load_slot(v, i, lh_json_at(engines, i), err);
    if (rc == 0 && v->slot[0].dir == 'b')
        v->slot[1].dir = 'a';
    return rc;
}
