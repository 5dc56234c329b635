/* SPDX-License-Identifier: Apache-2.0 */
/* One engine of a volume and what it borrows. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "leasehold/api/reasons.h"
#include "leasehold/core/fs.h"
#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "volume.h"

/* Without a group of its own everybody in the Pod may read: nobody else sees the volume. */
enum { MODE_GROUP = 0440, MODE_ALL = 0444, PARALLEL = 2 };
/* Longer than managers are away, as long as most tokens live: what is owed is tried until then. */
enum { END_MS = 24 * 60 * 60 * 1000 };

static void on_complete(void *arg)
{
    struct volume_slot *s = arg;

    s->complete = true;
    volume_wake(s->v);
}

static void on_ready(void *arg)
{
    struct volume_slot *s = arg;

    s->ready = true;
    volume_wake(s->v);
}

static void on_changed(void *arg)
{
    struct volume_slot *s = arg;

    lh_log_info("secrets changed", LH_F_STR("namespace", s->v->namespace_),
                LH_F_STR("pod", s->v->pod), LH_F_STR("projection", s->v->projection));
    volume_wake(s->v);
}

static void on_failed(void *arg, const struct lh_err *err)
{
    struct volume_slot *s = arg;

    lh_log_warn("attempt failed", LH_F_STR("namespace", s->v->namespace_),
                LH_F_STR("pod", s->v->pod), LH_F_STR("projection", s->v->projection),
                LH_F_STR("store", s->store->name), LH_F_ERR(err));
    if (s == &s->v->slot[s->v->cur])
        s->v->err = *err;
    volume_wake(s->v);
}

static void on_ended(void *arg)
{
    struct volume_slot *s = arg;

    if (lh_engine_owes(s->engine))
        lh_log_error("not revoked: the manager did not confirm it for a day; it ends by itself",
                     LH_F_STR("namespace", s->v->namespace_), LH_F_STR("pod", s->v->pod),
                     LH_F_STR("projection", s->v->projection), LH_F_STR("store", s->store->name));
    s->ended = true;
    volume_wake(s->v);
}

static int make_identity(struct volume_slot *s, struct lh_err *err)
{
    struct volume *v = s->v;
    int rc;

    if (s->store->vault.ca_ref.name)
        return lh_err_reason(err,
                             lh_err_set(err, LH_E_INVALID,
                                        "%s \"%s\": volumes need caBundle: caBundleRef names a "
                                        "ConfigMap, which the node's driver has no right to read; "
                                        "it works for annotated Pods alone",
                                        lh_store_kind(s->store), s->store->name),
                             LH_REASON_StoreInvalid);
    rc =
        node_token_source(v->set->loop, &v->creds, v->set->o->audiences, s->store, &s->source, err);
    if (rc == 0 && s->store->vault.auth.method == LH_AUTH_CERT)
        rc = node_cert_files(&v->creds, s->cert_fds, &s->cert, &s->key, err);
    s->identity =
        (struct lh_identity){.subject = {.cluster = v->set->o->cluster_name,
                                         .namespace_ = v->namespace_,
                                         .service_account = v->service_account},
                             .namespace_labels = s->namespace_labels,
                             .role = s->projection->role,
                             .credential = s->source,
                             .cert_file = s->cert,
                             .key_file = s->key,
                             .allow_addresses = (const char *const *)v->set->allow_addresses};
    return rc;
}

int slot_start(struct volume *v, unsigned i, bool held, struct lh_err *err)
{
    struct volume_slot *s = &v->slot[i];
    char dir[2] = {s->dir, '\0'};
    struct lh_engine_options o = {.loop = v->set->loop,
                                  .store = s->store,
                                  .identity = &s->identity,
                                  .projection = s->projection,
                                  .default_mode = v->gid == LH_MOUNT_NO_GID ? MODE_ALL : MODE_GROUP,
                                  .sink = &v->gate,
                                  .state_path = dir,
                                  .state_at = v->state,
                                  .state_key = v->pod_uid,
                                  .hold = held || v->folder == NULL,
                                  .parallel = PARALLEL,
                                  .complete = on_complete,
                                  .ready = on_ready,
                                  .changed = on_changed,
                                  .failed = on_failed,
                                  .arg = s};
    int rc = 0;

    if (mkdirat(v->state, dir, 0700) < 0 && errno != EEXIST)
        rc = lh_err_os(err, errno, "make the folder for the volume's state");
    if (rc == 0)
        rc = make_identity(s, err);
    if (rc == 0)
        rc = lh_engine_new(&o, &s->engine, err);
    if (rc < 0)
        return rc;
    lh_engine_start(s->engine);
    return 0;
}

void slot_end(struct volume_slot *s, bool revoke)
{
    if (!s->engine || s->ending)
        return;
    s->ending = true;
    lh_engine_end(s->engine, revoke, END_MS, on_ended, s);
}

void slot_clear(struct volume_slot *s)
{
    char dir = s->dir;

    lh_engine_free(s->engine);
    if (s->source)
        s->source->free(s->source);
    lh_store_unref(s->store);
    lh_projection_free(s->projection);
    lh_json_unref(s->namespace_labels);
    lh_free(s->cert);
    lh_free(s->key);
    for (size_t i = 0; i < 2; i++) {
        if (s->cert_fds[i] >= 0)
            close(s->cert_fds[i]);
    }
    *s = (struct volume_slot){.v = s->v, .dir = dir, .cert_fds = {-1, -1}};
}
