/* SPDX-License-Identifier: Apache-2.0 */
#include "service.h"

#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#include "leasehold/api/reasons.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "metrics.h"
#include "volume.h"

enum { REPLY_MAX = 16 * 1024 };

int64_t node_set_bytes(const struct node_set *s, const char *namespace_)
{
    struct lh_str key;
    int64_t sum = 0;
    size_t it = 0;
    void *p;

    while (lh_map_next(s->by_id, &it, &key, &p)) {
        const struct volume *v = p;

        if (!namespace_ || strcmp(v->namespace_, namespace_) == 0)
            sum += v->bytes;
    }
    return sum;
}

static void reply(struct lh_grpc_call *call, const char *method, struct lh_buf *b)
{
    bool ok = lh_buf_check(b, NULL) == 0;

    node_count_call(method, lh_grpc_status_name(ok ? LH_GRPC_OK : LH_GRPC_INTERNAL));
    if (ok)
        lh_grpc_reply(call, lh_buf_peek(b));
    else
        lh_grpc_fail(call, LH_GRPC_INTERNAL, "out of memory");
    lh_buf_done(b);
}

static void reply_empty(struct lh_grpc_call *call, const char *method)
{
    struct lh_buf b;

    lh_buf_init(&b, 1);
    reply(call, method, &b);
}

static void fail(struct lh_grpc_call *call, const char *method, enum lh_grpc_status status,
                 const struct lh_err *err)
{
    lh_auto_buf struct lh_buf b;

    lh_buf_init(&b, 1024);
    if (err->reason)
        lh_buf_printf(&b, "%s: ", err->reason);
    lh_buf_put_z(&b, err->msg);
    lh_log_warn("call refused", LH_F_STR("method", method),
                LH_F_STR("status", lh_grpc_status_name(status)), LH_F_ERR(err));
    node_count_call(method, lh_grpc_status_name(status));
    lh_grpc_fail(call, status, lh_buf_peek(&b).p);
}

static void plugin_info(void *arg, struct lh_grpc_call *call, struct lh_str request)
{
    const struct node_service *s = arg;
    struct lh_buf b;

    (void)request;
    lh_buf_init(&b, REPLY_MAX);
    csi_put_plugin_info(&b, s->set->o->driver, LH_VERSION);
    reply(call, "GetPluginInfo", &b);
}

static void plugin_capabilities(void *arg, struct lh_grpc_call *call, struct lh_str request)
{
    (void)arg;
    (void)request;
    reply_empty(call, "GetPluginCapabilities"); /* none: there is no controller service */
}

static void probe(void *arg, struct lh_grpc_call *call, struct lh_str request)
{
    const struct node_service *s = arg;
    struct lh_buf b;

    (void)request;
    lh_buf_init(&b, REPLY_MAX);
    csi_put_probe(&b, s->ready);
    reply(call, "Probe", &b);
}

static void node_capabilities(void *arg, struct lh_grpc_call *call, struct lh_str request)
{
    struct lh_buf b;

    (void)arg;
    (void)request;
    lh_buf_init(&b, REPLY_MAX);
    csi_put_node_capabilities(&b);
    reply(call, "NodeGetCapabilities", &b);
}

static void node_info(void *arg, struct lh_grpc_call *call, struct lh_str request)
{
    const struct node_service *s = arg;
    struct lh_buf b;

    (void)request;
    lh_buf_init(&b, REPLY_MAX);
    csi_put_node_info(&b, s->set->o->node_name);
    reply(call, "NodeGetInfo", &b);
}

static struct volume *find(const struct node_set *s, const char *id)
{
    return lh_map_get(s->by_id, lh_str(id));
}

/* The volume of a call that may go on. LH_E_BUSY: another call is at it. */
static int volume_for(struct node_set *s, const char *id, const struct node_request *r,
                      struct volume **out, struct lh_err *err)
{
    struct volume *v = find(s, id);
    int rc;

