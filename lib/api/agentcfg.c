/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "leasehold/api/agentcfg.h"
#include "leasehold/api/allow.h"
#include "leasehold/api/fields.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"

#define MAX_NOTIFY ((size_t)1024 * 1024)

static const char *const mode_names[] = {
    [LH_AGENT_SIDECAR] = "sidecar", [LH_AGENT_INIT] = "init", NULL};
static const char *const level_names[] = {"debug", "info", "warn", "error", "off", NULL};

void lh_agentcfg_free(struct lh_agentcfg *c)
{
    if (!c)
        return;
    lh_free(c->cluster);
    lh_free(c->namespace_);
    lh_free(c->service_account);
    lh_free(c->pod);
    lh_store_unref(c->store);
    lh_projection_free(c->projection);
    lh_notify_done(&c->notify);
    lh_free(c->mount_path);
    lh_free(c->state_path);
    lh_free(c->token_file);
    lh_free(c->credential_path);
    lh_free(c->ca_path);
    lh_free(c->log_level);
    lh_strv_free(c->allow_addresses);
    lh_json_unref(c->namespace_labels);
    lh_free(c);
}

/* Back into the shape of a Kubernetes object, so that the one store parser judges it. */
static int store_parse(const struct lh_at *at, const lh_json *obj, struct lh_store **out,
                       struct lh_err *err)
{
    static const char *const known[] = {"kind", "name", "namespace", "generation", "spec", NULL};
    const lh_json *ref = NULL, *v;
    lh_auto_json lh_json *whole = lh_json_new_object(), *meta = lh_json_new_object();
    int rc;

    rc = lh_field_object(at, obj, "store", true, &ref, err);
    if (rc == 0)
        rc = lh_field_known(&LH_AT_NAME(at, "store"), ref, known, err);
    if (rc < 0)
        return rc;
    if (!whole || !meta)
        return lh_err_nomem(err);
    for (size_t i = 1; i <= 3; i++) {
        v = lh_json_get(ref, known[i]);
        if (v && lh_json_set(meta, known[i], lh_json_ref(lh_json_mut(v))) < 0)
            return lh_err_nomem(err);
    }
    v = lh_json_get(ref, "kind");
    if (v && lh_json_set(whole, "kind", lh_json_ref(lh_json_mut(v))) < 0)
        return lh_err_nomem(err);
    v = lh_json_get(ref, "spec");
    if (v && lh_json_set(whole, "spec", lh_json_ref(lh_json_mut(v))) < 0)
        return lh_err_nomem(err);
    if (lh_json_set(whole, "metadata", LH_TAKE_PTR(meta)) < 0 ||
        lh_json_set(whole, "apiVersion", lh_json_new_z("leasehold.dev/v1alpha1")) < 0)
        return lh_err_nomem(err);
    rc = lh_store_parse(whole, NULL, out, err);
    return rc < 0 ? lh_at_wrap(at, rc, err) : 0;
}

/* Errors of the projection name the place in this document: "FROM: projection: spec.items[0]". */
static int projection_parse(const struct lh_at *at, const lh_json *obj, struct lh_agentcfg *c,
                            struct lh_err *err)
{
    static const char *const known[] = {"name", "spec", NULL};
    const struct lh_at here = LH_AT_NAME(at, "projection");
    lh_auto_free char *name = NULL;
    const lh_json *p = NULL, *spec = NULL;
    int rc;

    rc = lh_field_object(at, obj, "projection", true, &p, err);
    if (rc == 0)
        rc = lh_field_known(&here, p, known, err);
    if (rc == 0)
        rc = lh_field_str(&here, p, "name", true, 253, &name, err);
    if (rc == 0)
        rc = lh_field_object(&here, p, "spec", true, &spec, err);
    if (rc < 0)
        return rc;
    rc = lh_projection_parse_spec(spec, NULL, c->namespace_, name, &c->projection, err);
    return rc < 0 ? lh_at_wrap(&here, rc, err) : 0;
}

static int notify_field(const struct lh_at *at, const lh_json *obj, struct lh_agentcfg *c,
                        struct lh_err *err)
{
    lh_auto_free char *text = NULL;
    int rc;

    rc = lh_field_str(at, obj, "notify", false, LH_AGENTCFG_MAX, &text, err);
    if (rc < 0 || !text)
        return rc;
    rc = lh_notify_parse(text, &c->notify, err);
    return rc < 0 ? lh_at_wrap(&LH_AT_NAME(at, "notify"), rc, err) : 0;
}

static int folder_field(const struct lh_at *at, const lh_json *obj, const char *name, bool required,
                        char **out, struct lh_err *err)
{
    int rc;

    rc = lh_field_str(at, obj, name, required, 4096, out, err);
    if (rc == 0 && *out && (*out)[0] != '/')
        rc = lh_at_err(&LH_AT_NAME(at, name), err, "must be an absolute path");
    return rc;
}

