/* SPDX-License-Identifier: Apache-2.0 */
/* What is to be there: container, volumes and mount as JSON, members always in one order. */
#include <string.h>

#include "inject_priv.h"
#include "leasehold/api/store.h"
#include "leasehold/codec/quantity.h"
#include "leasehold/core/mem.h"

#define API_TOKEN_PATH "/var/run/secrets/kubernetes.io/serviceaccount"
/* As large as the API takes: kubelet gives up on no Pod that waits for its secrets. */
#define PROBE_FOR_EVER INT32_MAX
#define STATE_SIZE     (1 * MIB)
#define TOKEN_SECONDS  3600

static lh_json *one(const char *key, lh_json *value)
{
    lh_auto_json lh_json *o = lh_json_new_object();

    if (!o) {
        lh_json_unref(value);
        return NULL;
    }
    return put(o, key, value) < 0 ? NULL : LH_TAKE_PTR(o);
}

static lh_json *list_of(lh_json *only)
{
    lh_auto_json lh_json *a = lh_json_new_array();

    if (!a || !only) {
        lh_json_unref(only);
        return NULL;
    }
    return lh_json_push(a, only) < 0 ? NULL : LH_TAKE_PTR(a);
}

static lh_json *bytes_text(int64_t bytes)
{
    lh_auto_buf struct lh_buf b;

    lh_buf_init(&b, 64);
    lh_quantity_put_bytes(&b, bytes);
    return lh_buf_check(&b, NULL) < 0 ? NULL : lh_json_new_str(lh_buf_peek(&b));
}

static lh_json *cpu_text(int64_t milli)
{
    lh_auto_buf struct lh_buf b;

    lh_buf_init(&b, 64);
    if (milli % 1000)
        lh_buf_printf(&b, "%lldm", (long long)milli);
    else
        lh_buf_printf(&b, "%lld", (long long)(milli / 1000));
    return lh_buf_check(&b, NULL) < 0 ? NULL : lh_json_new_str(lh_buf_peek(&b));
}

static lh_json *resources(const struct lh_inject_plan *p, const lh_json *spec)
{
    bool guaranteed = is_guaranteed(spec);
    lh_auto_json lh_json *r = lh_json_new_object(), *req = lh_json_new_object();
    lh_auto_json lh_json *lim = lh_json_new_object();

    if (!r || !req || !lim || put(req, "cpu", cpu_text(p->cpu_milli)) < 0 ||
        put(req, "memory", bytes_text(guaranteed ? p->memory_bytes : MEMORY_ASKED)) < 0)
        return NULL;
    if (guaranteed && put(lim, "cpu", cpu_text(p->cpu_milli)) < 0)
        return NULL;
    if (put(lim, "memory", bytes_text(p->memory_bytes)) < 0 ||
        put(r, "requests", LH_TAKE_PTR(req)) < 0 || put(r, "limits", LH_TAKE_PTR(lim)) < 0)
        return NULL;
    return LH_TAKE_PTR(r);
}

static lh_json *security(const struct lh_inject_plan *p, const lh_json *spec)
{
    lh_auto_json lh_json *s = lh_json_new_object();
    struct identity id;

    identity_of(spec, p->containers, p->after, &id);
    if (!s || put_bool(s, "allowPrivilegeEscalation", false) < 0 ||
        put(s, "capabilities", one("drop", list_of(lh_json_new_z("ALL")))) < 0 ||
        put_bool(s, "readOnlyRootFilesystem", true) < 0 || put_bool(s, "runAsNonRoot", true) < 0)
        return NULL;
    if (id.agent_uid >= 0 && put_int(s, "runAsUser", id.agent_uid) < 0)
        return NULL;
    if (id.agent_gid >= 0 && put_int(s, "runAsGroup", id.agent_gid) < 0)
        return NULL;
    if (put(s, "seccompProfile", one("type", lh_json_new_z("RuntimeDefault"))) < 0)
        return NULL;
    return LH_TAKE_PTR(s);
}

/* $(X) would be expanded by kubelet; $$ is a $. */
static lh_json *doubled(const char *config)
{
    lh_auto_buf struct lh_buf b;

    lh_buf_init(&b, 2 * (size_t)LH_AGENTCFG_MAX + 1);
    lh_buf_reserve(&b, strlen(config) + 64);
    for (const char *end = strchr(config, '$'); end; end = strchr(config, '$')) {
        lh_buf_put(&b, config, (size_t)(end - config) + 1);
        lh_buf_put_c(&b, '$');
        config = end + 1;
    }
    lh_buf_put_z(&b, config);
    return lh_buf_check(&b, NULL) < 0 ? NULL : lh_json_new_str(lh_buf_peek(&b));
}

static lh_json *env_field(const char *name, const char *path)
{
    lh_auto_json lh_json *e = one("name", lh_json_new_z(name));

    if (!e || put(e, "valueFrom", one("fieldRef", one("fieldPath", lh_json_new_z(path)))) < 0)
        return NULL;
    return LH_TAKE_PTR(e);
}

static int push(lh_json *arr, lh_json *v)
{
    return v ? lh_json_push(arr, v) : -1;
}

