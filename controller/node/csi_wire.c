/* SPDX-License-Identifier: Apache-2.0 */
#include "csi_wire.h"

#include <string.h>

#include "csi.pb-c.h"
#include "leasehold/core/map.h"
#include "leasehold/core/mem.h"
#include "leasehold/grpc/protobuf.h"
#include "pluginregistration.pb-c.h"

/* Its free wipes: a decoded request holds tokens. */
static ProtobufCAllocator allocator = {.alloc = lh_grpc_pb_alloc, .free = lh_grpc_pb_free};

static int malformed(const char *what, struct lh_err *err)
{
    return lh_err_set(err, LH_E_INVALID, "%s is malformed", what);
}

static int text(const char *from, char **out, struct lh_err *err)
{
    if (!lh_str_is_utf8(lh_str(from)))
        return lh_err_set(err, LH_E_INVALID, "a text of the request is not UTF-8");
    *out = lh_strdup(from);
    return *out ? 0 : lh_err_nomem(err);
}

static int once(struct lh_map *seen, const char *map, const char *key, struct lh_err *err)
{
    static char mark;

    if (lh_map_get(seen, lh_str(key)))
        return lh_err_set(err, LH_E_INVALID, "%s has a key twice", map);
    return lh_map_set(seen, lh_str(key), &mark, NULL, err);
}

static int tokens_of(struct csi_publish *out, const char *value, struct lh_err *err)
{
    return lh_secret_copy(value, strlen(value), &out->tokens, err);
}

static int take_secrets(const Csi__V1__NodePublishVolumeRequest *m, struct lh_map *seen,
                        struct csi_publish *out, struct lh_err *err)
{
    int rc = 0;

    out->secrets = lh_calloc(m->n_secrets ? m->n_secrets : 1, sizeof(*out->secrets));
    if (!out->secrets)
        return lh_err_nomem(err);
    for (size_t i = 0; i < m->n_secrets && rc == 0; i++) {
        const char *key = m->secrets[i]->key, *value = m->secrets[i]->value;
        struct csi_secret *s = &out->secrets[out->n_secrets];

        rc = once(seen, "secrets", key, err);
        if (rc == 0 && strcmp(key, CSI_TOKENS_KEY) == 0) {
            rc = tokens_of(out, value, err);
            continue;
        }
        if (rc == 0)
            rc = text(key, &s->key, err);
        if (rc == 0) {
            out->n_secrets++;
            rc = lh_secret_copy(value, strlen(value), &s->value, err);
        }
    }
    return rc;
}

static int take_context(const Csi__V1__NodePublishVolumeRequest *m, struct lh_map *seen,
                        struct csi_publish *out, struct lh_err *err)
{
    int rc = 0;

    out->context = lh_calloc(m->n_volume_context ? m->n_volume_context : 1, sizeof(*out->context));
    if (!out->context)
        return lh_err_nomem(err);
    for (size_t i = 0; i < m->n_volume_context && rc == 0; i++) {
        const char *key = m->volume_context[i]->key, *value = m->volume_context[i]->value;
        struct csi_pair *p = &out->context[out->n_context];

        rc = once(seen, "volume_context", key, err);
        if (rc == 0 && strcmp(key, CSI_TOKENS_KEY) == 0) {
            if (out->tokens)
                out->tokens_in_context_ignored = true;
            else
                rc = tokens_of(out, value, err);
            continue;
        }
        if (rc < 0)
            break;
        out->n_context++;
        rc = text(key, &p->key, err);
        if (rc == 0)
            rc = text(value, &p->value, err);
    }
    return rc;
}

static int take_maps(const Csi__V1__NodePublishVolumeRequest *m, struct csi_publish *out,
                     struct lh_err *err)
{
    struct lh_map *secrets = NULL, *context = NULL;
    int rc = lh_map_new(&secrets, err);

    if (rc == 0)
        rc = lh_map_new(&context, err);
    if (rc == 0)
        rc = take_secrets(m, secrets, out, err);
    if (rc == 0)
        rc = take_context(m, context, out, err);
    lh_map_free(secrets, NULL);
    lh_map_free(context, NULL);
    return rc;
}

static int take_mount(const Csi__V1__VolumeCapability__MountVolume *m, struct csi_publish *out,
                      struct lh_err *err)
{
    int rc = text(m->fs_type, &out->fs_type, err);