static int paths_parse(const struct lh_at *at, const lh_json *obj, struct lh_agentcfg *c,
                       struct lh_err *err)
{
    const struct {
        const char *name;
        char **out;
        bool required;
    } fields[] = {
        {"mountPath", &c->mount_path, true},  {"statePath", &c->state_path, false},
        {"tokenFile", &c->token_file, false}, {"credentialPath", &c->credential_path, false},
        {"caPath", &c->ca_path, false},
    };
    lh_auto_free char *text = NULL;
    int rc = 0;

    for (size_t i = 0; i < LH_ARRAY_LEN(fields) && rc == 0; i++)
        rc = folder_field(at, obj, fields[i].name, fields[i].required, fields[i].out, err);
    if (rc == 0)
        rc = lh_field_str(at, obj, "defaultMode", true, 8, &text, err);
    if (rc < 0)
        return rc;
    rc = lh_mode_parse(text, &c->default_mode, err);
    return rc < 0 ? lh_at_wrap(&LH_AT_NAME(at, "defaultMode"), rc, err) : 0;
}

static int who_parse(const struct lh_at *at, const lh_json *obj, struct lh_agentcfg *c,
                     struct lh_err *err)
{
    const lh_json *labels = NULL;
    int rc;

    rc = lh_field_str(at, obj, "cluster", false, 253, &c->cluster, err);
    if (rc == 0)
        rc = lh_field_str(at, obj, "namespace", true, 63, &c->namespace_, err);
    if (rc == 0)
        rc = lh_field_str(at, obj, "serviceAccount", true, 253, &c->service_account, err);
    if (rc == 0)
        rc = lh_field_str(at, obj, "pod", false, 253, &c->pod, err);
    if (rc == 0)
        rc = lh_field_object(at, obj, "namespaceLabels", false, &labels, err);
    if (rc == 0 && labels)
        c->namespace_labels = lh_json_ref(lh_json_mut(labels));
    return rc;
}

static int addresses_field(const struct lh_at *at, const lh_json *obj, struct lh_agentcfg *c,
                           struct lh_err *err)
{
    const struct lh_at here = LH_AT_NAME(at, "allowAddresses");
    int rc;

    rc = lh_field_strs(at, obj, "allowAddresses", 256, 64, &c->allow_addresses, err);
    for (size_t i = 0; rc == 0 && c->allow_addresses && c->allow_addresses[i]; i++) {
        rc = lh_cidr_check(c->allow_addresses[i], err);
        if (rc < 0)
            return lh_at_wrap(&LH_AT_INDEX(&here, i), rc, err);
    }
    return rc;
}

static int options_parse(const struct lh_at *at, const lh_json *obj, struct lh_agentcfg *c,
                         struct lh_err *err)
{
    int mode = LH_AGENT_SIDECAR, level = -1;
    int64_t port = 0;
    int rc;

    rc = lh_field_enum(at, obj, "mode", mode_names, &mode, err);
    if (rc == 0)
        rc = lh_field_int(at, obj, "metricsPort", 0, 65535, &port, err);
    if (rc == 0)
        rc = lh_field_enum(at, obj, "logLevel", level_names, &level, err);
    if (rc == 0)
        rc = addresses_field(at, obj, c, err);
    if (rc < 0)
        return rc;
    c->mode = (enum lh_agent_mode)mode;
    c->metrics_port = (int)port;
    if (level >= 0) {
        c->log_level = lh_strdup(level_names[level]);
        if (!c->log_level)
            return lh_err_nomem(err);
    }
    return 0;
}

static int document_parse(const struct lh_at *at, const lh_json *doc, struct lh_agentcfg *c,
                          struct lh_err *err)
{
    static const char *const known[] = {
        "version",        "mode",        "cluster",         "namespace",
        "serviceAccount", "pod",         "store",           "projection",
        "notify",         "mountPath",   "statePath",       "tokenFile",
        "caPath",         "logLevel",    "credentialPath",  "allowAddresses",
        "defaultMode",    "metricsPort", "namespaceLabels", NULL};
    int rc;

    rc = lh_field_known(at, doc, known, err);
    if (rc == 0)
        rc = who_parse(at, doc, c, err);
    if (rc == 0)
        rc = options_parse(at, doc, c, err);
    if (rc == 0)
        rc = paths_parse(at, doc, c, err);
    if (rc == 0)
        rc = notify_field(at, doc, c, err);
    if (rc == 0)
        rc = store_parse(at, doc, &c->store, err);
    if (rc == 0)
        rc = projection_parse(at, doc, c, err);
    return rc;
}