static lh_json *env(const char *config)
{
    lh_auto_json lh_json *a = lh_json_new_array(), *e = NULL;

    if (!a || push(a, env_field(LH_AGENT_ENV_POD, "metadata.name")) < 0 ||
        push(a, env_field(LH_AGENT_ENV_POD_UID, "metadata.uid")) < 0)
        return NULL;
    e = one("name", lh_json_new_z(LH_AGENT_ENV_CONFIG));
    if (!e || put(e, "value", doubled(config)) < 0 || push(a, LH_TAKE_PTR(e)) < 0)
        return NULL;
    return LH_TAKE_PTR(a);
}

static lh_json *mount(const char *volume, const char *path, bool read_only)
{
    lh_auto_json lh_json *m = one("name", lh_json_new_z(volume));

    if (!m || put_z(m, "mountPath", path) < 0 || (read_only && put_bool(m, "readOnly", true) < 0))
        return NULL;
    return LH_TAKE_PTR(m);
}

lh_json *shape_mount(const struct lh_inject_plan *p)
{
    return mount(LH_VOLUME_SECRETS, p->cfg->mount_path, true);
}

static lh_json *mounts(const struct lh_inject_plan *p, const lh_json *spec)
{
    const struct lh_agentcfg *c = p->cfg;
    lh_auto_json lh_json *a = lh_json_new_array();

    if (!a || push(a, mount(LH_VOLUME_SECRETS, c->mount_path, false)) < 0)
        return NULL;
    if (c->state_path && push(a, mount(LH_VOLUME_STATE, c->state_path, false)) < 0)
        return NULL;
    /* The ServiceAccount plugin mounts the API token where nothing is mounted yet. The agent has no
     * business with the API server: a volume that it has anyway stands there. */
    if (push(a, mount(c->state_path ? LH_VOLUME_STATE : LH_VOLUME_SECRETS, API_TOKEN_PATH, true)) <
        0)
        return NULL;
    if (c->token_file && push(a, mount(LH_VOLUME_TOKEN, LH_AGENT_TOKEN_PATH, true)) < 0)
        return NULL;
    if (c->credential_path && push(a, mount(LH_VOLUME_CREDENTIAL, c->credential_path, true)) < 0)
        return NULL;
    if (c->ca_path && push(a, mount(LH_VOLUME_CA, c->ca_path, true)) < 0)
        return NULL;
    if (hook_push_mount(p, spec, a) < 0 || volumes_push_places(p, a) < 0)
        return NULL;
    return LH_TAKE_PTR(a);
}

static int64_t threshold(const struct lh_inject_plan *p)
{
    int64_t s = (p->start_timeout_ms + 999) / 1000;

    return s && s < PROBE_FOR_EVER ? s : PROBE_FOR_EVER;
}

/* The gate: containers behind a native sidecar wait for this probe. */
static lh_json *startup_probe(const struct lh_inject_plan *p)
{
    lh_auto_json lh_json *o = lh_json_new_object();
    lh_json *command = list_of(lh_json_new_z(LH_AGENT_BINARY));

    if (command && push(command, lh_json_new_z("ready")) < 0) {
        lh_json_unref(command);
        command = NULL;
    }
    if (!o) {
        lh_json_unref(command);
        return NULL;
    }
    if (put(o, "exec", one("command", command)) < 0 || put_int(o, "periodSeconds", 1) < 0 ||
        put_int(o, "timeoutSeconds", 3) < 0 || put_int(o, "failureThreshold", threshold(p)) < 0)
        return NULL;
    return LH_TAKE_PTR(o);
}

static lh_json *ports(int port)
{
    lh_auto_json lh_json *o = one("name", lh_json_new_z("lh-metrics"));

    if (!o || put_int(o, "containerPort", port) < 0 || put_z(o, "protocol", "TCP") < 0)
        return NULL;
    return list_of(LH_TAKE_PTR(o));
}

lh_json *shape_agent(const struct lh_inject_plan *p, const lh_json *spec, const char *config)
{
    const struct lh_agentcfg *c = p->cfg;
    bool sidecar = c->mode == LH_AGENT_SIDECAR;
    lh_auto_json lh_json *o = one("name", lh_json_new_z(LH_CONTAINER));

    if (!o || put_z(o, "image", p->image) < 0)
        return NULL;
    if (p->policy->pull_policy && put_z(o, "imagePullPolicy", p->policy->pull_policy) < 0)
        return NULL;
    if (put(o, "command", list_of(lh_json_new_z(LH_AGENT_BINARY))) < 0 ||
        put(o, "env", env(config)) < 0)
        return NULL;
    if (c->metrics_port && put(o, "ports", ports(c->metrics_port)) < 0)
        return NULL;
    if (put(o, "resources", resources(p, spec)) < 0)
        return NULL;
    if (sidecar &&
        (put_z(o, "restartPolicy", "Always") < 0 || put(o, "startupProbe", startup_probe(p)) < 0))
        return NULL;
    if (put_z(o, "terminationMessagePolicy", "FallbackToLogsOnError") < 0 ||
        put(o, "securityContext", security(p, spec)) < 0 ||
        put(o, "volumeMounts", mounts(p, spec)) < 0)
        return NULL;
    return LH_TAKE_PTR(o);
}

