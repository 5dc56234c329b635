/* SPDX-License-Identifier: Apache-2.0 */
#include "volume.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "leasehold/api/reasons.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "metrics.h"
#include "spec.h"

/* An attempt that nobody asks for any more: kubelet's longest wait between two calls is 2 min. */
enum { ATTEMPT_MS = 10 * 60 * 1000, RETRY_MS = 1000, MOUNT_RETRY_MS = 5000, INODES = 4096 };
/* Kubelet unmounts by itself when a Pod ends; we step in where it does not. */
enum { GONE_MS = 2 * 60 * 1000 };
/* How long a volume that ends waits for its revocation before it is unmounted all the same. */
enum { REVOKE_MS = 5000 };

static void step(void *arg);

void volume_wake(struct volume *v)
{
    lh_timer_in(v->timer, 0);
}

/* ---- answers ---- */

static void answer_ok(struct volume *v)
{
    struct lh_grpc_call *call = LH_TAKE_PTR(v->publish);

    if (!call)
        return;
    node_count_call("NodePublishVolume", "OK");
    lh_grpc_reply(call, LH_STR(""));
}

static void answer_failure(struct volume *v, enum lh_grpc_status status)
{
    struct lh_grpc_call *call = LH_TAKE_PTR(v->publish);
    lh_auto_buf struct lh_buf b;

    lh_buf_init(&b, 4096);
    volume_cause(v, &b);
    if (lh_buf_peek(&b).n == 0)
        lh_buf_printf(&b, "%s: the first answers are not there yet", LH_REASON_Starting);
    lh_log_warn("volume not published yet", LH_F_STR("namespace", v->namespace_),
                LH_F_STR("pod", v->pod), LH_F_STR("projection", v->projection),
                LH_F_STRN("cause", lh_buf_peek(&b)));
    node_count_call("NodePublishVolume", lh_grpc_status_name(status));
    lh_grpc_fail(call, status, lh_buf_peek(&b).p);
}

/* The client is gone; the work goes on for its next call. */
static void publish_cancelled(void *arg)
{
    struct volume *v = arg;

    if (v->publish)
        answer_failure(v, LH_GRPC_CANCELLED);
}

static void answer_unpublish(struct volume *v, const struct lh_err *err)
{
    struct lh_grpc_call *call = LH_TAKE_PTR(v->unpublish);

    if (!call)
        return;
    node_count_call("NodeUnpublishVolume", err ? "INTERNAL" : "OK");
    if (err)
        lh_grpc_fail(call, LH_GRPC_INTERNAL, err->msg);
    else
        lh_grpc_reply(call, LH_STR(""));
}

static void unpublish_cancelled(void *arg)
{
    static const struct lh_err gone = {.code = LH_E_UNAVAILABLE, .msg = "the client went away"};

    answer_unpublish(arg, &gone);
}

/* ---- mounting ---- */

static void mounted(void *arg, struct mount_answer *ans, const struct lh_err *err)
{
    struct volume *v = arg;
    int rc;

    v->mounting = NULL;
    if (err) {
        v->err = *err;
        v->retry_at = lh_clock_now() + RETRY_MS;
        if (v->publish)
            answer_failure(v,
                           err->code == LH_E_UNAVAILABLE ? LH_GRPC_UNAVAILABLE : LH_GRPC_INTERNAL);
    } else if (ans->fds[0] >= 0) {
        int dir = ans->fds[0];

        ans->fds[0] = -1;
        rc = folder_attach(v, dir, &v->err);
        if (rc == 0)
            lh_engine_release(v->slot[v->cur].engine);
    }
    volume_wake(v);
}

static void ask_mount(struct volume *v, enum lh_mount_verb verb, mount_done_fn done)
{
    struct lh_mount_request r;
    struct lh_err err = {0};

    (void)mount_request_init(&r, verb, v->pod_uid, v->name,
                             verb == LH_MOUNT_MOUNT ? v->context : "");
    if (verb == LH_MOUNT_MOUNT) {
        r.bytes = (uint64_t)v->bytes;
        r.inodes = INODES;
        r.gid = v->gid;
    }
    if (mount_start(v->set->mount, &r, done, v, &v->mounting, &err) < 0) {
        v->err = err;
        v->retry_at = lh_clock_now() + RETRY_MS;
    }
}

static void unmounted(void *arg, struct mount_answer *ans, const struct lh_err *err)
{
    struct volume *v = arg;

    (void)ans;
    v->mounting = NULL;
    v->unmounted = err == NULL || err->code == LH_E_NOTFOUND;
    if (!v->unmounted) {
        v->err = *err;
        v->retry_at = lh_clock_now() + MOUNT_RETRY_MS;
        lh_log_error("volume not unmounted", LH_F_STR("pod", v->pod), LH_F_ERR(err));
        answer_unpublish(v, err);
    }
    volume_wake(v);
}

