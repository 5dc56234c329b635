/* SPDX-License-Identifier: Apache-2.0 */
/* One annotation's value: what it may be, and where it goes. */
#include <string.h>

#include "inject_priv.h"
#include "leasehold/api/fields.h"
#include "leasehold/api/reasons.h"
#include "leasehold/codec/duration.h"
#include "leasehold/codec/quantity.h"
#include "leasehold/core/mem.h"

#define PARAMS_MAX ((size_t)64 * 1024)
#define YEAR_MS    (INT64_C(365) * 86400000)

static void bad(struct draft *d, const char *where, const char *text)
{
    problem_add(d->problems, where, LH_REASON_AnnotationInvalid, true, "%s", text);
}

static void set_text(struct draft *d, char **out, const char *value)
{
    char *copy = lh_strdup(value);

    if (!copy) {
        d->nomem = true;
        return;
    }
    lh_free(*out);
    *out = copy;
}

struct lh_item *draft_item(struct draft *d, const char *name)
{
    for (size_t i = 0; i < d->projection->n_items; i++) {
        if (strcmp(d->projection->items[i].name, name) == 0)
            return &d->projection->items[i];
    }
    return NULL;
}

static struct lh_file_spec *file_of(struct draft *d, const char *name)
{
    struct lh_item *it = draft_item(d, name);

    return it ? &it->files[0] : NULL;
}

/* Everything is had before the projection gets the item: no half of one is ever in it. */
static void add_item(struct draft *d, const char *name, struct lh_str path, const char *key)
{
    lh_auto_free char *name_copy = lh_strdup(name), *path_copy = lh_str_dup(path);
    lh_auto_free char *key_copy = key ? lh_strdup(key) : NULL;
    struct lh_file_spec *f;
    struct lh_item *it;

    if (!name_copy || !path_copy || (key && !key_copy)) {
        d->nomem = true;
        return;
    }
    it = lh_projection_add_item(d->projection);
    f = it ? lh_item_add_file(it) : NULL;
    if (!f) {
        d->projection->n_items -= it != NULL;
        d->nomem = true;
        return;
    }
    it->name = LH_TAKE_PTR(name_copy);
    it->path = LH_TAKE_PTR(path_copy);
    f->key = LH_TAKE_PTR(key_copy);
}

static void read_secret(struct draft *d, const char *name, const char *value, const char *where)
{
    struct lh_str path, rest;
    const char *key = NULL;
    struct lh_err err = {0};

    if (lh_item_name_check(name, &err) < 0) {
        problem_add(d->problems, where, LH_REASON_AnnotationInvalid, true, "NAME %s", err.msg);
        return;
    }
    if (lh_str_cut(lh_str(value), '#', &path, &rest)) {
        key = rest.p;
        if (!rest.n) {
            bad(d, where, "has no key behind #; write PATH#KEY, or PATH for all keys");
            return;
        }
    }
    if (path.n > 1024) {
        problem_add(d->problems, where, LH_REASON_PathInvalid, true,
                    "the path is longer than 1024 bytes");
        return;
    }
    add_item(d, name, path, key);
}

static bool read_bool(struct draft *d, const char *value, const char *where, bool *out)
{
    if (strcmp(value, "true") == 0 || strcmp(value, "false") == 0) {
        *out = value[0] == 't';
        return true;
    }
    bad(d, where, "must be \"true\" or \"false\"");
    return false;
}

static void read_inject(struct draft *d, const char *name, const char *value, const char *where)
{
    bool on;

    (void)name;
    if (!read_bool(d, value, where, &on))
        return;
    d->on = on;
    d->off = !on;
}

static void read_store(struct draft *d, const char *name, const char *value, const char *where)
{
    const char *slash = strchr(value, '/'), *store = slash ? slash + 1 : value;
    struct lh_str kind = {value, slash ? (size_t)(slash - value) : 0};
    bool cluster = lh_str_eqz(kind, "ClusterSecretStore");

    (void)name;
    if ((slash && !cluster && !lh_str_eqz(kind, "SecretStore")) ||
        !lh_str_is_dns_subdomain(lh_str(store))) {
        bad(d, where, "must be NAME, SecretStore/NAME or ClusterSecretStore/NAME");
        return;
    }
    set_text(d, &d->store, store);
    d->store_given = true;
    d->store_any_kind = !slash;
    d->store_cluster_scoped = cluster;
}