    if (v && (v->publish || v->leaving))
        return lh_err_set(err, LH_E_BUSY, "another call for volume %s is under way", id);
    if (v && !volume_is(v, r))
        return lh_err_set(err, LH_E_CONFLICT, "volume %s is there already, for another use", id);
    if (v) {
        *out = v;
        return 0;
    }
    rc = node_memory_check(s->o->volume_bytes, node_set_bytes(s, NULL), s->o->max_memory,
                           node_set_bytes(s, r->namespace_), s->o->max_namespace_memory,
                           r->namespace_, err);
    return rc < 0 ? rc : volume_new(s, id, r, out, err);
}

static enum lh_grpc_status status_of(int rc)
{
    switch (rc) {
    case -LH_E_BUSY:
        return LH_GRPC_ABORTED;
    case -LH_E_CONFLICT:
        return LH_GRPC_ALREADY_EXISTS;
    default:
        return node_status_of(-rc);
    }
}

static void publish(void *arg, struct lh_grpc_call *call, struct lh_str request)
{
    static const char method[] = "NodePublishVolume";
    const struct node_service *s = arg;
    struct csi_publish p = {0};
    struct node_request r = {0};
    struct volume *v = NULL;
    struct lh_err err = {0};
    int rc = csi_decode_publish(request, &p, &err);

    if (rc == 0)
        rc = node_request_read(&p, &r, &err);
    if (rc < 0) {
        fail(call, method, LH_GRPC_INVALID_ARGUMENT, &err);
    } else {
        rc = volume_for(s->set, p.volume_id, &r, &v, &err);
        if (rc < 0) {
            fail(call, method, status_of(rc), &err);
        } else {
            node_creds_take(&v->creds, &p);
            volume_publish(v, call);
        }
    }
    csi_publish_done(&p);
}

static void no_volume(void *arg, struct mount_answer *ans, const struct lh_err *err)
{
    struct lh_grpc_call *call = arg;

    (void)ans;
    if (err && err->code != LH_E_NOTFOUND)
        fail(call, "NodeUnpublishVolume", LH_GRPC_INTERNAL, err);
    else
        reply_empty(call, "NodeUnpublishVolume");
}

/* Nothing known of it; what may be mounted there all the same is taken away. */
static void unpublish_unknown(const struct node_service *s, const char *path,
                              struct lh_grpc_call *call)
{
    struct lh_mount_request q;
    struct mount_op *op = NULL;
    struct node_target t;
    struct lh_err err = {0};

    if (node_target_parse(path, &t, NULL) < 0) {
        reply_empty(call, "NodeUnpublishVolume");
        return;
    }
    (void)mount_request_init(&q, LH_MOUNT_UNMOUNT, t.pod_uid, t.volume, "");
    if (mount_start(s->set->mount, &q, no_volume, call, &op, &err) < 0)
        fail(call, "NodeUnpublishVolume", LH_GRPC_INTERNAL, &err);
}

static void unpublish(void *arg, struct lh_grpc_call *call, struct lh_str request)
{
    static const char method[] = "NodeUnpublishVolume";
    const struct node_service *s = arg;
    struct csi_volume q = {0};
    struct lh_err err = {0};
    struct volume *v;
    int rc = csi_decode_unpublish(request, &q, &err);

    if (rc == 0 && !q.volume_id[0])
        rc = lh_err_set(&err, LH_E_INVALID, "volume_id is missing");
    if (rc == 0 && !q.path[0])
        rc = lh_err_set(&err, LH_E_INVALID, "target_path is missing");
    v = rc < 0 ? NULL : find(s->set, q.volume_id);
    if (rc < 0) {
        fail(call, method, LH_GRPC_INVALID_ARGUMENT, &err);
    } else if (!v) {
        unpublish_unknown(s, q.path, call);
    } else if (v->unpublish || v->publish) {
        lh_err_fill(&err, LH_E_BUSY, "another call for volume %s is under way", q.volume_id);
        fail(call, method, LH_GRPC_ABORTED, &err);
    } else {
        volume_unpublish(v, call);
    }
    csi_volume_done(&q);
}

