/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "leasehold/api/agentcfg.h"
#include "leasehold/api/allow.h"
#include "leasehold/api/fields.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"

#define MAX_NOTIFY ((size_t)1024 * 1024)
#define WRITE_MAX  ((size_t)64 * 1024 * 1024)

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

/* Written straight to text: every admitted Pod needs it once. Members in the order of their bytes.
 */
static void member(struct lh_buf *b, const char *key)
{
    lh_buf_put_z(b, lh_buf_peek(b).n > 1 ? ",\"" : "\"");
    lh_buf_put_z(b, key);
    lh_buf_put_z(b, "\":");
}

static void member_z(struct lh_buf *b, const char *key, const char *value)
{
    if (!value)
        return;
    member(b, key);
    lh_json_write_str(lh_str(value), b);
}

static void put_addresses(struct lh_buf *b, char *const *v)
{
    if (!v || !v[0])
        return;
    member(b, "allowAddresses");
    for (size_t i = 0; v[i]; i++) {
        lh_buf_put_c(b, i ? ',' : '[');
        lh_json_write_str(lh_str(v[i]), b);
    }
    lh_buf_put_c(b, ']');
}

static int put_notify(struct lh_buf *b, const struct lh_notify_spec *n, struct lh_err *err)
{
    lh_auto_buf struct lh_buf text;

    lh_buf_init(&text, MAX_NOTIFY);
    if (n->kind == LH_NOTIFY_NONE)
        return 0;
    lh_notify_put(&text, n);
    member(b, "notify");
    lh_json_write_str(lh_buf_peek(&text), b);
    return lh_buf_check(&text, err);
}

/* Only the entries that admit this namespace: what other tenants may read is none of its business,
 * and hundreds of them would not fit. */
static int put_allow(struct lh_buf *b, const struct lh_agentcfg *c, struct lh_err *err)
{
    const struct lh_namespace ns = {c->namespace_, c->namespace_labels, NULL};
    const lh_json *all = lh_json_get(c->store->spec, "allow");
    bool admits = false, any = false;

    lh_buf_put_z(b, "\"allow\":[");
    for (size_t i = 0; i < c->store->n_allow; i++) {
        int rc = lh_allow_entry_admits(&c->store->allow[i], &ns, &admits, err);

        if (rc < 0)
            return rc;
        if (!admits)
            continue;
        if (any)
            lh_buf_put_c(b, ',');
        any = true;
        lh_json_write(lh_json_at(all, i), LH_JSON_SORTED, b);
    }
    lh_buf_put_c(b, ']');
    return 0;
}

static int put_store(struct lh_buf *b, const struct lh_agentcfg *c, struct lh_err *err)
{
    static const char *const parts[] = {"limits", "refresh", "vault", "verify"};
    const struct lh_store *s = c->store;
    bool any = lh_json_get(s->spec, "allow") != NULL;
    int rc = 0;

    member(b, "store");
    lh_buf_put_c(b, '{');
    if (s->generation)
        lh_buf_printf(b, "\"generation\":%lld,", (long long)s->generation);
    lh_buf_printf(b, "\"kind\":\"%s\",\"name\":\"%s\"", lh_store_kind(s), s->name);
    if (s->namespace_)
        lh_buf_printf(b, ",\"namespace\":\"%s\"", s->namespace_);
    lh_buf_put_z(b, ",\"spec\":{");
    if (any)
        rc = put_allow(b, c, err);
    for (size_t i = 0; i < LH_ARRAY_LEN(parts) && rc == 0; i++) {
        const lh_json *v = lh_json_get(s->spec, parts[i]);

        if (!v)
            continue;
        lh_buf_printf(b, "%s\"%s\":", any ? "," : "", parts[i]);
        lh_json_write(v, LH_JSON_SORTED, b);
        any = true;
    }
    lh_buf_put_z(b, "}}");
    return rc;
}