static void read_file(struct draft *d, const char *name, const char *value, const char *where)
{
    struct lh_err err = {0};

    if (lh_file_path_check(value, &err) < 0)
        bad(d, where, err.msg);
    else
        set_text(d, &file_of(d, name)->path, value);
}

static void read_format(struct draft *d, const char *name, const char *value, const char *where)
{
    struct lh_err err = {0};

    if (lh_format_parse(value, &file_of(d, name)->format, &err) < 0)
        bad(d, where, err.msg);
}

static void read_template(struct draft *d, const char *name, const char *value, const char *where)
{
    struct lh_err err = {0};

    if (strlen(value) > LH_TEMPLATE_MAX) {
        problem_add(d->problems, where, LH_REASON_TooLarge, true,
                    "the template has %zu bytes; at most %zu are allowed", strlen(value),
                    LH_TEMPLATE_MAX);
        return;
    }
    if (d->world->check_template(value, &err) < 0)
        problem_add_err(d->problems, where, LH_REASON_TemplateInvalid, false, &err);
    else
        set_text(d, &file_of(d, name)->template_, value);
}

static void read_mode(struct draft *d, const char *name, const char *value, const char *where)
{
    struct lh_file_spec *f = file_of(d, name);
    struct lh_err err = {0};

    if (lh_mode_parse(value, &f->mode, &err) < 0)
        bad(d, where, err.msg);
    else
        f->has_mode = true;
}

static void read_version(struct draft *d, const char *name, const char *value, const char *where)
{
    long long version;

    if (lh_str_to_i64(lh_str(value), 1, INT64_MAX, &version))
        draft_item(d, name)->version = version;
    else
        bad(d, where, "must be a whole number from 1");
}

static void read_params(struct draft *d, const char *name, const char *value, const char *where)
{
    const struct lh_json_limits limits = {.max_bytes = PARAMS_MAX, .max_depth = 32};
    struct lh_item *it = draft_item(d, name);
    lh_auto_json lh_json *params = NULL;
    struct lh_err err = {0};
    int rc;

    rc = lh_json_parse(lh_str(value), &limits, &params, &err);
    if (rc == -LH_E_NOMEM)
        d->nomem = true;
    else if (rc < 0)
        problem_add(d->problems, where, LH_REASON_AnnotationInvalid, true,
                    "must be a JSON object: %s", err.msg);
    else if (lh_json_type(params) != LH_JSON_OBJECT)
        bad(d, where, "must be a JSON object, such as {\"common_name\": \"shop.example\"}");
    else
        it->params = LH_TAKE_PTR(params);
}

static bool read_ms(struct draft *d, const char *value, const char *where, int64_t least,
                    int64_t *out)
{
    int64_t ms;

    if (lh_duration_ms(lh_str(value), &ms, NULL) < 0 || ms > YEAR_MS) {
        bad(d, where, "must be a duration such as \"90s\", \"5m\" or \"1h30m\"");
        return false;
    }
    if (ms < least) {
        problem_add(d->problems, where, LH_REASON_AnnotationInvalid, true,
                    "must be at least %lld ms", (long long)least);
        return false;
    }
    *out = ms;
    return true;
}

static void read_overlap(struct draft *d, const char *name, const char *value, const char *where)
{
    read_ms(d, value, where, 0,
            name ? &draft_item(d, name)->overlap_ms : &d->projection->overlap_ms);
}

static void read_refresh(struct draft *d, const char *name, const char *value, const char *where)
{
    read_ms(d, value, where, 100,
            name ? &draft_item(d, name)->refresh_ms : &d->projection->refresh_ms);
}

static void read_optional(struct draft *d, const char *name, const char *value, const char *where)
{
    read_bool(d, value, where, &draft_item(d, name)->optional);
}

static void read_on_change(struct draft *d, const char *name, const char *value, const char *where)
{
    struct lh_err err = {0};
    int rc;

    (void)name;
    rc = lh_notify_parse(value, &d->notify, &err);
    if (rc == -LH_E_NOMEM)
        d->nomem = true;
    else if (rc < 0)
        bad(d, where, err.msg);
}

static void read_agent(struct draft *d, const char *name, const char *value, const char *where)
{
    (void)name;
    if (strcmp(value, "init") == 0)
        d->mode = LH_AGENT_INIT;
    else if (strcmp(value, "sidecar") != 0)
        bad(d, where, "must be sidecar or init");
}