/* ---- leaving ---- */

static void forget(struct volume *v)
{
    record_remove(v);
    volume_free(v);
}

/* true: v is gone. What the manager does not confirm soon is owed: kubelet does not wait for that,
 * and the record stays until it is done. */
static bool leave(struct volume *v, lh_ms now, lh_ms *at)
{
    bool owing = false;

    if (v->publish)
        answer_failure(v, LH_GRPC_ABORTED);
    if (!v->leave_by)
        v->leave_by = now + REVOKE_MS;
    for (size_t i = 0; i < 2; i++) {
        slot_end(&v->slot[i], true);
        owing = owing || v->slot[i].engine;
    }
    if (v->mounting)
        return false;
    if (owing && !v->unmounted && now < v->leave_by) {
        *at = v->leave_by;
        return false;
    }
    folder_detach(v);
    if (v->unmounted) {
        v->bytes = 0;
        answer_unpublish(v, NULL);
        if (!owing)
            forget(v);
        return !owing;
    }
    if (now >= v->retry_at)
        ask_mount(v, LH_MOUNT_UNMOUNT, unmounted);
    if (!v->mounting)
        *at = v->retry_at;
    return false;
}

/* ---- objects ---- */

static int take_spec(struct volume *v, unsigned i, struct node_spec *s, struct lh_err *err)
{
    struct volume_slot *slot = &v->slot[i];
    int rc;

    slot->store = LH_TAKE_PTR(s->store);
    slot->projection = LH_TAKE_PTR(s->projection);
    slot->namespace_labels = LH_TAKE_PTR(s->namespace_labels);
    rc = slot_start(v, i, false, err);
    if (rc < 0)
        slot_clear(slot);
    return rc;
}

static int resolve(struct volume *v, struct node_spec *out, struct lh_err *err)
{
    const struct lh_subject who = {v->set->o->cluster_name, v->namespace_, v->service_account};

    return node_spec_resolve(v->set->objects, v->namespace_, v->projection, &who, out, err);
}

static void save(struct volume *v)
{
    struct lh_err err = {0};

    if (record_save(v, &err) < 0)
        lh_log_error("volume's record not kept: after a restart its secrets are issued again",
                     LH_F_STR("pod", v->pod), LH_F_ERR(&err));
}

static void start(struct volume *v)
{
    struct node_spec s = {0};
    struct lh_err err = {0};
    int rc = resolve(v, &s, &err);

    if (rc == 0)
        rc = take_spec(v, v->cur, &s, &err);
    node_spec_done(&s);
    v->edited = false;
    if (rc < 0) {
        v->err = err;
        /* Objects that change ask for a step; anything else is tried again. */
        v->retry_at = lh_clock_now() + RETRY_MS;
        return;
    }
    v->err = (struct lh_err){0};
    save(v); /* before anything is asked of the manager */
}

static bool leased(void *arg, const char *item)
{
    lh_auto_json lh_json *st = lh_engine_status(arg);
    const lh_json *items = lh_json_get(st, "items");

    for (size_t i = 0; i < lh_json_len(items); i++) {
        const lh_json *it = lh_json_at(items, i);
        const char *name = lh_json_get_z(it, "name"), *kind = lh_json_get_z(it, "kind");

        if (name && kind && strcmp(name, item) == 0)
            return strcmp(kind, "kv") != 0 && strcmp(kind, "static") != 0;
    }
    return true;
}

/* The new engine's state is the old one's: it goes on with its token and leases. */
static int keep_on(struct volume *v, struct node_spec *s, struct lh_err *err)
{
    struct volume_slot *cur = &v->slot[v->cur];

    lh_engine_end(cur->engine, false, 0, NULL, NULL);
    slot_clear(cur);
    return take_spec(v, v->cur, s, err);
}

static int replace(struct volume *v, struct node_spec *s, struct lh_err *err)
{
    unsigned other = 1 - v->cur;
    int rc;

    rc = take_spec(v, other, s, err);
    if (rc < 0)
        return rc;
    lh_engine_hold(v->slot[v->cur].engine);
    v->cur = other;
    v->old_until = 0;
    return 0;
}