    if (rc == 0)
        rc = text(m->volume_mount_group, &out->mount_group, err);
    out->mount_flags = lh_calloc(m->n_mount_flags + 1, sizeof(*out->mount_flags));
    if (!out->mount_flags)
        return lh_err_nomem(err);
    for (size_t i = 0; i < m->n_mount_flags && rc == 0; i++)
        rc = text(m->mount_flags[i], &out->mount_flags[i], err);
    return rc;
}

static int take_publish(const Csi__V1__NodePublishVolumeRequest *m, struct csi_publish *out,
                        struct lh_err *err)
{
    const Csi__V1__VolumeCapability *c = m->volume_capability;
    int rc = text(m->volume_id, &out->volume_id, err);

    if (rc == 0)
        rc = text(m->target_path, &out->target_path, err);
    out->readonly = m->readonly;
    out->has_capability = c != NULL;
    out->is_mount = c && c->access_type_case == CSI__V1__VOLUME_CAPABILITY__ACCESS_TYPE_MOUNT;
    if (rc == 0 && out->is_mount)
        rc = take_mount(c->mount, out, err);
    return rc < 0 ? rc : take_maps(m, out, err);
}

int csi_decode_publish(struct lh_str bytes, struct csi_publish *out, struct lh_err *err)
{
    Csi__V1__NodePublishVolumeRequest *m =
        csi__v1__node_publish_volume_request__unpack(&allocator, bytes.n, (const uint8_t *)bytes.p);
    struct csi_publish p = {0};
    int rc;

    if (!m)
        return malformed("NodePublishVolumeRequest", err);
    rc = take_publish(m, &p, err);
    csi__v1__node_publish_volume_request__free_unpacked(m, &allocator);
    if (rc < 0) {
        csi_publish_done(&p);
        return rc;
    }
    *out = p;
    return 0;
}

void csi_publish_done(struct csi_publish *p)
{
    lh_free(p->volume_id);
    lh_free(p->target_path);
    lh_free(p->fs_type);
    lh_free(p->mount_group);
    for (size_t i = 0; p->mount_flags && p->mount_flags[i]; i++)
        lh_free(p->mount_flags[i]);
    lh_free(p->mount_flags);
    for (size_t i = 0; i < p->n_context; i++) {
        lh_free(p->context[i].key);
        lh_free(p->context[i].value);
    }
    lh_free(p->context);
    for (size_t i = 0; i < p->n_secrets; i++) {
        lh_free(p->secrets[i].key);
        lh_secret_free(p->secrets[i].value);
    }
    lh_free(p->secrets);
    lh_secret_free(p->tokens);
    *p = (struct csi_publish){0};
}

static int take_volume(const char *id, const char *path, struct csi_volume *out, struct lh_err *err)
{
    struct csi_volume v = {0};
    int rc = text(id, &v.volume_id, err);

    if (rc == 0)
        rc = text(path, &v.path, err);
    if (rc < 0) {
        csi_volume_done(&v);
        return rc;
    }
    *out = v;
    return 0;
}

void csi_volume_done(struct csi_volume *v)
{
    lh_free(v->volume_id);
    lh_free(v->path);
    *v = (struct csi_volume){0};
}

int csi_decode_unpublish(struct lh_str bytes, struct csi_volume *out, struct lh_err *err)
{
    Csi__V1__NodeUnpublishVolumeRequest *m = csi__v1__node_unpublish_volume_request__unpack(
        &allocator, bytes.n, (const uint8_t *)bytes.p);
    int rc;

    if (!m)
        return malformed("NodeUnpublishVolumeRequest", err);
    rc = take_volume(m->volume_id, m->target_path, out, err);
    csi__v1__node_unpublish_volume_request__free_unpacked(m, &allocator);
    return rc;
}

int csi_decode_stats(struct lh_str bytes, struct csi_volume *out, struct lh_err *err)
{
    Csi__V1__NodeGetVolumeStatsRequest *m = csi__v1__node_get_volume_stats_request__unpack(
        &allocator, bytes.n, (const uint8_t *)bytes.p);
    int rc;

    if (!m)
        return malformed("NodeGetVolumeStatsRequest", err);
    rc = take_volume(m->volume_id, m->volume_path, out, err);
    csi__v1__node_get_volume_stats_request__free_unpacked(m, &allocator);
    return rc;
}

int csi_decode_registered(struct lh_str bytes, bool *registered, char **out, struct lh_err *err)
{
    Pluginregistration__RegistrationStatus *m = pluginregistration__registration_status__unpack(
        &allocator, bytes.n, (const uint8_t *)bytes.p);
    int rc;

    if (!m)
        return malformed("RegistrationStatus", err);
    rc = text(m->error, out, err);
    if (rc == 0)
        *registered = m->plugin_registered;
    pluginregistration__registration_status__free_unpacked(m, &allocator);
    return rc;
}