static void read_projections(struct draft *d, const char *name, const char *value,
                             const char *where)
{
    struct lh_str rest = lh_str(value), one;
    bool more = true;

    (void)name;
    d->n_projections++;
    if (d->world->policy->no_projections) {
        problem_add(d->problems, where, LH_REASON_ProjectionsNotServed, true,
                    "the platform runs no driver for SecretProjection volumes; name the secrets "
                    "with %ssecret.NAME",
                    LH_ANNOTATION_PREFIX);
        return;
    }
    for (size_t n = 0; more; n++) {
        lh_auto_free char *copy = NULL;

        more = lh_str_cut(rest, ',', &one, &rest);
        one = lh_str_trim(one);
        if (!lh_str_is_dns_subdomain(one) || n >= LH_PROJECTIONS_MAX) {
            bad(d, where, "must be names of SecretProjections, at most 32, with commas in between");
            return;
        }
        copy = lh_str_dup(one);
        if (copy && d->projections && lh_strv_has(d->projections, copy)) {
            bad(d, where, "must name each SecretProjection once");
            return;
        }
        if (!copy || lh_strv_push(&d->projections, copy, NULL) < 0)
            d->nomem = true;
    }
}

static const char *mount_path_problem(const char *path)
{
    static const char *const taken[] = {"/proc", "/sys", "/dev", "/run/leasehold",
                                        "/var/run/leasehold"};
    struct lh_err err = {0};

    if (path[0] != '/' || !path[1] || lh_file_path_check(path + 1, &err) < 0 || strchr(path, ':'))
        return "must be an absolute path without .., // and :";
    for (size_t i = 0; i < LH_ARRAY_LEN(taken); i++) {
        size_t n = strlen(taken[i]);

        if (strncmp(path, taken[i], n) == 0 && (!path[n] || path[n] == '/'))
            return "must not lie in /proc, /sys, /dev or the agent's own /run/leasehold";
    }
    return NULL;
}

static void read_mount_path(struct draft *d, const char *name, const char *value, const char *where)
{
    const char *why = mount_path_problem(value);

    (void)name;
    if (why)
        bad(d, where, why);
    else
        set_text(d, &d->mount_path, value);
}

static void read_containers(struct draft *d, const char *name, const char *value, const char *where)
{
    struct lh_str rest = lh_str(value), one;
    bool more = true;

    (void)name;
    while (more) {
        lh_auto_free char *copy = NULL;

        more = lh_str_cut(rest, ',', &one, &rest);
        one = lh_str_trim(one);
        if (!lh_str_is_dns_label(one)) {
            bad(d, where, "must be names of containers with commas in between");
            return;
        }
        copy = lh_str_dup(one);
        if (!copy || lh_strv_push(&d->containers, copy, NULL) < 0)
            d->nomem = true;
    }
}

static void read_after(struct draft *d, const char *name, const char *value, const char *where)
{
    (void)name;
    if (!lh_str_is_dns_label(lh_str(value)) || strcmp(value, LH_CONTAINER) == 0)
        bad(d, where, "must be the name of an init container");
    else
        set_text(d, &d->after, value);
}

static void read_role(struct draft *d, const char *name, const char *value, const char *where)
{
    struct lh_err err = {0};

    (void)name;
    if (strlen(value) > 512 || strchr(value, '/') || lh_path_check(value, &err) < 0)
        bad(d, where, "must be the name of a role");
    else
        set_text(d, &d->role, value);
}

static void read_image(struct draft *d, const char *name, const char *value, const char *where)
{
    struct lh_err err = {0};

    (void)name;
    if (lh_policy_allow_image(d->world->policy, value, &err) < 0)
        problem_add_err(d->problems, where, LH_REASON_ImageNotAllowed, false, &err);
    else
        set_text(d, &d->image, value);
}

static void past_policy(struct draft *d, const char *where, const char *field, struct lh_buf *most)
{
    problem_add(d->problems, where, LH_REASON_ResourceNotAllowed, true,
                "the platform allows at most %s (policy.%s)", problem_buf(d->problems, most),
                field);
}