static void apply_edit(struct volume *v)
{
    struct volume_slot *cur = &v->slot[v->cur], *other = &v->slot[1 - v->cur];
    struct node_spec s = {0};
    struct lh_err err = {0};
    enum node_edit edit;
    int rc;

    if (other->engine) { /* one replacement at a time: the older one makes room */
        slot_end(other, true);
        return;
    }
    v->edited = false;
    rc = resolve(v, &s, &err);
    if (rc < 0) { /* gone or not allowed any more: files and leases stay */
        if (rc != -LH_E_NOTFOUND && rc != -LH_E_UNAVAILABLE)
            lh_log_warn("edit not taken over", LH_F_STR("pod", v->pod), LH_F_ERR(&err));
        return;
    }
    edit = node_edit_of(cur->store, cur->projection, &s, leased, cur->engine);
    if (edit == NODE_EDIT_NONE) {
        node_spec_done(&s);
        return;
    }
    lh_log_info("projection changed", LH_F_STR("namespace", v->namespace_), LH_F_STR("pod", v->pod),
                LH_F_STR("projection", v->projection));
    rc = edit == NODE_EDIT_KEEP && v->published ? keep_on(v, &s, &err) : replace(v, &s, &err);
    node_spec_done(&s);
    if (rc < 0)
        v->err = err;
    save(v);
}

/* ---- living ---- */

static void now_published(struct volume *v)
{
    if (!v->published) {
        v->published = true;
        v->err = (struct lh_err){0};
        node_observe_publish(lh_clock_now() - v->started_at);
        lh_log_info("volume published", LH_F_STR("namespace", v->namespace_),
                    LH_F_STR("pod", v->pod), LH_F_STR("projection", v->projection),
                    LH_F_INT("took_ms", lh_clock_now() - v->started_at));
        save(v);
    }
    answer_ok(v);
}

static void retire_old(struct volume *v, lh_ms now, lh_ms *at)
{
    struct volume_slot *cur = &v->slot[v->cur], *old = &v->slot[1 - v->cur];

    if (!old->engine || old->ending || !cur->ready)
        return;
    if (v->old_until == 0)
        v->old_until = now + (v->published ? old->projection->overlap_ms : 0);
    if (now >= v->old_until)
        slot_end(old, true);
    else if (v->old_until < *at)
        *at = v->old_until;
}

static void reap(struct volume *v)
{
    for (size_t i = 0; i < 2; i++) {
        if (!v->slot[i].ended)
            continue;
        slot_clear(&v->slot[i]);
        if (!v->leaving)
            save(v);
    }
}

static void live(struct volume *v, lh_ms now, lh_ms *at)
{
    struct volume_slot *cur = &v->slot[v->cur];

    if (!cur->engine && !v->slot[1 - v->cur].engine && now >= v->retry_at)
        start(v);
    else if (cur->engine && v->edited)
        apply_edit(v);
    cur = &v->slot[v->cur];
    if (!cur->engine && v->retry_at < *at)
        *at = v->retry_at;
    if (cur->complete && !v->folder && v->publish && !v->mounting && now >= v->retry_at)
        ask_mount(v, LH_MOUNT_MOUNT, mounted);
    if (cur->ready)
        now_published(v);
    retire_old(v, now, at);
    if (v->publish && now >= v->answer_by)
        answer_failure(v, v->mounting ? LH_GRPC_UNAVAILABLE : node_status_of(v->err.code));
    if (v->publish && v->answer_by < *at)
        *at = v->answer_by;
}

static void outlived(struct volume *v, lh_ms now, lh_ms *at)
{
    lh_ms by = INT64_MAX;

    if (!v->published && !v->publish)
        by = v->last_call + ATTEMPT_MS;
    if (v->gone_at && v->gone_at + GONE_MS < by)
        by = v->gone_at + GONE_MS;
    if (now >= by) {
        lh_log_info(v->gone_at ? "volume released: its Pod is gone"
                               : "attempt ended: nobody asks for it any more",
                    LH_F_STR("namespace", v->namespace_), LH_F_STR("pod", v->pod));
        v->leaving = true;
        volume_wake(v);
    } else if (by < *at) {
        *at = by;
    }
}

static void step(void *arg)
{
    struct volume *v = arg;
    lh_ms now = lh_clock_now(), at = INT64_MAX;

    reap(v);
    if (!v->leaving) {
        live(v, now, &at);
        outlived(v, now, &at);
        condition_step(v, &at);
    } else if (leave(v, now, &at)) {
        return;
    }
    /* A callback may have asked for a step meanwhile. */
    if (at != INT64_MAX && (!lh_timer_is_armed(v->timer) || at < lh_timer_when(v->timer)))
        lh_timer_at(v->timer, at);
}

/* ---- from outside ---- */

void volume_publish(struct volume *v, struct lh_grpc_call *call)
{
    lh_ms now = lh_clock_now();

    v->last_call = now;
    v->publish = call;
    if (v->published && !v->leaving) {
        answer_ok(v);
        return;
    }
    v->answer_by =
        node_answer_by(now, lh_grpc_call_deadline(call), v->set->o->publish_timeout_ms, !v->tries);
    v->tries++;
    lh_grpc_call_on_cancel(call, publish_cancelled, v);
    volume_wake(v);
}

void volume_unpublish(struct volume *v, struct lh_grpc_call *call)
{
    v->unpublish = call;
    v->leaving = true;
    v->retry_at = 0;
    lh_grpc_call_on_cancel(call, unpublish_cancelled, v);
    volume_wake(v);
}