static void put(struct lh_buf *b, const ProtobufCMessage *m)
{
    size_t n = protobuf_c_message_get_packed_size(m);
    char *at = n ? lh_buf_extend(b, n) : NULL;

    if (at)
        protobuf_c_message_pack(m, (uint8_t *)at);
}

/* protobuf-c's members are not const; nothing is written through them. */
static char *mutable(const char *z)
{
    union {
        const char *in;
        char *out;
    } u = {.in = z};

    return u.out;
}

void csi_put_plugin_info(struct lh_buf *b, const char *name, const char *version)
{
    Csi__V1__GetPluginInfoResponse m = CSI__V1__GET_PLUGIN_INFO_RESPONSE__INIT;

    m.name = mutable(name);
    m.vendor_version = mutable(version);
    put(b, &m.base);
}

void csi_put_probe(struct lh_buf *b, bool ready)
{
    Csi__V1__ProbeResponse m = CSI__V1__PROBE_RESPONSE__INIT;
    Csi__V1__ProbeResponse__Ready r = CSI__V1__PROBE_RESPONSE__READY__INIT;

    r.value = ready;
    m.ready = &r;
    put(b, &m.base);
}

void csi_put_node_capabilities(struct lh_buf *b)
{
    static const Csi__V1__NodeServiceCapability__RPC__Type types[] = {
        CSI__V1__NODE_SERVICE_CAPABILITY__RPC__TYPE__GET_VOLUME_STATS,
        CSI__V1__NODE_SERVICE_CAPABILITY__RPC__TYPE__VOLUME_CONDITION,
        CSI__V1__NODE_SERVICE_CAPABILITY__RPC__TYPE__VOLUME_MOUNT_GROUP};
    enum { N = LH_ARRAY_LEN(types) };
    Csi__V1__NodeServiceCapability__RPC rpc[N];
    Csi__V1__NodeServiceCapability cap[N], *caps[N];
    Csi__V1__NodeGetCapabilitiesResponse m = CSI__V1__NODE_GET_CAPABILITIES_RESPONSE__INIT;

    for (size_t i = 0; i < N; i++) {
        csi__v1__node_service_capability__rpc__init(&rpc[i]);
        csi__v1__node_service_capability__init(&cap[i]);
        rpc[i].type = types[i];
        cap[i].rpc = &rpc[i];
        caps[i] = &cap[i];
    }
    m.n_capabilities = N;
    m.capabilities = caps;
    put(b, &m.base);
}

void csi_put_node_info(struct lh_buf *b, const char *node_id)
{
    Csi__V1__NodeGetInfoResponse m = CSI__V1__NODE_GET_INFO_RESPONSE__INIT;

    m.node_id = mutable(node_id);
    put(b, &m.base);
}

void csi_put_stats(struct lh_buf *b, const struct csi_usage *bytes, const struct csi_usage *inodes,
                   bool abnormal, const char *message)
{
    Csi__V1__NodeGetVolumeStatsResponse m = CSI__V1__NODE_GET_VOLUME_STATS_RESPONSE__INIT;
    Csi__V1__VolumeUsage u[2] = {CSI__V1__VOLUME_USAGE__INIT, CSI__V1__VOLUME_USAGE__INIT};
    Csi__V1__VolumeUsage *list[2] = {&u[0], &u[1]};
    Csi__V1__VolumeCondition c = CSI__V1__VOLUME_CONDITION__INIT;
    const struct csi_usage *from[2] = {bytes, inodes};

    for (size_t i = 0; i < 2; i++) {
        u[i].available = from[i]->available;
        u[i].total = from[i]->total;
        u[i].used = from[i]->used;
    }
    u[0].unit = CSI__V1__VOLUME_USAGE__UNIT__BYTES;
    u[1].unit = CSI__V1__VOLUME_USAGE__UNIT__INODES;
    c.abnormal = abnormal;
    c.message = mutable(message);
    m.n_usage = 2;
    m.usage = list;
    m.volume_condition = &c;
    put(b, &m.base);
}

void csi_put_registration_info(struct lh_buf *b, const char *name, const char *endpoint)
{
    Pluginregistration__PluginInfo m = PLUGINREGISTRATION__PLUGIN_INFO__INIT;
    char *versions[] = {mutable("1.0.0")};

    m.type = mutable("CSIPlugin");
    m.name = mutable(name);
    m.endpoint = mutable(endpoint);
    m.n_supported_versions = 1;
    m.supported_versions = versions;
    put(b, &m.base);
}