static void put_volume_stats(const struct volume *v, const struct statvfs *f, struct lh_buf *out)
{
    int64_t unit = (int64_t)f->f_frsize;
    const struct csi_usage bytes = {(int64_t)f->f_bavail * unit, (int64_t)f->f_blocks * unit,
                                    (int64_t)(f->f_blocks - f->f_bfree) * unit};
    const struct csi_usage inodes = {(int64_t)f->f_favail, (int64_t)f->f_files,
                                     (int64_t)(f->f_files - f->f_ffree)};
    struct lh_engine_freshness fresh = {0};
    lh_auto_buf struct lh_buf text;

    lh_buf_init(&text, 2048);
    if (volume_engine(v))
        lh_engine_freshness(volume_engine(v), &fresh);
    if (fresh.stale)
        lh_buf_printf(&text, "%s: item \"%s\": ", fresh.reason, fresh.stale);
    volume_cause(v, &text);
    if (lh_buf_peek(&text).n == 0)
        lh_buf_put_z(&text, LH_REASON_Fresh);
    csi_put_stats(out, &bytes, &inodes, fresh.stale != NULL, lh_buf_peek(&text).p);
}

static void stats(void *arg, struct lh_grpc_call *call, struct lh_str request)
{
    static const char method[] = "NodeGetVolumeStats";
    const struct node_service *s = arg;
    struct csi_volume q = {0};
    struct node_target t;
    struct lh_err err = {0};
    const struct volume *v;
    struct statvfs f;
    struct lh_buf b;
    int rc = csi_decode_stats(request, &q, &err);

    if (rc == 0 && (!q.volume_id[0] || !q.path[0]))
        rc = lh_err_set(&err, LH_E_INVALID, "volume_id and volume_path must be given");
    v = rc < 0 ? NULL : find(s->set, q.volume_id);
    if (rc < 0) {
        fail(call, method, LH_GRPC_INVALID_ARGUMENT, &err);
    } else if (!v || v->dir < 0 || node_target_parse(q.path, &t, NULL) < 0 ||
               strcmp(t.pod_uid, v->pod_uid) != 0 || strcmp(t.volume, v->name) != 0) {
        lh_err_fill(&err, LH_E_NOTFOUND, "volume %s is not published there", q.volume_id);
        fail(call, method, LH_GRPC_NOT_FOUND, &err);
    } else if (fstatvfs(v->dir, &f) < 0) {
        lh_err_fill_os(&err, errno, "statvfs");
        fail(call, method, LH_GRPC_INTERNAL, &err);
    } else {
        lh_buf_init(&b, REPLY_MAX);
        put_volume_stats(v, &f, &b);
        reply(call, method, &b);
    }
    csi_volume_done(&q);
}

static void registration_info(void *arg, struct lh_grpc_call *call, struct lh_str request)
{
    const struct node_service *s = arg;
    struct lh_buf b;

    (void)request;
    lh_buf_init(&b, REPLY_MAX);
    csi_put_registration_info(&b, s->set->o->driver, s->set->o->csi_endpoint);
    reply(call, "GetInfo", &b);
}

static void registered(void *arg, struct lh_grpc_call *call, struct lh_str request)
{
    const struct node_service *s = arg;
    lh_auto_free char *text = NULL;
    struct lh_err err = {0};
    bool ok = false;

    if (csi_decode_registered(request, &ok, &text, &err) < 0) {
        lh_grpc_fail(call, LH_GRPC_INVALID_ARGUMENT, err.msg);
        return;
    }
    reply_empty(call, "NotifyRegistrationStatus");
    if (ok)
        lh_log_info("registered with kubelet", LH_F_STR("driver", s->set->o->driver));
    else if (s->refused)
        s->refused(s->arg, text);
}

const struct lh_grpc_method node_csi_methods[] = {
    {"/csi.v1.Identity/GetPluginInfo", plugin_info},
    {"/csi.v1.Identity/GetPluginCapabilities", plugin_capabilities},
    {"/csi.v1.Identity/Probe", probe},
    {"/csi.v1.Node/NodePublishVolume", publish},
    {"/csi.v1.Node/NodeUnpublishVolume", unpublish},
    {"/csi.v1.Node/NodeGetVolumeStats", stats},
    {"/csi.v1.Node/NodeGetCapabilities", node_capabilities},
    {"/csi.v1.Node/NodeGetInfo", node_info},
    {0},
};

const struct lh_grpc_method node_registration_methods[] = {
    {"/pluginregistration.Registration/GetInfo", registration_info},
    {"/pluginregistration.Registration/NotifyRegistrationStatus", registered},
    {0},
};
