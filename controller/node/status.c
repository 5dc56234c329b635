/* SPDX-License-Identifier: Apache-2.0 */
#include "status.h"

#include "leasehold/core/mem.h"
#include "leasehold/serve/observe.h"
#include "metrics.h"
#include "volume.h"

enum { TEXT_MAX = 8 * 1024 * 1024 };

struct node_status {
    struct node_set *set;
    bool (*ready)(void *arg);
    void *arg;
    struct lh_observe observe;
    struct lh_server *server;
};

static void measure(void *arg)
{
    const struct node_status *s = arg;

    node_metrics_sample(s->set, s->ready(s->arg));
}

static lh_json *volume_json(const struct volume *v)
{
    struct lh_engine *e = volume_engine(v);
    lh_json *o = lh_json_new_object();
    lh_auto_buf struct lh_buf cause;

    lh_buf_init(&cause, 4096);
    volume_cause(v, &cause);
    lh_json_set(o, "namespace", lh_json_new_z(v->namespace_));
    lh_json_set(o, "pod", lh_json_new_z(v->pod));
    lh_json_set(o, "podUID", lh_json_new_z(v->pod_uid));
    lh_json_set(o, "serviceAccount", lh_json_new_z(v->service_account));
    lh_json_set(o, "projection", lh_json_new_z(v->projection));
    lh_json_set(o, "volume", lh_json_new_z(v->name));
    lh_json_set(o, "state", lh_json_new_z(volume_state_name(v)));
    lh_json_set(o, "cause", lh_json_new_str(lh_buf_peek(&cause)));
    lh_json_set(o, "secrets", e ? lh_engine_status(e) : lh_json_new_null());
    return o;
}

static void put_status(void *arg, struct lh_buf *b)
{
    const struct node_status *s = arg;
    lh_auto_json lh_json *o = lh_json_new_object();
    lh_json *volumes = lh_json_new_array();
    struct lh_str key;
    size_t it = 0;
    void *v;

    lh_json_set(o, "node", lh_json_new_z(s->set->o->node_name));
    lh_json_set(o, "ready", lh_json_new_bool(s->ready(s->arg)));
    while (lh_map_next(s->set->by_id, &it, &key, &v))
        lh_json_push(volumes, volume_json(v));
    lh_json_set(o, "volumes", volumes);
    lh_json_write(o, LH_JSON_PRETTY, b);
}

static bool is_ready(void *arg, struct lh_buf *why)
{
    const struct node_status *s = arg;

    lh_buf_put_z(why, mount_client_is_connected(s->set->mount)
                          ? "stores and projections not known yet"
                          : "leasehold-mount not connected");
    return s->ready(s->arg);
}

int node_status_new(struct node_set *set, const char *address, bool (*ready)(void *arg), void *arg,
                    struct node_status **out, struct lh_err *err)
{
    struct node_status *s = lh_calloc(1, sizeof(*s));
    int rc;

    if (!s)
        return lh_err_nomem(err);
    *s = (struct node_status){.set = set, .ready = ready, .arg = arg};
    s->observe = (struct lh_observe){.loop = set->loop,
                                     .arg = s,
                                     .text_max = TEXT_MAX,
                                     .measure = measure,
                                     .status = put_status,
                                     .ready = is_ready};
    rc = lh_server_new(set->loop, &s->server, err);
    if (rc == 0)
        rc = lh_observe_listen(s->server, address, &s->observe, err);
    if (rc < 0) {
        node_status_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

void node_status_free(struct node_status *s)
{
    if (!s)
        return;
    lh_server_free(s->server);
    lh_free(s);
}
