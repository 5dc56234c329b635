/* SPDX-License-Identifier: Apache-2.0 */
#include "resume.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/vec.h"
#include "volume.h"

enum { AGAIN_MS = 1000 };

struct found {
    char pod_uid[LH_MOUNT_POD_UID], volume[LH_MOUNT_VOLUME];
    bool known;
};

struct node_resume {
    struct node_set *set;
    void (*done)(void *arg);
    void *arg;
    struct lh_timer *timer;
    struct mount_op *op;
    struct lh_vec mounts; /* struct found */
    struct lh_vec ids;    /* char *: records to look at */
    lh_json *record;      /* the one at hand, being opened */
    bool listed, scanned, busy;
};

static void go_on(void *arg);

static void ask(struct node_resume *r, enum lh_mount_verb verb, const char *pod_uid,
                const char *volume, mount_done_fn done)
{
    struct lh_mount_request q;
    struct lh_err err = {0};

    if (!mount_request_init(&q, verb, pod_uid, volume, "") ||
        mount_start(r->set->mount, &q, done, r, &r->op, &err) < 0)
        lh_timer_in(r->timer, AGAIN_MS);
}

/* false: no answer, to be asked again. */
static bool settled(struct node_resume *r, const struct lh_err *err)
{
    r->op = NULL;
    if (!err)
        return true;
    lh_log_warn("volumes of an earlier run are not known yet", LH_F_ERR(err));
    lh_timer_in(r->timer, AGAIN_MS);
    return false;
}

static void have_state(void *arg, struct mount_answer *ans, const struct lh_err *err)
{
    struct node_resume *r = arg;

    if (!settled(r, err))
        return;
    r->set->state = ans->fds[0];
    ans->fds[0] = -1;
    lh_timer_in(r->timer, 0);
}

static void have_list(void *arg, struct mount_answer *ans, const struct lh_err *err)
{
    struct node_resume *r = arg;

    if (!settled(r, err))
        return;
    for (size_t i = 0; i < ans->n; i++) {
        const struct lh_mount_reply *m = &ans->replies[i];
        struct found f = {.known = false};

        if (!m->pod_uid[0]) /* the one reply of an empty list */
            continue;
        memcpy(f.pod_uid, m->pod_uid, sizeof(f.pod_uid));
        memcpy(f.volume, m->volume, sizeof(f.volume));
        f.pod_uid[sizeof(f.pod_uid) - 1] = f.volume[sizeof(f.volume) - 1] = '\0';
        if (!lh_vec_push(&r->mounts, &f))
            lh_log_error("out of memory: a mounted volume is not looked after");
    }
    r->listed = true;
    lh_timer_in(r->timer, 0);
}