void volume_release(struct volume *v)
{
    v->leaving = true;
    volume_wake(v);
}

void volume_edited(struct volume *v)
{
    v->edited = true;
    if (!v->slot[v->cur].engine)
        v->retry_at = 0;
    volume_wake(v);
}

static int volume_make(struct node_set *s, const char *id, struct volume **out, struct lh_err *err)
{
    struct volume *v = lh_calloc(1, sizeof(*v));
    int rc;

    if (!v)
        return lh_err_nomem(err);
    v->set = s;
    v->gate = folder_gate;
    v->dir = v->state = -1;
    v->condition = -1;
    v->started_at = v->last_call = lh_clock_now();
    for (size_t i = 0; i < 2; i++)
        v->slot[i] = (struct volume_slot){.v = v, .dir = i ? 'b' : 'a', .cert_fds = {-1, -1}};
    v->id = lh_strdup(id);
    rc = v->id ? lh_timer_new(s->loop, step, v, &v->timer, err) : lh_err_nomem(err);
    if (rc == 0 && mkdirat(s->state, id, 0700) < 0 && errno != EEXIST)
        rc = lh_err_os(err, errno, "make the volume's folder for state");
    if (rc == 0) {
        v->state = openat(s->state, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        rc = v->state < 0 ? lh_err_os(err, errno, "open the volume's folder for state") : 0;
    }
    if (rc == 0)
        rc = lh_map_set(s->by_id, lh_str(id), v, NULL, err);
    if (rc < 0) {
        volume_free(v);
        return rc;
    }
    *out = v;
    return 0;
}

static bool take_names(struct volume *v, const struct node_request *r)
{
    v->pod = lh_strdup(r->pod);
    v->namespace_ = lh_strdup(r->namespace_);
    v->pod_uid = lh_strdup(r->pod_uid);
    v->service_account = lh_strdup(r->service_account);
    v->projection = lh_strdup(r->projection);
    v->name = lh_strdup(r->target.volume);
    v->context = lh_strdup(r->context);
    v->gid = r->gid;
    return v->pod && v->namespace_ && v->pod_uid && v->service_account && v->projection &&
           v->name && v->context;
}

int volume_new(struct node_set *s, const char *id, const struct node_request *r,
               struct volume **out, struct lh_err *err)
{
    struct volume *v;
    int rc = volume_make(s, id, &v, err);

    if (rc < 0)
        return rc;
    v->bytes = s->o->volume_bytes;
    if (!take_names(v, r)) {
        volume_free(v);
        return lh_err_nomem(err);
    }
    *out = v;
    return 0;
}

int volume_resume(struct node_set *s, const char *id, const lh_json *record, int dir,
                  struct volume **out, struct lh_err *err)
{
    struct volume *v;
    int rc = volume_make(s, id, &v, err);

    if (rc < 0) {
        if (dir >= 0)
            close(dir);
        return rc;
    }
    rc = record_load(v, record, err);
    if (dir >= 0 && (rc < 0 || folder_attach(v, dir, err) < 0))
        rc = rc < 0 ? rc : -LH_E_OS;
    for (unsigned i = 0; i < 2 && rc == 0; i++) {
        if (v->slot[i].store)
            rc = slot_start(v, i, i == 1, err); /* 1 was replaced, and lives out its overlap */
    }
    if (rc < 0) {
        volume_free(v);
        return lh_err_wrap(err, rc, "volume %s is not resumed", id);
    }
    /* Killed between its files and its record of them: it goes on as well. */
    v->published =
        v->published || (dir >= 0 && v->slot[0].engine && lh_engine_is_resumed(v->slot[0].engine));
    v->leaving = !v->published || dir < 0;
    v->edited = !v->leaving;
    *out = v;
    volume_wake(v);
    return 0;
}

void volume_free(struct volume *v)
{
    if (!v)
        return;
    if (v->publish)
        answer_failure(v, LH_GRPC_UNAVAILABLE);
    unpublish_cancelled(v);
    mount_cancel(v->mounting);
    lh_kube_cancel(v->condition_op);
    for (size_t i = 0; i < 2; i++)
        slot_clear(&v->slot[i]);
    folder_detach(v);
    if (v->state >= 0)
        close(v->state);
    if (v->id && lh_map_get(v->set->by_id, lh_str(v->id)) == v)
        lh_map_remove(v->set->by_id, lh_str(v->id));
    node_creds_done(&v->creds);
    lh_timer_free(v->timer);
    lh_free(v->id);
    lh_free(v->pod);
    lh_free(v->namespace_);
    lh_free(v->pod_uid);
    lh_free(v->service_account);
    lh_free(v->projection);
    lh_free(v->name);
    lh_free(v->context);
    lh_free(v);
}