/* Before anything else: a newer document may have any shape. */
static int version_check(const struct lh_at *at, const lh_json *doc, struct lh_err *err)
{
    const struct lh_at here = LH_AT_NAME(at, "version");
    int64_t version = 0;
    int rc;

    if (lh_json_type(doc) != LH_JSON_OBJECT)
        return lh_at_err(at, err, "must be a JSON object");
    if (!lh_json_int(lh_json_get(doc, "version"), &version) || version < 1)
        return lh_at_err(&here, err, "is required: a whole number from 1");
    if (version <= LH_AGENTCFG_VERSION)
        return 0;
    rc = lh_at_err(&here, err,
                   "is %lld, and this agent reads up to %d; use an agent image of the webhook's "
                   "version",
                   (long long)version, LH_AGENTCFG_VERSION);
    return lh_err_negative(lh_err_reason(err, rc, LH_REASON_ConfigTooNew));
}

int lh_agentcfg_parse(struct lh_str text, const char *from, struct lh_agentcfg **out,
                      struct lh_err *err)
{
    const struct lh_json_limits limits = {.max_bytes = (size_t)4 * LH_AGENTCFG_MAX,
                                          .max_depth = 64};
    const struct lh_at root = LH_AT_ROOT(from, LH_REASON_ConfigInvalid);
    lh_auto_json lh_json *doc = NULL;
    struct lh_agentcfg *c;
    int rc;

    rc = lh_json_parse(text, &limits, &doc, err);
    if (rc < 0)
        return lh_at_wrap(&root, rc, err);
    rc = version_check(&root, doc, err);
    if (rc < 0)
        return rc;
    c = lh_calloc(1, sizeof(*c));
    if (!c)
        return lh_err_nomem(err);
    c->version = (int)lh_json_get_int(doc, "version", LH_AGENTCFG_VERSION);
    rc = document_parse(&root, doc, c, err);
    if (rc < 0) {
        lh_agentcfg_free(c);
        return rc;
    }
    *out = c;
    return 0;
}

static int put(lh_json *obj, const char *key, lh_json *value)
{
    return value ? lh_json_set(obj, key, value) : -1;
}

static int put_z(lh_json *obj, const char *key, const char *value)
{
    return value ? put(obj, key, lh_json_new_z(value)) : 0;
}

/* Only the entries that admit this namespace: what other tenants may read is none of its business,
 * and hundreds of them would not fit. */
static int put_allow(lh_json *spec, const struct lh_agentcfg *c)
{
    const struct lh_namespace ns = {c->namespace_, c->namespace_labels, NULL};
    const lh_json *all = lh_json_get(spec, "allow");
    lh_auto_json lh_json *kept = lh_json_new_array();
    bool admits = false;

    if (!kept)
        return -1;
    for (size_t i = 0; i < c->store->n_allow; i++) {
        if (lh_allow_entry_admits(&c->store->allow[i], &ns, &admits, NULL) < 0)
            return -1;
        if (admits && lh_json_push(kept, lh_json_ref(lh_json_mut(lh_json_at(all, i)))) < 0)
            return -1;
    }
    return all ? lh_json_set(spec, "allow", LH_TAKE_PTR(kept)) : 0;
}

static int put_store(lh_json *doc, const struct lh_agentcfg *c)
{
    lh_auto_json lh_json *o = lh_json_new_object(), *spec = lh_json_deep_copy(c->store->spec);
    const struct lh_store *s = c->store;

    if (!o || put_z(o, "kind", lh_store_kind(s)) < 0 || put_z(o, "name", s->name) < 0 ||
        put_z(o, "namespace", s->namespace_) < 0)
        return -1;
    if (s->generation && put(o, "generation", lh_json_new_int(s->generation)) < 0)
        return -1;
    if (!spec || put_allow(spec, c) < 0 || put(o, "spec", LH_TAKE_PTR(spec)) < 0)
        return -1;
    return put(doc, "store", LH_TAKE_PTR(o));
}

static int put_projection(lh_json *doc, const struct lh_projection *p, struct lh_err *err)
{
    lh_auto_json lh_json *o = lh_json_new_object(), *spec = NULL;
    int rc;

    rc = lh_projection_to_json(p, &spec, err);
    if (rc < 0)
        return rc;
    if (!o || put_z(o, "name", p->name) < 0 || put(o, "spec", LH_TAKE_PTR(spec)) < 0 ||
        put(doc, "projection", LH_TAKE_PTR(o)) < 0)
        return lh_err_nomem(err);
    return 0;
}