static void scan(struct node_resume *r)
{
    int fd = openat(r->set->state, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *e;

    if (!d) {
        if (fd >= 0)
            close(fd);
        lh_timer_in(r->timer, AGAIN_MS);
        return;
    }
    for (e = readdir(d); e; e = readdir(d)) {
        char *id = e->d_name[0] == '.' ? NULL : lh_strdup(e->d_name);

        if (id && !lh_vec_push(&r->ids, &id))
            lh_free(id);
    }
    closedir(d);
    r->scanned = true;
}

static struct found *mount_of(struct node_resume *r, const char *pod_uid, const char *volume)
{
    for (size_t i = 0; i < r->mounts.n; i++) {
        struct found *f = lh_vec_at(&r->mounts, i);

        if (strcmp(f->pod_uid, pod_uid) == 0 && strcmp(f->volume, volume) == 0)
            return f;
    }
    return NULL;
}

/* dir -1: not mounted any more; what it holds is ended. */
static void resume(struct node_resume *r, int dir)
{
    char *const *id = lh_vec_at(&r->ids, r->ids.n - 1);
    struct volume *v = NULL;
    struct lh_err err = {0};

    if (volume_resume(r->set, *id, r->record, dir, &v, &err) < 0)
        lh_log_error("volume not resumed: it is filled anew when kubelet calls", LH_F_ERR(&err));
    else
        lh_log_info("volume resumed", LH_F_STR("namespace", v->namespace_), LH_F_STR("pod", v->pod),
                    LH_F_STR("projection", v->projection), LH_F_BOOL("mounted", dir >= 0));
    lh_free(*id);
    lh_vec_remove(&r->ids, r->ids.n - 1);
    lh_json_unref(r->record);
    r->record = NULL;
    lh_timer_in(r->timer, 0);
}

static void have_folder(void *arg, struct mount_answer *ans, const struct lh_err *err)
{
    struct node_resume *r = arg;
    int dir = -1;

    if (err && err->code != LH_E_NOTFOUND) {
        (void)settled(r, err);
        return;
    }
    r->op = NULL;
    if (ans) {
        dir = ans->fds[0];
        ans->fds[0] = -1;
    }
    resume(r, dir);
}

static void next_record(struct node_resume *r)
{
    char *const *id = lh_vec_at(&r->ids, r->ids.n - 1);
    const char *uid, *volume;
    struct found *f;
    struct lh_err err = {0};

    if (!r->record && record_read(r->set->state, *id, &r->record, &err) < 0) {
        lh_log_warn("record not used", LH_F_ERR(&err));
        lh_free(*id);
        lh_vec_remove(&r->ids, r->ids.n - 1);
        lh_timer_in(r->timer, 0);
        return;
    }
    uid = lh_json_get_z(r->record, "podUID");
    volume = lh_json_get_z(r->record, "volume");
    f = uid && volume ? mount_of(r, uid, volume) : NULL;
    if (!f) {
        resume(r, -1);
        return;
    }
    f->known = true;
    ask(r, LH_MOUNT_OPEN, uid, volume, have_folder);
}

static void go_on(void *arg)
{
    struct node_resume *r = arg;

    if (r->op)
        return;
    if (r->set->state < 0) {
        ask(r, LH_MOUNT_STATE, "", "", have_state);
        return;
    }
    if (!r->listed) {
        ask(r, LH_MOUNT_LIST, "", "", have_list);
        return;
    }
    if (!r->scanned)
        scan(r);
    if (!r->scanned)
        return;
    if (r->ids.n > 0) {
        next_record(r);
        return;
    }
    if (r->busy) {
        r->busy = false;
        r->done(r->arg);
    }
}

int node_resume_start(struct node_set *s, void (*done)(void *arg), void *arg,
                      struct node_resume **out, struct lh_err *err)
{
    struct node_resume *r = lh_calloc(1, sizeof(*r));
    int rc;

    if (!r)
        return lh_err_nomem(err);
    *r = (struct node_resume){.set = s, .done = done, .arg = arg, .busy = true};
    lh_vec_init(&r->mounts, sizeof(struct found));
    lh_vec_init(&r->ids, sizeof(char *));
    rc = lh_timer_new(s->loop, go_on, r, &r->timer, err);
    if (rc < 0) {
        lh_free(r);
        return rc;
    }
    lh_timer_in(r->timer, 0);
    *out = r;
    return 0;
}

void node_resume_free(struct node_resume *r)
{
    if (!r)
        return;
    mount_cancel(r->op);
    for (size_t i = 0; i < r->ids.n; i++)
        lh_free(*(char **)lh_vec_at(&r->ids, i));
    lh_vec_done(&r->ids);
    lh_vec_done(&r->mounts);
    lh_json_unref(r->record);
    lh_timer_free(r->timer);
    lh_free(r);
}

bool node_resume_is_busy(const struct node_resume *r)
{
    return !r || r->busy;
}

static void stray_gone(void *arg, struct mount_answer *ans, const struct lh_err *err)
{
    struct node_resume *r = arg;

    (void)ans;
    r->op = NULL;
    if (err)
        lh_log_warn("mount of a Pod that is gone not taken away", LH_F_ERR(err));
}

static bool is_in_use(const struct node_set *s, const struct found *f)
{
    struct lh_str key;
    size_t it = 0;
    void *p;

    while (lh_map_next(s->by_id, &it, &key, &p)) {
        const struct volume *v = p;

        if (strcmp(v->pod_uid, f->pod_uid) == 0 && strcmp(v->name, f->volume) == 0)
            return true;
    }
    return false;
}

void node_resume_pods(struct node_resume *r, const struct node_pods *p)
{
    for (size_t i = 0; i < r->mounts.n && !r->op && !r->busy; i++) {
        struct found *f = lh_vec_at(&r->mounts, i);

        if (f->known || is_in_use(r->set, f) || node_pods_has(p, f->pod_uid))
            continue;
        f->known = true;
        ask(r, LH_MOUNT_UNMOUNT, f->pod_uid, f->volume, stray_gone);
    }
}
