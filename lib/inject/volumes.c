/* SPDX-License-Identifier: Apache-2.0 */
/* SecretProjections as CSI volumes: what is added to the Pod, and what would be in their way. */
#include <stdio.h>
#include <string.h>

#include "inject_priv.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"

#define NAME_ROOM (sizeof(LH_VOLUME_PROJECTION) + 20)

static const char *volume_name(size_t i, char buf[NAME_ROOM])
{
    snprintf(buf, NAME_ROOM, "%s%zu", LH_VOLUME_PROJECTION, i);
    return buf;
}

static lh_json *mount_of(const struct lh_inject_plan *p, const char *volume, size_t i)
{
    lh_auto_json lh_json *m = lh_json_new_object();
    lh_auto_free char *path = lh_asprintf("%s/%s", p->mount_path, p->projections[i]);

    if (!m || !path || put_z(m, "name", volume) < 0 || put_z(m, "mountPath", path) < 0 ||
        put_bool(m, "readOnly", true) < 0)
        return NULL;
    return LH_TAKE_PTR(m);
}

lh_json *volumes_mount(const struct lh_inject_plan *p, size_t i)
{
    char name[NAME_ROOM];

    return mount_of(p, volume_name(i, name), i);
}

int volumes_push_places(const struct lh_inject_plan *p, lh_json *mounts)
{
    const char *empty = p->cfg->state_path ? LH_VOLUME_STATE : LH_VOLUME_SECRETS;

    for (size_t i = 0; p->projections && p->projections[i]; i++) {
        lh_json *m = mount_of(p, empty, i);

        if (!m || lh_json_push(mounts, m) < 0)
            return -1;
    }
    return 0;
}

static lh_json *volume_of(const char *name, const char *projection)
{
    lh_auto_json lh_json *v = lh_json_new_object(), *csi = lh_json_new_object();
    lh_auto_json lh_json *attributes = lh_json_new_object();

    if (!v || !csi || !attributes || put_z(attributes, "projection", projection) < 0 ||
        put_z(csi, "driver", LH_CSI_DRIVER) < 0 || put_bool(csi, "readOnly", true) < 0 ||
        put(csi, "volumeAttributes", LH_TAKE_PTR(attributes)) < 0 || put_z(v, "name", name) < 0 ||
        put(v, "csi", LH_TAKE_PTR(csi)) < 0)
        return NULL;
    return LH_TAKE_PTR(v);
}

int volumes_push(const struct lh_inject_plan *p, lh_json *volumes)
{
    char name[NAME_ROOM];

    for (size_t i = 0; p->projections && p->projections[i]; i++) {
        lh_json *v = volume_of(volume_name(i, name), p->projections[i]);

        if (!v || lh_json_push(volumes, v) < 0)
            return -1;
    }
    return 0;
}

/* A volume of our name that is not what we would write. */
static void check_volume(const struct lh_inject_plan *p, const struct lh_pod_at *pod, size_t i,
                         struct lh_problems *problems)
{
    const lh_json *have = lh_json_get(pod->spec, "volumes");
    lh_auto_json lh_json *want = NULL;
    char name[NAME_ROOM], where[128];
    int at = index_of(have, volume_name(i, name));

    if (at < 0)
        return;
    want = volume_of(name, p->projections[i]);
    if (!want)
        problems->nomem = true;
    else if (!shape_holds(lh_json_at(have, (size_t)at), want))
        problem_add(problems, where_of(LH_ANN_PROJECTIONS, NULL, where), LH_REASON_NameReserved,
                    true, "the Pod has a volume \"%s\" of its own, a name that is ours", name);
}

struct walk {
    const struct lh_inject_plan *p;
    struct lh_problems *problems;
    size_t i;
};

static void check_mount(void *arg, const struct target *t)
{
    const lh_json *mounts = lh_json_get(t->container, "volumeMounts");
    struct walk *w = arg;
    lh_auto_free char *path = lh_asprintf("%s/%s", w->p->mount_path, w->p->projections[w->i]);
    char name[NAME_ROOM], where[128];

    if (!path)
        w->problems->nomem = true;
    for (size_t k = 0; path && k < lh_json_len(mounts); k++) {
        const char *at = lh_json_get_z(lh_json_at(mounts, k), "mountPath");
        const char *volume = lh_json_get_z(lh_json_at(mounts, k), "name");

        if (!at || !volume || strcmp(at, path) != 0 || strcmp(volume, volume_name(w->i, name)) == 0)
            continue;
        problem_add(w->problems, where_of(LH_ANN_PROJECTIONS, NULL, where), LH_REASON_FileConflict,
                    true, "container \"%s\" already mounts \"%.63s\" at %.300s", t->name, volume,
                    path);
    }
}

/* A file or folder that the agent would put where the volume is to be. */
static void check_files(const struct lh_inject_plan *p, const char *name,
                        struct lh_problems *problems)
{
    const struct lh_projection *files = p->cfg->projection;
    size_t n = strlen(name);
    char where[128];

    for (size_t i = 0; i < files->n_items; i++) {
        const struct lh_item *it = &files->items[i];

        for (size_t k = 0; k < it->n_files; k++) {
            const char *path = it->files[k].path;

            if (strncmp(path, name, n) != 0 || (path[n] && path[n] != '/'))
                continue;
            problem_add(problems, where_of(LH_ANN_PROJECTIONS, NULL, where), LH_REASON_FileConflict,
                        true,
                        "the files of %ssecret.%s are where SecretProjection \"%.253s\" is to be "
                        "mounted; call one of them differently",
                        LH_ANNOTATION_PREFIX, it->name, name);
        }
    }
}

void volumes_check(const struct lh_inject_plan *p, const struct lh_pod_at *pod,
                   struct lh_problems *problems)
{
    struct walk w = {p, problems, 0};

    for (; p->projections && p->projections[w.i]; w.i++) {
        check_volume(p, pod, w.i, problems);
        each_chosen(pod->spec, p->containers, check_mount, &w);
        if (p->cfg)
            check_files(p, p->projections[w.i], problems);
    }
}