static int put_notify(lh_json *doc, const struct lh_notify_spec *n)
{
    lh_auto_buf struct lh_buf b;

    lh_buf_init(&b, MAX_NOTIFY);
    if (n->kind == LH_NOTIFY_NONE)
        return 0;
    lh_notify_put(&b, n);
    return lh_buf_check(&b, NULL) < 0 ? -1 : put(doc, "notify", lh_json_new_str(lh_buf_peek(&b)));
}

static int put_options(lh_json *doc, const struct lh_agentcfg *c)
{
    char mode[8];

    snprintf(mode, sizeof(mode), "%04o", (unsigned)(c->default_mode & 0777));
    if (put(doc, "version", lh_json_new_int(LH_AGENTCFG_VERSION)) < 0 ||
        put_z(doc, "mode", mode_names[c->mode]) < 0 || put_z(doc, "cluster", c->cluster) < 0 ||
        put_z(doc, "namespace", c->namespace_) < 0 ||
        put_z(doc, "serviceAccount", c->service_account) < 0 || put_z(doc, "pod", c->pod) < 0 ||
        put_z(doc, "mountPath", c->mount_path) < 0 || put_z(doc, "statePath", c->state_path) < 0 ||
        put_z(doc, "tokenFile", c->token_file) < 0 ||
        put_z(doc, "credentialPath", c->credential_path) < 0 ||
        put_z(doc, "caPath", c->ca_path) < 0 || put_z(doc, "defaultMode", mode) < 0 ||
        put_z(doc, "logLevel", c->log_level) < 0 || put_notify(doc, &c->notify) < 0)
        return -1;
    if (c->metrics_port && put(doc, "metricsPort", lh_json_new_int(c->metrics_port)) < 0)
        return -1;
    if (c->allow_addresses && c->allow_addresses[0] &&
        put(doc, "allowAddresses", lh_strv_to_json(c->allow_addresses)) < 0)
        return -1;
    if (lh_json_len(c->namespace_labels) &&
        put(doc, "namespaceLabels", lh_json_deep_copy(c->namespace_labels)) < 0)
        return -1;
    return 0;
}

static size_t size_of(const lh_json *v)
{
    lh_auto_buf struct lh_buf b;

    lh_buf_init(&b, (size_t)64 * 1024 * 1024);
    lh_json_write(v, LH_JSON_COMPACT, &b);
    return lh_buf_peek(&b).n;
}

/* The name of what takes most: a secret of the projection, or a part of the store. */
static void name_largest(const lh_json *doc, char *out, size_t room)
{
    static const char *const store_parts[] = {"vault", "allow", NULL};
    const lh_json *spec = lh_json_path(doc, "store", "spec", NULL);
    const lh_json *items = lh_json_path(doc, "projection", "spec", "items", NULL);
    const char *store = lh_json_get_z(lh_json_get(doc, "store"), "name");
    size_t best = 0;

    for (size_t i = 0; i < lh_json_len(items); i++) {
        const lh_json *it = lh_json_at(items, i);
        size_t n = size_of(it);

        if (n <= best)
            continue;
        best = n;
        snprintf(out, room, "secret \"%s\" with %zu bytes", lh_json_get_z(it, "name"), n);
    }
    for (size_t i = 0; store_parts[i]; i++) {
        size_t n = size_of(lh_json_get(spec, store_parts[i]));

        if (n <= best)
            continue;
        best = n;
        snprintf(out, room, "spec.%s of store \"%s\" with %zu bytes", store_parts[i], store, n);
    }
}

int lh_agentcfg_write(const struct lh_agentcfg *c, struct lh_buf *b, struct lh_err *err)
{
    lh_auto_json lh_json *doc = lh_json_new_object();
    lh_auto_buf struct lh_buf text;
    char largest[400] = "";
    int rc;

    lh_buf_init(&text, (size_t)64 * 1024 * 1024);
    if (!doc || put_options(doc, c) < 0 || put_store(doc, c) < 0)
        return lh_err_nomem(err);
    rc = put_projection(doc, c->projection, err);
    if (rc < 0)
        return rc;
    lh_json_write(doc, LH_JSON_SORTED, &text);
    rc = lh_buf_check(&text, err);
    if (rc < 0)
        return rc;
    if (lh_buf_peek(&text).n > LH_AGENTCFG_MAX) {
        name_largest(doc, largest, sizeof(largest));
        lh_err_fill(err, LH_E_TOOBIG,
                    "the agent's configuration would have %zu bytes, at most %d fit; the largest "
                    "item is %s",
                    lh_buf_peek(&text).n, LH_AGENTCFG_MAX, largest);
        return lh_err_negative(lh_err_reason(err, -LH_E_TOOBIG, LH_REASON_ConfigTooLarge));
    }
    lh_buf_put_str(b, lh_buf_peek(&text));
    return lh_buf_check(b, err);
}
