/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program of on-change exec: where a chosen container has it in a volume, the agent gets that
 * volume at the same place and with the same rights, so that one path means one file in both.
 */
#include <string.h>

#include "inject_priv.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"

#define API_TOKEN_PATH "/var/run/secrets/kubernetes.io"

struct search {
    const char *program;
    const lh_json *mount; /* the innermost of the first container that has one */
    const lh_json *container;
    size_t depth;
};

/* Is path at or below folder? */
static bool lies_in(const char *path, const char *folder)
{
    size_t n = strlen(folder);

    while (n > 1 && folder[n - 1] == '/')
        n--;
    return strncmp(path, folder, n) == 0 && (!path[n] || path[n] == '/' || n == 1);
}

static bool is_ours(const char *volume)
{
    return strcmp(volume, LH_VOLUME_SECRETS) == 0 ||
           strncmp(volume, LH_VOLUME_PROJECTION, strlen(LH_VOLUME_PROJECTION)) == 0;
}

static void look_in(void *arg, const struct target *t)
{
    const lh_json *mounts = lh_json_get(t->container, "volumeMounts");
    struct search *s = arg;

    if (s->mount && s->container != t->container)
        return;
    for (size_t i = 0; i < lh_json_len(mounts); i++) {
        const lh_json *m = lh_json_at(mounts, i);
        const char *volume = lh_json_get_z(m, "name"), *path = lh_json_get_z(m, "mountPath");

        if (!volume || !path || path[0] != '/' || is_ours(volume) || strlen(path) <= s->depth ||
            !lies_in(s->program, path))
            continue;
        s->mount = m;
        s->container = t->container;
        s->depth = strlen(path);
    }
}

static struct search find(const struct lh_inject_plan *p, const lh_json *spec)
{
    struct search s = {0};

    if (!p->cfg || p->cfg->notify.kind != LH_NOTIFY_EXEC)
        return s;
    s.program = p->cfg->notify.argv[0];
    if (!lies_in(s.program, LH_AGENT_BINARY))
        each_target(spec, p->containers, p->after, look_in, &s);
    return s;
}

/* The agent's own place that a mount would hide, or that would hide the mount; NULL: none. */
static const char *in_the_way(const struct lh_inject_plan *p, const char *path)
{
    const char *const own[] = {p->mount_path, "/run/leasehold", "/var/run/leasehold",
                               API_TOKEN_PATH, LH_AGENT_BINARY};

    for (size_t i = 0; i < LH_ARRAY_LEN(own); i++) {
        if (lies_in(path, own[i]) || lies_in(own[i], path))
            return own[i];
    }
    return NULL;
}

void hook_check(const struct lh_inject_plan *p, const lh_json *spec, struct lh_problems *problems)
{
    const struct search s = find(p, spec);
    const char *path, *own;
    char where[128];

    if (!s.program)
        return;
    where_of(LH_ANN_ON_CHANGE, NULL, where);
    if (!s.mount) {
        if (!lies_in(s.program, LH_AGENT_BINARY) && strcmp(p->image, p->policy->agent_image) == 0)
            problem_add(
                problems, where, NULL, false,
                "no chosen container has a volume with \"%.300s\", and the platform's image "
                "of the agent holds nothing but " LH_AGENT_BINARY,
                s.program);
        return;
    }
    path = lh_json_get_z(s.mount, "mountPath");
    own = in_the_way(p, path);
    if (own)
        problem_add(
            problems, where, LH_REASON_AnnotationInvalid, true,
            "\"%.300s\" is in the volume at %.300s, which the agent cannot have there, since "
            "its own %.300s is; mount the program's volume elsewhere",
            s.program, path, own);
    else if (lh_json_get_z(s.mount, "subPathExpr"))
        problem_add(problems, where, LH_REASON_AnnotationInvalid, true,
                    "\"%.300s\" is in a volume with subPathExpr, which means nothing in the agent; "
                    "use subPath, or mount the whole volume",
                    s.program);
}

int hook_push_mount(const struct lh_inject_plan *p, const lh_json *spec, lh_json *mounts)
{
    const struct search s = find(p, spec);
    lh_auto_json lh_json *m = NULL;
    const char *sub;

    if (!s.mount)
        return 0;
    m = lh_json_new_object();
    sub = lh_json_get_z(s.mount, "subPath");
    if (!m || put_z(m, "name", lh_json_get_z(s.mount, "name")) < 0 ||
        put_z(m, "mountPath", lh_json_get_z(s.mount, "mountPath")) < 0 ||
        (lh_json_get_bool(s.mount, "readOnly", false) && put_bool(m, "readOnly", true) < 0) ||
        (sub && *sub && put_z(m, "subPath", sub) < 0))
        return -1;
    return lh_json_push(mounts, LH_TAKE_PTR(m));
}