static void read_cpu(struct draft *d, const char *name, const char *value, const char *where)
{
    int64_t most = d->world->policy->max_cpu_milli, milli = 0;
    lh_auto_buf struct lh_buf b;

    (void)name;
    lh_buf_init(&b, 64);
    lh_buf_printf(&b, "%lldm", (long long)most);
    if (lh_quantity_milli(lh_str(value), &milli, NULL) < 0 || milli <= 0)
        bad(d, where, "must be a quantity of CPU such as \"10m\"");
    else if (most && milli > most)
        past_policy(d, where, "maxCPU", &b);
    else
        d->cpu_milli = milli;
}

static void read_bytes(struct draft *d, const char *value, const char *where, int64_t least,
                       int64_t most, const char *field, int64_t *out)
{
    lh_auto_buf struct lh_buf b;
    int64_t bytes = 0;

    lh_buf_init(&b, 64);
    if (lh_quantity_whole(lh_str(value), &bytes, NULL) < 0 || bytes <= 0) {
        bad(d, where, "must be a quantity of memory such as \"8Mi\"");
    } else if (bytes < least) {
        lh_quantity_put_bytes(&b, least);
        problem_add(d->problems, where, LH_REASON_AnnotationInvalid, true, "must be at least %s",
                    problem_buf(d->problems, &b));
    } else if (most && bytes > most) {
        lh_quantity_put_bytes(&b, most);
        past_policy(d, where, field, &b);
    } else {
        *out = bytes;
    }
}

static void read_memory(struct draft *d, const char *name, const char *value, const char *where)
{
    (void)name;
    read_bytes(d, value, where, MEMORY_LEAST, d->world->policy->max_memory_bytes, "maxMemory",
               &d->memory_bytes);
}

static void read_size(struct draft *d, const char *name, const char *value, const char *where)
{
    (void)name;
    read_bytes(d, value, where, SIZE_LEAST, d->world->policy->max_size_bytes, "maxSize",
               &d->size_bytes);
}

static void read_metrics_port(struct draft *d, const char *name, const char *value,
                              const char *where)
{
    long long port;

    (void)name;
    if (strcmp(value, "0") == 0)
        d->metrics_port = 0;
    else if (lh_str_to_i64(lh_str(value), 1024, 65535, &port))
        d->metrics_port = (int)port;
    else
        bad(d, where, "must be a port from 1024 to 65535, or 0 for none");
}

static void read_revocation(struct draft *d, const char *name, const char *value, const char *where)
{
    (void)name;
    if (strcmp(value, "Retain") == 0)
        d->projection->revocation = LH_RETAIN;
    else if (strcmp(value, "Revoke") != 0)
        bad(d, where, "must be Revoke or Retain");
}

static void read_start_timeout(struct draft *d, const char *name, const char *value,
                               const char *where)
{
    (void)name;
    read_ms(d, value, where, 1000, &d->start_timeout_ms);
}

value_fn value_reader(enum lh_annotation_id id)
{
    static const value_fn readers[LH_ANN_COUNT] = {
        [LH_ANN_SECRET] = read_secret,
        [LH_ANN_INJECT] = read_inject,
        [LH_ANN_STORE] = read_store,
        [LH_ANN_FILE] = read_file,
        [LH_ANN_FORMAT] = read_format,
        [LH_ANN_TEMPLATE] = read_template,
        [LH_ANN_MODE] = read_mode,
        [LH_ANN_VERSION] = read_version,
        [LH_ANN_PARAMS] = read_params,
        [LH_ANN_OVERLAP] = read_overlap,
        [LH_ANN_REFRESH] = read_refresh,
        [LH_ANN_OPTIONAL] = read_optional,
        [LH_ANN_ON_CHANGE] = read_on_change,
        [LH_ANN_AGENT] = read_agent,
        [LH_ANN_PROJECTIONS] = read_projections,
        [LH_ANN_MOUNT_PATH] = read_mount_path,
        [LH_ANN_CONTAINERS] = read_containers,
        [LH_ANN_AFTER] = read_after,
        [LH_ANN_ROLE] = read_role,
        [LH_ANN_IMAGE] = read_image,
        [LH_ANN_CPU] = read_cpu,
        [LH_ANN_MEMORY] = read_memory,
        [LH_ANN_SIZE] = read_size,
        [LH_ANN_METRICS_PORT] = read_metrics_port,
        [LH_ANN_REVOCATION] = read_revocation,
        [LH_ANN_START_TIMEOUT] = read_start_timeout,
    };

    return readers[id];
}