static lh_json *volume(const char *name, const char *kind, lh_json *source)
{
    lh_auto_json lh_json *v = one("name", lh_json_new_z(name));

    if (!v) {
        lh_json_unref(source);
        return NULL;
    }
    return put(v, kind, source) < 0 ? NULL : LH_TAKE_PTR(v);
}

static lh_json *memory_volume(const char *name, int64_t bytes)
{
    lh_auto_json lh_json *e = one("medium", lh_json_new_z("Memory"));

    if (!e || put(e, "sizeLimit", bytes_text(bytes)) < 0)
        return NULL;
    return volume(name, "emptyDir", LH_TAKE_PTR(e));
}

static lh_json *token_volume(const char *audience)
{
    lh_auto_json lh_json *t = one("audience", lh_json_new_z(audience));

    if (!t || put_int(t, "expirationSeconds", TOKEN_SECONDS) < 0 || put_z(t, "path", "token") < 0)
        return NULL;
    return volume(LH_VOLUME_TOKEN, "projected",
                  one("sources", list_of(one("serviceAccountToken", LH_TAKE_PTR(t)))));
}

/* One key as a file of its own name. */
static lh_json *key_items(const char *key)
{
    lh_auto_json lh_json *i = one("key", lh_json_new_z(key));

    if (!i || put_z(i, "path", key) < 0)
        return NULL;
    return list_of(LH_TAKE_PTR(i));
}

static lh_json *credential_volume(const struct lh_secret_ref *ref)
{
    lh_auto_json lh_json *s = one("secretName", lh_json_new_z(ref->name));

    if (!s || (ref->key && put(s, "items", key_items(ref->key)) < 0))
        return NULL;
    return volume(LH_VOLUME_CREDENTIAL, "secret", LH_TAKE_PTR(s));
}

static lh_json *ca_volume(const struct lh_secret_ref *ref)
{
    lh_auto_json lh_json *m = one("name", lh_json_new_z(ref->name));

    if (!m || put(m, "items", key_items(ref->key)) < 0)
        return NULL;
    return volume(LH_VOLUME_CA, "configMap", LH_TAKE_PTR(m));
}

lh_json *shape_volumes(const struct lh_inject_plan *p)
{
    const struct lh_agentcfg *c = p->cfg;
    const struct lh_store_vault *v = c ? &c->store->vault : NULL;
    lh_auto_json lh_json *a = lh_json_new_array();

    if (!a || volumes_push(p, a) < 0)
        return NULL;
    if (!c)
        return LH_TAKE_PTR(a);
    if (push(a, memory_volume(LH_VOLUME_SECRETS, p->size_bytes)) < 0)
        return NULL;
    if (c->state_path && push(a, memory_volume(LH_VOLUME_STATE, STATE_SIZE)) < 0)
        return NULL;
    if (c->token_file && push(a, token_volume(v->auth.audience)) < 0)
        return NULL;
    if (c->credential_path && push(a, credential_volume(&v->auth.secret)) < 0)
        return NULL;
    if (c->ca_path && push(a, ca_volume(&v->ca_ref)) < 0)
        return NULL;
    return LH_TAKE_PTR(a);
}

/* What tells entries of a list apart: the API's own merge keys. */
static bool same_entry(const lh_json *a, const lh_json *b)
{
    static const char *const keys[] = {"mountPath", "containerPort", "name"};

    for (size_t i = 0; i < LH_ARRAY_LEN(keys); i++) {
        const lh_json *x = lh_json_get(a, keys[i]);

        if (x)
            return lh_json_equal(x, lh_json_get(b, keys[i]));
    }
    return false;
}

static bool has_key(const lh_json *v)
{
    return lh_json_get(v, "mountPath") || lh_json_get(v, "containerPort") || lh_json_get(v, "name");
}

static bool list_holds(const lh_json *have, const lh_json *want)
{
    size_t n = lh_json_len(want);

    for (size_t i = 0; i < n; i++) {
        const lh_json *w = lh_json_at(want, i);
        bool found = false;

        if (!has_key(w)) {
            if (lh_json_len(have) != n || !shape_holds(lh_json_at(have, i), w))
                return false;
            continue;
        }
        for (size_t k = 0; k < lh_json_len(have) && !found; k++)
            found = same_entry(w, lh_json_at(have, k)) && shape_holds(lh_json_at(have, k), w);
        if (!found)
            return false;
    }
    return true;
}

bool shape_holds(const lh_json *have, const lh_json *want)
{
    const lh_json *value;
    struct lh_str key;
    void *it = NULL;

    if (lh_json_type(have) != lh_json_type(want))
        return false;
    if (lh_json_type(want) == LH_JSON_ARRAY)
        return list_holds(have, want);
    if (lh_json_type(want) != LH_JSON_OBJECT)
        return lh_json_equal(have, want);
    while (lh_json_next(want, &it, &key, &value)) {
        if (!shape_holds(lh_json_getn(have, key), value))
            return false;
    }
    return true;
}