static int put_document(struct lh_buf *b, const struct lh_agentcfg *c, struct lh_err *err)
{
    char mode[8];
    int rc;

    snprintf(mode, sizeof(mode), "%04o", (unsigned)(c->default_mode & 0777));
    lh_buf_put_c(b, '{');
    put_addresses(b, c->allow_addresses);
    member_z(b, "caPath", c->ca_path);
    member_z(b, "cluster", c->cluster);
    member_z(b, "credentialPath", c->credential_path);
    member_z(b, "defaultMode", mode);
    member_z(b, "logLevel", c->log_level);
    if (c->metrics_port) {
        member(b, "metricsPort");
        lh_buf_printf(b, "%d", c->metrics_port);
    }
    member_z(b, "mode", mode_names[c->mode]);
    member_z(b, "mountPath", c->mount_path);
    member_z(b, "namespace", c->namespace_);
    if (lh_json_len(c->namespace_labels)) {
        member(b, "namespaceLabels");
        lh_json_write(c->namespace_labels, LH_JSON_SORTED, b);
    }
    rc = put_notify(b, &c->notify, err);
    if (rc < 0)
        return rc;
    member_z(b, "pod", c->pod);
    member(b, "projection");
    lh_buf_put_z(b, "{\"name\":");
    lh_json_write_str(lh_str(c->projection->name), b);
    lh_buf_put_z(b, ",\"spec\":");
    lh_projection_write(c->projection, b);
    lh_buf_put_c(b, '}');
    member_z(b, "serviceAccount", c->service_account);
    member_z(b, "statePath", c->state_path);
    rc = put_store(b, c, err);
    if (rc < 0)
        return rc;
    member_z(b, "tokenFile", c->token_file);
    member(b, "version");
    lh_buf_printf(b, "%d}", LH_AGENTCFG_VERSION);
    return lh_buf_check(b, err);
}

static size_t item_size(const struct lh_projection *p, size_t i)
{
    const struct lh_projection one = {.items = &p->items[i], .n_items = 1};
    lh_auto_buf struct lh_buf b;

    lh_buf_init(&b, WRITE_MAX);
    lh_projection_write(&one, &b);
    return lh_buf_peek(&b).n;
}

static size_t json_size(const lh_json *v)
{
    lh_auto_buf struct lh_buf b;

    lh_buf_init(&b, WRITE_MAX);
    lh_json_write(v, LH_JSON_COMPACT, &b);
    return lh_buf_peek(&b).n;
}

/* The name of what takes most: a secret of the projection, or a part of the store. */
static void name_largest(const struct lh_agentcfg *c, char *out, size_t room)
{
    static const char *const store_parts[] = {"vault", "allow"};
    size_t best = 0;

    for (size_t i = 0; i < c->projection->n_items; i++) {
        size_t n = item_size(c->projection, i);

        if (n <= best)
            continue;
        best = n;
        snprintf(out, room, "secret \"%s\" with %zu bytes", c->projection->items[i].name, n);
    }
    for (size_t i = 0; i < LH_ARRAY_LEN(store_parts); i++) {
        size_t n = json_size(lh_json_get(c->store->spec, store_parts[i]));

        if (n <= best)
            continue;
        best = n;
        snprintf(out, room, "spec.%s of store \"%s\" with %zu bytes", store_parts[i],
                 c->store->name, n);
    }
}

int lh_agentcfg_write(const struct lh_agentcfg *c, struct lh_buf *b, struct lh_err *err)
{
    lh_auto_buf struct lh_buf text;
    char largest[400] = "";
    int rc;

    lh_buf_init(&text, WRITE_MAX);
    lh_buf_reserve(&text, 4096);
    rc = put_document(&text, c, err);
    if (rc < 0)
        return rc;
    if (lh_buf_peek(&text).n > LH_AGENTCFG_MAX) {
        name_largest(c, largest, sizeof(largest));
        lh_err_fill(err, LH_E_TOOBIG,
                    "the agent's configuration would have %zu bytes, at most %d fit; the largest "
                    "item is %s",
                    lh_buf_peek(&text).n, LH_AGENTCFG_MAX, largest);
        return lh_err_negative(lh_err_reason(err, -LH_E_TOOBIG, LH_REASON_ConfigTooLarge));
    }
    lh_buf_put_str(b, lh_buf_peek(&text));
    return lh_buf_check(b, err);
}
